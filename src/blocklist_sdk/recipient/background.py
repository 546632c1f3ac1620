"""Syncing in the background: a thread that brings a feed up to date again and again, whatever fails."""

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, Locked, Unreachable, not_pickled, unexpected
from blocklist_sdk.fetch.stopping import StopSignal, SyncStopped
from blocklist_sdk.recipient.cache.state import SyncState, load_state, save_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.sync.schedule import backoff_s, first_attempt, postponed_until
from blocklist_sdk.recipient.sync_outcomes import outcome_of
from blocklist_sdk.recipient.upkeep import Upkeep, run_logged
from blocklist_sdk.records import SyncResult

_STOP_WAIT_S = 0.8
"""How long `stop` waits for the thread; the promise is one second."""

_NOTE_WAIT_S = 0.2
"""How long to wait for the feed's lock to store the count of failures; without it, only a restart syncs too early."""

_CLOCK_LOOK_S = 30.0
"""How often a wait checks the system clock, which goes on while a machine sleeps and may be set."""

log: logging.Logger = logging.getLogger(__name__)


class BackgroundSync:
    """Keeps a feed synced until it is stopped; made and started by `Blocklist.keep_synced`.

    In a forked process the thread does not run, but the releases that it fetches are used there as well.

    Attributes:
        last_error: the error of the last sync; None if it succeeded, and before the first.
        last_success: when the feed was last synced, by this or another process; None if it never was.
        next_attempt: when the next sync is due, UTC.
    """

    def __init__(
        self,
        sync: Callable[[StopSignal], SyncResult],
        *,
        feed: str,
        every: timedelta,
        store: Store,
        state_file: Path,
        upkeep: Upkeep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """For `Blocklist.keep_synced`; `sync` must not wait for another process, `draw` gives numbers from 0 to 1."""
        self._sync = sync
        self._feed = feed
        self._every = every
        self._store = store
        self._state_file = state_file
        self._upkeep = upkeep
        self._draw = draw
        state = self._state()
        self.last_error: BlocklistError | None = None
        self.last_success = state.last_success
        self.next_attempt: datetime = first_attempt(state, every=every, now=times.now(), draw=draw())
        self._failures = state.failures
        self._is_remembered = True
        self._stop = StopSignal()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"blocklist-sync-{feed}", daemon=True)
        log.info("feed %s: first sync at %s", feed, _shown(self.next_attempt), extra={"feed": feed})
        self._thread.start()

    def __reduce__(self) -> NoReturn:
        raise not_pickled(
            "a BackgroundSync", "call keep_synced in the process that is to sync; the others notice its releases"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the thread runs: until `stop`, and until the sync then under way has ended."""
        return self._process == os.getpid() and self._thread.is_alive()

    def stop(self) -> None:
        """Stop; returns within a second, and may be called more than once.

        A running download is cut. What cannot be cut, such as reading a release, ends soon after, and either puts a
        whole verified release in force or changes nothing.
        """
        if self._process != os.getpid():
            return
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        while self._wait():
            try:
                self._turn()
            except SyncStopped:
                return
            except Exception as error:  # noqa: BLE001 -- whatever it is, the next attempt must come
                fault = unexpected(error)
                # The log may have been what failed, and may fail again.
                with contextlib.suppress(Exception):
                    self._failed(fault)

    def _turn(self) -> None:
        """Sync once, unless another process has done so."""
        state = self._state()
        if self._is_remembered:
            self._failures = state.failures
        now = times.now()
        postponed = postponed_until(
            state, known_success=self.last_success, every=self._every, now=now, draw=self._draw()
        )
        if postponed is not None:
            self._leave_to_others(state, postponed)
            return
        try:
            self._sync(self._stop)
        except BlocklistError as error:
            self._failed(error)
        else:
            self._failures, self._is_remembered = 0, True
            self.last_error = None
            self.last_success = times.now()
            self.next_attempt = self.last_success + self._every
            found = run_logged(self._upkeep, self._stop.is_set)
            if found is not None and found.is_damaged:
                self._heal()

    def _heal(self) -> None:
        """Sync once more, since the list on the disk is damaged; at once, and not again if that is damaged as well."""
        try:
            self._sync(self._stop)
        except BlocklistError as error:
            self._failed(error)

    def _wait(self) -> bool:
        """Wait until the next attempt is due; False if it was stopped.

        By two clocks: the system clock may be set back, and the monotonic one does not run while a machine sleeps.
        """
        left_s = (self.next_attempt - times.now()).total_seconds()
        due = time.monotonic() + left_s
        while left_s > 0:
            if self._stop.wait(min(left_s, _CLOCK_LOOK_S)):
                return False
            left_s = min(due - time.monotonic(), (self.next_attempt - times.now()).total_seconds())
        return not self._stop.is_set()

    def _failed(self, error: BlocklistError) -> None:
        """Plan the next attempt after a failure, and store the plan for after a restart."""
        draw = self._draw()
        now = times.now()
        self.last_error = error
        if isinstance(error, Locked):
            # Another process is syncing and stores the result: check again soon, and do not count this as a failure.
            self.next_attempt = now + min(timedelta(seconds=backoff_s(1, every=self._every, draw=draw)), self._every)
        else:
            self._failures += 1
            retry_after_s = error.retry_after if isinstance(error, Unreachable) else None
            wait_s = backoff_s(self._failures, every=self._every, draw=draw, retry_after_s=retry_after_s)
            self.next_attempt = now + timedelta(seconds=wait_s)
            self._remember()
        log.warning(
            "sync of feed %s failed, %d in a row, the next one is at %s: %s",
            self._feed,
            self._failures,
            _shown(self.next_attempt),
            error,
            extra={"feed": self._feed, "outcome": outcome_of(error), "failures": self._failures},
        )

    def _leave_to_others(self, state: SyncState, postponed: datetime) -> None:
        """Another process has synced meanwhile, or has to wait."""
        self.next_attempt = postponed
        self.last_success = state.last_success
        if not state.failures:
            self.last_error = None

    def _state(self) -> SyncState:
        try:
            return load_state(self._state_file)
        except BlocklistError as error:
            # The sync fails by the same error, and reports it.
            log.debug("%s", error)
            return SyncState()

    def _remember(self) -> None:
        try:
            with self._store.lock(_NOTE_WAIT_S):
                state = load_state(self._state_file)
                noted = replace(state, failures=self._failures, next_attempt=self.next_attempt)
                save_state(self._state_file, noted, self._store.state_access)
            self._is_remembered = True
        except BlocklistError as error:
            self._is_remembered = False
            log.warning("feed %s: after a restart the wait is forgotten: %s", self._feed, error)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
