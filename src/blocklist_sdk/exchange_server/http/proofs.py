"""Turns for work that comes before proof: so many at a time, and so many that wait. Beyond that a request is shed."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from anyio import CapacityLimiter
from fastapi import Request
from starlette.requests import ClientDisconnect

from blocklist_sdk.exchange_server.http.problems import HttpRefusal

PROOFS_AT_A_TIME: Final = 4
PROOFS_WAITING: Final = 64
"""Secrets and signatures: a query and less than a millisecond each, so the last one waits a tenth of a second."""

OLD_HASHES_AT_A_TIME: Final = 2
OLD_HASHES_WAITING: Final = 8
OLD_HASHES_RATE: Final = "1/second"
"""Old hashes take 64 MiB and a tenth of a second of several processors each. So few leave time for all other requests,
and an account with a new hash needs none."""

_RETRY_S: Final = "1"

_LAST: Final = 19
"""The niceness of work that comes last."""

T = TypeVar("T")


class ProofQueue:
    """Does work in threads of its own. A request that has to wait occupies no thread."""

    def __init__(self, at_a_time: int, waiting_max: int, *, last: bool = False) -> None:
        """An empty queue.

        Args:
            at_a_time: how much is done at a time.
            waiting_max: how many requests may wait.
            last: whether the work gets a processor only when nothing else needs it (on Linux).
        """
        self._turns = CapacityLimiter(at_a_time)
        self._threads = ThreadPoolExecutor(at_a_time, "proof", initializer=_come_last if last else None)
        self._waiting = 0
        self._waiting_max = waiting_max

    async def run(self, request: Request, work: Callable[[], T], *, share: float = 1.0) -> T:
        """Do work for a request, unless its client has hung up by then.

        Args:
            request: the request.
            work: what to do.
            share: how much of the queue there may be if the request is to wait; 0 if it may not.

        Raises:
            HttpRefusal: too many requests wait already (503).
            ClientDisconnect: the client has hung up.
        """
        is_free = self._turns.available_tokens > 0 and not self._waiting
        if not is_free and self._waiting >= self._waiting_max * share:
            raise HttpRefusal(
                "unavailable", "too many requests for tokens at the moment", headers={"Retry-After": _RETRY_S}
            )
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            if await request.is_disconnected():
                raise ClientDisconnect
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._turns.release()


def _come_last() -> None:
    """Let every other thread go first. Linux has a niceness for each thread, and those it starts inherit it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a service may not be allowed to
            os.setpriority(os.PRIO_PROCESS, 0, _LAST)
