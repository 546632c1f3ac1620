"""`blocklist publish keys`: what it shows, what it asks for, and a ceremony by commands alone."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Publisher
from blocklist_sdk.release.fingerprint import fingerprint
from support.command_line import Ran, assert_fails, run
from support.holders import PASSPHRASE, Holder, holders

ENV = {"BLOCKLIST_PASSPHRASE": PASSPHRASE}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "p"
    Publisher.init(folder, feeds={"id-all": None, "id-ott": "messaging"}, passphrase=PASSPHRASE, region="ID")
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Holder]:
    return holders(tmp_path_factory.mktemp("people"), ["first", "second", "third"])


def keys(*arguments: str | Path, env: dict[str, str] = ENV) -> Ran:
    return run("publish", "keys", *arguments, env=env)


def test_show_says_who_signs_what_and_where_the_keys_are(folder: Path) -> None:
    assert keys("rotate", folder, "--role", "feed.id-ott").code == 0
    (folder / "keys" / "root.2.pem").unlink()
    ran = keys("show", folder, env={})
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.lines) == 3 + 1 + 1 + 1 + 2
    assert re.search(r"^root +version 1  until \S+Z  2 of 3 keys  key [0-9a-f]{16}  .*root\.1\.pem$", ran.out, re.M)
    assert re.search(r"root\.2\.pem \(not available\)$", ran.out, re.M)
    assert re.search(r"^id-ott .*feed\.id-ott\.2\.pem  era 2  scope messaging$", ran.out, re.M)
    roles = {role["role"]: role for role in keys("show", folder, "--json", env={}).document["roles"]}
    assert list(roles) == ["root", "targets", "snapshot", "timestamp", "id-all", "id-ott"]
    assert (roles["root"]["threshold"], roles["root"]["era"], roles["id-all"]["era"]) == (2, None, 1)
    assert [key["available"] for key in roles["root"]["keys"]] == [True, False, True]
    assert {*roles["id-ott"]["keys"][0]} == {"keyid", "where", "available"}


@pytest.mark.parametrize("role", ["root", "targets", "online", "feed.id-all"])
def test_rotate_says_what_signs_from_now_on(folder: Path, role: str) -> None:
    ran = keys("rotate", folder, "--role", role)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0] == f"changed the keys of {role}"
    assert "signs from now on" in ran.out
    assert "signs no longer" in ran.out
    document = keys("rotate", folder, "--role", role, "--json").document
    assert document["role"] == role
    assert len(document["added"]) == len(document["removed"]) == {"root": 3}.get(role, 1)


def test_rotate_with_an_overlap(folder: Path) -> None:
    kept = keys("rotate", folder, "--role", "online", "--keep-old", "--json").document
    assert kept["kept"]
    dropped = keys("rotate", folder, "--role", "online", "--drop-old", "--json").document
    assert (dropped["removed"], dropped["kept"]) == (kept["kept"], kept["added"])


def test_a_feed_is_shown_with_its_era(folder: Path) -> None:
    ran = keys("rotate", folder, "--role", "feed.id-all")
    assert "the feed is in era 2; it has no release yet" in ran.lines
    number = ("--feed", "id-all", "+6281234567890")
    assert (
        run("publish", "add", folder, *number, "--dry-run", env=ENV)
        .lines[0]
        .startswith("id-all: release nothing → 2.1,")
    )
    assert run("publish", "add", folder, *number, env=ENV).lines[0].startswith("id-all: release 2.1 with 1 entry")
    assert "release 2.1 written" in run("publish", "snapshot", folder, "--feed", "id-all", env=ENV).out
    other = ("publish", "add", folder, "--feed", "id-all", "+6281234567891", "--json")
    document = run(*other, "--dry-run", env=ENV).document
    assert (document["before"], document["after"], document["era"]) == (1, 2, 2)
    document = run(*other, env=ENV).document
    assert (document["serial"], document["era"]) == (2, 2)
    assert "the feed is in era 3; its current release is 3.2" in keys("rotate", folder, "--role", "feed.id-all").lines
    document = keys("rotate", folder, "--role", "feed.id-all", "--json").document
    assert (document["era"], document["serial"]) == (4, 2)
    document = keys("rotate", folder, "--role", "online", "--json").document
    assert (document["era"], document["serial"]) == (None, None)
    status = Publisher.open(folder, passphrase=None).status()
    assert {each.feed: each.era for each in status.feeds} == {"id-all": 4, "id-ott": 1}


def test_serials_that_can_go_on_are_not_begun_anew_unasked(folder: Path, tmp_path: Path) -> None:
    assert run("publish", "add", folder, "--feed", "id-all", "+6281234567890", env=ENV).code == 0
    before = keys("show", folder, env={}).out
    feed = ("--role", "feed.id-all")
    for command in (("rotate", folder, *feed), ("propose", folder, *feed, "-o", tmp_path / "next.json")):
        ran = keys(*command, "--restart-serials")
        assert_fails(ran, 2, "can go on after 1", "leave restart_serials", "--even-if-serials-are-left")
        assert_fails(keys(*command, "--even-if-serials-are-left"), 2, "give both, or neither")
    assert not (tmp_path / "next.json").exists()
    assert keys("show", folder, env={}).out == before
    assert run("publish", "add", folder, "--feed", "id-all", "+6281234567891", env=ENV).code == 0
    ran = keys("rotate", folder, *feed, "--restart-serials", "--even-if-serials-are-left")
    assert ran.code == 0
    assert "the feed is in era 2; its current release is 2.1" in ran.lines


def test_rotate_says_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    assert_fails(keys("rotate", folder, "--role", "online", env={}), 2, "BLOCKLIST_PASSPHRASE")
    assert_fails(keys("rotate", folder, "--role", "snapshot"), 2, "no role is called 'snapshot'")
    assert_fails(keys("rotate", folder, "--role", "online", "--key-uri", "hsm:2"), 2, "belong together")
    assert_fails(keys("rotate", folder, "--role", "feed.id-all", "--restart-serials"), 2, "no release yet")
    for name in ("root.1", "root.2"):
        (folder / "keys" / f"{name}.pem").rename(tmp_path / f"{name}.pem")
    ran = keys("rotate", folder, "--role", "online")
    assert_fails(ran, 2, "2.root needs 1 more signature", "put back root.1.pem", "blocklist publish keys propose")


def test_a_ceremony_from_public_keys_to_a_new_holder(tmp_path: Path, people: list[Holder]) -> None:
    """Each holder has a folder with nothing but the key and the file."""
    first, second, third = people
    folder = tmp_path / "p"
    ran = run(
        *("publish", "init", folder, "--feed", "id-all", "--root-key", first.public, "--root-key", second.public),
        env=ENV,
    )
    assert (ran.code, ran.err) == (0, "")
    assert "waits for signatures" in ran.out
    assert f"root: the key {first.keyid[:16]} (ed25519)" in ran.out
    assert "1.root needs 2 more signatures of" in ran.out
    assert_fails(run("publish", "refresh", folder, env=ENV), 2, "blocklist publish keys sign")
    assert_fails(keys("install", folder, folder / "proposal.json"), 2, "1.root needs 2 more signatures")
    for holder in (first, second):
        there = holder.key.parent / "proposal.json"
        shutil.copy(folder / "proposal.json", there)
        ran = keys("sign", there, "--key", holder.key, "--yes")
        assert (ran.code, ran.err) == (0, "")
        assert "signed 1.root" in ran.out
    ran = keys("install", folder, *(each.key.parent / "proposal.json" for each in (first, second)))
    assert (ran.code, ran.err) == (0, "")
    assert str(folder / "root.json") in ran.out

    file = tmp_path / "next.json"
    ran = keys("propose", folder, "--role", "root", "--add", third.public, "--threshold", "3", "-o", file)
    assert (ran.code, ran.err) == (0, "")
    spoken = keys("fingerprint", folder, env={}).lines[1:]
    assert all(line in ran.out for line in spoken)
    for holder in (first, second, third):
        document = keys("sign", file, "--key", holder.key, "--yes", "--json").document
        assert document["signed"] == ["2.root"]
        assert document["fingerprint"] == fingerprint((folder / "root.json").read_bytes())
    assert document["missing"] == []
    document = keys("install", folder, file, "--json").document
    assert (document["added"], document["threshold"]) == ([third.keyid], 3)
    assert_fails(keys("install", folder, file), 2, "installed before")
    assert run("publish", "add", folder, "--feed", "id-all", "+6281234567890", env=ENV).code == 0


def test_no_line_of_a_proposal_stands_twice(folder: Path, tmp_path: Path) -> None:
    """Both roots ask for signatures of the same root keys, by the root before and by themselves."""
    ran = keys("propose", folder, "--role", "online", "-o", tmp_path / "next.json")
    assert ran.code == 0
    assert len([line for line in ran.lines if "more signature" in line]) == 2
    assert len(set(ran.lines)) == len(ran.lines)
    document = keys("propose", folder, "--role", "online", "-o", tmp_path / "next.json", "--json").document
    assert [each["document"] for each in document["missing"]] == ["2.root", "3.root"]


def test_every_fingerprint_stands_with_the_version_of_its_root(folder: Path, tmp_path: Path) -> None:
    document = keys("rotate", folder, "--role", "online", "--json").document
    digits = fingerprint((folder / "root.json").read_bytes())
    assert (document["root_version"], document["fingerprint"]) == (3, digits)
    ran = keys("propose", folder, "--role", "root", "-o", tmp_path / "next.json")
    assert "root, version 3, is in force; compare its fingerprint with what you have" in ran.lines
    document = keys("propose", folder, "--role", "root", "-o", tmp_path / "next.json", "--json").document
    assert (document["root_version"], document["fingerprint"]) == (3, digits)
    other = tmp_path / "other"
    document = run("publish", "init", other, "--feed", "a", "--json", env=ENV).document
    assert (document["root_version"], document["fingerprint"]) == (1, fingerprint((other / "root.json").read_bytes()))
    assert_fails(keys("install", other, tmp_path / "next.json"), 2, "its root, version 3, has the fingerprint")
    settings = ("--url", (folder / "repository").as_uri(), "--feed", "id-all", "--root", folder / "root.json")
    there = (*settings, "--cache-dir", tmp_path / "cache", "--state-dir", tmp_path / "state")
    assert re.search(r"^root pinned +version 3$", run("status", *there).out, re.M)
    assert run("status", *there, "--json").document["root_version"] == 3
    ran = run("trust", "replace", *there, "--fingerprint", digits)
    assert f"root, version 3, {digits}" in ran.out
    assert_fails(run("trust", "replace", *there, "--fingerprint", "0" * 64), 4, "the root, version 3, has")


def test_a_feed_without_a_release_is_not_an_unknown_one(folder: Path, tmp_path: Path) -> None:
    settings = ("--url", (folder / "repository").as_uri(), "--root", folder / "root.json")
    there = (*settings, "--cache-dir", tmp_path / "cache", "--state-dir", tmp_path / "state")
    for more in ((), ("--dry-run",)):
        ran = run("sync", *there, "--feed", "id-all", *more)
        assert_fails(ran, 2, "has the feed 'id-all', which has no release yet", "Sync again when")
        ran = run("sync", *there, "--feed", "id-al", *more)
        assert_fails(ran, 2, "has no feed 'id-al', only: id-all, id-ott. Correct the name")
    assert run("publish", "add", folder, "--feed", "id-all", "+6281234567890", env=ENV).code == 0
    assert run("sync", *there, "--feed", "id-all").code == 0


def test_nothing_is_signed_without_a_word(folder: Path, tmp_path: Path, people: list[Holder]) -> None:
    file = tmp_path / "f.json"
    assert keys("propose", folder, "--role", "root", "--add", people[0].public, "-o", file).code == 0
    before = file.read_bytes()
    ran = keys("sign", file, "--key", people[0].key)
    assert ran.code == 2
    assert "gets the key" in ran.out
    assert "give --yes" in ran.err
    assert_fails(keys("sign", file), 2, "give the key to sign with")
    assert_fails(keys("sign", tmp_path / "none.json", "--key", people[0].key), 2, "cannot read the proposal")
    ran = keys("sign", file, "--key", people[1].key, "--yes", "--json")
    assert_fails(ran, 2, "signs nothing in this proposal")
    assert file.read_bytes() == before


def test_a_proposal_is_not_written_into_the_folder(folder: Path) -> None:
    ran = keys("propose", folder, "--role", "root", "-o", folder / "keys" / "keys.json")
    assert_fails(ran, 2, "in the publisher's folder")


def test_a_hostile_file_never_reaches_the_terminal_raw(folder: Path, tmp_path: Path, people: list[Holder]) -> None:
    file = tmp_path / "f.json"
    assert keys("propose", folder, "--role", "feed.id-all", "-o", file).code == 0
    changes: tuple[Callable[[Any], None], ...] = (
        lambda d: d.update(role="feed.\x1b[2Jid-all"),
        lambda d: d["changes"].insert(0, "\x1b[2J\u202egood"),
        lambda d: d.update(format="\x1b[2J\u202e"),
        lambda d: d["documents"][0]["signed"]["delegations"]["roles"][0].update(name="\x1b[2J\u202e"),
        lambda d: d["documents"][0]["signed"].update(_type="\x1b[2J\u202e"),
    )
    for change in changes:
        document = json.loads(file.read_bytes())
        change(document)
        (tmp_path / "hostile.json").write_text(json.dumps(document))
        ran = keys("sign", tmp_path / "hostile.json", "--key", people[0].key, "--yes")
        assert ran.code in (2, 4)
        assert not {"\x1b", "\u202e"} & {*ran.out, *ran.err}


def test_the_fingerprint_is_the_same_at_both_ends(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    shutil.copy(folder / "root.json", root)
    here, there = keys("fingerprint", folder, env={}), keys("fingerprint", root, env={})
    assert here.out == there.out
    digits = "".join("".join(line.split()) for line in here.lines[1:])
    assert digits == fingerprint(root.read_bytes())
    assert here.lines[0] == "root, version 1"
    assert len(here.lines) == 5
    settings = ("--url", (folder / "repository").as_uri(), "--feed", "id-all", "--root", root)
    cache = ("--cache-dir", tmp_path / "cache")
    status = run("status", *settings, *cache)
    assert all(line.strip() in status.out for line in here.lines[1:])
    assert run("status", *settings, *cache, "--json").document["root_fingerprint"] == digits
    assert keys("fingerprint", root, "--json").document == {"version": 1, "fingerprint": digits}
    init = run("publish", "init", tmp_path / "other", "--feed", "a", env=ENV)
    assert keys("fingerprint", tmp_path / "other", env={}).lines == init.lines[-5:]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"signed": {"_type": "timestamp"}, "signatures": []}'])
def test_what_is_no_root_has_no_fingerprint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "root.json").write_bytes(content)
    assert_fails(keys("fingerprint", tmp_path / "root.json"), 2, "root")
    assert_fails(keys("fingerprint", tmp_path / "none.json"), 2, "cannot read")
    (tmp_path / "folder").mkdir()
    assert_fails(keys("fingerprint", tmp_path / "folder"), 2, "not a publisher's folder")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL's command is not installed")
def test_a_holder_makes_a_key_with_openssl(tmp_path: Path, people: list[Holder]) -> None:
    """As the how-to page says."""
    for command in (
        "openssl genpkey -algorithm ed25519 -aes-256-cbc -pass env:PASS -out holder.pem",
        "openssl pkey -in holder.pem -passin env:PASS -pubout -out holder.pub.pem",
    ):
        subprocess.run(
            command.split(), check=True, cwd=tmp_path, env={**os.environ, "PASS": PASSPHRASE}, capture_output=True
        )
    root_keys = ("--root-key", tmp_path / "holder.pub.pem", "--root-key", people[0].public)
    assert run("publish", "init", tmp_path / "p", "--feed", "a", *root_keys, env=ENV).code == 0
    file = tmp_path / "p" / "proposal.json"
    signed = keys("sign", file, "--key", tmp_path / "holder.pem", "--yes", "-o", tmp_path / "signed.json")
    assert (signed.code, signed.err) == (0, "")
