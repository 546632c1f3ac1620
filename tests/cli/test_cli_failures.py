"""Every failure is one line on standard error and the exit code of its kind; the list in force still answers."""

import inspect
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from blocklist_sdk import Publisher, errors
from blocklist_sdk.cli.exit_codes import ERRORS, exit_code
from blocklist_sdk.recipient.cache.store import Store
from support.command_line import assert_fails, run
from support.loopback import Handler, answering
from support.world import (
    FEED,
    LISTED,
    OTHER_FEED,
    PASSPHRASE,
    SECOND,
    Forger,
    World,
    copy_world,
    make_world,
    past,
    stranger,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose recipient has synced once."""
    world = make_world(tmp_path_factory.mktemp("template"))
    with world.recipient() as recipient:
        recipient.sync()
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def settings(world: World, **changed: object) -> list[str]:
    given: dict[str, object] = {
        "url": world.url,
        "feed": FEED,
        "root": world.publisher.root,
        "region": "ID",
        "cache-dir": world.directory / "cache",
        "state-dir": world.directory / "cache-state",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return [text for name, value in given.items() for text in (f"--{name}", str(value))]


def tamper(world: World) -> None:
    world.release(SECOND)
    for path in world.release_files("*.2.*.parquet"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")


def replay(world: World) -> None:
    timestamp = world.metadata / "timestamp.json"
    old = timestamp.read_bytes()
    world.release(SECOND)
    with world.recipient() as recipient:
        recipient.sync()
    timestamp.write_bytes(old)


def portal(world: World) -> None:
    (world.metadata / "timestamp.json").write_text("<html>Please log in</html>")


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda world: Forger(world).forge("timestamp", past), 5),
        (lambda world: Forger(world).forge("timestamp", signers=[stranger()]), 4),
        (tamper, 4),
        (replay, 4),
        (portal, 4),
        (lambda world: (world.metadata / "timestamp.json").unlink(), 3),
    ],
    ids=["expired", "forged", "tampered", "replayed", "captive portal", "not there"],
)
def test_a_repository_that_is_refused(world: World, harm: Callable[[World], object], code: int) -> None:
    harm(world)
    assert_fails(run("sync", *settings(world)), code)
    answer = run("check", LISTED, *settings(world))
    assert answer.code == 1
    assert answer.out.startswith("blocked")


def test_a_server_that_does_not_answer(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert_fails(run("sync", *settings(world, url=f"http://127.0.0.1:{port}")), 3, str(port))


def test_the_root_of_another_authority(world: World, tmp_path: Path) -> None:
    other = make_world(tmp_path / "other")
    empty = tmp_path / "empty"
    assert_fails(run("sync", *settings(world, root=other.publisher.root, cache_dir=empty)), 4)


def test_an_unknown_feed(world: World) -> None:
    words = ("no feed 'id-unknown'", f"only: {OTHER_FEED}, {FEED}.")
    assert_fails(run("sync", *settings(world, feed="id-unknown")), 2, "--feed: ", *words)
    other = ("--feed", "id-unknown")
    ran = run("mirror", world.directory / "mirror", "--url", world.url, "--root", world.publisher.root, *other)
    assert_fails(ran, 2, *words)
    (source := world.directory / "list.txt").write_text(LISTED)
    passphrase = {"BLOCKLIST_PASSPHRASE": PASSPHRASE}
    ran = run("publish", "release", world.publisher.directory, "--from", source, *other, env=passphrase)
    assert_fails(ran, 2, *words)


@pytest.mark.parametrize(
    ("status", "account", "words"),
    [
        (401, False, ("wants an account, and none was given", "--client-id")),
        (403, False, ("does not let everybody have", "--client-id")),
        (401, True, ("does not accept the credentials of this account",)),
        (403, True, ("this account may not have this file", "name of the feed")),
    ],
)
def test_what_a_server_does_not_permit(
    world: World, tmp_path: Path, status: int, account: bool, words: tuple[str, ...]
) -> None:
    """Of the whole repository, and of a feed's own files alone."""
    for part in ("/", f"/targets/{FEED}"):

        def step_in(handler: Handler, part: str = part) -> bool:
            return handler.path.startswith(part) and handler.fail(status)

        with answering(world.repository, step_in) as (url, _):
            address = url.replace("http://", "http://somebody:Pa55@") if account else url
            mirror = tmp_path / f"mirror{len(part)}"
            for command in (
                ("sync", *settings(world, url=address, cache_dir=tmp_path / f"cache{len(part)}")),
                ("mirror", mirror, "--url", address, "--root", world.publisher.root),
            ):
                ran = run(*command)
                assert (ran.code, ran.out) == (77, ""), ran
                for word in (f"the server answered {status}", url, *words):
                    assert word in ran.err
                assert "Pa55" not in ran.err


@pytest.mark.parametrize("command", ["sync", "status", "export"])
def test_a_root_that_does_not_exist(world: World, command: str) -> None:
    assert_fails(run(command, *settings(world, root="nowhere.json")), 2, "nowhere.json", "from the authority")


def test_a_root_that_is_not_one(world: World, tmp_path: Path) -> None:
    root = tmp_path / "wrong.json"
    root.write_text("{}")
    assert_fails(run("sync", *settings(world, root=root)), 2)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": "ftp://lists.example"}, ("base URL", "https:")),
        ({"feed": "Not A Feed"}, ("Not A Feed",)),
        ({"region": "Narnia"}, ("Narnia",)),
    ],
)
def test_settings_that_cannot_be_used(world: World, changed: dict[str, str], words: tuple[str, ...]) -> None:
    ran = run("status", *settings(world, **changed))
    assert_fails(ran, 2, *words)
    assert "S3cret" not in ran.err


