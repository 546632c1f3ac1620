"""What blocks whom, and when, and how that differs between two lists. Pure.

Every guard judges with this, at its own machine's clock: which numbers a list blocks in each known scope, now and at
later moments, its *horizons*. So an entry that has not begun, or has ended, blocks nobody, an advisory never does, and
a list whose entries all end tomorrow is found out. `release.blocking_limits` has the limits.
``docs/adr/0022-guards-judge-what-blocks.md`` has the reasons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.numbers.reach import assigned
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import Int64s, Positions, Rows, distinct

DAY_MS: Final = 86_400_000
"""A day, milliseconds."""

AHEAD: Final = (0, DAY_MS)
"""The horizons of whoever takes a list: now and a day ahead, milliseconds."""

Marks = NDArray[np.unsignedinteger]
"""Where a number is blocked: a bit for each scope, in groups, one for each horizon, this moment's in the lowest."""

_SCOPE_BITS: Final[dict[str, int]] = {scope: 1 << i for i, scope in enumerate(SCOPES)}
_GROUP: Final = len(SCOPES)
_NOW: Final = (1 << _GROUP) - 1

_BLOCK: Final = 64
"""Two ascending columns are compared this many numbers at a time: most lists differ little from the one before."""


@dataclass(frozen=True, slots=True)
class NumberSet:
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

    def examples(self, count: int) -> list[tuple[int, int]]:
        """The first and last numbers of the lowest of its numbers and ranges, so many at most.

        >>> NumberSet(np.array([7]), np.array([3]), np.array([6])).examples(2)
        [(3, 5), (7, 7)]
        """
        singles = self.singles[:count].tolist()
        ranges = zip(self.first[:count].tolist(), (self.after[:count] - 1).tolist(), strict=True)
        return sorted([*zip(singles, singles, strict=True), *ranges])[:count]


@dataclass(frozen=True, slots=True)
class BlockingChange:
    """How many numbers cease to be blocked, and begin to be, each number once.

    A number counts if it has an entry of its own that blocks it, in either list. Of ranges, those numbers count that
    are assigned in their country's numbering plan: a range that blocks nobody makes no list longer.

    Attributes:
        before, after: how many numbers the old list blocks in any scope at any horizon, and how many the new one.
        removed: how many cease to be blocked in at least one scope at one horizon. What ends by itself before the
            second horizon is not removed.
        added: how many begin to be blocked in at least one scope at one horizon. One that is blocked until then, and
            only for longer than before, does not begin.
        single_before, single_removed: the same of the numbers that have an entry of their own in the old list.
        single_added: the same of those that have one in the new list.
        removed_numbers, added_numbers: which.
    """

    before: int
    after: int
    removed: int
    added: int
    single_before: int
    single_removed: int
    single_added: int
    removed_numbers: NumberSet
    added_numbers: NumberSet


