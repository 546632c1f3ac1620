"""Decisions: what an officer may decide, who confirms it, and how it changes listings."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import NewDecision
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.intake import prevailing_category
from blocklist_sdk.exchange_server.casework.refusals import Refusal, invalid
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.store.tables import CaseRow, DecisionRow, ListingRow

_LISTING_KINDS: Final = ("block", "advisory")
_ALLOWED_STATES: Final = {
    "block": (cases.RECEIVED, cases.VERIFYING, cases.DECIDED, cases.PUBLISHED, cases.ENFORCED),
    "advisory": (cases.RECEIVED, cases.VERIFYING, cases.DECIDED, cases.PUBLISHED, cases.ENFORCED),
    "reject": cases.UNDECIDED,
    "retract": cases.LISTED,
}
"""The states of a case in which each kind of decision is allowed."""


def start_verification(session: Session, case: CaseRow, officer: str, *, now: datetime) -> None:
    """Begin to verify a complete case, or take it over from another officer.

    Raises:
        Refusal: the case is incomplete, or is decided already.
    """
    state = cases.state_of(case)
    if state == cases.INCOMPLETE:
        raise Refusal("conflict", f"case {case.id} is incomplete: it has no evidence yet")
    if state == cases.VERIFYING:
        if case.officer != officer:
            case.officer = officer
            cases.add_event(session, case, now=now, actor=officer, event="taken-over")
        return
    case.officer = officer
    cases.move_case(session, case, cases.VERIFYING, now=now, actor=officer, event="verifying")


def decide(
    session: Session,
    case: CaseRow,
    officer: str,
    new: NewDecision,
    *,
    now: datetime,
    default_listing: timedelta,
    two_person: bool,
    protected: frozenset[int],
    routing: RoutingRules,
) -> DecisionRow:
    """Decide on a case.

    Args:
        session: one that writes.
        case: the case, locked.
        officer: name of the officer who decides.
        new: the decision.
        now: this moment.
        default_listing: how long a listing lasts if the decision does not say.
        two_person: whether a second officer has to confirm a decision that lists the number.
        protected: numbers that no feed may list.
        routing: which feeds the decision reaches.

    Raises:
        Refusal: the state of the case does not allow this decision, or the number is protected.
    """
    state = cases.state_of(case)
    if state not in _ALLOWED_STATES[new.kind]:
        why = "has no evidence yet" if state == cases.INCOMPLETE else f"is {state}"
        raise Refusal("conflict", f"case {case.id} {why}, so `{new.kind}` cannot be decided")
    is_listing = new.kind in _LISTING_KINDS
    if is_listing and case.number in protected:
        raise Refusal("conflict", "the number is protected: no feed may list it")
    if is_listing and not routing.feeds_of(case.number, new.scope):
        raise invalid("body.scope", "no feed takes this number for this scope")
    if new.until is not None and new.until <= now:
        raise invalid("body.until", "must be in the future")
    waiting = session.scalar(
        select(DecisionRow.id).where(DecisionRow.case_id == case.id, DecisionRow.state == "proposed")
    )
    if waiting is not None and new.kind != "retract":
        raise Refusal("conflict", f"decision {waiting} on this case must be confirmed or withdrawn first")
    row = DecisionRow(
        case_id=case.id,
        kind=new.kind,
        reason=new.reason,
        category=new.category or prevailing_category(session, case.id),
        scope="+".join(sorted(set(new.scope))),
        until=(new.until or now + default_listing) if is_listing else None,
        urgent=new.urgent or new.kind == "retract",
        officer=officer,
        decided_at=now,
        state="proposed" if two_person and is_listing else "effective",
    )
    session.add(row)
    session.flush()
    if row.state == "proposed":
        cases.add_event(session, case, now=now, actor=officer, event="proposed", decision=row.id, kind=row.kind)
        if state == cases.RECEIVED:
            start_verification(session, case, officer, now=now)
    else:
        _take_effect(session, case, row, actor=officer, now=now, routing=routing)
    return row


def confirm(
    session: Session,
    case: CaseRow,
    row: DecisionRow,
    officer: str,
    *,
    now: datetime,
    protected: frozenset[int],
    routing: RoutingRules,
) -> None:
    """Confirm a decision as a second officer, which makes it effective.

    Raises:
        Refusal: the decision does not wait for confirmation, is the officer's own, or has expired; or since then the
            number was protected, or the case appealed or closed.
    """
    if row.state != "proposed":
        raise Refusal("conflict", f"decision {row.id} is {row.state}, so it cannot be confirmed")
    state = cases.state_of(case)
    if state not in _ALLOWED_STATES[row.kind]:
        raise Refusal("conflict", f"case {case.id} is {state} now, so `{row.kind}` cannot take effect")
    if row.officer == officer:
        raise Refusal("conflict", "you made this decision: another officer has to confirm it")
    if case.number in protected:
        raise Refusal("conflict", "the number is protected now: no feed may list it")
    if row.until is not None and row.until <= now:
        raise Refusal("conflict", f"decision {row.id} has expired: decide again")
    row.state, row.confirmed_by, row.confirmed_at = "effective", officer, now
    _take_effect(session, case, row, actor=officer, now=now, routing=routing)


def withdraw(session: Session, case: CaseRow, row: DecisionRow, officer: str, *, now: datetime) -> None:
    """Withdraw a decision that waits for confirmation.

    Raises:
        Refusal: the decision is effective or withdrawn already.
    """
    if row.state != "proposed":
        raise Refusal("conflict", f"decision {row.id} is {row.state}, so it cannot be withdrawn")
    row.state = "withdrawn"
    cases.add_event(session, case, now=now, actor=officer, event="withdrawn", decision=row.id)


def retract(
    session: Session, case: CaseRow, officer: str, reason: str, *, now: datetime, routing: RoutingRules
) -> None:
    """Retract a listed case, such as after an appeal; do nothing if it is not listed.

    Args:
        session: one that writes.
        case: the case, locked.
        officer: name of the officer, or `cases.SYSTEM`.
        reason: why.
        now: this moment.
        routing: which feeds decisions reach.
    """
    if cases.state_of(case) not in cases.LISTED:
        return
    row = DecisionRow(
        case_id=case.id,
        kind="retract",
        reason=reason,
        category=prevailing_category(session, case.id),
        scope="data+messaging+sms+voice",
        urgent=True,
        officer=officer,
        decided_at=now,
        state="effective",
    )
    session.add(row)
    session.flush()
    _take_effect(session, case, row, actor=officer, now=now, routing=routing)


def close_expired(session: Session, case: CaseRow, *, now: datetime) -> None:
    """Close a listed case whose listings have all expired."""
    if cases.state_of(case) in cases.LISTED:
        cases.move_case(session, case, cases.RETRACTED, now=now, actor=cases.SYSTEM, event="ended")


def _take_effect(
    session: Session, case: CaseRow, row: DecisionRow, *, actor: str, now: datetime, routing: RoutingRules
) -> None:
    if row.kind == "reject":
        cases.move_case(session, case, cases.REJECTED, now=now, actor=actor, event="rejected", decision=row.id)
    elif row.kind == "retract":
        for proposed in session.scalars(
            select(DecisionRow).where(DecisionRow.case_id == case.id, DecisionRow.state == "proposed")
        ):
            proposed.state = "withdrawn"
            cases.add_event(session, case, now=now, actor=actor, event="withdrawn", decision=proposed.id)
        for listing in _active(session, case):
            listing.retracted_at, listing.waiting = now, True
        cases.move_case(session, case, cases.RETRACTED, now=now, actor=actor, event="retracted", decision=row.id)
    else:
        _update_listings(session, case, row, now=now, routing=routing)
        cases.move_case(
            session, case, cases.DECIDED, now=now, actor=actor, event="decided", decision=row.id, kind=row.kind
        )


def _update_listings(
    session: Session, case: CaseRow, row: DecisionRow, *, now: datetime, routing: RoutingRules
) -> None:
    """Change the case's listings to what a decision says."""
    reached = routing.feeds_of(case.number, row.scope.split("+"))
    active = {listing.feed: listing for listing in _active(session, case)}
    for feed in reached:
        listing = active.pop(feed, None)
        if listing is None:
            listing = ListingRow(case_id=case.id, feed=feed, number=case.number, since=now)
            session.add(listing)
        weakened = _is_weakened(listing, row)
        listing.since = min(listing.since, now)  # in case the clock went back: an end must not come before its start
        listing.level = "block" if row.kind == "block" else "advisory"
        listing.category, listing.scope = row.category, row.scope
        listing.until, listing.urgent, listing.waiting = row.until, row.urgent or weakened, True
    for listing in active.values():
        listing.retracted_at, listing.waiting = now, True


def _is_weakened(listing: ListingRow, row: DecisionRow) -> bool:
    """Whether recipients block more than a decision now allows; that is lifted at once, as a retraction is.

    An earlier end does not count: it is published when it has come.
    """
    if listing.entry is None:  # never published
        return False
    is_due = listing.waiting and listing.urgent  # weakened before, and not published yet
    is_narrower = not set(listing.scope.split("+")) <= set(row.scope.split("+"))
    return is_due or (listing.level == "block" and (row.kind != "block" or is_narrower))


def _active(session: Session, case: CaseRow) -> list[ListingRow]:
    """A case's listings that are not retracted, locked against the publisher, which may be ending one."""
    wanted = select(ListingRow).where(ListingRow.case_id == case.id, ListingRow.retracted_at.is_(None))
    return list(session.scalars(wanted.order_by(ListingRow.id).with_for_update()))
