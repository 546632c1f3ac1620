"""An exchange: its folder, opened."""

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
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import MONTH, Publication, Statistics
from blocklist_sdk.exchange_server.casework import accounts
from blocklist_sdk.exchange_server.casework.accounts import Tokens, check_scopes
from blocklist_sdk.exchange_server.casework.cases import first_broken
from blocklist_sdk.exchange_server.casework.distribution import Routing
from blocklist_sdk.exchange_server.casework.publishing import Publishing
from blocklist_sdk.exchange_server.casework.report_queue import ReportQueue
from blocklist_sdk.exchange_server.casework.statistics import statistics_of
from blocklist_sdk.exchange_server.evidence.evidence_store import DEFAULT_JUDGE, EvidenceStore
from blocklist_sdk.exchange_server.evidence.judge import Judge
from blocklist_sdk.exchange_server.settings import FILE, ExchangeSettings
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.tables import AccountRow, AnswerRow, CaseRow, EvidenceRow
from blocklist_sdk.publisher.keys import Passphrase
from blocklist_sdk.publisher.publisher import Publisher

log = logging.getLogger(__name__)

ROUTING: Final = "routing.toml"
_TOKEN_KEY: Final = "token-key.pem"  # noqa: S105
_PUBLISHER: Final = "publisher"
_EVIDENCE: Final = "evidence"
_PUBLISHING: Final = "publishing.lock"

