"""Range patterns: how lists write many numbers at once.

========================================  ==================================================================
``+33162######``, ``+3316200____``        ``#``, ``_`` and ``.`` mean one digit
``0812[3-5]######``, ``08[12]34567890``   a class in brackets is one digit of those that it names
``08123456****``                          a run of two or more ``*`` or ``%`` means exactly so many digits
``+3803224625%``, ``+49800*``             one ``%`` or ``*`` means any rest, up to the lengths of the country
``0812 3456 ####``                        national forms too, when a region is given
``+6281200000000-+6281200009999``         from first to last, also written with ``..``
``0812-3456-7000 - 0812-3456-7009``       the same between two numbers, with spaces around the dash
========================================  ==================================================================

Wildcards stand at the end only, classes anywhere but in front. Dots between digits are separators, as in a number.
Other notation, such as a regular expression's, is refused (:mod:`blocklist_sdk.numbers.notation`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import reference
from blocklist_sdk.numbers.e164 import SMALLEST
from blocklist_sdk.numbers.either_form import either_normalizer
from blocklist_sdk.numbers.fast import normalizer
from blocklist_sdk.numbers.notation import (
    AREA_CODE,
    MAX_RANGES,
    TOO_MANY_RANGES,
    Notation,
    before_area_code,
    read_notation,
)
from blocklist_sdk.numbers.text import MAX_TEXT_CHARS, Form, digits_of, lookalike, to_ascii

_BETWEEN = re.compile(r"\s*\.\.\s*|\s*-\s*(?=\+)")
"""What separates first and last: two dots, or a dash before a plus."""

_FILLS = "0123456789"
"""Each of these digits is tried in the place of all wildcards: they must all be read alike."""

_SEVERAL_WAYS = "it can be read in several ways: write it with +"


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


def parse_pattern(text: str, *, region: str | None = None, form: Form | None = "auto") -> list[NumberRange]:
    """Read a number, a range or a pattern with wildcards as ranges of E.164 numbers.

    A pattern with a fixed number of digits must have a length that is possible in its country. A wildcard for any rest
    gives one range for each length that the country's plan knows, from the digits that are written. Ranges that touch
    are merged.

    Args:
        text: the number or pattern.
        region: two-letter country code that national forms are read in; None takes international forms only.
        form: how digits without a plus are read, as for `normalize`; None in a column whose form is undecided, where a
            text that is valid in both forms is not a number.

    Returns:
        The ranges, ascending, 1,000 at most; a single number is a range of one.

    Raises:
        InvalidNumber: it is neither; ``reason`` says why.
        InvalidInput: the region or the form is unknown.

    >>> parse_pattern("+3316200____")
    [NumberRange(first=33162000000, last=33162009999)]
    >>> parse_pattern("0812-3456-[3-5]###", region="ID")
    [NumberRange(first=6281234563000, last=6281234565999)]
    >>> [found.last for found in parse_pattern("+3803224625%")]
    [380322462599, 3803224625999]
    """
    if not isinstance(text, str):
        raise InvalidInput(f"a pattern is read from text, not from {type(text).__name__}")
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidNumber(text, f"longer than {MAX_TEXT_CHARS} characters")
    body = to_ascii(text).strip()
    reader = _Reader(text, region, form)
    ends = _BETWEEN.split(body)
    if len(ends) == 2 and all(re.search("[0-9]", end) for end in ends):
        return [reader.from_to(*ends)]
    notation = read_notation(text, body)
    if notation is None:
        return [reader.single(body)]
    if body[:1] != "+" and any(lookalike(each) in ("date", "time", "address") for each in _as_digits(body, notation)):
        raise InvalidNumber(text, "it looks like a date, a time or an IP address with wildcards")
    if re.fullmatch(r"[0-9]{1,3}(?:[.,][0-9]+)?[ ]?%", body):
        raise InvalidNumber(text, "it looks like a percentage: write more digits before the wildcard")
    if (before := before_area_code(body)) is not None and reader.is_country_code(before):
        raise InvalidNumber(text, AREA_CODE)
    if notation.signs == "." and any(map(reader.is_number, notation.heads)):
        raise InvalidNumber(text, "the full stop at its end may be a digit or no part of it: write # for a digit")
    found = _merged(found for head in notation.heads for found in reader.after_head(head, notation))
    if len(found) > MAX_RANGES:
        raise InvalidNumber(text, TOO_MANY_RANGES)
    return found


class _Reader:
    """Reads the parts of one text, all in one way.

    Args:
        text: the text as it was given, for errors.
        region: the region that national forms are read in.
        form: how digits without a plus are read.
    """

    def __init__(self, text: str, region: str | None, form: Form | None) -> None:
        self._text = text
        self._region = None if region is None else reference.check_region(region)
        self._country_code_first = form == "international"
        self._number = either_normalizer(region, False) if form is None else normalizer(region, form=form)

    def single(self, body: str) -> NumberRange:
        """Read a text without wildcards: one number, or two that are too long for one and joined by a dash."""
        try:
            number = self._number(body)
        except InvalidNumber as error:
            for ends in (body.split("-"), re.split(r"\s+-\s+", body)):
                if len(ends) == 2 and all(map(self.is_number, ends)):
                    return self.from_to(*ends)
            if re.fullmatch("[^A-WYZa-wyz]*[0-9][^A-WYZa-wyz]*", body) and re.search("[Xx]", body):
                reason = "X hides a digit: write # for each X to list every number that it may be, or the whole number"
                raise InvalidNumber(self._text, reason) from error
            raise InvalidNumber(self._text, error.reason) from error
        return NumberRange(number, number)

    def from_to(self, first: str, last: str) -> NumberRange:
        """Read a range by its ends."""
        if re.search(r"[\[\]]", first + last):
            raise self._error("one end of the range is not a number: write a class, or both ends")
        try:
            low, high = self._number(first), self._number(last)
        except InvalidNumber as error:
            raise self._error(f"one end of the range is not a number: {error.reason}") from error
        if len(str(low)) != len(str(high)) or _code_of(low) != _code_of(high):
            raise self._error("the ends of a range need the same country code and the same number of digits")
        if low > high:
            raise self._error("the range ends before it begins")
        return NumberRange(low, high)

    def after_head(self, head: str, notation: Notation) -> list[NumberRange]:
        """Find all numbers that begin with a head."""
        head = self._with_plus(head)
        if notation.is_open:
            return self._open(head, notation.digits)
        prefix = self._prefix(head, notation.digits)
        if prefix is not None:
            return [_all_after(prefix, notation.digits)]
        if not notation.digits:
            return [self.single(head)]  # it raises
        hint = ", or write one * for any rest" if "**" in notation.signs or "%%" in notation.signs else ""
        raise self._error(
            f"with {notation.digits} digits for its wildcards it is not a number of its country, or it covers a whole "
            f"country: count them{hint}"
        )

    def _open(self, head: str, digits: int) -> list[NumberRange]:
        """Find the one E.164 prefix that a head means at every length, and all numbers that begin with it."""
        rests = range(digits, reference.MAX_E164_DIGITS + 1)
        prefixes = {prefix for rest in rests if (prefix := self._prefix(head, rest)) is not None}
        if len(prefixes) > 1:
            raise self._error(_SEVERAL_WAYS)
        found = []
        for prefix in prefixes:
            written = len(str(prefix))
            lengths = _lengths_of(_code_of(prefix))
            found = [_all_after(prefix, length - written) for length in lengths if length >= written + digits]
        if not found:
            raise self._error("no number begins like this, or it covers a whole country")
        return [one for one in found if one.first >= SMALLEST]

    def _prefix(self, head: str, rest: int) -> int | None:
        """Return the E.164 digits that a head means when ``rest`` digits follow; None if they are not a number."""
        found = set()
        for fill in _FILLS if rest else _FILLS[:1]:
            try:
                number = self._number(head + fill * rest)
            except InvalidNumber:
                if fill in "09":
                    return None
                continue  # such as a short code in the middle of a block
            prefix, filled = divmod(number, 10**rest)
            found.add(prefix if f"{filled:0{rest}}" == fill * rest or not rest else 0)
        if len(found) > 1 or 0 in found:
            raise self._error(_SEVERAL_WAYS)
        prefix = found.pop()
        code = _code_of(prefix)
        return prefix if code and prefix > code else None  # a whole country is refused

    def _with_plus(self, head: str) -> str:
        """Write the country code with its plus: ``62811`` where national forms begin with 0.

        Raises:
            InvalidNumber: more digits may make a country code or an international prefix of it.
        """
        try:
            digits, international = digits_of(head)
        except InvalidNumber as error:
            raise self._error(error.reason) from error
        if self._country_code_first and not (international or digits.startswith("0")):
            return "+" + digits
        if self._region is None or international:
            return head
        code = str(reference.metadata_of(self._region).country_code)
        if digits.startswith(code) and reference.has_trunk_prefix(self._region):
            return "+" + digits
        prefixes = (code, reference.INTERNATIONAL_PREFIX, *reference.MORE_INTERNATIONAL_PREFIXES.get(self._region, ()))
        if any(prefix.startswith(digits) for prefix in prefixes):
            raise self._error(_SEVERAL_WAYS)
        return head

    def is_number(self, text: str) -> bool:
        """Whether a text is one number."""
        try:
            self._number(text)
        except InvalidNumber:
            return False
        return True

    def is_country_code(self, text: str) -> bool:
        """Whether a text is a country code alone, so that an area code may follow."""
        digits = re.sub("[^0-9]", "", text)
        possible = {digits, digits.removesuffix("0")} - {""}  # "+62 (0)"
        if text.lstrip().startswith("+"):
            return any(str(reference.country_code_of(code)) == code for code in possible)
        if self._region is None:
            return False
        code = str(reference.metadata_of(self._region).country_code)
        return not possible.isdisjoint({code, reference.INTERNATIONAL_PREFIX + code})

    def _error(self, reason: str) -> InvalidNumber:
        return InvalidNumber(self._text, reason)


def _as_digits(body: str, notation: Notation) -> list[str]:
    """The text with a digit for each wildcard, and what stands before them."""
    return [re.sub("[#_*%]", "1", body), *notation.heads]


def _all_after(prefix: int, rest: int) -> NumberRange:
    return NumberRange(prefix * 10**rest, (prefix + 1) * 10**rest - 1)


def _merged(ranges: Iterable[NumberRange]) -> list[NumberRange]:
    """Ranges ascending; those that overlap or touch within a country, at one length, are one."""
    merged: list[NumberRange] = []
    for found in sorted(ranges):
        before = merged[-1] if merged else None
        touches = before is not None and found.first <= before.last + 1
        if before and touches and _kind_of(before.last) == _kind_of(found.first):
            merged[-1] = NumberRange(before.first, max(before.last, found.last))
        else:
            merged.append(found)
    return merged


def _lengths_of(code: int | None) -> list[int]:
    """How many digits numbers of a country code have, with the code, ascending."""
    plan = reference.main_metadata(code).general_desc if code else None
    lengths = [len(str(code)) + length for length in plan.possible_length] if plan else []
    return [length for length in lengths if length <= reference.MAX_E164_DIGITS]


def _kind_of(number: int) -> tuple[int | None, int]:
    return _code_of(number), len(str(number))


def _code_of(number: int) -> int | None:
    return reference.country_code_of(str(number))
