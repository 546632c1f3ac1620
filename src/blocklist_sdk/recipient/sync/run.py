"""One sync: lock → refresh → index → plan → download → verify → apply → digest → switch → forget what is old."""

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, NotSynced, Refused, StorageFailed, Untrusted
from blocklist_sdk.fetch.transport import Transport, shown
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.net.server_clock import CLOCKS_DIFFER, offset_text
from blocklist_sdk.recipient.cache.audit_file import NAME as AUDIT_FILE
from blocklist_sdk.recipient.cache.audit_file import AuditFile
from blocklist_sdk.recipient.cache.generation import About, Generation
from blocklist_sdk.recipient.cache.state import BegunBuild, RefusedRelease, Scrub, SyncState
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.guard import Guard, doubts_of_jump, doubts_of_moment, sync_impact
from blocklist_sdk.recipient.sync.acceptance import Acceptance, acceptance_text
from blocklist_sdk.recipient.sync.admission import (
    Room,
    check_lengths,
    check_room,
    check_rows,
    files_of,
    growth_refusal,
)
from blocklist_sdk.recipient.sync.build import Built, Fetch, digest_of
from blocklist_sdk.recipient.sync.notes import Notes
from blocklist_sdk.recipient.sync.planner import FetchPlan, healing_plan, plan, snapshot_plan
from blocklist_sdk.recipient.sync.room import free_disk, free_memory, within_memory
from blocklist_sdk.recipient.sync.schedule import held_until
from blocklist_sdk.recipient.sync.scrub import pieces_at_once, read_pieces
from blocklist_sdk.recipient.sync_outcomes import log_fields
from blocklist_sdk.records import Impact, Override, SyncResult
from blocklist_sdk.release.audit import SeenAuditHead, contradictions
from blocklist_sdk.release.digest_kinds import differ, kind_of
from blocklist_sdk.release.fingerprint import fingerprint
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.limits import INDEX_BYTES_MAX, ROWS_MAX
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.names import PROTECTED_PATH, index_path, unknown_feed
from blocklist_sdk.release.protected import PROTECTED_BYTES_MAX, read_protected, write_protected
from blocklist_sdk.release.published import clock_behind_text, latest, seconds_behind
from blocklist_sdk.release.release_id import BEFORE_ALL, FIRST_ERA, ReleaseId
from blocklist_sdk.release.rows import Int64s, Rows

_REFUSAL_HOLDS: Final = timedelta(hours=1)
"""For so long a refused release is not fetched again. What it would block depends on the clock."""

_FAULT: Final = "a fault of this library: report it"

