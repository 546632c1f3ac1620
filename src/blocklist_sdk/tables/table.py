"""The open table: any file with rows, cut into cells, every row with its line."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.places import check_name
from blocklist_sdk.tables import delimited, json_rows, sheets, vcard
from blocklist_sdk.tables.batches import Batch, record_batch
from blocklist_sdk.tables.cells import shown
from blocklist_sdk.tables.dates import date_reader
from blocklist_sdk.tables.header import DATE_COLUMNS, Meanings, TopRow, find_header, place_columns, same, wanted_names
from blocklist_sdk.tables.kinds import kind_of
from blocklist_sdk.tables.mapped_words import MappedWords
from blocklist_sdk.tables.options import PLAIN, TableOptions
from blocklist_sdk.tables.rejects import Reject as Reject
from blocklist_sdk.tables.streams import Stream, opened, read_errors
from blocklist_sdk.texts import counted, printable

PARQUET_ROWS = 1 << 17
"""Rows of a Parquet file that are read at a time."""

Translation: TypeAlias = MappedWords | Callable[[str], str | None]
"""What replaces the texts of a column: mapped words, or a function that returns None for a text that stays."""

Source = Path | BinaryIO
"""A path, or an open binary file such as standard input."""


@dataclass(slots=True)
class Table:
    """A table while it is read; made by `open_table`.

    Attributes:
        names: the names of the columns in the batches, without space around them; ``number`` without a header.
        places: the positions of the columns that are looked for, by their meaning.
        batches: the rows, to be read once.
        column: the table's name for the column with the numbers; None without a header.
        ignored: the names of columns that mean nothing to the reader.
        notes: what was skipped above the header, for people.
        bytes_read: returns how many bytes of the file were read so far.
        bytes_total: the size of the file.
        delimiter: the character between cells, to write CSV with again.
        has_mark: whether CSV that is written again begins with a byte order mark, by which Excel knows UTF-8.
        is_typed: whether columns have types of their own (Parquet), and are not all text.
        words: the columns whose words are mapped; complete when all batches were read.
    """

    names: list[str]
    places: Mapping[str, int]
    batches: Iterator[Batch]
    column: str | None = None
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bytes_read: Callable[[], int] = lambda: 0
    bytes_total: int = 0
    delimiter: str = ","
    has_mark: bool = False
    is_typed: bool = False
    words: tuple[MappedWords, ...] = ()

    @property
    def number(self) -> int:
        """The position of the column with the numbers."""
        return self.places["number"]

    def records(self, rejects: list[Reject]) -> Iterator[tuple[int, dict[str, str]]]:
        """The rows that are not blank, each with its line and the texts of its cells that are not empty, by meaning.

        Args:
            rejects: gets the rows that could not be cut.
        """
        for batch in self.batches:
            rejects += batch.rejects
            batch = batch.readable()
            columns = [_strings(column) for column in batch.rows.columns]
            for row, line in enumerate(batch.lines.tolist()):
                if any(column[row].strip() for column in columns):
                    cells = {meaning: columns[place][row] for meaning, place in self.places.items()}
                    yield line, {meaning: cell for meaning, cell in cells.items() if cell}


def told(notes: Sequence[str], ignored: Sequence[str]) -> list[str]:
    """What people should know about a table before it is used, each in a line."""
    names = ", ".join(repr(shown(name)) for name in ignored)
    return [*notes, *([f"ignored {'column' if len(ignored) == 1 else 'columns'}: {names}"] if ignored else [])]


def _strings(column: Any) -> list[str]:
    """A column as texts; an empty one for null, and other bytes than UTF-8 as halves of characters."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        cells = column.cast(pa.large_binary()).to_pylist()
        return ["" if cell is None else cell.decode(errors="surrogateescape") for cell in cells]
    return [
        "" if cell is None else cell.isoformat() if hasattr(cell, "isoformat") else str(cell)
        for cell in column.to_pylist()
    ]


