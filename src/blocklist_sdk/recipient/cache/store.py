"""The generations of one feed on disk, and which one is in force.

::

    CACHE/FEED/
        lock                    held while a sync runs
        current.json            which generation is in force; replaced in one rename
        protected.json          numbers that no feed may list, as the authority signed them
        tuf/                    the repository's signed metadata
        generations/SERIAL-ERA-RANDOM/
        fold.lock               held while a base is made anew of a generation and its overlay
        fetch-RANDOM/           what a running sync has fetched so far
"""

import contextlib
import logging
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from blocklist_sdk.disk import (
    STAGED_PREFIX,
    check_owners,
    forbid_links,
    read_json,
    read_unlinked,
    storage,
    sync_directory,
    write_file,
    write_json,
)
from blocklist_sdk.errors import InvalidInput, Locked, Malformed
from blocklist_sdk.locks import file_lock
from blocklist_sdk.modes import PRIVATE, SHARED, Access
from blocklist_sdk.recipient.cache.folding import write_folded, write_on_folded
from blocklist_sdk.recipient.cache.generation import (
    About,
    Generation,
    NextList,
    release_in,
    write_generation,
    write_generation_again,
)
from blocklist_sdk.release.release_id import ReleaseId

_FORMAT = 1
HELD_MAX = 8
"""Older releases that are kept because they are held, at most, so that disk use has a bound."""

_WORKSPACE_PREFIX = "fetch-"

_FOLDED_PREFIX = ".fold-"
"""Begins the names of bases that are being made of a generation and its overlay."""

_FOLD_ROOM: Final = 1.2
"""Folding writes about what the generation has; this part of it must be free on the disk."""

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CurrentGeneration:
    """The content of `current.json`.

    Attributes:
        generation: the generation's directory under `generations/`.
        expires: when the signed metadata expires, UTC; None if that is not known.
    """

    generation: str
    expires: datetime | None


