"""What a recipient must answer, by going through plain entries one by one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Listing:
    """One entry of one feed.

    Attributes:
        number, last: what it covers, as E.164 integers.
        level, scope: as on the wire; several scopes are joined by ``+``.
        since, until: in force from and before; None for no end.
        entry: its id; 0 where that does not matter.
    """

    number: int
    last: int
    level: str
    scope: str
    since: datetime
    until: datetime | None
    entry: int = 0

    def covers(self, number: int) -> bool:
        return self.number <= number <= self.last

    def is_over(self, at: datetime) -> bool:
        return self.until is not None and self.until <= at


@dataclass(frozen=True)
class Decided:
    """An override."""

    decision: str
    until: datetime | None


Answer = tuple[bool, str | None, str]
"""Whether it is blocked, the level, and the reason."""


def answer(
    listings: Iterable[Listing],
    number: int,
    at: datetime,
    *,
    scope: str | None = None,
    override: Decided | None = None,
    is_protected: bool = False,
) -> Answer:
    if is_protected:
        return False, None, "protected"
    if override is not None and (override.until is None or at < override.until):
        blocked = override.decision == "block"
        return blocked, "block" if blocked else None, f"override-{override.decision}"
    asked = [each for each in listings if each.covers(number) and (scope is None or scope in each.scope.split("+"))]
    standing = [each for each in asked if each.since <= at and not each.is_over(at)]
    if any(each.level == "block" for each in standing):
        return True, "block", "listed"
    if standing:
        return False, "advisory", "advisory"
    if any(each.is_over(at) for each in asked):
        return False, None, "expired"
    return False, None, "not-yet" if asked else "not-listed"
