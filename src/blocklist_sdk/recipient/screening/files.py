"""Screens files of numbers in bounded memory: CSV (gzipped or not) and Parquet in, the same out."""

import csv
import gzip
import io
import os
import re
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.screening.columns import SCHEMA, Screening, threads
from blocklist_sdk.tabular import delimiter_of, encoding_of, first_line, header_of, number_column
from blocklist_sdk.texts import printable

PREFIX: Final = "blocklist_"
"""The names of added columns begin with this; columns that have such names already are replaced."""

ADDED: Final = tuple(PREFIX + name for name in SCHEMA.names)

_CSV_BLOCK_BYTES: Final = 8 << 20
_PARQUET_ROWS: Final = 1 << 17

_ZSTD_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class ScreeningResult:
    """The result of screening a file.

    Attributes:
        serial: the serial of the release that was screened against.
        rows: rows that were read.
        blocked, advisory: rows whose number is blocked, or has an advisory only.
        invalid: rows whose cell is not a number.
        empty: rows whose cell is empty.
        unreadable: lines of a CSV file that were left out, since they have more or fewer cells than the others.
        written: rows that were written.
        seconds: how long it took.
    """

    serial: int
    rows: int
    blocked: int
    advisory: int
    invalid: int
    empty: int
    unreadable: int
    written: int
    seconds: float


