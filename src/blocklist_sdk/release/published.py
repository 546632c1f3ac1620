"""When a release says that it was published, beside this machine's clock. Pure."""

from datetime import datetime, timedelta
from typing import Final

AHEAD_SAID: Final = timedelta(minutes=5)
"""Clocks may differ by so much; beyond it, a release that was published in the future is told of."""

AHEAD_MAX: Final = timedelta(days=1)
"""A release that was published further ahead of this machine's clock needs a person's consent."""


def seconds_ahead(published: datetime, now: datetime) -> int | None:
    """How far a release was published ahead of this machine's clock, seconds; None if clocks may differ so much.

    >>> seconds_ahead(datetime(2027, 1, 1, 12), datetime(2027, 1, 1, 11, 30))
    1800
    """
    ahead = published - now
    return round(ahead.total_seconds()) if ahead > AHEAD_SAID else None
