"""File systems without locks: real calls fail, by a library that is loaded before the C library's."""

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.preloaded import built, needs_preloading
from support.scale import scaled
from support.world import ADDED, FEED, LISTED, World, make_world

pytestmark = needs_preloading

COMMANDS = {
    "sync": ("sync", "--wait", "1"),
    "override": ("override", "allow", ADDED, "--reason", "x"),
    "enforce": ("enforce", "--sink", "file:drop"),
    "publish": ("publish", "refresh", "publisher", "--wait", "1", "--passphrase-file", "passphrase"),
    "mirror": ("mirror", "mirror", "--wait", "1"),
}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("no_locks", tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    with world.recipient() as recipient:
        recipient.sync()
        recipient.overrides.allow(ADDED, reason="a friend")
    (world.directory / "passphrase").write_text("generated for a test")
    return world


def ran(world: World, shim: Path, number: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    env |= {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_STATE_DIR": str(world.directory / "cache-state"),
        "BLOCKLIST_PASSPHRASE": "generated for a test",
        "NO_LOCKS": str(number),
        "LD_PRELOAD": str(shim),
    }
    program = "from blocklist_sdk.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=world.directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


ERRORS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)
IN_TURN = [(command, ERRORS[place % len(ERRORS)]) for place, command in enumerate(COMMANDS)]


@pytest.mark.parametrize(("command", "number"), scaled(IN_TURN, long=[*itertools.product(COMMANDS, ERRORS)]))
def test_it_is_named_and_what_to_do(world: World, shim: Path, command: str, number: int) -> None:
    if (command, number) == ("override", errno.ENOLCK):
        pytest.skip("SQLite waits ten seconds: the next test has it")
    found = ran(world, shim, number, *COMMANDS[command])
    assert (found.returncode, found.stdout) == (74, ""), found
    (line,) = found.stderr.splitlines()
    for words in ("cannot be locked: its file system has no locks", "local disk", str(world.directory), "NFS"):
        assert words in line
    if command in ("override", "sync"):
        assert "--cache-dir" in line


def test_a_look_up_that_cannot_lock_the_overrides(world: World, shim: Path) -> None:
    """SQLite has one word for a database in use and for one that cannot be locked (ENOLCK)."""
    found = ran(world, shim, errno.ENOLCK, "check", LISTED)
    assert (found.returncode, found.stdout) == (74, "")
    assert "recipient.sqlite cannot be locked: its file system has no locks" in found.stderr


def test_with_locks_nothing_is_said(world: World, shim: Path) -> None:
    found = ran(world, shim, 0, *COMMANDS["sync"])
    assert (found.returncode, found.stderr) == (0, "")