def screen_file(
    screening: Screening,
    source: Path,
    output: Path,
    *,
    column: str | None = None,
    only_hits: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ScreeningResult:
    """Screen a column of a file, and write a copy of the file with the answer added to each row.

    The columns that are added are `ADDED`. The output appears under its name only when it is complete.

    Args:
        screening: the release to screen against; see `Blocklist.screening`.
        source: a CSV file, gzipped or not, or a Parquet file; its first bytes say which.
        output: a name that ends with ``.csv``, ``.csv.gz`` or ``.parquet``.
        column: the column with the numbers; by default ``number``, or the only one.
        only_hits: leave out rows whose number has no entry or override in force.
        progress: called after each batch with the bytes read so far and the size of the file.

    Raises:
        InvalidInput: the file cannot be read, has no such column, or the output's name says no format.
        StorageFailed: the output cannot be written.
    """
    started = time.monotonic()
    for path in (source, output):
        _check_name(path)
    write = _writer_for(output)
    total = source.stat().st_size if source.is_file() else 0
    count = dict.fromkeys(("rows", "blocked", "advisory", "invalid", "empty", "written"), 0)
    with ExitStack() as stack:
        table = stack.enter_context(open_table(source, column))
        names = [*(name for name in table.names if name not in ADDED), *ADDED]
        temporary = stack.enter_context(replaced(output))
        sink = stack.enter_context(write(temporary, names, table.delimiter))
        for batch, found in _screened(table, screening):
            level = found.column("level").indices
            hit = pc.is_valid(level)
            blocked = found.column("blocked").true_count
            empty = _empty_cells(batch.column(table.number))
            count["rows"] += len(batch)
            count["blocked"] += blocked
            count["advisory"] += hit.true_count - blocked
            count["empty"] += empty
            count["invalid"] += found.column("number").null_count - empty
            kept = [batch.column(i) for i, name in enumerate(table.names) if name not in ADDED]
            row = pa.RecordBatch.from_arrays([*kept, *found.columns], names=names)
            row = row.filter(hit) if only_hits else row
            count["written"] += len(row)
            sink(row)
            if progress:
                progress(min(table.bytes_read(), total), total)
        if table.unreadable and not count["rows"]:
            raise InvalidInput(
                f"no line of {source} can be read: each of the {table.unreadable:,} has more or fewer cells than the "
                "first one. Nothing was written."
            )
    seconds = time.monotonic() - started
    return ScreeningResult(serial=screening.serial, unreadable=table.unreadable, seconds=seconds, **count)


def _check_name(path: Path) -> None:
    """Refuse a name that is not UTF-8, since pyarrow cannot open the file."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the name {os.fsencode(path)!r} is not UTF-8: rename that file or folder") from error


@dataclass(slots=True)
class Table:
    """A file while it is read; made by `open_table`.

    Attributes:
        names: the names of its columns.
        number: the position of the column with the numbers.
        batches: its rows.
        bytes_read: returns how many of its bytes were read so far.
        delimiter: the character between cells, to write CSV with again.
        unreadable: lines left out so far.
    """

    names: list[str]
    number: int
    batches: Iterator[pa.RecordBatch]
    bytes_read: Callable[[], int]
    delimiter: str = ","
    unreadable: int = 0


@contextmanager
def open_table(path: Path, column: str | None, *, beside: tuple[str, ...] | None = None) -> Iterator[Table]:
    """Open a file with numbers, to read it once, batch by batch.

    Args:
        path: a CSV file, gzipped or not, or a Parquet file; its first bytes say which.
        column: the column with the numbers; by default ``number``, or the only one.
        beside: read these columns and the numbers only; by default all columns.

    Raises:
        InvalidInput: the file cannot be read, or has no such column.
    """
    _check_name(path)
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} is not a regular file: name a CSV or Parquet file")
    with ExitStack() as stack:
        with _read_errors(path):
            with path.open("rb") as file:
                head = file.read(4)
            opened = _open_parquet(path, column, beside) if head == b"PAR1" else _open_csv(path, column, beside, head)
            table = stack.enter_context(opened)
        table.batches = _guarded(table.batches, path)
        yield table


def _guarded(batches: Iterator[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    with _read_errors(path):
        yield from batches


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into `InvalidInput` with the file's name."""
    try:
        yield
    except UnicodeError as error:
        raise InvalidInput(f"{path} does not have the encoding that its first bytes name: save it as UTF-8") from error
    except (EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise InvalidInput(f"{path} cannot be read: {error}. Nothing was written.") from error
    except OSError as error:
        # pyarrow also raises OSError for damaged gzip and Parquet data.
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}. Nothing was written.") from error


def _chosen(names: list[str], number: str, beside: tuple[str, ...] | None) -> list[str]:
    """The columns to read.

    Raises:
        InvalidInput: one is missing, or occurs twice.
    """
    if beside is None:
        return names
    for name in beside:
        if names.count(name) != 1:
            raise InvalidInput(f"the file must have one column {name!r}; its columns are: {', '.join(names)}")
    return list(dict.fromkeys((number, *beside)))


@contextmanager
def _open_parquet(path: Path, column: str | None, beside: tuple[str, ...] | None) -> Iterator[Table]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        chosen = _chosen(names, number_column(names, column), beside)
        size, rows = path.stat().st_size, file.metadata.num_rows
        read = 0

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal read
            for batch in file.iter_batches(_PARQUET_ROWS, columns=None if beside is None else chosen):
                read += len(batch)
                yield batch if beside is None else batch.select(chosen)

        number = chosen.index(number_column(names, column))
        yield Table(chosen, number, batches(), lambda: size * read // max(rows, 1))


@contextmanager
def _open_csv(path: Path, column: str | None, beside: tuple[str, ...] | None, head: bytes) -> Iterator[Table]:
    """Open a CSV file; its cells are read as bytes, so nothing is guessed about their types."""
    is_gzip = head[:2] == b"\x1f\x8b"
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        data = stack.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=raw))) if is_gzip else raw
        encoding = encoding_of(data)
        text = stack.enter_context(io.TextIOWrapper(data, encoding=encoding, errors="surrogateescape", newline=""))
        blank, first = first_line(text, path.name)
        delimiter = delimiter_of(first)
        reader = csv.reader(chain([first], text), delimiter=delimiter)
        top = [printable(cell.strip()) for cell in next(reader)]
        header = header_of(top, column)
        skipped = blank + (reader.line_num if header else 0)
    names = header or ["number"]
    number = number_column(names, column)
    chosen = _chosen(names, number, beside)
    table = Table(chosen, chosen.index(number), iter(()), lambda: 0, delimiter)
    keys = [str(i) for i in range(len(names))]

    def leave_out(row: Any) -> str:
        # A quotation mark that is never closed turns many lines into one.
        table.unreadable += 1 + (row.text or "").rstrip("\r\n").count("\n")
        return "skip"

    with pa.OSFile(str(path)) as file:
        try:
            opened = pa.csv.open_csv(
                pa.CompressedInputStream(file, "gzip") if is_gzip else file,
                pa.csv.ReadOptions(
                    column_names=keys,
                    skip_rows=skipped,
                    encoding="utf16" if encoding == "utf-16" else "utf8",
                    block_size=_CSV_BLOCK_BYTES,
                ),
                pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=leave_out),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(keys, pa.binary()),
                    include_columns=[] if beside is None else [str(names.index(name)) for name in chosen],
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise
            opened = ()  # a header and nothing else
        table.batches = (_as_text(batch) for batch in opened)
        table.bytes_read = file.tell
        yield table


