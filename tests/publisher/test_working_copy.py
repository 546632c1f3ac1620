"""What the publisher keeps beside the repository saves time, and decides nothing: a release is the same without it."""

import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist
from blocklist_sdk.errors import InvalidInput, StorageFailed
from blocklist_sdk.mirror import mirror
from blocklist_sdk.publisher import Publisher, PublisherGuard, signed_feed, working_copy
from blocklist_sdk.publisher.offer import SNAPSHOT_ROWS
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release import arrow_files, stored
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.names import index_path
from support.holders import Killed

FEED = "id-all"
PASSPHRASE = "correct horse battery"
COUNT = SNAPSHOT_ROWS + 2_000
FIRST = 6_281_200_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A publisher with a list that is too long for a snapshot with every release."""
    folder = tmp_path_factory.mktemp("made") / "p"
    publisher = Publisher.init(folder, feeds=[FEED], passphrase=PASSPHRASE, region="ID")
    ends = np.random.default_rng(1).integers(2_000_000_000, 4_000_000_000, COUNT)  # of which a snapshot has every bit
    publisher.release(
        FEED, pa.table({"number": 3 * np.arange(COUNT) + FIRST, "until": pa.array(ends, pa.timestamp("s", "UTC"))})
    )
    publisher.add(FEED, texts(1))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "p")
    return tmp_path / "p"


def texts(*tails: int) -> list[str]:
    return [f"+{FIRST + tail}" for tail in tails]


def opened(folder: Path) -> Publisher:
    return Publisher.open(folder, passphrase=PASSPHRASE, guard=PublisherGuard.off())


def index_of(folder: Path) -> FeedIndex:
    index = SignedFeed.find(opened(folder)._folder.load(), FEED).index
    assert index is not None
    return index


def numbers_of(folder: Path) -> set[int]:
    """The numbers of the current release, from the signed files, which must have its digest."""
    feed = SignedFeed.find(opened(folder)._folder.load(), FEED)
    rows = feed.rows()
    assert feed.index is not None
    assert digest(rows) == feed.index.digest
    assert len(rows) == feed.index.rows
    return set(rows.number.tolist())


def copies_of(folder: Path) -> list[Path]:
    return sorted((folder / "working" / FEED).iterdir())


LISTED = {FIRST + 3 * i for i in range(COUNT)} | {FIRST + 1}


def test_what_is_added_and_removed_costs_no_look_at_the_whole_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("the whole list was read or written")

    for name in ("read_snapshot", "write_snapshot"):
        monkeypatch.setattr(signed_feed, name, refuse)
    monkeypatch.setattr("blocklist_sdk.release.layers.LayeredRows.whole", refuse)
    publisher = opened(folder)
    result = publisher.add(FEED, texts(4, 1))
    assert (result.added, result.already_listed, result.rows, result.reach) == (1, 1, COUNT + 2, COUNT + 2)
    assert (result.snapshot_bytes, result.delta_bytes is not None) == (None, True)
    result = publisher.remove(FEED, texts(1, 2))
    assert (result.removed, result.not_listed, result.rows, result.reach) == (1, 1, COUNT + 1, COUNT + 1)
    monkeypatch.undo()
    assert numbers_of(folder) == LISTED - {FIRST + 1} | {FIRST + 4}


def test_recipients_and_mirrors_follow_releases_without_a_snapshot(folder: Path, tmp_path: Path) -> None:
    def synced(cache: str, url: str) -> tuple[str, set[int]]:
        root = folder / "root.json"
        with Blocklist.open(url, feed=FEED, root=root, region="ID", cache_dir=tmp_path / cache) as blocklist:
            kind = blocklist.sync().kind
            return kind, set(blocklist.to_arrow().column("number").to_pylist())

    publisher = opened(folder)
    url = publisher.repository.as_uri()
    assert [bool(each.snapshot) for each in index_of(folder).releases] == [True, False]
    assert synced("a", url) == ("snapshot", LISTED)
    publisher.add(FEED, texts(4))
    publisher.remove(FEED, texts(0, 3))
    now = LISTED - {FIRST, FIRST + 3} | {FIRST + 4}
    assert synced("a", url) == ("delta", now)
    assert synced("b", url) == ("snapshot", now)
    mirror(url, tmp_path / "mirror", root=folder / "root.json")
    assert synced("c", (tmp_path / "mirror").as_uri()) == ("snapshot", now)
    result = publisher.snapshot(FEED)
    assert result.serial == 4
    assert index_of(folder).current.snapshot is not None
    assert synced("d", url) == ("snapshot", now)


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def cut_off(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [flip, cut_off, remove])
def test_whatever_is_damaged_releases_lead_to_their_digests(
    folder: Path, damage: Callable[[Path, random.Random], None]
) -> None:
    chance = random.Random(5)
    listed = set(LISTED)
    names = [path.name for path in sorted(copies_of(folder)[0].iterdir())]
    assert len(names) == 8
    for name in names:
        (copy,) = copies_of(folder)
        if not (copy / name).exists():
            # It was made anew, without an overlay.
            tail = 3 * chance.randrange(COUNT) + 1
            opened(folder).add(FEED, texts(tail))
            listed.add(FIRST + tail)
            (copy,) = copies_of(folder)
        damage(copy / name, chance)
        tail = 3 * chance.randrange(COUNT) + 2
        result = opened(folder).add(FEED, texts(tail))
        listed.add(FIRST + tail)
        assert result.added == 1
        assert numbers_of(folder) == listed
    opened(folder).release(FEED, pa.table({"number": sorted(listed)[1:]}))
    assert numbers_of(folder) == set(sorted(listed)[1:])


def test_damage_where_a_change_goes_is_found(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A number of the list is another one in the working copy: without a look at its leaf it would be added again."""
    (copy,) = copies_of(folder)
    rows = copy / "rows.arrow"
    data = rows.read_bytes()
    number = (FIRST + 3 * 5_000).to_bytes(8, "little")
    assert data.count(number) == 1
    rows.write_bytes(data.replace(number, (FIRST + 3 * 5_000 + 1).to_bytes(8, "little")))
    with caplog.at_level(logging.WARNING):
        result = opened(folder).add(FEED, texts(3 * 5_000))
    assert (result.added, result.extended) == (0, 1)
    assert "made anew from the signed files" in caplog.text
    assert numbers_of(folder) == LISTED


