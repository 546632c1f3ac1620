"""`Blocklist`: what a recipient holds."""

import contextlib
import hashlib
import logging
import operator
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from blocklist_sdk.cache.answers import Answers
from blocklist_sdk.cache.generation import Generation
from blocklist_sdk.cache.state import load_state
from blocklist_sdk.cache.store import Store
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, InvalidNumber, NotSynced
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.numbers import normalizer
from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.outcomes import Attempt, Listener
from blocklist_sdk.records import SCOPES, Entry, Scope, Status, SyncResult, Verdict
from blocklist_sdk.release.names import feed_name
from blocklist_sdk.verdicts import decide

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

    from blocklist_sdk.background import BackgroundSync
    from blocklist_sdk.screening.columns import Screening
    from blocklist_sdk.sync.stopping import StopSignal
    from blocklist_sdk.sync.transport import TransportSettings

log = logging.getLogger(__name__)

_Now = tuple[float, float, Callable[[int], bool | None], Callable[[str | int], int]]
"""What answers for a while: from when, until when (seconds since 1970), whether an E.164 number is blocked (None where
that takes a closer look), and what reads numbers."""

_DAY_S = 86_400

_clock = time.time

_ROOT_BYTES_MAX = 512_000
"""What tuf itself allows a root (`UpdaterConfig.root_max_length`)."""

_LOOK_EVERY_S = 0.5
"""How often an open list looks whether another process has switched the generation; the promise is one second."""


