"""PNG, JPEG and WebP: whole, nothing after the end, and not larger than a viewer can take."""

import re
import struct
import zlib
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.parts import (
    PARTS_MAX,
    Part,
    check,
    check_pixels,
    check_unpacked,
    riff_parts,
)

PNG_START: Final = b"\x89PNG\r\n\x1a\n"
JPEG_START: Final = b"\xff\xd8\xff"

_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits of a sample by colour type: W3C PNG (third edition), table 8."""

_PNG_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
"""The known chunks with a capital first letter; viewers must refuse a picture with another one: 5.4."""


_PNG_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type."""

_PACKED_TEXTS: Final = frozenset({b"zTXt", b"iTXt", b"iCCP"})
_TEXTS_MAX: Final = 8_000_000
"""Most bytes that packed texts and the colour profile of a PNG unpack to; profiles have one or two million."""


def png(data: Content) -> str:
    """Judge a PNG: every chunk with its checksum, from the header to the end, and nothing after that."""
    kinds: list[bytes] = []
    offset = len(PNG_START)
    bits, pixel_bits, texts = 0, 0, _TEXTS_MAX
    while kinds[-1:] != [b"IEND"]:
        check(len(kinds) < PARTS_MAX, "the PNG has too many parts")
        part = _png_chunk(data, offset)
        if not kinds:
            check(part.kind == b"IHDR", "the PNG does not begin with its header")
            pixel_bits, bits = _png_header(data, part)
            check_unpacked(bits, len(data))
        else:
            check(part.kind != b"IHDR", "the PNG has two headers")
        if part.kind in _PACKED_TEXTS:
            texts -= _png_text_bytes(data, part, texts)
        if part.kind == b"fcTL":
            bits += _png_frame_pixels(data, part) * pixel_bits
            check_unpacked(bits, len(data))
        kinds.append(part.kind)
        offset = part.end + 4
    check(part.start == part.end, "the end of the PNG is not empty")
    pixels = [index for index, kind in enumerate(kinds) if kind == b"IDAT"]
    check(bool(pixels), "the PNG has no picture")
    check(pixels[-1] - pixels[0] + 1 == len(pixels), "the PNG's picture is in pieces")
    check(offset == len(data), "something follows the end of the PNG")
    return "image/png"


def _png_text_bytes(data: Content, part: Part, limit: int) -> int:
    """The bytes that a packed text unpacks to, or what remains of it: W3C PNG (third edition), 11.3."""
    content = data[part.start : part.end]
    rest = content.partition(b"\0")[2]
    if part.kind == b"iTXt":
        if rest[:1] != b"\1":
            return 0
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        rest = rest[1:]
    try:
        unpacked = len(zlib.decompressobj().decompress(rest, limit + 1))
    except zlib.error:
        return 0  # viewers skip it
    check(unpacked <= limit, "a text in the PNG unpacks to far more than its size")
    return unpacked


def _png_frame_pixels(data: Content, part: Part) -> int:
    """The pixels of a frame of an animation: 11.3.6.2."""
    check(part.end - part.start == 26, "a part of the PNG is damaged")
    width, height = struct.unpack_from(">II", data, part.start + 4)
    check_pixels(width, height)
    return int(width * height)


def _png_chunk(data: Content, offset: int) -> Part:
    check(offset + 12 <= len(data), "the PNG is cut off")
    length, kind = struct.unpack_from(">I4s", data, offset)
    part = Part(kind, offset + 8, offset + 8 + length)
    check(part.end + 4 <= len(data), "the PNG is cut off")
    check(kind.isalpha(), "a part of the PNG is damaged")
    check(kind in _PNG_CRITICAL or kind[:1].islower(), "the PNG has a part that no viewer knows")
    with memoryview(data) as view, view[offset + 4 : part.end] as checked:
        check(zlib.crc32(checked) == struct.unpack_from(">I", data, part.end)[0], "a part of the PNG is damaged")
    return part


def _png_header(data: Content, part: Part) -> tuple[int, int]:
    """The bits of a pixel, and of all pixels."""
    check(part.end - part.start == 13, "the PNG's header is damaged")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack_from(">IIBBBBB", data, part.start)
    known = depth in _PNG_DEPTHS.get(colour, ()) and compression == filtering == 0 and interlace <= 1
    check(known, "the PNG's header is damaged")
    check_pixels(width, height)
    bits = depth * _PNG_SAMPLES[colour]
    return bits, width * height * bits


_FILL: Final = re.compile(rb"\xff+")
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In compressed pixels, FF is followed by 00 or is a restart marker: ITU-T T.81, B.1.1.5."""

_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive: the kinds that usual viewers read."""

_OTHER_FRAMES: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_OUT_OF_PLACE: Final = frozenset({0x00, 0x01, 0xD8, *range(0xD0, 0xD8)})
_SCAN, _END, _APP2 = 0xDA, 0xD9, 0xE2

