"""The publisher of one or more feeds: a folder with keys and a signed repository.

`publishing` has how a release goes, step by step; `folder` has the lock, the settings and the clock.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Self

import pyarrow as pa

from blocklist_sdk.errors import InvalidInput, not_pickled
from blocklist_sdk.numbers import Form
from blocklist_sdk.numbers.reach import MAX_COVER
from blocklist_sdk.publisher.arguments import check_directory, check_text
from blocklist_sdk.publisher.ceremony import Proposal
from blocklist_sdk.publisher.first_ceremony import PROPOSAL, begin_folder, complete_folder, is_waiting
from blocklist_sdk.publisher.folder import PublisherFolder, Timing, make_folder
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.key_rotation import Rotation, install_proposal, propose_keys, rotate_keys
from blocklist_sdk.publisher.key_status import key_roles
from blocklist_sdk.publisher.keys import OFFLINE, ONLINE, ROOT, TARGETS, KeyUri, Passphrase, feed_key
from blocklist_sdk.publisher.list_options import MAX_REJECTS, Edit, ListOptions
from blocklist_sdk.publisher.older_copy import warn_of_older_copies
from blocklist_sdk.publisher.protecting import apply_change, plan_change, preview_change, set_protection
from blocklist_sdk.publisher.protection import ProtectionChange
from blocklist_sdk.publisher.publishing import preview_list, publish_list
from blocklist_sdk.publisher.repository import ROOT_THRESHOLD, Repository
from blocklist_sdk.publisher.results import (
    FeedStatus,
    KeyChange,
    KeyRole,
    ProtectionResult,
    PublisherStatus,
    RefreshResult,
    ReleaseImpact,
    ReleaseResult,
    SnapshotResult,
)
from blocklist_sdk.publisher.scopes import declared_scope
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.arrow import to_table
from blocklist_sdk.release.audit import AuditHead
from blocklist_sdk.release.merge import Delta
from blocklist_sdk.release.names import feed_name
from blocklist_sdk.tables.options import PLAIN, TableOptions


class Publisher:
    """Builds and signs releases. Runs on the same folder wait for each other.

    ::

        DIR/
            repository/      metadata/ and targets/: the only part to serve
            keys/            private keys, mode 0700
            root.json        the root metadata that recipients pin
            rejects/         rows that could not be published, by feed and release
            publisher.json   settings, and the highest release and entry id of each feed
            retired.json     when files were dropped that wait to be deleted
            refused.json     which list the guard refused last, by feed
            working/         the current lists, mapped: made anew from the repository where they are missing
            proposal.json    what the holders have to sign, in a folder that `begin` has begun
            lock

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp()) / "publisher"
        >>> publisher = Publisher.init(folder, feeds=["id-all"], passphrase="correct horse battery", region="ID")
        >>> _ = (folder / "list.txt").write_text("0812-3456-7890")
        >>> result = publisher.release("id-all", folder / "list.txt")
        >>> result.serial, result.rows, result.invalid
        (1, 1, 0)
    """

    def __init__(
        self,
        directory: Path,
        *,
        passphrase: Passphrase | None,
        timing: Timing,
        guard: PublisherGuard | None = None,
    ) -> None:
        """Use :meth:`init` or :meth:`open`."""
        self._folder = PublisherFolder(directory, passphrase=passphrase, timing=timing)
        self._guard = guard or PublisherGuard()
        self.directory: Path = directory
        self.repository: Path = self._folder.repository
        self.root: Path = self._folder.root

    def __reduce__(self) -> NoReturn:
        raise not_pickled("a Publisher", "open it in each process, since it holds the passphrase")

    @classmethod
    def init(
        cls,
        directory: str | Path,
        *,
        feeds: Collection[str] | Mapping[str, str | Iterable[str] | None],
        passphrase: Passphrase | None,
        region: str | None = None,
        key_uris: Mapping[str, Sequence[KeyUri]] | None = None,
        timing: Timing | None = None,
        offline_passphrase: Passphrase | None = None,
    ) -> Self:
        """Make a publisher's folder, whole or not at all: keys, and a repository whose feeds have no release yet.

        Args:
            directory: the folder; it must be empty or not exist yet.
            feeds: the names of the feeds; or a mapping from each name to the feed's scope, such as ``messaging`` or
                ``sms+voice``, or the parts: the scope of new entries for which a list gives none. A feed without one
                (None) has ``sms+voice``.
            passphrase: encrypts the private keys, at least 12 characters; or a function that takes a key's name and
                returns its passphrase; None if all keys exist elsewhere.
            region: two-letter country code in which national numbers are read; None if lists have none.
            key_uris: existing keys elsewhere, by their names: ``root`` (at least two), ``targets``, ``online``,
                ``feed.NAME``. All other keys are made here.
            timing: the clock, lifetimes of signatures, and waits.
            offline_passphrase: of the root and targets keys, another one than `passphrase`, which the publisher that is
                returned does not know. These keys lie in ``keys/offline``, to be carried away. None if all keys lie in
                one folder and have one passphrase.

        Raises:
            InvalidInput: the folder is not empty, or a feed's name or scope, the region, a key or a passphrase is
                invalid.
            StorageFailed: the disk refused.
        """
        directory = check_directory(directory)
        timing = timing or Timing()
        make_folder(
            directory,
            feeds=feeds,
            passphrase=passphrase,
            region=region,
            key_uris=key_uris,
            timing=timing,
            offline_passphrase=offline_passphrase,
        )
        return cls(directory, passphrase=passphrase, timing=timing)

    @classmethod
    def begin(
        cls,
        directory: str | Path,
        *,
        feeds: Collection[str] | Mapping[str, str | Iterable[str] | None],
        public_keys: Mapping[str, Sequence[Path]],
        passphrase: Passphrase | None,
        root_threshold: int = ROOT_THRESHOLD,
        region: str | None = None,
        key_uris: Mapping[str, Sequence[KeyUri]] | None = None,
        timing: Timing | None = None,
    ) -> Proposal:
        """Begin a publisher's folder whose root keys, and perhaps targets keys, never come to this machine.

        It can publish nothing until the holders of these keys have signed the proposal, and :meth:`install_keys` has
        got what they signed.

        Args:
            directory: the folder; it must be empty or not exist yet.
            feeds: as for :meth:`init`.
            public_keys: files with public keys, PEM: under ``root`` at least as many as have to sign, under
                ``targets`` one or several, of which one has to sign. Without ``targets`` a targets key is made here.
            passphrase: as for :meth:`init`.
            root_threshold: how many of the root keys have to sign, at least 2.
            region: as for :meth:`init`.
            key_uris: as for :meth:`init`, but for the keys of `public_keys`.
            timing: as for :meth:`init`.

        Returns:
            The first metadata, for the holders to sign. It is in the folder, too, as ``proposal.json``.

        Raises:
            InvalidInput: as for :meth:`init`, or there are fewer root keys than have to sign.
            StorageFailed: the disk refused.
        """
        directory = check_directory(directory)
        timing = timing or Timing()
        begin_folder(
            directory,
            feeds=feeds,
            public_keys=public_keys,
            passphrase=passphrase,
            root_threshold=root_threshold,
            region=region,
            key_uris=key_uris,
            timing=timing,
        )
        return Proposal.from_json((directory / PROPOSAL).read_bytes())

    @classmethod
    def complete(
        cls,
        directory: str | Path,
        proposals: Sequence[Proposal],
        *,
        passphrase: Passphrase | None,
        timing: Timing | None = None,
    ) -> Self:
        """Make a folder that :meth:`begin` began a publisher's folder, with what the holders have signed.

        Args:
            directory: the folder.
            proposals: signed copies of the proposal, at least one.
            passphrase: of the keys that were made in the folder.
            timing: as for :meth:`init`.

        Raises:
            InvalidInput: the folder does not wait for signatures, the copies are of another proposal, signatures are
                missing, or a key is not available.
            Locked: another run took longer than the wait.
            Malformed: a file was damaged.
            Untrusted: a file was changed.
            StorageFailed: the disk refused; the same call makes the rest.
        """
        directory = check_directory(directory)
        if not is_waiting(directory):
            raise InvalidInput(f"{directory} does not wait for the signatures of its first metadata")
        timing = timing or Timing()
        complete_folder(directory, proposals, passphrase=passphrase, timing=timing)
        return cls(directory, passphrase=passphrase, timing=timing)

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        passphrase: Passphrase | None,
        timing: Timing | None = None,
        guard: PublisherGuard | None = None,
    ) -> Self:
        """Open a publisher's folder. Keys are opened when they are first needed.

        Args:
            directory: the folder that :meth:`init` made.
            passphrase: the passphrase of the keys, or a function that takes a key's name and returns its passphrase;
                None if no key file will be opened.
            timing: the clock, lifetimes of signatures, and waits.
            guard: how much a release may change before a person has to accept it; by default a `PublisherGuard`.

        Raises:
            InvalidInput: the folder is not a publisher's folder.
        """
        directory = check_directory(directory)
        if is_waiting(directory):
            raise InvalidInput(
                f"{directory} waits for the holders' signatures on {PROPOSAL}: have them sign it with `blocklist "
                "publish keys sign`, then `blocklist publish keys install` what they signed"
            )
        if not (directory / "root.json").is_file():
            raise InvalidInput(f"{directory} is not a publisher's folder: make one with `blocklist publish init`")
        return cls(directory, passphrase=passphrase, timing=timing or Timing(), guard=guard)

    def offline_keys_opened(self) -> tuple[Path, ...]:
        """The files of root and targets keys that are in the folder and that its passphrase opens.

        Publishing needs none of them; with two root keys, whoever runs code here can replace every key.

        Raises:
            Malformed: `keys.json` was damaged.
        """
        return tuple(self._folder.keys.opened(OFFLINE))

    def offline_keys_here(self) -> tuple[Path, ...]:
        """The files of root and targets keys that are in the folder, whatever their passphrase."""
        keys = self._folder.keys
        places = [place for name in OFFLINE for place in keys.places(name)]
        return tuple(keys.directory / place.file for place in places if place.file and place.is_available)

    def release(
        self,
        feed: str,
        source: Any,
        *,
        column: str | None = None,
        region: str | None = None,
        form: Form = "auto",
        issuer: str = "authority",
        level: str = "block",
        category: str = "fraud",
        scope: str | Iterable[str] | None = None,
        rejects: str | Path | None = None,
        published_at: datetime | None = None,
        allow_empty: bool = False,
        max_rejects: float = MAX_REJECTS,
        max_cover: int = MAX_COVER,
        options: TableOptions = PLAIN,
        notify: Callable[[str], None] | None = None,
        guard: PublisherGuard | None = None,
        accept: bool = False,
        audit: AuditHead | None = None,
        review: Callable[[Delta], None] | None = None,
    ) -> ReleaseResult:
        """Publish the next release of a feed: the whole list as it should be from now on.

        A row that is new on the list is added, one that is gone is removed, and one that stays keeps its entry id. If
        the list lacks a column, entries keep their values of the current release. Rows that cannot be published, the
        rejects, are written to a file.

        Args:
            feed: the feed's name.
            source: a path, or an open binary file such as standard input: CSV or plain text, a spreadsheet, JSON, a
                vCard file or Parquet, gzipped or not; or an Arrow table, or numbers as texts.
            column: the column with the numbers; by default ``number``, or else the only one.
            region: two-letter country code in which national numbers are read; by default as in the current release,
                or as given to :meth:`init`.
            form: how digits without a plus are read: ``international``, ``national``, or ``auto``, which the list
                decides; see `blocklist_sdk.numbers.decide_form`.
            issuer: the issuer of rows for which the list gives none.
            level: the level of new entries for which the list gives none: ``block`` or ``advisory``.
            category: the category of new entries for which the list gives none.
            scope: the scope of new entries for which the list gives none: ``sms+voice``, or the parts; by default the
                feed's own, see :meth:`init`.
            rejects: the file for the rejects; by default one under ``rejects/``.
            published_at: the moment of the release; by default now.
            allow_empty: publish even a list without any rows, which lifts every entry; then the guard is not asked.
            max_rejects: the largest share of the list's rows, from 0 to 1, that may be rejects: an entry whose row is
                a reject is lifted. Protected numbers, which are rejects as well, do not count here.
            max_cover: how many assigned numbers one pattern or range may cover.
            options: how to read a list that does not speak for itself: its names for columns, its words, its dates.
            notify: called with what was skipped above the header, which columns are ignored, what the scope of a feed
                for messaging is, how many entries lack it or have ended, what was cut around protected numbers, and how
                many entries get new ids or ended by the clock, each in a line, before anything is published.
            guard: how much this release may change before a person has to accept it; by default the publisher's.
            accept: publish what the guard refused. It is taken only after the same was refused on the current release,
                with the same result, so that nobody accepts what nobody has seen.
            audit: how far the audit trail of the exchange that publishes reaches, to be signed with the release; by
                default what the current release has, which is nothing where no exchange publishes.
            review: called with the rows that the release puts and removes, as against the current signed release,
                before anything is signed. It raises `Refused`, and nothing is published, if one must not be.

        Raises:
            Refused: the share of rejects is larger, and the rejects are written to the file; or a pattern or range
                covers more numbers; or more numbers cease or begin to be blocked than the guard lets through, and
                `Refused.details` says which. Nothing is published.
            InvalidInput: the feed is unknown; the list cannot be read, or has no such column or no valid number; a key
                is not available, or its passphrase is wrong; or `accept` is given, and this list was not refused.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused. What is published is whole: the release before, or this one.
        """
        given = ListOptions(
            column=column,
            region=region,
            form=form,
            issuer=check_text("issuer", issuer),
            level=level,
            category=category,
            scope=scope,
            allow_empty=allow_empty,
            max_rejects=max_rejects,
            max_cover=max_cover,
            options=options,
            notify=notify,
        )
        return self._publish(
            feed, source, "replace", given, rejects, guard, accept, published_at, audit=audit, review=review
        )

    def add(
        self,
        feed: str,
        source: Any,
        *,
        column: str | None = None,
        region: str | None = None,
        form: Form = "auto",
        issuer: str = "authority",
        level: str = "block",
        category: str = "fraud",
        scope: str | Iterable[str] | None = None,
        until: datetime | None = None,
        rejects: str | Path | None = None,
        max_cover: int = MAX_COVER,
        options: TableOptions = PLAIN,
        notify: Callable[[str], None] | None = None,
        guard: PublisherGuard | None = None,
        accept: bool = False,
    ) -> ReleaseResult:
        """Publish the next release of a feed: the current list and some entries more, such as a month's new cases.

        A number or range that the same issuer lists already, for as long and in all scopes of the row, changes nothing
        and is counted. If its entry only ends earlier, it gets the later end. An entry that has ended, is an advisory
        where the row blocks, or has other scopes does not count: the number gets a new one.

        Args:
            feed: the feed's name.
            source: numbers as texts, or any other list as :meth:`release` takes it.
            column: as for :meth:`release`.
            region: as for :meth:`release`.
            form: as for :meth:`release`.
            issuer: the issuer of rows for which the list gives none.
            level: the level of entries for which the list gives none.
            category: the category of entries for which the list gives none.
            scope: the scope of entries for which the list gives none; by default the feed's own.
            until: when entries end for which the list gives no end; by default they have none.
            rejects: as for :meth:`release`.
            max_cover: as for :meth:`release`.
            options: as for :meth:`release`.
            notify: as for :meth:`release`.
            guard: as for :meth:`release`.
            accept: as for :meth:`release`.

        Raises:
            Refused: as for :meth:`release`.
            InvalidInput: as for :meth:`release`.
            Locked: as for :meth:`release`.
            Malformed: as for :meth:`release`.
            Untrusted: as for :meth:`release`.
            StorageFailed: as for :meth:`release`.
        """
        given = ListOptions(
            column=column,
            region=region,
            form=form,
            issuer=check_text("issuer", issuer),
            level=level,
            category=category,
            scope=scope,
            until=until,
            max_cover=max_cover,
            options=options,
            notify=notify,
        )
        return self._publish(feed, source, "add", given, rejects, guard, accept)

    def remove(
        self,
        feed: str,
        source: Any,
        *,
        column: str | None = None,
        region: str | None = None,
        form: Form = "auto",
        issuer: str | None = None,
        rejects: str | Path | None = None,
        allow_empty: bool = False,
        options: TableOptions = PLAIN,
        notify: Callable[[str], None] | None = None,
        guard: PublisherGuard | None = None,
        accept: bool = False,
    ) -> ReleaseResult:
        """Publish the next release of a feed: the current list without the entries of some numbers.

        A number that is not listed is counted and passed to `notify`.

        Args:
            feed: the feed's name.
            source: numbers as texts, or any other list as :meth:`release` takes it; a range is removed as it is listed.
                Of its other columns only `issuer` is used.
            column: as for :meth:`release`.
            region: as for :meth:`release`.
            form: as for :meth:`release`.
            issuer: whose entries are removed where the list does not say; by default those of the only issuer.
            rejects: as for :meth:`release`.
            allow_empty: remove even the last entry, after which recipients may want a person's word; then the guard is
                not asked.
            options: as for :meth:`release`.
            notify: as for :meth:`release`.
            guard: as for :meth:`release`.
            accept: as for :meth:`release`.

        Raises:
            InvalidInput: none of the numbers is listed; one has entries of several issuers, or lies inside a range that
                blocks; no entry would be left; and as for :meth:`release`.
            Refused: as for :meth:`release`.
            Locked: as for :meth:`release`.
            Malformed: as for :meth:`release`.
            Untrusted: as for :meth:`release`.
            StorageFailed: as for :meth:`release`.
        """
        given = ListOptions(
            column=column,
            region=region,
            form=form,
            issuer=issuer,
            allow_empty=allow_empty,
            options=options,
            notify=notify,
        )
        return self._publish(feed, source, "remove", given, rejects, guard, accept)

    def dry_run(
        self,
        feed: str,
        source: Any,
        *,
        edit: Edit = "replace",
        column: str | None = None,
        region: str | None = None,
        form: Form = "auto",
        issuer: str | None = None,
        level: str = "block",
        category: str = "fraud",
        scope: str | Iterable[str] | None = None,
        until: datetime | None = None,
        allow_empty: bool = False,
        max_rejects: float = MAX_REJECTS,
        max_cover: int = MAX_COVER,
        options: TableOptions = PLAIN,
        notify: Callable[[str], None] | None = None,
        guard: PublisherGuard | None = None,
    ) -> ReleaseImpact:
        """Say what a release would change, without signing or writing anything. Needs no key.

        Args:
            feed: the feed's name.
            source: the list, as for :meth:`release`; or numbers as texts.
            edit: ``replace`` if the list is the whole one, as for :meth:`release`; ``add`` and ``remove`` as for the
                methods of these names.
            column: as for :meth:`release`.
            region: as for :meth:`release`.
            form: as for :meth:`release`.
            level: as for :meth:`release`.
            category: as for :meth:`release`.
            scope: as for :meth:`release`.
            allow_empty: as for :meth:`release` and :meth:`remove`.
            max_rejects: as for :meth:`release`.
            issuer: as for the method that `edit` names.
            until: as for :meth:`add`.
            max_cover: as for :meth:`release`.
            options: as for :meth:`release`.
            notify: as for :meth:`release`.
            guard: as for :meth:`release`.

        Raises:
            Refused: the share of rejects is larger, or a pattern or range covers more numbers. What the guard would
                refuse is in `ReleaseImpact.refusals`.
            InvalidInput: as for :meth:`release`, :meth:`add` and :meth:`remove`.
            Malformed, Untrusted: the repository was damaged.
        """
        if edit not in ("replace", "add", "remove"):
            raise InvalidInput(f"edit must be replace, add or remove, not {edit!r}")
        given = ListOptions(
            column=column,
            region=region,
            form=form,
            issuer=issuer,
            level=level,
            category=category,
            scope=scope,
            until=until,
            allow_empty=allow_empty,
            max_rejects=max_rejects,
            max_cover=max_cover,
            options=options,
            notify=notify,
        )
        call = given.call(source, edit, now=self._folder.timing.clock())
        return preview_list(self._folder, feed, call, guard=guard or self._guard)

    def _publish(
        self,
        feed: str,
        source: Any,
        edit: Edit,
        given: ListOptions,
        rejects: str | Path | None,
        guard: PublisherGuard | None,
        accept: bool,
        published_at: datetime | None = None,
        *,
        audit: AuditHead | None = None,
        review: Callable[[Delta], None] | None = None,
    ) -> ReleaseResult:
        return publish_list(
            self._folder,
            feed,
            given.call(source, edit, now=self._folder.timing.clock()),
            rejects=rejects,
            published_at=published_at,
            guard=guard or self._guard,
            accept=accept,
            audit=audit,
            review=review,
        )

    def refresh(self) -> RefreshResult:
        """Sign the timestamp again, and every role that expires soon and whose keys are available. Run it every hour.

        Raises:
            InvalidInput: the online key is not available, or its passphrase is wrong.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        with self._folder.locked() as repository:
            warn_of_older_copies(self._folder, repository)
            renewed, overdue = repository.renew()
            return RefreshResult(renewed, overdue, min(role.expires for role in repository.roles))

    def snapshot(self, feed: str) -> SnapshotResult:
        """Write the snapshot of a feed's current release anew, and sign it; the release stays what it is.

        For a snapshot that was damaged or lost, while an earlier one and the deltas since lead to the same list; and
        for a release that has none of its own, before many newcomers come.

        Args:
            feed: the feed's name.

        Raises:
            InvalidInput: the feed is unknown or has no release yet; a key is not available, or its passphrase is wrong.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged, and no files on offer lead to the current release.
            StorageFailed: the disk refused; what is published is whole.
        """
        with self._folder.locked() as repository:
            signed_feed = SignedFeed.find(repository, feed)
            repository.require_keys(feed)
            index = signed_feed.add_snapshot()
        assert index.current.snapshot is not None
        return SnapshotResult(
            feed, index.serial, index.rows, index.current.snapshot.length, index.digest, signed_feed.era
        )

    def add_feed(self, feed: str, *, scope: str | Iterable[str] | None = None, key_uris: Sequence[KeyUri] = ()) -> None:
        """Add a feed that has no release yet. Needs the targets key.

        Args:
            feed: the name of the new feed.
            scope: the feed's scope; see :meth:`init`.
            key_uris: its existing keys elsewhere; by default a key is made.

        Raises:
            InvalidInput: the name is invalid or taken, the scope is invalid, or a key is not available.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        feed_name(feed)
        declared = None if scope is None else declared_scope(scope)
        with self._folder.locked() as repository:
            if feed in repository.feeds:
                raise InvalidInput(f"the feed {feed!r} exists already")
            repository.require_keys(TARGETS)
            # A run that was killed may have made the key already.
            if not self._folder.keys.public(feed_key(feed)):
                self._folder.keys.add(feed_key(feed), uris=key_uris)
            self._folder.write_scope(feed, declared)
            repository.delegate(feed)

    def set_scope(self, feed: str, scope: str | Iterable[str]) -> None:
        """Set a feed's scope: the scope of new entries for which a list gives none. Needs no key.

        It holds from the next release on. Entries that are on the feed already keep their scope, unless a list gives
        another.

        Args:
            feed: the feed's name.
            scope: the feed's scope; see :meth:`init`.

        Raises:
            InvalidInput: the feed is unknown, or the scope is invalid.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused.
        """
        declared = declared_scope(scope)
        with self._folder.locked() as repository:
            SignedFeed.find(repository, feed)
            self._folder.write_scope(feed, declared)

    def protect(
        self, numbers: Path | BinaryIO | Iterable[str], *, accept: bool = False, allow_empty: bool = False
    ) -> int:
        """Set the protected numbers, as :meth:`set_protection` does; returns how many there are now.

        Arguments and errors are as for :meth:`set_protection`.
        """
        return self.set_protection(numbers, accept=accept, allow_empty=allow_empty).protected

    def set_protection(
        self, numbers: Path | BinaryIO | Iterable[str], *, accept: bool = False, allow_empty: bool = False
    ) -> ProtectionResult:
        """Set the protected numbers, which no feed may list; they replace the current ones. Needs the targets key.

        Args:
            numbers: numbers, ranges and patterns as text, up to 10,000 numbers each; national numbers are read in the
                region given to :meth:`init`. Or a text file with one on each line: a path, or an open binary file.
            accept: set them even if more than a tenth of the protected numbers, and more than 20, would be protected no
                longer.
            allow_empty: protect no number at all if there is none in it.

        Raises:
            InvalidNumber: a text is not a number, or stands for too many.
            InvalidInput: the same of a line in a file; there is none, or there are too many in all; the targets key is
                not available.
            Refused: too many would be protected no longer; nothing was changed.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        return set_protection(self._folder, numbers, accept=accept, allow_empty=allow_empty)

    def protect_more(self, numbers: Path | BinaryIO | Iterable[str]) -> ProtectionResult:
        """Protect further numbers. Needs the targets key. Arguments and errors are as for :meth:`set_protection`.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp() + "/publisher"
            >>> publisher = Publisher.init(folder, feeds=["id-all"], passphrase="correct horse battery", region="ID")
            >>> publisher.protect_more(["0812-3456-7890", "0812-3456-78##"]).protected
            100
        """
        return self._change_now(self.plan_protection(add=numbers))

    def unprotect(self, numbers: Path | BinaryIO | Iterable[str]) -> ProtectionResult:
        """Protect numbers no longer. Needs the targets key. Arguments and errors are as for :meth:`set_protection`.

        Raises:
            InvalidInput: besides, a text stands for no protected number.
        """
        return self._change_now(self.plan_protection(remove=numbers))

    def _change_now(self, change: ProtectionChange) -> ProtectionResult:
        """Apply a change whose every number was named, whatever else another run has changed meanwhile."""
        return self.change_protection(replace(change, made_on=None), accept=True)

    def plan_protection(
        self,
        *,
        add: Path | BinaryIO | Iterable[str] = (),
        remove: Path | BinaryIO | Iterable[str] = (),
        only: Path | BinaryIO | Iterable[str] | None = None,
        allow_empty: bool = False,
    ) -> ProtectionChange:
        """Plan a change of the protected numbers; needs no key. It can be written to a file and applied elsewhere.

        Args:
            add: what to protect besides, as for :meth:`set_protection`.
            remove: what to protect no longer.
            only: all that is to be protected, in place of `add` and `remove`; None for those two.
            allow_empty: take even an empty `only`.

        Raises:
            InvalidNumber: a text is not a number, or stands for too many.
            InvalidInput: the same of a line in a file; a file has no number in it; a text to remove stands for no
                protected number.
            Malformed, Untrusted: the repository was damaged.
        """
        return plan_change(self._folder, add=add, remove=remove, only=only, allow_empty=allow_empty)

    def preview_protection(self, change: ProtectionChange) -> ProtectionResult:
        """Say what :meth:`change_protection` would do, without signing anything. Needs no key.

        Why it would be refused is in `ProtectionResult.refusals`.

        Raises:
            InvalidInput: there would be too many protected numbers.
            Malformed, Untrusted: the repository was damaged.
        """
        return preview_change(self._folder, change)

    def change_protection(self, change: ProtectionChange, *, accept: bool = False) -> ProtectionResult:
        """Apply a change of the protected numbers. Needs the targets key.

        What is so already stays so: a change may be applied again. A change that changes nothing is not signed.

        Args:
            change: the change.
            accept: apply it even if it was planned on another list of protected numbers than the one in force, or drops
                more than a tenth of them, and more than 20.

        Raises:
            Refused: it was planned on another list, or drops too many; nothing was changed.
            InvalidInput: there would be too many protected numbers, or the targets key is not available.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        return apply_change(self._folder, change, accept=accept)

    def rotate_keys(
        self,
        role: str,
        *,
        uri: KeyUri | None = None,
        remove: Sequence[str] = (),
        keep_old: bool = False,
        drop_old: bool = False,
        restart_serials: bool = False,
        even_if_serials_are_left: bool = False,
    ) -> KeyChange:
        """Replace keys at once: a stolen one, or one that is old enough. Recipients have nothing to do.

        Whatever is published at any moment verifies. After a run that was killed, the same call completes it. The file
        of a key that was replaced is kept as ``NAME.pem.replaced``.

        Args:
            role: whose keys: ``online`` or ``root``, for which the root keys have to sign; ``targets``, for which they
                and the new targets key sign; ``feed.NAME``, for which the targets key signs.
            uri: an existing key elsewhere that takes the place of the old one; by default one is made here.
            remove: of ``root`` and ``targets``, the keys to replace: key ids, or how they begin; by default all.
            keep_old: of ``online`` and ``targets``, let the old key sign as well, until `drop_old`, so that nobody sees
                a failure whose cache serves an old timestamp for a while. Not for a stolen key.
            drop_old: make no new key; end what `keep_old` has begun.
            restart_serials: of a feed, begin its serials anew at 1, with the list as it stands: where a thief has used
                them up, or a clock that was ahead has dated the current release far into the future.
            even_if_serials_are_left: restart them even where they could go on.

        Raises:
            InvalidInput: the role is unknown; a key that has to sign is not available, then see :meth:`propose_keys`;
                the options do not fit the role; the feed has no serial left; or its serials could go on, and are to
                begin anew.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp() + "/publisher"
            >>> publisher = Publisher.init(folder, feeds=["id-all"], passphrase="correct horse battery", region="ID")
            >>> change = publisher.rotate_keys("online")
            >>> len(change.added), len(change.removed), change.root_version
            (1, 1, 3)
        """
        rotation = Rotation(role, uri, remove, keep_old, drop_old, restart_serials, even_if_serials_are_left)
        return rotate_keys(self._folder, rotation)

    def propose_keys(
        self,
        role: str,
        *,
        uri: KeyUri | None = None,
        add: Sequence[Path] = (),
        remove: Sequence[str] = (),
        threshold: int | None = None,
        restart_serials: bool = False,
        even_if_serials_are_left: bool = False,
    ) -> Proposal:
        """Plan other keys, or the renewal of a role, for the holders of keys elsewhere to sign.

        Nothing is published. Of ``online`` and ``feed.NAME`` the new key is made here, or given with its URI; of
        ``root`` and ``targets`` keys are added and removed by their public halves. Without a change of keys, the next
        version of ``root`` or ``targets`` differs in its expiry alone.

        Args:
            role: ``root``, ``targets``, ``online`` or ``feed.NAME``.
            uri: an existing key elsewhere that this machine can use.
            add: files with public keys to add, PEM.
            remove: key ids of keys to remove, or how they begin.
            threshold: how many have to sign from then on; None for as many as now.
            restart_serials: as for :meth:`rotate_keys`.
            even_if_serials_are_left: as for :meth:`rotate_keys`.

        Raises:
            InvalidInput: the role is unknown, a key cannot be read, there would be fewer keys than have to sign, or the
                feed's serials could go on, and are to begin anew.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused.
        """
        return propose_keys(
            self._folder,
            role,
            uri=uri,
            add=add,
            remove=remove,
            threshold=threshold,
            restart_serials=restart_serials,
            even_if_serials_are_left=even_if_serials_are_left,
        )

    def install_keys(self, proposals: Sequence[Proposal]) -> KeyChange:
        """Publish what the holders have signed. After a run that was killed, the same call completes it.

        Args:
            proposals: signed copies of one proposal, at least one.

        Raises:
            InvalidInput: the copies are of different proposals, or of another publisher's; another version of what it
                changes was published after the proposal was written; it expired, or was installed before; signatures
                are missing; or a key that has to sign here is not available.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        if not proposals:
            raise InvalidInput("give at least one signed copy of the proposal")
        return install_proposal(self._folder, proposals)

    def key_roles(self) -> tuple[KeyRole, ...]:
        """Every role with its keys, and where they are; needs no key.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return key_roles(self._folder)

    @property
    def root_file(self) -> bytes:
        """The newest root, as the repository has it; ``root.json`` is the same, unless a run was killed.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return self._folder.load().root

    @property
    def feeds(self) -> tuple[str, ...]:
        """The names of the feeds.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return tuple(self._folder.load().feeds)

    def entries(self, feed: str) -> pa.Table:
        """The entries of a feed's current release, in the columns of a snapshot; empty before the first. Needs no key.

        Args:
            feed: the feed's name.

        Raises:
            InvalidInput: the feed is unknown.
            Malformed, Untrusted: the repository was damaged.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp() + "/publisher"
            >>> publisher = Publisher.init(folder, feeds=["id-all"], passphrase="correct horse battery", region="ID")
            >>> _ = publisher.add("id-all", ["0812-3456-7890"])
            >>> publisher.entries("id-all").column("number").to_pylist()
            [6281234567890]
        """
        return to_table(SignedFeed.find(self._folder.load(), feed).rows())

    def protected(self) -> frozenset[int]:
        """The protected numbers, as E.164 integers.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return frozenset(self._folder.protected(self._folder.load()).tolist())

    def status(self) -> PublisherStatus:
        """The state of feeds, signatures and keys; needs no key.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        repository = self._folder.load()
        names = (ROOT, TARGETS, ONLINE, *map(feed_key, repository.feeds))
        return PublisherStatus(
            feeds=tuple(self._feed_status(self._remembered(repository, feed)) for feed in repository.feeds),
            roles=repository.roles,
            absent_keys=tuple(self._folder.keys.absent(names)),
            protected_numbers=len(self._folder.protected(repository)),
        )

    def _remembered(self, repository: Repository, feed: str) -> SignedFeed:
        return SignedFeed.find(repository, feed, memory=self._folder.published_before)

    def _feed_status(self, feed: SignedFeed) -> FeedStatus:
        index = feed.index
        scope = self._folder.scope(feed.name, index)
        if index is None:
            last_entry = feed.last_entry if feed.is_older else None
            return FeedStatus(
                feed.name, last_entry=last_entry, scope=scope, era=feed.era, next_serial=feed.highest_serial + 1
            )
        return FeedStatus(
            feed.name,
            index.serial,
            index.rows,
            index.published_at,
            index.digest,
            index.region,
            feed.last_entry if feed.is_older else index.last_entry,
            scope,
            feed.era,
            feed.highest_serial + 1,
            index.audit,
        )
