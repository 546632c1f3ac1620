"""One sync: lock → refresh → index → plan → download → verify → apply → digest → switch → forget what is old."""

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Refused, StorageFailed, Untrusted
from blocklist_sdk.fetch.transport import Transport, shown
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.recipient.cache.generation import About, DeltaStep, Generation
from blocklist_sdk.recipient.cache.lookup import Touched
from blocklist_sdk.recipient.cache.state import BegunBuild, RefusedRelease, SyncState, load_state, save_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.guard import Guard, impact_of
from blocklist_sdk.recipient.sync.admission import (
    Room,
    check_lengths,
    check_room,
    check_rows,
    files_of,
    growth_refusal,
    rows_of_chain,
    rows_of_files,
)
from blocklist_sdk.recipient.sync.planner import FetchPlan, plan, snapshot_plan
from blocklist_sdk.recipient.sync.room import free_disk, free_memory, within_memory
from blocklist_sdk.recipient.sync.schedule import held_until
from blocklist_sdk.recipient.sync_outcomes import log_fields
from blocklist_sdk.records import Impact, Override, SyncResult
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import read_delta, read_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef
from blocklist_sdk.release.limits import ROWS_MAX
from blocklist_sdk.release.merge import Delta, Difference, apply_all, difference
from blocklist_sdk.release.names import PROTECTED_PATH, index_path
from blocklist_sdk.release.protected import PROTECTED_BYTES_MAX, read_protected, write_protected
from blocklist_sdk.release.rows import Int64s, Rows

