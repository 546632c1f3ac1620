"""A proposal in a file: what it shows, who signs it, and what becomes of files that were changed or are too old."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Untrusted
from blocklist_sdk.publisher import KeyUri, Lifetimes, Proposal, Publisher, Timing
from blocklist_sdk.publisher.holder_keys import open_key
from support.holders import PASSPHRASE, Holder, Killed, Renames, holder, holders


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Holder]:
    return holders(tmp_path_factory.mktemp("people"), ["first", "second", "third", "fourth", "minister"])


def begun(directory: Path, people: list[Holder], **more: Any) -> Proposal:
    first, second, third, _, minister = people
    return Publisher.begin(
        directory,
        feeds=["id-all", "id-xl"],
        public_keys={"root": [each.public for each in (first, second, third)], "targets": [minister.public]},
        passphrase=PASSPHRASE,
        **more,
    )


def made(directory: Path, people: list[Holder], **more: Any) -> Publisher:
    proposal = signed(begun(directory, people, **more), people[0], people[1], people[4])
    return Publisher.complete(directory, [proposal], passphrase=PASSPHRASE, **more)


@pytest.fixture
def publisher(tmp_path: Path, people: list[Holder]) -> Publisher:
    return made(tmp_path / "p", people)


def signed(proposal: Proposal, *who: Holder) -> Proposal:
    for each in who:
        proposal, _ = proposal.sign(open_key(each.key, lambda _: PASSPHRASE))
    return proposal


def test_the_first_proposal_names_every_key_and_feed(tmp_path: Path, people: list[Holder]) -> None:
    proposal = begun(tmp_path / "p", people)
    words = "\n".join(proposal.changes)
    for each in people[:3]:
        assert f"root: the key {each.keyid[:16]} (ed25519)" in words
    assert f"targets: the key {people[4].keyid[:16]}" in words
    assert "2 of 3 keys must sign" in words
    assert "feed id-all: the key" in words
    assert "feed id-xl: the key" in words
    assert proposal.fingerprint is None
    assert [(each.document, each.missing) for each in proposal.needed] == [("1.root", 2), ("1.targets", 1)]


def test_a_folder_may_begin_with_a_targets_key_of_its_own(tmp_path: Path, people: list[Holder]) -> None:
    first, second, *_ = people
    proposal = Publisher.begin(
        tmp_path / "p", feeds=["a"], public_keys={"root": [first.public, second.public]}, passphrase=PASSPHRASE
    )
    complete = signed(proposal, first, second)
    publisher = Publisher.complete(tmp_path / "p", [complete], passphrase=PASSPHRASE)
    publisher.protect(["+6281234567890"])
    assert publisher.rotate_keys("feed.a").added


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"public_keys": {"targets": ["second"]}}, "give the public halves of the root keys"),
        ({"public_keys": {"root": ["first"]}}, "needs signatures by 2 different keys, and 1 was given"),
        ({"public_keys": {"root": ["first", "first"]}}, "two of them are the same"),
        ({"public_keys": {"root": ["first", "second"]}, "root_threshold": 1}, "at least 2 signatures"),
        ({"public_keys": {"root": ["first", "second"]}, "root_threshold": 3}, "signatures by 3 different keys"),
        ({"public_keys": {"online": ["first"]}}, "not for 'online'"),
        (
            {"public_keys": {"root": ["first", "second"]}, "key_uris": {"root": [KeyUri("hsm:", Path("x"))]}},
            "give one of them",
        ),
    ],
)
def test_public_keys_that_cannot_begin_a_folder(
    tmp_path: Path, people: list[Holder], arguments: dict[str, Any], message: str
) -> None:
    files = {"first": people[0].public, "second": people[1].public}
    given = {name: [files[each] for each in names] for name, names in arguments["public_keys"].items()}
    with pytest.raises(InvalidInput, match=message):
        Publisher.begin(tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, **(arguments | {"public_keys": given}))
    assert not (tmp_path / "p").exists()


def test_copies_signed_apart_are_merged(publisher: Publisher, people: list[Holder]) -> None:
    first, second, third, fourth, _ = people
    proposal = publisher.propose_keys("root", add=[fourth.public], threshold=3)
    copies = [signed(proposal, each) for each in (first, second, third)]
    change = publisher.install_keys(copies)
    assert change.added == (fourth.keyid,)
    assert change.threshold == 3


def test_a_file_reads_as_it_was_written(publisher: Publisher, people: list[Holder]) -> None:
    proposal = signed(publisher.propose_keys("online"), people[1])
    assert Proposal.from_json(proposal.to_json()) == proposal
    document = json.loads(proposal.to_json())
    assert document["changes"] == proposal.changes
    assert [each["document"] for each in document["signers"]] == ["2.root", "2.root", "3.root", "3.root"]
    assert document["signers"][0]["threshold"] == 2


def test_a_key_that_was_not_asked_for_signs_nothing(publisher: Publisher, people: list[Holder]) -> None:
    proposal = publisher.propose_keys("feed.id-all")
    with pytest.raises(InvalidInput, match="signs nothing in this proposal, which asks for") as caught:
        signed(proposal, people[0])
    assert people[4].keyid[:16] in str(caught.value)


def _documents(change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda document: change(document["documents"][0]["signed"])


def _present(document: Any) -> None:
    root = json.loads(document["present"]["root"])
    root["signed"]["roles"]["root"]["threshold"] = 1
    document["present"]["root"] = json.dumps(root)


def _signature(document: Any) -> None:
    signature = document["documents"][0]["signatures"][0]
    signature["sig"] = signature["sig"][:-2] + ("00" if signature["sig"][-2:] != "00" else "01")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: d.clear(), Malformed, "not a proposal"),
        (lambda d: d.update(kind="x"), Malformed, "not a proposal"),
        (lambda d: d.update(format=2), InvalidInput, "upgrade"),
        (lambda d: d.update(role=5), Malformed, "not a proposal"),
        (lambda d: d.update(documents=[]), Malformed, "not a proposal"),
        (lambda d: d.update(documents=[5]), Malformed, "not metadata"),
        (lambda d: d.update(documents=[{"signed": {"_type": "timestamp"}, "signatures": []}]), Malformed, "metadata"),
        (lambda d: d["documents"].reverse(), Malformed, "has root 3 after root 1"),
        (lambda d: d["documents"].append(d["documents"][0]), Malformed, "has root 2 after root 3"),
        (lambda d: d.update(present=None), Malformed, "not of the first"),
        (lambda d: d["present"].update(root="{}"), Malformed, "not metadata"),
        (lambda d: d["present"].update(root=d["present"]["targets"]), Malformed, "of the role 'targets'"),
        (_present, Untrusted, "called present does not verify"),
        (lambda d: d["changes"].pop(), Untrusted, "says in words what its documents do not"),
        (lambda d: d["signers"].pop(), Untrusted, "says in words what its documents do not"),
        (lambda d: d.update(fingerprint="0" * 64), Untrusted, "says in words what its documents do not"),
        (_signature, Untrusted, "signature of key [0-9a-f]{16} on 2.root does not verify"),
        (_documents(lambda s: s.update(expires="2099-01-01T00:00:00Z")), Untrusted, "does not verify"),
        (_documents(lambda s: s.update(consistent_snapshot=False)), Malformed, "changes more of the root than keys"),
        (_documents(lambda s: s.update(extra=1)), Malformed, "changes more of the root than keys"),
        (_documents(lambda s: s["roles"]["timestamp"]["keyids"].pop()), Malformed, "different online keys"),
        (_documents(lambda s: s["roles"]["root"].update(threshold=9)), Malformed, "of which 9 must sign"),
        (_documents(lambda s: s["roles"]["root"]["keyids"].append("0" * 64)), Malformed, "lacks a role or a key"),
        (_documents(lambda s: s.update(version=7)), Malformed, "has root 7 after root 1"),
        (lambda d: d["documents"][0]["signatures"][0].update(keyid=5), Malformed, "not a proposal"),
    ],
)
def test_a_file_that_was_changed_is_not_signed(
    publisher: Publisher,
    people: list[Holder],
    change: Callable[[Any], None],
    error: type[BlocklistError],
    message: str,
) -> None:
    document = json.loads(signed(publisher.propose_keys("online"), people[0]).to_json())
    change(document)
    with pytest.raises(error, match=message):
        Proposal.from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["targets"].clear(), "changes more of the targets role"),
        (lambda s: s["delegations"]["roles"][0].update(paths=["*/*"]), "changes more of the targets role"),
        (lambda s: s["delegations"]["roles"][0].update(terminating=False), "changes more of the targets role"),
        (lambda s: s["delegations"]["roles"].pop(), "adds or removes feeds"),
        (lambda s: [role.pop("era", None) for role in s["delegations"]["roles"]], "or not the era with the keys"),
        (lambda s: [role.update(era=1) for role in s["delegations"]["roles"]], "or not the era with the keys"),
    ],
)
def test_a_targets_role_that_changes_more_than_keys_is_not_signed(
    publisher: Publisher, change: Callable[[Any], None], message: str
) -> None:
    document = json.loads(publisher.propose_keys("feed.id-all").to_json())
    change(document["documents"][0]["signed"])
    with pytest.raises(Malformed, match=message):
        Proposal.from_json(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"kind": "blocklist key ceremony"}'])
def test_what_is_no_proposal_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="not a proposal"):
        Proposal.from_json(data)


def test_a_proposal_of_another_publisher_is_not_installed(
    publisher: Publisher, tmp_path: Path, people: list[Holder]
) -> None:
    other = made(tmp_path / "other", people)
    proposal = signed(other.propose_keys("root", add=[people[3].public]), people[0], people[1])
    with pytest.raises(InvalidInput, match="of another publisher"):
        publisher.install_keys([proposal])
    other.install_keys([proposal])


def test_first_metadata_of_another_publisher_does_not_complete_a_folder(
    publisher: Publisher, tmp_path: Path, people: list[Holder]
) -> None:
    first, second, _, _, minister = people
    waiting = begun(tmp_path / "waiting", people)
    foreign = signed(begun(tmp_path / "foreign", people), first, second, minister)
    with pytest.raises(InvalidInput, match="different proposals"):
        Publisher.complete(tmp_path / "waiting", [foreign], passphrase=PASSPHRASE)
    with pytest.raises(InvalidInput, match="was not complete yet"):
        publisher.install_keys([foreign])
    with pytest.raises(InvalidInput, match="does not wait"):
        Publisher.complete(publisher.directory, [signed(waiting, first)], passphrase=PASSPHRASE)


def test_an_old_proposal_is_not_installed(publisher: Publisher, people: list[Holder]) -> None:
    first, second, third, fourth, minister = people
    old_root = signed(publisher.propose_keys("root", add=[fourth.public]), first, second)
    old_feed = signed(publisher.propose_keys("feed.id-all"), minister)
    publisher.install_keys([signed(publisher.propose_keys("root", remove=[third.keyid]), first, second)])
    publisher.install_keys([signed(publisher.propose_keys("feed.id-xl"), minister)])
    for old in (old_root, old_feed):
        with pytest.raises(InvalidInput, match="too old"):
            publisher.install_keys([old])


def test_a_proposal_is_installed_once(publisher: Publisher, people: list[Holder]) -> None:
    proposal = signed(publisher.propose_keys("online"), people[0], people[2])
    publisher.install_keys([proposal])
    with pytest.raises(InvalidInput, match="installed before"):
        publisher.install_keys([proposal])
    publisher.install_keys([signed(publisher.propose_keys("root"), people[0], people[2])])
    with pytest.raises(InvalidInput, match="too old"):
        publisher.install_keys([proposal])


def test_copies_of_different_proposals_are_not_merged(publisher: Publisher, people: list[Holder]) -> None:
    one = publisher.propose_keys("root", add=[people[3].public])
    other = publisher.propose_keys("root", remove=[people[2].keyid])
    with pytest.raises(InvalidInput, match="different proposals"):
        publisher.install_keys([signed(one, people[0]), signed(other, people[1])])
    with pytest.raises(InvalidInput, match="at least one"):
        publisher.install_keys([])


def test_an_expired_proposal_is_not_installed(tmp_path: Path, people: list[Holder]) -> None:
    short = Timing(lifetimes=Lifetimes(root=timedelta(hours=1)))
    publisher = made(tmp_path / "p", people, timing=short)
    proposal = signed(publisher.propose_keys("root"), people[0], people[1])
    later = Timing(clock=lambda: times.this_second() + timedelta(hours=2))
    with pytest.raises(InvalidInput, match=r"2\.root in the proposal expired on"):
        Publisher.open(tmp_path / "p", passphrase=PASSPHRASE, timing=later).install_keys([proposal])


def test_lifetimes_are_kept(tmp_path: Path, people: list[Holder]) -> None:
    timing = Timing(lifetimes=Lifetimes(root=timedelta(days=30), targets=timedelta(days=40)))
    publisher = made(tmp_path / "p", people, timing=timing)
    proposal = publisher.propose_keys("targets", add=[people[3].public])
    now = times.this_second()
    expiries = [each.signed.expires - now for each in proposal.roots]
    assert all(timedelta(days=29) < each <= timedelta(days=30) for each in expiries)
    proposal = publisher.propose_keys("feed.id-all")
    assert proposal.targets is not None
    assert timedelta(days=39) < proposal.targets.signed.expires - times.this_second() <= timedelta(days=40)


@pytest.mark.parametrize(
    ("role", "arguments", "message"),
    [
        ("nobody", {}, "no role is called 'nobody': give root, targets, online, or one of feed.id-all, feed.id-xl"),
        ("feed.id-none", {}, "no role is called 'feed.id-none'"),
        ("id-all", {}, "no role is called 'id-all'"),
        ("snapshot", {}, "no role is called 'snapshot'"),
        ("root", {"remove": ["zz"]}, "'zz' is no key of the role"),
        ("root", {"remove": [""]}, "'' is no key of the role"),
        ("root", {"threshold": 4}, "4 signatures would be needed of 3 keys"),
        ("root", {"restart_serials": True}, "only a feed has serials"),
        ("online", {"threshold": 1}, "online has one key"),
        ("feed.id-all", {"restart_serials": True}, "no release yet"),
    ],
)
def test_changes_that_cannot_be(publisher: Publisher, role: str, arguments: dict[str, Any], message: str) -> None:
    before = publisher.key_roles()
    with pytest.raises(InvalidInput, match=message):
        publisher.propose_keys(role, **arguments)
    assert publisher.key_roles() == before


@pytest.mark.parametrize(
    ("role", "arguments", "message"),
    [
        ("feed.id-all", {"keep_old": True}, "needs no overlap"),
        ("root", {"drop_old": True}, "needs no overlap"),
        ("online", {"keep_old": True, "drop_old": True}, "makes no new key"),
        ("online", {"remove": ["ab"]}, "has one key"),
        ("online", {"drop_old": True}, "has no old key beside"),
        ("root", {"uri": KeyUri("file2:x", Path("x"))}, "one key cannot take the place of 3"),
        ("online", {}, r"2\.root needs 2 more signatures of: .* use `blocklist publish keys propose`"),
    ],
)
def test_rotations_that_cannot_be(publisher: Publisher, role: str, arguments: dict[str, Any], message: str) -> None:
    before = publisher.key_roles()
    with pytest.raises(InvalidInput, match=message):
        publisher.rotate_keys(role, **arguments)
    assert publisher.key_roles() == before
    publisher.refresh()


def test_a_key_that_is_not_encrypted_is_taken_with_a_warning(tmp_path: Path) -> None:
    bare = holder(tmp_path, "bare", passphrase=None)
    said: list[str] = []
    assert open_key(bare.key, lambda _: "", notify=said.append).public_key.keyid == bare.keyid
    assert "not encrypted" in said[0]


@pytest.mark.parametrize("content", [b"", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n", b"\xff"])
def test_what_is_no_private_key_cannot_sign(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(InvalidInput, match="not a private key"):
        open_key(tmp_path / "key.pem", lambda _: PASSPHRASE)


def test_a_wrong_passphrase_does_not_open_a_key(people: list[Holder], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="wrong passphrase"):
        open_key(people[0].key, lambda _: "another one entirely")
    with pytest.raises(InvalidInput, match="cannot read the key"):
        open_key(tmp_path / "none.pem", lambda _: PASSPHRASE)


def test_a_holders_key_may_be_here_for_a_while(publisher: Publisher, people: list[Holder]) -> None:
    """For a new feed or protected numbers the targets key is brought along, and taken away again."""
    minister = people[4]
    with pytest.raises(InvalidInput, match=rf"put the private key here as targets\.{minister.keyid[:16]}\.pem"):
        publisher.add_feed("id-new")
    here = publisher.directory / "keys" / f"targets.{minister.keyid[:16]}.pem"
    here.write_bytes(minister.key.read_bytes())
    reopened = Publisher.open(publisher.directory, passphrase=PASSPHRASE)
    reopened.add_feed("id-new")
    reopened.protect(["+6281234567890"])
    where = {role.role: role.keys[0].where for role in reopened.key_roles()}
    assert where["targets"] == str(here)
    here.unlink()
    where = {role.role: role.keys[0].where for role in reopened.key_roles()}
    assert where["targets"] == "with its holder"


def test_a_power_cut_while_a_folder_is_completed(
    tmp_path: Path, people: list[Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _, _, minister = people
    proposal = signed(begun(tmp_path / "waiting", people), first, second, minister)
    folder, steps = tmp_path / "p", 0
    for allowed in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "waiting", folder)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", Renames(allowed))
            try:
                Publisher.complete(folder, [proposal], passphrase=PASSPHRASE)
            except Killed:
                steps += 1
            else:
                break
        Publisher.complete(folder, [proposal], passphrase=PASSPHRASE)
        publisher = Publisher.open(folder, passphrase=PASSPHRASE)
        assert publisher.add("id-all", ["+6281234567890"]).serial == 1
        assert not list(folder.glob(".repository.*"))
        assert not (folder / "proposal.json").exists()
    assert steps >= 5


def test_an_era_begins_where_a_key_is_taken_away_and_stays(publisher: Publisher, people: list[Holder]) -> None:
    minister = people[4]
    seen = [eras(publisher)]
    for feed in ("id-all", "id-xl", "id-all"):
        publisher.install_keys([signed(publisher.propose_keys(f"feed.{feed}"), minister)])
        seen.append(eras(publisher))
    assert seen == [
        {"id-all": 1, "id-xl": 1},
        {"id-all": 2, "id-xl": 1},
        {"id-all": 2, "id-xl": 3},
        {"id-all": 4, "id-xl": 3},
    ]
    publisher.install_keys([signed(publisher.propose_keys("targets"), minister)])
    assert eras(publisher) == seen[-1]


def eras(publisher: Publisher) -> dict[str, int]:
    return {role.role: role.era for role in publisher.key_roles() if role.era is not None}
