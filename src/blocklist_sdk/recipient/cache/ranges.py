"""The ranges that cover a number: all of them for one number, and the segments in which they are the same."""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from blocklist_sdk.release.rows import Int64s, Positions, Rows, distinct, range_rows

DEPTH_MAX = 32
"""Where more ranges than this lie over each other, numbers are looked up in the rows."""

_SEGMENTS_AT_A_TIME = 1 << 13
"""Of the deepest ranges that a release may have, the rows that cover so many segments take a few megabytes."""


def range_table(rows: Rows) -> pa.Table:
    """The rows that are ranges, as a `RangeIndex` reads them."""
    row = range_rows(rows)
    first, last = rows.number[row], rows.last[row]
    return pa.table({"first": first, "last": last, "row": row, "outer": _outer(last.tolist())})


def _outer(last: list[int]) -> Int64s:
    """For each range the nearest one before it that reaches at least as far; -1 if there is none.

    Ranges between the two end before this one does, so a number beyond this range is beyond them as well, and a look-up
    skips them.
    """
    outer = np.full(len(last), -1, np.int64)
    open_ranges: list[int] = []
    for i, end in enumerate(last):
        while open_ranges and last[open_ranges[-1]] < end:
            open_ranges.pop()
        if open_ranges:
            outer[i] = open_ranges[-1]
        open_ranges.append(i)
    return outer


class RangeIndex:
    """Finds the ranges that cover a number."""

    __slots__ = ("_first", "_last", "_outer", "_row")

    def __init__(self, table: pa.Table) -> None:
        """Takes the memory-mapped `range_table`."""
        self._first, self._last, self._row, self._outer = (
            memoryview(table.column(name).chunk(0).to_numpy(zero_copy_only=True))
            for name in ("first", "last", "row", "outer")
        )

    def covering(self, number: int) -> Iterator[int]:
        """The rows of the ranges that start before the number and reach it, the nearest start first."""
        i = bisect_right(self._first, number) - 1
        while i >= 0:
            if self._last[i] >= number:
                if self._first[i] != number:
                    yield self._row[i]
                i -= 1
            else:
                i = self._outer[i]


def segments(rows: Rows) -> tuple[Int64s, Int64s]:
    """Cut the numbers wherever the set of ranges that cover them changes.

    Returns:
        The first number of each segment, ascending, and how many ranges cover it: 0 for a gap. A segment ends where the
        next one begins; the last one is a gap without an end.
    """
    row = range_rows(rows)
    begin, end = rows.number[row], rows.last[row] + 1
    first = distinct(np.concatenate((begin, end)))
    begins, ends = (np.bincount(np.searchsorted(first, each), minlength=len(first)) for each in (begin, end))
    return first, np.cumsum(begins - ends)


def covering(rows: Rows, first: Int64s, depth: Int64s) -> Iterator[tuple[Positions, Positions]]:
    """Which ranges cover each segment; a part of the segments at a time, since many may cover each.

    Args:
        rows: the release's.
        first: the first number of each of its `segments`.
        depth: how many ranges cover it.

    Yields:
        The positions of segments that up to `DEPTH_MAX` ranges cover, ascending, without gaps; and the rows that cover
        them, those of one segment after those of the one before, as many as its depth says.
    """
    row = range_rows(rows)
    start, stop = np.searchsorted(first, rows.number[row]), np.searchsorted(first, rows.last[row] + 1)
    is_usual = (depth > 0) & (depth <= DEPTH_MAX)
    still_open = np.empty(0, np.int64)
    for begin in range(0, len(first), _SEGMENTS_AT_A_TIME):
        end = begin + _SEGMENTS_AT_A_TIME
        fresh = np.arange(*np.searchsorted(start, (begin, end)))
        there = np.concatenate((still_open, fresh))
        still_open = there[stop[there] > end]
        low = np.maximum(start[there], begin)
        size = np.minimum(stop[there], end) - low
        segment = np.arange(int(size.sum())) + np.repeat(low - (np.cumsum(size) - size), size)
        covers = np.repeat(row[there], size)
        usual = np.flatnonzero(is_usual[segment])
        order = usual[np.argsort(segment[usual], kind="stable")]
        yield begin + np.flatnonzero(is_usual[begin:end]), covers[order]