_ANSWERS_KEPT: Final = timedelta(days=7)
"""How long an idempotency key is known: far longer than any client tries again."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange's folder.

    ::

        DIR/
            exchange.toml     settings
            routing.toml      which decisions reach which feeds
            exchange.sqlite   the database, unless the settings name another
            evidence/         files, by their hash, mode 0700
            publisher/        keys and the signed repository
            token-key.pem     signs access tokens, mode 0600

    Attributes:
        directory: the folder.
        settings: its settings.
        routing: its rules.
        database: its database.
        evidence: its files.
        publisher: its feeds.
        tokens: its access tokens.
        report_queue: takes reports.
        clock: tells the time, UTC, to the whole second.
    """

    directory: Path
    settings: ExchangeSettings
    routing: Routing
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
        """Make an exchange's folder, whole or not at all.

        Args:
            directory: the folder; it must not exist yet, or be empty.
            passphrase: encrypts the publisher's keys, at least 12 characters; or a function that is told a key's name.
            settings: by default those of `ExchangeSettings`.
            routing: a file with rules; by default the region's.

        Raises:
            InvalidInput: the folder is not empty, or a setting, a rule or the passphrase is no good.
            StorageFailed: the disk or the database refused.
        """
        directory = Path(directory).absolute()
        settings = settings or ExchangeSettings()
        rules = Routing.load(routing) if routing else Routing.default(settings.region)
        _check_region(rules, settings)
        with storage(directory):
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise InvalidInput(f"{directory} is there already: give a new folder")
            building = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
            building.mkdir(parents=True, mode=0o700)
        try:
            Publisher.init(building / _PUBLISHER, feeds=rules.feeds, passphrase=passphrase, region=settings.region)
            with storage(directory):
                (building / FILE).touch(mode=0o600)  # the database's URL may hold a password
                (building / FILE).write_text(settings.to_toml(), encoding="utf-8")
                written = routing.read_text(encoding="utf-8") if routing else Routing.shipped(settings.region)
                (building / ROUTING).write_text(written, encoding="utf-8")
                (building / _TOKEN_KEY).touch(mode=0o600)
                (building / _TOKEN_KEY).write_bytes(Tokens.new_key())
                (building / _EVIDENCE).mkdir(mode=0o700)
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
            passphrase: of the publisher's keys; None where nothing will be published.
            clock: tells the time, UTC, to the whole second.
            judge: decides which files are evidence; by default `MediaJudge`.
            settings: in place of those in the folder.

        Raises:
            InvalidInput: it is no exchange's folder, or a setting or a rule is no good.
            StorageFailed: the disk or the database refused.
        """
        directory = Path(directory).absolute()
        kept = ExchangeSettings.load(directory)
        used = ExchangeSettings.of(kept.model_dump() | settings)
        routing = Routing.load(directory / ROUTING)
        _check_region(routing, used)
        database = Database(used.database, directory=directory)
        database.check()
        publisher = Publisher.open(directory / _PUBLISHER, passphrase=passphrase)
        missing = sorted(set(routing.feeds) - set(publisher.feeds))
        if missing:
            raise InvalidInput(f"{ROUTING} names {missing[0]!r}: add the feed with `blocklist publish add-feed` first")
        return cls(
            directory=directory,
            settings=used,
            routing=routing,
            database=database,
            evidence=EvidenceStore(directory / _EVIDENCE, most=used.evidence_bytes, judge=judge),
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
                lock=directory / _PUBLISHING,
                turn=threading.Lock(),
            ),
        )

    @property
    def repository(self) -> Path:
        """The signed repository: the only part that is served."""
        return self.directory / _PUBLISHER / "repository"

    @property
    def root(self) -> Path:
        """What recipients pin."""
        return self.directory / _PUBLISHER / "root.json"

    def publish(self, *, everything: bool = False) -> Publication:
        """Publish what is urgent and what is retracted, and with the cycle the rest.

        Args:
            everything: the rest as well, whether or not the cycle is due.

        Raises:
            BlocklistError: what `Publisher.release` raises for the first feed that it fails for; the others are
                published.
        """
        return self._publishing.run(self.clock(), everything=everything)

    def begin(self) -> None:
        """Give every feed that has none a first release, so that recipients can join before anybody is listed.

        Raises:
            BlocklistError: what `Publisher.release` raises.
        """
        self._publishing.begin(self.clock())

    def statistics(self, month: str, *, recipient: str | None = None) -> Statistics:
        """What happened in a month.

        Args:
            month: ``2026-11``.
            recipient: an account's name, to see its part alone.

        Raises:
            InvalidInput: it is no month.
            StorageFailed: the database cannot be reached.
        """
        if not MONTH.fullmatch(month):
            raise InvalidInput(f"{month!r} is no month: write it as 2026-10")
        with self.database.reading() as session:
            return statistics_of(
                session, month, recipient=recipient, at=self.clock(), decide_within=self.settings.decide_within
            )

    def add_account(self, name: str, scopes: Collection[str], *, key: str | None = None) -> str | None:
        """Add an account that authenticates with its private key, or with a secret that is made here.

        Args:
            name: which it authenticates as.
            scopes: ``report``, ``receipt``, ``officer``, ``publish``, ``feed:NAME``.
            key: its public Ed25519 or P-256 key, PEM or JWK; None for a secret.

        Returns:
            The secret, which is not kept and cannot be shown again.

        Raises:
            InvalidInput: the name, a scope or the key is no good, or the name is taken.
            StorageFailed: the database refused.
        """
        checked = check_scopes(scopes, feeds=self.routing.feeds)
        return self.database.change(
            lambda session: accounts.add_account(session, name, checked, key=key, at=self.clock())
        )

    def renew_secret(self, name: str) -> str:
        """Give an account a new secret in place of its old one, or of its key; its tokens are worth nothing then.

        Raises:
            InvalidInput: there is no such account.
            StorageFailed: the database refused.
        """
        return self.database.change(lambda session: accounts.renew_secret(session, name, self.clock()))

    def disable_account(self, name: str) -> None:
        """Close an account: its tokens are worth nothing from now on.

        Raises:
            InvalidInput: there is no such account.
            StorageFailed: the database refused.
        """
        self.database.change(lambda session: accounts.disable_account(session, name, self.clock()))

    def accounts(self) -> list[AccountRow]:
        """All accounts, by name.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return list(session.scalars(select(AccountRow).order_by(AccountRow.name)))

    def damage(self) -> Iterator[str]:
        """What is not as it was written: lines of history, and files of evidence. Reads them all.

        Raises:
            StorageFailed: the database or a file cannot be read.
        """
        with self.database.reading() as session:
            for case in session.scalars(select(CaseRow).order_by(CaseRow.id)):
                line = first_broken(session, case)
                if line is not None:
                    yield f"the history of case {case.id} is not as it was written, from line {line} on"
            for sha256 in session.scalars(select(EvidenceRow.sha256).distinct().order_by(EvidenceRow.sha256)):
                if not self.evidence.verify(sha256):
                    yield f"the file of evidence {sha256} is missing or damaged"

    def forget(self) -> None:
        """Forget answers to idempotency keys that nobody will use again."""
        before = self.clock() - _ANSWERS_KEPT
        self.database.change(lambda session: session.execute(delete(AnswerRow).where(AnswerRow.at < before)))

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _check_region(routing: Routing, settings: ExchangeSettings) -> None:
    if routing.region != settings.region:
        raise InvalidInput(f"{ROUTING} is for the region {routing.region}, {FILE} for {settings.region}: agree on one")
