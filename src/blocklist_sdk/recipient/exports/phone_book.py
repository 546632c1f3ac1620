"""A phone book of a FRITZ!Box, whose callers the box can refuse. Pure.

The form is that of the phone books that the boxes save and restore: ``phonebooks``, ``phonebook``, ``contact``, with up
to nine numbers in a contact.
"""

from collections.abc import Iterable, Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk.recipient.exports.texts import Part, digits, joined, numbers_of
from blocklist_sdk.release.spans import Spans
from blocklist_sdk.texts import printable

NUMBERS_PER_CONTACT: Final = 9
"""A contact of a phone book has so many numbers at most."""

CONTACTS_MAX: Final = 2_000
"""The vendor names no limit. Users report that a box takes so many contacts in one phone book."""

_OPEN: Final = "<contact><category>0</category><person><realName>"
_NAMED: Final = "</realName></person><telephony>"
_CLOSE: Final = "</telephony></contact>\n"


def contacts_of(numbers: int) -> int:
    """How many contacts so many numbers take.

    >>> contacts_of(10)
    2
    """
    return -(-numbers // NUMBERS_PER_CONTACT)


def document(parts: Iterable[Spans], *, name: str) -> Iterator[Part]:
    """The phone book as XML.

    Args:
        parts: the numbers.
        name: the name of the book; its contacts are named after it, and counted.
    """
    name = printable(name)
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<phonebooks>\n<phonebook name={quoteattr(name)}>\n'
    yield Part(head.encode(), 0)
    written = 0
    for numbers in numbers_of(parts):
        place = np.arange(written, written + len(numbers))
        within = place % NUMBERS_PER_CONTACT
        contact = digits(place // NUMBERS_PER_CONTACT + 1)
        opening = pc.binary_join_element_wise(f"{_OPEN}{escape(name)} ", contact, _NAMED, "")
        is_first = pa.array(within == 0)
        yield Part(
            joined(
                pc.if_else(pa.array((within == 0) & (place > 0)), _CLOSE, ""),
                pc.if_else(is_first, opening, ""),
                pc.if_else(is_first, '<number type="home" prio="1" id="', '<number type="home" prio="0" id="'),
                digits(within),
                '">+',
                digits(numbers),
                "</number>",
            ),
            len(numbers),
        )
        written += len(numbers)
    yield Part(f"{_CLOSE if written else ''}</phonebook>\n</phonebooks>\n".encode(), 0)
