r"""Text with delimiters (CSV and its relatives), cut into cells in blocks.

A block that has no quotation mark, and in which every line has as many cells as the header, goes to pyarrow as it is.
In any other block numpy finds the marks, the line ends and the delimiters first. A mark must open a cell right at its
beginning and close it right at its end: any other is an error that names the line of the mark that was left open,
since nobody can know which rows lie inside it. Lines with more or fewer cells become rejects, and are replaced by empty
rows before pyarrow sees the block: it then has to find as many rows as numpy did.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables.batches import Batch, record_batch
from blocklist_sdk.tables.cells import is_like_a_number
from blocklist_sdk.tables.header import TopRow, same
from blocklist_sdk.tables.rejects import Reject

BLOCK_BYTES = 8 << 20
"""How much is cut at a time, and the longest row."""

DELIMITERS: Final = ",;\t|"

_SAMPLE_ROWS: Final = 200
_HEADER_ROWS: Final = 30
_LOOKED_AT_BYTES: Final = 1 << 16
"""How much of a row is looked at to find the header."""

_SEP: Final = re.compile(rb"\"?sep=(.)\"?\s*", re.IGNORECASE)
_ENCLOSED: Final = re.compile(rb'"[^"]*"|\([^()\r\n]*\)|\{[^{}\r\n]*\}|\[[^\[\]\r\n]*\]')
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|$)")
_QUOTE, _LF, _CR, _HASH = (ord(mark) for mark in '"\n\r#')

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]
Read = Callable[[int], bytes]


@dataclass(slots=True)
class RawRow:
    """A row that is not cut yet.

    Attributes:
        line: the line in which it begins.
        data: its bytes, with the line end.
        stop: where it ends in the file.
    """

    line: int
    data: bytes
    stop: int


@dataclass(slots=True)
class Top:
    """The beginning of a text.

    Attributes:
        rows: its first rows that are neither blank nor comments.
        delimiter: the delimiter that the text names itself (``sep=;``); None if it does not.
        skip, skipped_lines: the bytes and lines of that line.
    """

    rows: list[RawRow]
    delimiter: str | None = None
    skip: int = 0
    skipped_lines: int = 0

    def cells(self, delimiter: str) -> list[TopRow]:
        """The rows, cut at a delimiter."""
        return [TopRow(row.line, cut(row.data, delimiter)) for row in self.rows]


def cut(data: bytes, delimiter: str) -> list[str]:
    """The cells of one row; bytes that are not UTF-8 are replaced."""
    text = data[:_LOOKED_AT_BYTES].decode(errors="replace").rstrip("\r\n")
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])


def top_of(head: bytes) -> Top:
    """Look at the beginning of a text."""
    rows: list[RawRow] = []
    delimiter: str | None = None
    line = at = skip = 0
    pending, begun = b"", 1
    for match in _LINE.finditer(head):
        data = match[0]
        if not data and match.start() == len(head):
            break
        line, at = line + 1, match.end()
        if not pending:
            begun = line
            if line == 1 and (sep := _SEP.fullmatch(data)):
                delimiter, skip = sep[1].decode(errors="replace"), at
                continue
            if not data.strip() or is_comment(data):
                continue
        pending += data
        if pending.count(b'"') % 2 == 0:
            rows.append(RawRow(begun, pending, at))
            pending = b""
            if len(rows) == _SAMPLE_ROWS:
                break
    if pending:
        rows.append(RawRow(begun, pending, at))
    return Top(rows, delimiter, skip, 1 if skip else 0)


def is_comment(data: bytes) -> bool:
    """Whether a line above the rows is a comment: a lone ``#`` is the name of a column of row numbers."""
    return data.startswith(b"#") and data[1:2] not in (b"", b",", b";", b"\t", b"|", b"\r", b"\n")


