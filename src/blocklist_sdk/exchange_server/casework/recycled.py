"""`recycled` receipts: so many in a day unblock by themselves, and what is more waits for one command of an officer.

A home operator knows first that a number has a new owner, so its word retracts. With a bound, since otherwise one
stolen credential of an operator could empty every feed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import NewReceipt, NewRecycledAnswer, RecycledAnswer, RecycledBatch, RecycledNumber
from blocklist_sdk.exchange_server.alarms import alarm
from blocklist_sdk.exchange_server.casework import cases, permissions
from blocklist_sdk.exchange_server.casework.accounts import Caller, lock_account
from blocklist_sdk.exchange_server.casework.appeals import grant_open_appeals
from blocklist_sdk.exchange_server.casework.decisions import retract
from blocklist_sdk.exchange_server.casework.permissions import DAY, Tie
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.tables import AccountRow, CaseRow, ListingRow, RecycledRow
from blocklist_sdk.texts import counted

_EXAMPLES: Final = 20


def bound_of(listed: int, *, share: float, least: int) -> int:
    """How many numbers one recipient may unblock on a feed in a day by saying that they were recycled.

    >>> [bound_of(listed, share=0.05, least=50) for listed in (0, 1000, 2000)]
    [50, 50, 100]
    """
    return max(least, int(listed * share))


def within_bound(
    session: Session,
    caller: Caller,
    reported: Mapping[int, NewReceipt],
    cases_of: Mapping[int, cases.AnyCase],
    *,
    now: datetime,
    settings: ExchangeSettings,
) -> dict[int, NewReceipt]:
    """The receipts that take effect at once; the others are stored for an officer, and the alarm rings.

    Args:
        session: one that writes.
        caller: the recipient that sent them.
        reported: its `recycled` receipts, by case.
        cases_of: the cases, locked.
        now: this moment.
        settings: the exchange's, with the bound.
    """
    listed = {case_id: new for case_id, new in reported.items() if cases.state_of(cases_of[case_id]) in cases.LISTED}
    if not listed:
        return {}
    lock_account(session, caller.id)  # so that requests at one moment do not each see the others missing
    passing: dict[int, NewReceipt] = {}
    for feed in sorted({new.feed for new in listed.values()}):
        mine = RecycledRow.account_id == caller.id, RecycledRow.feed == feed
        recent = session.scalar(
            select(func.count()).where(*mine, RecycledRow.state == "effective", RecycledRow.received_at > now - DAY)
        )
        bound = _bound(session, feed, recent or 0, settings)
        left = bound - (recent or 0)
        pending = set(session.scalars(select(RecycledRow.case_id).where(*mine, RecycledRow.state == "waiting")))
        # What an officer refused does not pass the next day by being sent again.
        refused = set(session.scalars(select(RecycledRow.case_id).where(*mine, RecycledRow.state == "refused")))
        is_first = not pending
        for case_id, new in listed.items():
            if new.feed != feed or case_id in pending:
                continue
            is_passing = left > 0 and case_id not in refused
            left -= is_passing
            if is_passing:
                passing[case_id] = new
            else:
                pending.add(case_id)
            row = RecycledRow(account_id=caller.id, feed=feed, case_id=case_id, entry=new.entry, received_at=now)
            row.state = "effective" if is_passing else "waiting"
            session.add(row)
        if pending and is_first:
            alarm(
                "feed %s: %s says that more numbers were recycled than the %d a day that retract by themselves: %s for "
                "an officer. To look: blocklist case recycled",
                *(feed, caller.name, bound, f"{counted(len(pending), 'number')} wait"),
            )
    return passing


def _bound(session: Session, feed: str, recent: int, settings: ExchangeSettings) -> int:
    listed = session.scalar(
        select(func.count())
        .select_from(ListingRow)
        .where(ListingRow.feed == feed, ListingRow.retracted_at.is_(None), ListingRow.listed_at.is_not(None))
    )
    # What was retracted today in this way was listed this morning: the bound does not shrink with the list.
    return bound_of((listed or 0) + recent, share=settings.max_recycled, least=settings.min_recycled)


def batches(session: Session, *, settings: ExchangeSettings, routing: RoutingRules) -> tuple[RecycledBatch, ...]:
    """What waits for an officer, by feed and recipient."""
    return tuple(
        _batch(session, feed, name, rows, settings=settings, routing=routing)
        for (feed, name), rows in _waiting(session).items()
    )


def _waiting(session: Session, *, locked: bool = False) -> dict[tuple[str, str], list[tuple[RecycledRow, CaseRow]]]:
    wanted = (
        select(RecycledRow, CaseRow, AccountRow.name)
        .join(CaseRow, CaseRow.id == RecycledRow.case_id)
        .join(AccountRow, AccountRow.id == RecycledRow.account_id)
        .where(RecycledRow.state == "waiting", CaseRow.state.in_(cases.LISTED))
        .order_by(RecycledRow.feed, AccountRow.name, RecycledRow.id)
    )
    found = session.execute(wanted.with_for_update(of=RecycledRow) if locked else wanted).all()
    return {
        key: [(row, case) for row, case, _ in some]
        for key, some in groupby(found, key=lambda each: (each[0].feed, each[2]))
    }


def _digest(rows: Sequence[tuple[RecycledRow, CaseRow]]) -> str:
    return hashlib.sha256(json.dumps([row.id for row, _ in rows]).encode()).hexdigest()


def _batch(
    session: Session,
    feed: str,
    recipient: str,
    rows: Sequence[tuple[RecycledRow, CaseRow]],
    *,
    settings: ExchangeSettings,
    routing: RoutingRules,
) -> RecycledBatch:
    return RecycledBatch(
        digest=_digest(rows),
        feed=feed,
        recipient=recipient,
        is_home=all(routing.is_home(feed, case.number) for _, case in rows),
        since=min(row.received_at for row, _ in rows),
        numbers=len(rows),
        bound=_bound(session, feed, 0, settings),
        examples=tuple(
            RecycledNumber(case=case.id, number=case.number, entry=row.entry, received_at=row.received_at)
            for row, case in rows[:_EXAMPLES]
        ),
    )


def answer(
    session: Session,
    officer: Caller,
    new: NewRecycledAnswer,
    *,
    now: datetime,
    settings: ExchangeSettings,
    routing: RoutingRules,
) -> RecycledAnswer:
    """Confirm a batch, which retracts its numbers at once, or refuse it.

    Raises:
        Refusal: nothing with this digest waits, or the officer's own account sent it.
    """
    found = [(key, rows) for key, rows in _waiting(session).items() if _digest(rows) == new.digest]
    if not found:
        raise Refusal(
            "conflict",
            "no batch of recycled receipts with this digest waits: it has changed, or was answered. Look once more",
        )
    (feed, recipient), seen = found[0]
    rule = permissions.CONFIRM_RECYCLED if new.confirm else permissions.REFUSE_RECYCLED
    rule.check({Tie.SENT} if recipient == officer.name else set(), two_person=settings.two_person)
    locked = cases.lock_cases(session, {case.id for _, case in seen})
    rows = _waiting(session, locked=True).get((feed, recipient), [])
    if _digest(rows) != new.digest:  # another officer was first
        raise Refusal("conflict", "this batch was answered, or has changed, at this moment: look once more")
    retracted = 0
    for row, _ in rows:
        row.state, row.reason = "confirmed" if new.confirm else "refused", new.reason
        row.answered_by, row.answered_at = officer.name, now
        case = locked[row.case_id]
        event = "recycled-confirmed" if new.confirm else "recycled-refused"
        cases.add_event(session, case, now=now, actor=officer.name, event=event, feed=feed, entry=row.entry)
        if new.confirm:
            reason = f"according to {recipient} the number belongs to another subscriber now: {new.reason}"
            retracted += retract(session, case, reason[:4000], now=now, routing=routing, confirmed_by=officer.name)
            grant_open_appeals(session, case, None, reason[:4000], now=now)
    return RecycledAnswer(feed=feed, recipient=recipient, numbers=len(rows), retracted=retracted)


def are_overdue(session: Session, now: datetime) -> bool:
    """Whether something waits for longer than a day since it came, or since the last reminder."""
    last = func.coalesce(RecycledRow.reminded_at, RecycledRow.received_at)
    wanted = select(RecycledRow.id).join(CaseRow, CaseRow.id == RecycledRow.case_id)
    wanted = wanted.where(RecycledRow.state == "waiting", CaseRow.state.in_(cases.LISTED), last <= now - DAY)
    return session.scalar(wanted.limit(1)) is not None


def remind(session: Session, now: datetime) -> None:
    """Raise the alarm again about what waits for longer than a day."""
    for (feed, recipient), rows in _waiting(session, locked=True).items():
        if min(row.reminded_at or row.received_at for row, _ in rows) <= now - DAY:
            for row, _ in rows:
                row.reminded_at = now
            alarm(
                "feed %s: %s have waited for an officer for more than a day: %s says that they were recycled, so "
                "innocent people may be blocked. To look: blocklist case recycled",
                *(feed, counted(len(rows), "number"), recipient),
            )
