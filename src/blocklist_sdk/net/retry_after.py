"""The `Retry-After` header: how long a server asks clients to wait."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from blocklist_sdk import times

_FORMS: Final = re.compile(
    r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} [1-9]\d{3} \d\d:\d\d:\d\d (?:GMT|UTC|[+-]0000)"
    r"|[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [1-9]\d{3}",
    re.ASCII,
)
"""The three forms of RFC 9110, section 5.6.7. Servers also write the zone of the first as a number.

Years before 1000 are left out: the standard library takes ``0026`` for 2026.
"""

_TWO_DIGIT_YEAR: Final = re.compile(r"-(\d\d) ")
_FUTURE_YEARS_MAX: Final = 50
"""A two-digit year further ahead than this is in the past (RFC 9110, section 5.6.7)."""

_CAP_S: Final = 86_400.0
"""Longest wait, whatever a server asks for, seconds."""


def retry_after_in(headers: Mapping[str, str], *, cap_s: float = _CAP_S) -> float | None:
    """Seconds that a response asks to wait, at most `cap_s`; None if it does not ask.

    >>> retry_after_in({"Retry-After": "120"})
    120.0
    """
    header = headers.get("Retry-After")
    asked_s = None if header is None else parse_retry_after(header, now=times.now())
    return None if asked_s is None else min(asked_s, cap_s)


def parse_retry_after(value: str, *, now: datetime) -> float | None:
    """Seconds to wait from `now`, zero or more, without a cap; None if the header is not valid.

    Args:
        value: the header's value: whole seconds, or a date in one of the three forms of RFC 9110, section 10.2.3.
        now: timezone-aware.

    >>> now = datetime(2026, 8, 13, 15, 36, 13, tzinfo=UTC)
    >>> parse_retry_after("120", now=now)
    120.0
    >>> parse_retry_after("Thu, 13 Aug 2026 15:37:13 GMT", now=now)
    60.0
    >>> parse_retry_after("-5", now=now) is None
    True
    """
    value = value.strip(" \t")
    if re.fullmatch(r"\d+", value, re.ASCII):
        return float(value)
    then = http_date(value, this_year=now.astimezone(UTC).year)
    return None if then is None else max(0.0, (then - now).total_seconds())


def http_date(value: str, *, this_year: int) -> datetime | None:
    """A date in one of the three forms of RFC 9110, section 5.6.7; None if it is not one.

    Args:
        value: the text.
        this_year: decides the century of a year of two digits.
    """
    if not _FORMS.fullmatch(value):
        return None
    try:
        then = parsedate_to_datetime(value)
        if short := _TWO_DIGIT_YEAR.search(value):
            # The standard library takes 00 to 68 for this century, whatever the year is now.
            year = this_year - this_year % 100 + int(short[1])
            then = then.replace(year=year - 100 if year > this_year + _FUTURE_YEARS_MAX else year)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)
