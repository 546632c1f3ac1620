"""Copies of PNG, JPEG and WebP without where, by whom and with what they were taken; the pixels stay bit for bit.

All that is known to be needed for showing the picture is copied, and nothing else. Of EXIF only the orientation stays,
without which a picture lies on its side.
"""

import re
import struct
import zlib
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content
from blocklist_sdk.exchange_server.evidence.media.images import JPEG_START, PNG_START
from blocklist_sdk.exchange_server.evidence.media.parts import Part, check, riff_parts

_EXIF: Final = b"Exif\0\0"
_ORIENTATION: Final = 0x0112
_SHORT: Final = 3
_ORIENTATIONS: Final = range(2, 9)
"""Those that differ from the usual one, 1: CIPA DC-008 (Exif 3.0), 4.6.5, tag 0112."""


def orientation_of(tiff: bytes) -> int:
    """The orientation in EXIF data, 1 if it has none or is damaged.

    >>> orientation_of(exif_of(6))
    6
    >>> orientation_of(b"rubbish")
    1
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 10:
        return 1
    (offset,) = struct.unpack_from(order + "I", tiff, 4)
    if offset + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, offset)
    for entry in range(offset + 2, min(offset + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _values, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == _ORIENTATION and kind == _SHORT and value in _ORIENTATIONS:
            return int(value)
    return 1


def exif_of(orientation: int) -> bytes:
    """EXIF data that hold the orientation and nothing else."""
    return struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, _ORIENTATION, _SHORT, 1, orientation, 0, 0)


# JPEG

_FILL: Final = re.compile(rb"\xff+")
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_APPS: Final = range(0xE0, 0xF0)
_KEPT_APPS: Final = ((0xE0, b"JFIF\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe"))
"""What a viewer needs for the size and colours: JFIF 1.02; ICC.1:2022, B.4; Adobe technical note 5116, 18."""

_JFIF_BYTES: Final = 14
"""A JFIF header without the small picture that may follow in it."""


def cleaned_jpeg(data: Content) -> bytes:
    """A JPEG's first picture without EXIF, XMP, IPTC and comments; others behind it, such as previews, are left out."""
    kept, exif = [JPEG_START[:2]], b""
    offset = 2
    while True:
        fill = _FILL.match(data, offset)
        check(fill is not None and fill.end() < len(data), "the JPEG is damaged")
        assert fill is not None
        marker, offset = data[fill.end()], fill.end() + 1
        if marker == _END:
            kept.append(b"\xff\xd9")
            break
        check(offset + 2 <= len(data), "the JPEG is damaged")
        (length,) = struct.unpack_from(">H", data, offset)
        check(length >= 2 and offset + length <= len(data), "the JPEG is damaged")
        content = data[offset + 2 : offset + length]
        if marker == 0xE1 and content.startswith(_EXIF):
            exif = exif or content[len(_EXIF) :]
        if _is_needed(marker, content):
            kept.append(_segment(marker, content))
        offset += length
        if marker == _SCAN:
            found = _END_OF_SCAN.search(data, offset)
            check(found is not None, "the JPEG is damaged")
            assert found is not None
            kept.append(data[offset : found.start()])
            offset = found.start()
    orientation = orientation_of(exif)
    if orientation != 1:
        place = 2 if kept[1:2] and kept[1][1] == 0xE0 else 1
        kept.insert(place, _segment(0xE1, _EXIF + exif_of(orientation)))
    return b"".join(kept)


def _is_needed(marker: int, content: bytes) -> bool:
    if marker in _APPS:
        return any(marker == app and content.startswith(start) for app, start in _KEPT_APPS)
    return marker != _COMMENT


def _segment(marker: int, content: bytes) -> bytes:
    if marker == 0xE0:
        content = content[: _JFIF_BYTES - 2] + b"\0\0"
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


# PNG

_PNG_KEPT: Final = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV"}
    | {b"cLLI", b"bKGD", b"hIST", b"pHYs", b"acTL", b"fcTL", b"fdAT"}
)
"""The chunks that a picture, its colours and its animation need: W3C PNG (third edition), 11."""


def cleaned_png(data: Content) -> bytes:
    """A PNG without texts, EXIF and moments."""
    kept, exif = [PNG_START], b""
    offset = len(PNG_START)
    while offset < len(data):
        check(offset + 12 <= len(data), "the PNG is damaged")
        length, kind = struct.unpack_from(">I4s", data, offset)
        end = offset + 12 + length
        check(end <= len(data), "the PNG is damaged")
        if kind == b"eXIf":
            exif = data[offset + 8 : end - 4]
        elif kind in _PNG_KEPT:
            kept.append(data[offset:end])
        offset = end
    orientation = orientation_of(exif)
    if orientation != 1:
        body = b"eXIf" + exif_of(orientation)
        kept.insert(2, struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
    return b"".join(kept)


# WebP

_WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_FRAME_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_FRAME_HEADER_BYTES: Final = 16
_EXIF_FLAG, _XMP_FLAG = 0x08, 0x04
"""RFC 9649, 2.7."""


def cleaned_webp(data: Content) -> bytes:
    """A WebP without EXIF and XMP."""
    kept: list[tuple[bytes, bytes]] = []
    exif = b""
    for part in riff_parts(data):
        content = data[part.start : part.end]
        if part.kind == b"EXIF":
            exif = exif or content.removeprefix(_EXIF)
        elif part.kind == b"ANMF":
            kept.append((part.kind, _cleaned_frame(content)))
        elif part.kind in _WEBP_KEPT:
            kept.append((part.kind, content))
    orientation = orientation_of(exif)
    if kept and kept[0][0] == b"VP8X":
        flags = kept[0][1][0] & ~(_EXIF_FLAG | _XMP_FLAG) | (_EXIF_FLAG if orientation != 1 else 0)
        kept[0] = b"VP8X", bytes([flags]) + kept[0][1][1:]
        if orientation != 1:
            kept.append((b"EXIF", exif_of(orientation)))
    body = b"WEBP" + b"".join(_chunk(kind, content) for kind, content in kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _cleaned_frame(frame: bytes) -> bytes:
    """A frame of an animation without parts that nobody knows, which viewers skip."""
    kept, offset = [frame[:_FRAME_HEADER_BYTES]], _FRAME_HEADER_BYTES
    while offset < len(frame):
        check(offset + 8 <= len(frame), "the WebP is damaged")
        kind, length = struct.unpack_from("<4sI", frame, offset)
        part = Part(kind, offset + 8, offset + 8 + length)
        check(part.end <= len(frame), "the WebP is damaged")
        if kind in _FRAME_KEPT:
            kept.append(_chunk(kind, frame[part.start : part.end]))
        offset = part.end + length % 2
    return b"".join(kept)
