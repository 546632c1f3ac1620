"""The guard: whether a verified release may come into force by itself. Pure.

A signature proves whose list it is, not that it is free of mistakes. ``docs/adr/0008-guard.md`` has the reasons for the
defaults.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.numbers.operators import operator_of_range
from blocklist_sdk.numbers.reach import MAX_ENTRY_COVER, covered, range_text, reach
from blocklist_sdk.records import Impact, Override, Tally
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.rows import Int64s, Rows, distinct
from blocklist_sdk.texts import counted

_OPERATORS_MAX = 1_000_000
"""More changed numbers than this are not counted by operator: it takes a microsecond for each."""

_ENTRIES, _NUMBERS = ("entry", "entries"), ("covered number", "covered numbers")

_SHOWN = 3
"""How many protected numbers, or wide entries, the reasons name."""


@dataclass(frozen=True, slots=True)
class Guard:
    """How much a release may change without a person's consent.

    Shares are of what was in force before, counted twice: in entries, and in the numbers that they cover, since one
    range may cover millions. An entry that stops blocking, or starts to, counts as removed or added. The first release
    of a feed has nothing to be compared with: only its ranges are bounded.

    Attributes:
        max_removed: the share that may be removed, from 0 to 1.
        max_added: the share that may be added; 1 means that the list may double.
        min_changes: this many entries, or numbers, may always change: on a short list shares mean little.
        max_cover: how many numbers one entry may cover that starts to block. Numbers are counted that are assigned in
            their country's numbering plan.
        max_first_cover: how many numbers all ranges of the first release may cover; single numbers have no limit.

    Raises:
        InvalidInput: a limit is negative or not a number.

    >>> Guard(max_removed=0.5).max_removed
    0.5
    """

    max_removed: float = 0.25
    max_added: float = 1.0
    min_changes: int = 100
    max_cover: int = MAX_ENTRY_COVER
    max_first_cover: int = 20_000_000

    def __post_init__(self) -> None:
        counts = self.min_changes, self.max_cover, self.max_first_cover
        if not (0 <= self.max_removed <= 1 and self.max_added >= 0 and all(count >= 0 for count in counts)):
            raise InvalidInput("the guard's limits must not be negative, and max_removed must be at most 1")

    def refusals(
        self, old: Rows, new: Rows, changes: Difference, protected: Int64s, *, published_ms: int
    ) -> tuple[str, ...]:
        """Why a release must not come into force by itself; empty if it may.

        Args:
            old: the rows in force; empty before the first release.
            new: the release.
            changes: how they differ.
            protected: numbers that no feed may list, ascending.
            published_ms: when the release was published, in milliseconds since 1970 UTC.
        """
        reasons = []
        listed = listed_protected(new, protected)
        if len(listed):
            shown = ", ".join(mask(f"+{number}") for number in listed[:_SHOWN].tolist())
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            reasons.append(f"it lists {shown}{more}, which no feed may list")
        reasons += self._too_wide(old, new, published_ms)
        if not len(old):
            return tuple(reasons)
        if not len(new):
            return (*reasons, f"it is empty, but the release in force has {counted(len(old), 'entry', 'entries')}")
        was, now = (
            _blocks(rows, at, published_ms) for rows, at in ((old, changes.changed_old), (new, changes.changed_new))
        )
        gone = np.concatenate((changes.removed, changes.changed_old[was & ~now]))
        come = np.concatenate((changes.added, changes.changed_new[now & ~was]))
        # A number that is listed again under another entry is neither removed nor added.
        gone_blocks, come_blocks = gone[_blocks(old, gone, published_ms)], come[_blocks(new, come, published_ms)]
        shares = [
            ("removes", int((~_also_in(old, gone, new, come_blocks)).sum()), len(old), _ENTRIES, self.max_removed),
            ("adds", int((~_also_in(new, come, old, gone_blocks)).sum()), len(old), _ENTRIES, self.max_added),
        ]
        if old.has_ranges or new.has_ranges:
            before = _covered(old)
            lost, won = _only_in(old, gone, new, come_blocks), _only_in(new, come, old, gone_blocks)
            shares += [
                ("removes", lost, before, _NUMBERS, self.max_removed),
                ("adds", won, before, _NUMBERS, self.max_added),
            ]
        for what, changed, whole, noun, most in shares:
            # 0.29 * 100 is a little less than 29.
            if changed > max(most * whole * (1 + 1e-12), self.min_changes):
                reasons.append(f"it {what} {counted(changed, *noun)}, {_percent(changed, whole)} of {whole:,}")
        return tuple(reasons)

    def _too_wide(self, old: Rows, new: Rows, published_ms: int) -> list[str]:
        """Name entries that cover too many numbers, unless the release before blocked the same ones."""
        if not new.has_ranges:
            return []
        wide = _blocking_ranges(new, published_ms, wider_than=self.max_cover)
        wide = wide[~_also_in(new, wide, old, _blocking_ranges(old, published_ms, wider_than=self.max_cover))]
        sizes = covered(new.number[wide], new.last[wide])
        over = np.argsort(-sizes, kind="stable")[: int((sizes > self.max_cover).sum())]
        reasons = [
            f"it blocks the range {range_text(int(new.number[wide[i]]), int(new.last[wide[i]]))}, which covers "
            f"{sizes[i]:,} numbers, more than the {self.max_cover:,} that one entry may"
            for i in over[:_SHOWN].tolist()
        ]
        if len(over) > _SHOWN:
            reasons.append(f"{len(over) - _SHOWN:,} more of its ranges are too wide")
        if not len(old):
            ranges = _blocking_ranges(new, published_ms, wider_than=1)
            total = reach(new.number[ranges], new.last[ranges])
            if total > self.max_first_cover:
                reasons.append(
                    f"its ranges cover {total:,} numbers, more than the {self.max_first_cover:,} that those of a first "
                    "release may"
                )
        return reasons


def impact_of(
    old: Rows,
    new: Rows,
    changes: Difference,
    *,
    before: int | None,
    after: int,
    digest: str,
    protected: Int64s,
    overrides: Iterable[Override],
    refusals: Sequence[str],
) -> Impact:
    """The changes that a release would bring if it came into force."""
    parts = ((old, changes.removed), (new, changes.added), (new, changes.changed_new))
    removed, added, changed = (_by(rows, at) for rows, at in parts)
    changed_numbers = np.concatenate([np.stack((rows.number[at], rows.last[at])) for rows, at in parts], axis=1)
    return Impact(
        before=before,
        after=after,
        digest=digest,
        rows_before=len(old),
        rows_after=len(new),
        total=Tally(len(changes.added), len(changes.removed), len(changes.changed_new)),
        by_category=_tallies(added[0], removed[0], changed[0]),
        by_operator=_tallies(added[1], removed[1], changed[1]),
        overrides=tuple(o for o in overrides if _touches(changed_numbers, o)),
        protected=tuple(listed_protected(new, protected).tolist()),
        refusals=tuple(refusals),
    )


def listed_protected(rows: Rows, protected: Int64s) -> Int64s:
    """The protected numbers that an entry of level block covers, ascending."""
    if not len(protected):
        return protected
    is_block = np.array([value == "block" for value in rows.level.values] or [False], np.bool_)
    at = _rows_of(rows, protected)
    if rows.has_ranges:
        at = np.concatenate((at, np.flatnonzero(rows.last > rows.number)))
    at = at[is_block[rows.level.codes[at]]]
    # How many entries cover each: those that begin at or before it, less those that end before it.
    begins = np.bincount(np.searchsorted(protected, rows.number[at], "left"), minlength=len(protected) + 1)
    ends = np.bincount(np.searchsorted(protected, rows.last[at], "right"), minlength=len(protected) + 1)
    is_listed: NDArray[np.bool_] = np.cumsum(begins - ends)[:-1] > 0
    return protected[is_listed]


def _rows_of(rows: Rows, numbers: Int64s) -> NDArray[np.intp]:
    """The rows that begin with one of the numbers, which ascend."""
    start = np.searchsorted(rows.number, numbers, "left")
    size = np.searchsorted(rows.number, numbers, "right") - start
    size[1:][numbers[1:] == numbers[:-1]] = 0
    ends = np.cumsum(size)
    at: NDArray[np.intp] = np.arange(int(size.sum())) + np.repeat(start - (ends - size), size)
    return at


def _also_in(rows: Rows, at: NDArray[np.intp], others: Rows, among: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which rows cover exactly the numbers that one of the others covers."""
    if not (rows.has_ranges or others.has_ranges):
        return np.isin(rows.number[at], others.number[among])
    known = set(zip(others.number[among].tolist(), others.last[among].tolist(), strict=True))
    pairs = zip(rows.number[at].tolist(), rows.last[at].tolist(), strict=True)
    return np.array([pair in known for pair in pairs], np.bool_)


