"""Before going live: a sink that only counts, and what a list would have blocked in a log of calls or messages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import Batch, Items, Operation, mask_of
from blocklist_sdk.enforcement.paths import SHADOW_SUFFIX, is_shadow
from blocklist_sdk.enforcement.sink import Outcome, Sink, all_done
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers import Form
from blocklist_sdk.numbers.columns import read_column
from blocklist_sdk.numbers.forms import resolve_form
from blocklist_sdk.records import Scope
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.tables.options import PLAIN, TableOptions
from blocklist_sdk.tables.table import open_table

_MS_A_DAY: Final = 86_400_000

_MILLISECONDS_FROM: Final = 100_000_000_000
"""Integers from here on are moments in milliseconds, not seconds: as seconds, this one is in the year 5138."""

_NO_DAY: Final = np.iinfo(np.int64).min

_ISO: Final = (
    r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"  # RFC 3339, and what is near it
)
_ZONED: Final = r"(Z|[+-]\d\d(:?\d\d)?)$"


class Shadow:
    """A sink that does nothing, and answers that everything is done.

    Enforce into it under a name that ends with ``.shadow``. Its ledger then says what the real sink would hold. Monthly
    statements can be made from that ledger; its receipts are not sent::

        enforce(blocklist, Shadow(), name="hlr.shadow")

    Attributes:
        sink: the real sink, or None. The shadow only closes it.
        would_do: how many changes would have been made, by operation.
    """

    def __init__(self, sink: Sink | None = None) -> None:
        self.sink = sink
        self.would_do: Counter[Operation] = Counter()

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Count the changes, and answer that they are done."""
        self.would_do[batch.operation] += len(batch)
        return all_done(batch)

    def close(self) -> None:
        """Close the real sink, if there is one."""
        if self.sink is not None:
            self.sink.close()


def check_name(sink: Sink, name: str) -> None:
    """Check that shadows, and only they, have the name of one.

    Raises:
        InvalidInput: `name` is not for this sink.
    """
    if isinstance(sink, Shadow) is not is_shadow(name):
        who = "a shadow must" if isinstance(sink, Shadow) else "only a shadow may"
        raise InvalidInput(f"{who} have a name that ends with {SHADOW_SUFFIX}: the name is {name!r}")


@dataclass(frozen=True, slots=True)
class DayImpact:
    """One day of a log, UTC.

    Attributes:
        rows: rows of that day with a number that can be read.
        rows_hit: rows whose number would have been blocked.
    """

    rows: int
    rows_hit: int


@dataclass(frozen=True, slots=True)
class ShadowImpact:
    """What a list would have blocked in a log.

    Attributes:
        rows: rows that were read, with the rejects.
        rows_hit: rows whose number would have been blocked.
        numbers_hit: different numbers in these rows.
        by_day: figures for each day; rows without a readable time are left out.
        by_category: rows hit, by category.
        rejects: rows that lack something, by reason: ``no-number``, ``no-time``, or ``unreadable`` for a line of a CSV
            file with more or fewer cells than the others. A row may lack both its number and its time.
    """

    rows: int
    rows_hit: int
    numbers_hit: int
    by_day: Mapping[date, DayImpact]
    by_category: Mapping[str, int]
    rejects: Mapping[str, int]


