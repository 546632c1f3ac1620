"""What the judges of all types share: how they refuse, and the walk over RIFF."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit

PARTS_MAX: Final = 65_536
"""Chunks, segments, boxes or pages in one file. 20 MB in pieces of 4 kB are 5,000; more only keeps a judge busy."""

PIXELS_MAX: Final = 120_000_000
"""Phones take pictures of 108 megapixels; as RGB, these are 360 MB in whatever program shows them."""


def check(holds: bool, reason: str) -> None:
    """Refuse a file in which something does not hold."""
    if not holds:
        raise Unfit(reason)


def check_pixels(width: int, height: int) -> None:
    """Refuse a picture without pixels, and one that would unpack to more than a viewer can take."""
    check(width > 0 and height > 0, "the picture has no pixels")
    check(width * height <= PIXELS_MAX, f"the picture has more than {PIXELS_MAX // 1_000_000} megapixels")


class Part(NamedTuple):
    """One piece of a file: its name and where its content lies."""

    kind: bytes
    start: int
    end: int


def riff_parts(data: Content) -> Iterator[Part]:
    """Walk over the chunks of a RIFF file, whose sizes have to add up to the byte.

    Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft, 1991), "RIFF".
    """
    check(len(data) >= 12, "the file is cut off")
    (length,) = struct.unpack_from("<I", data, 4)
    check(8 + length >= len(data), "something follows its end")
    check(8 + length == len(data), "the file is cut off, or says a wrong length")
    at = 12
    for _ in range(PARTS_MAX):
        if at == len(data):
            return
        check(at + 8 <= len(data), "a part of it is cut off")
        kind, length = struct.unpack_from("<4sI", data, at)
        part = Part(kind, at + 8, at + 8 + length)
        check(part.end <= len(data), "a part of it reaches past its end")
        yield part
        at = min(part.end + length % 2, len(data))  # some leave the last byte of padding away
    raise Unfit("it has too many parts")
