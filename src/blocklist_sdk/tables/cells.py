"""Single cells: what may be a telephone number, and texts in which a number's digits are gone."""

import re
from typing import Final

from blocklist_sdk.errors import mask
from blocklist_sdk.texts import printable

EXACT_MAX: Final = 2**53
"""Up to here every whole number of a spreadsheet or of JSON has all its digits (IEEE 754, binary64)."""

DIGITS_ARE_GONE: Final = (
    "a number in scientific notation or with a fraction, so digits are gone: take it from where it was stored as text"
)
NEGATIVE: Final = "a negative integer is not a telephone number"

_DIGITS_MIN: Final = 7
"""Postcodes, years and row numbers have fewer digits than telephone numbers."""

_NUMBER: Final = re.compile(r"\s*(?:tel:)?\s*\+?[\d\s().\-/ ]+\s*", re.IGNORECASE)
_DATE: Final = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([T\s].*)?")
_SCIENTIFIC: Final = re.compile(r"\s*([+-]?)\d+(?:[.,]\d+)?e[+-]?\d+\s*", re.IGNORECASE)


def is_like_a_number(text: str) -> bool:
    """Whether a cell is rather a telephone number than a name, a date or a postcode.

    >>> [is_like_a_number(text) for text in ("0812-3456-7890", "2026-11-20", "12950", "Nomor HP")]
    [True, False, False, False]
    """
    if not _NUMBER.fullmatch(text) or _DATE.fullmatch(text):
        return False
    return _DIGITS_MIN <= sum(map(str.isdigit, text)) <= 17


def why_digits_are_gone(text: str) -> str | None:
    """Why a text in the column of numbers has lost digits; None if it has not.

    >>> why_digits_are_gone("6.28E+12") == DIGITS_ARE_GONE
    True
    """
    found = _SCIENTIFIC.fullmatch(text)
    if found is None:
        return None
    return NEGATIVE if found[1] == "-" else DIGITS_ARE_GONE


def text_of_number(value: float, *, is_number: bool) -> str:
    """A number of a spreadsheet or of JSON as text, by its value.

    Args:
        value: the number.
        is_number: whether its column holds telephone numbers: one that is not whole, is negative, or is too large to
            have all its digits becomes a text that no reader takes for a telephone number.

    >>> text_of_number(6281234567890.0, is_number=True), text_of_number(0.5, is_number=False)
    ('6281234567890', '0.5')
    """
    is_whole = isinstance(value, int) or value.is_integer()
    if is_number and not (is_whole and 0 <= value <= EXACT_MAX):
        return scientific(value)
    if not is_whole:
        return repr(value)
    return str(int(value)) if isinstance(value, int) or abs(value) <= EXACT_MAX else repr(value)


def scientific(value: float) -> str:
    """A number as a text that no reader takes for a telephone number."""
    try:
        return f"{float(value):.15E}"
    except OverflowError:
        return "1E+999"


def shown(name: str) -> str:
    """A column's name or another cell as it may stand in a message: without controls, and numbers masked."""
    text = " ".join(printable(name).split())
    return mask(text) if sum(map(str.isdigit, text)) >= _DIGITS_MIN or len(text) > 80 else text
