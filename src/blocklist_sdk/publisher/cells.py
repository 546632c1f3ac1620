"""A list, cut into cells: the first of two steps from a file to rows; the second is `rows`.

A list is a file as people keep it (CSV, plain text, JSONL, Parquet; gzipped or not) or an Arrow table. Only its shape
is interpreted here: where a row ends, which column is which. A cell is still what was written: whether it holds a
number, a level or a moment is for `rows` to decide. A line that cannot be cut is a reject, and a file that cannot be
read at all is an error.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.arguments import check_column, check_path, is_text
from blocklist_sdk.publisher.rejects import Reject
from blocklist_sdk.release.arrow import SCHEMA
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.tabular import OPTIONAL_COLUMNS, delimiter_of, encoding_of, first_line, header_of, number_column

_ROWS_PER_BATCH = 1 << 16

_CELL_CHARS_MAX = csv.field_size_limit()

NEGATIVE = "a negative integer is not a telephone number"


@dataclass(slots=True)
class Cells:
    """A list cut into cells.

    Attributes:
        line: the line of each row, from 1; a header is line 1.
        columns: `number` and those of `OPTIONAL_COLUMNS` that the list has, as Arrow arrays of equal length.
        rejects: lines that could not be cut.
        blank: number of empty lines.
        column: the list's name for the column with the numbers; None if the list has no header.
        is_release: whether the list is a release file, whose integers are E.164 numbers whatever the region.
    """

    line: Int64s
    columns: dict[str, pa.Array]
    rejects: list[Reject] = field(default_factory=list)
    blank: int = 0
    column: str | None = None
    is_release: bool = False


def read_cells(source: Any, *, column: str | None = None) -> Cells:
    """Cut a list into cells.

    Args:
        source: a path to a CSV, plain text, JSONL or Parquet file, gzipped or not; or a table: anything with
            ``__arrow_c_stream__`` (pyarrow, Polars, pandas, DuckDB).
        column: the column with the numbers; by default ``number``, or else the only one that is not an optional column.

    Raises:
        InvalidInput: the list cannot be read, or has no such column.
    """
    column = check_column(column)
    if not isinstance(source, (str, Path)):
        if not hasattr(source, "__arrow_c_stream__"):
            raise InvalidInput(f"the list must be the path of a file or an Arrow table, not a {type(source).__name__}")
        return _from_table(_table_of(source), column)
    path = check_path("the list", source)
    try:
        if path.exists() and not path.is_file():
            raise InvalidInput(f"{path} is not a regular file: cannot read a list from it")
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PAR1":
            return _read_parquet(path, column)
        return _read_text(path, column, is_gzip=head[:2] == b"\x1f\x8b")
    except UnicodeError as error:
        raise InvalidInput(
            f"{path} is not text in the encoding that its first bytes announce: save it as UTF-8"
        ) from error
    except (EOFError, zlib.error) as error:
        raise InvalidInput(f"{path} is incomplete or damaged: {error}. Nothing was published.") from error
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from error


# Tables


def _read_parquet(path: Path, column: str | None) -> Cells:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = {_number_name(names, column), *(name for name in names if name.strip().lower() in SCHEMA.names)}
            return _from_table(file.read(columns=sorted(wanted)), column)
    except pa.ArrowException as error:
        raise InvalidInput(f"{path} is not a readable Parquet file: {error}") from error


def _table_of(source: Any) -> pa.Table:
    try:
        return pa.table(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidInput(f"the {type(source).__name__} cannot be read as an Arrow table: {error}") from error


def _from_table(table: pa.Table, column: str | None) -> Cells:
    names = table.column_names
    number = _number_name(names, column)
    optional = _optional([name for name in names if name != number])
    given = {"number": number} | optional
    cells = Cells(
        line=np.arange(1, len(table) + 1),
        columns={name: _whole(table.column(column)) for name, column in given.items()},
        column=number,
        is_release=set(SCHEMA.names) <= set(names) and number == "number",
    )
    return _without_other_bytes(cells)


def _without_other_bytes(cells: Cells) -> Cells:
    """The rows whose texts are UTF-8; some writers of Parquet files do not check it."""
    good = np.ones(len(cells.line), bool)
    for name, column in cells.columns.items():
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if not pa.types.is_large_string(column.type):
                raise InvalidInput(f"the column {name!r} is damaged: {error}. Nothing was published.") from error
            good &= [value is None or _is_utf8(value) for value in column.cast(pa.large_binary()).to_pylist()]
    if good.all():
        return cells
    written = cells.columns["number"]
    if pa.types.is_large_string(written.type):
        written = written.cast(pa.large_binary())
    bad = np.flatnonzero(~good)
    rejects = [
        Reject(line, _NOT_UTF8, value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value))
        for line, value in zip(cells.line[bad].tolist(), written.take(pa.array(bad)).to_pylist(), strict=True)
    ]
    columns = {name: column.filter(pa.array(good)) for name, column in cells.columns.items()}
    return replace(cells, line=cells.line[good], columns=columns, rejects=rejects)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; of large strings, since ten million texts may be too long for 32-bit offsets."""
    if pa.types.is_dictionary(column.type):
        plain = [_large(chunk.dictionary).take(chunk.indices) for chunk in column.chunks]
        column = pa.chunked_array(plain, None if plain else pa.large_string())
    array = _large(column).combine_chunks()
    return array if isinstance(array, pa.Array) else array.chunk(0)