def blocking_change(
    old: Rows,
    new: Rows,
    *,
    now_ms: int,
    horizons_ms: Sequence[int] = AHEAD,
    old_published_ms: int | None = None,
    new_published_ms: int | None = None,
) -> BlockingChange:
    """Compare what two lists block, in time linear in their rows.

    Args:
        old: the list in force, in canonical order; empty if there is none.
        new: the list that would replace it, in canonical order.
        now_ms: this moment, milliseconds since 1970 UTC.
        horizons_ms: at which moments to compare, milliseconds from now, ascending, 0 first.
        old_published_ms: when the old list was published, milliseconds since 1970 UTC. An entry that begins no later
            counts as begun whatever this machine's clock says. None if that is not known.
        new_published_ms: the same of the new list.
    """
    was = _Blocking.of(old, marks_of(old, now_ms=now_ms, horizons_ms=horizons_ms, published_ms=old_published_ms))
    will = _Blocking.of(new, marks_of(new, now_ms=now_ms, horizons_ms=horizons_ms, published_ms=new_published_ms))
    points = distinct(np.concatenate((was.first, was.after, will.first, will.after)))
    was_ranges, will_ranges = was.over(points), will.over(points)

    # Single numbers of the old list, then those of the new one that the old one lacks.
    place, known = _found(was.number, will.number)
    will_there = np.zeros_like(was.marks)
    will_there[place[known]] = will.marks[known]
    only_new = will.number[~known]
    parts = [
        _Part(was.number, was.marks, will_there),
        _Part(only_new, np.zeros(len(only_new), was.marks.dtype), will.marks[~known]),
    ]
    is_own = [will_there != 0, np.ones(len(only_new), np.bool_)]
    size = _sizes(points, was_ranges | will_ranges, parts)
    if len(points):
        parts = [part.within(points, was_ranges, will_ranges) for part in parts]

    def numbers(marks: Sequence[NDArray[np.bool_]], segments: NDArray[np.bool_]) -> tuple[int, NumberSet]:
        singles = [part.number[mask] for part, mask in zip(parts, marks, strict=True)]
        spans = NumberSet(np.sort(np.concatenate(singles), kind="stable"), points[:-1][segments], points[1:][segments])
        return len(spans.singles) + int(size[segments].sum()), spans

    def blocked(which: int) -> int:
        count = sum(int(np.count_nonzero((part.was, part.will)[which])) for part in parts)
        return count + int(size[(was_ranges, will_ranges)[which] != 0].sum())

    gone = [_removed(part.was, part.will, horizons_ms) for part in parts]
    come = [_added(part.was, part.will, horizons_ms) for part in parts]
    removed, removed_numbers = numbers(gone, _removed(was_ranges, will_ranges, horizons_ms))
    added, added_numbers = numbers(come, _added(was_ranges, will_ranges, horizons_ms))
    return BlockingChange(
        before=blocked(0),
        after=blocked(1),
        removed=removed,
        added=added,
        single_before=len(was.number),
        single_removed=int(np.count_nonzero(gone[0])),
        single_added=sum(int(np.count_nonzero(mask & own)) for mask, own in zip(come, is_own, strict=True)),
        removed_numbers=removed_numbers,
        added_numbers=added_numbers,
    )


def marks_of(rows: Rows, *, now_ms: int, horizons_ms: Sequence[int] = AHEAD, published_ms: int | None = None) -> Marks:
    """Where each row blocks its numbers. The arguments are those of `blocking_change`."""
    bits = _GROUP * len(horizons_ms)
    kind = np.dtype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
    scopes = [sum(_SCOPE_BITS.get(part, 0) for part in value.split("+")) for value in rows.scope.values]
    marks: Marks = np.full(len(rows), scopes[0] if scopes else 0, kind)
    if len(scopes) > 1:
        marks = np.array(scopes, kind)[rows.scope.codes]
    if not len(rows):
        return marks
    if rows.level.values != ("block",):
        is_block: NDArray[np.bool_] = np.array([value == "block" for value in rows.level.values])
        marks *= is_block[rows.level.codes]
    latest, earliest = int(rows.since.max()), int(rows.until.min())
    found = np.zeros_like(marks)
    for i, horizon in enumerate(horizons_ms):
        at = now_ms + horizon
        begun = at if published_ms is None else max(at, published_ms)
        group: Marks = np.left_shift(marks, i * _GROUP, dtype=kind)
        if latest > begun:
            group *= rows.since <= begun
        if earliest <= at:
            group *= rows.until > at
        found |= group
    return found


def ended_between(rows: Rows, *, since_ms: int, now_ms: int) -> tuple[int, int]:
    """How many entries blocked at one moment and have ended by another, and how many blocked at the first.

    Args:
        rows: a list.
        since_ms: the first moment, milliseconds since 1970 UTC.
        now_ms: the later one.
    """
    blocked = marks_of(rows, now_ms=since_ms, horizons_ms=(0,)) != 0
    return int(np.count_nonzero(blocked & (rows.until <= now_ms))), int(np.count_nonzero(blocked))


