"""Release files: Parquet snapshots and deltas.

Readers trust nothing about a file but its signed hash, which is checked before any of this sees a byte; what is
checked here is that a publisher kept to the protocol. Whoever signs may be careless or worse, so a file is checked
before it is decoded (`parquet_bounds`), and its rows while they are.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from blocklist_sdk.errors import Malformed
from blocklist_sdk.places import check_name
from blocklist_sdk.release.arrow import SCHEMA, TEXT, column, from_table, int64s, texts, to_table
from blocklist_sdk.release.limits import ROWS_MAX
from blocklist_sdk.release.merge import Delta, Removals
from blocklist_sdk.release.parquet_bounds import check_contents, check_footer_size
from blocklist_sdk.release.rows import TEXT_COLUMNS, Int64s, Rows, checked, concatenated, is_sorted, joined
from blocklist_sdk.release.stored import BaseWriter, StoredList

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

_THRIFT_MAX = 1 << 20
"""Bytes of a text, and parts of a list, in a footer."""

_NONE: Int64s = np.empty(0, np.int64)


def write_snapshot(rows: Rows, path: Path) -> None:
    """Write a snapshot, a group of rows at a time; `rows` are in canonical order."""
    check_name(path)
    with pq.ParquetWriter(path, SCHEMA, **_settings(SCHEMA)) as writer:
        for start in range(0, max(len(rows), 1), _ROWS_PER_GROUP):
            part = rows.take(np.arange(start, min(start + _ROWS_PER_GROUP, len(rows))))
            writer.write_table(to_table(part), row_group_size=_ROWS_PER_GROUP)
    pa.default_memory_pool().release_unused()


def read_snapshot(path: Path, *, rows: int | None = None) -> Rows:
    """Read a snapshot; memory is taken in proportion to its rows, and only as long as they keep to the protocol.

    Args:
        path: the file.
        rows: how many rows the signed index says that it has; None if no index says so.

    Raises:
        Malformed: it is not a Parquet file, or not one that the protocol allows.
    """
    with _opened_snapshot(path, rows=rows) as (file, wanted):
        found = joined(_parts(file, wanted), file.metadata.num_rows)
    # Arrow would keep what it decoded into, for the next file.
    pa.default_memory_pool().release_unused()
    found.validate_together()
    return found


def read_base(path: Path, directory: Path, *, rows: int, beside: Callable[[Rows], None] | None = None) -> StoredList:
    """Read a snapshot into a base on disk: what is decoded goes there at once, so memory is taken for texts only.

    Args:
        path: the file.
        directory: an empty directory, or one without the files of a base.
        rows: how many rows the signed index says that it has.
        beside: what to do with the rows, mapped from the disk, while their tree is still made.

    Raises:
        Malformed: as for `read_snapshot`; then the directory has a part of a base.
        OSError: the disk refused to take the base.
    """
    with BaseWriter(directory, rows) as writer:
        for part in snapshot_parts(path, rows=rows):
            writer.add(part)
            del part  # before the next one is decoded
        found = writer.rows()
        found.validate_together()
        if beside is not None:
            beside(found)
        return writer.finish()


def snapshot_parts(path: Path, *, rows: int | None = None) -> Iterator[Rows]:
    """The rows of a snapshot, part by part, for whoever has no need of them all at once.

    Args:
        path: the file.
        rows: as for `read_snapshot`.

    Raises:
        Malformed: as for `read_snapshot`, but of the limits of a whole list.
    """
    # A generator, so that nothing that is raised by what its caller does with the parts is taken for the file's fault.
    with _opened_snapshot(path, rows=rows) as (file, wanted):
        yield from _parts(file, wanted)
    # Arrow would keep what it decoded into, for the next file.
    pa.default_memory_pool().release_unused()


@contextlib.contextmanager
def _opened_snapshot(path: Path, *, rows: int | None) -> Iterator[tuple[pq.ParquetFile, list[str]]]:
    with _opened(path, rows_max=ROWS_MAX if rows is None else rows) as (file, wanted):
        count = file.metadata.num_rows
        if rows is not None and count != rows:
            raise Malformed(f"{path.name} has {count:,} rows, but the index says {rows:,}")
        # Also where there is not one row, the columns must be right.
        from_table(file.schema_arrow.empty_table().select(wanted))
        yield file, wanted


def _parts(file: pq.ParquetFile, wanted: list[str]) -> Iterator[Rows]:
    """The rows of a snapshot, in parts, each checked before it is handed on."""
    return checked(map(_from_batch, file.iter_batches(_ROWS_AT_A_TIME, columns=wanted)))


def _from_batch(batch: pa.RecordBatch) -> Rows:
    return from_table(pa.Table.from_batches([batch]))


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


def read_delta(path: Path, *, rows_max: int = ROWS_MAX) -> Delta:
    """Read a delta; memory is taken in proportion to its rows, and only as long as they keep to the protocol.

    Args:
        path: the file.
        rows_max: how many rows it may have: those of the release before are removed, and those of its own put, at most.

    Raises:
        Malformed: it is not a Parquet file, or not one that the protocol allows.
    """
    puts, removes = [], [Removals(_NONE, _NONE, _NONE)]
    with _opened(path, rows_max=rows_max) as (file, wanted):
        _delta_part(file.schema_arrow.empty_table().select(wanted))
        before: tuple[int, int, int] | None = None
        for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=wanted):
            if not len(batch):
                continue
            keys, part = _delta_part(pa.Table.from_batches([batch]))
            first, end = ((int(keys.number[i]), int(keys.last[i]), int(keys.entry[i])) for i in (0, -1))
            if (before is not None and first <= before) or not is_sorted(keys.number, keys.last, keys.entry):
                raise Malformed("the delta's rows are not in order, or a row occurs twice")
            before = end
            part.puts.validate_each()
            puts.append(part.puts)
            removes.append(part.removes)
    pa.default_memory_pool().release_unused()
    together = concatenated(list(checked(puts)))
    together.validate_together()
    number, last, entry = (
        np.concatenate([getattr(part, name) for part in removes]) for name in ("number", "last", "entry")
    )
    return Delta(puts=together, removes=Removals(number, last, entry))


def _delta_part(table: pa.Table) -> tuple[Removals, Delta]:
    """Where the entries of a part of a delta stand, in its order, and its puts and removes."""
    op = texts(table, "op")
    if not set(op.values) <= {_PUT, _REMOVE}:
        raise Malformed(f"the delta has an unknown operation; known are {_PUT!r} and {_REMOVE!r}")
    is_put = np.array([value == _PUT for value in op.values] or [True])[op.codes]
    number = int64s(table, "number")
    last = np.asarray(pc.coalesce(column(table, "last", pa.int64()), pa.array(number)))
    keys = Removals(number=number, last=last, entry=int64s(table, "entry"))
    puts = from_table(table if is_put.all() else table.filter(pa.array(is_put)))
    return keys, Delta(puts, Removals(number[~is_put], last[~is_put], keys.entry[~is_put]))


@contextlib.contextmanager
def _opened(path: Path, *, rows_max: int) -> Iterator[tuple[pq.ParquetFile, list[str]]]:
    """A file, and those of its columns that we know; its shape was checked, and what it may cost to read.

    Args:
        path: the file.
        rows_max: how many rows it may have.
    """
    check_name(path)
    try:
        check_footer_size(path, rows=rows_max)
        limits = {"thrift_string_size_limit": _THRIFT_MAX, "thrift_container_size_limit": _THRIFT_MAX}
        with pq.ParquetFile(path, **limits) as file:
            about, names = file.metadata, file.metadata.schema.names
        # However texts are written, each of them is decoded once, and not once for each row.
        texts_here = [name for name in (*TEXT_COLUMNS, "op") if name in names]
        with pq.ParquetFile(path, metadata=about, read_dictionary=texts_here, **limits) as file:
            if file.metadata.num_rows > rows_max:
                raise Malformed(f"{path.name} has {file.metadata.num_rows:,} rows; it may have at most {rows_max:,}")
            wanted = [name for name in file.schema_arrow.names if name in DELTA_SCHEMA.names]
            check_contents(path, file, wanted)
            yield file, wanted
    except MemoryError:
        # Also an exception of Arrow, which says nothing about the file.
        raise
    except (pa.ArrowException, OSError) as error:
        if "launch worker thread" in str(error):
            # A thread needs memory for its stack; neither does this say anything about the file.
            raise MemoryError(str(error)) from error
        # pyarrow reports a broken file as ArrowInvalid, as OSError, or as one of its subclasses.
        raise Malformed(f"{path.name} is not a readable Parquet file: {error}") from error
    except UnicodeDecodeError as error:
        raise Malformed(f"{path.name} has a column whose name is not UTF-8") from error


def _write(table: pa.Table, path: Path) -> None:
    check_name(path)
    pq.write_table(table, path, row_group_size=_ROWS_PER_GROUP, **_settings(table.schema))


def _settings(schema: pa.Schema) -> dict[str, Any]:
    """How files are written."""
    packed = ("number", "last", "entry")
    return {
        "compression": "zstd",
        "compression_level": _ZSTD_LEVEL,
        "use_dictionary": [name for name in schema.names if name not in packed],
        "column_encoding": dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        "write_statistics": ["number"],
    }