def _large(column: Any) -> Any:
    is_small = pa.types.is_string(column.type) or pa.types.is_string_view(column.type)
    return column.cast(pa.large_string()) if is_small else column


# Text


def _read_text(path: Path, column: str | None, *, is_gzip: bool) -> Cells:
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        data = stack.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=raw))) if is_gzip else raw
        text = stack.enter_context(io.TextIOWrapper(data, encoding=encoding_of(data), errors=_ESCAPE))
        suffixes = [suffix.lower() for suffix in path.suffixes]
        cut = _cut_json if {".jsonl", ".ndjson"} & set(suffixes) else _cut_csv
        return cut(text, column, path.name)


_ESCAPE = "surrogateescape"
"""Bytes that are not UTF-8 are kept when they are read, so that only their own line becomes a reject."""

_NOT_UTF8 = "not UTF-8"


def _cut_csv(text: Iterable[str], column: str | None, name: str) -> Cells:
    lines = iter(text)
    blank, first = first_line(lines, name)
    delimiter = delimiter_of(first)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    try:
        top = next(reader)
        names = header_of([cell.strip() for cell in top], column)
        given_name: str | None = None
        positions = {"number": 0}
        if names is not None:
            given_name = number_column(names, column)
            number = names.index(given_name)
            others = [name for i, name in enumerate(names) if i != number]
            positions = {"number": number} | {name: names.index(given) for name, given in _optional(others).items()}
        cut = _Cutter(width=len(top), positions=positions, blank=blank)
        if names is None:
            cut.add([top], blank, blank + reader.line_num)
        line = reader.line_num
        while rows := list(islice(reader, _ROWS_PER_BATCH)):
            cut.add(rows, blank + line, blank + reader.line_num)
            line = reader.line_num
    except csv.Error as error:
        what = f"a cell is longer than {_CELL_CHARS_MAX:,} characters" if "field limit" in str(error) else str(error)
        raise InvalidInput(
            f"{name}, line {blank + reader.line_num}: {what}. Close each quotation mark before the next cell or line "
            "begins. Nothing was published."
        ) from error
    return replace(cut.cells(), column=given_name)


def _number_name(names: Sequence[str], column: str | None) -> str:
    """The list's name for the column with the numbers; white space around names is ignored."""
    trimmed = [name.strip() for name in names]
    return names[trimmed.index(number_column(trimmed, column))]


def _optional(names: Sequence[str]) -> dict[str, str]:
    """The list's names for the optional columns that it has, by our names; upper and lower case are the same.

    Raises:
        InvalidInput: the list has one of them twice.
    """
    optional: dict[str, str] = {}
    for name in names:
        known = name.strip().lower()
        if known in optional:
            raise InvalidInput(f"the list has the column {known!r} twice: leave one out")
        if known in OPTIONAL_COLUMNS:
            optional[known] = name
    return optional