@contextmanager
def open_table(
    source: Source,
    *,
    column: str | None = None,
    meanings: Meanings | None = None,
    options: TableOptions = PLAIN,
    only: Sequence[str] | None = None,
    may_be_flat: bool = False,
) -> Iterator[Table]:
    """Open a table, to read it once, batch by batch.

    Args:
        source: a path, or an open binary file; what the file is, its first bytes say.
        column: the table's name for the column with the numbers; by default ``number``, or the only one.
        meanings: the columns that are looked for; by default those of a list.
        options: how to read a table that does not speak for itself.
        only: read the column with the numbers and the columns of these names, instead of all.
        may_be_flat: whether a list without a header may have several numbers in a line; each is a row.

    Raises:
        InvalidInput: it cannot be read, is not a table, or lacks a column.
    """
    if isinstance(source, Path):
        check_name(source)
    meanings = meanings or Meanings()
    wanted = wanted_names(options, column, meanings)
    with ExitStack() as stack:
        raw, name = stack.enter_context(opened(source))
        opener = _Opener(raw, name, wanted, meanings, options, only, may_be_flat)
        with read_errors(name):
            try:
                table = opener.open()
            except InvalidInput as error:
                raise _named(error, name) from error
        table.bytes_total = os.fstat(raw.fileno()).st_size
        changes = translations(options, table.places)
        table.words = tuple(change for change in changes.values() if isinstance(change, MappedWords))
        table.batches = _guarded(_translated(table.batches, table.places, changes), name)
        yield table


def _named(error: InvalidInput, name: str) -> InvalidInput:
    """An error with the file's name in it."""
    return error if name in str(error) else InvalidInput(f"{name}: {error}")


def _guarded(batches: Iterator[Batch], name: str) -> Iterator[Batch]:
    with read_errors(name):
        try:
            yield from batches
        except InvalidInput as error:
            raise _named(error, name) from error


