"""Budgets: how much of a quota all processes of an exchange have used together.

A process does not write for each request. It takes a part of what is left, a twentieth but at least what it needs, and
spends that part by itself. What it does not spend until the window ends is lost. So nobody gets more than the quota.
With several processes one may get less of it, by up to a twentieth for each further process. A quota below 40 is exact,
since then the parts are single units.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.store.database import add_missing
from blocklist_sdk.exchange_server.store.tables import BudgetRow

_PART: Final = 20
"""A process takes this part of what is left, one in so many, if it needs no more."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be used in a window of time.

    Attributes:
        what: what is counted; a name of its own for each quota.
        amount: most units in a window.
        window_s: length of a window, seconds. Windows begin at multiples of it since 1970: a minute's with each minute,
            a day's at midnight, UTC.
    """

    what: str
    amount: int
    window_s: int

    def end(self, now_s: float) -> int:
        """The end of the window that a moment is in, Unix time.

        >>> Quota("reports", 100, 60).end(130.5)
        180
        """
        return (int(now_s) // self.window_s + 1) * self.window_s


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a quota that one process may spend.

    Attributes:
        granted: its units; 0 if there were too few.
        rest: units that are left for all processes.
        ends: the end of the window, Unix time.
    """

    granted: int
    rest: int
    ends: int


def take_part(session: Session, quota: Quota, whom: str, *, needed: int, now_s: float) -> Part:
    """Take a part of a quota.

    Args:
        session: one that writes.
        quota: the quota.
        whom: whose.
        needed: least units; with fewer nothing is taken.
        now_s: this moment, Unix time.
    """
    ends = quota.end(now_s)
    add_missing(session, BudgetRow, [{"what": quota.what, "whom": whom, "ends": ends, "used": 0}])
    row = session.scalars(
        select(BudgetRow).where(BudgetRow.what == quota.what, BudgetRow.whom == whom).with_for_update()
    ).one()
    # Another process whose clock is a little ahead may have begun the next window: count in that one. One that is
    # further ahead stems from a clock that was wrong.
    if not ends <= row.ends <= ends + quota.window_s:
        row.ends, row.used = ends, 0
    rest = max(0, quota.amount - row.used)
    granted = part_of(rest, needed)
    row.used += granted
    return Part(granted, rest - granted, row.ends)


def part_of(rest: int, needed: int) -> int:
    """How many units a process takes of what is left; 0 if that is less than it needs.

    >>> part_of(1000, 1), part_of(1000, 300), part_of(25, 1), part_of(3, 4)
    (50, 300, 1, 0)
    """
    return max(needed, rest // _PART) if needed <= rest else 0


def forget_budgets(session: Session, *, now_s: float) -> None:
    """Delete the budgets whose window is over."""
    session.execute(delete(BudgetRow).where(BudgetRow.ends < int(now_s)))
