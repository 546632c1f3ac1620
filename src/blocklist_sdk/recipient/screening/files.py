"""Screens files of numbers in bounded memory: any table in (see `tables`), CSV (gzipped or not) or Parquet out."""

import csv
import io
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput, Refused
from blocklist_sdk.modes import SHARED
from blocklist_sdk.numbers import FormDecision
from blocklist_sdk.numbers.form_sample import FormSample
from blocklist_sdk.places import check_name, named_temporary_file
from blocklist_sdk.recipient.screening.columns import SCHEMA, Screening, threads
from blocklist_sdk.tables.batches import Batch
from blocklist_sdk.tables.header import Meanings
from blocklist_sdk.tables.options import PLAIN, TableOptions
from blocklist_sdk.tables.rejects import Reject
from blocklist_sdk.tables.streams import spooled
from blocklist_sdk.tables.table import Table, open_table
from blocklist_sdk.texts import displayable, is_displayable, spreadsheet_cell

PREFIX: Final = "blocklist_"
"""The names of added columns begin with this; columns that have such names already are replaced."""

ADDED: Final = tuple(PREFIX + name for name in SCHEMA.names)

_ZSTD_LEVEL: Final = 3

_NAMED_MAX: Final = 10
"""How many of the rows that cannot be read are named; all of them are counted."""

_HELD_BYTES_MAX: Final = 32 << 20
"""Up to here the cells of a file are kept while its form is decided; a larger file is read once more."""

MAX_REJECTS: Final = 0.1
"""As for a list to be published."""

OutputFormat = Literal["csv", "csv.gz", "parquet"]


@dataclass(frozen=True, slots=True)
class ScreeningResult:
    """The result of screening a file.

    Attributes:
        serial: the serial of the release that was screened against.
        as_of: when that release was published.
        expires: when its signatures expire; None if that is not known.
        stale: whether that was past when the screening began.
        form: the form in which digits without a plus were read, and what decided it.
        rows: rows that were read, blank lines too.
        blocked, advisory: rows whose number is blocked, or has an advisory only.
        invalid: rows whose cell is not a number.
        empty: rows whose cell is empty, and blank lines.
        unreadable: rows that could not be cut into cells, since they have more or fewer than the header.
        rejects: the first of these, with their lines.
        written: rows that were written. A row that could not be read is written with empty cells, so that the others
            keep their places.
        seconds: how long it took.
        scope_listed: whether any entry on the list has the scope that was asked for, as in `Verdict`.
        scope_entries: how many entries on the list have it; None if no scope was asked for.
        list_entries: how many entries are on the list.
        era: the release's era.
        clock_behind_s: by how many seconds, at least, this machine's clock is behind, as in `Status`.
    """

    serial: int
    as_of: datetime
    expires: datetime | None
    stale: bool
    form: FormDecision
    rows: int
    blocked: int
    advisory: int
    invalid: int
    empty: int
    unreadable: int
    rejects: tuple[Reject, ...]
    written: int
    seconds: float
    scope_listed: bool | None = None
    scope_entries: int | None = None
    list_entries: int = 0
    era: int = 1
    clock_behind_s: int | None = None


