"""The slow, obvious answer to "which number is this text?": phonenumbers, with our exceptions by name.

Every other way to read a number in this package is only allowed to be faster than :func:`number_of`.

The exceptions, all towards "never a wrong number" (reasons in ``docs/adr/0002-numbers-reference-and-exceptions.md``):

- *code without plus*: digits that begin with the region's country code and go on with a valid number are that number.
- *double zero*: ``00`` and the region's international prefixes are stripped, or the text is invalid.
- *closed text*: see :mod:`blocklist_sdk.numbers.text`; phonenumbers drops characters that it does not know.
- *lookalikes*: a text that looks like a date, an amount or an IP address is a number only where the country groups the
  digits of that very number so; a slash stands behind the area code of a valid number only.
- *same subscriber*: numbers of Mexico and Brazil are read in the form that their plans have now.
- *plus means everywhere*: after ``+`` comes a country code, whatever the region.
- *short codes and local numbers*: a number that only works inside one country or one town is not an E.164 number.
- *trunk zero*: a text whose trunk ``0`` cannot be stripped is not a number.
- *fifteen digits*: ITU-T E.164, 6.2.1.
- *one reading*: the E.164 form of a number, read again, is the same number; a handful of phonenumbers' answers are not.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    ValidationResult,
    format_number,
    is_possible_number_with_reason,
    is_valid_number,
    is_valid_short_number,
    length_of_national_destination_code,
    national_significant_number,
    parse,
)

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers.text import LOOKALIKES, SEVERAL, Form, check_form, read_text

TOO_SHORT: Final = "too short: digits are missing, such as an area code, or it is a short code"
"""One reason for all: whether a short text is *too short* or *local* depends on the country's plan, not on the text."""

NOT_FROM_ABROAD: Final = "a short code: it cannot be dialled from abroad"

MAX_E164_DIGITS = 15
"""Country code and national number together: ITU-T E.164 (11/2010), 6.2.1."""

INTERNATIONAL_PREFIX = "00"
"""What ITU-T E.164 recommends for every country, and what people write in countries that use another."""

MORE_INTERNATIONAL_PREFIXES = {"ID": ("001", "007", "008", "009", "0017", "01017")}
"""Prefixes in use that libphonenumber's metadata lacks: it has only ``00[89]`` for Indonesia, whose carriers sell 001
(Indosat), 007, 0017 and 01017 (Telkom)."""

UNDIALLABLE = {62: re.compile(r"1500\d{3}")}
"""National numbers that libphonenumber counts as valid although no other country can dial them: Indonesian call
centres (``1500xxx``)."""


class Rewriting(NamedTuple):
    """How a country writes some of its numbers now.

    Attributes:
        old: the national numbers as they were written before.
        new: what `re.sub` makes of them; only a valid number counts.
    """

    old: re.Pattern[str]
    new: str


REWRITINGS = {
    52: Rewriting(re.compile(r"1(\d{10})"), r"\1"),
    55: Rewriting(re.compile(r"(\d{2})([6-9]\d{7})"), r"\g<1>9\2"),
}
"""Countries of which people and systems still write an older form of the same subscriber's number. Mexico dropped the
``1`` between country code and mobile numbers in August 2019 (IFT); Brazil put a ``9`` in front of all mobile numbers
from 2012 to 2016 (Anatel, resolution 553/2010). Argentina's ``9`` is not here: with and without it, +54 9 11 and
+54 11 are both valid, and only the operators know which are the same subscriber."""

_REASONS = {
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: TOO_SHORT,
    ValidationResult.TOO_SHORT: TOO_SHORT,
    ValidationResult.TOO_LONG: "too long for its country",
    ValidationResult.INVALID_LENGTH: "no number of its country has that many digits",
    ValidationResult.INVALID_COUNTRY_CODE: "no country has this code",
}

_PARSE_REASONS = {
    NumberParseException.INVALID_COUNTRY_CODE: "no country has this code",
    NumberParseException.TOO_LONG: "too long",
}
"""Every other failure of a parse means too few digits, since only digits are given to it."""


