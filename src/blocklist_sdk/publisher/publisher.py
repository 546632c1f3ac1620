"""The publisher of one or more feeds: a folder with keys and a signed repository.

:meth:`Publisher.release` makes a feed's next release from a list. Step by step:

1. Take the folder's lock, remove what a killed run left half-written, and load the repository, verified from the root
   down (`repository.Repository.load`, `signed_state`).
2. Make sure, before any work is done, that the keys that have to sign can be opened (`keys`).
3. Cut the list into cells: only its shape is interpreted (`cells.read_cells`).
4. Read the cells as rows. A row that cannot be read becomes a reject (`rows.read_rows`), and so does one that covers a
   protected number (`rows.reject_protected`).
5. Refuse a list with too many rejects: what is left out of a list is lifted. The rejects are written to a file
   (`rejects`).
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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from blocklist_sdk import times
from blocklist_sdk.disk import read_json, storage, sweep, write_file, write_json
from blocklist_sdk.errors import InvalidInput, Malformed, Refused, StorageFailed, mask
from blocklist_sdk.locks import file_lock
from blocklist_sdk.numbers import normalize
from blocklist_sdk.numbers.reference import check_region
from blocklist_sdk.publisher.arguments import (
    check_directory,
    check_list,
    check_moment,
    check_outside,
    check_path,
    check_scope,
    check_share,
    check_text,
)
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.publisher.keys import ONLINE, ROOT, TARGETS, Keyring, KeyUri, Passphrase, feed_key
from blocklist_sdk.publisher.next_release import EntryDefaults, plan_release
from blocklist_sdk.publisher.rejects import Reject, write_rejects
from blocklist_sdk.publisher.repository import ROOT_KEYS, Lifetimes, Repository
from blocklist_sdk.publisher.results import FeedStatus, PublisherStatus, RefreshResult, ReleaseResult
from blocklist_sdk.publisher.rows import read_level, read_rows, read_scope, reject_protected
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.names import PROTECTED_PATH, feed_name
from blocklist_sdk.release.protected import read_protected, write_protected
from blocklist_sdk.release.rows import Int64s

MAX_REJECTS: Final = 0.1
"""Real lists have about 1 % of them: three daily lists of complaints of the US FTC have 0.99, 1.00 and 0.99 %. A column
in another format, or another column, makes all rows rejects."""

_CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of this machine's clock a release may be dated."""

log = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """The publisher's clock and patience.

    Attributes:
        lifetimes: how long signatures hold.
        grace_s: how long files stay that are no longer published, seconds: a recipient may still be reading them.
        lock_wait_s: how long to wait for another run on the same folder, seconds.
        clock: tells the time, UTC, to the whole second.
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
            root.json        what recipients pin
            rejects/         rows that could not be published, by feed and release
            publisher.json   settings
            retired.json     since when files are no longer published
            lock

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp()) / "publisher"
        >>> publisher = Publisher.init(folder, feeds=["id-all"], passphrase="correct horse battery", region="ID")
        >>> _ = (folder / "list.txt").write_text("0812-3456-7890")
        >>> report = publisher.release("id-all", folder / "list.txt")
        >>> report.serial, report.rows, report.invalid
        (1, 1, 0)
    """

    def __init__(self, directory: Path, *, passphrase: Passphrase | None, timing: Timing) -> None:
        """Use :meth:`init` or :meth:`open`."""
        self.directory = directory
        self.repository = directory / "repository"
        self.root = directory / "root.json"
        self._timing = timing
        self._keys = Keyring(directory / "keys", passphrase)

    @classmethod
    def init(
        cls,
        directory: str | Path,
        *,
        feeds: Collection[str],
        passphrase: Passphrase | None,
        region: str | None = None,
        key_uris: Mapping[str, Sequence[KeyUri]] | None = None,
        timing: Timing | None = None,
    ) -> Self:
        """Make a publisher's folder, whole or not at all: keys, and a repository whose feeds have no release yet.

        Args:
            directory: the folder; it must not exist yet, or be empty.
            feeds: the feeds' names.
            passphrase: encrypts the private keys, at least 12 characters; or a function that is told a key's name.
            region: two-letter country code in which the feeds' national numbers are read.
            key_uris: keys that exist elsewhere, by their names: ``root`` (at least two), ``targets``, ``online``,
                ``feed.NAME``. The others are made here.
            timing: lifetimes of signatures, and waits.

        Raises:
            InvalidInput: the folder is not empty, or a feed's name, the region, a key or the passphrase is no good.
            StorageFailed: the disk refused.
        """
        directory = check_directory(directory)
        timing = timing or Timing()
        names = sorted({feed_name(feed) for feed in check_list("feeds", feeds)})
        if not names:
            raise InvalidInput("name at least one feed")
        uris = key_uris or {}
        _check_key_names(uris, names)
        settings = {"format": _FORMAT, "region": None if region is None else check_region(region)}
        with storage(directory):
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise InvalidInput(f"{directory} is there already: give a new folder, or open this one")
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
            passphrase: of the keys, or a function that is told a key's name; None where no key file will be needed.
            timing: lifetimes of signatures, and waits.

        Raises:
            InvalidInput: it is no publisher's folder.
        """
        directory = check_directory(directory)
        if not (directory / "root.json").is_file():
            raise InvalidInput(f"{directory} is no publisher's folder: make one with `blocklist publish init`")
        return cls(directory, passphrase=passphrase, timing=timing or Timing())

    def release(
        self,
        feed: str,
        source: Any,
        *,
        column: str | None = None,
        region: str | None = None,
        issuer: str = "authority",
        level: str = "block",
        category: str = "fraud",
        scope: str | Iterable[str] = ("sms", "voice"),
        rejects: str | Path | None = None,
        published_at: datetime | None = None,
        allow_empty: bool = False,
        max_rejects: float = MAX_REJECTS,
    ) -> ReleaseResult:
        """Publish the next release of a feed: the whole list as it should be from now on.

        What is new is added, what is gone is removed, and what stays keeps its entry id. Columns that the list does not
        have keep what they said in the release before. Rows that cannot be published are written to a file.

        Args:
            feed: the feed.
            source: a path to a CSV, plain text, JSONL or Parquet file, gzipped or not; or an Arrow table.
            column: the column with the numbers; by default ``number``, or else the only one.
            region: where national numbers are read; by default as in the release before, or as given to :meth:`init`.
            issuer: who decided, of rows where the list does not say.
            level: ``block`` or ``advisory``, of new entries where the list does not say.
            category: of new entries, where the list does not say.
            scope: where new entries apply, where the list does not say: ``sms+voice``, or the parts.
            rejects: file for the rows that cannot be published; by default one under ``rejects/``.
            published_at: the moment of the release; by default now.
            allow_empty: publish even a list without a single row, which lifts every entry.
            max_rejects: the largest share of the list's rows, from 0 to 1, that may be left out as rejects: what is
                left out is also lifted.

        Raises:
            Refused: more rows than that cannot be published. They are written to the file, and nothing is published.
            InvalidInput: an unknown feed; a list that cannot be read, has no such column or no valid number; a key
                that is not at hand, or its passphrase.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused. What is published is whole: the release before, or this one.
        """
        started = time.monotonic()
        defaults = EntryDefaults(
            level=read_level(check_text("level", level)),
            category=check_text("category", category),
            issuer=check_text("issuer", issuer),
            scope=read_scope(check_scope(scope)),
        )
        published_at = check_moment("published_at", published_at)
        max_rejects = check_share("max_rejects", max_rejects)
        with self._locked() as repository:
            signed_feed = SignedFeed.find(repository, feed)
            repository.require_keys(feed)
            moment = self._moment(published_at, signed_feed.index)
            region = self._region(region, signed_feed.index)
            self._check_rejects(source, rejects)
            cells = read_cells(source, column=column)
            rows, invalid = read_rows(cells, region=region, defaults=defaults)
            rows, refused = reject_protected(rows, self._protected(repository))
            invalid = sorted([*invalid, *refused], key=lambda reject: reject.line)
            if not len(rows) and (invalid or not allow_empty):
                raise InvalidInput(_why_empty(invalid))
            count = len(cells.line) + len(cells.rejects)
            if len({reject.line for reject in invalid}) > max_rejects * count:
                path = self._write_rejects(invalid, rejects, f"{feed}.refused.csv")
                raise Refused(_why_refused(invalid, count=count, max_rejects=max_rejects, path=path))
            before = signed_feed.rows()
            following = plan_release(
                before,
                rows,
                now_ms=times.to_ms(moment),
                last_entry=signed_feed.index.last_entry if signed_feed.index else 0,
                defaults=defaults,
            )
            rejects_path = self._write_rejects(invalid, rejects, f"{feed}.{signed_feed.next_serial}.csv")
            index, changes = signed_feed.add_release(before, following, published_at=moment, region=region)
        snapshot, delta = index.current.snapshot, index.current.delta
        return ReleaseResult(
            feed=feed,
            serial=index.serial,
            rows=index.rows,
            column=cells.column,
            added=len(changes.added),
            removed=len(changes.removed),
            changed=len(changes.changed_new),
            invalid=len(invalid),
            duplicates=following.duplicates,
            blank=cells.blank,
            rejects_path=rejects_path,
            snapshot_bytes=snapshot.length if snapshot else 0,
            delta_bytes=delta.length if delta else None,
            digest=index.digest,
            seconds=time.monotonic() - started,
        )

    def refresh(self) -> RefreshResult:
        """Sign the timestamp again, and what is near its expiry and has its keys at hand. To be run every hour.

        Raises:
            InvalidInput: the online key is not at hand, or its passphrase is wrong.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        with self._locked() as repository:
            renewed, late = repository.renew()
            return RefreshResult(renewed, late, min(role.expires for role in repository.roles))

    def add_feed(self, feed: str, *, key_uris: Sequence[KeyUri] = ()) -> None:
        """Add a feed that has no release yet. Needs the targets key.

        Args:
            feed: its name.
            key_uris: its key, where it exists elsewhere; by default one is made.

        Raises:
            InvalidInput: the name is no feed's or taken, or a key is not at hand.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        feed_name(feed)
        with self._locked() as repository:
            if feed in repository.feeds:
                raise InvalidInput(f"there is a feed {feed!r} already")
            repository.require_keys(TARGETS)
            # A run that was killed in between may have made the key already.
            if not self._keys.public(feed_key(feed)):
                self._keys.add(feed_key(feed), uris=key_uris)
            repository.delegate(feed)

    def protect(self, numbers: Iterable[str]) -> int:
        """Say which numbers no feed may list: all of them, in place of those before. Needs the targets key.

        Args:
            numbers: texts; national numbers are read in the region given to :meth:`init`.

        Returns:
            How many there are now.

        Raises:
            InvalidNumber: one of them is no number.
            InvalidInput: the targets key is not at hand.
            Locked: another run took longer than the wait.
            Malformed, Untrusted: the repository was damaged.
            StorageFailed: the disk refused; what is published is whole.
        """
        numbers = check_list("numbers", numbers)
        with self._locked() as repository:
            region = self._region(None, None)
            protected = {normalize(number, region=region) for number in numbers}
            repository.set_targets(TARGETS, files={PROTECTED_PATH: write_protected(protected)})
            return len(protected)

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds' names.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return tuple(self._load().feeds)

    def protected(self) -> frozenset[int]:
        """The numbers that no feed may list, as E.164 integers.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        return frozenset(self._protected(self._load()).tolist())

    def status(self) -> PublisherStatus:
        """How the publisher stands; needs no key.

        Raises:
            Malformed, Untrusted: the repository was damaged.
        """
        repository = self._load()
        names = (ROOT, TARGETS, ONLINE, *map(feed_key, repository.feeds))
        return PublisherStatus(
            feeds=tuple(_feed_status(SignedFeed.find(repository, feed)) for feed in repository.feeds),
            roles=repository.roles,
            absent_keys=tuple(self._keys.absent(names)),
            protected=len(self._protected(repository)),
        )

    def _load(self) -> Repository:
        try:
            root = self.root.read_bytes()
        except OSError as error:
            raise Malformed(f"{self.root} cannot be read: bring it back from your backup") from error
        timing = self._timing
        return Repository.load(self.repository, self._keys, root=root, lifetimes=timing.lifetimes, clock=timing.clock)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Repository]:
        """The repository for one change; what a killed run left is cleared first, what is old goes afterwards."""
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
                repository.retire(self.directory / "retired.json", grace=grace)
            except StorageFailed as error:
                # What was asked for is published; old files that stay a while longer harm nobody.
                log.error("old files stay until the next run: %s", error)

    def _protected(self, repository: Repository) -> Int64s:
        path = repository.file(TARGETS, PROTECTED_PATH)
        return read_protected(path.read_bytes() if path else write_protected([]))

    def _region(self, given: str | None, index: FeedIndex | None) -> str | None:
        if given is not None:
            return check_region(given)
        if index is not None:
            return index.region
        settings = read_json(self.directory / "publisher.json", format_version=_FORMAT) or {}
        return settings.get("region")

    def _moment(self, given: datetime | None, index: FeedIndex | None) -> datetime:
        clock = self._timing.clock()
        moment = (given or clock).replace(microsecond=0)
        if moment > clock + _CLOCK_SKEW:
            raise InvalidInput(
                f"published_at is {moment.isoformat()}, which is yet to come: give a moment that has been"
            )
        if index is not None and moment < index.published_at:
            if given is not None:
                raise InvalidInput(
                    f"the release before is of {index.published_at.isoformat()}, after {moment.isoformat()}: "
                    "set the clock right, or give a later moment"
                )
            # A clock that was ahead once must not keep unblocks back until it is right again.
            log.warning("the release before is of %s, later than now: check the clock", index.published_at.isoformat())
            return index.published_at
        return moment

    def _check_rejects(self, source: Any, rejects: str | Path | None) -> None:
        if rejects is None:
            return
        path = check_path("rejects", rejects)
        check_outside(path, self.directory, but=self.directory / "rejects")
        if isinstance(source, (str, Path)) and path.resolve() == check_path("the list", source).resolve():
            raise InvalidInput("the rejects would be written over the list itself: name another file")

    def _write_rejects(self, invalid: Sequence[Reject], given: str | Path | None, name: str) -> Path | None:
        if given is None and not invalid:
            return None
        path = Path(given) if given is not None else self.directory / "rejects" / name
        write_rejects(invalid, path)
        return path


