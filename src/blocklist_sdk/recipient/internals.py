"""What a `Blocklist` is made of, for other parts of this library. Users have the methods of `Blocklist`."""

import logging
from collections.abc import Callable
from pathlib import Path

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.holds import Holds
from blocklist_sdk.recipient.cache.local_database import LocalDatabase
from blocklist_sdk.recipient.cache.overrides import Overrides
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.current_list import CurrentList, WhenStale
from blocklist_sdk.recipient.rules import Rules

log = logging.getLogger(__name__)


class Internals:
    """One feed on this machine's disk.

    Attributes:
        feed: the feed's name.
        store: the generations.
        state_file: what must survive a wiped cache: the highest serial, and how the last sync went.
        overrides: the recipient's own decisions.
        holds: names of those who still need an older release.
        protected: the recipient's own protected numbers.
        current: answers questions.
    """

    def __init__(
        self,
        feed: str,
        *,
        cache_directory: Path,
        state_directory: Path,
        protected: frozenset[int],
        read: Callable[[str | int], int],
        when_stale: WhenStale,
    ) -> None:
        """Reads and writes nothing yet.

        Args:
            feed: the feed's name.
            cache_directory: for the feed's generations; may be wiped.
            state_directory: for the feed's state.
            protected: the recipient's own protected numbers.
            read: reads a question's number.
            when_stale: what to do past the signed expiry.
        """
        self.feed = feed
        self.store: Store = Store(cache_directory)
        self.state_file: Path = state_directory / "state.json"
        self.protected = protected
        database = LocalDatabase(state_directory / "recipient.sqlite")
        self.holds: Holds = Holds(database)
        self.overrides: Overrides = Overrides(
            database,
            read=read,
            is_protected=lambda number: number in self.current.rules().protected,
            changed=lambda: self.current.reload(wait=True),
        )
        self.current: CurrentList = CurrentList(
            feed,
            store=self.store,
            overrides=self.overrides,
            protected=protected,
            read=read,
            when_stale=when_stale,
        )

    @property
    def directories(self) -> tuple[Path, Path]:
        """The directories of the cache and of the state; the latter also has the ledgers of sinks."""
        return self.store.directory, self.state_file.parent

    def in_force(self) -> tuple[Generation, Rules]:
        """The generation in force at this moment, and the rules that go before it.

        Raises:
            NotSynced: there is no verified generation yet.
            Stale: it is past its signed expiry, and `when_stale` is ``raise``.
        """
        self.current.reload(wait=True)  # what answers questions may be half a second old
        return self.current.generation()[0], self.current.rules()

    def held_serials(self) -> set[int]:
        """The serials of older releases that are still needed."""
        try:
            return set(self.holds.load().values())
        except BlocklistError as error:
            # Unblocks must go on arriving; what may still be needed is kept.
            log.error("feed %s: %s", self.feed, error)
            return set(self.store.serials())
