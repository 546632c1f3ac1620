"""Columns of numbers as Arrow streams, from clients that may send anything.

A stream is read only after the headers of its messages say that it is small: they have the number of rows, and whether
buffers are compressed. Compressed and dictionary-encoded columns are refused, since a few bytes of them may stand for
gigabytes.
"""

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk.lookup_server.problems import Problem

if TYPE_CHECKING:
    from blocklist_sdk.recipient.arrow_types import ArrowTable

_SCHEMA, _RECORD_BATCH = 1, 3
"""Kinds of messages (format/Message.fbs of Arrow)."""

_V5: Final = 4
"""The version of messages since Arrow 1.0 (MetadataVersion in format/Schema.fbs)."""

_BATCHES_MAX: Final = 1_000
"""Most batches in a stream, empty ones among them."""

_KINDS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)


_WIDTHS: Final = {
    pa.string(): 4,
    pa.large_string(): 8,
    pa.string_view(): 16,
    **{kind: kind.bit_width // 8 for kind in (pa.int16(), pa.int32(), pa.int64())},
    **{kind: kind.bit_width // 8 for kind in (pa.uint16(), pa.uint32(), pa.uint64())},
}
"""The bytes of an element of the buffer after that of the nulls: an offset, a view, or an integer."""


class NotAColumn(Exception):
    """A stream that is refused.

    Attributes:
        problem: why.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem: Problem = problem


def read_numbers(body: bytes, *, rows_max: int) -> "pa.ChunkedArray[Any]":
    """The one column of an Arrow stream.

    Args:
        body: the stream.
        rows_max: most rows.

    Raises:
        NotAColumn: it is not a stream with one plain column of texts or integers, or has more rows.

    >>> sink = pa.BufferOutputStream()
    >>> table = pa.table({"number": ["0812-3456-7890"]})
    >>> with pa.ipc.new_stream(sink, table.schema) as stream:
    ...     stream.write_table(table)
    >>> read_numbers(sink.getvalue().to_pybytes(), rows_max=10).to_pylist()
    ['0812-3456-7890']
    """
    try:
        _check_messages(body, rows_max)
        table = pa.ipc.open_stream(body).read_all()
        table.validate(full=True)
        _check_buffers(table)
    except (pa.ArrowException, OSError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotAColumn(Problem("malformed", "the body is not an Arrow stream as IPC writes it")) from error
    if table.num_columns != 1:
        raise NotAColumn(Problem("invalid", f"send one column, the numbers; the stream has {table.num_columns}"))
    column = table.column(0)
    if pa.types.is_string_view(column.type):
        if sum(map(_view_bytes, column.chunks)) > len(body):
            raise NotAColumn(Problem("too-large", "the texts of the column share bytes: send them one after the other"))
        # Validation looks at no row that is null, and a cast at all of them: a wrong length there ends the process.
        column = pa.chunked_array([pa.array(column.to_pylist(), pa.large_string())])
    elif not any(is_kind(column.type) for is_kind in _KINDS):
        raise NotAColumn(Problem("invalid", "the column must be of strings or integers"))
    return column


def _check_buffers(table: "pa.Table") -> None:
    """Refuse buffers that end in the middle of an element, which Arrow lets pass."""
    for column in table.columns:
        width = _WIDTHS.get(column.type, 1)
        for chunk in column.chunks:
            values = chunk.buffers()[1:2]
            if values and values[0] is not None and values[0].size % width:
                raise pa.ArrowInvalid("a buffer ends in the middle of an element")


def _view_bytes(chunk: "pa.Array[Any]") -> int:
    """How many bytes the texts of a view have; each view begins with its length, in 16 bytes."""
    views = chunk.buffers()[1]
    if views is None:
        return 0
    lengths = np.frombuffer(views, np.int32)[4 * chunk.offset : 4 * (chunk.offset + len(chunk)) : 4]
    return int(lengths[np.asarray(chunk.is_valid())].astype(np.int64).sum())


def _check_messages(body: bytes, rows_max: int) -> None:
    """Look at the header of every message, before anything is decoded."""
    rows = 0
    reader = pa.ipc.MessageReader.open_stream(body)
    for count in range(_BATCHES_MAX + 2):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        metadata = message.metadata.to_pybytes()
        kind, header, table = _header(metadata)
        if (kind == _SCHEMA) != (count == 0):
            raise pa.ArrowInvalid("the schema comes first, and once")
        if kind == _SCHEMA:
            continue
        if kind != _RECORD_BATCH:
            raise NotAColumn(Problem("invalid", "send plain strings or integers, without a dictionary"))
        if _field(header, table, 3) is not None or _may_be_compressed_as_by_0_17(metadata):
            raise NotAColumn(Problem("invalid", "send the stream without compression of its buffers"))
        at = _field(header, table, 0)
        rows += 0 if at is None else max(0, struct.unpack_from("<q", header, at)[0])
        if rows > rows_max:
            raise NotAColumn(Problem("too-large", f"a request may have {rows_max:,} numbers: ask in several requests"))
    raise NotAColumn(Problem("too-large", f"a stream may have {_BATCHES_MAX:,} batches"))


def _header(metadata: bytes) -> tuple[int, bytes, int]:
    """The kind of a message, and where the table of its header is, in a flatbuffer (flatbuffers.dev/internals)."""
    root = struct.unpack_from("<I", metadata, 0)[0]
    kind_at, header_at = _field(metadata, root, 1), _field(metadata, root, 2)
    if kind_at is None or header_at is None:
        raise pa.ArrowInvalid("a message without a header")
    return metadata[kind_at], metadata, header_at + struct.unpack_from("<I", metadata, header_at)[0]


def _may_be_compressed_as_by_0_17(metadata: bytes) -> bool:
    """Whether a message is of an old version and has metadata of its own, where Arrow 0.17 named the compression.

    Arrow still reads it (GetCompressionExperimental in ipc/reader.cc), and then the header of the batch does not tell.
    """
    root = struct.unpack_from("<I", metadata, 0)[0]
    at = _field(metadata, root, 0)
    version = 0 if at is None else struct.unpack_from("<h", metadata, at)[0]
    return version < _V5 and _field(metadata, root, 4) is not None


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Where a field of a table is; None if the table does not have it."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if vtable < 0:
        raise pa.ArrowInvalid("a table outside the message")
    size = struct.unpack_from("<H", buffer, vtable)[0]
    place = 4 + 2 * number
    if place + 2 > size:
        return None
    offset: int = struct.unpack_from("<H", buffer, vtable + place)[0]
    return table + offset if offset else None


def write_answer(answer: "ArrowTable") -> bytes:
    """A table as an Arrow stream."""
    table: Any = answer
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def levels_in(answer: "ArrowTable") -> tuple[int, int, int]:
    """How many rows of an answer are blocked, are advisories, and are no numbers."""
    level = answer.column("level")
    found = {each["values"]: each["counts"] for each in pc.value_counts(pc.drop_null(level)).to_pylist()}
    return found.get("block", 0), found.get("advisory", 0), answer.column("number").null_count
