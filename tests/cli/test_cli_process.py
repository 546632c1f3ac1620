"""What only a process of its own shows: exit codes, signals, pipes, what is loaded."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import __version__
from world import FEED, LISTED, World, make_world

BLOCKLIST = [
    sys.executable,
    "-c",
    # Test runs in the background are started with Ctrl-C ignored, and processes inherit that.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from blocklist_sdk.cli import main; main()",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    with world.recipient() as recipient:
        recipient.sync()
    return world


@pytest.fixture
def env(world: World) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")},
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_STATE_DIR": str(world.directory / "cache-state"),
    }


def interrupt(process: "subprocess.Popen[Any]") -> int:
    """Press Ctrl-C until it helps: Python misses one that comes between its last look and a read that then blocks."""
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=10)
    process.kill()
    return process.wait()


def test_the_console_script(env: dict[str, str]) -> None:
    script = Path(sys.executable).with_name("blocklist")
    ran = subprocess.run([script, "--version"], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == f"blocklist-sdk {__version__}\n"


def test_a_failure_is_one_line(env: dict[str, str]) -> None:
    env["BLOCKLIST_ROOT"] = "nowhere.json"
    ran = subprocess.run([*BLOCKLIST, "status"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(env: dict[str, str]) -> None:
    with subprocess.Popen(
        [*BLOCKLIST, "check", "-"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        # Each answer comes as soon as its number is there.
        process.stdin.write(f"{LISTED}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"blocked")
        process.stdout.close()
        process.stdin.write(f"{LISTED}\n".encode())
        process.stdin.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


def test_ctrl_c_is_no_traceback(env: dict[str, str]) -> None:
    with subprocess.Popen(
        [*BLOCKLIST, "check", "-"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(f"{LISTED}\n".encode())
        process.stdin.flush()
        process.stdout.readline()
        assert interrupt(process) == 130
        assert process.stderr.read() == b""


def test_serve_until_ctrl_c(world: World, env: dict[str, str]) -> None:
    command = [*BLOCKLIST, "publish", "serve", str(world.publisher.directory), "--port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/metadata/timestamp.json") as response:
            assert json.load(response)["signed"]["_type"] == "timestamp"
        assert interrupt(process) == 0


def test_a_check_loads_neither_the_network_nor_the_signing(env: dict[str, str]) -> None:
    program = (
        "import sys, json\n"
        "from blocklist_sdk.cli.app import run\n"
        f"code = run(['check', '{LISTED}'])\n"
        "print(json.dumps([code, sorted(sys.modules)]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    code, modules = json.loads(ran.stdout.splitlines()[-1])
    assert code == 1
    assert not {"httpx", "tuf", "securesystemslib", "cryptography", "pyarrow.parquet", "rich"} & set(modules)


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [(">&-", 1, ""), ("2>&-", 1, ""), (">/dev/full", 74, "No space left"), ("<&-", 1, "")],
)
def test_streams_that_are_closed_or_full(env: dict[str, str], redirection: str, code: int, words: str) -> None:
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = ["sh", "-c", f'"$@" {redirection}', "sh", *BLOCKLIST, "check", LISTED]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == code
    assert words in ran.stderr
    assert ran.stderr.count("\n") == bool(words)


@pytest.mark.parametrize(
    ("arguments", "words"), [(("check", "-"), "standard input"), (("publish", "refresh"), "BLOCKLIST_PASSPHRASE")]
)
def test_a_standard_input_that_is_closed(
    world: World, env: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    folder = [str(world.publisher.directory)] if arguments[0] == "publish" else []
    command = ["sh", "-c", '"$@" <&-', "sh", *BLOCKLIST, *arguments, *folder]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert words in ran.stderr
    assert ran.stderr.count("\n") == 1
