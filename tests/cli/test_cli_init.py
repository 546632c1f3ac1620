"""``blocklist init`` and ``feeds``: from an address to a list in force, with a root that a person decided to trust."""

import json
import os
import pty
import re
import select
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocklist_sdk import Publisher
from blocklist_sdk.publisher import serving
from blocklist_sdk.release.fingerprint import fingerprint, spoken
from blocklist_sdk.settings.template import settings_text
from blocklist_sdk.settings.values import LIMITS, NAMES, holds_secret
from support.command_line import assert_fails, run
from support.world import FEED, OTHER_FEED, PASSPHRASE, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    with serving(world.repository) as address:
        yield address


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def digits(world: World) -> str:
    return fingerprint(world.publisher.root.read_bytes())


def mode_of(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_from_an_address_to_a_list_in_force(world: World, url: str) -> None:
    told = " ".join(spoken(digits(world))).upper()
    made = run("init", url, "--feed", FEED, "--fingerprint", told, "--region", "ID", "--cache-dir", "received")
    assert made.code == 0, made
    assert made.err == ""
    assert [f"  {line}" for line in spoken(digits(world))] == made.lines[1:5]
    assert made.lines[-2:] == ["  blocklist sync", "  blocklist check NUMBER"]
    assert Path("root.json").read_bytes() == world.publisher.root.read_bytes()
    for command in (["sync"], ["status"], ["check", "+6281299999999"]):
        assert run(*command).code == 0
    assert Path("received", FEED).is_dir()


def test_the_file_is_complete(world: World, url: str) -> None:
    assert run("init", url, "--feed", FEED, "--root", world.publisher.root, "--region", "ID").code == 0
    text = Path("blocklist.toml").read_text()
    assert tomllib.loads(text) == {
        "url": url,
        "feed": FEED,
        "root": str(world.publisher.root),
        "region": "ID",
    }
    mentioned = re.findall(r"^#?(\w+) = ", text, re.MULTILINE)
    assert sorted(mentioned) == sorted(set(NAMES) - set(LIMITS["publish"]))
    assert max(map(len, text.splitlines())) <= 120
    # Each line that is not set may be set as it stands there.
    assert set(tomllib.loads(re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE))) == set(mentioned)
    assert mode_of("blocklist.toml") == 0o644
    assert not Path("root.json").exists(), "the root has its place already"


def test_nothing_is_pinned_unless_a_person_says_so(world: World, url: str) -> None:
    ran = run("init", url, "--feed", FEED)
    assert_fails(
        ran, 2, "missing --root FILE or --fingerprint DIGITS", digits(world), "version 1", "Nothing was written"
    )
    ran = run("init", url, "--feed", FEED, "--fingerprint", "0" * 64)
    assert_fails(ran, 4, "no root with the fingerprint", digits(world))
    ran = run("init", url, "--feed", FEED, "--fingerprint", digits(world)[:-1])
    assert_fails(ran, 2, "64 hexadecimal digits")
    ran = run("init", url, "--feed", FEED, "--root", world.publisher.root, "--fingerprint", "0" * 64)
    assert_fails(ran, 4, "another root", digits(world))
    assert os.listdir() == []


@pytest.mark.parametrize(("typed", "code"), [("yes", 0), ("Yes ", 0), ("", 2), ("y", 2), ("no", 2)])
def test_a_person_at_a_terminal_compares_and_says_so(world: World, url: str, typed: str, code: int) -> None:
    shown, ended = at_terminal(["init", url, "--feed", FEED, "--region", "ID"], typed)
    assert ended == code, shown
    for line in spoken(digits(world)):
        assert line in shown
    assert sorted(os.listdir()) == (["blocklist.toml", "root.json"] if code == 0 else [])