def shadow_impact(
    items: Items,
    log: str | Path,
    *,
    region: str | None,
    form: Form | None = "auto",
    number_column: str | None = None,
    time_column: str | None = None,
    scope: Scope | None = None,
    options: TableOptions = PLAIN,
) -> ShadowImpact:
    r"""Count what would have been blocked in a log, if the items had been in force all the time.

    The log is read once, in pieces. Memory grows with the items and with the different numbers that are hit inside
    ranges, not with the length of the log.

    Args:
        items: what would be blocked: from `items_of`, or from a ledger, ``ledger.state().whole().items``.
        log: a file: CSV and the like, gzipped or not, a spreadsheet, JSON lines or Parquet.
        region: as for `Blocklist.open`.
        form: as for `Blocklist.open`; ``auto`` is decided by the first rows.
        number_column: the column with the callers' or senders' numbers; None for ``number``, or the only column.
        time_column: the column with the times: RFC 3339 or similar, in UTC if they have no zone, or seconds or
            milliseconds since 1970; None for a log without days.
        scope: count only what is blocked in this scope; None for any.
        options: how to read a log that does not speak for itself.

    Raises:
        InvalidInput: the log cannot be read, a column is missing, or the region is unknown.

    >>> import tempfile
    >>> one = np.array([6281234567890])
    >>> items = Items(one, one, np.array([15], np.uint8), one, one, np.array([0], np.int32), ("fraud",), {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = Path(folder, "calls.csv")
    ...     _ = log.write_text("number,at\n0812-3456-7890,2026-10-01T08:00:00Z\n0812-3456-7891,2026-10-01 09:00\n")
    ...     impact = shadow_impact(items, log, region="ID", time_column="at")
    >>> impact.rows, impact.rows_hit, impact.by_day[date(2026, 10, 1)]
    (2, 1, DayImpact(rows=2, rows_hit=1))
    """
    if scope is not None:
        items = items.take(np.flatnonzero(items.scope & mask_of([scope])))
    search = _Search(items)
    only = () if time_column is None else (time_column,)
    unreadable = 0
    with open_table(Path(log), column=number_column, options=options, only=only) as table:
        at = None if time_column is None else len(table.names) - 1
        for batch in table.batches:
            unreadable += len(batch.rejects)
            rows = batch.readable().rows
            if form == "auto":
                form = resolve_form(rows.column(table.number), region=region, form=form).form
            numbers = read_column(rows.column(table.number), region=region, form=form)
            days = None if at is None or time_column is None else _days(rows.column(at), time_column)
            search.add(numbers, days)
    return search.impact(unreadable)


@dataclass(slots=True)
class _Search:
    """Counts what is hit, piece by piece."""

    items: Items
    rows: int = 0
    rows_hit: int = 0
    no_number: int = 0
    no_time: int = 0
    day_rows: Counter[int] = field(default_factory=Counter)
    day_hits: Counter[int] = field(default_factory=Counter)
    categories: NDArray[np.int64] = field(init=False)
    is_hit: NDArray[np.bool_] = field(init=False)
    in_ranges: Int64s = field(init=False)

    def __post_init__(self) -> None:
        self.categories = np.zeros(max(len(self.items.categories), 1), np.int64)
        self.is_hit = np.zeros(len(self.items), np.bool_)
        self.in_ranges = np.empty(0, np.int64)

    def add(self, column: pa.Array, days: Int64s | None) -> None:
        """Add rows: their numbers, null if unreadable, and their days since 1970."""
        numbers: Int64s = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        self.rows += len(numbers)
        self.no_number += column.null_count
        # In ascending order: to search for ten million in random order takes ten times as long.
        distinct, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        item, hit = self._find(distinct)
        self.rows_hit += int(counts[hit].sum())
        by_category = np.bincount(self.items.category[item[hit]], weights=counts[hit], minlength=len(self.categories))
        self.categories += by_category.astype(np.int64)
        is_single = self.items.number[item[hit]] == self.items.last[item[hit]]
        self.is_hit[item[hit][is_single]] = True
        if not is_single.all():
            self.in_ranges = np.union1d(self.in_ranges, distinct[hit][~is_single])
        if days is not None:
            self._count_days(days, numbers, hit[inverse.reshape(-1)])

    def impact(self, unreadable: int) -> ShadowImpact:
        rejects = {"no-number": self.no_number, "no-time": self.no_time, "unreadable": unreadable}
        return ShadowImpact(
            rows=self.rows,
            rows_hit=self.rows_hit,
            numbers_hit=int(self.is_hit.sum()) + len(self.in_ranges),
            by_day={
                datetime.fromtimestamp(day * 86_400, UTC).date(): DayImpact(self.day_rows[day], self.day_hits[day])
                for day in sorted(self.day_rows)
            },
            by_category={
                name: count
                for name, count in zip(self.items.categories, self.categories.tolist(), strict=False)
                if count
            },
            rejects={reason: count for reason, count in rejects.items() if count},
        )

    def _find(self, numbers: Int64s) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The item that may hold each number, and whether it does."""
        if not len(self.items):
            return np.zeros(len(numbers), np.intp), np.zeros(len(numbers), np.bool_)
        item = np.searchsorted(self.items.number, numbers, "right") - 1
        hit = (item >= 0) & (numbers <= self.items.last[np.maximum(item, 0)])
        return item, hit

    def _count_days(self, days: Int64s, numbers: Int64s, is_hit: NDArray[np.bool_]) -> None:
        has_day = days != _NO_DAY
        self.no_time += int(len(days) - has_day.sum())
        for counter, chosen in ((self.day_rows, has_day & (numbers != 0)), (self.day_hits, has_day & is_hit)):
            values, counts = np.unique(days[chosen], return_counts=True)
            counter.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _days(column: pa.Array, name: str) -> Int64s:
    """Days since 1970, UTC; `_NO_DAY` for a row without a time."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), _NO_DAY, np.int64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _days_of_text(column.cast(pa.large_string()) if pa.types.is_string_view(kind) else column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = column.cast(pa.timestamp("ms", "UTC" if getattr(kind, "tz", None) else None), safe=False)
        milliseconds = moments.cast(pa.int64())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        number = column
        if pa.types.is_floating(kind):
            number = pc.floor(pc.if_else(pc.less(pc.abs(column), _END_MS), column, pa.scalar(None, kind)))
        number = pc.cast(number, pa.int64(), safe=False)
        is_seconds = pc.less(pc.abs(number), _MILLISECONDS_FROM)
        milliseconds = pc.if_else(is_seconds, pc.multiply(pc.if_else(is_seconds, number, 0), 1000), number)
    else:
        raise InvalidInput(f"the column {name!r} ({kind}) has no times: name one with timestamps, text or integers")
    return _checked(pc.fill_null(milliseconds, _NO_DAY).to_numpy(zero_copy_only=False))


