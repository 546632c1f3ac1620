"""What readers that repair documents would find in the bytes of a PDF, where its own table does not lead.

Such a reader searches the whole file for objects, also in what other readers skip: older states of the document,
comments, texts, and the content of streams. So names that act are searched for in the bytes, in every spelling.
"""

import re
import zlib
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Unfit
from blocklist_sdk.exchange_server.evidence.media.parts import check
from blocklist_sdk.exchange_server.evidence.media.pdf_rules import ACTIVE_KINDS, ACTIVE_NAMES, Active

_UNPACKED_MAX: Final = 32_000_000
"""Most bytes that all packed objects of a document may unpack to; those of a thousand pages have some megabytes."""

_LONG: Final = 6
"""Shortest name that is searched for in packed content: shorter ones occur there by chance."""

_STREAM: Final = re.compile(rb"stream\r?\n")
_PACKS: Final = b"/ObjStm"
_ONE_DEFLATE: Final = re.compile(rb"/Filter\s*(?:/FlateDecode|\[\s*/FlateDecode\s*\])(?![^\s/>])")
_CLOSE: Final = b"endstream"
_OBJECT: Final = re.compile(rb"[0-9][\s\0]+[0-9]{1,5}[\s\0]+obj")
_NAME: Final = re.compile(rb"/((?:[A-Za-z0-9]|#[0-9A-Fa-f]{2}){2,60})(?![A-Za-z0-9])")
_KIND: Final = re.compile(
    rb"/(?:S[\s\0]*/(Movie|Sound|Thread)|(?:Type|Subtype2?)[\s\0]*/(F|PS|Screen|Movie|Sound))(?![A-Za-z0-9])"
)
_ESCAPE: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_HIDDEN: Final = "the PDF hides its content"


def check_bytes(data: bytes) -> None:
    """Refuse a PDF in whose bytes something that acts is written, even if its table does not lead there.

    Raises:
        Unfit: there is, or content is hidden.
    """
    left, end = _UNPACKED_MAX, 0
    while (stream := _STREAM.search(data, end)) is not None:
        close = data.find(_CLOSE, stream.end())
        if close < 0:
            break
        header, content = data[end : stream.start()], data[stream.end() : close]
        _refuse(header)
        _refuse(content, shortest=_LONG)
        check(_OBJECT.search(content) is None, _HIDDEN)
        before, _, own = _plain(header).rpartition(b"obj")
        check(_PACKS not in before, _HIDDEN)
        if _PACKS in own:
            left -= _packed(content, own, left)
        end = close + len(_CLOSE)
    _refuse(data[end:])
    check(_PACKS not in _plain(data[end:]), _HIDDEN)


def _plain(text: bytes) -> bytes:
    """Names without escapes: 7.3.5."""
    return _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), text)


def _refuse(text: bytes, *, shortest: int = 2) -> None:
    for found in _NAME.finditer(text):
        name = _plain(found[1]).decode("latin-1") if b"#" in found[1] else found[1].decode()
        why = ACTIVE_NAMES.get(name)
        if why is not None and len(name) >= shortest:
            raise Active(why)
    kind = _KIND.search(_plain(text))
    if kind is not None:
        raise Active(ACTIVE_KINDS[(kind[1] or kind[2]).decode()])


def _packed(content: bytes, header: bytes, limit: int) -> int:
    """Search packed objects (7.5.7), and return how long they are."""
    check(b"/Predictor" not in header, _HIDDEN)
    if b"/Filter" not in header:
        _refuse(content)
        return len(content)
    check(header.count(b"/Filter") == 1 and _ONE_DEFLATE.search(header) is not None, _HIDDEN)
    inflate = zlib.decompressobj()
    try:
        objects = inflate.decompress(content, limit + 1)
    except zlib.error as error:
        raise Unfit(_HIDDEN) from error
    check(len(objects) <= limit, "the PDF unpacks to far more than its size")
    check(inflate.eof, _HIDDEN)
    _refuse(objects)
    return len(objects)
