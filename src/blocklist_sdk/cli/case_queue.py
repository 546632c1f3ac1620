"""Which cases an account sees first: those that wait for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import Account, Case

CLOSED: Final = frozenset({"published", "enforced", "retracted", "rejected"})
"""States in which nothing is left to do, unless a decision waits."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A case, and what is to be done next.

    Attributes:
        case: the case.
        step: what comes next, in a few words; empty if nothing does.
        rank: its place in the queue; those that wait for this account have the lowest.
    """

    case: "Case"
    step: str
    rank: int


def queue(cases: Iterable["Case"], account: "Account", *, closed: bool) -> list[Queued]:
    """Cases in the order in which an officer works: what only others may do comes after what waits for this account.

    Args:
        cases: in the exchange's order, which stays within each step.
        account: who asks.
        closed: also those in which nothing is left to do.
    """
    found = [next_step(case, account) for case in cases]
    return sorted((each for each in found if closed or each.step), key=lambda each: each.rank)


def next_step(case: "Case", account: "Account") -> Queued:
    """What is to be done next about a case, and whether the account may do it."""
    proposed = next((each for each in case.decisions if each.state == "proposed"), None)
    if proposed is not None:
        if proposed.officer == account.name:
            return Queued(case, f"another officer confirms {proposed.id}", 6)
        return Queued(case, f"confirm {proposed.id}", 0)
    if case.state == "appealed":
        return Queued(case, "answer its appeal", 1)
    if case.state == "verifying":
        is_own = case.officer in (account.name, None)
        return Queued(case, "decide", 2) if is_own else Queued(case, f"{case.officer} decides", 4)
    if case.state == "received":
        return Queued(case, "start-verification", 3)
    if case.state == "decided":
        return Queued(case, "published with the next release", 7)
    if case.state == "incomplete":
        return Queued(case, "reporters send evidence", 8)
    return Queued(case, "", 9)
