"""Appeals: who is listed wrongly asks for a retraction, and learns who has lifted the block."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import AppealState, Lifted, NewAppeal
from blocklist_sdk.exchange.server import cases
from blocklist_sdk.exchange.server.accounts import Caller, recipient_ids, recipients_of
from blocklist_sdk.exchange.server.decisions import retract
from blocklist_sdk.exchange.server.intake import read_number
from blocklist_sdk.exchange.server.problems import Refusal
from blocklist_sdk.exchange.server.routing import Routing
from blocklist_sdk.exchange.server.tables import AccountRow, AppealRow, CaseRow, ListingRow, ReceiptRow

_NEVER_BLOCKED: Final = ("not-ours", "recycled", "refused")

_OPEN_MAX: Final = 10
"""Appeals of one account that may be open on one case: an officer has to answer each before the case can go on."""


def appeal(session: Session, caller: Caller, new: NewAppeal, *, region: str, at: datetime) -> AppealRow:
    """Take an appeal against what is listed, or about to be.

    Raises:
        Refusal: the number is none, or is not listed, or the account has too many open appeals on it.
    """
    if new.number is not None:
        wanted = select(CaseRow.id).where(
            CaseRow.number == read_number(new.number, region=region), CaseRow.state.in_(cases.LISTED)
        )
        what = "the number is not listed"
    else:
        wanted = select(ListingRow.case_id).where(ListingRow.feed == new.feed, ListingRow.entry == new.entry)
        what = "there is no such entry"
    case_id = session.scalar(wanted)
    case = cases.locked(session, case_id) if case_id is not None else None
    if case is None or cases.state_of(case) not in cases.LISTED:
        raise Refusal("conflict", f"{what}: there is nothing to appeal against")
    if _open(session, case, account=caller.id) >= _OPEN_MAX:
        raise Refusal("conflict", f"{_OPEN_MAX} appeals of this account on that number wait for their answer already")
    row = AppealRow(
        case_id=case.id,
        account_id=caller.id,
        state="open",
        grounds=new.grounds,
        appellant=new.appellant,
        received_at=at,
    )
    session.add(row)
    session.flush()
    if cases.state_of(case) == cases.APPEALED:
        cases.note(session, case, at=at, actor=caller.name, event="appealed", appeal=row.id)
    else:
        cases.move(session, case, cases.APPEALED, at=at, actor=caller.name, event="appealed", appeal=row.id)
    return row


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