def likely_delimiters(top: Top, known: AbstractSet[str]) -> list[str]:
    """The delimiters, the likeliest first.

    That is the one at which most names are found that are `known`, then the one that is as often in most lines. What is
    inside quotation marks or brackets does not count: ``(0812|0813)`` is one cell. If none occurs, the one that is not
    inside them either is taken, so that no line is cut.

    Raises:
        InvalidInput: the text names one that is not read.
    """
    if top.delimiter is not None:
        if top.delimiter not in DELIMITERS:
            raise InvalidInput(
                f"line 1 names {top.delimiter!r} as the delimiter, which is not read: write one of , ; | or a tab"
            )
        return [top.delimiter]
    texts = [_ENCLOSED.sub(b"", row.data) for row in top.rows]

    def rank(delimiter: str) -> tuple[int, int, int, int]:
        named = max(len(known & set(map(same, row.cells))) for row in top.cells(delimiter)[:_HEADER_ROWS])
        counts = Counter(text.count(delimiter.encode()) for text in texts)
        usual, lines = max(counts.items(), key=lambda pair: (pair[0] > 0, pair[1]), default=(0, 0))
        in_first = sum(text.count(delimiter.encode()) for text in texts[:1])
        inside = sum(row.data.count(delimiter.encode()) for row in top.rows) if not usual else 0
        return (named, lines if usual else 0, in_first, -inside)

    return sorted(DELIMITERS, key=rank, reverse=True)


