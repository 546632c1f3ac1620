"""A list, cut into cells: the first of two steps from a file to rows; the second is `rows`.

A list is a file as people keep it (see `tables`) or an Arrow table. Only its shape is interpreted here: where a row
ends, which column is which. A cell is still what was written: whether it holds a number, a level or a moment is for
`rows` to decide. A line that cannot be cut is a reject, and a file that cannot be read at all is an error.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.arguments import check_column, check_path
from blocklist_sdk.release.arrow import SCHEMA
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.tables.cells import NEGATIVE as NEGATIVE
from blocklist_sdk.tables.cells import why_digits_are_gone
from blocklist_sdk.tables.header import Meanings, place_columns, wanted_names
from blocklist_sdk.tables.mapped_words import MappedWords
from blocklist_sdk.tables.options import PLAIN, TableOptions
from blocklist_sdk.tables.rejects import Reject
from blocklist_sdk.tables.table import Table, open_table, told, translated, translations

_NOT_UTF8 = "not UTF-8"

_LOOKED_AT_BYTES = 16
"""A cell without any letter or digit is shorter than this, or it is a reject like others."""

Notify = Callable[[str], None]


@dataclass(slots=True)
class Cells:
    """A list cut into cells.

    Attributes:
        line: the line of each row, from 1; a header is line 1.
        columns: `number` and the other columns of a list that it has, as Arrow arrays of equal length.
        rejects: lines that could not be cut.
        blank: number of empty lines.
        column: the list's name for the column with the numbers; None if the list has no header.
        is_release: whether the list is a release as `blocklist export` writes it, whose digits are E.164 numbers
            whatever the region.
        date_format: the form of dates that was declared; dates that fit it are ISO 8601 already.
    """

    line: Int64s
    columns: dict[str, pa.Array]
    rejects: list[Reject] = field(default_factory=list)
    blank: int = 0
    column: str | None = None
    is_release: bool = False
    date_format: str | None = None


def read_cells(
    source: Any,
    *,
    column: str | None = None,
    options: TableOptions = PLAIN,
    notify: Notify | None = None,
    meanings: Meanings | None = None,
) -> Cells:
    """Cut a list into cells.

    Args:
        source: a path to a file, or an open binary file; or a table: anything with ``__arrow_c_stream__`` (pyarrow,
            Polars, pandas, DuckDB).
        column: the column with the numbers; by default ``number``, or else the only one that is not another column of
            a list.
        options: how to read a list that does not speak for itself.
        notify: called with what was skipped or is ignored, and with the words that do not fit their mapping, each in a
            line, before anything else is done.
        meanings: the columns of a list, and what names them in messages; by default the publisher's options.

    Raises:
        InvalidInput: the list cannot be read, or has no such column.
    """
    column = check_column(column)
    if isinstance(source, (str, Path)):
        source = check_path("the list", source)
    elif hasattr(source, "__arrow_c_stream__"):
        return _from_table(_table_of(source), column, options, notify)
    elif not hasattr(source, "read"):
        raise InvalidInput(
            f"the list must be the path of a file, an open file or an Arrow table, not a {type(source).__name__}"
        )
    with open_table(source, column=column, meanings=meanings, options=options, may_be_flat=True) as table:
        _tell(notify, table.notes, table.ignored)
        cells = _typed(table) if table.is_typed else _texts(table)
        _tell_words(notify, table.words)
    return replace(_with_digits(cells), date_format=options.date_format)


def _tell(notify: Notify | None, notes: Sequence[str], ignored: Sequence[str]) -> None:
    if notify is not None:
        for line in told(notes, ignored):
            notify(line)


def _tell_words(notify: Notify | None, words: Iterable[MappedWords]) -> None:
    for each in words:
        if notify and (remark := each.remark()):
            notify(remark)


def _texts(table: Table) -> Cells:
    """The cells of a table of texts."""
    lines: list[Int64s] = []
    parts: dict[str, list[pa.Array]] = {name: [] for name in table.places}
    rejects: list[Reject] = []
    blank = 0
    for batch in table.batches:
        rejects += batch.rejects
        batch = batch.readable()
        keep = ~_blank_rows(batch.rows, table.number)
        blank += len(keep) - int(keep.sum())
        rows = batch.rows if keep.all() else batch.rows.filter(pa.array(keep))
        lines.append(batch.lines[keep])
        for name, place in table.places.items():
            parts[name].append(_large(rows.column(place)))
    cells = Cells(
        line=np.concatenate([np.empty(0, np.int64), *lines]),
        columns={name: _whole(pa.chunked_array(arrays, pa.large_string())) for name, arrays in parts.items()},
        blank=blank,
        column=table.column,
        is_release=_is_release(table.names, table.column),
    )
    cells = _without_other_bytes(cells)
    return replace(cells, rejects=rejects + cells.rejects)


def _blank_rows(rows: pa.RecordBatch, number: int) -> Any:
    """Which rows have no cell with anything in it."""
    lengths = np.asarray(pc.binary_length(rows.column(number)).fill_null(0))
    blank = np.zeros(len(rows), np.bool_)
    for row in np.flatnonzero(lengths < _LOOKED_AT_BYTES).tolist():
        blank[row] = all(_is_blank(column[row]) for column in (rows.column(number), *rows.columns))
    return blank


def _is_blank(cell: Any) -> bool:
    data = cell.as_buffer()
    return data is None or not data.to_pybytes().decode(errors="replace").strip()


def _with_digits(cells: Cells) -> Cells:
    """The rows whose numbers have all their digits."""
    reasons: dict[int, tuple[str, str]] = {}
    for name in ("last", "number"):
        column = cells.columns.get(name)
        if column is None or not pa.types.is_large_string(column.type):
            continue
        maybe = np.flatnonzero(np.asarray(pc.match_substring_regex(column, r"[0-9][eE][+-]?[0-9]").fill_null(False)))
        for row, text in zip(maybe.tolist(), column.take(pa.array(maybe)).to_pylist(), strict=True):
            if reason := why_digits_are_gone(text):
                reasons[row] = (reason, text)
    if not reasons:
        return cells
    rejects = [Reject(int(cells.line[row]), *reasons[row]) for row in sorted(reasons)]
    keep = np.ones(len(cells.line), np.bool_)
    keep[list(reasons)] = False
    columns = {name: column.filter(pa.array(keep)) for name, column in cells.columns.items()}
    return replace(cells, line=cells.line[keep], columns=columns, rejects=[*cells.rejects, *rejects])


def _typed(table: Table) -> Cells:
    """The cells of a table whose columns have types."""
    parts: dict[str, list[pa.Array]] = {name: [] for name in table.places}
    lines: list[Int64s] = []
    for batch in table.batches:
        lines.append(batch.lines)
        for name, place in table.places.items():
            parts[name].append(batch.rows.column(place))
    columns = {
        name: _whole(pa.chunked_array(arrays) if arrays else pa.chunked_array([], pa.large_string()))
        for name, arrays in parts.items()
    }
    cells = Cells(
        line=np.concatenate([np.empty(0, np.int64), *lines]),
        columns=columns,
        column=table.column,
        is_release=_is_release(table.names, table.column),
    )
    return _without_other_bytes(cells)


def _is_release(names: Sequence[str], number: str | None) -> bool:
    return set(SCHEMA.names) <= set(names) and number == "number"


# Arrow tables


def _table_of(source: Any) -> pa.Table:
    try:
        return pa.table(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidInput(f"the {type(source).__name__} cannot be read as an Arrow table: {error}") from error


def _from_table(table: pa.Table, column: str | None, options: TableOptions, notify: Notify | None) -> Cells:
    names = table.column_names
    meanings = Meanings()
    places = place_columns(names, wanted=wanted_names(options, column, meanings), meanings=meanings)
    _tell(notify, (), [name for i, name in enumerate(names) if i not in places.values()])
    changes = translations(options, places)
    given = {name: _whole(table.column(place)) for name, place in places.items()}
    number = names[places["number"]]
    cells = Cells(
        line=np.arange(1, len(table) + 1),
        columns={name: translated(array, changes[name]) if name in changes else array for name, array in given.items()},
        column=number,
        is_release=_is_release(names, number),
        date_format=options.date_format,
    )
    _tell_words(notify, (change for change in changes.values() if isinstance(change, MappedWords)))
    return _with_digits(_without_other_bytes(cells))


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
