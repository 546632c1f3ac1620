"""Locks between processes, and a lock that a forked process does not inherit locked."""

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import Locked
from blocklist_sdk.modes import PRIVATE

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextlib.contextmanager
def file_lock(path: Path, *, wait_s: float, busy: str) -> Iterator[None]:
    """Hold a lock that one process at a time can hold.

    Args:
        path: the lock's file, which stays; its directory must exist.
        wait_s: how long to wait for another process; 0 or less does not wait.
        busy: what the other process does, for the message: "another process is publishing".

    Raises:
        Locked: another process still held it after `wait_s` seconds.
        StorageFailed: the directory cannot be written.
    """
    lock = acquired(path, wait_s=wait_s, busy=busy)
    try:
        yield
    finally:
        lock.release()


def acquired(path: Path, *, wait_s: float, busy: str) -> "BaseFileLock":
    """As `file_lock`, for a lock that outlives a block: the caller releases it."""
    from filelock import FileLock, Timeout  # here, since look-ups do without it

    # A lock that another user could open is one that they could hold.
    lock = FileLock(path, mode=PRIVATE.file_mode)
    wait_s = max(0.0, wait_s)  # filelock takes -1 for "wait for ever"
    with storage(path):
        try:
            lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise Locked(f"{busy} (waited {wait_s:g} s): try again later", path=path) from error
    return lock


class ForkSafeLock:
    """A re-entrant lock that is free in a forked process.

    A fork copies memory and one thread. Any other lock that another thread held at that moment stays locked in the
    child, where no thread will ever release it.

    What it guards must be consistent after every single step, since a fork may come between any two.

    >>> with ForkSafeLock():
    ...     pass
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def acquire(self, *, blocking: bool = True) -> bool:
        """Acquire it; False if another thread holds it and `blocking` is False."""
        return self._lock.acquire(blocking=blocking)

    def release(self) -> None:
        """Release it."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Replace the lock by a new, free one; for the child after a fork."""
        self._lock = threading.RLock()


_locks: "weakref.WeakSet[ForkSafeLock]" = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


os.register_at_fork(after_in_child=_renew_all)