class Cutter:
    """Cuts the rows of a text into batches, in order."""

    def __init__(self, *, width: int, delimiter: str, number: int | None, chosen: Sequence[int] | None = None) -> None:
        """For rows of `width` cells.

        Args:
            width: the number of cells in a row.
            delimiter: what is between them.
            number: the position of the column with the numbers.
            chosen: the columns to read; None for all.
        """
        self._width = width
        self._delimiter = delimiter
        self._mark = delimiter.encode()
        self._number = number
        self._keys = [str(i) for i in range(width)]
        self._chosen = list(range(width)) if chosen is None else list(chosen)
        self._filler = self._mark * (width - 1) + b"\n"

    def batches(self, read: Read, *, line: int, skip: int) -> Iterator[Batch]:
        """Cut what `read` gives.

        Args:
            read: returns some more bytes, none at the end.
            line: the line in which the first row begins.
            skip: how many bytes come before it.

        Raises:
            InvalidInput: a quotation mark is left open or out of place, or a row is too long.
        """
        try:
            for block in blocks(read, skip=skip):
                batch, lines = self._cut(block, line)
                yield batch
                line += lines
        except _Endless as error:
            raise error.found(self._mark, line) from None

    def _cut(self, block: bytes, line: int) -> tuple[Batch, int]:
        """A block's rows, and how many lines it has."""
        lines = block.count(b"\n")
        is_plain = b'"' not in block and (b"\r" not in block or block.count(b"\r") == block.count(b"\r\n"))
        if is_plain and not (self._width == 1 and (block.startswith(b"#") or b"\n#" in block)):
            wrong: list[object] = []
            rows = self._parse(block, wrong)
            if not wrong and len(rows) == lines:
                return Batch(rows, np.arange(line, line + lines)), lines
        return self._sift(block, line)

    def _sift(self, block: bytes, line: int) -> tuple[Batch, int]:
        data = np.frombuffer(block, np.uint8)
        ends, marks = line_ends(data), np.flatnonzero(data == _QUOTE)
        check_marks(data, marks, ends, self._mark, line=line)
        row_ends = ends[np.searchsorted(marks, ends) % 2 == 0] if len(marks) else ends
        starts = np.concatenate([np.zeros(1, np.intp), row_ends[:-1] + 1])
        at = np.arange(len(starts))
        if len(row_ends) < len(ends):
            at = np.searchsorted(ends, starts)
            self._check_inside(block, starts, row_ends, at, np.searchsorted(ends, row_ends), line)
        if self._width > 1:
            wrong: list[object] = []
            rows = self._parse(block, wrong)
            if not wrong and len(rows) == len(starts):
                return Batch(rows, line + at), len(ends)
        delimiters = np.flatnonzero(data == self._mark[0]) if len(self._mark) == 1 else _places(block, self._mark)
        delimiters = delimiters[np.searchsorted(marks, delimiters) % 2 == 0]
        cells = np.diff(np.searchsorted(delimiters, row_ends), prepend=0) + 1
        odd = cells != self._width
        if self._width == 1:
            odd |= data[starts] == _HASH
        rejects: list[Reject] = []
        unread: list[int] = []
        pieces: list[bytes] = []
        done = 0
        for row in np.flatnonzero(odd).tolist():
            start, stop = int(starts[row]), int(row_ends[row])
            raw = block[start:stop]
            text = raw.decode(errors="backslashreplace").rstrip("\r")
            if not raw.startswith(b"#") and text.replace(self._delimiter, "").strip():
                more = "more" if cells[row] > self._width else "fewer"
                reason = f"the line has {more} cells ({cells[row]}) than the header ({self._width})"
                if self._width == 1:
                    reason = f"the line has another number of cells ({cells[row]}) than the first (1)"
                rejects.append(Reject(line + int(at[row]), reason, text))
                unread.append(row)
            pieces += (block[done:start], self._filler)
            done = stop + 1
        pieces.append(block[done:])
        mended = b"".join(pieces)
        rows = self._parse(mended, [])
        if len(rows) != len(starts):
            raise InvalidInput(
                f"the lines from {line} to {line + len(ends) - 1} cannot be cut into rows reliably: save the list again"
            )
        return Batch(rows, line + at, rejects, np.array(unread, np.int64)), len(ends)

    def _parse(self, block: bytes, wrong: list[object]) -> pa.RecordBatch:
        """What pyarrow reads in a block: bytes, unchecked, so that nothing is guessed about their types."""

        def note(row: object) -> str:
            wrong.append(row)
            return "skip"

        if not block:
            return record_batch([pa.array([], pa.string()) for _ in self._chosen], self._keys[: len(self._chosen)], 0)
        table = pa.csv.read_csv(
            pa.BufferReader(block),
            pa.csv.ReadOptions(column_names=self._keys, block_size=len(block) + 1),
            pa.csv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=b'"' in block,
                ignore_empty_lines=False,
                invalid_row_handler=note,
            ),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(self._keys, pa.binary()),
                include_columns=[self._keys[i] for i in self._chosen],
            ),
        )
        columns = [_whole(column).view(pa.string()) for column in table.columns]
        return record_batch(columns, [str(i) for i in range(len(columns))], len(table))

    def _check_inside(
        self, block: bytes, starts: Places, stops: Places, first: Places, last: Places, line: int
    ) -> None:
        """Refuse a cell of several lines that look like rows: its quotation marks do not belong together."""
        if self._number is None:
            return
        for row in np.flatnonzero(last > first).tolist():
            inner = re.split(rb"\r\n|\r|\n", block[starts[row] : stops[row]].rstrip(b"\r"))[1:]
            for data in inner:
                parts = data.split(self._mark)
                if len(parts) != self._width:
                    continue
                if is_like_a_number(parts[self._number].decode(errors="replace").strip(' "')):
                    raise _left_open(line + int(first[row]), "has rows inside it")


