"""The commands of a recipient in the environments that machines are: each a real process, each with its outcome.

A further environment is one more line in `ENVIRONMENTS`.
"""

import contextlib
import functools
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from support.command_line import run
from support.preloaded import built
from support.scale import LONG, scaled
from support.web_servers import PROXY_VARIABLES, proxy_that_answers, web_server
from support.world import ADDED, FEED, FIRST, LISTED, World, copy_world, make_world

COMMANDS: dict[str, tuple[str, ...]] = {
    "sync": ("sync",),
    "check": ("check", LISTED),
    "status": ("status",),
    "enforce": ("enforce", "--sink", "file:{drop}"),
}
"""What runs in each environment, in this order."""


class Outcome(NamedTuple):
    """What comes of a command.

    Attributes:
        code: its exit code.
        words: words of standard output if the code is 0 or 1, else of standard error.
        warned: words of standard error beside a code of 0 or 1; nothing stands there without them.
    """

    code: int
    words: str
    warned: str = ""


FINE: dict[str, Outcome] = {
    "sync": Outcome(0, f"{FEED}: release 1 by snapshot: {len(FIRST):,} added"),
    "check": Outcome(1, "blocked"),
    "status": Outcome(0, "digest"),
    "enforce": Outcome(0, f"release 1: {len(FIRST):,} enforced"),
}
"""What comes of each command where nothing is wrong."""

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
        outcome: what comes of the commands, where it is not that of `FINE`.
        needs: a command that must succeed, or else the environment cannot be made on this machine.
        cache: the name of the cache's directory.
        served: how the repository is served, ``http`` or ``https`` with a certificate of an authority of one's own;
            None for a folder. `{port}` is the server's, and `{ca}` the authority's file.
        proxy: what a proxy answers to every request; `{proxy}` is its port. Without it the
            port is one on which nobody listens.
        options: further arguments of commands.
        clock: by how much the clock of the commands is off.
        is_synced: whether the list was synced before, with none of this.
    """

    prefix: tuple[str, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)
    outcome: Mapping[str, Outcome] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    cache: str = "cache"
    served: str | None = None
    proxy: str | None = None
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clock: timedelta = timedelta(0)
    is_synced: bool = False


def shell(script: str) -> tuple[str, ...]:
    """A prefix that runs a script first."""
    return ("sh", "-c", f'{script}; exec "$@"', "sh")


def everywhere(code: int, words: str) -> dict[str, Outcome]:
    return dict.fromkeys(COMMANDS, Outcome(code, words))


def without_list(code: int, words: str) -> dict[str, Outcome]:
    """No list is got: sync and status say why, and each of the others that there is none."""
    none = Outcome(2, f"feed '{FEED}' has no list on this machine, since its last sync")
    return {"sync": Outcome(code, words), "check": none, "status": Outcome(0, words), "enforce": none}


def told(clock: str) -> dict[str, Outcome]:
    """The list that was synced before is used, and each command warns that this machine's clock is behind."""
    return {
        "sync": Outcome(0, "up to date at release 1", clock),
        "check": Outcome(1, clock, clock),
        "status": Outcome(0, clock),
        "enforce": Outcome(0, FINE["enforce"].words, clock),
    }


NO_PROXIES = (
    "127.0.0.1",
    "127.0.0.0/8",
    "127.0.0.1:{port}",
    "localhost,10.0.0.0/8,fd00::/8,127.0.0.1",
    "[::1]:80 [fd00::7] 127.0.0.1",
    ".example, *.example ,127.0.0.1,",
    "::ffff:127.0.0.1",
    "*",
)
"""Eight forms of NO_PROXY, each of which names the server on loopback. `test_proxies.py` has them all each time."""

