"""A list, cut into cells: the first of two steps from a file to rows; the second is `rows`.

A list is a file as people keep it (see `tables`) or an Arrow table. Only its shape is interpreted here: where a row
ends, which column is which. A cell is still what was written: whether it holds a number, a level or a moment is for
`rows` to decide. A line that cannot be cut is a reject, and a file that cannot be read at all is an error.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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

_NUMBERS = ("number", "last")

_ROWS_AT_A_TIME = 1 << 17

_LOOKED_AT_BYTES = 16
"""A cell without any letter or digit is shorter than this, or it is a reject like others."""

_SPACE, _ASCII = 0x20, 0x7F

Notify = Callable[[str], None]


@dataclass(slots=True)
class Cells:
    """A list cut into cells.

    Attributes:
        line: the line of each row, from 1; a header is line 1.
        columns: `number` and the other columns of a list that it has, as chunked Arrow arrays of equal length. A column
            of texts that is not of numbers may be a dictionary.
        rejects: lines that could not be cut.
        blank: number of empty lines.
        column: the list's name for the column with the numbers; None if the list has no header.
        is_release: whether the list is a release as `blocklist export` writes it, whose digits are E.164 numbers
            whatever the region.
        date_format: the form of dates that was declared; dates that fit it are ISO 8601 already.
    """

    line: Int64s
    columns: dict[str, pa.ChunkedArray]
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
        pieces = _typed(table) if table.is_typed else _texts(table)
        cells = _joined(pieces, dict.fromkeys(table.places, pa.large_string()))
        _tell_words(notify, table.words)
    is_release = _is_release(table.names, table.column)
    return replace(cells, column=table.column, is_release=is_release, date_format=options.date_format)


@dataclass(slots=True)
class _Piece:
    """Some rows of a list.

    Attributes:
        line: the line of each row.
        columns: the columns, as Arrow arrays of equal length.
        rejects: lines that could not be cut.
        blank: number of empty lines.
    """

    line: Int64s
    columns: dict[str, pa.Array]
    rejects: list[Reject] = field(default_factory=list)
    blank: int = 0


def _joined(pieces: Iterable[_Piece], kinds: Mapping[str, pa.DataType]) -> Cells:
    """The pieces of a list as one; each of them is made narrow before the next one is cut.

    Args:
        pieces: one after the other.
        kinds: the columns, with their types if there is no piece.
    """
    lines: list[Int64s] = []
    chunks: dict[str, list[pa.Array]] = {name: [] for name in kinds}
    rejects: list[Reject] = []
    blank = 0
    for piece in pieces:
        piece = _with_digits(_without_other_bytes(piece))
        rejects += piece.rejects
        blank += piece.blank
        lines.append(piece.line)
        for name, found in chunks.items():
            found.append(_narrow(name, piece.columns[name]))
    columns = {name: pa.chunked_array(found, found[0].type if found else kinds[name]) for name, found in chunks.items()}
    return Cells(np.concatenate([np.empty(0, np.int64), *lines]), columns, rejects, blank)


def _narrow(name: str, column: pa.Array) -> pa.Array:
    """A column in less memory: texts that may repeat in a dictionary, others without what buffers have to spare."""
    if not pa.types.is_large_string(column.type):
        return column
    return pa.concat_arrays([column, column[:0]]) if name in _NUMBERS else column.dictionary_encode()


def _tell(notify: Notify | None, notes: Sequence[str], ignored: Sequence[str]) -> None:
    if notify is not None:
        for line in told(notes, ignored):
            notify(line)


def _tell_words(notify: Notify | None, words: Iterable[MappedWords]) -> None:
    for each in words:
        if notify and (remark := each.remark()):
            notify(remark)


def _texts(table: Table) -> Iterator[_Piece]:
    """The cells of a table of texts."""
    for batch in table.batches:
        rejects = batch.rejects
        batch = batch.readable()
        keep = ~_blank_rows(batch.rows, table.number)
        rows = batch.rows if keep.all() else batch.rows.filter(pa.array(keep))
        columns = {name: _large(rows.column(place)) for name, place in table.places.items()}
        yield _Piece(batch.lines[keep], columns, rejects, len(keep) - int(keep.sum()))


def _blank_rows(rows: pa.RecordBatch, number: int) -> NDArray[np.bool_]:
    """Which rows have no cell with anything in it."""
    blank = np.zeros(len(rows), np.bool_)
    for row in np.flatnonzero(_may_be_blank(rows.column(number))).tolist():
        blank[row] = all(_is_blank(column[row]) for column in (rows.column(number), *rows.columns))
    return blank


def _may_be_blank(column: Any) -> NDArray[np.bool_]:
    """Which cells are short, and empty or begin with what may be a blank; those beyond ASCII begin with a high byte."""
    column = _large(column)
    lengths = np.asarray(pc.binary_length(column).fill_null(0))
    maybe: NDArray[np.bool_] = lengths == 0
    _, offsets, data = column.buffers()
    if data is None or not len(data):
        return maybe
    begin = np.frombuffer(offsets, np.int64, len(column), 8 * column.offset)
    first = np.take(np.frombuffer(data, np.uint8), begin, mode="clip")
    return maybe | (lengths < _LOOKED_AT_BYTES) & ((first <= _SPACE) | (first > _ASCII))


def _is_blank(cell: Any) -> bool:
    data = cell.as_buffer()
    return data is None or not data.to_pybytes().decode(errors="replace").strip()


def _with_digits(piece: _Piece) -> _Piece:
    """The rows whose numbers have all their digits."""
    reasons: dict[int, tuple[str, str]] = {}
    for name in ("last", "number"):
        column = piece.columns.get(name)
        if column is None or not pa.types.is_large_string(column.type):
            continue
        maybe = np.flatnonzero(np.asarray(pc.match_substring_regex(column, r"[0-9][eE][+-]?[0-9]").fill_null(False)))
        for row, text in zip(maybe.tolist(), column.take(pa.array(maybe)).to_pylist(), strict=True):
            if reason := why_digits_are_gone(text):
                reasons[row] = (reason, text)
    if not reasons:
        return piece
    rejects = [Reject(int(piece.line[row]), *reasons[row]) for row in sorted(reasons)]
    keep = np.ones(len(piece.line), np.bool_)
    keep[list(reasons)] = False
    columns = {name: column.filter(pa.array(keep)) for name, column in piece.columns.items()}
    return replace(piece, line=piece.line[keep], columns=columns, rejects=[*piece.rejects, *rejects])


def _typed(table: Table) -> Iterator[_Piece]:
    """The cells of a table whose columns have types."""
    for batch in table.batches:
        yield _Piece(batch.lines, {name: _plain(batch.rows.column(place)) for name, place in table.places.items()})


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
    number = names[places["number"]]

    def pieces() -> Iterator[_Piece]:
        begin = 1
        for batch in table.select(list(places.values())).to_batches(max_chunksize=_ROWS_AT_A_TIME):
            columns = {name: _plain(batch.column(i)) for i, name in enumerate(places)}
            for name in changes:
                columns[name] = translated(columns[name], changes[name])
            yield _Piece(np.arange(begin, begin + len(batch)), columns)
            begin += len(batch)

    cells = _joined(pieces(), {name: _plain(pa.nulls(0, table.column(at).type)).type for name, at in places.items()})
    _tell_words(notify, (change for change in changes.values() if isinstance(change, MappedWords)))
    is_release = _is_release(names, number)
    return replace(cells, column=number, is_release=is_release, date_format=options.date_format)


def _without_other_bytes(piece: _Piece) -> _Piece:
    """The rows whose texts are UTF-8; some writers of Parquet files do not check it."""
    good = np.ones(len(piece.line), bool)
    for name, column in piece.columns.items():
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if not pa.types.is_large_string(column.type):
                raise InvalidInput(f"the column {name!r} is damaged: {error}. Nothing was published.") from error
            good &= [value is None or _is_utf8(value) for value in column.cast(pa.large_binary()).to_pylist()]
    if good.all():
        return piece
    written = piece.columns["number"]
    if pa.types.is_large_string(written.type):
        written = written.cast(pa.large_binary())
    bad = np.flatnonzero(~good)
    rejects = [
        Reject(line, _NOT_UTF8, value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value))
        for line, value in zip(piece.line[bad].tolist(), written.take(pa.array(bad)).to_pylist(), strict=True)
    ]
    columns = {name: column.filter(pa.array(good)) for name, column in piece.columns.items()}
    return replace(piece, line=piece.line[good], columns=columns, rejects=[*piece.rejects, *rejects])


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(column: Any) -> Any:
    """An array without a dictionary, and texts as large strings."""
    if pa.types.is_dictionary(column.type):
        return _large(column.dictionary).take(column.indices)
    return _large(column)


def _large(column: Any) -> Any:
    """Texts as large strings, whatever offsets they have."""
    is_small = pa.types.is_string(column.type) or pa.types.is_string_view(column.type)
    return column.cast(pa.large_string()) if is_small else column
