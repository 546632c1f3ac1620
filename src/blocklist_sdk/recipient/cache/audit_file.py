"""The audit heads that a recipient has seen, in a file that is only added to.

A line of JSON for each: about 300 bytes. A sync adds one at most, and only if the verified index of the release has a
head that is not the last line's, so the file has a line for each release that was offered here. It lies beside the
state, which outlives a wiped cache. Nothing removes a line: they prove something only while they are all there.
"""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blocklist_sdk.disk import read_unlinked, storage, sync_directory
from blocklist_sdk.errors import Malformed
from blocklist_sdk.modes import PRIVATE, Access
from blocklist_sdk.release.audit import SeenAuditHead

NAME: Final = "audit.jsonl"

_TAIL_BYTES: Final = 16_384
"""More than a line ever has: a URL may be long."""

log: logging.Logger = logging.getLogger(__name__)


class AuditFile:
    """One feed's file. Whoever adds to it holds the lock of the feed's syncs.

    Attributes:
        path: the file, which need not exist.
    """

    def __init__(self, path: Path, access: Access = PRIVATE) -> None:
        """Takes the file's path, and who may read it."""
        self.path: Path = path
        self._access = access

    def add(self, seen: SeenAuditHead) -> SeenAuditHead | None:
        """Add a head durably, unless the last line has it.

        Returns:
            The head of the last line before; None if there was none, or it cannot be read.

        Raises:
            StorageFailed: the disk refused, or the file is a link.
        """
        with storage(self.path):
            self._access.make(self.path.parent, is_ours=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            is_new = not self.path.exists()
            descriptor = os.open(self.path, flags, PRIVATE.file_mode)
            with open(descriptor, "r+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = file.read(_TAIL_BYTES)
                whole, _, torn = tail.rpartition(b"\n")
                before = _last(whole, self.path)
                if before is not None and _is_same(before, seen):
                    return before
                if torn:
                    # A line that a power cut left half-written: it was never a line.
                    file.truncate(size - len(torn))
                text = json.dumps({**seen.document(), "url": seen.url}, separators=(",", ":"))
                file.write(text.encode() + b"\n")
                os.fsync(file.fileno())
            if is_new:
                self._access.give(self.path)
                sync_directory(self.path.parent)
        return before

    def read(self) -> Iterator[SeenAuditHead | Malformed]:
        """Every head in the order in which they were seen; in place of a line that cannot be read, what is wrong.

        Raises:
            StorageFailed: the file cannot be read.
        """
        lines = (read_unlinked(self.path) or b"").split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                yield _parsed(line)
            except Malformed as error:
                yield Malformed(f"line {number} of {self.path} is damaged: {error}")


def _last(whole: bytes, path: Path) -> SeenAuditHead | None:
    if not whole:
        return None
    try:
        return _parsed(whole[whole.rfind(b"\n") + 1 :])
    except Malformed as error:
        log.error("the last line of %s is damaged: %s", path, error)
        return None


def _parsed(line: bytes) -> SeenAuditHead:
    try:
        return SeenAuditHead.of_document(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"it is not JSON: {error}") from error


def _is_same(before: SeenAuditHead, seen: SeenAuditHead) -> bool:
    """Whether it is the same release with the same head, whenever and wherever it was seen."""
    return (before.feed, before.release, before.audit, before.root) == (
        *(seen.feed, seen.release, seen.audit),
        seen.root,
    )
