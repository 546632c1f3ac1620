"""Receipts: what recipients did with entries, taken in batches and answered one by one."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import NewReceipt, ReceiptItem
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import Caller, recipient_ids
from blocklist_sdk.exchange_server.casework.appeals import appeal_by_itself, grant_all
from blocklist_sdk.exchange_server.casework.decisions import retract
from blocklist_sdk.exchange_server.casework.distribution import Routing
from blocklist_sdk.exchange_server.casework.intake import CLOCK_SKEW
from blocklist_sdk.exchange_server.store.database import add_all
from blocklist_sdk.exchange_server.store.tables import FeedRow, ListingRow, ReceiptRow


class _Listing(NamedTuple):
    """What has to be known of a listing: thousands of whole rows take their time."""

    id: int
    case_id: int
    listed_serial: int | None
    since: datetime


_COLUMNS = (
    ListingRow.feed,
    ListingRow.entry,
    ListingRow.id,
    ListingRow.case_id,
    ListingRow.listed_serial,
    ListingRow.since,
)
_KEYS = (ReceiptRow.listing_id, ReceiptRow.serial, ReceiptRow.outcome)


def take(
    session: Session, caller: Caller, batch: Sequence[NewReceipt], *, at: datetime, routing: Routing
) -> list[ReceiptItem]:
    """Take a batch; the answer says of each receipt what became of it.

    The same outcome of the same entry and release counts once, however often it is sent. A `recycled` number is
    retracted by that alone where its home operator says so; from anybody else it is an appeal.
    """
    own = caller.feeds
    listings = _listings(session, {(new.feed, new.entry) for new in batch if new.feed in own})
    cases_of = cases.locked_many(session, {row.case_id for row in listings.values()})
    serials = dict(session.execute(select(FeedRow.name, FeedRow.begun)).all())
    recipients = recipient_ids(session)
    known = _known(session, caller, [row.id for row in listings.values()])
    items: list[ReceiptItem] = []
    fresh: list[dict[str, object]] = []
    recycled: dict[int, NewReceipt] = {}
    for index, new in enumerate(batch):
        row = listings.get((new.feed, new.entry))
        reason = _why_not(new, row, serials.get(new.feed), at, is_own=new.feed in own)
        if reason is not None or row is None:
            items.append(ReceiptItem(index=index, status="refused", reason=reason))
            continue
        key = (row.id, new.serial, new.outcome)
        items.append(ReceiptItem(index=index, status="repeated" if key in known else "accepted"))
        if key in known:
            continue
        known.add(key)
        fresh.append(
            {
                "account_id": caller.id,
                "listing_id": row.id,
                "serial": new.serial,
                "outcome": new.outcome,
                "at": new.at,
                "detail": new.detail,
                "received_at": at,
            }
        )
        case = cases_of[row.case_id]
        cases.note(
            session,
            case,
            at=at,
            actor=caller.name,
            event="receipt",
            feed=new.feed,
            entry=new.entry,
            serial=new.serial,
            outcome=new.outcome,
        )
        if new.outcome == "recycled" and (case.id not in recycled or routing.is_home(new.feed, case.number)):
            recycled[case.id] = new
    add_all(session, ReceiptRow, fresh)
    for case_id, new in recycled.items():
        case = cases_of[case_id]
        reason = f"{caller.name} reports that the number is another subscriber's by now"
        if routing.is_home(new.feed, case.number):
            retract(session, case, cases.SYSTEM, reason, at=at, routing=routing)
            grant_all(session, case, cases.SYSTEM, reason, at=at)
        else:
            grounds = f"{reason}: feed {new.feed}, entry {new.entry}, release {new.serial}"
            appeal_by_itself(session, caller, case, grounds, at=at)
    with session.no_autoflush:  # all changes to the cases are written at the end
        cases.settle(session, cases_of.values(), recipients, at=at)
    return items


def _why_not(new: NewReceipt, row: _Listing | None, serial: int | None, at: datetime, *, is_own: bool) -> str | None:
    """Why a receipt is not taken."""
    if not is_own:
        return "the feed is not one that you answer for"
    if row is None or row.listed_serial is None:
        return "the feed has never had such an entry"
    if serial is None or not row.listed_serial <= new.serial <= serial:
        return "no release of that serial has had the entry"
    if new.at > at + CLOCK_SKEW:
        return "its moment is yet to come"
    # Not before `listed_at`: a run that was cut short after its release notes that late.
    if new.at < row.since - CLOCK_SKEW:
        return "its moment lies before the entry's `since`"
    return None


def _listings(session: Session, keys: set[tuple[str, int]]) -> dict[tuple[str, int], _Listing]:
    found: dict[tuple[str, int], _Listing] = {}
    for some in cases.in_parts(sorted(keys)):
        rows = session.execute(select(*_COLUMNS).where(tuple_(ListingRow.feed, ListingRow.entry).in_(some)))
        found |= {(row.feed, row.entry): _Listing(row.id, row.case_id, row.listed_serial, row.since) for row in rows}
    return found


def _known(session: Session, caller: Caller, listings: Sequence[int]) -> set[tuple[int, int, str]]:
    found: set[tuple[int, int, str]] = set()
    for some in cases.in_parts(listings):
        rows = session.execute(
            select(*_KEYS).where(ReceiptRow.account_id == caller.id, ReceiptRow.listing_id.in_(some))
        )
        found |= {(row.listing_id, row.serial, row.outcome) for row in rows}
    return found
