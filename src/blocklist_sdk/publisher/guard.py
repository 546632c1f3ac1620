"""The publisher's guard: whether a list may be published without a person's word. Pure.

Every signature after it is right, and every recipient has a guard of its own; but a month's new cases in the place of
the whole list are a mistake that is best found where it is made.
"""

import math
from dataclasses import dataclass

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.release.blocking import BlockingChange
from blocklist_sdk.texts import counted


@dataclass(frozen=True, slots=True)
class PublisherGuard:
    """How much a release may change of what is blocked, before a person has to accept it.

    Shares are of the numbers that the release before blocks, now or within a day. The first release is free.

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

    def __post_init__(self) -> None:
        if not (0 <= self.max_removed <= 1 and self.max_added >= 0 and self.min_removed >= 0 and self.min_added >= 0):
            raise InvalidInput("the guard's limits must not be negative, and max_removed must be at most 1")

    @classmethod
    def off(cls) -> "PublisherGuard":
        """A guard that refuses nothing."""
        return cls(max_removed=1.0, max_added=math.inf)

    def refusals(self, change: BlockingChange) -> tuple[str, ...]:
        """Why a release must not be published by itself; empty if it may."""
        limits = [
            ("unblock", change.removed, self.max_removed, self.min_removed),
            ("begin to block", change.added, self.max_added, self.min_added),
        ]
        reasons = []
        for what, count, share, least in limits:
            allowed = max(least, share * change.before * (1 + 1e-12))  # 0.29 * 100 is a little less than 29
            if count > allowed:
                whole = change.before
                of = (
                    f"{100 * count / whole:.0f} % of the {whole:,} that are blocked" if whole else "and none is blocked"
                )
                reasons.append(
                    f"it would {what} {counted(count, 'number')}, {of}; the guard lets {int(allowed):,} pass"
                )
        return tuple(reasons)
