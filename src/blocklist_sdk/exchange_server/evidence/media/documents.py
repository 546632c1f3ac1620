"""PDF: whole, nothing after its end, and nothing in it that acts when it is opened."""

import re
import zlib
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.parts import check

PDF_START: Final = b"%PDF-"

_UNPACKED_MAX: Final = 32_000_000
"""Most bytes that all packed objects of a document may unpack to; those of a thousand pages have some megabytes."""

_NEAR: Final = 4096
"""Distance of the header of packed objects from their name, in bytes; real ones have a hundred."""


def _name(text: str) -> str:
    """The pattern of a name, whose characters may be written as `#` and two digits: ISO 32000-2, 7.3.5."""
    return "".join(f"(?:{character}|#{ord(character):02x}|#{ord(character):02X})" for character in text)


_ACTIVE: Final = {
    "JavaScript": "it holds JavaScript",
    "Launch": "it starts programs",
    "EmbeddedFile": "it holds other files",
    "RichMedia": "it holds other files",
    "Rendition": "it holds films or scripts",
    "SubmitForm": "it sends data when it is filled in",
    "ImportData": "it reads other files",
    "GoToE": "it holds other files",
    "Encrypt": "it is encrypted, so its content cannot be checked: save it without a password",
}
"""Names that no document to be looked at needs: ISO 32000-2, 7.6, 7.11.4, 12.6.4, 13."""

_ACTIVE_NAME: Final = re.compile("|".join(f"/(?P<{name}>{_name(name)})" for name in _ACTIVE).encode())
_SCRIPTED_FORM: Final = re.compile(rf"/{_name('XFA')}\s*(?:\[|\d+\s+\d+\s+R)".encode())
"""More than the three letters, which occur in pictures by chance."""

_PACKED: Final = re.compile(f"/{_name('ObjStm')}".encode())
_STREAM: Final = re.compile(rb"stream\r?\n")
_ONE_DEFLATE: Final = re.compile(rb"/Filter\s*(?:/FlateDecode|\[\s*/FlateDecode\s*\])(?![^\s/>])")
_ESCAPE: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_HEADER: Final = re.compile(rb"%PDF-[12]\.[0-9][\r\n %]")
_END: Final = re.compile(rb"startxref\s+(\d{1,10})\s+%%EOF[\s\0]*\Z")
_TABLE: Final = re.compile(rb"\s*(?:xref\s|\d+\s+\d+\s+obj)")
_TAIL_BYTES: Final = 1024
"""ISO 32000-1, annex H, implementation note 18."""


def pdf(data: Content) -> str:
    """Judge a PDF by the names in it, also in packed objects; contents of pages are not read."""
    check(_HEADER.match(data) is not None, "the PDF does not begin with its header")
    end = _END.search(data[-_TAIL_BYTES:])
    if end is None:
        check(b"%%EOF" not in data[-_TAIL_BYTES:], "something follows the end of the PDF, or its end is damaged")
        raise Unfit("the PDF is cut off, or something follows its end")
    table = int(end[1])
    check(table < len(data) and _TABLE.match(data, table) is not None, "the PDF's table of contents is damaged")
    _refuse_active(data)
    offset, left = 0, _UNPACKED_MAX
    while found := _PACKED.search(data, offset):
        objects, offset = _unpacked(data, offset, found.start(), left)
        left -= len(objects)
        _refuse_active(objects)
    return "application/pdf"


def _refuse_active(data: Content) -> None:
    found = _ACTIVE_NAME.search(data)
    if found is not None:
        raise Unfit(f"the PDF does more than show a document: {_ACTIVE[str(found.lastgroup)]}")
    check(_SCRIPTED_FORM.search(data) is None, "the PDF does more than show a document: it holds a form with scripts")


def _unpacked(data: Content, after: int, name: int, limit: int) -> tuple[bytes, int]:
    """Packed objects (ISO 32000-2, 7.5.7) whose name is at an offset, and the offset of their end."""
    hidden = "the PDF hides its content"
    begin = data.rfind(b"obj", max(after, name - _NEAR), name)
    stream = _STREAM.search(data, name, name + _NEAR)
    check(begin >= 0 and stream is not None, hidden)
    assert stream is not None
    header = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), data[begin : stream.start()])
    check(b"endobj" not in header and b"/Predictor" not in header, hidden)
    close = data.find(b"endstream", stream.end())
    check(close >= 0, hidden)
    if b"/Filter" not in header:
        return b"", close  # it is not compressed, so it has been searched already
    check(header.count(b"/Filter") == 1 and _ONE_DEFLATE.search(header) is not None, hidden)
    inflate = zlib.decompressobj()
    try:
        objects = inflate.decompress(data[stream.end() : close], limit + 1)
    except zlib.error as error:
        raise Unfit(hidden) from error
    check(len(objects) <= limit, "the PDF unpacks to far more than its size")
    check(inflate.eof, hidden)
    return objects, close
