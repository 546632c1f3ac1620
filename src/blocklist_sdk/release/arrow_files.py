"""Arrow files on disk: written durably, mapped into memory, and checked before they are mapped."""

import hashlib
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import sync_file
from blocklist_sdk.release.rows import NUMERIC_COLUMNS, TEXT_COLUMNS, Int64s, Rows, Texts

_END_BYTES = 1 << 16
"""Arrow's metadata is a few kilobytes at the beginning and the end of a file, as long as its dictionaries are small."""

_HEADER_BYTES: Final = 1 << 14
"""Where the columns of a `ColumnFile` begin: before them there is room for a few hundred texts."""

_ROOM: Final = b"room"
"""Metadata that says nothing; it is as long as the room that is left."""


def write_table(table: pa.Table, path: Path, *, is_flushed: bool = True) -> None:
    """Write a table; durably, unless the caller flushes the file later, together with others."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    if is_flushed:
        sync_file(path)


def map_table(path: Path) -> pa.Table:
    """Map a table into memory."""
    with pa.memory_map(str(path)) as source:
        # From one buffer, since Arrow has another thread read what it takes for a file: that takes twice as long.
        return pa.ipc.open_file(source.read_buffer()).read_all()


class ColumnFile:
    """An Arrow file whose integers are written in parts, each at its place, so that no column is ever in memory whole.

    ::

        with ColumnFile(path, ("number", "entry"), 2) as file:
            file.write("number", 0, numbers)
            file.write("entry", 0, entries)
            table = file.finish()

    WARNING: the integers are written without Arrow, where Arrow would write them: one after the other, each column
    filling a multiple of eight bytes. `finish` has Arrow write all the rest around them, and checks that it put them
    nowhere else.
    """

    def __init__(self, path: Path, names: Sequence[str], rows: int) -> None:
        """Make the file.

        Args:
            path: where; replaced.
            names: the int64 columns, in the order in which they stand.
            rows: how many rows each has.

        Raises:
            OSError: the disk refused.
        """
        self._path = path
        self._rows = rows
        self._place = {name: _HEADER_BYTES + 8 * rows * i for i, name in enumerate(names)}
        self._file = path.open("w+b", buffering=0)
        self._mapped: mmap.mmap | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was mapped stays mapped."""
        self._file.close()

    def write(self, name: str, at: int, values: Int64s) -> None:
        """Write values of a column from a row on; from several threads at once, if need be.

        Raises:
            OSError: the disk refused.
        """
        _write_at(self._file.fileno(), np.ascontiguousarray(values).data.cast("B"), self._place[name] + 8 * at)

    def flush(self) -> None:
        """Have the disk write what it was given so far.

        Raises:
            OSError: the disk refused.
        """
        os.fsync(self._file.fileno())

    def column(self, name: str) -> Int64s:
        """A column as it is in the file, mapped; what is written later shows in it."""
        if not self._rows:
            return np.empty(0, np.int64)
        if self._mapped is None:
            end = max(self._place.values()) + 8 * self._rows
            if os.fstat(self._file.fileno()).st_size < end:
                os.ftruncate(self._file.fileno(), end)
            self._mapped = mmap.mmap(self._file.fileno(), end, access=mmap.ACCESS_READ)
        return np.frombuffer(self._mapped, np.int64, self._rows, self._place[name])

    def finish(
        self,
        names: Sequence[str],
        others: Mapping[str, pa.Array] | None = None,
        metadata: Mapping[bytes, str] | None = None,
    ) -> pa.Table:
        """Make it an Arrow file, and map it; `flush` makes it durable.

        Args:
            names: the first columns of those that it was made with; the others are left out.
            others: columns that stand after them.
            metadata: the table's.

        Raises:
            OSError: the disk refused.
        """
        columns = {name: pa.array(self.column(name)) for name in names}
        table = pa.table({**columns, **(others or {})})
        places = {column.buffers()[1].address: self._place[name] for name, column in columns.items() if self._rows}
        table, is_around = _with_room(table, dict(metadata or {}), places)
        if not is_around:
            # Mostly since there are so many texts that they do not fit before the columns.
            whole = self._path.with_name(f"{self._path.name}.whole")
            write_table(table, whole)
            os.replace(whole, self._path)
            return map_table(self._path)  # what was mapped so far stays as long as somebody uses it
        sink = _Around(self._file.fileno(), places)
        _write_to(sink, table)
        os.ftruncate(self._file.fileno(), sink.tell())
        return map_table(self._path)


class _Around:
    """A file for Arrow to write to, except for columns that are there already.

    Attributes:
        found: where Arrow would write each of those, by its address.
    """

    closed = False

    def __init__(self, descriptor: int | None, columns: Iterable[int]) -> None:
        """Takes a file, None to write nothing, and the addresses of the columns."""
        self._descriptor = descriptor
        self._columns = frozenset(columns)
        self._at = 0
        self.found: dict[int, int] = {}

    def write(self, data: Any) -> int:
        bytes_ = memoryview(data).cast("B")
        if isinstance(data, pa.Buffer) and data.address in self._columns:
            self.found[data.address] = self._at
        elif self._descriptor is not None:
            _write_at(self._descriptor, bytes_, self._at)
        self._at += len(bytes_)
        return len(bytes_)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Whoever opened the file closes it."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _write_to(sink: _Around, table: pa.Table) -> None:
    with pa.PythonFile(sink, mode="w") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _with_room(table: pa.Table, metadata: dict[bytes, str], places: Mapping[int, int]) -> tuple[pa.Table, bool]:
    """A table with metadata as long as it must be for its columns to stand in their places, and whether they would.

    Args:
        table: the table.
        metadata: its own.
        places: where each of its first columns must stand, by its address, in order.
    """
    room = 0
    for _ in range(2):
        table = table.replace_schema_metadata(metadata | {_ROOM: " " * room})
        sink = _Around(None, places)
        _write_to(sink, table)
        if sink.found == places:
            return table, True
        room = _HEADER_BYTES - min(sink.found.values(), default=_HEADER_BYTES)
        if room < 0:
            break
    return table.replace_schema_metadata(metadata), False


def _write_at(descriptor: int, data: memoryview, at: int) -> None:
    while len(data):
        # A system writes two gigabytes at once at most.
        done = os.pwrite(descriptor, data, at)
        data, at = data[done:], at + done


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
    columns += [text_column(getattr(rows, name)) for name in TEXT_COLUMNS]
    return pa.table(columns, names=[*names, *TEXT_COLUMNS])


def text_column(texts: Texts) -> pa.DictionaryArray:
    """A text column as `rows_from_table` reads it."""
    return pa.DictionaryArray.from_arrays(pa.array(texts.codes), pa.array(texts.values, pa.string()))


def rows_from_table(table: pa.Table, texts: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> Rows:
    """The rows of a mapped table, as arrays over the file.

    Args:
        table: the table.
        texts: the texts of each column, if they are in memory already.
    """
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
        values = texts[name] if name in texts else tuple(column.dictionary.to_pylist())
        columns[name] = Texts(np.asarray(column.indices), values)
    return Rows(**columns)
