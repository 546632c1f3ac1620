"""The ranges that cover a number: all of them for one number, and the segments in which they are the same."""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from blocklist_sdk.release.rows import Int64s, Positions, Rows

DEPTH_MAX = 32
"""Where more ranges than this lie over each other, numbers are looked up in the rows."""


def range_table(rows: Rows) -> pa.Table:
    """The rows that are ranges, as a `RangeIndex` reads them."""
    row = range_rows(rows)
    first, last = rows.number[row], rows.last[row]
    return pa.table({"first": first, "last": last, "row": row, "outer": _outer(last.tolist())})


def range_rows(rows: Rows) -> Positions:
    """Positions of the rows that cover more than one number, in order."""
    return np.flatnonzero(rows.last != rows.number) if rows.has_ranges else np.empty(0, np.int64)


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


def segments(rows: Rows) -> tuple[Int64s, list[list[int] | None]]:
    """Cut the numbers wherever the set of ranges that cover them changes.

    Returns:
        The first number of each segment, ascending, and the rows that cover it: an empty list for a gap, None for more
        than `DEPTH_MAX` rows. A segment ends where the next one begins; the last one is a gap without an end.
    """
    row = range_rows(rows)
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for at, first, last in zip(row.tolist(), rows.number[row].tolist(), rows.last[row].tolist(), strict=True):
        starts.setdefault(first, []).append(at)
        ends.setdefault(last + 1, []).append(at)
    edges = sorted({*starts, *ends})
    covering: dict[int, None] = {}
    cut: list[list[int] | None] = []
    for edge in edges:
        for at in ends.get(edge, ()):
            del covering[at]
        covering.update(dict.fromkeys(starts.get(edge, ())))
        cut.append(list(covering) if len(covering) <= DEPTH_MAX else None)
    return np.array(edges, np.int64), cut
