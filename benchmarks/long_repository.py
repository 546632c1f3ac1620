"""Publish a long list and what changes on it, in the form of one commit: ``python -m benchmarks.long_repository ABOUT``.

Commits sign different digests, so each publishes its own repository from the same rows. The command would hold whole
lists in memory, release after release; here the release files are written from mapped columns, and only what is signed
is made as the publisher makes it. `heads/HEAD.json` is the timestamp of each head: with it in the repository's place,
that release is the current one, so that a recipient can be led from release to release.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from benchmarks.lists import REGION
from benchmarks.long_lists import FIRST, FULL, INTEGERS, TEXTS, Change, Plan, columns
from blocklist_sdk import Publisher
from blocklist_sdk.disk import staged
from blocklist_sdk.publisher.folder import PublisherFolder, Timing
from blocklist_sdk.publisher.repository import Lifetimes, Repository
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import write_delta, write_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef, Release
from blocklist_sdk.release.merge import Delta, Removals, apply
from blocklist_sdk.release.names import delta_path, index_path, snapshot_path
from blocklist_sdk.release.rows import Rows, Texts

FEED: Final = "generated"
WARM: Final = "warm"
"""A feed of few numbers, to sync before anything is measured: what is imported then is not measured."""

PASSPHRASE: Final = "correct horse battery"
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
    with opened.locked() as repository:
        first = _publish_first(repository, rows)
        _keep_head(folder, FIRST)
    # As a publisher has it who has published one release, for what is measured there.
    copied(publisher.directory, folder / "publisher-first")
    with opened.locked() as repository:
        released, current = [first], _Current.of(rows)
        for head in plan.heads[1:]:
            current = current.after(_delta(Change.load(lists, head)))
            released.append(_publish_next(repository, released, current))
            _keep_head(folder, head)
        _publish_next(repository, [first], _Current.of(rows).after(_delta(Change.load(lists, FULL))))
        _keep_head(folder, FULL)


def set_head(folder: Path, head: str) -> None:
    """Let a release be the current one.

    Args:
        folder: what `main` made.
        head: which.
    """
    metadata = folder / "publisher" / "repository" / "metadata"
    following = metadata / ".next.json"
    shutil.copyfile(folder / "heads" / f"{head}.json", following)
    os.replace(following, metadata / "timestamp.json")


def copied(publisher: Path, copy: Path) -> None:
    """Copy a publisher's folder; target files are linked, since they are never written again."""
    shutil.copytree(publisher, copy, copy_function=_linked)


def snapshot_of(folder: Path) -> Path:
    """The first release's snapshot."""
    return max((folder / "publisher-first" / "repository" / "targets" / FEED).glob("*.parquet"), key=_size)


def _size(path: Path) -> int:
    return path.stat().st_size


def _keep_head(folder: Path, head: str) -> None:
    shutil.copyfile(
        folder / "publisher" / "repository" / "metadata" / "timestamp.json", folder / "heads" / f"{head}.json"
    )


def _linked(source: str, target: str) -> None:
    if "/repository/targets/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


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
        state: Any = rows
        try:
            from blocklist_sdk.release.layers import LayeredRows
            from blocklist_sdk.release.tree import Tree
        except ImportError:
            pass
        else:
            state = LayeredRows.of(rows), Tree.of(rows)
        return cls(len(rows), digest(rows), len(rows), state)

    def after(self, delta: Delta) -> "_Current":
        """The list after a delta."""
        last = max(self.last_entry, int(delta.puts.entry.max(initial=0)))
        if isinstance(self.state, Rows):
            after, _ = apply(self.state, delta)
            return _Current(len(after), digest(after), last, after, delta)
        before, tree = self.state
        layers, changes = before.applied(delta)
        tree = tree.updated(layers, changes)
        return _Current(len(layers), tree.digest, last, (layers, tree), delta)


def _publish_first(repository: Repository, rows: Rows) -> _Published:
    with staged(repository.folder(FEED)) as file:
        write_snapshot(rows, file)
        snapshot = FileRef(path=snapshot_path(FEED, 1), length=file.stat().st_size)
        release = Release(
            serial=1, published_at=_now(), rows=len(rows), digest=digest(rows), snapshot=snapshot, delta=None
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
    return Rows(
        **{name: found[name] for name in INTEGERS},
        last=found["number"],
        issuer=Texts.repeat(_ISSUER, len(found["number"])),
        **{name: Texts.encode(found[name], values) for name, values in TEXTS.items()},
    )


def _delta(change: Change) -> Delta:
    return Delta(
        puts=rows_of(change.puts), removes=Removals(change.gone_number, change.gone_number, change.gone_entry)
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
