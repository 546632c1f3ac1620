"""The type of a file by its content alone; its name and the sender's media type do not count.

Each function walks over the structure of one type from the first byte to the last, without decoding. A file that does
not add up to the byte is refused, so that no second file can hide in, before or behind it. See
``docs/adr/0012-evidence-is-judged-by-its-content.md``.
"""

import re
import struct
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.boxes import film_or_recording
from blocklist_sdk.exchange_server.evidence.media.documents import PDF_START, pdf
from blocklist_sdk.exchange_server.evidence.media.images import JPEG_START, PNG_START, jpeg, png, webp
from blocklist_sdk.exchange_server.evidence.media.sound import amr, is_mp3_frame, mp3, ogg, wav

_EXTENSIONS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "application/pdf": "pdf",
    "video/mp4": "mp4",
    "audio/mp4": "m4a",
    "video/3gpp": "3gp",
    "audio/3gpp": "3gp",
    "video/3gpp2": "3g2",
    "audio/3gpp2": "3g2",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/AMR": "amr",
    "audio/AMR-WB": "awb",
    "audio/wav": "wav",
}
ALLOWED: Final = "PNG, JPEG, WebP, PDF, MP4, M4A, 3GP, MP3, OGG (Opus or Vorbis), AMR or WAV"

_ACTIVE_TEXT: Final = re.compile(
    rb"<(?:script|html[\s>]|iframe|!doctype\s+html|svg[\s/]+xmlns|\?php\s|[a-z]{1,16}[\s/]+on[a-z]{3,20}\s*=)",
    re.IGNORECASE,
)
"""No picture or recording needs these; the shortest occurs by chance in one of 100,000 files of 20 MB."""

_ARCHIVE: Final = re.compile(rb"Rar!\x1a\x07|7z\xbc\xaf\x27\x1c")
"""Unpackers find these anywhere in a file."""

_ZIP_END: Final = b"PK\5\6"
_ZIP_END_BYTES: Final = 22
_ZIP_COMMENT_MAX: Final = 0xFFFF
"""APPNOTE.TXT 6.3.10, 4.3.16. Unpackers search for the end of the archive from the end of the file."""

_OTHERS: Final = (
    (b"PK", "a ZIP archive or built on one, as DOCX, APK and JAR are"),
    (b"GIF8", "a GIF"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\xfe\xed\xfa", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"dex\n", "a program"),
    (b"#!", "a script"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"{\\rtf", "an RTF document"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"BM", "a BMP"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM film"),
    (b"fLaC", "a FLAC recording"),
)
"""The first bytes of frequent and hostile types, and a name for messages. Types not listed are refused as well."""


class MediaJudge:
    r"""Judges the pictures, documents, recordings and films that phones make; see `Judge`.

    >>> MediaJudge().judge(b"#!AMR\n" + bytes([0x3C]) + bytes(31))
    'audio/AMR'
    >>> MediaJudge().judge(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    Traceback (most recent call last):
    blocklist_sdk.exchange_server.evidence.judge.Unfit: it is an SVG, which is not evidence here: send PNG, ...
    """

    extensions: Final = _EXTENSIONS

    def judge(self, content: Content) -> str:
        """Return the media type of a file that is evidence.

        Raises:
            Unfit: the file is not evidence, with the reason.
            OSError: a process that reads PDFs could not be started, or something ended it.
        """
        media_type = _walk(content)
        if _ACTIVE_TEXT.search(content) is not None:
            raise Unfit("a web page or a script hides in it")
        if _ARCHIVE.search(content) is not None or _ends_as_zip(content):
            raise Unfit("an archive hides in it")
        return media_type


def _walk(data: Content) -> str:
    head = data[:16]
    if head.startswith(PNG_START):
        return png(data)
    if head.startswith(JPEG_START):
        return jpeg(data)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return webp(data)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return wav(data)
    if head.startswith(PDF_START):
        return pdf(data)
    if head[4:8] == b"ftyp":
        return film_or_recording(data)
    if head.startswith(b"OggS"):
        return ogg(data)
    if head.startswith(b"#!AMR"):
        return amr(data)
    if head.startswith(b"ID3") or is_mp3_frame(head):
        return mp3(data)
    raise Unfit(f"it is {_what(data)}, which is not evidence here: send {ALLOWED}", known=False)


def _what(data: Content) -> str:
    """A name for the type of a refused file."""
    head = data[:1024]
    for start, word in _OTHERS:
        if head.startswith(start):
            return word
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[1:2] == b"\0" else "utf-8-sig"
    text = head.decode(encoding, errors="replace").lower().lstrip()
    if "<svg" in text:
        return "an SVG"
    if any(tag in text for tag in ("<html", "<!doctype html", "<script", "<body")):
        return "a web page"
    plain = text.rstrip("\ufffd")  # the last character may be cut in two
    if plain and all((c.isprintable() and c != "\ufffd") or c in "\r\n\t" for c in plain):
        return "plain text"
    return "of an unknown type"


def _ends_as_zip(data: Content) -> bool:
    """Whether unpackers find a ZIP archive in a file that begins as another type."""
    offset = len(data)
    lowest = max(0, offset - _ZIP_END_BYTES - _ZIP_COMMENT_MAX)
    while (offset := data.rfind(_ZIP_END, lowest, offset)) >= 0:
        if offset + _ZIP_END_BYTES > len(data):
            continue
        directory_bytes, comment_bytes = struct.unpack_from("<12xI4xH", data, offset)
        directory = offset - directory_bytes
        if offset + _ZIP_END_BYTES + comment_bytes == len(data) or (
            directory >= 0 and data[directory:offset][:4] == b"PK\1\2"
        ):
            return True
        if data[max(0, offset - 20) : offset][:4] == b"PK\6\7":
            return True
    return False
