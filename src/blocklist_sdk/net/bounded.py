"""Answers that end: in bytes, and in time."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from blocklist_sdk.errors import Malformed
from blocklist_sdk.net.http import httpx


class Deadline:
    """A moment by which something has to be done, however slowly it drips.

    >>> Deadline(60).check()
    """

    def __init__(self, seconds: float) -> None:
        """Begins to run."""
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """See whether there is time left.

        Raises:
            httpx.ReadTimeout: there is not.
        """
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout(f"it took more than {self.seconds:g} s")


class Bounded(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is cut as soon as it is longer than it may be, or takes too long."""

    def __init__(self, stream: Any, max_bytes: int, deadline: Deadline | None = None) -> None:
        """Reads nothing yet.

        Args:
            stream: an answer's body, as httpx has it.
            max_bytes: what it may have.
            deadline: when it has to be there.
        """
        self._stream = stream
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield self._counted(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield self._counted(chunk)

    def close(self) -> None:
        """Close what is below."""
        self._stream.close()

    async def aclose(self) -> None:
        """Close what is below."""
        await self._stream.aclose()

    def _counted(self, chunk: bytes) -> bytes:
        self._left -= len(chunk)
        if self._left < 0:
            raise Malformed(
                f"the answer is longer than the {self._max_bytes:,} bytes that it may have: it was not read. Check the "
                "address and the network in between."
            )
        if self._deadline is not None:
            self._deadline.check()
        return chunk