PROXY = {"ALL_PROXY": "http://me:s3cret@127.0.0.1:{proxy}", "BLOCKLIST_SYNC_DEADLINE": "5s"}
NEVER_TRUSTED = "the certificate of https://127.0.0.1:{port} was not trusted"
FROM_NOW = (
    "either the publisher's clock is ahead, or this machine's is behind. By the clock of the server it is the latter: "
    "this machine's clock is"
)
AHEAD = "this machine's clock is 366 days, 0:00:0"
PAST = Outcome(1, "blocked", "is past its signed expiry")
CLOCKS = ("cc", "--version")
"""What makes a clock that is off: a library that is compiled here."""


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
            "sync": Outcome(74, NAME_OTHERS),
            "check": Outcome(2, "was never synced"),
            "status": Outcome(0, "never synced"),
            "enforce": Outcome(74, NAME_OTHERS),
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
    "a proxy that refuses": Environment(
        env=PROXY | {"NO_PROXY": "fd00::/8"},
        outcome=without_list(3, "the proxy http://127.0.0.1:{proxy} (ALL_PROXY) cannot be reached"),
        served="http",
    ),
    "a proxy that answers 407": Environment(
        env=PROXY,
        outcome=without_list(
            77, "the proxy http://127.0.0.1:{proxy} (ALL_PROXY) does not accept the account in ALL_PROXY (407)"
        ),
        served="http",
        proxy="407 Proxy Authentication Required",
    ),
    "a proxy that answers 407, and a folder": Environment(env=PROXY, proxy="407 Proxy Authentication Required"),
    **{
        f"NO_PROXY={form}": Environment(env=PROXY | {"NO_PROXY": form}, served="http", proxy="407 No")
        for form in scaled(NO_PROXIES[::3], long=NO_PROXIES)
    },
    "an authority of one's own, which nothing names": Environment(
        env={"BLOCKLIST_SYNC_DEADLINE": "5s"}, outcome=without_list(3, NEVER_TRUSTED), served="https"
    ),
    "an authority of one's own, by --ca": Environment(options={"sync": ("--ca", "{ca}")}, served="https"),
    "an authority of one's own, by BLOCKLIST_CA": Environment(env={"BLOCKLIST_CA": "{ca}"}, served="https"),
    "an authority of one's own, by SSL_CERT_FILE": Environment(env={"SSL_CERT_FILE": "{ca}"}, served="https"),
    "a clock 400 days behind": Environment(
        outcome=without_list(6, f"399 days from now: {FROM_NOW}"),
        needs=CLOCKS,
        served="http",
        clock=timedelta(days=-400),
    ),
    "a clock 10 days behind": Environment(
        outcome=without_list(6, f"9 days and 23 hours from now: {FROM_NOW}"),
        needs=CLOCKS,
        served="http",
        clock=timedelta(days=-10),
    ),
    "a clock 400 days behind, since the last sync": Environment(
        outcome=told("this machine's clock is 399 days, 23:5"),
        needs=CLOCKS,
        served="http",
        clock=timedelta(days=-400),
        is_synced=True,
    ),
    "a clock 10 days behind, since the last sync": Environment(
        outcome=told("this machine's clock is 9 days, 23:5"),
        needs=CLOCKS,
        served="http",
        clock=timedelta(days=-10),
        is_synced=True,
    ),
    "a clock 70 seconds behind": Environment(needs=CLOCKS, served="http", clock=timedelta(seconds=-70)),
    "a clock 2 minutes ahead": Environment(needs=CLOCKS, served="http", clock=timedelta(minutes=2)),
    "a clock a year ahead": Environment(
        outcome=without_list(5, AHEAD), needs=CLOCKS, served="http", clock=timedelta(days=366)
    ),
    "a clock a year ahead, since the last sync": Environment(
        outcome={
            "sync": Outcome(5, AHEAD),
            "check": PAST,
            "status": Outcome(0, AHEAD),
            "enforce": Outcome(0, FINE["enforce"].words, PAST.warned),
        },
        needs=CLOCKS,
        served="http",
        clock=timedelta(days=366),
        is_synced=True,
    ),
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
def world(template: World, disk_path: Path) -> World:
    """On a disk, since environments mount something else over the memory."""
    return copy_world(template, disk_path)


