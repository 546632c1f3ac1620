"""The rows of a release, in canonical form, as columns.

Canonical means: sorted by (`number`, `last` or else `number`, `entry`), every text column encoded against the sorted
list of the values it really uses. Two releases with the same entries have the same arrays, to the byte, so the
digest, the difference and the file on disk need no second form.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.errors import Malformed
from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.records import ENTRY_MAX, SCOPES, Entry
from blocklist_sdk.release.limits import check_distinct_texts, check_overlaps, check_text_bytes

Int64s = NDArray[np.int64]
Codes = NDArray[np.unsignedinteger]
Positions = NDArray[np.intp]
"""Positions of rows."""

FOREVER_MS = np.iinfo(np.int64).max
"""`until` of an entry without an end, in milliseconds since 1970 UTC."""

LATEST_MS = 253_402_300_799_000
"""9999-12-31T23:59:59Z, the last second that most calendars know."""

_FEW = 32
"""Up to this many codes are searched for one by one, which is quicker than counting them all."""

_ROWS_AT_A_TIME = 1 << 17
"""A few columns of this many rows fit a processor's cache."""

_NOT_IN_ORDER = "the release's rows are not in order, or a row occurs twice"

NUMERIC_COLUMNS = ("number", "last", "entry", "since", "until")
TEXT_COLUMNS = ("level", "category", "issuer", "scope")


@dataclass(frozen=True, slots=True)
class Texts:
    """A text column: an index per row into the sorted distinct values.

    Attributes:
        codes: one unsigned integer a row, as narrow as `values` allows.
        values: the distinct texts in use, sorted by their UTF-8 bytes.
    """

    codes: Codes
    values: tuple[str, ...]

    @classmethod
    def encode(cls, codes: NDArray[np.integer], values: Sequence[str]) -> Self:
        """Bring any codes into `values` (repeated and unused ones allowed) into canonical form."""
        if len(values) == 1 and len(codes):
            return cls(np.zeros(len(codes), np.uint8), (values[0],))
        used = _used(codes, len(values))
        distinct = sorted({values[i] for i in used}, key=_utf8)
        narrow = code_type(len(distinct))
        place = {value: i for i, value in enumerate(distinct)}
        new_code = np.zeros(max(len(values), 1), narrow)
        for i in used:
            new_code[i] = place[values[i]]
        if codes.dtype == narrow and distinct == list(values):
            return cls(codes.view(narrow), tuple(distinct))
        return cls(new_code[codes], tuple(distinct))

    @classmethod
    def repeat(cls, value: str, count: int) -> Self:
        """The same text in every row."""
        return cls(np.zeros(count, np.uint8), (value,) if count else ())

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> "Texts":
        """Some rows, by position or by mask."""
        return Texts.encode(self.codes[index], self.values)

    def with_texts(self, others: "Texts") -> "Texts":
        """These texts, then others."""
        codes = np.concatenate((self.codes.astype(np.int64), others.codes.astype(np.int64) + len(self.values)))
        return Texts.encode(codes, (*self.values, *others.values))

    def tolist(self) -> list[str]:
        """The texts themselves."""
        return [self.values[code] for code in self.codes.tolist()]


def _used(codes: NDArray[np.integer], count: int) -> list[int]:
    """Which of `count` codes occur."""
    if count <= _FEW:
        return [code for code in range(count) if (codes == code).any()]
    counts = np.zeros(count, np.int64)
    # In parts, since numpy counts 64-bit integers only.
    for start in range(0, len(codes), _ROWS_AT_A_TIME):
        counts += np.bincount(codes[start : start + _ROWS_AT_A_TIME], minlength=count)
    return np.flatnonzero(counts).tolist()


def code_type(count: int) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
    """The narrowest unsigned integer type with at least `count` values."""
    return np.uint8 if count <= 1 << 8 else np.uint16 if count <= 1 << 16 else np.uint32


