"""New files in the repository: whole, durable, readable by a web server, and removed only when nobody needs them."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from blocklist_sdk.disk import sync_directory, sync_file

STAGED_PREFIX = ".new-"
"""Files that are still being written; a name that starts with a dot is never served."""

PUBLIC_FILE_MODE = 0o644
PUBLIC_DIRECTORY_MODE = 0o755


def write_new(path: Path, data: bytes, *, mode: int = PUBLIC_FILE_MODE) -> None:
    """Write a file, or replace it, in one durable rename."""
    with staged(path.parent) as temporary:
        temporary.write_bytes(data)
        adopt(temporary, path, mode=mode)


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A private temporary file beside where the final one will stand; gone at the end unless adopted."""
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=STAGED_PREFIX)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def adopt(temporary: Path, path: Path, *, mode: int = PUBLIC_FILE_MODE) -> None:
    """Give a staged file its name: bytes first, then the rename, then the directory."""
    temporary.chmod(mode)
    sync_file(temporary)
    os.replace(temporary, path)
    sync_directory(path.parent)


def sweep(directory: Path) -> None:
    """Remove what killed runs left half-written; the caller holds the lock."""
    for path in directory.rglob(f"{STAGED_PREFIX}*"):
        path.unlink(missing_ok=True)
