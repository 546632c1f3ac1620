"""An exchange: its folder, opened."""

import logging
import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import delete

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Publication, Statistics
from blocklist_sdk.exchange.server.accounts import Tokens
from blocklist_sdk.exchange.server.database import Database
from blocklist_sdk.exchange.server.evidence import EvidenceStore
from blocklist_sdk.exchange.server.monthly import statistics_of
from blocklist_sdk.exchange.server.publishing import Publishing
from blocklist_sdk.exchange.server.routing import Routing
from blocklist_sdk.exchange.server.settings import FILE, ExchangeSettings
from blocklist_sdk.exchange.server.tables import AnswerRow
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


def now() -> datetime:
    """This moment, UTC, to the whole second."""
    return datetime.now(UTC).replace(microsecond=0)


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
        clock: tells the time, UTC, to the whole second.
    """

    directory: Path
    settings: ExchangeSettings
    routing: Routing
    database: Database
    evidence: EvidenceStore
    publisher: Publisher
    tokens: Tokens
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
        clock: Callable[[], datetime] = now,
        **settings: Any,
    ) -> Self:
        """Open an exchange's folder.

        Args:
            directory: the folder that :meth:`init` made.
            passphrase: of the publisher's keys; None where nothing will be published.
            clock: tells the time, UTC, to the whole second.
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
            evidence=EvidenceStore(directory / _EVIDENCE, most=used.evidence_bytes),
            publisher=publisher,
            tokens=Tokens(directory / _TOKEN_KEY, lifetime_s=used.token_s),
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

    def statistics(self, month: str, *, recipient: str | None = None) -> Statistics:
        """What happened in a month.

        Args:
            month: ``2026-11``.
            recipient: an account's name, to see its part alone.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with self.database.reading() as session:
            return statistics_of(
                session, month, recipient=recipient, at=self.clock(), decide_within=self.settings.decide_within
            )

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
