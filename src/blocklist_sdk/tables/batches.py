"""Pieces of a table, cut into cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from blocklist_sdk.tables.rejects import Reject

Int64s: TypeAlias = npt.NDArray[np.int64]


@dataclass(slots=True)
class Batch:
    """Consecutive rows of a table, every one in its place.

    Attributes:
        rows: their cells, in the table's order of columns. Rows of which nothing could be read, and blank lines, have
            empty cells.
        lines: the line of each row, from 1.
        rejects: rows that could not be cut.
        unread: where these are in `rows`, ascending.
    """

    rows: pa.RecordBatch
    lines: Int64s
    rejects: list[Reject] = field(default_factory=list)
    unread: Int64s = field(default_factory=lambda: np.empty(0, np.int64))

    def readable(self) -> "Batch":
        """The rows that could be cut, blank ones too."""
        if not len(self.unread):
            return self
        keep = np.ones(len(self.lines), np.bool_)
        keep[self.unread] = False
        return Batch(self.rows.filter(pa.array(keep)), self.lines[keep])


def batch_of(
    rows: Sequence[Sequence[str | None]], lines: Sequence[int], width: int, rejects: dict[int, Reject] | None = None
) -> Batch:
    """A batch of rows of texts; `rejects` has those of rows that could not be cut, by their place."""
    columns: list[Any] = [pa.array([row[i] for row in rows], pa.string()) for i in range(width)]
    rejects = rejects or {}
    return Batch(
        record_batch(columns, [str(i) for i in range(width)], len(rows)),
        np.array(lines, np.int64),
        list(rejects.values()),
        np.array(sorted(rejects), np.int64),
    )


def record_batch(columns: Sequence[Any], names: Sequence[str], length: int) -> pa.RecordBatch:
    """A record batch; one without columns still has a length."""
    if columns:
        return pa.RecordBatch.from_arrays(list(columns), names=list(names))
    return pa.RecordBatch.from_arrays([pa.nulls(length)], names=[""])


def storable(text: str) -> str:
    """Text that can be written as UTF-8: halves of characters become escapes."""
    return text.encode("utf-8", "backslashreplace").decode() if not text.isascii() else text
