"""Upkeep: what the list on the disk needs now and then, off the path of whoever waits for a sync.

An overlay that has grown is made one with its base, and the pieces of the list that are due are read again (see
`recipient.sync.scrub`). None of it changes an answer, so a process may be killed at any moment, and what it leaves is
done by the next upkeep.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, Locked, Malformed, unexpected
from blocklist_sdk.locks import ForkSafeLock, file_lock
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.pieces import AT_ONCE_BYTES
from blocklist_sdk.recipient.cache.state import Scrub, SyncState, load_state, save_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.sync.scrub import pieces_due, read_pieces
from blocklist_sdk.records import UpkeepResult

_LOCK: Final = "upkeep.lock"

_NOTE_WAIT_S: Final = 5.0
"""How long to wait for a sync to end, to store how far the list was read; without it the pieces are read once more."""

_CLOSE_WAIT_S: Final = 60.0
"""How long closing a list waits for its upkeep: a list of a hundred million numbers is folded in less."""

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The upkeep of one feed; one process at a time does it.

    Attributes:
        feed: the feed's name.
        store: its generations.
        state_file: what is stored about the feed between syncs.
    """

    feed: str
    store: Store
    state_file: Path

    def is_due(self, generation: Generation) -> bool:
        """Whether there is something to do for the list in force.

        Raises:
            InvalidInput, StorageFailed: the state cannot be read.
        """
        return generation.is_to_be_folded or _due(generation, load_state(self.state_file)) > 0

    def run(self, is_stopped: Callable[[], bool] = lambda: False) -> UpkeepResult:
        """Do what is due; nothing if another process is at it.

        Args:
            is_stopped: whether to end early; asked between steps. Making a base anew is not cut.

        Raises:
            StorageFailed: the local disk failed.
            InvalidInput: the state was written by a newer version of this library.
        """
        opened = self.store.open()
        if opened is None or not self.is_due(opened[0]):
            return UpkeepResult(self.feed)
        busy = f"another process looks after {self.store.directory}"
        try:
            with file_lock(self.store.directory / _LOCK, wait_s=0, busy=busy):
                return self._run(opened[0], is_stopped)
        except Locked as error:
            log.info("feed %s: %s", self.feed, error)
            return UpkeepResult(self.feed)

    def _run(self, generation: Generation, is_stopped: Callable[[], bool]) -> UpkeepResult:
        now = times.now()
        state = load_state(self.state_file)
        if generation.is_to_be_folded and not is_stopped():
            try:
                replaced = self.store.fold(generation)
                if replaced is not None:
                    self._note_folded(replaced)
                    log.info("feed %s: the changes since the list was written whole are one with it now", self.feed)
                    return UpkeepResult(self.feed, is_folded=True)
            except Malformed as error:
                log.error("feed %s: %s", self.feed, error)
                # If a release came meanwhile, it has the same base: what is damaged is in force in any case.
                in_force = self.store.open()
                before = state.scrub or Scrub(begun_at=now)
                name = generation.name if in_force is None else in_force[0].name
                self._note(before, replace(before, damaged=name))
                return UpkeepResult(self.feed, is_damaged=True)
        before = state.scrub or Scrub(begun_at=now)
        after = read_pieces(generation, before, count=_due(generation, state), now=now, is_stopped=is_stopped)
        self._note(before, after)
        if after.damaged is not None:
            log.error("the generation of feed %s on this disk is damaged; the next sync fetches it again", self.feed)
        return UpkeepResult(self.feed, is_damaged=after.damaged is not None)

    def note_damage(self, generation: Generation) -> None:
        """Store that a list was found damaged, so that the next sync fetches it again, whatever was due to be read.

        Whoever found it has an error of its own to report, so one of storing this is only logged.
        """

        def noted(state: SyncState) -> SyncState:
            scrub = state.scrub or Scrub(begun_at=times.now())
            return replace(state, scrub=replace(scrub, damaged=generation.name))

        try:
            self._change(noted)
        except BlocklistError as error:
            log.error("feed %s: the damage could not be noted, so a sync may find it late: %s", self.feed, error)

    def _note(self, before: Scrub, after: Scrub) -> None:
        """Store how far the list was read."""

        def noted(state: SyncState) -> SyncState:
            if state.scrub not in (None, before):
                # A sync has read on meanwhile, or something else has found damage; only what they cannot know is added.
                known = state.scrub or before
                return replace(state, scrub=replace(known, damaged=after.damaged or known.damaged))
            return replace(state, scrub=after)

        self._change(noted)

    def _note_folded(self, replaced: str) -> None:
        """Store that all was written anew just now; and which generation it is, if that is known by its name."""
        opened, now = self.store.open(), times.now()

        def noted(state: SyncState) -> SyncState:
            if opened is not None and state.former_generation == replaced:
                state = replace(state, former_generation=opened[0].name)
            return replace(state, scrub=Scrub(begun_at=now, whole_at=now))

        self._change(noted)

    def _change(self, change: Callable[[SyncState], SyncState]) -> None:
        try:
            with self.store.lock(_NOTE_WAIT_S):
                save_state(self.state_file, change(load_state(self.state_file)), self.store.state_access)
        except Locked as error:
            log.info("feed %s: the upkeep was not noted: %s", self.feed, error)


