"""Evidence files: received up to a limit, judged by their content, stored under their hash.

::

    DIR/                       mode 0700
        .incoming-XXXXXXXX     being received, locked by its receiver; removed if it is refused
        ab/cdef…               an accepted file, named by its SHA-256, mode 0600

Names given by clients are never used on the disk.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final, Literal

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange_server.evidence.judge import Judge, Unfit
from blocklist_sdk.exchange_server.evidence.media import MediaJudge
from blocklist_sdk.exchange_server.evidence.media.cleaning import cleaned
from blocklist_sdk.locks import lock_descriptor
from blocklist_sdk.places import resolved
from blocklist_sdk.texts import is_invisible

NAME_CHARS_MAX: Final = 120
"""Longest name of a file: three times as long as those of phones and messaging apps."""

_INCOMING: Final = ".incoming-"
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_RESERVE_BYTES: Final = 256 << 20
"""Disk space that evidence leaves free, bytes: decisions and releases may need it."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")

_PATH: Final = re.compile(r"[/\\]|%2f|%5c|^[a-z]:", re.IGNORECASE)
"""Parts of paths, also as browsers and Windows programs write them."""

_NO_FILE: Final = frozenset({".", ".."})

DEFAULT_JUDGE: Final = MediaJudge()


class EvidenceRefused(InvalidInput):
    """A file, or its name, is not accepted as evidence. Nothing of it is stored.

    Attributes:
        reason: why, as part of a sentence; it may be shown to the sender.
        field: what is wrong, ``body`` or ``name``.
        status: the HTTP status: 413 if it is too long, 415 if its type is not accepted, 422 otherwise.
    """

    def __init__(self, reason: str, *, field: Literal["body", "name"], status: Literal[413, 415, 422]) -> None:
        super().__init__(f"this {'file' if field == 'body' else 'file name'} is refused: {reason}")
        self.reason = reason
        self.field = field
        self.status = status


