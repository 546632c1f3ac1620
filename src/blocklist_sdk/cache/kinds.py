"""What can be said of a number for days at a time, without a look at its rows.

Most numbers stand on a list once. What such numbers have in common is a *kind*: level, category, scope, the day up to
which the entry surely is in force, and the day from which it surely no longer is. There are a few thousand kinds on a
list of millions, so a number's kind takes two bytes; a look-up reads it, and asks the rows only where it leaves the
answer open. A kind never answers otherwise than the rows would: where that is not certain, it says `LOOK`.

Days are counted from 1970 UTC. What a kind says holds from the release's publication on; before that, on a machine
whose clock is late, all kinds mean `LOOK`.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blocklist_sdk.cache.cells import KINDS_MAX, Kinds
from blocklist_sdk.cache.ranges import Positions, segments
from blocklist_sdk.records import Level, Reason
from blocklist_sdk.release.rows import Int64s, Rows

_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

LOOK: Final = 0
"""Only the rows can tell."""

UNLISTED: Final = 1
"""No entry covers it."""

_FIRST: Final = 2

MIXED: Final = ""
"""In place of a scope: there are several entries, of which one decides for every scope together."""

DAY_MS: Final = 86_400_000

_DAYS_MAX: Final = 4096
"""Kinds tell ends apart for eleven years from the publication; what ends later or never is sure until then."""

_NEVER: Final = np.iinfo(np.int64).max

_LEVELS_MAX, _CATEGORIES_MAX, _SCOPES_MAX = 8, 256, 32
"""Numbers with more unusual texts are looked up in the rows."""

_KEYS_MAX: Final = 1 << 24
"""Combinations of day, level, category and scope that are told apart while kinds are counted."""

_DAYS_COARSEST: Final = 64
"""Days are lumped together where kinds would be too many, up to this many; beyond, the rarest kinds are left out."""

_ALL_DEAD: Final = -1
_UNCERTAIN: Final = -2
"""In place of a deciding row."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What each kind says at one moment, as columns.

    Attributes:
        is_open: whether only the rows can tell.
        level: positions in `LEVELS`, -1 for none.
        category: positions among the release's categories, -1 for none.
        reason: positions in `REASONS`.
    """

    is_open: NDArray[np.bool_]
    level: NDArray[np.int8]
    category: NDArray[np.int32]
    reason: NDArray[np.int8]


LEVELS: Final[tuple[Level, ...]] = ("block", "advisory")
REASONS: Final[tuple[Reason, ...]] = ("listed", "advisory", "expired", "not-yet", "not-listed")


@dataclass(frozen=True, slots=True)
class KindTable:
    """The kinds of one generation, by number; the first two are `LOOK` and `UNLISTED`.

    Attributes:
        sure_until: the entry is in force before this day.
        gone_from: the entry has ended from this day on.
        level, category, scope: of the entry.
    """

    sure_until: Int64s
    gone_from: Int64s
    level: tuple[str, ...]
    category: tuple[str, ...]
    scope: tuple[str, ...]

    def to_table(self) -> pa.Table:
        """As it is kept on disk."""
        return pa.table(
            {
                "sure_until": self.sure_until,
                "gone_from": self.gone_from,
                "level": pa.array(self.level, _TEXT),
                "category": pa.array(self.category, _TEXT),
                "scope": pa.array(self.scope, _TEXT),
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Back again."""
        return cls(
            np.asarray(table.column("sure_until")),
            np.asarray(table.column("gone_from")),
            *(_shared_texts(table.column(name).combine_chunks()) for name in ("level", "category", "scope")),
        )

    def answers(self, day: int) -> list[bool | None]:
        """Whether numbers of each kind are blocked on a day, for any scope; None where only the rows can tell."""
        answers: list[bool | None] = [None, False]
        sure, gone = (day < self.sure_until).tolist(), (day >= self.gone_from).tolist()
        for i in range(_FIRST, len(self.level)):
            if sure[i]:
                answers.append(self.level[i] == "block")
            else:
                answers.append(False if gone[i] and self.scope[i] != MIXED else None)
        # One for every kind that a cell can hold, also where a bit of it has flipped.
        return answers + [None] * (KINDS_MAX - len(answers))

    def outcomes(self, day: int | None, scope: str | None, categories: tuple[str, ...]) -> Outcomes:
        """What the kinds say on a day, for one scope or for all together.

        Args:
            day: counted from 1970 UTC; None for a day before the publication.
            scope: one scope, None for all.
            categories: every category of the release.
        """
        place = {category: i for i, category in enumerate(categories)}
        count = len(self.level)
        is_open = np.zeros(count, np.bool_)
        level = np.full(count, -1, np.int8)
        category = np.full(count, -1, np.int32)
        reason = np.full(count, REASONS.index("not-listed"), np.int8)
        is_open[LOOK] = True
        if day is None:
            is_open[_FIRST:] = True
            return Outcomes(is_open, level, category, reason)
        sure, gone = (day < self.sure_until).tolist(), (day >= self.gone_from).tolist()
        for i in range(_FIRST, count):
            if scope is not None and self.scope[i] == MIXED:
                is_open[i] = True
            elif scope is not None and scope not in self.scope[i].split("+"):
                pass
            elif sure[i]:
                blocks = self.level[i] == "block"
                level[i] = LEVELS.index("block" if blocks else "advisory")
                reason[i] = REASONS.index("listed" if blocks else "advisory")
                category[i] = place[self.category[i]]
            elif gone[i] and self.scope[i] != MIXED:
                reason[i] = REASONS.index("expired")
            else:
                is_open[i] = True
        return Outcomes(is_open, level, category, reason)