def _utf8(text: str) -> bytes:
    return text.encode()


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one release; all columns have the same length.

    Attributes:
        number: E.164 integers; the first of a range.
        last: the last of a range, `number` itself for a single number. Where no row is a range it is the very same
            array as `number`, so that it costs nothing; see `has_ranges`.
        entry: entry ids.
        level, category, issuer, scope: text columns.
        since, until: milliseconds since 1970 UTC, whole seconds; `FOREVER_MS` for no end.
    """

    number: Int64s
    last: Int64s
    entry: Int64s
    level: Texts
    category: Texts
    issuer: Texts
    scope: Texts
    since: Int64s
    until: Int64s

    def __len__(self) -> int:
        return len(self.number)

    @property
    def has_ranges(self) -> bool:
        """Whether any row covers more than one number."""
        return self.last is not self.number

    @classmethod
    def empty(cls) -> Self:
        """No rows at all."""
        none = np.empty(0, np.int64)
        texts = Texts.repeat("", 0)
        return cls(none, none, none, texts, texts, texts, texts, none, none)

    def with_last(self, last: Int64s) -> "Rows":
        """The same rows with other range ends; shares the array with `number` where none is a range."""
        return replace(self, last=self.number if np.array_equal(last, self.number) else last)

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> "Rows":
        """Some rows, by position or by mask, in that order."""
        columns: dict[str, Any] = {name: getattr(self, name)[index] for name in ("number", "entry", "since", "until")}
        columns |= {name: getattr(self, name).take(index) for name in TEXT_COLUMNS}
        rows = Rows(last=columns["number"], **columns)
        return rows.with_last(self.last[index]) if self.has_ranges else rows

    def part(self, part: slice) -> "Rows":
        """Some rows one after the other, as views; with the texts of all, so not in canonical form."""
        columns: dict[str, Any] = {name: getattr(self, name)[part] for name in ("number", "entry", "since", "until")}
        columns["last"] = self.last[part] if self.has_ranges else columns["number"]
        for name in TEXT_COLUMNS:
            texts: Texts = getattr(self, name)
            columns[name] = Texts(texts.codes[part], texts.values)
        return Rows(**columns)

    def with_rows(self, others: "Rows") -> "Rows":
        """These rows, then others; not in canonical order until they are sorted."""
        columns: dict[str, Any] = {
            name: np.concatenate((getattr(self, name), getattr(others, name))) for name in NUMERIC_COLUMNS
        }
        columns |= {name: getattr(self, name).with_texts(getattr(others, name)) for name in TEXT_COLUMNS}
        return Rows(**columns).with_last(columns["last"])

    def sort(self) -> "Rows":
        """The same rows in canonical order."""
        if is_sorted(self.number, self.last, self.entry):
            return self
        return self.take(np.lexsort((self.entry, self.last, self.number)))

    def validate(self) -> None:
        """Check what every reader relies on.

        Raises:
            Malformed: numbers out of range, a range that ends before it starts, rows out of order or twice, too many
                entries of a number, ranges that overlap too deep, or texts that are too long or too many.
        """
        self.validate_each()
        self.validate_together()

    def validate_each(self) -> None:
        """Check each row, and that the rows are in order: what can be said of a part of a list as well.

        Raises:
            Malformed: numbers out of range, a range or an entry that ends before it starts, a scope that is not written
                as it must be, rows out of order or twice.
        """
        if not all(map(_is_scope, self.scope.values)):
            raise Malformed(
                f"the release holds a scope that is not {', '.join(SCOPES)}, in this order and each once, joined by +"
            )
        # A part at a time, with the row before it, so that what is worked out on the way stays in a processor's cache.
        for start in range(0, len(self), _ROWS_AT_A_TIME):
            self._validate(slice(max(0, start - 1), start + _ROWS_AT_A_TIME))

    def validate_together(self) -> None:
        """Check what can be said of a whole list only.

        Raises:
            Malformed: too many entries of a number, ranges that overlap too deep, or texts that are too long or too
                many.
        """
        check_overlaps(self.number, self.last)
        self.validate_texts()

    def validate_texts(self) -> None:
        """Check the texts.

        Raises:
            Malformed: they are too long or too many.
        """
        for name in TEXT_COLUMNS:
            values = getattr(self, name).values
            check_distinct_texts(name, len(values))
            check_text_bytes(name, max((len(value.encode()) for value in values), default=0))

    def _validate(self, part: slice) -> None:
        number, last, entry, since, until = (getattr(self, name)[part] for name in NUMERIC_COLUMNS)
        if number.min() < 1 or last.max() > LARGEST:
            raise Malformed("the release holds numbers that are not E.164: fewer than 1 or more than 15 digits")
        if self.has_ranges and bool((last < number).any()):
            raise Malformed("the release holds a range that ends before it starts")
        if bool((entry < 1).any()):
            raise Malformed("the release holds an entry id below 1")
        if entry.max() > ENTRY_MAX:
            raise Malformed(f"the release holds an entry id above {ENTRY_MAX:,}, the highest that the protocol has")
        if not _are_moments(since) or not _are_moments(np.where(until == FOREVER_MS, 0, until)):
            raise Malformed("the release holds a moment that is not a whole second between the years 1970 and 9999")
        if bool((until <= since).any()):
            raise Malformed("the release holds an entry that ends before it begins")
        if not is_sorted(number, last, entry):
            raise Malformed(_NOT_IN_ORDER)


def _is_scope(scope: str) -> bool:
    """Whether a scope has its known parts in order and once; parts that a later version knows may be anywhere."""
    parts = scope.split("+")
    known = [part for part in parts if part in SCOPES]
    return all(parts) and known == sorted(set(known))


def _are_moments(values: Int64s) -> bool:
    if not len(values):
        return True
    seconds = values // 1000
    # Multiplying is quicker than finding remainders.
    return bool(values.min() >= 0 and values.max() <= LATEST_MS and (seconds * 1000 == values).all())


def is_sorted(number: Int64s, last: Int64s, entry: Int64s) -> bool:
    """Whether rows are strictly in canonical order."""
    step = np.diff(number)
    if not len(step) or step.min() > 0:
        return True
    if step.min() < 0:
        return False
    tied = np.flatnonzero(step == 0)
    last_step = last[tied + 1] - last[tied]
    entry_step = entry[tied + 1] - entry[tied]
    return bool(((last_step > 0) | ((last_step == 0) & (entry_step > 0))).all())


def range_rows(rows: Rows) -> Positions:
    """Positions of the rows that cover more than one number, in order."""
    return np.flatnonzero(rows.last != rows.number) if rows.has_ranges else np.empty(0, np.intp)


def entry_at(rows: Rows, at: int, *, feed: str) -> Entry:
    """The entry in a row of a feed's release."""
    number, last, until = int(rows.number[at]), int(rows.last[at]), int(rows.until[at])
    level, category, issuer, scope = (
        texts.values[int(texts.codes[at])] for texts in (rows.level, rows.category, rows.issuer, rows.scope)
    )
    return Entry(
        number=number,
        last=None if last == number else last,
        entry=int(rows.entry[at]),
        level=level,
        category=category,
        issuer=issuer,
        scope=frozenset(scope.split("+")),
        since=times.from_ms(int(rows.since[at])),
        until=None if until == FOREVER_MS else times.from_ms(until),
        feed=feed,
    )


