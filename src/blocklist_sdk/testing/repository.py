"""A signed repository for tests, read by the real client, with faults that a test turns on."""

import contextlib
import csv
import itertools
import json
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, get_args

import pyarrow as pa
import pyarrow.compute as pc

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.in_memory import answered, answering
from blocklist_sdk.places import resolved, temporary_directory
from blocklist_sdk.publisher.folder import Timing
from blocklist_sdk.publisher.guard import PublisherGuard
from blocklist_sdk.publisher.publisher import Publisher
from blocklist_sdk.publisher.results import ReleaseResult
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.recipient.guard import Guard
from blocklist_sdk.records import SCOPES, Entry
from blocklist_sdk.testing.clock import Clock, fake_clock
from blocklist_sdk.testing.faults import Healing, network_fault
from blocklist_sdk.testing.numbers import generated_numbers
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.recipient.from_settings import ListArguments

Fault = Literal[
    "unreachable",
    "slow",
    "server-error",
    "too-many-requests",
    "not-permitted",
    "captive-portal",
    "expired",
    "wrong-signature",
    "rollback",
    "truncated",
    "damaged",
    "mass-removal",
    "mass-addition",
]
"""What can go wrong with a `FakeRepository`."""

Listed = str | int | Mapping[str, object] | Entry
"""What to list: a number or pattern as text, an E.164 integer, an `Entry`, or some columns of one."""

_COLUMNS: Final = ("number", "last", "level", "category", "issuer", "scope", "since", "until")
_MOMENTS: Final = ("since", "until")
_NAMES: Final = itertools.count(1)
_SIGN_AGAIN: Final = timedelta(hours=1)
"""When a real publisher signs the timestamp again, from the protocol."""

_LONG_AGO: Final = timedelta(days=8)
"""Longer than any timestamp is valid."""

_REASONS_SHOWN_MAX: Final = 10
_RETRY_AFTER_S: Final = 3600
_OF_SERVER: Final[dict[str, tuple[int, bytes, dict[str, str]]]] = {
    "server-error": (503, b"", {}),
    "too-many-requests": (429, b"", {"Retry-After": str(_RETRY_AFTER_S)}),
    "not-permitted": (401, b"", {}),
}
"""What a server in trouble answers to every request: status, body, headers."""


