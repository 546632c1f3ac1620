"""Which rows of a column decide its form: the same, whoever reads it and in whatever pieces it comes.

A publisher leaves out rows that a recipient keeps, such as blank ones. So neither counts rows in which no telephone
number can be: were they counted, the two would read different rows of a long column, and could decide differently.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SAMPLE_ROWS: Final = 20_000
"""A longer column is decided by half of its rows, a quarter, and so on: by this many at most, and about half as many
at least."""

_GOLDEN: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
"""2**64 divided by the golden ratio. Its multiples, modulo 2**64, are spread evenly, so the rows with the lowest ones
have nearly equal distances, and no period: every other row of a list may be in another form (Knuth, The Art of Computer
Programming, 6.4)."""

_LARGEST: Final = b"largest"
"""The key of a packed sample's largest multiple."""

_SCIENTIFIC: Final = r"^\s*[+-]?[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+\s*$"
"""As spreadsheets write large numbers; digits are gone, and publishers reject them."""


class FormSample:
    """Rows of a column at nearly equal distances, gathered piece by piece.

    >>> sample = FormSample()
    >>> sample.add(pa.array(["0812-3456-7890", "", None, "  ", "6.28123E+12"]))
    >>> sample.column.to_pylist()
    ['0812-3456-7890']
    """

    def __init__(self) -> None:
        """A sample of no rows yet."""
        self._largest = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
        self._seen = 0
        self._kept: list[tuple[NDArray[np.uint64], Any]] = []
        self._type: pa.DataType = pa.string()

    def add(self, piece: "pa.Array[Any] | pa.ChunkedArray[Any]") -> None:
        """Add the next piece of the column: an array, or several."""
        if not isinstance(piece, pa.ChunkedArray):
            self._add(piece)
            return
        if not piece.num_chunks:
            self._type = _plain(pa.array([], piece.type)).type
        for chunk in piece.chunks:
            self._add(chunk)

    def packed(self) -> bytes:
        """What was gathered, for `add_packed` in another process."""
        about = {_LARGEST: str(int(self._largest))}
        rows = pa.chunked_array([part for _, part in self._kept], self._type)
        spreads = pa.chunked_array([pa.array(spread) for spread, _ in self._kept], pa.uint64())
        table = pa.table([spreads, rows], pa.schema([("spread", pa.uint64()), ("row", self._type)], about))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        packed: bytes = sink.getvalue().to_pybytes()
        return packed

    def add_packed(self, packed: bytes) -> None:
        """Add what was gathered from another part of the column.

        Of each part the same share of rows stays, and so as many as it has in the whole. The order in which parts are
        added decides the order of the rows, and nothing else. After this, no piece may be added by `add`.
        """
        with pa.ipc.open_stream(packed) as reader:
            table = reader.read_all().combine_chunks()
        self._largest = min(self._largest, np.uint64(int(table.schema.metadata[_LARGEST])))
        for batch in table.to_batches():
            self._type = batch.schema.field("row").type
            self._kept.append((np.asarray(batch.column("spread")), batch.column("row")))
        self._keep_due()
        while sum(len(each) for each, _ in self._kept) > SAMPLE_ROWS:
            self._largest >>= np.uint64(1)
            self._keep_due()

    @property
    def column(self) -> pa.ChunkedArray:
        """The rows that were gathered, in their order."""
        return pa.chunked_array([part for _, part in self._kept], self._type)

    def _add(self, piece: Any) -> None:
        piece = _plain(piece)
        self._type = piece.type
        counts = np.flatnonzero(_counts(piece))
        spread = np.arange(self._seen, self._seen + len(counts)).astype(np.uint64) * _GOLDEN
        self._seen += len(counts)
        is_due = spread <= self._largest
        while sum(len(each) for each, _ in self._kept) + np.count_nonzero(is_due) > SAMPLE_ROWS:
            self._largest >>= np.uint64(1)
            is_due = spread <= self._largest
            self._keep_due()
        self._kept.append((spread[is_due], piece.take(pa.array(counts[is_due]))))

    def _keep_due(self) -> None:
        self._kept = [
            (each[stays], part.filter(pa.array(stays)))
            for each, part in self._kept
            for stays in [each <= self._largest]
        ]


def _plain(piece: Any) -> Any:
    """The same without a dictionary, and with its texts one after the other."""
    if pa.types.is_dictionary(piece.type):
        return _plain(piece.dictionary).take(piece.indices)
    is_small = pa.types.is_string(piece.type) or pa.types.is_string_view(piece.type)
    return piece.cast(pa.large_string()) if is_small else piece


def _counts(piece: Any) -> NDArray[np.bool_]:
    """Which rows may hold a telephone number."""
    counts = np.asarray(piece.is_valid())
    if not len(piece) or not pa.types.is_large_string(piece.type):
        return counts
    _, offsets_buffer, data_buffer = piece.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64, len(piece) + 1, 8 * piece.offset)
    data = np.frombuffer(data_buffer or b"", np.uint8)
    counts = counts & (offsets[1:] > offsets[:-1])
    text = data[offsets[0] : offsets[-1]]
    if not len(text):
        return counts
    if text.max() > 0x7F:
        _narrow(counts, piece, np.arange(len(piece)), _is_utf8)
    first = np.take(data, offsets[:-1], mode="clip")
    # A text of blanks begins with one; those beyond ASCII are more than one byte long.
    _narrow(counts, piece, np.flatnonzero((first <= 0x20) | (first > 0x7F)), _has_text)
    letters = text.tobytes()  # searching it is quicker than comparing each byte
    if b"e" in letters or b"E" in letters:
        _narrow(counts, piece, np.arange(len(piece)), _has_its_digits)
    return counts


def _narrow(
    counts: NDArray[np.bool_], piece: Any, rows: NDArray[np.intp], keeps: Callable[[Any], NDArray[np.bool_]]
) -> None:
    """Count only what a test keeps, of some rows that count so far."""
    rows = rows[counts[rows]]
    if len(rows):
        counts[rows] = keeps(piece.take(pa.array(rows)))


def _is_utf8(texts: Any) -> NDArray[np.bool_]:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return np.array([_decodes(text) for text in texts.cast(pa.large_binary()).to_pylist()], np.bool_)
    return np.ones(len(texts), np.bool_)


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _has_text(texts: Any) -> NDArray[np.bool_]:
    return np.array([bool(text.strip()) for text in texts.to_pylist()], np.bool_)


def _has_its_digits(texts: Any) -> NDArray[np.bool_]:
    return ~np.asarray(pc.match_substring_regex(texts, _SCIENTIFIC))
