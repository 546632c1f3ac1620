"""A bundle that answers questions: the inside of `Blocklist.open_bundle`."""

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, NotSynced, Untrusted
from blocklist_sdk.numbers import Form
from blocklist_sdk.recipient.bundle.own_decisions import BundledOverrides, OwnDecisions
from blocklist_sdk.recipient.bundle.reading import (
    BundledRelease,
    BundleFile,
    Proved,
    altered,
    open_file,
    prove,
    untrusted,
)
from blocklist_sdk.recipient.cache.audit_file import AuditFile
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.recipient.changes import Changes
from blocklist_sdk.recipient.current_list import FastPath, OpenList, WhenStale, is_past
from blocklist_sdk.recipient.internals import AskedInternals, column_reader
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Status, Verification
from blocklist_sdk.release.release_id import FIRST_ERA, NamedRelease, ReleaseId

log: logging.Logger = logging.getLogger(__name__)


class BundleList(OpenList):
    """Answers from a bundle, which does not change; where somebody writes to the file in place, it is proved anew."""

    opened: tuple[ReleaseAnswers, datetime | None] | None
    fast_path: FastPath
    _is_bundle: bool = True

    def __init__(
        self,
        release: BundledRelease,
        expires: datetime,
        rules: Rules,
        *,
        read: Callable[[str | int], int],
        when_stale: WhenStale,
    ) -> None:
        """Takes a verified release, the expiry of its signatures, and what goes before it."""
        super().__init__(release.about.feed, read=read, when_stale=when_stale)
        self._file = release.file
        self.opened = release, expires
        self._rules = rules

    def close(self) -> None:
        """Nothing is held but memory, which is given back with the list itself."""

    def reload(self, *, wait: bool) -> None:
        """Make the fast path anew, which goes by the clock.

        Raises:
            Untrusted: the file was altered in place since it was opened.
        """
        # Its answers are read where the file is mapped: until it is found whole, nobody may have one.
        if self._reloading.acquire(blocking=wait or self._file.is_touched):
            try:
                self._file.check_unaltered()
                self.fast_path = self._make_fast_path()
            except Untrusted as error:
                self.fast_path = self._no_fast_path
                raise altered(self._file.path, error) from error
            finally:
                self._reloading.release()

    def _not_synced(self) -> NotSynced:
        raise AssertionError("a bundle has a release")