def test_a_snapshot_on_offer_that_was_damaged_is_written_anew(folder: Path) -> None:
    snapshot = index_of(folder).releases[0].snapshot
    assert snapshot is not None
    path = opened(folder)._folder.load().file(FEED, snapshot.path)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    opened(folder).add(FEED, texts(4))
    assert index_of(folder).current.snapshot is not None
    assert numbers_of(folder) == LISTED | {FIRST + 4}


def test_an_older_copy_of_the_repository_never_meets_a_newer_working_copy(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "repository", tmp_path / "old")
    opened(folder).remove(FEED, texts(0, 3, 6))
    newer = copies_of(folder)
    shutil.rmtree(folder / "repository")
    shutil.copytree(tmp_path / "old", folder / "repository")
    opened(folder).add(FEED, texts(4))
    assert numbers_of(folder) == LISTED | {FIRST + 4}
    assert not set(newer) & set(copies_of(folder))
    # The newer one is put back beside the older repository.
    shutil.rmtree(folder / "repository")
    shutil.copytree(tmp_path / "old", folder / "repository")
    (copy,) = copies_of(folder)
    release = SignedFeed.find(opened(folder)._folder.load(), FEED).published.release
    copy.rename(copy.with_name(f"{release.era}.{release.serial}.{index_of(folder).digest}"))
    opened(folder).add(FEED, texts(5))
    assert numbers_of(folder) == LISTED | {FIRST + 5}


def test_a_release_whose_digest_is_of_another_kind_is_followed(folder: Path) -> None:
    """Publishers that signed the digest by columns go on with the next release, which has the digest as a tree."""
    repository = opened(folder)._folder.load()
    index = index_of(folder)
    by_columns = digest(SignedFeed.find(repository, FEED).rows(), "columns")
    releases = (*index.releases[:-1], index.current.model_copy(update={"digest": by_columns}))
    document = index.model_copy(update={"digest": by_columns, "releases": releases})
    keep = [each.path for release in releases for each in (release.snapshot, release.delta) if each is not None]
    repository.set_targets(FEED, files={index_path(FEED): document.to_json()}, keep=keep)
    feed = SignedFeed.find(opened(folder)._folder.load(), FEED)
    assert feed.index is not None
    assert digest(feed.rows(), "columns") == feed.index.digest
    result = opened(folder).add(FEED, texts(4))
    assert result.digest == index_of(folder).digest
    assert numbers_of(folder) == LISTED | {FIRST + 4}


