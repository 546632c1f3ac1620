"""Small, whole, generated files of every kind that is evidence."""

import re
import struct
import zlib
from collections.abc import Iterator

from blocklist_sdk.exchange_server.evidence.media.sound import ogg_checksum


def png_chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int = 1, height: int = 1, *, depth: int = 8, colour: int = 0) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = png_chunk(b"IDAT", zlib.compress(b"\0\x80"))
PNG_END = png_chunk(b"IEND")


def png(*between: bytes, header: bytes | None = None) -> bytes:
    """A picture of one grey pixel, with chunks of your own before its pixels."""
    return PNG_START + (header or png_header()) + b"".join(between) + PNG_PIXELS + PNG_END


def png_of(size: int) -> bytes:
    """A PNG of so many bytes."""
    room = size - len(png()) - 12
    return png(png_chunk(b"teSt", bytes(room)))


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


JPEG_FRAME = segment(0xC0, bytes([8, 0, 1, 0, 1, 1, 1, 0x11, 0]))
JPEG_SCAN = segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + b"\x12\xff\x00\x34\xff\xd0\x56"


def jpeg(*between: bytes, frame: bytes = JPEG_FRAME) -> bytes:
    """A picture of one grey pixel, with segments of your own after its start."""
    tables = segment(0xDB, bytes(65)) + segment(0xC4, bytes(17))
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
        + b"".join(between)
        + tables
        + frame
        + (JPEG_SCAN + b"\xff\xd9")
    )


def riff(form: bytes, *parts: tuple[bytes, bytes]) -> bytes:
    body = form + b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for kind, content in parts
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


WEBP_LOSSLESS = (b"VP8L", b"\x2f\x00\x00\x00\x00\x07\x10\x11\x11\x88\x88\x08")
WEBP_LOSSY = (b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a\x01\x00\x01\x00\x00\x00")
WEBP_EXTENDED = (b"VP8X", bytes(10))


def wav(*parts: tuple[bytes, bytes], coding: int = 1) -> bytes:
    header = struct.pack("<HHIIHH", coding, 1, 8000, 8000, 1, 8)
    return riff(b"WAVE", (b"fmt ", header), *parts, (b"data", b"\x80\x81\x82"))


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def wide_box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


def film(brand: bytes, *handlers: bytes, more: bytes = b"", compatible: bytes = b"isom") -> bytes:
    """A file of boxes with one track for each handler, `vide` or `soun`."""
    tracks = b"".join(
        box(b"trak", box(b"tkhd", bytes(84)) + box(b"mdia", box(b"hdlr", bytes(8) + handler + bytes(13))))
        for handler in handlers
    )
    kind = box(b"ftyp", brand + bytes(4) + compatible)
    return kind + box(b"moov", box(b"mvhd", bytes(100)) + tracks) + more + box(b"mdat", bytes(range(50)))


MP3_FRAME = b"\xff\xfb\x90\xc0" + bytes(413)
"""MPEG-1, 128 kbit/s, 44,100 Hz: 417 bytes."""

MP3_FRAME_OLD = b"\xff\xf3\x40\xc0" + bytes(100)
"""MPEG-2, 32 kbit/s, 22,050 Hz: 104 bytes."""

ID3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)


def ogg_page(number: int, packet: bytes, *, first: bool = False, last: bool = False, serial: int = 7) -> bytes:
    lengths = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    flags = (2 if first else 0) | (4 if last else 0)
    page = b"OggS" + struct.pack("<BBqIIIB", 0, flags, 0, serial, number, 0, len(lengths)) + lengths + packet
    return page[:22] + struct.pack("<I", ogg_checksum(page)) + page[26:]


OPUS_HEAD = b"OpusHead\1\1\x38\1\x80\xbb\0\0\0\0\0"


def ogg(head: bytes = OPUS_HEAD) -> bytes:
    return ogg_page(0, head, first=True) + ogg_page(1, b"OpusTags" + bytes(8)) + ogg_page(2, bytes(600), last=True)


AMR_FRAME = b"\x3c" + bytes(31)
AMR_WIDE_FRAME = b"\x04" + bytes(17)


def packed_objects(content: bytes, *, extra: bytes = b"", kind: bytes = b"/ObjStm") -> bytes:
    """A PDF object that holds others, compressed, and to which no table leads."""
    data = zlib.compress(content)
    header = b"<< /Type %s /N 1 /First 4 /Filter /FlateDecode /Length %d %s >>" % (kind, len(data), extra)
    return b"4 0 obj\n%s\nstream\n%s\nendstream\nendobj\n" % (header, data)


def pdf(*objects: bytes, catalog: bytes = b"", page: bytes = b"", trailer: bytes = b"") -> bytes:
    """A page of paper without anything on it, and objects of your own from number 4 on."""
    return pdf_around(
        b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R %s >>\nendobj\n" % catalog,
        b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n",
        b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] %s >>\nendobj\n" % page,
        *objects,
        trailer=trailer,
    )


