"""Rows, read from cells: the second of two steps from a file to rows; the first is `cells`.

Here the cells get their meaning: texts become numbers and ranges, words are checked, moments are parsed. A row with a
cell that cannot be read is a reject, with the reason.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import Form, FormDecision, parse_pattern
from blocklist_sdk.numbers.columns import read_column
from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.numbers.forms import MANY, decide_form
from blocklist_sdk.publisher.arguments import check_text
from blocklist_sdk.publisher.cells import NEGATIVE, Cells
from blocklist_sdk.publisher.next_release import NO_ENTRY, NOT_GIVEN_MS, EntryDefaults, ListRows, joined_list
from blocklist_sdk.records import ENTRY_MAX, SCOPES
from blocklist_sdk.release.rows import FOREVER_MS, LATEST_MS, TEXT_COLUMNS, Int64s, Texts
from blocklist_sdk.tables.dates import why_no_moment
from blocklist_sdk.tables.rejects import Reject
from blocklist_sdk.texts import from_spreadsheet_cell

LEVELS = ("block", "advisory")

_MAYBE_PATTERN = r"[.．][\s.．\-]*$|[.．]\s*[.．]|[\[\]［］]"
"""A full stop between digits is a separator, but after them it is a wildcard, and two of them separate the ends of a
range. Brackets hold a class of digits."""

_NO_NUMBER = "the number is missing"


_LATEST_S = LATEST_MS // 1000

_ROWS_AT_A_TIME = 1 << 18
"""What is worked out on the way takes some ten times eight bytes a row."""

_REMEMBERED = 1 << 16
"""Distinct texts of a column that are remembered from one part of the list to the next."""

_NO_ROWS = ListRows(line=np.empty(0, np.int64), number=np.empty(0, np.int64), last=np.empty(0, np.int64))

_DIGITS = 10 ** np.arange(16, dtype=np.int64)

V = TypeVar("V", bound=Hashable)


@dataclass(slots=True)
class _Rejections:
    """The reason for each rejected row; the first reason of a row is kept."""

    reasons: dict[int, str] = field(default_factory=dict)

    def add(self, rows: NDArray[np.integer], reason: str) -> None:
        for row in rows.tolist():
            self.reasons.setdefault(row, reason)

    @property
    def rows(self) -> Int64s:
        return np.fromiter(self.reasons, np.int64, len(self.reasons))


@dataclass(slots=True)
class WrittenRanges:
    """How the patterns and ranges of a list are written.

    Attributes:
        line: their lines, ascending, part by part.
        texts: their cells with the numbers.
    """

    line: list[Int64s] = field(default_factory=list)
    texts: list[pa.Array] = field(default_factory=list)

    def add(self, rows: ListRows, line: Int64s, numbers: pa.Array) -> None:
        """Keep those among some rows; `line` and `numbers` are of all cells."""
        wide = np.unique(rows.line[rows.last > rows.number])
        if len(wide):
            self.line.append(wide)
            self.texts.append(numbers.take(pa.array(np.searchsorted(line, wide))))

    def text(self, line: int) -> str:
        """How the one in a line is written."""
        part = bisect_right([int(lines[0]) for lines in self.line], line) - 1
        return str(self.texts[part][int(np.searchsorted(self.line[part], line))].as_py())


def read_rows(
    cells: Cells,
    *,
    region: str | None,
    form: Form = "auto",
    defaults: EntryDefaults,
    ranges: WrittenRanges | None = None,
) -> tuple[ListRows, list[Reject], FormDecision]:
    """Read a list's cells as the rows of a release.

    Numbers are read as :func:`blocklist_sdk.numbers.normalize` does, and patterns as ranges. Integers are read like the
    text of their digits; without a region, and in release files, they are E.164 numbers. Moments without an offset
    are UTC. Unless a form is declared, the column decides how digits without a plus are read, and where it does not, a
    text that is valid both ways is a reject.

    Args:
        cells: the list.
        region: two-letter country code in which national numbers are read.
        form: how digits without a plus are read; see `blocklist_sdk.numbers.decide_form`.
        defaults: the values for empty cells.
        ranges: gets how patterns and ranges are written, which is then all that is left of the cells: they are given up
            as they are read, for a long list fills the memory once. None if the cells are to stay.

    Returns:
        The rows, the rejects by line, and the form in which numbers were read.

    Raises:
        InvalidInput: a column has a type that cannot be read, the region is unknown, or the header is that of an export
            but the numbers are national ones.
    """
    numbers = cells.columns["number"]
    is_release = cells.is_release and form == "auto"
    decision = decide_form(numbers, region=region, form="international" if is_release else form)
    if is_release:
        _check_release(numbers, region)
        decision = replace(decision, by="header")
    reading = _Reading(region, decision.form, is_release)
    known: dict[str, dict[str, Any]] = {name: {} for name in cells.columns}
    rejects, parts, begin = [*cells.rejects], [_NO_ROWS], 0
    table = pa.table(cells.columns)
    # Also where there is not one row, the columns must be right.
    nothing = pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in table.schema.types], table.schema.names)
    batches = table.to_batches(max_chunksize=_ROWS_AT_A_TIME) or [nothing]
    batches.reverse()
    if ranges is not None:
        cells.columns = {}
    del numbers, table
    while batches:
        batch = batches.pop()
        line = cells.line[begin : begin + len(batch)]
        part = Cells(line, dict(zip(known, batch.columns, strict=True)), date_format=cells.date_format)
        rows, refused = _read_part(part, reading, defaults, known)
        if ranges is not None:
            ranges.add(rows, line, part.columns["number"])
        parts.append(rows)
        rejects += refused
        begin += len(batch)
    return joined_list(parts), sorted(rejects, key=lambda reject: reject.line), decision


def _read_part(
    cells: Cells, reading: "_Reading", defaults: EntryDefaults, known: dict[str, dict[str, Any]]
) -> tuple[ListRows, list[Reject]]:
    """Read some of a list's cells; `known` has what texts of each column were read as before."""
    columns = cells.columns
    rejected = _Rejections()
    row, number, last = _read_numbers(columns, reading, rejected)
    optional: dict[str, Any] = {}
    for name in TEXT_COLUMNS:
        if name in columns:
            read = {"level": read_level, "scope": read_scope}.get(name, partial(_own_text, name))
            default = getattr(defaults, name)
            optional[name] = _read_texts(columns[name], name, default, read, rejected, known[name])
    for name, empty in (("since", NOT_GIVEN_MS), ("until", FOREVER_MS)):
        if name in columns:
            optional[name] = _read_moments(columns[name], name, empty, cells.date_format, rejected, known[name])
    if "entry" in columns:
        optional["entry"] = _read_entries(columns["entry"], rejected)
        rejected.add(row[1:][np.diff(row) == 0], "a pattern of several ranges cannot have a single entry id")
    if "since" in optional and "until" in optional:
        rejected.add(np.flatnonzero(optional["until"] <= optional["since"]), "until is not after since")

    is_rejected = np.zeros(len(cells.line), bool)
    is_rejected[rejected.rows] = True
    keep = ~is_rejected[row]
    kept = row[keep]
    taken: dict[str, Any] = {
        name: column.take(kept) if isinstance(column, Texts) else column[kept] for name, column in optional.items()
    }
    rows = ListRows(line=cells.line[kept], number=number[keep], last=last[keep], **taken)
    return rows.with_last(rows.last), _described(cells, rejected.reasons)


