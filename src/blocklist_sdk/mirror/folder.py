"""A mirror on disk: whose it is, one run at a time, and a state that changes in one step.

::

    DIR/
        metadata/  targets/   what is served: the layout of every repository
        .mirror/              for the owner alone
            mirror.json       that this is a mirror, and of which feeds
            tuf/              metadata verified before, behind which nothing goes back
            retired.json      since when files are no longer referred to
            arriving          what is being fetched
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
    PUBLIC_DIRECTORY_MODE,
    PUBLIC_FILE_MODE,
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
from blocklist_sdk.publisher.retention import retire

_FORMAT = 1
_PRIVATE = ".mirror"
_PRIVATE_MODE = 0o700
_TIMESTAMP = "timestamp.json"


class Folder:
    """A mirror's folder."""

    def __init__(self, directory: Path) -> None:
        """On a folder that need not exist; touches nothing."""
        self.directory = directory
        self.metadata = directory / "metadata"
        self._private = directory / _PRIVATE
        self._marker = self._private / "mirror.json"
        self.trust = self._private / "tuf"
        self.arriving = self._private / "arriving"

    def check(self, root: bytes) -> None:
        """Make sure that a mirror which rests on this root stands here, or nothing at all.

        Raises:
            InvalidInput: something else does.
            StorageFailed: that cannot be seen.
        """
        with storage(self.directory):
            if self._marker.is_file():
                self._check_root(root)
            elif self.directory.is_dir():
                self._check_empty()
            elif self.directory.exists() or self.directory.is_symlink():
                raise InvalidInput(f"{self.directory} is no folder: give a new one, or a mirror")

    def _check_root(self, root: bytes) -> None:
        self.feeds()  # who cannot read what a newer version wrote had better not change it
        roots = chain(self.trust.glob("root_history/*.json"), self.metadata.glob("*.root.json"))
        if not any(path.read_bytes() == root for path in roots):
            raise InvalidInput(
                f"{self.directory} mirrors a repository that does not rest on this root: give the root.json that it "
                "was made with, or another folder"
            )

    def _check_empty(self) -> None:
        # Its own folder without the marker is what a first run left that was killed before it had verified anything.
        if any(path != self._private for path in self.directory.iterdir()):
            raise InvalidInput(f"{self.directory} is neither empty nor a mirror: give a new folder, or a mirror")

    @contextlib.contextmanager
    def held(self, root: bytes, *, wait_s: float) -> Iterator[None]:
        """Hold the folder, so that one run at a time changes it. What is begun and not claimed goes without a trace.

        Raises:
            InvalidInput: something else stands here than a mirror which rests on this root.
            Locked: another run held it for longer than `wait_s` seconds.
            StorageFailed: the folder cannot be written.
        """
        self.check(root)
        made = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        try:
            with self._lock(wait_s):
                try:
                    self.check(root)
                    yield
                finally:
                    if not self._marker.exists():
                        shutil.rmtree(self._private, ignore_errors=True)
        finally:
            for path in made:
                # Refused wherever there is something in it by now.
                with contextlib.suppress(OSError):
                    path.rmdir()

    @contextlib.contextmanager
    def _lock(self, wait_s: float) -> Iterator[None]:
        path = self._private / "lock"
        with storage(self._private):
            self.directory.mkdir(mode=PUBLIC_DIRECTORY_MODE, parents=True, exist_ok=True)
            self._private.mkdir(mode=_PRIVATE_MODE, exist_ok=True)
        with file_lock(path, wait_s=wait_s, busy=f"another run is mirroring into {self.directory}"):
            yield

    # What follows is for who holds the folder

    def feeds(self) -> tuple[str, ...]:
        """The feeds that the last whole run mirrored; none before the first.

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
        """Make what was verified survive a power cut, and then say that this is a mirror which rests on it.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self._private):
            for path in self.trust.rglob("*.json"):
                sync_file(path)
            for folder in (self.trust, *self.trust.glob("*/")):
                sync_directory(folder)
        if not self._marker.is_file():
            self.note(feeds=())

    def note(self, *, feeds: Collection[str]) -> None:
        """Remember which feeds are mirrored.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self._marker):
            write_json(self._marker, {"format": _FORMAT, "feeds": list(feeds)})

    def prepare(self) -> None:
        """Make the folders to serve, and clear away what a killed run was writing there.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self.directory):
            for path in (self.metadata, self.directory / "targets"):
                path.mkdir(mode=PUBLIC_DIRECTORY_MODE, exist_ok=True)
                sweep(path)
            sweep(self._private)
            sync_directory(self.directory)

    def lacks(self, file: SignedFile) -> bool:
        """Whether a target file is not here, or not as it was signed.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self.directory):
            return not file.is_at(self._place(file))

    def take_in(self, file: SignedFile) -> None:
        """Put the file that has arrived, and was verified, where it belongs.

        Raises:
            StorageFailed: the disk refused.
        """
        place = self._place(file)
        with storage(place):
            if not place.parent.is_dir():
                place.parent.mkdir(mode=PUBLIC_DIRECTORY_MODE, parents=True)
                for folder in place.parent.relative_to(self.directory).parents:
                    sync_directory(self.directory / folder)
            adopt(self.arriving, place)

    def switch(self, contents: RepositoryContents) -> bool:
        """Put a state in force whose target files are all here: its metadata, the timestamp last.

        Returns:
            Whether it is another one than before.

        Raises:
            StorageFailed: the disk refused; the state before is in force, or already this one.
        """
        with storage(self.metadata):
            for name, data in contents.roles.items():
                if not self._has(name, data):
                    write_file(self.metadata / name, data)
            last = {name: data for name, data in _last(contents).items() if not self._has(name, data)}
            self._rename_together(last)
        return _TIMESTAMP in last

    def _rename_together(self, files: Mapping[str, bytes]) -> None:
        """Write files, and then only rename them, in order.

        A root is in force when its file is there. Where it replaces the online key, a reader is refused between its
        rename and the timestamp's: that has to be short.
        """
        with contextlib.ExitStack() as stack:
            renames: list[tuple[Path, Path]] = []
            for name, data in files.items():
                temporary = stack.enter_context(staged(self.metadata))
                temporary.write_bytes(data)
                temporary.chmod(PUBLIC_FILE_MODE)
                sync_file(temporary)
                renames.append((temporary, self.metadata / name))
            for temporary, path in renames:
                os.replace(temporary, path)
        sync_directory(self.metadata)

    def retire(self, contents: RepositoryContents, *, grace: timedelta) -> None:
        """Delete files that the state in force has not referred to for longer than `grace`.

        Raises:
            StorageFailed: the disk refused.
        """
        needed = {self.metadata / name for name in (*contents.roles, _TIMESTAMP)}
        # Of roots the earlier ones, too: a recipient may have pinned an older one than this run did.
        needed.update(self.metadata.glob("*.root.json"))
        needed.update(map(self._place, contents.files))
        ledger = self._private / "retired.json"
        retire(self.directory, needed, ledger, now=times.now(), grace=grace)

    def _place(self, file: SignedFile) -> Path:
        return self.directory / "targets" / file.stored

    def _has(self, name: str, data: bytes) -> bool:
        path = self.metadata / name
        return path.is_file() and path.read_bytes() == data


def _last(contents: RepositoryContents) -> dict[str, bytes]:
    """What is in force as soon as it is there, in the order in which it has to come."""
    return {**contents.roots, _TIMESTAMP: contents.timestamp}
