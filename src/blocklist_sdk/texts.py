"""Texts from outside, as they may be printed or passed on."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_DIRECTION_CONTROLS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction in which the text after them is written (Unicode Standard Annex 9)."""


_WORD: Final = re.compile(r"\w[\w.@/+-]*")


def is_control(character: str) -> bool:
    r"""Whether a character must not appear in a text: controls but line ends and tabs, and halves of characters.

    >>> [is_control(character) for character in "a\n\x1b\ud800"]
    [False, False, True, True]
    """
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\r\t"


_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""The characters for which `is_control` holds, to find one in a long text quickly."""


def first_control(text: str) -> str | None:
    r"""The first character that must not appear in a text; None if there is none.

    >>> first_control("won\n"), first_control("a\x1b[2J")
    (None, '\x1b')
    """
    found = None if text.isprintable() else _CONTROL.search(text)
    return found[0] if found else None


_JOINERS: Final = frozenset("\u200c\u200d")
"""Format characters that names of people and emoji need."""


def is_invisible(character: str) -> bool:
    r"""Whether a character must not appear in a text of one line.

    Such are controls, ends of lines and paragraphs, and marks without width, which make two texts look the same or
    turn the direction of writing; joiners are none.

    >>> [is_invisible(character) for character in "a\n\u202e\u200b\u200d"]
    [False, True, True, True, False]
    """
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or (category == "Cf" and character not in _JOINERS)


def printable(text: str) -> str:
    r"""The text with U+FFFD, the replacement character, for each character that must not appear in one.

    >>> printable("not a\x00 subscriber")
    'not a� subscriber'
    """
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if is_control(character) else character for character in text)


def displayable(text: str) -> str:
    r"""The text as one line that a terminal shows and does not obey.

    Line ends become spaces, controls become U+FFFD, and characters that turn the direction of writing become escapes.

    >>> displayable("won\r\ncase 5\x1b[2J \u202edne")
    'won case 5�[2J \\u202edne'
    """
    if text.isprintable():
        return text
    line = " ".join(printable(part) for part in text.splitlines())
    return _DIRECTION_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def quoted(text: str) -> str:
    r"""The text as a part of a line: in quotation marks, unless it is one word, so that it is not taken for the rest.

    >>> quoted("crm-17"), quoted('x; case 1: retracted, by "me"')
    ('crm-17', '"x; case 1: retracted, by \\"me\\""')
    """
    if _WORD.fullmatch(text):
        return text
    escaped = displayable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def is_displayable(text: str) -> bool:
    r"""Whether a text is one line that a terminal shows and does not obey.

    >>> is_displayable("penipuan – OTP"), is_displayable("fraud\x1b[2J"), is_displayable("a\u2028b")
    (True, False, False)
    """
    return text.isprintable() or displayable(text) == text


_FORMULA_SIGNS: Final = frozenset(
    "=+-@|\u2212\u207a\u207b\u207c\u208a\u208b\u208c\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20\uff5c"
)
"""What spreadsheets take for the start of a formula or a command, and the same in other widths, which some fold."""

_E164: Final = re.compile(r"\+[0-9]{5,15}")
"""A telephone number as it is written everywhere. A spreadsheet may read it as a number, and as nothing that acts."""

_CELL_ENDS: Final = frozenset("\t\r\n")
"""Where an import that splits loosely begins another cell."""


def _looks_like_a_formula(text: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula, behind what it may skip: white space and invisible marks."""
    if _E164.fullmatch(text):
        return False
    for character in text:
        if character in _FORMULA_SIGNS or character in _CELL_ENDS:
            return True
        if character != "'" and unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            return False
    return False


def spreadsheet_cell(text: str) -> str:
    r"""The text in a form that no spreadsheet takes for a formula: with an apostrophe before it, if it needs one.

    `from_spreadsheet_cell` returns the text again.

    >>> [spreadsheet_cell(text) for text in ("fraud", "=1+1", " \uff1d1+1", "|calc", "'tis")]
    ['fraud', "'=1+1", "' ＝1+1", "'|calc", "'tis"]
    """
    return f"'{text}" if _looks_like_a_formula(text) else text


def from_spreadsheet_cell(cell: str) -> str:
    """The text of a cell that `spreadsheet_cell` wrote.

    >>> from_spreadsheet_cell("'=1+1"), from_spreadsheet_cell("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if cell[:1] == "'" and _looks_like_a_formula(cell[1:]) else cell


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count and its noun, in the plural unless the count is 1.

    >>> counted(1, "file"), counted(1_000, "entry", "entries")
    ('1 file', '1,000 entries')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def alternatives(words: Iterable[str]) -> str:
    """Words from which one is to be chosen.

    >>> alternatives(["csv", "jsonl", "parquet"]), alternatives(["csv"])
    ('csv, jsonl or parquet', 'csv')
    """
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def is_printable_ascii(text: object) -> bool:
    """Whether this is text that an HTTP header may hold: ASCII without control characters, and not empty.

    >>> is_printable_ascii("client-1"), is_printable_ascii(""), is_printable_ascii("naïve")
    (True, False, False)
    """
    return isinstance(text, str) and text != "" and text.isascii() and text.isprintable()


def missing_extra(package: str, extra: str) -> str:
    """What is missing where an extra of this library is not installed, and how to install it.

    >>> missing_extra("redis", "redis")
    "redis is not installed: it comes with the extra redis; in a clone of this library, pip install '.[redis]'"
    """
    where = f"in a clone of this library, pip install '.[{extra}]'"
    return f"{package} is not installed: it comes with the extra {extra}; {where}"
