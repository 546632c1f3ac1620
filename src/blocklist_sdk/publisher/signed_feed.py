"""One feed of a repository: its signed index, the rows of its current release, and the files of the next one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from blocklist_sdk.disk import staged, storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Untrusted
from blocklist_sdk.publisher.next_release import NextRelease
from blocklist_sdk.publisher.published_before import NOTHING, PublishedBefore
from blocklist_sdk.publisher.repository import Repository
from blocklist_sdk.release.audit import AuditHead
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.eras import era_of
from blocklist_sdk.release.files import read_delta, read_snapshot, write_delta, write_snapshot
from blocklist_sdk.release.index import SERIAL_MAX, FeedIndex, FileRef, Release
from blocklist_sdk.release.layers import apply
from blocklist_sdk.release.merge import Difference, delta_between, difference
from blocklist_sdk.release.names import delta_path, index_path, snapshot_path, unknown_feed
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import Rows

DELTAS_MAX: Final = 90
"""How many deltas are offered: a quarter of a year of daily releases. A recipient that was away for longer takes the
snapshot."""


@dataclass(frozen=True, slots=True)
class SignedFeed:
    """A feed as it is published.

    Attributes:
        repository: the repository.
        name: the feed's name.
        index: the signed index; None before the first release.
        remembered: the highest that was ever published, as the folder remembers it beside the repository.
    """

    repository: Repository
    name: str
    index: FeedIndex | None
    remembered: PublishedBefore = NOTHING

    @classmethod
    def find(
        cls, repository: Repository, name: str, *, memory: Callable[[str], PublishedBefore] | None = None
    ) -> "SignedFeed":
        """The feed of that name.

        Args:
            repository: the repository.
            name: the feed's name.
            memory: says what the folder remembers of a feed; needed to publish.

        Raises:
            InvalidInput: the repository has no such feed.
            Malformed, Untrusted: the index was damaged.
        """
        if name not in repository.feeds:
            raise InvalidInput(unknown_feed("the repository", name, repository.feeds))
        path = repository.file(name, index_path(name))
        index = FeedIndex.from_json(path.read_bytes(), feed=name) if path else None
        return cls(repository, name, index, memory(name) if memory else NOTHING)

    @property
    def era(self) -> int:
        """The feed's era, in which its releases are counted."""
        return era_of(self.repository.state.targets.signed, self.name)

    @property
    def published(self) -> PublishedBefore:
        """What the repository has, as the folder remembers it."""
        return PublishedBefore.of(self.index, self.era)

    @property
    def last_entry(self) -> int:
        """The highest entry id given out so far."""
        return self.remembered.with_other(self.published).last_entry

    @property
    def is_older(self) -> bool:
        """Whether the repository is an older copy: more was published than it has."""
        return self.remembered.release > self.published.release

    @property
    def highest_serial(self) -> int:
        """The highest serial that was published, after which the serials go on; 0 before the first release."""
        return max(self.published.release.serial, self.remembered.release.serial if self.is_older else 0)

    @property
    def next_serial(self) -> int:
        """The serial of the next release, above every one that is known.

        Raises:
            InvalidInput: the feed has used up its serials, which only a thief of its key does.
        """
        serial = self.highest_serial + 1
        if serial > SERIAL_MAX:
            raise InvalidInput(
                f"feed {self.name} has no serial left after {SERIAL_MAX:,}. If its key was stolen, replace it, and "
                f"begin the serials anew: blocklist publish keys rotate DIR --role feed.{self.name} --restart-serials"
            )
        return serial

    @property
    def next_release(self) -> ReleaseId:
        """The next release, by era and serial. Errors are those of `next_serial`."""
        return ReleaseId(self.era, self.next_serial)

    def rows(self) -> Rows:
        """The rows of the current release, empty before the first: from its snapshot, or an earlier one and deltas.

        Raises:
            Malformed, Untrusted: no snapshot on offer leads there undamaged.
        """
        if self.index is None:
            return Rows.empty()
        failure: BlocklistError | None = None
        for release in reversed(self.index.releases):
            if release.snapshot is not None:
                try:
                    return self._rows_from(release)
                except (Malformed, Untrusted) as error:
                    failure = failure or error
        raise failure or Malformed(f"feed {self.name!r} has no snapshot: restore the repository from your backup")

    def _rows_from(self, release: Release) -> Rows:
        assert self.index is not None
        rows = read_snapshot(self._file(release.snapshot))
        for serial in range(release.serial + 1, self.index.serial + 1):
            following = self.index.find(serial)
            rows, _ = apply(rows, read_delta(self._file(following.delta if following else None)))
        if release is not self.index.current and digest(rows) != self.index.digest:
            raise Malformed(f"the files of {self.name!r} do not lead to its release {self.index.serial}")
        return rows

    def _file(self, file: FileRef | None) -> Path:
        path = self.repository.file(self.name, file.path) if file else None
        if path is None:
            raise Malformed(f"a file of {self.name!r} is not signed: restore the repository from your backup")
        return path

    def add_snapshot(self) -> FeedIndex:
        """Write the snapshot of the current release anew, sign and publish it; serial and digest stay.

        Raises:
            InvalidInput: the feed has no release yet, or a key is not available.
            Malformed, Untrusted: no snapshot on offer leads to the current release undamaged.
            StorageFailed: the disk refused.
        """
        if self.index is None:
            raise InvalidInput(f"feed {self.name!r} has no release yet, so there is nothing to make a snapshot of")
        rows, folder = self.rows(), self.repository.folder(self.name)
        with storage(folder), staged(folder) as file:
            write_snapshot(rows, file)
            _check(read_snapshot(file), self.index.digest)
            snapshot = FileRef(path=snapshot_path(self.name, self.index.serial), length=file.stat().st_size)
            current = self.index.current.model_copy(update={"snapshot": snapshot})
            index = self.index.model_copy(update={"releases": (*self.index.releases[:-1], current)})
            on_offer = {each.path for release in index.releases for each in (release.snapshot, release.delta) if each}
            self.repository.set_targets(
                self.name,
                files={snapshot.path: file, index_path(self.name): index.to_json()},
                keep=on_offer - {snapshot.path},
            )
        return index

    def add_release(
        self,
        before: Rows,
        following: NextRelease,
        *,
        published_at: datetime,
        region: str | None,
        scope: str | None,
        audit: AuditHead | None,
        reserve: Callable[[], None],
    ) -> tuple[FeedIndex, Difference]:
        """Write, check, sign and publish the next release.

        Args:
            before: the rows of the current release.
            following: the next release.
            published_at: the moment of the release, UTC.
            region: the region in which its national numbers were read.
            scope: the feed's scope; None if it has none.
            audit: the head of the exchange's audit trail; None for that of the index before, if it has one.
            reserve: called before anything is published, to store durably which ids are given out.

        Returns:
            The new index, and what changed.

        Raises:
            InvalidInput: a key is not available.
            Malformed: the files do not read back as they were written. That is a bug; nothing was published.
            StorageFailed: the disk refused.
        """
        folder = self.repository.folder(self.name)
        serial = self.next_serial
        rows, expected = following.rows, digest(following.rows)
        with storage(folder), staged(folder) as snapshot_file, staged(folder) as delta_file:
            write_snapshot(rows, snapshot_file)
            _check(read_snapshot(snapshot_file), expected)
            snapshot = FileRef(path=snapshot_path(self.name, serial), length=snapshot_file.stat().st_size)
            files: dict[str, Path | bytes] = {snapshot.path: snapshot_file}
            delta: FileRef | None = None
            # A delta leads from one serial to the next. An older copy of the repository lacks the release in between.
            is_next = self.index is not None and self.index.serial + 1 == serial
            if not is_next:
                changes = difference(before, rows)
            else:
                write_delta(delta_between(before, rows), delta_file)
                after, changes = apply(before, read_delta(delta_file))
                _check(after, expected)
                delta = FileRef(path=delta_path(self.name, serial), length=delta_file.stat().st_size)
                files[delta.path] = delta_file
            current = Release(
                serial=serial,
                published_at=published_at,
                rows=len(rows),
                digest=expected,
                snapshot=snapshot,
                delta=delta,
            )
            older = still_offered(self.index.releases if self.index else (), current)
            index = FeedIndex(
                feed=self.name,
                region=region,
                scope=scope,
                serial=serial,
                published_at=published_at,
                rows=len(rows),
                digest=expected,
                last_entry=following.last_entry,
                releases=(*older, current),
                audit=audit or (self.index.audit if self.index else None),
            )
            files[index_path(self.name)] = index.to_json()
            reserve()
            self.repository.set_targets(self.name, files=files, keep=[each.delta.path for each in older if each.delta])
        return index, changes


def still_offered(earlier: tuple[Release, ...], current: Release) -> list[Release]:
    """Earlier releases from which the deltas up to the current one are no more bytes than its snapshot.

    Only their deltas stay on offer. A recipient that is reading an older snapshot still finds the file for a while,
    since nothing that was published is deleted at once.
    """
    offered: list[Release] = []
    if current.snapshot is None or current.delta is None:
        return offered
    chain = current.delta.length
    for release in reversed(earlier):
        chain += release.delta.length if release.delta else 0
        if release.delta is None or chain > current.snapshot.length or len(offered) + 1 >= DELTAS_MAX:
            break
        offered.insert(0, release.model_copy(update={"snapshot": None}))
    return offered


def _check(rows: Rows, expected: str) -> None:
    if digest(rows) != expected:
        raise Malformed("the release does not read back as it was written; nothing was published. Report this bug.")
