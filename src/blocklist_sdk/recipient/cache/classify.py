"""Finds the kind of every number of a release; `blocklist_sdk.recipient.cache.kinds` says what a kind is."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.recipient.cache.cells import KINDS_MAX, Kinds
from blocklist_sdk.recipient.cache.kinds import DAY_MS, FIRST_KIND, MIXED, UNDECIDED, UNLISTED, KindTable
from blocklist_sdk.recipient.cache.ranges import covering, segments
from blocklist_sdk.release.rows import Int64s, Positions, Rows

_DAYS_MAX: Final = 4096
"""Entries that end more than eleven years later share their kinds with those that never end."""

_NEVER: Final = np.iinfo(np.int64).max

_LEVELS_MAX, _CATEGORIES_MAX, _SCOPES_MAX = 8, 256, 32
"""Only the first levels, categories and scopes get kinds; numbers with others are looked up in the rows."""

_KEYS_MAX: Final = 1 << 20
"""Combinations of day, level, category and scope that are counted separately."""

_DAYS_COARSEST: Final = 64
"""If there are too many kinds, so many days at most count as one; if there still are, the rarest kinds are dropped."""

_SPARE: Final = 1 << 10
"""Kinds that are left for what deltas bring until the base is made anew."""

_ROWS_AT_A_TIME: Final = 1 << 17
"""A few columns of this many rows fit in a processor's cache."""

_KEYS_AT_A_TIME: Final = 1 << 20
"""numpy counts in 64-bit integers, so that all keys at once would take twice their memory."""

_WORKERS: Final = 2
"""numpy releases the interpreter lock, so parts of a list are worked on side by side."""

_ALL_DEAD: Final = -1
"""Instead of the position of a deciding row: all rows have ended."""

_UNCERTAIN: Final = -2
"""The same: another row may decide later, or too many ranges lie over each other."""

Keys = NDArray[np.int32]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Classified:
    """Every number and segment of a release with its kind.

    Attributes:
        table: the kinds.
        numbers, kinds: the distinct numbers that have an entry of their own, ascending, and their kinds.
        segment_first, segment_kinds: first numbers of the segments that ranges cut, ascending, and their kinds.
    """

    table: KindTable
    numbers: Int64s
    kinds: Kinds
    segment_first: Int64s
    segment_kinds: Kinds


def classify(rows: Rows, published_ms: int, from_ms: int) -> Classified:
    """Find the kind of every number.

    Args:
        rows: the release's.
        published_ms: when it was published, in milliseconds since 1970 UTC; what begins no later has begun.
        from_ms: the moment from which on the kinds have to be right, at most the publication.
    """
    order, keys = _Order(rows, published_ms, from_ms), _Keys(rows, published_ms, from_ms)
    single = np.flatnonzero(rows.last == rows.number) if rows.has_ranges else None
    number = rows.number if single is None else rows.number[single]
    key = keys.of_each(single)

    # Few numbers have several entries, so handling them one by one costs little.
    again = np.flatnonzero(number[1:] == number[:-1]) + 1
    begins = np.flatnonzero(np.diff(again, prepend=-1) > 1)
    head, size = again[begins] - 1, np.diff(begins, append=len(again)) + 1
    members = np.repeat(head, size) + count_up(size)
    deciding = order.deciding(members if single is None else single[members], size)
    several = head - np.searchsorted(again, head)
    number, key = _without(number, again), _without(key, again)
    key[several] = keys.of_deciding(deciding)

    first, depth = segments(rows)
    segment, only = (np.full(len(first), _UNCERTAIN, np.int64) for _ in range(2))
    for at, row in covering(rows, first, depth):
        segment[at] = order.deciding(row, depth[at])
        is_only = depth[at] == 1
        only[at[is_only]] = row[(np.cumsum(depth[at]) - 1)[is_only]]
    segment_key = keys.of_deciding(segment)
    segment_key[depth == 1] = keys.of(only[depth == 1])

    if single is not None:
        # A number of its own that a range covers as well: whichever of the two goes first decides.
        left_out = again - np.arange(len(again))
        for start in range(0, len(number), _ROWS_AT_A_TIME):
            at = np.searchsorted(first, number[start : start + _ROWS_AT_A_TIME], "right") - 1
            inside = np.flatnonzero((at >= 0) & (depth[at] != 0))
            around, inside = segment[at[inside]], start + inside
            own = order.deciding_alone(single[inside + np.searchsorted(left_out, inside, "right")])
            place = np.searchsorted(several, inside)
            has_several = several.take(place, mode="clip") == inside if len(several) else np.zeros(len(own), np.bool_)
            own[has_several] = deciding[place[has_several]]
            key[inside] = keys.of_deciding(order.first_of(own, around))

    kind_of, table = keys.number(keys.counts(key) + keys.counts(segment_key))
    segment_kinds = kind_of[segment_key]
    segment_kinds[depth == 0] = UNLISTED
    return Classified(table, number, kind_of[key], first, segment_kinds)


