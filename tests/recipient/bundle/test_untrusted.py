"""What is no bundle of this authority's, or was altered, is not opened, whatever hashes were made anew."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher, Untrusted
from blocklist_sdk.publisher import Timing
from blocklist_sdk.recipient.bundle import contents
from blocklist_sdk.release.rows import Int64s
from support.bundles import LISTED, NEXT, PROTECTED, contents_of, doctored, release
from support.scale import scaled
from support.world import FEED, OTHER_FEED, PASSPHRASE, World, make_world

Members = Mapping[str, bytes]
Changes = Mapping[str, bytes | None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    release(world, LISTED)
    world.publisher.protect([PROTECTED])
    recipient = world.recipient(is_guarded=False)
    recipient.sync()
    recipient.bundle(world.directory / "older.bundle")
    release(world, NEXT)
    recipient.sync()
    recipient.overrides.block("+6281277777777", reason="x")
    recipient.bundle(world.directory / "list.bundle")
    recipient.bundle(world.directory / "own.bundle", overrides=True)
    with world.recipient(feed=OTHER_FEED) as other:
        other.sync()
        other.bundle(world.directory / "other.bundle")
    return world


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Another authority, with the same names and the same list."""
    world = make_world(tmp_path_factory.mktemp("stranger"))
    release(world, LISTED)
    world.publisher.protect([PROTECTED])
    release(world, NEXT)
    recipient = world.recipient(is_guarded=False)
    recipient.sync()
    recipient.bundle(world.directory / "list.bundle")
    return world


def open_(world: World, path: Path, **arguments: Any) -> Blocklist:
    return Blocklist.open_bundle(path, root=world.directory / "publisher" / "root.json", region="ID", **arguments)


def refused(world: World, path: Path, match: str | None = None, **arguments: Any) -> None:
    with pytest.raises(Untrusted, match=match) as caught:
        open_(world, path, **arguments)
    assert str(path) in str(caught.value)
    assert "Nothing of it is used" in str(caught.value)


def test_a_changed_byte_anywhere(world: World, tmp_path: Path) -> None:
    """`test_container` has every byte of a smaller file."""
    data = (world.directory / "own.bundle").read_bytes()
    path = tmp_path / "changed"
    for _ in range(scaled(40, long=2000)):
        at, bit = random.randrange(len(data)), 1 << random.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        refused(world, path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file(world: World, tmp_path: Path, share: float) -> None:
    data = (world.directory / "list.bundle").read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(share * len(data))])
    refused(world, tmp_path / "cut")


def test_a_longer_file(world: World, tmp_path: Path) -> None:
    data = (world.directory / "list.bundle").read_bytes()
    for more in (b"\0", bytes(1024), data):
        (tmp_path / "longer").write_bytes(data + more)
        refused(world, tmp_path / "longer", "it must end at")


@pytest.mark.parametrize("data", [b"number\n+6281200000001\n", bytes(4096), b"PAR1" * 1000, bytes(1)])
def test_a_file_that_is_something_else(world: World, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "other").write_bytes(data)
    refused(world, tmp_path / "other")


def test_what_is_no_file(world: World, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(InvalidInput, match="bundle"):
            open_(world, path)
    with pytest.raises(InvalidInput, match="root"):
        Blocklist.open_bundle(world.directory / "list.bundle", root=b"{}")
    with pytest.raises(InvalidInput, match="root"):
        Blocklist.open_bundle(world.directory / "list.bundle", root=tmp_path / "missing")


def test_another_feeds(world: World) -> None:
    assert open_(world, world.directory / "other.bundle").feed == OTHER_FEED
    refused(world, world.directory / "other.bundle", "of the feed", feed=FEED)


def test_another_authoritys(world: World, stranger: World) -> None:
    assert open_(stranger, stranger.directory / "list.bundle", feed=FEED)
    refused(world, stranger.directory / "list.bundle", "cannot be proved")


def of(path: Path) -> Callable[[World], Members]:
    return lambda world: contents_of(world.directory / path)


def replaced_rows(name: str, change: Callable[[Int64s], None]) -> Callable[[Members], Changes]:
    def changes(members: Members) -> Changes:
        values = np.frombuffer(members[f"rows/{name}"], np.int64).copy()
        change(values)
        return {f"rows/{name}": values.tobytes()}

    return changes


def _another_number(values: Int64s) -> None:
    values[1] += 10


def _no_end(values: Int64s) -> None:
    values[:] = np.iinfo(np.int64).max


def _wider(values: Int64s) -> None:
    values[values - values % 100 == 6281300000000] += 1000


def _backwards(values: Int64s) -> None:
    values[:] = values[::-1].copy()


def _short(members: Members) -> Changes:
    """A row less, in every column."""
    count = len(members["rows/number"]) // 8
    return {
        name: data[: len(data) * (count - 1) // count]
        for name, data in members.items()
        if name.startswith("rows/") and name != contents.TEXTS
    }


def _texts(change: Callable[[dict[str, Any]], object]) -> Callable[[Members], Changes]:
    def changes(members: Members) -> Changes:
        document = json.loads(members[contents.TEXTS])
        change(document)
        return {contents.TEXTS: json.dumps(document).encode() + b"\n"}

    return changes


def _edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Members], Changes]:
    def changes(members: Members) -> Changes:
        document = json.loads(members[name])
        change(document)
        return {name: json.dumps(document).encode()}

    return changes


