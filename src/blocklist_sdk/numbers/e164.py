"""E.164 numbers as integers: to text, and whether an integer is one."""

from blocklist_sdk.errors import InvalidNumber

SMALLEST = 100_000
"""No country has numbers of fewer than 6 digits with its code (Austria, Germany and Iran have some of 6)."""

LARGEST = 999_999_999_999_999
"""At most 15 digits: ITU-T E.164 (11/2010), 6.2.1."""


def format_e164(number: int) -> str:
    """Write a number as E.164 text.

    Only the number of digits is checked, so that a number accepted by another release of the numbering plans can still
    be shown; :func:`check_e164` checks the plan.

    Args:
        number: the E.164 digits as an integer.

    Raises:
        InvalidNumber: not an integer of 6 to 15 digits.

    >>> format_e164(6281234567890)
    '+6281234567890'
    """
    if type(number) is not int or not SMALLEST <= number <= LARGEST:
        raise InvalidNumber(str(number), "an E.164 number is an integer of 6 to 15 digits")
    return f"+{number}"


def check_e164(number: int) -> int:
    """Return an integer that is an E.164 number, possible in its country's plan.

    Args:
        number: the E.164 digits as an integer.

    Raises:
        InvalidNumber: it is not one.

    >>> check_e164(6281234567890)
    6281234567890
    """
    from blocklist_sdk.numbers.fast import normalizer  # late: it loads the numbering plans

    text = format_e164(number)
    if normalizer(None)(text) != number:
        raise InvalidNumber(text, "it still holds a trunk prefix")
    return number
