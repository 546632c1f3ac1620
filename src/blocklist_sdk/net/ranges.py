"""Which bytes of a file an HTTP request asks for, and whether the client has them (RFC 9110, sections 8.8, 13, 14)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import formatdate
from typing import Final, Self, TypeAlias

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
"""Eighteen digits are more than any file has; Python refuses to read a number of thousands."""

Headers: TypeAlias = Mapping[str, str] | Message
"""A request's headers, found by their names in any case."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file's size and its HTTP validators, which change when the file does.

    Attributes:
        size: bytes.
        etag: value of the `ETag` header.
        modified: value of the `Last-Modified` header.

    >>> version = FileVersion(size=100, etag='"a"', modified="Thu, 13 Aug 2026 15:36:13 GMT")
    >>> version.requested_range({"Range": "bytes=90-"}), version.requested_range({"Range": "bytes=100-"})
    (range(90, 100), range(100, 100))
    """

    size: int
    etag: str
    modified: str

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The version of a file that has this status."""
        return cls(
            size=status.st_size,
            etag=f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            modified=formatdate(status.st_mtime, usegmt=True),
        )

    def is_known(self, headers: Headers) -> bool:
        """Whether a request says that the client has this version, so that 304 answers it."""
        return headers.get("If-None-Match") == self.etag

    def requested_range(self, headers: Headers) -> range | None:
        """The bytes that a request asks for; None if it asks for the whole file.

        A `Range` header with several ranges, another unit or a mistake is ignored, which the standard allows, and so is
        one whose `If-Range` header names another version.

        Args:
            headers: the request's.

        Returns:
            The range, cut at the end of the file. An empty range lies outside the file: answer 416.
        """
        asked = _RANGE.fullmatch(headers.get("Range", "").replace(" ", ""))
        if asked is None or not any(asked.groups()) or headers.get("If-Range", self.etag) not in self._validators:
            return None
        first, last = asked.groups()
        if first and last and int(last) < int(first):
            return None
        everything = range(self.size)
        if first:
            return everything[int(first) : int(last) + 1 if last else None]
        return everything[max(self.size - int(last), 0) :]

    @property
    def _validators(self) -> tuple[str, str]:
        return self.etag, self.modified
