"""An exchange as one object: the folder with its settings, database, evidence and publisher."""

import contextlib
import logging
import secrets
import shlex
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from blocklist_sdk.disk import replaced, storage, write_file
from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import MONTH, Publication, Statistics, WaitingRelease
from blocklist_sdk.exchange_server.casework import (
    accounts,
    appeals,
    cases,
    held_ends,
    publishing_health,
    waiting_releases,
)
from blocklist_sdk.exchange_server.casework.accounts import Tokens, check_oauth_scopes
from blocklist_sdk.exchange_server.casework.alarming_lines import mark_alarmed, raise_alarms
from blocklist_sdk.exchange_server.casework.cases import COMMAND_LINE
from blocklist_sdk.exchange_server.casework.certificates import fingerprint_of
from blocklist_sdk.exchange_server.casework.configuration import configuration_of, note_configuration
from blocklist_sdk.exchange_server.casework.publishing import Publishing
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.casework.reminders import Reminders
from blocklist_sdk.exchange_server.casework.report_queue import ReportQueue
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.casework.secret_hashes import is_old
from blocklist_sdk.exchange_server.casework.seen_heads import read_heads, unproved_heads
from blocklist_sdk.exchange_server.casework.statistics import statistics_of
from blocklist_sdk.exchange_server.casework.trail_book import FILE as BOOK
from blocklist_sdk.exchange_server.casework.trail_book import TrailBook
from blocklist_sdk.exchange_server.casework.verification import Finding, findings
from blocklist_sdk.exchange_server.clock import SteadyClock
from blocklist_sdk.exchange_server.evidence.evidence_store import DEFAULT_JUDGE, EvidenceStore
from blocklist_sdk.exchange_server.evidence.judge import Judge
from blocklist_sdk.exchange_server.settings import FILE, ExchangeSettings
from blocklist_sdk.exchange_server.store import trail
from blocklist_sdk.exchange_server.store.budgets import forget_budgets
from blocklist_sdk.exchange_server.store.database import Database, service_role
from blocklist_sdk.exchange_server.store.tables import CLOCK_ACCEPTED, AccountRow, AnswerRow
from blocklist_sdk.exchange_server.store.trail_lines import Act, TrailEnd, canonical_json
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.places import absolute
from blocklist_sdk.publisher.folder import Timing
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.keys import OFFLINE_FOLDER, Passphrase
from blocklist_sdk.publisher.publisher import Publisher
from blocklist_sdk.texts import counted

log: logging.Logger = logging.getLogger(__name__)

ROUTING: Final = "routing.toml"
_TOKEN_KEY: Final = "token-key.pem"  # noqa: S105
_PUBLISHER: Final = "publisher"
_EVIDENCE: Final = "evidence"
_PUBLISHING: Final = "publishing.lock"

