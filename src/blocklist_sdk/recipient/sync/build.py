"""Building a release: what a plan names is fetched, verified, applied, and compared with the signed digest.

By deltas that takes time by what they change, never by the list: only the rows beside the changes are read, and only
their part of the digest tree is made anew.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import Malformed
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.recipient.cache.generation import About, Generation, NextList, write_base_generation
from blocklist_sdk.recipient.sync.admission import rows_of_chain, rows_of_files
from blocklist_sdk.recipient.sync.planner import FetchPlan
from blocklist_sdk.recipient.sync.room import within_memory
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.digest_kinds import DigestKind, kind_of
from blocklist_sdk.release.entries import check_entries, check_moves, check_step
from blocklist_sdk.release.files import read_base, read_delta
from blocklist_sdk.release.index import FeedIndex, FileRef, Release
from blocklist_sdk.release.layers import LayeredRows, apply_all
from blocklist_sdk.release.limits import check_distinct_texts, check_text_bytes
from blocklist_sdk.release.merge import Delta, Difference, difference
from blocklist_sdk.release.rows import Rows
from blocklist_sdk.release.tree import Tree


@dataclass(frozen=True, slots=True)
class Built:
    """A release as built by a plan.

    Attributes:
        layers: its rows, checked against the signed digest. By deltas they have the base of the list before.
        tree: their digest tree.
        changes: how they differ from the rows in force.
        is_delta: whether deltas alone led there.
        base: a generation of the snapshot, in the directory of the `Fetch`; None if there was none.
        since_base: how they differ from its rows.
    """

    layers: LayeredRows
    tree: Tree
    changes: Difference
    is_delta: bool
    base: Generation | None = None
    since_base: Difference | None = None

    @property
    def listed(self) -> NextList:
        """What is put in force."""
        changes = self.changes if self.since_base is None else self.since_base
        return NextList(self.layers, self.tree, changes, self.base)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Carries out a plan in a private directory.

    Attributes:
        trust: the repository, refreshed.
        index: the feed's signed index.
        directory: where files arrive; the caller removes it.
        continues: whether the index offers the release in force here with its digest, so that entry ids must not have
            moved since. If it does not, the publisher may have restored a backup, and have given ids out again.
    """

    trust: Trust
    index: FeedIndex
    directory: Path
    continues: bool

    def build(self, planned: FetchPlan, old: Generation | None) -> Built:
        """The current release, checked against the signed digest, and how it differs from `old`.

        Args:
            planned: the way to it.
            old: the generation in force here; None if there is none. Only a plan with a snapshot reads it whole.

        Raises:
            Malformed: the files do not lead to the release that the index signs.
        """
        with within_memory(self.index.feed, self.directory):
            if planned.snapshot is not None:
                return self._from_snapshot(planned, planned.snapshot, old)
            if old is None:
                raise Malformed(f"the deltas of feed {self.index.feed!r} have no release to start from")
            return self._by_deltas(planned, old)

    def _by_deltas(self, planned: FetchPlan, old: Generation) -> Built:
        layers = old.layers
        deltas = self._deltas(planned, rows_of_files(self.index, planned, have=len(layers)), have=len(layers))
        # The overlay is written anew, with hashes of what it has then, and the guard goes by the ranges. What deltas
        # touch of the base shows in the digest.
        if not old.is_of_earlier_format and not (old.is_overlay_whole() and old.are_ranges_whole()):
            raise Malformed(f"the overlay or the ranges of the generation in {old.directory} are damaged")
        try:
            after, tree, changes = self._applied(layers, old.tree, deltas)
        except (IndexError, KeyError) as error:
            raise Malformed(f"the generation in {old.directory} is damaged") from error
        return Built(after, tree, changes, is_delta=True)

    def _from_snapshot(self, planned: FetchPlan, snapshot: FileRef, old: Generation | None) -> Built:
        rows_max = rows_of_files(self.index, planned, have=0 if old is None else old.about.rows)
        base = self._base(snapshot, rows_max[0], offered=self.index.releases[-len(planned.deltas) - 1])
        deltas = self._deltas(planned, rows_max[1:], have=len(base.layers))
        after, tree, since_base = self._applied(base.layers, base.tree, deltas)
        changes = difference(Rows.empty() if old is None else old.rows, after.whole())
        if self.continues:
            check_moves(changes)
        return Built(after, tree, changes, is_delta=False, base=base, since_base=since_base)

    def _base(self, snapshot: FileRef, rows: int, *, offered: Release) -> Generation:
        """A generation of the release of a snapshot, which is read straight into it, and which nobody sees yet."""
        path = self._download(snapshot)

        def read(beside: Callable[[Rows], None]) -> None:
            def check_first(found: Rows) -> None:
                check_entries(found, last_entry=self.index.last_entry)
                beside(found)

            read_base(path, directory, rows=rows, beside=check_first)

        about = About(self.index.feed, offered.serial, offered.digest, rows, offered.published_at)
        with storage(self.directory):
            directory = Path(tempfile.mkdtemp(dir=self.directory))
            return write_base_generation(directory, about, read)

    def _deltas(self, planned: FetchPlan, rows_max: Sequence[int], *, have: int) -> list[Delta]:
        deltas: list[Delta] = []
        left = rows_of_chain(self.index, have=have)
        for file, most in zip(planned.deltas, rows_max, strict=True):
            deltas.append(read_delta(self._download(file), rows_max=min(most, left)))
            left -= len(deltas[-1])
        return deltas

    def _applied(
        self, before: LayeredRows, before_tree: Tree, deltas: Sequence[Delta]
    ) -> tuple[LayeredRows, Tree, Difference]:
        """The current release as deltas lead to it, checked; takes time by the deltas."""
        after, changes = apply_all(before, deltas)
        tree = before_tree.updated(after, changes)
        for column, counts in tree.texts.items():
            check_distinct_texts(column, len(counts))
            check_text_bytes(column, max((len(text.encode()) for text in counts), default=0))
        check_step(before, changes, last_entry=self.index.last_entry)
        if len(after) != self.index.rows or digest_of(after, tree, kind_of(self.index.digest)) != self.index.digest:
            raise Malformed(
                f"release {self.index.serial} of feed {self.index.feed!r} does not have the digest that its index "
                "signs; nothing was changed. Tell the publisher."
            )
        return after, tree, changes

    def _download(self, file: FileRef) -> Path:
        path = self.directory / file.path.rpartition("/")[2]
        self.trust.download(file.path, path)
        return path


def digest_of(layers: LayeredRows, tree: Tree, kind: DigestKind) -> str:
    """The digest of a list, of one kind. Only that of its tree is known without reading all rows."""
    return tree.digest if kind == "tree" else digest(layers.whole(), kind)
