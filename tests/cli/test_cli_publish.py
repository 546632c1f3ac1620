"""The publisher's commands."""

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from filelock import FileLock

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.publisher import Lifetimes, Timing
from support.command_line import Ran, assert_fails, run

PASSPHRASE = "generated for a test"
ENV = {"BLOCKLIST_PASSPHRASE": PASSPHRASE}


def write_list(path: Path, *numbers: str) -> Path:
    path.write_text("number\n" + "".join(f"{number}\n" for number in numbers))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "authority"
    assert run("publish", "init", directory, "--feed", "id-all", "--region", "ID", env=ENV).code == 0
    return directory


def release(folder: Path, source: Path, *options: str | Path, env: dict[str, str] = ENV) -> Ran:
    return run("publish", "release", folder, "--feed", "id-all", "--from", source, *options, env=env)


def test_init_makes_the_folder_and_says_what_is_what(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    ran = run("publish", "init", directory, "--feed", "id-all", "--feed", "id-sms", env=ENV)
    assert (ran.code, ran.err) == (0, "")
    for name in ("repository", "root.json", "keys"):
        assert str(directory / name) in ran.out
        assert (directory / name).exists()
    assert stat.S_IMODE((directory / "keys").stat().st_mode) == 0o700


def test_init_in_json(tmp_path: Path) -> None:
    document = run("publish", "init", tmp_path / "a", "--feed", "id-all", "--json", env=ENV).document
    assert document["feeds"] == ["id-all"]
    assert Path(document["root"]).is_file()


def test_a_feeds_scope_is_declared_shown_and_changed(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    feeds = ("--feed", "id-all", "--feed", "id-ott=messaging+data")
    document = run("publish", "init", directory, *feeds, "--json", env=ENV).document
    assert (document["feeds"], document["scopes"]) == (
        ["id-all", "id-ott"],
        {"id-all": None, "id-ott": "data+messaging"},
    )
    assert run("publish", "add-feed", directory, "--feed", "id-new", "--scope", "voice", env=ENV).code == 0
    assert run("publish", "set-scope", directory, "--feed", "id-all", "--scope", "sms").code == 0
    shown = run("publish", "keys", "show", directory)
    assert [line.partition("  scope ")[2] for line in shown.lines if line.startswith("id-")] == [
        "sms",
        "voice",
        "data+messaging",
    ]
    roles = run("publish", "keys", "show", directory, "--json").document["roles"]
    assert {role["role"]: role["scope"] for role in roles if role["role"] in {"root", "id-ott"}} == {
        "root": None,
        "id-ott": "data+messaging",
    }
    assert_fails(run("publish", "set-scope", directory, "--feed", "id-all", "--scope", "fax"), 2, "scope must be")


@pytest.mark.parametrize(
    ("feeds", "word"),
    [(["id-ott="], "no scope after ="), (["id-ott=fax"], "scope must be"), (["a=sms", "a=voice"], "gives 'a' twice")],
)
def test_init_with_a_scope_that_cannot_be_used(tmp_path: Path, feeds: list[str], word: str) -> None:
    options = [part for feed in feeds for part in ("--feed", feed)]
    assert_fails(run("publish", "init", tmp_path / "authority", *options, env=ENV), 2, word)


def test_a_feed_for_messaging_without_a_scope_is_noticed_at_release(tmp_path: Path) -> None:
    directory, source = tmp_path / "authority", write_list(tmp_path / "list.csv", "+6281200000001")
    assert run("publish", "init", directory, "--feed", "id-messaging", env=ENV).code == 0
    for is_first in (True, False):
        ran = run("publish", "release", directory, "--feed", "id-messaging", "--from", source, env=ENV)
        assert ran.code == 0
        assert ("has no scope of its own" in ran.err) is is_first


def test_init_where_something_is_already(folder: Path) -> None:
    before = (folder / "root.json").read_bytes()
    assert_fails(run("publish", "init", folder, "--feed", "id-all", env=ENV), 2, "exists already")
    assert (folder / "root.json").read_bytes() == before


def write_key(directory: Path, name: str) -> tuple[Path, Path]:
    """An ECDSA key as hardware modules hold them, and its public half."""
    private = generate_private_key(SECP256R1())
    pem, public = directory / f"{name}.pem", directory / f"{name}.pub.pem"
    pem.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return pem, public


def keys_toml(directory: Path, *names: str) -> Path:
    directory.mkdir(exist_ok=True)
    tables = []
    for i, name in enumerate(names):
        pem, public = write_key(directory, f"{i}.{name}")
        tables.append(f'[[{name}]]\nuri = "file2:{pem}"\npublic_key = "{public.name}"\n')
    path = directory / "keys.toml"
    path.write_text("\n".join(tables))
    return path


def test_keys_that_exist_elsewhere_sign_the_whole_loop(tmp_path: Path) -> None:
    """ECDSA keys, none of them in the folder, so that no passphrase is needed either."""
    file = keys_toml(tmp_path, "root", "root", "root", "targets", "online", "feed.id-all")
    folder = tmp_path / "authority"
    ran = run("publish", "init", folder, "--feed", "id-all", "--region", "ID", "--keys", file)
    assert (ran.code, ran.err) == (0, "")
    assert [path.name for path in (folder / "keys").iterdir()] == ["keys.json"]
    assert release(folder, write_list(tmp_path / "1.csv", "0812-0000-0001", "0812-0000-0002"), env={}).code == 0
    with recipient(folder, tmp_path) as blocklist:
        assert blocklist.sync().kind == "snapshot"
        assert release(folder, write_list(tmp_path / "2.csv", "0812-0000-0002"), env={}).code == 0
        assert run("publish", "refresh", folder).code == 0
        more = keys_toml(tmp_path / "more", "feed.id-sms")
        assert run("publish", "add-feed", folder, "--feed", "id-sms", "--keys", more).code == 0
        assert blocklist.sync().after == 2
        assert "+6281200000001" not in blocklist
        assert "+6281200000002" in blocklist
    roles = run("publish", "keys", "show", folder, "--json").document["roles"]
    assert {key["where"].partition(":")[0] for role in roles for key in role["keys"]} == {"file2"}


def test_keys_that_the_file_does_not_name_are_made(tmp_path: Path) -> None:
    file = keys_toml(tmp_path, "targets")
    assert run("publish", "init", tmp_path / "a", "--feed", "id-all", "--keys", file, env=ENV).code == 0
    names = {path.name for path in (tmp_path / "a" / "keys").glob("*.pem")}
    assert names == {"root.1.pem", "root.2.pem", "root.3.pem", "online.pem", "feed.id-all.pem"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[[root]", "is not TOML"),
        ("\xff", "is not UTF-8"),
        ("root = 1", "[[root]]"),
        ("[root]\nuri = 'x'\npublic_key = 'x'", "[[root]]"),
        ("[[root]]\nuri = 'x'", "public_key"),
        ("[[root]]\nuri = 'x'\npublic_key = 1", "in quotes"),
        ("[[root]]\nuri = 'x'\npublic_key = 'x'\npin = '1234'", "uri and public_key"),
        ("[[feed.id-other]]\nuri = 'x'\npublic_key = 'x'", "'feed.id-other' is not the name of a key here"),
        ("[[roots]]\nuri = 'x'\npublic_key = 'x'", "'roots' is not the name of a key here"),
        ("[[root]]\nuri = 'x'\npublic_key = 'x'", "is not a public key"),
        (None, "cannot read"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used(tmp_path: Path, text: str | None, word: str) -> None:
    file = tmp_path / "keys.toml"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    assert_fails(run("publish", "init", tmp_path / "a", "--feed", "id-all", "--keys", file, env=ENV), 2, word)
    assert not (tmp_path / "a").exists()


def test_a_file_of_keys_with_one_root_key(tmp_path: Path) -> None:
    file = keys_toml(tmp_path, "root")
    ran = run("publish", "init", tmp_path / "a", "--feed", "id-all", "--keys", file, env=ENV)
    assert_fails(ran, 2, "at least 2 root keys")


def test_a_file_of_keys_without_the_feed_that_is_added(folder: Path, tmp_path: Path) -> None:
    file = keys_toml(tmp_path, "feed.id-other")
    assert_fails(run("publish", "add-feed", folder, "--feed", "id-sms", "--keys", file, env=ENV), 2, "[[feed.id-sms]]")


def test_refresh_says_what_it_could_not_sign_and_why(folder: Path, tmp_path: Path) -> None:
    """All keys but the targets key are available when every signature expires soon."""
    publisher = Publisher.open(
        folder, passphrase=PASSPHRASE, timing=Timing(lifetimes=Lifetimes(targets=timedelta(minutes=1)))
    )
    publisher.protect(["0812-3456-7001"])
    (folder / "keys" / "targets.pem").rename(tmp_path / "safe.pem")
    ran = run("publish", "refresh", folder, env=ENV)
    assert ran.code == 0
    assert "timestamp" in ran.out
    assert "'targets' needs 1 signature, but none of its keys can sign" in ran.err
    assert "put back targets.pem" in ran.err
    (overdue,) = run("publish", "refresh", folder, "--json", env=ENV).document["overdue"]
    assert overdue["role"] == "targets"
    assert overdue["expires"].endswith("Z")
    assert "put back targets.pem" in overdue["reason"]


def test_release_adds_and_removes(folder: Path, tmp_path: Path) -> None:
    first = release(folder, write_list(tmp_path / "1.csv", "0812-0000-0001", "0812-0000-0002"))
    assert (first.code, first.err) == (0, "")
    assert "release 1 with 2 entries: 2 added, 0 removed" in first.out
    second = release(folder, write_list(tmp_path / "2.csv", "0812-0000-0002", "0812-0000-0003"), "--json")
    document = second.document
    assert (document["serial"], document["added"], document["removed"]) == (2, 1, 1)


def test_release_puts_what_the_options_say(folder: Path, tmp_path: Path) -> None:
    options = ("--issuer", "ministry", "--level", "advisory", "--category", "spam", "--scope", "voice")
    assert release(folder, write_list(tmp_path / "1.csv", "0812-0000-0001"), *options).code == 0
    with recipient(folder, tmp_path) as blocklist:
        blocklist.sync()
        verdict = blocklist.check("+6281200000001")
    (entry,) = verdict.entries
    assert (verdict.level, entry.issuer, entry.category, entry.scope) == (
        "advisory",
        "ministry",
        "spam",
        frozenset({"voice"}),
    )


def test_release_reads_another_column_and_region(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("phone,note\n(213) 555-0100,x\n")
    document = release(folder, source, "--column", "phone", "--region", "US", "--json").document
    assert document["rows"] == 1
    with recipient(folder, tmp_path) as blocklist:
        blocklist.sync()
        assert "+12135550100" in blocklist


@pytest.mark.parametrize("named", [True, False])
def test_release_lists_what_it_rejects(folder: Path, tmp_path: Path, named: bool) -> None:
    rejects = tmp_path / "rejects.csv"
    options = ("--rejects", rejects) if named else ()
    source = write_list(tmp_path / "1.csv", "0812-0000-0001", "GoPay", "12")
    ran = release(folder, source, "--json", "--max-rejects", "0.7", *options)
    assert ran.code == 0
    path = Path(ran.document["rejects_path"])
    assert (path == rejects) is named
    assert [line.split(",")[0] for line in path.read_text().splitlines()[1:]] == ["3", "4"]
    assert "2 rows cannot be published" in ran.err
    assert str(path) in ran.err


def test_a_list_that_is_mostly_rejects_is_refused(folder: Path, tmp_path: Path) -> None:
    release(folder, write_list(tmp_path / "1.csv", "0812-0000-0001"))
    source = write_list(tmp_path / "2.csv", "0812-0000-0002", "GoPay")
    assert_fails(release(folder, source), 6, "1 of 2 rows in the list", "id-all.refused.csv", "Nothing was published")
    rejects = folder / "rejects" / "id-all.refused.csv"
    assert rejects.read_text().splitlines()[1].startswith("3,")
    assert release(folder, source, "--max-rejects", "0.5", "--json").document["serial"] == 2
    for share in ("1.5", "-1", "nan", "x"):
        assert release(folder, source, "--max-rejects", share).code == 2


def test_a_pattern_that_covers_too_many_numbers_is_refused(folder: Path, tmp_path: Path) -> None:
    source = write_list(tmp_path / "1.csv", "0812-0000-0001", "08123*", "0812-0000-0002", "08123456****", "0812345*")
    wide = release(folder, source)
    assert_fails(
        wide,
        6,
        "line 3, 08123*, covers 1,111,100,000 numbers",
        "recipients refuse an entry of more than 1,000,000",
        "Nothing was published",
    )
    assert "line 6, 0812345*, covers 1,111,000 numbers" in wide.err
    assert "08123456****" not in wide.err
    assert release(folder, source, "--max-cover", "1111099999").code == 6
    assert release(folder, source, "--max-cover", "1111100000", "--json").document["reach"] == 111_100_002
    assert_fails(release(folder, source), 6, "08123*")  # also what is in the release before
    for limit in ("-1", "x", "0.5"):
        assert release(folder, source, "--max-cover", limit).code == 2


def test_release_says_how_many_numbers_ranges_cover(folder: Path, tmp_path: Path) -> None:
    singles = write_list(tmp_path / "1.csv", "0812-0000-0001", "0812-0000-0002")
    assert "covers" not in release(folder, singles).out
    source = write_list(tmp_path / "2.csv", "0812-0000-0001", "08123456****", "0812345699##", "08129999999[0-9]")
    refused = release(folder, source)
    assert (refused.code, "begin to block 10,010 numbers" in refused.err) == (6, True)
    assert (
        "covers 10,011 numbers; the widest, line 3: 08123456****, covers 10,000"
        in release(folder, source, "--accept").out
    )
    document = release(folder, source, "--json").document
    assert (document["reach"], document["widest"]) == (
        10_011,
        {"line": 3, "pattern": "08123456****", "reach": 10_000},
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("GoPay\n0812-0000-0001\n", "; numbers from the column 'GoPay'"),
        ("number\n0812-0000-0001\n", ""),
        ("0812-0000-0001\n", ""),
    ],
)
def test_release_prints_the_column_that_was_guessed(folder: Path, tmp_path: Path, text: str, told: str) -> None:
    """A first line in letters is taken for the column's name, but it may have been a row."""
    source = tmp_path / "list.csv"
    source.write_text(text)
    assert f"0 changed{told} (" in release(folder, source).out
    assert release(folder, source, "--json").document["column"] == (
        text.split()[0] if told or "number" in text else None
    )


def test_rejects_over_the_publishers_own_files(folder: Path, tmp_path: Path) -> None:
    before = (folder / "root.json").read_bytes()
    source = write_list(tmp_path / "1.csv", "0812-0000-0001")
    assert_fails(release(folder, source, "--rejects", folder / "root.json"), 2, "own files")
    assert (folder / "root.json").read_bytes() == before


@pytest.mark.parametrize("option", ["--issuer", "--category"])
@pytest.mark.parametrize("value", ["", " ", "b\udcfcro"])
def test_words_that_no_entry_can_carry(folder: Path, tmp_path: Path, option: str, value: str) -> None:
    source = write_list(tmp_path / "1.csv", "0812-0000-0001")
    assert_fails(release(folder, source, option, value), 2, option[2:])


def test_refresh_waits_as_long_as_the_option_says(folder: Path, tmp_path: Path) -> None:
    source = write_list(tmp_path / "1.csv", "0812-0000-0001")
    with FileLock(folder / "lock"):
        assert_fails(run("publish", "refresh", folder, "--wait", "0.05", env=ENV), 75, "waited 0.05 s")
        assert_fails(release(folder, source, "--wait", "0.05"), 75, "waited 0.05 s")
    assert run("publish", "refresh", folder, "--wait", "0", env=ENV).code == 0


@pytest.mark.parametrize("content", ['{"format": 1}', "[" * 100_000])
@pytest.mark.parametrize("command", ["keys show", "refresh"])
def test_a_damaged_list_of_keys(folder: Path, command: str, content: str) -> None:
    (folder / "keys" / "keys.json").write_text(content)
    assert_fails(run("publish", *command.split(), folder, env=ENV), 4, "keys.json is damaged")


def test_the_root_of_the_file_system_is_not_a_new_folder() -> None:
    assert_fails(run("publish", "init", "/", "--feed", "f", env=ENV), 2, "exists already")


def test_an_empty_list_must_be_meant(folder: Path, tmp_path: Path) -> None:
    release(folder, write_list(tmp_path / "1.csv", "0812-0000-0001"))
    empty = write_list(tmp_path / "2.csv")
    assert_fails(release(folder, empty), 2)
    document = release(folder, empty, "--allow-empty", "--json").document
    assert (document["rows"], document["removed"]) == (0, 1)


def test_refresh_signs_the_timestamp_again(folder: Path) -> None:
    timestamp = folder / "repository" / "metadata" / "timestamp.json"
    before = json.loads(timestamp.read_text())["signed"]["version"]
    ran = run("publish", "refresh", folder, env=ENV)
    assert (ran.code, ran.err) == (0, "")
    assert "timestamp" in ran.out
    assert json.loads(timestamp.read_text())["signed"]["version"] == before + 1
    document = run("publish", "refresh", folder, "--json", env=ENV).document
    assert document["renewed"] == ["timestamp"]
    assert document["overdue"] == []


def test_add_feed(folder: Path, tmp_path: Path) -> None:
    assert run("publish", "add-feed", folder, "--feed", "id-sms", env=ENV).code == 0
    source = write_list(tmp_path / "1.csv", "0812-0000-0001")
    assert run("publish", "release", folder, "--feed", "id-sms", "--from", source, env=ENV).code == 0
    assert_fails(run("publish", "add-feed", folder, "--feed", "id-sms", env=ENV), 2, "id-sms")


def test_keys_shows_every_role_without_a_passphrase(tmp_path: Path) -> None:
    # A feed may have the name of the online key; they must not be mixed up.
    folder = tmp_path / "authority"
    run("publish", "init", folder, "--feed", "online", env=ENV)
    (folder / "keys" / "root.2.pem").rename(tmp_path / "safe.pem")
    roles = {role["role"]: role for role in run("publish", "keys", "show", folder, "--json").document["roles"]}
    assert {name: len(role["keys"]) for name, role in roles.items()} == {
        "root": 3,
        "targets": 1,
        "snapshot": 1,
        "timestamp": 1,
        "online": 1,
    }
    assert [key["available"] for key in roles["root"]["keys"]] == [True, False, True]
    assert roles["online"]["keys"] != roles["timestamp"]["keys"] == roles["snapshot"]["keys"]
    assert roles["timestamp"]["expires"].endswith("Z")
    ran = run("publish", "keys", "show", folder)
    assert ran.code == 0
    assert len(ran.lines) == 7
    assert "root.2.pem (not available)" in ran.out


def test_a_passphrase_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    folder = tmp_path / "authority"
    assert run("publish", "init", folder, "--feed", "id-all", "--passphrase-file", file).code == 0
    assert run("publish", "refresh", folder, env=ENV).code == 0
    # What is given on the command line wins over the environment.
    wrong = {"BLOCKLIST_PASSPHRASE": "another one altogether"}
    assert run("publish", "refresh", folder, "--passphrase-file", file, env=wrong).code == 0
    assert_fails(run("publish", "refresh", folder, env=wrong), 2, "passphrase")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", None])
def test_a_passphrase_file_without_a_passphrase(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "passphrase"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    assert_fails(
        run("publish", "init", tmp_path / "authority", "--feed", "id-all", "--passphrase-file", file), 2, str(file)
    )
    assert not (tmp_path / "authority").exists()


def test_without_a_passphrase_every_way_to_give_it_is_named(folder: Path, tmp_path: Path) -> None:
    assert_fails(run("publish", "refresh", folder), 2, "BLOCKLIST_PASSPHRASE", "--passphrase-file")
    assert_fails(run("publish", "init", tmp_path / "other", "--feed", "x"), 2, "BLOCKLIST_PASSPHRASE")


def test_a_short_passphrase(tmp_path: Path) -> None:
    ran = run("publish", "init", tmp_path / "a", "--feed", "x", env={"BLOCKLIST_PASSPHRASE": "short"})
    assert_fails(ran, 2, "at least 12 characters")


@pytest.mark.parametrize("command", ["refresh", "keys show", "serve"])
def test_a_folder_that_is_not_a_publishers(tmp_path: Path, command: str) -> None:
    assert_fails(run("publish", *command.split(), tmp_path, env=ENV), 2, "blocklist publish init")


def recipient(folder: Path, tmp_path: Path) -> Blocklist:
    url = (folder / "repository").as_uri()
    return Blocklist.open(url, feed="id-all", root=folder / "root.json", cache_dir=tmp_path / "cache")


def test_a_snapshot_written_anew_is_the_same_release(folder: Path, tmp_path: Path) -> None:
    assert_fails(run("publish", "snapshot", folder, "--feed", "id-all", env=ENV), 2, "no release yet")
    made = release(folder, write_list(tmp_path / "1.csv", "0812-0000-0001"), "--json").document
    ran = run("publish", "snapshot", folder, "--feed", "id-all", env=ENV)
    assert (ran.code, ran.err) == (0, "")
    assert "snapshot of release 1 written, 1 entry" in ran.out
    again = run("publish", "snapshot", folder, "--feed", "id-all", "--json", env=ENV).document
    assert (again["serial"], again["rows"], again["digest"]) == (1, 1, made["digest"])
