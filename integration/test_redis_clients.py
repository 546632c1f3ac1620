"""Clients of Redis in other languages ask the Redis door of a look-up server that runs as users run it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from integration.listed import ADVISORY, FREE, LISTED, Commands
from integration.neighbours import accepts, free_port, missing, program, running

TOKEN: Final = "generated-for-a-test"
CLIENTS: Final = Path(__file__).with_name("redis_clients")
_INSTALL_S: Final = 300.0
_ASK_S: Final = 60.0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A look-up server's Redis door, which wants a token."""
    commands = Commands(tmp_path_factory.mktemp("lists"))
    commands.publish_first()
    commands.run("sync")
    (commands.folder / "token").write_text(f"{TOKEN}\n")
    (commands.folder / "token").chmod(0o600)
    opened = free_port()
    words = commands.words("serve", "--redis-port", str(opened), "--port", "0", "--token-file", "token")
    with running(
        words,
        folder=commands.folder,
        name="serve",
        ready=lambda: accepts(opened),
        environment=commands.environment,
    ):
        yield opened


def cli(port: int, *words: str, token: str = TOKEN) -> str:
    command = [str(program("redis-cli", package="Debian's redis-tools")), "-p", str(port), "-a", token, *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients for Node, from npm, as the lock has them."""
    folder = tmp_path_factory.mktemp("redis-clients")
    for name in ("package.json", "package-lock.json", "ask.mjs"):
        shutil.copy(CLIENTS / name, folder)
    npm = program("npm", package="Node.js 20 or later")
    ran = subprocess.run(
        [str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    if ran.returncode:
        missing(f"npm cannot install ioredis and redis: {ran.stderr.strip()[-300:]}")
    return folder


def test_clients_for_node_ask(port: int, installed: Path) -> None:
    node = program("node", package="Node.js 20 or later")
    words = [str(node), "ask.mjs", str(port), TOKEN, f"+{LISTED}", f"+{ADVISORY}", f"+{FREE}"]
    ran = subprocess.run(words, cwd=installed, capture_output=True, text=True, timeout=_ASK_S, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    assert found.pop("wrong token") == "WRONGPASS the token is wrong"
    assert list(found) == ["ioredis", "node-redis 2", "node-redis 3"]
    for client, answers in found.items():
        assert answers["get"] == "block", client
        assert answers["mget"] == ["block", "advisory", None], client
        assert answers["exists"] == 1, client
        assert answers["pipeline"] == ["block", None], client
        assert answers["multi"] == ["advisory", 1], client
        assert answers["refused"].startswith("ERR not a telephone number: "), client
        assert answers["written"].startswith("READONLY this list is read-only"), client
    assert found["node-redis 3"]["name"] == "gateway-1"


def test_redis_cli_asks(port: int) -> None:
    for version in ("-2", "-3"):
        assert cli(port, version, "GET", LISTED) == "block"
    assert cli(port, "MGET", LISTED, ADVISORY, FREE).split() == ["block", "advisory"]
    assert cli(port, "EXISTS", LISTED, ADVISORY) == "1"
    assert (
        cli(port, "GET", LISTED, token="wrong") == "NOAUTH Authentication required: send AUTH with the token of the "
        "look-up server"
    )
    assert "feed:id-telkomsel" in cli(port, "INFO")
    assert "block, advisory or nil" in cli(port, "COMMAND", "DOCS", "get")


def test_redis_benchmark_asks(port: int) -> None:
    benchmark = program("redis-benchmark", package="Debian's redis-tools")
    for pipeline in ("1", "16"):
        words = [str(benchmark), "-p", str(port), "-a", TOKEN, "-c", "20", "-n", "2000", "-P", pipeline, "-q"]
        words += ["-r", "1000", "-e", "GET", "+628__rand_int__"]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=_ASK_S, check=False)
        assert ran.returncode == 0
        assert "requests per second" in ran.stdout
        assert "rror" not in ran.stdout
