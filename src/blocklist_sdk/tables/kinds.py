"""What a file is, by its first bytes; its name decides only between a list of JSON objects and one document."""

import re
import zipfile
import zlib
from typing import BinaryIO, Final, Literal
from xml.parsers import expat

from blocklist_sdk.errors import InvalidInput

Kind = Literal["text", "json", "jsonl", "vcard", "sheets", "parquet"]

_EXPORT: Final = "export the list from it as CSV, or save it as .xlsx"

_FOREIGN: Final = (
    (b"%PDF", "a PDF document", f"numbers cannot be read from it reliably: {_EXPORT}"),
    (b"\xfd7zXZ\0", "an xz archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"\x89PNG", "a PNG picture", "numbers cannot be read from it: give the list itself"),
    (b"\xff\xd8\xff", "a JPEG picture", "numbers cannot be read from it: give the list itself"),
    (b"GIF8", "a GIF picture", "numbers cannot be read from it: give the list itself"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"ARROW1\0\0", "an Arrow file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"{\\rtf", "an RTF document", _EXPORT),
    (b"<?xml", "an XML document", _EXPORT),
)
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_TAR_AT: Final = 257
_HTML: Final = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|table)\b", re.IGNORECASE | re.DOTALL)
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_BINARY_BYTES: Final = 8
"""A file that has a control character as early as this is not text."""

_SHEET: Final = re.compile(r"content\.xml|xl/(workbook|styles|sharedStrings|worksheets/[^/]+)\.xml")
"""The parts of a spreadsheet that are read."""

_UNPACKED_BYTES_MAX: Final = 1 << 30
"""A spreadsheet of the most rows that Excel knows, 1,048,576, with ten columns, is about a quarter of this."""

_CELLS_MAX: Final = 20_000_000
"""Nearly twenty columns of the most rows that Excel knows. A cell takes some 24 bytes when a sheet is opened."""

_PLACE: Final = re.compile(r"([A-Z]{1,3})([0-9]{1,8})", re.IGNORECASE)


def kind_of(raw: BinaryIO, head: bytes, *, name: str) -> Kind:
    """What a file is.

    Args:
        raw: the file, open; it is only read, and rewound.
        head: its first bytes, unpacked and as UTF-8.
        name: its name, for messages.

    Raises:
        InvalidInput: it is none of the kinds that are read; the message says what it is.
    """
    raw.seek(0)
    first = raw.read(len(_OLE))
    try:
        if first.startswith(b"PAR1"):
            return "parquet"
        if first.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return _in_zip(raw, name)
        if first == _OLE:
            return _in_ole(raw, name)
    finally:
        raw.seek(0)
    for magic, what, advice in _FOREIGN:
        if head.startswith(magic):
            raise _foreign(name, what, advice)
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        raise _foreign(name, "a tar archive", "unpack it first")
    if head.startswith(b"PK\x03\x04"):
        raise _foreign(name, "a gzipped ZIP file", "unpack it first")
    if _HTML.match(head):
        raise _foreign(name, "an HTML page", "perhaps the answer of a web site that asks you to sign in: " + _EXPORT)
    if _CONTROLS.search(head[:_BINARY_BYTES]):
        raise _foreign(name, "a binary file of a kind that is not read here", _EXPORT)
    return _of_text(head, name)


def _of_text(head: bytes, name: str) -> Kind:
    begin = head.lstrip()[:64]
    if begin[:11].upper() == b"BEGIN:VCARD":
        return "vcard"
    suffixes = set(name.lower().split("/")[-1].split(".")[1:])
    if suffixes & {"jsonl", "ndjson"}:
        return "jsonl"
    if begin.startswith(b"["):
        return "json" if re.match(rb'\[\s*(["{\]\d-]|$)', begin) and not re.match(rb"\[\d-\d\]", begin) else "text"
    if begin.startswith(b"{") and re.match(rb'\{\s*("|\}|$)', begin):
        lines = head.split(b"\n")
        whole = [line.strip() for line in lines if line.strip()]
        return "jsonl" if _is_one_object(whole[0]) and (len(whole) == 1 or whole[1].startswith(b"{")) else "json"
    return "text"


def _is_one_object(line: bytes) -> bool:
    """Whether a line begins and ends like a whole object that is a row, not a document keyed by numbers."""
    if not line.endswith(b"}"):
        return False
    key = re.match(rb'\{\s*"([^"]*)"', line)
    return key is None or not re.fullmatch(rb"(tel:)?\+?[\d\s().-]{7,}", key[1])


def _in_zip(raw: BinaryIO, name: str) -> Kind:
    raw.seek(0)
    try:
        with zipfile.ZipFile(raw) as archive:
            members = {member.filename: member.file_size for member in archive.infolist()}
            kind = archive.read("mimetype")[:80] if members.get("mimetype", 1 << 20) < 100 else b""
            if sum(members.values()) <= _UNPACKED_BYTES_MAX:
                _check_xml(archive, [member for member in members if _SHEET.fullmatch(member)])
    except (
        zipfile.BadZipFile,
        expat.ExpatError,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        LookupError,
    ) as error:
        raise InvalidInput(f"{name} is a damaged spreadsheet or ZIP archive: {error}") from error
    if sum(members.values()) > _UNPACKED_BYTES_MAX:
        raise InvalidInput(f"{name} unpacks to more than {_UNPACKED_BYTES_MAX:,} bytes: save the list as CSV")
    if any(member.startswith("xl/workbook") for member in members) or kind.endswith(b"opendocument.spreadsheet"):
        return "sheets"
    if any(member.startswith("word/") for member in members) or kind.endswith(b"opendocument.text"):
        raise _foreign(name, "a text document", f"numbers cannot be read from it reliably: {_EXPORT}")
    raise _foreign(name, "a ZIP archive", "unpack it first")


def _check_xml(archive: zipfile.ZipFile, members: list[str]) -> None:
    """Make sure that sheets are whole: python-calamine 0.9 waits for ever for an end that does not come.

    Raises:
        ExpatError: one is not.
        InvalidInput: one is too large to be opened.
    """
    for member in members:
        parser = expat.ParserCreate()
        extent = _Extent()
        parser.StartElementHandler = extent.begin
        with archive.open(member) as file:
            while part := file.read(1 << 20):
                parser.Parse(part, False)
        parser.Parse(b"", True)


class _Extent:
    """How large the sheet is that is parsed: python-calamine 0.9 takes memory for its whole rectangle.

    A row that repeats an empty one, as OpenDocument fills a sheet to its end, counts when a cell with something in it
    follows.
    """

    def __init__(self) -> None:
        """At the beginning."""
        self._row = self._column = self._width = 0

    def begin(self, element: str, attributes: dict[str, str]) -> None:
        """An element begins.

        Raises:
            InvalidInput: the sheet becomes too large.
        """
        element = element.rpartition(":")[2]
        if element in ("row", "table-row"):
            self._row = _whole_number(attributes.get("r"), self._row + 1)
            if element != "row":
                self._row += _whole_number(attributes.get("table:number-rows-repeated"), 1) - 1
            self._column = 0
        elif element == "c":
            self._column += 1
            if place := _PLACE.fullmatch(attributes.get("r", "")):
                self._column, self._row = _column_of(place[1]), int(place[2])
            self._count(attributes.get("r", ""))
        elif element in ("table-cell", "covered-table-cell"):
            self._column += _whole_number(attributes.get("table:number-columns-repeated"), 1)
            if any(name.startswith("office:") for name in attributes):
                self._count(f"row {self._row:,}, column {self._column:,}")
        elif element == "table":
            self._row = self._column = self._width = 0

    def _count(self, place: str) -> None:
        self._width = max(self._width, self._column)
        if self._row * self._width > _CELLS_MAX:
            raise InvalidInput(
                f"a sheet is {self._row * self._width:,} cells large because of a cell in {place}, more than "
                f"{_CELLS_MAX:,}: delete its empty rows and columns, or save the list as CSV"
            )


def _whole_number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else otherwise


def _column_of(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _in_ole(raw: BinaryIO, name: str) -> Kind:
    """What an old Office file holds: the names of its parts are UTF-16 somewhere in it."""
    raw.seek(0)
    found: set[str] = set()
    parts = {part: part.encode("utf-16-le") for part in ("Workbook", "Book", "WordDocument", "EncryptedPackage")}
    overlap = b""
    while block := raw.read(1 << 20):
        found |= {part for part, written in parts.items() if written in overlap + block}
        overlap = block[-64:]
    if "EncryptedPackage" in found:
        raise _foreign(name, "a spreadsheet that is locked by a password", "save it without one")
    if "WordDocument" in found:
        raise _foreign(name, "an old Word file", f"numbers cannot be read from it reliably: {_EXPORT}")
    if found & {"Workbook", "Book"}:
        return "sheets"
    raise _foreign(name, "an old Office file without a sheet", _EXPORT)


def _foreign(name: str, what: str, advice: str) -> InvalidInput:
    return InvalidInput(f"{name} is not a list but {what}: {advice}")
