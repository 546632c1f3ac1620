"""Publishing: turns decisions into releases of the feeds that they reach, at once or with the monthly cycle."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.exchange.models import Publication, PublishedFeed
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import recipient_ids
from blocklist_sdk.exchange_server.casework.appeals import grant_open_appeals
from blocklist_sdk.exchange_server.casework.decisions import close_expired, retract
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.store.database import Database, add_missing_returning
from blocklist_sdk.exchange_server.store.tables import CaseRow, CycleRow, FeedRow, ListingRow
from blocklist_sdk.locks import file_lock
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.publisher import Publisher
from blocklist_sdk.publisher.results import FeedStatus, ReleaseResult
from blocklist_sdk.release.arrow import SCHEMA

log: logging.Logger = logging.getLogger(__name__)

_TURN_S: Final = 60
"""How long a run waits for the run of another process, seconds."""

_QUIET: Final = timedelta(hours=1)
"""A feed with a newer release than this gets no release without changes."""

_ENDED: Final = "the listing has ended"

_PROTECTED: Final = "the number is protected: no feed may list it"

Shown = Mapping[int, tuple[object, ...]]
"""The content of listings in a release, by their IDs."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """Publishes the decisions in the database. One run at a time; the next run completes an interrupted one.

    A listing's entry ID is assigned in the database before the release that shows it is made, and every release has all
    listings with an ID. So an ID never means another listing, whatever happens in between. The serials of the releases
    that list and lift it are stored then as well, so that a recipient may send receipts as soon as it has them.

    Attributes:
        database: has the decisions.
        publisher: has the feeds' keys.
        issuer: the issuer in all entries.
        cycle_day: day of the month, UTC, on which routine decisions are published.
        routing: which feeds decisions reach.
        process_lock: a file that is locked during a run, against other processes.
        thread_lock: held during a run, against other threads.
    """

    database: Database
    publisher: Publisher
    issuer: str
    cycle_day: int
    routing: RoutingRules
    process_lock: Path
    thread_lock: threading.Lock

    def run(self, now: datetime, *, everything: bool = False) -> Publication:
        """Publish urgent decisions and retractions, and once a month everything else.

        Args:
            now: this moment.
            everything: publish everything now, whether or not the cycle is due.

        Raises:
            BlocklistError: the error of `Publisher.release` for the first feed that failed; the others are published.
            Locked: another process has been publishing for a minute.
        """
        with self.thread_lock, self._locked():
            self._lift_protected(now)
            routine = everything or self.is_due(now)
            published = self._publish_all(self._waiting_feeds(now, routine=routine), now, routine=routine)
            if routine:
                self.database.change(
                    lambda session: add_missing_returning(session, CycleRow, [{"month": _month(now), "at": now}])
                )
        return Publication(at=now, routine=routine, feeds=tuple(published))

    def begin(self, now: datetime) -> None:
        """Give each feed without a release its first one, so that recipients can join before any number is listed.

        Raises:
            BlocklistError: as for `run`.
        """
        with self.thread_lock, self._locked():
            with self.database.reading() as session:
                begun = set(session.scalars(select(FeedRow.name).where(FeedRow.serial.is_not(None))))
            self._publish_all([feed for feed in self.routing.feeds if feed not in begun], now, routine=False)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Without these locks a list that was prepared earlier could be released after a later one."""
        with file_lock(self.process_lock, wait_s=_TURN_S, busy="another process is publishing"):
            yield

    def _lift_protected(self, now: datetime) -> None:
        """Retract numbers that were protected after they were listed; the publisher would refuse the whole list."""
        protected = sorted(self.publisher.protected())
        found: set[int] = set()
        for some in cases.in_batches(protected):
            with self.database.reading() as session:
                listed = select(ListingRow.case_id).where(
                    ListingRow.number.in_(some), ListingRow.retracted_at.is_(None)
                )
                found |= set(session.scalars(listed))
        for case_id in sorted(found):
            self.database.change(partial(self._lift, case_id, now))

    def _lift(self, case_id: int, now: datetime, session: Session) -> None:
        case = cases.lock_case(session, case_id)
        retract(session, case, cases.SYSTEM, _PROTECTED, now=now, routing=self.routing)
        grant_open_appeals(session, case, cases.SYSTEM, _PROTECTED, now=now)

    def _publish_all(self, feeds: Sequence[str], now: datetime, *, routine: bool) -> list[PublishedFeed]:
        """Publish each feed, even if another one fails."""
        if not feeds:
            return []
        statuses = {feed.feed: feed for feed in self.publisher.status().feeds}
        published = []
        failures: list[BlocklistError] = []
        for feed in feeds:
            try:
                published.append(self._publish(statuses.get(feed, FeedStatus(feed)), now, routine=routine))
            except BlocklistError as error:
                log.error("feed %s was not published: %s", feed, error)
                failures.append(error)
        if failures:
            raise failures[0]
        return published

    def is_due(self, now: datetime) -> bool:
        """Whether the cycle day of this month has come and its routine publication has not been made."""
        with self.database.reading() as session:
            return now.day >= self.cycle_day and session.get(CycleRow, _month(now)) is None

    def _waiting_feeds(self, now: datetime, *, routine: bool) -> list[str]:
        """Feeds that need a release now; with the cycle, also those that have not had one for a while."""
        at_once = or_(ListingRow.retracted_at.is_not(None), ListingRow.urgent, ListingRow.until <= now)
        wanted = select(ListingRow.feed).where(
            ListingRow.lifted_at.is_(None), ListingRow.waiting | (ListingRow.until <= now)
        )
        with self.database.reading() as session:
            feeds = set(session.scalars(wanted if routine else wanted.where(at_once)))
            if routine:  # a release without changes shows recipients that the feed is alive
                quiet = FeedRow.serial.is_not(None) & (FeedRow.published_at <= now - _QUIET)
                feeds |= set(session.scalars(select(FeedRow.name).where(quiet)))
        return sorted(feeds)

    def _publish(self, status: FeedStatus, now: datetime, *, routine: bool) -> PublishedFeed:
        feed = status.feed
        rows = self.database.change(lambda session: self._prepare(session, status, now, routine=routine))
        released = self.publisher.release(
            feed,
            _table(rows, issuer=self.issuer),
            allow_empty=True,
            max_rejects=0,
            # Officers decided on each entry, and no retraction may wait because there are many.
            guard=PublisherGuard.off(),
        )
        shown = {row.id: _content(row) for row in rows}
        self.database.change(lambda session: self._settle(session, feed, shown, released, now))
        log.info(
            "published %s %d: %d %s, +%d -%d ~%d",
            *(feed, released.serial, released.rows, "row" if released.rows == 1 else "rows"),
            *(released.added, released.removed, released.changed),
        )
        return PublishedFeed(
            feed=feed,
            serial=released.serial,
            rows=released.rows,
            added=released.added,
            removed=released.removed,
            changed=released.changed,
        )

    def _prepare(self, session: Session, status: FeedStatus, now: datetime, *, routine: bool) -> list[ListingRow]:
        """The listings of the feed's next release; new ones get their entry IDs."""
        feed, serial, last_entry = status.feed, (status.serial or 0) + 1, status.last_entry or 0
        known = session.get(FeedRow, feed, with_for_update=True)
        if known is None:
            known = FeedRow(name=feed, last_entry=0, begun=0, rows=0)
            session.add(known)
        if known.last_entry < last_entry:
            log.error(
                "feed %s: the database is older than the repository: it has entries up to %d, the repository up to %d. "
                "Decisions made in between have to be made again.",
                feed,
                known.last_entry,
                last_entry,
            )
            known.last_entry = last_entry
        known.begun = max(known.begun, serial)
        listed = (ListingRow.feed == feed) & ListingRow.lifted_at.is_(None)
        # In the database, since another process may be extending one of them at this moment.
        session.execute(
            update(ListingRow)
            .where(listed, ListingRow.retracted_at.is_(None), ListingRow.until <= now)
            .values(retracted_at=ListingRow.until, ended=True, waiting=True)
            .execution_options(synchronize_session=False)
        )
        rows = []
        for row in session.scalars(select(ListingRow).where(listed).order_by(ListingRow.id)):
            # An interrupted run may have stored a serial that has been published since: keep it.
            if row.retracted_at is not None:
                if row.entry is not None and (row.lifted_serial is None or row.lifted_serial > serial):
                    row.lifted_serial = serial
            elif row.entry is not None or routine or row.urgent:
                if row.entry is None:
                    known.last_entry += 1
                    row.entry = known.last_entry
                if row.listed_serial is None or row.listed_serial > serial:
                    row.listed_serial = serial
                rows.append(row)
        return rows

    def _settle(self, session: Session, feed: str, shown: Shown, released: ReleaseResult, now: datetime) -> None:
        """Store what the release shows, and update the cases."""
        found = session.get(FeedRow, feed, with_for_update=True)
        assert found is not None
        found.serial, found.rows, found.published_at = released.serial, released.rows, now
        waiting = (ListingRow.feed == feed) & ListingRow.lifted_at.is_(None) & ListingRow.waiting
        touched = cases.lock_cases(session, set(session.scalars(select(ListingRow.case_id).where(waiting))))
        # Read after the cases are locked, so that no decision on them comes in between.
        for row in session.scalars(select(ListingRow).where(waiting)).all():
            if row.case_id not in touched:
                continue
            event = None
            if row.id in shown:
                # Decisions made during the release wait for the next one.
                row.waiting = row.retracted_at is not None or _content(row) != shown[row.id]
                if row.listed_at is None:
                    row.listed_at, event = now, "listed"
            elif row.retracted_at is not None and row.lifted_serial is not None:
                row.lifted_at, row.waiting, event = now, False, "lifted"
            elif row.retracted_at is not None and row.entry is None:  # it was never on the feed
                row.lifted_at, row.waiting = now, False
            if event is not None:
                where: dict[str, cases.Detail] = {"feed": feed, "serial": released.serial, "entry": row.entry}
                cases.add_event(session, touched[row.case_id], now=now, actor=cases.SYSTEM, event=event, **where)
        session.flush()
        self._advance(session, touched, now)

    def _advance(self, session: Session, touched: Mapping[int, CaseRow], now: datetime) -> None:
        """Update the state of cases from their listings."""
        active: set[int] = set()
        waiting: set[int] = set()
        for case_id, waits in _active(session, sorted(touched)):
            active.add(case_id)
            if waits:
                waiting.add(case_id)
        for case in touched.values():
            if case.id not in active:
                close_expired(session, case, now=now)
                grant_open_appeals(session, case, cases.SYSTEM, _ENDED, now=now)
            elif cases.state_of(case) == cases.DECIDED and case.id not in waiting:
                cases.move_case(session, case, cases.PUBLISHED, now=now, actor=cases.SYSTEM, event="published")
        cases.mark_enforced(session, touched.values(), recipient_ids(session), now=now)


def _active(session: Session, case_ids: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """For each listing of the cases that is not retracted: the case's ID, and whether the listing waits."""
    for some in cases.in_batches(case_ids):
        rows = session.execute(
            select(ListingRow.case_id, ListingRow.waiting).where(
                ListingRow.case_id.in_(some), ListingRow.retracted_at.is_(None)
            )
        )
        yield from ((row.case_id, row.waiting) for row in rows)


def _content(row: ListingRow) -> tuple[object, ...]:
    """The columns of a listing that a release shows."""
    return row.level, row.category, row.scope, row.since, row.until


def _table(rows: Sequence[ListingRow], *, issuer: str) -> pa.Table:
    """The listings in the columns of a release, which the publisher takes as they are."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names if name not in ("last", "issuer")}
    constants = {"last": [None] * len(rows), "issuer": [issuer] * len(rows)}
    return pa.table(columns | constants, schema=SCHEMA)


def _month(now: datetime) -> str:
    return f"{now:%Y-%m}"
