"""Decisions: what an officer may decide, who confirms it, and how it changes listings."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import NewDecision
from blocklist_sdk.exchange_server.alarms import alarm
from blocklist_sdk.exchange_server.casework import cases, permissions
from blocklist_sdk.exchange_server.casework.accounts import Caller, lock_account
from blocklist_sdk.exchange_server.casework.intake import prevailing_category
from blocklist_sdk.exchange_server.casework.permissions import Tie
from blocklist_sdk.exchange_server.casework.refusals import Refusal, invalid
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.tables import (
    AccountRow,
    AppealRow,
    CaseRow,
    DecisionRow,
    ListingRow,
    ReportRow,
)
from blocklist_sdk.texts import counted

LISTING_KINDS: Final = ("block", "advisory")
_SCOPE: Final = "data+messaging+sms+voice"
_ALLOWED_STATES: Final = {
    "block": (cases.RECEIVED, cases.VERIFYING, *cases.LISTED),
    "advisory": (cases.RECEIVED, cases.VERIFYING, *cases.LISTED),
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
    officer: Caller,
    new: NewDecision,
    *,
    now: datetime,
    settings: ExchangeSettings,
    protected: frozenset[int],
    routing: RoutingRules,
) -> DecisionRow:
    """Decide on a case.

    Args:
        session: one that writes.
        case: the case, locked.
        officer: who decides.
        new: the decision.
        now: this moment.
        settings: the exchange's, for how long a listing lasts and what needs a second officer.
        protected: numbers that no feed may list.
        routing: which feeds the decision reaches.

    Raises:
        Refusal: the state of the case does not allow this decision, the case has changed since the officer looked at
            it, the officer has a part in it, or the number is protected.
    """
    is_listing = new.kind in LISTING_KINDS
    permissions.check_version(case.id, case.events, new.version, required=is_listing)
    state = cases.state_of(case)
    if state not in _ALLOWED_STATES[new.kind]:
        why = "has no evidence yet" if state == cases.INCOMPLETE else f"is {state}"
        raise Refusal("conflict", f"case {case.id} {why}, so `{new.kind}` cannot be decided")
    rule = permissions.DECISION_RULES[new.kind]
    rule.check(ties_of(session, case, officer), two_person=settings.two_person)
    if is_listing and case.number in protected:
        raise Refusal("conflict", "the number is protected: no feed may list it")
    if is_listing and not routing.feeds_of(case.number, new.scope):
        raise invalid("body.scope", "no feed takes this number for this scope")
    if new.until is not None and new.until <= now:
        raise invalid("body.until", "must be in the future")
    if new.kind == "retract":
        return retract_by_officer(session, case, officer, new, now=now, settings=settings, routing=routing)
    waiting = _proposed(session, case)
    if waiting is not None:
        raise Refusal("conflict", f"decision {waiting.id} on this case must be confirmed or withdrawn first")
    row = DecisionRow(
        case_id=case.id,
        kind=new.kind,
        reason=new.reason,
        category=new.category or prevailing_category(session, case.id),
        scope="+".join(sorted(set(new.scope))),
        until=(new.until or now + settings.listing) if is_listing else None,
        urgent=new.urgent,
        officer=officer.name,
        decided_at=now,
        state="proposed" if rule.is_proposed(two_person=settings.two_person) else "effective",
    )
    return _decided(session, case, row, now=now, routing=routing)


def _decided(session: Session, case: CaseRow, row: DecisionRow, *, now: datetime, routing: RoutingRules) -> DecisionRow:
    """Store a decision, which takes effect unless it is only proposed."""
    session.add(row)
    session.flush()
    if row.state == "proposed":
        cases.add_event(session, case, now=now, actor=row.officer, event="proposed", decision=row.id, kind=row.kind)
        if cases.state_of(case) == cases.RECEIVED:
            start_verification(session, case, row.officer, now=now)
    else:
        _take_effect(session, case, row, actor=row.officer, now=now, routing=routing)
    return row


def retract_by_officer(
    session: Session,
    case: CaseRow,
    officer: Caller,
    new: NewDecision,
    *,
    now: datetime,
    settings: ExchangeSettings,
    routing: RoutingRules,
) -> DecisionRow:
    """Retract a listed case. Beyond an officer's bound a day it is proposed, and the alarm rings.

    Raises:
        Refusal: it would only be proposed, and another retraction of the case is proposed already.
    """
    is_alone, is_beyond, recent = True, False, 0
    if settings.two_person:
        recent, latest = _retracted_alone(session, officer, now=now)
        bound = permissions.bound_of(
            recent=recent,
            listed=_numbers_listed(session),
            most=settings.retractions_alone,
            share=settings.retractions_share,
        )
        is_alone = permissions.retracts_alone(recent=recent, bound=bound, latest=latest, now=now)
        is_beyond = recent >= bound
        waiting = _proposed(session, case, kinds=("retract",))
        if not is_alone and waiting is not None:
            raise Refusal(
                "conflict", f"decision {waiting.id} retracts this case already: a second officer has to confirm it"
            )
    row = DecisionRow(
        case_id=case.id,
        kind="retract",
        reason=new.reason,
        category=new.category or prevailing_category(session, case.id),
        scope="+".join(sorted(set(new.scope))),
        urgent=True,
        officer=officer.name,
        decided_at=now,
        state="effective" if is_alone else "proposed",
    )
    made = _decided(session, case, row, now=now, routing=routing)
    if is_beyond:
        minutes = permissions.TRICKLE.seconds // 60
        done = (
            f"case {case.id} was retracted at once, as one number may be every {minutes} minutes"
            if is_alone
            else f"decision {made.id} on case {case.id} waits for a second officer: blocklist case confirm {made.id}"
        )
        alarm(
            "%s has retracted %s alone in a day, and has reached the bound: see whether that is right. Now %s",
            *(officer.name, counted(recent, "number"), done),
        )
    return made


def _retracted_alone(session: Session, officer: Caller, *, now: datetime) -> tuple[int, datetime | None]:
    """How many numbers an officer has retracted alone in the last day, and when the last of them."""
    lock_account(session, officer.id)  # so that requests at one moment do not each see the others missing
    found = session.execute(
        select(func.count(), func.max(DecisionRow.decided_at)).where(
            DecisionRow.officer == officer.name,
            DecisionRow.kind == "retract",
            DecisionRow.state == "effective",
            DecisionRow.confirmed_by.is_(None),
            DecisionRow.decided_at > now - permissions.DAY,
        )
    ).one()
    return found[0], found[1]


def _numbers_listed(session: Session) -> int:
    """How many numbers the exchange lists, on whatever feeds."""
    count = select(func.count(ListingRow.case_id.distinct())).where(ListingRow.retracted_at.is_(None))
    return session.scalar(count) or 0


def confirm(
    session: Session,
    case: CaseRow,
    row: DecisionRow,
    officer: Caller,
    *,
    version: int | None,
    now: datetime,
    protected: frozenset[int],
    routing: RoutingRules,
) -> None:
    """Confirm a decision as a second officer, which makes it effective.

    Args:
        session: one that writes.
        case: the case, locked.
        row: the decision.
        officer: who confirms it.
        version: the version of the case that the officer looked at; None is for retractions only.
        now: this moment.
        protected: numbers that no feed may list.
        routing: which feeds the decision reaches.

    Raises:
        Refusal: the decision does not wait for confirmation, has expired, or is the officer's own; the officer has a
            part in the case; or since then the number was protected, or the case changed or closed.
    """
    if row.state != "proposed":
        raise Refusal("conflict", f"decision {row.id} is {row.state}, so it cannot be confirmed")
    is_listing = row.kind in LISTING_KINDS
    permissions.check_version(case.id, case.events, version, required=is_listing)
    state = cases.state_of(case)
    if state not in _ALLOWED_STATES[row.kind]:
        raise Refusal("conflict", f"case {case.id} is {state} now, so `{row.kind}` cannot take effect")
    ties = ties_of(session, case, officer) | ({Tie.PROPOSED} if row.officer == officer.name else set())
    # Whatever the setting is now: what was proposed under it needs two.
    permissions.CONFIRMATION_RULES[row.kind].check(ties, two_person=True)
    if is_listing and _has_reported(session, case, row.officer):
        raise Refusal(
            "conflict", f"{row.officer} has reported the number since then: withdraw decision {row.id}, propose anew"
        )
    if is_listing and case.number in protected:
        raise Refusal("conflict", "the number is protected now: no feed may list it")
    if row.until is not None and row.until <= now:
        raise Refusal("conflict", f"decision {row.id} has expired: decide again")
    row.state, row.confirmed_by, row.confirmed_at = "effective", officer.name, now
    _take_effect(session, case, row, actor=officer.name, now=now, routing=routing)


def withdraw(session: Session, case: CaseRow, row: DecisionRow, officer: str, *, now: datetime) -> None:
    """Withdraw a decision that waits for confirmation.

    Raises:
        Refusal: the decision is effective or withdrawn already.
    """
    if row.state != "proposed":
        raise Refusal("conflict", f"decision {row.id} is {row.state}, so it cannot be withdrawn")
    row.state = "withdrawn"
    cases.add_event(session, case, now=now, actor=officer, event="withdrawn", decision=row.id)


def ties_of(session: Session, case: CaseRow, officer: Caller) -> set[Tie]:
    """What an account has to do with a case already."""
    ties = set[Tie]()
    reported = select(ReportRow.id).where(ReportRow.case_id == case.id, ReportRow.account_id == officer.id)
    appealed = select(AppealRow.id).where(AppealRow.case_id == case.id, AppealRow.account_id == officer.id)
    for tie, found in ((Tie.REPORTED, reported), (Tie.APPEALED, appealed)):
        if session.scalar(found.limit(1)) is not None:
            ties.add(tie)
    decided = decision_in_force(session, case)
    if decided is not None and officer.name in (decided.officer, decided.confirmed_by):
        ties.add(Tie.DECIDED)
    return ties


def _has_reported(session: Session, case: CaseRow, account: str) -> bool:
    """Whether an account has reported the number of a case."""
    reported = select(ReportRow.id).join(AccountRow, AccountRow.id == ReportRow.account_id)
    return session.scalar(reported.where(ReportRow.case_id == case.id, AccountRow.name == account).limit(1)) is not None


def decision_in_force(session: Session, case: CaseRow) -> DecisionRow | None:
    """The decision by which a case is listed; None if it never was."""
    return session.scalar(
        select(DecisionRow)
        .where(DecisionRow.case_id == case.id, DecisionRow.state == "effective", DecisionRow.kind.in_(LISTING_KINDS))
        .order_by(DecisionRow.id.desc())
        .limit(1)
    )


def _proposed(
    session: Session, case: CaseRow, *, kinds: tuple[str, ...] = (*LISTING_KINDS, "retract")
) -> DecisionRow | None:
    """A decision on a case that waits for a second officer."""
    return session.scalar(
        select(DecisionRow)
        .where(DecisionRow.case_id == case.id, DecisionRow.state == "proposed", DecisionRow.kind.in_(kinds))
        .order_by(DecisionRow.id)
        .limit(1)
    )


def proposed_retractions(session: Session, case_ids: Collection[int]) -> dict[int, int]:
    """The IDs of retractions that wait for a second officer, by the case's ID; cases without one are missing."""
    found: dict[int, int] = {}
    for some in cases.in_batches(sorted(case_ids)):
        waiting = (
            select(DecisionRow.case_id, DecisionRow.id)
            .where(DecisionRow.case_id.in_(some), DecisionRow.state == "proposed", DecisionRow.kind == "retract")
            .order_by(DecisionRow.id.desc())
        )
        found |= {row.case_id: row.id for row in session.execute(waiting)}
    return found


