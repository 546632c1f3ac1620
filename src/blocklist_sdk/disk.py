"""Files that are either whole or not there."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed


def storage_failed(error: OSError, path: Path) -> StorageFailed:
    """What to raise where the disk refused."""
    return StorageFailed(
        f"cannot use {path}: {error.strerror or error}. Check that the directory can be written and has room; "
        "what was in force before still is.",
        path=path,
    )


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into `StorageFailed`, with the path and what to do."""
    try:
        yield
    except OSError as error:
        raise storage_failed(error, path) from error


def regular_target(path: Path) -> Path:
    """Where a file may be replaced: links followed, and never a device, a pipe or a directory.

    Raises:
        InvalidInput: something else than a file is there.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise InvalidInput(f"{path} is no regular file: name a file that may be written over")
    return target


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name at the end, and is gone if anything fails.

    Raises:
        InvalidInput: something else than a file is there.
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
    """Replace a file by a JSON document, atomically and durably."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            # Whoever may enter the directory may read: a sync often runs as another user than those who ask.
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_directory(path.parent)


def read_json(path: Path, *, format_version: int) -> dict[str, Any] | None:
    """A JSON document of ours, None where there is no file.

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
