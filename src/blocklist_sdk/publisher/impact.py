"""What a release would change, for the person who decides whether to publish it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.errors import mask
from blocklist_sdk.numbers.reach import country_codes, range_text, reach
from blocklist_sdk.numbers.reference import metadata_of
from blocklist_sdk.publisher.results import ReleaseImpact, SurprisingChange
from blocklist_sdk.records import Tally
from blocklist_sdk.release.blocking import BlockingChange
from blocklist_sdk.release.merge import Difference, difference
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import Int64s, Positions, Rows, entry_at
from blocklist_sdk.release.tallies import count_by, tallies
from blocklist_sdk.texts import counted

SHOWN: Final = 20
"""How many changes are shown: what a person looks through before publishing."""

_NONE: Final = -1
"""Not a position: the row is in one of the two lists only."""

Why = Literal["wide", "level", "unblocked", "foreign", "changed", "other"]
_ORDER: Final[tuple[Why, ...]] = ("wide", "level", "unblocked", "foreign", "changed", "other")
"""The reasons, those that are looked at first first. A change has the first one that fits."""


def impact_of(
    old: Rows,
    new: Rows,
    change: BlockingChange,
    *,
    feed: str,
    before: int | None,
    serial: int,
    era: int,
    region: str | None,
    invalid: int,
    refusals: tuple[str, ...],
    ended: int = 0,
) -> ReleaseImpact:
    """What a release would change.

    Args:
        old: the current release; empty before the first.
        new: the release.
        change: what it would change of what is blocked.
        feed: the feed's name.
        before: the serial of the current release; None before the first.
        serial: the serial that the release would get.
        era: the feed's era.
        region: the region in which the list's numbers were read.
        invalid: number of rejects.
        refusals: why the guard would refuse it.
        ended: how many entries of the current release have ended since it was published.
    """
    changes = difference(old, new)
    removed, added, changed = (
        count_by(rows.category) for rows in (changes.removed, changes.added, changes.changed_new)
    )
    return ReleaseImpact(
        feed=feed,
        before=before,
        after=serial,
        era=era,
        rows_before=len(old),
        rows_after=len(new),
        total=Tally(added.total(), removed.total(), changed.total()),
        by_category=tallies(added, removed, changed),
        blocked_before=change.before,
        blocked_after=change.after,
        ended=ended,
        unblocked=change.removed,
        newly_blocked=change.added,
        reach_before=reach(old.number, old.last),
        reach_after=reach(new.number, new.last),
        invalid=invalid,
        surprising=_surprising(change, _Pairs.of(changes), feed=feed, region=region),
        refusals=refusals,
    )


def impact_lines(impact: ReleaseImpact, *, masked: bool) -> list[str]:
    """An impact for people, a line for each thing.

    Args:
        impact: the impact.
        masked: hide the middle of telephone numbers, as messages and logs do.
    """
    before = "nothing" if impact.before is None else ReleaseId(impact.era, impact.before)
    way = f"{before} → {ReleaseId(impact.era, impact.after)}"
    lines = [
        f"{impact.feed}: release {way}, {impact.rows_before:,} → {counted(impact.rows_after, 'entry', 'entries')}",
        f"  blocked numbers {impact.blocked_before:,} → {impact.blocked_after:,}: {impact.newly_blocked:,} begin to be "
        f"blocked, {impact.unblocked:,} cease to be",
        f"  listed numbers {impact.reach_before:,} → {impact.reach_after:,}",
    ]
    if impact.ended:
        lines.append(
            f"  {counted(impact.ended, 'entry', 'entries')} of release {before} ended by the clock since it was "
            "published"
        )
    parts = [("all", impact.total), *(("category " + name, tally) for name, tally in impact.by_category.items())]
    width = max(len(name) for name, _ in parts)
    for name, tally in parts:
        lines.append(
            f"  {name:<{width}}  {tally.added:>10,} added  {tally.removed:>10,} removed  {tally.changed:>10,} changed"
        )
    lines += [f"  {_surprise(each, masked=masked)}" for each in impact.surprising]
    return lines


def _surprise(change: SurprisingChange, *, masked: bool) -> str:
    entry, before = change.entry, change.before
    number = f"+{entry.number}"
    if entry.last is not None:
        number = range_text(entry.number, entry.last) if masked else f"+{entry.number}-+{entry.last}"
    elif masked:
        number = mask(number)
    until = f", until {times.iso(entry.until)}" if entry.until else ""
    text = (
        f"{change.why:<9}  {change.kind:<7}  {number}  entry {entry.entry}: {entry.level}, {entry.category}, "
        f"{entry.issuer}, {'+'.join(sorted(entry.scope))}, since {times.iso(entry.since)}{until}"
    )
    if before is None:
        return text
    names = ("level", "category", "issuer", "scope", "since", "until")
    return f"{text} (changes: {', '.join(name for name in names if getattr(before, name) != getattr(entry, name))})"


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The changes of one release, pairwise.

    Attributes:
        old_rows, new_rows: the rows that differ, as they were and as they will be.
        old, new: a position in each for every change, -1 where one of them is missing.
    """

    old_rows: Rows
    new_rows: Rows
    old: Positions
    new: Positions

    @classmethod
    def of(cls, changes: Difference) -> "_Pairs":
        removed, added, changed = len(changes.removed), len(changes.added), len(changes.changed_new)
        gone, come = (np.full(count, _NONE, np.intp) for count in (removed, added))
        return cls(
            changes.removed.with_rows(changes.changed_old),
            changes.added.with_rows(changes.changed_new),
            np.concatenate((np.arange(removed), come, removed + np.arange(changed))),
            np.concatenate((gone, np.arange(added), added + np.arange(changed))),
        )


