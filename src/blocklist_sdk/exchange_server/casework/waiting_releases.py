"""What the guard refused of feeds' next releases: stored until it is accepted or no longer wanted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocklist_sdk import times
from blocklist_sdk.exchange.models import WaitingListing, WaitingRelease
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.casework.release_guard import Verdict
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.tables import (
    ALARMING_ONLY,
    RELEASE_ACCEPTED,
    AuditRow,
    CaseRow,
    ListingRow,
    WaitingRow,
)
from blocklist_sdk.exchange_server.store.trail import Act
from blocklist_sdk.publisher.results import SurprisingChange
from blocklist_sdk.records import SCOPES


def waiting_releases(session: Session) -> tuple[WaitingRelease, ...]:
    """What waits on all feeds, sorted by feed."""
    return tuple(map(shown_release, session.scalars(select(WaitingRow).order_by(WaitingRow.feed))))


def let_through(database: Database, feed: str, digest: str, actor: str, *, now: datetime) -> None:
    """Let through what the guard refused on a feed. The next run of the publisher publishes it, unless it has changed.

    Args:
        database: the exchange's.
        feed: the feed's name.
        digest: what is accepted.
        actor: who accepts it.
        now: this moment.

    Raises:
        Refusal: nothing waits on the feed, or something else does.
    """
    act = Act(actor, RELEASE_ACCEPTED, {"feed": feed, "digest": digest})
    database.change(lambda session: _accept(session, feed, digest, actor, now), by=act)


def _accept(session: Session, feed: str, digest: str, actor: str, now: datetime) -> None:
    row = session.get(WaitingRow, feed, with_for_update=True)
    if row is None:
        raise Refusal("conflict", f"nothing waits on feed {feed!r}: only what the guard has refused can be accepted")
    if row.digest != digest:
        raise Refusal(
            "conflict", f"what waits on feed {feed!r} is not what you accept: it has changed. Look at it once more."
        )
    if row.accepted_by is None:
        row.accepted_by, row.accepted_at = actor, now


def is_accounted_for(session: Session, row: WaitingRow) -> bool:
    """Whether a line of the audit trail says that what waits was accepted, by whom the row says."""
    wanted = (
        select(AuditRow.detail)
        .where(ALARMING_ONLY, AuditRow.event == RELEASE_ACCEPTED, AuditRow.actor == row.accepted_by)
        .order_by(AuditRow.sequence.desc())
    )
    return {"feed": row.feed, "digest": row.digest} in session.scalars(wanted)


def decisions_state(session: Session, feed: str) -> str:
    """A text that changes with every decision on a listing of the feed that waits to be published."""
    count, events = session.execute(
        select(func.count(), func.sum(CaseRow.events))
        .select_from(ListingRow)
        .join(CaseRow, CaseRow.id == ListingRow.case_id)
        .where(ListingRow.feed == feed, ListingRow.lifted_at.is_(None), ListingRow.waiting)
    ).one()
    return f"{count} {events or 0}"


def store(
    session: Session,
    row: WaitingRow | None,
    verdict: Verdict,
    *,
    feed: str,
    cases: Mapping[int, int],
    routine: bool,
    last_listing: int,
    limits: str,
    state: str,
    now: datetime,
) -> WaitingRow:
    """Store what the guard refused. What is refused again keeps its moment, and gives no new alarm.

    Args:
        session: one that writes.
        row: what was refused on the feed before, locked; None if nothing waited.
        verdict: what the guard says now.
        feed: the feed's name.
        cases: the cases of what waits, by entry ID.
        routine: whether routine decisions are part of it.
        last_listing: the last listing of the cycle that is part of it.
        limits: the guard's.
        state: what `decisions_state` returned before the listings were read.
        now: this moment.
    """
    if row is None:
        row = WaitingRow(feed=feed, digest="")
        session.add(row)
    if row.digest != verdict.digest:
        row.digest, row.refused_at = verdict.digest, now
        row.is_known, row.accepted_by, row.accepted_at = False, None, None
    row.judged_at, row.limits, row.state = now, limits, state
    row.routine, row.last_listing = routine, last_listing
    row.listings, row.added, row.blocked = len(verdict.held), verdict.added, verdict.blocked
    row.reasons, row.examples = list(verdict.reasons), _examples(verdict.examples, cases)
    return row


def _examples(changes: Sequence[SurprisingChange], cases: Mapping[int, int]) -> list[dict[str, Any]]:
    return [
        {
            "case": cases[change.entry.entry],
            "number": change.entry.number,
            "why": change.why,
            "level": change.entry.level,
            "category": change.entry.category,
            "scope": [scope for scope in SCOPES if scope in change.entry.scope],
            "since": times.iso(change.entry.since),
            "until": None if change.entry.until is None else times.iso(change.entry.until),
        }
        for change in changes
    ]


def shown_release(row: WaitingRow) -> WaitingRelease:
    """What waits on a feed, as officers see it."""
    return WaitingRelease(
        feed=row.feed,
        digest=row.digest,
        refused_at=row.refused_at,
        listings=row.listings,
        added=row.added,
        blocked=row.blocked,
        reasons=tuple(row.reasons),
        examples=tuple(WaitingListing.model_validate(each) for each in row.examples),
        accepted_by=row.accepted_by,
    )
