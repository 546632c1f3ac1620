"""Changes between releases, holds, explanations, verification."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given

from blocklist_sdk import Blocklist, InvalidInput, Malformed
from blocklist_sdk.recipient.cache.generation import About, Generation, NextList, write_generation
from blocklist_sdk.recipient.cache.store import HELD_MAX
from blocklist_sdk.recipient.changes import Changes
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Entry
from support.strategies import Row, successive_rows, to_rows
from support.world import ADDED, FEED, FIRST, LISTED, SECOND, Forger, World, make_world

PUBLISHED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def recipient(world: World) -> Blocklist:
    recipient = world.recipient()
    recipient.sync()
    return recipient


def generation_of(directory: Path, plain: list[Row], serial: int) -> Generation:
    rows = to_rows(plain)
    directory.mkdir()
    listed = NextList.of(rows)
    write_generation(directory, listed, About("id-all", serial, listed.tree.digest, len(rows), PUBLISHED))
    return Generation.open(directory)


@given(successive_rows())
def test_changes_are_the_difference(
    tmp_path_factory: pytest.TempPathFactory, pair: tuple[list[Row], list[Row]]
) -> None:
    directory = tmp_path_factory.mktemp("generations")
    old, new = (generation_of(directory / str(i), plain, i) for i, plain in enumerate(pair, 1))
    found = Changes(old, new, lambda: Rules(frozenset(), {}))
    before = {row.entry: row for row in pair[0]}
    after = {row.entry: row for row in pair[1]}
    kinds = {
        **dict.fromkeys(before.keys() - after.keys(), "removed"),
        **dict.fromkeys(after.keys() - before.keys(), "added"),
        **{entry: "changed" for entry in before.keys() & after.keys() if before[entry] != after[entry]},
    }
    assert {change.entry.entry: change.kind for change in found} == kinds
    assert len(found) == len(kinds)
    for change in found:
        if change.kind == "changed":
            assert isinstance(change.before, Entry)
            assert change.before.category == before[change.entry.entry].category
    table = found.to_arrow()
    pairs = zip(table.column("entry").to_pylist(), table.column("change").to_pylist(), strict=True)
    assert dict(pairs) == kinds


def test_changes_across_a_gap(world: World, recipient: Blocklist) -> None:
    recipient.hold("sink", 1)
    for numbers in (SECOND, FIRST, [*FIRST[3:], ADDED]):
        world.release(numbers)
        recipient.sync()
    found = list(recipient.changes(since=1))
    # The hundred numbers that were removed and added again have new entries: the old ones are removed.
    assert {change.kind for change in found} == {"added", "removed"}
    assert int(ADDED[1:]) in {change.entry.number for change in found if change.kind == "added"}
    assert recipient.status().held == {"sink": 1}
    assert recipient.changes(since=4).to_arrow().num_rows == 0
    assert len(recipient.changes(since=None)) == len(FIRST) - 2


def test_releases_that_are_not_held_are_deleted_and_disk_use_has_a_bound(world: World, recipient: Blocklist) -> None:
    for turn in range(HELD_MAX + 4):
        recipient.hold(f"sink-{turn}", recipient.status().serial or 0)
        world.release([*FIRST, f"+62812000{turn:05}"])
        recipient.sync()
    kept = recipient.status().generations
    assert len(kept) == HELD_MAX + 2
    assert recipient.status().disk_bytes < 20 * (recipient.status().generation_bytes or 0)
    with pytest.raises(InvalidInput, match="not on this disk"):
        recipient.changes(since=1)
    for turn in range(HELD_MAX + 4):
        assert recipient.release_hold(f"sink-{turn}")
    assert not recipient.release_hold("sink-0")
    world.release(FIRST)
    recipient.sync()
    assert len(recipient.status().generations) == 2
    with pytest.raises(InvalidInput):
        recipient.hold(" ", 1)


def test_an_explanation_names_everything(world: World, recipient: Blocklist) -> None:
    recipient.overrides.allow(LISTED, reason="appeal 17", author="ayu")
    found = recipient.explain("0812 0000 0001")
    assert (found.number, found.operator, found.brand, found.is_valid) == (
        6281200000001,
        "telkomsel",
        "Halo/simPATI/AS",
        True,
    )
    assert found.verdict.reason == "override-allow"
    assert [entry.entry for entry in found.verdict.entries] == [1]
    assert found.signers == tuple(sorted(signer.public_key.keyid for signer in world.signers(f"feed.{FEED}")))


def test_verification_follows_the_signatures_down_to_every_byte(recipient: Blocklist) -> None:
    found = recipient.verify()
    assert found
    assert (found.serial, found.rows, found.digest) == (1, len(FIRST), recipient.status().digest)


def current_generation(world: World) -> Path:
    (path,) = (world.directory / "cache" / FEED / "generations").iterdir()
    return path


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("rows.arrow", "digest"),
        ("cells.arrow", "not as it was written"),
        ("index.json", "authority signed"),
        ("targets.json", "authority signed"),
        ("feed.json", "authority signed"),
        ("root.json", "authority signed"),
    ],
)
def test_verification_finds_what_was_changed(world: World, name: str, word: str) -> None:
    """On a list so long that a file has a middle beside its two ends, which are checked when it is opened."""
    world.release(f"+62811{i:08}" for i in range(20_000))
    recipient = world.recipient()
    recipient.sync()
    recipient.close()
    file = current_generation(world) / name
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle - 1 : middle + 1] = (
        b"zz" if name.endswith("json") else bytes(255 - byte for byte in data[middle - 1 : middle + 1])
    )
    file.write_bytes(data)
    if name == "cells.arrow":
        file.write_bytes(file.read_bytes())
    found = recipient.verify() if recipient.is_synced() else None
    assert found is None or (not found and word in " ".join(found.problems))


def test_verification_finds_a_generation_of_another_authority(
    tmp_path: Path, world: World, recipient: Blocklist
) -> None:
    other = make_world(tmp_path / "other")
    stranger = other.recipient()
    stranger.sync()
    for name in ("index.json", "targets.json", "feed.json", "root.json"):
        shutil.copy(current_generation(other) / name, current_generation(world) / name)
    assert "authority signed" in recipient.verify().problems[0]


def test_verification_after_a_rotation(world: World, recipient: Blocklist) -> None:
    forger = Forger(world)
    forger.forge("root", lambda signed: setattr(signed, "expires", signed.expires + timedelta(days=1)))
    path = forger.newest("root")
    assert path.name.startswith("2.")
    world.release(SECOND)
    recipient.sync()
    assert recipient.verify()


def test_verification_after_a_newer_root_was_pinned(world: World, recipient: Blocklist) -> None:
    forger = Forger(world)
    forger.forge("root", lambda signed: setattr(signed, "expires", signed.expires + timedelta(days=1)))
    (world.directory / "publisher" / "root.json").write_bytes(forger.newest("root").read_bytes())
    again = world.recipient()
    again.sync()
    assert again.verify()


def damage(world: World, serial: int, name: str = "rows.arrow", *, at: bytes | None = None) -> None:
    """Flip a bit of a file of a release: in the middle, or at some bytes."""
    (file,) = (world.directory / "cache" / FEED / "generations").glob(f"{serial:012d}-*/{name}")
    data = bytearray(file.read_bytes())
    data[len(data) // 2 if at is None else data.index(at)] ^= 1
    file.write_bytes(data)


def two_releases(world: World) -> Blocklist:
    numbers = [f"+62811{i:08}" for i in range(20_000)]
    recipient = world.recipient()
    for release in (numbers, numbers[1:]):
        world.release(release)
        recipient.sync()
    return recipient


def test_a_mended_release_leaves_neither_its_damaged_copy_nor_less_history(world: World) -> None:
    recipient = two_releases(world)
    serials = recipient.status().generations
    damage(world, serials[0], "dropped.arrow")
    recipient.hold("sink", serials[0])
    assert recipient.sync().after == serials[0]
    assert recipient.status().generations == serials
    assert [change.kind for change in recipient.changes(since=serials[1])] == ["removed"]


def test_damage_that_releases_share_leaves_no_history(world: World) -> None:
    """The release before has the same file, so nothing says what was in it."""
    recipient = two_releases(world)
    serials = recipient.status().generations
    damage(world, serials[0])
    assert recipient.sync().kind == "snapshot"
    with pytest.raises(Malformed, match="damaged"):
        recipient.changes(since=serials[1])
    assert len(recipient.changes(since=None)) == 19_999


def test_changes_never_start_from_damaged_rows(world: World) -> None:
    recipient = two_releases(world)
    older = recipient.status().generations[1]
    damage(world, older)  # far from what differs
    assert [change.entry.number for change in recipient.changes(since=older)] == [6281100000000]
    damage(world, older, at=(6281100000001).to_bytes(8, "little"))
    with pytest.raises(Malformed, match="damaged"):
        recipient.changes(since=older)


@pytest.mark.parametrize("serial", [999, 0, "1", 2**70], ids=str)
def test_what_is_not_here_cannot_be_held(recipient: Blocklist, serial: object) -> None:
    with pytest.raises(InvalidInput):
        recipient.hold("sink", serial)  # type: ignore[arg-type]
    assert recipient.status().held == {}