def flat_batches(read: Read, *, delimiter: str, line: int, skip: int) -> Iterator[Batch]:
    """A list without a header whose lines hold several numbers: each number is a row, with its line."""
    mark = delimiter.encode()
    for block in _flat_blocks(read, mark, skip=skip, line=line):
        data = np.frombuffer(block, np.uint8)
        ends = line_ends(data)
        check_marks(data, np.flatnonzero(data == _QUOTE), ends, mark, line=line)
        cells: list[str] = []
        lines: list[int] = []
        at = 0
        try:
            rows = list(
                csv.reader(io.StringIO(block.decode(errors="backslashreplace"), newline=""), delimiter=delimiter)
            )
        except csv.Error as error:
            raise InvalidInput(f"the lines from {line} on cannot be cut into numbers: {error}") from error
        for row in rows:
            filled = [cell for cell in row if cell.strip()]
            is_comment_line = bool(row) and row[0].startswith("#")
            filled = [""] if is_comment_line or not filled else filled
            cells += filled
            lines += [line + at] * len(filled)
            at += 1 + sum(len(re.findall("\r\n|\r|\n", cell)) for cell in row)
        yield Batch(record_batch([pa.array(cells, pa.string())], ["0"], len(cells)), np.array(lines, np.int64))
        line += len(ends)


def _flat_blocks(read: Read, mark: bytes, *, skip: int, line: int) -> Iterator[bytes]:
    try:
        for block in blocks(read, skip=skip):
            yield block
            line += count_lines(block)
    except _Endless as error:
        raise error.found(mark, line) from None


