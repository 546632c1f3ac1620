"""Files that are either whole or not there."""

import contextlib
import errno
import json
import logging
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed
from blocklist_sdk.modes import PRIVATE, Access
from blocklist_sdk.places import absolute, advice_on, resolved

log: logging.Logger = logging.getLogger(__name__)

_FLUSHED_AT_A_TIME = 8
"""A file system brings what is flushed at the same time to the disk in one go; measured, more files gain nothing."""

STAGED_PREFIX = ".new-"
"""Begins the names of files that are still being written; our servers never serve a name that starts with a dot."""


def storage_failed(error: OSError, path: Path) -> StorageFailed:
    """The error to raise for an error of the disk."""
    advice = "Check that the directory can be written and has room."
    if isinstance(error, PermissionError):
        advice = (
            "This user has no permission there: be the user to whom it belongs, or have that user let a group of both "
            "use it (what a sync writes: blocklist sync --group)."
        )
    return StorageFailed(
        f"cannot use {path}: {error.strerror or error}. {advice} Nothing half-written is in force.{advice_on(path)}",
        path=path,
    )


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn errors of the disk into `StorageFailed`, with the path and what to do."""
    try:
        yield
    except OSError as error:
        raise storage_failed(error, path) from error


def read_unlinked(path: Path, max_bytes: int = -1) -> bytes | None:
    """The content of a file of ours, None if it does not exist.

    Args:
        path: the file.
        max_bytes: the most that is read; by default all of it.

    Raises:
        StorageFailed: it cannot be read, is not a file, or is a link: whoever can make one elsewhere would have us read
            and trust what lies there.
    """
    with storage(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _linked(path) from error
            raise
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _linked(path)
            return file.read(max_bytes)


def forbid_links(*directories: Path) -> None:
    """Make sure that directories of ours are not links to others, in which we would write and delete.

    Raises:
        StorageFailed: one is.
    """
    for directory in directories:
        if directory.is_symlink():
            raise _linked(directory)


def _unlinked(path: str, flags: int) -> int:
    """Open a file of ours, unless somebody has put a link in its place; an opener for `open`."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def make_empty(path: Path) -> None:
    """Make an empty private file, unless there is one.

    Raises:
        StorageFailed: there is a link or something else in its place.
    """
    with storage(path):
        try:
            flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags, PRIVATE.file_mode)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise _linked(path) from error
            raise
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _linked(path)
        finally:
            os.close(descriptor)


def check_owners(directory: Path) -> None:
    """Make sure that no stranger decides which directory a path is, now or while it is in use.

    Links on the way must be this user's or the administrator's, and so must directories in one such as ``/tmp``, where
    everybody may make some. A directory in which everybody may also replace others' is logged: containers have such
    volumes, in which nobody else is.

    Args:
        directory: a directory that need not exist.

    Raises:
        InvalidInput: a stranger could.
    """
    trusted = (0, os.geteuid())
    is_everybodys = False
    for path in (*reversed(absolute(directory).parents), absolute(directory)):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(status.st_mode):
            if status.st_uid not in trusted:
                raise InvalidInput(f"{path} is a link that another user made: remove it, or name another directory")
            status = os.stat(path)
        if is_everybodys and status.st_uid not in trusted:
            raise InvalidInput(
                f"{path} was made by another user, in a directory where everybody may write: name another directory"
            )
        is_everybodys = bool(status.st_mode & stat.S_IWOTH and status.st_mode & stat.S_ISVTX)
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            log.warning(
                "every user may write in %s, and so decide what %s is: run `chmod o-w %s`, or name another directory",
                path,
                directory,
                shlex.quote(str(path)),
            )


def _linked(path: Path) -> StorageFailed:
    return StorageFailed(
        f"{path} is a link, or no plain file, where one of our own must be: remove it, and see who can write there",
        path=path,
    )


def regular_target(path: Path) -> Path:
    """The path of a file to be replaced, links followed; never that of a device, a pipe or a directory.

    Raises:
        InvalidInput: `path` exists and is not a regular file, or is a link that another user made: in a directory such
            as ``/tmp`` it would have us overwrite a file of our own elsewhere.
    """
    if path.is_symlink() and os.lstat(path).st_uid not in (0, os.geteuid()):
        raise InvalidInput(
            f"{path} is a link that another user made: remove it, or name the file that is to be written itself"
        )
    target = resolved(path)
    if target.exists() and not target.is_file():
        raise InvalidInput(f"{path} is not a regular file: name a file that may be overwritten")
    return target


@contextlib.contextmanager
def replaced(path: Path, access: Access = PRIVATE) -> Iterator[Path]:
    """A temporary file beside `path` that replaces it at the end; removed if anything fails.

    It has a name that nobody can guess, and its owner alone can read it before it has the name `path`.

    Args:
        path: the file.
        access: who may read it then.

    Raises:
        InvalidInput: `path` exists and is not a regular file, or is another user's link.
        StorageFailed: the directory cannot be written.
    """
    path = regular_target(path)
    with storage(path), staged(path.parent) as temporary:
        yield temporary
        access.give(temporary)
        os.replace(temporary, path)


def sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's bytes survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_files(paths: Sequence[Path]) -> None:
    """The same for several files side by side, so that the disk writes them together rather than one by one."""
    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(_FLUSHED_AT_A_TIME) as pool:
        list(pool.map(sync_file, paths))


def write_json(path: Path, document: dict[str, Any], access: Access = PRIVATE) -> None:
    """Replace a file by a JSON document, atomically and durably."""
    write_file(path, json.dumps(document, indent=1).encode(), access)


def write_file(path: Path, data: bytes, access: Access = PRIVATE) -> None:
    """Write a file, or replace it, in one durable rename: no reader sees a part of it."""
    with staged(path.parent) as temporary:
        with open(temporary, "wb", opener=_unlinked) as file:
            file.write(data)
        adopt(temporary, path, access)


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A private temporary file in the directory of the final one; removed at the end unless it was adopted."""
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=STAGED_PREFIX)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def adopt(temporary: Path, path: Path, access: Access = PRIVATE) -> None:
    """Give a staged file its access and its name, durably: bytes first, then the rename, then the directory."""
    access.give(temporary)
    sync_file(temporary)
    os.replace(temporary, path)
    sync_directory(path.parent)


def sweep(directory: Path) -> None:
    """Remove what killed runs left half-written, in subdirectories as well; the caller holds the lock."""
    for path in directory.rglob(f"{STAGED_PREFIX}*"):
        path.unlink(missing_ok=True)


def read_json(path: Path, *, format_version: int) -> dict[str, Any] | None:
    """A JSON document of ours, None if the file does not exist.

    Raises:
        Malformed: it is damaged.
        InvalidInput: it was written by a newer version of this library.
        StorageFailed: it cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError as error:
        raise Malformed(f"{path} is damaged: it is a directory") from error
    except OSError as error:
        raise storage_failed(error, path) from error
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{path} is damaged: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise Malformed(f"{path} is damaged: it is not one of ours")
    if document["format"] > format_version:
        raise InvalidInput(f"{path} was written by a newer blocklist-sdk (format {document['format']}): upgrade this")
    return document