class FakeRepository:
    """An authority's repository with one feed, in this process; `fake_repository` makes one.

    Its keys and signatures are real, and the client that reads it is the real one. It signs its timestamp again each
    hour of the `clock`, as an authority does.

    Attributes:
        url: its base URL, which only this process can read.
        feed: the feed's name.
        region: the region in which numbers without a country code are read; None if lists have none.
        root: the file with the root metadata to pin.
        files: its files, to be served or read by other processes, as ``files.as_uri()``. They show no fault but those
            that are signed: ``expired``, ``mass-removal`` and ``mass-addition``.
        directory: a folder that is deleted at the end; caches and state go there unless a test names other folders.
        clock: the time in this process.
        publisher: what publishes, for all that has no method here.
    """

    def __init__(self, directory: Path, *, host: str, feed: str, region: str | None, scope: tuple[str, ...]) -> None:
        """For `fake_repository`; not for users."""
        self._passphrase = secrets.token_urlsafe(12)
        folder = directory / "publisher"
        Publisher.init(folder, feeds={feed: scope}, passphrase=self._passphrase, region=region)
        self.url: str = f"https://{host}"
        self.feed: str = feed
        self.region: str | None = region
        self.directory: Path = directory
        self.clock: Clock = Clock()
        self.publisher: Publisher = Publisher.open(folder, passphrase=self._passphrase, guard=PublisherGuard.off())
        self.root: Path = self.publisher.root
        self.files: Path = self.publisher.repository
        self._lock = threading.RLock()
        self._fault: Fault | None = None
        self._heal: Callable[[], object] | None = None
        self._timestamps = [self._timestamp()]
        self._signed_at = times.now()
        self._opened: list[Blocklist] = []

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a recipient, as variables of the environment: for `monkeypatch.setenv`."""
        given = {
            "BLOCKLIST_URL": self.url,
            "BLOCKLIST_FEED": self.feed,
            "BLOCKLIST_ROOT": str(self.root),
            "BLOCKLIST_REGION": self.region,
            "BLOCKLIST_CACHE_DIR": str(self.directory / "cache"),
            "BLOCKLIST_STATE_DIR": str(self.directory / "state"),
        }
        return {name: value for name, value in given.items() if value is not None}

    def blocklist(self, **options: "Unpack[ListArguments]") -> Blocklist:
        """Open the feed as a recipient: pinned to this repository, with a cache in `directory`, and not synced yet.

        Lists that are opened without a ``cache_dir`` share one cache, as the processes of a machine do.

        Args:
            options: as for `Blocklist.open`; they go before what is said here.
        """
        given: dict[str, Any] = {"url": self.url, "feed": self.feed, "root": self.root, "region": self.region}
        opened = Blocklist.open(**{**given, **options})
        self._opened.append(opened)
        return opened

    # Lists

    def publish(
        self,
        entries: Iterable[Listed] = (),
        *,
        level: str = "block",
        category: str = "fraud",
        scope: str | Iterable[str] | None = None,
        issuer: str = "authority",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> ReleaseResult:
        """Publish the next release: the whole list as it is from now on, however much that changes.

        Args:
            entries: what is listed, in any of these forms: a number as text, or a pattern such as ``"+62812345####"``;
                an E.164 integer; an `Entry`; or a mapping with ``number`` and any of ``last`` (of a range), ``level``,
                ``category``, ``issuer``, ``scope``, ``since`` and ``until``.
            level: ``block`` or ``advisory``, for entries that do not say.
            category: the category of entries that do not say.
            scope: the scope of entries that do not say, as ``"sms+voice"`` or its parts; by default the feed's.
            issuer: the issuer of entries that do not say.
            since: when entries begin that do not say, with a time zone; by default now.
            until: when entries end that do not say, with a time zone; by default never.

        Raises:
            InvalidInput: one of them cannot be listed, such as a text that is not a number, an end before the
                beginning, or a protected number.
        """
        rows = self._rows(entries, since=since, until=until)
        with self._publishing():
            result = self.publisher.release(
                self.feed,
                rows,
                level=level,
                category=category,
                scope=scope,
                issuer=issuer,
                allow_empty=True,
                max_rejects=1.0,
            )
        return _checked(result)

    def add(
        self,
        entries: Iterable[Listed],
        *,
        level: str = "block",
        category: str = "fraud",
        scope: str | Iterable[str] | None = None,
        issuer: str = "authority",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> ReleaseResult:
        """Publish the next release: the current list and these entries. Arguments and errors are those of `publish`."""
        rows = self._rows(entries, since=since, until=until)
        with self._publishing():
            result = self.publisher.add(self.feed, rows, level=level, category=category, scope=scope, issuer=issuer)
        return _checked(result)

    def remove(self, entries: Iterable[Listed]) -> ReleaseResult:
        """Publish the next release: the current list without the entries of these numbers and ranges.

        Whoever has synced refuses a list that has become empty (`Refused`): leave one number on it.

        Raises:
            InvalidInput: none of them is listed.
        """
        rows = self._rows(entries, since=None, until=None)
        with self._publishing():
            return self.publisher.remove(self.feed, rows, allow_empty=True)

    def protect(self, numbers: Iterable[str]) -> int:
        """Protect further numbers, so that no feed may list them, and publish the list without them.

        Returns:
            How many numbers are protected.

        Raises:
            InvalidInput: a text is not a number or a pattern of at most 10,000 numbers.
        """
        with self._publishing():
            protected = self.publisher.protect_more(list(numbers)).protected
            if self.publisher.entries(self.feed).num_rows:
                self._release_again()
        return protected

    # Faults

    def fail(self, fault: Fault) -> contextlib.AbstractContextManager[None]:
        """Let something go wrong from now on, until `heal`, or until the end of a ``with`` block; one fault at a time.

        Syncs then raise what they would raise with a real repository, at once:

        - `Unreachable`: ``unreachable`` (no connection), ``slow`` (no answer in time), ``server-error`` (503),
          ``too-many-requests`` (429, with `Unreachable.retry_after`);
        - `NotPermitted`: ``not-permitted`` (401);
        - `Malformed`: ``captive-portal`` (a page in the place of every file);
        - `Stale`: ``expired`` (nothing was signed for eight days);
        - `Untrusted`: ``wrong-signature``; ``rollback`` (what was signed before the last change: whoever has synced
          since refuses it); ``truncated`` and ``damaged`` (the release's files);
        - `Refused`: ``mass-removal`` (a release without any entry) and ``mass-addition`` (a release with a thousand
          entries more than twice as many), each for whoever has synced before.

        Raises:
            InvalidInput: there is no such fault; or ``mass-removal`` of an empty list; or ``rollback`` before anything
                was published.
        """
        if fault not in get_args(Fault):
            raise InvalidInput(f"{fault!r} is not a fault; the faults are {', '.join(get_args(Fault))}")
        self.heal()
        with self._lock:
            if fault == "expired":
                self._sign(ago=_LONG_AGO)
                self._timestamps.pop()
            elif fault == "rollback" and len(self._timestamps) < 2:
                raise InvalidInput("nothing was published yet, so there is nothing older to go back to")
            elif fault in ("truncated", "damaged"):
                # Something that no recipient has fetched yet.
                self._release_again()
            elif fault in ("mass-removal", "mass-addition"):
                self._heal = self._replace_list(fault)
            self._fault = fault
        return Healing(self.heal)

    def heal(self) -> None:
        """End the fault, if there is one. A list that was replaced by it is published again."""
        with self._lock:
            fault, self._fault = self._fault, None
            heal, self._heal = self._heal, None
            if heal is not None:
                heal()
            if fault == "expired":
                self._sign()

    def _replace_list(self, fault: Fault) -> Callable[[], object]:
        """Publish what a guard refuses; returns what publishes the list of before."""
        before = _as_list(self.publisher.entries(self.feed))
        if fault == "mass-removal":
            if not before.num_rows:
                raise InvalidInput("the list is empty, so there is nothing to remove: publish numbers first")
            self.publish()
        else:
            # Numbers of the list may be among them.
            self.add(generated_numbers(Guard().min_added + 2 * before.num_rows + 1))

        def restore() -> None:
            with self._publishing():
                self.publisher.release(self.feed, before, allow_empty=True)

        return restore

    def _release_again(self) -> None:
        with self._publishing():
            self.publisher.release(self.feed, _as_list(self.publisher.entries(self.feed)), allow_empty=True)

    # Signing and answering

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[None]:
        with self._lock:
            yield
            self._note_timestamp()

    def _note_timestamp(self) -> None:
        self._signed_at = times.now()
        self._timestamps = [*self._timestamps[-1:], self._timestamp()]

    def _timestamp(self) -> bytes:
        return (self.publisher.repository / "metadata" / "timestamp.json").read_bytes()

    def _sign(self, *, ago: timedelta = timedelta(0)) -> None:
        """Sign the timestamp again, as of now or of an earlier moment."""
        timing = replace(Timing(), clock=lambda: times.this_second() - ago)
        Publisher.open(self.publisher.directory, passphrase=self._passphrase, timing=timing).refresh()
        self._note_timestamp()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of this process's clients; not for users."""
        with self._lock:
            fault = self._fault
            failed = network_fault(fault, request)
            if failed is not None:
                return failed
            if fault in _OF_SERVER:
                return answered(*_OF_SERVER[fault])
            if fault is None and abs(times.now() - self._signed_at) >= _SIGN_AGAIN:
                self._sign()
            content = self._content(request.url.path, fault)
            return answered(404) if content is None else answered(200, content)

    def _content(self, path: str, fault: Fault | None) -> bytes | None:
        parts = path.strip("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            return None
        if parts[-1] == "timestamp.json":
            timestamp = self._timestamps[0] if fault == "rollback" else self._timestamp()
            return _wrongly_signed(timestamp) if fault == "wrong-signature" else timestamp
        try:
            data = self.files.joinpath(*parts).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        if not path.endswith(".parquet"):
            return data
        half = len(data) // 2
        if fault == "truncated":
            return data[:half]
        return data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :] if fault == "damaged" else data

    # Rows

    def _rows(self, entries: Iterable[Listed], *, since: datetime | None, until: datetime | None) -> pa.Table:
        rows = [_row(entry, {"since": since, "until": until}) for entry in entries]
        names = [name for name in _COLUMNS if name == "number" or any(row.get(name) is not None for row in rows)]
        return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})

    def close(self) -> None:
        """Close the lists that `blocklist` opened; not for users."""
        for opened in self._opened:
            opened.close()