_INDEX_BYTES_MAX = 1 << 20
"""An index lists a hundred releases at most, some 400 bytes each."""

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Syncer:
    """Brings one feed up to date.

    Attributes:
        url: the repository's base URL.
        feed: the feed's name.
        root: the pinned root metadata.
        store: where generations are kept.
        state_file: what is stored about the feed between syncs.
        guard: what a release may change by itself; None for no limits.
        protected: the recipient's own protected numbers.
        held_serials: returns the serials of older releases that are still needed.
        max_rows: how many rows a release may have.
    """

    url: str
    feed: str
    root: bytes
    store: Store
    state_file: Path
    guard: Guard | None = None
    protected: frozenset[int] = frozenset()
    held_serials: Callable[[], set[int]] = set
    max_rows: int = ROWS_MAX

    def run(
        self, transport: Transport, *, wait_s: float, accept: int | None = None, is_scheduled: bool = False
    ) -> SyncResult:
        """Sync once; arguments and errors are as for `Blocklist.sync`.

        A scheduled sync leaves a release alone for a while that killed the process twice.
        """
        started = time.monotonic()
        trust = Trust(base_url=self.url, metadata_dir=self.store.metadata, root=self.root, transport=transport)
        with self.store.lock(wait_s):
            state = load_state(self.state_file)
            now = times.now()
            try:
                with within_memory(self.feed, self.store.directory):
                    result = self._run(trust, state, accept, is_scheduled=is_scheduled)
            except BlocklistError as error:
                log.error("sync of feed %s failed: %s", self.feed, error, extra=self._fields(error, transport, started))
                self._note(last_attempt=now, last_error=f"{type(error).__name__}: {error}")
                raise
            except Exception as error:
                # Without its text, which may contain anything; the caller gets the error itself.
                fields = self._fields(error, transport, started)
                log.error("sync of feed %s failed: unexpected %s", self.feed, type(error).__name__, extra=fields)
                self._note(last_attempt=now, last_error=f"{type(error).__name__}: a fault of this library: report it")
                raise
            went_well: dict[str, Any] = {"last_error": None, "refused": None, "failures": 0, "next_attempt": None}
            self._note(last_attempt=now, last_success=now, begun=None, **went_well)
        seconds = time.monotonic() - started
        fields = self._fields(result, transport, started)
        log.info(
            "feed %s: %s, release %d in force, %.2f s", self.feed, result.kind, result.after, seconds, extra=fields
        )
        return replace(result, bytes=transport.bytes_received, seconds=seconds)

    def dry_run(self, transport: Transport, overrides: Iterable[Override], *, wait_s: float) -> Impact:
        """The changes that a sync would make; nothing is changed."""
        trust = Trust(base_url=self.url, metadata_dir=self.store.metadata, root=self.root, transport=transport)
        with self.store.lock(wait_s), within_memory(self.feed, self.store.directory):
            offer = self._offer(trust, load_state(self.state_file))
            old = offer.local.rows if offer.local else Rows.empty()
            if offer.plan.kind == "none":
                rows, changes = old, difference(old, old)
            else:
                built = self._build(trust, offer, old)
                rows, changes = built.rows, built.changes
        return impact_of(
            old,
            rows,
            changes,
            before=offer.have,
            after=offer.index.serial,
            digest=offer.index.digest,
            protected=offer.protected,
            overrides=overrides,
            refusals=() if offer.plan.kind == "none" else self._refusals(offer, old, rows, changes),
        )

    def _fields(self, ended: SyncResult | Exception, transport: Transport, started: float) -> dict[str, Any]:
        seconds = time.monotonic() - started
        return log_fields(self.feed, ended, bytes=transport.bytes_received, seconds=seconds)

    def _note(self, **went: Any) -> None:
        """Store the outcome of a sync; if that fails, it is only logged: the caller needs the outcome of the sync."""
        try:
            # Read again: the highest serial may have risen meanwhile, and must never be lowered.
            save_state(self.state_file, replace(load_state(self.state_file), **went))
        except BlocklistError as error:
            log.error("%s", error)

    def _run(self, trust: Trust, state: SyncState, accept: int | None, *, is_scheduled: bool) -> SyncResult:
        offer = self._offer(trust, state)
        # Before the guard: numbers that must never be blocked do not wait for a person to look at a release.
        self.store.protect(offer.protected_document)
        if offer.local is not None and offer.plan.kind == "none":
            self._mark(offer.index, state)
            self.store.switch(offer.local.name, offer.expires)
            return SyncResult(offer.have, offer.index.serial, "none", 0, 0, 0, 0, 0)

        self._forbid_what_was_refused(offer, state, accept)
        self._forbid_growth(offer, accept)
        if is_scheduled:
            self._forbid_what_kills(offer, state)
        with self._building(offer, state):
            return self._put_in_force(trust, offer, state, accept)

    def _put_in_force(self, trust: Trust, offer: "_Offer", state: SyncState, accept: int | None) -> SyncResult:
        """Fetch a release, build it, and switch to it."""
        old = offer.local.rows if offer.local else Rows.empty()
        built = self._build(trust, offer, old)
        rows, changes = built.rows, built.changes
        reasons = self._refusals(offer, old, rows, changes)
        if reasons and accept != offer.index.serial:
            self._note(refused=RefusedRelease(offer.index.serial, offer.index.digest, self._setting(offer), reasons))
            raise self._refused(offer, reasons)
        self._mark(offer.index, state)
        about = About(
            self.feed, offer.index.serial, offer.index.digest, len(rows), offer.index.published_at, offer.signers
        )
        step = DeltaStep(offer.local, built.touched) if offer.local and built.touched else None
        self.store.commit(rows, about, offer.expires, signed=offer.signed, hold_serials=self.held_serials(), step=step)
        return SyncResult(
            before=offer.have,
            after=offer.index.serial,
            kind="delta" if built.touched else "snapshot",
            added=len(changes.added),
            removed=len(changes.removed),
            changed=len(changes.changed_new),
            bytes=0,
            seconds=0,
        )

    def _offer(self, trust: Trust, state: SyncState) -> "_Offer":
        """What the repository offers, verified, beside what is here."""
        with storage(self.store.metadata):
            self.store.metadata.mkdir(parents=True, exist_ok=True)
        trust.limit_time()
        trust.refresh()
        opened = self.store.open()
        local = opened[0] if opened else None
        have = local.about.serial if local else None
        data, index = self._index(trust, have)
        self._forbid_going_back(index, highest=max(state.highest_serial, have or 0))
        planned = plan(index, serial=have, digest=local.about.digest if local else None)
        if local is not None and planned.kind == "none" and not local.is_whole():
            # Nothing else would find out before the next release.
            log.error("the generation of feed %s on this disk is damaged; it is fetched again", self.feed)
            have, local, planned = None, None, snapshot_plan(index)
        document = self._protected_document(trust)
        return _Offer(
            index=index,
            expires=trust.expires(self.feed),
            signers=trust.signers(self.feed),
            local=local,
            have=have,
            plan=planned,
            protected_document=document,
            protected=np.array(sorted({*read_protected(document).tolist(), *self.protected}), np.int64),
            signed={"index.json": data, **trust.evidence(self.feed)},
        )

    def _build(self, trust: Trust, offer: "_Offer", old: Rows) -> "_Built":
        planned = offer.plan
        with self.store.workspace() as directory:
            fetched = _Fetch(trust, offer.index, directory)
            try:
                self._admit(trust, offer, planned)
                return fetched.build(planned, old)
            except Malformed as error:
                if planned.kind == "snapshot":
                    raise
                log.error(
                    "the deltas of feed %s do not lead to its release %d: %s", self.feed, offer.index.serial, error
                )
                planned = snapshot_plan(offer.index)
                self._admit(trust, offer, planned)
                return fetched.build(planned, old)

    def _admit(self, trust: Trust, offer: "_Offer", planned: FetchPlan) -> None:
        """Check what a plan costs by what is signed about it, before anything of it is downloaded."""
        targets = [trust.target(file.path) for file in files_of(planned)]
        lengths = [None if target is None else target.length for target in targets]
        check_rows(offer.index, planned, max_rows=self.max_rows)
        check_lengths(offer.index, planned, lengths, have=offer.have_rows)
        directory = self.store.directory
        check_room(offer.index, planned, Room(free_disk(directory), free_memory(), directory))
        trust.limit_time(planned.bytes)

    def _protected_document(self, trust: Trust) -> bytes:
        """The numbers that no feed may list, as the authority signed them; fetched where they are new."""
        target = trust.target(PROTECTED_PATH)
        if target is None:
            return write_protected([])
        known = self.store.protected_document()
        if known is not None and trust.is_target(target, known):
            return known
        return trust.fetch(PROTECTED_PATH, max_bytes=PROTECTED_BYTES_MAX)

    def _refusals(self, offer: "_Offer", old: Rows, new: Rows, changes: Difference) -> tuple[str, ...]:
        if self.guard is None:
            return ()
        published_ms = times.to_ms(offer.index.published_at)
        return self.guard.refusals(old, new, changes, offer.protected, published_ms=published_ms)

    def _forbid_what_was_refused(self, offer: "_Offer", state: SyncState, accept: int | None) -> None:
        """Refuse again without fetching again, as long as nothing is different."""
        refused = state.refused
        if (
            refused is not None
            and accept != offer.index.serial
            and (refused.serial, refused.digest, refused.guard)
            == (offer.index.serial, offer.index.digest, self._setting(offer))
        ):
            raise self._refused(offer, refused.reasons)

    def _forbid_growth(self, offer: "_Offer", accept: int | None) -> None:
        """Refuse, before it is downloaded, a release with more rows than the guard could let through."""
        reason = growth_refusal(self.guard, offer.index, have=offer.have_rows)
        if reason is not None and accept != offer.index.serial:
            refused = RefusedRelease(offer.index.serial, offer.index.digest, self._setting(offer), (reason,))
            self._note(refused=refused)
            raise self._refused(offer, refused.reasons)

    def _forbid_what_kills(self, offer: "_Offer", state: SyncState) -> None:
        """Leave a release alone that ended the process while it was built, more than once in a row."""
        index, begun = offer.index, state.begun
        until = held_until(begun, serial=index.serial, digest=index.digest, now=times.now())
        if begun is not None and until is not None:
            raise StorageFailed(
                f"release {index.serial} of feed {self.feed!r} was begun {begun.attempts} times, and each time the "
                "process ended before it was built, as it does when a system kills what takes too much memory. It is "
                f"tried again after {until:%Y-%m-%d %H:%M} UTC; the list in force is unchanged. Give this process more "
                "memory, or try at once: blocklist sync.",
                path=self.store.directory,
            )

    @contextlib.contextmanager
    def _building(self, offer: "_Offer", state: SyncState) -> Iterator[None]:
        """Note durably what is about to be built. Only the end of the process leaves the note there."""
        index, before = offer.index, state.begun
        is_again = before is not None and (before.serial, before.digest) == (index.serial, index.digest)
        attempts = before.attempts + 1 if before is not None and is_again else 1
        now = times.now()
        begun = BegunBuild(index.serial, index.digest, now, attempts)
        save_state(self.state_file, replace(load_state(self.state_file), last_attempt=now, begun=begun))
        try:
            yield
        except BaseException:
            self._note(begun=None)
            raise

    def _setting(self, offer: "_Offer") -> str:
        """Everything that the guard's answer depends on, beside the two releases."""
        protected = hashlib.sha256(offer.protected.tobytes()).hexdigest()[:16]
        return f"{self.guard!r} {offer.have} {protected}"

    def _refused(self, offer: "_Offer", reasons: tuple[str, ...]) -> Refused:
        serial = offer.index.serial
        return Refused(
            f"release {serial} of feed {self.feed!r} is refused: {'; '.join(reasons)}. The list in force is unchanged. "
            f"Ask the publisher; if the release is right, let it in with accept={serial}, or --accept {serial}.",
            serial=serial,
            reasons=reasons,
        )

    def _index(self, trust: Trust, have: int | None) -> tuple[bytes, FeedIndex]:
        path = index_path(self.feed)
        if trust.target(path) is None:
            if have is not None:
                raise Untrusted(
                    f"{shown(self.url)} signs no feed {self.feed!r} any more, but release {have} is in force here: "
                    "the publisher gave it up, or it is being withheld. Ask the publisher."
                )
            raise InvalidInput(f"{shown(self.url)} has no feed {self.feed!r}: check the name with the publisher")
        data = trust.fetch(path, max_bytes=_INDEX_BYTES_MAX)
        return data, FeedIndex.from_json(data, feed=self.feed)

    def _forbid_going_back(self, index: FeedIndex, *, highest: int) -> None:
        if index.serial < highest:
            raise Untrusted(
                f"{shown(self.url)} offers release {index.serial} of feed {self.feed!r}, but release {highest} was in "
                "force here before: an old repository is being replayed, or the publisher lost data. Ask the publisher."
            )

    def _mark(self, index: FeedIndex, state: SyncState) -> None:
        """Store the serial as the highest, once its release is complete.

        Before the switch: a mark that is ahead of the data does no harm, one that is behind lets old data back in.
        """
        if index.serial != state.highest_serial:
            # Read again: it also says what is being built.
            save_state(self.state_file, replace(load_state(self.state_file), highest_serial=index.serial))


