"""The numbers as the call directory of an iPhone takes them: 64-bit integers, ascending, each once. Pure.

CallKit's ``CXCallDirectoryPhoneNumber`` is an ``Int64`` of the E.164 digits without plus, and an extension hands over
its numbers ascending and without repeats, or iOS refuses all of them (``entriesOutOfOrder``, ``duplicateEntries`` of
``CXErrorCodeCallDirectoryManagerError``). The file has eight bytes for each number, the lowest byte first as in the
memory of every device with iOS, so that an extension maps the file and reads it as it is: it has a few megabytes of
memory, and text would have to be read into it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from blocklist_sdk.recipient.exports.texts import Part, numbers_of
from blocklist_sdk.release.spans import Spans

ENTRIES_MAX: Final = 1_999_999
"""Apple names no limit. Developers report that a device with iOS 26 loads so many, and refuses the whole directory of
one with 2,000,000 (``maximumEntriesExceeded``)."""


def integers(parts: Iterable[Spans]) -> Iterator[Part]:
    """The file."""
    for numbers in numbers_of(parts):
        yield Part(numbers.astype("<i8", copy=False).tobytes(), len(numbers))
