"""Appeals: requests for a retraction, and the proof of who has lifted the block."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import AppealState, Lifted, NewAnswer, NewAppeal, NewDecision
from blocklist_sdk.exchange_server.alarms import alarm
from blocklist_sdk.exchange_server.casework import cases, permissions, visibility
from blocklist_sdk.exchange_server.casework.accounts import Caller, recipient_ids, recipients_of
from blocklist_sdk.exchange_server.casework.decisions import decision_in_force, retract_by_officer, ties_of
from blocklist_sdk.exchange_server.casework.intake import read_number
from blocklist_sdk.exchange_server.casework.permissions import Tie
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.tables import (
    AccountRow,
    AppealRow,
    CaseRow,
    DecisionRow,
    ListingRow,
    ReceiptRow,
)
from blocklist_sdk.texts import counted

_NEVER_BLOCKED: Final = ("not-ours", "recycled", "refused")

_CLOSED_AT_A_TIME: Final = 1000

_AGAIN: Final = timedelta(days=60)
"""After so long an account whose appeal was dismissed may appeal against the same decision again: a number that went
back to its operator may belong to somebody else by then."""


def open_appeal(
    session: Session, caller: Caller, new: NewAppeal, *, settings: ExchangeSettings, now: datetime
) -> AppealRow:
    """Open an appeal against a number, or against an entry of a feed.

    One against a number is opened whether or not the number is listed, so that its answer does not show which it is. If
    the number is neither listed nor about to be, no officer sees the appeal, and it closes by itself. One against an
    entry is for accounts that may read the feed: its response has the number, so others could read the list with it.

    An account has one open appeal on a case, and one against a decision: who sends appeals again and again vetoes
    nothing. Other accounts may appeal, and so may this one when officers have decided anew.

    Raises:
        Refusal: the number is not valid; the account may not read the feed, or it does not list the entry; the account
            has appealed against the same, or has too many open appeals.
    """
    if new.number is not None:
        number = read_number(new.number, region=settings.region)
        wanted = select(CaseRow.id).where(CaseRow.number == number, CaseRow.state.in_(cases.LISTED))
    else:
        number = None
        if new.feed is None or not caller.reads(new.feed):
            raise Refusal("forbidden", f"the token does not have the scope feed:{new.feed}: appeal by number")
        wanted = select(ListingRow.case_id).where(ListingRow.feed == new.feed, ListingRow.entry == new.entry)
    case_id = session.scalar(wanted)
    case = cases.lock_case(session, case_id) if case_id is not None else None
    if case is not None and cases.state_of(case) not in cases.LISTED:
        case = None
    if case is None and number is None:
        raise Refusal("conflict", "the feed does not have this entry, so there is nothing to appeal against")
    seen_open = _seen_as_open(session, caller, number, case, now=now)
    if seen_open is not None:
        raise Refusal("conflict", f"appeal {seen_open} of this account is open: add what is new as evidence to it")
    dismissed = None if case is None else _dismissed_appeal(session, caller, case, now=now)
    if dismissed is not None:
        raise Refusal(
            "conflict",
            f"appeal {dismissed} of this account against the same decision was dismissed: another account may appeal, "
            f"or this one {_AGAIN.days} days after the answer",
        )
    if _open_appeals_of(session, caller, now=now) >= settings.open_appeals:
        many = counted(settings.open_appeals, "open appeal")
        raise Refusal("conflict", f"this account has {many}: wait for the answers")
    row = AppealRow(account_id=caller.id, number=number, grounds=new.grounds, appellant=new.appellant)
    if case is None:
        row.state, row.received_at = "open", now
        session.add(row)
        session.flush()
    else:
        _begin(session, case, row, caller.name, now=now)
    return row


def _seen_as_open(
    session: Session, caller: Caller, number: int | None, case: CaseRow | None, *, now: datetime
) -> int | None:
    """The appeal of an account against the same that it sees as open: so the answer is the same for every number."""
    # Never `case_id IS NULL`: one open appeal against nothing would then tell which numbers are decided on.
    same = [] if number is None else [AppealRow.number == number]
    if case is not None:
        same.append(AppealRow.case_id == case.id)
    mine = select(AppealRow.id).where(AppealRow.account_id == caller.id, or_(*same), visibility.is_seen_as("open", now))
    return session.scalar(mine.order_by(AppealRow.id).limit(1))


def _dismissed_appeal(session: Session, caller: Caller, case: CaseRow, *, now: datetime) -> int | None:
    """The appeal of an account against the decision in force that was dismissed a short while ago."""
    decided = decision_in_force(session, case)
    return session.scalar(
        select(AppealRow.id)
        .where(
            AppealRow.case_id == case.id,
            AppealRow.account_id == caller.id,
            AppealRow.decision_id == (None if decided is None else decided.id),
            AppealRow.state == "dismissed",
            AppealRow.answered_at > now - _AGAIN,
            # Of a case that was not published yet, the account does not know that it was.
            visibility.is_seen_as("dismissed", now),
        )
        .order_by(AppealRow.id.desc())
        .limit(1)
    )


def close_groundless(session: Session, *, now: datetime) -> None:
    """Close the appeals by number against nothing whose time is over; their accounts see them closed already."""
    wanted = select(AppealRow).where(
        AppealRow.case_id.is_(None),
        AppealRow.state == "open",
        AppealRow.received_at <= now - visibility.CLOSES_AFTER,
    )
    for row in session.scalars(wanted.order_by(AppealRow.id).limit(_CLOSED_AT_A_TIME)):
        row.state, row.reason = "dismissed", visibility.NOTHING_PUBLISHED
        row.answered_by, row.answered_at = cases.SYSTEM, row.received_at + visibility.CLOSES_AFTER


def open_automatic_appeal(
    session: Session, caller: Caller, case: CaseRow, grounds: str, *, settings: ExchangeSettings, now: datetime
) -> None:
    """Open an appeal because of a receipt, unless the case is not listed, or the recipient has appealed already.

    Args:
        session: one that writes.
        caller: the recipient that sent the receipt.
        case: the case, locked.
        grounds: what the receipt says, for the officer.
        settings: the exchange's.
        now: this moment.
    """
    waiting = select(AppealRow.id).where(AppealRow.case_id == case.id, AppealRow.state == "open", AppealRow.by_itself)
    if cases.state_of(case) not in cases.LISTED or session.scalar(waiting) is not None:
        return
    if _seen_as_open(session, caller, None, case, now=now) or _dismissed_appeal(session, caller, case, now=now):
        return
    if _open_appeals_of(session, caller, now=now) >= settings.open_appeals:
        alarm(
            "%s has %s, so its receipt `recycled` on case %d opened none: answer them, and look at it",
            *(caller.name, counted(settings.open_appeals, "open appeal"), case.id),
        )
        return
    row = AppealRow(account_id=caller.id, grounds=grounds, appellant=caller.name, by_itself=True)
    _begin(session, case, row, cases.SYSTEM, now=now)


def _begin(session: Session, case: CaseRow, row: AppealRow, actor: str, *, now: datetime) -> None:
    row.case_id, row.state, row.received_at = case.id, "open", now
    decided = decision_in_force(session, case)
    row.decision_id = None if decided is None else decided.id
    session.add(row)
    session.flush()
    if cases.state_of(case) == cases.APPEALED:
        cases.add_event(session, case, now=now, actor=actor, event="appealed", appeal=row.id)
    else:
        cases.move_case(session, case, cases.APPEALED, now=now, actor=actor, event="appealed", appeal=row.id)


def answer_appeal(
    session: Session,
    case: CaseRow,
    row: AppealRow,
    officer: Caller,
    new: NewAnswer,
    *,
    now: datetime,
    settings: ExchangeSettings,
    routing: RoutingRules,
) -> None:
    """Grant an appeal, which retracts the case, or dismiss it; after the last one the case gets its earlier state back.

    Beyond an officer's bound of retractions a day the appeal stays open, and its retraction waits for a second officer.

    Raises:
        Refusal: the appeal has been answered already, the case has changed since the officer looked at it, or the
            officer has a part in it.
    """
    if row.state != "open":
        raise Refusal("conflict", f"appeal {row.id} has been {row.state} already")
    permissions.check_version(case.id, case.events, new.version, required=not new.grant)
    rule = permissions.GRANT if new.grant else permissions.DISMISS
    rule.check(_ties(session, case, row, officer), two_person=settings.two_person)
    if new.grant:
        decision = NewDecision(kind="retract", reason=new.reason)
        made = retract_by_officer(session, case, officer, decision, now=now, settings=settings, routing=routing)
        if made.state == "effective":
            _close(session, case, row, officer.name, "granted", new.reason, now=now)
            grant_open_appeals(session, case, officer, new.reason, now=now)
        return
    _close(session, case, row, officer.name, "dismissed", new.reason, now=now)
    if cases.state_of(case) == cases.APPEALED and not _open_count(session, case):
        recipients = recipient_ids(session)
        back = cases.listed_state(session, case, recipients)
        cases.move_case(session, case, back, now=now, actor=officer.name, event="upheld", appeal=row.id)


def _ties(session: Session, case: CaseRow, row: AppealRow, officer: Caller) -> set[Tie]:
    """What an officer has to do with an appeal: with the case, and with the decision that it is against."""
    ties = ties_of(session, case, officer)
    if row.account_id == officer.id:
        ties.add(Tie.APPELLANT)
    against = None if row.decision_id is None else session.get(DecisionRow, row.decision_id)
    if against is not None and officer.name in (against.officer, against.confirmed_by):
        ties.add(Tie.DECIDED)
    return ties


def grant_open_appeals(session: Session, case: CaseRow, officer: Caller | None, reason: str, *, now: datetime) -> None:
    """Grant every open appeal of a case that was retracted.

    Args:
        session: one that writes.
        case: the case, locked.
        officer: who retracted it; None for the exchange, which also grants those that the officer's own account sent.
        reason: why.
        now: this moment.
    """
    for row in session.scalars(select(AppealRow).where(AppealRow.case_id == case.id, AppealRow.state == "open")):
        actor = cases.SYSTEM if officer is None or row.account_id == officer.id else officer.name
        _close(session, case, row, actor, "granted", reason, now=now)


def _close(
    session: Session, case: CaseRow, row: AppealRow, officer: str, state: AppealState, reason: str, *, now: datetime
) -> None:
    row.state, row.reason, row.answered_by, row.answered_at = state, reason, officer, now
    cases.add_event(session, case, now=now, actor=officer, event=state, appeal=row.id)
    session.flush()


def _open_count(session: Session, case: CaseRow) -> int:
    """Number of open appeals on a case."""
    count = select(func.count()).select_from(AppealRow).where(AppealRow.case_id == case.id, AppealRow.state == "open")
    return session.scalar(count) or 0


def _open_appeals_of(session: Session, caller: Caller, *, now: datetime) -> int:
    """Number of appeals that an account sees as open."""
    count = select(func.count()).select_from(AppealRow)
    mine = AppealRow.account_id == caller.id
    return session.scalar(count.where(mine, visibility.is_seen_as("open", now))) or 0


def lifted(session: Session, case_ids: Collection[int]) -> dict[int, list[Lifted]]:
    """For each case, each recipient that may have blocked its number, and when its receipt says it lifted the block."""
    result: dict[int, list[Lifted]] = {case_id: [] for case_id in case_ids}
    recipients = recipients_of(session) if case_ids else {}
    for some in cases.in_batches(sorted(case_ids)):
        _add_lifted(session, some, recipients, result)
    return result


def _add_lifted(
    session: Session,
    case_ids: Sequence[int],
    recipients: Mapping[str, Sequence[AccountRow]],
    result: dict[int, list[Lifted]],
) -> None:
    chosen = (
        ListingRow.case_id.in_(case_ids),
        ListingRow.listed_at.is_not(None),
        ListingRow.retracted_at.is_not(None),
    )
    listings = session.scalars(select(ListingRow).where(*chosen).order_by(ListingRow.feed, ListingRow.id)).all()
    proofs: dict[int, dict[str, ReceiptRow]] = {}
    found = session.execute(
        select(ReceiptRow, AccountRow.name)
        .join(AccountRow, AccountRow.id == ReceiptRow.account_id)
        .join(ListingRow, ListingRow.id == ReceiptRow.listing_id)
        .where(
            *chosen,
            or_(
                ReceiptRow.outcome.in_(_NEVER_BLOCKED),
                ReceiptRow.outcome.in_(cases.LIFTING_OUTCOMES) & (ReceiptRow.serial >= ListingRow.lifted_serial),
            ),
        )
        .order_by(ReceiptRow.id)
    )
    for receipt, name in found:
        proofs.setdefault(receipt.listing_id, {}).setdefault(name, receipt)
    for row in listings:
        assert row.entry is not None
        of_listing = proofs.get(row.id, {})
        for name in sorted({account.name for account in recipients.get(row.feed, ())} | set(of_listing)):
            proof = of_listing.get(name)
            result[row.case_id].append(
                Lifted(
                    recipient=name,
                    feed=row.feed,
                    entry=row.entry,
                    lifted_at=proof.at if proof else None,
                    receipt=proof.id if proof else None,
                )
            )
