"""Places for work: how many requests of a kind are worked on at a time, and how many more may wait for a moment.

What finds neither is refused at once, so that waiting does not grow with the load. One client, which is an account or
an address, holds only a part of the places and of the queue.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal


class Busy(Exception):
    """All places are taken, and so is the queue; or waiting took too long."""


@dataclass(frozen=True, slots=True)
class PlacesOf:
    """How many places a kind of work has.

    Attributes:
        places: requests at a time.
        share: most of these that one client holds.
        wait_s: longest wait for a place, seconds.
        waiting: most requests that wait; at most half of them are one client's.
    """

    places: int
    share: int
    wait_s: float = 0.5
    waiting: int = 8


class Places:
    """The places for one kind of work, in one event loop."""

    def __init__(self, size: PlacesOf) -> None:
        """All are free."""
        self._size = size
        self._held: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """Number of places that are taken."""
        return self._held.total()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a place."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def one_of(self, who: str) -> AsyncIterator[None]:
        """Hold a place during the block.

        Args:
            who: the client: an account or an address.

        Raises:
            Busy: no place came free in time.
        """
        await self.take(who)
        try:
            yield
        finally:
            self.free(who)

    async def take(self, who: str) -> None:
        """Take a place; `free` gives it back.

        Raises:
            Busy: no place came free in time.
        """
        if not self._waiting and self._has_place(who):
            self._held[who] += 1
            return
        mine = sum(each == who for each, _ in self._waiting)
        if self._has_place(who) and mine == 0 and not any(self._has_place(each) for each, _ in self._waiting):
            self._held[who] += 1  # those who wait have as many as they may
            return
        if len(self._waiting) >= self._size.waiting or mine >= max(1, self._size.waiting // 2):
            raise Busy
        ready = asyncio.get_running_loop().create_future()
        entry = who, ready
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._size.wait_s):
                await ready
        except BaseException as error:
            if ready.done() and not ready.cancelled():  # it was given a place at the same moment
                self.free(who)
            else:
                self._waiting.remove(entry)
            if isinstance(error, TimeoutError):
                raise Busy from None
            raise

    def free(self, who: str) -> None:
        """Give a place back, to the first in the queue whose client may have one more."""
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]
        for entry in self._waiting:
            each, ready = entry
            if self._has_place(each):
                self._waiting.remove(entry)
                self._held[each] += 1
                ready.set_result(None)
                break

    def _has_place(self, who: str) -> bool:
        return self.held < self._size.places and self._held[who] < self._size.share


Kind = Literal[
    "health", "token", "look-up", "report", "bulk", "write", "receipt", "decision", "publish", "desk", "read", "feed"
]

SIZES: Final[Mapping[Kind, PlacesOf]] = {
    "health": PlacesOf(2, 2),
    "token": PlacesOf(16, 8, waiting=16),
    "look-up": PlacesOf(3, 2),
    "report": PlacesOf(64, 48, waiting=64),
    "bulk": PlacesOf(2, 1, wait_s=1.0),
    "write": PlacesOf(3, 2),
    "receipt": PlacesOf(4, 2),
    "decision": PlacesOf(6, 3, wait_s=5.0),
    "publish": PlacesOf(2, 1, wait_s=5.0),
    "desk": PlacesOf(4, 2, wait_s=2.0),
    "read": PlacesOf(6, 3),
    "feed": PlacesOf(5, 2, wait_s=1.0),
}
"""The places of a process. Without those for reports, which have threads of their own, and for tokens, they are fewer
than the threads of the server (40), so that no kind of work waits for the threads of another."""


def places_of_all() -> dict[Kind, Places]:
    """The places for every kind of work, all free."""
    return {kind: Places(size) for kind, size in SIZES.items()}
