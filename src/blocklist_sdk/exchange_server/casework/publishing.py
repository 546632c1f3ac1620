"""Publishing: from decisions to releases of the feeds they reach, on a cycle or at once."""

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
from blocklist_sdk.exchange_server.casework.appeals import grant_all
from blocklist_sdk.exchange_server.casework.decisions import end, retract
from blocklist_sdk.exchange_server.casework.distribution import Routing
from blocklist_sdk.exchange_server.store.database import Database, add_if_new
from blocklist_sdk.exchange_server.store.tables import CaseRow, CycleRow, FeedRow, ListingRow
from blocklist_sdk.locks import file_lock
from blocklist_sdk.numbers import format_e164
from blocklist_sdk.publisher.publisher import Publisher
from blocklist_sdk.publisher.results import FeedStatus, ReleaseResult

log = logging.getLogger(__name__)

_TURN_S: Final = 60
"""How long a run waits for another process's."""

_QUIET: Final = timedelta(hours=1)
"""A feed with a release as young as that need not be told again that all is well."""

_ENDED: Final = "the listing has ended"

_PROTECTED: Final = "the number is protected: no feed may list it"

Shown = Mapping[int, tuple[object, ...]]
"""What a release says of listings, by their ids."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """Brings the feeds up to the decisions. One run at a time; a run that is cut short is taken up by the next.

    A listing's entry id is given out in the database before the release that shows it is made, and every release has
    all listings with an id. So an id never means another listing, whatever happens in between. The serials of the
    releases that list and lift it are noted then as well, so that a recipient may answer as soon as it sees them.

    Attributes:
        database: where the decisions are.
        publisher: with the feeds' keys.
        issuer: who decides, as entries say it.
        cycle_day: the day of the month, UTC, on which routine decisions go out.
        routing: which feeds decisions reach.
        lock: a file that is locked while it runs, against other processes.
        turn: held while it runs, against other threads.
    """

    database: Database
    publisher: Publisher
    issuer: str
    cycle_day: int
    routing: Routing
    lock: Path
    turn: threading.Lock

    def run(self, at: datetime, *, everything: bool = False) -> Publication:
        """Publish what is urgent, what is retracted, and with the cycle the rest.

        Args:
            at: now.
            everything: the rest as well, whether or not the cycle is due.

        Raises:
            BlocklistError: what `Publisher.release` raises for the first feed that it fails for; the others are
                published.
            Locked: another process has been publishing for a minute.
        """
        with self.turn, self._locked():
            self._lift_protected(at)
            routine = everything or self.is_due(at)
            published = self._publish_all(self._waiting_feeds(at, routine=routine), at, routine=routine)
            if routine:
                self.database.change(lambda session: add_if_new(session, CycleRow, [{"month": _month(at), "at": at}]))
        return Publication(at=at, routine=routine, feeds=tuple(published))

    def begin(self, at: datetime) -> None:
        """Give every feed that has none a first release, be it empty: a recipient can join before anybody is listed.

        Raises:
            BlocklistError: as for `run`.
        """
        with self.turn, self._locked():
            with self.database.reading() as session:
                begun = set(session.scalars(select(FeedRow.name).where(FeedRow.serial.is_not(None))))
            self._publish_all([feed for feed in self.routing.feeds if feed not in begun], at, routine=False)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Without it a list that was prepared earlier could be released after a later one."""
        with file_lock(self.lock, wait_s=_TURN_S, busy="another process is publishing"):
            yield

    def _lift_protected(self, at: datetime) -> None:
        """Retract what has been protected since it was listed: the publisher would refuse the whole list."""
        protected = sorted(self.publisher.protected())
        found: set[int] = set()
        for some in cases.in_parts(protected):
            with self.database.reading() as session:
                listed = select(ListingRow.case_id).where(
                    ListingRow.number.in_(some), ListingRow.retracted_at.is_(None)
                )
                found |= set(session.scalars(listed))
        for case_id in sorted(found):
            self.database.change(partial(self._lift, case_id, at))

    def _lift(self, case_id: int, at: datetime, session: Session) -> None:
        case = cases.locked(session, case_id)
        retract(session, case, cases.SYSTEM, _PROTECTED, at=at, routing=self.routing)
        grant_all(session, case, cases.SYSTEM, _PROTECTED, at=at)

    def _publish_all(self, feeds: Sequence[str], at: datetime, *, routine: bool) -> list[PublishedFeed]:
        """One feed that fails keeps no other's retractions back."""
        if not feeds:
            return []
        standing = {feed.feed: feed for feed in self.publisher.status().feeds}
        published = []
        failures: list[BlocklistError] = []
        for feed in feeds:
            try:
                published.append(self._publish(standing.get(feed, FeedStatus(feed)), at, routine=routine))
            except BlocklistError as error:
                log.error("feed %s is not published: %s", feed, error)
                failures.append(error)
        if failures:
            raise failures[0]
        return published

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
                quiet = FeedRow.serial.is_not(None) & (FeedRow.published_at <= at - _QUIET)
                feeds |= set(session.scalars(select(FeedRow.name).where(quiet)))
        return sorted(feeds)

    def _publish(self, stands: FeedStatus, at: datetime, *, routine: bool) -> PublishedFeed:
        feed = stands.feed
        rows = self.database.change(lambda session: self._prepare(session, stands, at, routine=routine))
        report = self.publisher.release(
            feed, _table(rows, issuer=self.issuer), allow_empty=True, max_rejects=0, published_at=None
        )
        shown = {row.id: _content(row) for row in rows}
        self.database.change(lambda session: self._settle(session, feed, shown, report, at))
        log.info(
            "published %s %d: %d rows, +%d -%d ~%d",
            *(feed, report.serial, report.rows, report.added, report.removed, report.changed),
        )
        return PublishedFeed(
            feed=feed,
            serial=report.serial,
            rows=report.rows,
            added=report.added,
            removed=report.removed,
            changed=report.changed,
        )

    def _prepare(self, session: Session, stands: FeedStatus, at: datetime, *, routine: bool) -> list[ListingRow]:
        """What the feed's next release has; new listings get their ids."""
        feed, serial, last_entry = stands.feed, (stands.serial or 0) + 1, stands.last_entry or 0
        known = session.get(FeedRow, feed, with_for_update=True)
        if known is None:
            known = FeedRow(name=feed, last_entry=0, begun=0, rows=0)
            session.add(known)
        if known.last_entry < last_entry:
            log.error(
                "feed %s: the database is older than the repository: it knows entries up to %d, of %d. What was "
                "decided in between has to be decided again.",
                feed,
                known.last_entry,
                last_entry,
            )
            known.last_entry = last_entry
        known.begun = max(known.begun, serial)
        listed = (ListingRow.feed == feed) & ListingRow.lifted_at.is_(None)
        # By the database, since somebody may be extending one of them at this moment.
        session.execute(
            update(ListingRow)
            .where(listed, ListingRow.retracted_at.is_(None), ListingRow.until <= at)
            .values(retracted_at=ListingRow.until, ended=True, waiting=True)
            .execution_options(synchronize_session=False)
        )
        rows = []
        for row in session.scalars(select(ListingRow).where(listed).order_by(ListingRow.id)):
            # A serial that has been published already was noted by a run that was cut short after its release.
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

    def _settle(self, session: Session, feed: str, shown: Shown, report: ReleaseResult, at: datetime) -> None:
        """Note what the release shows, and where that leaves the cases."""
        found = session.get(FeedRow, feed, with_for_update=True)
        assert found is not None
        found.serial, found.rows, found.published_at = report.serial, report.rows, at
        waiting = (ListingRow.feed == feed) & ListingRow.lifted_at.is_(None) & ListingRow.waiting
        touched = cases.locked_many(session, set(session.scalars(select(ListingRow.case_id).where(waiting))))
        # Read once the cases are locked: nobody decides on them any more.
        for row in session.scalars(select(ListingRow).where(waiting)).all():
            if row.case_id not in touched:
                continue
            event = None
            if row.id in shown:
                # What was decided while the release was made waits for the next.
                row.waiting = row.retracted_at is not None or _content(row) != shown[row.id]
                if row.listed_at is None:
                    row.listed_at, event = at, "listed"
            elif row.retracted_at is not None and row.lifted_serial is not None:
                row.lifted_at, row.waiting, event = at, False, "lifted"
            elif row.retracted_at is not None and row.entry is None:  # it never stood on the feed
                row.lifted_at, row.waiting = at, False
            if event is not None:
                where: dict[str, cases.Detail] = {"feed": feed, "serial": report.serial, "entry": row.entry}
                cases.note(session, touched[row.case_id], at=at, actor=cases.SYSTEM, event=event, **where)
        session.flush()
        self._advance(session, touched, at)

    def _advance(self, session: Session, touched: Mapping[int, CaseRow], at: datetime) -> None:
        """Move cases to where their listings are."""
        active: set[int] = set()
        waiting: set[int] = set()
        for case_id, waits in _active(session, sorted(touched)):
            active.add(case_id)
            if waits:
                waiting.add(case_id)
        for case in touched.values():
            if case.id not in active:
                end(session, case, at=at)
                grant_all(session, case, cases.SYSTEM, _ENDED, at=at)
            elif cases.state_of(case) == cases.DECIDED and case.id not in waiting:
                cases.move(session, case, cases.PUBLISHED, at=at, actor=cases.SYSTEM, event="published")
        cases.settle(session, touched.values(), recipient_ids(session), at=at)


def _active(session: Session, case_ids: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """Of each listing of the cases that is not retracted: the case, and whether it waits."""
    for some in cases.in_parts(case_ids):
        rows = session.execute(
            select(ListingRow.case_id, ListingRow.waiting).where(
                ListingRow.case_id.in_(some), ListingRow.retracted_at.is_(None)
            )
        )
        yield from ((row.case_id, row.waiting) for row in rows)


def _content(row: ListingRow) -> tuple[object, ...]:
    """What a release says of a listing."""
    return row.level, row.category, row.scope, row.since, row.until


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