def test_overlays_are_folded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "OVERLAY_ROWS_MIN", 3)
    monkeypatch.setattr(stored, "FOLD_SHARE", 0.0)
    listed, overlays = set(LISTED), []
    for tail in (4, 7, 10, 13, 16, 19):
        opened(folder).add(FEED, texts(tail))
        listed.add(FIRST + tail)
        overlays.append((copies_of(folder)[0] / "puts.arrow").exists())
    assert overlays == [True, True, False, True, True, True]
    assert numbers_of(folder) == listed


def test_a_disk_without_room_for_a_working_copy_holds_no_release_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no room")

    monkeypatch.setattr(working_copy, "write_overlay", refuse)
    opened(folder).remove(FEED, texts(0))
    assert "no working copy" in caplog.text
    assert copies_of(folder) == []
    monkeypatch.undo()
    opened(folder).remove(FEED, texts(3))
    assert numbers_of(folder) == LISTED - {FIRST, FIRST + 3}
    assert len(copies_of(folder)) == 1


def test_a_power_cut_at_each_single_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename is the step; after each number of them in turn the run ends."""
    rename, listed, steps = os.replace, set(LISTED), 0
    for allowed in range(100):
        left = allowed

        def cut(source: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            rename(source, target)

        before = index_of(folder).serial
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut)
            try:
                opened(folder).add(FEED, texts(3 * allowed + 2))
            except Killed:
                steps += 1
            else:
                break
        is_published = index_of(folder).serial > before
        listed |= {FIRST + 3 * allowed + 2} if is_published else set()
        assert numbers_of(folder) == listed
        opened(folder).add(FEED, texts(3 * allowed + 4))
        listed.add(FIRST + 3 * allowed + 4)
        assert numbers_of(folder) == listed
        assert len(copies_of(folder)) == 1
    # What the working copy is, and itself; what ids are given out; delta, index, feed role, snapshot role, timestamp;
    # then what was published, and the ledger of what was dropped.
    assert steps == 10


def test_without_room_for_the_release_nothing_is_published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no room")

    monkeypatch.setattr(signed_feed, "write_delta", refuse)
    before = copies_of(folder)
    with pytest.raises(StorageFailed):
        opened(folder).add(FEED, texts(4))
    assert copies_of(folder) == before
    assert numbers_of(folder) == LISTED


RANGE = FIRST + 30_000_000


@pytest.mark.parametrize(
    ("number", "last", "flipped"),
    [(RANGE, RANGE + 999, RANGE + 999 - 512), (FIRST + 3 * 5_000, FIRST + 3 * 5_000, FIRST + 3 * 5_000 + (1 << 25))],
    ids=["a range that seems to end earlier", "a number that seems to be a range"],
)
def test_a_flipped_bit_in_the_end_of_a_range_decides_about_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, last: int, flipped: int
) -> None:
    monkeypatch.setattr(arrow_files, "_END_BYTES", 512)  # as in a long list
    folder, count = tmp_path / "p", SNAPSHOT_ROWS + 2_000
    Publisher.init(folder, feeds=[FEED], passphrase=PASSPHRASE, region="ID")
    numbers = [*(FIRST + 3 * np.arange(count)).tolist(), *range(RANGE + 1, RANGE + 600), RANGE]
    table = pa.table(
        {
            "number": [f"+{each}" for each in numbers],
            "last": pa.array([None] * (len(numbers) - 1) + [f"+{RANGE + 999}"], pa.string()),
            "until": pa.array(
                np.random.default_rng(1).integers(2_000_000_000, 4_000_000_000, len(numbers)), pa.timestamp("s", "UTC")
            ),
        }
    )
    publisher = opened(folder)
    publisher.release(FEED, table)
    publisher.add(FEED, texts(1))
    (rows,) = copies_of(folder)[-1].glob("rows.arrow")
    data, bits = rows.read_bytes(), (last ^ flipped).to_bytes(8, "little")
    at = data.rindex(last.to_bytes(8, "little"))  # the ends of ranges come last of all numbers
    rows.write_bytes(data[:at] + bytes(a ^ b for a, b in zip(data[at : at + 8], bits, strict=True)) + data[at + 8 :])
    with pytest.raises(InvalidInput, match="lies inside a range"):
        publisher.remove(FEED, [f"+{RANGE + 900}"])
    result = publisher.add(FEED, [f"+{FIRST + 3 * 5_000 + 100_000_001}", f"+{FIRST + 3 * 5_000 + 20_000_000}"])
    assert (result.added, result.reach) == (2, count + 1 + 1_000 + 2)
