"""Texts from outside, as they may be printed or passed on."""

import unicodedata


def is_control(character: str) -> bool:
    r"""Whether a character must not appear in a text: controls but line ends and tabs, and halves of characters.

    >>> [is_control(character) for character in "a\n\x1b\ud800"]
    [False, False, True, True]
    """
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\r\t"


def printable(text: str) -> str:
    r"""The text with U+FFFD, the replacement character, for each character that must not appear in one.

    >>> printable("not a\x00 subscriber")
    'not a� subscriber'
    """
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if is_control(character) else character for character in text)


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