INDEX, ROLE = f"targets/{FEED}/index.json", f"metadata/{FEED}.json"

DOCTORED: dict[str, Callable[[Members], Changes]] = {
    "another number": replaced_rows("number", _another_number),
    "ends taken away": replaced_rows("until", _no_end),
    "a wider range": replaced_rows("last", _wider),
    "other entry ids": replaced_rows("entry", _backwards),
    "rows out of order": replaced_rows("number", _backwards),
    "a row less": _short,
    "no ranges": lambda members: {"rows/last": None},
    "a code of no text": lambda members: {"rows/level": b"\x09" * len(members["rows/level"])},
    "all block": lambda members: {"rows/level": b"\x01" * len(members["rows/level"])},
    "a column of another width": lambda members: {"rows/scope": members["rows/scope"] * 2},
    "other texts": _texts(lambda texts: texts.update(issuer=["somebody"])),
    "texts in another order": _texts(lambda texts: texts["level"].reverse()),
    "a text that no row has": _texts(lambda texts: texts["category"].append("zzz")),
    "texts that are none": _texts(lambda texts: texts.update(level="block")),
    "texts of a column missing": _texts(lambda texts: texts.pop("scope")),
    "no texts": lambda members: {contents.TEXTS: b"[]"},
    "an empty table": lambda members: {contents.CELLS: bytes(len(members[contents.CELLS]))},
    "a shorter table": lambda members: {contents.CELLS: members[contents.CELLS][:-8]},
    "a table of half integers": lambda members: {contents.CELLS: members[contents.CELLS][:-3]},
    "other homes": _edit(contents.HOMES, lambda homes: homes.update(mask=1)),
    "homes that are none": lambda members: {contents.HOMES: b'{"prime": 0, "multiplier": 5000, "mask": 0}\n'},
    "homes alone": lambda members: {contents.CELLS: None},
    "a table alone": lambda members: {contents.HOMES: None},
    "an empty index": lambda members: {INDEX: b"{}"},
    "an index of other rows": _edit(INDEX, lambda index: index.update(rows=3)),
    "a role with a later expiry": _edit(ROLE, lambda role: role["signed"].update(expires="2099-01-01T00:00:00Z")),
    "a timestamp with a later expiry": _edit(
        "metadata/timestamp.json",
        lambda role: role["signed"].update(expires="2099-01-01T00:00:00Z"),
    ),
    "a timestamp without signatures": _edit("metadata/timestamp.json", lambda role: role.update(signatures=[])),
    "the snapshot as timestamp": lambda members: {"metadata/timestamp.json": members["metadata/snapshot.json"]},
    "the targets role as feed's": lambda members: {ROLE: members["metadata/targets.json"]},
    "no root": lambda members: {"metadata/1.root.json": None},
    "a root that is none": lambda members: {"metadata/1.root.json": b"{}"},
    "no protected numbers": lambda members: {"targets/protected.json": b'{"protocol": 1, "numbers": []}\n'},
    "more protected numbers": lambda members: {
        "targets/protected.json": b'{"protocol": 1, "numbers": [6281200000001]}\n'
    },
    "another member": lambda members: {"answers/kinds": b""},
    "a missing member": lambda members: {"rows/since": None},
    "another feed's name": lambda members: {contents.ABOUT: contents.about_document(OTHER_FEED)},
    "a name that is none": lambda members: {contents.ABOUT: b'{"format": 1, "feed": "../x"}\n'},
    "an old format": lambda members: {contents.ABOUT: b'{"format": 1.5, "feed": "id-telkomsel"}\n'},
    "about nothing": lambda members: {contents.ABOUT: b"[]"},
}


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_one_whose_hashes_were_made_anew(world: World, tmp_path: Path, name: str) -> None:
    bundle = world.directory / "list.bundle"
    changes = DOCTORED[name](contents_of(bundle))
    assert any(contents_of(bundle).get(member) != data for member, data in changes.items())
    refused(world, doctored(bundle, tmp_path / "doctored", changes))


