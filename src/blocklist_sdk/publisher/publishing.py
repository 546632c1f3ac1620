"""How a list becomes a signed release.

`publish_list` makes a feed's next release from a list. Step by step:

1. Take the folder's lock, remove what a killed run left half-written, and load the repository, verified from the root
   down (`repository.Repository.load`, `signed_state`).
2. Make sure, before any work is done, that the keys that have to sign can be opened (`keys`).
3. Cut the list into cells: only its shape is interpreted (`cells.read_cells`).
4. Read the cells as rows. A row that cannot be read becomes a reject (`rows.read_rows`), and so does a protected
   number; a range is cut around it, and so is what the current release has of it (`protected_rows`).
5. Refuse a list with too many rejects: what is left out of a list is lifted. The rejects are written to a file
   (`rejects`). Refuse one with a pattern that covers too many numbers (`wide`).
6. Plan the release, as what it changes of the current one (`plans`), whose rows are mapped from a working copy beside
   the repository (`working_copy`). Of a whole list: find for each row the entry that it was in the current release,
   give new rows new ids, and take from the current release what the list does not give (`next_release.plan_release`).
   :meth:`Publisher.add` and :meth:`Publisher.remove` plan the current release with some entries more, or fewer
   (`amendments`), from the rows of these numbers.
7. Judge what ceases and begins to be blocked (`judging`, `release.blocking`), and refuse it if that is more than a
   mistake of a person may do, unless the same was refused before and is accepted now (`guard`, `refused_lists`). Then
   the caller may review what the release puts and removes, as an exchange does against its audit trail.
8. Write the delta and, of releases that change much and of one in thirty (`offer`), the snapshot; read them back, and
   compare the digests (`signed_feed.SignedFeed.add_release`). Write the working copy of the release. Before it is
   signed, the highest entry id that is given out is stored outside the repository, in case an older copy of it is ever
   brought back (`published_before`, `older_copy`).
9. Store the files under names that contain their hashes, and sign from the inside out: the feed's role, the snapshot
   role, the timestamp. The release is in force when `timestamp.json` is replaced (`repository.Repository.set_targets`).
10. Delete files that have not been part of the repository for longer than the grace period (`retention`).

A run that is killed before the end of step 9 has published nothing, and the next run needs no help. Steps 3 to 7 are
those of `drafts`, which read and decide; the others act. :meth:`Publisher.dry_run` ends after step 7.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from blocklist_sdk.errors import InvalidInput, Refused, StorageFailed
from blocklist_sdk.places import resolved
from blocklist_sdk.publisher.arguments import check_moment, check_outside, check_path
from blocklist_sdk.publisher.drafts import Draft, content_of, draft_release
from blocklist_sdk.publisher.folder import PublisherFolder
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.impact import impact_lines, impact_of
from blocklist_sdk.publisher.judging import Judgement, Moments, judge
from blocklist_sdk.publisher.list_options import Edit, ListCall
from blocklist_sdk.publisher.older_copy import older_copy, remember_release
from blocklist_sdk.publisher.published_before import PublishedBefore
from blocklist_sdk.publisher.refused_lists import remember_refused, require_refused
from blocklist_sdk.publisher.repository import Repository
from blocklist_sdk.publisher.results import ReleaseImpact, ReleaseResult
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.audit import AuditHead
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.merge import Delta
from blocklist_sdk.release.windows import reach_of
from blocklist_sdk.tables.rejects import Reject, write_rejects

_ACCEPT: Final = "If all of this is right, publish the same once more with accept=True, or --accept."
_HINTS: Final[dict[Edit, str]] = {
    "replace": ("If the list is a part only, add it to the current one: Publisher.add, or blocklist publish add."),
    "add": "Check that these are the numbers to add, and not another list.",
    "remove": "Check that these are the numbers to remove, and not those that should stay.",
}

log: logging.Logger = logging.getLogger(__name__)


def publish_list(
    folder: PublisherFolder,
    feed: str,
    call: ListCall,
    *,
    rejects: str | Path | None,
    published_at: datetime | None = None,
    guard: PublisherGuard,
    accept: bool,
    audit: AuditHead | None = None,
    review: Callable[[Delta], None] | None = None,
) -> ReleaseResult:
    """Publish the next release of a feed.

    Args:
        folder: the publisher's folder.
        feed: the feed's name.
        call: the list, and what it does to the current one.
        rejects: the file for the rejects; None for one of the folder's, if there are any.
        published_at: the moment of the release; None for now.
        guard: how much the release may change before a person has to accept it.
        accept: publish what the guard refused before.
        audit: the head of the exchange's audit trail; None for that of the current release, if it has one.
        review: called with what the release puts and removes, before anything is signed; None for nothing.

    Raises:
        Refused, InvalidInput, Locked, Malformed, Untrusted, StorageFailed: as for `Publisher.release`.
    """
    started = time.monotonic()
    published_at = check_moment("published_at", published_at)
    with folder.locked() as repository:
        signed_feed = _found(folder, call, repository, feed)
        repository.require_keys(feed)
        moments = Moments.of(folder, published_at, signed_feed.index)
        region = folder.region(call.region, signed_feed.index)
        _check_rejects(folder, call.source, rejects)
        draft = _drafted(
            folder,
            call,
            repository,
            signed_feed,
            moments=moments,
            keep_rejects=lambda invalid: _write_rejects(folder, invalid, rejects, f"{feed}.refused.csv"),
        )
        _judge(folder, call, draft, signed_feed, moments=moments, region=region, guard=guard, accept=accept)
        if review is not None:
            review(draft.plan.changes.delta())
        _check_audit(call, signed_feed, audit)
        rejects_path = _write_rejects(folder, draft.invalid, rejects, f"{feed}.{signed_feed.next_serial}.csv")
        # Before recipients can see the release: a run that is killed in between leaves out some ids, and repeats none.
        given_out = PublishedBefore(last_entry=draft.plan.last_entry)
        index, outside = signed_feed.add_release(
            draft.plan,
            draft.current,
            has_snapshot=draft.has_snapshot,
            published_at=moments.published,
            region=region,
            scope=draft.feed_scope,
            audit=audit,
            reserve=lambda: folder.remember_published(feed, signed_feed.published.with_other(given_out)),
        )
        remember_release(folder, feed, PublishedBefore.of(index, signed_feed.era))
    seconds = time.monotonic() - started
    return _result(feed, draft, index, outside=outside, era=signed_feed.era, rejects_path=rejects_path, seconds=seconds)


def preview_list(folder: PublisherFolder, feed: str, call: ListCall, *, guard: PublisherGuard) -> ReleaseImpact:
    """Find what publishing a list would change; nothing is written.

    Raises:
        Refused, InvalidInput, Malformed, Untrusted: as for `Publisher.dry_run`.
    """
    repository = folder.load()
    signed_feed = _found(folder, call, repository, feed)
    moments = Moments.of(folder, None, signed_feed.index)
    draft = _drafted(folder, call, repository, signed_feed, moments=moments, keep_rejects=lambda _: None)
    judgement = judge(draft.plan, signed_feed.index, moments, guard=guard, exactly=True)
    if not _is_judged(call, draft):
        judgement = replace(judgement, refusals=())
    return _impact(draft, judgement, signed_feed, region=folder.region(call.region, signed_feed.index))


def _found(folder: PublisherFolder, call: ListCall, repository: Repository, feed: str) -> SignedFeed:
    """The feed, and a word to the caller if the repository is an older copy."""
    signed_feed = SignedFeed.find(repository, feed, memory=folder.published_before, copies=folder.working_copies)
    notice = older_copy(signed_feed, folder.directory)
    if notice is not None:
        (call.notify or log.warning)(notice)
    return signed_feed


def _drafted(
    folder: PublisherFolder,
    call: ListCall,
    repository: Repository,
    signed_feed: SignedFeed,
    *,
    moments: Moments,
    keep_rejects: Callable[[Sequence[Reject]], Path | None],
) -> Draft:
    if moments.notice is not None:
        (call.notify or log.warning)(moments.notice)
    return draft_release(
        call,
        signed_feed,
        protected=folder.protected(repository),
        region=folder.region(call.region, signed_feed.index),
        now_ms=moments.since_ms,
        declared_scope=folder.scope(signed_feed.name, signed_feed.index),
        keep_rejects=keep_rejects,
    )


def _judge(
    folder: PublisherFolder,
    call: ListCall,
    draft: Draft,
    signed_feed: SignedFeed,
    *,
    moments: Moments,
    region: str | None,
    guard: PublisherGuard,
    accept: bool,
) -> None:
    """Ask the guard, unless a person accepts what it refused before.

    Raises:
        Refused: the guard refuses the release.
        InvalidInput: a person accepts what was not refused.
    """
    feed, serial = signed_feed.name, signed_feed.index.serial if signed_feed.index else 0
    if accept:
        require_refused(folder.directory, feed, serial=serial, content=content_of(draft))
        log.warning("%s: a person accepts a release that the guard refused", feed)
        return
    if guard == PublisherGuard.off() or not _is_judged(call, draft):
        return
    judgement = judge(draft.plan, signed_feed.index, moments, guard=guard)
    if judgement.notice is not None:
        (call.notify or log.warning)(judgement.notice)
    if judgement.refusals:
        accepting = _ACCEPT
        try:
            remember_refused(folder.directory, feed, serial=serial, content=content_of(draft))
        except (StorageFailed, InvalidInput) as error:
            accepting = f"It cannot be accepted until this is mended: {error}."
        raise Refused(
            f"release {signed_feed.next_release} of {feed} was not published: {'; '.join(judgement.refusals)}. "
            f"{_HINTS[call.edit]} {accepting}",
            reasons=judgement.refusals,
            details=tuple(impact_lines(_impact(draft, judgement, signed_feed, region=region), masked=True)),
        )


def _check_audit(call: ListCall, signed_feed: SignedFeed, audit: AuditHead | None) -> None:
    """Say that recipients will find a contradiction. It is published all the same: no unblock waits for it."""
    before = signed_feed.index.audit if signed_feed.index else None
    if audit is not None and before is not None and before.contradicts(audit):
        (call.notify or log.warning)(
            f"the audit trail of {audit.length:,} lines to {audit.head} contradicts that of the current release of "
            f"{signed_feed.name}, {before.length:,} lines to {before.head}: recipients will see it. Was an older copy "
            "of the exchange's database brought back?"
        )


def _is_judged(call: ListCall, draft: Draft) -> bool:
    """Whether the guard is asked: not on the first list, nor on one that is empty on purpose."""
    return len(draft.plan.before) > 0 and not (call.allow_empty and not len(draft.plan.after))


def _impact(draft: Draft, judgement: Judgement, signed_feed: SignedFeed, *, region: str | None) -> ReleaseImpact:
    plan = draft.plan
    return impact_of(
        plan.changes,
        judgement.change,
        feed=signed_feed.name,
        rows=(len(plan.before), len(plan.after)),
        reaches=(reach_of(plan.before), reach_of(plan.after)),
        before=None if signed_feed.index is None else signed_feed.index.serial,
        serial=signed_feed.next_serial,
        era=signed_feed.era,
        region=region,
        invalid=len(draft.invalid),
        refusals=judgement.refusals,
        ended=judgement.ended,
    )


def _result(
    feed: str,
    draft: Draft,
    index: FeedIndex,
    *,
    outside: int,
    era: int,
    rejects_path: Path | None,
    seconds: float,
) -> ReleaseResult:
    plan, changes = draft.plan, draft.plan.changes
    snapshot, delta = index.current.snapshot, index.current.delta
    return ReleaseResult(
        feed=feed,
        serial=index.serial,
        rows=index.rows,
        column=draft.column,
        form=draft.form,
        added=len(changes.added),
        removed=len(changes.removed),
        changed=len(changes.changed_new),
        invalid=len(draft.invalid),
        reach=reach_of(plan.after, outside=outside),
        widest=draft.widest,
        duplicates=plan.duplicates,
        blank=draft.blank,
        rejects_path=rejects_path,
        snapshot_bytes=snapshot.length if snapshot else None,
        delta_bytes=delta.length if delta else None,
        digest=index.digest,
        seconds=seconds,
        already_listed=plan.already_listed,
        extended=plan.extended,
        not_listed=len(plan.not_listed),
        era=era,
    )


def _check_rejects(folder: PublisherFolder, source: Any, rejects: str | Path | None) -> None:
    if rejects is None:
        return
    path = check_path("rejects", rejects)
    check_outside(path, folder.directory, but=folder.directory / "rejects")
    if isinstance(source, (str, Path)) and resolved(path) == resolved(check_path("the list", source)):
        raise InvalidInput("the rejects would be written over the list itself: give another file")


def _write_rejects(
    folder: PublisherFolder, invalid: Sequence[Reject], path: str | Path | None, name: str
) -> Path | None:
    if path is None and not invalid:
        return None
    path = Path(path) if path is not None else folder.directory / "rejects" / name
    write_rejects(invalid, path)
    return path