def screen_file(
    screening: Screening,
    source: Path | BinaryIO,
    output: Path | BinaryIO,
    *,
    column: str | None = None,
    options: TableOptions = PLAIN,
    output_format: OutputFormat | None = None,
    only_hits: bool = False,
    max_rejects: float = MAX_REJECTS,
    progress: Callable[[int, int], None] | None = None,
    notify: Callable[[str], None] | None = None,
) -> ScreeningResult:
    """Screen a column of a file, and write a copy of the file with the answer added to each row.

    The columns that are added are `ADDED`. The output appears under its name only when it is complete. Unless a form is
    declared, the whole column decides how digits without a plus are read, as it does for a publisher; a file that is
    larger than 32 MB when it is cut is therefore read twice.

    Args:
        screening: the release to screen against; see `Blocklist.screening`.
        source: a file, or an open binary file such as standard input: CSV and the like, a spreadsheet, JSON, a vCard
            file or Parquet; its first bytes say which.
        output: a name that ends with ``.csv``, ``.csv.gz`` or ``.parquet``; or an open binary file.
        column: the column with the numbers; by default ``number``, or the only one.
        options: how to read a file that does not speak for itself.
        output_format: the format of the output; by default as its name says, and CSV for an open file.
        only_hits: leave out rows whose number has no entry or override in force.
        max_rejects: the largest share of rows, from 0 to 1, that may be unreadable.
        progress: called after each batch with the bytes read so far and the size of the file.
        notify: called with what was skipped above the header, and in which form numbers were read.

    Raises:
        InvalidInput: the file cannot be read, has no such column or no number, or the output's name says no format.
        Refused: more rows are unreadable.
        StorageFailed: the output cannot be written.
    """
    started = time.monotonic()
    write = _writer_for(output, output_format)
    if not 0 <= max_rejects <= 1:
        raise InvalidInput(f"max_rejects must be a share from 0 to 1, such as 0.1, not {max_rejects!r}")
    for path in (source, output):
        if isinstance(path, Path):
            check_name(path)
    count = dict.fromkeys(("rows", "blocked", "advisory", "invalid", "empty", "unreadable", "written"), 0)
    rejects: list[Reject] = []
    with ExitStack() as stack:
        meanings = Meanings(options="--column (column=)")
        source = stack.enter_context(spooled(source))
        opening = partial(open_table, source, column=column, meanings=meanings, options=options)
        table = stack.enter_context(opening())
        if notify:
            for note in table.notes:
                notify(note)
        held, is_whole = _beginning(table.batches) if screening.needs_column else ([], False)
        sample = FormSample()
        if is_whole or not screening.needs_column:
            for batch in held:
                sample.add(batch.rows.column(table.number))
            table.batches = chain(held, table.batches)
        else:
            held.clear()
            with opening(only=()) as numbers:
                for batch in numbers.batches:
                    sample.add(batch.rows.column(numbers.number))
            table = stack.enter_context(opening())
        screening, decision = screening.with_form_of(sample.column)
        if notify and decision.texts:
            notify(str(decision))
        names = [*(name for name in table.names if name not in ADDED), *ADDED]
        temporary = stack.enter_context(_target(output))
        sink = stack.enter_context(write(temporary, names, table))
        for batch, found in _screened(table, screening):
            level = found.column("level").indices
            hit = pc.is_valid(level)
            blocked = found.column("blocked").true_count
            unread = len(batch.unread)
            empty = _empty_cells(batch.rows.column(table.number), found.column("number")) - unread
            count["rows"] += len(batch.rows) - unread
            count["blocked"] += blocked
            count["advisory"] += hit.true_count - blocked
            count["empty"] += empty
            count["invalid"] += found.column("number").null_count - empty - unread
            count["unreadable"] += unread
            rejects += batch.rejects[: _NAMED_MAX - len(rejects)]
            kept = [batch.rows.column(i) for i, name in enumerate(table.names) if name not in ADDED]
            row = pa.RecordBatch.from_arrays([*kept, *found.columns], names=names)
            row = row.filter(hit) if only_hits else row
            count["written"] += len(row)
            sink(row)
            if progress:
                progress(min(table.bytes_read(), table.bytes_total), table.bytes_total)
        _judge(count, rejects, name=_name_of(source), max_rejects=max_rejects)
    seconds = time.monotonic() - started
    return ScreeningResult(
        serial=screening.serial,
        as_of=screening.as_of,
        expires=screening.expires,
        stale=screening.stale,
        form=decision,
        rejects=tuple(rejects),
        seconds=seconds,
        scope_listed=screening.scope_listed,
        scope_entries=screening.scope_entries,
        list_entries=screening.list_entries,
        era=screening.era,
        clock_behind_s=screening.clock_behind_s,
        **count,
    )


