"""A publisher's folder: its lock, its settings, its clock, and the repository in it."""

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from blocklist_sdk import times
from blocklist_sdk.disk import read_json, storage, sweep, write_file, write_json
from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed
from blocklist_sdk.locks import file_lock
from blocklist_sdk.modes import PUBLIC
from blocklist_sdk.numbers.reference import check_region
from blocklist_sdk.publisher.keys import (
    OFFLINE,
    ONLINE,
    ROOT,
    TARGETS,
    Keyring,
    KeyUri,
    Passphrase,
    feed_key,
    is_offline,
)
from blocklist_sdk.publisher.published_before import PublishedBefore
from blocklist_sdk.publisher.repository import ROOT_KEYS, Lifetimes, Repository
from blocklist_sdk.publisher.scopes import declared_scope, feed_scopes
from blocklist_sdk.publisher.working_copy import FOLDER as WORKING
from blocklist_sdk.publisher.working_copy import WorkingCopies
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.names import PROTECTED_PATH
from blocklist_sdk.release.protected import read_protected, write_protected
from blocklist_sdk.release.rows import Int64s

_CLOCK_SKEW = timedelta(minutes=5)
"""How far a release's moment may be ahead of this machine's clock."""

_FORMAT: Final = 1

log: logging.Logger = logging.getLogger(__name__)


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


class PublisherFolder:
    """The folder of a publisher. Runs that change it wait for each other.

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
            lock

    Attributes:
        directory: the folder.
        repository: its repository, the only part to serve.
        root: the root metadata that recipients pin.
        timing: its clock, the lifetimes of signatures, and waits.
        keys: its keys.
    """

    def __init__(self, directory: Path, *, passphrase: Passphrase | None, timing: Timing) -> None:
        """Reads nothing yet."""
        self.directory: Path = directory
        self.repository: Path = directory / "repository"
        self.root: Path = directory / "root.json"
        self.timing: Timing = timing
        self.keys: Keyring = Keyring(directory / "keys", passphrase)

    def load(self) -> Repository:
        """Load the repository, verified from the root down.

        Raises:
            Malformed, Untrusted: it was damaged.
        """
        try:
            root = self.root.read_bytes()
        except OSError as error:
            raise Malformed(f"{self.root} cannot be read: restore it from your backup") from error
        timing = self.timing
        return Repository.load(self.repository, self.keys, root=root, lifetimes=timing.lifetimes, clock=timing.clock)

    @contextlib.contextmanager
    def locked(self) -> Iterator[Repository]:
        """The repository for one change: leftovers of a killed run are removed before it, old files after it."""
        path = self.directory / "lock"
        busy = f"another run is publishing in {self.directory}"
        with file_lock(path, wait_s=self.timing.lock_wait_s, busy=busy):
            with storage(self.directory):
                sweep(self.directory)
            repository = self.load()
            yield repository
            with storage(self.root):
                if repository.root != self.root.read_bytes():
                    write_file(self.root, repository.root, PUBLIC)
            grace = timedelta(seconds=self.timing.grace_s)
            try:
                repository.delete_unpublished(self.directory / "retired.json", grace=grace)
            except StorageFailed as error:
                # The change is published; old files that stay a while longer do no harm.
                log.error("old files are not deleted until the next run: %s", error)

    def working_copies(self, feed: str) -> WorkingCopies:
        """The working copies of a feed's releases."""
        return WorkingCopies(self.directory / WORKING / feed)

    def protected(self, repository: Repository) -> Int64s:
        """The protected numbers, ascending."""
        path = repository.file(TARGETS, PROTECTED_PATH)
        return read_protected(path.read_bytes() if path else write_protected([]))

    def region(self, region: str | None, index: FeedIndex | None) -> str | None:
        """The region in which national numbers are read: as given, or of the current release, or of the folder.

        Raises:
            InvalidInput: the region is unknown.
            Malformed: the settings are damaged.
        """
        if region is not None:
            return check_region(region)
        if index is not None:
            return index.region
        region = self._settings().get("region")
        if region is not None and not isinstance(region, str):
            raise self._damaged(f"region must be a country code, not {region!r}")
        return region

    def scope(self, feed: str, index: FeedIndex | None) -> str | None:
        """The feed's scope; None if none was declared, and no release has relied on the default."""
        scope = self._scopes().get(feed)
        # The index has it as well, for a folder that was made anew around an old repository.
        return declared_scope(scope) if scope is not None else index.scope if index else None

    def write_scope(self, feed: str, scope: str | None) -> None:
        """Store a feed's scope; None for none.

        Raises:
            StorageFailed: the disk refused.
        """
        settings = {"format": _FORMAT, "region": None, **self._settings()}
        # A run that was killed may have left another scope for a feed that is only added now.
        scopes = {**self._scopes(), feed: scope}
        settings["scopes"] = {name: scope for name, scope in sorted(scopes.items()) if scope is not None}
        path = self.directory / "publisher.json"
        with storage(path):
            write_json(path, settings)

    def published_before(self, feed: str) -> PublishedBefore:
        """The highest that this folder remembers of a feed, whatever copy of the repository is in it.

        Raises:
            Malformed: the settings are damaged.
        """
        known = self._published().get(feed)
        if known is None:
            return PublishedBefore()
        try:
            return PublishedBefore.from_document(known)
        except Malformed as error:
            raise self._damaged(f"published.{feed}: {error}") from error

    def remember_published(self, feed: str, published: PublishedBefore) -> None:
        """Store durably what was published of a feed, or is about to be; what is remembered never goes down.

        Raises:
            Malformed: the settings are damaged.
            StorageFailed: the disk refused.
        """
        known = self.published_before(feed)
        highest = known.with_other(published)
        if highest == known:
            return
        settings = {"format": _FORMAT, "region": None, **self._settings()}
        settings["published"] = dict(sorted({**self._published(), feed: highest.to_document()}.items()))
        path = self.directory / "publisher.json"
        with storage(path):
            write_json(path, settings)

    def _published(self) -> dict[str, Any]:
        published = self._settings().get("published", {})
        if not isinstance(published, dict):
            raise self._damaged("published must have the highest release of each feed")
        return published

    def _damaged(self, what: str) -> Malformed:
        return Malformed(f"{self.directory / 'publisher.json'} is damaged: {what}. Restore the file from your backup")

    def _scopes(self) -> dict[str, str]:
        scopes = self._settings().get("scopes", {})
        if not isinstance(scopes, dict) or not all(isinstance(scope, str) for scope in scopes.values()):
            raise self._damaged("scopes must name a scope for each feed")
        return scopes

    def _settings(self) -> dict[str, Any]:
        return read_json(self.directory / "publisher.json", format_version=_FORMAT) or {}

    def moment(self, published_at: datetime | None, index: FeedIndex | None) -> datetime:
        """The moment of the next release, to the second: as given, or now.

        Raises:
            InvalidInput: the moment that was given is in the future, or before the current release.
        """
        clock = self.timing.clock()
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
            return index.published_at
        return moment


