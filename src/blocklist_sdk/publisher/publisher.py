"""The publisher of one or more feeds: a folder with keys and a signed repository.

:meth:`Publisher.release` makes a feed's next release from a list. Step by step:

1. Take the folder's lock, remove what a killed run left half-written, and load the repository, verified from the root
   down (`repository.Repository.load`, `signed_state`).
2. Make sure, before any work is done, that the keys that have to sign can be opened (`keys`).
3. Cut the list into cells: only its shape is interpreted (`cells.read_cells`).
4. Read the cells as rows. A row that cannot be read becomes a reject (`rows.read_rows`), and so does one that covers a
   protected number (`rows.reject_protected`).
5. Refuse a list with too many rejects: what is left out of a list is lifted. The rejects are written to a file
   (`rejects`). Refuse one with a pattern that covers too many numbers (`wide`).
6. Plan the release: find for each row the entry that it was in the current release, give new rows new ids, and take
   from the current release what the list does not give (`next_release.plan_release`).
7. Write snapshot and delta, read both back, and compare the digests (`signed_feed.SignedFeed.add_release`).
8. Store the files under names that contain their hashes, and sign from the inside out: the feed's role, the snapshot
   role, the timestamp. The release is in force when `timestamp.json` is replaced (`repository.Repository.set_targets`).
9. Delete files that have not been part of the repository for longer than the grace period (`retention`).

A run that is killed before the end of step 8 has published nothing, and the next run needs no help. Steps 3, 4 and 6
read and decide, the others act.
"""

import contextlib
import logging
import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast

from blocklist_sdk import times
from blocklist_sdk.disk import read_json, storage, sweep, write_file, write_json
from blocklist_sdk.errors import InvalidInput, Malformed, Refused, StorageFailed, mask
from blocklist_sdk.locks import file_lock
from blocklist_sdk.numbers import Form
from blocklist_sdk.numbers.reach import MAX_COVER, reach
from blocklist_sdk.numbers.reference import check_region
from blocklist_sdk.numbers.text import LOOKALIKES
from blocklist_sdk.publisher.arguments import (
    check_count,
    check_directory,
    check_list,
    check_moment,
    check_outside,
    check_path,
    check_share,
    check_text,
)
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.publisher.keys import ONLINE, ROOT, TARGETS, Keyring, KeyUri, Passphrase, feed_key
from blocklist_sdk.publisher.next_release import EntryDefaults, plan_release
from blocklist_sdk.publisher.protection import ProtectionChange, listed_among, plan_removal, protected_document
from blocklist_sdk.publisher.repository import ROOT_KEYS, Lifetimes, Repository
from blocklist_sdk.publisher.results import (
    FeedStatus,
    ProtectionResult,
    PublisherStatus,
    RefreshResult,
    ReleaseResult,
)
from blocklist_sdk.publisher.rows import LEVELS, read_level, read_rows, reject_protected
from blocklist_sdk.publisher.scopes import DEFAULT_SCOPE, choose_scope, declared_scope, feed_scopes
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.publisher.wide import measure, refuse_too_wide
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.names import PROTECTED_PATH, feed_name
from blocklist_sdk.release.protected import read_protected, write_protected
from blocklist_sdk.release.protected_texts import ProtectedText, numbers_of, read_lines
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.tables.options import PLAIN, TableOptions
from blocklist_sdk.tables.rejects import Reject, write_rejects

MAX_REJECTS: Final = 0.1
"""Real lists have about 1 % of rejects: three daily lists of complaints of the US FTC have 0.99, 1.00 and 0.99 %. The
wrong column, or numbers in another format, make rejects of all rows."""

_CLOCK_SKEW = timedelta(minutes=5)
"""How far a release's moment may be ahead of this machine's clock."""

log: logging.Logger = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """The publisher's clock, and how long it waits.

    Attributes:
        lifetimes: how long signatures are valid.
        grace_s: how long files that are no longer published stay, in seconds: a recipient may still be reading them.
        lock_wait_s: how long to wait for another run on the same folder, in seconds.
        clock: returns the current moment, UTC, to the whole second.
    """

    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    grace_s: float = 3600.0
    lock_wait_s: float = 60.0
    clock: Callable[[], datetime] = times.this_second


