"""Release files: Parquet snapshots and deltas.

Readers trust nothing about a file but its signed hash, which is checked before any of this sees a byte; what is
checked here is that a publisher kept to the protocol.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.arrow import SCHEMA, TEXT, column, from_table, int64s, texts, to_table
from blocklist_sdk.release.merge import Delta, Removals
from blocklist_sdk.release.rows import TEXT_COLUMNS, Int64s, Rows, is_sorted, joined

_PUT, _REMOVE = "put", "remove"

DELTA_SCHEMA = pa.schema(
    [
        *(field if field.name in ("number", "entry") else field.with_nullable(True) for field in SCHEMA),
        pa.field("op", TEXT, nullable=False),
    ]
)
"""A delta's columns: a `remove` names the entry and leaves the rest empty."""

_ROWS_PER_GROUP = 1 << 20
"""Groups are decoded side by side; a million rows still compress as well as the whole."""

_ROWS_AT_A_TIME = 1 << 18
"""A snapshot is read in parts: what they take while they are decoded is a small share of a long list."""

_ZSTD_LEVEL = 9


def write_snapshot(rows: Rows, path: Path) -> None:
    """Write a snapshot; `rows` are in canonical order."""
    _write(to_table(rows), path)


def read_snapshot(path: Path) -> Rows:
    """Read a snapshot.

    Raises:
        Malformed: it is not a Parquet file, or not one that the protocol allows.
    """
    with _opened(path) as (file, wanted):
        # Also where there is not one row, the columns must be right.
        from_table(file.schema_arrow.empty_table().select(wanted))
        batches = file.iter_batches(_ROWS_AT_A_TIME, columns=wanted)
        rows = joined((from_table(pa.Table.from_batches([batch])) for batch in batches), file.metadata.num_rows)
    # Arrow would keep what it decoded into, for the next file.
    pa.default_memory_pool().release_unused()
    rows.validate()
    return rows


def write_delta(delta: Delta, path: Path) -> None:
    """Write a delta."""
    gone = delta.removes
    empty = {name: pa.nulls(len(gone), SCHEMA.field(name).type) for name in (*TEXT_COLUMNS, "since", "until")}
    removes = {
        "number": pa.array(gone.number),
        "last": pa.array(gone.last, mask=gone.last == gone.number),
        "entry": pa.array(gone.entry),
        **empty,
        "op": pa.array([_REMOVE] * len(gone), TEXT),
    }
    puts = to_table(delta.puts).append_column("op", pa.array([_PUT] * len(delta.puts), TEXT))
    both = pa.concat_tables(
        [
            pa.Table.from_arrays(puts.columns, schema=DELTA_SCHEMA),
            pa.Table.from_arrays([removes[name] for name in DELTA_SCHEMA.names], schema=DELTA_SCHEMA),
        ]
    )
    number, last, entry = (
        np.concatenate((getattr(delta.puts, name), getattr(gone, name))) for name in ("number", "last", "entry")
    )
    _write(both.unify_dictionaries().take(np.lexsort((entry, last, number))), path)


def read_delta(path: Path) -> Delta:
    """Read a delta.

    Raises:
        Malformed: it is not a Parquet file, or not one that the protocol allows.
    """
    table = _read(path)
    _check_order(table)
    op = texts(table, "op")
    if not set(op.values) <= {_PUT, _REMOVE}:
        raise Malformed(f"the delta has an unknown operation; known are {_PUT!r} and {_REMOVE!r}")
    is_put = np.array([value == _PUT for value in op.values] or [True])[op.codes]
    gone = table.filter(pa.array(~is_put))
    removes = Removals(*_places(gone))
    puts = from_table(table.filter(pa.array(is_put)))
    puts.validate()
    return Delta(puts=puts, removes=removes)


def _places(table: pa.Table) -> tuple[Int64s, Int64s, Int64s]:
    number = int64s(table, "number")
    last: Int64s = np.asarray(pc.coalesce(column(table, "last", pa.int64()), pa.array(number)))
    return number, last, int64s(table, "entry")


def _check_order(delta: pa.Table) -> None:
    """Puts and removes are in one order, so an entry cannot be both put and removed."""
    if not is_sorted(*_places(delta)):
        raise Malformed("the delta's rows are not in order, or a row occurs twice")


def _read(path: Path) -> pa.Table:
    with _opened(path) as (file, wanted):
        return file.read(columns=wanted)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[pq.ParquetFile, list[str]]]:
    """A file, and those of its columns that we know."""
    try:
        with pq.ParquetFile(path) as file:
            yield file, [name for name in file.schema_arrow.names if name in DELTA_SCHEMA.names]
    except (pa.ArrowException, OSError) as error:
        # pyarrow reports a broken file as ArrowInvalid, as OSError, or as one of its subclasses.
        raise Malformed(f"{path.name} is not a readable Parquet file: {error}") from error
    except UnicodeDecodeError as error:
        raise Malformed(f"{path.name} has a column whose name is not UTF-8") from error


def _write(table: pa.Table, path: Path) -> None:
    packed = ("number", "last", "entry")
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        row_group_size=_ROWS_PER_GROUP,
        use_dictionary=[name for name in table.schema.names if name not in packed],
        column_encoding=dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        write_statistics=["number"],
    )
