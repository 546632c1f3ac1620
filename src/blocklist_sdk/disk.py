"""Files that are either whole or not there."""

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed
from blocklist_sdk.places import advice_on, resolved

STAGED_PREFIX = ".new-"
"""Begins the names of files that are still being written; our servers never serve a name that starts with a dot."""

PUBLIC_FILE_MODE = 0o644
PUBLIC_DIRECTORY_MODE = 0o755


def storage_failed(error: OSError, path: Path) -> StorageFailed:
    """The error to raise for an error of the disk."""
    return StorageFailed(
        f"cannot use {path}: {error.strerror or error}. Check that the directory can be written and has room. "
        f"Nothing half-written is in force.{advice_on(path)}",
        path=path,
    )


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn errors of the disk into `StorageFailed`, with the path and what to do."""
    try:
        yield
    except OSError as error:
        raise storage_failed(error, path) from error


def read_unlinked(path: Path) -> bytes | None:
    """The content of a file of ours, None if it does not exist.

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
            return file.read()


def forbid_links(*directories: Path) -> None:
    """Make sure that directories of ours are not links to others, in which we would write and delete.

    Raises:
        StorageFailed: one is.
    """
    for directory in directories:
        if directory.is_symlink():
            raise _linked(directory)


def _linked(path: Path) -> StorageFailed:
    return StorageFailed(
        f"{path} is a link, or no plain file, where one of our own must be: remove it, and see who can write there",
        path=path,
    )


def regular_target(path: Path) -> Path:
    """The path of a file to be replaced, links followed; never that of a device, a pipe or a directory.

    Raises:
        InvalidInput: `path` exists and is not a regular file.
    """
    target = resolved(path)
    if target.exists() and not target.is_file():
        raise InvalidInput(f"{path} is not a regular file: name a file that may be overwritten")
    return target


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that replaces it at the end; removed if anything fails.

    Raises:
        InvalidInput: `path` exists and is not a regular file.
        StorageFailed: the directory cannot be written.
    """
    path = regular_target(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with storage(path):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


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


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a file by a JSON document, atomically and durably.

    Whoever may enter the directory may read it: a sync often runs as another user than the programs that ask.
    """
    write_file(path, json.dumps(document, indent=1).encode())


def write_file(path: Path, data: bytes, *, mode: int = PUBLIC_FILE_MODE) -> None:
    """Write a file, or replace it, in one durable rename: no reader sees a part of it."""
    with staged(path.parent) as temporary:
        temporary.write_bytes(data)
        adopt(temporary, path, mode=mode)


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


def adopt(temporary: Path, path: Path, *, mode: int = PUBLIC_FILE_MODE) -> None:
    """Give a staged file its name, durably: bytes first, then the rename, then the directory."""
    temporary.chmod(mode)
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
