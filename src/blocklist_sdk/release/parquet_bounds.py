"""What a Parquet file may cost, found before any of it is unpacked.

A file of two kilobytes may unpack to gigabytes, and the sizes in its footer are its writer's word. So the headers of
its pages are read here: from each of them the Parquet library reserves the memory that the page claims to need. What
passes takes memory in proportion to the rows that the signed index declares. Numbers of this format: parquet.thrift of
the Parquet specification, in Thrift's compact protocol.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.limits import (
    COLUMNS_MAX,
    DISTINCT_TEXTS_MAX,
    PAGE_BYTES_MAX,
    TEXT_BYTES_MAX,
    footer_bytes_max,
    groups_max,
)

_MAGIC: Final = b"PAR1"
_END: Final = struct.Struct("<I4s")

_CHUNK_BYTES_BASE: Final = 1 << 16
"""Bytes that a column of a row group may take whatever its rows: headers, and writers that round up."""

_INTEGER_BYTES: Final = 16
"""Bytes of an integer in a page at most: eight, and what levels and packing may add."""

_TEXT_BYTES: Final = TEXT_BYTES_MAX + 16
"""Bytes of a text in a page at most: the text, its length, and what levels may add."""

_TYPES: Final = {"INT64": _INTEGER_BYTES, "BYTE_ARRAY": _TEXT_BYTES}
"""Bytes of a value by the physical types that a release may have."""

_ENCODINGS: Final = frozenset({"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"})
_INTEGER_ENCODINGS: Final = _ENCODINGS | {"DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"}
"""Encodings of known columns. In the two others, for texts, a byte may stand for a text as long as a page."""

_CODECS: Final = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "LZ4"})

_DICTIONARY_PAGE: Final = 2
_ENCODING_NAMES: Final = {
    0: "PLAIN",
    2: "PLAIN_DICTIONARY",
    3: "RLE",
    4: "BIT_PACKED",
    5: "DELTA_BINARY_PACKED",
    8: "RLE_DICTIONARY",
    9: "BYTE_STREAM_SPLIT",
}
_HEADER_DEPTH_MAX: Final = 4
_HEADER_BYTES: Final = 256, 1 << 16
"""How much of the file is looked at for a page's header, which may hold the least and the greatest of its values."""

_FIELD_MAX: Final = 1 << 15
_INT32_MAX: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class _Page:
    """What a page's header says.

    Attributes:
        kind: the type of the page.
        unpacked: its bytes when it is unpacked.
        packed: its bytes in the file.
        values: its values.
        encoding: their encoding.
    """

    kind: int
    unpacked: int
    packed: int
    values: int
    encoding: int


