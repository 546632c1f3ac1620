"""Spans of numbers, and where numbers are in ascending columns. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.release.rows import Int64s, Positions


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Runs of numbers in ascending order, none of which overlaps or touches another: a part of a list to look at.

    Attributes:
        first: the first number of each span.
        last: its last number.
    """

    first: Int64s
    last: Int64s

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def none(cls) -> Self:
        """No numbers."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def of(cls, first: Int64s, last: Int64s) -> Self:
        """The numbers from each first to its last, in any order; they may overlap.

        >>> Spans.of(np.array([7, 1, 4]), np.array([9, 2, 7])).last.tolist()
        [2, 9]
        """
        order = np.argsort(first, kind="stable")
        first, reach = first[order], np.maximum.accumulate(last[order])
        begins = np.ones(len(first), np.bool_)
        begins[1:] = first[1:] > reach[:-1] + 1
        ends = np.ones(len(first), np.bool_)
        ends[:-1] = begins[1:]
        return cls(first[begins], reach[ends])

    @classmethod
    def union(cls, parts: Iterable["Spans"]) -> "Spans":
        """What is in any of some spans."""
        spans = list(parts)
        if not spans:
            return Spans.none()
        return Spans.of(np.concatenate([each.first for each in spans]), np.concatenate([each.last for each in spans]))

    def touch(self, first: Int64s, last: Int64s) -> NDArray[np.bool_]:
        """Which runs, from each first to its last number, have a number in one of the spans."""
        if not len(self):
            return np.zeros(len(first), np.bool_)
        at = np.searchsorted(self.last, first, "left")
        found: NDArray[np.bool_] = (at < len(self)) & (self.first[np.minimum(at, len(self) - 1)] <= last)
        return found

    def count(self) -> int:
        """How many numbers they have."""
        return int((self.last - self.first).sum()) + len(self)

    def common(self, others: "Spans") -> "Spans":
        """What is in these spans and in some others as well; others that touch each other cut what they share.

        >>> found = Spans.of(np.array([1]), np.array([9])).common(Spans.of(np.array([0, 5]), np.array([2, 7])))
        >>> found.first.tolist(), found.last.tolist()
        ([1, 5], [2, 7])
        """
        start = np.searchsorted(others.last, self.first, "left")
        count = np.searchsorted(others.first, self.last, "right") - start
        mine = np.repeat(np.arange(len(self)), count)
        its = np.arange(len(mine)) + np.repeat(start - (np.cumsum(count) - count), count)
        return Spans(np.maximum(self.first[mine], others.first[its]), np.minimum(self.last[mine], others.last[its]))

    def without(self, others: "Spans") -> "Spans":
        """What is in these spans and not in some others.

        >>> found = Spans.of(np.array([1]), np.array([9])).without(Spans.of(np.array([0, 5]), np.array([2, 7])))
        >>> found.first.tolist(), found.last.tolist()
        ([3, 8], [4, 9])
        """
        if not len(self) or not len(others):
            return self
        return self.common(Spans(np.append(0, others.last + 1), np.append(others.first - 1, LARGEST)))

    def cut(self, size: int) -> "Spans":
        """The same numbers in spans of at most so many, which touch.

        >>> Spans.of(np.array([1]), np.array([5])).cut(2).first.tolist()
        [1, 3, 5]
        """
        count = (self.last - self.first) // size + 1
        at = np.repeat(np.arange(len(self)), count)
        first = self.first[at] + size * (np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count))
        return Spans(first, np.minimum(self.last[at], first + size - 1))

    def numbers(self) -> Int64s:
        """Every number of them, ascending.

        >>> Spans.of(np.array([1, 7]), np.array([3, 7])).numbers().tolist()
        [1, 2, 3, 7]
        """
        return positions_between(self.first, self.last + 1).astype(np.int64, copy=False)

    def is_same(self, others: "Spans") -> bool:
        """Whether the spans are just some others."""
        return np.array_equal(self.first, others.first) and np.array_equal(self.last, others.last)

    def touching(self, others: "Spans") -> "Spans":
        """Those of the spans that have a number in one of some others."""
        touches = others.touch(self.first, self.last)
        return Spans(self.first[touches], self.last[touches])

    def positions(self, number: Int64s) -> Positions:
        """Positions of the numbers that lie in the spans, ascending.

        Args:
            number: numbers, ascending, perhaps repeated.
        """
        return positions_between(
            np.searchsorted(number, self.first, "left"), np.searchsorted(number, self.last, "right")
        )


def positions_between(start: Positions, stop: Positions) -> Positions:
    """All positions from a start to before a stop, for ascending pairs of them; each position once.

    >>> positions_between(np.array([2, 7]), np.array([4, 8])).tolist()
    [2, 3, 7]
    """
    if len(start) > 1:
        start = np.maximum(start, np.append(0, np.maximum.accumulate(stop)[:-1]))
    size = np.maximum(stop - start, 0)
    ends = np.cumsum(size)
    found: Positions = np.arange(int(size.sum())) + np.repeat(start - (ends - size), size)
    return found


def places_of(values: Int64s, column: Int64s) -> tuple[Positions, NDArray[np.bool_]]:
    """Where values are in an ascending column, and whether they are there; of several alike the first.

    >>> [each.tolist() for each in places_of(np.array([5, 7, 9]), np.array([5, 9]))]
    [[0, 1, 1], [True, False, True]]
    """
    if not len(column):
        return np.zeros(len(values), np.intp), np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(column, values), len(column) - 1)
    return at, column[at] == values