@dataclass(frozen=True, slots=True)
class _Offer:
    """The verified offer of a repository, and the generation in force here.

    Attributes:
        index: the feed's index.
        expires: when the signatures expire.
        signers: ids of the keys that signed the feed's role.
        local: the generation in force, or None.
        have: its serial.
        plan: how to get from there to the current release.
        protected_document: the numbers that no feed may list, as they were signed.
        protected: these and the recipient's own, ascending.
        signed: the metadata that proves later that the release is the authority's, by file name.
    """

    index: FeedIndex
    expires: datetime
    signers: tuple[str, ...]
    local: Generation | None
    have: int | None
    plan: FetchPlan
    protected_document: bytes
    protected: Int64s
    signed: dict[str, bytes]

    @property
    def have_rows(self) -> int:
        """The rows of the generation in force; 0 before the first."""
        return self.local.about.rows if self.local else 0


@dataclass(frozen=True, slots=True)
class _Built:
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
class _Fetch:
    """Carries out a plan in a private directory."""

    trust: Trust
    index: FeedIndex
    directory: Path

    def build(self, planned: FetchPlan, old: Rows) -> _Built:
        """The current release, checked against the signed digest, and how it differs from `old`.

        Raises:
            Malformed: the files do not lead to the release that the index signs.
        """
        with within_memory(self.index.feed, self.directory):
            return self._build(planned, old)

    def _build(self, planned: FetchPlan, old: Rows) -> _Built:
        may_have = list(rows_of_files(self.index, planned, have=len(old)))
        rows = old
        if planned.snapshot is not None:
            rows = read_snapshot(self._download(planned.snapshot), rows=may_have.pop(0))
        deltas = []
        left = rows_of_chain(self.index, have=len(rows))
        for file, rows_max in zip(planned.deltas, may_have, strict=True):
            deltas.append(read_delta(self._download(file), rows_max=min(rows_max, left)))
            left -= len(deltas[-1])
        rows, changes = apply_all(rows, deltas)
        rows.validate_texts()
        if len(rows) != self.index.rows or digest(rows) != self.index.digest:
            raise Malformed(
                f"release {self.index.serial} of feed {self.index.feed!r} does not have the digest that its index "
                "signs; nothing was changed. Tell the publisher."
            )
        if planned.snapshot is not None:
            changes = difference(old, rows)
        return _Built(rows, changes, _touched(deltas) if planned.snapshot is None else None)

    def _download(self, file: FileRef) -> Path:
        path = self.directory / file.path.rpartition("/")[2]
        self.trust.download(file.path, path)
        return path


def _touched(deltas: Sequence[Delta]) -> Touched:
    parts = [part for delta in deltas for part in (delta.puts, delta.removes)]
    return Touched(np.concatenate([part.number for part in parts]), np.concatenate([part.last for part in parts]))
