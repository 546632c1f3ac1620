"""Building a release: what a plan names is fetched, verified, applied, and compared with the signed digest."""

from dataclasses import dataclass
from pathlib import Path

from blocklist_sdk.errors import Malformed
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.recipient.sync.admission import rows_of_chain, rows_of_files
from blocklist_sdk.recipient.sync.planner import FetchPlan
from blocklist_sdk.recipient.sync.room import within_memory
from blocklist_sdk.release.entries import check_entries, check_moves, check_step
from blocklist_sdk.release.files import read_delta, read_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef
from blocklist_sdk.release.layers import LayeredRows, apply_all
from blocklist_sdk.release.merge import Difference, difference
from blocklist_sdk.release.rows import Rows
from blocklist_sdk.release.tree import Tree


@dataclass(frozen=True, slots=True)
class Built:
    """A release as built by a plan.

    Attributes:
        rows: the release's, checked against the signed digest.
        changes: how they differ from the rows in force.
        layers: the rows as a base and an overlay.
        tree: their digest tree.
        is_delta: whether deltas alone led there.
    """

    rows: Rows
    changes: Difference
    layers: LayeredRows
    tree: Tree
    is_delta: bool


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

    def build(self, planned: FetchPlan, old: LayeredRows, old_tree: Tree | None) -> Built:
        """The current release, checked against the signed digest, and how it differs from `old`.

        Raises:
            Malformed: the files do not lead to the release that the index signs.
        """
        with within_memory(self.index.feed, self.directory):
            return self._build(planned, old, old_tree)

    def _build(self, planned: FetchPlan, old: LayeredRows, old_tree: Tree | None) -> Built:
        may_have = list(rows_of_files(self.index, planned, have=len(old)))
        before = old
        if planned.snapshot is not None:
            snapshot = read_snapshot(self._download(planned.snapshot), rows=may_have.pop(0))
            check_entries(snapshot, last_entry=self.index.last_entry)
            before = LayeredRows.of(snapshot)
        deltas = []
        left = rows_of_chain(self.index, have=len(before))
        for file, rows_max in zip(planned.deltas, may_have, strict=True):
            deltas.append(read_delta(self._download(file), rows_max=min(rows_max, left)))
            left -= len(deltas[-1])
        after, changes = apply_all(before, deltas)
        rows = after.whole()
        rows.validate_texts()
        check_step(before, changes, last_entry=self.index.last_entry)
        if planned.snapshot is not None:
            after = LayeredRows.of(rows)
        tree = Tree.of(rows) if planned.snapshot is not None or old_tree is None else old_tree.updated(after, changes)
        if len(rows) != self.index.rows or tree.digest != self.index.digest:
            raise Malformed(
                f"release {self.index.serial} of feed {self.index.feed!r} does not have the digest that its index "
                "signs; nothing was changed. Tell the publisher."
            )
        if planned.snapshot is not None:
            changes = difference(old.whole(), rows)
            if self.continues:
                check_moves(changes)
        return Built(rows, changes, after, tree, is_delta=planned.snapshot is None)

    def _download(self, file: FileRef) -> Path:
        path = self.directory / file.path.rpartition("/")[2]
        self.trust.download(file.path, path)
        return path
