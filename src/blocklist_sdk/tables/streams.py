"""The bytes of a table: from a file or a pipe, unpacked, and as UTF-8."""

import codecs
import gzip
import io
import shutil
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.places import temporary_file

HEAD_BYTES: Final = 1 << 18
"""How much of a file is looked at to see what it is, and where its header is."""

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_READ_BYTES: Final = 1 << 20

_LOOKED_AT_BYTES: Final = 12
"""Six characters of UTF-16 without a byte order mark: each has a byte of zero if they are Latin."""


@contextmanager
def read_errors(name: str) -> Iterator[None]:
    """Turn errors of reading a file into `InvalidInput` with the file's name."""
    try:
        yield
    except UnicodeError as error:
        raise InvalidInput(f"{name} does not have the encoding that its first bytes name: save it as UTF-8") from error
    except (EOFError, zlib.error) as error:
        raise InvalidInput(f"{name} is incomplete or damaged: {error}") from error
    except pa.ArrowException as error:
        raise InvalidInput(f"{name} cannot be read: {error}") from error
    except OSError as error:
        # Damaged gzip and Parquet data are errors of this kind as well.
        raise InvalidInput(f"cannot read {name}: {error.strerror or error}") from error


class Stream:
    """The bytes of a file, unpacked, from the beginning.

    Attributes:
        head: its first bytes.
        is_whole: whether `head` is the whole file.
        is_utf8: whether `head` is UTF-8, so that nothing has to be converted.
        has_mark: whether the file begins with a byte order mark, or is UTF-16 without one, as spreadsheets write it.
    """

    def __init__(self, raw: BinaryIO) -> None:
        """Takes an open file, which stays open."""
        self._raw = raw
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        self._data: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if is_gzip else raw
        head = _read_whole(self._data, HEAD_BYTES)
        # Before a byte order mark is taken away, and before anything is converted to fewer bytes.
        self.is_whole: bool = len(head) < HEAD_BYTES
        self._at_end = self.is_whole
        begins_with_mark = any(head.startswith(mark) for mark, _ in _BYTE_ORDER_MARKS)
        self._decoder, head = _decoder_for(head)
        self.has_mark: bool = begins_with_mark or self._decoder is not None
        self.is_utf8: bool = self._decoder is None
        self.head: bytes = self._converted(head, final=self._at_end)
        self._begun = False

    def read(self, size: int) -> bytes:
        """More bytes, as UTF-8 if the file is UTF-16; none at the end. The first call begins with `head`."""
        if not self._begun:
            self._begun = True
            if self.head:
                return self.head
        while not self._at_end:
            data = self._data.read(size)
            if not data:
                self._at_end = True
                return self._converted(b"", final=True)
            if converted := self._converted(data):
                return converted
        return b""

    def position(self) -> int:
        """How many bytes of the file were read so far."""
        return self._raw.tell()

    def _converted(self, data: bytes, *, final: bool = False) -> bytes:
        return data if self._decoder is None else self._decoder.decode(data, final).encode()


def _read_whole(data: "BinaryIO | gzip.GzipFile", size: int) -> bytes:
    """As many bytes as there are, up to a size: a read may return fewer."""
    parts, missing = [], size
    while missing and (part := data.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _decoder_for(head: bytes) -> tuple[codecs.IncrementalDecoder | None, bytes]:
    """What decodes a file that begins like this, and the beginning without a byte order mark of UTF-8."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            if encoding == "utf-8":
                return None, head[len(mark) :]
            return codecs.getincrementaldecoder(encoding)(), head
    even, odd = head[0:_LOOKED_AT_BYTES:2], head[1:_LOOKED_AT_BYTES:2]
    if len(head) >= 4:
        if not any(odd) and all(even):
            return codecs.getincrementaldecoder("utf-16-le")(), head
        if not any(even) and all(odd):
            return codecs.getincrementaldecoder("utf-16-be")(), head
    return None, head


class Spooled(io.BufferedRandom):
    """What came from a pipe, in a temporary file, so that it can be read more than once."""


@contextmanager
def spooled(source: "Path | BinaryIO") -> Iterator["Path | Spooled"]:
    """A source that can be opened more than once, but not at the same time; a path is one already."""
    if isinstance(source, (Path, Spooled)):
        yield source
        return
    with Spooled(temporary_file()) as file:
        with read_errors("standard input"):
            shutil.copyfileobj(source, file, _READ_BYTES)
        yield file


@contextmanager
def opened(source: "Path | BinaryIO") -> Iterator[tuple[BinaryIO, str]]:
    """Open a file, and name it for messages. What comes from a pipe is put into a temporary file first."""
    with ExitStack() as stack:
        if not isinstance(source, Path):
            file = stack.enter_context(spooled(source))
            assert isinstance(file, Spooled)
            file.seek(0)
            yield file, "standard input"
            return
        with read_errors(str(source)):
            is_odd = source.exists() and not source.is_file()
        if is_odd:
            raise InvalidInput(f"{source} is not a regular file: name a file, or - for standard input")
        with read_errors(str(source)):
            raw = stack.enter_context(source.open("rb", buffering=0))
        yield raw, str(source)