def _as_list(entries: pa.Table) -> pa.Table:
    """A release as a list to be published: entries that were removed meanwhile cannot have their old ids again."""
    columns = {name: entries.column(name) for name in entries.column_names if name != "entry"}
    for name in ("number", "last"):
        columns[name] = pc.binary_join_element_wise("+", columns[name].cast(pa.string()), "")
    return pa.table(columns)


def _wrongly_signed(metadata: bytes) -> bytes:
    """Metadata whose signatures have the right form, and do not verify."""
    document = json.loads(metadata)
    for signature in document["signatures"]:
        signature["sig"] = signature["sig"][::-1]
    return json.dumps(document).encode()


def _row(entry: Listed, defaults: Mapping[str, datetime | None]) -> dict[str, str | None]:
    """An entry as cells."""
    if isinstance(entry, Entry):
        given: Mapping[str, object] = {each.name: getattr(entry, each.name) for each in fields(Entry)}
    elif isinstance(entry, Mapping):
        given = entry
        unknown = sorted(given.keys() - set(_COLUMNS))
        if unknown or "number" not in given:
            what = f"{unknown[0]!r} is not one of them" if unknown else "number is missing"
            raise InvalidInput(f"an entry has {', '.join(_COLUMNS)}, of which number is required: {what}")
    else:
        given = {"number": entry}
    return {name: _cell(name, given.get(name), defaults) for name in _COLUMNS}


