"""Files as editors save them, and files that are not there: said with file and line, before anything is asked."""

import codecs
from pathlib import Path
from types import SimpleNamespace

import pytest

from blocklist_sdk.cli.passphrase import PassphraseSource
from support.command_line import Ran, assert_fails, run
from support.world import FEED, LISTED, PASSPHRASE, World, make_world

MARK = codecs.BOM_UTF8


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    with world.recipient() as recipient:
        recipient.sync()
    return world


def settings(world: World, **changed: object) -> dict[str, str]:
    return {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_STATE_DIR": str(world.directory / "cache-state"),
        "BLOCKLIST_REGION": "ID",
        **{f"BLOCKLIST_{name.upper()}": str(value) for name, value in changed.items()},
    }


@pytest.mark.parametrize(
    "command",
    [
        "check -",
        "screen - -o x.csv",
        "override import -",
        "report bulk -",
        "receipts send -",
        "publish release DIR --feed FEED --from -",
        "publish add DIR --feed FEED -",
        "publish protect add DIR --from -",
    ],
)
def test_standard_input_that_is_closed(world: World, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    words = {"DIR": str(world.publisher.directory), "FEED": FEED}
    env = settings(world, exchange="http://127.0.0.1:9")
    # As Python has it: the module's `sys.stdin` is None where the descriptor is closed.
    monkeypatch.setattr("blocklist_sdk.cli.inputs.sys", SimpleNamespace(stdin=None))
    ran = run(*(words.get(word, word) for word in command.split()), env=env)
    assert_fails(ran, 2, "standard input is closed")


def in_utf16(data: bytes) -> bytes:
    return data.decode().encode("utf-16")


def with_config(world: World, path: Path, change: object) -> Ran:
    env = settings(world)
    lines = [f'{name.removeprefix("BLOCKLIST_").lower()} = "{value}"\n' for name, value in env.items()]
    path.write_bytes(change("".join(lines).encode()))  # type: ignore[operator]
    return run("check", LISTED, env={"BLOCKLIST_CONFIG": str(path)})


def test_settings(world: World, tmp_path: Path) -> None:
    assert with_config(world, tmp_path / "blocklist.toml", lambda data: MARK + data).code == 1
    assert_fails(with_config(world, tmp_path / "blocklist.toml", in_utf16), 2, "is UTF-16", "save it as UTF-8")
    latin = with_config(world, tmp_path / "blocklist.toml", lambda data: data + b'contact = "J\xe9r\xf4me"\n')
    assert_fails(latin, 2, "blocklist.toml is not UTF-8 (byte ")


def test_a_root(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(MARK + world.publisher.root.read_bytes())
    fresh = settings(world, root=root, cache_dir=tmp_path / "cache")
    assert run("sync", env=fresh).code == 0
    assert run("status", env=fresh).out.splitlines()[-4:] == run("status", env=settings(world)).out.splitlines()[-4:]
    given, plain = (run("publish", "keys", "fingerprint", each).out for each in (root, world.publisher.root))
    assert given == plain != ""
    ran = run("mirror", tmp_path / "mirror", env={"BLOCKLIST_URL": world.url, "BLOCKLIST_ROOT": str(root)})
    assert ran.code == 0, ran.err
    root.write_bytes(in_utf16(world.publisher.root.read_bytes()))
    assert_fails(run("sync", env=fresh), 2, "root.json is UTF-16", "save it as UTF-8")


def test_a_passphrase(world: World, tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(MARK + PASSPHRASE.encode() + b"\r\n")
    command = ("publish", "refresh", world.publisher.directory, "--passphrase-file", file)
    assert run(*command).code == 0
    file.write_bytes(in_utf16(PASSPHRASE.encode()))
    assert_fails(run(*command), 2, f"the passphrase file {file} is UTF-16")


def test_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_bytes(MARK + b'[[root]]\nuri = "hsm:2"\npublic_key = "~nosuchuser/root.pem"\n')
    command = ("publish", "init", tmp_path / "new", "--feed", FEED, "--keys", file)
    words = (f"public_key of root in the file of keys {file}", "the user 'nosuchuser' does not exist")
    assert_fails(run(*command), 2, *words)
    file.write_bytes(in_utf16(b"[[root]]"))
    assert_fails(run(*command), 2, f"the file of keys {file} is UTF-16")


def test_comments_and_marks_in_numbers_from_standard_input(world: World) -> None:
    ran = run("check", "-", stdin=MARK + f"# who called\n{LISTED}\r\n\n  # done\n".encode(), env=settings(world))
    assert (ran.code, len(ran.lines), ran.err) == (1, 1, "")
    assert_fails(run("check", "-", stdin=LISTED.encode("utf-16"), env=settings(world)), 2, "standard input is UTF-16")


def test_a_number_that_is_none_is_named_by_file_and_line(world: World, tmp_path: Path) -> None:
    env = settings(world, exchange="http://127.0.0.1:9")
    ran = run("check", "-", stdin=b"# a comment\n\nGoPay\n", env=env)
    assert_fails(ran, 2, "blocklist: standard input, line 3: ")
    table = tmp_path / "decisions.csv"
    table.write_text(f"number,decision,reason\n{LISTED},allow,a friend\nGoPay,allow,a friend\n")
    ran = run("override", "import", table, env=settings(world, state_dir=tmp_path / "state"))
    assert (ran.code, ran.err.splitlines()) == (2, []) or f"blocklist: {table}, line 3: " in ran.err
    ran = run("override", "import", "-", stdin=table.read_bytes(), env=settings(world, state_dir=tmp_path / "state"))
    assert "blocklist: standard input, line 3: " in ran.err
    for command, columns in (
        (("report", "bulk"), "number,category,text\nGoPay,fraud,x\n"),
        (("receipts", "send"), "feed,serial,entry,outcome,at\nid-all,x,1,enforced,2026-01-01\n"),
    ):
        table.write_text(columns)
        ran = run(*command, table, env=env)
        assert f"blocklist: {table}, line 2: " in ran.err, ran
    protected = tmp_path / "protected.txt"
    protected.write_text(f"# ours\n{LISTED}\nGoPay\n")
    assert_fails(run("status", env=settings(world, protected=protected)), 2, f"{protected}, line 3: ")


@pytest.fixture
def nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(self: PassphraseSource, key: str) -> str:
        raise AssertionError(f"the passphrase of {key} was asked for")

    monkeypatch.setattr(PassphraseSource, "__call__", asked)


@pytest.mark.parametrize(
    "command",
    [
        "publish release DIR --feed FEED --from MISSING",
        "publish release DIR --feed FEED --from MISSING --dry-run",
        "publish release DIR --feed FEED --from LIST --map-file MISSING",
        "publish add DIR --feed FEED --from MISSING",
        "publish remove DIR --feed FEED --from MISSING",
        "publish protect add DIR --from MISSING",
        "publish protect remove DIR --from MISSING",
        "publish protect set DIR --from MISSING",
        "publish protect apply DIR MISSING",
        "publish init NEW --feed FEED --keys MISSING",
        "publish init NEW --feed FEED --root-key MISSING --root-key MISSING",
        "publish keys sign MISSING --key MISSING",
        "exchange init NEW --region ID --routing MISSING",
        "exchange serve DIR --tls-cert MISSING --tls-key MISSING",
    ],
)
@pytest.mark.usefixtures("nothing_is_asked")
def test_a_missing_file_is_found_before_a_passphrase_is_asked_for(world: World, tmp_path: Path, command: str) -> None:
    (tmp_path / "list.txt").write_text(LISTED)
    words = {
        "DIR": str(world.publisher.directory),
        "FEED": FEED,
        "MISSING": str(tmp_path / "missing"),
        "LIST": str(tmp_path / "list.txt"),
        "NEW": str(tmp_path / "new"),
    }
    ran = run(*(words.get(word, word) for word in command.split()))
    assert_fails(ran, 2, str(tmp_path / "missing"))


@pytest.mark.usefixtures("nothing_is_asked")
def test_a_wrong_feed_is_found_before_a_passphrase_is_asked_for(world: World, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(LISTED)
    ran = run("publish", "release", world.publisher.directory, "--feed", "id-x", "--from", tmp_path / "list.txt")
    assert_fails(ran, 2, "no feed 'id-x'")
