"""Building a release: what a plan names is fetched, verified, applied, and compared with the signed digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blocklist_sdk.errors import Malformed
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.recipient.cache.lookup import Touched
from blocklist_sdk.recipient.sync.admission import rows_of_chain, rows_of_files
from blocklist_sdk.recipient.sync.planner import FetchPlan
from blocklist_sdk.recipient.sync.room import within_memory
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.entries import check_entries, check_moves, check_step
from blocklist_sdk.release.files import read_delta, read_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef
from blocklist_sdk.release.layers import LayeredRows, apply_all
from blocklist_sdk.release.merge import Delta, Difference, difference
from blocklist_sdk.release.rows import Rows


@dataclass(frozen=True, slots=True)
class Built:
    """A release as built by a plan.

    Attributes:
        rows: the release's, checked against the signed digest.
        changes: how they differ from the rows in force.
        touched: the numbers that the deltas touch; None if there was a snapshot.
    """

    rows: Rows
    changes: Difference
    touched: Touched | None


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

    def build(self, planned: FetchPlan, old: Rows) -> Built:
        """The current release, checked against the signed digest, and how it differs from `old`.

        Raises:
            Malformed: the files do not lead to the release that the index signs.
        """
        with within_memory(self.index.feed, self.directory):
            return self._build(planned, old)

    def _build(self, planned: FetchPlan, old: Rows) -> Built:
        may_have = list(rows_of_files(self.index, planned, have=len(old)))
        rows = old
        if planned.snapshot is not None:
            rows = read_snapshot(self._download(planned.snapshot), rows=may_have.pop(0))
            check_entries(rows, last_entry=self.index.last_entry)
        deltas = []
        left = rows_of_chain(self.index, have=len(rows))
        for file, rows_max in zip(planned.deltas, may_have, strict=True):
            deltas.append(read_delta(self._download(file), rows_max=min(rows_max, left)))
            left -= len(deltas[-1])
        before = LayeredRows.of(rows)
        after, changes = apply_all(before, deltas)
        rows = after.whole()
        rows.validate_texts()
        check_step(before, changes, last_entry=self.index.last_entry)
        if len(rows) != self.index.rows or digest(rows) != self.index.digest:
            raise Malformed(
                f"release {self.index.serial} of feed {self.index.feed!r} does not have the digest that its index "
                "signs; nothing was changed. Tell the publisher."
            )
        if planned.snapshot is not None:
            changes = difference(old, rows)
            if self.continues:
                check_moves(changes)
        return Built(rows, changes, _touched(deltas) if planned.snapshot is None else None)

    def _download(self, file: FileRef) -> Path:
        path = self.directory / file.path.rpartition("/")[2]
        self.trust.download(file.path, path)
        return path


def _touched(deltas: Sequence[Delta]) -> Touched:
    parts = [part for delta in deltas for part in (delta.puts, delta.removes)]
    return Touched(np.concatenate([part.number for part in parts]), np.concatenate([part.last for part in parts]))
