"""How releases differ, and how a difference is applied: `apply(old, difference(old, new))` is `new`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.rows import TEXT_COLUMNS, Int64s, Positions, Rows, Texts, code_type


@dataclass(frozen=True, slots=True)
class Removals:
    """Entries that are gone, named by where they stood; sorted like `Rows`."""

    number: Int64s
    last: Int64s
    entry: Int64s

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True, slots=True)
class Delta:
    """What turns one release into the next.

    Attributes:
        puts: entries that are new, or that replace the one with the same id. An id never moves to another number.
        removes: entries that are gone.
    """

    puts: Rows
    removes: Removals

    def __len__(self) -> int:
        return len(self.puts) + len(self.removes)


@dataclass(frozen=True, slots=True)
class Difference:
    """How two releases differ, as positions of rows in each, ascending, pairs by their new row.

    Attributes:
        added: rows of the new one whose entry the old one does not have.
        removed: rows of the old one whose entry the new one does not have.
        changed_old, changed_new: rows of the same entry that differ, pairwise.
    """

    added: Positions
    removed: Positions
    changed_old: Positions
    changed_new: Positions


def apply(old: Rows, delta: Delta) -> tuple[Rows, Difference]:
    """The release after `old`, and what changed.

    Raises:
        Malformed: the delta removes an entry that `old` does not have, or does not fit `old` in another way.
    """
    gone = _find(old, delta.removes)
    if bool((gone < 0).any()):
        raise Malformed("the delta removes an entry that the release before it does not have")
    replaced = _find(old, Removals(delta.puts.number, delta.puts.last, delta.puts.entry))
    is_new = replaced < 0

    dropped = np.sort(np.concatenate((gone, replaced[~is_new])))
    if bool((np.diff(dropped) == 0).any()):
        raise Malformed("the delta names an entry twice")
    target = _insert_positions(old, delta.puts, dropped)
    new = _splice(old, dropped, delta.puts, target)
    landed = target + np.arange(len(target))
    return new, Difference(
        added=landed[is_new], removed=gone, changed_old=replaced[~is_new], changed_new=landed[~is_new]
    )


def difference(old: Rows, new: Rows) -> Difference:
    """Entries that were added, removed or changed, in time linear in the two releases."""
    if not len(old):
        none = np.empty(0, np.intp)
        return Difference(added=np.arange(len(new)), removed=none, changed_old=none, changed_new=none)
    in_old, in_new = _match(old, new)
    added = np.ones(len(new), bool)
    added[in_new] = False
    removed = np.ones(len(old), bool)
    removed[in_old] = False
    differs = np.zeros(len(in_old), bool)
    for name in ("since", "until"):
        differs |= getattr(old, name)[in_old] != getattr(new, name)[in_new]
    for name in TEXT_COLUMNS:
        differs |= _differing_texts(getattr(old, name), in_old, getattr(new, name), in_new)
    changed_old, changed_new = in_old[differs], in_new[differs]
    # Entries of numbers that have several were matched after all the others.
    order = np.argsort(changed_new)
    return Difference(
        added=np.flatnonzero(added),
        removed=np.flatnonzero(removed),
        changed_old=changed_old[order],
        changed_new=changed_new[order],
    )


def delta_between(old: Rows, new: Rows) -> Delta:
    """The delta that leads from one release to the next."""
    found = difference(old, new)
    gone = found.removed
    return Delta(
        puts=new.take(np.sort(np.concatenate((found.added, found.changed_new)))),
        removes=Removals(old.number[gone], old.last[gone], old.entry[gone]),
    )


def _find(rows: Rows, keys: Removals) -> Positions:
    """The position of each key in `rows`, -1 if it is missing."""
    start = np.searchsorted(rows.number, keys.number, "left")
    count = np.searchsorted(rows.number, keys.number, "right") - start
    # One candidate row per (key, row with that number), laid out one after the other.
    key = np.repeat(np.arange(len(keys)), count)
    row = np.arange(len(key)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
    hit = (rows.entry[row] == keys.entry[key]) & (rows.last[row] == keys.last[key])
    found = np.full(len(keys), -1, np.intp)
    found[key[hit]] = row[hit]
    return found


def _insert_positions(old: Rows, puts: Rows, dropped: Positions) -> Positions:
    """Before which row of `old`, less the dropped ones, each put belongs."""
    at = np.searchsorted(old.number, puts.number, "left")
    stop = np.searchsorted(old.number, puts.number, "right")
    # Rows of the same number are few: step over those that come first.
    for i in np.flatnonzero(stop > at):
        key = (puts.last[i], puts.entry[i])
        while at[i] < stop[i] and (old.last[at[i]], old.entry[at[i]]) < key:
            at[i] += 1
    return at - np.searchsorted(dropped, at, "left")


def _splice(old: Rows, dropped: Positions, puts: Rows, at: Positions) -> Rows:
    """The rows of `old` without the dropped ones, with each put before a row of what is left."""
    pieces = _pieces(len(old), dropped, at)

    def joined(column: NDArray[np.generic], new: NDArray[np.generic]) -> NDArray[Any]:
        sources = column, new
        return np.concatenate([sources[source][start:stop] for source, start, stop in pieces])

    def texts(column: Texts, new: Texts) -> Texts:
        # Mostly no text is new and none is gone, and the codes can stay as they are.
        place = {value: code for code, value in enumerate(column.values)}
        code = np.array([place.setdefault(value, len(place)) for value in new.values], np.uint32)[new.codes]
        narrow = code_type(len(place))
        return Texts.encode(joined(column.codes.astype(narrow, copy=False), code.astype(narrow)), list(place))

    columns: dict[str, Any] = {
        name: joined(getattr(old, name), getattr(puts, name)) for name in ("number", "entry", "since", "until")
    }
    columns |= {name: texts(getattr(old, name), getattr(puts, name)) for name in TEXT_COLUMNS}
    rows = Rows(last=columns["number"], **columns)
    return rows.with_last(joined(old.last, puts.last)) if old.has_ranges or puts.has_ranges else rows


def _pieces(count: int, dropped: Positions, at: Positions) -> list[tuple[int, int, int]]:
    """What to lay end to end: (0, start, stop) of the old rows, or (1, start, stop) of the new ones.

    One pass over the old rows then, where deleting and inserting would be two.
    """
    # Where each put goes among all old rows: before what is left of them, so behind those that are dropped there.
    before = at + np.searchsorted(dropped - np.arange(len(dropped)), at, "right")
    edits = [(place, 0, i) for i, place in enumerate(before.tolist())] + [(place, 1, 0) for place in dropped.tolist()]
    pieces: list[tuple[int, int, int]] = []
    start = 0
    for place, is_drop, i in sorted(edits):
        if place > start:
            pieces.append((0, start, place))
        if is_drop:
            start = place + 1
        else:
            start = max(start, place)
            pieces.append((1, i, i + 1))
    pieces.append((0, start, count))
    return pieces


def _match(old: Rows, new: Rows) -> tuple[Positions, Positions]:
    """Positions of the rows that are the same entry in both."""
    number = np.concatenate((old.number, new.number))
    # Two sorted runs: numpy's stable sort merges them in one pass, the old row before the new one of the same number.
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(ordered) else order
    size = np.diff(np.append(starts, len(ordered)))

    pair = starts[size == 2]
    left, right = order[pair], order[pair + 1] - len(old)
    across = (left < len(old)) & (right >= 0)
    left, right = left[across], right[across]
    same = (old.entry[left] == new.entry[right]) & (old.last[left] == new.last[right])
    left, right = left[same], right[same]

    # Numbers with several entries: few, so sorting them by entry costs little.
    many = order[np.repeat(size > 2, size)]
    from_old, from_new = many[many < len(old)], many[many >= len(old)] - len(old)
    keys = np.concatenate((from_old, from_new))
    entry = np.concatenate((old.entry[from_old], new.entry[from_new]))
    last = np.concatenate((old.last[from_old], new.last[from_new]))
    first = np.concatenate((old.number[from_old], new.number[from_new]))
    by_entry = np.lexsort((entry, last, first))
    entry, last, first = entry[by_entry], last[by_entry], first[by_entry]
    twin = np.flatnonzero((entry[1:] == entry[:-1]) & (last[1:] == last[:-1]) & (first[1:] == first[:-1]))
    return (
        np.concatenate((left, keys[by_entry[twin]])),
        np.concatenate((right, keys[by_entry[twin + 1]])),
    )


def _differing_texts(before: Texts, in_old: Positions, after: Texts, in_new: Positions) -> NDArray[np.bool_]:
    old_codes, new_codes = before.codes[in_old], after.codes[in_new]
    if before.values == after.values:
        return np.not_equal(old_codes, new_codes)
    place = {value: i for i, value in enumerate(before.values)}
    translate = np.array([place.get(value, len(place)) for value in after.values] or [0], np.uint32)
    return np.not_equal(old_codes, translate[new_codes])
