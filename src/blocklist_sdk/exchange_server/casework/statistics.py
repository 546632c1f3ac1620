"""Statistics of a month, for the authority and for each recipient."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import DecisionKind, RecipientStatistics, Statistics
from blocklist_sdk.exchange.spread import spread
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import recipients_of
from blocklist_sdk.exchange_server.store.tables import (
    AccountRow,
    CaseRow,
    DecisionRow,
    ListingRow,
    ReceiptRow,
    ReportRow,
)


def statistics_of(
    session: Session, month: str, *, recipient: str | None, now: datetime, decide_within: timedelta
) -> Statistics:
    """What happened in a month.

    Args:
        session: one that reads.
        month: such as ``2026-11``.
        recipient: an account's name, for its part only.
        now: this moment, to count what is still open.
        decide_within: how long officers have to decide a complete case.
    """
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    within = _Month(start, (start + timedelta(days=32)).replace(day=1))
    enforced: list[float] = []
    lifted: list[float] = []
    parts = []
    for (feed, name), account in sorted(_recipients(session, within).items()):
        if recipient in (None, name):
            times = _times(session, account, feed, within)
            parts.append(_recipient(session, account, feed, within, times))
            enforced += times[0]
            lifted += times[1]
    if recipient is not None:
        return Statistics(
            month=month,
            reports=None,
            cases=None,
            decisions=None,
            published=None,
            enforced=None,
            open=None,
            overdue=None,
            decision_to_enforcement=None,
            retraction_to_lifting=None,
            recipients=tuple(parts),
        )
    undecided = CaseRow.state.in_(cases.UNDECIDED) & CaseRow.complete_at.is_not(None)
    late = CaseRow.complete_at < now - decide_within
    return Statistics(
        month=month,
        reports=_count(session, select(ReportRow.id).where(within.has(ReportRow.received_at))),
        cases=_count(session, select(CaseRow.id).where(within.has(CaseRow.opened_at))),
        decisions=_decisions(session, within),
        published=_count(session, select(CaseRow.id).where(within.has(CaseRow.published_at))),
        enforced=_count(session, select(CaseRow.id).where(within.has(CaseRow.enforced_at))),
        open=_count(session, select(CaseRow.id).where(undecided)),
        overdue=_count(session, select(CaseRow.id).where(undecided, late)),
        decision_to_enforcement=spread(enforced),
        retraction_to_lifting=spread(lifted),
        recipients=tuple(parts),
    )


class _Month:
    """The span from a first moment up to, but without, a last one."""

    def __init__(self, start: datetime, stop: datetime) -> None:
        self._start = start
        self._stop = stop

    def has(self, moment: Any) -> ColumnElement[bool]:
        """The condition that a column's moment lies within."""
        found: ColumnElement[bool] = (moment >= self._start) & (moment < self._stop)
        return found

    def __contains__(self, moment: datetime) -> bool:
        return self._start <= moment < self._stop


def _recipients(session: Session, within: _Month) -> dict[tuple[str, str], AccountRow]:
    """The accounts that send receipts for a feed now, or did in the month; also those closed since."""
    found = {(feed, account.name): account for feed, some in recipients_of(session).items() for account in some}
    answered = session.execute(
        select(AccountRow, ListingRow.feed)
        .join(ReceiptRow, ReceiptRow.account_id == AccountRow.id)
        .join(ListingRow, ListingRow.id == ReceiptRow.listing_id)
        .where(within.has(ReceiptRow.received_at))
        .distinct()
    )
    return found | {(feed, account.name): account for account, feed in answered}


Times = tuple[list[float], list[float]]
"""Seconds from decision to enforcement, and from retraction to lifting."""


def _times(session: Session, account: AccountRow, feed: str, within: _Month) -> Times:
    mine = (ReceiptRow.account_id == account.id) & (ListingRow.feed == feed)
    lifts = ReceiptRow.outcome.in_(cases.LIFTING_OUTCOMES) & (ReceiptRow.serial >= ListingRow.lifted_serial)
    return (
        _seconds(session, mine, within, ListingRow.since, ReceiptRow.outcome == "enforced"),
        _seconds(session, mine & ~ListingRow.ended, within, ListingRow.retracted_at, lifts),
    )


def _decisions(session: Session, within: _Month, *, feed: str | None = None) -> dict[DecisionKind, int]:
    """Decisions that took effect in the month; if a feed is given, on cases that were listed on it."""
    decided = func.coalesce(DecisionRow.confirmed_at, DecisionRow.decided_at)
    wanted = select(DecisionRow.kind, func.count()).where(DecisionRow.state == "effective", within.has(decided))
    if feed is not None:
        wanted = wanted.where(DecisionRow.case_id.in_(_reached(feed)))
    found = session.execute(wanted.group_by(DecisionRow.kind))
    return dict.fromkeys(get_args(DecisionKind), 0) | dict(found.all())


def _reached(feed: str) -> Select[int]:
    """IDs of the cases that were listed on a feed."""
    return select(ListingRow.case_id).where(ListingRow.feed == feed)


def _recipient(session: Session, account: AccountRow, feed: str, within: _Month, times: Times) -> RecipientStatistics:
    mine = (ReceiptRow.account_id == account.id) & (ListingRow.feed == feed)
    of_listing = select(ReceiptRow).join(ListingRow, ListingRow.id == ReceiptRow.listing_id).where(mine)
    outcomes = session.execute(
        select(ReceiptRow.outcome, func.count())
        .join(ListingRow, ListingRow.id == ReceiptRow.listing_id)
        .where(mine, within.has(ReceiptRow.received_at))
        .group_by(ReceiptRow.outcome)
    )
    listed = (ListingRow.feed == feed) & within.has(ListingRow.listed_at)
    answered = of_listing.with_only_columns(ReceiptRow.listing_id).where(ReceiptRow.outcome.in_(cases.FINAL_OUTCOMES))
    return RecipientStatistics(
        recipient=account.name,
        feed=feed,
        reports=_count(
            session,
            select(ReportRow.id).where(within.has(ReportRow.received_at), ReportRow.case_id.in_(_reached(feed))),
        ),
        decisions=_decisions(session, within, feed=feed),
        published=_count(session, select(ListingRow.id).where(listed)),
        retracted=_count(
            session,
            select(ListingRow.id).where(
                ListingRow.feed == feed, ListingRow.listed_at.is_not(None), within.has(ListingRow.retracted_at)
            ),
        ),
        receipts=dict(outcomes.all()),
        open=_count(session, select(ListingRow.id).where(listed, ListingRow.id.not_in(answered))),
        decision_to_enforcement=spread(times[0]),
        retraction_to_lifting=spread(times[1]),
    )


def _seconds(
    session: Session,
    mine: ColumnElement[bool],
    within: _Month,
    begun: Any,
    outcome: ColumnElement[bool],
) -> list[float]:
    """Seconds from a moment of each listing to its first receipt with this outcome, for the receipts of the month."""
    rows = session.execute(
        select(begun, func.min(ReceiptRow.at))
        .join(ListingRow, ListingRow.id == ReceiptRow.listing_id)
        .where(mine, outcome, begun.is_not(None))
        .group_by(ReceiptRow.listing_id, begun)
    )
    return [max(0.0, (done - start).total_seconds()) for start, done in rows if done in within]


def _count(session: Session, rows: Select[int]) -> int:
    return session.scalar(select(func.count()).select_from(rows.subquery())) or 0
