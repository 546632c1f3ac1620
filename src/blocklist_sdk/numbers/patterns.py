"""Range patterns: how lists write many numbers at once.

========================================  ==================================================================
``+33162######``, ``+3316200____``        ``#``, ``_`` and ``.`` mean one digit
``+3803224625%``, ``+49800*``             ``%`` and ``*`` mean any rest, up to 15 digits in all
``0812 3456 ####``                        national forms too, when a region is given
``+6281200000000-+6281200009999``         from first to last, also written with ``..``
========================================  ==================================================================

Wildcards stand at the end only. Dots between digits are separators, as in a number.
"""

import re
from dataclasses import dataclass

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import reference
from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.numbers.fast import normalize
from blocklist_sdk.numbers.text import SEPARATORS, digits_of, to_ascii

_SEPARATOR_CLASS = re.escape(SEPARATORS)

_PATTERN = re.compile(
    rf"(?P<head>\+?[0-9{_SEPARATOR_CLASS}]*[0-9][ ()\-/\[\]]*)(?P<digits>[#_.][#_. \-]*)?(?P<rest>[%*]+)?"
)
"""Digits, then wildcards. A dot is a separator before the last digit and a wildcard after it."""

_BETWEEN = re.compile(r"\s*\.\.\s*|\s*-\s*(?=\+)")
"""What separates first and last: two dots, or a dash before a plus."""


@dataclass(frozen=True, slots=True, order=True)
class NumberRange:
    """Numbers from ``first`` to ``last``, both included; a single number has both alike.

    Attributes:
        first: E.164 digits as an integer.
        last: the same, with as many digits.

    Raises:
        InvalidInput: the range ends before it begins.
    """

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise InvalidInput("a range of numbers ends before it begins: give the smaller number first")


def parse_pattern(text: str, *, region: str | None = None) -> list[NumberRange]:
    """Read a number, a range or a pattern with wildcards as ranges of E.164 numbers.

    A wildcard for any rest gives one range for each length from the digits that are written (at least 6, the shortest
    number) to 15, in ascending order; lengths that the country does not use are included, since real lists
    hold spoofed numbers. A pattern with a fixed number of digits must have a length that is possible in its country.

    Args:
        text: the number or pattern.
        region: two-letter country code that national forms are read in; None takes international forms only.

    Raises:
        InvalidNumber: it is neither; ``reason`` says why.
        InvalidInput: the region is unknown.

    >>> parse_pattern("+3316200____")
    [NumberRange(first=33162000000, last=33162009999)]
    >>> [str(found.last) for found in parse_pattern("+3803224625%")][:3]
    ['3803224625', '38032246259', '380322462599']
    """
    if not isinstance(text, str):
        raise InvalidInput(f"a pattern is read from text, not from {type(text).__name__}")
    body = to_ascii(text).strip()
    ends = _BETWEEN.split(body)
    if len(ends) == 2 and all(re.search("[0-9]", end) for end in ends):
        return [_from_to(text, *ends, region=region)]
    found = _PATTERN.fullmatch(body)
    if found is None or not (found["digits"] or found["rest"]):
        return [_single(text, body, region)]
    head, some = found["head"], len(re.findall("[#_.]", found["digits"] or ""))
    if found["rest"]:
        return _open(text, head, some, region)
    if found["digits"].rstrip(" -") == "." and _is_number(head, region):
        raise InvalidNumber(text, "the full stop at its end may be a digit or no part of it: write # for a digit")
    return [_closed(text, head, some, region)]


def _single(text: str, body: str, region: str | None) -> NumberRange:
    """Read a text without wildcards: one number, or two that are too long for one and joined by a dash."""
    try:
        number = normalize(body, region=region)
    except InvalidNumber as error:
        ends = body.split("-")
        if len(ends) == 2 and all(_is_number(end, region) for end in ends):
            return _from_to(text, *ends, region=region)
        if re.search("[#_%*]", body):
            raise InvalidNumber(text, "wildcards stand at the end, after the digits") from error
        raise InvalidNumber(text, error.reason) from error
    return NumberRange(number, number)


def _from_to(text: str, first: str, last: str, *, region: str | None) -> NumberRange:
    try:
        low, high = normalize(first, region=region), normalize(last, region=region)
    except InvalidNumber as error:
        raise InvalidNumber(text, f"one end of the range is not a number: {error.reason}") from error
    if len(str(low)) != len(str(high)) or _code_of(low) != _code_of(high):
        raise InvalidNumber(text, "the ends of a range need the same country code and the same number of digits")
    if low > high:
        raise InvalidNumber(text, "the range ends before it begins")
    return NumberRange(low, high)


def _closed(text: str, head: str, some: int, region: str | None) -> NumberRange:
    prefix = _prefix_with(head, some, region)
    if prefix is None:
        raise InvalidNumber(text, "with digits for its wildcards it is not a number, or it covers a whole country")
    return _all_after(prefix, some)


def _open(text: str, head: str, some: int, region: str | None) -> list[NumberRange]:
    """Find the one E.164 prefix that the head means at every length, and take all numbers that begin with it."""
    digits, international = digits_of(head)
    if region is not None and not international:
        place = reference.check_region(region)
        # "62811%" where national forms begin with 0: the country code, written without its plus.
        code = str(reference.metadata_of(place).country_code)
        if digits.startswith(code) and reference.has_trunk_prefix(place):
            head = "+" + digits
    lengths = range(some, reference.MAX_E164_DIGITS + 1)
    prefixes = {prefix for rest in lengths if (prefix := _prefix_with(head, rest, region)) is not None}
    if not prefixes:
        raise InvalidNumber(text, "no number begins like this, or it covers a whole country")
    if len(prefixes) > 1:
        raise InvalidNumber(text, "it can be read in several ways: write it with +")
    prefix = prefixes.pop()
    everything = (_all_after(prefix, rest) for rest in lengths)
    return [found for found in everything if found.first >= SMALLEST and found.last <= LARGEST]


def _prefix_with(head: str, rest: int, region: str | None) -> int | None:
    """Return the E.164 digits that a head means when ``rest`` digits follow; None if they are not a number."""
    try:
        low, high = normalize(head + "0" * rest, region=region), normalize(head + "9" * rest, region=region)
    except InvalidNumber:
        return None
    prefix, zeros = divmod(low, 10**rest)
    code = _code_of(prefix)
    same = zeros == 0 and high == low + 10**rest - 1
    return prefix if same and code and prefix > code else None  # a whole country is refused


def _all_after(prefix: int, rest: int) -> NumberRange:
    return NumberRange(prefix * 10**rest, (prefix + 1) * 10**rest - 1)


def _code_of(number: int) -> int | None:
    return reference.country_code_of(str(number))


def _is_number(text: str, region: str | None) -> bool:
    try:
        normalize(text, region=region)
    except InvalidNumber:
        return False
    return True