class Store:
    """The generations of one feed. Methods raise `StorageFailed` if the disk fails; what was in force before still is.

    Attributes:
        directory: the feed's cache.
        pointer: the file that says which generation is in force.
        access: who may read it.
        state_access: who may read the state that belongs to it. Its overrides decide answers, so whoever was let read
            the cache reads them as well; otherwise they are private.
        metadata: where TUF keeps the signed metadata.
        protected: the file with the authority's protected numbers.
    """

    def __init__(self, directory: Path, access: Access = SHARED) -> None:
        """Takes a directory that need not exist; nothing is written before the first commit."""
        self.directory = directory
        self.access = access
        self.state_access: Access = access if access.is_explicit else PRIVATE
        self.pointer: Path = directory / "current.json"
        self.metadata: Path = directory / "tuf"
        self.protected: Path = directory / "protected.json"
        self._generations = directory / "generations"

    @contextlib.contextmanager
    def lock(self, wait_s: float) -> Iterator[None]:
        """Hold the feed's lock, so that one sync runs at a time.

        Raises:
            InvalidInput: `wait_s` is not a finite number of seconds; or a stranger could decide which directory it is.
            Locked: another process still held the lock after `wait_s` seconds.
        """
        if not math.isfinite(wait_s):
            raise InvalidInput(f"wait must be a finite number of seconds, not {wait_s}")
        path = self.directory / "lock"
        with storage(self.directory):
            check_owners(self.directory)
            self.access.make(self.directory, is_ours=True)
        forbid_links(self.directory, path, self.metadata, self.metadata / "root_history", self._generations)
        with file_lock(path, wait_s=wait_s, busy=f"another process is syncing {self.directory}"):
            if self.access.is_explicit:
                # What is here already was perhaps written before anybody asked for this access.
                with storage(self.directory):
                    self.access.give_all(self.directory)
            yield

    def current(self) -> CurrentGeneration | None:
        """The generation that is in force, None before the first.

        Raises:
            Malformed: `current.json` is damaged or of a newer version.
        """
        if self.pointer.is_symlink():
            raise Malformed(f"{self.pointer} is damaged: it is a link")
        document = read_json(self.pointer, format_version=_FORMAT)
        if document is None:
            return None
        try:
            expires = document["expires"] and datetime.fromisoformat(document["expires"])
            if expires and expires.tzinfo is None:
                raise ValueError(f"{expires} has no time zone")
            generation = str(document["generation"])
            if "/" in generation or generation.startswith(".") or (self._generations / generation).is_symlink():
                raise ValueError("it names a generation that is not this feed's")
            return CurrentGeneration(generation, expires or None)
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed(f"{self.pointer} is damaged: {error}") from error

    def open(self) -> tuple[Generation, datetime | None] | None:
        """The generation in force and its expiry; None before the first.

        If it is damaged: the newest whole one that is left, with no known expiry; an old answer is better than none.
        """
        opened_before: CurrentGeneration | None = None
        while True:
            try:
                current = self.current()
            except Malformed as error:
                log.error("%s; the newest whole generation answers instead", error)
                return self._newest_whole()
            if current is None:
                return self._newest_whole()
            try:
                return Generation.open(self._generations / current.generation), current.expires
            except Malformed as error:
                if current == opened_before:
                    log.error("%s; the next sync fetches it again", error)
                    return self._newest_whole()
                # It may not be damaged: other syncs may have switched to another and deleted it since the pointer was
                # read. What the pointer names now is there.
                opened_before = current

    def _newest_whole(self) -> tuple[Generation, None] | None:
        for name in self._names():
            with contextlib.suppress(Malformed):
                return Generation.open(self._generations / name), None
        return None

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A private directory for a sync, removed at the end; the caller holds the lock."""
        with storage(self.directory):
            for left in self.directory.glob(f"{_WORKSPACE_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            directory = Path(tempfile.mkdtemp(dir=self.directory, prefix=_WORKSPACE_PREFIX))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def known_roots(self) -> Iterator[bytes]:
        """Read the roots that led from the pinned one to the current one, in any order, as they are asked for."""
        with storage(self.metadata):
            for path in self.metadata.glob("root_history/*.root.json"):
                yield path.read_bytes()

    def protected_document(self) -> bytes | None:
        """The authority's protected numbers, as they were signed; None before the first sync."""
        if self.protected.is_symlink():
            log.error("%s is a link, which is not followed but replaced: see who can write there", self.protected)
            return None
        return read_unlinked(self.protected)

    def protect(self, document: bytes) -> None:
        """Put a verified document of protected numbers in force."""
        if self.protected_document() == document:
            return
        with storage(self.protected):
            write_file(self.protected, document, self.access)

    def commit(
        self,
        listed: NextList,
        about: About,
        expires: datetime,
        *,
        signed: Mapping[str, bytes] = MappingProxyType({}),
        hold: Set[ReleaseId] = frozenset(),
    ) -> None:
        """Put a verified release in force: write it beside the others, then switch with one rename.

        If it has the base of the generation in force, that one's files are linked, and only an overlay is written. The
        caller holds the lock.

        Args:
            listed: the release's list.
            about: the release.
            expires: when its signatures expire.
            signed: signed metadata that later proves that the release is the authority's, by file name.
            hold: older releases that are still needed.
        """
        opened = self.open()
        before = opened[0] if opened else None
        self._put_in_force(
            about,
            expires,
            lambda directory: write_generation(directory, listed, about, signed=signed, before=before),
            before=before,
            hold=hold,
        )

    def _put_in_force(
        self,
        about: About,
        expires: datetime,
        write: Callable[[Path], None],
        *,
        before: Generation | None,
        hold: Set[ReleaseId],
    ) -> None:
        name = _name_for(about)
        with storage(self._generations):
            self.access.make(self._generations, is_ours=True)
            for path in self._generations.glob(f"{STAGED_PREFIX}*"):  # what killed syncs left
                shutil.rmtree(path, ignore_errors=True)
            self._forget_killed_folds()
            with self._staged(STAGED_PREFIX) as staging:
                write(staging)
                self.access.give_all(staging)
                os.replace(staging, self._generations / name)
            sync_directory(self._generations)
        self.switch(name, expires)
        self._prune(name, before=None if before is None else before.name, hold=hold)

    @contextlib.contextmanager
    def _staged(self, prefix: str) -> Iterator[Path]:
        """A private directory among the generations, for one that is being written; removed unless it was renamed."""
        staging = Path(tempfile.mkdtemp(dir=self._generations, prefix=prefix))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def commit_again(
        self,
        generation: Generation,
        about: About,
        expires: datetime,
        *,
        signed: Mapping[str, bytes],
        hold: Set[ReleaseId] = frozenset(),
    ) -> None:
        """Put the list of a generation in force as another release. Arguments are those of `commit`."""
        opened = self.open()
        self._put_in_force(
            about,
            expires,
            lambda directory: write_generation_again(directory, generation, about, signed),
            before=opened[0] if opened else None,
            hold=hold,
        )

    def fold(self, generation: Generation, *, wait_s: float = 60.0) -> str | None:
        """Make a base of a generation and its overlay, and put it in force in its place, as the same release.

        It is written without the lock, which is held for the switch only. Readers and syncs go on meanwhile. If a later
        release with the same old base is in force at the end, it is put on the new base. If what is in force has
        another base, or another process folds, nothing is changed. Whenever the process is killed, what was in force
        still is.

        Args:
            generation: the one in force.
            wait_s: how long to wait for the lock.

        Returns:
            The name of the generation whose place was taken; None if nothing was changed.

        Raises:
            Malformed: the generation, or what came meanwhile, is damaged.
        """
        with storage(self._generations):
            free = shutil.disk_usage(self._generations).free
        if free < _FOLD_ROOM * generation.bytes:
            log.warning(
                "the overlay of %s stays: to make a base of it takes %d MB of disk, and %d MB are free",
                generation.directory,
                _FOLD_ROOM * generation.bytes / 1e6,
                free / 1e6,
            )
            return None
        try:
            with self._fold_lock(), storage(self._generations), self._staged(_FOLDED_PREFIX) as staging:
                folded = self._write_folded(staging, generation)
                return self._switch_to_folded(folded, generation, wait_s)
        except Locked as error:
            log.info("%s was not folded: %s", generation.directory, error)
            return None

    def _fold_lock(self) -> contextlib.AbstractContextManager[None]:
        return file_lock(self.directory / "fold.lock", wait_s=0, busy=f"another process folds {self.directory}")

    def _forget_killed_folds(self) -> None:
        left = list(self._generations.glob(f"{_FOLDED_PREFIX}*"))
        if left:
            # Whoever folds has the lock.
            with contextlib.suppress(Locked), self._fold_lock():
                for path in left:
                    shutil.rmtree(path, ignore_errors=True)

    def _write_folded(self, staging: Path, generation: Generation) -> Generation:
        folded = write_folded(staging, generation)
        self.access.give_all(staging)
        return folded

    def _switch_to_folded(self, folded: Generation, generation: Generation, wait_s: float) -> str | None:
        with self.lock(wait_s), contextlib.ExitStack() as stack:
            current, opened = self.current(), self.open()
            if current is None or current.expires is None or opened is None or opened[0].name != current.generation:
                return None
            in_force, staging = opened[0], folded.directory
            if in_force.name != generation.name:
                staging = stack.enter_context(self._staged(_FOLDED_PREFIX))
                if not write_on_folded(staging, folded, generation.layers, in_force):
                    return None
                self.access.give_all(staging)
            name = _name_for(in_force.about)
            os.replace(staging, self._generations / name)
            sync_directory(self._generations)
            self.switch(name, current.expires)
        # The copy with the older base stays until the next release, for readers that have it open, and for those who
        # compare it with the release before: both have that base, so it takes no more room.
        return in_force.name

    def switch(self, generation: str, expires: datetime) -> None:
        """Put a generation in force, with the expiry of its newest signatures."""
        with storage(self.pointer):
            document = {"format": _FORMAT, "generation": generation, "expires": expires.isoformat()}
            write_json(self.pointer, document, self.access)

    def renew(self, generation: str, expires: datetime) -> None:
        """Keep a generation in force, with the expiry of its newest signatures; writes only what is new."""
        try:
            if self.current() == CurrentGeneration(generation, expires):
                return
        except Malformed:
            pass  # it is repaired
        self.switch(generation, expires)

    def _names(self) -> list[str]:
        """The names of the generations that were written to their end, newest first."""
        with storage(self._generations):
            if not self._generations.is_dir():
                return []
            paths = [path for path in self._generations.iterdir() if not path.is_symlink()]
            names = [path.name for path in paths if not path.name.startswith(".")]
        return sorted(names, key=lambda name: (self._release_of(name), name), reverse=True)

    def _release_of(self, name: str) -> ReleaseId:
        """The release that a generation is of, by its name."""
        head, *rest = name.split("-")
        if len(rest) == 2 and head.isdigit() and rest[0].isdigit():
            return ReleaseId(int(rest[0]), int(head))
        # It was written before eras were known.
        return release_in(self._generations / name)

    def _prune(self, name: str, *, before: str | None, hold: Set[ReleaseId]) -> None:
        """Delete all generations but the one in force, the release before, and those that are held.

        The release before is for readers that are just opening it. Any other copy of the release in force is damaged.
        """
        release = self._release_of(name)
        others = [other for other in self._names() if self._release_of(other) != release]
        if before not in others:
            before = others[0] if others else None
        if before is not None:
            # A fold that was killed leaves a second copy.
            others = [before, *(other for other in others if self._release_of(other) != self._release_of(before))]
        wanted = [other for other in others if other != before and self._release_of(other) in hold]
        if len(wanted) > HELD_MAX:
            log.warning(
                "%s: more than %d older releases are held; release %s and older ones are deleted",
                self.directory,
                HELD_MAX,
                self._release_of(wanted[HELD_MAX]),
            )
        for unneeded in set(self._names()) - {name, before, *wanted[:HELD_MAX]}:
            shutil.rmtree(self._generations / unneeded, ignore_errors=True)

    def releases(self) -> list[ReleaseId]:
        """The releases on this disk, damaged or not, newest first."""
        return list(dict.fromkeys(map(self._release_of, self._names())))

    def open_release(self, release: ReleaseId) -> Generation | None:
        """The generation of a release; None if it is no longer on this disk.

        Lengths and ends of its files are checked; see `Generation.is_whole` for the rest.

        Raises:
            Malformed: it is damaged.
        """
        damage: Malformed | None = None
        for name in self._names():
            if self._release_of(name) == release:
                try:
                    return Generation.open(self._generations / name)
                except Malformed as error:
                    damage = error
        if damage is not None:
            raise damage
        return None

    def open_pair(self, release: ReleaseId, generation: Generation) -> tuple[Generation, Generation] | None:
        """Two generations to compare: of a release, and of that of the generation in force.

        Where a fold has left two copies of a release, those that share a base are taken, since only what deltas changed
        has to be looked at then.

        Args:
            release: the earlier release.
            generation: the one in force.

        Returns:
            The earlier one and the later one; None if the earlier one is no longer on this disk.

        Raises:
            Malformed: it is damaged.
        """
        found = self.open_release(release)
        if found is None:
            return None
        copies = [found, *self._other_copies(found)]
        for later in (generation, *self._other_copies(generation)):
            for earlier in copies:
                if earlier.shares_base(later):
                    return earlier, later
        return found, generation

    def _other_copies(self, generation: Generation) -> Iterator[Generation]:
        release = generation.about.release
        for name in self._names():
            if name != generation.name and self._release_of(name) == release:
                with contextlib.suppress(Malformed):
                    copy = Generation.open(self._generations / name)
                    if copy.about.digest == generation.about.digest:
                        yield copy

    def disk_bytes(self) -> int:
        """The size of all generations on disk; files that several share count once."""
        sizes: dict[tuple[int, int], int] = {}
        # A sync may be deleting some of them right now: os.walk passes over what is gone.
        for folder, _, names in os.walk(self._generations):
            for name in names:
                with contextlib.suppress(OSError):
                    status = os.stat(os.path.join(folder, name))
                    sizes[status.st_dev, status.st_ino] = status.st_size
        return sum(sizes.values())


def _name_for(about: About) -> str:
    """A new name for a generation.

    The random part gives a release another name when it is written again, because its first copy was damaged or has an
    overlay.
    """
    return f"{about.serial:012d}-{about.era}-{secrets.token_hex(4)}"
