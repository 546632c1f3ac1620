"""Plain text: one number a line, E.164 with a plus. Pure."""

from collections.abc import Iterable, Iterator

from blocklist_sdk.recipient.exports.texts import Part, digits, joined, numbers_of
from blocklist_sdk.release.spans import Spans


def lines(parts: Iterable[Spans]) -> Iterator[Part]:
    """The numbers, ascending, each once."""
    for numbers in numbers_of(parts):
        yield Part(joined("+", digits(numbers), "\n"), len(numbers))