class Blocklist:
    """One feed, as a recipient holds it. Made by `Blocklist.open`; may be shared by threads.

    Only `sync` touches the network. Everything else answers from the last verified generation on disk, and raises
    `NotSynced` as long as there is none. A generation that any process fetched is picked up within a second.
    """

    def __init__(
        self,
        *,
        url: str,
        feed: str,
        root: bytes,
        region: str | None,
        store: Store,
        state_file: Path,
        auth: "httpx.Auth | None" = None,
        transport: "TransportSettings | None" = None,
    ) -> None:
        """For `open`, which finds the paths and checks the input."""
        self.url = url
        self.feed = feed
        self.region = region
        self._root = root
        self._store = store
        self._state_file = state_file
        self._auth = auth
        self._transport = transport
        self._listeners: tuple[Listener, ...] = ()
        self._read = _reader(region)
        self._never: _Now = 1.0, 0.0, _is_unknown, self._read
        self._opened: tuple[Generation, datetime | None] | None = None
        self._seen: tuple[int, int] | None = None
        self._looking = ForkSafeLock()
        self._now: _Now = self._never

    @classmethod
    def open(
        cls,
        url: str,
        *,
        feed: str,
        root: str | Path | bytes,
        region: str | None = None,
        cache_dir: str | Path | None = None,
        state_dir: str | Path | None = None,
        auth: "httpx.Auth | None" = None,
        transport: "TransportSettings | None" = None,
    ) -> Self:
        """Open a feed; never touches the network.

        Args:
            url: the repository's base URL: ``https:``, ``http:`` or ``file:``.
            feed: the feed's name.
            root: the authority's root metadata: a path, or its bytes. It decides what is trusted, so it must come
                to you by a way you trust; never from the repository itself.
            region: CLDR region, for instance ``"GB"``, in which numbers without a country code are read; None to
                accept international numbers only.
            cache_dir: where generations are kept; by default in the user's cache directory, one for each URL. Give
                each authority its own.
            state_dir: what protects against old releases even where the cache was wiped; by default in the user's
                state directory, or in `cache_dir` where that is given. Then wipe single feeds, not the whole.
            auth: credentials for the repository, as httpx takes them.
            transport: timeouts and retries.

        Raises:
            InvalidInput: the URL, the feed's name, the root or the region cannot be used.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            # Not in Python's words: they may repeat a password.
            raise InvalidInput("that is no URL: give one that starts with https:, http: or file:") from error
        if parts.scheme not in ("https", "http", "file") or not (parts.netloc or parts.path):
            raise InvalidInput("that is no repository: give a base URL that starts with https:, http: or file:")
        cache, state = _directories(url, cache_dir, state_dir)
        return cls(
            url=url.rstrip("/"),
            feed=feed_name(feed),
            root=_root_bytes(root),
            region=region,
            store=Store(cache / feed),
            state_file=state / feed / "state.json",
            auth=auth,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the generation. The list may be used again; it then opens it anew."""
        with self._looking:
            self._opened, self._seen, self._now = None, None, self._never

    def sync(self, *, wait_s: float = 60.0, stop: "StopSignal | None" = None) -> SyncResult:
        """Bring the feed up to date. Whatever fails, the last verified generation goes on serving.

        Args:
            wait_s: how long to wait, in seconds, while another process syncs.
            stop: ends the sync from another thread. It then raises `blocklist_sdk.sync.stopping.SyncStopped`, which
                is no error and no `Exception`.

        Raises:
            Locked: another process was still syncing after `wait_s` seconds.
            InvalidInput: the repository has no such feed, or the root is none.
            Unreachable: the network, or a server that fails or is too slow.
            Untrusted: a signature, a hash, a rollback, or a feed in force here that is signed no more.
            Stale: signed metadata has expired.
            Malformed: what came is not what the protocol says.
            StorageFailed: the local disk refused.
        """
        from blocklist_sdk.sync.run import Syncer
        from blocklist_sdk.sync.transport import Transport, TransportSettings

        syncer = Syncer(self.url, self.feed, self._root, self._store, self._state_file)
        settings = self._transport or TransportSettings()
        with Attempt(self.feed, self._listeners) as attempt, Transport(settings=settings, auth=self._auth) as transport:
            attempt.bytes_received = lambda: transport.bytes_received
            with stop.calling(transport.abort) if stop else contextlib.nullcontext():
                attempt.result = result = syncer.run(transport, wait_s=wait_s)
        self._look(wait=True)
        return result

    def keep_synced(self, every: float | timedelta = 3600.0) -> "BackgroundSync":
        """Sync from now on, in a thread of its own, until it is stopped; for a `with` block, or with its `stop()`.

        The first sync runs at once if the feed was never synced, and else at a random moment within `every`. After
        failures it waits longer and longer, 24 hours at most, and never less than the server asked for; a restart does
        not shorten that. Processes on one cache share the schedule. What failed is in `last_error` and in the log; the
        last verified generation goes on serving.

        Args:
            every: the time from one sync to the next, in seconds or as a timedelta.

        Raises:
            InvalidInput: `every` is not above zero, or above a year.
        """
        from blocklist_sdk.background import BackgroundSync
        from blocklist_sdk.sync.schedule import interval

        return BackgroundSync(
            lambda stop: self.sync(wait_s=0.0, stop=stop),
            feed=self.feed,
            every=interval(every),
            store=self._store,
            state_file=self._state_file,
        )

    def add_listener(self, listener: Listener) -> None:
        """Have every sync of this list told, whether it went well or failed, in the thread that ran it."""
        self._listeners = (*self._listeners, listener)

    def __contains__(self, number: str | int) -> bool:
        """Whether the number is blocked now, for any scope.

        Raises:
            InvalidNumber: it is no number.
            NotSynced: there is no verified generation yet.
        """
        # As few steps as can be: this is asked for every message and every call.
        start, stop, is_blocked, read = self._now
        if start <= _clock() < stop:
            answer = is_blocked(number if type(number) is int else read(number))
            if answer is not None:
                return answer
        return self._contains(number)

    def _contains(self, number: str | int) -> bool:
        """The same by the number's rows, and after a look for a new generation where one is due."""
        e164 = self._read(number)
        return self._current()[0].blocks(e164, time.time_ns() // 1_000_000)

    def check(self, number: str | int, *, scope: Scope | None = None) -> Verdict:
        """What to do about a number, now, and why.

        Args:
            number: a text as people write numbers, or an E.164 integer.
            scope: ask for one scope only; entries of other scopes then do not count.

        Raises:
            InvalidNumber: it is no number.
            InvalidInput: there is no such scope.
            NotSynced: there is no verified generation yet.
        """
        _check_scope(scope)
        e164 = self._read(number)
        generation, expires = self._current()
        now = datetime.now(UTC)
        entries = tuple(generation.covering(e164))
        level, reason = decide([entry for entry in entries if scope is None or scope in entry.scope], now)
        return Verdict(
            number=e164,
            blocked=level == "block",
            level=level,
            reason=reason,
            entries=entries,
            feed=self.feed,
            serial=generation.about.serial,
            as_of=generation.about.published_at,
            stale=_is_past(expires, now),
        )

    def entries(self, number: str | int) -> list[Entry]:
        """Every entry that covers the number, in force or not, by entry id.

        Raises:
            InvalidNumber: it is no number.
            NotSynced: there is no verified generation yet.
        """
        return self._current()[0].covering(self._read(number))

    def screen(self, column: Any, *, scope: Scope | None = None) -> "pa.Table":
        """Ask about a whole column of numbers, row for row.

        Args:
            column: strings or integers, nulls included: anything that speaks Arrow's PyCapsule protocol, such as a
                pyarrow array, a Polars series, a pandas series (from 3.0) or a DuckDB result of one column. An integer
                is read as the text of its digits.
            scope: ask for one scope only; entries of other scopes then do not count.

        Returns:
            A table with as many rows as the column: ``number`` (E.164 as int64), ``blocked``, ``level``, ``category``
            (of the entry that decides) and ``reason``. What is no number has nulls throughout, and is counted by
            ``table["number"].null_count``; it never raises.

        Raises:
            InvalidInput: the column is of another type, or there is no such scope.
            NotSynced: there is no verified generation yet.
        """
        return self.screening(scope=scope).table(column)

    def screening(self, *, scope: Scope | None = None) -> "Screening":
        """Hold on to the release in force, to screen a stream of columns against it as it stands now.

        Args:
            scope: as for `screen`.

        Raises:
            InvalidInput: there is no such scope.
            NotSynced: there is no verified generation yet.
        """
        from blocklist_sdk.screening.columns import Screening

        _check_scope(scope)
        return Screening(self._current()[0], region=self.region, scope=scope, at=datetime.now(UTC))

    def to_arrow(self) -> Any:
        """The whole list as a `pyarrow.Table` with the columns of a snapshot, sorted by number.

        Raises:
            NotSynced: there is no verified generation yet.
        """
        from blocklist_sdk.release.arrow import to_table

        return to_table(self._current()[0].rows)

    def status(self) -> Status:
        """How the list stands. Does not raise `NotSynced`: the fields are then None."""
        state = load_state(self._state_file)
        self._look(wait=True)
        generation, expires = self._opened or (None, None)
        about = generation.about if generation else None
        return Status(
            feed=self.feed,
            serial=about.serial if about else None,
            rows=about.rows if about else None,
            digest=about.digest if about else None,
            as_of=about.published_at if about else None,
            expires=expires,
            stale=_is_past(expires, datetime.now(UTC)),
            generation_bytes=generation.bytes if generation else None,
            last_success=state.last_success,
            last_attempt=state.last_attempt,
            last_error=state.last_error,
        )

    def _current(self) -> tuple[Generation, datetime | None]:
        start, stop, _, _ = self._now
        if not start <= _clock() < stop:
            self._look(wait=self._opened is None)
        opened = self._opened
        if opened is None:
            raise NotSynced(f"feed {self.feed!r} was never synced on this machine: run sync() first")
        return opened

    def _look(self, *, wait: bool) -> None:
        """Open the generation in force, if it is another one than last time.

        While another thread is looking, what is open goes on answering, unless the caller wants to wait.
        """
        if not self._looking.acquire(blocking=wait):
            return
        try:
            seen = self._stamp()
            if seen is None or seen != self._seen:
                self._opened, self._seen = self._store.open() or self._opened, seen
        except BlocklistError as error:
            if self._opened is None:
                raise
            log.error("feed %s goes on with what it has: %s", self.feed, error)
        finally:
            self._now = self._never if self._opened is None else self._until_next_look(self._opened[0].answers)
            self._looking.release()

    def _until_next_look(self, answers: Answers) -> "_Now":
        """What answers until it is time to look again, midnight (UTC) at the latest, since kinds go by days."""
        now = _clock()
        day = int(now // _DAY_S)
        start, stop = max(now, answers.published_ms / 1000), min(now + _LOOK_EVERY_S, (day + 1) * _DAY_S)
        return start, stop, answers.finder(day), self._read

    def _stamp(self) -> tuple[int, int] | None:
        """Changes whenever the generation in force does; None before the first."""
        pointer = self._store.pointer
        with storage(pointer):
            try:
                stat = pointer.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return stat.st_ino, stat.st_mtime_ns


def _reader(region: str | None) -> Callable[[str | int], int]:
    """What reads a question's number: a text, or an E.164 integer, also one of numpy's."""
    normalize = normalizer(region)

    def read(number: str | int) -> int:
        if isinstance(number, str):
            return normalize(number)
        try:
            e164 = operator.index(number)
        except TypeError as error:
            raise InvalidNumber("", f"a number is a text or an integer, not a {type(number).__name__}") from error
        if SMALLEST <= e164 <= LARGEST:
            return e164
        raise InvalidNumber("", "an E.164 number is an integer of 6 to 15 digits")

    return read


def _is_unknown(number: int) -> bool | None:
    """In place of what answers, where nothing is open."""
    return None


def _check_scope(scope: str | None) -> None:
    if scope is not None and scope not in SCOPES:
        raise InvalidInput(f"{scope!r} is no scope; there are {', '.join(SCOPES)}")


def _is_past(expires: datetime | None, now: datetime) -> bool:
    return expires is None or now >= expires


def _root_bytes(root: str | Path | bytes) -> bytes:
    if isinstance(root, bytes):
        return root
    try:
        path = Path(root)
        if path.exists() and not path.is_file():
            raise InvalidInput(f"{root} is no regular file: give the root.json that you got from the authority")
        with path.open("rb") as file:
            data = file.read(_ROOT_BYTES_MAX + 1)
    except (OSError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(
            f"cannot read the root metadata {root}: {reason}. Get root.json from the authority."
        ) from error
    if len(data) > _ROOT_BYTES_MAX:
        raise InvalidInput(f"{root} is too large for root metadata: get root.json from the authority")
    return data


def _directories(url: str, cache_dir: str | Path | None, state_dir: str | Path | None) -> tuple[Path, Path]:
    # Absolute, so that they stay where they are when the process changes its working directory, as daemons do.
    if state_dir is not None:
        state_dir = Path(state_dir).absolute()
    if cache_dir is not None:
        cache = Path(cache_dir).absolute()
        return cache, state_dir or cache / ".state"
    import platformdirs

    parts = urlsplit(url)
    # Without credentials, which change while the authority stays the same.
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    authority = f"{parts.hostname or 'file'}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    cache = platformdirs.user_cache_path("blocklist-sdk") / authority
    state = platformdirs.user_state_path("blocklist-sdk") / authority
    return cache, state_dir or state
