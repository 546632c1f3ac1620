"""Appeals: requests for a retraction, and the proof of who has lifted the block."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import AppealState, Lifted, NewAppeal
from blocklist_sdk.exchange_server.casework import cases, visibility
from blocklist_sdk.exchange_server.casework.accounts import Caller, recipient_ids, recipients_of
from blocklist_sdk.exchange_server.casework.decisions import retract
from blocklist_sdk.exchange_server.casework.intake import read_number
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.store.tables import AccountRow, AppealRow, CaseRow, ListingRow, ReceiptRow

_NEVER_BLOCKED: Final = ("not-ours", "recycled", "refused")

_CLOSED_AT_A_TIME: Final = 1000

_OPEN_MAX: Final = 10
"""Most open appeals of one account on one case: an officer has to answer each of them."""


def open_appeal(session: Session, caller: Caller, new: NewAppeal, *, region: str, now: datetime) -> AppealRow:
    """Open an appeal against a number, or against an entry of a feed.

    One against a number is opened whether or not the number is listed, so that its answer does not show which it is. If
    the number is neither listed nor about to be, no officer sees the appeal, and it closes by itself. One against an
    entry is for accounts that may read the feed: its response has the number, so others could read the list with it.

    Raises:
        Refusal: the number is not valid, the account may not read the feed, the feed does not list the entry, or the
            account has too many open appeals against the same.
    """
    if new.number is not None:
        number = read_number(new.number, region=region)
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
    if _seen_open_count(session, caller.id, number, case, now) >= _OPEN_MAX:
        raise Refusal("conflict", f"this account has {_OPEN_MAX} open appeals on that number: wait for their answers")
    row = AppealRow(account_id=caller.id, number=number, grounds=new.grounds, appellant=new.appellant)
    if case is None:
        row.state, row.received_at = "open", now
        session.add(row)
        session.flush()
    else:
        _begin(session, case, row, caller.name, now=now)
    return row


def _seen_open_count(session: Session, account: int, number: int | None, case: CaseRow | None, now: datetime) -> int:
    """Number of appeals that an account sees as open against the same: the count, too, is the same for every number."""
    count = select(func.count()).select_from(AppealRow).where(AppealRow.account_id == account)
    same = AppealRow.number == number if number is not None else AppealRow.case_id == (case.id if case else None)
    return session.scalar(count.where(same, visibility.is_seen_as("open", now))) or 0


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


def open_automatic_appeal(session: Session, caller: Caller, case: CaseRow, grounds: str, *, now: datetime) -> None:
    """Open an appeal because of a receipt, unless there is one already or the case is not listed.

    Args:
        session: one that writes.
        caller: the recipient that sent the receipt.
        case: the case, locked.
        grounds: what the receipt says, for the officer.
        now: this moment.
    """
    waiting = select(AppealRow.id).where(AppealRow.case_id == case.id, AppealRow.state == "open", AppealRow.by_itself)
    if cases.state_of(case) in cases.LISTED and session.scalar(waiting) is None:
        row = AppealRow(account_id=caller.id, grounds=grounds, appellant=caller.name, by_itself=True)
        _begin(session, case, row, cases.SYSTEM, now=now)


def _begin(session: Session, case: CaseRow, row: AppealRow, actor: str, *, now: datetime) -> None:
    row.case_id, row.state, row.received_at = case.id, "open", now
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
    officer: str,
    *,
    grant: bool,
    reason: str,
    now: datetime,
    routing: RoutingRules,
) -> None:
    """Grant an appeal, which retracts the case, or dismiss it; after the last one the case gets its earlier state back.

    Raises:
        Refusal: the appeal has been answered already.
    """
    if row.state != "open":
        raise Refusal("conflict", f"appeal {row.id} has been {row.state} already")
    _close(session, case, row, officer, "granted" if grant else "dismissed", reason, now=now)
    if grant:
        retract(session, case, officer, reason, now=now, routing=routing)
        grant_open_appeals(session, case, officer, reason, now=now)
    elif cases.state_of(case) == cases.APPEALED and not _open_count(session, case):
        recipients = recipient_ids(session)
        back = cases.listed_state(session, case, recipients)
        cases.move_case(session, case, back, now=now, actor=officer, event="upheld", appeal=row.id)


def grant_open_appeals(session: Session, case: CaseRow, officer: str, reason: str, *, now: datetime) -> None:
    """Grant every open appeal of a case that was retracted."""
    for row in session.scalars(select(AppealRow).where(AppealRow.case_id == case.id, AppealRow.state == "open")):
        _close(session, case, row, officer, "granted", reason, now=now)


def _close(
    session: Session, case: CaseRow, row: AppealRow, officer: str, state: AppealState, reason: str, *, now: datetime
) -> None:
    row.state, row.reason, row.answered_by, row.answered_at = state, reason, officer, now
    cases.add_event(session, case, now=now, actor=officer, event=state, appeal=row.id)
    session.flush()


def _open_count(session: Session, case: CaseRow, *, account: int | None = None) -> int:
    """Number of open appeals on a case, of one account or of all."""
    count = select(func.count()).select_from(AppealRow).where(AppealRow.case_id == case.id, AppealRow.state == "open")
    return session.scalar(count if account is None else count.where(AppealRow.account_id == account)) or 0


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