class Publisher:
    """Builds and signs releases. Runs on the same folder wait for each other.

    ::

        DIR/
            repository/      metadata/ and targets/: the only part to serve
            keys/            private keys, mode 0700
            root.json        the root metadata that recipients pin
            rejects/         rows that could not be published, by feed and release
            publisher.json   settings
            retired.json     when files were dropped that wait to be deleted
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

    def __init__(self, directory: Path, *, passphrase: Passphrase | None, timing: Timing) -> None:
        """Use :meth:`init` or :meth:`open`."""
        self.directory = directory
        self.repository: Path = directory / "repository"
        self.root: Path = directory / "root.json"
        self._timing = timing
        self._keys = Keyring(directory / "keys", passphrase)

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

        Raises:
            InvalidInput: the folder is not empty, or a feed's name or scope, the region, a key or the passphrase is
                invalid.
            StorageFailed: the disk refused.
        """
        directory = check_directory(directory)
        timing = timing or Timing()
        scopes = feed_scopes(feeds)
        names = list(scopes)
        if not names:
            raise InvalidInput("give at least one feed")
        uris = key_uris or {}
        _check_key_names(uris, names)
        settings = {
            "format": _FORMAT,
            "region": None if region is None else check_region(region),
            "scopes": {name: scope for name, scope in scopes.items() if scope is not None},
        }
        with storage(directory):
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise InvalidInput(f"{directory} exists already: give a new folder, or open this one")
            building = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
            building.mkdir(parents=True)
        try:
            keys = Keyring.create(building / "keys", passphrase)
            for name in (ROOT, TARGETS, ONLINE, *map(feed_key, names)):
                keys.add(name, count=ROOT_KEYS if name == ROOT else 1, uris=uris.get(name, ()))
            repository = Repository.create(
                building / "repository",
                keys,
                feeds=names,
                protected=write_protected([]),
                lifetimes=timing.lifetimes,
                clock=timing.clock,
            )
            with storage(directory):
                write_file(building / "root.json", repository.root)
                write_json(building / "publisher.json", settings)
                os.replace(building, directory)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return cls(directory, passphrase=passphrase, timing=timing)

    @classmethod
    def open(cls, directory: str | Path, *, passphrase: Passphrase | None, timing: Timing | None = None) -> Self:
        """Open a publisher's folder. Keys are opened when they are first needed.

        Args:
            directory: the folder that :meth:`init` made.
            passphrase: the passphrase of the keys, or a function that takes a key's name and returns its passphrase;
                None if no key file will be opened.
            timing: the clock, lifetimes of signatures, and waits.

        Raises:
            InvalidInput: the folder is not a publisher's folder.
        """
        directory = check_directory(directory)
        if not (directory / "root.json").is_file():
            raise InvalidInput(f"{directory} is not a publisher's folder: make one with `blocklist publish init`")
        return cls(directory, passphrase=passphrase, timing=timing or Timing())

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
    ) -> ReleaseResult:
        """Publish the next release of a feed: the whole list as it should be from now on.

        A row that is new on the list is added, one that is gone is removed, and one that stays keeps its entry id. If
        the list lacks a column, entries keep their values of the current release. Rows that cannot be published, the
        rejects, are written to a file.

        Args:
            feed: the feed's name.
            source: a path, or an open binary file such as standard input: CSV or plain text, a spreadsheet, JSON, a
                vCard file or Parquet, gzipped or not; or an Arrow table.
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
            allow_empty: publish even a list without any rows, which lifts every entry.
            max_rejects: the largest share of the list's rows, from 0 to 1, that may be rejects: an entry whose row is
                a reject is lifted.
            max_cover: how many assigned numbers one pattern or range may cover.
            options: how to read a list that does not speak for itself: its names for columns, its words, its dates.
            notify: called with what was skipped above the header, which columns are ignored, and what the scope of a
                feed for messaging is, each in a line, before anything is published.

        Raises:
            Refused: the share of rejects is larger, and the rejects are written to the file; or a pattern or range
                covers more numbers. Nothing is published.
            InvalidInput: the feed is unknown; the list cannot be read, or has no such column or no valid number; a key
                is not available, or its passphrase is wrong.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused. What is published is whole: the release before, or this one.
        """
        started = time.monotonic()
        defaults = EntryDefaults(
            level=read_level(check_text("level", level)),
            category=check_text("category", category),
            issuer=check_text("issuer", issuer),
            scope=DEFAULT_SCOPE,
        )
        given_scope = None if scope is None else declared_scope(scope)
        published_at = check_moment("published_at", published_at)
        max_rejects = check_share("max_rejects", max_rejects)
        max_cover = check_count("max_cover", max_cover)
        with self._locked() as repository:
            signed_feed = SignedFeed.find(repository, feed)
            repository.require_keys(feed)
            moment = self._moment(published_at, signed_feed.index)
            region = self._region(region, signed_feed.index)
            self._check_rejects(source, rejects)
            cells = read_cells(source, column=column, options=options, notify=notify)
            chosen = choose_scope(
                feed,
                given=given_scope,
                declared=self._scope(feed, signed_feed.index),
                is_in_list="scope" in cells.columns,
            )
            if chosen.notice is not None:
                (notify or log.warning)(chosen.notice)
            defaults = replace(defaults, scope=chosen.entries)
            rows, invalid, decision = read_rows(cells, region=region, form=form, defaults=defaults)
            rows, refused = reject_protected(rows, self._protected(repository))
            invalid = sorted([*invalid, *refused], key=lambda reject: reject.line)
            if notify and decision.is_doubtful:
                notify(f"check the form, since the numbers look otherwise: {decision}")
            if not len(rows) and (invalid or not allow_empty):
                raise InvalidInput(_why_empty(invalid))
            count = len(cells.line) + len(cells.rejects)
            _refuse_other_column(invalid, count=count)
            if len({reject.line for reject in invalid}) > max_rejects * count:
                path = self._write_rejects(invalid, rejects, f"{feed}.refused.csv")
                raise Refused(_why_refused(invalid, count=count, max_rejects=max_rejects, path=path))
            widths = measure(rows, line=cells.line, texts=cells.columns["number"], max_cover=max_cover)
            refuse_too_wide(widths, max_cover=max_cover)
            before = signed_feed.rows()
            following = plan_release(
                before,
                rows,
                now_ms=times.to_ms(moment),
                last_entry=signed_feed.index.last_entry if signed_feed.index else 0,
                defaults=defaults,
            )
            rejects_path = self._write_rejects(invalid, rejects, f"{feed}.{signed_feed.next_serial}.csv")
            index, changes = signed_feed.add_release(
                before, following, published_at=moment, region=region, scope=chosen.feed
            )
        snapshot, delta = index.current.snapshot, index.current.delta
        return ReleaseResult(
            feed=feed,
            serial=index.serial,
            rows=index.rows,
            column=cells.column,
            form=decision,
            added=len(changes.added),
            removed=len(changes.removed),
            changed=len(changes.changed_new),
            invalid=len(invalid),
            reach=reach(following.rows.number, following.rows.last),
            widest=widths.widest[0] if widths.widest else None,
            duplicates=following.duplicates,
            blank=cells.blank,
            rejects_path=rejects_path,
            snapshot_bytes=snapshot.length if snapshot else 0,
            delta_bytes=delta.length if delta else None,
            digest=index.digest,
            seconds=time.monotonic() - started,
        )

    def refresh(self) -> RefreshResult:
        """Sign the timestamp again, and every role that expires soon and whose keys are available. Run it every hour.

        Raises:
            InvalidInput: the online key is not available, or its passphrase is wrong.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        with self._locked() as repository:
            renewed, overdue = repository.renew()
            return RefreshResult(renewed, overdue, min(role.expires for role in repository.roles))

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
        with self._locked() as repository:
            if feed in repository.feeds:
                raise InvalidInput(f"the feed {feed!r} exists already")
            repository.require_keys(TARGETS)
            # A run that was killed may have made the key already.
            if not self._keys.public(feed_key(feed)):
                self._keys.add(feed_key(feed), uris=key_uris)
            self._write_scope(feed, declared)
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
        with self._locked() as repository:
            SignedFeed.find(repository, feed)
            self._write_scope(feed, declared)

    def protect(self, numbers: Path | BinaryIO | Iterable[str]) -> int:
        """Set the protected numbers, which no feed may list; they replace the current ones. Needs the targets key.

        Args:
            numbers: numbers, ranges and patterns as text, up to 10,000 numbers each; national numbers are read in the
                region given to :meth:`init`. Or a text file with one on each line: a path, or an open binary file.

        Returns:
            How many protected numbers there are now.

        Raises:
            InvalidNumber: a text is not a number, or stands for too many.
            InvalidInput: the same of a line in a file; there are too many in all; the targets key is not available.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        found = frozenset[int]().union(*self._numbers_of(_protected_texts(numbers)))
        with self._locked() as repository:
            self._sign_protected(repository, found)
        return len(found)

    def protect_more(self, numbers: Path | BinaryIO | Iterable[str]) -> ProtectionResult:
        """Protect further numbers. Needs the targets key. Arguments and errors are as for :meth:`protect`.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp() + "/publisher"
            >>> publisher = Publisher.init(folder, feeds=["id-all"], passphrase="correct horse battery", region="ID")
            >>> publisher.protect_more(["0812-3456-7890", "0812-3456-78##"]).protected
            100
        """
        return self.change_protection(self.plan_protection(add=numbers))

    def unprotect(self, numbers: Path | BinaryIO | Iterable[str]) -> ProtectionResult:
        """Protect numbers no longer. Needs the targets key. Arguments and errors are as for :meth:`protect`.

        Raises:
            InvalidInput: besides, a text stands for no protected number.
        """
        return self.change_protection(self.plan_protection(remove=numbers))

    def plan_protection(
        self,
        *,
        add: Path | BinaryIO | Iterable[str] = (),
        remove: Path | BinaryIO | Iterable[str] = (),
        only: Path | BinaryIO | Iterable[str] | None = None,
    ) -> ProtectionChange:
        """Plan a change of the protected numbers; needs no key. It can be written to a file and applied elsewhere.

        Args:
            add: what to protect besides, as for :meth:`protect`.
            remove: what to protect no longer.
            only: all that is to be protected, in place of `add` and `remove`; None for those two.

        Raises:
            InvalidNumber: a text is not a number, or stands for too many.
            InvalidInput: the same of a line in a file; a text to remove stands for no protected number.
            Malformed, Untrusted: the repository was damaged.
        """
        current = self.protected()
        if only is not None:
            wanted = frozenset[int]().union(*self._numbers_of(_protected_texts(only)))
            return ProtectionChange(tuple(sorted(wanted - current)), tuple(sorted(current - wanted)))
        added = frozenset[int]().union(*self._numbers_of(_protected_texts(add)))
        texts = _protected_texts(remove)
        removal = plan_removal(texts, self._numbers_of(texts), current)
        return ProtectionChange(tuple(sorted(added - current)), tuple(sorted({*removal.remove} - added)))

    def change_protection(self, change: ProtectionChange) -> ProtectionResult:
        """Apply a change of the protected numbers. Needs the targets key.

        What is so already stays so: a change may be applied again. A change that changes nothing is not signed.

        Raises:
            InvalidInput: there would be too many protected numbers, or the targets key is not available.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        with self._locked() as repository:
            after, done = change.applied(self._protected(repository).tolist())
            listed: dict[str, tuple[int, ...]] = {}
            if done:
                concerned = sorted({*done.add, *done.remove})
                for feed in repository.feeds:
                    listed[feed] = listed_among(SignedFeed.find(repository, feed).rows(), concerned)
                self._sign_protected(repository, after)
        return ProtectionResult(
            protected=len(after),
            added=done.add,
            removed=done.remove,
            listed={feed: numbers for feed, numbers in listed.items() if numbers},
        )

    def _numbers_of(self, texts: Iterable[ProtectedText]) -> Iterator[frozenset[int]]:
        return numbers_of(texts, region=self._region(None, None))

    def _sign_protected(self, repository: Repository, numbers: frozenset[int]) -> None:
        document = protected_document(numbers)
        try:
            repository.require_keys(TARGETS)
        except InvalidInput as error:
            raise InvalidInput(
                f"{error}. If the targets key is elsewhere, write a proposal (`blocklist publish protect … --propose "
                "FILE`) and apply it there"
            ) from error
        repository.set_targets(TARGETS, files={PROTECTED_PATH: document})

    @property
    def feeds(self) -> tuple[str, ...]:
        """The names of the feeds.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return tuple(self._load().feeds)

    def protected(self) -> frozenset[int]:
        """The protected numbers, as E.164 integers.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return frozenset(self._protected(self._load()).tolist())

    def status(self) -> PublisherStatus:
        """The state of feeds, signatures and keys; needs no key.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        repository = self._load()
        names = (ROOT, TARGETS, ONLINE, *map(feed_key, repository.feeds))
        return PublisherStatus(
            feeds=tuple(self._feed_status(SignedFeed.find(repository, feed)) for feed in repository.feeds),
            roles=repository.roles,
            absent_keys=tuple(self._keys.absent(names)),
            protected_numbers=len(self._protected(repository)),
        )

    def _load(self) -> Repository:
        try:
            root = self.root.read_bytes()
        except OSError as error:
            raise Malformed(f"{self.root} cannot be read: restore it from your backup") from error
        timing = self._timing
        return Repository.load(self.repository, self._keys, root=root, lifetimes=timing.lifetimes, clock=timing.clock)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Repository]:
        """The repository for one change: leftovers of a killed run are removed before it, old files after it."""
        path = self.directory / "lock"
        busy = f"another run is publishing in {self.directory}"
        with file_lock(path, wait_s=self._timing.lock_wait_s, busy=busy):
            with storage(self.directory):
                sweep(self.directory)
            repository = self._load()
            yield repository
            with storage(self.root):
                if repository.root != self.root.read_bytes():
                    write_file(self.root, repository.root)
            grace = timedelta(seconds=self._timing.grace_s)
            try:
                repository.delete_unpublished(self.directory / "retired.json", grace=grace)
            except StorageFailed as error:
                # The change is published; old files that stay a while longer do no harm.
                log.error("old files are not deleted until the next run: %s", error)

    def _protected(self, repository: Repository) -> Int64s:
        path = repository.file(TARGETS, PROTECTED_PATH)
        return read_protected(path.read_bytes() if path else write_protected([]))

    def _region(self, region: str | None, index: FeedIndex | None) -> str | None:
        if region is not None:
            return check_region(region)
        if index is not None:
            return index.region
        region = self._settings().get("region")
        return None if region is None else str(region)

    def _scope(self, feed: str, index: FeedIndex | None) -> str | None:
        """The feed's scope; None if none was declared, and no release has relied on the default."""
        scope = self._settings().get("scopes", {}).get(feed)
        # The index has it as well, for a folder that was made anew around an old repository.
        return declared_scope(scope) if scope is not None else index.scope if index else None

    def _write_scope(self, feed: str, scope: str | None) -> None:
        settings = {"format": _FORMAT, "region": None, "scopes": {}, **self._settings()}
        # A run that was killed may have left another scope for a feed that is only added now.
        scopes = {**settings["scopes"], feed: scope}
        settings["scopes"] = {name: scope for name, scope in sorted(scopes.items()) if scope is not None}
        path = self.directory / "publisher.json"
        with storage(path):
            write_json(path, settings)

    def _settings(self) -> dict[str, Any]:
        return read_json(self.directory / "publisher.json", format_version=_FORMAT) or {}

    def _feed_status(self, feed: SignedFeed) -> FeedStatus:
        index = feed.index
        scope = self._scope(feed.name, index)
        if index is None:
            return FeedStatus(feed.name, scope=scope)
        return FeedStatus(
            feed.name, index.serial, index.rows, index.published_at, index.digest, index.region, index.last_entry, scope
        )

    def _moment(self, published_at: datetime | None, index: FeedIndex | None) -> datetime:
        clock = self._timing.clock()
        moment = (published_at or clock).replace(microsecond=0)
        if moment > clock + _CLOCK_SKEW:
            raise InvalidInput(
                f"published_at is {moment.isoformat()}, which is in the future: give a moment in the past"
            )
        if index is not None and moment < index.published_at:
            if published_at is not None:
                raise InvalidInput(
                    f"published_at is {moment.isoformat()}, but the current release is of "
                    f"{index.published_at.isoformat()}: give a later moment, or set the clock right"
                )
            # If the clock was ahead once, unblocks must not wait until that moment has come.
            log.warning("the current release is of %s, later than now: check the clock", index.published_at.isoformat())
            return index.published_at
        return moment

    def _check_rejects(self, source: Any, rejects: str | Path | None) -> None:
        if rejects is None:
            return
        path = check_path("rejects", rejects)
        check_outside(path, self.directory, but=self.directory / "rejects")
        if isinstance(source, (str, Path)) and path.resolve() == check_path("the list", source).resolve():
            raise InvalidInput("the rejects would be written over the list itself: give another file")

    def _write_rejects(self, invalid: Sequence[Reject], path: str | Path | None, name: str) -> Path | None:
        if path is None and not invalid:
            return None
        path = Path(path) if path is not None else self.directory / "rejects" / name
        write_rejects(invalid, path)
        return path


