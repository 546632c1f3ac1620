"""A lock that a forked process does not inherit locked.

A fork copies memory and one thread. A lock that another thread held at that moment stays held in the child, by nobody,
and whoever waits for it there waits for ever.
"""

import os
import threading
import weakref
from types import TracebackType


class ForkSafeLock:
    """A re-entrant lock that is free in a forked process.

    What it guards must be consistent after every single step, since a fork may come between any two.

    >>> with ForkSafeLock():
    ...     pass
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def acquire(self, *, blocking: bool = True) -> bool:
        """Take it; False if another thread holds it and the caller does not wait."""
        return self._lock.acquire(blocking=blocking)

    def release(self) -> None:
        """Let go of it."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Forget who holds it."""
        self._lock = threading.RLock()


_locks: "weakref.WeakSet[ForkSafeLock]" = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


os.register_at_fork(after_in_child=_renew_all)
