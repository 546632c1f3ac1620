"""Publish a long list, and what changes on it, as one commit does: ``python -m benchmarks.long_repository ABOUT``.

Commits sign different digests, so each publishes its own repository from the same rows. The command would hold whole
lists in memory, release after release; here the release files are written from mapped columns, and only what is signed
is made as the publisher makes it. `benchmarks.heads` has what comes of it.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from benchmarks.heads import FEED, PASSPHRASE, WARM, copied
from benchmarks.lists import REGION
from benchmarks.long_lists import FIRST, INTEGERS, TEXTS, Change, Plan, columns
from blocklist_sdk import Publisher
from blocklist_sdk.disk import staged
from blocklist_sdk.publisher.folder import PublisherFolder, Timing
from blocklist_sdk.publisher.repository import Lifetimes, Repository
from blocklist_sdk.release import merge
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import write_delta, write_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef, Release
from blocklist_sdk.release.merge import Delta, Removals
from blocklist_sdk.release.names import delta_path, index_path, snapshot_path
from blocklist_sdk.release.rows import Rows, Texts

_ISSUER: Final = "authority"
_WARM_NUMBERS: Final = 6_281_100_000_000 + np.arange(1, 101) * 7

_LONG: Final = timedelta(days=3650)
_TIMING: Final = Timing(
    lifetimes=Lifetimes(timestamp=_LONG, snapshot=_LONG, feed=_LONG, targets=_LONG, root=_LONG),
    grace_s=_LONG.total_seconds(),
)
"""The lists are kept for later runs, and so are all files."""


def main(about: Mapping[str, Any]) -> None:
    """Publish.

    Args:
        about: where the lists are (`lists`), their plan (`rows`, `chain`) and an empty folder (`folder`).
    """
    plan, lists, folder = Plan(about["rows"], about["chain"]), Path(about["lists"]), Path(about["folder"])
    publisher = Publisher.init(
        folder / "publisher", feeds=[FEED, WARM], passphrase=PASSPHRASE, region=REGION, timing=_TIMING
    )
    publisher.release(WARM, pa.table({"number": _WARM_NUMBERS}))
    (folder / "heads").mkdir()
    rows = rows_of(columns(lists, in_memory=False))
    opened = PublisherFolder(publisher.directory, passphrase=PASSPHRASE, timing=_TIMING)
    whole = _Current.of(rows)
    with opened.locked() as repository:
        first = _publish_first(repository, rows, whole)
        _keep_head(folder, FIRST)
    # As a publisher has it who has published one release, for what is measured there.
    copied(publisher.directory, folder / "publisher-first")
    with opened.locked() as repository:
        for branch in (plan.heads[1:], plan.full_heads):
            released, current = [first], whole
            for head in branch:
                current = current.after(_delta(Change.load(lists, head)))
                released.append(_publish_next(repository, released, current))
                _keep_head(folder, head)


def _keep_head(folder: Path, head: str) -> None:
    shutil.copyfile(
        folder / "publisher" / "repository" / "metadata" / "timestamp.json", folder / "heads" / f"{head}.json"
    )


@dataclass(frozen=True, slots=True)
class _Published:
    """A release on offer, and the highest entry id up to it."""

    release: Release
    last_entry: int


@dataclass(frozen=True, slots=True)
class _Current:
    """A list that changes, by whichever way the commit has to follow it.

    Attributes:
        rows: how many rows it has.
        digest: its digest.
        last_entry: the highest entry id given out.
        delta: what led to it.
        state: the list itself.
    """

    rows: int
    digest: str
    last_entry: int
    state: Any
    delta: Delta | None = None

    @classmethod
    def of(cls, rows: Rows) -> "_Current":
        """A whole list."""
        try:
            from blocklist_sdk.release.layers import LayeredRows
            from blocklist_sdk.release.tree import Tree
        except ImportError:
            return cls(len(rows), digest(rows), len(rows), rows)
        tree = Tree.of(rows)
        return cls(len(rows), tree.digest, len(rows), (LayeredRows.of(rows), tree))

    def after(self, delta: Delta) -> "_Current":
        """The list after a delta."""
        last = max(self.last_entry, int(delta.puts.entry.max(initial=0)))
        if isinstance(self.state, Rows):
            # As long as lists were always whole.
            after: Rows = merge.__dict__["apply"](self.state, delta)[0]
            return _Current(len(after), digest(after), last, after, delta)
        before, tree = self.state
        layers, changes = before.applied(delta)
        tree = tree.updated(layers, changes)
        return _Current(len(layers), tree.digest, last, (layers, tree), delta)


def _publish_first(repository: Repository, rows: Rows, whole: _Current) -> _Published:
    with staged(repository.folder(FEED)) as file:
        write_snapshot(rows, file)
        snapshot = FileRef(path=snapshot_path(FEED, 1), length=file.stat().st_size)
        release = Release(
            serial=1, published_at=_now(), rows=len(rows), digest=whole.digest, snapshot=snapshot, delta=None
        )
        _sign(repository, [release], last_entry=len(rows), files={snapshot.path: file})
    return _Published(release, len(rows))


def _publish_next(repository: Repository, before: list[_Published], current: _Current) -> _Published:
    serial = before[-1].release.serial + 1
    assert current.delta is not None
    with staged(repository.folder(FEED)) as file:
        write_delta(current.delta, file)
        delta = FileRef(path=delta_path(FEED, serial), length=file.stat().st_size)
        release = Release(
            serial=serial, published_at=_now(), rows=current.rows, digest=current.digest, snapshot=None, delta=delta
        )
        offered = [*(each.release for each in before), release]
        _sign(repository, offered, last_entry=current.last_entry, files={delta.path: file})
    return _Published(release, current.last_entry)


def _sign(repository: Repository, releases: list[Release], *, last_entry: int, files: dict[str, Path | bytes]) -> None:
    current = releases[-1]
    index = FeedIndex(
        feed=FEED,
        region=REGION,
        serial=current.serial,
        published_at=current.published_at,
        rows=current.rows,
        digest=current.digest,
        last_entry=last_entry,
        releases=tuple(releases),
    )
    kept = {file.path for each in releases for file in (each.snapshot, each.delta) if file} - files.keys()
    repository.set_targets(FEED, files={**files, index_path(FEED): index.to_json()}, keep=kept)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def rows_of(found: Mapping[str, Any]) -> Rows:
    """Columns of `long_lists` as a release's rows."""
    made: dict[str, Any] = {name: found[name] for name in INTEGERS}
    made |= {name: Texts.encode(found[name], values) for name, values in TEXTS.items()}
    return Rows(last=found["number"], issuer=Texts.repeat(_ISSUER, len(found["number"])), **made)


def _delta(change: Change) -> Delta:
    return Delta(puts=rows_of(change.puts), removes=Removals(change.gone_number, change.gone_number, change.gone_entry))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
