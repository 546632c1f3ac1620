"""Helpers for all types: checks, and the walk over RIFF."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit

PARTS_MAX: Final = 65_536
"""Most chunks, segments, boxes or pages of a file. 20 MB in pieces of 4 kB are 5,000; more only cost time."""

PIXELS_MAX: Final = 120_000_000
"""Most pixels of a picture. Phones take pictures of 108 megapixels, which need 360 MB as RGB in a viewer."""


UNPACKED_FREE: Final = 128_000_000
UNPACKED_PER_BYTE: Final = 32
"""Most bytes that a picture may unpack to: these, and so many for each byte of its file.

A screenshot of 40 megapixels has 120 MB in one or two; the picture of a phone of 108 megapixels has 324 MB in ten.
"""


def check(holds: bool, reason: str) -> None:
    """Refuse a file if a condition does not hold."""
    if not holds:
        raise Unfit(reason)


def check_pixels(width: int, height: int) -> None:
    """Refuse a picture without pixels, or with more than a viewer can take."""
    check(width > 0 and height > 0, "the picture has no pixels")
    check(width * height <= PIXELS_MAX, f"the picture has more than {PIXELS_MAX // 1_000_000} megapixels")


def check_unpacked(bits: int, file_bytes: int) -> None:
    """Refuse a picture or animation that unpacks to far more than its file's size, before anything is unpacked.

    Args:
        bits: bits of all pixels of all frames, by their headers.
        file_bytes: bytes of the file.
    """
    most = UNPACKED_FREE + UNPACKED_PER_BYTE * file_bytes
    check(bits // 8 <= most, f"the picture unpacks to {bits // 8_000_000:,} MB, far more than its size")


class Part(NamedTuple):
    """A piece of a file: its name, and the offsets of its content."""

    kind: bytes
    start: int
    end: int


def riff_parts(data: Content) -> Iterator[Part]:
    """Walk over the chunks of a RIFF file, whose sizes must add up to the byte.

    Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft, 1991), "RIFF".
    """
    check(len(data) >= 12, "the file is cut off")
    (length,) = struct.unpack_from("<I", data, 4)
    check(8 + length >= len(data), "something follows its end")
    check(8 + length == len(data), "the file is cut off, or says a wrong length")
    offset = 12
    for _ in range(PARTS_MAX):
        if offset == len(data):
            return
        check(offset + 8 <= len(data), "a part of it is cut off")
        kind, length = struct.unpack_from("<4sI", data, offset)
        part = Part(kind, offset + 8, offset + 8 + length)
        check(part.end <= len(data), "a part of it reaches past its end")
        yield part
        offset = min(part.end + length % 2, len(data))  # some programs leave out the last byte of padding
    raise Unfit("it has too many parts")
