"""Overrides as rows of the local database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.records import Override

COLUMNS_OF_FILE: Final = "number, last, decision, reason, author, created, until"
"""The columns; `last` is the number itself for a single number."""


def row_of(override: Override) -> tuple[int, int, str, str, str, str, str | None]:
    """The row of an override."""
    return (
        override.number,
        override.number if override.last is None else override.last,
        override.decision,
        override.reason,
        override.author,
        override.created.isoformat(),
        None if override.until is None else override.until.isoformat(),
    )


def override_of(row: Sequence[Any]) -> Override:
    """The override of a row.

    Raises:
        ValueError, TypeError: the row makes no sense.
    """
    number, last, decision, reason, author, created, until = row
    if not SMALLEST <= number <= last <= LARGEST:
        raise ValueError("a number is not an E.164 number")
    end = _moment(until) if until else None
    return Override(number, decision, reason, author, _moment(created), end, last=None if last == number else last)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
