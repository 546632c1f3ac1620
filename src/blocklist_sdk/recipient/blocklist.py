"""`Blocklist`: what a recipient holds."""

import contextlib
import hashlib
import logging
import operator
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, InvalidInput, InvalidNumber
from blocklist_sdk.fetch.source import base_url, read_root
from blocklist_sdk.numbers import brand_of, normalizer, operator_of
from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.holds import Holds
from blocklist_sdk.recipient.cache.local_database import LocalDatabase
from blocklist_sdk.recipient.cache.overrides import Overrides
from blocklist_sdk.recipient.cache.state import load_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.in_force import InForce, WhenStale, clock, is_past
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.recipient.sync_outcomes import Attempt, Listener
from blocklist_sdk.recipient.verdicts import decide
from blocklist_sdk.records import (
    SCOPES,
    Entry,
    Explanation,
    Impact,
    Level,
    Reason,
    Scope,
    Status,
    SyncResult,
    Verdict,
    Verification,
)
from blocklist_sdk.release.names import feed_name

if TYPE_CHECKING:
    import ssl

    import pyarrow as pa

    from blocklist_sdk.fetch.stopping import StopSignal
    from blocklist_sdk.fetch.transport import TransportSettings
    from blocklist_sdk.net.http import httpx
    from blocklist_sdk.recipient.background import BackgroundSync
    from blocklist_sdk.recipient.changes import Changes
    from blocklist_sdk.recipient.guard import Guard
    from blocklist_sdk.recipient.screening.columns import Screening
    from blocklist_sdk.recipient.sync.run import Syncer