_SCANS_MAX: Final = 64
"""Most scans of a picture: a progressive one of a phone or program has ten, the finest division 30 or so."""

_PICTURES_MAX: Final = 16
"""Most pictures in one file: phones add a preview and a map of brightness (CIPA DC-007 Multi-Picture Format)."""


def jpeg(data: Content) -> str:
    """Judge a JPEG: segment after segment, scan after scan, to its end.

    If it announces more pictures, as those of phones do, these are walked over as well. Nothing else may follow.
    """
    end, more = _jpeg_picture(data, 0)
    for _ in range(_PICTURES_MAX):
        if more and data[end : end + 3] == JPEG_START:
            end, _more = _jpeg_picture(data, end)
    check(end == len(data), "something follows the end of the JPEG")
    return "image/jpeg"


def _jpeg_picture(data: Content, offset: int) -> tuple[int, bool]:
    """The offset of a picture's end, and whether it announces that others follow."""
    offset += 2
    frames = scans = 0
    more = False
    for _ in range(PARTS_MAX):
        fill = _FILL.match(data, offset)
        check(fill is not None or offset >= len(data), "a part of the JPEG is damaged")
        check(fill is not None and fill.end() < len(data), "the JPEG is cut off")
        assert fill is not None
        marker, offset = data[fill.end()], fill.end() + 1
        if marker == _END:
            check(scans > 0, "the JPEG has no picture")
            return offset, more
        check(marker not in _OUT_OF_PLACE, "a part of the JPEG is damaged")
        check(offset + 2 <= len(data), "the JPEG is cut off")
        (length,) = struct.unpack_from(">H", data, offset)
        check(length >= 2, "a part of the JPEG is damaged")
        check(offset + length <= len(data), "the JPEG is cut off")
        check(marker not in _OTHER_FRAMES, "it is a kind of JPEG that no viewer knows")
        if marker in _FRAMES:
            frames += 1
            check(frames == 1 and length >= 8, "a part of the JPEG is damaged")
            height, width = struct.unpack_from(">HH", data, offset + 3)
            check_pixels(width, height)
            check_unpacked(width * height * 8 * data[offset + 7], len(data))
        more |= marker == _APP2 and data[offset + 2 : offset + 6] == b"MPF\0"
        offset += length
        if marker == _SCAN:
            check(frames == 1, "a part of the JPEG is damaged")
            scans += 1
            check(scans <= _SCANS_MAX, "the JPEG has too many layers, each of which costs as much as the picture")
            found = _END_OF_SCAN.search(data, offset)
            check(found is not None, "the JPEG is cut off")
            assert found is not None
            offset = found.start()
    raise Unfit("the JPEG has too many parts")


_WEBP_PICTURES: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_WEBP_PARTS: Final = _WEBP_PICTURES | {b"VP8X", b"ALPH", b"ANIM", b"ICCP", b"EXIF", b"XMP "}
"""Google, WebP Container Specification (RFC 9649), 2."""


_WEBP_PIXEL_BITS: Final = 32
"""Red, green, blue and transparency."""


def webp(data: Content) -> str:
    """Judge a WebP: chunks that add up, all of them known, and a picture among them."""
    parts, pixels = list(riff_parts(data)), 0
    check(bool(parts) and parts[0].kind in (b"VP8 ", b"VP8L", b"VP8X"), "the WebP does not begin with its header")
    for part in parts:
        check(part.kind in _WEBP_PARTS, "the WebP has a part that no viewer knows")
        size = _webp_size(data, part)
        if size is not None:
            check_pixels(*size)
            if part.kind == b"ANMF" or part is parts[0]:  # a picture in a canvas has its size
                pixels += size[0] * size[1]
            check_unpacked(pixels * _WEBP_PIXEL_BITS, len(data))
    check(any(part.kind in _WEBP_PICTURES for part in parts), "the WebP has no picture")
    return "image/webp"


def _webp_size(data: Content, part: Part) -> tuple[int, int] | None:
    """Width and height; None if the chunk does not have them."""
    head = data[part.start : min(part.end, part.start + 10)]
    if part.kind == b"VP8X":
        check(len(head) == 10, "the WebP's header is damaged")
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if part.kind == b"ANMF":
        frame = data[part.start + 6 : min(part.end, part.start + 12)]
        check(len(frame) == 6, "a frame of the WebP is damaged")
        return int.from_bytes(frame[:3], "little") + 1, int.from_bytes(frame[3:], "little") + 1
    if part.kind == b"VP8L":
        check(len(head) >= 5 and head[0] == 0x2F, "the WebP's header is damaged")
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if part.kind == b"VP8 ":
        is_key_frame = len(head) == 10 and not head[0] & 1 and head[3:6] == b"\x9d\x01\x2a"
        check(is_key_frame, "the WebP's header is damaged")
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None