class NoCleanCopy(InvalidInput):
    """No copy of a file can be made without what it tells of its author.

    Attributes:
        reason: why, as part of a sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"no copy without its author's data can be made: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """A file that was accepted.

    Attributes:
        sha256: SHA-256 of its content, 64 hexadecimal digits.
        media_type: its type, determined by its content.
        bytes: its length.
        name: the name that the client gave it: to be shown, never to be used as a path.
    """

    sha256: str
    media_type: str
    bytes: int
    name: str


def check_name(name: str) -> str:
    """Return a file's name in Unicode's composed form, without white space around it.

    Raises:
        EvidenceRefused: it is empty, too long, or has a path, control characters or marks that change the direction of
            text.

    >>> check_name(" Bukti transfer.png ")
    'Bukti transfer.png'
    >>> check_name("../../etc/passwd")
    Traceback (most recent call last):
    blocklist_sdk.exchange_server.evidence.evidence_store.EvidenceRefused: this file name is refused: ...
    """
    composed = unicodedata.normalize("NFC", name)
    reason = _reason_to_refuse_name(composed)
    if reason is not None:
        raise EvidenceRefused(reason, field="name", status=422)
    return composed.strip()


def _reason_to_refuse_name(name: str) -> str | None:
    for character in name:
        if is_invisible(character):
            return f"it has the invisible character U+{ord(character):04X}"
    bare = name.strip()
    if not bare:
        return "it is empty; give the file's name"
    if len(bare) > NAME_CHARS_MAX:
        return f"it is longer than {NAME_CHARS_MAX} characters"
    if bare in _NO_FILE or any(_PATH.search(form) for form in (bare, unicodedata.normalize("NFKC", bare))):
        return "it has a path; give the file's name only"
    return None


class EvidenceStore:
    r"""A folder of evidence files. Processes and threads may share it.

    Args:
        directory: the folder; it is made if it does not exist. Its parent must exist.
        bytes_max: longest file, bytes.
        judge: decides which files are evidence; by default `MediaJudge`.
        reserve_bytes: disk space that evidence leaves free, beside that for one file, bytes.

    Raises:
        InvalidInput: `bytes_max` is not positive, or the path is not a directory.
        StorageFailed: the disk failed.

    >>> import tempfile
    >>> store = EvidenceStore(Path(tempfile.mkdtemp()) / "evidence", bytes_max=20_000_000)
    >>> stored = store.receive([b"#!AMR\n", bytes([0x3C]), bytes(31)], name="voice.amr")
    >>> stored.media_type, stored.bytes, store.verify(stored.sha256)
    ('audio/AMR', 38, True)
    """

    def __init__(
        self,
        directory: Path,
        *,
        bytes_max: int,
        judge: Judge = DEFAULT_JUDGE,
        reserve_bytes: int = _RESERVE_BYTES,
    ) -> None:
        if bytes_max < 1:
            raise InvalidInput(f"the evidence limit must be a positive number of bytes, not {bytes_max}")
        directory = resolved(directory)
        self.directory: Path = directory
        self.bytes_max = bytes_max
        self.judge = judge
        self.reserve_bytes = reserve_bytes
        with storage(directory):
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=_DIRECTORY_MODE)
            if not directory.is_dir():
                raise InvalidInput(f"{directory} is not a directory: give a new one, or one that holds evidence")
            directory.chmod(_DIRECTORY_MODE)
            self._sweep()

    def receive(self, chunks: Iterable[bytes], *, name: str) -> StoredEvidence:
        """Receive a file, judge it, and store it.

        Stops reading at the first byte too many. Equal content is stored once. When this returns, the file survives a
        power cut; when it raises, nothing of the file is left.

        Args:
            chunks: its bytes, in pieces of any length.
            name: the name that the client gives it.

        Raises:
            EvidenceRefused: the file or its name is not accepted.
            StorageFailed: the disk failed.
        """
        with self.incoming(name=name) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.keep()

    def hash_of(self, chunks: Iterable[bytes], *, name: str) -> str:
        """Read a file to its end without storing it, and return its SHA-256.

        Raises:
            EvidenceRefused: the name is not accepted, or the file is too long.
        """
        check_name(name)
        sha256 = hashlib.sha256()
        length = 0
        for chunk in chunks:
            length += len(chunk)
            self._check_length(length)
            sha256.update(chunk)
        return sha256.hexdigest()

    def _check_length(self, length: int) -> None:
        if length > self.bytes_max:
            reason = f"it has more than {self.bytes_max:,} bytes; send a shorter or smaller one"
            raise EvidenceRefused(reason, field="body", status=413)

    @contextlib.contextmanager
    def incoming(self, *, name: str) -> Iterator["IncomingFile"]:
        """A file that is received piece by piece, for callers that cannot pass an iterable.

        Raises:
            EvidenceRefused: the name is not accepted.
            StorageFailed: the disk failed.
        """
        checked = check_name(name)
        with self._opened() as (folder, temporary, descriptor):
            yield IncomingFile(self, checked, folder, temporary, descriptor)

    def open(self, sha256: str) -> BufferedReader:
        """Open a stored file for reading.

        Raises:
            InvalidInput: `sha256` is not a SHA-256 in lower-case hexadecimal digits.
            StorageFailed: the file does not exist, or cannot be read.
        """
        path = self._path(sha256)
        with storage(path):
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            finally:
                os.close(folder)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError("not a regular file")
            return os.fdopen(descriptor, "rb")

    def verify(self, sha256: str) -> bool:
        """Whether a file is stored and unchanged.

        Raises:
            InvalidInput: `sha256` is not a SHA-256 in lower-case hexadecimal digits.
            StorageFailed: the file exists and cannot be read.
        """
        path = self._path(sha256)
        if not os.path.lexists(path):
            return False
        with self.open(sha256) as file, storage(path):
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def cleaned(self, sha256: str, media_type: str) -> bytes:
        """The copy of a stored file that is given out: without where, by whom and with what it was made.

        The stored file stays as it is. The same file gives the same copy, until a version of this library knows more.

        Args:
            sha256: the stored file.
            media_type: its type, as it was judged.

        Raises:
            NoCleanCopy: no such copy can be made of it.
            InvalidInput: `sha256` is not a SHA-256 in lower-case hexadecimal digits.
            StorageFailed: the file does not exist, or cannot be read.
        """
        with (
            self.open(sha256) as file,
            storage(self._path(sha256)),
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            try:
                return cleaned(media_type, content)
            except Unfit as unfit:
                raise NoCleanCopy(unfit.reason) from unfit

    def _path(self, sha256: str) -> Path:
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise InvalidInput("the SHA-256 of evidence must be 64 lower-case hexadecimal digits")
        return self.directory / sha256[:2] / sha256[2:]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[int, str, int]]:
        """The folder, and a new, locked, private file in it, which is removed at the end unless it was moved."""
        with contextlib.ExitStack() as stack:
            with storage(self.directory):
                folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                stack.callback(os.close, folder)
                disk = os.statvfs(folder)
                if disk.f_bavail * disk.f_frsize < self.reserve_bytes + self.bytes_max:
                    raise OSError(errno.ENOSPC, "not enough disk space for evidence")
                temporary, descriptor = self._new(folder)
                stack.callback(os.close, descriptor)
                stack.callback(self._discard, temporary, folder)
            yield folder, temporary, descriptor

    def _new(self, folder: int) -> tuple[str, int]:
        while True:
            name = _INCOMING + secrets.token_hex(8)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(name, flags, _FILE_MODE, dir_fd=folder)
            lock_descriptor(descriptor, self.directory / name, wait=True)
            if os.fstat(descriptor).st_nlink:
                return name, descriptor
            os.close(descriptor)  # another process swept it between the two calls

    def _discard(self, temporary: str, folder: int) -> None:
        with storage(self.directory):
            _forget(temporary, folder)

    def _sweep(self) -> None:
        """Remove the files of killed processes, which are no longer locked."""
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in os.listdir(folder):
                if name.startswith(_INCOMING):
                    _sweep_one(name, folder)
        finally:
            os.close(folder)


class IncomingFile:
    """A file that is being received; made by `EvidenceStore.incoming`."""

    def __init__(self, store: EvidenceStore, name: str, folder: int, temporary: str, descriptor: int) -> None:
        self._store = store
        self._name = name
        self._folder = folder
        self._temporary = temporary
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._is_kept = False

    def write(self, chunk: bytes) -> None:
        """Append the next bytes.

        Raises:
            EvidenceRefused: the file is longer than the store accepts.
            InvalidInput: the file is complete.
            StorageFailed: the disk failed.
        """
        if self._is_kept:
            raise InvalidInput("this file is complete: receive another one")
        self._bytes += len(chunk)
        self._store._check_length(self._bytes)
        self._hash.update(chunk)
        with storage(self._store.directory):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def keep(self) -> StoredEvidence:
        """Judge the file and store it.

        Raises:
            EvidenceRefused: it is not evidence.
            StorageFailed: the disk failed.
        """
        if not self._bytes:
            raise EvidenceRefused("it is empty", field="body", status=422)
        try:
            with storage(self._store.directory):
                content = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
                media_type = self._store.judge.judge(content)
        except Unfit as unfit:
            raise EvidenceRefused(unfit.reason, field="body", status=422 if unfit.known else 415) from None
        sha256 = self._hash.hexdigest()
        self._move_to(sha256)
        self._is_kept = True
        return StoredEvidence(sha256=sha256, media_type=media_type, bytes=self._bytes, name=self._name)

    def _move_to(self, sha256: str) -> None:
        """Give the file its final name; anything of that name, equal, damaged or planted, is replaced."""
        with storage(self._store.directory / sha256[:2]), contextlib.ExitStack() as stack:
            os.fsync(self._descriptor)
            with contextlib.suppress(FileExistsError):
                os.mkdir(sha256[:2], _DIRECTORY_MODE, dir_fd=self._folder)
                os.fsync(self._folder)
            drawer = os.open(sha256[:2], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._folder)
            stack.callback(os.close, drawer)
            os.replace(self._temporary, sha256[2:], src_dir_fd=self._folder, dst_dir_fd=drawer)
            os.fsync(drawer)


def _sweep_one(name: str, folder: int) -> None:
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return  # removed meanwhile, or not a file of this store
    try:
        lock_descriptor(descriptor, Path(name), wait=False)
        _forget(name, folder)
    except BlockingIOError:
        pass  # it is being received
    finally:
        os.close(descriptor)


def _forget(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