def _cell(name: str, value: object, defaults: Mapping[str, datetime | None]) -> str | None:
    if value is None:
        value = defaults.get(name)
    if value is None:
        return None
    if name in _MOMENTS:
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise InvalidInput(f"{name} must be a datetime with a time zone, not {value!r}")
        return times.iso(value.replace(microsecond=0))
    if name == "scope" and not isinstance(value, str):
        assert isinstance(value, Iterable)
        return "+".join(sorted(value))
    return f"+{value}" if isinstance(value, int) else str(value)


def _checked(result: ReleaseResult) -> ReleaseResult:
    """A result without rejects."""
    if result.rejects_path is not None:
        with result.rejects_path.open(encoding="utf-8", newline="") as file:
            reasons = [f"entry {row['line']}: {row['reason']}" for row in csv.DictReader(file)]
        shown = "; ".join(reasons[:_REASONS_SHOWN_MAX])
        raise InvalidInput(f"{counted(len(reasons), 'entry', 'entries')} cannot be listed, but all others are: {shown}")
    return result


@contextlib.contextmanager
def fake_repository(
    feed: str = "id-all", *, region: str | None = None, scope: str | Iterable[str] = SCOPES
) -> Iterator[FakeRepository]:
    """A signed repository of your own, until the end of the block.

    The real client reads it at its `url`, in this process only, without a socket and without a wait; with
    `fake_repository.blocklist` or with your own code. At the end its folder is deleted, and the clock is the one of
    before.

    Args:
        feed: the name of its feed.
        region: two-letter country code in which numbers without a country code are read; None to take international
            numbers only.
        scope: the scope of entries that do not say, as ``"sms+voice"`` or its parts; by default all.

    Raises:
        InvalidInput: the feed's name, the region or the scope is invalid.
        StorageFailed: the temporary folder cannot be used.

    Example:
        >>> with fake_repository(feed="id-messaging") as repository, repository.blocklist() as blocklist:
        ...     _ = repository.publish(["+6281234567890"])
        ...     _ = blocklist.sync()
        ...     "+6281234567890" in blocklist
        True
    """
    host = f"repository-{next(_NAMES)}.blocklist.test"
    with temporary_directory(prefix="blocklist-fake-") as directory, fake_clock():
        parts = (scope,) if isinstance(scope, str) else tuple(scope)
        repository = FakeRepository(
            resolved(directory), host=host, feed=feed, region=region, scope=("+".join(sorted(parts)),)
        )
        with answering(host, repository):
            try:
                yield repository
            finally:
                repository.close()