def test_members_in_another_order(world: World, tmp_path: Path) -> None:
    bundle = world.directory / "list.bundle"
    names = list(contents_of(bundle))
    refused(world, doctored(bundle, tmp_path / "doctored", {}, order=[*names[:-2], names[-1], names[-2]]))
    refused(world, doctored(bundle, tmp_path / "turned", {}, order=names[::-1]))


def test_parts_of_two_bundles(world: World, stranger: World, tmp_path: Path) -> None:
    """An older release is not passed off under newer signatures, nor one list under those of another."""
    bundle = world.directory / "list.bundle"
    older, other = (contents_of(world.directory / f"{name}.bundle") for name in ("older", "other"))
    theirs = contents_of(stranger.directory / "list.bundle")

    def taken(members: Members, *prefixes: str) -> Changes:
        names = {*members, *contents_of(bundle)}
        return {name: members.get(name) for name in names if name.startswith(prefixes) and (name in members)}

    for i, changes in enumerate(
        (
            taken(older, "rows/", "answers/"),
            taken(older, "rows/", "answers/", "targets/"),
            taken(older, "rows/", "answers/", "targets/", ROLE),
            taken(older, "rows/", "answers/", "targets/", ROLE, "metadata/snapshot"),
            taken(older, "metadata/timestamp"),
            taken(other, "rows/number", "rows/entry"),
            taken(theirs, "metadata/timestamp", "metadata/snapshot"),
            taken(theirs, "metadata/"),
            taken(theirs, "metadata/1.root.json"),
        )
    ):
        assert changes
        refused(world, doctored(bundle, tmp_path / str(i), changes))


def test_overrides_that_somebody_put_in_are_said_and_do_not_count(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are not signed: this is what the word at opening is about."""
    bundle = world.directory / "list.bundle"
    members = contents_of(bundle) | {contents.OWN: contents_of(world.directory / "own.bundle")[contents.OWN]}
    order = sorted(members, key=lambda name: list(contents_of(world.directory / "own.bundle")).index(name))
    path = doctored(bundle, tmp_path / "own", {contents.OWN: members[contents.OWN]}, order=order)
    assert "+6281277777777" not in open_(world, path)
    assert "do not count" in caplog.text
    assert "+6281277777777" in open_(world, path, overrides=True)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[" * 100_000,
        b'{"overrides": [], "protected": ["x"]}',
        b'{"overrides": [[1, 2]], "protected": []}',
        b'{"overrides": [[6281200000001, 6281200000001, "maybe", "x", "y", "2026-01-01T00:00:00+00:00", null]], '
        b'"protected": []}',
    ],
)
def test_overrides_that_make_no_sense(world: World, tmp_path: Path, data: bytes) -> None:
    path = doctored(world.directory / "own.bundle", tmp_path / "own", {contents.OWN: data})
    assert open_(world, path)
    refused(world, path, "overrides", overrides=True)


def test_a_newer_format_says_what_to_do(world: World, tmp_path: Path) -> None:
    newer = {contents.ABOUT: b'{"format": 2, "feed": "id-telkomsel"}\n'}
    with pytest.raises(InvalidInput, match="upgrade"):
        open_(world, doctored(world.directory / "list.bundle", tmp_path / "newer", newer))


def test_a_publisher_without_protected_numbers(tmp_path: Path) -> None:
    """Whoever protects nothing signs an empty list."""
    Publisher.init(tmp_path / "publisher", feeds=[FEED], passphrase=PASSPHRASE, region="ID")
    publisher = Publisher.open(tmp_path / "publisher", passphrase=PASSPHRASE, timing=Timing())
    world = World(tmp_path, publisher, publisher.repository.as_uri())
    world.release(["+6281200000001"])
    recipient = world.recipient()
    recipient.sync()
    assert recipient.bundle(tmp_path / "list.bundle").protected == 0
    assert "+6281200000001" in open_(world, tmp_path / "list.bundle")
