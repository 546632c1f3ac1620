"""Stopping a sync from another thread."""

import contextlib
import threading
from collections.abc import Callable, Iterator


class SyncStopped(BaseException):
    """A sync was stopped. As with Ctrl-C this is not an error: nothing is recorded, and what was in force still is.

    It is not an `Exception`, so that code which handles failures does not take it for one.
    """


class StopSignal:
    """Stops one or more syncs in other threads. Works like `threading.Event`, but cannot be cleared.

    >>> stop = StopSignal()
    >>> stop.wait(0)
    False
    >>> stop.set()
    >>> stop.wait(60)
    True
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether the syncs were stopped."""
        return self._event.is_set()

    def set(self) -> None:
        """Stop the syncs. Returns at once; they end soon after."""
        with self._lock:
            self._event.set()
            callbacks = tuple(self._callbacks)
        for callback in callbacks:
            callback()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is set, at most `timeout_s` seconds; return whether it is."""
        return self._event.wait(timeout_s)

    @contextlib.contextmanager
    def callback(self, function: Callable[[], None]) -> Iterator[None]:
        """Call a function, in the thread that sets the signal, if that is done before or within the block."""
        with self._lock:
            self._callbacks.append(function)
        try:
            if self.is_set():
                function()
            yield
        finally:
            with self._lock:
                self._callbacks.remove(function)