def _without(values: NDArray[T], at: Positions) -> NDArray[T]:
    return np.delete(values, at) if len(at) else values


def count_up(sizes: Positions) -> Positions:
    """The numbers from 0 to each size less one, one run after the other."""
    ends = np.cumsum(sizes)
    return np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes)


_LIVE, _FUTURE, _DEAD = 0, 1, 2


class _Order:
    """Finds which of several rows decides, from a moment on.

    The rule is also written in `recipient/verdicts.py`, `cache/kinds.py`, `cache/covering.py` and
    `screening/columns.py`; `tests/recipient/test_deciding_entry.py` holds all five together.
    """

    def __init__(self, rows: Rows, published_ms: int, from_ms: int) -> None:
        self._rows = rows
        self._published_ms = published_ms
        self._from_ms = from_ms
        self._block = rows.level.values.index("block") if "block" in rows.level.values else -1

    def deciding_alone(self, row: Positions) -> Positions:
        """The deciding row of numbers that have a single row."""
        state = self._state(row)
        return np.where(state == _LIVE, row, np.where(state == _DEAD, _ALL_DEAD, _UNCERTAIN))

    def deciding(self, row: Positions, sizes: Positions) -> Positions:
        """The deciding row of each group of rows; the groups follow one another."""
        group = np.repeat(np.arange(len(sizes)), sizes)
        state, does_not_block = self._state(row), self._does_not_block(row)
        order = np.lexsort((self._rows.entry[row], self._rows.since[row], does_not_block, state, group))
        best = order[np.cumsum(sizes) - sizes] if len(sizes) else order
        # A row that begins later decides from then on only if it blocks and the best one so far does not.
        overtakes = np.zeros(len(sizes), np.bool_)
        overtakes[group[(state == _FUTURE) & ~does_not_block]] = True
        overtakes &= does_not_block[best]
        found = np.where(state[best] == _LIVE, row[best], np.where(state[best] == _DEAD, _ALL_DEAD, _UNCERTAIN))
        return np.where(overtakes, _UNCERTAIN, found)

    def first_of(self, one: Positions, other: Positions) -> Positions:
        """The one of each pair of deciding rows that goes before the other."""
        rank = [(self._does_not_block(each), self._rows.since[each], self._rows.entry[each]) for each in (one, other)]
        other_first = np.zeros(len(one), np.bool_)
        tied = np.ones(len(one), np.bool_)
        for mine, its in zip(*rank, strict=True):
            other_first |= tied & (its < mine)
            tied &= its == mine
        found = np.where(other_first, other, one)
        found = np.where(one == _ALL_DEAD, other, np.where(other == _ALL_DEAD, one, found))
        return np.where((one == _UNCERTAIN) | (other == _UNCERTAIN), _UNCERTAIN, found)

    def _state(self, row: Positions) -> NDArray[np.int64]:
        """Whether each row is in force from that moment on, begins later, or has ended for good."""
        since, until = self._rows.since[row], self._rows.until[row]
        return np.where(until <= self._from_ms, _DEAD, np.where(since > self._published_ms, _FUTURE, _LIVE))

    def _does_not_block(self, row: Positions) -> NDArray[np.bool_]:
        return np.not_equal(self._rows.level.codes[row], self._block)


