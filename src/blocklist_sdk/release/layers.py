"""A list that changes: a base, written whole once, and an overlay of what deltas changed since.

Whatever is asked of a part of the list, and every delta, takes time by that part, the delta and the overlay, never by
the base. Whoever needs all rows gets them merged (`LayeredRows.whole`), once.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.ascending import Ascending
from blocklist_sdk.release.limits import check_overlaps
from blocklist_sdk.release.merge import (
    Delta,
    Difference,
    Removals,
    difference,
    differing_pairs,
    keys_of,
    locate,
    merged,
    splice,
)
from blocklist_sdk.release.rows import Int64s, Positions, Rows, concatenated, range_rows
from blocklist_sdk.release.spans import Spans, places_of, positions_between


class LayeredRows:
    """A list as a base and an overlay, so that a change costs what it changes; never altered.

    Attributes:
        base: the rows as they were written whole.
        overlay: what deltas changed since.
        facts: what is known of the base; lists with the same `BaseFacts.base_id` have the same base.
    """

    def __init__(
        self,
        base: Rows,
        overlay: "Overlay",
        facts: "BaseFacts",
        *,
        base_ranges: Positions | None = None,
        base_numbers: Ascending | None = None,
    ) -> None:
        """Takes an overlay of this base; and of the base the positions of its ranges, where they are known.

        Args:
            base: see the attributes.
            overlay: see the attributes.
            facts: see the attributes.
            base_ranges: the positions of the base's ranges; looked for if there are none.
            base_numbers: the base's numbers, as another list of this base has them; made if there are none.
        """
        self.base = base
        self.overlay = overlay
        self.facts = facts
        self._base_ranges = base_ranges
        self._base_numbers = base_numbers or Ascending(base.number)
        self._whole: Rows | None = None if len(overlay) else base

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """A list that is all base."""
        return cls(rows, Overlay.none(), BaseFacts.of(rows, base_id=secrets.token_hex(8)))

    def __len__(self) -> int:
        return len(self.base) - len(self.overlay.dropped) + len(self.overlay.puts)

    @property
    def has_ranges(self) -> bool:
        """Whether a row may cover more than one number."""
        return self.base.has_ranges or self.overlay.puts.has_ranges

    @property
    def highest_entry(self) -> int:
        """An entry id that no row is above; 0 without rows."""
        return max(self.facts.highest_entry, int(self.overlay.puts.entry.max(initial=0)))

    @property
    def latest_since_ms(self) -> int:
        """A moment after which no entry begins, in milliseconds since 1970 UTC; 0 without rows."""
        return max(self.facts.latest_since_ms, int(self.overlay.puts.since.max(initial=0)))

    def has_entry(self, entries: Int64s) -> bool:
        """Whether a row has one of some entry ids; goes through all rows."""
        if np.isin(entries, self.overlay.puts.entry).any():
            return True
        at = np.flatnonzero(np.isin(self.base.entry, entries))
        return not _among(at, self.overlay.dropped).all()

    def whole(self) -> Rows:
        """All rows; merged when they are first asked for, and kept."""
        if self._whole is None:
            at, _ = locate(self.base, keys_of(self.overlay.puts), self._base_numbers)
            dropped = self.overlay.dropped
            self._whole = splice(self.base, dropped, self.overlay.puts, at - np.searchsorted(dropped, at, "left"))
        return self._whole

    def near(self, first: Int64s, last: Int64s) -> Rows:
        """The rows whose `number` lies between a first and a last number; ranges that begin before are not among them.

        Args:
            first: first numbers, in any order, perhaps repeated.
            last: the last number for each of them.
        """
        spans, puts = Spans.of(first, last), self.overlay.puts
        base = positions_between(*self._base_numbers.bounds(spans.first, spans.last))
        base = _without(base, self.overlay.dropped)
        return merged(self.base.take(base), puts.take(spans.positions(puts.number)))

    def ranges(self) -> Rows:
        """The rows that cover more than one number; those of the base are looked for once, if they are not known."""
        if self._base_ranges is None:
            self._base_ranges = range_rows(self.base)
        base = self._base_ranges
        base = _without(base, self.overlay.dropped)
        return merged(self.base.take(base), self.overlay.puts.take(range_rows(self.overlay.puts)))

    def around(self, first: Int64s, last: Int64s) -> Rows:
        """Every row that may decide about some numbers: those of `near`, and all ranges."""
        near = self.near(first, last)
        if not self.has_ranges:
            return near
        return merged(near.take(near.last == near.number), self.ranges())

    def with_base_ranges(self, positions: Positions) -> "LayeredRows":
        """The same list, of which it is known which rows of the base are ranges."""
        return LayeredRows(self.base, self.overlay, self.facts, base_ranges=positions, base_numbers=self._base_numbers)

    def applied(self, delta: Delta) -> "tuple[LayeredRows, Difference]":
        """The list after a delta, and what changed; takes time by the delta and the overlay, not by the base.

        Raises:
            Malformed: the delta removes an entry that the list does not have, or does not fit it in another way; or
                the list would be beyond the protocol's limits.
        """
        gone = self.find(delta.removes)
        if not gone.is_there.all():
            raise Malformed("the delta removes an entry that the release before it does not have")
        there = self.find(keys_of(delta.puts))
        in_base, in_puts = np.concatenate((gone.base, there.base)), np.concatenate((gone.puts, there.puts))
        in_base, in_puts = np.sort(in_base[in_base >= 0]), np.sort(in_puts[in_puts >= 0])
        if bool((np.diff(in_base) == 0).any()) or bool((np.diff(in_puts) == 0).any()):
            raise Malformed("the delta names an entry twice")
        at, _ = locate(self.overlay.puts, keys_of(delta.puts))
        puts = splice(self.overlay.puts, in_puts, delta.puts, at - np.searchsorted(in_puts, at, "left"))
        dropped = np.sort(np.concatenate((self.overlay.dropped, in_base)), kind="stable")
        after = LayeredRows(
            self.base,
            Overlay(dropped, puts),
            self.facts,
            base_ranges=self._base_ranges,
            base_numbers=self._base_numbers,
        )
        if len(delta.puts):
            part = after.around if delta.puts.has_ranges else after.near
            rows = part(delta.puts.number, delta.puts.number)
            check_overlaps(rows.number, rows.last)
        old, new = self._take(there), delta.puts.take(there.is_there)
        differs = differing_pairs(old, new)
        return after, Difference(
            added=delta.puts.take(~there.is_there),
            removed=self._take(gone),
            changed_old=old.take(differs),
            changed_new=new.take(differs),
        )

    def changed_since(self, before: "LayeredRows") -> Difference | None:
        """The difference from an earlier list; None if the two share no base, so that all rows must be compared."""
        if before.facts.base_id != self.facts.base_id:
            return None
        mine, its = self.overlay.dropped, before.overlay.dropped
        old = merged(before.overlay.puts, self.base.take(mine[~_among(mine, its)]))
        new = merged(self.overlay.puts, self.base.take(its[~_among(its, mine)]))
        return difference(old, new)

    def find(self, keys: Removals) -> "Found":
        """Where entries are."""
        base, in_base = locate(self.base, keys, self._base_numbers)
        in_base[in_base] = ~_among(base[in_base], self.overlay.dropped)
        puts, in_puts = locate(self.overlay.puts, keys)
        return Found(np.where(in_base, base, -1), np.where(in_puts, puts, -1))

    def _take(self, found: "Found") -> Rows:
        """The rows that were found, in canonical order."""
        return merged(self.base.take(found.base[found.base >= 0]), self.overlay.puts.take(found.puts[found.puts >= 0]))


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What is known of a base without going through it.

    Attributes:
        base_id: tells bases apart.
        highest_entry: the highest entry id; 0 without rows.
        latest_since_ms: when the last entry begins, in milliseconds since 1970 UTC; 0 without rows.
    """

    base_id: str
    highest_entry: int
    latest_since_ms: int

    @classmethod
    def of(cls, rows: Rows, *, base_id: str) -> Self:
        """Go through a base once."""
        return cls(base_id, int(rows.entry.max(initial=0)), int(rows.since.max(initial=0)))


