"""Moments: now, as milliseconds since 1970, as text. All of them in UTC."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

clock: Callable[[], float] = time.time
"""Seconds since 1970, where all here look that ask for the time; not a number while `moment` is set, so that no answer
holds for a while of a time that does not go on."""

moment: datetime | None = None
"""The time that `blocklist_sdk.testing` has set, at which it stands still; None if it goes by `clock`."""


def now() -> datetime:
    """This moment."""
    return moment or datetime.fromtimestamp(clock(), UTC)


def this_second() -> datetime:
    """This moment, to the whole second: what the protocol and the exchange's API carry."""
    return now().replace(microsecond=0)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970, rounded down.

    >>> to_ms(datetime(2027, 1, 1, tzinfo=UTC))
    1798761600000
    """
    return (moment - EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """The moment that `to_ms` made milliseconds of.

    >>> from_ms(1_798_761_600_000)
    datetime.datetime(2027, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return EPOCH + milliseconds * _MILLISECOND


def iso(moment: datetime) -> str:
    """A moment as ISO 8601 text with a Z, to the second, or to the millisecond where it is not a whole second.

    >>> iso(datetime(2027, 1, 1, tzinfo=UTC)), iso(datetime(2027, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC))
    ('2027-01-01T00:00:00Z', '2027-01-01T00:00:00.250Z')
    """
    timespec = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"
