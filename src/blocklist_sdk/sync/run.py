"""One sync: lock → refresh → index → plan → download → verify → apply → digest → switch → forget what is old."""

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blocklist_sdk.cache.generation import About
from blocklist_sdk.cache.state import SyncState, load_state, save_state
from blocklist_sdk.cache.store import Store
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Untrusted
from blocklist_sdk.outcomes import log_fields
from blocklist_sdk.records import SyncResult
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import read_delta, read_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef
from blocklist_sdk.release.merge import Difference, apply, difference
from blocklist_sdk.release.names import index_path
from blocklist_sdk.release.rows import Rows
from blocklist_sdk.sync.planner import Plan, plan, snapshot_plan
from blocklist_sdk.sync.transport import Transport, shown
from blocklist_sdk.sync.trust import Trust

_INDEX_BYTES_MAX = 1 << 20
"""An index lists a hundred releases at most, some 400 bytes each."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Syncer:
    """Brings one feed up to date.

    Attributes:
        url: the repository's base URL.
        feed: the feed's name.
        root: the pinned root metadata.
        store: where generations go.
        state_file: what is remembered apart from them.
    """

    url: str
    feed: str
    root: bytes
    store: Store
    state_file: Path

    def run(self, transport: Transport, *, wait_s: float) -> SyncResult:
        """Sync once; whatever fails, a whole, verified release stays in force if one was.

        Raises:
            Locked: another process was syncing for longer than `wait_s` seconds.
            InvalidInput: the repository has no such feed, or the pinned root is none, for which nothing is written.
            Unreachable: the network, or a server that answers wrongly or too slowly.
            Untrusted, Stale, Malformed: what came does not verify, has expired, or is not what the protocol says.
            StorageFailed: the disk refused.
        """
        started = time.monotonic()
        trust = Trust(base_url=self.url, metadata_dir=self.store.metadata, root=self.root, transport=transport)
        with self.store.lock(wait_s):
            state = load_state(self.state_file)
            now = datetime.now(UTC)
            try:
                result = self._run(trust, state)
            except BlocklistError as error:
                log.error("sync of feed %s failed: %s", self.feed, error, extra=self._fields(error, transport, started))
                self._note(last_attempt=now, last_error=f"{type(error).__name__}: {error}")
                raise
            except Exception as error:
                # Without its text, which is not ours and may hold anything; who called gets the whole of it.
                fields = self._fields(error, transport, started)
                log.error("sync of feed %s failed: unexpected %s", self.feed, type(error).__name__, extra=fields)
                self._note(last_attempt=now, last_error=f"{type(error).__name__}: a fault of this library: report it")
                raise
            self._note(last_attempt=now, last_success=now, last_error=None, failures=0, next_attempt=None)
        seconds = time.monotonic() - started
        fields = self._fields(result, transport, started)
        log.info(
            "feed %s: %s, release %d in force, %.2f s", self.feed, result.kind, result.after, seconds, extra=fields
        )
        return replace(result, bytes=transport.bytes_received, seconds=seconds)

    def _fields(self, ended: SyncResult | Exception, transport: Transport, started: float) -> dict[str, Any]:
        seconds = time.monotonic() - started
        return log_fields(self.feed, ended, bytes=transport.bytes_received, seconds=seconds)

    def _note(self, **went: Any) -> None:
        """Remember how a sync went; where that fails, what became of the sync is still what the caller must hear."""
        try:
            # Read again: the highest serial may have risen meanwhile, and must never be taken back.
            save_state(self.state_file, replace(load_state(self.state_file), **went))
        except BlocklistError as error:
            log.error("%s", error)

    def _run(self, trust: Trust, state: SyncState) -> SyncResult:
        with storage(self.store.metadata):
            self.store.metadata.mkdir(parents=True, exist_ok=True)
        trust.refresh()
        opened = self.store.open()
        local = opened[0] if opened else None
        have = local.about.serial if local else None
        index = self._index(trust, have)
        expires = trust.expires(self.feed)
        self._forbid_going_back(index, highest=max(state.highest_serial, have or 0))
        planned = plan(index, serial=have, digest=local.about.digest if local else None)
        if local is not None and planned.kind == "none" and not local.is_whole():
            # Nothing else would find out before the next release.
            log.error("the generation of feed %s on this disk is damaged; it is fetched again", self.feed)
            have, local, planned = None, None, snapshot_plan(index)
        if local is not None and planned.kind == "none":
            self._mark(index, state)
            self.store.switch(local.name, expires)
            return SyncResult(have, index.serial, "none", 0, 0, 0, 0, 0)

        with self.store.workspace() as directory:
            fetched = _Fetch(trust, index, directory)
            old = local.rows if local else Rows.empty()
            try:
                rows, changes = fetched.build(planned, old)
            except Malformed as error:
                if planned.kind == "snapshot":
                    raise
                log.error("the deltas of feed %s do not lead to its release %d: %s", self.feed, index.serial, error)
                planned = snapshot_plan(index)
                rows, changes = fetched.build(planned, old)
        self._mark(index, state)
        about = About(self.feed, index.serial, index.digest, len(rows), index.published_at)
        self.store.commit(rows, about, expires)
        return SyncResult(
            before=have,
            after=index.serial,
            kind=planned.kind,
            added=len(changes.added),
            removed=len(changes.removed),
            changed=len(changes.changed_new),
            bytes=0,
            seconds=0,
        )

    def _index(self, trust: Trust, have: int | None) -> FeedIndex:
        path = index_path(self.feed)
        if trust.target(path) is None:
            if have is not None:
                raise Untrusted(
                    f"{shown(self.url)} signs no feed {self.feed!r} any more, but release {have} is in force here: "
                    "the publisher gave it up, or somebody withholds it. Ask the publisher."
                )
            raise InvalidInput(f"{shown(self.url)} has no feed {self.feed!r}: check the name with the publisher")
        return FeedIndex.from_json(trust.fetch(path, max_bytes=_INDEX_BYTES_MAX), feed=self.feed)

    def _forbid_going_back(self, index: FeedIndex, *, highest: int) -> None:
        if index.serial < highest:
            raise Untrusted(
                f"{shown(self.url)} offers release {index.serial} of feed {self.feed!r}, but release {highest} was in "
                "force here before: an old repository is being replayed, or the publisher lost data. Ask the publisher."
            )

    def _mark(self, index: FeedIndex, state: SyncState) -> None:
        """Remember the serial as the highest, once its release is whole.

        Before the switch: a mark that is ahead of the data harms nobody, one that is behind lets old data back in.
        """
        if index.serial != state.highest_serial:
            save_state(self.state_file, replace(state, highest_serial=index.serial))


@dataclass(frozen=True, slots=True)
class _Fetch:
    """Carries out a plan in a private directory."""

    trust: Trust
    index: FeedIndex
    directory: Path

    def build(self, planned: Plan, old: Rows) -> tuple[Rows, Difference]:
        """The current release's rows, checked against the signed digest, and how they differ from `old`.

        Raises:
            Malformed: the files do not lead to the release that the index signs.
        """
        changes: Difference | None = None
        rows = old
        if planned.snapshot is not None:
            rows = read_snapshot(self._download(planned.snapshot))
        for file in planned.deltas:
            rows, changes = apply(rows, read_delta(self._download(file)))
        if len(rows) != self.index.rows or digest(rows) != self.index.digest:
            raise Malformed(
                f"release {self.index.serial} of feed {self.index.feed!r} does not have the digest that its index "
                "signs; nothing was changed. Tell the publisher."
            )
        if changes is None or planned.snapshot is not None or len(planned.deltas) > 1:
            changes = difference(old, rows)
        return rows, changes

    def _download(self, file: FileRef) -> Path:
        path = self.directory / file.path.rpartition("/")[2]
        self.trust.download(file.path, path)
        return path
