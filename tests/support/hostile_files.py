"""Generated files that an exchange must refuse, each with words that the refusal must have."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from support.evidence_files import (
    AMR_FRAME,
    ID3,
    JPEG_FRAME,
    JPEG_SCAN,
    MP3_FRAME,
    OPUS_HEAD,
    PNG_END,
    PNG_PIXELS,
    PNG_START,
    WEBP_EXTENDED,
    WEBP_LOSSLESS,
    box,
    film,
    jpeg,
    ogg,
    ogg_page,
    packed_objects,
    pdf,
    png,
    png_chunk,
    png_header,
    png_of,
    riff,
    segment,
    wav,
)


class Hostile(NamedTuple):
    """One file: what tests call it, what its sender calls it, its bytes, and words that the reason holds."""

    id: str
    name: str
    content: bytes
    reason: str
    status: int = 422
    field: str = "body"


SCRIPT = b"<script>alert(document.cookie)</script>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
PAGE = "<!DOCTYPE html><html><body onload='alert(1)'>"
ELF = b"\x7fELF\2\1\1" + bytes(57)


def zipped(content: bytes = b"class", *, name: str = "A.class", comment: bytes = b"") -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        archive.comment = comment
    return memory.getvalue()


def hostile_files(*, most: int) -> Iterator[Hostile]:
    """All of them.

    Args:
        most: bytes that the exchange takes.
    """
    yield from _other_types()
    yield from _sizes(most)
    yield from _names()
    yield from _pictures()
    yield from _documents()
    yield from _films()
    yield from _sounds()
    yield from _two_in_one()


def _other_types() -> Iterator[Hostile]:
    for what, name, content, reason in (
        ("zip", "a.zip", zipped(), "ZIP"),
        ("zip bomb", "photo.png", zipped(bytes(10_000_000)), "ZIP"),
        ("empty zip", "a.jpg", b"PK\5\6" + bytes(18), "ZIP"),
        ("docx", "surat.docx", zipped(b"<w:document/>", name="word/document.xml"), "ZIP"),
        ("apk", "undangan.apk", zipped(b"dex\n035", name="classes.dex"), "ZIP"),
        ("gzip bomb", "a.jpg", gzip.compress(bytes(10_000_000), mtime=0), "gzip"),
        ("7z", "a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(26), "7z"),
        ("rar", "a.rar", b"Rar!\x1a\x07\x01\x00" + bytes(20), "RAR"),
        ("svg", "logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        ("svg with a script", "logo.png", SVG, "SVG"),
        ("web page", "a.jpg", PAGE.encode(), "web page"),
        ("web page in UTF-16", "a.jpg", PAGE.encode("utf-16"), "web page"),
        ("web page in UTF-16 without a mark", "a.jpg", PAGE.encode("utf-16-le"), "web page"),
        ("web page after white space", "a.jpg", b"\xef\xbb\xbf \r\n\t" + PAGE.encode(), "web page"),
        ("plain text", "chat.txt", b"halo, ini dari bank\r\n", "plain text"),
        ("script with a lying name", "a.png", b"#!/bin/sh\nrm -rf ~\n", "a script"),
        ("ELF program", "a.png", ELF, "a program"),
        ("Windows program", "foto.jpg.exe", b"MZ\x90\0" + bytes(60), "a program"),
        ("Java class", "a.png", b"\xca\xfe\xba\xbe\0\0\0\x34", "a program"),
        ("Office document", "a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "Office"),
        ("GIF", "a.gif", b"GIF89a\1\0\1\0\0\0\0;", "a GIF"),
        ("GIFAR", "a.gif", b"GIF89a\1\0\1\0\0\0\0;" + zipped(), "a GIF"),
        ("TIFF", "a.tif", b"II*\0\x08\0\0\0\0\0", "a TIFF"),
        ("WebM", "a.webm", b"\x1aE\xdf\xa3" + bytes(30), "Matroska"),
        ("nothing known", "a.bin", bytes(range(1, 200)), "unknown"),
        ("zeros", "a.png", bytes(1000), "unknown"),
        ("AVI", "a.avi", riff(b"AVI ", (b"LIST", b"hdrl")), "unknown"),
        ("HEIC", "a.heic", box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"mdat", b"x"), "'heic'"),
        ("QuickTime", "a.mov", film(b"qt  ", b"vide"), "'qt'"),
        ("Ogg with a film in it", "a.ogv", ogg(b"\x80theora" + bytes(35)), "neither Opus nor Vorbis"),
        ("AMR of two channels", "a.amr", b"#!AMR_MC1.0\n\0\0\0\2" + AMR_FRAME, "several channels"),
        ("PDF after rubbish", "a.pdf", b"\n" + pdf(), "unknown"),
    ):
        yield Hostile(what, name, content, reason, 415)


def _sizes(most: int) -> Iterator[Hostile]:
    yield Hostile("no bytes", "a.png", b"", "empty")
    yield Hostile("one byte", "a.png", b"\x89", "unknown", 415)
    yield Hostile("one byte too many", "a.png", png_of(most + 1), f"more than {most:,} bytes", 413)


def _names() -> Iterator[Hostile]:
    for what, name, reason in (
        ("empty name", "", "is empty"),
        ("name of white space", " \u2003 ", "is empty"),
        ("long name", "a" * 117 + ".png", "longer than 120"),
        ("name goes up", "../../etc/cron.d/x", "a path"),
        ("name goes up in Windows", "..\\..\\x.png", "a path"),
        ("name is absolute", "/etc/passwd", "a path"),
        ("name is in a folder", "a/b.png", "a path"),
        ("name has a drive", "C:\\x.png", "a path"),
        ("name has a drive only", "c:x.png", "a path"),
        ("name is the folder", ".", "a path"),
        ("name is the folder above", "..", "a path"),
        ("name is a share", "\\\\host\\share", "a path"),
        ("name has an encoded path", "..%2F..%2Fx.png", "a path"),
        ("name has a wide path", "..\uff0f..\uff0fx.png", "a path"),
        ("name has NUL", "a.png\0.html", "U+0000"),
        ("name has a line end", "a\r\nSet-Cookie: b=c.png", "U+000D"),
        ("name has an escape", "\x1b[2Ja.png", "U+001B"),
        ("name is turned around", "foto\u202egnp.exe", "U+202E"),
        ("name is isolated", "foto\u2067gnp.exe", "U+2067"),
        ("name has no width", "a\u200b.png", "U+200B"),
        ("name has a line separator", "a\u2028.png", "U+2028"),
    ):
        yield Hostile(what, name, png(), reason, field="name")


def _pictures() -> Iterator[Hostile]:
    whole, two_headers = png(), png(png_header())
    late_pixels = PNG_START + png_header() + PNG_PIXELS + png_chunk(b"tEXt", b"a\0b") + PNG_PIXELS + PNG_END
    for what, content, reason in (
        ("PNG start only", PNG_START, "cut off"),
        ("PNG without its last byte", whole[:-1], "cut off"),
        ("PNG without its end", whole[:-12], "cut off"),
        ("PNG with a script behind it", whole + SCRIPT, "follows the end"),
        ("PNG with a zero behind it", whole + b"\0", "follows the end"),
        ("PNG with a ZIP behind it", whole + zipped(), "follows the end"),
        ("PNG with a PNG behind it", whole + whole, "follows the end"),
        ("PNG with a wrong checksum", whole.replace(PNG_PIXELS, PNG_PIXELS[:-1] + b"\x01"), "damaged"),
        ("PNG that unpacks to a wall", png(header=png_header(60_000, 60_000, depth=1)), "megapixels"),
        ("PNG as wide as can be", png(header=png_header(0xFFFFFFFF, 0xFFFFFFFF)), "megapixels"),
        ("PNG without pixels", png(header=png_header(0, 5)), "no pixels"),
        ("PNG of an unknown colour type", png(header=png_header(colour=5)), "damaged"),
        ("PNG without a picture", PNG_START + png_header() + PNG_END, "no picture"),
        ("PNG without a header", PNG_START + PNG_PIXELS + PNG_END, "begin with its header"),
        ("PNG with two headers", two_headers, "two headers"),
        ("PNG in pieces", late_pixels, "in pieces"),
        ("PNG with an end that is not empty", PNG_START + png_header() + PNG_PIXELS + png_chunk(b"IEND", ELF), "empty"),
        ("PNG with an unknown critical part", png(png_chunk(b"CgBI", bytes(4))), "no viewer knows"),
        ("PNG of a thousand thousand parts", png(png_chunk(b"teSt") * 65_536), "too many parts"),
        ("PNG with a part without end", PNG_START + png_header() + b"\x7f\xff\xff\xffIDAT" + bytes(90), "cut off"),
        ("JPEG start only", b"\xff\xd8\xff", "cut off"),
        ("JPEG without its end", jpeg()[:-2], "cut off"),
        ("JPEG cut in its scan", jpeg()[:-6], "cut off"),
        ("JPEG with a script behind it", jpeg() + SCRIPT, "follows the end"),
        ("JPEG with a JPEG behind it that it does not know of", jpeg() + jpeg(), "follows the end"),
        ("JPEG with a program behind the pictures", jpeg(segment(0xE2, b"MPF\0")) + jpeg() + ELF, "follows the end"),
        ("JPEG without a picture", b"\xff\xd8" + JPEG_FRAME + b"\xff\xd9", "no picture"),
        ("JPEG with a scan before its frame", b"\xff\xd8" + JPEG_SCAN + b"\xff\xd9", "damaged"),
        ("JPEG with rubbish between segments", jpeg(b"rubbish"), "damaged"),
        ("JPEG with two frames", jpeg(JPEG_FRAME), "damaged"),
        ("JPEG that unpacks to a wall", jpeg(frame=segment(0xC0, b"\x08\xff\xff\xff\xff\1\1\x11\0")), "megapixels"),
        ("JPEG of a laboratory", jpeg(frame=JPEG_FRAME.replace(b"\xff\xc0", b"\xff\xc3")), "no viewer knows"),
        ("JPEG with a segment past its end", b"\xff\xd8\xff\xe1\xff\xff" + b"Exif", "cut off"),
        ("WebP with a wrong length", riff(b"WEBP", WEBP_LOSSLESS)[:-2], "wrong length"),
        ("WebP with a script behind it", riff(b"WEBP", WEBP_LOSSLESS) + SCRIPT, "follows its end"),
        ("WebP without a picture", riff(b"WEBP", WEBP_EXTENDED), "no picture"),
        ("WebP without anything", riff(b"WEBP"), "header"),
        ("WebP with an unknown part", riff(b"WEBP", WEBP_LOSSLESS, (b"EVIL", ELF)), "no viewer knows"),
        ("WebP that unpacks to a wall", riff(b"WEBP", (b"VP8L", b"\x2f\xff\xff\xff\x0f")), "megapixels"),
        ("WebP of a wide canvas", riff(b"WEBP", (b"VP8X", b"\0\0\0\0" + b"\xff" * 6), WEBP_LOSSLESS), "megapixels"),
        ("WebP without a key frame", riff(b"WEBP", (b"VP8 ", ELF)), "damaged"),
    ):
        yield Hostile(what, "a.png", content, reason)


def _documents() -> Iterator[Hostile]:
    script = b"/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>"
    whole = pdf()
    packed, bomb = packed_objects(b"x"), packed_objects(bytes(40_000_000))
    for what, content, reason in (
        ("PDF with JavaScript", pdf(catalog=script), "JavaScript"),
        ("PDF with JavaScript in another spelling", pdf(catalog=script.replace(b"/Java", b"/J#61v#61")), "JavaScript"),
        ("PDF with packed JavaScript", pdf(packed_objects(b"6 0 << %s >>" % script)), "JavaScript"),
        ("PDF that packs in another spelling", pdf(packed_objects(script, kind=b"/Obj#53tm")), "JavaScript"),
        ("PDF that starts programs", pdf(catalog=b"/OpenAction << /S /Launch /F (cmd.exe) >>"), "starts programs"),
        ("PDF with a file in it", pdf(catalog=b"/Names << /EmbeddedFiles 9 0 R >>"), "other files"),
        ("PDF with a rich annotation", pdf(b"4 0 obj\n<< /Subtype /RichMedia >>\nendobj\n"), "films"),
        ("PDF with a scripted form", pdf(catalog=b"/AcroForm << /XFA [(a) 9 0 R] >>"), "form with scripts"),
        ("PDF that sends a form", pdf(catalog=b"/OpenAction << /S /SubmitForm >>"), "sends data"),
        ("encrypted PDF", pdf(trailer=b"/Encrypt 9 0 R"), "encrypted"),
        ("PDF that unpacks to a wall", pdf(bomb), "unpacks to far more"),
        ("PDF that packs twice", pdf(packed.replace(b"/FlateDecode", b"[/FlateDecode /LZWDecode]")), "hides"),
        ("PDF that packs by rows", pdf(packed_objects(b"x", extra=b"/DecodeParms << /Predictor 12 >>")), "hides"),
        ("PDF that packs nothing", pdf(b"4 0 obj\n<< /Type /ObjStm >>\nendobj\n"), "hides"),
        ("PDF that packs rubbish", pdf(packed.replace(b"x\x9c", b"\0\0")), "hides"),
        ("PDF cut off", whole[:-30], "cut off"),
        ("PDF header only", b"%PDF-1.7\n", "cut off"),
        ("PDF with a script behind it", whole + SCRIPT, "follows the end"),
        ("PDF with much behind it", whole + b"%" + bytes(5000), "cut off, or something follows"),
        ("PDF with a ZIP behind it", whole + zipped(comment=b"%%EOF"), "follows the end"),
        ("PDF of an unknown version", whole.replace(b"%PDF-1.7", b"%PDF-<sc"), "header"),
        ("PDF with a table elsewhere", whole.replace(b"startxref\n", b"startxref\n1"), "table of contents"),
    ):
        yield Hostile(what, "a.pdf", content, reason)


def _films() -> Iterator[Hostile]:
    whole = film(b"isom", b"vide")
    twice = whole + box(b"moov", box(b"mvhd", bytes(100)))
    no_index = box(b"ftyp", b"isom\0\0\0\0isom") + box(b"mdat", bytes(9))
    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    for what, content, reason in (
        ("MP4 with a part past its end", whole + b"\0\0\1\0free" + bytes(8), "reaches past"),
        ("MP4 cut off", whole[:-1], "cut off"),
        ("MP4 with a script behind it", whole + SCRIPT, "reaches past"),
        ("MP4 with three bytes behind it", whole + b"\0\0\0", "cut off"),
        ("MP4 with a ZIP behind it", whole + zipped(), "reaches past"),
        ("MP4 with a part without length", whole + b"\0\0\0\0mdat" + SCRIPT, "damaged"),
        ("MP4 with a part that is too short", whole + b"\0\0\0\7free", "damaged"),
        ("MP4 with a part of 2^64 bytes", whole + b"\0\0\0\1free" + b"\xff" * 8, "reaches past"),
        ("MP4 with an unknown part", whole + box(b"evil", ELF), "no player knows"),
        ("MP4 without an index", no_index, "no index"),
        ("MP4 with two indexes", twice, "more than one"),
        ("MP4 without anything to play", film(b"isom"), "neither pictures nor sound"),
        ("MP4 of text", film(b"isom", b"text"), "neither pictures nor sound"),
        ("MP4 type only", box(b"ftyp", b"isom\0\0\0\0"), "no index"),
        ("MP4 with a damaged type", box(b"ftyp", b"is") + whole, "type is damaged"),
        ("MP4 with a track past its index", whole.replace(handler, b"\0\1" + handler[2:]), "reaches past"),
        ("MP4 of a hundred thousand parts", whole + box(b"free") * 65_536, "too many parts"),
    ):
        yield Hostile(what, "a.mp4", content, reason)


def _sounds() -> Iterator[Hostile]:
    whole, head = ogg(), ogg_page(0, OPUS_HEAD, first=True)
    two = head + ogg_page(0, OPUS_HEAD, first=True, serial=8) + ogg_page(1, b"x")
    other = b"\xff\xfb\x94\xc0" + bytes(380)
    for what, content, reason in (
        ("MP3 of one frame", MP3_FRAME, "no sound"),
        ("MP3 cut off", MP3_FRAME * 3 + MP3_FRAME[:9], "cut off"),
        ("MP3 with a script behind it", MP3_FRAME * 3 + SCRIPT, "between or after"),
        ("MP3 with a ZIP behind it", MP3_FRAME * 3 + zipped(), "between or after"),
        ("MP3 tag before a program", ID3 + ELF, "between or after"),
        ("MP3 tag only", ID3, "no sound"),
        ("MP3 tag past its end", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + MP3_FRAME * 3, "cut off"),
        ("MP3 with a damaged tag", b"ID3\4\0\0\xff\0\0\0" + MP3_FRAME * 3, "tag is damaged"),
        ("MP3 that changes", MP3_FRAME * 2 + other, "changes its version"),
        ("MP3 of an unknown rate", b"\xff\xfb\xf0\xc0" + bytes(413), "damaged"),
        ("UTF-16 text that looks like sound", b"\xff\xfe<\0s\0c\0r\0i\0p\0t\0>\0", "unknown|page"),
        ("Ogg with a wrong checksum", whole[:-1] + b"\x01", "damaged"),
        ("Ogg cut off", whole[:-1], "cut off"),
        ("Ogg with a script behind it", whole + SCRIPT, "between or after"),
        ("Ogg of two streams", two, "more than one stream"),
        ("Ogg with a page missing", head + ogg_page(2, b"x"), "missing"),
        ("Ogg of one page", head, "no sound"),
        ("AMR cut off", b"#!AMR\n" + AMR_FRAME[:-1], "cut off"),
        ("AMR with a script behind it", b"#!AMR\n" + AMR_FRAME + SCRIPT, "AMR file"),
        ("AMR with a shell behind its magic", b"#!AMR\nrm -rf ~\n", "AMR file"),
        ("AMR magic only", b"#!AMR\n", "no sound"),
        ("AMR of silence", b"#!AMR\n" + b"\x7c" * 9, "no sound"),
        ("AMR of a million silences", b"#!AMR\n" + b"\x7c" * 1_000_001, "too many frames"),
        ("WAV with a wrong length", wav()[:4] + b"\xff\xff\xff\xff" + wav()[8:], "wrong length"),
        ("WAV with a script behind it", wav() + SCRIPT, "follows its end"),
        ("WAV with a part past its end", wav((b"LIST", b"ab")).replace(b"LIST\2", b"LIST\xf2"), "reaches past"),
        ("WAV without sound", riff(b"WAVE", (b"fmt ", bytes([1, 0, 1, 0] + [0] * 12))), "no sound"),
        ("WAV without a header", riff(b"WAVE", (b"data", b"abcd")), "header is missing"),
        ("WAV of MP3", wav(coding=0x55), "does not hold sound"),
        ("WAV with a part without a name", wav((b"\0\0\0\0", b"ab")), "damaged"),
    ):
        status = 415 if what.startswith("UTF-16") else 422
        yield Hostile(what, "a.mp3", content, reason.partition("|")[2] or reason, status)


def _two_in_one() -> Iterator[Hostile]:
    archive = zipped(comment=bytes(len(PNG_END) + 4 + len(PNG_PIXELS)))
    hidden = png(png_chunk(b"teSt", archive[: -len(PNG_END) - 4 - len(PNG_PIXELS)]))
    tagged = b"ID3\4\0\0\0\0\1\0" + zipped().ljust(128, b"\0")
    archives, texts = "an archive hides", "a web page or a script hides"
    for what, content, reason in (
        ("PNG with a ZIP inside", hidden, archives),
        ("JPEG with a ZIP inside", jpeg(segment(0xFE, zipped())), archives),
        ("JPEG with a RAR inside", jpeg(segment(0xFE, b"Rar!\x1a\x07\x01\x00")), archives),
        ("MP4 with a ZIP inside", film(b"isom", b"vide", more=box(b"free", zipped())), archives),
        ("WAV with a ZIP inside", wav((b"LIST", zipped())), archives),
        ("MP3 with a ZIP inside", tagged + MP3_FRAME * 2, archives),
        ("PNG with a script inside", png(png_chunk(b"tEXt", b"Comment\0" + SCRIPT)), texts),
        ("JPEG with PHP inside", jpeg(segment(0xFE, b"<?php system($_GET[0]); ?>")), texts),
        ("WebP with a page inside", riff(b"WEBP", WEBP_LOSSLESS, (b"XMP ", PAGE.encode())), texts),
        ("MP4 with an SVG inside", film(b"isom", b"vide", more=box(b"uuid", SVG)), texts),
        ("PDF with a page inside", pdf(b"%" + PAGE.encode() + b"\n"), texts),
    ):
        yield Hostile(what, "a.png", content, reason)


def png_with_a_large_picture(size: int) -> bytes:
    """A whole PNG of a wall of one colour, `size` by `size` pixels of one bit: a bomb where it is above the limit."""
    row = bytes(1 + (size + 7) // 8)
    pixels = png_chunk(b"IDAT", zlib.compress(row * size))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 1, 0, 0, 0, 0))
    return PNG_START + header + pixels + PNG_END
