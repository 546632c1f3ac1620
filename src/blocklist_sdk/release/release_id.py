"""Which release: its era and its serial. Serials are compared within one era only (`blocklist_sdk.release.eras`)."""

import re
from typing import Final, NamedTuple

from blocklist_sdk.errors import InvalidInput

FIRST_ERA: Final = 1
"""The era of a delegation that names none: its keys are those with which the feed began."""

_TEXT: Final = re.compile(r"(?:([0-9]{1,10})\.)?([0-9]{1,10})")


class ReleaseId(NamedTuple):
    """Names one release of a feed. A later one compares as greater.

    Attributes:
        era: the feed's era in which it was published, from 1.
        serial: its serial in that era, from 1.

    >>> ReleaseId(7, 4) > ReleaseId(1, 2147483647)
    True
    >>> str(ReleaseId(1, 41)), str(ReleaseId(7, 4))
    ('41', '7.4')
    """

    era: int
    serial: int

    def __str__(self) -> str:
        return str(self.serial) if self.era == FIRST_ERA else f"{self.era}.{self.serial}"

    @classmethod
    def parse(cls, text: str) -> "NamedRelease":
        """Read what a person writes.

        Raises:
            InvalidInput: it is neither a serial nor ERA.SERIAL.

        >>> ReleaseId.parse("4"), ReleaseId.parse("7.4")
        (NamedRelease(era=None, serial=4), NamedRelease(era=7, serial=4))
        """
        found = _TEXT.fullmatch(text)
        era = None if found is None or found[1] is None else int(found[1])
        serial = 0 if found is None else int(found[2])
        if serial < 1 or era == 0:
            raise InvalidInput(
                f"a release is named by its serial, such as 4, or with its era, such as 7.4, not {text!r}"
            )
        return NamedRelease(era, serial)


BEFORE_ALL: Final = ReleaseId(FIRST_ERA, 0)
"""Stands for no release where one is compared with others."""


class NamedRelease(NamedTuple):
    """A release as a person names it.

    Attributes:
        era: its era; None if none was said.
        serial: its serial.
    """

    era: int | None
    serial: int