def _check_key_names(uris: Mapping[str, Sequence[KeyUri]], feeds: Collection[str]) -> None:
    unknown = sorted(set(uris) - {ROOT, TARGETS, ONLINE, *map(feed_key, feeds)})
    if unknown:
        raise InvalidInput(
            f"{unknown[0]!r} signs nothing here: name root, targets, online, or feed.NAME of a feed here"
        )


def _feed_status(feed: SignedFeed) -> FeedStatus:
    index = feed.index
    if index is None:
        return FeedStatus(feed.name)
    return FeedStatus(
        feed.name, index.serial, index.rows, index.published_at, index.digest, index.region, index.last_entry
    )


def _why_empty(invalid: Sequence[Reject]) -> str:
    if not invalid:
        return "the list has no rows: nothing was published. To lift every entry on purpose, allow an empty list."
    return (
        f"none of the list's {len(invalid)} rows can be published; {_first_of(invalid)}. "
        "Nothing was published. Check the column and the region."
    )


def _why_refused(invalid: Sequence[Reject], *, count: int, max_rejects: float, path: Path | None) -> str:
    lines = len({reject.line for reject in invalid})
    return (
        f"{lines:,} of the list's {count:,} rows cannot be published, a share of more than {max_rejects:g}; "
        f"{_first_of(invalid)}. Nothing was published, since what is left out would be lifted. {path} lists them all. "
        "Correct the list, or allow a larger share of rejects."
    )


def _first_of(invalid: Sequence[Reject]) -> str:
    first = invalid[0]
    # A reason quotes the cell it is about, and in a list with its columns mixed up that may be a number.
    reason = re.sub(r"\d{6,}", lambda digits: mask(digits[0]), first.reason)
    return f"the first is line {first.line}: {reason}"
