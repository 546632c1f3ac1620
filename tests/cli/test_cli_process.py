"""What only a separate process shows: exit codes, signals, pipes, which modules are loaded."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import __version__
from support.scale import scaled
from support.world import FEED, LISTED, World, make_world

BLOCKLIST = [
    sys.executable,
    "-P",  # as in the console script, the working directory is no place to import from
    "-c",
    # Test runs in the background are started with Ctrl-C ignored, and their processes inherit that.
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


def stale(env: dict[str, str]) -> dict[str, str]:
    """The settings of a recipient that has not synced for a long time."""
    cache = Path(env["BLOCKLIST_CACHE_DIR"])
    copied = cache.with_name(f"{cache.name}-stale")
    if not copied.exists():
        shutil.copytree(cache, copied)
        pointer = copied / FEED / "current.json"
        document = json.loads(pointer.read_text())
        pointer.write_text(json.dumps({**document, "expires": "2026-01-02T03:04:05+00:00"}))
    return {**env, "BLOCKLIST_CACHE_DIR": str(copied)}


def interrupt(process: "subprocess.Popen[Any]") -> int:
    """Press Ctrl-C until it works: Python misses one between its last check for signals and a read that then blocks."""
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


def test_a_reader_that_goes_away_is_not_an_error(env: dict[str, str]) -> None:
    with subprocess.Popen(
        [*BLOCKLIST, "check", "-"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        # Each answer is written as soon as its number arrives.
        process.stdin.write(f"{LISTED}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"blocked")
        process.stdout.close()
        process.stdin.write(f"{LISTED}\n".encode())
        process.stdin.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


@pytest.mark.timing
def test_ctrl_c_shows_no_traceback(env: dict[str, str]) -> None:
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
    [
        (">&-", 74, "cannot write the output"),
        (">/dev/full", 74, "No space left"),
        ("<&-", 1, ""),
        ("2>&-", 1, ""),
        ("2>/dev/full", 1, ""),
    ],
)
def test_streams_that_are_closed_or_full(env: dict[str, str], redirection: str, code: int, words: str) -> None:
    """Data that cannot be written is an error, a message that cannot be written is not."""
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    # So that there is a message as well: the list is past its expiry.
    env = stale(env)
    command = ["sh", "-c", f'"$@" {redirection}', "sh", *BLOCKLIST, "check", LISTED]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == code
    assert words in ran.stderr
    assert ran.stderr.count("\n") == (0 if "2>" in redirection else 1 + bool(words))


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    ("arguments", "code"), [(("status", "--root", "nowhere.json"), 2), (("check", "GoPay"), 2), (("zork",), 2), ((), 2)]
)
def test_a_message_that_cannot_be_written_changes_no_exit_code(
    env: dict[str, str], redirection: str, arguments: tuple[str, ...], code: int
) -> None:
    command = ["sh", "-c", f'"$@" {redirection}', "sh", *BLOCKLIST, *arguments]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (code, "")


@pytest.mark.parametrize("arguments", [("status", "--json"), ("export",), ("--version",), ("--help",)])
def test_data_that_cannot_be_written_is_an_error(env: dict[str, str], arguments: tuple[str, ...]) -> None:
    command = ["sh", "-c", '"$@" >&-', "sh", *BLOCKLIST, *arguments]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 74
    assert ran.stderr.count("\n") == 1


TEXT = ("demo", "--rows", "300")
JSON = (*TEXT, "--json")


@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help"), ("demo", "--rows", "300"), ("export",)])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_gone_before_the_start(
    env: dict[str, str], arguments: tuple[str, ...], buffered: bool
) -> None:
    env = {name: value for name, value in env.items() if name != "PYTHONUNBUFFERED"}
    if not buffered:
        env["PYTHONUNBUFFERED"] = "1"
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as gone:
        ran = subprocess.run(
            [*BLOCKLIST, *arguments], env=env, stdout=gone, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    scaled(
        [("ascii", TEXT), ("ascii", JSON), ("cp1252:strict", TEXT)],
        long=[*itertools.product(["ascii", "latin-1", "utf-8", "cp1252:strict"], [TEXT, JSON])],
    ),
)
def test_an_encoding_that_lacks_characters(env: dict[str, str], encoding: str, arguments: tuple[str, ...]) -> None:
    env["PYTHONIOENCODING"] = encoding
    ran = subprocess.run([*BLOCKLIST, *arguments], env=env, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    if "--json" in arguments:
        spellings = [sample["text"] for step in json.loads(ran.stdout)["steps"] for sample in step["samples"]]
        assert any("６２" in text for text in spellings)


BROKEN = """\
import sys
from blocklist_sdk.cli import main, recipient
def broken(*arguments, **options):
    raise KeyError("+6281234567890")
recipient.Settings.open_to_ask = broken
sys.argv[1:] = ["check", "+6281234567890"]
main()
"""


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_not_mistaken_for_a_block(env: dict[str, str], debug: bool) -> None:
    env["BLOCKLIST_DEBUG"] = "1" if debug else "0"
    ran = subprocess.run(
        [sys.executable, "-c", BROKEN], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (70, "")
    *traceback, line = ran.stderr.splitlines()
    assert line.startswith("blocklist: internal error: KeyError in recipient.py, line ")
    assert "BLOCKLIST_DEBUG=1" in line
    assert "81234567890" not in line
    assert (traceback[:1] == ["Traceback (most recent call last):"]) is debug


def test_a_broken_installation_is_not_mistaken_for_a_block(env: dict[str, str]) -> None:
    program = (
        "import sys; sys.modules['tomllib'] = sys.modules['typer'] = None\nfrom blocklist_sdk.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "check", LISTED],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (70, "")
    assert ran.stderr.count("\n") == 1
    assert "ModuleNotFoundError" in ran.stderr


@pytest.mark.timing
@pytest.mark.parametrize("delay_ms", range(0, 400, 40))
def test_ctrl_c_while_modules_load_shows_no_traceback(env: dict[str, str], delay_ms: int) -> None:
    """The process writes a line when it begins; before that, Python itself may fail."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from blocklist_sdk import cli\n"
        "repair = cli._repair_streams\n"
        "cli._repair_streams = lambda: (print(flush=True), repair())\n"
        "cli.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "check", "-"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        time.sleep(delay_ms / 1000)
        assert interrupt(process) == 130
        written = process.stderr.read()
        # If Python was deleting an object just then, it writes the interrupt itself and goes on until the next one.
        assert written == b"" or written.startswith(b"Exception ignored in")


def test_a_working_directory_that_was_deleted(env: dict[str, str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", 'rmdir "$PWD" && "$@"', "sh", *BLOCKLIST, "export", "-o", "list.csv"]
    ran = subprocess.run(command, env=env, cwd=gone, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "working directory has been deleted" in ran.stderr
    assert ran.stderr.count("\n") == 1


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
