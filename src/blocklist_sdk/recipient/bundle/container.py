"""The file of a bundle: an uncompressed tar archive whose every byte follows from the members' names and contents.

``tar`` lists and unpacks it, and `sha256sum --check SHA256SUMS` compares what was unpacked. A member begins at a
multiple of 512 bytes, so its integers are used where they are mapped. Nothing here is proof of anything: the hashes in
the file find damage, and whoever alters a file makes them anew.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blocklist_sdk.errors import Untrusted

BLOCK_BYTES: Final = 512
"""What tar calls a block (POSIX.1-2001, pax)."""

SUMS: Final = "SHA256SUMS"
"""The last member: a line for each other one, as ``sha256sum`` writes it."""

_END: Final = bytes(2 * BLOCK_BYTES)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_NAME_CHARS_MAX: Final = 100
_MEMBERS_MAX: Final = 400
"""256 roots, and some twenty others."""

_OCTAL_BYTES_MAX: Final = 8**11
"""From this length on it is written as a binary number, as GNU tar and bsdtar do."""

_READ_BYTES: Final = 4 << 20
_WORKERS: Final = 2
"""hashlib releases the interpreter lock, so members are hashed side by side."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the archive.

    Attributes:
        name: its name.
        offset: where its content begins.
        length: how many bytes it has.
    """

    name: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Where the next member's header begins."""
        return self.offset + self.length + _padding(self.length)


def _padding(length: int) -> int:
    return -length % BLOCK_BYTES


def header(name: str, length: int) -> bytes:
    r"""The header of a member: a plain file that everybody may read, without an owner and a time.

    >>> len(header("rows/number", 80)), header("a", 8)[257:263]
    (512, b'ustar\x00')
    """
    size = b"%011o\0" % length if length < _OCTAL_BYTES_MAX else b"\x80" + length.to_bytes(11, "big")
    before = name.encode("ascii").ljust(100, b"\0") + b"0000644\0" + 2 * b"0000000\0" + size + b"00000000000\0"
    after = b"0".ljust(101, b"\0") + b"ustar\x0000".ljust(72, b"\0") + 2 * b"0000000\0" + bytes(167)
    return before + b"%06o\0 " % sum(before + 8 * b" " + after) + after


def members_of(data: memoryview) -> tuple[Member, ...]:
    """The members of an archive, in order; only their headers and the fill between them are read.

    Raises:
        Untrusted: it is not such an archive, to the last byte.
    """
    found: list[Member] = []
    names: set[str] = set()
    at = 0
    while bytes(data[at : at + BLOCK_BYTES]) != _END[:BLOCK_BYTES]:
        member = _member_at(data, at)
        if member is None or member.name in names or len(found) == _MEMBERS_MAX:
            raise Untrusted(
                f"what is at byte {at} is not as it was written" if at else "it does not begin as a bundle does"
            )
        if member.end > len(data):
            raise Untrusted(f"it ends at byte {len(data)}, within {member.name}: it was cut off")
        if any(data[member.offset + member.length : member.end]):
            raise Untrusted(f"what follows {member.name} is not as it was written")
        found.append(member)
        names.add(member.name)
        at = member.end
    if len(data) != at + len(_END) or bytes(data[at:]) != _END:
        raise Untrusted(f"it must end at byte {at + len(_END)}, and has {len(data)} bytes")
    return tuple(found)


def _member_at(data: memoryview, at: int) -> Member | None:
    block = bytes(data[at : at + BLOCK_BYTES])
    if len(block) < BLOCK_BYTES:
        return None
    name = block[:_NAME_CHARS_MAX].rstrip(b"\0").decode("ascii", "replace")
    size = block[124:136]
    if not _NAME.fullmatch(name):
        return None
    try:
        length = int.from_bytes(size[1:], "big") if size[0] == 0x80 else int(size[:11], 8)
    except ValueError:
        return None
    if length < 0 or header(name, length) != block:
        return None
    return Member(name, at + BLOCK_BYTES, length)