def _as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Bytes as text, unchecked: text that is not UTF-8 is not a number either."""
    return pa.RecordBatch.from_arrays([cells.view(pa.string()) for cells in batch.columns], names=batch.schema.names)


def _screened(table: Table, screening: Screening) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Each batch with its answers, in order; a few are screened while the next ones are read."""
    workers = threads()
    waiting: deque[tuple[pa.RecordBatch, Future[pa.RecordBatch]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for batch in table.batches:
                waiting.append((batch, pool.submit(screening.batch, batch.column(table.number))))
                if len(waiting) > 2 * workers:
                    batch, found = waiting.popleft()
                    yield batch, found.result()
            for batch, found in waiting:
                yield batch, found.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _empty_cells(column: pa.Array) -> int:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        empty: int = pc.sum(pc.equal(pc.fill_null(pc.binary_length(column), 0), 0)).as_py() or 0
        return empty
    return int(column.null_count)


_Write = Callable[[pa.RecordBatch], None]


def _writer_for(output: Path) -> Callable[[Path, Sequence[str], str], "Any"]:
    name = output.name.lower()
    if name.endswith(".parquet"):
        return _parquet_writer
    if name.endswith((".csv", ".csv.gz")):
        return partial(_csv_writer, compression="gzip") if name.endswith(".gz") else _csv_writer
    raise InvalidInput(f"the output's name must end with .csv, .csv.gz or .parquet, not {output.name!r}")


@contextmanager
def _parquet_writer(path: Path, names: Sequence[str], delimiter: str) -> Iterator[_Write]:
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None

        def write(batch: pa.RecordBatch) -> None:
            nonlocal writer
            if writer is None:
                writer = stack.enter_context(
                    pq.ParquetWriter(path, batch.schema, compression="zstd", compression_level=_ZSTD_LEVEL)
                )
            for i, name in enumerate(names[: -len(ADDED)]):
                _check_text(batch.column(i), name)
            writer.write_batch(batch)

        yield write
        if writer is None:
            empty = [pa.field(name, pa.string()) for name in names[: -len(ADDED)]]
            added = [field.with_name(PREFIX + field.name) for field in SCHEMA]
            pq.write_table(pa.schema([*empty, *added]).empty_table(), path)


def _check_text(column: pa.Array, name: str) -> None:
    """Refuse text that is not UTF-8, on which readers of Parquet rely."""
    if pa.types.is_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InvalidInput(
                f"the column {name!r} has text that is not UTF-8: write CSV, or save the source as UTF-8"
            ) from error


@contextmanager
def _csv_writer(
    path: Path, names: Sequence[str], delimiter: str, *, compression: str | None = None
) -> Iterator[_Write]:
    with ExitStack() as stack:
        sink = stack.enter_context(pa.OSFile(str(path), "wb"))
        if compression:
            sink = stack.enter_context(pa.CompressedOutputStream(sink, compression))
        schema = pa.schema([pa.field(str(i), pa.string()) for i in range(len(names))])
        header = io.StringIO()
        csv.writer(header, delimiter=delimiter, lineterminator="\n").writerow(names)
        sink.write(header.getvalue().encode("utf-8", "surrogateescape"))
        # By default pyarrow puts every text between quotation marks.
        bare, quoted = (
            stack.enter_context(
                pa.csv.CSVWriter(
                    sink,
                    schema,
                    write_options=pa.csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style=style),
                )
            )
            for style in ("none", "needed")
        )
        special = f'["\r\n{re.escape(delimiter)}]'

        def write(batch: pa.RecordBatch) -> None:
            cells = [_written(column, name) for column, name in zip(batch.columns, names, strict=True)]
            is_bare = not any(pc.any(pc.match_substring_regex(cell, special)).as_py() for cell in cells)
            (bare if is_bare else quoted).write_batch(pa.RecordBatch.from_arrays(cells, schema=schema))

        yield write


def _written(column: pa.Array, name: str) -> pa.Array:
    """One column as text."""
    try:
        text = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(f"the column {name!r} ({column.type}) cannot be written as CSV: write Parquet") from error
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        # Bytes that are not UTF-8 become replacement characters; pyarrow would refuse the whole file.
        raw = text.view(pa.binary()).to_pylist()
        text = pa.array([None if cell is None else cell.decode(errors="replace") for cell in raw], pa.string())
    return text