@dataclass(slots=True)
class _Opener:
    """Opens a file of each kind."""

    raw: BinaryIO
    name: str
    wanted: Mapping[str, str]
    meanings: Meanings
    options: TableOptions
    only: Sequence[str] | None
    may_be_flat: bool

    def open(self) -> Table:
        stream = Stream(self.raw)
        kind = kind_of(self.raw, stream.head, name=self.name)
        if kind == "parquet":
            return self._parquet()
        if kind == "sheets":
            return self._sheets()
        self._refuse_sheet()
        self.raw.seek(0)
        stream = Stream(self.raw)
        if kind == "vcard":
            rows = vcard.card_rows(stream.read)
            return self._of(list(vcard.NAMES), lambda _: vcard.card_batches(rows), stream)
        if kind == "json":
            names, documents = json_rows.document_rows(stream.read)
            return self._of(names, lambda numbers: json_rows.row_batches(iter(documents), names, numbers), stream)
        if kind == "jsonl":
            names = json_rows.names_in(json_rows.line_rows(stream.read))
            if not names:
                raise InvalidInput(f"{self.name} has no JSON object: each line must be one")
            self.raw.seek(0)
            again = Stream(self.raw)
            rows_ = json_rows.line_rows(again.read)
            return self._of(names, lambda numbers: json_rows.row_batches(rows_, names, numbers), again)
        return self._text(stream)

    def _refuse_sheet(self) -> None:
        if self.options.sheet is not None:
            raise InvalidInput(f"{self.name} is not a spreadsheet, so it has no sheets: leave --sheet out")

    def _of(
        self, names: list[str], batches: Callable[[frozenset[int]], Iterator[Batch]], stream: Stream | None = None
    ) -> Table:
        """A table with names that need not be searched for."""
        places = place_columns(names, wanted=self.wanted, meanings=self.meanings)
        chosen = self._chosen(names, places)
        found = batches(_numbers(places))
        if chosen is not None:
            found = (_narrowed(batch, chosen) for batch in found)
        return self._table(names, places, found, chosen, stream)

    def _table(
        self,
        names: Sequence[str],
        places: Mapping[str, int],
        batches: Iterator[Batch],
        chosen: Sequence[int] | None,
        stream: Stream | None = None,
    ) -> Table:
        used = set(places.values())
        ignored = tuple(name for i, name in enumerate(names) if i not in used and name.strip())
        number = places.get(self.meanings.number or "")
        positions = list(range(len(names))) if chosen is None else list(chosen)
        return Table(
            names=[printable(names[i].strip()) for i in positions],
            places={meaning: positions.index(place) for meaning, place in places.items() if place in positions},
            batches=batches,
            column=None if number is None else names[number].strip(),
            ignored=ignored,
            bytes_read=(lambda: 0) if stream is None else stream.position,
            has_mark=stream is not None and stream.has_mark,
        )

    def _chosen(self, names: Sequence[str], places: Mapping[str, int]) -> list[int] | None:
        """The positions of the columns to read, those of the numbers first; None for all."""
        if self.only is None:
            return None
        keys = [same(name) for name in names]
        for name in self.only:
            if keys.count(same(name)) != 1:
                raise InvalidInput(
                    f"the file must have one column {name!r}; its columns are: {', '.join(map(shown, names))}"
                )
        number = places[self.meanings.number or ""]
        return list(dict.fromkeys((number, *(keys.index(same(name)) for name in self.only))))

    def _parquet(self) -> Table:
        self._refuse_sheet()
        try:
            file = pq.ParquetFile(self.raw)
        except pa.ArrowException as error:
            raise InvalidInput(f"{self.name} is not a readable Parquet file: {error}") from error
        names = file.schema_arrow.names
        places = place_columns(names, wanted=self.wanted, meanings=self.meanings)
        chosen = self._chosen(names, places)
        size, rows = os.fstat(self.raw.fileno()).st_size, file.metadata.num_rows
        read = 0

        def batches() -> Iterator[Batch]:
            nonlocal read
            wanted = None if chosen is None else [names[i] for i in chosen]
            for batch in file.iter_batches(PARQUET_ROWS, columns=wanted):
                lines = np.arange(read + 1, read + 1 + len(batch))
                read += len(batch)
                yield Batch(batch if wanted is None else batch.select(wanted), lines)

        table = self._table(names, places, batches(), chosen)
        table.bytes_read = lambda: size * read // max(rows, 1)
        table.is_typed = True
        return table

    def _sheets(self) -> Table:
        rows = sheets.sheet_rows(self.raw, self.options.sheet, name=self.name)
        top = sheets.top_rows(rows)
        if not top:
            raise InvalidInput(f"{self.name} is empty")
        header = find_header(top, wanted=self.wanted, meanings=self.meanings, header_row=self.options.header_row)
        names = ["number"] if header is None else list(top[header].cells)
        places = place_columns(names, wanted=self.wanted, meanings=self.meanings)
        chosen = self._chosen(names, places)
        batches: Iterator[Batch] = sheets.sheet_batches(
            rows,
            width=len(names),
            numbers=_numbers(places),
            first=0 if header is None else top[header].line,
        )
        if chosen is not None:
            batches = (_narrowed(batch, chosen) for batch in batches)
        table = self._table(names, places, batches, chosen)
        self._note_header(table, top, header)
        return table

    def _text(self, stream: Stream) -> Table:
        top = delimited.top_of(stream.head)
        if not top.rows:
            raise InvalidInput(f"{self.name} is empty")
        delimiter, rows, header = self._dialect(stream, top)
        if header is not None:
            delimited.check_header(rows[header], delimiter)
        names = ["number"] if header is None else [cell.strip() for cell in rows[header].cells]
        if header is None and self.may_be_flat and delimited.is_flat(rows):
            places = place_columns(names, wanted=self.wanted, meanings=self.meanings)
            skip, line = (top.skip, top.skipped_lines)
            flat = delimited.flat_batches(stream.read, delimiter=delimiter, line=1 + line, skip=skip)
            table = self._table(names, places, flat, None, stream)
            table.column = None
            table.notes = ("the list has several numbers in a line: each of them is an entry",)
            return table
        places = place_columns(names, wanted=self.wanted, meanings=self.meanings)
        chosen = self._chosen(names, places)
        cutter = delimited.Cutter(
            width=len(names),
            delimiter=delimiter,
            number=places.get("number"),
            chosen=chosen,
        )
        if header is None:
            skip, line = top.skip, 1 + top.skipped_lines
        else:
            found = top.rows[header]
            skip, line = found.stop, found.line + delimited.count_lines(found.data)
        batches = cutter.batches(stream.read, line=line, skip=skip)
        table = self._table(names, places, batches, chosen, stream)
        table.delimiter = delimiter
        self._note_header(table, rows, header)
        return table

    def _dialect(self, stream: Stream, top: delimited.Top) -> tuple[str, list[TopRow], int | None]:
        """The delimiter, the first rows cut at it, and which of them is the header.

        Of the delimiters that are likely, that one counts at which a header can be found.
        """
        failed: InvalidInput | None = None
        known = {*map(same, self.wanted.values()), *map(same, self.meanings.known)}
        likely = delimited.likely_delimiters(top, known)
        for delimiter in likely:
            rows = []
            try:
                delimited.check_head(stream.head, delimiter, is_whole=stream.is_whole)
                rows = top.cells(delimiter)
                header = find_header(
                    rows, wanted=self.wanted, meanings=self.meanings, header_row=self.options.header_row
                )
                names = ["number"] if header is None else rows[header].cells
                place_columns(names, wanted=self.wanted, meanings=self.meanings)
            except InvalidInput as error:
                if self.may_be_flat and not self.wanted and delimiter == likely[0] and delimited.is_flat(rows):
                    return delimiter, rows, None
                failed = failed or error
                continue
            # At another delimiter than the likeliest, every line would be a single cell.
            if len(names) > 1 or delimiter == likely[0]:
                return delimiter, rows, header
        raise failed or InvalidInput(f"{self.name} is empty")

    def _note_header(self, table: Table, top: Sequence[TopRow], header: int | None) -> None:
        if header is None:
            table.column = None
        elif header:
            lines = counted(header, "line")
            table.notes = (
                f"skipped {lines} above the header in line {top[header].line}: "
                + "; ".join(shown(" ".join(cell for cell in row.cells if cell.strip())) for row in top[:header]),
            )


