"""A mirror on disk: which repository it mirrors, one run at a time, and a state that changes in one step.

::

    DIR/
        metadata/  targets/   the part to serve, in the layout of every repository
        .mirror/              readable by the owner alone
            mirror.json       marks the folder as a mirror, and lists its feeds
            tuf/              metadata verified so far, which guards against a rollback
            retired.json      when files were dropped that wait to be deleted
            arriving          the file that is being fetched
            lock
"""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from itertools import chain
from pathlib import Path

from blocklist_sdk import times
from blocklist_sdk.disk import (
    adopt,
    read_json,
    staged,
    storage,
    sweep,
    sync_directory,
    sync_file,
    write_file,
    write_json,
)
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.fetch.repository_contents import RepositoryContents, SignedFile
from blocklist_sdk.locks import file_lock
from blocklist_sdk.modes import PRIVATE, PUBLIC
from blocklist_sdk.publisher.retention import delete_unneeded

_FORMAT = 1
_PRIVATE = ".mirror"
_TIMESTAMP = "timestamp.json"


class MirrorFolder:
    """The folder of a mirror."""

    def __init__(self, directory: Path) -> None:
        """Touch nothing yet; the folder need not exist."""
        self.directory = directory
        self.metadata: Path = directory / "metadata"
        self._private = directory / _PRIVATE
        self._marker = self._private / "mirror.json"
        self.trust: Path = self._private / "tuf"
        self.arriving: Path = self._private / "arriving"

    def check(self, root: bytes) -> None:
        """Make sure that the folder is empty, new, or a mirror of the repository with this root.

        Raises:
            InvalidInput: it is something else.
            StorageFailed: the folder cannot be read.
        """
        with storage(self.directory):
            if self._marker.is_file():
                self._check_root(root)
            elif self.directory.is_dir():
                self._check_empty()
            elif self.directory.exists() or self.directory.is_symlink():
                raise InvalidInput(f"{self.directory} is not a folder: give a new folder, or a mirror")

    def _check_root(self, root: bytes) -> None:
        self.feeds()  # refuses a mirror that a newer version has written
        roots = chain(self.trust.glob("root_history/*.json"), self.metadata.glob("*.root.json"))
        if not any(path.read_bytes() == root for path in roots):
            raise InvalidInput(
                f"{self.directory} mirrors a repository with another root: give the root.json that the mirror was made "
                "with, or another folder"
            )

    def _check_empty(self) -> None:
        # A first run that was killed before it had verified anything leaves .mirror without the marker.
        if any(path != self._private for path in self.directory.iterdir()):
            raise InvalidInput(f"{self.directory} is neither empty nor a mirror: give a new folder, or a mirror")

    @contextlib.contextmanager
    def locked(self, root: bytes, *, wait_s: float) -> Iterator[None]:
        """Lock the folder, so that one run at a time changes it. A new folder that is not claimed is removed again.

        Raises:
            InvalidInput: the folder is something other than a mirror of the repository with this root.
            Locked: another run locked it for longer than `wait_s` seconds.
            StorageFailed: the folder cannot be written.
        """
        self.check(root)
        made = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        busy = f"another run is mirroring into {self.directory}"
        try:
            with storage(self._private):
                PUBLIC.make(self.directory)
                PRIVATE.make(self._private)
            with file_lock(self._private / "lock", wait_s=wait_s, busy=busy):
                try:
                    self.check(root)
                    yield
                finally:
                    if not self._marker.exists():
                        shutil.rmtree(self._private, ignore_errors=True)
        finally:
            for path in made:
                # This fails if there is something in the folder by now.
                with contextlib.suppress(OSError):
                    path.rmdir()

    # All methods below need the lock

    def feeds(self) -> tuple[str, ...]:
        """The feeds that the last complete run mirrored; empty before the first.

        Raises:
            InvalidInput: a newer version of this library made the mirror.
            StorageFailed: the disk refused.
        """
        try:
            document = read_json(self._marker, format_version=_FORMAT) or {}
        except Malformed:
            return ()
        feeds = document.get("feeds")
        return tuple(map(str, feeds)) if isinstance(feeds, list) else ()

    def claim(self) -> None:
        """Make the verified metadata survive a power cut, and then mark the folder as a mirror.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self._private):
            for path in self.trust.rglob("*.json"):
                sync_file(path)
            for folder in (self.trust, *self.trust.glob("*/")):
                sync_directory(folder)
        if not self._marker.is_file():
            self.write_feeds(())

    def write_feeds(self, feeds: Collection[str]) -> None:
        """Record which feeds are mirrored.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self._marker):
            write_json(self._marker, {"format": _FORMAT, "feeds": list(feeds)})

    def prepare(self) -> None:
        """Make the folders to serve, and delete what a killed run left half-written.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self.directory):
            for path in (self.metadata, self.directory / "targets"):
                PUBLIC.make(path)
                sweep(path)
            sweep(self._private)
            sync_directory(self.directory)

    def lacks(self, file: SignedFile) -> bool:
        """Whether a target file is missing here, or is not the one that was signed.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self.directory):
            return not file.is_at(self._path(file))

    def add(self, file: SignedFile) -> None:
        """Move the file that has arrived, and was verified, to its path.

        Raises:
            StorageFailed: the disk refused.
        """
        path = self._path(file)
        with storage(path):
            if not path.parent.is_dir():
                PUBLIC.make(path.parent)
                for folder in path.parent.relative_to(self.directory).parents:
                    sync_directory(self.directory / folder)
            adopt(self.arriving, path, PUBLIC)

    def switch(self, contents: RepositoryContents) -> bool:
        """Put a state in force, once all its target files are here: write its metadata, the timestamp last.

        Returns:
            Whether the state has changed.

        Raises:
            StorageFailed: the disk refused; the state before is in force, or already the new one.
        """
        with storage(self.metadata):
            for name, data in contents.roles.items():
                if not self._has(name, data):
                    write_file(self.metadata / name, data, PUBLIC)
            # These are in force as soon as they exist, so the timestamp is the last.
            files = {**contents.roots, _TIMESTAMP: contents.timestamp}
            last = {name: data for name, data in files.items() if not self._has(name, data)}
            self._rename_together(last)
        return _TIMESTAMP in last

    def _rename_together(self, files: Mapping[str, bytes]) -> None:
        """Write all files, then rename them, in order.

        A root is in force as soon as its file exists. If it replaces the online key, readers are refused until the
        timestamp is renamed as well, so the renames must follow each other at once.
        """
        with contextlib.ExitStack() as stack:
            renames: list[tuple[Path, Path]] = []
            for name, data in files.items():
                temporary = stack.enter_context(staged(self.metadata))
                temporary.write_bytes(data)
                PUBLIC.give(temporary)
                sync_file(temporary)
                renames.append((temporary, self.metadata / name))
            for temporary, path in renames:
                os.replace(temporary, path)
        sync_directory(self.metadata)

    def delete_unreferenced(self, contents: RepositoryContents, *, grace: timedelta) -> None:
        """Delete files to which the state in force has not referred for longer than `grace`.

        Raises:
            StorageFailed: the disk refused.
        """
        needed = {self.metadata / name for name in (*contents.roles, _TIMESTAMP)}
        # Earlier roots, too: a recipient may have pinned an older one than this run did.
        needed.update(self.metadata.glob("*.root.json"))
        needed.update(map(self._path, contents.files))
        record = self._private / "retired.json"
        delete_unneeded(self.directory, needed, record, now=times.now(), grace=grace)

    def _path(self, file: SignedFile) -> Path:
        return self.directory / "targets" / file.stored

    def _has(self, name: str, data: bytes) -> bool:
        path = self.metadata / name
        return path.is_file() and path.read_bytes() == data
