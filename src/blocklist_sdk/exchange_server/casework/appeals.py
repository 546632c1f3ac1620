"""Appeals: who is listed wrongly asks for a retraction, and learns who has lifted the block."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import AppealState, Lifted, NewAppeal
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import Caller, recipient_ids, recipients_of
from blocklist_sdk.exchange_server.casework.decisions import retract
from blocklist_sdk.exchange_server.casework.distribution import Routing
from blocklist_sdk.exchange_server.casework.intake import read_number
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.tables import AccountRow, AppealRow, CaseRow, ListingRow, ReceiptRow

_NEVER_BLOCKED: Final = ("not-ours", "recycled", "refused")

_OPEN_MAX: Final = 10
"""Appeals of one account that may be open on one case: an officer has to answer each before the case can go on."""


def appeal(session: Session, caller: Caller, new: NewAppeal, *, region: str, at: datetime) -> AppealRow:
    """Take an appeal against what is listed, or about to be.

    By entry only from who may read the feed: the answer names the number, and with it anybody else could walk the list.

    Raises:
        Refusal: the number is none, or is not listed, or the feed is not open to the account, or it has too many open
            appeals on the number.
    """
    if new.number is not None:
        wanted = select(CaseRow.id).where(
            CaseRow.number == read_number(new.number, region=region), CaseRow.state.in_(cases.LISTED)
        )
        what = "the number is not listed"
    else:
        if new.feed is None or not caller.reads(new.feed):
            raise Refusal("forbidden", f"the token does not have the scope feed:{new.feed}: appeal by number")
        wanted = select(ListingRow.case_id).where(ListingRow.feed == new.feed, ListingRow.entry == new.entry)
        what = "there is no such entry"
    case_id = session.scalar(wanted)
    case = cases.locked(session, case_id) if case_id is not None else None
    if case is None or cases.state_of(case) not in cases.LISTED:
        raise Refusal("conflict", f"{what}: there is nothing to appeal against")
    if _open(session, case, account=caller.id) >= _OPEN_MAX:
        raise Refusal("conflict", f"{_OPEN_MAX} appeals of this account on that number wait for their answer already")
    row = AppealRow(account_id=caller.id, grounds=new.grounds, appellant=new.appellant)
    _begin(session, case, row, caller.name, at=at)
    return row


def appeal_by_itself(session: Session, caller: Caller, case: CaseRow, grounds: str, *, at: datetime) -> None:
    """Open an appeal that follows from a receipt; none where such a one is open, or the case is not listed.

    Args:
        session: one that writes.
        caller: the recipient whose receipt it was.
        case: `locked`.
        grounds: what the receipt says, for the officer.
        at: now.
    """
    waiting = select(AppealRow.id).where(AppealRow.case_id == case.id, AppealRow.state == "open", AppealRow.by_itself)
    if cases.state_of(case) in cases.LISTED and session.scalar(waiting) is None:
        row = AppealRow(account_id=caller.id, grounds=grounds, appellant=caller.name, by_itself=True)
        _begin(session, case, row, cases.SYSTEM, at=at)


def _begin(session: Session, case: CaseRow, row: AppealRow, actor: str, *, at: datetime) -> None:
    row.case_id, row.state, row.received_at = case.id, "open", at
    session.add(row)
    session.flush()
    if cases.state_of(case) == cases.APPEALED:
        cases.note(session, case, at=at, actor=actor, event="appealed", appeal=row.id)
    else:
        cases.move(session, case, cases.APPEALED, at=at, actor=actor, event="appealed", appeal=row.id)


def answer(
    session: Session,
    case: CaseRow,
    row: AppealRow,
    officer: str,
    *,
    grant: bool,
    reason: str,
    at: datetime,
    routing: Routing,
) -> None:
    """Grant an appeal, which retracts, or dismiss it. A case goes back to where it stood once none is open.

    Raises:
        Refusal: it has been answered.
    """
    if row.state != "open":
        raise Refusal("conflict", f"appeal {row.id} has been answered: {row.state}")
    _close(session, case, row, officer, "granted" if grant else "dismissed", reason, at=at)
    if grant:
        retract(session, case, officer, reason, at=at, routing=routing)
        grant_all(session, case, officer, reason, at=at)
    elif cases.state_of(case) == cases.APPEALED and not _open(session, case):
        recipients = recipient_ids(session)
        back = cases.listed_state(session, case, recipients)
        cases.move(session, case, back, at=at, actor=officer, event="upheld", appeal=row.id)


def grant_all(session: Session, case: CaseRow, officer: str, reason: str, *, at: datetime) -> None:
    """Answer every open appeal of a case that has been retracted."""
    for row in session.scalars(select(AppealRow).where(AppealRow.case_id == case.id, AppealRow.state == "open")):
        _close(session, case, row, officer, "granted", reason, at=at)


def _close(
    session: Session, case: CaseRow, row: AppealRow, officer: str, state: AppealState, reason: str, *, at: datetime
) -> None:
    row.state, row.reason, row.answered_by, row.answered_at = state, reason, officer, at
    cases.note(session, case, at=at, actor=officer, event=state, appeal=row.id)
    session.flush()


def _open(session: Session, case: CaseRow, *, account: int | None = None) -> int:
    """How many appeals of a case are open, of one account or of all."""
    count = select(func.count()).select_from(AppealRow).where(AppealRow.case_id == case.id, AppealRow.state == "open")
    return session.scalar(count if account is None else count.where(AppealRow.account_id == account)) or 0


def lifted(session: Session, case_id: int) -> list[Lifted]:
    """Every recipient that could have blocked a case's number, and whether it says that it does not any more."""
    listings = session.scalars(
        select(ListingRow)
        .where(ListingRow.case_id == case_id, ListingRow.listed_at.is_not(None), ListingRow.retracted_at.is_not(None))
        .order_by(ListingRow.feed, ListingRow.id)
    ).all()
    recipients = recipients_of(session)
    proofs: dict[tuple[int, str], ReceiptRow] = {}
    found = session.execute(
        select(ReceiptRow, AccountRow.name)
        .join(AccountRow, AccountRow.id == ReceiptRow.account_id)
        .join(ListingRow, ListingRow.id == ReceiptRow.listing_id)
        .where(
            ReceiptRow.listing_id.in_([row.id for row in listings]),
            or_(
                ReceiptRow.outcome.in_(_NEVER_BLOCKED),
                ReceiptRow.outcome.in_(cases.LIFTING_OUTCOMES) & (ReceiptRow.serial >= ListingRow.lifted_serial),
            ),
        )
        .order_by(ReceiptRow.id)
    )
    for receipt, name in found:
        proofs.setdefault((receipt.listing_id, name), receipt)
    answer = []
    for row in listings:
        assert row.entry is not None
        names = {account.name for account in recipients.get(row.feed, ())}
        names |= {name for listing, name in proofs if listing == row.id}
        for name in sorted(names):
            proof = proofs.get((row.id, name))
            answer.append(
                Lifted(
                    recipient=name,
                    feed=row.feed,
                    entry=row.entry,
                    lifted_at=proof.at if proof else None,
                    receipt=proof.id if proof else None,
                )
            )
    return answer