def check_region(region: str) -> str:
    """Return a region code in capitals.

    Raises:
        InvalidInput: libphonenumber has no plan for it.

    >>> check_region("id")
    'ID'
    """
    known = region.upper() if isinstance(region, str) else ""
    if known not in SUPPORTED_REGIONS:
        raise InvalidInput(
            f"unknown region {region!r}: give a two-letter ISO 3166-1 country code, such as 'ID' or 'GB'",
            argument="region",
        )
    return known


def number_of(text: str, *, region: str | None = None, strict: bool = False, form: Form = "auto") -> int:
    """Read a text as an E.164 number.

    Args:
        text: the number as it was written.
        region: two-letter country code that a national form is read in; None takes international forms only.
        strict: ask for a number that is valid in its plan, not only possible.
        form: how digits without a plus are read; a single text is read as ``national`` unless ``international`` is
            declared.

    Returns:
        The digits of the E.164 number as an integer.

    Raises:
        InvalidNumber: ``text`` is not a number.
        InvalidInput: the region or the form is unknown, or ``text`` is not a text.

    >>> number_of("0812-3456-7890", region="ID")
    6281234567890
    """
    place = None if region is None else check_region(region)
    written = read_text(text)
    if written.international:
        found = _international(written.digits)
    elif check_form(form) == "international":
        found = _country_code_first(written.digits, place)
    else:
        found = _from_inside(written.digits, place)
    if written.looks_like and not (_is_valid(found) and _is_grouped(found, written.groups)):
        raise InvalidNumber(text, LOOKALIKES[written.looks_like])
    if written.after_slash is not None and not (_is_valid(found) and _after_area_code(found) == written.after_slash):
        raise InvalidNumber(text, SEVERAL)
    if isinstance(found, str):
        raise InvalidNumber(text, found)
    if strict and not is_valid_number(found):
        raise InvalidNumber(text, "possible, but not valid in its country's numbering plan")
    number = _key(found)
    again = _international(number)
    if isinstance(again, str) or _key(again) != number:
        raise InvalidNumber(text, "in E.164 form it would be read as another number")
    return int(number)


def _is_grouped(found: PhoneNumber | str, groups: tuple[str, ...]) -> bool:
    """Whether a country groups the digits of a number as a text without a plus does."""
    if isinstance(found, str):
        return False
    return groups == tuple(re.findall("[0-9]+", format_number(found, PhoneNumberFormat.NATIONAL)))


def _after_area_code(found: PhoneNumber | str) -> int | None:
    """How many digits of a number follow its area code, or the code of its mobile network; None if it has none."""
    if isinstance(found, str):
        return None
    code = length_of_national_destination_code(found)
    return len(national_significant_number(found)) - code if code else None


def _country_code_first(digits: str, region: str | None) -> PhoneNumber | str:
    """Read digits without a plus in international form. No country code begins with 0, so these are as dialled."""
    if not digits.startswith("0"):
        return _international(digits)
    if region is not None:
        return _from_inside(digits, region)
    if digits.startswith(INTERNATIONAL_PREFIX):
        return _international(digits.removeprefix(INTERNATIONAL_PREFIX))
    return "it begins with 0, so it is in national form: give the region"


def _from_inside(digits: str, region: str | None) -> PhoneNumber | str:
    """Read digits without a plus, as dialled in a region; a text says why they are not a number."""
    if region is None:
        return "without a region, only the international form, with +, can be read: give the region, or the form"
    if digits.startswith((INTERNATIONAL_PREFIX, *MORE_INTERNATIONAL_PREFIXES.get(region, ()))):
        return _after_prefix(digits, region)
    if digits.startswith(str(metadata_of(region).country_code)):
        with_code = _parsed("+" + digits, None)
        if (
            isinstance(with_code, PhoneNumber)
            and is_valid_number(with_code)
            and (has_trunk_prefix(region) or not _is_valid(_national(digits, region)))
        ):
            return why_not(with_code) or with_code
    return _national(digits, region)


