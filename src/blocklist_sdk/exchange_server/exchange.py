"""An exchange as one object: the folder with its settings, database, evidence and publisher."""

import logging
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import delete, select

from blocklist_sdk import times
from blocklist_sdk.disk import storage, write_file
from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import MONTH, Publication, Statistics, WaitingRelease
from blocklist_sdk.exchange_server.casework import accounts, appeals, cases, publishing_health, waiting_releases
from blocklist_sdk.exchange_server.casework.accounts import Tokens, check_oauth_scopes
from blocklist_sdk.exchange_server.casework.cases import first_broken_line
from blocklist_sdk.exchange_server.casework.publishing import Publishing
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.casework.report_queue import ReportQueue
from blocklist_sdk.exchange_server.casework.routing_rules import RoutingRules
from blocklist_sdk.exchange_server.casework.statistics import statistics_of
from blocklist_sdk.exchange_server.evidence.evidence_store import DEFAULT_JUDGE, EvidenceStore
from blocklist_sdk.exchange_server.evidence.judge import Judge
from blocklist_sdk.exchange_server.settings import FILE, ExchangeSettings
from blocklist_sdk.exchange_server.store.budgets import forget_budgets
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.tables import AccountRow, AnswerRow, CaseRow, EvidenceRow
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.places import absolute
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.keys import Passphrase
from blocklist_sdk.publisher.publisher import Publisher

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
            publisher/        keys and the signed repository
            token-key.pem     signs access tokens, mode 0600

    Attributes:
        directory: the folder.
        settings: its settings.
        routing: which decisions reach which feeds.
        database: its database.
        evidence: its evidence files.
        publisher: publishes its feeds.
        tokens: makes and reads access tokens.
        report_queue: takes single reports.
        clock: returns the time, UTC, to the whole second.
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
        settings: ExchangeSettings | None = None,
        routing: Path | None = None,
    ) -> Self:
        """Make an exchange's folder; if this fails, nothing is left of it.

        Args:
            directory: the folder; it must be new or empty.
            passphrase: encrypts the publisher's keys, at least 12 characters; or a function that takes a key's name.
            settings: by default those of `ExchangeSettings`.
            routing: a file with routing rules; by default those that come with the package for the region.

        Raises:
            InvalidInput: the folder is not empty, or a setting, a rule or the passphrase cannot be used.
            StorageFailed: the disk or the database failed.
        """
        directory = absolute(directory)
        settings = settings or ExchangeSettings()
        rules = RoutingRules.load(routing) if routing else RoutingRules.default(settings.region)
        _check_region(rules, settings)
        with storage(directory):
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise InvalidInput(f"{directory} exists already: give a new or empty folder")
            building = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
            PRIVATE.make(building)
        try:
            Publisher.init(building / _PUBLISHER, feeds=rules.scopes, passphrase=passphrase, region=settings.region)
            with storage(directory):
                # The database's URL may hold a password.
                write_file(building / FILE, settings.to_toml().encode(), PRIVATE)
                text = decoded(routing.read_bytes(), str(routing)) if routing else RoutingRules.shipped(settings.region)
                write_file(building / ROUTING, text.encode(), PRIVATE)
                write_file(building / _TOKEN_KEY, Tokens.new_key(), PRIVATE)
                PRIVATE.make(building / _EVIDENCE)
            database = Database(settings.database, directory=building)
            database.create()
            database.close()
            with storage(directory):
                building.replace(directory)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return cls.open(directory, passphrase=passphrase)

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        passphrase: Passphrase | None,
        clock: Callable[[], datetime] = times.this_second,
        judge: Judge = DEFAULT_JUDGE,
        **settings: Any,
    ) -> Self:
        """Open an exchange's folder.

        Args:
            directory: the folder that :meth:`init` made.
            passphrase: of the publisher's keys; None if nothing will be published.
            clock: returns the time, UTC, to the whole second.
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
        database = Database(used.database, directory=directory)
        database.check()
        database.add_missing_tables()
        publisher = Publisher.open(directory / _PUBLISHER, passphrase=passphrase)
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
            tokens=Tokens(directory / _TOKEN_KEY, lifetime_s=used.token_s),
            report_queue=ReportQueue(database),
            clock=clock,
            _publishing=Publishing(
                database=database,
                publisher=publisher,
                issuer=used.issuer,
                cycle_day=used.cycle_day,
                routing=routing,
                guard=PublisherGuard(max_removed=1.0, max_added=used.max_added, min_added=used.min_added),
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

    def publish(self, *, everything: bool = False) -> Publication:
        """Publish urgent decisions and retractions, and once a month everything else.

        What begins to block more numbers than the settings allow waits until it is accepted; `Publication.waiting` has
        it. All else is published.

        Args:
            everything: publish everything now, whether or not the monthly cycle is due.

        Raises:
            BlocklistError: the error of `Publisher.release` for the first feed that failed; the others are published.
        """
        return self._publishing.run(self.clock(), everything=everything)

    def waiting(self) -> tuple[WaitingRelease, ...]:
        """What the guard refused, and what waits for an officer, by feed.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return waiting_releases.waiting_releases(session)

    def accept(self, feed: str, digest: str, *, accepted_by: str = cases.SYSTEM) -> None:
        """Let through what the guard refused on a feed; `publish` then publishes it, if it is still the same.

        Args:
            feed: the feed's name.
            digest: what is accepted, see `WaitingRelease.digest`.
            accepted_by: who accepts it, for the history of the cases.

        Raises:
            InvalidInput: nothing waits on the feed, or something else does.
            StorageFailed: the database failed.
        """
        try:
            self.database.change(
                lambda session: waiting_releases.accept(session, feed, digest, accepted_by, now=self.clock())
            )
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

    def add_account(self, name: str, oauth_scopes: Collection[str], *, key: str | None = None) -> str | None:
        """Add an account that authenticates with its private key, or with a secret that is made here.

        Args:
            name: what it authenticates as.
            oauth_scopes: ``report``, ``receipt``, ``officer``, ``publish``, ``feed:NAME``.
            key: its public Ed25519 or P-256 key, PEM or JWK; None to make a secret.

        Returns:
            The secret, which is not stored and cannot be shown again; None if the account has a key.

        Raises:
            InvalidInput: the name, a scope or the key cannot be used, or the name is taken.
            StorageFailed: the database failed.
        """
        checked = check_oauth_scopes(oauth_scopes, feeds=self.routing.feeds)
        return self.database.change(
            lambda session: accounts.add_account(session, name, checked, key=key, now=self.clock())
        )

    def renew_secret(self, name: str) -> str:
        """Give an account a new secret in place of its old one or its key; its tokens stop working.

        Raises:
            InvalidInput: the account does not exist, or is closed.
            StorageFailed: the database failed.
        """
        return self.database.change(lambda session: accounts.renew_secret(session, name, self.clock()))

    def disable_account(self, name: str) -> None:
        """Close an account; its tokens stop working.

        Raises:
            InvalidInput: the account does not exist.
            StorageFailed: the database failed.
        """
        self.database.change(lambda session: accounts.disable_account(session, name, self.clock()))

    def reopen_account(self, name: str) -> str | None:
        """Open a closed account again, with a new secret in place of the old one, or with the key that it has.

        Returns:
            The secret, which is not stored and cannot be shown again; None if the account has a key.

        Raises:
            InvalidInput: the account does not exist, or is not closed.
            StorageFailed: the database failed.
        """
        return self.database.change(lambda session: accounts.reopen_account(session, name, self.clock()))

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
        self.database.change(lambda session: accounts.change_oauth_scopes(session, name, checked))

    def accounts(self) -> list[AccountRow]:
        """All accounts, sorted by name.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return list(session.scalars(select(AccountRow).order_by(AccountRow.name)))

    def damage(self) -> Iterator[str]:
        """Read all histories and evidence files; yield one line for each that is not as it was written.

        Raises:
            StorageFailed: the database or a file cannot be read.
        """
        with self.database.reading() as session:
            for case in session.scalars(select(CaseRow).order_by(CaseRow.id)):
                line = first_broken_line(session, case)
                if line is not None:
                    yield f"the history of case {case.id} was changed at line {line}"
            for sha256 in session.scalars(select(EvidenceRow.sha256).distinct().order_by(EvidenceRow.sha256)):
                if not self.evidence.verify(sha256):
                    yield f"the evidence file {sha256} is missing or damaged"

    def forget(self) -> None:
        """Delete stored responses older than a week and budgets whose window is over; close appeals against nothing."""
        now = self.clock()
        self.database.change(
            lambda session: session.execute(delete(AnswerRow).where(AnswerRow.at < now - _RESPONSES_KEPT))
        )
        self.database.change(lambda session: forget_budgets(session, now_s=now.timestamp()))
        self.database.change(lambda session: appeals.close_groundless(session, now=now))

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


def _check_region(routing: RoutingRules, settings: ExchangeSettings) -> None:
    if routing.region != settings.region:
        raise InvalidInput(
            f"{ROUTING} is for the region {routing.region}, but {FILE} for {settings.region}: give both the same"
        )