def _covered(rows: Rows) -> int:
    """How many numbers the rows span; a number in several ranges counts once."""
    ranges = np.flatnonzero(rows.last != rows.number)
    return len(rows) - len(ranges) + _only_in(rows, ranges, Rows.empty(), ranges[:0])


def _only_in(rows: Rows, at: NDArray[np.intp], others: Rows, among: NDArray[np.intp]) -> int:
    """How many numbers some rows cover and none of the others does; each counts once."""
    first, after = rows.number[at], rows.last[at] + 1
    other_first, other_after = others.number[among], others.last[among] + 1
    points = distinct(np.concatenate((first, after, other_first, other_after)))

    def depth(starts: Int64s, ends: Int64s) -> Int64s:
        """How many intervals cover the numbers from each point on."""
        steps = np.zeros(len(points) + 1, np.int64)
        np.add.at(steps, np.searchsorted(points, starts), 1)
        np.add.at(steps, np.searchsorted(points, ends), -1)
        return np.cumsum(steps)[: len(points)]

    is_only = (depth(first, after) > 0) & (depth(other_first, other_after) == 0)
    return int(np.diff(points)[is_only[:-1]].sum()) if len(points) else 0


def _blocking_ranges(rows: Rows, published_ms: int, *, wider_than: int) -> NDArray[np.intp]:
    """Rows of ranges that block and span more numbers."""
    if not rows.has_ranges:
        return np.empty(0, np.intp)
    at = np.flatnonzero(rows.last - rows.number >= max(wider_than, 1))
    return at[_blocks(rows, at, published_ms)]


