"""A publisher signs small files that are costly to read: recipients refuse them, in time that follows the rows.

The time limits are those of a machine ten times as slow; without bounds each of these took minutes or gigabytes.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from blocklist_sdk import Malformed
from blocklist_sdk.release.arrow import from_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import write_delta, write_snapshot
from blocklist_sdk.release.layers import apply
from blocklist_sdk.release.merge import Delta, Removals
from blocklist_sdk.release.names import delta_path, snapshot_path
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows, Texts
from support.world import FEED, LISTED, Forger, World, make_world, refused

LISTED_NUMBER = int(LISTED[1:])
NO_REMOVALS = Removals(*np.empty((3, 0), np.int64))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def rows_of(number: Int64s, last: Int64s | None = None, *, first_entry: int = 1) -> Rows:
    n = len(number)
    zero = np.zeros(n, np.int64)
    block, fraud, sms = (Texts.repeat(text, n) for text in ("block", "fraud", "sms"))
    entry = np.arange(first_entry, first_entry + n)
    rows = Rows(number, number, entry, block, fraud, fraud, sms, zero, zero + FOREVER_MS)
    return (rows if last is None else rows.with_last(last)).sort()


def sign(world: World, content: Rows | Delta, *, rows: int, release_digest: str) -> int:
    """The next release, signed with the feed's key and the online key; returns the bytes of its file."""
    forger, serial = Forger(world), 2
    path = (snapshot_path if isinstance(content, Rows) else delta_path)(FEED, serial)
    local = world.directory / "signed.parquet"
    if isinstance(content, Rows):
        write_snapshot(content, local)
    else:
        write_delta(content, local)
    target = forger.store(path, local.read_bytes())
    forger.forge(FEED, lambda signed: signed.targets.__setitem__(path, target))
    file = {"path": path, "length": target.length}
    kind = "snapshot" if isinstance(content, Rows) else "delta"

    def next_release(index: dict[str, object]) -> None:
        about = {"serial": serial, "rows": rows, "digest": release_digest, "published_at": index["published_at"]}
        releases = index["releases"]
        assert isinstance(releases, list)
        puts = content if isinstance(content, Rows) else content.puts
        index.update(about, releases=[*releases, {**about, kind: file}], last_entry=int(puts.entry.max()))

    forger.forge_index(next_release)
    return target.length


PLACE = np.arange(100_000)
COSTLY = {
    "a million entries of one number": (rows_of(np.full(1_000_000, LISTED_NUMBER)), "entries of"),
    "a hundred thousand nested ranges": (
        rows_of(LISTED_NUMBER - PLACE, LISTED_NUMBER + 1 + PLACE),
        "100,000 ranges that cover",
    ),
    "ranges that are no more than the guard lets through": (
        rows_of(LISTED_NUMBER - PLACE[:4_990], LISTED_NUMBER + 1 + PLACE[:4_990]),
        "4,990 ranges that cover",
    ),
    "the same range again and again": (
        rows_of(np.full(1_000, LISTED_NUMBER), np.full(1_000, LISTED_NUMBER + 9)),
        "1,000 ranges that cover",
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_list_that_makes_look_ups_slow_is_refused(world: World, name: str) -> None:
    rows, match = COSTLY[name]
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        assert sign(world, rows, rows=len(rows), release_digest=digest(rows)) < 100_000
        began = time.process_time()
        refused(recipient, Malformed, match)
        assert time.process_time() - began < 30


def test_a_delta_that_piles_entries_on_one_number_is_refused(world: World) -> None:
    puts = rows_of(np.full(20_000, LISTED_NUMBER), first_entry=100_000)
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        sign(world, Delta(puts, NO_REMOVALS), rows=3_000 + len(puts), release_digest="tree-" + "0" * 64)
        began = time.process_time()
        refused(recipient, Malformed, "20,000 entries of")
        assert time.process_time() - began < 30


def test_a_delta_up_to_the_limit_comes_into_force(world: World) -> None:
    """And each entry is answered."""
    puts = rows_of(np.full(99, LISTED_NUMBER), first_entry=100_000)
    with world.recipient() as recipient:
        recipient.sync()
        after, _ = apply(from_table(recipient.to_arrow()), Delta(puts, NO_REMOVALS))
        sign(world, Delta(puts, NO_REMOVALS), rows=len(after), release_digest=digest(after))
        assert recipient.sync().added == 99
        assert len(recipient.check(LISTED).entries) == 100