AUDIT_ADVICE: Final = (
    "the list is in force all the same. Ask the authority why, and give the heads that were seen here to whoever "
    "audits it: blocklist verify --audit --export FILE"
)

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
        held: returns the older releases that are still needed.
        max_rows: how many rows a release may have.
    """

    url: str
    feed: str
    root: bytes
    store: Store
    state_file: Path
    guard: Guard | None = None
    protected: frozenset[int] = frozenset()
    held: Callable[[], set[ReleaseId]] = set
    max_rows: int = ROWS_MAX

    @property
    def audit_file(self) -> AuditFile:
        """The audit heads that were seen here, beside the state."""
        return AuditFile(self.state_file.with_name(AUDIT_FILE), self.store.state_access)

    def run(
        self, transport: Transport, *, wait_s: float, accept: int | str | None = None, is_scheduled: bool = False
    ) -> SyncResult:
        """Sync once; arguments and errors are as for `Blocklist.sync`.

        A scheduled sync leaves a release alone for a while that killed the process twice.
        """
        accepted = None if accept is None else Acceptance.of(accept)
        started = time.monotonic()
        trust = self._trust(transport)
        with self.store.lock(wait_s):
            notes = Notes.of(self.state_file, self.store.state_access)
            self._require_awaited_root(notes.before)
            now = times.now()
            try:
                with within_memory(self.feed, self.store.directory):
                    result = self._run(trust, notes, accepted, is_scheduled=is_scheduled)
            except BlocklistError as error:
                log.error("sync of feed %s failed: %s", self.feed, error, extra=self._fields(error, transport, started))
                notes.try_to_save(last_attempt=now, last_error=f"{type(error).__name__}: {error}")
                raise
            except Exception as error:
                # Without its text, which may contain anything; the caller gets the error itself.
                fields = self._fields(error, transport, started)
                log.error("sync of feed %s failed: unexpected %s", self.feed, type(error).__name__, extra=fields)
                notes.try_to_save(last_attempt=now, last_error=f"{type(error).__name__}: {_FAULT}")
                raise
            went_well: dict[str, Any] = {"last_error": None, "refused": None, "failures": 0, "next_attempt": None}
            notes.try_to_save(last_attempt=now, last_success=now, begun=None, **went_well)
        seconds = time.monotonic() - started
        fields = self._fields(result, transport, started)
        release = ReleaseId(result.era, result.after)
        log.info("feed %s: %s, release %s in force, %.2f s", self.feed, result.kind, release, seconds, extra=fields)
        if result.clock_behind_s is not None:
            # Without the fields of an outcome: whoever shows outcomes otherwise leaves such records out.
            about_clock = {"feed": self.feed, "clock_behind_s": result.clock_behind_s}
            text = clock_behind_text(result.clock_behind_s)
            log.warning("feed %s, release %s: %s", self.feed, release, text, extra=about_clock)
        return replace(result, bytes=transport.bytes_received, seconds=seconds)

    def dry_run(self, transport: Transport, overrides: Iterable[Override], *, wait_s: float) -> Impact:
        """The changes that a sync would make; nothing is changed."""
        trust = self._trust(transport)
        with self.store.lock(wait_s), within_memory(self.feed, self.store.directory):
            notes = Notes.of(self.state_file, self.store.state_access)
            self._require_awaited_root(notes.before)
            offer = self._offer(trust, notes, is_dry=True)
            old = new = _no_rows() if offer.local is None else offer.local.layers
            changes = Difference.none()
            refusals: tuple[str, ...] = ()
            if offer.plan.kind != "none":
                with self.store.workspace() as directory:
                    offer, built = self._build(trust, offer, directory)
                    new, changes = built.layers, built.changes
                    refusals = self._all_refusals(offer, notes.before, built)
        return sync_impact(
            old,
            new,
            changes,
            before=offer.local.about.release if offer.local else None,
            after=offer.release,
            digest=offer.index.digest,
            protected=offer.protected,
            overrides=overrides,
            refusals=refusals,
        )

    def _all_refusals(self, offer: "_Offer", state: SyncState, built: Built) -> tuple[str, ...]:
        """Why a sync would refuse a release: for its number of rows, and for what it blocks."""
        growth = growth_refusal(self.guard, offer.index, have=offer.have_rows)
        judged = self._refusals(offer, state, built, times.now())
        return judged if growth is None else (growth, *judged)

    def _require_awaited_root(self, state: SyncState) -> None:
        """Where a root took another's place, the old ones are not used again; until the first sync, nor is any other.

        After it, a later root of the new ones may be pinned.

        Raises:
            InvalidInput: such a one is pinned, as the old one in a service's settings.
        """
        pinned = fingerprint(self.root)
        if state.awaited_root in (None, pinned):
            return
        if not state.highest_serial or pinned in state.former_roots:
            raise InvalidInput(
                f"another root was pinned for feed {self.feed!r}, with the fingerprint {state.awaited_root}, and the "
                "one that was given now is not it: name the new root, as root in blocklist.toml or with --root"
            )

    def _fields(self, ended: SyncResult | Exception, transport: Transport, started: float) -> dict[str, Any]:
        seconds = time.monotonic() - started
        return log_fields(self.feed, ended, bytes=transport.bytes_received, seconds=seconds)

    def _run(self, trust: Trust, notes: Notes, accept: Acceptance | None, *, is_scheduled: bool) -> SyncResult:
        state = notes.before
        offer = self._offer(trust, notes)
        # Before the guard: numbers that must never be blocked do not wait for a person to look at a release.
        self.store.protect(offer.protected_document)
        local, now = offer.local, times.now()
        if local is not None and offer.plan.kind == "none":
            self._mark(offer, notes)
            if offer.is_proved_by(local):
                self.store.renew(local.name, offer.expires)
            else:
                # The same list under the keys of a new era, or a digest of another kind, which prove it from now on.
                about = replace(local.about, era=offer.era, signers=offer.signers, digest=offer.index.digest)
                self.store.commit_again(local, about, offer.expires, signed=offer.signed, hold=self.held())
            return offer.result("none", Difference.none(), state=state, now=now)

        is_accepted = accept is not None and accept.takes(
            offer.release, offer.index.digest, refused_digest=_refused_digest(state, offer.release)
        )
        if not is_accepted:
            self._forbid_what_was_refused(offer, state, accept, now)
            self._forbid_growth(offer, notes, accept, now)
        if is_scheduled:
            self._forbid_what_kills(offer, state, now)
        with self._building(offer, notes, now), self.store.workspace() as directory:
            offer, built = self._build(trust, offer, directory)
            return self._put_in_force(offer, built, notes, accept, now, is_accepted=is_accepted)

    def _put_in_force(
        self,
        offer: "_Offer",
        built: Built,
        notes: Notes,
        accept: Acceptance | None,
        now: datetime,
        *,
        is_accepted: bool,
    ) -> SyncResult:
        """Switch to a release that was built, unless the guard refuses it."""
        state = notes.before
        self._forbid_another_list(offer, state, built)
        reasons = self._refusals(offer, state, built, now)
        if reasons and not (is_accepted and _is_for_content(accept, state)):
            raise self._refusal(offer, reasons, notes, accept, now)
        self._mark(offer, notes)
        about = About(
            feed=self.feed,
            serial=offer.index.serial,
            digest=offer.index.digest,
            rows=len(built.layers),
            published_at=offer.index.published_at,
            signers=offer.signers,
            era=offer.era,
        )
        self.store.commit(built.listed, about, offer.expires, signed=offer.signed, hold=self.held())
        kind: Literal["delta", "snapshot"] = "delta" if built.is_delta else "snapshot"
        return offer.result(kind, built.changes, state=state, now=now)

    def _trust(self, transport: Transport) -> Trust:
        """What verifies the repository's metadata, which is kept in the cache."""
        return Trust(
            base_url=self.url,
            metadata_dir=self.store.metadata,
            root=self.root,
            transport=transport,
            access=self.store.access,
        )

    def _offer(self, trust: Trust, notes: Notes, *, is_dry: bool = False) -> "_Offer":
        """What the repository offers, verified, beside what is here.

        Its moment and its audit head are kept, unless this is a dry run: also those of a release that is refused, since
        they are signed.
        """
        state = notes.before
        with storage(self.store.metadata):
            self.store.access.make(self.store.metadata, is_ours=True)
        trust.limit_time()
        trust.refresh()
        opened = self.store.open()
        local = opened[0] if opened else None
        data, index = self._index(trust, local.about.release if local else None)
        era = trust.era(self.feed)
        audit_warning = None if is_dry else self._keep_audit_head(index, era, notes)
        if state.offered_at != index.published_at:
            notes.later(offered_at=index.published_at)
        # What was in force under another root is nothing to compare serials and moments with.
        is_former = local is not None and local.name == state.former_generation
        is_damaged = local is not None and not self._is_whole_so_far(local, notes, is_dry=is_dry)
        about = None if local is None else local.about
        self._forbid_former_kind(index, era, state, None if is_former else about)
        if local is not None and not is_damaged:
            about = self._about_in_kind(local, index)
            is_damaged = about is None
            about = about or local.about
        self._forbid_going_back(index, era, state, None if is_former else about)
        if local is not None and is_damaged:
            log.error("the generation of feed %s on this disk is damaged; it is fetched again", self.feed)
            planned = snapshot_plan(index)
            is_judged = not is_former and local.about.release == ReleaseId(era, index.serial)
            if is_judged or not local.is_readable():
                local = None  # the same list once more, which was judged when it came into force; or nobody knows which
        else:
            have = about.serial if about and _is_base(about, index, era, is_former=is_former) else None
            planned = plan(index, serial=have, digest=about.digest if about else None)
        document = self._protected_document(trust)
        return _Offer(
            index=index,
            expires=trust.expires(self.feed),
            signers=trust.signers(self.feed),
            local=local,
            digest=about.digest if about else None,
            is_damaged=is_damaged,
            is_former=is_former and local is not None,
            era=era,
            plan=planned,
            protected_document=document,
            protected=np.array(sorted({*read_protected(document).tolist(), *self.protected}), np.int64),
            clock_offset=trust.clock_offset,
            signed={"index.json": data, **trust.evidence(self.feed)},
            audit_warning=audit_warning,
        )

    def _is_whole_so_far(self, local: Generation, notes: Notes, *, is_dry: bool) -> bool:
        """Whether nothing is known to be damaged of the list on this disk, after another look at some of it."""
        now = times.now()
        scrub = notes.before.scrub or Scrub(begun_at=now)
        if scrub.damaged == local.name:
            return False
        if is_dry:
            return True
        count = pieces_at_once(scrub, pieces=local.pieces(), bytes=local.bytes, now=now)
        scrub = read_pieces(local, scrub, count=count, now=now)
        notes.later(scrub=scrub)
        return scrub.damaged is None

    def _about_in_kind(self, local: Generation, index: FeedIndex) -> About | None:
        """What the list on this disk is, with its digest in the kind that the index has; None if it is damaged.

        Digests of different kinds say nothing about each other, so the list's is made anew, once: then the list is kept
        under it.
        """
        offered = index.find(local.about.serial)
        if offered is None or kind_of(offered.digest) == kind_of(local.about.digest):
            return local.about
        if not local.is_whole():
            return None
        return replace(local.about, digest=digest_of(local.layers, local.tree, kind_of(offered.digest)))

    def _keep_audit_head(self, index: FeedIndex, era: int, notes: Notes) -> str | None:
        """Keep an index's audit head for good; returns what is wrong with it, or with keeping it.

        A release whose head contradicts an earlier one is taken all the same: it may lift blocks, and the list has its
        own signature. What it proves about the exchange is said everywhere, and stays in the file.
        """
        if index.audit is None:
            return None
        seen = SeenAuditHead(
            feed=self.feed,
            era=era,
            serial=index.serial,
            length=index.audit.length,
            head=index.audit.head,
            published_at=index.published_at,
            seen_at=times.this_second(),
            url=self.url,
            root=notes.before.awaited_root,
        )
        try:
            before = self.audit_file.add(seen)
        except BlocklistError as error:
            log.error("feed %s: the audit head of release %s could not be kept: %s", self.feed, seen.release, error)
            return f"the audit head of release {seen.release} could not be kept: {error}"
        found = () if before is None else tuple(contradictions((before, seen)))
        if not found:
            return None
        warning = f"{'; '.join(found)}. Lines of the exchange's audit trail were changed or lost: {AUDIT_ADVICE}"
        log.error("feed %s: %s", self.feed, warning)
        notes.try_to_save(audit_warning=warning)
        return warning

    def _build(self, trust: Trust, offer: "_Offer", directory: Path) -> tuple["_Offer", Built]:
        """Build a release in a directory, which is needed until it is in force.

        Returns:
            The offer, beside what turned out to be here, and the release.
        """
        local, planned = offer.local, offer.plan
        before = offer.index.find(local.about.serial) if local else None
        continues = not offer.is_damaged and before is not None and before.digest == offer.digest
        fetched = Fetch(trust, offer.index, directory, continues)
        try:
            self._admit(trust, offer, planned)
            return offer, fetched.build(planned, local)
        except Malformed as error:
            # Deltas are applied to what is on this disk, so that is looked at first.
            is_damaged = local is not None and planned.kind == "delta" and not local.is_whole()
            other = snapshot_plan(offer.index) if is_damaged else healing_plan(offer.index, planned)
            if other is None:
                raise
            if local is not None and is_damaged:
                log.error("the generation of feed %s on this disk is damaged; it is fetched again", self.feed)
                local = local if local.is_readable() else None
                offer = replace(offer, local=local, is_damaged=True, is_former=offer.is_former and local is not None)
            else:
                log.error(
                    "the files of feed %s do not lead to its release %s, so others are tried: %s",
                    self.feed,
                    offer.release,
                    error,
                )
            self._admit(trust, offer, other)
            return offer, replace(fetched, continues=continues and not is_damaged).build(other, local)

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

    def _refusals(self, offer: "_Offer", state: SyncState, built: Built, now: datetime) -> tuple[str, ...]:
        if self.guard is None:
            return ()
        index, about = offer.index, offer.local.about if offer.local else None
        # A publisher does not go back behind a moment that was let in here, and its unblocks must not wait for it.
        is_known = about is not None and not offer.is_former and index.published_at <= about.published_at
        doubts = (
            ()
            if is_known
            else doubts_of_moment(ahead=index.published_at - now, by_server=_behind_server(offer.clock_offset))
        )
        if about is not None and not offer.is_former:
            last_sync = state.last_success or about.published_at
            doubts += doubts_of_jump(index.serial - about.serial, since_last_sync=now - last_sync)
        return doubts + self.guard.refuses(
            _no_rows() if offer.local is None else offer.local.layers,
            built.layers,
            offer.protected,
            now_ms=times.to_ms(now),
            old_published_ms=None if about is None else times.to_ms(about.published_at),
            new_published_ms=times.to_ms(index.published_at),
            changes=built.changes,
        )

    def _forbid_what_was_refused(
        self, offer: "_Offer", state: SyncState, accept: Acceptance | None, now: datetime
    ) -> None:
        """Refuse again without fetching again, for as long as nothing is different.

        That depends on the clock, too, so it is not for ever.
        """
        refused = state.refused
        if (
            refused is not None
            and refused.at is not None
            and timedelta(0) <= now - refused.at < _REFUSAL_HOLDS
            and (refused.era, refused.serial, refused.digest, refused.guard)
            == (*offer.release, offer.index.digest, self._setting(offer))
        ):
            raise self._refused(offer, refused.reasons, accept, is_judged=refused.is_judged)

    def _forbid_growth(self, offer: "_Offer", notes: Notes, accept: Acceptance | None, now: datetime) -> None:
        """Refuse, before it is downloaded, a release with more rows than the guard could let through.

        Where its content was refused here before, that is still known.
        """
        reason = growth_refusal(self.guard, offer.index, have=offer.have_rows)
        if reason is None:
            return
        state, refused = notes.before, notes.before.refused
        if refused is not None and refused.is_judged and _refused_digest(state, offer.release) == offer.index.digest:
            raise self._refusal(offer, tuple(dict.fromkeys((reason, *refused.reasons))), notes, accept, now)
        raise self._refusal(offer, (reason,), notes, accept, now, is_judged=False)

    def _forbid_what_kills(self, offer: "_Offer", state: SyncState, now: datetime) -> None:
        """Leave a release alone that ended the process while it was built, more than once in a row."""
        begun = state.begun
        until = held_until(begun, release=offer.release, digest=offer.index.digest, now=now)
        if begun is not None and until is not None:
            raise StorageFailed(
                f"release {offer.release} of feed {self.feed!r} was begun {begun.attempts} times, and each time the "
                "process ended before it was built, as it does when a system kills what takes too much memory. It is "
                f"tried again after {until:%Y-%m-%d %H:%M} UTC; the list in force is unchanged. Give this process more "
                "memory, or try at once: blocklist sync.",
                path=self.store.directory,
            )

    @contextlib.contextmanager
    def _building(self, offer: "_Offer", notes: Notes, now: datetime) -> Iterator[None]:
        """Note durably what is about to be built. Only the end of the process leaves the note there."""
        before = notes.before.begun
        is_again = before is not None and before.is_of(offer.release, offer.index.digest)
        attempts = before.attempts + 1 if before is not None and is_again else 1
        begun = BegunBuild(offer.index.serial, offer.index.digest, now, attempts, offer.era)
        notes.save(last_attempt=now, begun=begun)
        try:
            yield
        except BaseException as error:
            if isinstance(error, Exception):
                notes.later(begun=None)  # with why it failed
            else:
                notes.try_to_save(begun=None)
            raise

    def _setting(self, offer: "_Offer") -> str:
        """Everything that the guard's answer depends on, beside the two releases and the clock."""
        protected = hashlib.sha256(offer.protected.tobytes()).hexdigest()[:16]
        return f"{self.guard!r} {offer.local.about.release if offer.local else None} {protected}"

    def _refusal(
        self,
        offer: "_Offer",
        reasons: tuple[str, ...],
        notes: Notes,
        accept: Acceptance | None,
        now: datetime,
        *,
        is_judged: bool = True,
    ) -> Refused:
        """The error for a release that is refused now; the refusal is noted."""
        refused = RefusedRelease(
            serial=offer.index.serial,
            digest=offer.index.digest,
            guard=self._setting(offer),
            reasons=reasons,
            era=offer.era,
            at=now,
            is_judged=is_judged,
        )
        notes.later(refused=refused)
        return self._refused(offer, reasons, accept, is_judged=is_judged)

    def _refused(
        self, offer: "_Offer", reasons: tuple[str, ...], accept: Acceptance | None, *, is_judged: bool
    ) -> Refused:
        release, digest = offer.release, offer.index.digest
        if not is_judged:
            return Refused(
                f"release {release} of feed {self.feed!r} is refused: {'; '.join(reasons)}. Nothing was downloaded, so "
                "nobody knows yet what it blocks; the list in force is unchanged. Ask the publisher; if the list is "
                f'meant to be so long, have it judged, with accept="{release}", or --accept {release}: if its content '
                "is refused as well, the reasons are shown.",
                serial=release.serial,
                reasons=reasons,
            )
        anywhere = acceptance_text(release, digest)
        why_not = f" {accept.why_not(release, digest)}" if accept is not None else ""
        return Refused(
            f"release {release} of feed {self.feed!r} is refused: {'; '.join(reasons)}. The list in force is "
            f"unchanged.{why_not} Ask the publisher; if the release is right, let it in: on this machine with "
            f'accept="{release}", or --accept {release}; on any other with --accept {anywhere}.',
            serial=release.serial,
            reasons=reasons,
            accept=anywhere,
        )

    def _index(self, trust: Trust, have: ReleaseId | None) -> tuple[bytes, FeedIndex]:
        path = index_path(self.feed)
        if trust.target(path) is None:
            is_known = self.feed in trust.feeds
            if have is not None and is_known:
                raise Untrusted(
                    f"{shown(self.url)} has the feed {self.feed!r} and no release of it, but release {have} is in "
                    "force here: the publisher brought back an older copy, or releases are being withheld. Ask the "
                    "publisher."
                )
            if have is not None:
                raise Untrusted(
                    f"{shown(self.url)} signs no feed {self.feed!r} any more, but release {have} is in force here: "
                    "the publisher gave it up, or it is being withheld. Ask the publisher."
                )
            if is_known:
                raise NotSynced(
                    f"{shown(self.url)} has the feed {self.feed!r}, which has no release yet: the name is right. Sync "
                    "again when the publisher has released its first list"
                )
            raise InvalidInput(unknown_feed(shown(self.url), self.feed, trust.feeds), argument="feed")
        data = trust.fetch(path, max_bytes=INDEX_BYTES_MAX)
        return data, FeedIndex.from_json(data, feed=self.feed)

    def _forbid_going_back(self, index: FeedIndex, era: int, state: SyncState, about: About | None) -> None:
        """Refuse what was in force before in another way.

        Raises:
            Untrusted: an earlier era, a lower serial in the same one, another list under the same serial, or a release
                that was published before the one in force.
        """
        offered, mark = ReleaseId(era, index.serial), mark_of(state, about)
        highest = max(mark or BEFORE_ALL, about.release if about is not None else BEFORE_ALL)
        is_replay = (
            "an old repository is being replayed, or the publisher lost data. Ask the publisher. If they say that they "
            "have begun anew with other root keys, give up what is remembered of the old one: blocklist trust replace"
        )
        if era < highest.era:
            raise Untrusted(
                f"{shown(self.url)} offers feed {self.feed!r} as its keys of era {era} sign it, but era {highest.era} "
                f"has begun, in which they sign nothing any more: {is_replay}"
            )
        if offered < highest:
            raise Untrusted(
                f"{shown(self.url)} offers release {offered} of feed {self.feed!r}, but release {highest} was in "
                f"force here before: {is_replay}"
            )
        known = [state.highest_digest] if offered == mark else []
        known += [about.digest] if about is not None and offered == about.release else []
        if any(digest is not None and differ(digest, index.digest) for digest in known):
            raise self._another_list(offered)
        if about is not None and era == about.era and index.published_at < about.published_at:
            raise Untrusted(
                f"{shown(self.url)} offers release {offered} of feed {self.feed!r} as published at "
                f"{times.iso(index.published_at)}, which is before release {about.release}, of "
                f"{times.iso(about.published_at)}, in force here. Ask the publisher to set the clock right."
            )

    def _forbid_former_kind(self, index: FeedIndex, era: int, state: SyncState, about: About | None) -> None:
        """Refuse a digest by columns after one of a tree: it is made of all rows, for whatever little an index costs.

        Raises:
            Malformed: the index has one.
        """
        known = [(mark_of(state, about), state.highest_digest)]
        known += [] if about is None else [(about.release, about.digest)]
        for release, digest in known:
            if release is None or digest is None or release.era != era:
                continue
            if kind_of(digest) == "tree" and kind_of(index.digest) != "tree":
                raise Malformed(
                    f"the index of feed {self.feed!r} has a digest without a kind, as the publisher's software of "
                    "before made them, but the feed had digests of a tree already. Nothing was downloaded. Ask the "
                    "publisher to publish with the newer version"
                )

    def _forbid_another_list(self, offer: "_Offer", state: SyncState, built: Built) -> None:
        """Refuse another list under the highest serial that was ever in force, of which another kind of digest is kept.

        Raises:
            Untrusted: it is another one.
        """
        about = None if offer.local is None or offer.is_former else offer.local.about
        known = state.highest_digest
        if known is None or offer.release != mark_of(state, about) or kind_of(known) == kind_of(offer.index.digest):
            return
        if digest_of(built.layers, built.tree, kind_of(known)) != known:
            raise self._another_list(offer.release)

    def _another_list(self, release: ReleaseId) -> Untrusted:
        return Untrusted(
            f"{shown(self.url)} offers another list as release {release} of feed {self.feed!r} than the one that "
            "was in force here under this serial, and a serial never means two lists. The next release is taken "
            "again. Ask the publisher."
        )

    def _mark(self, offer: "_Offer", notes: Notes) -> None:
        """Store era, serial and digest as the highest, once the release is complete.

        Before the switch: a mark that is ahead of the data does no harm, one that is behind lets old data back in.
        """
        notes.save_if_other(highest_era=offer.era, highest_serial=offer.index.serial, highest_digest=offer.index.digest)


