"""The guard: whether a verified release may come into force by itself. Pure.

A signature proves whose list it is, not that it is free of mistakes. ``docs/adr/0008-guard.md`` has the reasons for the
defaults, and ``docs/adr/0022-guards-judge-what-blocks.md`` those for what is judged.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.numbers.operators import operator_of_range
from blocklist_sdk.numbers.reach import MAX_ENTRY_COVER, covered, range_text, reach
from blocklist_sdk.records import Impact, Override, Tally
from blocklist_sdk.release.blocking import DAY_MS, blocking_change
from blocklist_sdk.release.blocking_limits import Limits
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.protected import covered_among
from blocklist_sdk.release.published import AHEAD_MAX
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import Int64s, Rows
from blocklist_sdk.release.tallies import count_by, tallies
from blocklist_sdk.release.windows import growing
from blocklist_sdk.texts import counted

JUMP_MAX: Final = 1_000
"""So many serials may always be passed over, and a release a minute since the last sync."""

_OPERATORS_MAX = 1_000_000
"""More changed numbers than this are not counted by operator: it takes a microsecond for each."""

_SHOWN = 3
"""How many protected numbers, or wide entries, the reasons name."""


@dataclass(frozen=True, slots=True)
class Guard(Limits):
    """How much a release may change without a person's consent.

    What counts is which numbers are blocked, by this machine's clock, now and a day ahead, in each scope. An advisory
    blocks nobody, nor does an entry that has ended, or has not begun. What ends by itself is no removal. Shares are of
    the numbers that the list in force blocks. The first release of a feed has nothing to be compared with: only its
    ranges are bounded.

    Attributes:
        max_removed: the share of the blocked numbers that may cease to be blocked, from 0 to 1.
        min_removed: so many numbers may always cease to be blocked: on a short list shares mean little.
        max_added: as much of the blocked numbers may begin to be blocked; 1 means that the list may double.
        min_added: so many numbers may always begin to be blocked.
        max_cover: how many numbers one entry may cover that starts to block. Numbers are counted that are assigned in
            their country's numbering plan.
        max_first_cover: how many numbers all ranges of the first release may cover; single numbers have no limit.

    Raises:
        InvalidInput: a limit is negative or not a number.

    >>> Guard(max_removed=0.5).max_removed
    0.5
    """

    max_removed: float = 0.25
    min_removed: int = 100
    max_added: float = 1.0
    min_added: int = 1_000
    max_cover: int = MAX_ENTRY_COVER
    max_first_cover: int = 20_000_000

    def __post_init__(self) -> None:
        Limits.__post_init__(self)
        if self.max_cover < 0 or self.max_first_cover < 0:
            raise InvalidInput("the guard's limits must not be negative")

    def refuses(
        self,
        old: Rows | LayeredRows,
        new: Rows | LayeredRows,
        protected: Int64s,
        *,
        now_ms: int,
        old_published_ms: int | None = None,
        new_published_ms: int | None = None,
        changes: Difference | None = None,
    ) -> tuple[str, ...]:
        """Why a release must not come into force by itself; empty if it may.

        Args:
            old: the rows in force; empty before the first release.
            new: the release.
            protected: numbers that no feed may list, ascending.
            now_ms: this moment, in milliseconds since 1970 UTC.
            old_published_ms: when the first was published: what begins no later has begun, whatever this machine's
                clock says. None if that is not known.
            new_published_ms: the same of the second.
            changes: how the two differ, if that is known. Then the guard looks at what differs, and takes time by that
                rather than by the lists, unless a limit is exceeded and it has to be said by how much.
        """
        reasons = []
        old, new = _layered(old), _layered(new)
        listed = listed_protected(new, protected)
        if len(listed):
            shown = ", ".join(mask(f"+{number}") for number in listed[:_SHOWN].tolist())
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            reasons.append(f"it lists {shown}{more}, which no feed may list")
        reasons += self._too_wide(old.ranges(), new.ranges(), now_ms, is_first=not len(old))
        if not len(old):
            return tuple(reasons)
        compare = partial(
            blocking_change, now_ms=now_ms, old_published_ms=old_published_ms, new_published_ms=new_published_ms
        )
        # Until the moment of a release has come, a row that is in both may have begun in one of them alone.
        is_ahead = any(moment is not None and moment > now_ms for moment in (old_published_ms, new_published_ms))
        may_begin = is_ahead and max(old.latest_since_ms, new.latest_since_ms) > now_ms
        where = None if may_begin or not len(new) else changes
        was, will = (old.whole(), new.whole()) if where is None else _where_they_differ(old, new, where)
        change = compare(was, will)
        if not len(new) and change.removed:
            return (*reasons, f"it is empty, but the release in force blocks {counted(change.before, 'number')}")
        if len(will) and int(will.since.max()) > now_ms + DAY_MS:
            # What begins later comes into force without another look at it.
            later = compare(_begun_in_a_day(was, now_ms), _begun_in_a_day(will, now_ms))
            change = replace(
                change,
                added=max(change.added, later.added),
                single_added=max(change.single_added, later.single_added),
            )
        parts = _growing(old, new) if where is not None else iter(())
        # The more is blocked in all, the more may change: count no further than it takes to let the release pass.
        while self.refusals(change) and (part := next(parts, None)) is not None:
            counted_now = compare(*part)
            change = replace(change, before=counted_now.before, single_before=counted_now.single_before)
        return (*reasons, *self.refusals(change))

    def _too_wide(self, old: Rows, new: Rows, now_ms: int, *, is_first: bool) -> list[str]:
        """Name entries that cover too many numbers, unless the release before blocked the same ones.

        The arguments are the ranges of both.
        """
        if not len(new):
            return []
        wide = _blocking_ranges(new, now_ms, wider_than=self.max_cover)
        wide = wide[~_also_in(new, wide, old, _blocking_ranges(old, now_ms, wider_than=self.max_cover))]
        sizes = covered(new.number[wide], new.last[wide])
        over = np.argsort(-sizes, kind="stable")[: int((sizes > self.max_cover).sum())]
        reasons = [
            f"it blocks the range {range_text(int(new.number[wide[i]]), int(new.last[wide[i]]))}, which covers "
            f"{sizes[i]:,} numbers, more than the {self.max_cover:,} that one entry may"
            for i in over[:_SHOWN].tolist()
        ]
        if len(over) > _SHOWN:
            reasons.append(f"{len(over) - _SHOWN:,} more of its ranges are too wide")
        if is_first:
            ranges = _blocking_ranges(new, now_ms, wider_than=1)
            total = reach(new.number[ranges], new.last[ranges])
            if total > self.max_first_cover:
                reasons.append(
                    f"its ranges cover {total:,} numbers, more than the {self.max_first_cover:,} that those of a first "
                    "release may"
                )
        return reasons


def doubts_of_moment(*, ahead: timedelta, by_server: str | None = None) -> tuple[str, ...]:
    """Why a release must not come into force by itself because of when it says that it was published.

    Args:
        ahead: how far that is ahead of this machine's clock; negative if it is in the past, as it should be.
        by_server: how far this machine's clock is behind that of the server, for people; None if it is not known to be.

    >>> doubts_of_moment(ahead=timedelta(hours=23))
    ()
    """
    if ahead <= AHEAD_MAX:
        return ()
    advice = (
        "Compare both with a clock that is right"
        if by_server is None
        else f"By the clock of the server it is the latter: {by_server}. Set it right (NTP), and sync again"
    )
    return (
        f"it says that it was published {_long(ahead)} from now: either the publisher's clock is ahead, or this "
        f"machine's is behind. {advice}",
    )


def doubts_of_jump(serials: int, *, since_last_sync: timedelta) -> tuple[str, ...]:
    """Why a release must not come into force by itself because of the serials that it passes over.

    Whoever signs the highest serial there is keeps every later release out.

    Args:
        serials: how far its serial is above the one in force.
        since_last_sync: how long ago the last sync succeeded.

    >>> doubts_of_jump(1_001, since_last_sync=timedelta(days=1)), doubts_of_jump(900, since_last_sync=timedelta(0))
    ((), ())
    """
    if serials <= max(JUMP_MAX, since_last_sync / timedelta(minutes=1)):
        return ()
    return (
        f"its serial is {serials:,} higher than the one in force, which is more than a release a minute since the last "
        "sync",
    )


def _long(time: timedelta) -> str:
    days, hours = time.days, time.seconds // 3600
    return f"{counted(days, 'day')} and {counted(hours, 'hour')}" if days < 100 else counted(days, "day")


def _layered(rows: Rows | LayeredRows) -> LayeredRows:
    return rows if isinstance(rows, LayeredRows) else LayeredRows.of(rows)


def _where_they_differ(old: LayeredRows, new: LayeredRows, changes: Difference) -> tuple[Rows, Rows]:
    """The rows of both lists that decide about the numbers of the entries that differ, and all ranges.

    With all ranges, the numbers that only ranges block are counted as in the whole lists: from one end of a range to
    the next both block alike, or all of it belongs to an entry that differs.
    """
    first, last = changes.numbers()
    return old.around(first, last), new.around(first, last)


def _growing(old: LayeredRows, new: LayeredRows) -> Iterator[tuple[Rows, Rows]]:
    """What to count: the first rows that are in force, then more and more of them, then both lists whole.

    The other list counts where a range blocks numbers that nobody has, and it has an entry of its own for one of them.
    """
    for part in growing(old):
        yield part, new.whole() if old.has_ranges and len(part) == len(old) else part


def _begun_in_a_day(rows: Rows, now_ms: int) -> Rows:
    return replace(rows, since=np.minimum(rows.since, now_ms + DAY_MS))


def sync_impact(
    old: LayeredRows,
    new: LayeredRows,
    changes: Difference,
    *,
    before: ReleaseId | None,
    after: ReleaseId,
    digest: str,
    protected: Int64s,
    overrides: Iterable[Override],
    refusals: Sequence[str],
) -> Impact:
    """The changes that a release would bring if it came into force."""
    removed, added, changed = (_by(rows) for rows in (changes.removed, changes.added, changes.changed_new))
    return Impact(
        before=before and before.serial,
        after=after.serial,
        digest=digest,
        rows_before=len(old),
        rows_after=len(new),
        total=Tally(len(changes.added), len(changes.removed), len(changes.changed_new)),
        by_category=tallies(added[0], removed[0], changed[0]),
        by_operator=tallies(added[1], removed[1], changed[1]),
        overrides=tuple(o for o in overrides if _touches(changes.numbers(), o)),
        protected=tuple(listed_protected(new, protected).tolist()),
        refusals=tuple(refusals),
        era=after.era,
        before_era=before and before.era,
    )


def listed_protected(rows: Rows | LayeredRows, protected: Int64s) -> Int64s:
    """The protected numbers that an entry of level block covers, ascending; looks only at what may cover one."""
    there = _layered(rows).around(protected, protected)
    found = covered_among(protected, there.number, there.last)
    if not len(found) or there.level.values == ("block",):
        return found
    blocks = there.take(np.array([value == "block" for value in there.level.values], np.bool_)[there.level.codes])
    return covered_among(found, blocks.number, blocks.last)


def _also_in(rows: Rows, at: NDArray[np.intp], others: Rows, among: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which rows cover exactly the numbers that one of the others covers."""
    if not (rows.has_ranges or others.has_ranges):
        return np.isin(rows.number[at], others.number[among])
    known = set(zip(others.number[among].tolist(), others.last[among].tolist(), strict=True))
    pairs = zip(rows.number[at].tolist(), rows.last[at].tolist(), strict=True)
    return np.array([pair in known for pair in pairs], np.bool_)


def _blocking_ranges(rows: Rows, now_ms: int, *, wider_than: int) -> NDArray[np.intp]:
    """Rows of ranges that block, or will, and span more numbers."""
    if not rows.has_ranges:
        return np.empty(0, np.intp)
    at = np.flatnonzero(rows.last - rows.number >= max(wider_than, 1))
    level = np.array([value == "block" for value in rows.level.values] or [False], np.bool_)[rows.level.codes[at]]
    return at[level & (rows.until[at] > now_ms)]


def _by(rows: Rows) -> tuple[Counter[str], Counter[str]]:
    """Rows by category, and by operator."""
    categories = count_by(rows.category)
    if len(rows) > _OPERATORS_MAX:
        return categories, Counter()
    ranges = zip(rows.number.tolist(), rows.last.tolist(), strict=True)
    return categories, Counter(operator_of_range(first, last) or "" for first, last in ranges)


def _touches(changed: tuple[Int64s, Int64s], override: Override) -> bool:
    first, end = changed
    last = override.number if override.last is None else override.last
    return bool(((first <= last) & (override.number <= end)).any())