@dataclass(frozen=True, slots=True)
class Overlay:
    """What deltas changed since a base was written.

    Attributes:
        dropped: positions of the base's rows that are gone or replaced, ascending.
        puts: rows that are new, or that replace dropped ones, in canonical order.
    """

    dropped: Positions
    puts: Rows

    @classmethod
    def none(cls) -> Self:
        """The overlay of a list that is all base."""
        return cls(np.empty(0, np.intp), Rows.empty())

    def __len__(self) -> int:
        return len(self.dropped) + len(self.puts)


@dataclass(frozen=True, slots=True)
class Found:
    """Where entries are: their positions in base and puts, -1 for not there."""

    base: Positions
    puts: Positions

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """Which of them are in either."""
        there: NDArray[np.bool_] = (self.base >= 0) | (self.puts >= 0)
        return there


def apply(old: Rows, delta: Delta) -> tuple[Rows, Difference]:
    """The release after `old`, and what changed: the `difference` of the two.

    Raises:
        Malformed: the delta removes an entry that `old` does not have, or does not fit `old` in another way; or the
            release is beyond the protocol's limits.
    """
    layers, changes = LayeredRows.of(old).applied(delta)
    return layers.whole(), changes


def apply_all(old: LayeredRows, deltas: Sequence[Delta]) -> tuple[LayeredRows, Difference]:
    """The release after `old` and several deltas, one after the other, and the `difference` of the two.

    The deltas are made one first, so that what they touch is looked at once, however many there are.

    Raises:
        Malformed: as `LayeredRows.applied` for each of the deltas; but of the releases in between no limits are
            checked.
    """
    if len(deltas) == 1:
        return old.applied(deltas[0])
    delta = _combined(old, [delta for delta in deltas if len(delta)])
    return old.applied(delta) if len(delta) else (old, Difference.none())