def test_a_cache_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    # Not even root can make a directory under a file.
    (tmp_path / "file").write_text("")
    assert_fails(run("sync", *settings(world, cache_dir=tmp_path / "file" / "cache")), 74, "cannot use")


def test_an_export_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_fails(run("export", "-o", tmp_path / "file" / "list.csv", *settings(world)), 74, "list.csv")


def test_a_sync_while_another_one_runs(world: World) -> None:
    with Store(world.directory / "cache" / FEED).lock(1.0):
        assert_fails(run("sync", "--wait", "0.05", *settings(world)), 75, "another process", "0.05 s")
    assert run("sync", *settings(world)).code == 0


def test_damage_that_was_survived_is_written(world: World) -> None:
    pointer = world.directory / "cache" / FEED / "current.json"
    pointer.write_text("damaged")
    ran = run("check", LISTED, *settings(world))
    assert ran.code == 1
    assert "damaged" in ran.err


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", (), ("empty",)),
        ("number\nGoPay\n1\n", (), ("0 of 2 rows in the list", "region")),
        ("number\n0812-0000-0001\n", ("--column", "phone"), ("phone", "number")),
        ("number\n0812-0000-0001\n", ("--region", "Narnia"), ("Narnia",)),
        ("number\n0812-0000-0001\n", ("--level", "maybe"), ("maybe",)),
        ("number\n0812-0000-0001\n", ("--scope", "smoke"), ("smoke",)),
    ],
)
def test_a_list_that_cannot_be_published(
    world: World, tmp_path: Path, content: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    source = tmp_path / "new.csv"
    source.write_text(content)
    before = (world.metadata / "timestamp.json").read_bytes()
    ran = run(
        *("publish", "release", str(world.publisher.directory), "--feed", FEED, "--from", str(source), *options),
        env={"BLOCKLIST_PASSPHRASE": PASSPHRASE},
    )
    assert_fails(ran, 2, *words)
    assert (world.metadata / "timestamp.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "command", "words"),
    [
        (("chek",), "blocklist", ("chek", "Did you mean 'check'? See")),
        (("check",), "blocklist check", ("NUMBER",)),
        (("check", "1", "--zork"), "blocklist check", ("No such option: --zork", "See")),
        (("check", "1", "--scope", "smoke"), "blocklist check", ("--scope", "smoke")),
        (("sync", "--wait", "soon"), "blocklist sync", ("--wait",)),
        (("sync", "--wait", "-1"), "blocklist sync", ("--wait",)),
        (("export", "--format", "xlsx"), "blocklist export", ("--format", "xlsx")),
        (("publish",), "blocklist publish", ("Missing command",)),
        (("override",), "blocklist override", ("Missing command",)),
        (("override", "allow"), "blocklist override allow", ("NUMBER",)),
        (("publish", "init", "somewhere"), "blocklist publish init", ("--feed",)),
        (("publish", "release", "somewhere", "--feed", "x"), "blocklist publish release", ("--from",)),
        (("report", "1", "--zork"), "blocklist report send", ("--zork",)),
        (("demo", "--rows", "0"), "blocklist demo", ("--rows",)),
    ],
)
def test_usage(arguments: tuple[str, ...], command: str, words: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert_fails(ran, 2, *words)
    assert ran.err.endswith(f" See {command} --help\n")


def test_without_a_command_the_help_is_shown() -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert "Usage" in ran.err


def test_a_warning_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(directory: Path, **options: object) -> None:
        for _ in range(3):
            logging.getLogger("blocklist_sdk").warning("the clock is wrong in %s", directory)
        try:
            raise errors.Malformed("the list is damaged")
        except errors.Malformed as error:
            logging.getLogger("blocklist_sdk").error("cannot open it: %s", error)
            raise errors.Malformed(str(error)) from error

    monkeypatch.setattr(Publisher, "open", warns)
    ran = run("publish", "keys", "show", "somewhere")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.splitlines() == [
        "blocklist: the clock is wrong in somewhere",
        "blocklist: the list is damaged",
    ]


def test_every_error_has_an_exit_code() -> None:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.BlocklistError):
            assert any(parent in ERRORS for parent in kind.__mro__)
    assert exit_code(errors.NotPermitted("no", url="https://lists.example", status=403)) == 77
    assert exit_code(errors.Refused("the guard says no")) == 6
    assert exit_code(errors.ExchangeError("no", status=403, problem={})) == 77
    assert exit_code(errors.ExchangeError("no", status=409, problem={})) == 2
    assert exit_code(errors.ExchangeError("no", status=500, problem={})) != 0
