"""A warning list of MISP, so that an event with one of the numbers says that it is blocked. Pure.

The form is that of the lists in https://github.com/MISP/misp-warninglists: ``type`` is ``string``, which MISP compares
whole, with numbers as it stores those of the attribute ``phone-number``: E.164 with a plus.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from blocklist_sdk import times
from blocklist_sdk.recipient.exports.texts import Part, digits, joined, numbers_of
from blocklist_sdk.release.spans import Spans

CATEGORY: Final = "known"
"""What is on a list of MISP's other category, ``false_positive``, is left out of searches that heed warning lists."""

_MINUTE_MS: Final = 60_000


def version_at(moment: datetime) -> int:
    """The version of a list that is written at a moment: minutes since 1970, so that a later list has a higher one.

    MISP's own update takes a list only if its version is higher, and keeps it in 32 bits. A release's serial would not
    do: what blocks also changes by ends and overrides.

    >>> from datetime import UTC
    >>> version_at(datetime(2026, 11, 29, 12, 0, tzinfo=UTC))
    29932560
    """
    return times.to_ms(moment) // _MINUTE_MS


def document(parts: Iterable[Spans], *, name: str, description: str, version: int) -> Iterator[Part]:
    """The list as JSON.

    Args:
        parts: the numbers.
        name: its name, under which MISP replaces it.
        description: what MISP shows beside it.
        version: see `version_at`.
    """
    head = json.dumps(
        {
            "name": name,
            "version": version,
            "description": description,
            "type": "string",
            "category": CATEGORY,
            "matching_attributes": ["phone-number"],
        },
        indent=1,
    )
    yield Part(f'{head.removesuffix("}").rstrip()},\n "list": ['.encode(), 0)
    written = 0
    for numbers in numbers_of(parts):
        if not written:
            yield Part(f'\n  "+{numbers[0]}"'.encode(), 1)
            written, numbers = 1, numbers[1:]
        if len(numbers):
            yield Part(joined(',\n  "+', digits(numbers), '"'), len(numbers))
    yield Part(b"\n ]\n}\n", 0)