def ran(
    world: World,
    arguments: tuple[str, ...],
    *,
    cache: Path,
    prefix: tuple[str, ...] = (),
    env: Mapping[str, str | None] | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BLOCKLIST_")
        and name.upper() not in (*PROXY_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
    }
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


def prepared(world: World, *arguments: str, cache: Path, env: Mapping[str, str]) -> None:
    """Run a command that must succeed in this process, where nothing is special."""
    settings = {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(cache),
    }
    done = run(*arguments, env={**settings, **env})
    assert done.code == 0, done


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wrong_clock", tmp_path_factory.mktemp("shim"))


@contextlib.contextmanager
def around(world: World, environment: Environment) -> Iterator[dict[str, str]]:
    """Start the servers that an environment has; yields what stands for the names in braces, and `url`."""
    authority = trustme.CA()
    ca = world.directory / "our-ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    places = {"directory": str(world.directory), "drop": str(world.directory / "rw" / "drop"), "ca": str(ca)}
    with contextlib.ExitStack() as stack:
        if environment.served is None:
            places["url"] = world.url
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if environment.served == "https" else None
            if context is not None:
                authority.issue_cert("127.0.0.1").configure_cert(context)
            places["port"] = str(stack.enter_context(web_server(world.repository, context)))
            places["url"] = f"{environment.served}://127.0.0.1:{places['port']}"
        # Nobody listens on port 9.
        places["proxy"] = str(stack.enter_context(proxy_that_answers(environment.proxy)) if environment.proxy else 9)
        yield places


def filled(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def commands_in(name: str) -> Iterable[str]:
    """What runs in an environment: all commands in the long form and where nothing is wrong, else two, of which one
    makes what the other needs; each command in a third of the environments.

    A proxy and an authority are the matter of `sync` alone.
    """
    environment = ENVIRONMENTS[name]
    if LONG or environment == Environment():
        return COMMANDS
    if environment.served is not None and not environment.clock:
        return ("sync",)
    others = [command for command in COMMANDS if command != "sync"]
    return ("sync", others[[*ENVIRONMENTS].index(name) % len(others)])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_command_ends_as_it_should(world: World, name: str, request: pytest.FixtureRequest) -> None:
    environment = ENVIRONMENTS[name]
    if not can_be_made(environment.needs):
        pytest.skip(f"needs {' '.join(environment.needs)}")
    writable = world.directory / "rw"
    writable.mkdir()
    cache = writable / environment.cache
    with around(world, environment) as places:
        env = {variable: value and filled(value, places) for variable, value in environment.env.items()}
        env["BLOCKLIST_URL"] = places["url"]
        if environment.served != "https":
            env["SSL_CERT_DIR"] = os.environ["SSL_CERT_DIR"]  # empty: to read this machine's authorities takes a while
        if environment.is_synced:
            prepared(world, "sync", cache=cache, env={"BLOCKLIST_URL": places["url"]})
        if environment.clock:
            env["LD_PRELOAD"] = str(request.getfixturevalue("wrong_clock"))
            env["CLOCK_OFFSET_S"] = str(round(environment.clock.total_seconds()))
        for command in commands_in(name):
            arguments = COMMANDS[command]
            found = ran(
                world,
                tuple(filled(argument, places) for argument in (*arguments, *environment.options.get(command, ()))),
                cache=cache,
                prefix=tuple(filled(part, places) for part in environment.prefix),
                env=env,
            )
            code, words, warned = environment.outcome.get(command, FINE[command])
            assert found.returncode == code, (command, found)
            out, err = found.stdout.decode(), found.stderr.decode()
            assert filled(words, places) in (out if code in (0, 1) else err), (command, found)
            assert "Traceback" not in err
            assert "internal error" not in err
            assert "s3cret" not in out + err
            if code in (0, 1):
                assert (warned in err) if warned else (err == ""), (command, found)


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
    readable = {"BLOCKLIST_FILE_MODE": "0644"}
    prepared(world, "sync", cache=cache, env=readable)
    prepared(world, "override", "allow", ADDED, "--reason", "a friend", cache=cache, env=readable)
    if kind == "other roots since":
        for _ in range(2):
            world.publisher.rotate_keys("root")
        world.release(FIRST[:-1])
        prepared(world, "sync", cache=cache, env=readable)
    chown_all(cache, 4242)
    before = state_of(cache)
    # That the roots are others makes no difference to the rest.
    reads = READS if LONG or kind == "plain" else {name: READS[name] for name in ("verify", "status", "check")}
    for name, (arguments, code) in reads.items():
        found = ran(world, tuple(each.replace("{mine}", str(mine)) for each in arguments), cache=cache, prefix=UNSHARED)
        assert found.returncode == code, (name, found)
        assert b"cannot" not in found.stderr, (name, found)
    assert state_of(cache) == before
    # It is another user indeed, and one whom nobody lets read is told how to be let.
    assert ran(world, ("sync",), cache=cache, prefix=UNSHARED).returncode == 74
    for path in (cache, *cache.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o007)
    found = ran(world, ("check", LISTED), cache=cache, prefix=UNSHARED)
    assert found.returncode == 74
    assert b"--group" in found.stderr


def chown_all(directory: Path, user: int) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def state_of(directory: Path) -> dict[Path, tuple[int, int, int]]:
    stats = {path: path.lstat() for path in directory.rglob("*")}
    return {path: (status.st_mtime_ns, status.st_size, status.st_mode) for path, status in stats.items()}