class _Keys:
    """Gives each row a key made of the same parts as its kind: the day on which it ends, level, category, scope.

    Attributes:
        count: how many keys there are; the last one is for rows whose kind is `UNDECIDED`.
    """

    def __init__(self, rows: Rows, published_ms: int, from_ms: int) -> None:
        self._rows = rows
        self._published_ms = published_ms
        self._from_ms = from_ms
        self._base = from_ms // DAY_MS
        self._scopes = (MIXED, *rows.scope.values[:_SCOPES_MAX])
        self._categories = max(1, min(len(rows.category.values), _CATEGORIES_MAX))
        self._width = max(1, min(len(rows.level.values), _LEVELS_MAX)) * self._categories * len(self._scopes)
        self._coarse = 1
        while self._key_count() > _KEYS_MAX:
            self._coarse *= 2
        self.count = self._key_count() + 1

    def _key_count(self) -> int:
        return 2 * (_DAYS_MAX // self._coarse + 1) * self._width

    def of_each(self, row: Positions | None) -> Keys:
        """The keys of rows (None: of all) that are their numbers' only ones; worked out in parts."""
        key = np.empty(len(self._rows if row is None else row), np.int32)

        def fill(start: int) -> None:
            part = slice(start, start + _ROWS_AT_A_TIME)
            key[part] = self.of(part if row is None else row[part])

        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(fill, range(0, len(key), _ROWS_AT_A_TIME)))
        return key

    def counts(self, keys: Keys) -> Int64s:
        """How often each key occurs."""
        counts = np.zeros(self.count, np.int64)
        for start in range(0, len(keys), _KEYS_AT_A_TIME):
            counts += np.bincount(keys[start : start + _KEYS_AT_A_TIME], minlength=self.count)
        return counts

    def of(self, row: Positions | slice) -> Keys:
        """The keys of rows that are their numbers' only ones."""
        rows, last = self._rows, self.count - 1
        until = rows.until[row]
        key = self._ends(until) + self._texts(row)
        key += rows.scope.codes[row].astype(np.int32) + np.int32(1)
        key[(rows.since[row] > self._published_ms) & (until > self._from_ms)] = last
        return self._only_usual(key, row)

    def of_deciding(self, deciding: Positions) -> Keys:
        """The keys of rows that decide for a number with several."""
        key = np.full(len(deciding), self.count - 1, np.int32)
        is_row = deciding >= 0
        row = deciding[is_row]
        key[is_row] = self._only_usual(self._ends(self._rows.until[row]) + self._texts(row), row)
        return key

    def _ends(self, until: Int64s) -> Keys:
        day = until // DAY_MS
        after = np.clip(day - self._base, 0, _DAYS_MAX).astype(np.int32)
        # Twice the day, plus one if the entry ends within it rather than at its beginning.
        within = (day * DAY_MS != until) & (day >= self._base)
        if self._coarse > 1:
            within |= after % self._coarse != 0
            after //= np.int32(self._coarse)
        ends: Keys = (2 * after + within) * np.int32(self._width)
        return ends

    def _texts(self, row: Positions | slice) -> Keys:
        level, category = (codes[row].astype(np.int32) for codes in (self._rows.level.codes, self._rows.category.codes))
        texts: Keys = (level * np.int32(self._categories) + category) * np.int32(len(self._scopes))
        return texts

    def _only_usual(self, key: Keys, row: Positions | slice) -> Keys:
        rows = self._rows
        for texts, most in ((rows.level, _LEVELS_MAX), (rows.category, _CATEGORIES_MAX), (rows.scope, _SCOPES_MAX)):
            if len(texts.values) > most:
                key[texts.codes[row] >= most] = self.count - 1
        return key

    def number(self, counts: Int64s) -> tuple[Kinds, KindTable]:
        """The kind of each key, and all kinds, from how often keys occur; too many kinds are merged."""
        used = np.flatnonzero(counts[:-1])
        place, texts = np.divmod(used, self._width)
        after, within = np.divmod(place, 2)
        room, lump = KINDS_MAX - FIRST_KIND - _SPARE, 1
        while True:
            lumped = (2 * (after // lump) + (within | (after % lump != 0))) * self._width + texts
            distinct, kind = np.unique(lumped, return_inverse=True)
            if len(distinct) <= room or lump * self._coarse >= _DAYS_COARSEST:
                break
            lump *= 2
        if len(distinct) > room:
            frequent = np.sort(np.argsort(np.bincount(kind, counts[used]))[-room:])
        else:
            frequent = np.arange(len(distinct))
        number = np.full(len(distinct), UNDECIDED, np.uint16)
        number[frequent] = np.arange(FIRST_KIND, FIRST_KIND + len(frequent))
        kind_of = np.full(len(counts), UNDECIDED, np.uint16)
        kind_of[used] = number[kind]
        return kind_of, self._describe(distinct[frequent], lump * self._coarse)

    def _describe(self, kinds: Int64s, days: int) -> KindTable:
        """The kinds, from their keys; so many days count as one."""
        rows = self._rows
        place, texts = np.divmod(kinds, self._width)
        level, texts = np.divmod(texts, self._categories * len(self._scopes))
        category, scope = np.divmod(texts, len(self._scopes))
        after, within = place // 2 * days, place % 2
        sure = self._base + after
        gone = np.where(after + days > _DAYS_MAX, _NEVER, sure + within * days)
        return KindTable(
            sure_until=np.concatenate(([0, 0], sure)).astype(np.int64),
            gone_from=np.concatenate(([0, 0], gone)).astype(np.int64),
            level=("", "", *(rows.level.values[i] for i in level.tolist())),
            category=("", "", *(rows.category.values[i] for i in category.tolist())),
            scope=("", "", *(self._scopes[i] for i in scope.tolist())),
        )