def check_footer_size(path: Path, *, rows: int) -> None:
    """Check how long the footer is, before it is read.

    Args:
        path: the file.
        rows: how many rows it may have.

    Raises:
        Malformed: it is not a Parquet file, or its footer is too long.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END.size))
        end = file.read(_END.size)
    if len(end) < _END.size or size < len(_MAGIC) + _END.size:
        raise Malformed(f"{path.name} is not a readable Parquet file: it has {size} bytes")
    length, magic = _END.unpack(end)
    if magic != _MAGIC:
        raise Malformed(f"{path.name} is not a readable Parquet file: it does not end with {_MAGIC.decode()}")
    if length > footer_bytes_max(rows):
        raise Malformed(
            f"{path.name} has a footer of {length:,} bytes; for {rows:,} rows it may have {footer_bytes_max(rows):,}"
        )


def check_contents(path: Path, file: pq.ParquetFile, columns: list[str]) -> None:
    """Check what the columns of an open file may cost to read.

    Args:
        path: the file.
        file: the same, open: its footer has been read.
        columns: those that will be read.

    Raises:
        Malformed: it has too many columns or row groups, a column is nested or of a type or encoding that no release
            has, or a column would take more memory than its rows may.
    """
    about = file.metadata
    if len(file.schema) > COLUMNS_MAX:
        raise Malformed(f"{path.name} has {len(file.schema)} columns; a release may have at most {COLUMNS_MAX}")
    if about.num_row_groups > groups_max(about.num_rows):
        raise Malformed(
            f"{path.name} has {about.num_row_groups:,} row groups for {about.num_rows:,} rows; it may have at most "
            f"{groups_max(about.num_rows):,}"
        )
    places = {}
    for place in range(len(file.schema)):
        column = file.schema.column(place)
        if column.name not in columns and column.path.partition(".")[0] not in columns:
            continue
        if column.path != column.name or column.max_repetition_level or column.max_definition_level > 1:
            raise Malformed(f"{path.name} nests other columns in {column.path.partition('.')[0]!r}")
        if column.physical_type not in _TYPES:
            raise Malformed(f"the file's column {column.name!r} is {column.physical_type}, not text or integers")
        places[column.name] = place
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        rows = 0
        for number in range(about.num_row_groups):
            group = about.row_group(number)
            rows += group.num_rows
            if group.num_rows < 0 or rows > about.num_rows:
                raise Malformed(f"the row groups of {path.name} do not have the {about.num_rows:,} rows of its footer")
            # Nothing is read of a group without rows.
            for name, place in places.items() if group.num_rows else ():
                _check_chunk(path, data, name, group.column(place), group.num_rows)
        if rows != about.num_rows:
            raise Malformed(f"the row groups of {path.name} do not have the {about.num_rows:,} rows of its footer")


def _check_chunk(path: Path, data: mmap.mmap, name: str, chunk: Any, rows: int) -> None:
    """Check one column of one row group, by the headers of its pages."""
    if chunk.num_values != rows:
        raise Malformed(f"the column {name!r} of {path.name} has {chunk.num_values:,} values in {rows:,} rows")
    if chunk.compression not in _CODECS:
        raise Malformed(f"the column {name!r} of {path.name} is packed with {chunk.compression}: pack it with ZSTD")
    is_text = chunk.physical_type == "BYTE_ARRAY"
    allowed = _ENCODINGS if is_text else _INTEGER_ENCODINGS
    start, stop = _extent(chunk)
    if not 0 <= start <= stop <= len(data):
        raise Malformed(f"the column {name!r} of {path.name} is not inside the file")
    width = _TYPES[chunk.physical_type]
    unpacked = values = 0
    for page in _pages(path, data, start, stop):
        encoding = _ENCODING_NAMES.get(page.encoding, str(page.encoding))
        if encoding not in allowed:
            raise Malformed(
                f"the column {name!r} of {path.name} has the encoding {encoding}, which no release may have"
            )
        if page.unpacked > PAGE_BYTES_MAX:
            raise Malformed(
                f"the column {name!r} of {path.name} has a page of {page.unpacked:,} bytes; a page may have at most "
                f"{PAGE_BYTES_MAX:,}"
            )
        if page.kind == _DICTIONARY_PAGE:
            if is_text and page.values > DISTINCT_TEXTS_MAX:
                raise Malformed(
                    f"the column {name!r} of {path.name} has a dictionary of {page.values:,} texts; it may hold at "
                    f"most {DISTINCT_TEXTS_MAX:,}"
                )
        else:
            values += page.values
        unpacked += page.unpacked
    # A dictionary has no more values than there are rows, and the rows refer to them.
    most = _CHUNK_BYTES_BASE + 2 * width * rows
    if unpacked > most:
        raise Malformed(
            f"the column {name!r} of {path.name} unpacks to {unpacked:,} bytes for {rows:,} rows; it may take at most "
            f"{most:,}"
        )
    if values > rows:
        raise Malformed(f"the column {name!r} of {path.name} has {values:,} values in {rows:,} rows")


def _extent(chunk: Any) -> tuple[int, int]:
    """Where the pages of a column begin and end, as the Parquet library finds them."""
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    return start, start + chunk.total_compressed_size


def _pages(path: Path, data: mmap.mmap, start: int, stop: int) -> Iterator[_Page]:
    while start < stop:
        try:
            try:
                page, length = _page(data[start : min(stop, start + _HEADER_BYTES[0])])
            except IndexError:
                page, length = _page(data[start : min(stop, start + _HEADER_BYTES[1])])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise Malformed(f"{path.name} is not a readable Parquet file: a page has no header") from error
        if page.unpacked < 0 or page.packed < 0 or page.values < 0:
            raise Malformed(f"{path.name} is not a readable Parquet file: a page has a negative length")
        yield page
        start += length + page.packed


def _page(header: bytes) -> tuple[_Page, int]:
    """A page's header, and how long it is.

    WARNING: the Parquet library reads the same bytes, and must find the same in them. So whatever two readers may read
    in two ways is refused: a field that comes twice, an integer beyond 32 bits.
    """
    fields, length = _struct(header, 0, _HEADER_DEPTH_MAX)
    kind = fields[1]
    # A page of values, of a dictionary, or of values in the second version; of an index, which is passed over, none.
    field, encoding = {0: (5, 2), _DICTIONARY_PAGE: (7, 2), 3: (8, 4)}.get(kind, (None, 0))
    if field is None:
        return _Page(kind, fields[2], fields[3], 0, 0), length
    about = fields[field]
    return _Page(kind, fields[2], fields[3], about[1], about[encoding]), length


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """A structure of Thrift's compact protocol: its integers and structures by field, and where it ends."""
    if not depth:
        raise ValueError("too deep")
    fields: dict[int, Any] = {}
    seen: set[int] = set()
    field = 0
    while True:
        head = data[at]
        at += 1
        if not head:
            return fields, at
        if head >> 4:
            field += head >> 4
        else:
            field, at = _integer(data, at)
        kind = head & 15
        if field in seen or not 0 <= field < _FIELD_MAX:
            raise ValueError(f"field {field} comes twice, or is not a field")
        seen.add(field)
        if kind in (4, 5, 6):
            fields[field], at = _integer(data, at)
        elif kind == 12:
            fields[field], at = _struct(data, at, depth - 1)
        elif kind == 8:
            length, at = _varint(data, at)
            at += length
        elif kind == 3:
            at += 1
        elif kind == 7:
            at += 8
        elif kind not in (1, 2):  # a boolean is its own value
            raise ValueError(f"a field of type {kind}")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    value = (value >> 1) ^ -(value & 1)
    if abs(value) > _INT32_MAX:
        raise ValueError("an integer beyond 32 bits")
    return value, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("too long an integer")
