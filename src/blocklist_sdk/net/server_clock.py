"""This machine's clock beside a server's, by the `Date` of an answer. Pure.

Nobody signs a `Date`, so it decides nothing. It tells people where to look when something was refused.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from blocklist_sdk.net.retry_after import http_date

CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""Clocks may differ by so much."""

_AGE_DIGITS: Final = re.compile(r"[0-9]{1,8}")


def clock_offset(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """How far this machine's clock is ahead of a server's, negative if it is behind; None if the answer does not say.

    Args:
        headers: those of an answer that has just come. One that a cache kept for `Age` seconds counts from then on.
        now: this machine's clock, timezone-aware.

    >>> from datetime import UTC
    >>> now = datetime(2026, 8, 13, 15, 36, 13, tzinfo=UTC)
    >>> clock_offset({"Date": "Thu, 13 Aug 2026 15:38:13 GMT"}, now=now)
    datetime.timedelta(days=-1, seconds=86280)
    """
    sent = http_date(headers.get("Date", "").strip(" \t"), this_year=now.year)
    if sent is None:
        return None
    age = headers.get("Age", "0").strip(" \t")
    try:
        return now - sent - timedelta(seconds=int(age) if _AGE_DIGITS.fullmatch(age) else 0)
    except OverflowError:
        return None


def offset_text(offset: timedelta) -> str:
    """How far off this machine's clock is, for people.

    >>> offset_text(timedelta(minutes=-7))
    "this machine's clock is 0:07:00 behind the server's"
    """
    way = "behind" if offset < timedelta(0) else "ahead of"
    return f"this machine's clock is {timedelta(seconds=round(abs(offset).total_seconds()))} {way} the server's"