def _beginning(batches: Iterator[Batch]) -> tuple[list[Batch], bool]:
    """The first batches, as many as may be held, and whether these are all."""
    held: list[Batch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.rows.nbytes
        if size > _HELD_BYTES_MAX:
            return held, False
    return held, True


def _judge(count: dict[str, int], rejects: Sequence[Reject], *, name: str, max_rejects: float) -> None:
    """Refuse a file that was read in the wrong way, or that is damaged.

    Raises:
        InvalidInput: no row can be read, or none has a number.
        Refused: too many rows are unreadable.
    """
    rows, unreadable = count["rows"], count["unreadable"]
    if unreadable and not rows - count["empty"]:
        raise InvalidInput(
            f"no line of {name} can be read: each of the {unreadable:,} has more or fewer cells than the header. "
            "Nothing was written."
        )
    if unreadable > max_rejects * (rows + unreadable):
        raise Refused(
            f"{unreadable:,} of {rows + unreadable:,} rows of {name} cannot be read, a share of more than "
            f"{max_rejects:g}; the first is line {rejects[0].line}: {rejects[0].reason}. Nothing was written. Correct "
            "the file, or allow a larger share with --max-rejects (max_rejects=)"
        )
    if rows and count["invalid"] + count["empty"] == rows:
        raise InvalidInput(
            f"not one of the {rows:,} rows of {name} has a number in this column. Nothing was written. Name the column "
            "with --column, the country of national numbers with --region, or how numbers without + are written with "
            "--form"
        )


def _name_of(source: Path | BinaryIO) -> str:
    return str(source) if isinstance(source, Path) else "standard input"


@contextmanager
def _target(output: Path | BinaryIO) -> Iterator[Path]:
    """The file to write: it takes its place, or goes to the open file, when it is complete."""
    if isinstance(output, Path):
        with replaced(output, SHARED) as temporary:
            yield temporary
        return
    with named_temporary_file() as file:
        yield Path(file.name)
        with open(file.name, "rb") as complete:
            shutil.copyfileobj(complete, output)


def _screened(table: Table, screening: Screening) -> Iterator[tuple[Batch, pa.RecordBatch]]:
    """Each batch with its answers, in order; a few are screened while the next ones are read."""
    workers = threads()
    waiting: deque[tuple[Batch, Future[pa.RecordBatch]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for batch in _ahead(table.batches):
                waiting.append((batch, pool.submit(screening.batch, batch.rows.column(table.number))))
                if len(waiting) > 2 * workers:
                    batch, found = waiting.popleft()
                    yield batch, _displayable(found.result())
            for batch, found in waiting:
                yield batch, _displayable(found.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _displayable(found: pa.RecordBatch) -> pa.RecordBatch:
    """The answers, with the feed's words as one line each that no terminal obeys."""
    place = found.schema.get_field_index("category")
    column = found.column(place)
    words = column.dictionary.to_pylist()
    if all(map(is_displayable, words)):
        return found
    # Two words may look the same now.
    shown = pa.array([displayable(word) for word in words], pa.string()).take(column.indices).dictionary_encode()
    return found.set_column(place, found.schema.field(place), shown.cast(column.type))


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches, each cut while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = pool.submit(next, batches, None)
            yield batch


def _empty_cells(column: pa.Array, number: pa.Array) -> int:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        if not number.null_count:
            return 0
        left = column.filter(pc.is_null(number))
        lengths = pc.binary_length(pc.ascii_trim_whitespace(left))
        return int(np.count_nonzero(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False) == 0))
    return int(column.null_count)


_Write = Callable[[pa.RecordBatch], None]


def _writer_for(
    output: Path | BinaryIO, output_format: OutputFormat | None
) -> Callable[[Path, Sequence[str], Table], "Any"]:
    form: str | None = output_format
    if form is None:
        name = output.name.lower() if isinstance(output, Path) else ".csv"
        form = next((each for each in ("parquet", "csv.gz", "csv") if name.endswith(f".{each}")), None)
    if form == "parquet":
        return _parquet_writer
    if form == "csv.gz":
        return partial(_csv_writer, compression="gzip")
    if form == "csv":
        return _csv_writer
    what = f"the output's name must end with .csv, .csv.gz or .parquet, not {getattr(output, 'name', output)!r}"
    raise InvalidInput(what if output_format is None else f"{output_format!r} is not csv, csv.gz or parquet")


@contextmanager
def _parquet_writer(path: Path, names: Sequence[str], table: Table) -> Iterator[_Write]:
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
def _csv_writer(path: Path, names: Sequence[str], table: Table, *, compression: str | None = None) -> Iterator[_Write]:
    with ExitStack() as stack:
        sink = stack.enter_context(pa.OSFile(str(path), "wb"))
        if compression:
            sink = stack.enter_context(pa.CompressedOutputStream(sink, compression))
        schema = pa.schema([pa.field(str(i), pa.string()) for i in range(len(names))])
        delimiter = table.delimiter
        header = io.StringIO("\ufeff" if table.has_mark else "", newline="")
        header.seek(0, io.SEEK_END)
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
            own = len(names) - len(ADDED)
            columns = [*batch.columns[:own], *map(_guarded, batch.columns[own:])]
            cells = [_written(column, name) for column, name in zip(columns, names, strict=True)]
            is_bare = not any(pc.any(pc.match_substring_regex(cell, special)).as_py() for cell in cells)
            if not is_bare:
                # Empty texts would get quotation marks as well, but nulls get none.
                cells = [pc.if_else(pc.equal(pc.binary_length(cell), 0), None, cell) for cell in cells]
            (bare if is_bare else quoted).write_batch(pa.RecordBatch.from_arrays(cells, schema=schema))

        yield write


def _guarded(column: pa.Array) -> pa.Array:
    """A column that is added, with the feed's words as no spreadsheet takes them for formulas."""
    if not pa.types.is_dictionary(column.type):
        return column
    words = [spreadsheet_cell(word) for word in column.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(column.indices)


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