def _after_prefix(digits: str, region: str) -> PhoneNumber | str:
    """Strip the international prefix that leaves a number; where two leave different ones, the valid one or none.

    What libphonenumber knows as the region's prefix goes first. A few plans have free-phone numbers that begin with two
    zeros, such as Indonesia's 001-803 ones, which no other country can dial.
    """
    prefixes = {INTERNATIONAL_PREFIX, *MORE_INTERNATIONAL_PREFIXES.get(region, ())}
    own = re.match(metadata_of(region).international_prefix or INTERNATIONAL_PREFIX, digits)
    if own:
        reading = _international(digits[own.end() :])
        if _is_valid(reading):
            return reading
        prefixes.add(own[0])
    elif _is_valid(_national(digits, region)):
        return "it can only be dialled inside its country"
    readings = [_international(digits.removeprefix(prefix)) for prefix in prefixes if digits.startswith(prefix)]
    found = {_key(reading): reading for reading in readings if isinstance(reading, PhoneNumber)}
    if len(found) > 1:
        found = {key: reading for key, reading in found.items() if is_valid_number(reading)}
    if len(found) != 1:
        return "what follows the international prefix is not a number, or can be read in more than one way"
    return found.popitem()[1]


def _key(number: PhoneNumber) -> str:
    return f"{number.country_code}{national_significant_number(number)}"


def _is_valid(found: PhoneNumber | str) -> bool:
    return isinstance(found, PhoneNumber) and is_valid_number(found)


def _international(digits: str) -> PhoneNumber | str:
    return _checked(_parsed("+" + digits, None))


def _national(digits: str, region: str) -> PhoneNumber | str:
    return _checked(_parsed(digits, region))


def _parsed(dialled: str, region: str | None) -> PhoneNumber | str:
    try:
        return _rewritten(parse(dialled, region))
    except NumberParseException as error:
        return _PARSE_REASONS.get(error.error_type, TOO_SHORT)


def _rewritten(number: PhoneNumber) -> PhoneNumber:
    """The number in the form that its country has now."""
    rewriting = REWRITINGS.get(number.country_code or 0)
    if rewriting is None or is_valid_number(number):
        return number
    digits, changes = re.subn(rf"^{rewriting.old.pattern}$", rewriting.new, national_significant_number(number))
    if not changes:
        return number
    new = PhoneNumber(country_code=number.country_code, national_number=int(digits))
    return new if is_valid_number(new) else number


def _checked(found: PhoneNumber | str) -> PhoneNumber | str:
    return found if isinstance(found, str) else why_not(found) or found


def why_not(number: PhoneNumber) -> str | None:
    """Return why a parsed number is not an E.164 number, or None if it is one."""
    result = is_possible_number_with_reason(number)
    if result != ValidationResult.IS_POSSIBLE:
        return _REASONS[result]
    national = national_significant_number(number)
    country_code = number.country_code or 0
    if len(str(country_code)) + len(national) > MAX_E164_DIGITS:
        return f"more than {MAX_E164_DIGITS} digits"
    undiallable = UNDIALLABLE.get(country_code)
    if undiallable and undiallable.fullmatch(national):
        return NOT_FROM_ABROAD
    if is_valid_number(number):
        return None
    if national.startswith("0") and trunk_is_zero(country_code):
        return "the trunk prefix 0 does not belong to a number"
    if is_valid_short_number(number):
        return NOT_FROM_ABROAD
    return None


@lru_cache
def has_trunk_prefix(region: str) -> bool:
    """Whether national numbers are dialled with a prefix, so that digits without one are not in national form."""
    return bool(metadata_of(region).national_prefix)


@lru_cache
def trunk_is_zero(country_code: int) -> bool:
    """Whether the country's trunk prefix is ``0``, as in most; in Italy the ``0`` is part of the number."""
    return main_metadata(country_code).national_prefix == "0"


def country_code_of(digits: str) -> int | None:
    """Return the country code that E.164 digits begin with; no code begins with another one.

    >>> country_code_of("6281234567890"), country_code_of("999")
    (62, None)
    """
    for length in range(1, 4):
        if digits[:1] != "0" and int(digits[:length]) in COUNTRY_CODE_TO_REGION_CODE:
            return int(digits[:length])
    return None


def metadata_of(region: str) -> PhoneMetadata:
    """Return the numbering plan of a region that :func:`check_region` knows."""
    metadata = PhoneMetadata.metadata_for_region(region)
    assert metadata is not None, region
    return metadata


def main_metadata(country_code: int) -> PhoneMetadata:
    """Return the plan that numbers of a country code are measured by, where several regions share it."""
    region = COUNTRY_CODE_TO_REGION_CODE[country_code][0]
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    assert metadata is not None, country_code
    return metadata