def _removed(was: Marks, will: Marks, horizons_ms: Sequence[int]) -> NDArray[np.bool_]:
    """Where a block is gone; at this moment only if it would still stand at the second horizon."""
    gone: Marks = was & ~will
    if len(horizons_ms) > 1:
        gone &= (was >> was.dtype.type(_GROUP)) | was.dtype.type(np.iinfo(was.dtype).max - _NOW)
    is_gone: NDArray[np.bool_] = gone != 0
    return is_gone


def _added(was: Marks, will: Marks, horizons_ms: Sequence[int]) -> NDArray[np.bool_]:
    """Where a block is new; one that only lasts longer is not."""
    until_then = was
    for i in range(1, len(horizons_ms)):
        until_then = until_then | was << was.dtype.type(i * _GROUP)
    is_new: NDArray[np.bool_] = (will & ~until_then) != 0
    return is_new


def _found(among: Int64s, numbers: Int64s) -> tuple[Positions, NDArray[np.bool_]]:
    """The place of each number among others, and whether it is one of them; both ascending, each number once.

    Numbers that follow each other in both are found by comparing them, many at a time; `np.searchsorted` of the rest.
    """
    if np.array_equal(among, numbers):
        return np.arange(len(numbers)), np.ones(len(numbers), np.bool_)
    place: Positions = np.zeros(len(numbers), np.intp)
    known = np.zeros(len(numbers), np.bool_)
    blocks = len(numbers) // _BLOCK
    rest = np.ones(len(numbers), np.bool_)
    if blocks and len(among) >= _BLOCK:
        # Where the first number of a block is, the block would be.
        start = np.searchsorted(among, numbers[: blocks * _BLOCK : _BLOCK])
        windows = np.lib.stride_tricks.sliding_window_view(among, _BLOCK)
        fits = np.flatnonzero(start < len(windows))
        # The last one tells most blocks that differ.
        fits = fits[among[start[fits] + _BLOCK - 1] == numbers[fits * _BLOCK + _BLOCK - 1]]
        of_blocks = numbers[: blocks * _BLOCK].reshape(blocks, _BLOCK)
        fits = fits[(windows[start[fits]] == of_blocks[fits]).all(axis=1)]
        at = fits[:, None] * _BLOCK + np.arange(_BLOCK)
        place[at], known[at], rest[at] = start[fits, None] + np.arange(_BLOCK), True, False
    at = np.flatnonzero(rest)
    found = np.searchsorted(among, numbers[at])
    inside = found < len(among)
    at, found = at[inside], found[inside]
    place[at], known[at] = found, among[found] == numbers[at]
    return place, known


def _sizes(points: Int64s, segments: Marks, parts: "Sequence[_Part]") -> Int64s:
    """How many assigned numbers there are from each point to the next, without the single numbers; 0 if not marked."""
    size = np.zeros(len(segments), np.int64)
    at = np.flatnonzero(segments)
    if not len(at):
        return size
    size[at] = assigned(points[at], points[at + 1] - 1)
    for part in parts:
        segment = np.searchsorted(points, part.number, "right") - 1
        inside = np.flatnonzero((segment >= 0) & (segment < len(segments)))
        inside = inside[segments[segment[inside]] != 0]
        number = part.number[inside]
        size -= np.bincount(segment[inside], assigned(number, number), len(size)).astype(np.int64)
    return size


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
    def of(cls, rows: Rows, marks: Marks) -> "_Blocking":
        none = np.empty(0, np.int64)
        first, after, range_marks = none, none, marks[:0]
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
        marks = np.zeros(max(len(points) - 1, 0), self.range_marks.dtype)
        first, after = np.searchsorted(points, self.first), np.searchsorted(points, self.after)
        known: dict[bytes, Marks] = {}
        for bit in range(8 * marks.itemsize):
            at = (self.range_marks & marks.dtype.type(1 << bit)) != 0
            if not at.any():
                continue
            # Most entries are blocked in the same scopes at every horizon.
            if (key := at.tobytes()) not in known:
                begin, end = (np.bincount(places[at], minlength=len(points)) for places in (first, after))
                known[key] = (np.cumsum(begin - end)[:-1] > 0).astype(marks.dtype)
            marks |= known[key] << marks.dtype.type(bit)
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
