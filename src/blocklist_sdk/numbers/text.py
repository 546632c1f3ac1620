"""The digits of a text, and whether it is written in international form.

No numbering plan is needed here. A text consists of digits, known separators, at most one leading ``+``, at most a
``tel:`` in front and an extension at the end; any other text is not a number. Nothing is dropped silently.
"""

import re
import unicodedata

from blocklist_sdk.errors import InvalidInput, InvalidNumber

MAX_TEXT_CHARS = 250
"""Longer texts are not numbers; libphonenumber has the same limit (``MAX_INPUT_STRING_LENGTH``)."""

SEPARATORS = " ().-/[]"
"""Characters between digits that mean nothing: libphonenumber's punctuation without ``x`` and ``~``, which it
reads as the start of an extension as well."""

_OTHER_SEPARATORS = {"\u2212": "-", "\u30fc": "-", "\ufe62": "+", "\u2044": "/", "\u2215": "/"}
"""Minus sign, katakana long-vowel mark, small plus, fraction and division slash: by their category they are symbols or
letters, and in pasted numbers they stand for the sign they look like."""

_FULLWIDTH_SHIFT = 0xFEE0
"""Distance from a fullwidth form (U+FF01..U+FF5E) to the ASCII character it shows."""

_DELETE_SEPARATORS = str.maketrans("", "", SEPARATORS)

_SHAPE = re.compile(rf"[{re.escape(SEPARATORS)}]*(\+?)([0-9{re.escape(SEPARATORS)}]*)")

_EXTENSION = re.compile(
    r"(?:;ext=|[ ,]*(?:extensi[oó]n|extn|ext|anexo|доб)[.:]?[ ]*)[0-9]{1,20}$|[ ,]*(?:x|int)[.:]?[ ]*[0-9]{1,9}$",
    re.IGNORECASE,
)
"""Labels and digit counts as libphonenumber takes them. Its bare ``,``, ``;``, ``#`` and ``~`` are left out: in lists
they separate two numbers or mean a digit."""

DECIMAL_ENDS = (".0", ".00")

_DECIMAL = re.compile(r"\+?[0-9]+\.0{1,2}")
"""A number that a spreadsheet or a data frame took for an amount: every number of a column with one empty cell."""

_PHONE_CONTEXT = re.compile(r";phone-context=(\+[0-9]{1,15})(?=;|$)", re.IGNORECASE)
"""RFC 3966, 5.1.5: the leading digits that make a local number in a ``tel:`` URI global."""


def digits_of(text: str) -> tuple[str, bool]:
    """Read the digits of a text, as ASCII, and whether a ``+`` is in front of them.

    Digits of any script are digits; format characters (bidi marks, zero-width characters, soft hyphens) are ignored;
    any kind of space or dash is a separator. An extension is dropped.

    Raises:
        InvalidNumber: the text holds anything else, or no digit at all.
        InvalidInput: it is not a text.

    >>> digits_of("+62 (0)812-3456-7890 ext. 12")
    ('62081234567890', True)
    """
    if not isinstance(text, str):
        raise InvalidInput(
            f"a number is read from text, not from {type(text).__name__}; an E.164 integer goes to check_e164"
        )
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidNumber(text, f"longer than {MAX_TEXT_CHARS} characters")
    body = to_ascii(text).strip()
    context = ""
    if body[:4].lower() == "tel:":
        body = body[4:]
        if found := _PHONE_CONTEXT.search(body):
            context = found[1]
            body = body[: found.start()] + body[found.end() :]
    if found := _EXTENSION.search(body):
        body = body[: found.start()]
    if _DECIMAL.fullmatch(body):
        raise InvalidNumber(text, "a decimal number, as spreadsheets make them: keep the column as text")
    shape = _SHAPE.fullmatch(context + body)
    if shape is None:
        raise InvalidNumber(text, _why_not(body))
    digits = shape[2].translate(_DELETE_SEPARATORS)
    if not digits:
        raise InvalidNumber(text, "it has no digits")
    return digits, bool(shape[1])


def to_ascii(text: str) -> str:
    """Write digits, spaces, dashes and fullwidth forms in ASCII and leave out format characters; the rest stays.

    >>> to_ascii("\u202a＋٦٢\u00a0812\u202c")
    '+62 812'
    """
    return text if text.isascii() else "".join(map(_character_to_ascii, text))


def _character_to_ascii(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Cf":
        return ""
    if category == "Zs":
        return " "
    if category == "Pd":
        return "-"
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - _FULLWIDTH_SHIFT)
    return _OTHER_SEPARATORS.get(character, character)


def _why_not(body: str) -> str:
    """Say which character spoils it: the person who wrote the list wants to know."""
    if any(character in "#*%_?" for character in body):
        return "it contains a wildcard, which only a range pattern may"
    if any(character.isalpha() for character in body):
        return "it contains letters"
    if "+" in body:
        return "a plus sign may only be the first character"
    return "it contains something that is neither a digit nor a separator"
