"""Arrow files on disk: written durably, mapped into memory, and checked before they are mapped."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import sync_file
from blocklist_sdk.release.rows import NUMERIC_COLUMNS, TEXT_COLUMNS, Int64s, Rows, Texts

_END_BYTES = 1 << 16
"""Arrow's metadata is a few kilobytes at the beginning and the end of a file, as long as its dictionaries are small."""


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table, durably."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    sync_file(path)


def map_table(path: Path) -> pa.Table:
    """Map a table into memory."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def copy_with_cells(source: Path, path: Path, at: Int64s, cells: Int64s) -> None:
    """Write a copy of a table of one int64 column, with the cells at some positions changed, durably."""
    shutil.copyfile(source, path)
    # WARNING: this writes into the middle of an Arrow file without Arrow. It is right only for a file that has a single
    # record batch with a single int64 column, without nulls and without compression, so that the cells lie one after
    # the other in one buffer. Whoever changes how the table of numbers is written must look here, too;
    # `test_patched_answers.py` finds out.
    with pa.memory_map(str(path)) as mapped:
        begin: int = mapped.read_buffer().address
        mapped.seek(0)
        begin = pa.ipc.open_file(mapped).read_all().column(0).chunk(0).buffers()[1].address - begin
    with path.open("r+b", buffering=0) as file:
        for position, cell in zip(at.tolist(), cells, strict=True):
            os.pwrite(file.fileno(), cell, begin + cell.nbytes * position)
    sync_file(path)


def describe(path: Path) -> dict[str, Any]:
    """A file's length, and a hash of its two ends, where Arrow's metadata is: quick to compare before it is mapped."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        hashed = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        hashed.update(file.read(_END_BYTES))
    return {"bytes": size, "ends": hashed.hexdigest()}


def rows_to_table(rows: Rows) -> pa.Table:
    """Rows as a table that `rows_from_table` reads without copying."""
    names = [name for name in NUMERIC_COLUMNS if name != "last" or rows.has_ranges]
    columns = [pa.array(getattr(rows, name)) for name in names]
    columns += [
        pa.DictionaryArray.from_arrays(pa.array(texts.codes), pa.array(texts.values, pa.string()))
        for texts in (getattr(rows, name) for name in TEXT_COLUMNS)
    ]
    return pa.table(columns, names=[*names, *TEXT_COLUMNS])


def rows_from_table(table: pa.Table) -> Rows:
    """The rows of a mapped table, as arrays over the file."""
    if not len(table):
        return Rows.empty()
    columns: dict[str, Any] = {
        name: table.column(name).chunk(0).to_numpy(zero_copy_only=True)
        for name in NUMERIC_COLUMNS
        if name in table.schema.names
    }
    columns.setdefault("last", columns["number"])
    for name in TEXT_COLUMNS:
        column = table.column(name).chunk(0)
        columns[name] = Texts(np.asarray(column.indices), tuple(column.dictionary.to_pylist()))
    return Rows(**columns)
