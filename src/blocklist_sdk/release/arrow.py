"""Rows as Arrow, for files and for other people's tools."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.limits import check_distinct_texts, check_text_bytes
from blocklist_sdk.release.rows import FOREVER_MS, TEXT_COLUMNS, Int64s, Rows, Texts

MOMENT = pa.timestamp("ms", "UTC")
TEXT = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("last", pa.int64()),
        pa.field("entry", pa.int64(), nullable=False),
        pa.field("level", TEXT, nullable=False),
        pa.field("category", TEXT, nullable=False),
        pa.field("issuer", TEXT, nullable=False),
        pa.field("scope", TEXT, nullable=False),
        pa.field("since", MOMENT, nullable=False),
        pa.field("until", MOMENT),
    ]
)
"""A snapshot's columns. A reader ignores columns it does not know."""


def to_table(rows: Rows) -> pa.Table:
    """Rows as an Arrow table of `SCHEMA`; numbers are not copied."""
    n = len(rows)
    columns = {
        "number": pa.array(rows.number),
        "last": pa.array(rows.last, mask=rows.last == rows.number) if rows.has_ranges else pa.nulls(n, pa.int64()),
        "entry": pa.array(rows.entry),
        "since": pa.array(rows.since).cast(MOMENT),
        "until": pa.array(rows.until, mask=rows.until == FOREVER_MS).cast(MOMENT),
        **{name: _to_dictionary(getattr(rows, name)) for name in TEXT_COLUMNS},
    }
    return pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def from_table(table: pa.Table) -> Rows:
    """Rows from an Arrow table that has at least the columns of `SCHEMA`, in the order in which they stand.

    Raises:
        Malformed: a column is missing, of another type, or has nulls where none are allowed.
    """
    number = int64s(table, "number")
    last = column(table, "last", pa.int64())
    rows = Rows(
        number=number,
        last=number,
        entry=int64s(table, "entry"),
        **{name: texts(table, name) for name in TEXT_COLUMNS},
        since=int64s(table, "since", MOMENT),
        until=_filled(column(table, "until", MOMENT).cast(pa.int64()), FOREVER_MS, "until"),
    )
    if last.null_count == len(last):
        return rows
    return rows.with_last(np.asarray(pc.coalesce(last, table.column("number").combine_chunks())))


def column(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """One column as one array of that type.

    Raises:
        Malformed: it is missing or of another type.
    """
    if table.schema.get_field_index(name) < 0:
        raise Malformed(f"the file has no column {name!r}, or has it twice")
    found = table.column(name)
    if found.type != kind:
        raise Malformed(f"the file's column {name!r} is {found.type}, not {kind}")
    return _as_one(found)


def _as_one(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; Arrow would copy also what is one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def int64s(table: pa.Table, name: str, kind: pa.DataType = pa.int64()) -> Int64s:  # noqa: B008
    """One column without nulls as integers.

    Raises:
        Malformed: it is missing, of another type, or has nulls.
    """
    array = column(table, name, kind)
    _reject_nulls(array, name)
    values: Int64s = np.asarray(array.cast(pa.int64()))
    return values


def texts(table: pa.Table, name: str) -> Texts:
    """One text column without nulls, dictionary-encoded or plain.

    Raises:
        Malformed: it is missing, of another type, has nulls, is not UTF-8, or is beyond the limits of texts.
    """
    if table.schema.get_field_index(name) < 0:
        raise Malformed(f"the file has no column {name!r}, or has it twice")
    found = table.column(name)
    if found.type in (pa.string(), pa.large_string()):
        found = found.cast(pa.string()).dictionary_encode()
    if not pa.types.is_dictionary(found.type) or found.type.value_type != pa.string():
        raise Malformed(f"the file's column {name!r} is {found.type}, not text")
    _reject_nulls(found, name)
    if not len(found):
        return Texts.repeat("", 0)
    array = _as_one(found.unify_dictionaries())
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    # Before a single text becomes a Python object.
    check_distinct_texts(name, len(array.dictionary))
    check_text_bytes(name, pc.max(pc.binary_length(array.dictionary)).as_py() or 0)
    try:
        values = array.dictionary.to_pylist()
    except UnicodeDecodeError as error:
        raise Malformed(f"the file's column {name!r} holds text that is not UTF-8") from error
    if None in values:
        raise Malformed(f"the file's column {name!r} has a null in its dictionary")
    few = len(values) <= np.iinfo(np.uint8).max
    return Texts.encode(np.asarray(array.indices.cast(pa.uint8()) if few else array.indices), values)


def _reject_nulls(array: pa.Array | pa.ChunkedArray, name: str) -> None:
    if array.null_count:
        raise Malformed(f"the file's column {name!r} has {array.null_count} empty cells, where none may be")


def _filled(array: pa.Array, value: int, name: str) -> Int64s:
    filled: NDArray[np.int64] = np.asarray(array.fill_null(value) if array.null_count else array)
    # Written out it would mean the same as null, and two files of one list could differ.
    if np.count_nonzero(filled == value) != array.null_count:
        raise Malformed(f"the file's column {name!r} has {value} written out, where the cell must be empty")
    return filled


def _to_dictionary(column: Texts) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(column.codes.astype(np.int32)), pa.array(column.values, pa.string()))