def _checked(milliseconds: Int64s) -> Int64s:
    """Days of the moments between the years 1970 and 9999; `_NO_DAY` for any other."""
    days = np.floor_divide(milliseconds, _MS_A_DAY)
    return np.where((milliseconds >= 0) & (milliseconds < _END_MS), days, _NO_DAY)


_END_MS: Final = 253_402_300_800_000
"""The beginning of the year 10000, UTC."""


def _days_of_text(column: pa.Array) -> Int64s:
    raw = pc.utf8_trim_whitespace(_valid(column))
    is_moment = pc.fill_null(pc.match_substring_regex(raw, _ISO), False)
    text = pc.if_else(is_moment, raw, pa.scalar(None, raw.type))
    zoned = pc.fill_null(pc.match_substring_regex(text, _ZONED), False)
    zoned = pc.and_(zoned, pc.greater(pc.fill_null(pc.utf8_length(text), 0), len("2026-10-01")))
    try:
        with_zone = pc.if_else(zoned, text, pa.scalar(None, text.type)).cast(pa.timestamp("ns", "UTC"))
        without = pc.if_else(zoned, pa.scalar(None, text.type), text).cast(pa.timestamp("ns"))
        moments = pc.coalesce(with_zone.cast(pa.int64()), without.cast(pa.int64()))
        digits = _days_of_digits(raw)
        nanoseconds = pc.fill_null(moments, -1).to_numpy(zero_copy_only=False)
        return np.where(nanoseconds >= 0, np.floor_divide(nanoseconds, 1_000_000 * _MS_A_DAY), digits)
    except pa.ArrowInvalid:
        # A text that only looks like a time, such as the 31st of June: read each text by itself.
        days = np.array([_day(cell) for cell in text.to_pylist()], np.int64)
        return np.where(days == _NO_DAY, _days_of_digits(raw), days)


def _days_of_digits(text: pa.Array) -> Int64s:
    """Days of seconds or milliseconds since 1970, written as text."""
    is_number = pc.fill_null(pc.match_substring_regex(text, r"^\d{9,13}(\.\d+)?$"), False)
    if not pc.any(is_number).as_py():
        return np.full(len(text), _NO_DAY, np.int64)
    numbers = pc.if_else(is_number, text, pa.scalar(None, text.type)).cast(pa.float64())
    return _days(numbers, "")


def _day(text: str | None) -> int:
    if text is None:
        return _NO_DAY
    try:
        moment = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return _NO_DAY
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return int(_checked(np.array([times.to_ms(moment)]))[0])


def _valid(column: pa.Array) -> Any:
    """The column with UTF-8 only, on which pyarrow's functions rely; other bytes are replaced."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        binary = pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
        cells = column.view(binary).to_pylist()
        return pa.array([None if cell is None else cell.decode(errors="replace") for cell in cells], column.type)
    return column