def _due(generation: Generation, state: SyncState) -> int:
    """How many pieces are to be read; a short list is read whole by every sync."""
    now = times.now()
    if generation.bytes <= AT_ONCE_BYTES or (state.scrub is not None and state.scrub.damaged == generation.name):
        return 0
    return pieces_due(state.scrub or Scrub(begun_at=now), pieces=generation.pieces(), now=now)


class UpkeepThread:
    """Upkeep in a thread that runs only while there is something to do.

    In a forked process it does not run; what it was at is done by the process that has it.

    Attributes:
        upkeep: what it does.
    """

    def __init__(self, upkeep: Upkeep) -> None:
        """Starts nothing."""
        self.upkeep: Upkeep = upkeep
        self._lock = ForkSafeLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._found: UpkeepResult | None = None

    def begin(self, generation: Generation) -> None:
        """Start the thread if something is due, and it does not run."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._found = None
            try:
                if not self.upkeep.is_due(generation):
                    return
            except BlocklistError as error:
                log.error("%s", error)
                return
            self._stop.clear()
            # Not a daemon: if Python shut down around it, native code that still runs there might crash the process.
            self._thread = threading.Thread(target=self._run, name=f"blocklist-upkeep-{self.upkeep.feed}")
            self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the thread has ended."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def finish(self) -> UpkeepResult:
        """Wait for the thread, do what is due then, and return what both found.

        Raises:
            StorageFailed, InvalidInput: as for `Upkeep.run`.
        """
        self.wait()
        found, self._found = self._found, None
        done = self.upkeep.run()
        if found is None:
            return done
        return replace(
            done, is_folded=found.is_folded or done.is_folded, is_damaged=found.is_damaged or done.is_damaged
        )

    def close(self) -> None:
        """Wait for the thread, but not for ever; then it is stopped, and ends after the step that it is at."""
        self.wait(_CLOSE_WAIT_S)
        self._stop.set()

    def _run(self) -> None:
        self._found = run_logged(self.upkeep, lambda: self._stop.is_set() or not threading.main_thread().is_alive())


def run_logged(upkeep: Upkeep, is_stopped: Callable[[], bool]) -> UpkeepResult | None:
    """Do what is due where nobody waits for it: an error is logged, and then there is no result."""
    try:
        return upkeep.run(is_stopped)
    except BlocklistError as error:
        log.error("upkeep of feed %s failed: %s", upkeep.feed, error)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the list answers as before
        with contextlib.suppress(Exception):
            log.error("upkeep of feed %s failed: %s", upkeep.feed, unexpected(error))
    return None