class _Endless(Exception):
    """A row that does not end, and the data from its beginning on."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def found(self, mark: bytes, line: int) -> InvalidInput:
        """What is wrong: the marks tell, if one of them is left open."""
        data = np.frombuffer(self._data, np.uint8)
        try:
            check_marks(data, np.flatnonzero(data == _QUOTE), line_ends(data), mark, line=line)
        except InvalidInput as error:
            return error
        return InvalidInput(f"line {line} is longer than {BLOCK_BYTES:,} bytes, so this is not a list: check the file")


def blocks(read: Read, *, skip: int) -> Iterator[bytes]:
    """What `read` gives in blocks of whole rows, each with its line end, the last one too.

    Raises:
        _Endless: a row does not end.
    """
    pending = b""
    at_end = False
    while not at_end:
        more = read(BLOCK_BYTES)
        at_end = not more
        data = pending + more
        if skip:
            skip, data = max(0, skip - len(data)), data[skip:]
        if at_end and data and not data.endswith((b"\n", b"\r")):
            data += b"\n"
        stop = len(data) if at_end else _last_row_end(data)
        if stop:
            block, pending = data[:stop], data[stop:]
            yield block
        else:
            pending = data
        if len(pending) > BLOCK_BYTES:
            raise _Endless(pending)


def _last_row_end(data: bytes) -> int:
    """Where the last row ends that is whole; 0 if none is."""
    ending = b"\n" if b"\n" in data else b"\r"
    # The line feed that belongs to a carriage return may still come.
    stop = len(data) - 1 if data.endswith(b"\r") else len(data)
    if b'"' not in data:
        return data.rfind(ending, 0, stop) + 1
    numbers = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(numbers[:stop] == ending[0])
    outside = ends[np.searchsorted(np.flatnonzero(numbers == _QUOTE), ends) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def check_head(head: bytes, delimiter: str, *, is_whole: bool) -> None:
    """Make sure that the marks at the beginning of a text belong together, as far as they can be seen.

    Args:
        head: the beginning.
        delimiter: what is between cells.
        is_whole: whether nothing comes after it.

    Raises:
        InvalidInput: as from `check_marks`.
    """
    whole = head if is_whole else head[: _last_row_end(head)]
    data = np.frombuffer(whole, np.uint8)
    check_marks(data, np.flatnonzero(data == _QUOTE), line_ends(data), delimiter.encode(), line=1)


def check_header(header: TopRow, delimiter: str) -> None:
    """Refuse a header with a name of several lines that has a number: its quotation marks do not belong together.

    Raises:
        InvalidInput: it has.
    """
    for cell in header.cells:
        inner = [part for line in re.split(r"\r\n|\r|\n", cell)[1:] for part in line.split(delimiter)]
        if any(is_like_a_number(part.strip(' "')) for part in inner):
            raise _left_open(header.line, "has a number inside it")


def count_lines(data: bytes) -> int:
    """How many lines there are, the last one without its end too."""
    return len(line_ends(np.frombuffer(data, np.uint8))) + (not data.endswith((b"\n", b"\r")))


def line_ends(data: Bytes) -> Places:
    """Where lines end: at the line feed, or at a carriage return without one."""
    ends = np.flatnonzero(data == _LF)
    returns = np.flatnonzero(data == _CR)
    if len(returns):
        following = data[np.minimum(returns + 1, len(data) - 1)]
        lone = returns[(following != _LF) | (returns + 1 == len(data))]
        if len(lone):
            ends = np.sort(np.concatenate([ends, lone]))
    return ends


def check_marks(data: Bytes, marks: Places, ends: Places, delimiter: bytes, *, line: int) -> None:
    """Make sure that every quotation mark opens a cell at its beginning or closes it at its end.

    Args:
        data: whole rows.
        marks: where their quotation marks are.
        ends: where their lines end.
        delimiter: what is between cells.
        line: their first line.

    Raises:
        InvalidInput: one does not; the line is that of the mark that was left open, or is out of place.
    """
    if not len(marks):
        return
    opening, closing = marks[0::2], marks[1::2]
    before = data[np.maximum(opening - 1, 0)]
    misplaced = opening[~(_is_edge(delimiter[-1])[before] | (opening == 0))]
    after = data[np.minimum(closing + 1, len(data) - 1)]
    unclosed = closing[~(_is_edge(delimiter[0])[after] | (closing == len(data) - 1))]
    first_misplaced = int(misplaced[0]) if len(misplaced) else len(data)
    first_unclosed = int(unclosed[0]) if len(unclosed) else len(data)
    if len(marks) % 2 and min(first_misplaced, first_unclosed) == len(data):
        first_unclosed = len(data) - 1
    if first_misplaced < first_unclosed:
        raise _out_of_place(line + int(np.searchsorted(ends, first_misplaced)))
    if first_unclosed < len(data):
        # What opened the cell: the last opening mark before it that does not belong to a doubled mark.
        begun = opening[opening < first_unclosed + (len(marks) % 2)]
        begun = begun[(begun == 0) | (data[np.maximum(begun - 1, 0)] != _QUOTE)] if len(begun) > 1 else begun
        at = int(begun[-1]) if len(begun) else int(opening[0])
        raise _left_open(line + int(np.searchsorted(ends, at)), "is not closed before the next cell or line begins")


def _is_edge(delimiter: int) -> npt.NDArray[np.bool_]:
    """For each byte whether a quotation mark may stand beside it."""
    table = np.zeros(256, np.bool_)
    table[[delimiter, _LF, _CR, _QUOTE]] = True
    return table


def _left_open(line: int, what: str) -> InvalidInput:
    return InvalidInput(
        f'line {line}: the quotation mark (") that opens a cell in this line {what}. Close it at the end of its cell, '
        "or remove it; a mark inside of a cell is written twice"
    )


def _out_of_place(line: int) -> InvalidInput:
    return InvalidInput(
        f'line {line}: a quotation mark (") stands inside of a cell that does not begin with one. Remove it, or put '
        "the whole cell between quotation marks and write the mark twice"
    )


def _places(block: bytes, mark: bytes) -> Places:
    return np.array([found.start() for found in re.finditer(re.escape(mark), block)], np.intp)


def _whole(column: "pa.ChunkedArray") -> "pa.Array":
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def is_flat(rows: Sequence[TopRow]) -> bool:
    """Whether these are lines of several numbers, and nothing else: not a table with columns."""
    filled = [[cell for cell in row.cells if cell.strip()] for row in rows]
    return any(len(cells) > 1 for cells in filled) and all(is_like_a_number(cell) for cells in filled for cell in cells)