def _described(cells: Cells, reasons: Mapping[int, str]) -> list[Reject]:
    rows = sorted(reasons)
    number_cells = cells.columns["number"].take(pa.array(rows, pa.int64())).to_pylist()
    return [
        Reject(int(cells.line[row]), reasons[row], "" if text is None else str(text))
        for row, text in zip(rows, number_cells, strict=True)
    ]


# Numbers


def _check_release(column: pa.Array, region: str | None) -> None:
    """Refuse national numbers under the header of an export, as somebody writes who takes it for a template.

    A single number that is possible but not valid may look national by chance, so a few decide only with a zero at the
    beginning, which no export has.
    """
    if region is None:
        return
    shown = decide_form(column, region=region)
    if shown.form != "national" or not shown.texts:
        return
    has_zero = not pa.types.is_integer(column.type) and pc.any(pc.starts_with(_plain(column), "0")).as_py()
    if shown.texts >= MANY or has_zero:
        raise InvalidInput(
            f"the columns are those of an export, whose numbers are international, but of {shown.texts:,} numbers "
            f"without + {shown.national:,} fit the national form of {region}, and {shown.international:,} the "
            "international one. Say with --form (form=) how they are written"
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """How the numbers of a list are read.

    Attributes:
        region: as for `read_rows`.
        form: as in `FormDecision`.
        is_release: whether integers are E.164 numbers as they are.
    """

    region: str | None
    form: Form | None
    is_release: bool


def _read_numbers(
    columns: Mapping[str, pa.Array], reading: _Reading, rejected: _Rejections
) -> tuple[Int64s, Int64s, Int64s]:
    """The ranges of each row of the list, as row, first, last: several for some patterns, none for a reject."""
    number_cells = columns["number"]
    number = _read_singles(number_cells, reading)
    row = np.arange(len(number_cells))
    for column in (number_cells, columns.get("last")):
        if column is not None and pa.types.is_signed_integer(column.type):
            rejected.add(np.flatnonzero(np.asarray(column.fill_null(0)) < 0), NEGATIVE)
    last = number.copy()
    has_last = np.zeros(len(number_cells), bool)
    if "last" in columns:
        end = columns["last"]
        has_last = ~(_is_blank(end) | _is_blank(number_cells))
        last = np.where(has_last, _read_singles(end, reading), number)
        rejected.add(np.flatnonzero(has_last & ((number == 0) | (last == 0))), "one end of the range is not a number")
        rejected.add(np.flatnonzero(has_last & (last < number)), "the range ends before it begins")
        lengths = [np.searchsorted(_DIGITS, ends, "right") for ends in (number, last)]
        rejected.add(
            np.flatnonzero(has_last & (lengths[0] != lengths[1])), "the ends of a range have different lengths"
        )
    rejected.add(np.flatnonzero(_is_blank(number_cells)), _NO_NUMBER)
    is_open = np.flatnonzero((number == 0) & ~has_last)
    ranges = _read_patterns(number_cells, is_open, reading, rejected)
    is_single = number != 0
    row, number, last = row[is_single], number[is_single], last[is_single]
    if len(ranges):
        row, number, last = (np.concatenate((column, ranges[:, i])) for i, column in enumerate((row, number, last)))
        order = np.argsort(row, kind="stable")
        row, number, last = row[order], number[order], last[order]
    return row, number, last


def _read_singles(column: pa.Array, reading: _Reading) -> Int64s:
    """Single numbers, a whole column at a time; 0 for a text that is not a number, or may be a pattern."""
    if pa.types.is_integer(column.type):
        if reading.is_release:
            values = _int64s(column)
            return np.where((values >= SMALLEST) & (values <= LARGEST), values, 0)
        if reading.region is None:
            column = pc.binary_join_element_wise("+", column.cast(pa.string()), "")
    numbers: Int64s = np.asarray(read_column(column, region=reading.region, form=reading.form).fill_null(0)).copy()
    if not pa.types.is_integer(column.type):
        texts = _plain(column)
        dotted = np.flatnonzero(np.asarray(pc.match_substring_regex(texts, r"[.．\[\]［］]").fill_null(False)))
        if len(dotted):
            maybe = np.asarray(pc.match_substring_regex(texts.take(pa.array(dotted)), _MAYBE_PATTERN))
            numbers[dotted[maybe]] = 0
    return numbers


def _int64s(column: pa.Array) -> Int64s:
    """Integers of any width as 64 bits; 0 for null, or if the integer is too large."""
    if pa.types.is_uint64(column.type):
        fits = pc.less_equal(column, pa.scalar(np.iinfo(np.int64).max, pa.uint64()))
        column = pc.if_else(fits, column, pa.scalar(0, pa.uint64()))
    values: Int64s = np.asarray(column.fill_null(0).cast(pa.int64()))
    return values


def _read_patterns(number_cells: pa.Array, rows: Int64s, reading: _Reading, rejected: _Rejections) -> Int64s:
    """The ranges of rows that are not single numbers, as (row, first, last); each distinct text is read once."""
    known: dict[str, list[tuple[int, int]] | str] = {}
    pieces: list[tuple[int, int, int]] = []
    for row, text in zip(rows.tolist(), number_cells.take(pa.array(rows)).to_pylist(), strict=True):
        if row in rejected.reasons:
            continue
        text = str(text)
        if text not in known:
            try:
                ranges = parse_pattern(text, region=reading.region, form=reading.form)
                known[text] = [(each.first, each.last) for each in ranges]
            except InvalidNumber as error:
                known[text] = error.reason
        answer = known[text]
        if isinstance(answer, str):
            rejected.reasons[row] = answer
        else:
            pieces.extend((row, first, last) for first, last in answer)
    return np.array(pieces, np.int64).reshape(-1, 3)


# Words and moments


def read_level(text: str) -> str:
    """Check a level.

    Raises:
        InvalidInput: `text` is neither ``block`` nor ``advisory``.
    """
    level = text.lower()
    if level not in LEVELS:
        raise InvalidInput(f"level must be block or advisory, not {text!r}")
    return level


def read_scope(text: str) -> str:
    """A scope in the form that it has in a release.

    Raises:
        InvalidInput: a part of `text` is not a scope.

    >>> read_scope("voice, sms")
    'sms+voice'
    """
    parts = {part.lower() for part in text.replace("+", " ").replace(",", " ").replace("|", " ").split()}
    if not parts or not parts <= set(SCOPES):
        raise InvalidInput(f"scope must be {', '.join(SCOPES)}, or several of these joined by +, not {text!r}")
    return "+".join(sorted(parts))


def _own_text(name: str, text: str) -> str:
    """A text of the list, as it was before an export guarded it against spreadsheets.

    Raises:
        InvalidInput: the release's format has no room for it.
    """
    return check_text(name, from_spreadsheet_cell(text))


def _read_texts(
    column: pa.Array,
    name: str,
    default: str,
    read: Callable[[str], str],
    rejected: _Rejections,
    known: dict[str, Any],
) -> Texts:
    if isinstance(column, (pa.ListArray, pa.LargeListArray)) and _is_text_type(column.type.value_type):
        column = pc.binary_join(column.cast(pa.large_list(pa.large_string())), pa.scalar("+", pa.large_string()))
    _expect(column, name, "text", _is_text_type)
    codes, values = _read_distinct(column, lambda text: read(text) if text else default, default, rejected, known)
    return Texts.encode(codes, values)


def _read_moments(
    column: pa.Array,
    name: str,
    empty: int,
    date_format: str | None,
    rejected: _Rejections,
    known: dict[str, Any],
) -> Int64s:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = column.cast(pa.timestamp("s", kind.tz if pa.types.is_timestamp(kind) else None), safe=False)
        seconds: Int64s = np.asarray(moments.cast(pa.int64()).fill_null(0))
        if len(seconds) and (seconds.min() < 0 or seconds.max() > _LATEST_S):
            raise InvalidInput(f"the column {name!r} has a moment before 1970 or after 9999: nothing was published")
        return np.where(np.asarray(column.is_valid()), seconds * 1000, empty)
    _expect(column, name, "text or timestamps", _is_text_type)

    def read(text: str) -> int:
        return _moment(text, name, date_format) if text else empty

    codes, values = _read_distinct(column, read, empty, rejected, known)
    return np.array(values, np.int64)[codes]


def _moment(text: str, name: str, date_format: str | None) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            why_no_moment(name, text, example="2025-01-31T12:00:00Z", date_format=date_format)
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = int(moment.timestamp() // 1)
    if not 0 <= seconds <= _LATEST_S:
        raise InvalidInput(f"{name} must be a moment from 1970 to 9999, not {text!r}")
    return seconds * 1000


def _read_entries(column: pa.Array, rejected: _Rejections) -> Int64s:
    if pa.types.is_integer(column.type):
        entries = _int64s(column)
    else:
        _expect(column, "entry", "integers", _is_text_type)
        codes, values = _read_distinct(column, _entry, 0, rejected, {})
        entries = np.array(values, np.int64)[codes]
    is_id = ((entries >= 1) & (entries <= ENTRY_MAX)) | ((entries == NO_ENTRY) & _is_blank(column))
    rejected.add(np.flatnonzero(~is_id), f"entry must be a whole number from 1 to {ENTRY_MAX}")
    return entries


def _entry(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _read_distinct(
    column: pa.Array, read: Callable[[str], V], empty: V, rejected: _Rejections, known: dict[str, Any]
) -> tuple[NDArray[np.intp], list[V]]:
    """Read every distinct text once: codes into values, row for row; null and rejected texts become `empty`.

    Args:
        column: texts, as they are or in a dictionary.
        read: reads a text.
        empty: what is read of no text.
        rejected: gets the rows whose text cannot be read.
        known: what texts of the column were read as before, or why they could not be; gets more.
    """
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values: list[V] = [empty]
    wrong: dict[int, str] = {}
    if len(known) > _REMEMBERED:
        known.clear()
    for code, text in enumerate(encoded.dictionary.to_pylist(), 1):
        values.append(empty)
        if text is None:
            continue
        if text not in known:
            try:
                known[text] = read(text.strip())
            except InvalidInput as error:
                known[text] = _Wrong(str(error))
        found = known[text]
        if isinstance(found, _Wrong):
            wrong[code] = found.reason
        else:
            values[-1] = found
    codes: NDArray[np.intp] = np.asarray(encoded.indices.cast(pa.int64()).fill_null(-1)) + 1
    for code, reason in wrong.items():
        rejected.add(np.flatnonzero(codes == code), reason)
    return codes, values


@dataclass(frozen=True, slots=True)
class _Wrong:
    """Why a text cannot be read."""

    reason: str


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(pa.large_string())


def _is_blank(column: pa.Array) -> NDArray[np.bool_]:
    """Which rows are empty."""
    blank: NDArray[np.bool_] = ~np.asarray(column.is_valid())
    if not pa.types.is_integer(column.type) and not pa.types.is_null(column.type):
        blank |= np.asarray(pc.equal(pc.utf8_trim_whitespace(_plain(column)), "").fill_null(True))
    return blank


def has_no_gaps(column: pa.Array | pa.ChunkedArray | None) -> bool:
    """Whether a column is there, and gives a value in each row.

    >>> has_no_gaps(pa.array(["sms", " "])), has_no_gaps(pa.array([["sms"], ["voice"]])), has_no_gaps(None)
    (False, True, False)
    """
    if column is None:
        return False
    if isinstance(column, pa.ChunkedArray):
        return all(has_no_gaps(chunk) for chunk in column.chunks)
    if isinstance(column, (pa.ListArray, pa.LargeListArray)):
        return not bool(np.any(np.asarray(pc.list_value_length(column).fill_null(0)) == 0))
    return not bool(_is_blank(column).any())


def _is_text_type(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text_type(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)) or bool(
        pa.types.is_null(kind)
    )


def _expect(column: pa.Array, name: str, expected: str, is_expected: Callable[[pa.DataType], bool]) -> None:
    if not is_expected(column.type):
        raise InvalidInput(f"the column {name!r} must be {expected}, not {column.type}")
