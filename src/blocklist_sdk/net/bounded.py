"""Limits on responses: bytes and time."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from blocklist_sdk.errors import Malformed
from blocklist_sdk.net.http import httpx


class Deadline:
    """The moment by which something must be done.

    >>> Deadline(60).check()
    """

    def __init__(self, seconds: float) -> None:
        """A deadline in so many seconds from now."""
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Check that the deadline has not passed.

        Raises:
            httpx.ReadTimeout: it has passed.
        """
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout(f"it took more than {self.seconds:g} s")


class Bounded(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that raises as soon as it is longer than it may be, or takes too long."""

    def __init__(self, stream: Any, max_bytes: int, deadline: Deadline | None = None) -> None:
        """Reads nothing yet.

        Args:
            stream: the body of a response, from httpx.
            max_bytes: the most bytes that it may have.
            deadline: when all of it must have come; None if that does not matter.
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
        """Close the stream."""
        self._stream.close()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    def _counted(self, chunk: bytes) -> bytes:
        self._left -= len(chunk)
        if self._left < 0:
            raise Malformed(
                f"the response is longer than {self._max_bytes:,} bytes, so it was not read. Check the address and the "
                "network in between."
            )
        if self._deadline is not None:
            self._deadline.check()
        return chunk
