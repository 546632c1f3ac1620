"""Answers straight from the mapped files: whether a number is blocked, and the kinds of many numbers."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blocklist_sdk.recipient.cache.cells import (
    A,
    Homes,
    Kinds,
    cells_to_write,
    fill_cells,
    find_kinds,
    kind_finder,
    layered_kind_finder,
    numbers_in,
    write_cells,
)
from blocklist_sdk.recipient.cache.kinds import DAY_MS, UNDECIDED, UNLISTED, Found, KindTable, KindVerdicts
from blocklist_sdk.release.arrow_files import write_table
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.rows import Int64s, Rows, distinct
from blocklist_sdk.release.spans import places_of

if TYPE_CHECKING:
    from blocklist_sdk.recipient.cache.classify import Classified

CELLS, _SEGMENTS, _KINDS = "cells.arrow", "segments.arrow", "kinds.arrow"
ANSWER_FILES = CELLS, _SEGMENTS, _KINDS
_CHANGED_CELLS, _CHANGED_SEGMENTS, _CHANGED_KINDS = (
    "changed-cells.arrow",
    "changed-segments.arrow",
    "changed-kinds.arrow",
)
CHANGED_ANSWER_FILES = _CHANGED_CELLS, _CHANGED_SEGMENTS, _CHANGED_KINDS
_PRIME, _MULTIPLIER, _MASK, _FROM = b"modulus", b"multiplier", b"mask", b"from"

_IN_ROWS = Homes(prime=1)
"""Instead of homes: no table could be made that is quick, so every number is looked up in the rows."""

_IN_BASE = 0xFFFF
"""Instead of the kind of a number that no delta has touched since the base; no cell has room for it."""

_GROWTH = 2
"""The overlay's table has room for the numbers of the next deltas: it is made for one and a half times its numbers, and
is made again when there are twice as many."""


def write_answers(directory: Path, rows: Rows, *, published_ms: int, from_ms: int | None = None) -> None:
    """Write the files of the tables that `NumberLookup` reads; the largest is never in memory whole.

    The caller flushes them.

    Args:
        directory: where there are none of them.
        rows: the release's.
        published_ms: when it was published, in milliseconds since 1970 UTC.
        from_ms: the moment from which on the answers have to be right; None for the publication.

    Raises:
        OSError: the disk refused.
    """
    from blocklist_sdk.recipient.cache.classify import classify  # here, since look-ups do without it

    from_ms = published_ms if from_ms is None else min(from_ms, published_ms)
    found = classify(rows, published_ms, from_ms)
    if not write_cells(directory / CELLS, found.numbers, found.kinds, about=_about):
        write_table(_Cells(np.zeros(2, np.int64), _IN_ROWS).to_table(), directory / CELLS, is_flushed=False)
    segments = _segment_table(found.segment_first, found.segment_kinds)
    write_table(segments, directory / _SEGMENTS, is_flushed=False)
    write_table(_kind_table(found.table, from_ms), directory / _KINDS, is_flushed=False)


def answers_of(found: "Classified", table: tuple[Int64s, Homes] | None, *, published_ms: int) -> "NumberLookup":
    """The answers of a list whose numbers are classified, with their table; nothing is written.

    Args:
        found: the numbers, classified from the publication on.
        table: what has each number's kind, mapped or in memory; None to look all up in the rows.
        published_ms: when the release was published, in milliseconds since 1970 UTC.
    """
    cells = _Cells(np.zeros(2, np.int64), _IN_ROWS) if table is None else _Cells(*table)
    tables = {
        CELLS: cells.to_table(),
        _SEGMENTS: _segment_table(found.segment_first, found.segment_kinds),
        _KINDS: _kind_table(found.table, published_ms),
    }
    return NumberLookup(tables, published_ms=published_ms)


def _about(homes: Homes) -> dict[bytes, str]:
    return {_PRIME: str(homes.prime), _MULTIPLIER: str(homes.multiplier), _MASK: str(homes.mask)}


def _segment_table(first: Int64s, kinds: Kinds) -> pa.Table:
    return pa.table({"first": first, "kind": kinds})


def _kind_table(kinds: KindTable, from_ms: int) -> pa.Table:
    return kinds.to_table().replace_schema_metadata({_FROM: str(from_ms)})


@dataclass(frozen=True, slots=True)
class _Cells:
    """A table of numbers, and where each belongs in it."""

    cells: Int64s
    homes: Homes

    def to_table(self) -> pa.Table:
        """As it is kept on disk."""
        return pa.table({"cell": self.cells}).replace_schema_metadata(_about(self.homes))

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """What `to_table` wrote; a mapped table is not copied.

        Raises:
            ValueError: it has no end.
        """
        about = table.schema.metadata
        cells = table.column("cell").chunk(0).to_numpy(zero_copy_only=True)
        # Tables of before homes were secret go on answering; the next sync makes them again.
        homes = Homes(int(about[_PRIME]), int(about.get(_MULTIPLIER, 1)), int(about.get(_MASK, 0)))
        if not 0 < homes.prime < len(cells) or cells[-1]:
            raise ValueError("the table of numbers has no end")
        return cls(cells, homes)

    @classmethod
    def with_room(cls, numbers: Int64s, kinds: Kinds) -> Self | None:
        """A table of some numbers, with room for more; None if no draw gives a quick one."""
        filled = fill_cells(numbers, kinds, draw=lambda count: Homes.drawn_for(count + count // _GROWTH))
        return None if filled is None else cls(*filled)

    def with_kinds(self, numbers: Int64s, kinds: Kinds) -> Self | None:
        """The same table with the kinds of some numbers; made again where it has no room for them."""
        known = np.count_nonzero(self.cells)
        if _GROWTH * (known + len(numbers)) <= self.homes.prime:
            written = cells_to_write(self.cells, self.homes, numbers, kinds)
            if written is not None:
                cells = self.cells.copy()
                cells[written[0]] = written[1]
                return type(self)(cells, self.homes)
        before, their_kinds = numbers_in(self.cells)
        stays = ~np.isin(before, numbers)
        return self.with_room(
            np.concatenate((before[stays], numbers)), np.concatenate((their_kinds[stays], kinds)).astype(np.uint16)
        )


class NumberLookup:
    """Finds numbers in the memory-mapped tables of a generation.

    A table of the numbers that deltas touched since the base goes before the base's own, and answers for numbers that
    are gone as well.

    Attributes:
        published_ms: when the release was published, in milliseconds since 1970 UTC.
        from_ms: the moment from which on the kinds are right: the publication, or when the release was put in force
            here if that was earlier by this machine's clock.
    """

    def __init__(self, tables: Mapping[str, pa.Table], *, published_ms: int) -> None:
        """Takes the tables that `write_answers` wrote, those of `changed_tables` if there are any, and the same moment.

        Raises:
            KeyError, ValueError, pyarrow.ArrowException: the tables are not what these made.
        """
        self.published_ms = published_ms
        self._base = _Cells.from_table(tables[CELLS])
        self._changed = _Cells.from_table(tables[_CHANGED_CELLS]) if _CHANGED_CELLS in tables else None
        kinds = tables.get(_CHANGED_KINDS, tables[_KINDS])
        self._kinds = KindTable.from_table(kinds)
        self.from_ms: int = int((kinds.schema.metadata or {}).get(_FROM, published_ms))
        self._has_changed_segments = _CHANGED_SEGMENTS in tables
        segments = tables[_CHANGED_SEGMENTS if self._has_changed_segments else _SEGMENTS]
        self._first: Int64s = np.empty(0, np.int64)
        self._segment_kinds: Kinds = np.empty(0, np.uint16)
        if len(segments):
            self._first, self._segment_kinds = (
                segments.column(name).chunk(0).to_numpy(zero_copy_only=True) for name in ("first", "kind")
            )
        self._made: tuple[int, Callable[[int], bool | None]] | None = None
        self._level_finders: dict[str | None, tuple[int, Callable[[int], Found | None]]] = {}

    def changed_tables(
        self, layers: LayeredRows, changes: Difference, *, published_ms: int, from_ms: int, numbers_max: int
    ) -> dict[str, pa.Table] | None:
        """The tables of the overlay for the next release; None if its answers must be made from all its rows.

        Only what has changed is examined; with ranges, everything that has changed since the base. The kinds of other
        numbers stay valid: they are so from the earlier release on. A number that has lost its own entries is
        `UNLISTED`, or what the ranges around it say.

        Args:
            layers: the next release, with the same base.
            changes: how it differs from this one.
            published_ms: when the next release was published, in milliseconds since 1970 UTC.
            from_ms: the moment from which on its answers have to be right.
            numbers_max: how many numbers the table of the overlay may have.
        """
        from blocklist_sdk.recipient.cache.classify import classify  # here, since look-ups do without it

        if published_ms < self.published_ms or not self._base.homes.are_secret:
            return None
        changed = self._changed
        first, last = changes.numbers()
        is_ranged = layers.has_ranges or bool(len(self._first))
        is_range_touched = self._has_changed_segments or not np.array_equal(first, last)
        if is_ranged and changed is not None:
            # A range may say something else about numbers that earlier deltas touched.
            known, _ = numbers_in(changed.cells)
            first, last, changed = np.concatenate((first, known)), np.concatenate((last, known)), None
        if len(first) > numbers_max:
            return None
        part = layers.around(first, last) if is_ranged else layers.near(first, last)
        if len(part) > 2 * numbers_max:
            return None
        from_ms = max(self.from_ms, from_ms)
        found = classify(part, published_ms, min(from_ms, published_ms))
        kind_table, kind_of = self._kinds.extended(found.table)
        segments = self._first, self._segment_kinds
        if is_range_touched:
            segments = found.segment_first, kind_of[found.segment_kinds]
        own = distinct(first[first == last])
        gone = own[~places_of(own, found.numbers)[1]]
        numbers = np.concatenate((found.numbers, gone))
        kinds = np.concatenate((kind_of[found.kinds], _segment_kinds_of(gone, *segments)))
        cells = _Cells.with_room(numbers, kinds) if changed is None else changed.with_kinds(numbers, kinds)
        if cells is None or np.count_nonzero(cells.cells) > numbers_max:
            return None
        tables = {_CHANGED_CELLS: cells.to_table(), _CHANGED_KINDS: _kind_table(kind_table, from_ms)}
        return {**tables, _CHANGED_SEGMENTS: _segment_table(*segments)} if is_range_touched else tables

    def finder(self, day: int) -> Callable[[int], bool | None]:
        """A function that says whether a number is blocked on a day (counted from 1970 UTC), from `from_ms` on.

        It answers None if the rows have to be read, or if the integer is not an E.164 number.
        """
        made = self._made
        if made is None or made[0] != day:
            made = self._made = day, self._finder_of(self._kinds.answers(day), unlisted=False)
        return made[1]

    def level_finder(self, day: int, scope: str | None) -> Callable[[int], Found | None]:
        """The same for the level in force, for one scope or for all together."""
        made = self._level_finders.get(scope)
        if made is None or made[0] != day:
            made = day, self._finder_of(self._kinds.levels(day, scope), unlisted="")
            self._level_finders[scope] = made
        return made[1]

    def _finder_of(self, answers: list[A | None], *, unlisted: A) -> Callable[[int], A | None]:
        """A function that answers by the kind of a number."""
        base, changed = self._base, self._changed
        elsewhere: Callable[[int], A | None] | None = None
        if base.homes == _IN_ROWS:
            elsewhere = _undecided
        elif len(self._first):
            elsewhere = _segment_finder(self._first, self._segment_kinds, answers, unlisted=unlisted)
        if changed is None:
            return kind_finder(base.cells.data, base.homes, answers, elsewhere, unlisted=unlisted)
        return layered_kind_finder(
            changed.cells.data, changed.homes, base.cells.data, base.homes, answers, elsewhere, unlisted=unlisted
        )

    def kinds_of(self, numbers: Int64s) -> Kinds:
        """The kind of each of many numbers."""
        changed = self._changed
        if changed is None:
            return self._base_kinds_of(numbers)
        kinds = find_kinds(changed.cells, changed.homes, numbers, unlisted=_IN_BASE)
        rest = np.flatnonzero(kinds == _IN_BASE)
        kinds[rest] = self._base_kinds_of(numbers[rest])
        return kinds

    def _base_kinds_of(self, numbers: Int64s) -> Kinds:
        if self._base.homes == _IN_ROWS:
            return np.full(len(numbers), UNDECIDED, np.uint16)
        kinds = find_kinds(self._base.cells, self._base.homes, numbers, unlisted=UNLISTED)
        if len(self._first):
            rest = np.flatnonzero(kinds == UNLISTED)
            kinds[rest] = _segment_kinds_of(numbers[rest], self._first, self._segment_kinds)
        return kinds

    def in_ranges(self, numbers: Int64s) -> NDArray[np.bool_]:
        """Whether a range covers each of many numbers."""
        if not len(self._first):
            return np.zeros(len(numbers), np.bool_)
        at = np.searchsorted(self._first, numbers, "right") - 1
        covered: NDArray[np.bool_] = (at >= 0) & (self._segment_kinds[at] != UNLISTED)
        return covered

    def kind_verdicts(self, now_ms: int, scope: str | None, categories: tuple[str, ...]) -> KindVerdicts:
        """The answer for each kind at a moment, in milliseconds since 1970 UTC; see `KindTable.verdicts`."""
        day = now_ms // DAY_MS if now_ms >= self.from_ms else None
        return self._kinds.verdicts(day, scope, categories)


def _segment_kinds_of(numbers: Int64s, first: Int64s, kinds: Kinds) -> Kinds:
    """The kinds that ranges give to some numbers."""
    if not len(first):
        return np.full(len(numbers), UNLISTED, np.uint16)
    at = np.searchsorted(first, numbers, "right") - 1
    found: Kinds = np.where(at < 0, UNLISTED, kinds[at]).astype(np.uint16)
    return found


def _undecided(_: int) -> None:
    """The rows have to be read."""


def _segment_finder(first: Int64s, kinds: Kinds, answers: list[A | None], *, unlisted: A) -> Callable[[int], A | None]:
    starts, kind = first.data, kinds.data
    low, high = int(first[0]), int(first[-1])  # the last segment is a gap without an end

    def find(number: int) -> A | None:
        return answers[kind[bisect_right(starts, number) - 1]] if low <= number < high else unlisted

    return find
