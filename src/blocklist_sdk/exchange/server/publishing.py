"""Publishing: from decisions to releases of the feeds they reach, on a cycle or at once."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import Publication, PublishedFeed
from blocklist_sdk.exchange.server import cases
from blocklist_sdk.exchange.server.accounts import recipient_counts
from blocklist_sdk.exchange.server.database import Database
from blocklist_sdk.exchange.server.decisions import SYSTEM, end
from blocklist_sdk.exchange.server.tables import CaseRow, CycleRow, FeedRow, ListingRow
from blocklist_sdk.numbers import format_e164
from blocklist_sdk.publisher.publisher import Publisher
from blocklist_sdk.publisher.reports import ReleaseReport


@dataclass(frozen=True, slots=True)
class Publishing:
    """Brings the feeds up to the decisions. One run at a time; a run that is cut short is taken up by the next.

    A listing's entry id is given out in the database before the release that shows it is made, and every release has
    all listings with an id. So an id never means another listing, whatever happens in between.

    Attributes:
        database: where the decisions are.
        publisher: with the feeds' keys.
        issuer: who decides, as entries say it.
        cycle_day: the day of the month, UTC, on which routine decisions go out.
        turn: held while it runs.
    """

    database: Database
    publisher: Publisher
    issuer: str
    cycle_day: int
    turn: threading.Lock

    def run(self, at: datetime, *, everything: bool = False) -> Publication:
        """Publish what is urgent, what is retracted, and with the cycle the rest.

        Args:
            at: now.
            everything: the rest as well, whether or not the cycle is due.

        Raises:
            BlocklistError: what `Publisher.release` raises; feeds before that are published.
        """
        with self.turn:
            routine = everything or self.is_due(at)
            feeds = self._waiting_feeds(at, routine=routine)
            published = [self._publish(feed, at, routine=routine) for feed in feeds]
            if routine:
                with self.database.writing() as session:
                    if session.get(CycleRow, _month(at)) is None:
                        session.add(CycleRow(month=_month(at), at=at))
        return Publication(at=at, routine=routine, feeds=tuple(published))

    def is_due(self, at: datetime) -> bool:
        """Whether this month's routine publication is to come, and its day has."""
        with self.database.reading() as session:
            return at.day >= self.cycle_day and session.get(CycleRow, _month(at)) is None

    def _waiting_feeds(self, at: datetime, *, routine: bool) -> list[str]:
        """Feeds whose current release is not what it should be; at the routine, all that have one or want one."""
        at_once = or_(ListingRow.retracted_at.is_not(None), ListingRow.urgent, ListingRow.until <= at)
        wanted = select(ListingRow.feed).where(
            ListingRow.lifted_at.is_(None), ListingRow.waiting | (ListingRow.until <= at)
        )
        with self.database.reading() as session:
            feeds = set(session.scalars(wanted if routine else wanted.where(at_once)))
            if routine:  # a release without a change tells recipients that all is well
                feeds |= set(session.scalars(select(FeedRow.name).where(FeedRow.serial.is_not(None))))
        return sorted(feeds)

    def _publish(self, feed: str, at: datetime, *, routine: bool) -> PublishedFeed:
        with self.database.writing() as session:
            rows = self._prepare(session, feed, at, routine=routine)
        report = self.publisher.release(
            feed, _table(rows, issuer=self.issuer), allow_empty=True, max_rejects=0, published_at=None
        )
        with self.database.writing() as session:
            self._settle(session, feed, [row.id for row in rows], report, at)
        return PublishedFeed(
            feed=feed,
            serial=report.serial,
            rows=report.rows,
            added=report.added,
            removed=report.removed,
            changed=report.changed,
        )

    def _prepare(self, session: Session, feed: str, at: datetime, *, routine: bool) -> list[ListingRow]:
        """What the feed's next release has; new listings get their ids."""
        known = session.get(FeedRow, feed, with_for_update=True)
        if known is None:
            known = FeedRow(name=feed, last_entry=0, rows=0)
            session.add(known)
        rows = []
        for row in session.scalars(
            select(ListingRow).where(ListingRow.feed == feed, ListingRow.lifted_at.is_(None)).order_by(ListingRow.id)
        ):
            if row.until is not None and row.until <= at and row.retracted_at is None:
                row.retracted_at, row.ended, row.waiting = row.until, True, True
            if row.retracted_at is not None:
                if row.entry is None:  # it never stood on the feed
                    row.lifted_at, row.waiting = at, False
            elif row.entry is not None or routine or row.urgent:
                if row.entry is None:
                    known.last_entry += 1
                    row.entry = known.last_entry
                rows.append(row)
        return rows

    def _settle(self, session: Session, feed: str, shown: Sequence[int], report: ReleaseReport, at: datetime) -> None:
        """Note what the release shows, and where that leaves the cases."""
        found = session.get(FeedRow, feed, with_for_update=True)
        assert found is not None
        found.serial, found.rows, found.published_at = report.serial, report.rows, at
        is_shown = set(shown)
        waiting = session.scalars(
            select(ListingRow).where(ListingRow.feed == feed, ListingRow.lifted_at.is_(None), ListingRow.waiting)
        ).all()
        touched = cases.locked_many(session, {row.case_id for row in waiting})
        for row in waiting:
            event = None
            if row.id in is_shown:
                row.waiting = row.retracted_at is not None  # retracted while the release was made: the next lifts it
                if row.listed_at is None:
                    row.listed_serial, row.listed_at, event = report.serial, at, "listed"
            elif row.retracted_at is not None and row.entry is not None:
                row.lifted_serial, row.lifted_at, row.waiting, event = report.serial, at, False, "lifted"
            if event is not None:
                where: dict[str, cases.Detail] = {"feed": feed, "serial": report.serial, "entry": row.entry}
                cases.note(session, touched[row.case_id], at=at, actor=SYSTEM, event=event, **where)
        session.flush()
        self._advance(session, touched, at)

    def _advance(self, session: Session, touched: dict[int, CaseRow], at: datetime) -> None:
        """Bring cases to where their listings are."""
        active: dict[int, list[bool]] = {case_id: [] for case_id in touched}
        for some in cases.in_parts(touched):
            rows = select(ListingRow.case_id, ListingRow.waiting).where(
                ListingRow.case_id.in_(some), ListingRow.retracted_at.is_(None)
            )
            for case_id, waiting in session.execute(rows):
                active[case_id].append(waiting)
        published = []
        for case_id, case in touched.items():
            if not active[case_id]:
                end(session, case, at=at)
            elif cases.state_of(case) == cases.DECIDED and not any(active[case_id]):
                cases.move(session, case, cases.PUBLISHED, at=at, actor=SYSTEM, event="published")
                published.append(case)
        cases.settle(session, published, recipient_counts(session), at=at)


def _table(rows: Sequence[ListingRow], *, issuer: str) -> pa.Table:
    """The list as the publisher takes it."""
    text = pa.large_string()
    return pa.table(
        {
            "number": pa.array([format_e164(row.number) for row in rows], text),
            "entry": pa.array([str(row.entry) for row in rows], text),
            "level": pa.array([row.level for row in rows], text),
            "category": pa.array([row.category for row in rows], text),
            "issuer": pa.array([issuer for _ in rows], text),
            "scope": pa.array([row.scope for row in rows], text),
            "since": pa.array([row.since.isoformat() for row in rows], text),
            "until": pa.array([row.until.isoformat() if row.until else None for row in rows], text),
        }
    )


def _month(at: datetime) -> str:
    return f"{at:%Y-%m}"