def check_sums(data: memoryview, members: Sequence[Member]) -> None:
    """Compare the hash of every member with what the last one says; reads all bytes.

    Raises:
        Untrusted: one is another.
    """
    if not members or members[-1].name != SUMS:
        raise Untrusted(f"its last member is not {SUMS}")
    *others, last = members
    with ThreadPoolExecutor(_WORKERS) as pool:
        hashes = pool.map(lambda each: _sha256(data[each.offset : each.offset + each.length]), others)
        expected = sums_document(zip((each.name for each in others), hashes, strict=True))
    if bytes(data[last.offset : last.offset + last.length]) == expected:
        return
    written = bytes(data[last.offset : last.offset + last.length]).decode("ascii", "replace").splitlines()
    lines = expected.decode().splitlines()
    wrong = [member.name for member, line in zip(others, lines, strict=True) if line not in written]
    raise Untrusted(f"{', '.join(wrong[:3]) or SUMS} is not as it was written")


def _sha256(data: memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def sums_document(hashes: "Iterator[tuple[str, str]]") -> bytes:
    r"""The content of the last member.

    >>> sums_document(iter([("a", "00ff")]))
    b'00ff  a\n'
    """
    return "".join(f"{each}  {name}\n" for name, each in hashes).encode()


class ArchiveWriter:
    """Writes an archive, one member after the other; the content of a long one is written where it belongs, in parts.

    ::

        with ArchiveWriter(path) as archive:
            archive.add("bundle.json", data)
            at = archive.begin("rows/number", 8 * count)
            os.pwrite(archive.descriptor, numbers, at)
            archive.finish()
    """

    def __init__(self, path: Path) -> None:
        """Takes the path of a file that is there, and replaces its content.

        Raises:
            OSError: the disk refused.
        """
        self._file = path.open("r+b", buffering=0)
        os.ftruncate(self._file.fileno(), 0)
        self._members: list[Member] = []

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def descriptor(self) -> int:
        """The open file's."""
        return self._file.fileno()

    def begin(self, name: str, length: int) -> Member:
        """Make room for a member, whose content the caller writes; what it leaves out is zeros.

        Raises:
            OSError: the disk refused.
        """
        at = self._members[-1].end if self._members else 0
        member = Member(name, at + BLOCK_BYTES, length)
        os.ftruncate(self.descriptor, at)
        os.ftruncate(self.descriptor, member.end)
        _write(self.descriptor, header(name, length), at)
        self._members.append(member)
        return member

    def add(self, name: str, data: bytes) -> Member:
        """Write a member.

        Raises:
            OSError: the disk refused.
        """
        member = self.begin(name, len(data))
        self.write(memoryview(data), member.offset)
        return member

    def write(self, data: memoryview, at: int) -> None:
        """Write a part of a member, at its place in the file; from several threads at once, if need be.

        Raises:
            OSError: the disk refused.
        """
        _write(self.descriptor, data, at)

    def take_back(self, name: str) -> None:
        """Give up the last member, if it has that name."""
        if self._members and self._members[-1].name == name:
            self._members.pop()

    def finish(self) -> None:
        """Write the hashes and the end, and make the file survive a power cut.

        Raises:
            OSError: the disk refused.
        """
        with ThreadPoolExecutor(_WORKERS) as pool:
            hashes = list(pool.map(self._hash, self._members))
        self.add(SUMS, sums_document(zip((each.name for each in self._members), hashes, strict=True)))
        end = self._members[-1].end
        os.ftruncate(self.descriptor, end + len(_END))
        os.fsync(self.descriptor)

    def _hash(self, member: Member) -> str:
        hashed, at, end = hashlib.sha256(), member.offset, member.offset + member.length
        while at < end:
            part = os.pread(self.descriptor, min(_READ_BYTES, end - at), at)
            if not part:
                raise OSError(f"{member.name} ends at byte {at}")
            hashed.update(part)
            at += len(part)
        return hashed.hexdigest()


def _write(descriptor: int, data: bytes | memoryview, at: int) -> None:
    view = memoryview(data)
    while len(view):
        # A system writes two gigabytes at once at most.
        done = os.pwrite(descriptor, view, at)
        view, at = view[done:], at + done
