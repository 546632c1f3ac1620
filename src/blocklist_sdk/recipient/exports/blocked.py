"""The numbers that a list blocks at one moment, as `Blocklist.check` answers. Pure.

A list is gone through in windows, so that ten million numbers take the memory of a few hundred thousand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.recipient.rules import NO_RULE, RULES, Rules, RulesInForce
from blocklist_sdk.records import SCOPES, Scope
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows
from blocklist_sdk.release.spans import Spans
from blocklist_sdk.release.windows import WINDOW_ROWS, bounds

_BLOCKS: int = RULES.index("override-block")


@dataclass(slots=True)
class BlockedCounts:
    """What a list has, counted while it is gone through.

    Attributes:
        numbers: how many numbers block.
        range_numbers: how many of them no entry or override of a single number names.
        ranges: entries of ranges that block.
        ending: entries that block and have an end.
        some_scopes: entries that block, but not in every scope that the protocol knows.
        advisories: entries in force that do not block.
        not_begun, ended: entries that would block at another moment.
        other_scopes: entries without the scope that was asked for.
        allowed: numbers that the list blocks, and protected numbers or overrides do not let it.
        own_blocks: numbers that only an override blocks.
        changes_ms: when the first entry or override begins or ends by itself, in milliseconds since 1970 UTC;
            `FOREVER_MS` if none does.
    """

    numbers: int = 0
    range_numbers: int = 0
    ranges: int = 0
    ending: int = 0
    some_scopes: int = 0
    advisories: int = 0
    not_begun: int = 0
    ended: int = 0
    other_scopes: int = 0
    allowed: int = 0
    own_blocks: int = 0
    changes_ms: int = FOREVER_MS


@dataclass(frozen=True)
class Blocked:
    """What a list blocks at a moment.

    Attributes:
        layers: the list.
        rules: protected numbers and overrides, which go before it.
        at: the moment.
        published: when the release was published: what begins no later has begun, whatever this machine's clock says.
        scope: only entries with this scope count; None for all. An override counts in every scope.
        window_rows: how many rows are looked at together.
    """

    layers: LayeredRows
    rules: Rules
    at: datetime
    published: datetime
    scope: Scope | None = None
    window_rows: int = WINDOW_ROWS

    def spans(self) -> Iterator[Spans]:
        """The numbers that block, ascending, in parts: no span touches another, those of other parts included."""
        waiting = Spans.none()
        for window in self._windows():
            found = self._ruled(window)
            if len(waiting) and len(found) and found.first[0] == waiting.last[0] + 1:
                found = Spans(np.append(waiting.first, found.first[1:]), found.last)
            elif len(waiting):
                yield waiting
            waiting = Spans.none()
            if len(found) and found.last[-1] == window.last:  # it may go on in the next window
                waiting = Spans(found.first[-1:], found.last[-1:])
                found = Spans(found.first[:-1], found.last[:-1])
            if len(found):
                yield found
        if len(waiting):
            yield waiting

    def counts(self) -> BlockedCounts:
        """Count what the list has; goes through all of it once."""
        ends = (override.until for override in self.rules.decisions())
        coming = [times.to_ms(end) for end in ends if end is not None and end > self.at]
        counts = BlockedCounts(changes_ms=min(coming, default=FOREVER_MS))
        for window in self._windows():
            found, rows, blocks = self._ruled(window), window.rows, window.blocks
            single = np.concatenate((rows.number[blocks & (rows.last == rows.number)], self._own_numbers))
            counts.numbers += found.count()
            counts.range_numbers += found.count() - found.common(Spans.of(single, single)).count()
            counts.allowed += window.listed.common(self._decided).without(self._own).count()
            counts.own_blocks += found.without(window.listed).count()
            self._count(counts, window)
        return counts

    def _windows(self) -> Iterator["_Window"]:
        layers = self.layers
        going_on = Spans.none()  # the part of ranges that is beyond the window in which they begin
        for first, last in bounds(layers.base.number, layers.overlay.puts.number, size=self.window_rows):
            rows = layers.near(np.array([first]), np.array([last]))
            blocks = self._has_scope(rows) & self._is_block(rows) & self._has_begun(rows) & ~self._has_ended(rows)
            found = Spans.union([Spans.of(rows.number[blocks], rows.last[blocks]), going_on])
            going_on = found.without(Spans(np.array([0]), np.array([last])))
            yield _Window(first, last, rows, blocks, found.without(going_on))

    def _ruled(self, window: "_Window") -> Spans:
        """What blocks in a window."""
        found = window.listed.without(self._decided)
        if not len(self._own):
            return found
        return Spans.union([found, self._own.common(Spans(np.array([window.first]), np.array([window.last])))])

    def _count(self, counts: BlockedCounts, window: "_Window") -> None:
        """Count the entries of a window."""
        rows, blocks = window.rows, window.blocks
        has_scope, is_block = self._has_scope(rows), self._is_block(rows)
        begun, ended = self._has_begun(rows), self._has_ended(rows)
        every = np.array([set(SCOPES) <= set(value.split("+")) for value in rows.scope.values] or [True])
        coming = has_scope & is_block & ~begun & ~ended
        counts.ranges += _sum(blocks & (rows.last > rows.number))
        counts.ending += _sum(blocks & (rows.until != FOREVER_MS))
        counts.some_scopes += _sum(blocks & ~every[rows.scope.codes])
        counts.advisories += _sum(has_scope & ~is_block & begun & ~ended)
        counts.not_begun += _sum(coming)
        counts.ended += _sum(has_scope & is_block & ended)
        counts.other_scopes += _sum(~has_scope & is_block & begun & ~ended)
        turns = (counts.changes_ms, _least(rows.until[blocks]), _least(rows.since[coming]))
        counts.changes_ms = min(turns)

    @cached_property
    def _at_ms(self) -> int:
        return times.to_ms(self.at)

    def _is_block(self, rows: Rows) -> "_Mask":
        return np.array([value == "block" for value in rows.level.values] or [False])[rows.level.codes]

    def _has_scope(self, rows: Rows) -> "_Mask":
        has = [self.scope is None or self.scope in value.split("+") for value in rows.scope.values]
        return np.array(has or [False])[rows.scope.codes]

    def _has_begun(self, rows: Rows) -> "_Mask":
        begun: _Mask = rows.since <= max(self._at_ms, times.to_ms(self.published))
        return begun

    def _has_ended(self, rows: Rows) -> "_Mask":
        ended: _Mask = rows.until <= self._at_ms
        return ended

    @cached_property
    def _in_force(self) -> RulesInForce:
        return self.rules.at(self.at)

    @cached_property
    def _decided(self) -> Spans:
        """The numbers about which the list is not asked."""
        return Spans.union([Spans.of(self._in_force.numbers, self._in_force.numbers), self._segments(self._has_rule)])

    @cached_property
    def _own(self) -> Spans:
        """Those of them that overrides block."""
        numbers = self._in_force.numbers
        ranges = self._segments(self._in_force.segment_rule == _BLOCKS).without(Spans.of(numbers, numbers))
        return Spans.union([Spans.of(self._own_numbers, self._own_numbers), ranges])

    @cached_property
    def _own_numbers(self) -> Int64s:
        numbers: Int64s = self._in_force.numbers[self._in_force.rule == _BLOCKS]
        return numbers

    @property
    def _has_rule(self) -> "_Mask":
        has_rule: _Mask = self._in_force.segment_rule != NO_RULE
        return has_rule

    def _segments(self, mask: "_Mask") -> Spans:
        """Some segments of the overrides of ranges; the last one has no end and no rule."""
        starts, mask = self._in_force.segments, mask[:-1]
        return Spans.of(starts[:-1][mask], starts[1:][mask] - 1)


_Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a list.

    Attributes:
        first, last: its first and its last number.
        rows: the rows whose number is in it.
        blocks: which of them block.
        listed: the numbers in it that the list blocks, by whatever row.
    """

    first: int
    last: int
    rows: Rows
    blocks: _Mask
    listed: Spans


def _sum(mask: _Mask) -> int:
    return int(np.count_nonzero(mask))


def _least(moments: Int64s) -> int:
    return int(moments.min(initial=FOREVER_MS))