def make_folder(
    directory: Path,
    *,
    feeds: Collection[str] | Mapping[str, str | Iterable[str] | None],
    passphrase: Passphrase | None,
    region: str | None,
    key_uris: Mapping[str, Sequence[KeyUri]] | None,
    timing: Timing,
    fill: Callable[[Path, Keyring, list[str]], None] | None = None,
    elsewhere: Collection[str] = (),
    offline_passphrase: Passphrase | None = None,
) -> None:
    """Make a publisher's folder, whole or not at all. Arguments and errors are those of `Publisher.init`.

    Args:
        directory: as for `Publisher.init`.
        feeds: as for `Publisher.init`.
        passphrase: as for `Publisher.init`.
        region: as for `Publisher.init`.
        key_uris: as for `Publisher.init`.
        timing: as for `Publisher.init`.
        fill: writes what else the folder has, given the folder, its keys and the feeds; by default a repository.
        elsewhere: the names of keys that `fill` adds.
        offline_passphrase: as for `Publisher.init`.
    """
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
        # A web server must be able to get to the repository in it.
        PUBLIC.make(building)
    try:
        is_apart = offline_passphrase is not None
        keys = Keyring.create(building / "keys", _by_name(passphrase, offline_passphrase), apart=is_apart)
        for name in (ROOT, TARGETS, ONLINE, *map(feed_key, names)):
            if name not in elsewhere:
                keys.add(name, count=ROOT_KEYS if name == ROOT else 1, uris=uris.get(name, ()))
        if is_apart and Keyring(building / "keys", passphrase).opened(OFFLINE):
            raise InvalidInput(
                "the root and targets keys would have the passphrase of the other keys, which is at hand where lists "
                "are published: give them another one"
            )
        with storage(directory):
            if fill is None:
                repository = Repository.create(
                    building / "repository",
                    keys,
                    feeds=names,
                    protected=write_protected([]),
                    lifetimes=timing.lifetimes,
                    clock=timing.clock,
                )
                write_file(building / "root.json", repository.root, PUBLIC)
            else:
                fill(building, keys, names)
            write_json(building / "publisher.json", settings)
            os.replace(building, directory)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _by_name(passphrase: Passphrase | None, offline_passphrase: Passphrase | None) -> Passphrase | None:
    """One passphrase for root and targets keys, and another for all others."""
    if offline_passphrase is None:
        return passphrase

    def find(label: str) -> str:
        found = offline_passphrase if is_offline(label) else passphrase
        if found is None:
            raise InvalidInput(f"the key {label!r} is encrypted: give its passphrase")
        return found(label) if callable(found) else found

    return find


def _check_key_names(uris: Mapping[str, Sequence[KeyUri]], feeds: Collection[str]) -> None:
    unknown = sorted(set(uris) - {ROOT, TARGETS, ONLINE, *map(feed_key, feeds)})
    if unknown:
        raise InvalidInput(
            f"{unknown[0]!r} is not the name of a key here: give root, targets, online, or feed.NAME of a feed here"
        )