class BundleInternals(AskedInternals):
    """One feed in a bundle.

    Attributes:
        file: the bundle.
        verified_at: when it was verified.
    """

    overrides: BundledOverrides
    current: BundleList

    def __init__(
        self,
        file: BundleFile,
        *,
        root: bytes,
        region: str | None,
        form: Form,
        protected: frozenset[int],
        when_stale: WhenStale,
        with_overrides: bool,
        oldest: NamedRelease | None,
    ) -> None:
        """Verify a bundle; the arguments are those of `Blocklist.open_bundle`.

        Raises:
            InvalidInput: the root is not root metadata, or overrides are wanted, and the bundle has none.
            Untrusted: it is not as it was signed, or too old.
        """
        super().__init__(feed=file.feed, root=root, region=region, form=form)
        self.file: BundleFile = file
        proved = prove(file, pinned=root)
        self.verified_at: datetime = times.now()
        _check_age(proved, oldest)
        own = self._own(proved) if with_overrides else OwnDecisions()
        self.overrides = BundledOverrides(
            own.overrides,
            read=self.read,
            read_column=lambda texts: column_reader(texts, region, form),
            region=region,
            form=form,
            read_only=self._read_only,
        )
        mine = protected | own.protected
        signed = frozenset(proved.evidence.protected.tolist())
        rules = Rules.made_of(mine | signed, own.overrides, own_protected=mine)
        if proved.own is not None and not with_overrides:
            log.warning(
                "the bundle %s has overrides, which nobody signs: they do not count unless you say so (overrides=True, "
                "or --bundle-overrides count)",
                file.path,
            )
        self.current = BundleList(proved.release, proved.evidence.expires, rules, read=self.read, when_stale=when_stale)

    def _own(self, proved: Proved) -> OwnDecisions:
        try:
            return proved.own_decisions()
        except Untrusted as error:
            raise untrusted(self.file.path, error) from error

    def _read_only(self) -> InvalidInput:
        return InvalidInput(
            f"{self.file.path} is a bundle, which is read-only: do it with the list that it was made of (url, feed and "
            "cache_dir), and make the bundle anew",
            argument="bundle",
        )

    def on_disk(self) -> NoReturn:
        """A bundle cannot be synced or written; raises `InvalidInput`."""
        raise self._read_only()

    @property
    def directories(self) -> tuple[Path, ...]:
        """The file itself."""
        return (self.file.path,)

    def status(self) -> Status:
        """See `Blocklist.status`."""
        self.current.reload(wait=True)
        assert self.current.opened is not None, "a bundle has a release"
        release, expires = self.current.opened
        about, now = release.about, times.now()
        return Status(
            feed=self.feed,
            serial=about.serial,
            rows=about.rows,
            digest=about.digest,
            as_of=about.published_at,
            expires=expires,
            stale=is_past(expires, now),
            generation_bytes=release.bytes,
            last_success=None,
            last_attempt=None,
            last_error=None,
            overrides=sum(override.in_force(now) for override in self.current.rules().decisions()),
            generations=(about.serial,),
            disk_bytes=release.bytes,
            scopes=tuple(sorted(release.scopes)),
            scope_entries=release.scope_entries,
            era=about.era,
            generation_eras=(about.era,),
            clock_behind_s=self.current.clock_behind_s(now),
            whole_at=self.verified_at,
            bundle=str(self.file.path),
        )

    def changes(self, since: int | None, era: int | None) -> Changes:
        """See `Blocklist.changes`."""
        release = self.current.generation()[0]
        if since is not None:
            raise InvalidInput(
                f"{self.file.path} is a bundle, which has release {release.about.release} alone: take the whole list "
                "(since=None, or --since 0)"
            )
        return Changes(None, release, self.current.rules)

    def verify(self) -> Verification:
        """See `Blocklist.verify`."""
        assert self.current.opened is not None, "a bundle has a release"
        about = self.current.opened[0].about
        found, problems = about.digest, tuple[str, ...]()
        try:
            self.current.generation()
            prove(self.file, pinned=self.root)
        except Untrusted as error:
            found, problems = "", (str(error),)
        return Verification(self.feed, about.serial, about.rows, found, problems, era=about.era)

    def seen_audit_heads(self) -> tuple[AuditFile, ...]:
        """A bundle keeps none."""
        return ()

    def close(self) -> None:
        """Nothing is held but memory, which is given back with the list itself."""


def open_internals(
    path: Path,
    *,
    root: bytes,
    feed: str | None,
    region: str | None,
    form: Form,
    protected: frozenset[int],
    with_overrides: bool,
    when_stale: WhenStale,
    oldest: NamedRelease | None,
) -> BundleInternals:
    """Open and verify a bundle: see `Blocklist.open_bundle`."""
    file = open_file(path)
    if feed is not None and file.feed != feed:
        raise untrusted(path, Untrusted(f"it is of the feed {file.feed!r}, not of {feed!r}"))
    return BundleInternals(
        file,
        root=root,
        region=region,
        form=form,
        protected=protected,
        with_overrides=with_overrides,
        when_stale=when_stale,
        oldest=oldest,
    )


def _check_age(proved: Proved, oldest: NamedRelease | None) -> None:
    """Refuse a bundle of an earlier release than the oldest that is taken.

    A serial without an era is compared within the bundle's own era. Nothing in a bundle says in which era the serial
    was meant; read as one of an earlier era, it would let in every release of a later one.

    Raises:
        Untrusted: it is one.
    """
    if oldest is None:
        return
    found = proved.release.about.release
    asked = ReleaseId(oldest.era or found.era, oldest.serial)
    if found < asked:
        is_unsure = oldest.era is None and found.era > FIRST_ERA
        raise Untrusted(
            f"the bundle {proved.release.file.path} of feed {proved.release.about.feed!r} has release {found}, and "
            f"min_release (--bundle-min-release) asks for at least {asked}: take a newer bundle"
            f"{f'; if the feed has begun a new era, name it, as in {found}' if is_unsure else ''}. Nothing of it is "
            "used"
        )