def _check_key_names(uris: Mapping[str, Sequence[KeyUri]], feeds: Collection[str]) -> None:
    unknown = sorted(set(uris) - {ROOT, TARGETS, ONLINE, *map(feed_key, feeds)})
    if unknown:
        raise InvalidInput(
            f"{unknown[0]!r} is not the name of a key here: give root, targets, online, or feed.NAME of a feed here"
        )


def _protected_texts(numbers: Path | BinaryIO | Iterable[str]) -> list[ProtectedText]:
    """What to protect, from a file or a list."""
    if isinstance(numbers, Path) or hasattr(numbers, "read"):
        return read_lines(cast("Path | BinaryIO", numbers))
    return [ProtectedText(text) for text in check_list("numbers", numbers)]


def _refuse_other_column(invalid: Sequence[Reject], *, count: int) -> None:
    """Refuse a list most of whose texts are dates, amounts or the like: another column has the numbers.

    Raises:
        InvalidInput: it is such a list.
    """
    reasons = Counter(reject.reason for reject in invalid if reject.reason in LOOKALIKES.values())
    if reasons.total() * 2 > count:
        raise InvalidInput(
            f"{reasons.total():,} of {count:,} texts in the list's column are not telephone numbers; the commonest "
            f"reason is: {reasons.most_common(1)[0][0]}. Nothing was published. Name the column with the numbers."
        )


