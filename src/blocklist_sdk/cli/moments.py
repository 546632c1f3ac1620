"""Moments as people write them."""

from datetime import UTC, datetime

from blocklist_sdk.errors import InvalidInput


def read_moment(text: str) -> datetime:
    """A moment as people write it; without a time zone it is UTC.

    Raises:
        InvalidInput: it is none.

    >>> read_moment("2027-01-31T08:00:00Z")
    datetime.datetime(2027, 1, 31, 8, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no moment: write it as 2027-01-31 or 2027-01-31T08:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
