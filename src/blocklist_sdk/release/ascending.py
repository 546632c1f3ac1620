"""Many values looked for at once in a long ascending column. Pure."""

from typing import Final

import numpy as np

from blocklist_sdk.release.rows import Int64s, Positions

_SAMPLE: Final = 1 << 16
"""About so many values of the column stay in the processor's caches."""

_FEW: Final = 1_000
"""So few values are looked for in the column itself: a sample is made for no fewer."""


class Ascending:
    """An ascending column, perhaps with repeated values, as of a list's numbers.

    A search goes through a sample of the column first, which is made when it is first needed. The column itself is then
    touched where the value is, instead of all over.
    """

    __slots__ = ("_sample", "_step", "column")

    def __init__(self, column: Int64s) -> None:
        """Takes the column; it may be mapped from a file, and is not read yet."""
        self.column: Int64s = column
        # A power of two, so that a piece of the column can be halved down to one value.
        self._step = 1 << max(0, (len(column) // _SAMPLE).bit_length())
        self._sample: Int64s | None = None

    def before(self, values: Int64s) -> Positions:
        """Before which position each value belongs; of several alike the first.

        >>> Ascending(np.array([5, 7, 7, 9])).before(np.array([7, 4, 10])).tolist()
        [1, 0, 4]
        """
        if self._step <= 2 or (self._sample is None and len(values) < _FEW):
            return np.searchsorted(self.column, values)
        if self._sample is None:
            self._sample = np.ascontiguousarray(self.column[:: self._step])
        column, top, step = self.column, len(self.column) - 1, self._step
        # The last position whose value is known to be lower, or the first of all.
        at = np.maximum(np.searchsorted(self._sample, values) - 1, 0) * step
        while step > 1:
            step //= 2
            middle = np.minimum(at + step, top)
            at = np.where(column[middle] < values, middle, at)
        found: Positions = at + (column[at] < values)
        return found

    def bounds(self, first: Int64s, last: Int64s) -> tuple[Positions, Positions]:
        """Where the values from each first to its last begin, and where they end.

        >>> [each.tolist() for each in Ascending(np.array([5, 7, 7, 9])).bounds(np.array([6, 9]), np.array([7, 9]))]
        [[1, 3], [3, 4]]
        """
        # Side by side, since the two ends of a run are mostly on the same page.
        found = self.before(np.stack((first, last + 1), axis=1).ravel()).reshape(-1, 2)
        return found[:, 0], found[:, 1]
