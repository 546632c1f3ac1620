"""What accounts without the scope `officer` see of cases: their own reports, and what is published.

Before a release shows it, nobody but officers learns that a number is being verified, was decided on or is appealed
against; and nobody learns by a report or an appeal whether others complained about the number.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, false, func, not_, or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import AppealState, CaseState
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.store.tables import AppealRow, ListingRow

CLOSES_AFTER: Final = timedelta(days=7)
"""An appeal by number against nothing that is published closes by itself after this time. Until then it looks like one
that waits for an officer."""

NOTHING_PUBLISHED: Final = "when this was answered, nothing that was published named this number"
"""The reason of such an appeal's end; true whether or not a decision is about to be published."""


def report_state(
    state: CaseState, *, received_at: datetime, first_listed_at: datetime | None, has_evidence: bool
) -> CaseState:
    """The state that an account sees of its report.

    ============================  ==============================  =============================
    the case                      no release has listed it since  a release has listed it since
                                  the report came                 the report came
    ============================  ==============================  =============================
    closed without a listing      rejected                        –
    retracted                     rejected                        retracted
    anything else                 incomplete without a file of    published
                                  the report's own, else
                                  received
    ============================  ==============================  =============================

    So a report of a number that was listed before looks like that of any other number.

    Args:
        state: the state of the case.
        received_at: when the report came.
        first_listed_at: when a release first listed the case; None if none has.
        has_evidence: whether the report has a file.

    >>> from datetime import UTC
    >>> at = datetime(2026, 11, 25, tzinfo=UTC)
    >>> str(report_state(CaseState.DECIDED, received_at=at, first_listed_at=None, has_evidence=True))
    'received'
    """
    is_listed_since = first_listed_at is not None and first_listed_at >= received_at
    if state == cases.REJECTED:
        return cases.REJECTED
    if state == cases.RETRACTED:
        return cases.RETRACTED if is_listed_since else cases.REJECTED
    if is_listed_since:
        return cases.PUBLISHED
    return cases.RECEIVED if has_evidence else cases.INCOMPLETE


class SeenAppeal(NamedTuple):
    """What an account sees of its appeal's answer."""

    state: AppealState
    reason: str | None
    answered_at: datetime | None


def seen_appeal(row: AppealRow, *, is_published: bool, now: datetime) -> SeenAppeal:
    """What an account sees of the answer to its appeal.

    An appeal by number is answered by what a release has shown: until the case has been on a feed, it is open, and
    closes after `CLOSES_AFTER`, whatever officers do meanwhile. One by entry is from an account that reads the feed.

    Args:
        row: the appeal.
        is_published: whether a release has ever listed its case.
        now: this moment.
    """
    if row.number is None or is_published:
        return SeenAppeal(row.state, row.reason, row.answered_at)
    end = row.received_at + CLOSES_AFTER
    return SeenAppeal("open", None, None) if now < end else SeenAppeal("dismissed", NOTHING_PUBLISHED, end)


def is_seen_as(state: AppealState, now: datetime) -> ColumnElement[bool]:
    """The condition that an account sees an appeal in a state; the same rule as `seen_appeal`, for the database."""
    is_published = exists().where(ListingRow.case_id == AppealRow.case_id, ListingRow.listed_at.is_not(None))
    is_real = or_(AppealRow.number.is_(None), is_published)
    is_running = AppealRow.received_at > now - CLOSES_AFTER
    hidden: dict[AppealState, ColumnElement[bool]] = {
        "open": is_running,
        "dismissed": not_(is_running),
        "granted": false(),
    }
    return or_(and_(is_real, AppealRow.state == state), and_(not_(is_real), hidden[state]))


def first_listings(session: Session, case_ids: Collection[int]) -> dict[int, datetime]:
    """When a release first listed cases, by the case's ID; those that none has listed are missing."""
    found: dict[int, datetime] = {}
    for some in cases.in_batches(sorted(case_ids)):
        listed = (
            select(ListingRow.case_id, func.min(ListingRow.listed_at).label("first"))
            .where(ListingRow.case_id.in_(some), ListingRow.listed_at.is_not(None))
            .group_by(ListingRow.case_id)
        )
        found |= {row.case_id: row.first for row in session.execute(listed)}
    return found
