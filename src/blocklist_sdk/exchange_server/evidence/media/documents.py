"""PDF: whole, nothing after its end, and nothing in it that acts when it is opened."""

import re
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media.parts import check
from blocklist_sdk.exchange_server.evidence.media.pdf_process import judge_pdf

PDF_START: Final = b"%PDF-"

_HEADER: Final = re.compile(rb"%PDF-[12]\.[0-9][\r\n %]")
_END: Final = re.compile(rb"startxref\s+(\d{1,10})\s+%%EOF[\s\0]*\Z")
_TABLE: Final = re.compile(rb"\s*(?:xref\s|\d+\s+\d+\s+obj)")
_TAIL_BYTES: Final = 1024
"""ISO 32000-1, annex H, implementation note 18."""


def pdf(data: Content) -> str:
    """Judge a PDF: its frame here, and what it holds in a process of its own."""
    check(_HEADER.match(data) is not None, "the PDF does not begin with its header")
    end = _END.search(data[-_TAIL_BYTES:])
    if end is None:
        check(b"%%EOF" not in data[-_TAIL_BYTES:], "something follows the end of the PDF, or its end is damaged")
        raise Unfit("the PDF is cut off, or something follows its end")
    table = int(end[1])
    check(table < len(data) and _TABLE.match(data, table) is not None, "the PDF's table of contents is damaged")
    judge_pdf(data)
    return "application/pdf"
