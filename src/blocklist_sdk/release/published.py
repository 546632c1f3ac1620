"""This machine's clock beside the latest moment that it must have passed. Pure.

What an authority signs gives the least time that it can be: when its newest release was published. The last sync that
went well here gives another.
"""

from datetime import datetime, timedelta
from typing import Final

AHEAD_SAID: Final = timedelta(minutes=5)
"""Clocks may differ by so much; a clock that is further behind is told of."""

AHEAD_MAX: Final = timedelta(days=1)
"""A release that was published further ahead of this machine's clock needs a person's consent."""


def latest(*moments: datetime | None) -> datetime | None:
    """The latest of some moments, of which each may be unknown; None if all are.

    >>> latest(None, datetime(2027, 1, 1), datetime(2026, 1, 1))
    datetime.datetime(2027, 1, 1, 0, 0)
    """
    return max((moment for moment in moments if moment is not None), default=None)


def seconds_behind(known: datetime | None, now: datetime) -> int | None:
    """How far a clock is behind a moment that has passed, in seconds; None if clocks may differ so much.

    >>> seconds_behind(datetime(2027, 1, 1, 12), datetime(2027, 1, 1, 11, 30))
    1800
    >>> seconds_behind(datetime(2027, 1, 1, 12), datetime(2027, 1, 1, 11, 55)) is None
    True
    """
    if known is None or known - now <= AHEAD_SAID:
        return None
    return round((known - now).total_seconds())


def clock_behind_text(seconds: int) -> str:
    """What people are told of a clock that is so many seconds behind: how far, what follows, and what to do.

    >>> clock_behind_text(90_061)
    "this machine's clock is 1 day, 1:01:01 behind what is signed, or behind the last sync, so no answer counts as \
fresh. Set it right (NTP), then sync. If it is right, the publisher's clock is ahead: tell the publisher"
    """
    return (
        f"this machine's clock is {timedelta(seconds=seconds)} behind what is signed, or behind the last sync, so no "
        "answer counts as fresh. Set it right (NTP), then sync. If it is right, the publisher's clock is ahead: tell "
        "the publisher"
    )
