"""Publishing: turns decisions into releases of the feeds that they reach, at once or with the monthly cycle."""

import contextlib
import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.errors import BlocklistError, InvalidInput, Refused, StorageFailed
from blocklist_sdk.exchange.models import Publication, PublishedFeed, WaitingRelease
from blocklist_sdk.exchange_server.alarms import alarm
from blocklist_sdk.exchange_server.casework import cases, held_ends, recycled, waiting_releases
from blocklist_sdk.exchange_server.casework.accounted import (
    ListingImage,
    agrees,
    is_no_more_than,
    is_retracted,
)
from blocklist_sdk.exchange_server.casework.accounts import recipient_ids
from blocklist_sdk.exchange_server.casework.appeals import grant_open_appeals
from blocklist_sdk.exchange_server.casework.decisions import close_expired, retract
from blocklist_sdk.exchange_server.casework.held_ends import Ends
from blocklist_sdk.exchange_server.casework.release_guard import (
    Content,
    NextEntry,
    Verdict,
    judge,
    publishable,
    published_contents,
    signed_contents,
    table_of,
)
from blocklist_sdk.exchange_server.casework.reminders import Reminders
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.casework.trail_book import TrailBook, Unread, head_at, signed_head
from blocklist_sdk.exchange_server.store.database import Database, add_missing
from blocklist_sdk.exchange_server.store.tables import (
    TRAIL_ACCEPTED,
    CaseRow,
    CycleRow,
    FeedRow,
    ListingRow,
    WaitingRow,
)
from blocklist_sdk.exchange_server.store.trail import Act, head, record
from blocklist_sdk.locks import file_lock
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.publisher import Publisher
from blocklist_sdk.publisher.results import FeedStatus, ReleaseResult
from blocklist_sdk.release.arrow import from_table
from blocklist_sdk.release.audit import AuditHead
from blocklist_sdk.release.merge import Delta
from blocklist_sdk.release.rows import Rows
from blocklist_sdk.texts import counted

log: logging.Logger = logging.getLogger(__name__)

_TURN_S: Final = 60
"""How long a run waits for the run of another process, seconds."""

_QUIET: Final = timedelta(hours=1)
"""A feed with a newer release than this gets no release without changes, and what waits is not judged again before."""

_NAMED_MAX: Final = 20
"""So many listings or entries are named in an alarm."""

_ENDED: Final = "the listing has ended"

_PROTECTED: Final = "the number is protected: no feed may list it"


@dataclass(frozen=True, slots=True)
class _Plan:
    """A feed's next release, as the database has it.

    Attributes:
        shown: what it shows.
        waiting: what waits for an officer; None if nothing does.
        is_new: whether the alarm about what waits is still to be given.
        accepted_by: who let through what the guard refused; None if it refused nothing.
        is_needed: False if the release would be the current one.
        unaccounted: listings that are not what the audit trail says; of them it shows what is signed already, at most.
    """

    shown: list[tuple[NextEntry, Content]]
    waiting: WaitingRelease | None
    is_new: bool
    accepted_by: str | None
    is_needed: bool
    unaccounted: tuple[ListingRow, ...]


class _Outcome(NamedTuple):
    """What came of one feed: its release, if it got one; and why something new is not on it, if so."""

    published: PublishedFeed | None
    held_why: str | None


