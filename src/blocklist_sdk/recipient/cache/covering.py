"""Which rows of a list cover one number, found by bisection in base and overlay."""

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from blocklist_sdk.recipient.cache.ranges import RangeIndex
from blocklist_sdk.release.rows import Positions, Rows


class CoveringRows:
    """The rows of a base or of an overlay that cover a number."""

    __slots__ = ("_begins", "_block", "_dropped", "_ends", "_level", "_number", "_ranges", "rows")

    def __init__(self, rows: Rows, ranges: pa.Table | None, dropped: Positions | None = None) -> None:
        """Takes rows, their `range_table`, and positions of rows that do not count, ascending."""
        self.rows: Rows = rows
        self._number = rows.number.data
        self._begins = rows.since.data
        self._ends = rows.until.data
        self._level = rows.level.codes.data
        self._block = rows.level.values.index("block") if "block" in rows.level.values else -1
        self._ranges = RangeIndex(ranges) if ranges is not None and len(ranges) else None
        self._dropped = np.ascontiguousarray(dropped, np.int64).data if dropped is not None and len(dropped) else None

    def positions(self, number: int) -> Iterator[int]:
        """The positions of the rows that cover a number.

        Raises:
            IndexError, OverflowError: the rows are damaged.
        """
        row = bisect_left(self._number, number)
        while row < len(self._number) and self._number[row] == number:
            if self._dropped is None or not self._is_dropped(row):
                yield row
            row += 1
        if self._ranges is not None:
            for row in self._ranges.covering(number):
                if self._dropped is None or not self._is_dropped(row):
                    yield row

    def _is_dropped(self, row: int) -> bool:
        dropped = self._dropped
        assert dropped is not None
        at = bisect_left(dropped, row)
        return at < len(dropped) and dropped[at] == row

    def blocks(self, number: int, begun_ms: int, now_ms: int) -> bool:
        """Whether a row that has begun by one moment, and has not ended by another, blocks a number.

        Which entry decides is also written in `recipient/verdicts.py`, `cache/classify.py`, `cache/kinds.py` and
        `screening/columns.py`; `tests/recipient/test_deciding_entry.py` holds all five together.
        """
        return any(
            self._level[row] == self._block and self._begins[row] <= begun_ms and now_ms < self._ends[row]
            for row in self.positions(number)
        )