def _among(positions: Positions, dropped: Positions) -> NDArray[np.bool_]:
    """Which positions are among some others, which ascend."""
    return places_of(positions, dropped)[1]


def _without(positions: Positions, dropped: Positions) -> Positions:
    """Positions without some others; both ascend, and there are mostly far fewer of the others."""
    at, is_there = places_of(dropped, positions)
    return np.delete(positions, at[is_there])


def _combined(old: LayeredRows, deltas: Sequence[Delta]) -> Delta:
    """The one delta that leads from `old` to where the deltas lead, one after the other.

    Raises:
        Malformed: one of them does not fit the release before it.
    """
    if not deltas:
        return Delta(Rows.empty(), keys_of(Rows.empty()))
    puts = concatenated([delta.puts for delta in deltas])
    parts = [keys_of(puts), *(delta.removes for delta in deltas)]
    number, last, entry = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("number", "last", "entry")
    )
    turn = np.concatenate(
        [
            np.repeat(np.arange(len(deltas)), [len(each) for each in side])
            for side in ([delta.puts for delta in deltas], [delta.removes for delta in deltas])
        ]
    )
    is_put = np.arange(len(number)) < len(puts)
    # What happens to an entry stands together, in the order in which it happens.
    order = np.lexsort((turn, entry, last, number))
    number, last, entry, turn, is_put = number[order], last[order], entry[order], turn[order], is_put[order]
    is_next = (number[1:] == number[:-1]) & (last[1:] == last[:-1]) & (entry[1:] == entry[:-1])
    if bool((is_next & (turn[1:] == turn[:-1])).any()):
        raise Malformed("the delta names an entry twice")
    starts, ends = np.flatnonzero(np.append(True, ~is_next)), np.flatnonzero(np.append(~is_next, True))
    is_there = old.find(Removals(number[starts], last[starts], entry[starts])).is_there
    # An entry that is removed must be there: since the release, or put by the delta before that named it.
    was_there = np.append(True, is_put[:-1])
    was_there[starts] = is_there
    if not (is_put | was_there).all():
        raise Malformed("the delta removes an entry that the release before it does not have")
    stays = ends[is_put[ends]]
    goes = ends[~is_put[ends] & is_there]
    return Delta(puts.take(order[stays]), Removals(number[goes], last[goes], entry[goes]))
