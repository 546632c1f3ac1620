"""Answers straight from the mapped files: whether a number is blocked, and the kinds of many numbers."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blocklist_sdk.recipient.cache.cells import Homes, Kinds, cells_to_write, fill_cells, find_kinds, kind_finder
from blocklist_sdk.recipient.cache.kinds import DAY_MS, UNDECIDED, UNLISTED, KindTable, KindVerdicts
from blocklist_sdk.recipient.cache.ranges import range_rows
from blocklist_sdk.release.rows import Int64s, Rows

CELLS, _SEGMENTS, _KINDS = "cells.arrow", "segments.arrow", "kinds.arrow"
ANSWER_FILES = CELLS, _SEGMENTS, _KINDS
_PRIME, _MULTIPLIER, _MASK, _PATCHED, _FROM = b"modulus", b"multiplier", b"mask", b"patched", b"from"

_IN_ROWS = Homes(prime=1)
"""Instead of homes: no table could be made that is quick, so every number is looked up in the rows."""

_PATCHED_MAX = 1 / 10
"""Share of the rows that may be patched into a table of numbers; beyond it the table is made again.

So its load stays below 0.55, and few of its cells are of numbers that are gone or that the rows have to decide.
"""


@dataclass(frozen=True, slots=True)
class Touched:
    """The numbers about which one release may differ from the one before.

    Attributes:
        first, last: the first and last number of each entry that deltas put or remove; in any order, perhaps repeated.
    """

    first: Int64s
    last: Int64s


def answer_tables(rows: Rows, *, published_ms: int, from_ms: int | None = None) -> dict[str, pa.Table]:
    """The tables that `NumberLookup` reads, by file name.

    Args:
        rows: the release's.
        published_ms: when it was published, in milliseconds since 1970 UTC.
        from_ms: the moment from which on the answers have to be right; None for the publication.
    """
    from blocklist_sdk.recipient.cache.classify import classify  # here, since look-ups do without it

    from_ms = published_ms if from_ms is None else min(from_ms, published_ms)
    found = classify(rows, published_ms, from_ms)
    cells, homes = fill_cells(found.numbers, found.kinds) or (np.zeros(2, np.int64), _IN_ROWS)
    about = {_PRIME: str(homes.prime), _MULTIPLIER: str(homes.multiplier), _MASK: str(homes.mask)}
    table = pa.table({"cell": cells}).replace_schema_metadata(about)
    small = _small_tables(found.segment_first, found.segment_kinds, found.table, patched=0, from_ms=from_ms)
    return {CELLS: table, **small}


def _small_tables(
    first: Int64s, segment_kinds: Kinds, kinds: KindTable, *, patched: int, from_ms: int
) -> dict[str, pa.Table]:
    return {
        _SEGMENTS: pa.table({"first": first, "kind": segment_kinds}),
        _KINDS: kinds.to_table().replace_schema_metadata({_PATCHED: str(patched), _FROM: str(from_ms)}),
    }


@dataclass(frozen=True, slots=True)
class Patch:
    """The changes that turn a release's answers into the next release's.

    Attributes:
        tables: the small tables as they are from now on, by file name.
        at, cells: positions in a copy of the table of numbers, and the cells to write there.
    """

    tables: dict[str, pa.Table]
    at: Int64s
    cells: Int64s


class NumberLookup:
    """Finds numbers in the memory-mapped tables of a generation.

    Attributes:
        published_ms: when the release was published, in milliseconds since 1970 UTC.
        from_ms: the moment from which on the kinds are right: the publication, or when the release was put in force
            here if that was earlier by this machine's clock.
    """

    def __init__(self, tables: Mapping[str, pa.Table], *, published_ms: int) -> None:
        """Takes the tables of `answer_tables`, and the same moment.

        Raises:
            KeyError, ValueError, pyarrow.ArrowException: the tables are not what `answer_tables` made.
        """
        cells, segments = tables[CELLS], tables[_SEGMENTS]
        self.published_ms = published_ms
        self._cells: Int64s = cells.column("cell").chunk(0).to_numpy(zero_copy_only=True)
        about = cells.schema.metadata
        # Tables of before homes were secret go on answering; the next sync makes them again.
        self._homes = Homes(int(about[_PRIME]), int(about.get(_MULTIPLIER, 1)), int(about.get(_MASK, 0)))
        if not 0 < self._homes.prime < len(self._cells) or self._cells[-1]:
            raise ValueError("the table of numbers has no end")
        self._kinds = KindTable.from_table(tables[_KINDS])
        about_kinds = tables[_KINDS].schema.metadata or {}
        self._patched = int(about_kinds.get(_PATCHED, 0))
        self.from_ms: int = int(about_kinds.get(_FROM, published_ms))
        self._first: Int64s = np.empty(0, np.int64)
        self._segment_kinds: Kinds = np.empty(0, np.uint16)
        if len(segments):
            self._first, self._segment_kinds = (
                segments.column(name).chunk(0).to_numpy(zero_copy_only=True) for name in ("first", "kind")
            )
        self._made: tuple[int, Callable[[int], bool | None]] | None = None

    def patch(self, rows: Rows, touched: Touched, *, published_ms: int, from_ms: int | None = None) -> Patch | None:
        """The changes that give these tables the next release's answers; None if the tables must be made again.

        Only touched numbers are examined. A number that has lost its own entries keeps its cell, since the cells behind
        it are found across it; its kind becomes `UNLISTED`, or `UNDECIDED` if there are ranges. The kinds of other
        numbers stay valid: they are so from the earlier release on.
        """
        from blocklist_sdk.recipient.cache.classify import classify, count_up

        start = np.searchsorted(rows.number, touched.first, "left")
        size = np.searchsorted(rows.number, touched.last, "right") - start
        patched = self._patched + len(size) + int(size.sum())
        if (
            patched > _PATCHED_MAX * len(rows)
            or published_ms < self.published_ms
            or rows.has_ranges != bool(len(self._first))
            or not self._homes.are_secret
            or not {*self._kinds.category} <= {"", *rows.category.values}
        ):
            return None
        near = np.repeat(start, size) + count_up(size)
        from_ms = max(self.from_ms, published_ms if from_ms is None else from_ms)
        found = classify(rows.take(np.union1d(near, range_rows(rows))), published_ms, min(from_ms, published_ms))
        extended = self._kinds.extended(found.table)
        if extended is None:
            return None
        table, number_of = extended
        gone = np.setdiff1d(touched.first[touched.first == touched.last], found.numbers)
        kinds = np.concatenate((number_of[found.kinds], np.full(len(gone), UNDECIDED if rows.has_ranges else UNLISTED)))
        numbers = np.concatenate((found.numbers, gone))
        written = cells_to_write(self._cells, self._homes, numbers, kinds)
        if written is None:
            return None
        segment_kinds = number_of[found.segment_kinds]
        tables = _small_tables(found.segment_first, segment_kinds, table, patched=patched, from_ms=from_ms)
        return Patch(tables, *written)

    def finder(self, day: int) -> Callable[[int], bool | None]:
        """A function that says whether a number is blocked on a day (counted from 1970 UTC), from `from_ms` on.

        It answers None if the rows have to be read, or if the integer is not an E.164 number.
        """
        made = self._made
        if made is None or made[0] != day:
            answers = self._kinds.answers(day)
            elsewhere = _segment_finder(self._first, self._segment_kinds, answers) if len(self._first) else None
            if self._homes == _IN_ROWS:
                elsewhere = _undecided
            made = self._made = day, kind_finder(self._cells.data, self._homes, answers, elsewhere)
        return made[1]

    def kinds_of(self, numbers: Int64s) -> Kinds:
        """The kind of each of many numbers."""
        if self._homes == _IN_ROWS:
            return np.full(len(numbers), UNDECIDED, np.uint16)
        kinds = find_kinds(self._cells, self._homes, numbers, unlisted=UNLISTED)
        if len(self._first):
            rest = np.flatnonzero(kinds == UNLISTED)
            at = np.searchsorted(self._first, numbers[rest], "right") - 1
            kinds[rest] = np.where(at < 0, UNLISTED, self._segment_kinds[at])
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


def _undecided(_: int) -> None:
    """The rows have to be read."""


def _segment_finder(first: Int64s, kinds: Kinds, answers: list[bool | None]) -> Callable[[int], bool | None]:
    starts, kind = first.data, kinds.data
    low, high = int(first[0]), int(first[-1])  # the last segment is a gap without an end

    def find(number: int) -> bool | None:
        return low <= number < high and answers[kind[bisect_right(starts, number) - 1]]

    return find
