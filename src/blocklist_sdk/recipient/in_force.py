"""What a list goes by: the generation on disk, the rules before it, and what answers until the next look."""

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import BlocklistError, NotSynced, Stale
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.overrides import Overrides
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.protected import read_protected_file

log = logging.getLogger(__name__)

Now = tuple[float, float, Callable[[int], bool | None], Callable[[str | int], int]]
"""What answers for a while: from when, until when (seconds since 1970), whether an E.164 number is blocked (None where
that takes a closer look), and what reads numbers."""

_DAY_S = 86_400

clock = time.time
"""Seconds since 1970."""

WhenStale = Literal["serve", "raise"]

_STALE_TOLD_EVERY_S = 3600.0
"""How often a list that is past its expiry says so in the log."""

_LOOK_EVERY_S = 0.5
"""How often an open list looks whether another process has switched the generation; the promise is one second."""


class InForce:
    """Follows what other processes put on disk; for threads, and for processes that fork.

    Attributes:
        now: what answers for a while, for those who ask on every message and every call.
        opened: the generation in force and when it expires; None as long as there is none.
    """

    def __init__(
        self,
        feed: str,
        *,
        store: Store,
        overrides: Overrides,
        protected: frozenset[int],
        read: Callable[[str | int], int],
        when_stale: WhenStale,
    ) -> None:
        """Looks at nothing yet.

        Args:
            feed: its name, for messages.
            store: where its generations are.
            overrides: the recipient's own decisions.
            protected: the recipient's own protected numbers.
            read: reads a question's number.
            when_stale: what to do past the signed expiry.
        """
        self._feed = feed
        self._store = store
        self._overrides = overrides
        self._own_protected = protected
        self._when_stale = when_stale
        self._told_stale = 0.0
        self._read = read
        self._never: Now = 1.0, 0.0, _is_unknown, read
        self._seen: tuple[int, int] | None = None
        self._looking = ForkSafeLock()
        self._rules: Rules | None = None
        self._ruled: tuple[Callable[[int], bool | None], Rules, Callable[[int], bool | None], float, float] | None = (
            None
        )
        self._rules_seen: object = None
        self._signed_protected: frozenset[int] = frozenset()
        self.opened: tuple[Generation, datetime | None] | None = None
        self.now: Now = self._never

    def close(self) -> None:
        """Let go of the generation; the next question opens it anew."""
        with self._looking:
            self.opened, self._seen, self.now, self._ruled = None, None, self._never, None

    def current(self) -> tuple[Generation, datetime | None]:
        """The generation to answer from, as of the last half second, and when it expires.

        Raises:
            NotSynced: there is none.
            Stale: it is past its signed expiry, and the policy is to raise.
        """
        start, stop, _, _ = self.now
        if not start <= clock() < stop:
            self.look(wait=self.opened is None or self._rules is None)
        self.rules()
        opened = self.opened
        if opened is None:
            raise NotSynced(f"feed {self._feed!r} was never synced on this machine: run sync() first")
        if is_past(opened[1], times.now()):
            self._tell_stale(opened[1])
        return opened

    def _tell_stale(self, expires: datetime | None) -> None:
        """Raise or log that the list is past its expiry, as the policy says.

        Raises:
            Stale: the policy is to raise.
        """
        when = "unknown" if expires is None else times.iso(expires)
        message = (
            f"the list of feed {self._feed!r} is past its signed expiry ({when}): sync it; if that does not help, the "
            "publisher is late"
        )
        if self._when_stale == "raise":
            raise Stale(message, expired=expires)
        now = time.monotonic()
        if now >= self._told_stale:
            self._told_stale = now + _STALE_TOLD_EVERY_S
            log.warning("%s", message)

    def look(self, *, wait: bool) -> None:
        """Open the generation in force, if it is another one than last time.

        While another thread is looking, what is open goes on answering, unless the caller wants to wait.
        """
        if not self._looking.acquire(blocking=wait):
            return
        try:
            seen = _stamp_of(self._store.pointer)
            if seen is None or seen != self._seen:
                self.opened, self._seen = self._store.open() or self.opened, seen
            self._look_for_rules()
        except BlocklistError as error:
            if self.opened is None or self._rules is None:
                raise
            log.error("feed %s goes on with what it has: %s", self._feed, error)
        finally:
            is_ready = self.opened is not None and self._rules is not None
            self.now = self._until_next_look() if is_ready else self._never
            self._looking.release()

    def _look_for_rules(self) -> None:
        protected_seen = _stamp_of(self._store.protected)
        seen = self._overrides.stamp(), protected_seen
        if seen != self._rules_seen:
            if protected_seen is not None:
                # Where the cache was wiped, what is open goes on answering, and these go on being protected.
                self._signed_protected = read_protected_file(self._store.protected)
            overrides, stamp = self._overrides.load_stamped()
            by_number = {override.number: override for override in overrides}
            self._rules = Rules(self._own_protected | self._signed_protected, by_number)
            self._rules_seen = stamp, protected_seen

    def rules(self) -> Rules:
        """The rules, also where there is no generation yet."""
        if self._rules is None:
            self.look(wait=True)
        assert self._rules is not None, "a look that does not find the rules raises"
        return self._rules

    def _until_next_look(self) -> Now:
        """What answers until it is time to look again, midnight (UTC) at the latest, since kinds go by days."""
        assert self.opened is not None
        assert self._rules is not None
        generation, expires = self.opened
        now = clock()
        day = int(now // _DAY_S)
        start = max(now, generation.answers.published_ms / 1000)
        stop = min(now + _LOOK_EVERY_S, (day + 1) * _DAY_S)
        if self._when_stale == "raise":
            stop = min(stop, expires.timestamp() if expires else 0.0)
        find = generation.answers.finder(day)
        if self._rules:
            find, ends = self._with_rules(find, self._rules, now)
            stop = min(stop, ends)
        return start, stop, find, self._read

    def _with_rules(
        self, find: Callable[[int], bool | None], rules: Rules, now: float
    ) -> tuple[Callable[[int], bool | None], float]:
        """What answers by the rules first, and until when; made anew only where something is different."""
        made = self._ruled
        # A clock that was set back may bring back an override that had ended.
        if made is None or made[0] is not find or made[1] is not rules or not made[3] <= now < made[4]:
            standing = rules.at(datetime.fromtimestamp(now, UTC))
            ends = math.inf if standing.until is None else standing.until.timestamp()
            made = self._ruled = find, rules, _ruled(find, standing.answers()), now, ends
        return made[2], made[4]


def _ruled(find: Callable[[int], bool | None], answers: dict[int, bool]) -> Callable[[int], bool | None]:
    """What answers by the rules first; `find` alone where they change nothing that it says."""
    # Numbers that are never blocked are hardly ever listed as well, and need no look at the rules then.
    answers = {number: blocked for number, blocked in answers.items() if find(number) is not blocked}
    if not answers:
        return find
    rule_of = answers.get

    def ruled(number: int) -> bool | None:
        answer = rule_of(number)
        return find(number) if answer is None else answer

    return ruled


def _stamp_of(path: Path) -> tuple[int, int] | None:
    """Changes whenever a file is replaced; None for none."""
    with storage(path):
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return stat.st_ino, stat.st_mtime_ns


def _is_unknown(number: int) -> bool | None:
    """In place of what answers, where nothing is open."""
    return None


def is_past(expires: datetime | None, now: datetime) -> bool:
    """Whether a list has expired; one with no known expiry has."""
    return expires is None or now >= expires
