"""One feed of a repository: its signed index, the rows of its current release, and the files of the next one."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from blocklist_sdk.disk import staged, storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Untrusted
from blocklist_sdk.publisher.offer import is_worth_a_delta, needs_snapshot, still_offered
from blocklist_sdk.publisher.plans import Plan
from blocklist_sdk.publisher.published_before import NOTHING, PublishedBefore
from blocklist_sdk.publisher.repository import Repository
from blocklist_sdk.publisher.working_copy import (
    UNREADABLE,
    PublishedList,
    WorkingCopies,
    current_of,
    outside_of,
    same_rows,
    verify,
)
from blocklist_sdk.release.audit import AuditHead
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.digest_kinds import kind_of
from blocklist_sdk.release.eras import era_of
from blocklist_sdk.release.files import read_delta, read_snapshot, snapshot_parts, write_delta, write_snapshot
from blocklist_sdk.release.index import SERIAL_MAX, FeedIndex, FileRef, Release
from blocklist_sdk.release.layers import LayeredRows, apply_all
from blocklist_sdk.release.merge import Delta
from blocklist_sdk.release.names import delta_path, index_path, snapshot_path, unknown_feed
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import Int64s, Rows
from blocklist_sdk.release.tree import Tree

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignedFeed:
    """A feed as it is published.

    Attributes:
        repository: the repository.
        name: the feed's name.
        index: the signed index; None before the first release.
        remembered: the highest that was ever published, as the folder remembers it beside the repository.
        copies: the working copies of the feed's releases; None for none.
    """

    repository: Repository
    name: str
    index: FeedIndex | None
    remembered: PublishedBefore = NOTHING
    copies: WorkingCopies | None = None

    @classmethod
    def find(
        cls,
        repository: Repository,
        name: str,
        *,
        memory: Callable[[str], PublishedBefore] | None = None,
        copies: Callable[[str], WorkingCopies] | None = None,
    ) -> "SignedFeed":
        """The feed of that name.

        Args:
            repository: the repository.
            name: the feed's name.
            memory: says what the folder remembers of a feed; needed to publish.
            copies: gives the working copies of a feed.

        Raises:
            InvalidInput: the repository has no such feed.
            Malformed, Untrusted: the index was damaged.
        """
        if name not in repository.feeds:
            raise InvalidInput(unknown_feed("the repository", name, repository.feeds))
        path = repository.file(name, index_path(name))
        index = FeedIndex.from_json(path.read_bytes(), feed=name) if path else None
        return cls(repository, name, index, memory(name) if memory else NOTHING, copies(name) if copies else None)

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

    def current(self) -> PublishedList:
        """The list of the current release: its working copy, or else read from the signed files.

        Raises:
            Malformed, Untrusted: as for `rows`.
        """
        if self.index is None:
            return PublishedList(LayeredRows.of(Rows.empty()), Tree.of(Rows.empty()), 0)
        found = self.copies.find(self.published.release, self.index.digest) if self.copies else None
        return found or current_of(self.rows())

    def verified(self, current: PublishedList, numbers: Int64s | None = None) -> PublishedList:
        """The current list if its working copy is as it was written, and else read from the signed files.

        Args:
            current: the current list.
            numbers: the numbers about which it is to decide; None for all.

        Raises:
            Malformed, Untrusted: as for `rows`.
        """
        if not current.is_stored:
            return current
        try:
            verify(current, numbers)
        except UNREADABLE as error:
            log.warning("the working copy %s is made anew from the signed files: %s", current.directory, error)
            return current_of(self.rows())
        return current

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
        layers = LayeredRows.of(read_snapshot(self._file(release.snapshot)))
        if release is self.index.current:
            return layers.whole()
        following = [self.index.find(serial) for serial in range(release.serial + 1, self.index.serial + 1)]
        deltas = [read_delta(self._file(each.delta if each else None)) for each in following]
        rows = apply_all(layers, deltas)[0].whole()
        if digest(rows, kind_of(self.index.digest)) != self.index.digest:
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
            _check_snapshot(file, rows)
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

    def needs_snapshot(self, plan: Plan) -> bool:
        """Whether a release has to have a snapshot of its own; also if the file of the last one was damaged."""
        if needs_snapshot(self.index, serial=self.next_serial, changes=len(plan.changes), rows=len(plan.after)):
            return True
        assert self.index is not None
        try:
            self._file(next(each.snapshot for each in reversed(self.index.releases) if each.snapshot is not None))
        except (Malformed, Untrusted) as error:
            log.warning("a new snapshot is written: %s", error)
            return True
        return False

    def add_release(
        self,
        plan: Plan,
        current: PublishedList,
        *,
        has_snapshot: bool,
        published_at: datetime,
        region: str | None,
        scope: str | None,
        audit: AuditHead | None,
        reserve: Callable[[], None],
    ) -> tuple[FeedIndex, int]:
        """Write, check, sign and publish the next release.

        Args:
            plan: the release.
            current: the current list, on which it was planned.
            has_snapshot: whether it gets a snapshot of its own.
            published_at: the moment of the release, UTC.
            region: the region in which its national numbers were read.
            scope: the feed's scope; None if it has none.
            audit: the head of the exchange's audit trail; None for that of the index before, if it has one.
            reserve: called before anything is published, to store durably which ids are given out.

        Returns:
            The new index, and how many of the release's single numbers lie outside all ranges.

        Raises:
            InvalidInput: a key is not available.
            Malformed: the files do not read back as they were written. That is a bug; nothing was published.
            StorageFailed: the disk refused.
        """
        folder, release = self.repository.folder(self.name), self.next_release
        tree = _tree_of(plan, current)
        outside = outside_of(current) + plan.more_outside
        with storage(folder), staged(folder) as snapshot_file, staged(folder) as delta_file:
            files: dict[str, Path | bytes] = {}
            snapshot = delta = None
            # A delta leads from one serial to the next. An older copy of the repository lacks the release in between.
            is_next = self.index is not None and self.index.serial + 1 == release.serial
            if is_next and is_worth_a_delta(len(plan.changes), len(plan.after)):
                write_delta(plan.changes.delta(), delta_file)
                _check(_digest_after(plan, current, read_delta(delta_file)), tree.digest)
                delta = FileRef(path=delta_path(self.name, release.serial), length=delta_file.stat().st_size)
                files[delta.path] = delta_file
            if has_snapshot:
                rows = plan.after.whole()
                if not _is_made_whole(plan, current):
                    _check(digest(rows), tree.digest)
                rows.validate_together()
                write_snapshot(rows, snapshot_file)
                _check_snapshot(snapshot_file, rows)
                snapshot = FileRef(path=snapshot_path(self.name, release.serial), length=snapshot_file.stat().st_size)
                files[snapshot.path] = snapshot_file
            made = Release(
                serial=release.serial,
                published_at=published_at,
                rows=len(plan.after),
                digest=tree.digest,
                snapshot=snapshot,
                delta=delta,
            )
            older = still_offered(self.index.releases if self.index else (), made)
            index = FeedIndex(
                feed=self.name,
                region=region,
                scope=scope,
                serial=release.serial,
                published_at=published_at,
                rows=len(plan.after),
                digest=tree.digest,
                last_entry=plan.last_entry,
                releases=(*older, made),
                audit=audit or (self.index.audit if self.index else None),
            )
            files[index_path(self.name)] = index.to_json()
            if self.copies is not None:
                self.copies.write(release, plan.after, tree, outside=outside, before=current)
            reserve()
            self.repository.set_targets(
                self.name,
                files=files,
                keep=[each.path for old in older for each in (old.snapshot, old.delta) if each is not None],
            )
        if self.copies is not None:
            self.copies.keep(release, tree.digest)
        return index, outside


def _is_made_whole(plan: Plan, current: PublishedList) -> bool:
    """Whether the digest of a release does not follow from that of the current one."""
    return current.tree is None or plan.after.facts.base_id != plan.before.facts.base_id


def _tree_of(plan: Plan, current: PublishedList) -> Tree:
    """The digest tree of a release."""
    if current.tree is None or _is_made_whole(plan, current):
        return Tree.of(plan.after.whole())
    return current.tree.updated(plan.after, plan.changes)


def _digest_after(plan: Plan, current: PublishedList, delta: Delta) -> str:
    """The digest of the list to which a delta leads from the current one."""
    after, changes = plan.before.applied(delta)
    return digest(after.whole()) if current.tree is None else current.tree.updated(after, changes).digest


def _check_snapshot(file: Path, rows: Rows) -> None:
    """Read a snapshot back, part by part."""
    begin = 0
    for part in snapshot_parts(file):
        expected = rows.take(np.arange(begin, min(begin + len(part), len(rows))))
        begin += len(part)
        if not same_rows(part, expected):
            raise _not_as_written()
    if begin != len(rows):
        raise _not_as_written()


def _not_as_written() -> Malformed:
    return Malformed("the release does not read back as it was written; nothing was published. Report this bug.")


def _check(found: str, expected: str) -> None:
    if found != expected:
        raise _not_as_written()
