"""Address books (vCard 2.1, 3.0 and 4.0): each telephone number is a row."""

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import unquote

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables.batches import Batch, batch_of
from blocklist_sdk.tables.rejects import Reject

NAMES: Final = ("number", "name")

_BYTES_MAX: Final = 1 << 29
_ROWS_PER_BATCH: Final = 1 << 15

_PROPERTY: Final = re.compile(
    r"(?:[\w-]+\.)?(?P<name>[\w-]+)(?P<parameters>(?:;(?:\"[^\"]*\"|[^:;\"])*)*):(?P<value>.*)"
)
_TEL: Final = re.compile(r"(?:[\w-]+\.)?TEL\b", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\(.)")


def card_rows(read: Callable[[int], bytes]) -> Iterator[tuple[int, str, str] | Reject]:
    """The telephone numbers of an address book, each with its line and the name on its card; or what is wrong with it.

    Raises:
        InvalidInput: a card does not end.
    """
    parts, size = [], 0
    while part := read(1 << 20):
        parts.append(part)
        size += len(part)
        if size > _BYTES_MAX:
            raise InvalidInput(f"the address book is longer than {_BYTES_MAX:,} bytes: divide it")
    numbers: list[tuple[int, str]] = []
    name, begun = "", 0
    for line, text in _unfolded(b"".join(parts).decode(errors="replace")):
        found = _PROPERTY.fullmatch(text)
        if found is None:
            if _TEL.match(text):
                yield Reject(line, "a line that begins with TEL but is not a property of a vCard", text)
            continue
        key, value = found["name"].upper(), found["value"].strip()
        if key == "BEGIN" and value.upper() == "VCARD":
            if begun:
                break
            name, begun, numbers = "", line, []
        elif key == "END" and value.upper() == "VCARD":
            yield from ((at, number, name) for at, number in numbers)
            begun, numbers = 0, []
        elif key == "FN":
            name = _ESCAPED.sub(r"\1", value)
        elif key == "TEL" and not begun:
            yield Reject(line, "a number outside of a card", text)
        elif key == "TEL":
            numbers.append((line, _number(value)))
    if begun:
        raise InvalidInput(
            f"line {begun}: this card has no END:VCARD, so the address book is incomplete: export it again"
        )


def _number(value: str) -> str:
    if value.lower().startswith("tel:"):
        uri = unquote(value)
        # Of a local number, its context is a part.
        return uri if ";phone-context=" in uri.lower() else uri[len("tel:") :].partition(";")[0]
    return _ESCAPED.sub(r"\1", value)


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a vCard, each with the line in which it begins: a line that begins with a space goes on."""
    begun, parts = 0, [""]
    is_quoted = is_soft = False
    for line, part in enumerate(re.split("\r\n|\r|\n", text), 1):
        if is_soft or (part[:1] in (" ", "\t") and any(parts)):
            parts.append(part if is_soft else part[1:])
        else:
            if any(parts):
                yield begun, "".join(parts)
            begun, parts = line, [part]
            is_quoted = "QUOTED-PRINTABLE" in part.upper()
        # Quoted-printable of version 2.1 ends a line that goes on with an equals sign.
        is_soft = is_quoted and parts[-1].endswith("=")
        parts[-1] = parts[-1].removesuffix("=") if is_soft else parts[-1]
    if any(parts):
        yield begun, "".join(parts)


def card_batches(rows: Iterator[tuple[int, str, str] | Reject]) -> Iterator[Batch]:
    """Rows of `card_rows` in batches."""
    cells: list[tuple[str, str]] = []
    lines: list[int] = []
    rejects: dict[int, Reject] = {}
    for row in rows:
        if isinstance(row, Reject):
            rejects[len(cells)] = row
            row = (row.line, "", "")
        cells.append(row[1:])
        lines.append(row[0])
        if len(cells) == _ROWS_PER_BATCH:
            yield batch_of(cells, lines, len(NAMES), rejects)
            cells, lines, rejects = [], [], {}
    if cells:
        yield batch_of(cells, lines, len(NAMES), rejects)
