"""Decisions: what an officer may decide, who has to confirm it, and what it does to the feeds."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import NewDecision
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.distribution import Routing
from blocklist_sdk.exchange_server.casework.intake import most_say
from blocklist_sdk.exchange_server.casework.refusals import Refusal, invalid
from blocklist_sdk.exchange_server.store.tables import CaseRow, DecisionRow, ListingRow

_LISTS: Final = ("block", "advisory")
_FROM: Final = {
    "block": (cases.RECEIVED, cases.VERIFYING, cases.DECIDED, cases.PUBLISHED, cases.ENFORCED),
    "advisory": (cases.RECEIVED, cases.VERIFYING, cases.DECIDED, cases.PUBLISHED, cases.ENFORCED),
    "reject": cases.UNDECIDED,
    "retract": cases.LISTED,
}
"""In which states of a case each may be decided."""


def start_verification(session: Session, case: CaseRow, officer: str, *, at: datetime) -> None:
    """An officer begins to verify a complete case; who takes it up again does nothing.

    Raises:
        Refusal: it is not complete, or is beyond that.
    """
    state = cases.state_of(case)
    if state == cases.INCOMPLETE:
        raise Refusal("conflict", f"case {case.id} is incomplete: it has no evidence yet")
    if state == cases.VERIFYING:
        if case.officer != officer:
            case.officer = officer
            cases.note(session, case, at=at, actor=officer, event="taken-over")
        return
    case.officer = officer
    cases.move(session, case, cases.VERIFYING, at=at, actor=officer, event="verifying")


def decide(
    session: Session,
    case: CaseRow,
    officer: str,
    new: NewDecision,
    *,
    at: datetime,
    usual: timedelta,
    two_person: bool,
    protected: frozenset[int],
    routing: Routing,
) -> DecisionRow:
    """Decide on a case.

    Args:
        session: one that writes.
        case: `locked`.
        officer: who decides.
        new: what.
        at: now.
        usual: how long a listing holds where the decision does not say.
        two_person: whether another officer has to confirm what lists a number.
        protected: numbers that no feed may list.
        routing: which feeds it reaches.

    Raises:
        Refusal: the case does not stand so that this could be decided, or the number is protected.
    """
    state = cases.state_of(case)
    if state not in _FROM[new.kind]:
        why = "it has no evidence yet" if state == cases.INCOMPLETE else f"it is {state}"
        raise Refusal("conflict", f"`{new.kind}` cannot be decided on case {case.id}: {why}")
    is_listing = new.kind in _LISTS
    if is_listing and case.number in protected:
        raise Refusal("conflict", "the number is protected: no feed may list it")
    if is_listing and not routing.feeds_of(case.number, new.scope):
        raise invalid("body.scope", "no feed reaches anyone who could act on the number there")
    if new.until is not None and new.until <= at:
        raise invalid("body.until", "it has passed")
    waiting = session.scalar(
        select(DecisionRow.id).where(DecisionRow.case_id == case.id, DecisionRow.state == "proposed")
    )
    if waiting is not None and new.kind != "retract":
        raise Refusal("conflict", f"decision {waiting} on this case waits to be confirmed or withdrawn")
    row = DecisionRow(
        case_id=case.id,
        kind=new.kind,
        reason=new.reason,
        category=new.category or most_say(session, case.id),
        scope="+".join(sorted(set(new.scope))),
        until=(new.until or at + usual) if is_listing else None,
        urgent=new.urgent or new.kind == "retract",
        officer=officer,
        decided_at=at,
        state="proposed" if two_person and is_listing else "effective",
    )
    session.add(row)
    session.flush()
    if row.state == "proposed":
        cases.note(session, case, at=at, actor=officer, event="proposed", decision=row.id, kind=row.kind)
        if state == cases.RECEIVED:
            start_verification(session, case, officer, at=at)
    else:
        _take_effect(session, case, row, actor=officer, at=at, routing=routing)
    return row


def confirm(
    session: Session,
    case: CaseRow,
    row: DecisionRow,
    officer: str,
    *,
    at: datetime,
    protected: frozenset[int],
    routing: Routing,
) -> None:
    """A second officer confirms a decision, which takes effect with it.

    Raises:
        Refusal: it does not wait for that, it is the officer's own, its end has passed, or the number has been
            protected, or the case appealed or closed, meanwhile.
    """
    if row.state != "proposed":
        raise Refusal("conflict", f"decision {row.id} is {row.state}: it does not wait to be confirmed")
    state = cases.state_of(case)
    if state not in _FROM[row.kind]:
        raise Refusal("conflict", f"`{row.kind}` cannot take effect on case {case.id}: it is {state} by now")
    if row.officer == officer:
        raise Refusal("conflict", "whoever decided cannot confirm it: another officer has to")
    if case.number in protected:
        raise Refusal("conflict", "the number is protected by now: no feed may list it")
    if row.until is not None and row.until <= at:
        raise Refusal("conflict", f"decision {row.id} has come to its end: decide again")
    row.state, row.confirmed_by, row.confirmed_at = "effective", officer, at
    _take_effect(session, case, row, actor=officer, at=at, routing=routing)


def withdraw(session: Session, case: CaseRow, row: DecisionRow, officer: str, *, at: datetime) -> None:
    """Take back a decision that waits to be confirmed.

    Raises:
        Refusal: it does not.
    """
    if row.state != "proposed":
        raise Refusal("conflict", f"decision {row.id} is {row.state}: only what waits to be confirmed can be withdrawn")
    row.state = "withdrawn"
    cases.note(session, case, at=at, actor=officer, event="withdrawn", decision=row.id)


def retract(session: Session, case: CaseRow, officer: str, reason: str, *, at: datetime, routing: Routing) -> None:
    """Retract a listed case for a reason of its own, such as an appeal; does nothing where it is not listed.

    Args:
        session: one that writes.
        case: `locked`.
        officer: who, or `cases.SYSTEM`.
        reason: why.
        at: now.
        routing: which feeds decisions reach.
    """
    if cases.state_of(case) not in cases.LISTED:
        return
    row = DecisionRow(
        case_id=case.id,
        kind="retract",
        reason=reason,
        category=most_say(session, case.id),
        scope="data+messaging+sms+voice",
        urgent=True,
        officer=officer,
        decided_at=at,
        state="effective",
    )
    session.add(row)
    session.flush()
    _take_effect(session, case, row, actor=officer, at=at, routing=routing)


def end(session: Session, case: CaseRow, *, at: datetime) -> None:
    """Close a listed case of which every listing has come to its end."""
    if cases.state_of(case) in cases.LISTED:
        cases.move(session, case, cases.RETRACTED, at=at, actor=cases.SYSTEM, event="ended")


def _take_effect(
    session: Session, case: CaseRow, row: DecisionRow, *, actor: str, at: datetime, routing: Routing
) -> None:
    if row.kind == "reject":
        cases.move(session, case, cases.REJECTED, at=at, actor=actor, event="rejected", decision=row.id)
    elif row.kind == "retract":
        for proposed in session.scalars(
            select(DecisionRow).where(DecisionRow.case_id == case.id, DecisionRow.state == "proposed")
        ):
            proposed.state = "withdrawn"
            cases.note(session, case, at=at, actor=actor, event="withdrawn", decision=proposed.id)
        for listing in _active(session, case):
            listing.retracted_at, listing.waiting = at, True
        cases.move(session, case, cases.RETRACTED, at=at, actor=actor, event="retracted", decision=row.id)
    else:
        _list(session, case, row, at=at, routing=routing)
        cases.move(session, case, cases.DECIDED, at=at, actor=actor, event="decided", decision=row.id, kind=row.kind)


def _list(session: Session, case: CaseRow, row: DecisionRow, *, at: datetime, routing: Routing) -> None:
    """Say on which feeds the number is to stand from now on."""
    reached = routing.feeds_of(case.number, row.scope.split("+"))
    active = {listing.feed: listing for listing in _active(session, case)}
    for feed in reached:
        listing = active.pop(feed, None)
        if listing is None:
            listing = ListingRow(case_id=case.id, feed=feed, number=case.number, since=at)
            session.add(listing)
        weakened = _is_weakened(listing, row)
        listing.since = min(listing.since, at)  # should the clock have gone back: no list has an end before its start
        listing.level = "block" if row.kind == "block" else "advisory"
        listing.category, listing.scope = row.category, row.scope
        listing.until, listing.urgent, listing.waiting = row.until, row.urgent or weakened, True
    for listing in active.values():
        listing.retracted_at, listing.waiting = at, True


def _is_weakened(listing: ListingRow, row: DecisionRow) -> bool:
    """Whether recipients still block more than a decision lets them: that is lifted at once, like what is retracted.

    An earlier end is no such thing: it is honoured offline, and published when it has come.
    """
    if listing.entry is None:  # nobody has seen it yet
        return False
    is_due = listing.waiting and listing.urgent  # what was weakened before, and is not published yet
    is_narrower = not set(listing.scope.split("+")) <= set(row.scope.split("+"))
    return is_due or (listing.level == "block" and (row.kind != "block" or is_narrower))


def _active(session: Session, case: CaseRow) -> list[ListingRow]:
    """A case's listings that are not retracted; locked, since the publisher may be ending one at this moment."""
    wanted = select(ListingRow).where(ListingRow.case_id == case.id, ListingRow.retracted_at.is_(None))
    return list(session.scalars(wanted.order_by(ListingRow.id).with_for_update()))
