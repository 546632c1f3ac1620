"""What answers questions until the next look at the disk: the generation in force, and the rules that go before it."""

import logging
import math
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, NotSynced, Stale, why_not_synced, why_stale
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.kinds import Found
from blocklist_sdk.recipient.cache.overrides import Overrides
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.recipient.cache.state import load_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.rules import Rules, RulesInForce
from blocklist_sdk.records import Scope
from blocklist_sdk.release.protected import read_protected_file
from blocklist_sdk.release.published import AHEAD_SAID, clock_behind_text, latest, seconds_behind

log: logging.Logger = logging.getLogger(__name__)

Finder = Callable[[int], bool | None]
"""Says whether an E.164 number is blocked; None if the number's rows have to be read."""

A = TypeVar("A")
"""What a finder answers."""

LevelFinder = Callable[[int], Found | None]
"""Says which level is in force for an E.164 number, "" for none; None if the number's rows have to be read."""

WhenStale = Literal["serve", "raise"]

_DAY_S = 86_400

_BLOCK: Found = "block"
_FREE: Found = ""

_STALE_WARNING_EVERY_S = 3600.0
"""How often the log says that a list is past its expiry, and that the clock is behind."""

_RELOAD_EVERY_S = 0.5
"""How often an open list checks whether another process has switched the generation; the promise is one second."""


# Not a named tuple: reading two or three slots takes less time than unpacking all parts of one.
@dataclass(frozen=True, slots=True)
class FastPath:
    """Answers most questions, for half a second at most.

    Attributes:
        start: valid from this moment on, in seconds since 1970.
        stop: valid before this moment.
        is_blocked: answers for E.164 numbers.
        read: reads a question's number.
    """

    start: float
    stop: float
    is_blocked: Finder
    read: Callable[[str | int], int]


@dataclass(frozen=True, slots=True)
class LevelPath:
    """Answers most questions about the level in force, for half a second at most.

    Attributes:
        start, stop, read: as of `FastPath`.
        level: answers for E.164 numbers.
    """

    start: float
    stop: float
    level: LevelFinder
    read: Callable[[str | int], int]