def _no_rows() -> LayeredRows:
    return LayeredRows.of(Rows.empty())


def mark_of(state: SyncState, about: About | None) -> ReleaseId | None:
    """The highest release ever in force; one without an era is of that of the release in force, or of the first."""
    if not state.highest_serial:
        return None
    known = FIRST_ERA if about is None else about.era
    return ReleaseId(known if state.highest_era is None else state.highest_era, state.highest_serial)


def _is_base(about: About, index: FeedIndex, era: int, *, is_former: bool) -> bool:
    """Whether deltas may start from a release.

    From one of an earlier era, or one under another root, only if the index offers the same list.
    """
    if about.era == era and not is_former:
        return True
    offered = index.find(about.serial)
    return offered is not None and offered.digest == about.digest


def _is_for_content(accept: Acceptance | None, state: SyncState) -> bool:
    """Whether an acceptance is for what a release blocks, and not for its number of rows alone.

    A refusal shows the digest only where the content was judged.
    """
    if accept is None:
        return False
    return accept.digest is not None or (state.refused is not None and state.refused.is_judged)


def _behind_server(offset: timedelta | None) -> str | None:
    """How far this machine's clock is behind the server's, if it is."""
    return None if offset is None or offset >= -CLOCKS_DIFFER else offset_text(offset)


