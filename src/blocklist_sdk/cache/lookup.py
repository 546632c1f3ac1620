"""Finding a number among sorted numbers on disk, with nothing to build or load at open.

Numbers are cut into segments of 2**33 (one numbering area of one length falls into one or a few), each segment into
equal slots of a few numbers; a slot's first row is on disk. A look-up is one dictionary access, two reads and a
bisection over the few numbers of its slot. An even cut of the whole span would not do: numbers of 12 and 13 digits
in one list leave most of the span empty.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from blocklist_sdk.release.rows import Int64s, Rows

_SEGMENT_BITS = 33
_NUMBERS_PER_SLOT = 2


def write_slots(numbers: Int64s, path: Path) -> None:
    """Write the slots of sorted numbers beside them."""
    segments: list[tuple[int, int, int, int, int]] = []
    starts: list[np.ndarray[tuple[int], np.dtype[np.uint32]]] = []
    base = row = 0
    while row < len(numbers):
        segment = int(numbers[row]) >> _SEGMENT_BITS
        stop = int(np.searchsorted(numbers, (segment + 1) << _SEGMENT_BITS))
        first, last = int(numbers[row]), int(numbers[stop - 1])
        slots = max(1, (stop - row) // _NUMBERS_PER_SLOT)
        shift = max(0, ((last - first) // slots).bit_length())
        edges = first + (np.arange(((last - first) >> shift) + 2, dtype=np.int64) << shift)
        starts.append((row + np.searchsorted(numbers[row:stop], edges)).astype(np.uint32))
        segments.append((segment, first, last, shift, base))
        base += len(edges)
        row = stop
    column = np.concatenate(starts) if starts else np.empty(0, np.uint32)
    _write(pa.table({"start": column}), path, {"segments": json.dumps(segments)})


def write_ranges(rows: Rows, path: Path) -> None:
    """Write the rows that are ranges, with what lets a look-up skip those that cannot cover a number."""
    row = np.flatnonzero(rows.last != rows.number) if rows.has_ranges else np.empty(0, np.int64)
    first, last = rows.number[row], rows.last[row]
    _write(pa.table({"first": first, "last": last, "row": row, "outer": _outer(last.tolist())}), path, {})


def _outer(last: list[int]) -> Int64s:
    """For each range the nearest one before it that reaches at least as far, -1 for none.

    Ranges between the two end before this one does, so where this one has ended, they have too.
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


def number_finder(numbers: memoryview, table: pa.Table) -> Callable[[int], int]:
    """What finds the first row with a number, and -1 where there is none.

    A function over its own variables, since it is called for every message and call, and those are the cheapest to
    reach that Python has.

    Args:
        numbers: sorted, memory-mapped.
        table: the slots that `write_slots` wrote for them.
    """
    starts = view(table, "start")
    segment_of = {
        segment: (first, last, shift, base)
        for segment, first, last, shift, base in json.loads(table.schema.metadata[b"segments"])
    }.get
    bits, bisect = _SEGMENT_BITS, bisect_left

    def find(number: int) -> int:
        segment = segment_of(number >> bits)
        if segment is None:
            return -1
        first, last, shift, slot = segment
        if not first <= number <= last:
            return -1
        slot += (number - first) >> shift
        stop = starts[slot + 1]
        row = bisect(numbers, number, starts[slot], stop)
        return row if row < stop and numbers[row] == number else -1

    return find


class RangeIndex:
    """Which ranges cover a number."""

    __slots__ = ("_first", "_last", "_outer", "_row")

    def __init__(self, table: pa.Table) -> None:
        """Over the memory-mapped ranges that `write_ranges` wrote."""
        self._first = view(table, "first")
        self._last = view(table, "last")
        self._row = view(table, "row")
        self._outer = view(table, "outer")

    def covering(self, number: int) -> Iterator[int]:
        """Rows of the ranges that start before the number and reach it, the nearest start first."""
        i = bisect_right(self._first, number) - 1
        while i >= 0:
            if self._last[i] >= number:
                if self._first[i] != number:
                    yield self._row[i]
                i -= 1
            else:
                i = self._outer[i]


def view(table: pa.Table, name: str) -> memoryview:
    """One column as a memory view over the mapped file; nothing is copied."""
    return memoryview(table.column(name).chunk(0).to_numpy(zero_copy_only=True)) if len(table) else memoryview(b"")


def _write(table: pa.Table, path: Path, metadata: dict[str, str]) -> None:
    table = table.replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
