"""Turns: when entries begin and end by themselves. Pure.

Most of a list's columns of moments is looked at once, in parts that stay in a processor's cache: 1 ms for a million
entries. The moments of a part are moved so that those looked for come first among unsigned integers: then a
subtraction and a minimum are all that most parts cost.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import Positions
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows
from blocklist_sdk.release.spans import Spans

_ROWS_AT_A_TIME: Final = 1 << 15
"""256 kB of a column."""

_PAST: Final = 1 << 63
"""From here on, an unsigned difference is of a moment before the one looked for."""

_NOWHERE: Final = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True)
class Clock:
    """A moment as it decides whether an entry is in force.

    Attributes:
        now: what ends later than this has not ended; milliseconds since 1970 UTC.
        begun: what begins no later than this has begun; see `desired_items`.
    """

    now: int
    begun: int

    @classmethod
    def of(cls, at: datetime, *, published: datetime) -> "Clock":
        """The moment of a run, for a release that was published then."""
        now = times.to_ms(at)
        return cls(now, max(now, times.to_ms(published)))


@dataclass(frozen=True, slots=True)
class Turns:
    """What the clock changes about a list.

    Attributes:
        spans: the numbers of entries that began or ended between two moments.
        next: when the next entry begins or ends, milliseconds since 1970 UTC; `FOREVER_MS` if none does.
    """

    spans: Spans
    next: int


def turns_between(rows: LayeredRows, before: Clock, after: Clock) -> Turns:
    """What turned between two moments, whichever is later, and what turns next after the second."""
    ended, coming = _turned(rows, "until", before.now, after.now, after.now)
    spans = [ended]
    # Most lists need not be searched for entries that begin.
    if rows.latest_since_ms > min(before.begun, after.begun, after.now):
        begun, begin = _turned(rows, "since", before.begun, after.begun, after.now)
        spans.append(begun)
        coming = min(coming, begin)
    return Turns(Spans.union(spans), coming)


def turns_foreseen(foreseen: int, before: Clock, after: Clock, difference: Difference) -> Turns | None:
    """The same, where nothing can have turned yet; None if the list has to be searched.

    Args:
        foreseen: what turned next after the first moment: `Turns.next`, of the list as it was.
        before: the first moment.
        after: the second.
        difference: how the list differs since.
    """
    if not (before.now <= after.now < foreseen and before.begun <= after.begun < foreseen):
        return None
    gone, come = (difference.removed, difference.changed_old), (difference.added, difference.changed_new)
    if any(bool((moments == foreseen).any()) for rows in gone for moments in (rows.since, rows.until)):
        return None
    coming = (
        moments[moments > after.now].min(initial=foreseen) for rows in come for moments in (rows.since, rows.until)
    )
    return Turns(Spans.none(), min(map(int, coming)))


def next_turn(rows: Rows, at: datetime) -> int:
    """When the next entry begins or ends after a moment; milliseconds since 1970 UTC, `FOREVER_MS` if none does."""
    now = times.to_ms(at)
    return min(_passed(moments, _NOWHERE, now, now, now)[1] for moments in (rows.since, rows.until))


def _turned(rows: LayeredRows, name: str, one: int, other: int, now: int) -> tuple[Spans, int]:
    """The numbers of rows with a moment after the earlier of two and up to the later, and the next moment after now."""
    low, high = min(one, other), max(one, other)
    spans: list[Spans] = []
    coming = FOREVER_MS
    for part, dropped in ((rows.base, rows.overlay.dropped), (rows.overlay.puts, _NOWHERE)):
        found, first = _passed(getattr(part, name), dropped, low, high, now)
        spans.append(Spans.of(part.number[found], part.last[found]))
        coming = min(coming, first)
    return Spans.union(spans), coming


def _passed(moments: Int64s, dropped: Positions, low: int, high: int, now: int) -> tuple[Positions, int]:
    """The positions of moments after `low` and up to `high`; and the first moment after `now`.

    Args:
        moments: a column.
        dropped: positions that do not count, ascending.
        low: milliseconds since 1970 UTC.
        high: likewise, no earlier.
        now: likewise.
    """
    found: list[Positions] = [np.empty(0, np.intp)]
    coming, width = FOREVER_MS, high - low
    for start in range(0, len(moments), _ROWS_AT_A_TIME):
        part = moments[start : start + _ROWS_AT_A_TIME]
        some = dropped[slice(*np.searchsorted(dropped, (start, start + len(part))))]
        if len(some):
            part = part.copy()
            part[some - start] = 0
        ahead = _ahead(part, low)
        nearest = int(ahead.min())
        if nearest < width:
            inside = ahead < width
            found.append(np.flatnonzero(inside) + start)
            if now == high:
                rest = ahead[~inside]
                nearest = int(rest.min()) if len(rest) else _PAST
        if now not in (low, high):
            nearest = int(_ahead(part, now).min()) + (now - low)
        if nearest < _PAST:
            coming = min(coming, low + 1 + nearest)
    return np.concatenate(found), coming


def _ahead(moments: Int64s, after: int) -> NDArray[np.uint64]:
    """By how much each moment is later than the first one after another; beyond `_PAST` if it is not later."""
    return (moments - (after + 1)).view(np.uint64)
