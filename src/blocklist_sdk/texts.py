"""Texts from outside, as they may be printed or passed on."""

import re
import unicodedata
from typing import Final

_DIRECTION_CONTROLS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction in which the text after them is written (Unicode Standard Annex 9)."""


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


def is_displayable(text: str) -> bool:
    r"""Whether a text is one line that a terminal shows and does not obey.

    >>> is_displayable("penipuan – OTP"), is_displayable("fraud\x1b[2J"), is_displayable("a\u2028b")
    (True, False, False)
    """
    return text.isprintable() or displayable(text) == text


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count and its noun, in the plural unless the count is 1.

    >>> counted(1, "file"), counted(1_000, "entry", "entries")
    ('1 file', '1,000 entries')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def is_printable_ascii(text: object) -> bool:
    """Whether this is text that an HTTP header may hold: ASCII without control characters, and not empty.

    >>> is_printable_ascii("client-1"), is_printable_ascii(""), is_printable_ascii("naïve")
    (True, False, False)
    """
    return isinstance(text, str) and text != "" and text.isascii() and text.isprintable()