def retract(
    session: Session,
    case: CaseRow,
    reason: str,
    *,
    now: datetime,
    routing: RoutingRules,
    confirmed_by: str | None = None,
) -> bool:
    """Retract a listed case as the exchange, such as on a receipt; do nothing if it is not listed.

    Args:
        session: one that writes.
        case: the case, locked.
        reason: why.
        now: this moment.
        routing: which feeds decisions reach.
        confirmed_by: the officer who confirmed it; None if nobody had to.

    Returns:
        Whether it was listed.
    """
    if cases.state_of(case) not in cases.LISTED:
        return False
    row = DecisionRow(
        case_id=case.id,
        kind="retract",
        reason=reason,
        category=prevailing_category(session, case.id),
        scope=_SCOPE,
        urgent=True,
        officer=cases.SYSTEM,
        decided_at=now,
        state="effective",
        confirmed_by=confirmed_by,
        confirmed_at=now if confirmed_by else None,
    )
    _decided(session, case, row, now=now, routing=routing)
    return True


def close_expired(session: Session, case: CaseRow, *, now: datetime) -> None:
    """Close a listed case whose listings have all expired."""
    if cases.state_of(case) in cases.LISTED:
        _withdraw_proposed(session, case, cases.SYSTEM, now=now)
        cases.move_case(session, case, cases.RETRACTED, now=now, actor=cases.SYSTEM, event="ended")