def pdf_around(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF of objects, the first of which is its catalog, with a table of those that begin with a number."""
    body, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", dict[int, int]()
    for each in objects:
        found = re.match(rb"(\d+) 0 obj", each)
        if found is not None:
            places[int(found[1])] = len(body)
        body += each
    size = max(places) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        table += b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 00000 f \n"
    table += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (size, trailer)
    return body + table + b"startxref\n%d\n%%%%EOF\n" % len(body)


def packed_pdf(*packed: bytes, catalog: bytes = b"", kind: bytes = b"/ObjStm", extra: bytes = b"") -> bytes:
    """The same page, with objects of your own from number 6 on that lie packed in another one, and a packed table."""
    starts = [sum(len(each) + 1 for each in packed[:index]) for index in range(len(packed))]
    head = b" ".join(b"%d %d" % (6 + index, start) for index, start in enumerate(starts)) + b" "
    data = zlib.compress(head + b" ".join(packed))
    objects = [
        b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R %s >>\nendobj\n" % catalog,
        b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n",
        b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>\nendobj\n",
        b"4 0 obj\n<< /Type %s /N %d /First %d /Filter /FlateDecode /Length %d %s >>\nstream\n%s\nendstream\nendobj\n"
        % (kind, len(packed), len(head), len(data), extra, data),
    ]
    body, rows = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", [struct.pack(">BIH", 0, 0, 65535)]
    for each in objects:
        rows.append(struct.pack(">BIH", 1, len(body), 0))
        body += each
    rows.append(struct.pack(">BIH", 1, len(body), 0))
    rows.extend(struct.pack(">BIH", 2, 4, index) for index in range(len(packed)))
    table = b"".join(rows)
    return body + (
        b"5 0 obj\n<< /Type /XRef /W [1 4 2] /Root 1 0 R /Size %d /Length %d >>\nstream\n%s\nendstream\nendobj\n"
        b"startxref\n%d\n%%%%EOF\n" % (len(rows), len(table), table, len(body))
    )


def allowed_files() -> Iterator[tuple[str, str, bytes, str]]:
    """Each kind of evidence: an id, a name, the bytes, the media type."""
    yield "png", "Screenshot 2026-01-02 10.20.30.png", png(), "image/png"
    yield "png with a profile", "layar.png", png(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"y"))), "image/png"
    yield "jpeg", "IMG-20260102-WA0001.jpg", jpeg(), "image/jpeg"
    yield "progressive jpeg", "a.jpg", jpeg(frame=JPEG_FRAME.replace(b"\xff\xc0", b"\xff\xc2")), "image/jpeg"
    yield "jpeg with a map of brightness", "hdr.jpg", jpeg(segment(0xE2, b"MPF\0MM")) + jpeg(), "image/jpeg"
    yield "jpeg with fill bytes", "b.jpg", jpeg(b"\xff\xff\xff" + segment(0xFE, b"a comment")), "image/jpeg"
    yield "webp lossless", "a.webp", riff(b"WEBP", WEBP_LOSSLESS), "image/webp"
    yield "webp lossy", "b.webp", riff(b"WEBP", WEBP_LOSSY), "image/webp"
    yield "webp extended", "c.webp", riff(b"WEBP", WEBP_EXTENDED, WEBP_LOSSY, (b"EXIF", b"abc")), "image/webp"
    yield "pdf", "surat.pdf", pdf(), "application/pdf"
    yield "pdf of packed objects", "b.pdf", packed_pdf(b"<< /Type /Font >>"), "application/pdf"
    yield "mp4", "VID-20260102-WA0002.mp4", film(b"isom", b"vide", b"soun"), "video/mp4"
    yield "mp4 with long lengths", "b.mp4", film(b"mp42", b"vide", more=wide_box(b"free", b"abc")), "video/mp4"
    yield "m4a", "Rekaman.m4a", film(b"M4A ", b"soun", compatible=b"mp42"), "audio/mp4"
    yield "sound in an mp4", "c.mp4", film(b"mp42", b"soun"), "audio/mp4"
    yield "3gp film", "a.3gp", film(b"3gp4", b"soun", b"vide"), "video/3gpp"
    yield "3gp voice note", "b.3gp", film(b"3gp5", b"soun"), "audio/3gpp"
    yield "3g2 film", "a.3g2", film(b"3g2b", b"vide"), "video/3gpp2"
    yield "3g2 voice note", "b.3g2", film(b"3g2a", b"soun"), "audio/3gpp2"
    yield "mp3", "call.mp3", MP3_FRAME * 3, "audio/mpeg"
    yield "mp3 with tags", "call.mp3", ID3 + MP3_FRAME_OLD * 3 + b"TAG" + bytes(125), "audio/mpeg"
    yield "opus", "PTT-20260102-WA0003.opus", ogg(), "audio/ogg"
    yield "vorbis", "a.ogg", ogg(b"\x01vorbis" + bytes(23)), "audio/ogg"
    yield "amr", "REC001.amr", b"#!AMR\n" + AMR_FRAME * 2 + b"\x7c", "audio/AMR"
    yield "amr wide band", "REC002.awb", b"#!AMR-WB\n" + AMR_WIDE_FRAME * 2, "audio/AMR-WB"
    yield "wav", "a.wav", wav(), "audio/wav"
    yield "wav with a list", "b.wav", wav((b"LIST", b"INFOabc"), coding=7), "audio/wav"
    yield "a name that lies", "page.html", png(), "image/png"
    yield "a name of another script", "Скриншот ۲.png", png(), "image/png"
    yield "a name with emoji", "bukti 👨‍👩‍👧.png", png(), "image/png"
