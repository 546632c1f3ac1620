"""Which releases an index offers, and which of them have a snapshot. Pure.

A snapshot costs what the whole list costs, so a release that changes little has none. A newcomer takes the last one and
the deltas since.
"""

from collections.abc import Sequence
from typing import Final

from blocklist_sdk.release.index import FeedIndex, Release

DELTAS_MAX: Final = 90
"""How many deltas are offered: a quarter of a year of daily releases. A recipient that was away for longer takes the
snapshot."""

SNAPSHOT_EVERY: Final = 30
"""One of so many releases at least has a snapshot, as the protocol asks for."""

SNAPSHOT_ROWS: Final = 10_000
"""A list of so few rows has a snapshot with every release: that takes some milliseconds."""

DELTA_ROWS: Final = 100_000
"""A delta of so few rows is written in any case."""

CHAIN_SHARE: Final = 0.25
"""If the deltas since the last snapshot have more of its bytes, there is a new one: newcomers fetch both."""


def needs_snapshot(index: FeedIndex | None, *, serial: int, changes: int, rows: int) -> bool:
    """Whether a release has to have a snapshot of its own.

    So it is that a recipient may read all deltas since the last one: each has at most a thirtieth of the list's rows.

    Args:
        index: that of the current release; None before the first.
        serial: the release's serial.
        changes: how many entries it changes.
        rows: how many rows it has.
    """
    if index is None or index.serial + 1 != serial or rows <= SNAPSHOT_ROWS:
        return True
    last = next((release for release in reversed(index.releases) if release.snapshot is not None), None)
    if last is None or last.snapshot is None or serial - last.serial >= SNAPSHOT_EVERY:
        return True
    chain = sum(each.delta.length for each in index.releases if each.delta and each.serial > last.serial)
    return chain > CHAIN_SHARE * last.snapshot.length or changes > max(SNAPSHOT_ROWS, rows / SNAPSHOT_EVERY)


def is_worth_a_delta(changes: int, rows: int) -> bool:
    """Whether a release gets a delta. One of more rows than the list is no shorter way than the snapshot.

    Args:
        changes: how many entries the release changes.
        rows: how many rows it has.
    """
    return changes <= max(DELTA_ROWS, rows)


def still_offered(earlier: Sequence[Release], current: Release) -> list[Release]:
    """Earlier releases that stay on offer.

    The last snapshot and the deltas since do, and the deltas before it, from where all deltas up to the current release
    are no more bytes than the snapshot. A recipient that is reading an older snapshot still finds the file for a while,
    since nothing that was published is deleted at once.
    """
    offered: list[Release] = []
    if current.delta is None:
        return offered
    snapshot, chain = current.snapshot, current.delta.length
    for release in reversed(earlier):
        chain += release.delta.length if release.delta else 0
        if snapshot is None:
            # A newcomer needs it.
            snapshot = release.snapshot
            offered.insert(0, release)
            if release.delta is None:
                break
            continue
        if release.delta is None or chain > snapshot.length or len(offered) + 1 >= DELTAS_MAX:
            break
        offered.insert(0, release.model_copy(update={"snapshot": None}))
    return offered
