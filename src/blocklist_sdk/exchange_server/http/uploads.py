"""Files on their way in: how many at a time, and how slowly they may come."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import anyio.from_thread
from fastapi import Request

from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.http.problems import HttpRefusal

_UPLOADS: Final = 32
"""Files received at a time, each by a thread. The threads that answer everything else are not among these."""

UPLOADS_OF_ACCOUNT: Final = 8
"""Files received at a time from one account."""

GRACE_S: Final = 30.0
BYTES_A_S: Final = 4_000
"""How fast a body has to come after the first half minute; a telephone reaches that in the poorest network (GPRS)."""


class Uploads:
    """Counts the files that are being received, so that slow ones hold up nothing else."""

    def __init__(self) -> None:
        """Nothing is being received yet."""
        self._threads = anyio.CapacityLimiter(_UPLOADS)
        self._lock = threading.Lock()
        self._receiving: Counter[int] = Counter()

    @contextlib.contextmanager
    def one_of(self, account: int) -> Iterator[anyio.CapacityLimiter]:
        """Count one more file of an account during the block; yields the limiter of the threads that receive files.

        Raises:
            Refusal: the account sends as many files as it may already, or all accounts together do.
        """
        with self._lock:
            if self._receiving.total() >= _UPLOADS:
                why = f"{_UPLOADS} files are being received, as many as the exchange takes at a time: send it later"
                raise HttpRefusal("unavailable", why, headers={"Retry-After": "5"})
            if self._receiving[account] >= UPLOADS_OF_ACCOUNT:
                why = f"{UPLOADS_OF_ACCOUNT} files of this account are being received: send the next after one of them"
                raise HttpRefusal("too-many", why, headers={"Retry-After": "5"})
            self._receiving[account] += 1
        try:
            yield self._threads
        finally:
            with self._lock:
                self._receiving -= Counter((account,))


def chunks_of(request: Request) -> Iterator[bytes]:
    """A request's body as it arrives, for a thread.

    Raises:
        Refusal: it comes too slowly.
    """
    stream = request.stream().__aiter__()
    end = time.monotonic() + GRACE_S

    async def following() -> bytes | None:
        with anyio.fail_after(end - time.monotonic()):
            return await anext(stream, None)

    try:
        while (chunk := anyio.from_thread.run(following)) is not None:
            end += len(chunk) / BYTES_A_S
            yield chunk
    except TimeoutError as error:
        raise Refusal("too-slow", f"send a file at {BYTES_A_S:,} bytes a second or more") from error
