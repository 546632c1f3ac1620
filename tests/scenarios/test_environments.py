"""The commands of a recipient in the environments that machines are: each a real process, each with its outcome.

A further environment is one more line in `ENVIRONMENTS`.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.world import ADDED, FEED, FIRST, LISTED, World, copy_world, make_world

COMMANDS: dict[str, tuple[str, ...]] = {
    "sync": ("sync",),
    "check": ("check", LISTED),
    "status": ("status",),
    "enforce": ("enforce", "--sink", "file:{drop}"),
}
"""What runs in each environment, in this order."""

FINE: dict[str, tuple[int, str]] = {
    "sync": (0, f"{FEED}: release 1 by snapshot: {len(FIRST):,} added"),
    "check": (1, "blocked"),
    "status": (0, "digest"),
    "enforce": (0, f"release 1: {len(FIRST):,} enforced"),
}
"""Exit codes, and words of standard output if the code is 0 or 1, else of standard error."""

UNSHARED = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
"""Runs a program as a user without an entry in the password file, and without privileges."""

MOUNTS = ("unshare", "--map-root-user", "--mount")
"""Runs a program that may mount file systems, which only itself sees."""

HOMELESS = {"HOME": None, "XDG_CACHE_HOME": None, "XDG_STATE_HOME": None, "LOGNAME": None, "USER": None}
UNNAMED = {"BLOCKLIST_CACHE_DIR": None, "BLOCKLIST_STATE_DIR": None}
NAME_OTHERS = "BLOCKLIST_CACHE_DIR"


@dataclass(frozen=True)
class Environment:
    """An environment, and what comes of each command.

    Attributes:
        prefix: what starts the command; `{directory}` is the test's own directory.
        env: variables that differ, None for those that are not set; `{directory}` as in `prefix`.
        outcome: exit codes and words, where they are not those of `FINE`.
        needs: a command that must succeed, or else the environment cannot be made on this machine.
        cache: the name of the cache's directory.
    """

    prefix: tuple[str, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)
    outcome: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    cache: str = "cache"


def shell(script: str) -> tuple[str, ...]:
    """A prefix that runs a script first."""
    return ("sh", "-c", f'{script}; exec "$@"', "sh")


def everywhere(code: int, words: str) -> dict[str, tuple[int, str]]:
    return dict.fromkeys(COMMANDS, (code, words))


ENVIRONMENTS: dict[str, Environment] = {
    "nothing special": Environment(),
    "no HOME and no passwd entry": Environment(UNSHARED, HOMELESS, needs=(*UNSHARED, "true")),
    "no HOME, no passwd entry, no directories": Environment(
        UNSHARED, HOMELESS | UNNAMED, everywhere(2, NAME_OTHERS), needs=(*UNSHARED, "true")
    ),
    "an empty HOME": Environment(
        UNSHARED, {**HOMELESS, **UNNAMED, "HOME": ""}, everywhere(2, NAME_OTHERS), needs=(*UNSHARED, "true")
    ),
    "a HOME that may not be written": Environment(
        (*shell("mkdir -p {directory}/home; chmod 0555 {directory}/home"), *UNSHARED),
        {**HOMELESS, **UNNAMED, "HOME": "{directory}/home"},
        {
            "sync": (74, NAME_OTHERS),
            "check": (2, "was never synced"),
            "status": (0, "never synced"),
            "enforce": (74, NAME_OTHERS),
        },
        needs=(*UNSHARED, "true"),
    ),
    "a read-only root, and the cache alone can be written": Environment(
        (
            *MOUNTS,
            *shell("mount --bind {directory}/rw {directory}/rw && mount -o remount,bind,ro / || exit 99"),
        ),
        needs=(*MOUNTS, "sh", "-c", "mount --bind /tmp /tmp && mount -o remount,bind,ro /"),
    ),
    "umask 077": Environment(shell("umask 077")),
    "LANG=C": Environment(env={"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    "a name that is not UTF-8": Environment(
        cache=os.fsdecode(b"caf\xe9"), outcome=everywhere(2, "is not UTF-8: rename")
    ),
    "a name with letters of Vietnam in LANG=C": Environment(cache="Hà Nội", env={"LANG": "C", "LC_ALL": "C"}),
    "a deleted working directory": Environment(
        shell("mkdir {directory}/gone; cd {directory}/gone; rmdir {directory}/gone")
    ),
    "a deleted working directory and relative paths": Environment(
        shell("mkdir {directory}/gone; cd {directory}/gone; rmdir {directory}/gone"),
        {"BLOCKLIST_CACHE_DIR": "cache"},
        everywhere(2, "the working directory has been deleted"),
    ),
    "standard input closed": Environment(shell("exec <&-")),
    "standard output closed": Environment(shell("exec >&-"), outcome=everywhere(74, "")),
    "standard error closed": Environment(shell("exec 2>&-")),
    "TMPDIR that is missing": Environment(env={"TMPDIR": "/nowhere"}),
    "few open files": Environment(shell("ulimit -n 32")),
    "no shared memory": Environment(
        (*MOUNTS, *shell("mount -t tmpfs -o ro none /dev/shm || exit 99")),
        needs=(*MOUNTS, "sh", "-c", "mount -t tmpfs -o ro none /dev/shm"),
    ),
    "PYTHONOPTIMIZE=2": Environment(env={"PYTHONOPTIMIZE": "2"}),
}


@functools.cache
def can_be_made(needs: tuple[str, ...]) -> bool:
    if not needs:
        return True
    return (
        shutil.which(needs[0]) is not None and subprocess.run(needs, capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def ran(
    world: World,
    arguments: tuple[str, ...],
    *,
    cache: Path,
    prefix: tuple[str, ...] = (),
    env: Mapping[str, str | None] | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    variables: dict[str, str | None] = {
        **inherited,
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(cache),
        **(env or {}),
    }
    program = "from blocklist_sdk.cli import main; main()"
    return subprocess.run(
        [*prefix, sys.executable, "-P", "-c", program, *arguments],
        cwd=world.directory,
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_command_ends_as_it_should(world: World, name: str) -> None:
    environment = ENVIRONMENTS[name]
    if not can_be_made(environment.needs):
        pytest.skip(f"needs {' '.join(environment.needs)}")
    writable = world.directory / "rw"
    writable.mkdir()
    places = {"directory": str(world.directory), "drop": str(writable / "drop")}
    for command, arguments in COMMANDS.items():
        found = ran(
            world,
            tuple(argument.replace("{drop}", places["drop"]) for argument in arguments),
            cache=writable / environment.cache,
            prefix=tuple(part.replace("{directory}", places["directory"]) for part in environment.prefix),
            env={
                variable: value and value.replace("{directory}", places["directory"])
                for variable, value in environment.env.items()
            },
        )
        code, words = environment.outcome.get(command, FINE[command])
        assert found.returncode == code, (command, found)
        out, err = found.stdout.decode(), found.stderr.decode()
        assert words in (out if code in (0, 1) else err), (command, found)
        assert "Traceback" not in err
        assert "internal error" not in err
        if code in (0, 1):
            assert err == "", (command, found)


READS: dict[str, tuple[tuple[str, ...], int]] = {
    "verify": (("verify",), 0),
    "status": (("status",), 0),
    "check": (("check", LISTED), 1),
    "explain": (("explain", LISTED), 1),
    "export": (("export", "-o", "{mine}/list.csv"), 0),
    "changes": (("changes", "--since", "0"), 0),
    "screen": (("screen", "{mine}/numbers.csv", "-o", "{mine}/screened.csv"), 0),
    "override list": (("override", "list"), 0),
}
"""What somebody does who may only read, and how it ends."""


@pytest.mark.skipif(
    os.geteuid() != 0 or not can_be_made((*UNSHARED, "true")), reason="needs root and user namespaces: to become others"
)
@pytest.mark.parametrize("kind", ["plain", "other roots since"])
def test_who_may_only_read_is_answered_and_writes_nothing(world: World, tmp_path: Path, kind: str) -> None:
    cache, mine = world.directory / "cache", tmp_path / "mine"
    mine.mkdir()
    (mine / "numbers.csv").write_text(f"number\n{LISTED}\n")
    assert ran(world, ("sync",), cache=cache).returncode == 0
    assert ran(world, ("override", "allow", ADDED, "--reason", "a friend"), cache=cache).returncode == 0
    if kind == "other roots since":
        for _ in range(2):
            world.publisher.rotate_keys("root")
        world.release(FIRST[:-1])
        assert ran(world, ("sync",), cache=cache).returncode == 0
    chown_all(cache, 4242)
    before = state_of(cache)
    for name, (arguments, code) in READS.items():
        found = ran(world, tuple(each.replace("{mine}", str(mine)) for each in arguments), cache=cache, prefix=UNSHARED)
        assert found.returncode == code, (name, found)
        assert b"cannot" not in found.stderr, (name, found)
    assert state_of(cache) == before
    # It is another user indeed.
    assert ran(world, ("sync",), cache=cache, prefix=UNSHARED).returncode == 74


def chown_all(directory: Path, user: int) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def state_of(directory: Path) -> dict[Path, tuple[int, int, int]]:
    stats = {path: path.lstat() for path in directory.rglob("*")}
    return {path: (status.st_mtime_ns, status.st_size, status.st_mode) for path, status in stats.items()}