def at_terminal(arguments: list[str], typed: str) -> tuple[str, int]:
    """Run a command with a terminal for all three streams, and type a line when it asks."""
    ours, theirs = pty.openpty()
    program = "import sys; from blocklist_sdk.cli import main; sys.exit(main())"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=inherited
    )
    os.close(theirs)
    shown, is_asked = "", False
    while select.select([ours], [], [], 60)[0]:
        try:
            data = os.read(ours, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data.decode()
        if not is_asked and "Type yes" in shown:
            is_asked = True
            os.write(ours, f"{typed}\n".encode())
    os.close(ours)
    return shown, process.wait(60)


def test_files_are_replaced_only_by_force(world: World, url: str) -> None:
    Path("blocklist.toml").write_text("mine")
    arguments = ("init", url, "--feed", FEED, "--fingerprint", digits(world))
    assert_fails(run(*arguments), 2, "blocklist.toml is there already", "--force")
    Path("blocklist.toml").unlink()
    Path("root.json").write_text("{}")
    assert_fails(run(*arguments), 2, "root.json is there already")
    assert os.listdir() == ["root.json"]
    assert Path("root.json").read_text() == "{}"
    assert run(*arguments, "--force").code == 0
    assert Path("root.json").read_bytes() == world.publisher.root.read_bytes()
    assert run(*arguments, "-o", "second.toml").code == 0, "the same root needs no force"
    os.mkfifo("pipe")
    assert_fails(run(*arguments, "-o", "pipe", "--force"), 2, "not a regular file")


def test_a_feed_that_does_not_exist_is_found_before_anything_is_written(world: World, url: str) -> None:
    ran = run("init", url, "--feed", "id-nowhere", "--root", world.publisher.root)
    assert_fails(ran, 2, "has no feed 'id-nowhere'", FEED)
    ran = run("init", url, "--root", world.publisher.root)
    assert_fails(ran, 2, "missing --feed NAME", FEED)
    assert os.listdir() == []


def test_what_is_no_repository(tmp_path: Path, world: World) -> None:
    empty = tmp_path / "empty"
    (empty / "metadata").mkdir(parents=True)
    assert_fails(run("init", empty.as_uri(), "--feed", FEED), 3, "offers no root", "--root")
    (empty / "metadata" / "1.root.json").write_text("<html>Please log in</html>")
    assert_fails(run("init", empty.as_uri(), "--feed", FEED), 4, "captive portal")
    shutil.copy(world.metadata / "timestamp.json", empty / "metadata" / "1.root.json")
    assert_fails(run("init", empty.as_uri(), "--feed", FEED), 4, "timestamp metadata")
    forged = json.loads(world.publisher.root.read_bytes())
    forged["signed"]["expires"] = "2099-01-01T00:00:00Z"
    (empty / "metadata" / "1.root.json").write_text(json.dumps(forged))
    assert_fails(run("init", empty.as_uri(), "--feed", FEED), 4, "do not follow")
    assert_fails(run("init", "ftp://lists.example", "--feed", FEED), 2, "https:, http: or file:")
    assert_fails(run("init", "http://127.0.0.1:9", "--feed", FEED), 3, "127.0.0.1:9")


def test_several_feeds_share_a_file(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "p", feeds=[FEED, OTHER_FEED], passphrase=PASSPHRASE)
    table = tmp_path / "list.csv"
    table.write_text("number\n+6281234567890\n")
    for feed in (FEED, OTHER_FEED):
        publisher.release(feed, table)
    url = publisher.repository.as_uri()
    made = run(
        "init", url, "--feed", FEED, "--feed", OTHER_FEED, "--root", publisher.root, "--cache-dir", "c", "--json"
    )
    assert made.document["next"] == [
        "blocklist sync",
        f"blocklist sync --feed {OTHER_FEED}",
        "blocklist check NUMBER",
    ]
    assert [feed["name"] for feed in made.document["feeds"]] == [FEED, OTHER_FEED]
    for command in made.document["next"][:2]:
        assert run(*command.split()[1:]).code == 0, command


def test_a_newer_root_is_pinned_by_its_own_fingerprint(tmp_path: Path) -> None:
    """Whichever of the roots that follow from each other a person was told, that one is pinned."""
    publisher = Publisher.init(tmp_path / "p", feeds=[FEED], passphrase=PASSPHRASE)
    first = publisher.root.read_bytes()
    publisher.rotate_keys("root")
    newest = publisher.root.read_bytes()
    assert first != newest
    url = publisher.repository.as_uri()
    for name, root in (("first", first), ("newest", newest)):
        made = run("init", url, "--feed", FEED, "--fingerprint", fingerprint(root), "-o", f"{name}/blocklist.toml")
        assert made.code == 0, made
        assert Path(name, "root.json").read_bytes() == root
        assert run("feeds", "--config", f"{name}/blocklist.toml").code == 0
    # A copy that lacks the first root, as a mirror does that pinned the second.
    next(publisher.repository.glob("metadata/1.root.json")).unlink()
    assert_fails(run("init", url, "--feed", FEED), 2, "version 2", fingerprint(newest))


def test_an_account_comes_with_its_secret_in_a_private_file(world: World) -> None:
    """On this disk no token is asked for; what is written is the same."""
    url = world.repository.as_uri()
    arguments = ("init", url, "--feed", FEED, "--root", world.publisher.root, "--client-id", "gopay")
    assert_fails(run(*arguments), 2, "missing the proof of the account gopay", "BLOCKLIST_CLIENT_SECRET")
    made = run(*arguments, "--exchange", "https://exchange.example", env={"BLOCKLIST_CLIENT_SECRET": "s3cret"})
    assert made.code == 0, made
    assert "holds a secret" in made.out
    assert "s3cret" not in made.out + made.err
    document = tomllib.loads(Path("blocklist.toml").read_text())
    assert document["client_secret"] == "s3cret"
    assert document["exchange"] == "https://exchange.example"
    assert mode_of("blocklist.toml") == 0o600
    Path("secret").write_text("s3cret\n")
    made = run(*arguments, "--client-secret-file", "secret", "-o", "second.toml", env={"BLOCKLIST_CLIENT_SECRET": "x"})
    assert tomllib.loads(Path("second.toml").read_text()).get("client_secret") is None
    assert tomllib.loads(Path("second.toml").read_text())["client_secret_file"] == "secret"
    assert mode_of("second.toml") == 0o644


def test_a_password_in_the_address_makes_the_file_private(world: World, url: str) -> None:
    address = url.replace("://", "://me:pass@")
    assert run("init", address, "--feed", FEED, "--root", world.publisher.root).code == 0
    assert mode_of("blocklist.toml") == 0o600


@pytest.mark.parametrize("name", ["url", "exchange"])
@pytest.mark.parametrize(
    ("address", "is_secret"),
    [
        ("https://lists.example/%40ours", False),
        ("https://me@lists.example", False),
        ("https://me:secret@lists.example", True),
        ("https://me:se/cr?et@lists.example", True),
        ("https://lists.example/v1?api_key=secret", True),
    ],
)
def test_which_addresses_hold_a_secret(name: str, address: str, is_secret: bool) -> None:
    assert holds_secret({name: address}) is is_secret


def test_values_stand_as_toml_reads_them() -> None:
    odd = 'a "quoted" \\ text, \u00e4, \x7f, \n, \u2028'
    assert tomllib.loads(settings_text({"organisation": odd}, about="x"))["organisation"] == odd


def test_without_a_region_it_says_which_the_publisher_uses(world: World, url: str) -> None:
    made = run("init", url, "--feed", FEED, "--root", world.publisher.root)
    assert "without region" in made.err


def test_feeds_are_shown_as_they_are_signed(world: World, url: str, tmp_path: Path) -> None:
    env = {
        "BLOCKLIST_URL": url,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(tmp_path / "c"),
    }
    found = {feed["name"]: feed for feed in run("feeds", "--json", env=env).document["feeds"]}
    status = world.publisher.status()
    assert set(found) == {feed.feed for feed in status.feeds}
    assert found[FEED]["serial"] == 1
    assert found[FEED]["era"] == 1
    assert found[FEED]["synced"] is None
    assert found[FEED]["is_permitted"] is True
    assert run("sync", "--feed", FEED, env=env).code == 0
    found = {feed["name"]: feed for feed in run("feeds", "--json", env=env).document["feeds"]}
    assert found[FEED]["synced"] == 1
    lines = run("feeds", env=env).lines
    assert lines[0].split() == ["feed", "release", "entries", "published", "scope", "synced", "here"]
    assert any(line.startswith(FEED) and line.endswith("release 1") for line in lines)


def test_feeds_are_not_shown_unverified(world: World, url: str, tmp_path: Path) -> None:
    other = Publisher.init(tmp_path / "other", feeds=[FEED], passphrase=PASSPHRASE)
    assert_fails(run("feeds", env={"BLOCKLIST_URL": url, "BLOCKLIST_ROOT": str(other.root)}), 4, "does not verify")
    assert_fails(run("feeds"), 2, "missing url and root")
