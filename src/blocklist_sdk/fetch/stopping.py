"""Ending a sync from another thread."""

import contextlib
import threading
from collections.abc import Callable, Iterator


class SyncStopped(BaseException):
    """A sync was told to stop. Like Ctrl-C it is no error: nothing is recorded, and nothing is in force but before.

    No `Exception`, so that nothing which deals with failures takes it for one.
    """


class StopSignal:
    """Tells one or more syncs, in other threads, to stop; once given it stays given.

    >>> stop = StopSignal()
    >>> stop.wait(0)
    False
    >>> stop.give()
    >>> stop.wait(60)
    True
    """

    def __init__(self) -> None:
        self._given = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []

    @property
    def is_given(self) -> bool:
        """Whether it was given."""
        return self._given.is_set()

    def give(self) -> None:
        """Give it. Returns at once; who was told ends soon after."""
        with self._lock:
            self._given.set()
            calls = tuple(self._calls)
        for call in calls:
            call()

    def wait(self, timeout_s: float) -> bool:
        """Wait for it, at most so long; whether it was given."""
        return self._given.wait(timeout_s)

    @contextlib.contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Have something called when it is given within the block, from the thread that gives it."""
        with self._lock:
            self._calls.append(call)
        try:
            if self.is_given:
                call()
            yield
        finally:
            with self._lock:
                self._calls.remove(call)