log = logging.getLogger(__name__)


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
        protected: frozenset[int] = frozenset(),
        guard: "Guard | Literal['default'] | None" = "default",
        when_stale: WhenStale = "serve",
        auth: "httpx.Auth | None" = None,
        tls: "ssl.SSLContext | None" = None,
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
        self._tls = tls
        self._transport = transport
        self._listeners: tuple[Listener, ...] = ()
        self._read = _reader(region)
        self._own_protected = frozenset(protected)
        self._database = LocalDatabase(state_file.with_name("recipient.sqlite"))
        self._holds = Holds(self._database)
        self._guard = guard
        self.overrides = Overrides(
            self._database,
            read=self._read,
            is_protected=lambda number: number in self._in_force.rules().protected,
            changed=lambda: self._in_force.look(wait=True),
        )
        self._in_force = InForce(
            feed,
            store=store,
            overrides=self.overrides,
            protected=self._own_protected,
            read=self._read,
            when_stale=when_stale,
        )

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
        protected: str | Path | Iterable[str | int] = (),
        guard: "Guard | Literal['default'] | None" = "default",
        when_stale: WhenStale = "serve",
        auth: "httpx.Auth | None" = None,
        tls: "ssl.SSLContext | None" = None,
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
            protected: numbers of your own that are never blocked, whatever a feed says, beside those that the authority
                protects: the numbers, or a text file with one a line.
            guard: what a release may change by itself; None lets everything through.
            when_stale: what to do past the signed expiry: ``serve`` goes on answering and says so, in every verdict and
                in the log; ``raise`` raises `Stale` from every question.
            auth: credentials for the repository: `ClientCredentials`, `PrivateKeyJwt`, or any that httpx takes.
            tls: which servers are trusted, and your own certificate where the repository asks for one; by default
                public authorities and none.
            transport: timeouts and retries.

        Raises:
            InvalidInput: the URL, the feed's name, the root, the region or the protected numbers cannot be used.
        """
        address = base_url(url)
        if when_stale not in get_args(WhenStale):
            raise InvalidInput(f"when_stale is serve or raise, not {when_stale!r}")
        cache, state = _directories(url, cache_dir, state_dir)
        return cls(
            url=address,
            feed=feed_name(feed),
            root=read_root(root),
            region=region,
            store=Store(cache / feed),
            state_file=state / feed / "state.json",
            protected=_protected_numbers(protected, region),
            guard=guard,
            when_stale=when_stale,
            auth=auth,
            tls=tls,
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
        self._in_force.close()

    def sync(self, *, wait_s: float = 60.0, accept: int | None = None, stop: "StopSignal | None" = None) -> SyncResult:
        """Bring the feed up to date. Whatever fails, the last verified generation goes on serving.

        Args:
            wait_s: how long to wait, in seconds, while another process syncs.
            accept: the serial of a release that comes into force although the guard refuses it; of no other.
            stop: ends the sync from another thread. It then raises `blocklist_sdk.fetch.stopping.SyncStopped`, which
                is no error and no `Exception`.

        Raises:
            Locked: another process was still syncing after `wait_s` seconds.
            InvalidInput: the repository has no such feed, or the root is none.
            ExchangeError: `auth` asked for a token, and the credentials were refused.
            Unreachable: the network, or a server that fails or is too slow.
            Untrusted: a signature, a hash, or a rollback.
            Stale: signed metadata has expired.
            Malformed: what came is not what the protocol says.
            Refused: the guard kept the release out of force.
            StorageFailed: the local disk refused.
        """
        from blocklist_sdk.fetch.transport import Transport, TransportSettings

        settings = self._transport or TransportSettings()
        with (
            Attempt(self.feed, self._listeners) as attempt,
            Transport(settings=settings, auth=self._auth, tls=self._tls) as transport,
        ):
            attempt.bytes_received = lambda: transport.bytes_received
            with stop.calling(transport.abort) if stop else contextlib.nullcontext():
                attempt.result = result = self._syncer().run(transport, wait_s=wait_s, accept=accept)
        self._in_force.look(wait=True)
        return result

    def preview(self, *, wait_s: float = 60.0) -> Impact:
        """What a sync would change, without changing it: fetches and verifies, and puts nothing in force.

        Args:
            wait_s: how long to wait, in seconds, while another process syncs.

        Raises:
            Locked, InvalidInput, Unreachable, Untrusted, Stale, Malformed, StorageFailed: as for `sync`.
        """
        from blocklist_sdk.fetch.transport import Transport, TransportSettings

        settings = self._transport or TransportSettings()
        with Transport(settings=settings, auth=self._auth, tls=self._tls) as transport:
            return self._syncer().preview(transport, self.overrides, wait_s=wait_s)

    def _syncer(self) -> "Syncer":
        from blocklist_sdk.recipient.guard import Guard
        from blocklist_sdk.recipient.sync.run import Syncer

        return Syncer(
            url=self.url,
            feed=self.feed,
            root=self._root,
            store=self._store,
            state_file=self._state_file,
            guard=Guard() if self._guard == "default" else self._guard,
            protected=self._own_protected,
            held=self._held,
        )

    def _held(self) -> set[int]:
        try:
            return set(self._holds.load().values())
        except BlocklistError as error:
            # Unblocks must go on arriving; what may still be needed is kept.
            log.error("feed %s: %s", self.feed, error)
            return set(self._store.serials())

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
        from blocklist_sdk.recipient.background import BackgroundSync
        from blocklist_sdk.recipient.sync.schedule import interval

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
        start, stop, is_blocked, read = self._in_force.now
        if start <= clock() < stop:
            answer = is_blocked(number if type(number) is int else read(number))
            if answer is not None:
                return answer
        return self._contains(number)

    def _contains(self, number: str | int) -> bool:
        """The same by the number's rules and rows, and after a look for what is new where one is due."""
        e164 = self._read(number)
        generation = self._in_force.current()[0]
        rule = self._in_force.rules().of(e164, times.now())
        if rule is not None:
            return rule[0] == "override-block"
        return generation.blocks(e164, time.time_ns() // 1_000_000)

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
        generation, expires = self._in_force.current()
        now = times.now()
        entries = tuple(generation.covering(e164))
        rule = self._in_force.rules().of(e164, now)
        level: Level | None
        reason: Reason
        if rule is not None:
            reason, override = rule
            level = "block" if reason == "override-block" else None
        else:
            override = None
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
            stale=is_past(expires, now),
            override=override,
        )

    def entries(self, number: str | int) -> list[Entry]:
        """Every entry that covers the number, in force or not, by entry id.

        Raises:
            InvalidNumber: it is no number.
            NotSynced: there is no verified generation yet.
        """
        return self._in_force.current()[0].covering(self._read(number))

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
        from blocklist_sdk.recipient.screening.columns import Screening

        _check_scope(scope)
        generation, now = self._in_force.current()[0], times.now()
        return Screening(generation, self._in_force.rules().at(now), region=self.region, scope=scope, at=now)

    def to_arrow(self) -> Any:
        """The whole list as a `pyarrow.Table` with the columns of a snapshot, sorted by number.

        Raises:
            NotSynced: there is no verified generation yet.
        """
        from blocklist_sdk.release.arrow import to_table

        return to_table(self._in_force.current()[0].rows)

    def status(self) -> Status:
        """How the list stands. Does not raise `NotSynced`: the fields are then None."""
        state = load_state(self._state_file)
        self._in_force.look(wait=True)
        generation, expires = self._in_force.opened or (None, None)
        about = generation.about if generation else None
        now = times.now()
        return Status(
            feed=self.feed,
            serial=about.serial if about else None,
            rows=about.rows if about else None,
            digest=about.digest if about else None,
            as_of=about.published_at if about else None,
            expires=expires,
            stale=is_past(expires, now),
            generation_bytes=generation.bytes if generation else None,
            last_success=state.last_success,
            last_attempt=state.last_attempt,
            last_error=state.last_error,
            refused=state.refused.serial if state.refused else None,
            refusals=state.refused.reasons if state.refused else (),
            overrides=sum(override.in_force(now) for override in self._in_force.rules().overrides.values()),
            generations=tuple(self._store.serials()),
            held=self._holds.load(),
            disk_bytes=self._store.disk_bytes(),
        )

    def changes(self, *, since: int | None) -> "Changes":
        """What differs between an earlier release and the one in force, whatever lay between.

        Args:
            since: the earlier release's serial, which must still be on this disk (see `hold`); None for nothing at all,
                so that every entry was added.

        Raises:
            InvalidInput: that release is not on this disk any more.
            NotSynced: there is no verified generation yet.
        """
        from blocklist_sdk.recipient.changes import Changes

        generation = self._in_force.current()[0]
        if since is None or since == generation.about.serial:
            return Changes(None if since is None else generation, generation, self._in_force.rules)
        old = self._store.open_serial(since)
        if old is None:
            kept = ", ".join(map(str, self._store.serials()))
            raise InvalidInput(
                f"release {since} of feed {self.feed!r} is not on this disk, only {kept}: hold a release that is still "
                "needed, or take the whole list (since=None)"
            )
        return Changes(old, generation, self._in_force.rules)

    @property
    def state_directory(self) -> Path:
        """Where is kept what must survive a wiped cache: the list's own decisions, and its sinks' ledgers."""
        return self._state_file.parent

    def in_force(self) -> tuple[Generation, Rules]:
        """The generation in force at this moment, and the rules that go before it.

        Raises:
            NotSynced: there is no verified generation yet.
            Stale: it is past its signed expiry, and the policy is to raise.
        """
        self._in_force.look(wait=True)  # what questions go by may be half a second old
        return self._in_force.current()[0], self._in_force.rules()

    def hold(self, name: str, serial: int) -> None:
        """Keep a release on disk until the same name holds another one, so that `changes` can start from it.

        Args:
            name: who needs it, for instance a sink.
            serial: the release.

        Raises:
            InvalidInput: the name is empty, or that release is not on this disk.
            Locked, StorageFailed: the disk refused.
        """
        if serial not in self._store.serials():
            raise InvalidInput(f"release {serial!r} of feed {self.feed!r} is not on this disk: it cannot be held")
        self._holds.put(name, serial)

    def let_go(self, name: str) -> bool:
        """End a hold; False if there was none under that name.

        Raises:
            Locked, StorageFailed: the disk refused.
        """
        return self._holds.drop(name)

    def explain(self, number: str | int, *, scope: Scope | None = None) -> Explanation:
        """How a number is read, and everything that decides on it.

        Args:
            number: as for `check`.
            scope: as for `check`.

        Raises:
            InvalidNumber, InvalidInput, NotSynced: as for `check`.
        """
        verdict = self.check(number, scope=scope)
        return Explanation(
            text=str(number),
            number=verdict.number,
            region=self.region,
            is_valid=_is_valid(verdict.number),
            operator=operator_of(verdict.number),
            brand=brand_of(verdict.number),
            verdict=verdict,
            signers=self._in_force.current()[0].about.signers,
        )

    def verify(self) -> Verification:
        """Check the generation in force: every byte, the digest, and the signatures from the pinned root down.

        Needs no network.

        Raises:
            NotSynced: there is no verified generation yet.
        """
        from blocklist_sdk.recipient.sync.proof import problems_of
        from blocklist_sdk.release.digest import digest

        generation = self._in_force.current()[0]
        found = digest(generation.rows)
        problems = problems_of(generation, pinned=self._root, roots=self._store.known_roots())
        if found != generation.about.digest:
            problems.append("its rows do not have the digest that was signed")
        elif not generation.is_whole():
            problems.append("a file is not as it was written")
        return Verification(self.feed, generation.about.serial, len(generation.rows), found, tuple(problems))

    def is_synced(self) -> bool:
        """Whether there is a verified generation on this machine."""
        if self._in_force.opened is None:
            self._in_force.look(wait=True)
        return self._in_force.opened is not None


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


def _protected_numbers(given: str | Path | Iterable[str | int], region: str | None) -> frozenset[int]:
    """The recipient's own protected numbers, from a file or as they are."""
    read = _reader(region)
    if isinstance(given, (str, Path)):
        try:
            lines = Path(given).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeError) as error:
            raise InvalidInput(f"cannot read the protected numbers in {given}: {error}") from error
        given = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return frozenset(read(number) for number in given)


def _check_scope(scope: str | None) -> None:
    if scope is not None and scope not in SCOPES:
        raise InvalidInput(f"{scope!r} is no scope; there are {', '.join(SCOPES)}")


def _is_valid(number: int) -> bool:
    try:
        normalizer(None, strict=True)(f"+{number}")
    except InvalidNumber:
        return False
    return True


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