class OpenList(ABC):
    """Answers questions from what is open. May be shared by threads; works in forked processes.

    Attributes:
        fast_path: answers most questions without any of the methods here.
        opened: the release in force and when it expires; None before the first sync.
    """

    _is_bundle: bool = False
    """What to do about a list past its expiry goes by it."""

    def __init__(self, feed: str, *, read: Callable[[str | int], int], when_stale: WhenStale) -> None:
        """Opens nothing yet."""
        self._feed = feed
        self._when_stale = when_stale
        self._next_stale_warning = 0.0
        self._next_clock_warning = 0.0
        self._latest_in_state: datetime | None = None
        self._missing_scopes: frozenset[tuple[str, Scope]] = frozenset()
        self._read = read
        self._no_fast_path = FastPath(1.0, 0.0, lambda _: None, read)
        self._reloading = ForkSafeLock()
        self._rules: Rules | None = None
        self._with_rules: tuple[Finder, Rules, FastPath] | None = None
        self._level_paths: dict[Scope | None, tuple[FastPath, LevelPath]] = {}
        self._ruled_levels: dict[Scope | None, tuple[LevelFinder, Rules, LevelPath]] = {}
        self.opened: tuple[ReleaseAnswers, datetime | None] | None = None
        self.fast_path: FastPath = self._no_fast_path

    @abstractmethod
    def close(self) -> None:
        """Release what need not be kept; the next question opens it again."""

    @abstractmethod
    def reload(self, *, wait: bool) -> None:
        """Open what is in force now, where it is not open already, and make the fast path anew.

        While another thread reloads, what is open goes on answering, unless the caller wants to wait.
        """

    @abstractmethod
    def _not_synced(self) -> NotSynced:
        """The error to raise where there is nothing to answer from."""

    def generation(self) -> tuple[ReleaseAnswers, datetime | None]:
        """The release to answer from, at most half a second old, and when it expires.

        Raises:
            NotSynced: there is no generation yet, or none of those on the disk is whole.
            Stale: it is past its signed expiry, or the clock is behind, and `when_stale` is ``raise``.
        """
        fast_path = self.fast_path
        if not fast_path.start <= times.clock() < fast_path.stop:
            self.reload(wait=self.opened is None or self._rules is None)
        self.rules()
        opened = self.opened
        if opened is None:
            raise self._not_synced()
        now = times.now()
        behind_s = self.clock_behind_s(now)
        if behind_s is not None:
            self._report_clock(behind_s)
        if is_past(opened[1], now):
            self._report_stale(opened[1])
        return opened

    def clock_behind_s(self, now: datetime) -> int | None:
        """By how many seconds this machine's clock is behind; None if it is not known to be, or by five minutes."""
        return seconds_behind(self._latest_moment(), now)

    def _latest_moment(self) -> datetime | None:
        """A moment that has passed, as of the last look at the disk; None if none is known."""
        return latest(self.opened[0].about.published_at if self.opened else None, self._latest_in_state)

    def _report_clock(self, behind_s: int) -> None:
        """Raise or log that the clock is behind, as `when_stale` says.

        Raises:
            Stale: `when_stale` is ``raise``.
        """
        message = f"feed {self._feed}: {clock_behind_text(behind_s)}"
        if self._when_stale == "raise":
            raise Stale(message)
        now = time.monotonic()
        if now >= self._next_clock_warning:
            self._next_clock_warning = now + _STALE_WARNING_EVERY_S
            log.warning("%s", message)

    def _report_stale(self, expires: datetime | None) -> None:
        """Raise or log that the list is past its expiry, as `when_stale` says.

        Raises:
            Stale: `when_stale` is ``raise``.
        """
        when = None if expires is None else times.iso(expires)
        message = why_stale(self._feed, when, is_bundle=self._is_bundle)
        if self._when_stale == "raise":
            raise Stale(message, expired=expires)
        now = time.monotonic()
        if now >= self._next_stale_warning:
            self._next_stale_warning = now + _STALE_WARNING_EVERY_S
            log.warning("%s", message)

    def warn_of_rare_scope(self, scope: Scope | None) -> None:
        """Log that no entry, or only few, of the generation in force has a scope that was asked for, if that is so."""
        generation = self.opened[0] if self.opened else None
        if scope is None or generation is None:
            return
        if generation.lists_scope(scope) is False or generation.is_scope_rare(scope):
            self.warn_of_scope(scope)

    def warn_of_scope(self, scope: Scope) -> None:
        """Log that no entry, or only few, has a scope that was asked for; once for each generation."""
        generation = self.opened[0] if self.opened else None
        if generation is None or (generation.name, scope) in self._missing_scopes:
            return
        logged = {each for each in self._missing_scopes if each[0] == generation.name}
        self._missing_scopes = frozenset({*logged, (generation.name, scope)})
        if scope in generation.scopes:
            log.warning(
                "only %d of %d entries of feed %r, release %d, have the scope %s: ask the authority which feed is for "
                "%s, or leave the scope out",
                generation.scope_entries[scope],
                generation.about.rows,
                self._feed,
                generation.about.serial,
                scope,
                scope,
            )
            return
        log.warning(
            "no entry of feed %r, release %s, has the scope %s, only %s: ask the authority which feed is for %s, or "
            "leave the scope out",
            self._feed,
            generation.about.release,
            scope,
            ", ".join(sorted(generation.scopes)),
            scope,
        )

    def rules(self) -> Rules:
        """The rules; there are some before the first sync, too."""
        if self._rules is None:
            self.reload(wait=True)
        assert self._rules is not None, "a reload that does not find the rules raises"
        return self._rules

    def level_path(self, scope: Scope | None) -> LevelPath | None:
        """What answers most questions about the level in force, as `generation` and `rules` do; ask for it each time.

        None while every number's rows have to be read, as where the clock was set back.

        Args:
            scope: count the entries of this scope only.

        Raises:
            NotSynced, Stale: as for `generation`.
        """
        fast_path, now = self.fast_path, times.clock()
        known = self._level_paths.get(scope)
        if known is not None and known[0] is fast_path and known[1].start <= now < known[1].stop:
            return known[1]
        if not fast_path.start <= now < fast_path.stop:
            self.generation()
            fast_path, now = self.fast_path, times.clock()
        if known is None or known[0] is not fast_path:
            opened, rules = self.opened, self._rules
            if opened is None or rules is None:
                return None  # closed by another thread
            known = fast_path, self._make_level_path(fast_path, opened[0], rules, scope, times.now().timestamp())
            self._level_paths[scope] = known
            self.warn_of_rare_scope(scope)
        return known[1] if known[1].start <= now < known[1].stop else None

    def _make_level_path(
        self, fast_path: FastPath, generation: ReleaseAnswers, rules: Rules, scope: Scope | None, now: float
    ) -> LevelPath:
        start, stop = max(fast_path.start, generation.answers.from_ms / 1000), fast_path.stop
        find = generation.answers.level_finder(int(now // _DAY_S), scope)
        if not rules:
            return LevelPath(start, stop, find, self._read)
        made = self._ruled_levels.get(scope)
        if made is None or made[0] is not find or made[1] is not rules or not made[2].start <= now < made[2].stop:
            in_force = rules.at(datetime.fromtimestamp(now, UTC))
            ends = math.inf if in_force.until is None else in_force.until.timestamp()
            ruled = _ask_rules_first(find, in_force, blocked=_BLOCK, free=_FREE)
            made = find, rules, LevelPath(now, ends, ruled, self._read)
            self._ruled_levels[scope] = made
        return LevelPath(start, min(stop, made[2].stop), made[2].level, self._read)

    def _make_fast_path(self) -> FastPath:
        """Valid until it is time to reload, or until midnight (UTC), since the kinds of numbers go by days."""
        assert self.opened is not None
        assert self._rules is not None
        generation, expires = self.opened
        now = times.now().timestamp()
        day = int(now // _DAY_S)
        start = max(now, generation.answers.from_ms / 1000)
        stop = min(now + _RELOAD_EVERY_S, (day + 1) * _DAY_S)
        if self._when_stale == "raise":
            stop = min(stop, expires.timestamp() if expires else 0.0)
            passed = self._latest_moment()
            if passed is not None:
                start = max(start, (passed - AHEAD_SAID).timestamp())
        find = generation.answers.finder(day)
        if self._rules:
            ruled = self._rules_first(find, self._rules, now)
            find, stop = ruled.is_blocked, min(stop, ruled.stop)
        return FastPath(start, stop, find, self._read)

    def _rules_first(self, find: Finder, rules: Rules, now: float) -> FastPath:
        """A fast path that asks the rules first, while the same rules are in force; made again only after a change."""
        if self._with_rules is not None:
            before_find, before_rules, made = self._with_rules
            # A clock that was set back may bring back an override that had ended.
            if before_find is find and before_rules is rules and made.start <= now < made.stop:
                return made
        in_force = rules.at(datetime.fromtimestamp(now, UTC))
        stop = math.inf if in_force.until is None else in_force.until.timestamp()
        made = FastPath(now, stop, _ask_rules_first(find, in_force, blocked=True, free=False), self._read)
        self._with_rules = find, rules, made
        return made


class CurrentList(OpenList):
    """Follows what this and other processes put on disk."""

    opened: tuple[ReleaseAnswers, datetime | None] | None
    fast_path: FastPath

    def __init__(
        self,
        feed: str,
        store: Store,
        overrides: Overrides,
        protected: frozenset[int],
        *,
        state_file: Path,
        read: Callable[[str | int], int],
        when_stale: WhenStale,
    ) -> None:
        """For `Internals`; reads nothing from the disk yet."""
        super().__init__(feed, read=read, when_stale=when_stale)
        self._store = store
        self._state_file = state_file
        self._overrides = overrides
        self._own_protected = protected
        self._state_stamp: tuple[int, int] | None = None
        self._pointer_stamp: tuple[int, int] | None = None
        self._rules_stamp: object = None
        self._signed_protected: frozenset[int] = frozenset()

    def close(self) -> None:
        """Release the generation; the next question opens it again."""
        with self._reloading:
            self.opened, self._pointer_stamp, self.fast_path, self._with_rules = None, None, self._no_fast_path, None
            self._level_paths, self._ruled_levels = {}, {}

    def generation(self) -> tuple[Generation, datetime | None]:
        """The generation to answer from: see `OpenList.generation`."""
        found, expires = super().generation()
        assert isinstance(found, Generation), "the store opens generations"
        return found, expires

    def _not_synced(self) -> NotSynced:
        last_error, is_on_disk = load_state(self._state_file).last_error, bool(self._store.releases())
        return NotSynced(why_not_synced(self._feed, last_error, is_on_disk=is_on_disk))

    def reload(self, *, wait: bool) -> None:
        """Open what is in force on the disk now, where it is not open already.

        While another thread reloads, what is open goes on answering, unless the caller wants to wait.
        """
        if not self._reloading.acquire(blocking=wait):
            return
        try:
            stamp = _stamp_of(self._store.pointer)
            if stamp is None or stamp != self._pointer_stamp:
                self.opened, self._pointer_stamp = self._store.open() or self.opened, stamp
                # They keep the files of an earlier generation open.
                self._level_paths, self._ruled_levels = {}, {}
            self._reload_rules()
            self._reload_state()
        except BlocklistError as error:
            if self.opened is None or self._rules is None:
                raise
            log.error("feed %s goes on with what it has: %s", self._feed, error)
        finally:
            is_ready = self.opened is not None and self._rules is not None
            self.fast_path = self._make_fast_path() if is_ready else self._no_fast_path
            self._reloading.release()

    def _reload_rules(self) -> None:
        protected_stamp = _stamp_of(self._store.protected)
        if (self._overrides.stamp(), protected_stamp) != self._rules_stamp:
            if protected_stamp is not None:
                # Where the cache was wiped, what is open goes on answering, and these stay protected.
                self._signed_protected = read_protected_file(self._store.protected)
            overrides, stamp = self._overrides.load_stamped()
            own = self._own_protected
            self._rules = Rules.made_of(own | self._signed_protected, overrides, own_protected=own)
            self._rules_stamp = stamp, protected_stamp

    def _reload_state(self) -> None:
        """Look at what is stored about syncs, for what it tells of the clock; without it, the list answers as well."""
        try:
            stamp = _stamp_of(self._state_file)
            if stamp != self._state_stamp:
                self._latest_in_state, self._state_stamp = load_state(self._state_file).latest_moment, stamp
        except BlocklistError as error:
            log.debug("feed %s: what is stored about its syncs cannot be read: %s", self._feed, error)


def _ask_rules_first(
    find: Callable[[int], A | None], rules: RulesInForce, *, blocked: A, free: A
) -> Callable[[int], A | None]:
    """A finder that answers by the rules first; `find` itself where the rules change none of its answers."""
    if len(rules.segments):
        return _ask_ranges_too(find, rules, blocked=blocked, free=free)
    # Numbers that are never blocked are hardly ever listed, and then the rules need not be asked.
    ruled_so = {number: blocked if is_blocked else free for number, is_blocked in rules.answers().items()}
    answers = {number: answer for number, answer in ruled_so.items() if find(number) != answer}
    if not answers:
        return find
    rule_of = answers.get

    def ruled(number: int) -> A | None:
        answer = rule_of(number)
        return find(number) if answer is None else answer

    return ruled


def _ask_ranges_too(
    find: Callable[[int], A | None], rules: RulesInForce, *, blocked: A, free: A
) -> Callable[[int], A | None]:
    """The same where there are overrides of ranges, before which rules of single numbers go."""
    starts = rules.segments.tolist()
    rule_of = {number: blocked if is_blocked else free for number, is_blocked in rules.answers().items()}.get
    answers = [None if each is None else blocked if each else free for each in rules.segment_answers()]
    low, high = starts[0], starts[-1]  # the last segment has no end, and no rule

    def ruled(number: int) -> A | None:
        answer = rule_of(number)
        if answer is None and low <= number < high:
            answer = answers[bisect_right(starts, number) - 1]
        return find(number) if answer is None else answer

    return ruled


def _stamp_of(path: Path) -> tuple[int, int] | None:
    """A value that changes whenever the file is replaced; None if there is no file."""
    with storage(path):
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return stat.st_ino, stat.st_mtime_ns


def is_past(expires: datetime | None, now: datetime) -> bool:
    """Whether a list has expired; so has one whose expiry is not known."""
    return expires is None or now >= expires
