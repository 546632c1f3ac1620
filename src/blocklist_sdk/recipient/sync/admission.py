"""Whether a release may be fetched at all, by what its signed index says of it. Pure.

A file of some kilobytes may hold more rows than this machine has memory for. Its index says how many they are, and
nothing is downloaded before that number was compared with what is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blocklist_sdk.errors import Malformed, Refused, StorageFailed
from blocklist_sdk.recipient.cache.generation import OVERLAY_SHARE_MAX
from blocklist_sdk.recipient.guard import Guard
from blocklist_sdk.recipient.sync.planner import FetchPlan
from blocklist_sdk.release.index import FeedIndex, FileRef
from blocklist_sdk.release.limits import ROWS_MAX, file_bytes_max
from blocklist_sdk.release.stored import OVERLAY_ROWS_MIN
from blocklist_sdk.texts import counted

MEMORY_BYTES_BASE: Final = 16 << 20
MEMORY_BYTES_PER_ROW: Final = 60
"""What building a generation takes: the first, and the second for each row. Measured at 3 and 10 million rows: 53 bytes
a row (`benchmarks/sync.py` prints them)."""

DISK_BYTES_PER_ROW: Final = 55
"""What a generation takes on disk for each row, as measured. A short list's few hundred kilobytes are not foreseen: if
the disk lacks them, writing them fails."""

_DELTA_BYTES_PER_ROW: Final = 4
"""A row of a delta takes eight bytes on the wire; half of that is foreseen, in case it packs better."""

CHAIN_ROWS_BASE: Final = 1_000_000
CHAIN_LISTS: Final = 4
"""The deltas of a plan have at most the first many rows together, and so many times those of the list. A snapshot of
the list is the shorter download long before."""


@dataclass(frozen=True, slots=True)
class Room:
    """The room that this machine has.

    Attributes:
        disk: bytes that may still be written.
        memory: bytes of memory that may still be taken; None if the system does not say.
        directory: where a generation is written.
    """

    disk: int
    memory: int | None
    directory: Path


def files_of(planned: FetchPlan) -> tuple[FileRef, ...]:
    """The files of a plan, in the order in which they are applied."""
    return (() if planned.snapshot is None else (planned.snapshot,)) + planned.deltas


def rows_of_files(index: FeedIndex, planned: FetchPlan, *, have: int) -> tuple[int, ...]:
    """How many rows each file of a plan may have, as the index says: a snapshot has as many, a delta at most.

    A delta removes rows of the release before and puts rows of its own, each once.

    Args:
        index: the feed's signed index.
        planned: the way to its current release.
        have: the rows of the release in force.
    """
    count = len(planned.deltas)
    following = index.releases[len(index.releases) - count :]
    before = have
    found = []
    if planned.snapshot is not None:
        before = index.releases[len(index.releases) - count - 1].rows
        found.append(before)
    for release in following:
        found.append(before + release.rows)
        before = release.rows
    return tuple(found)


def rows_of_chain(index: FeedIndex, *, have: int) -> int:
    """How many rows all deltas of a plan may have together: more would cost more than a snapshot ever does."""
    return CHAIN_ROWS_BASE + CHAIN_LISTS * max(have, index.rows)


def check_lengths(index: FeedIndex, planned: FetchPlan, signed_lengths: Sequence[int | None], *, have: int) -> None:
    """Check the lengths of the files of a plan.

    Args:
        index: the feed's signed index.
        planned: the way to its current release.
        signed_lengths: the length of each of its files that the feed's role signs; None if it does not sign the file.
        have: the rows of the release in force.

    Raises:
        Malformed: the index and the role that signs it do not agree, or a file is longer than its rows can be.
    """
    rows = rows_of_files(index, planned, have=have)
    for file, signed, count in zip(files_of(planned), signed_lengths, rows, strict=True):
        if signed is not None and signed != file.length:
            raise Malformed(
                f"the index of feed {index.feed!r} says that {file.path} has {file.length:,} bytes, but it is signed "
                f"with {signed:,}. Nothing was downloaded. Tell the publisher."
            )
        if file.length > file_bytes_max(count):
            raise Malformed(
                f"the index of feed {index.feed!r} offers {file.path} with {file.length:,} bytes for {count:,} rows; a "
                f"release file of so many rows has at most {file_bytes_max(count):,}. Nothing was downloaded. Tell the "
                "publisher."
            )


def check_rows(index: FeedIndex, planned: FetchPlan, *, max_rows: int) -> None:
    """Check how many rows the releases of a plan have.

    Raises:
        Malformed: more than the protocol allows.
        Refused: more than this recipient's setting allows.
    """
    longest = max(release.rows for release in index.releases)
    if longest > ROWS_MAX:
        raise Malformed(
            f"feed {index.feed!r} offers a release of {longest:,} rows; a release may have at most {ROWS_MAX:,}. "
            "Nothing was downloaded. Tell the publisher."
        )
    most = _most_rows(index, planned)
    if most > max_rows:
        reason = f"it has {counted(most, 'row')}, more than the {max_rows:,} that max_rows allows"
        raise Refused(
            f"release {index.serial} of feed {index.feed!r} is refused: {reason}. Nothing was downloaded, and the list "
            "in force is unchanged. If the list is meant to be so long, raise max_rows=, or --max-rows; accepting the "
            "release does not help.",
            serial=index.serial,
            reasons=(reason,),
        )


def growth_refusal(guard: Guard | None, index: FeedIndex, *, have: int) -> str | None:
    """Why a release is not downloaded without a person's word; None if the guard has to see its rows first.

    Its rows are taken for as many numbers that begin to be blocked. If they are advisories, the guard lets them pass
    once it has seen them.

    Args:
        guard: the recipient's guard.
        index: the feed's signed index.
        have: the rows of the release in force; 0 before the first, which has no limit.
    """
    if guard is None or not have:
        return None
    added = index.rows - have
    if not guard.is_too_much_added(added, have):
        return None
    return f"it has {added:,} more rows than the release in force, {100 * added / have:.0f} % of {have:,}"


def check_room(index: FeedIndex, planned: FetchPlan, room: Room) -> None:
    """Check that this machine has room for a release.

    Raises:
        StorageFailed: memory or disk does not suffice.
    """
    rows, handled = _most_rows(index, planned), _rows_handled(index, planned)
    disk = DISK_BYTES_PER_ROW * handled + sum(file.length for file in files_of(planned))
    memory = MEMORY_BYTES_BASE + MEMORY_BYTES_PER_ROW * handled
    for what, needed, free in (("memory", memory, room.memory), ("disk", disk, room.disk)):
        if free is not None and needed > free:
            raise StorageFailed(
                f"release {index.serial} of feed {index.feed!r} has {counted(rows, 'row')} and needs about "
                f"{_size(needed)} of {what}, but {_size(free)} are free{_where(what, room)}. Nothing was downloaded, "
                f"and the list in force is unchanged. Give this process more {what}, or ask the publisher whether the "
                "list is meant to be so long.",
                path=room.directory,
            )


def _most_rows(index: FeedIndex, planned: FetchPlan) -> int:
    """The rows of the longest list that is built: deltas are made one, so the releases in between never are."""
    first = index.releases[-len(files_of(planned))].rows if planned.snapshot is not None else 0
    return max(first, index.rows)


def _rows_handled(index: FeedIndex, planned: FetchPlan) -> int:
    """The rows that take room: all that are built. Few deltas are an overlay, which has a part of the list at most."""
    rows = _most_rows(index, planned)
    overlay = max(OVERLAY_ROWS_MIN, int(OVERLAY_SHARE_MAX * rows))
    if planned.snapshot is not None or planned.bytes > _DELTA_BYTES_PER_ROW * overlay:
        return rows
    return min(rows, overlay)


def _where(what: str, room: Room) -> str:
    return f" at {room.directory}" if what == "disk" else ""


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
