"""A file that is fetched in parts: what to ask for next, and whether the answer continues it."""

import re
from collections.abc import Mapping
from typing import IO


class Partial:
    """A file that is being fetched, and how much of it has arrived.

    >>> import io
    >>> partial = Partial(io.BytesIO(), length=10)
    >>> partial.accept(200, {"ETag": '"a"'}), partial.file.write(b"0123")
    (True, 4)
    >>> partial.missing_bytes, partial.range_headers()
    (6, {'Range': 'bytes=4-', 'If-Range': '"a"'})
    """

    def __init__(self, file: IO[bytes], length: int) -> None:
        """Continues at the current position of `file`."""
        self.file = file
        self._length = length
        self._validator: str | None = None

    @property
    def missing_bytes(self) -> int:
        """The number of bytes still to be fetched."""
        return self._length - self.file.tell()

    @property
    def is_complete(self) -> bool:
        """Whether all of it has arrived. An empty file must be asked for once, so it is never complete."""
        return self.missing_bytes == 0 and self._length > 0

    def range_headers(self) -> dict[str, str] | None:
        """Headers that ask for the rest of the file if it has not changed; None to ask for the whole file."""
        if not self.file.tell():
            return None
        headers = {"Range": f"bytes={self.file.tell()}-"}
        return headers if self._validator is None else {**headers, "If-Range": self._validator}

    def accept(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether the body of an answer can be written: it continues the file or starts it again.

        If not, the next attempt starts again from the first byte.
        """
        found = re.match(r"bytes (\d{1,19})-", headers.get("Content-Range", ""), re.ASCII)
        if status == 206 and found and int(found[1]) == self.file.tell():
            return True
        self.file.seek(0)
        self.file.truncate()
        etag = headers.get("ETag", "")
        # If-Range takes strong validators only (RFC 9110, section 13.1.5).
        self._validator = etag if etag.startswith('"') else headers.get("Last-Modified")
        return status == 200
