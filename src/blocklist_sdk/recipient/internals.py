"""What a `Blocklist` is made of, for other parts of this library. Users have the methods of `Blocklist`."""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.modes import SHARED, Access
from blocklist_sdk.numbers import Form
from blocklist_sdk.recipient.arguments import number_reader
from blocklist_sdk.recipient.cache.audit_file import NAME as AUDIT_FILE
from blocklist_sdk.recipient.cache.audit_file import AuditFile
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.holds import Holds
from blocklist_sdk.recipient.cache.local_database import LocalDatabase
from blocklist_sdk.recipient.cache.overrides import Overrides
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.current_list import CurrentList, WhenStale
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.release_id import ReleaseId

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from blocklist_sdk.fetch.transport import Transport, TransportSettings
    from blocklist_sdk.net.http import httpx
    from blocklist_sdk.numbers import FormDecision
    from blocklist_sdk.numbers.fast import Normalizer
    from blocklist_sdk.recipient.guard import Guard
    from blocklist_sdk.recipient.sync.run import Syncer
    from blocklist_sdk.recipient.upkeep import UpkeepThread

log: logging.Logger = logging.getLogger(__name__)


class Internals:
    """One feed on this machine's disk, and how to sync it.

    Attributes:
        feed, root, region, form: as given to `Blocklist.open`.
        read: reads a question's number.
        store: the generations.
        state_file: what must survive a wiped cache: the highest serial, and how the last sync went.
        audit_file: the audit heads that were seen.
        overrides: the recipient's own decisions.
        holds: names of those who still need an older release.
        current: answers questions.
    """

    def __init__(
        self,
        *,
        feed: str,
        root: bytes,
        region: str | None,
        form: Form,
        cache_directory: Path,
        state_directory: Path,
        protected: frozenset[int],
        guard: "Guard | Literal['default'] | None",
        max_rows: int,
        when_stale: WhenStale,
        auth: "httpx.Auth | None",
        tls: "ssl.SSLContext | None",
        transport: "TransportSettings | None",
        access: Access = SHARED,
    ) -> None:
        """For `Blocklist.open`; reads and writes nothing yet."""
        self.feed: str = feed
        self.root: bytes = root
        self.region: str | None = region
        self.form: Form = form
        self._protected, self._guard, self._max_rows = protected, guard, max_rows
        self._auth, self._tls, self._transport = auth, tls, transport
        self.read: Callable[[str | int], int] = number_reader(region, form)
        self.store: Store = Store(cache_directory, access)
        self.state_file: Path = state_directory / "state.json"
        self.audit_file: AuditFile = AuditFile(state_directory / AUDIT_FILE, self.store.state_access)
        self._database = database = LocalDatabase(state_directory / "recipient.sqlite", self.store.state_access)
        self.holds: Holds = Holds(database)
        self.overrides: Overrides = Overrides(
            database,
            read=self.read,
            read_column=self._column_reader,
            region=region,
            form=form,
            is_protected=lambda number: number in self.current.rules().protected,
            changed=lambda: self.current.reload(wait=True),
        )
        self.current: CurrentList = CurrentList(
            feed,
            self.store,
            self.overrides,
            protected,
            state_file=self.state_file,
            read=self.read,
            when_stale=when_stale,
        )

    def _column_reader(self, texts: "Sequence[str]") -> "tuple[Normalizer, FormDecision]":
        """What reads the texts of a column."""
        from blocklist_sdk.numbers.forms import column_reader

        return column_reader(texts, region=self.region, form=self.form)

    @property
    def directories(self) -> tuple[Path, Path]:
        """The directories of the cache and of the state; the latter also has the ledgers of sinks."""
        return self.store.directory, self.state_file.parent

    def in_force(self) -> tuple[Generation, Rules]:
        """The generation in force at this moment, and the rules that go before it.

        Raises:
            NotSynced, Stale: as for `Blocklist.check`.
        """
        self.current.reload(wait=True)  # what answers questions may be half a second old
        return self.current.generation()[0], self.current.rules()

    def open_transport(self) -> "Transport":
        """What fetches from the repository."""
        from blocklist_sdk.fetch.transport import Transport, TransportSettings

        return Transport(settings=self._transport or TransportSettings(), auth=self._auth, tls=self._tls)

    def syncer(self, url: str) -> "Syncer":
        """What brings the feed up to date, from a repository with that base URL."""
        from blocklist_sdk.recipient.guard import Guard
        from blocklist_sdk.recipient.sync.run import Syncer

        if self.store.state_access.is_explicit:
            self._database.share()
        return Syncer(
            url=url,
            feed=self.feed,
            root=self.root,
            store=self.store,
            state_file=self.state_file,
            guard=Guard() if self._guard == "default" else self._guard,
            protected=self._protected,
            held=self._held_releases,
            max_rows=self._max_rows,
        )

    @cached_property
    def upkeep(self) -> "UpkeepThread":
        """The upkeep of the feed's cache."""
        from blocklist_sdk.recipient.upkeep import Upkeep, UpkeepThread

        return UpkeepThread(Upkeep(self.feed, self.store, self.state_file))

    def note_damage(self, generation: Generation) -> None:
        """Store that the list in force was found damaged, so that the next sync fetches it again."""
        self.upkeep.upkeep.note_damage(generation)

    def close_upkeep(self) -> None:
        """Wait for the upkeep, if any was begun: a process that only asks does without it."""
        if "upkeep" in vars(self):
            self.upkeep.close()

    def held(self) -> dict[str, ReleaseId]:
        """The older release that each name still needs."""
        return self.holds.load(self.store.releases())

    def _held_releases(self) -> set[ReleaseId]:
        """The older releases that are still needed."""
        try:
            return set(self.held().values())
        except BlocklistError as error:
            # Unblocks must go on arriving; what may still be needed is kept.
            log.error("feed %s: %s", self.feed, error)
            return set(self.store.releases())
