"""How releases differ: `apply(old, difference(old, new).delta())`, of `layers`, gives `new`.

Everything here takes time and memory in proportion to the rows of its arguments, whatever they are: a position among
the entries of one number is found by halving, never by going through them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.release.ascending import Ascending
from blocklist_sdk.release.rows import (
    TEXT_COLUMNS,
    Int64s,
    Positions,
    Rows,
    Texts,
    code_type,
)

_PIECES_MAX: Final = 100_000
"""More edits than this are not laid out piece by piece: a piece takes hundreds of bytes in Python."""

_ROWS_PER_PIECE: Final = 100
"""With fewer rows for each edit than this, it is quicker to go row by row."""


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
    """How two releases differ; all rows in canonical order.

    Attributes:
        added: rows of the new one whose entry the old one does not have.
        removed: rows of the old one whose entry the new one does not have.
        changed_old, changed_new: rows of the same entry that differ, pairwise.
    """

    added: Rows
    removed: Rows
    changed_old: Rows
    changed_new: Rows

    @classmethod
    def none(cls) -> Self:
        """No difference."""
        empty = Rows.empty()
        return cls(empty, empty, empty, empty)

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed_new)

    def numbers(self) -> tuple[Int64s, Int64s]:
        """The first and the last number of each entry that differs, in any order, perhaps repeated."""
        parts = self.added, self.removed, self.changed_new
        return np.concatenate([part.number for part in parts]), np.concatenate([part.last for part in parts])

    def delta(self) -> Delta:
        """The delta that leads from the old release to the new one."""
        return Delta(puts=merged(self.added, self.changed_new), removes=keys_of(self.removed))


def difference(old: Rows, new: Rows) -> Difference:
    """Entries that were added, removed or changed, in time linear in the two releases."""
    if not len(old):
        empty = Rows.empty()
        return Difference(added=new, removed=empty, changed_old=empty, changed_new=empty)
    in_old, in_new = _match(old, new)
    is_added = np.ones(len(new), bool)
    is_added[in_new] = False
    is_removed = np.ones(len(old), bool)
    is_removed[in_old] = False
    at_old, at_new = _differing(old, in_old, new, in_new)
    # Entries of numbers that have several were matched after all the others.
    order = np.argsort(at_new)
    return Difference(
        added=new.take(np.flatnonzero(is_added)),
        removed=old.take(np.flatnonzero(is_removed)),
        changed_old=old.take(at_old[order]),
        changed_new=new.take(at_new[order]),
    )


def delta_between(old: Rows, new: Rows) -> Delta:
    """The delta that leads from one release to the next."""
    return difference(old, new).delta()


def merged(rows: Rows, others: Rows) -> Rows:
    """Two lists as one, in canonical order; no entry is in both."""
    if not len(others) or not len(rows):
        return rows if len(rows) else others
    return splice(rows, np.empty(0, np.intp), others, locate(rows, keys_of(others))[0])


def keys_of(rows: Rows) -> Removals:
    """What names the entries of rows."""
    return Removals(rows.number, rows.last, rows.entry)


def locate(rows: Rows, keys: Removals, numbers: Ascending | None = None) -> tuple[Positions, NDArray[np.bool_]]:
    """Before which row each key belongs, and whether that row is the key's own.

    Args:
        rows: where to look.
        keys: what to look for.
        numbers: the numbers of the rows; made if there are none.
    """
    low, high = (each.copy() for each in (numbers or Ascending(rows.number)).bounds(keys.number, keys.number))
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


def splice(old: Rows, dropped: Positions, puts: Rows, at: Positions) -> Rows:
    """The rows of `old` without the dropped ones, with each put before a row of what is left."""
    edits = len(dropped) + len(at)
    joining = _joining_pieces if edits * _ROWS_PER_PIECE <= len(old) and edits <= _PIECES_MAX else _joining_rows
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


def differing_pairs(old: Rows, new: Rows) -> NDArray[np.bool_]:
    """Which of some rows differ from those of the same entries before."""
    everywhere = np.arange(len(old))
    differs = np.zeros(len(old), np.bool_)
    differs[_differing(old, everywhere, new, everywhere)[0]] = True
    return differs


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
