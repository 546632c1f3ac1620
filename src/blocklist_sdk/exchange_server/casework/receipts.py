"""Receipts: what recipients did with entries. They come in batches, and each gets a result of its own."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import NewReceipt, ReceiptItem
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework import recycled as recycled_receipts
from blocklist_sdk.exchange_server.casework.accounts import Caller, recipient_ids
from blocklist_sdk.exchange_server.casework.appeals import grant_open_appeals, open_automatic_appeal
from blocklist_sdk.exchange_server.casework.decisions import retract
from blocklist_sdk.exchange_server.casework.intake import CLOCK_SKEW
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.bulk import one_of
from blocklist_sdk.exchange_server.store.database import add_all
from blocklist_sdk.exchange_server.store.tables import CaseRow, FeedRow, ListingRow, ReceiptRow


class _Listing(NamedTuple):
    """The columns of a listing that are needed here; whole rows would be slow in thousands."""

    id: int
    case_id: int
    listed_serial: int | None
    since: datetime


_COLUMNS = (
    ListingRow.entry,
    ListingRow.id,
    ListingRow.case_id,
    ListingRow.listed_serial,
    ListingRow.since,
)
_KEYS = (ReceiptRow.listing_id, ReceiptRow.serial, ReceiptRow.outcome)


def take_receipts(
    session: Session,
    caller: Caller,
    batch: Sequence[NewReceipt],
    *,
    now: datetime,
    settings: ExchangeSettings,
    routing: RoutingRules,
) -> list[ReceiptItem]:
    """Store a batch of receipts; return the result for each, in their order.

    The same outcome of the same entry and release counts once, however often it is sent. If a number's home operator
    says that it was recycled, it is retracted at once; from any other recipient this opens an appeal. What is more than
    the settings allow in a day waits for an officer.
    """
    own = caller.feeds
    listings = _listings(session, {(new.feed, new.entry) for new in batch if new.feed in own})
    cases_of = cases.lock_brief(session, {row.case_id for row in listings.values()})
    serials = dict(session.execute(select(FeedRow.name, FeedRow.begun)).all())
    recipients = recipient_ids(session)
    known = _known(session, caller, [row.id for row in listings.values()])
    items: list[ReceiptItem] = []
    fresh: list[dict[str, object]] = []
    recycled: dict[int, NewReceipt] = {}
    for index, new in enumerate(batch):
        row = listings.get((new.feed, new.entry))
        reason = _reason_to_refuse(new, row, serials.get(new.feed), now, is_own=new.feed in own)
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
                "received_at": now,
            }
        )
        case = cases_of[row.case_id]
        cases.add_event(
            session,
            case,
            now=now,
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
    passing = recycled_receipts.within_bound(session, caller, recycled, cases_of, now=now, settings=settings)
    cases.store_brief(session, [cases_of.pop(case_id) for case_id in passing])
    recycled_cases = cases.lock_cases(session, passing)
    for case_id, new in passing.items():
        _take_effect(session, caller, recycled_cases[case_id], new, now=now, settings=settings, routing=routing)
    with session.no_autoflush:  # all changes to cases are written at the end
        cases.mark_enforced(session, [*cases_of.values(), *recycled_cases.values()], recipients, now=now)
    cases.store_brief(session, cases_of.values())
    return items


def _take_effect(
    session: Session,
    caller: Caller,
    case: CaseRow,
    new: NewReceipt,
    *,
    now: datetime,
    settings: ExchangeSettings,
    routing: RoutingRules,
) -> None:
    """Retract a case whose number has a new owner, or appeal if it is not the number's home operator that says so."""
    reason = f"according to {caller.name} the number belongs to another subscriber now"
    if routing.is_home(new.feed, case.number):
        retract(session, case, reason, now=now, routing=routing)
        grant_open_appeals(session, case, None, reason, now=now)
    else:
        grounds = f"{reason}: feed {new.feed}, entry {new.entry}, release {new.serial}"
        open_automatic_appeal(session, caller, case, grounds, settings=settings, now=now)


def _reason_to_refuse(
    new: NewReceipt, row: _Listing | None, serial: int | None, now: datetime, *, is_own: bool
) -> str | None:
    """Why a receipt is refused; None if it is accepted."""
    if not is_own:
        return "this account may not send receipts for the feed"
    if row is None or row.listed_serial is None:
        return "the feed has never had this entry"
    # In a later era serials may have begun anew, so they say nothing about the release that listed the entry.
    if new.era is None and (serial is None or not row.listed_serial <= new.serial <= serial):
        return "the release with this serial did not have the entry"
    if new.at > now + CLOCK_SKEW:
        return "`at` must not be in the future"
    # Not compared with `listed_at`: a run that was interrupted after its release sets that late.
    if new.at < row.since - CLOCK_SKEW:
        return "`at` must not be before the entry's `since`"
    return None


def _listings(session: Session, keys: Iterable[tuple[str, int]]) -> dict[tuple[str, int], _Listing]:
    entries: dict[str, set[int]] = {}
    for feed, entry in keys:
        entries.setdefault(feed, set()).add(entry)
    found: dict[tuple[str, int], _Listing] = {}
    for feed in sorted(entries):  # one by one: for pairs, SQLite takes several times as long
        for some in cases.in_batches(sorted(entries[feed])):
            rows = session.execute(
                select(*_COLUMNS).where(ListingRow.feed == feed, one_of(session, ListingRow.entry, some))
            )
            found |= {(feed, row.entry): _Listing(row.id, row.case_id, row.listed_serial, row.since) for row in rows}
    return found


def _known(session: Session, caller: Caller, listings: Sequence[int]) -> set[tuple[int, int, str]]:
    found: set[tuple[int, int, str]] = set()
    for some in cases.in_batches(listings):
        rows = session.execute(
            select(*_KEYS).where(ReceiptRow.account_id == caller.id, one_of(session, ReceiptRow.listing_id, some))
        )
        found |= {(row.listing_id, row.serial, row.outcome) for row in rows}
    return found