def _withdraw_proposed(session: Session, case: CaseRow, actor: str, *, now: datetime) -> None:
    """Withdraw what waits for a second officer: the case is closed."""
    for proposed in session.scalars(
        select(DecisionRow).where(DecisionRow.case_id == case.id, DecisionRow.state == "proposed")
    ):
        proposed.state = "withdrawn"
        cases.add_event(session, case, now=now, actor=actor, event="withdrawn", decision=proposed.id)


def _take_effect(
    session: Session, case: CaseRow, row: DecisionRow, *, actor: str, now: datetime, routing: RoutingRules
) -> None:
    if row.kind == "reject":
        cases.move_case(session, case, cases.REJECTED, now=now, actor=actor, event="rejected", decision=row.id)
    elif row.kind == "retract":
        _withdraw_proposed(session, case, actor, now=now)
        for listing in _active(session, case):
            listing.retracted_at, listing.waiting = now, True
        cases.move_case(session, case, cases.RETRACTED, now=now, actor=actor, event="retracted", decision=row.id)
    else:
        _update_listings(session, case, row, now=now, routing=routing)
        about: dict[str, cases.Detail] = {"decision": row.id, "kind": row.kind}
        if cases.state_of(case) == cases.APPEALED:  # until its appeals are answered
            cases.add_event(session, case, now=now, actor=actor, event="decided", **about)
        else:
            cases.move_case(session, case, cases.DECIDED, now=now, actor=actor, event="decided", **about)


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
