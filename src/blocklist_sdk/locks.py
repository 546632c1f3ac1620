"""Locks between processes, and a lock that a forked process does not inherit locked."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import Locked, StorageFailed
from blocklist_sdk.modes import PRIVATE

if TYPE_CHECKING:
    import sqlite3

    from filelock import BaseFileLock

_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system without locks answers (flock(2), fcntl(2))."""

_SQLITE_BUSY: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
"""SQLite's words where another process is at work, and for ENOLCK as well (`sqliteErrorFromPosixError`)."""

_SQLITE_NO_LOCK: Final = ("SQLITE_IOERR_LOCK", "SQLITE_IOERR_RDLOCK", "SQLITE_IOERR_UNLOCK", "SQLITE_IOERR_CHECKRES")
"""SQLite's words where a lock itself fails."""


@contextlib.contextmanager
def file_lock(path: Path, *, wait_s: float, busy: str) -> Iterator[None]:
    """Hold a lock that one process at a time can hold.

    Args:
        path: the lock's file, which stays; its directory must exist.
        wait_s: how long to wait for another process; 0 or less does not wait.
        busy: what the other process does, for the message: "another process is publishing".

    Raises:
        Locked: another process still held it after `wait_s` seconds.
        StorageFailed: the directory cannot be written, or its file system has no locks.
    """
    lock = acquired(path, wait_s=wait_s, busy=busy)
    try:
        yield
    finally:
        lock.release()


def acquired(path: Path, *, wait_s: float, busy: str) -> "BaseFileLock":
    """As `file_lock`, for a lock that outlives a block: the caller releases it."""
    from filelock import FileLock, SoftFileLock, Timeout  # here, since look-ups do without it

    # A lock that another user could open is one that they could hold.
    mode = PRIVATE.file_mode
    try:
        # A soft lock is a mark that a killed process leaves.
        lock = FileLock(path, mode=mode, fallback_to_soft=False)
    except TypeError:
        lock = FileLock(path, mode=mode)  # older versions raise NotImplementedError instead, or have no choice
    wait_s = max(0.0, wait_s)  # filelock takes -1 for "wait for ever"
    with storage(path):
        try:
            lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise Locked(f"{busy} (waited {wait_s:g} s): try again later", path=path) from error
        except NotImplementedError as error:
            raise without_locks(path) from error
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise without_locks(path) from error
            raise
    if isinstance(lock, SoftFileLock):
        lock.release()
        raise without_locks(path)
    return lock


def without_locks(path: Path) -> StorageFailed:
    """The error where a file system has no locks.

    Args:
        path: the file that was to be locked.
    """
    return StorageFailed(
        f"{path} cannot be locked: its file system has no locks, as some network file systems and shared folders. "
        "Without them two processes would change the same files at once. Keep it on a local disk (a recipient's: "
        "--cache-dir and --state-dir), or mount that file system with locks (NFS: version 4, or 3 with its lock "
        "service and without nolock). Nothing was changed.",
        path=path,
    )


def lock_descriptor(descriptor: int, path: Path, *, wait: bool) -> None:
    """Lock an open file for this process.

    Args:
        descriptor: the file.
        path: where it is, for messages.
        wait: whether to wait for another process.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
        StorageFailed: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise without_locks(path) from error
        raise


def sqlite_locked(error: "sqlite3.Error", path: Path, *, busy: str) -> Locked | StorageFailed | None:
    """The error to raise if a database could not be locked; None for any other one.

    Args:
        error: SQLite's.
        path: the database's file.
        busy: what another process does, for the message.
    """
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(_SQLITE_NO_LOCK):
        return without_locks(path)
    if not name.startswith(_SQLITE_BUSY):
        return None
    return Locked(f"{busy}: try again", path=path) if _locks_work(path) else without_locks(path)


def _locks_work(path: Path) -> bool:
    """Whether files beside one can be locked, as SQLite does it; True where there is none to try.

    Never the file itself: to close it would release this process's own locks on it (fcntl(2)).
    """
    with contextlib.suppress(OSError):
        for other in sorted(path.parent.iterdir()):
            if not other.name.startswith(path.name) and stat.S_ISREG(other.lstat().st_mode):
                descriptor = os.open(other, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError as error:
                    return error.errno not in _NO_LOCKS
                finally:
                    os.close(descriptor)
                return True
    return True


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
