"""Texts as files have them: UTF-8, with or without a byte order mark.

Editors and spreadsheets put the mark before a text, and some save UTF-16; a text file of ours is UTF-8.
"""

import codecs

from blocklist_sdk.errors import InvalidInput

_OTHERS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""The marks of other encodings; that of UTF-32 comes first, since the one of UTF-16 is its beginning."""


def without_mark(data: bytes, what: str) -> bytes:
    r"""The bytes behind a byte order mark of UTF-8, or all of them.

    Args:
        data: the beginning of a text, or the whole of it.
        what: what has the text, for messages, such as ``the settings file blocklist.toml``.

    Raises:
        InvalidInput: the mark is that of UTF-16 or UTF-32.

    >>> without_mark(b"\xef\xbb\xbfregion", "the file")
    b'region'
    """
    for mark, encoding in _OTHERS.items():
        if data.startswith(mark):
            raise InvalidInput(f"{what} is {encoding}, as some editors save texts: save it as UTF-8")
    return data.removeprefix(codecs.BOM_UTF8)


def decoded(data: bytes, what: str) -> str:
    r"""A text in UTF-8, without its byte order mark.

    Args:
        data: the whole text.
        what: what has the text, for messages.

    Raises:
        InvalidInput: it is not UTF-8.

    >>> decoded(b"\xff\xfer\x00", "the settings file")
    Traceback (most recent call last):
    ...
    blocklist_sdk.InvalidInput: the settings file is UTF-16, as some editors save texts: save it as UTF-8
    """
    try:
        return without_mark(data, what).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what} is not UTF-8 (byte {error.start + 1:,}): save it as UTF-8") from error