def _shared_texts(column: pa.DictionaryArray) -> tuple[str, ...]:
    """A column as texts, each distinct one once in memory."""
    values = column.dictionary.to_pylist()
    return tuple(values[i] for i in column.indices.to_pylist())


@dataclass(frozen=True, slots=True)
class Classified:
    """Every number and segment of a release with its kind.

    Attributes:
        table: the kinds.
        numbers, kinds: the distinct numbers that have an entry of their own, ascending.
        segment_first, segment_kinds: where ranges cover: each segment's first number, up to the next one's.
    """

    table: KindTable
    numbers: Int64s
    kinds: Kinds
    segment_first: Int64s
    segment_kinds: Kinds


def classify(rows: Rows, published_ms: int) -> Classified:
    """Find the kind of every number.

    Args:
        rows: the release, in canonical order.
        published_ms: when it was published, in milliseconds since 1970 UTC.
    """
    order = _Order(rows, published_ms)
    single = np.flatnonzero(rows.last == rows.number) if rows.has_ranges else np.arange(len(rows))
    number = rows.number[single]
    starts = np.flatnonzero(np.diff(number, prepend=0))
    size = np.diff(np.append(starts, len(number)))
    alone, is_mixed = single[starts], size > 1
    deciding = order.deciding_alone(alone)
    # Numbers with several entries: few, so taking each apart costs little.
    members = np.repeat(starts[is_mixed], size[is_mixed]) + _count_up(size[is_mixed])
    deciding[is_mixed] = order.deciding(single[members], size[is_mixed])

    first, covering = segments(rows)
    depth = np.array([len(each) if each is not None else _TOO_DEEP for each in covering], np.int64)
    covered = np.array([row for each in covering if each for row in each], np.int64)
    segment = np.full(len(first), _UNCERTAIN, np.int64)
    segment[depth > 0] = order.deciding(covered, depth[depth > 0])
    segment_alone = np.full(len(first), _UNCERTAIN, np.int64)
    segment_alone[depth > 0] = covered[np.cumsum(depth[depth > 0]) - depth[depth > 0]]

    if len(first):
        # A number of its own that a range covers as well: whichever of the two goes first decides.
        at = np.searchsorted(first, number[starts], "right") - 1
        inside = np.flatnonzero((at >= 0) & (depth[at] != 0))
        deciding[inside] = order.first_of(deciding[inside], segment[at[inside]])
        is_mixed[inside] = True

    deciding = np.concatenate((deciding, segment))
    is_mixed = np.concatenate((is_mixed, depth != 1))
    # One entry that has ended says all there is to say; of several, a question about one scope needs the rows.
    is_over = (deciding == _ALL_DEAD) & ~is_mixed
    deciding[is_over] = np.concatenate((alone, segment_alone))[is_over]
    kinds, table = _number_kinds(rows, deciding, is_mixed, published_ms // DAY_MS)
    kinds[len(alone) :][depth == 0] = UNLISTED
    return Classified(table, number[starts], kinds[: len(alone)], first, kinds[len(alone) :])


_TOO_DEEP: Final = -1


def _count_up(sizes: Positions) -> Positions:
    """0, 1, … for each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes)


_LIVE, _FUTURE, _DEAD = 0, 1, 2


class _Order:
    """Which of several rows decides, from the publication on; see `blocklist_sdk.verdicts.deciding`."""

    def __init__(self, rows: Rows, published_ms: int) -> None:
        self._rows = rows
        self._published_ms = published_ms
        block = rows.level.values.index("block") if "block" in rows.level.values else -1
        self._does_not_block = rows.level.codes != block

    def state(self, row: Positions) -> NDArray[np.int8]:
        """Whether each row is in force at publication, begins later, or has ended for good."""
        since, until = self._rows.since[row], self._rows.until[row]
        return np.where(
            until <= self._published_ms, _DEAD, np.where(since > self._published_ms, _FUTURE, _LIVE)
        ).astype(np.int8)

    def deciding_alone(self, row: Positions) -> Positions:
        """The deciding row of numbers that have one only."""
        state = self.state(row)
        return np.where(state == _LIVE, row, np.where(state == _DEAD, _ALL_DEAD, _UNCERTAIN))

    def deciding(self, row: Positions, sizes: Positions) -> Positions:
        """The deciding row of each group of rows; groups lie one after the other."""
        group = np.repeat(np.arange(len(sizes)), sizes)
        state, does_not_block = self.state(row), self._does_not_block[row]
        order = np.lexsort((self._rows.entry[row], self._rows.since[row], does_not_block, state, group))
        best = order[np.cumsum(sizes) - sizes] if len(sizes) else order
        # What begins later is displaced by nothing that is in force, unless it blocks and that does not.
        overtakes = np.zeros(len(sizes), np.bool_)
        overtakes[group[(state == _FUTURE) & ~does_not_block]] = True
        overtakes &= does_not_block[best]
        found = np.where(state[best] == _LIVE, row[best], np.where(state[best] == _DEAD, _ALL_DEAD, _UNCERTAIN))
        return np.where(overtakes, _UNCERTAIN, found)

    def first_of(self, one: Positions, other: Positions) -> Positions:
        """Of two deciding rows, pair by pair, the one that goes first."""
        rank = [(self._does_not_block[each], self._rows.since[each], self._rows.entry[each]) for each in (one, other)]
        other_first = np.zeros(len(one), np.bool_)
        tied = np.ones(len(one), np.bool_)
        for mine, its in zip(*rank, strict=True):
            other_first |= tied & (its < mine)
            tied &= its == mine
        found = np.where(other_first, other, one)
        found = np.where(one == _ALL_DEAD, other, np.where(other == _ALL_DEAD, one, found))
        return np.where((one == _UNCERTAIN) | (other == _UNCERTAIN), _UNCERTAIN, found)


def _number_kinds(rows: Rows, deciding: Positions, is_mixed: NDArray[np.bool_], base: int) -> tuple[Kinds, KindTable]:
    """Give each deciding row its kind, and each kind its number.

    Days are told apart as finely as the number of kinds allows.
    """
    kinds = np.full(len(deciding), LOOK, np.uint16)
    is_usual = deciding >= 0
    for texts, most in ((rows.level, _LEVELS_MAX), (rows.category, _CATEGORIES_MAX), (rows.scope, _SCOPES_MAX)):
        if len(texts.values) > most:
            is_usual[is_usual] = texts.codes[deciding[is_usual]] < most
    row = deciding[is_usual]
    categories, scopes = min(len(rows.category.values), _CATEGORIES_MAX), (MIXED, *rows.scope.values[:_SCOPES_MAX])
    width = min(len(rows.level.values), _LEVELS_MAX) * categories * len(scopes)
    rest = rows.level.codes[row].astype(np.int64) * categories + rows.category.codes[row]
    rest = rest * len(scopes) + np.where(is_mixed[is_usual], 0, rows.scope.codes[row].astype(np.int64) + 1)
    until = np.clip(rows.until[row], base * DAY_MS, (base + _DAYS_MAX) * DAY_MS)

    coarse = 1
    while True:
        # Twice the day, and one more where the entry ends within it rather than at its beginning.
        day, into_it = np.divmod(until, coarse * DAY_MS)
        key = (2 * (day - base // coarse) + (into_it > 0)) * width + rest
        fits = not len(key) or int(key.max()) < _KEYS_MAX
        counts = np.bincount(key) if fits else None
        used = np.flatnonzero(counts) if counts is not None else None
        if used is not None and (len(used) <= KINDS_MAX - _FIRST or coarse >= _DAYS_COARSEST):
            break
        coarse *= 2
    assert counts is not None
    if len(used) > KINDS_MAX - _FIRST:
        used = np.sort(np.argsort(counts)[-(KINDS_MAX - _FIRST) :])
    number = np.full(len(counts), LOOK, np.uint16)
    number[used] = np.arange(_FIRST, _FIRST + len(used))
    kinds[is_usual] = number[key]

    place, rest_of = np.divmod(used, width)
    level, rest_of = np.divmod(rest_of, categories * len(scopes))
    category, scope = np.divmod(rest_of, len(scopes))
    sure = (place // 2 + base // coarse) * coarse
    gone = np.where(sure + coarse > base + _DAYS_MAX, _NEVER, sure + place % 2 * coarse)
    return kinds, KindTable(
        sure_until=np.concatenate(([0, 0], sure)).astype(np.int64),
        gone_from=np.concatenate(([0, 0], gone)).astype(np.int64),
        level=("", "", *(rows.level.values[i] for i in level.tolist())),
        category=("", "", *(rows.category.values[i] for i in category.tolist())),
        scope=("", "", *(scopes[i] for i in scope.tolist())),
    )