def _surprising(
    change: BlockingChange, pairs: _Pairs, *, feed: str, region: str | None
) -> tuple[SurprisingChange, ...]:
    """The most surprising changes, by reason; the reasons take turns until there are enough."""
    old, new = pairs.old_rows, pairs.new_rows
    in_old, in_new = pairs.old != _NONE, pairs.new != _NONE

    def of(column_old: Int64s, column_new: Int64s) -> Int64s:
        """A column of the changes: from the new list, or from the old one for what is gone."""
        values = np.empty(len(pairs.old), np.int64)
        values[in_new] = column_new[pairs.new[in_new]]
        values[~in_new] = column_old[pairs.old[~in_new]]
        return values

    number, last = of(old.number, new.number), of(old.last, new.last)
    since = of(old.since, new.since)
    is_block = [
        np.array([value == "block" for value in rows.level.values] or [False], np.bool_)[rows.level.codes]
        for rows in (old, new)
    ]
    was_block, will_block = np.zeros(len(number), np.bool_), np.zeros(len(number), np.bool_)
    was_block[in_old], will_block[in_new] = is_block[0][pairs.old[in_old]], is_block[1][pairs.new[in_new]]
    unblocks = was_block & change.removed_numbers.touch(number, last)
    begins = will_block & change.added_numbers.touch(number, last)
    is_foreign = np.zeros(len(number), np.bool_)
    if region is not None:
        is_foreign = country_codes(number) != metadata_of(region).country_code
    fits: dict[Why, NDArray[np.bool_]] = {
        "wide": (last > number) & (unblocks | begins),
        "level": in_old & in_new & (was_block != will_block),
        "unblocked": unblocks,
        "foreign": begins & is_foreign,
        "changed": in_old & in_new,
        "other": np.ones(len(number), np.bool_),
    }
    keys: dict[Why, Int64s] = {"wide": number - last, "foreign": number, "other": number}
    chosen: list[list[tuple[Why, int]]] = []
    left = np.ones(len(number), np.bool_)
    for why in _ORDER:
        at = np.flatnonzero(left & fits[why])
        left[at] = False
        chosen.append([(why, int(i)) for i in at[_smallest(keys.get(why, since)[at])]])
    turns = [each for each in chain.from_iterable(zip_longest(*chosen)) if each is not None][:SHOWN]
    turns.sort(key=lambda each: _ORDER.index(each[0]))  # stable: each reason keeps its order
    return tuple(_changes(turns, pairs, feed))


def _smallest(key: Int64s) -> Positions:
    """Where the smallest of the keys are, in order; of those that are equal, the first."""
    if len(key) <= SHOWN:
        return np.argsort(key, kind="stable")
    largest = np.partition(key, SHOWN - 1)[SHOWN - 1]
    below = np.flatnonzero(key < largest)
    few = np.concatenate((below[np.argsort(key[below], kind="stable")], np.flatnonzero(key == largest)))
    return few[:SHOWN]


def _changes(turns: list[tuple[Why, int]], pairs: _Pairs, feed: str) -> Iterator[SurprisingChange]:
    for why, i in turns:
        was = None if pairs.old[i] == _NONE else entry_at(pairs.old_rows, int(pairs.old[i]), feed=feed)
        will = None if pairs.new[i] == _NONE else entry_at(pairs.new_rows, int(pairs.new[i]), feed=feed)
        if will is not None:
            yield SurprisingChange(why, "added" if was is None else "changed", will, was)
        elif was is not None:
            yield SurprisingChange(why, "removed", was, None)