def _refused_digest(state: SyncState, release: ReleaseId) -> str | None:
    """The digest of a release as it was refused here; None if it was not."""
    refused = state.refused
    if refused is None or refused.serial != release.serial or refused.era not in (None, release.era):
        return None
    return refused.digest


@dataclass(frozen=True, slots=True)
class _Offer:
    """The verified offer of a repository, and the generation in force here.

    Attributes:
        index: the feed's index.
        expires: when the signatures expire.
        signers: ids of the keys that signed the feed's role.
        local: the generation in force, or None.
        digest: its digest, in the kind of the index; None without it.
        is_damaged: whether it is damaged, so that its rows say nothing about entry ids.
        is_former: whether that was put in force under another root.
        era: the feed's era.
        plan: how to get from there to the current release.
        protected_document: the numbers that no feed may list, as they were signed.
        protected: these and the recipient's own, ascending.
        clock_offset: how far this machine's clock is ahead of the server's; None if that is not known.
        signed: the metadata that proves later that the release is the authority's, by file name.
        audit_warning: what is wrong with its audit head; None if nothing is.
    """

    index: FeedIndex
    expires: datetime
    signers: tuple[str, ...]
    local: Generation | None
    digest: str | None
    is_damaged: bool
    is_former: bool
    era: int
    plan: FetchPlan
    protected_document: bytes
    protected: Int64s
    clock_offset: timedelta | None
    signed: dict[str, bytes]
    audit_warning: str | None

    @property
    def release(self) -> ReleaseId:
        """The era and serial of the release."""
        return ReleaseId(self.era, self.index.serial)

    @property
    def have_rows(self) -> int:
        """The rows of the generation in force; 0 before the first."""
        return self.local.about.rows if self.local else 0

    def is_proved_by(self, generation: Generation) -> bool:
        """Whether the signed metadata that is kept with a generation of the same list is that of this offer."""
        about = generation.about
        return about.era == self.era and about.digest == self.index.digest and not self.is_former

    def result(
        self,
        kind: Literal["none", "delta", "snapshot"],
        changes: Difference,
        *,
        state: SyncState,
        now: datetime,
    ) -> SyncResult:
        """The result of a sync that has put it in force; bytes and seconds are still to be counted.

        `state` is what was stored before it: the last sync before may show that the clock was set back since.
        """
        before = self.local.about.release if self.local else None
        return SyncResult(
            before=before and before.serial,
            after=self.index.serial,
            kind=kind,
            added=len(changes.added),
            removed=len(changes.removed),
            changed=len(changes.changed_new),
            bytes=0,
            seconds=0,
            era=self.era,
            before_era=before and before.era,
            clock_behind_s=seconds_behind(latest(self.index.published_at, state.last_success), now),
            audit_warning=self.audit_warning,
        )