def _numbers(places: Mapping[str, int]) -> frozenset[int]:
    """The positions of columns with telephone numbers."""
    return frozenset(place for meaning, place in places.items() if meaning in ("number", "last"))


def _narrowed(batch: Batch, chosen: Sequence[int]) -> Batch:
    columns = [batch.rows.column(i) for i in chosen]
    batch.rows = record_batch(columns, [str(i) for i in range(len(columns))], len(batch.lines))
    return batch


# Words and dates of the table's own


def _translated(
    batches: Iterator[Batch], places: Mapping[str, int], changes: Mapping[str, Translation]
) -> Iterator[Batch]:
    if not changes:
        return batches
    return (_changed(batch, {places[meaning]: change for meaning, change in changes.items()}) for batch in batches)


def translations(options: TableOptions, places: Mapping[str, int]) -> dict[str, Translation]:
    """What has to be done to columns of text, by their meaning: words replaced, dates rewritten.

    Raises:
        InvalidInput: a column with words to replace is not in the table.
    """
    changes: dict[str, Translation] = {}
    for meaning, words in options.values.items():
        if same(meaning) not in places:
            raise InvalidInput(
                f"the list has no column {meaning!r}, so its values cannot be mapped: map the column first"
            )
        changes[same(meaning)] = MappedWords(same(meaning), words)
    if options.date_format is not None:
        for meaning in DATE_COLUMNS & set(places):
            changes[meaning] = date_reader(options.date_format)
    return changes


def _changed(batch: Batch, changes: Mapping[int, Translation]) -> Batch:
    columns = [
        translated(column, changes[i]) if i in changes else column for i, column in enumerate(batch.rows.columns)
    ]
    batch.rows = pa.RecordBatch.from_arrays(columns, names=batch.rows.schema.names)
    return batch


def translated(column: Any, change: Translation) -> Any:
    """A column of texts with some of them replaced; each distinct text is read once."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    encoded = column.cast(pa.large_binary()).dictionary_encode()
    texts = [data.decode(errors="replace") for data in encoded.dictionary.to_pylist()]
    if isinstance(change, MappedWords):
        counts = encoded.indices.value_counts()
        cells = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
        change.count((texts[code], count) for code, count in cells if code is not None)
    read = change.replacement if isinstance(change, MappedWords) else change
    changed = [read(text) for text in texts]
    words = [
        data if text is None else text.encode()
        for data, text in zip(encoded.dictionary.to_pylist(), changed, strict=True)
    ]
    return pc.take(pa.array(words, pa.large_binary()), encoded.indices).view(pa.large_string())