@dataclass(frozen=True, slots=True)
class Publishing:
    """Publishes the decisions in the database. One run at a time; the next run completes an interrupted one.

    A listing's entry ID is assigned in the database before the release that shows it is made, and every release has all
    listings with an ID. So an ID never means another listing, whatever happens in between. The serials of the releases
    that list and lift it are stored then as well, so that a recipient may send receipts as soon as it has them.

    What begins to block more numbers than the guard lets through waits for an officer, and has no ID meanwhile.
    Everything else is published: retractions, ends and what weakens a block never wait.

    Attributes:
        database: has the decisions.
        publisher: has the feeds' keys.
        issuer: the issuer in all entries.
        cycle_day: day of the month, UTC, on which routine decisions are published.
        routing: which feeds decisions reach.
        guard: how many numbers a release may begin to block; its limits on removals are not used.
        book: what the audit trail says of each listing.
        reminders: which alarms were raised a short while ago.
        max_ended: the share of the listings that may end in one run.
        min_ended: so many listings may always end.
        process_lock: a file that is locked during a run, against other processes.
        thread_lock: held during a run, against other threads.
    """

    database: Database
    publisher: Publisher
    issuer: str
    cycle_day: int
    routing: RoutingRules
    guard: PublisherGuard
    book: TrailBook
    reminders: Reminders
    max_ended: float
    min_ended: int
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
            held_why = self._catch_up()
            is_sound = held_why is None
            ends = self._ends(now)
            self._lift_protected(now)
            routine = everything or self.is_due(now)
            feeds = self._waiting_feeds(now, ends, routine=routine)
            feeds = sorted({*feeds, *(self._undone_feeds(feeds) if is_sound else ())})
            outcomes = self._publish_all(feeds, now, ends, routine=routine)
            if outcomes:  # each feed has looked again, also at the heads of signed releases
                held_why = next((each.held_why for each in outcomes if each.held_why), None)
            if routine:
                self.database.change(
                    lambda session: add_missing(session, CycleRow, [{"month": _month(now), "at": now}]),
                    by=Act(cases.SYSTEM, "cycle"),
                )
            with self.database.reading() as session:
                waiting = waiting_releases.waiting_releases(session)
        return Publication(
            at=now,
            routine=routine,
            feeds=tuple(each.published for each in outcomes if each.published is not None),
            waiting=waiting,
            ends_held=ends.held,
            ends_held_why=ends.why,
            listings_held_why=held_why,
        )

    def _ends(self, now: datetime) -> Ends:
        """Which ends take effect in this run; alarms about what waits for a person are raised here."""
        with self.database.reading() as session:
            ends = held_ends.judge_ends(session, now, share=self.max_ended, least=self.min_ended)
            is_to_be_noted = held_ends.is_to_be_noted(session, ends, now)
            is_overdue = recycled.are_overdue(session, now)
        if is_to_be_noted:
            self.database.change(lambda session: held_ends.note(session, ends, now))
        if is_overdue:
            self.database.change(lambda session: recycled.remind(session, now))
        return ends

    def begin(self, now: datetime) -> None:
        """Give each feed without a release its first one, so that recipients can join before any number is listed.

        Raises:
            BlocklistError: as for `run`.
        """
        with self.thread_lock, self._locked():
            with self.database.reading() as session:
                begun = set(session.scalars(select(FeedRow.name).where(FeedRow.serial.is_not(None))))
            new = [feed for feed in self.routing.feeds if feed not in begun]
            if new:
                self._publish_all(new, now, self._ends(now), routine=False)

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
            self.database.change(partial(self._lift, case_id, now), by=Act(cases.SYSTEM, "number protected"))

    def _lift(self, case_id: int, now: datetime, session: Session) -> None:
        case = cases.lock_case(session, case_id)
        retract(session, case, _PROTECTED, now=now, routing=self.routing)
        grant_open_appeals(session, case, None, _PROTECTED, now=now)

    def _publish_all(self, feeds: Sequence[str], now: datetime, ends: Ends, *, routine: bool) -> list[_Outcome]:
        """Publish each feed, even if another one fails."""
        if not feeds:
            return []
        statuses = {feed.feed: feed for feed in self.publisher.status().feeds}
        anchors = tuple({feed.audit for feed in statuses.values() if feed.audit is not None})
        outcomes = []
        failures: list[BlocklistError] = []
        for feed in feeds:
            try:
                status = statuses.get(feed, FeedStatus(feed))
                outcomes.append(self._publish(status, now, ends, routine=routine, anchors=anchors))
            except BlocklistError as error:
                log.error("feed %s was not published: %s", feed, error)
                failures.append(error)
        if failures:
            raise failures[0]
        return outcomes

    def is_due(self, now: datetime) -> bool:
        """Whether the cycle day of this month has come and its routine publication has not been made."""
        with self.database.reading() as session:
            return now.day >= self.cycle_day and session.get(CycleRow, _month(now)) is None

    def _waiting_feeds(self, now: datetime, ends: Ends, *, routine: bool) -> list[str]:
        """Feeds that need a release now; with the cycle, also those that have not had one for a while."""
        at_once = or_(ListingRow.retracted_at.is_not(None), ListingRow.urgent, ListingRow.until <= ends.until)
        wanted = select(ListingRow.feed).where(
            ListingRow.lifted_at.is_(None), ListingRow.waiting | (ListingRow.until <= ends.until)
        )
        with self.database.reading() as session:
            feeds = set(session.scalars(wanted if routine else wanted.where(at_once)))
            for waiting in session.scalars(select(WaitingRow)):
                # What waits alone is no reason to look again every few seconds. A removal is, and so are these:
                removed = or_(ListingRow.retracted_at.is_not(None), ListingRow.until <= ends.until)
                is_removed = session.scalar(wanted.where(removed, ListingRow.feed == waiting.feed).limit(1)) is not None
                if is_removed or self._is_to_be_judged(session, waiting, now, routine=routine):
                    feeds.add(waiting.feed)
                else:
                    feeds.discard(waiting.feed)
            if routine:  # a release without changes shows recipients that the feed is alive
                quiet = FeedRow.serial.is_not(None) & (FeedRow.published_at <= now - _QUIET)
                feeds |= set(session.scalars(select(FeedRow.name).where(quiet)))
        return sorted(feeds)

    def _undone_feeds(self, feeds: Collection[str]) -> list[str]:
        """Other feeds with listings that the lines retract, and that the database does not: each set once an hour."""
        return [
            feed
            for feed, listings in self.book.retracted().items()
            if feed not in feeds and feed in self.routing.feeds and self.reminders.is_due(f"{feed}: undone {listings}")
        ]

    def _is_to_be_judged(self, session: Session, waiting: WaitingRow, now: datetime, *, routine: bool) -> bool:
        """Whether what waits has to be judged again: it was accepted, or something about it may have changed."""
        return (
            routine
            or waiting.accepted_by is not None
            or not now - _QUIET < waiting.judged_at <= now
            or waiting.limits != self._limits
            or waiting.state != waiting_releases.decisions_state(session, waiting.feed)
        )

    @property
    def _limits(self) -> str:
        return f"{self.guard.max_added:g} {self.guard.min_added}"

    def _publish(
        self, status: FeedStatus, now: datetime, ends: Ends, *, routine: bool, anchors: Sequence[AuditHead]
    ) -> _Outcome:
        """Publish what may be published."""
        feed = status.feed
        held_why = self._catch_up(anchors)
        is_sound = held_why is None
        of_feed = {"feed": feed}
        plan = self.database.change(
            lambda session: self._prepare(session, status, now, ends, routine=routine, is_sound=is_sound),
            by=Act(cases.SYSTEM, "release prepared", of_feed | {"serial": status.next_serial}),
        )
        if plan.waiting is not None and plan.is_new:
            log.error(
                "feed %s: the guard holds back %s, until an officer accepts this: %s. Retractions are published. To "
                "look: blocklist exchange publish, or GET /v1/publications/waiting. Digest: %s",
                *(feed, counted(plan.waiting.listings, "listing"), "; ".join(plan.waiting.reasons)),
                plan.waiting.digest,
            )
        if plan.unaccounted and is_sound:
            held_why = _unaccounted_for(feed, plan.unaccounted)
            if self.reminders.is_due(held_why):
                alarm("%s. Everything else is. To look: blocklist exchange verify DIR", held_why)
        if plan.accepted_by is not None:
            log.warning("feed %s: %s accepted a release that the guard refused", feed, plan.accepted_by)
        released = self._release(status, plan, anchors) if plan.is_needed else None
        self.database.change(
            lambda session: self._settle(session, status, plan, released, now),
            by=Act(
                cases.SYSTEM, "release settled", of_feed | {"serial": released.serial if released else status.serial}
            ),
        )
        if released is None:
            return _Outcome(None, held_why)
        log.info(
            "published %s %d: %d %s, +%d -%d ~%d",
            *(feed, released.serial, released.rows, "row" if released.rows == 1 else "rows"),
            *(released.added, released.removed, released.changed),
        )
        made = PublishedFeed(
            feed=feed,
            serial=released.serial,
            rows=released.rows,
            added=released.added,
            removed=released.removed,
            changed=released.changed,
        )
        return _Outcome(made, held_why)

    def doubt(self) -> str | None:
        """Why the audit trail is not the one that releases were signed with, or that was read before; None if it is.

        Raises:
            BlocklistError: the book, the database or the repository cannot be read.
        """
        anchors = {feed.audit for feed in self.publisher.status().feeds if feed.audit is not None}
        with self.database.snapshot() as session:
            return self.book.doubt(session, anchors)

    def _catch_up(self, anchors: Sequence[AuditHead] = ()) -> str | None:
        """Have the book read the lines since. Returns why nothing new may be listed; None if it may."""
        end = ""
        try:
            with self.database.snapshot() as session:
                broken = self.book.catch_up(session, anchors)
                if isinstance(broken, Unread):
                    log.warning(
                        "%s of the audit trail must still be read before anything new is listed; retractions are "
                        "published",
                        counted(broken.lines, "line"),
                    )
                elif broken is not None:
                    reached = signed_head(head(session))
                    end = f"{reached.length}:{reached.head}"
        except StorageFailed as error:  # what it says may be unknown, and unblocks are published all the same
            broken = f"what the audit trail says cannot be known: {error}"
        if isinstance(broken, str) and self.reminders.is_due(broken):
            alarm(
                "%s. Nothing new is listed; retractions are published. To look: blocklist exchange verify DIR. If an "
                "older copy of the database was brought back on purpose: blocklist exchange publish DIR "
                "--accept-trail %s",
                *(broken, end),
            )
        if isinstance(broken, Unread):
            return f"{counted(broken.lines, 'line')} of the audit trail must still be read"
        return broken

    def accept_trail(self, text: str) -> None:
        """Begin the book anew from the database as it is. Arguments and errors are those of `Exchange.accept_trail`."""
        named = AuditHead.parse(text)
        with self.thread_lock, self._locked():
            with self.database.snapshot() as session:
                if head_at(session, named.length) != named.head:
                    raise InvalidInput(
                        f"the audit trail has no line {named.length:,} with the hash {named.head}: copy both from the "
                        "newest alarm"
                    )
            self.database.change(
                lambda session: record(session, Act(cases.COMMAND_LINE, TRAIL_ACCEPTED, named.document()))
            )
            anchors = {feed.audit for feed in self.publisher.status().feeds if feed.audit is not None}
            with self.database.snapshot() as session:
                self.book.adopt(session, anchors)

    def _release(self, status: FeedStatus, plan: _Plan, anchors: Sequence[AuditHead]) -> ReleaseResult:
        is_sound = self._catch_up(anchors) is None
        scope = self.routing.scopes.get(status.feed)
        if scope is not None and status.scope != scope:
            self.publisher.set_scope(status.feed, scope)
        return self.publisher.release(
            status.feed,
            table_of(plan.shown, issuer=self.issuer),
            allow_empty=True,
            max_rejects=0,
            # It has been judged here, where what may wait is known from what may not.
            guard=PublisherGuard.off(),
            # Of a trail that was changed, the head that was signed before stays: it shows what was changed.
            audit=self.book.head() if is_sound else None,
            review=partial(self._review, status.feed, plan, is_sound),
        )

    def _review(self, feed: str, plan: _Plan, is_sound: bool, delta: Delta) -> None:
        """Look at what a release changes of the one before: what it puts is what the lines allow.

        What it removes may have no line, and is published all the same, with an alarm.

        Raises:
            Refused: a row is put that was not compared with the lines. That is a bug.
        """
        allowed = {each.entry: each for each, _ in plan.shown}
        for entry, (number, content) in signed_contents(delta.puts).items():
            each = allowed.get(entry)
            if each is None or each.number != number or not is_no_more_than(content, each.wished):
                raise Refused(
                    f"feed {feed}: entry {entry} is not what was compared with the audit trail: report this bug"
                )
        gone = {*delta.removes.entry.tolist()}
        if is_sound:
            unexplained = sorted(gone - self.book.lifts(feed, gone))
            if unexplained:
                alarm(
                    "feed %s: no line of the audit trail retracts entry %s%s, which the database does not list any "
                    "more. It is lifted all the same. To look: blocklist exchange verify",
                    feed,
                    ", ".join(map(str, unexplained[:_NAMED_MAX])),
                    f" and {len(unexplained) - _NAMED_MAX:,} more" if len(unexplained) > _NAMED_MAX else "",
                )

    def _prepare(
        self, session: Session, status: FeedStatus, now: datetime, ends: Ends, *, routine: bool, is_sound: bool
    ) -> _Plan:
        """The feed's next release; new listings on it get their entry IDs, and those that wait have none."""
        feed, serial, last_entry = status.feed, status.next_serial, status.last_entry or 0
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
        waiting = session.get(WaitingRow, feed, with_for_update=True)
        state = waiting_releases.decisions_state(session, feed)  # before the listings: what comes between counts as new
        listed = (ListingRow.feed == feed) & ListingRow.lifted_at.is_(None)
        # Locked, since another process may be extending one of them at this moment.
        ending = listed & ListingRow.retracted_at.is_(None) & (ListingRow.until <= ends.until)
        for row in session.scalars(select(ListingRow).where(ending).order_by(ListingRow.id).with_for_update()):
            row.retracted_at, row.ended, row.waiting = row.until, True, True
        session.flush()
        rows = {row.id: row for row in session.scalars(select(ListingRow).where(listed).order_by(ListingRow.id))}
        # A cycle that waits goes on waiting as it was: routine decisions made since then belong to the next one.
        last_listing = max(rows, default=0) if routine else waiting.last_listing if waiting else 0
        is_routine = routine or (waiting is not None and waiting.routine)
        wanted = [
            row
            for row in rows.values()
            if row.retracted_at is None
            and (row.entry is not None or row.urgent or (is_routine and row.id <= last_listing))
        ]
        accounted, unaccounted, kept, is_undone = self._by_lines(
            session, feed, wanted, retracted={row.id for row in rows.values() if row.retracted_at}, is_sound=is_sound
        )
        wished, verdict = self._judged(feed, accounted, known.last_entry, now, is_first=not last_entry)
        accepted_by = None
        if waiting is not None and waiting.accepted_by and not waiting_releases.is_accounted_for(session, waiting):
            alarm(
                "feed %s: the database says that %s accepted what the guard holds back, and no line of the audit trail "
                "does, so it goes on waiting. To look: blocklist exchange verify",
                *(feed, waiting.accepted_by),
            )
            waiting.accepted_by = waiting.accepted_at = None
        if waiting is not None and verdict.held and waiting.digest == verdict.digest:
            accepted_by = waiting.accepted_by
        held = frozenset[int]() if accepted_by is not None else verdict.held
        shown = publishable(wished, held)
        is_needed = not (held or unaccounted) or any(content != each.published for each, content in (*shown, *kept))
        is_needed |= is_undone or any(_is_to_be_lifted(row, serial) for row in rows.values())
        is_needed |= routine and (known.published_at is None or known.published_at <= now - _QUIET)
        if is_needed:
            known.begun = max(known.begun, serial)
            for row in rows.values():
                if _is_to_be_lifted(row, serial):
                    row.lifted_serial = serial
        self._give_ids(known, rows, wished, shown, serial=serial, last_entry=last_entry)
        if held:
            case_ids = {each.entry: each.case for each in wished}
            of_cycle = is_routine and any(not rows[listing].urgent for listing in held)
            waiting = waiting_releases.store(
                *(session, waiting, verdict),
                feed=feed,
                cases=case_ids,
                routine=of_cycle,
                last_listing=last_listing,
                limits=self._limits,
                state=state,
                now=now,
            )
        return _Plan(
            shown=[*shown, *kept],
            waiting=waiting_releases.shown_release(waiting) if held and waiting is not None else None,
            is_new=bool(held) and waiting is not None and not waiting.is_known,
            accepted_by=accepted_by,
            is_needed=is_needed,
            unaccounted=tuple(unaccounted),
        )

    def _by_lines(
        self,
        session: Session,
        feed: str,
        wanted: Sequence[ListingRow],
        *,
        retracted: Collection[int],
        is_sound: bool,
    ) -> tuple[list[ListingRow], list[ListingRow], list[tuple[NextEntry, Content]], bool]:
        """Compare listings with what the audit trail says of them.

        Returns:
            Those that it accounts for; the others; what the next release shows of the others: what is signed of them
            already, or less, where the database says less; and whether something is signed that the lines retract and
            the database does not.
        """
        images: dict[int, ListingImage] = {}
        later: dict[int, list[ListingImage]] = {}
        if is_sound:
            images = self.book.listings(feed)
            # What others have changed while the rows were read may be in them or not.
            later = self.book.later_images(session, images)

        def is_accounted_for(row: ListingRow) -> bool:
            known = images.get(row.id)
            return (known is not None and agrees(known, row)) or any(
                agrees(each, row) for each in later.get(row.id, ())
            )

        accounted: list[ListingRow] = []
        others: list[ListingRow] = []
        for row in wanted:
            (accounted if is_accounted_for(row) else others).append(row)
        gone = {
            image.get("entry") for listing, image in images.items() if is_retracted(image) and listing not in retracted
        }
        signed = signed_contents(from_table(self.publisher.entries(feed))) if others or gone else {}
        is_undone = not gone.isdisjoint(signed)
        if not others:
            return accounted, [], [], is_undone
        kept: list[tuple[NextEntry, Content]] = []
        unaccounted: list[ListingRow] = []
        for row in others:
            known = images.get(row.id)
            if known is not None and is_retracted(known):
                unaccounted.append(row)  # the lines say that it is to be lifted
                continue
            entry = row.entry if not is_sound else None if known is None else known.get("entry")
            number, content = signed.get(entry, (None, None)) if entry is not None else (None, None)
            if number is None or content is None:
                unaccounted.append(row)
            else:
                is_less = row.number == number and is_no_more_than(_content(row), content)
                shown = _content(row) if is_less else content
                assert entry is not None
                kept.append((NextEntry(row.id, row.case_id, number, entry, row.urgent, shown, content), shown))
                if is_sound or not is_less:
                    unaccounted.append(row)
            if is_sound and row.entry != entry:
                row.entry = None  # or it would be in the way of the listing to which the ID belongs
        session.flush()
        return accounted, unaccounted, kept, is_undone

    def _judged(
        self, feed: str, wanted: Sequence[ListingRow], last_entry: int, now: datetime, *, is_first: bool
    ) -> tuple[list[NextEntry], Verdict]:
        """The listings of the next release, and what the guard says about it; the first list is free."""
        unpublished = [row for row in wanted if row.waiting]
        # Each listing is one number, so that few of them cannot be too many: then nothing else has to be read.
        is_free = is_first or len(unpublished) <= self.guard.min_added
        current = Rows.empty() if is_free else from_table(self.publisher.entries(feed))
        published = published_contents(current, [row.entry for row in unpublished if row.entry is not None])
        wished = []
        for row in wanted:
            content = _content(row)
            entry = row.entry
            if entry is None:
                last_entry = entry = last_entry + 1
            before = published.get(entry) if row.waiting else content
            wished.append(NextEntry(row.id, row.case_id, row.number, entry, row.urgent, content, before))
        if is_free:
            return wished, Verdict()
        region = self.routing.region
        return wished, judge(current, wished, guard=self.guard, feed=feed, region=region, now=now)

    def _give_ids(
        self,
        known: FeedRow,
        rows: Mapping[int, ListingRow],
        wished: Sequence[NextEntry],
        shown: Sequence[tuple[NextEntry, Content]],
        *,
        serial: int,
        last_entry: int,
    ) -> None:
        """Give IDs to the listings on the next release; take them from those that an interrupted run was to publish."""
        for each, _ in shown:
            row = rows[each.listing]
            row.entry = each.entry
            known.last_entry = max(known.last_entry, each.entry)
            # An interrupted run may have stored a serial that has been published since: keep it.
            if row.listed_serial is None or row.listed_serial > serial:
                row.listed_serial = serial
        on_it = {each.listing for each, _ in shown}
        for each in wished:
            row = rows[each.listing]
            if each.listing not in on_it and row.entry is not None and row.entry > last_entry:
                row.entry = row.listed_serial = None

    def _settle(
        self, session: Session, status: FeedStatus, plan: _Plan, released: ReleaseResult | None, now: datetime
    ) -> None:
        """Store what the release shows, and update the cases; `released` is None if it is still the one before."""
        feed, serial = status.feed, status.serial if released is None else released.serial
        found = session.get(FeedRow, feed, with_for_update=True)
        assert found is not None
        if released is not None:
            found.serial, found.rows, found.published_at = released.serial, released.rows, now
        stored = session.get(WaitingRow, feed, with_for_update=True)
        if stored is not None and plan.waiting is None:
            session.delete(stored)
        elif stored is not None:
            stored.is_known = True
        shown = {each.listing: content for each, content in plan.shown}
        waiting = (ListingRow.feed == feed) & ListingRow.lifted_at.is_(None) & ListingRow.waiting
        touched = cases.lock_cases(session, set(session.scalars(select(ListingRow.case_id).where(waiting))))
        # Read after the cases are locked, so that no decision on them comes in between.
        for row in session.scalars(select(ListingRow).where(waiting)).all():
            if row.case_id not in touched:
                continue
            event = None
            if row.id in shown:
                # Decisions made during the release wait for the next one, and what the guard holds back for an officer.
                row.waiting = row.retracted_at is not None or _content(row) != shown[row.id]
                if row.listed_at is None:
                    row.listed_at, event = now, "listed"
            elif row.retracted_at is not None and row.lifted_serial is not None:
                row.lifted_at, row.waiting, event = now, False, "lifted"
            elif row.retracted_at is not None and row.entry is None:  # it was never on the feed
                row.lifted_at, row.waiting = now, False
            if event is not None:
                where: dict[str, cases.Detail] = {"feed": feed, "serial": serial, "entry": row.entry}
                if plan.accepted_by is not None and event == "listed":
                    where["accepted_by"] = plan.accepted_by
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
                grant_open_appeals(session, case, None, _ENDED, now=now)
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


def _content(row: ListingRow) -> Content:
    """What a release shows of a listing."""
    return Content(row.level, row.category, row.scope, row.since, row.until)


def _is_to_be_lifted(row: ListingRow, serial: int) -> bool:
    """Whether the release of that serial is the first without a retracted listing that may have been on the feed."""
    # An interrupted run may have stored a serial that has been published since: keep it.
    is_open = row.lifted_serial is None or row.lifted_serial > serial
    return row.retracted_at is not None and row.entry is not None and is_open


def _unaccounted_for(feed: str, rows: Sequence[ListingRow]) -> str:
    named = ", ".join(f"{row.id} (case {row.case_id})" for row in rows[:_NAMED_MAX])
    more = f" and {len(rows) - _NAMED_MAX:,} more" if len(rows) > _NAMED_MAX else ""
    return (
        f"feed {feed}: what the database says of listing {named}{more} is not what the audit trail says, so it is not "
        "published"
    )


def _month(now: datetime) -> str:
    return f"{now:%Y-%m}"