def _why_empty(invalid: Sequence[Reject]) -> str:
    if not invalid:
        return "the list has no rows, so nothing was published. To lift every entry on purpose, allow an empty list."
    hints = Counter(_hint(reject.reason) for reject in invalid)
    return (
        f"0 of {len(invalid):,} rows in the list can be published; {_first_of(invalid)}. Nothing was published. "
        f"{hints.most_common(1)[0][0]}"
    )


def _hint(reason: str) -> str:
    """What to do if most rows are rejected for a reason; those of other columns than the number's begin with a name."""
    column = re.split("[ :]", reason)[0]
    if column in ("level", "scope"):
        known = " and ".join(LEVELS) if column == "level" else ", ".join(SCOPES)
        return f"Map the words of the column to {known}, as with --map {column}:WORD=VALUE (values=)."
    if re.match("(since|until)(:| must be a moment such)", reason):
        return "Name the form of the dates with --date-format (date_format=)."
    if column in ("entry", "category", "issuer", "since", "until"):
        return f"Check the column {column!r}."
    return "Check the column and the region."


def _why_refused(invalid: Sequence[Reject], *, count: int, max_rejects: float, path: Path | None) -> str:
    lines = len({reject.line for reject in invalid})
    return (
        f"{lines:,} of {count:,} rows in the list cannot be published, a share of more than {max_rejects:g}; "
        f"{_first_of(invalid)}. Nothing was published, since the entries of these rows would be lifted. {path} lists "
        "the rows. Correct the list, or allow a larger share of rejects: --max-rejects (max_rejects=)."
    )


def _first_of(invalid: Sequence[Reject]) -> str:
    first = invalid[0]
    # A reason quotes the cell, which may be a number if the columns of the list are mixed up.
    reason = re.sub(r"\d{6,}", lambda digits: mask(digits[0]), first.reason)
    return f"the first is line {first.line}: {reason}"
