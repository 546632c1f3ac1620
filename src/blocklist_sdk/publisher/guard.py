"""The publisher's guard: whether a list may be published without a person's word. Pure.

Every signature after it is right, and every recipient has a guard of its own; but a month's new cases in the place of
the whole list are a mistake that is best found where it is made.
"""

import math
from dataclasses import dataclass
from typing import Final

from blocklist_sdk.release.blocking import DAY_MS
from blocklist_sdk.release.blocking_limits import Limits

MONTH_MS: Final = 31 * DAY_MS
"""The cycle of most authorities, milliseconds: who looks at the list next does so within a month."""

HORIZONS_MS: Final = (0, DAY_MS, MONTH_MS)
"""When a list is judged before it is published, milliseconds from now: also what it will do until the next one."""


@dataclass(frozen=True, slots=True)
class PublisherGuard(Limits):
    """How much a release may change of what is blocked, before a person has to accept it.

    Lists are compared as they block now, a day ahead, and a month ahead. Shares are of the numbers that the release
    before blocks at any of these moments. The first release is free.

    Attributes:
        max_removed: the share that may cease to be blocked, from 0 to 1.
        min_removed: so many numbers may always cease to be blocked: on a short list shares mean little.
        max_added: the share that may begin to be blocked; 1 means that the list may double.
        min_added: so many numbers may always begin to be blocked.

    Raises:
        InvalidInput: a limit is negative or not a number.

    >>> PublisherGuard(max_removed=0.2).min_removed
    20
    >>> PublisherGuard.off().max_added
    inf
    """

    max_removed: float = 0.10
    min_removed: int = 20
    max_added: float = 1.0
    min_added: int = 1_000

    @classmethod
    def off(cls) -> "PublisherGuard":
        """A guard that refuses nothing."""
        return cls(max_removed=1.0, max_added=math.inf)
