"""What a `Blocklist` is made of, for other parts of this library. Users have the methods of `Blocklist`."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed
from blocklist_sdk.modes import SHARED, Access
from blocklist_sdk.numbers import Form
from blocklist_sdk.recipient.arguments import number_reader
from blocklist_sdk.recipient.cache.audit_file import NAME as AUDIT_FILE
from blocklist_sdk.recipient.cache.audit_file import AuditFile
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.holds import Holds
from blocklist_sdk.recipient.cache.local_database import LocalDatabase
from blocklist_sdk.recipient.cache.overrides import Overrides
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.recipient.cache.state import load_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.current_list import CurrentList, OpenList, WhenStale, is_past
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Status, Verification
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from blocklist_sdk.fetch.transport import Transport, TransportSettings
    from blocklist_sdk.net.http import httpx
    from blocklist_sdk.numbers import FormDecision
    from blocklist_sdk.numbers.fast import Normalizer
    from blocklist_sdk.recipient.changes import Changes
    from blocklist_sdk.recipient.guard import Guard
    from blocklist_sdk.recipient.sync.run import Syncer
    from blocklist_sdk.recipient.upkeep import UpkeepThread

log: logging.Logger = logging.getLogger(__name__)


def column_reader(texts: "Sequence[str]", region: str | None, form: Form) -> "tuple[Normalizer, FormDecision]":
    """What reads the texts of a column."""
    from blocklist_sdk.numbers import forms

    return forms.column_reader(texts, region=region, form=form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """What answers at one moment, and whether it still holds.

    Attributes:
        release: the release in force.
        rules: what goes before it.
        at: the moment.
        expires: when the release's signatures expire; None if that is not known.
        stale: whether that is past.
        clock_behind_s: by how many seconds, at least, this machine's clock is behind; None if it is not known to be.
    """

    release: ReleaseAnswers
    rules: Rules
    at: datetime
    expires: datetime | None
    stale: bool
    clock_behind_s: int | None


class AskedInternals(ABC):
    """One feed, wherever it is: what answers questions about it.

    Attributes:
        feed, root, region, form: as given to `Blocklist.open`.
        read: reads a question's number.
        overrides: the recipient's own decisions.
        current: answers questions.
    """

    overrides: Overrides
    current: OpenList

    def __init__(self, *, feed: str, root: bytes, region: str | None, form: Form) -> None:
        """Sets all but `overrides` and `current`."""
        self.feed: str = feed
        self.root: bytes = root
        self.region: str | None = region
        self.form: Form = form
        self.read: Callable[[str | int], int] = number_reader(region, form)

    @abstractmethod
    def on_disk(self) -> "Internals":
        """The same of a list in a cache, which can be synced and written.

        Raises:
            InvalidInput: it is a bundle.
        """

    def in_force(self) -> tuple[ReleaseAnswers, Rules]:
        """The release in force at this moment, and the rules that go before it.

        Raises:
            NotSynced, Stale: as for `Blocklist.check`.
        """
        found = self.dated()
        return found.release, found.rules

    def dated(self) -> Dated:
        """The same, and whether it still holds.

        Raises:
            NotSynced, Stale: as for `Blocklist.check`.
        """
        self.current.reload(wait=True)  # what answers questions may be half a second old
        release, expires = self.current.generation()
        at = times.now()
        return Dated(
            release=release,
            rules=self.current.rules(),
            at=at,
            expires=expires,
            stale=is_past(expires, at),
            clock_behind_s=self.current.clock_behind_s(at),
        )

    @abstractmethod
    def status(self) -> Status:
        """See `Blocklist.status`."""

    @abstractmethod
    def changes(self, since: int | None, era: int | None) -> "Changes":
        """See `Blocklist.changes`."""

    @abstractmethod
    def verify(self) -> Verification:
        """See `Blocklist.verify`."""

    @property
    @abstractmethod
    def directories(self) -> tuple[Path, ...]:
        """Where its files are, or the file itself: nothing else is written there."""

    @abstractmethod
    def seen_audit_heads(self) -> tuple[AuditFile, ...]:
        """The files of the audit heads that were seen."""

    @abstractmethod
    def close(self) -> None:
        """Release what can be opened again, and wait for what was begun."""


class Internals(AskedInternals):
    """One feed on this machine's disk, and how to sync it.

    Attributes:
        store: the generations.
        state_file: what must survive a wiped cache: the highest serial, and how the last sync went.
        audit_file: the audit heads that were seen.
        holds: names of those who still need an older release.
    """

    overrides: Overrides
    current: CurrentList

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
        super().__init__(feed=feed, root=root, region=region, form=form)
        self._protected, self._guard, self._max_rows = protected, guard, max_rows
        self._auth, self._tls, self._transport = auth, tls, transport
        self.store: Store = Store(cache_directory, access)
        self.state_file: Path = state_directory / "state.json"
        self.audit_file: AuditFile = AuditFile(state_directory / AUDIT_FILE, self.store.state_access)
        self._database = database = LocalDatabase(state_directory / "recipient.sqlite", self.store.state_access)
        self.holds: Holds = Holds(database)
        self.overrides = Overrides(
            database,
            read=self.read,
            read_column=lambda texts: column_reader(texts, region, form),
            region=region,
            form=form,
            is_protected=lambda number: number in self.current.rules().protected,
            changed=lambda: self.current.reload(wait=True),
        )
        self.current = CurrentList(
            feed,
            self.store,
            self.overrides,
            protected,
            state_file=self.state_file,
            read=self.read,
            when_stale=when_stale,
        )

    def on_disk(self) -> Self:
        """The list itself."""
        return self

    def status(self) -> Status:
        """See `Blocklist.status`."""
        state = load_state(self.state_file)
        self.current.reload(wait=True)
        generation, expires = self.current.opened or (None, None)
        about = generation.about if generation else None
        now = times.now()
        on_disk, held = self.store.releases(), self.held()
        return Status(
            feed=self.feed,
            serial=about.serial if about else None,
            rows=about.rows if about else None,
            digest=about.digest if about else None,
            as_of=about.published_at if about else None,
            expires=expires,
            stale=is_past(expires, now),
            generation_bytes=generation.bytes if generation else None,
            last_success=state.last_success,
            last_attempt=state.last_attempt,
            last_error=state.last_error,
            refused=state.refused.serial if state.refused else None,
            refusals=state.refused.reasons if state.refused else (),
            overrides=sum(override.in_force(now) for override in self.current.rules().decisions()),
            generations=tuple(release.serial for release in on_disk),
            held={name: release.serial for name, release in held.items()},
            disk_bytes=self.store.disk_bytes(),
            scopes=tuple(sorted(generation.scopes)) if generation else (),
            refused_digest=state.refused.digest if state.refused else None,
            scope_entries=generation.scope_entries if generation else {},
            era=about.era if about else None,
            refused_era=state.refused.era or FIRST_ERA if state.refused else None,
            generation_eras=tuple(release.era for release in on_disk),
            held_eras={name: release.era for name, release in held.items()},
            clock_behind_s=self.current.clock_behind_s(now),
            audit_warning=state.audit_warning,
            damaged=generation is not None and state.scrub is not None and state.scrub.damaged == generation.name,
            whole_at=state.scrub.whole_at if state.scrub else None,
        )

    def changes(self, since: int | None, era: int | None) -> "Changes":
        """See `Blocklist.changes`."""
        from blocklist_sdk.recipient.changes import Changes

        generation, rules, store = self.current.generation()[0], self.current.rules, self.store
        note_damage = self.note_damage
        if since is None:
            return Changes(None, generation, rules, note_damage)
        about = generation.about
        if since == about.serial and era in (None, about.era):
            # Also where it is not on the disk any more.
            return Changes(generation, generation, rules, note_damage)
        release = self.named(since, era)
        pair = None if release is None else store.open_pair(release, generation)
        if pair is None:
            kept = ", ".join(map(str, store.releases()))
            raise InvalidInput(
                f"release {ReleaseId(era or FIRST_ERA, since)} of feed {self.feed!r} is not on this disk, only {kept}: "
                "hold a release that is still needed, or take the whole list (since=None)"
            )
        return Changes(*pair, rules, note_damage)

    def named(self, serial: int, era: int | None) -> ReleaseId | None:
        """The release on this disk that a serial names; None if there is none.

        Raises:
            InvalidInput: several earlier eras have it.
        """
        on_disk = [each for each in self.store.releases() if each.serial == serial]
        if era is not None:
            return next((each for each in on_disk if each.era == era), None)
        opened = self.current.opened
        in_force = [each for each in on_disk if opened is not None and each.era == opened[0].about.era]
        found = set(in_force or on_disk)
        if len(found) > 1:
            eras = " and ".join(str(each.era) for each in sorted(found))
            raise InvalidInput(f"release {serial} of feed {self.feed!r} was in the eras {eras}: give the era as well")
        return next(iter(found), None)

    def verify(self) -> Verification:
        """See `Blocklist.verify`."""
        from blocklist_sdk.recipient.cache.generation import DAMAGE
        from blocklist_sdk.recipient.sync.proof import problems_of
        from blocklist_sdk.release.digest import digest
        from blocklist_sdk.release.digest_kinds import kind_of

        generation = self.current.generation()[0]
        try:
            found = digest(generation.rows, kind_of(generation.about.digest))
        except (*DAMAGE, Malformed):
            found = ""  # the rows cannot even be read
        problems = problems_of(generation, pinned=self.root, roots=self.store.known_roots())
        if generation.about.feed != self.feed:
            problems.append(f"it is a release of the feed {generation.about.feed!r}, not of this one")
        if found != generation.about.digest:
            problems.append("its rows do not have the digest that was signed")
            self.note_damage(generation)
        elif not generation.is_whole():
            problems.append("a file is not as it was written")
            self.note_damage(generation)
        return Verification(
            self.feed, generation.about.serial, generation.about.rows, found, tuple(problems), era=generation.about.era
        )

    def seen_audit_heads(self) -> tuple[AuditFile, ...]:
        """The file of the audit heads that were seen."""
        return (self.audit_file,)

    def close(self) -> None:
        """Wait for the upkeep, if any was begun: a process that only asks does without it; and close the list."""
        if "upkeep" in vars(self):
            self.upkeep.close()
        self.current.close()

    @property
    def directories(self) -> tuple[Path, Path]:
        """The directories of the cache and of the state; the latter also has the ledgers of sinks."""
        return self.store.directory, self.state_file.parent

    def in_force(self) -> tuple[Generation, Rules]:
        """The generation in force at this moment, and the rules: see `AskedInternals.in_force`."""
        found, rules = super().in_force()
        assert isinstance(found, Generation), "the store opens generations"
        return found, rules

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

    def begin_upkeep(self) -> None:
        """Do what is due of the upkeep in a thread, if there is a list."""
        opened = self.current.opened
        if opened is not None and isinstance(opened[0], Generation):
            self.upkeep.begin(opened[0])

    def note_damage(self, generation: Generation) -> None:
        """Store that the list in force was found damaged, so that the next sync fetches it again."""
        self.upkeep.upkeep.note_damage(generation)

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
