"""Moments as people write them."""

from datetime import UTC, datetime

from blocklist_sdk.errors import InvalidInput


def read_moment(text: str) -> datetime:
    """Read a date, or a date and time; without a time zone it is UTC.

    Raises:
        InvalidInput: `text` is neither.

    >>> read_moment("2027-01-31T08:00:00Z")
    datetime.datetime(2027, 1, 31, 8, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not a date or time: write 2027-01-31 or 2027-01-31T08:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
