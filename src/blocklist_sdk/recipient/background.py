"""Syncing by itself: a thread that brings a feed up to date time and again, whatever fails."""

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
from typing import Self

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, Locked, Unreachable
from blocklist_sdk.fetch.stopping import StopSignal, SyncStopped
from blocklist_sdk.recipient.cache.state import SyncState, load_state, save_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.sync.schedule import backoff_s, first_attempt, postponed_until
from blocklist_sdk.recipient.sync_outcomes import outcome_of
from blocklist_sdk.records import SyncResult

_STOP_WAIT_S = 0.8
"""How long `stop` waits for the thread; the promise is one second."""

_NOTE_WAIT_S = 0.2
"""For the feed's lock, to write down how often it failed; without that, only a restart comes too early."""

_CLOCK_LOOK_S = 30.0
"""How often a wait looks at the clock on the wall, which goes on while a machine sleeps and may be set."""

log = logging.getLogger(__name__)


class BackgroundSync:
    """Keeps a feed synced until it is stopped; made by `Blocklist.keep_synced`, and at work from then on.

    A forked process has no part in it: there the thread does not run, and what it fetches is picked up all the same.

    Attributes:
        last_error: what the last sync failed with; None after one that succeeded, and before the first.
        last_success: when the feed was last synced, by this or another process; None for never.
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
        draw: Callable[[], float] = random.random,
    ) -> None:
        """For `Blocklist.keep_synced`.

        Args:
            sync: syncs once, without waiting for another process.
            feed: the feed's name.
            every: the time from one sync to the next.
            store: whose lock guards `state_file`.
            state_file: what is remembered of the feed.
            draw: a random number from 0 to 1.
        """
        self._sync = sync
        self._feed = feed
        self._every = every
        self._store = store
        self._state_file = state_file
        self._draw = draw
        state = self._state()
        self.last_error: BlocklistError | None = None
        self.last_success = state.last_success
        self.next_attempt = first_attempt(state, every=every, now=times.now(), draw=draw())
        self._failures = state.failures
        self._is_remembered = True
        self._stop = StopSignal()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"blocklist-sync-{feed}", daemon=True)
        log.info("feed %s: first sync at %s", feed, _shown(self.next_attempt), extra={"feed": feed})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the thread is there: until `stop`, and for as long after it as the last sync takes to end."""
        return self._process == os.getpid() and self._thread.is_alive()

    def stop(self) -> None:
        """Stop; returns within a second, and may be called more than once.

        A running download is cut. What cannot be cut, such as the reading of a release, ends by itself soon after,
        and either puts a whole verified release in force or changes nothing.
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
                # Without its text, which is not ours and may hold a number.
                fault = BlocklistError(f"unexpected {type(error).__name__}: a fault of this library: report it")
                fault.__cause__ = error
                # It may have been the log that failed, and may fail again.
                with contextlib.suppress(Exception):
                    self._failed(fault)

    def _turn(self) -> None:
        """One sync, unless another process has seen to it."""
        state = self._state()
        if self._is_remembered:
            self._failures = state.failures
        now = times.now()
        postponed = postponed_until(state, known=self.last_success, every=self._every, now=now, draw=self._draw())
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

    def _wait(self) -> bool:
        """Wait until the next attempt is due; False once told to stop.

        By either clock: the one on the wall may be set back, and the other one stands still while a machine sleeps.
        """
        left_s = (self.next_attempt - times.now()).total_seconds()
        due = time.monotonic() + left_s
        while left_s > 0:
            if self._stop.wait(min(left_s, _CLOCK_LOOK_S)):
                return False
            left_s = min(due - time.monotonic(), (self.next_attempt - times.now()).total_seconds())
        return not self._stop.is_set()

    def _failed(self, error: BlocklistError) -> None:
        """Plan the next attempt after a failure, and remember the plan for after a restart."""
        draw = self._draw()
        now = times.now()
        self.last_error = error
        if isinstance(error, Locked):
            # Another process is at it and writes down what comes of it: look again soon, and count nothing.
            self.next_attempt = now + min(timedelta(seconds=backoff_s(1, draw=draw)), self._every)
        else:
            self._failures += 1
            retry_after_s = error.retry_after if isinstance(error, Unreachable) else None
            wait_s = backoff_s(self._failures, draw=draw, retry_after_s=retry_after_s)
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
        """Another process has synced meanwhile, or has been told to wait."""
        self.next_attempt = postponed
        self.last_success = state.last_success
        if not state.failures:
            self.last_error = None

    def _state(self) -> SyncState:
        try:
            return load_state(self._state_file)
        except BlocklistError as error:
            # The sync meets the same, and reports it as its failure.
            log.debug("%s", error)
            return SyncState()

    def _remember(self) -> None:
        try:
            with self._store.lock(_NOTE_WAIT_S):
                state = load_state(self._state_file)
                save_state(self._state_file, replace(state, failures=self._failures, next_attempt=self.next_attempt))
            self._is_remembered = True
        except BlocklistError as error:
            self._is_remembered = False
            log.warning("feed %s: a restart will not know of the wait: %s", self._feed, error)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