def checked(parts: Iterable[Rows]) -> Iterator[Rows]:
    """The parts of a list, each checked before the next one is asked for.

    Raises:
        Malformed: as `Rows.validate_each`; or a part does not follow the part before it; or the parts have too many
            distinct texts together.
    """
    before: tuple[int, int, int] | None = None
    seen: dict[str, set[str]] = {name: set() for name in TEXT_COLUMNS}
    for part in parts:
        if len(part):
            part.validate_each()
            if before is not None and _key(part, 0) <= before:
                raise Malformed(_NOT_IN_ORDER)
            before = _key(part, -1)
            for name, known in seen.items():
                known.update(getattr(part, name).values)
                check_distinct_texts(name, len(known))
        yield part
        del part  # before the next one is decoded


def _key(rows: Rows, at: int) -> tuple[int, int, int]:
    return int(rows.number[at]), int(rows.last[at]), int(rows.entry[at])


def distinct(values: Int64s) -> Int64s:
    """The values, ascending, each once.

    `np.unique` does the same through a hash table (numpy 2.3 and later), which takes ten times as long for millions of
    values; ascending runs, as the ends of ranges are, are merged here.

    >>> distinct(np.array([3, 1, 3, 2])).tolist()
    [1, 2, 3]
    """
    ordered = np.sort(values, kind="stable")
    is_new = np.ones(len(ordered), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    found: Int64s = ordered[is_new]
    return found


class JoinedTexts:
    """A text column whose rows come in parts."""

    def __init__(self, count: int) -> None:
        """Takes how many rows there will be. Memory for them is taken once there is a second text."""
        self._count = count
        self._place: dict[str, int] = {}
        self._values: list[str] = []
        self._codes: Codes | None = None

    def put(self, at: int, texts: Texts) -> Texts:
        """Put rows in their place.

        Args:
            at: how many rows there are before them.
            texts: their texts.

        Returns:
            The same texts; those that were put before are the same objects, so that many parts take memory for one.
        """
        place = self._place
        code = np.array([place.setdefault(value, len(place)) for value in texts.values], np.uint32)
        self._values.extend(texts.values[i] for i in np.flatnonzero(code >= len(self._values)).tolist())
        shared = Texts(texts.codes, tuple(self._values[i] for i in code.tolist()))
        if len(place) <= 1:
            return shared
        narrow = code_type(len(place))
        if self._codes is None:
            self._codes = np.zeros(self._count, narrow)
        self._codes = self._codes.astype(narrow, copy=False)
        here = self._codes[at : at + len(texts.codes)]
        if len(code) == 1:
            here[:] = code[0]
        else:
            np.take(code.astype(narrow), texts.codes, out=here, mode="clip")
        return shared

    def texts(self) -> Texts:
        """The column, in canonical form."""
        if self._codes is None:
            return Texts.repeat(self._values[0] if self._values else "", self._count)
        return Texts.encode(self._codes, self._values)


def joined(parts: Iterable[Rows], count: int) -> Rows:
    """The parts of a list as one; but for the part that is on its way, no row is in memory twice.

    Args:
        parts: one after the other.
        count: how many rows they have together.

    Raises:
        Malformed: they have more or fewer.
    """
    try:
        integers = {name: np.empty(count, np.int64) for name in NUMERIC_COLUMNS if name != "last"}
    except (ValueError, MemoryError) as error:
        raise Malformed(f"the release declares {count} rows, which this machine cannot hold") from error
    last = integers["number"]
    texts = {name: JoinedTexts(count) for name in TEXT_COLUMNS}
    for start, part in placed(parts, count):
        here = slice(start, start + len(part))
        for name, column in integers.items():
            column[here] = getattr(part, name)
        if part.has_ranges and last is integers["number"]:
            last = last.copy()
        if last is not integers["number"]:
            last[here] = part.last
        for name, text in texts.items():
            text.put(start, getattr(part, name))
    columns: dict[str, Any] = {**integers, "last": last}
    columns |= {name: text.texts() for name, text in texts.items()}
    return Rows(**columns)


def placed(parts: Iterable[Rows], count: int) -> Iterator[tuple[int, Rows]]:
    """The parts of a list that have rows, each with how many rows there are before it.

    Args:
        parts: one after the other.
        count: how many rows they have together.

    Raises:
        Malformed: they have more or fewer.
    """
    start = 0
    for part in parts:
        if start + len(part) > count:
            start = -1
            break
        if len(part):
            yield start, part
        start += len(part)
    if start != count:
        raise Malformed(f"the release does not have the {count} rows that it declares")


def concatenated(parts: Sequence[Rows]) -> Rows:
    """The rows of several lists, one list after the other; not in canonical order."""
    return joined(parts, sum(map(len, parts)))
