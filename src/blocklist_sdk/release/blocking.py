"""What blocks whom, and how that differs between two lists. Pure.

Every guard judges with this, at its own machine's clock: which numbers a list blocks in each known scope, now and a day
ahead. So an entry that has not begun, or has ended, blocks nobody, an advisory never does, and a list that ends in an
hour is found out. ``docs/adr/0022-guards-judge-what-blocks.md`` has the reasons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import Int64s, Rows, distinct

DAY_MS: Final = 86_400_000
"""How far ahead a list is judged, milliseconds."""

Marks = NDArray[np.uint8]
"""Where a number is blocked: a bit for each scope, now in the lower half and a day ahead in the upper."""

_SCOPE_BITS: Final[dict[str, int]] = {scope: 1 << i for i, scope in enumerate(SCOPES)}
_NOW: Final = np.uint8((1 << len(SCOPES)) - 1)
_HALF: Final = len(SCOPES)


@dataclass(frozen=True, slots=True)
class Spans:
    """A set of numbers.

    Attributes:
        singles: single numbers, ascending, each once.
        first, after: ranges apart from each other, ascending, each without the number `after`. A number within one of
            them that an entry of its own blocks is in the set only if `singles` has it.
    """

    singles: Int64s
    first: Int64s
    after: Int64s

    def touch(self, number: Int64s, last: Int64s) -> NDArray[np.bool_]:
        """Which of the rows that block, of the two lists that were judged, cover a number of the set."""
        hit = np.searchsorted(self.singles, last, "right") > np.searchsorted(self.singles, number, "left")
        is_range = last > number
        hit |= is_range & (np.searchsorted(self.first, last, "right") > np.searchsorted(self.after, number, "right"))
        return hit


@dataclass(frozen=True, slots=True)
class BlockingChange:
    """How many numbers cease to be blocked, and begin to be, each number once.

    Attributes:
        before, after: how many numbers the old list blocks in any scope, now or a day ahead, and how many the new one.
        removed: how many cease to be blocked in at least one scope, now or a day ahead. What ends within the day by
            itself is not removed.
        added: how many begin to be blocked in at least one scope, now or a day ahead.
        removed_numbers, added_numbers: which.
    """

    before: int
    after: int
    removed: int
    added: int
    removed_numbers: Spans
    added_numbers: Spans


def blocking_change(old: Rows, new: Rows, *, now_ms: int) -> BlockingChange:
    """Compare what two lists block, in time linear in their rows.

    Args:
        old: the list in force, in canonical order; empty if there is none.
        new: the list that would replace it, in canonical order.
        now_ms: this moment, milliseconds since 1970 UTC.
    """
    was, will = _Blocking.of(old, now_ms), _Blocking.of(new, now_ms)
    points = distinct(np.concatenate((was.first, was.after, will.first, will.after)))
    was_ranges, will_ranges = was.over(points), will.over(points)

    # Single numbers of the old list, then those of the new one that the old one lacks.
    is_same = np.array_equal(was.number, will.number)
    place = np.arange(len(was.number)) if is_same else np.searchsorted(was.number, will.number)
    known = np.zeros(len(will.number), np.bool_)
    inside = place < len(was.number)
    known[inside] = was.number[place[inside]] == will.number[inside]
    will_there = np.zeros(len(was.number), np.uint8)
    will_there[place[known]] = will.marks[known]
    only_new = will.number[~known]
    parts = [
        _Part(was.number, was.marks, will_there),
        _Part(only_new, np.zeros(len(only_new), np.uint8), will.marks[~known]),
    ]
    if len(points):
        parts = [part.within(points, was_ranges, will_ranges) for part in parts]
    # What is left of ranges, without the single numbers in them.
    size = np.diff(points)
    for part in parts:
        size = size - np.diff(np.searchsorted(part.number, points))

    def numbers(marks: Sequence[NDArray[np.bool_]], segments: NDArray[np.bool_]) -> tuple[int, Spans]:
        singles = [part.number[mask] for part, mask in zip(parts, marks, strict=True)]
        spans = Spans(np.sort(np.concatenate(singles), kind="stable"), points[:-1][segments], points[1:][segments])
        return len(spans.singles) + int(size[segments].sum()), spans

    def blocked(which: int) -> int:
        count = sum(int(np.count_nonzero((part.was, part.will)[which])) for part in parts)
        return count + int(size[(was_ranges, will_ranges)[which] != 0].sum())

    removed, removed_numbers = numbers(
        [_removed(part.was, part.will) for part in parts], _removed(was_ranges, will_ranges)
    )
    added, added_numbers = numbers([_added(part.was, part.will) for part in parts], _added(was_ranges, will_ranges))
    return BlockingChange(blocked(0), blocked(1), removed, added, removed_numbers, added_numbers)


def marks_of(rows: Rows, *, now_ms: int) -> Marks:
    """Where each row blocks its numbers."""
    scopes = [sum(_SCOPE_BITS.get(part, 0) for part in value.split("+")) for value in rows.scope.values]
    marks: Marks = np.array(scopes or [0], np.uint8)[rows.scope.codes]
    if rows.level.values != ("block",):
        marks *= np.array([value == "block" for value in rows.level.values] or [False], np.uint8)[rows.level.codes]
    now, ahead = ((rows.since <= at) & (at < rows.until) for at in (now_ms, now_ms + DAY_MS))
    return marks * now | (marks * ahead) << np.uint8(_HALF)


def _removed(was: Marks, will: Marks) -> NDArray[np.bool_]:
    """Where a block that would stay for the day is gone, at once or before the day is over."""
    was_ahead, will_ahead = was >> np.uint8(_HALF), will >> np.uint8(_HALF)
    gone: Marks = was_ahead & ~(will_ahead & (will | ~was))
    is_gone: NDArray[np.bool_] = (gone & _NOW) != 0
    return is_gone


def _added(was: Marks, will: Marks) -> NDArray[np.bool_]:
    is_new: NDArray[np.bool_] = (will & ~was) != 0
    return is_new


@dataclass(frozen=True, slots=True)
class _Blocking:
    """The rows of a list that block, single numbers apart from ranges.

    Attributes:
        number, marks: single numbers, ascending, each once.
        first, after, range_marks: ranges, as they come.
    """

    number: Int64s
    marks: Marks
    first: Int64s
    after: Int64s
    range_marks: Marks

    @classmethod
    def of(cls, rows: Rows, now_ms: int) -> "_Blocking":
        marks = marks_of(rows, now_ms=now_ms)
        none = np.empty(0, np.int64)
        first, after, range_marks = none, none, np.empty(0, np.uint8)
        number = rows.number
        if rows.has_ranges:
            is_range = rows.last > rows.number
            at = np.flatnonzero(is_range & (marks != 0))
            first, after, range_marks = rows.number[at], rows.last[at] + 1, marks[at]
            number, marks = number[~is_range], marks[~is_range]
        if not marks.all():
            number, marks = number[marks != 0], marks[marks != 0]
        if len(number) and bool((repeats := number[1:] == number[:-1]).any()):
            starts = np.flatnonzero(np.append(True, ~repeats))
            number, marks = number[starts], np.bitwise_or.reduceat(marks, starts)
        return cls(number, marks, first, after, range_marks)

    def over(self, points: Int64s) -> Marks:
        """What the ranges mark from each point to the next; one less than there are points."""
        marks = np.zeros(max(len(points) - 1, 0), np.uint8)
        first, after = np.searchsorted(points, self.first), np.searchsorted(points, self.after)
        for bit in range(2 * _HALF):
            at = (self.range_marks & np.uint8(1 << bit)) != 0
            if at.any():
                begin, end = (np.bincount(places[at], minlength=len(points)) for places in (first, after))
                marks |= (np.cumsum(begin - end)[:-1] > 0).astype(np.uint8) << np.uint8(bit)
        return marks


@dataclass(frozen=True, slots=True)
class _Part:
    """Single numbers, and where each of the two lists blocks them."""

    number: Int64s
    was: Marks
    will: Marks

    def within(self, points: Int64s, was_ranges: Marks, will_ranges: Marks) -> "_Part":
        """The same, blocked by ranges as well."""
        segment = np.searchsorted(points, self.number, "right") - 1
        at = np.flatnonzero((segment >= 0) & (segment < len(points) - 1))
        was, will = self.was.copy(), self.will.copy()
        was[at] |= was_ranges[segment[at]]
        will[at] |= will_ranges[segment[at]]
        return _Part(self.number, was, will)