class _Cutter:
    """Collects rows of text cells into columns; `positions` are those of the columns in a row."""

    def __init__(self, *, width: int, positions: dict[str, int], blank: int) -> None:
        self._width = width
        self._positions = positions
        self._lines: list[Int64s] = []
        self._columns: dict[str, list[pa.Array]] = {name: [] for name in positions}
        self._rejects: list[Reject] = []
        self._blank = blank

    def add(self, rows: list[list[str]], start: int, stop: int) -> None:
        """Add the rows after line `start`, up to and including line `stop`."""
        number = self._positions["number"]
        is_even = stop - start == len(rows) and set(map(len, rows)) == {self._width}
        if is_even and all(row[number].strip() for row in rows):
            self._append(rows, np.arange(start + 1, stop + 1))
        else:
            self._append(*self._sift(rows, start))

    def cells(self) -> Cells:
        """The cells collected so far."""
        columns = {name: pa.chunked_array(parts, pa.large_string()) for name, parts in self._columns.items()}
        return Cells(
            line=np.concatenate([np.empty(0, np.int64), *self._lines]),
            columns={name: _whole(array) for name, array in columns.items()},
            rejects=self._rejects,
            blank=self._blank,
        )

    def _sift(self, rows: list[list[str]], start: int) -> tuple[list[list[str]], Int64s]:
        kept: list[list[str]] = []
        lines: list[int] = []
        for row in rows:
            line = start + 1
            start = line + sum(cell.count("\n") for cell in row)
            if not any(map(str.strip, row)):
                self._blank += 1
            elif len(row) != self._width:
                self._reject(
                    line, f"the line has another number of cells ({len(row)}) than the first ({self._width})", row
                )
            else:
                kept.append(row)
                lines.append(line)
        return kept, np.array(lines, np.int64)

    def _append(self, rows: list[list[str]], line: Int64s) -> None:
        if not rows:
            return
        columns = list(zip(*rows, strict=True))
        try:
            arrays = {name: pa.array(columns[i], pa.large_string()) for name, i in self._positions.items()}
        except UnicodeEncodeError:
            good = [all(map(is_text, row)) for row in rows]
            for row, at, is_good in zip(rows, line.tolist(), good, strict=True):
                if not is_good:
                    self._reject(at, _NOT_UTF8, row)
            self._append([row for row, is_good in zip(rows, good, strict=True) if is_good], line[np.array(good)])
            return
        self._lines.append(line)
        for name, array in arrays.items():
            self._columns[name].append(array)

    def _reject(self, line: int, reason: str, row: Sequence[str]) -> None:
        self._rejects.append(Reject(line, reason, _printable(",".join(row))))


# JSONL


def _cut_json(text: Iterable[str], column: str | None, name: str) -> Cells:
    rejects: list[Reject] = []
    documents: list[tuple[int, dict[str, Any]]] = []
    blank = 0
    for line, written in enumerate(text, 1):
        if not written.strip():
            blank += 1
            continue
        try:
            document = json.loads(written)
        except (ValueError, RecursionError) as error:
            rejects.append(Reject(line, f"not JSON: {error}", _printable(written.strip())))
            continue
        if isinstance(document, dict):
            documents.append((line, document))
        else:
            rejects.append(Reject(line, "not a JSON object", _printable(written.strip())))
    names = list(dict.fromkeys(key for _, document in documents for key in document))
    if not documents:
        raise InvalidInput(f"{name} has no JSON object: each line must be one. Nothing was published.")
    number = _number_name(names, column)
    keys = {"number": number} | _optional([key for key in names if key != number])
    kept: list[int] = []
    columns: dict[str, list[str | None]] = {key: [] for key in keys}
    for line, document in documents:
        try:
            row = {key: _json_cell(key, document.get(given)) for key, given in keys.items()}
        except InvalidInput as error:
            given = document.get(number)
            rejects.append(Reject(line, str(error), _printable(str(given)) if isinstance(given, str | int) else ""))
            continue
        kept.append(line)
        for key, cell in row.items():
            columns[key].append(cell)
    return Cells(
        line=np.array(kept, np.int64),
        columns={key: pa.array(cells, pa.large_string()) for key, cells in columns.items()},
        rejects=rejects,
        blank=blank,
        column=number,
    )


def _json_cell(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if key == "scope" and isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = "+".join(value)
    if isinstance(value, str):
        if not is_text(value):
            raise InvalidInput(f"its {key!r} is {_NOT_UTF8}")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0 and key in ("number", "last"):
            raise InvalidInput(NEGATIVE)
        return str(value)
    raise InvalidInput(f"its {key!r} is neither text nor a whole number")


def _printable(text: str) -> str:
    """Text that can be written: bytes that are not UTF-8, and halves of JSON's escapes, with backslashes."""
    try:
        data = text.encode("utf-8", _ESCAPE)
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")
