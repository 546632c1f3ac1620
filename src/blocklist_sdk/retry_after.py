"""The `Retry-After` header: how long a server asks to be left alone."""

import re
from datetime import UTC, datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = r"(?P<month>[A-Z][a-z]{2})"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        # The three forms of RFC 9110, section 5.6.7. Servers also write the zone of the first as a number.
        rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} (?:GMT|UTC|[+-]0000)",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
    )
)
_FUTURE_YEARS_MAX = 50
"""A two-digit year further ahead than this lies in the past (RFC 9110, section 5.6.7)."""


def parse_retry_after(value: str, *, now: datetime) -> float | None:
    """Seconds to wait from `now`, zero or more and without a cap; None where the header says nothing that holds.

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
    then = _date(value, now.astimezone(UTC).year)
    return None if then is None else max(0.0, (then - now).total_seconds())


def _date(value: str, this_year: int) -> datetime | None:
    found = next((match for match in (pattern.fullmatch(value) for pattern in _DATES) if match), None)
    if found is None or found["month"] not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += this_year - this_year % 100
        if year > this_year + _FUTURE_YEARS_MAX:
            year -= 100
    month = _MONTHS.index(found["month"]) + 1
    hour, minute, second = (int(found[part]) for part in ("hour", "minute", "second"))
    try:
        return datetime(year, month, int(found["day"]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