_RESPONSES_KEPT: Final = timedelta(days=7)
"""How long an idempotency key is remembered: far longer than any client retries."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange, opened from its folder.

    ::

        DIR/
            exchange.toml     settings
            routing.toml      which decisions reach which feeds
            exchange.sqlite   the database, unless the settings name another
            evidence/         files, named by their hash, mode 0700
            publisher/        keys and the signed repository; root and targets keys in publisher/keys/offline
            token-key.pem     signs access tokens, mode 0600
            trail-book.sqlite what the audit trail says of listings, mode 0600; written again if it is missing

    Attributes:
        directory: the folder.
        settings: its settings.
        routing: which decisions reach which feeds.
        database: its database.
        evidence: its evidence files.
        publisher: publishes its feeds.
        tokens: makes and reads access tokens.
        report_queue: takes single reports.
        clock: returns the time, UTC, to the whole second; a `SteadyClock` unless another was given.
    """

    directory: Path
    settings: ExchangeSettings
    routing: RoutingRules
    database: Database
    evidence: EvidenceStore
    publisher: Publisher
    tokens: Tokens
    report_queue: ReportQueue
    clock: Callable[[], datetime]
    _publishing: Publishing

    @classmethod
    def init(
        cls,
        directory: str | Path,
        *,
        passphrase: Passphrase,
        offline_passphrase: Passphrase,
        settings: ExchangeSettings | None = None,
        routing: Path | None = None,
        database_owner: str | None = None,
    ) -> Self:
        """Make an exchange's folder; if this fails, nothing is left of it.

        Args:
            directory: the folder; it must be new or empty.
            passphrase: encrypts the feeds' keys and the online key, with which an exchange publishes; at least 12
                characters, or a function that takes a key's name.
            offline_passphrase: encrypts the root and targets keys, which lie in `offline_keys`, to be carried away;
                another one than `passphrase`. The exchange that is returned does not know it.
            settings: by default those of `ExchangeSettings`.
            routing: a file with routing rules; by default those that come with the package for the region.
            database_owner: URL of the same PostgreSQL database for another role, which makes and owns the tables. The
                role of `settings.database` can then add to the audit trail, and not alter it. This URL is not stored.

        Raises:
            InvalidInput: the folder is not empty, a setting, a rule or a passphrase cannot be used, or both passphrases
                are the same; or the role that serves could act as the owner.
            StorageFailed: the disk or the database failed.
        """
        directory = absolute(directory)
        settings = settings or ExchangeSettings()
        rules = RoutingRules.load(routing) if routing else RoutingRules.default(settings.region)
        _check_region(rules, settings)
        service = None if database_owner is None else service_role(settings.database, database_owner)
        with storage(directory):
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise InvalidInput(f"{directory} exists already: give a new or empty folder")
            building = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
            PRIVATE.make(building)
        try:
            Publisher.init(
                building / _PUBLISHER,
                feeds=rules.scopes,
                passphrase=passphrase,
                offline_passphrase=offline_passphrase,
                region=settings.region,
            )
            with storage(directory):
                # The database's URL may hold a password.
                write_file(building / FILE, settings.to_toml().encode(), PRIVATE)
                text = decoded(routing.read_bytes(), str(routing)) if routing else RoutingRules.shipped(settings.region)
                write_file(building / ROUTING, text.encode(), PRIVATE)
                write_file(building / _TOKEN_KEY, Tokens.new_key(), PRIVATE)
                PRIVATE.make(building / _EVIDENCE)
            database = Database(database_owner or settings.database, directory=building)
            with contextlib.closing(database):
                database.create(service=service)
            with storage(directory):
                building.replace(directory)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        exchange = cls.open(directory, passphrase=passphrase)
        exchange.note_configuration()
        mark_alarmed(exchange.database)
        return exchange

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        passphrase: Passphrase | None,
        clock: Callable[[], datetime] | None = None,
        judge: Judge = DEFAULT_JUDGE,
        **settings: Any,
    ) -> Self:
        """Open an exchange's folder.

        Args:
            directory: the folder that :meth:`init` made.
            passphrase: of the feeds' keys and the online key; None if nothing will be published. What it does not open
                is not available, as the root and targets keys. A function that takes a key's name may have both.
            clock: returns the time, UTC, to the whole second; by default a `SteadyClock`, by which releases are dated
                and signed as well.
            judge: decides which files are evidence; by default `MediaJudge`.
            settings: override those in the folder.

        Raises:
            InvalidInput: it is not an exchange's folder, or a setting or a rule cannot be used.
            StorageFailed: the disk or the database failed.
        """
        directory = absolute(directory)
        kept = ExchangeSettings.load(directory)
        used = ExchangeSettings.of(kept.model_dump() | settings)
        routing = RoutingRules.load(directory / ROUTING)
        _check_region(routing, used)
        timing = None
        if clock is None:
            clock = SteadyClock()
            timing = Timing(clock=clock)
        database = Database(used.database, directory=directory, clock=clock)
        database.check()
        database.add_missing_tables()
        publisher = Publisher.open(directory / _PUBLISHER, passphrase=passphrase, timing=timing)
        missing = sorted(set(routing.feeds) - set(publisher.feeds))
        if missing:
            raise InvalidInput(
                f"{ROUTING} names the unknown feed {missing[0]!r}: add it with `blocklist publish add-feed` first"
            )
        return cls(
            directory=directory,
            settings=used,
            routing=routing,
            database=database,
            evidence=EvidenceStore(
                directory / _EVIDENCE, bytes_max=used.evidence_bytes, judge=judge, reserve_bytes=used.evidence_floor
            ),
            publisher=publisher,
            tokens=Tokens(
                directory / _TOKEN_KEY, lifetime_s=used.token_s, issuer=database.instance(), audience=used.url
            ),
            report_queue=ReportQueue(database),
            clock=clock,
            _publishing=Publishing(
                database=database,
                publisher=publisher,
                issuer=used.issuer,
                cycle_day=used.cycle_day,
                routing=routing,
                guard=PublisherGuard(max_removed=1.0, max_added=used.max_added, min_added=used.min_added),
                book=TrailBook(directory / BOOK),
                reminders=Reminders(),
                max_ended=used.max_ended,
                min_ended=used.min_ended,
                process_lock=directory / _PUBLISHING,
                thread_lock=threading.Lock(),
            ),
        )

    @property
    def repository(self) -> Path:
        """The signed repository, the only part of the folder that is served."""
        return self.directory / _PUBLISHER / "repository"

    @property
    def keys(self) -> Path:
        """The folder of the publisher's keys."""
        return self.directory / _PUBLISHER / "keys"

    @property
    def root(self) -> Path:
        """The root metadata that recipients pin."""
        return self.directory / _PUBLISHER / "root.json"

    @property
    def offline_keys(self) -> Path:
        """Where the root and targets keys lie until they are carried away."""
        return self.directory / _PUBLISHER / "keys" / OFFLINE_FOLDER

    def check_keys_apart(self) -> None:
        """Check that the passphrase at hand opens no root or targets key in the folder.

        Raises:
            InvalidInput: it opens one, so whoever takes over this machine could replace every key.
        """
        opened = self.publisher.offline_keys_opened()
        if opened:
            files = " ".join(shlex.quote(str(file)) for file in opened)
            raise InvalidInput(
                f"the passphrase with which this exchange publishes also opens {opened[0]}"
                + (f" and {counted(len(opened) - 1, 'other key')} of root and targets" if opened[1:] else "")
                + ": whoever takes over this machine could replace every key. Publishing needs none of them: take them "
                f"off this machine, with mv {files} /media/SAFE/"
            )

    def publish(self, *, everything: bool = False) -> Publication:
        """Publish urgent decisions and retractions, and once a month everything else.

        What begins to block more numbers than the settings allow waits until it is accepted; `Publication.waiting` has
        it. If the clock may be wrong, ends wait as well (`Publication.ends_held`). All else is published.

        Args:
            everything: publish everything now, whether or not the monthly cycle is due.

        Raises:
            BlocklistError: the error of `Publisher.release` for the first feed that failed; the others are published.
        """
        self._follow_clock()
        return self._publishing.run(self.clock(), everything=everything)

    def accept_clock(self) -> None:
        """Say that the machine's clock is right, after an alarm: ends that were held take effect.

        Servers that run and publish follow it within seconds, others when they are restarted.

        Raises:
            StorageFailed: the database failed.
        """
        if isinstance(self.clock, SteadyClock):
            self.clock.follow()
        now = self.clock()

        def accept(session: Session) -> None:
            trail.record(session, Act(COMMAND_LINE, CLOCK_ACCEPTED))
            held_ends.accept_clock(session, now)

        self.database.change(accept)

    def _follow_clock(self) -> None:
        """Go by the machine's clock if a person has said, since it jumped, that it is right."""
        clock = self.clock
        if isinstance(clock, SteadyClock):
            with self.database.reading() as session:
                clock.follow_if_accepted(held_ends.acceptances(session))

    def waiting(self) -> tuple[WaitingRelease, ...]:
        """What the guard refused, and what waits for an officer, by feed.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return waiting_releases.waiting_releases(session)

    def accept(self, feed: str, digest: str, *, accepted_by: str = COMMAND_LINE) -> None:
        """Let through what the guard refused on a feed; `publish` then publishes it, if it is still the same.

        Args:
            feed: the feed's name.
            digest: what is accepted, see `WaitingRelease.digest`.
            accepted_by: who accepts it, for the histories of the cases and the audit trail; an alarm is raised if this
                is not an officer.

        Raises:
            InvalidInput: nothing waits on the feed, or something else does.
            StorageFailed: the database failed.
        """
        try:
            waiting_releases.let_through(self.database, feed, digest, accepted_by, now=self.clock())
        except Refusal as refusal:
            raise InvalidInput(refusal.detail) from refusal

    def begin(self) -> None:
        """Give each feed without a release its first one, so that recipients can join before any number is listed.

        Raises:
            BlocklistError: the error of `Publisher.release`.
        """
        self._publishing.begin(self.clock())

    def statistics(self, month: str, *, recipient: str | None = None) -> Statistics:
        """What happened in a month.

        Args:
            month: such as ``2026-11``.
            recipient: an account's name, for its part only.

        Raises:
            InvalidInput: `month` is not a month.
            StorageFailed: the database cannot be reached.
        """
        if not MONTH.fullmatch(month):
            raise InvalidInput(f"{month!r} is not a month: write it as 2026-10")
        with self.database.reading() as session:
            return statistics_of(
                session, month, recipient=recipient, now=self.clock(), decide_within=self.settings.decide_within
            )

    def add_account(
        self, name: str, oauth_scopes: Collection[str], *, key: str | None = None, certificates: Sequence[str] = ()
    ) -> str | None:
        """Add an account that authenticates with its private key, or with a secret that is made here.

        Args:
            name: what it authenticates as.
            oauth_scopes: ``report``, ``receipt``, ``officer``, ``publish``, ``feed:NAME``.
            key: its public Ed25519 or P-256 key, PEM or JWK; None to make a secret.
            certificates: the client certificates that it is bound to where mutual TLS is on, PEM.

        Returns:
            The secret, which is not stored and cannot be shown again; None if the account has a key.

        Raises:
            InvalidInput: the name, a scope, the key or a certificate cannot be used, or the name is taken.
            StorageFailed: the database failed.
        """
        checked = check_oauth_scopes(oauth_scopes, feeds=self.routing.feeds)
        bound = [fingerprint_of(each) for each in certificates]
        return self.database.change(
            lambda session: accounts.add_account(session, name, checked, key=key, now=self.clock(), certificates=bound),
            by=Act(COMMAND_LINE, "account added", {"account": name, "scopes": checked}),
        )

    def bind_certificates(self, name: str, certificates: Sequence[str]) -> None:
        """Bind an account to client certificates, in place of those that it was bound to, within a second.

        Args:
            name: the account's name.
            certificates: PEM; two while one is renewed; none to bind the account to none.

        Raises:
            InvalidInput: the account does not exist, or a certificate cannot be used.
            StorageFailed: the database failed.
        """
        bound = [fingerprint_of(each) for each in certificates]
        self.database.change(
            lambda session: accounts.bind_certificates(session, name, bound),
            by=_on_account("certificates changed", name),
        )

    def renew_secret(self, name: str) -> str:
        """Give an account a new secret in place of its old one or its key; its tokens stop working.

        Raises:
            InvalidInput: the account does not exist, or is closed.
            StorageFailed: the database failed.
        """
        return self.database.change(
            lambda session: accounts.renew_secret(session, name, self.clock()), by=_on_account("account renewed", name)
        )

    def disable_account(self, name: str) -> None:
        """Close an account; its tokens stop working.

        Raises:
            InvalidInput: the account does not exist.
            StorageFailed: the database failed.
        """
        self.database.change(
            lambda session: accounts.disable_account(session, name, self.clock()),
            by=_on_account("account closed", name),
        )

    def reopen_account(self, name: str) -> str | None:
        """Open a closed account again, with a new secret in place of the old one, or with the key that it has.

        Returns:
            The secret, which is not stored and cannot be shown again; None if the account has a key.

        Raises:
            InvalidInput: the account does not exist, or is not closed.
            StorageFailed: the database failed.
        """
        return self.database.change(
            lambda session: accounts.reopen_account(session, name, self.clock()),
            by=_on_account("account reopened", name),
        )

    def change_scopes(self, name: str, oauth_scopes: Collection[str]) -> None:
        """Give an account other scopes in place of those that it has; its tokens lose the others within a second.

        Args:
            name: the account's name.
            oauth_scopes: all that it shall have, as for `add_account`.

        Raises:
            InvalidInput: the account does not exist, or a scope cannot be used.
            StorageFailed: the database failed.
        """
        checked = check_oauth_scopes(oauth_scopes, feeds=self.routing.feeds)
        self.database.change(
            lambda session: accounts.change_oauth_scopes(session, name, checked),
            by=Act(COMMAND_LINE, "scopes changed", {"account": name, "scopes": checked}),
        )

    def accounts(self) -> list[AccountRow]:
        """All accounts, sorted by name.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return list(session.scalars(select(AccountRow).order_by(AccountRow.name)))

    def old_hashes(self) -> int:
        """How many open accounts have a hash of their secret from before, which is replaced at their next log-in.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        return sum(is_old(row.secret_hash) and row.disabled_at is None for row in self.accounts())

    def damage(self) -> Iterator[str]:
        """Recompute the database from the audit trail; yield one line for each difference, and for each damaged file.

        Raises:
            StorageFailed: the database or a file cannot be read.
        """
        return (finding.text for finding in self.findings() if finding.is_damage)

    def findings(self) -> Iterator[Finding]:
        """As `damage`, and also what was erased as it should be.

        Raises:
            StorageFailed: the database or a file cannot be read.
        """
        with self.database.snapshot() as session:
            yield from findings(session, self.evidence)

    def audit_head(self) -> TrailEnd:
        """Where the audit trail ends.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return trail.head(session)

    def export_trail(self, file: Path) -> TrailEnd:
        """Write the audit trail as JSON lines, one object for each line, readable by this user alone.

        Nothing personal can be learnt from it: it has commitments, and not what opens them.

        Args:
            file: the file; replaced if it exists.

        Returns:
            Where the trail ends.

        Raises:
            StorageFailed: the disk or the database failed; the file is then as it was.
        """
        reached = TrailEnd(0, "")
        with self.database.snapshot() as session, replaced(file) as staged, staged.open("wb") as opened:
            for line in trail.lines(session):
                opened.write(f"{canonical_json(line.as_json())}\n".encode())
                reached = TrailEnd(line.sequence, line.hash)
        return reached

    def doubts(self) -> Iterator[str]:
        """Compare the audit trail with what releases were signed with, and with what this exchange read of it before.

        So a database that was brought back from an older copy is noticed, unless `accept_trail` was called.

        Raises:
            BlocklistError: the database, the disk or the repository cannot be read.
        """
        doubt = self._publishing.doubt()
        if doubt is not None:
            yield doubt

    def unproved_heads(self, files: Iterable[Path]) -> Iterator[str]:
        """Compare the audit heads that recipients have exported with the trail; yield a line for each difference.

        Args:
            files: what `blocklist verify --audit --export` wrote.

        Raises:
            InvalidInput: a file has a line that is no audit head.
            StorageFailed: a file or the database cannot be read.
        """
        heads = [seen for file in files for seen in read_heads(file)]
        with self.database.snapshot() as session:
            yield from unproved_heads(session, heads)

    def accept_trail(self, text: str) -> None:
        """Go on publishing from the database as it is, although lines that releases were signed with are not there.

        For a database that was restored from an older copy on purpose. The heads that recipients have go on showing it.

        Args:
            text: the trail's end, as the alarm has it: the number of a line and its hash, ``1204:5c7f…``.

        Raises:
            InvalidInput: the trail has no such line, so it is not the one that the alarm was about.
            StorageFailed: the disk or the database failed.
        """
        self._publishing.accept_trail(text)

    def note_configuration(self) -> None:
        """Add the settings, rules and keys to the audit trail, unless its last line about them says the same.

        Raises:
            StorageFailed: the disk or the database failed.
        """
        file = self.directory / ROUTING
        with storage(file):
            routing = file.read_bytes()
        configuration = configuration_of(self.settings, routing, self.publisher)
        self.database.change(lambda session: note_configuration(session, configuration))

    def raise_alarms(self) -> None:
        """Raise an alarm for each line of the audit trail that asks for one, whichever process wrote it.

        Raises:
            StorageFailed: the database failed.
        """
        raise_alarms(self.database)

    def skip_alarms(self) -> None:
        """Raise no alarm for the lines of the audit trail up to now: whoever makes an exchange knows of its accounts.

        Raises:
            StorageFailed: the database failed.
        """
        mark_alarmed(self.database)

    def forget(self) -> None:
        """Delete stored responses older than a week and budgets whose window is over; close appeals against nothing."""
        now = self.clock()
        self.database.change(
            lambda session: session.execute(delete(AnswerRow).where(AnswerRow.at < now - _RESPONSES_KEPT))
        )
        self.database.change(lambda session: forget_budgets(session, now_s=now.timestamp()))
        self.database.change(
            lambda session: appeals.close_groundless(session, now=now), by=Act(cases.SYSTEM, "appeals closed")
        )

    def expect_publishing(self) -> None:
        """Note that this process publishes in the background, so that every process can tell when it does not.

        Raises:
            StorageFailed: the database failed.
        """
        self.database.change(lambda session: publishing_health.expect_publishing(session, now=self.clock()))

    def note_publishing(self, error: BaseException | None = None) -> None:
        """Note the end of a run of publishing in the background.

        Args:
            error: what ended it; None if it succeeded.

        Raises:
            StorageFailed: the database failed.
        """
        kind = "" if error is None else type(error).__name__
        self.database.change(lambda session: publishing_health.note_publishing(session, now=self.clock(), error=kind))

    def expect_no_publishing(self) -> None:
        """Note that this process no longer publishes in the background, because it stops in good order.

        Raises:
            StorageFailed: the database failed.
        """
        self.database.change(publishing_health.expect_no_publishing)

    def publishing_overdue(self) -> str | None:
        """Why publishing in the background does not work; None if it does, or if no process does it.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return publishing_health.overdue(session, now=self.clock())

    def close(self) -> None:
        """Close the connections to the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _on_account(event: str, name: str) -> Act:
    return Act(COMMAND_LINE, event, {"account": name})


def _check_region(routing: RoutingRules, settings: ExchangeSettings) -> None:
    if routing.region != settings.region:
        raise InvalidInput(
            f"{ROUTING} is for the region {routing.region}, but {FILE} for {settings.region}: give both the same"
        )