def _blocks(rows: Rows, at: NDArray[np.intp], published_ms: int) -> NDArray[np.bool_]:
    """Which rows block, or will, after the publication."""
    level = np.array([value == "block" for value in rows.level.values] or [False], np.bool_)[rows.level.codes[at]]
    blocks: NDArray[np.bool_] = level & (rows.until[at] > published_ms)
    return blocks


def _by(rows: Rows, at: NDArray[np.intp]) -> tuple[Counter[str], Counter[str]]:
    """Rows by category, and by operator."""
    count = np.bincount(rows.category.codes[at], minlength=len(rows.category.values)).tolist()
    categories = Counter({value: n for value, n in zip(rows.category.values, count, strict=False) if n})
    if len(at) > _OPERATORS_MAX:
        return categories, Counter()
    ranges = zip(rows.number[at].tolist(), rows.last[at].tolist(), strict=True)
    return categories, Counter(operator_of_range(first, last) or "" for first, last in ranges)


def _tallies(added: Counter[str], removed: Counter[str], changed: Counter[str]) -> dict[str, Tally]:
    names = sorted({*added, *removed, *changed})
    return {name: Tally(added[name], removed[name], changed[name]) for name in names}


def _touches(changed: Int64s, override: Override) -> bool:
    last = override.number if override.last is None else override.last
    return bool(((changed[0] <= last) & (override.number <= changed[1])).any())


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"
