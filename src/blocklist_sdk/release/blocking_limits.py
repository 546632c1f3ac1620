"""How much of what is blocked may change, before a person has to accept it. Pure.

One record and one wording for every guard; each guard has its own defaults.
"""

import math
from dataclasses import dataclass

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.release.blocking import BlockingChange
from blocklist_sdk.texts import counted


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of what is blocked may change.

    Both are judged: all numbers, and by themselves those that have an entry of their own, so that a wide range dilutes
    nothing.

    Attributes:
        max_removed: the share of the blocked numbers that may cease to be blocked, from 0 to 1.
        min_removed: so many numbers may always cease to be blocked: on a short list shares mean little.
        max_added: as much of the blocked numbers may begin to be blocked; 1 means that the list may double.
        min_added: so many numbers may always begin to be blocked.

    Raises:
        InvalidInput: a limit is negative or not a number.

    >>> Limits(max_removed=0.1, min_removed=20, max_added=1.0, min_added=1_000).min_removed
    20
    """

    max_removed: float
    min_removed: int
    max_added: float
    min_added: int

    def __post_init__(self) -> None:
        if not (0 <= self.max_removed <= 1 and self.max_added >= 0 and self.min_removed >= 0 and self.min_added >= 0):
            raise InvalidInput("the guard's limits must not be negative, and max_removed must be at most 1")

    def refusals(self, change: BlockingChange) -> tuple[str, ...]:
        """Why a list must not come into force by itself; empty if it may. One reason at most for each direction."""
        reasons = []
        for what, share, least, counts in (
            (
                "unblock",
                self.max_removed,
                self.min_removed,
                ((change.removed, change.before, "number"), (change.single_removed, change.single_before, _SINGLE)),
            ),
            (
                "begin to block",
                self.max_added,
                self.min_added,
                ((change.added, change.before, "number"), (change.single_added, change.single_before, _SINGLE)),
            ),
        ):
            for count, whole, noun in counts:
                allowed = _allowed(share, least, whole)
                if count > allowed:
                    of = _part(count, whole)
                    reasons.append(f"it would {what} {counted(count, noun)}, {of}; the guard lets {allowed:,} pass")
                    break
        return tuple(reasons)

    def is_too_much_removed(self, count: int, whole: int) -> bool:
        """Whether more is gone than the limits let pass."""
        return count > _allowed(self.max_removed, self.min_removed, whole)

    def is_too_much_added(self, count: int, whole: int) -> bool:
        """Whether more is new than the limits let pass."""
        return count > _allowed(self.max_added, self.min_added, whole)


_SINGLE = "single number"


def _part(count: int, whole: int) -> str:
    if not whole:
        return "and none is blocked"
    return f"{100 * count / whole:.0f} % of the {whole:,} that are blocked"


def _allowed(share: float, least: int, whole: int) -> float:
    """How many of the whole may change; 0.29 * 100 is a little less than 29."""
    if share == math.inf:
        return math.inf
    return max(least, int(share * whole * (1 + 1e-12)))
