"""How releases differ, and how a difference is applied: `apply(old, difference(old, new))` is `new`.

Everything here takes time and memory in proportion to the rows of its arguments, whatever they are: a position among
the entries of one number is found by halving, never by going through them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.limits import check_overlaps
from blocklist_sdk.release.rows import (
    TEXT_COLUMNS,
    Int64s,
    Positions,
    Rows,
    Texts,
    code_type,
    concatenated,
)

_PIECES_MAX: Final = 100_000
"""More edits than this are not laid out piece by piece: a piece takes hundreds of bytes in Python."""


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
    """The release after `old`, and what changed: the `difference` of the two.

    Raises:
        Malformed: the delta removes an entry that `old` does not have, or does not fit `old` in another way; or the
            release is beyond the protocol's limits.
    """
    gone, is_gone = _locate(old, delta.removes)
    if not is_gone.all():
        raise Malformed("the delta removes an entry that the release before it does not have")
    at, is_there = _locate(old, _keys(delta.puts))
    replaced = at[is_there]

    dropped = np.sort(np.concatenate((gone, replaced)))
    if bool((np.diff(dropped) == 0).any()):
        raise Malformed("the delta names an entry twice")
    target = at - np.searchsorted(dropped, at, "left")
    new = _splice(old, dropped, delta.puts, target)
    if len(delta.puts):
        check_overlaps(new.number, new.last)
    landed = target + np.arange(len(target))
    changed_old, changed_new = _differing(old, replaced, new, landed[is_there])
    return new, Difference(added=landed[~is_there], removed=gone, changed_old=changed_old, changed_new=changed_new)


def apply_all(old: Rows, deltas: Sequence[Delta]) -> tuple[Rows, Difference]:
    """The release after `old` and several deltas, one after the other, and the `difference` of the two.

    The deltas are made one first, so that the rows of `old` are gone through once, however many there are.

    Raises:
        Malformed: as `apply` for each of the deltas; but of the releases in between no limits are checked.
    """
    if len(deltas) == 1:
        return apply(old, deltas[0])
    delta = _combined(old, [delta for delta in deltas if len(delta)])
    if not len(delta):
        none = np.empty(0, np.intp)
        return old, Difference(added=none, removed=none, changed_old=none, changed_new=none)
    return apply(old, delta)


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
    changed_old, changed_new = _differing(old, in_old, new, in_new)
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


def _keys(rows: Rows) -> Removals:
    return Removals(rows.number, rows.last, rows.entry)


def _locate(rows: Rows, keys: Removals) -> tuple[Positions, NDArray[np.bool_]]:
    """Before which row each key belongs, and whether that row is the key's own."""
    low = np.searchsorted(rows.number, keys.number, "left")
    high = np.searchsorted(rows.number, keys.number, "right")
    # Halve what is left of a number's rows, for all keys at once.
    going = np.flatnonzero(low < high)
    while len(going):
        middle = (low[going] + high[going]) // 2
        last, entry = rows.last[middle], rows.entry[middle]
        key_last, key_entry = keys.last[going], keys.entry[going]
        is_before = (last < key_last) | ((last == key_last) & (entry < key_entry))
        low[going[is_before]] = middle[is_before] + 1
        high[going[~is_before]] = middle[~is_before]
        going = going[low[going] < high[going]]
    found = np.zeros(len(keys), np.bool_)
    inside = np.flatnonzero(low < len(rows))
    row = low[inside]
    found[inside] = (
        (rows.number[row] == keys.number[inside])
        & (rows.last[row] == keys.last[inside])
        & (rows.entry[row] == keys.entry[inside])
    )
    return low, found


def _combined(old: Rows, deltas: Sequence[Delta]) -> Delta:
    """The one delta that leads from `old` to where the deltas lead, one after the other.

    Raises:
        Malformed: one of them does not fit the release before it.
    """
    if not deltas:
        return Delta(Rows.empty(), _keys(Rows.empty()))
    puts = concatenated([delta.puts for delta in deltas])
    parts = [_keys(puts), *(delta.removes for delta in deltas)]
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
    _, is_there = _locate(old, Removals(number[starts], last[starts], entry[starts]))
    # An entry that is removed must be there: since the release, or put by the delta before that named it.
    was_there = np.append(True, is_put[:-1])
    was_there[starts] = is_there
    if not (is_put | was_there).all():
        raise Malformed("the delta removes an entry that the release before it does not have")
    stays = ends[is_put[ends]]
    goes = ends[~is_put[ends] & is_there]
    return Delta(puts.take(order[stays]), Removals(number[goes], last[goes], entry[goes]))


def _splice(old: Rows, dropped: Positions, puts: Rows, at: Positions) -> Rows:
    """The rows of `old` without the dropped ones, with each put before a row of what is left."""
    joining = _joining_pieces if len(dropped) + len(at) <= _PIECES_MAX else _joining_rows
    joined = joining(len(old), dropped, at)

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


Joining = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""Makes a column of the new release from the old one's and the one of the puts."""


def _joining_pieces(count: int, dropped: Positions, at: Positions) -> Joining:
    """For few edits: what lies between them is copied as it is."""
    pieces = _pieces(count, dropped, at)

    def joined(column: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        sources = column, new
        return np.concatenate([sources[source][start:stop] for source, start, stop in pieces])

    return joined


def _joining_rows(count: int, dropped: Positions, at: Positions) -> Joining:
    """For many edits: row by row."""
    stays = np.ones(count, np.bool_)
    stays[dropped] = False
    landed = at + np.arange(len(at))
    is_old = np.ones(count - len(dropped) + len(at), np.bool_)
    is_old[landed] = False

    def joined(column: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        both = np.empty(len(is_old), column.dtype)
        both[is_old] = column[stays]
        both[landed] = new
        return both

    return joined


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


def _differing(old: Rows, in_old: Positions, new: Rows, in_new: Positions) -> tuple[Positions, Positions]:
    """Those of some pairs of rows of the same entry that differ."""
    differs = np.zeros(len(in_old), bool)
    for name in ("since", "until"):
        differs |= getattr(old, name)[in_old] != getattr(new, name)[in_new]
    for name in TEXT_COLUMNS:
        differs |= _differing_texts(getattr(old, name), in_old, getattr(new, name), in_new)
    return in_old[differs], in_new[differs]


def _differing_texts(before: Texts, in_old: Positions, after: Texts, in_new: Positions) -> NDArray[np.bool_]:
    old_codes, new_codes = before.codes[in_old], after.codes[in_new]
    if before.values == after.values:
        return np.not_equal(old_codes, new_codes)
    place = {value: i for i, value in enumerate(before.values)}
    translate = np.array([place.get(value, len(place)) for value in after.values] or [0], np.uint32)
    return np.not_equal(old_codes, translate[new_codes])
