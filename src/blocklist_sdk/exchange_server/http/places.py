"""Places for work: how many requests of a kind are worked on at a time, and how many more may wait for a moment.

What finds neither is refused at once, so that waiting does not grow with the load. One client, which is an account or
an address, holds only a part of the places and of the queue. Where work comes in great numbers, places are closed while
it takes longer than it should, and opened again one by one: what is taken is answered in time on a slow machine, too.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

_LEAST: Final = 1 / 16
"""The part of the places that is never closed."""

_CLOSED_TO: Final = 0.7
"""The part of the open places that stays open when work takes too long."""


_OPENED: Final = 2.0
"""Places that are opened after as many good requests as are open."""


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
        target_s: how long a request should take, seconds, waiting included; None if all places are always open.
    """

    places: int
    share: int
    wait_s: float = 0.5
    waiting: int = 8
    target_s: float | None = None


class Places:
    """The places for one kind of work, in one event loop."""

    def __init__(self, size: PlacesOf) -> None:
        """All are free."""
        self._size = size
        self._open = float(size.places)
        self._closed_at = 0.0
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

    def is_full(self, who: str) -> bool:
        """Whether a client would have no place and could not wait for one."""
        mine = sum(each == who for each, _ in self._waiting)
        is_queue_full = len(self._waiting) >= self._size.waiting or mine >= max(1, self._size.waiting // 2)
        return is_queue_full and not (mine == 0 and self._has_place(who))

    async def take(self, who: str) -> None:
        """Take a place; `free` gives it back.

        Raises:
            Busy: no place came free in time.
        """
        # Where a place is free although others wait, they hold as many as they may.
        if self._has_place(who) and all(each != who for each, _ in self._waiting):
            self._held[who] += 1
            return
        if self.is_full(who):
            raise Busy
        ready = asyncio.get_running_loop().create_future()
        entry = who, ready
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._size.wait_s):
                await ready
        except BaseException as error:
            if ready.done() and not ready.cancelled():  # it was given a place at the same moment
                self._pass_on(who)
            else:
                self._waiting.remove(entry)
            if isinstance(error, TimeoutError):
                raise Busy from None
            raise

    def free(self, who: str, *, took_s: float = 0.0) -> None:
        """Give a place back, to the first in the queue whose client may have one more.

        Args:
            who: the client that held it.
            took_s: how long its request took, seconds, waiting included.
        """
        self._adapt(took_s)
        self._pass_on(who)

    def _adapt(self, took_s: float) -> None:
        """Close places if work takes too long, and open them slowly while it does not."""
        target_s, now = self._size.target_s, time.monotonic()
        if target_s is None:
            return
        if took_s <= target_s:
            self._open = min(float(self._size.places), self._open + _OPENED / self._open)
        elif now - took_s >= self._closed_at:  # it began after places were closed last, so that was not enough
            self._open, self._closed_at = max(self._size.places * _LEAST, 1.0, self._open * _CLOSED_TO), now

    def _pass_on(self, who: str) -> None:
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]
        for entry in self._waiting:
            each, ready = entry
            if not ready.done() and self._has_place(each):  # done: its time is over, and it is about to leave
                self._waiting.remove(entry)
                self._held[each] += 1
                ready.set_result(None)
                break

    def _has_place(self, who: str) -> bool:
        opened = int(self._open)
        share = -(-self._size.share * opened // self._size.places)
        return self.held < opened and self._held[who] < share


Kind = Literal["health", "look-up", "report", "bulk", "write", "receipt", "decision", "publish", "desk", "read", "feed"]

THREADS: Final = 40
"""The threads of the server for everything but reports and files (AnyIO)."""

SIZES: Final[Mapping[Kind, PlacesOf]] = {
    "health": PlacesOf(2, 2),
    "look-up": PlacesOf(3, 2),
    "report": PlacesOf(128, 96, wait_s=0.2, waiting=64, target_s=0.5),
    "bulk": PlacesOf(2, 1, wait_s=1.0),
    "write": PlacesOf(3, 2),
    "receipt": PlacesOf(1, 1, wait_s=0.6),
    "decision": PlacesOf(6, 3, wait_s=5.0, waiting=32),
    "publish": PlacesOf(2, 1, wait_s=5.0),
    "desk": PlacesOf(4, 2, wait_s=2.0),
    "read": PlacesOf(6, 3),
    "feed": PlacesOf(5, 2, wait_s=1.0),
}
"""The places of a process. Without those for reports, which have threads of their own, they are fewer
than the threads of the server (40), so that no kind of work waits for the threads of another."""


def places_of_all() -> dict[Kind, Places]:
    """The places for every kind of work, all free."""
    return {kind: Places(size) for kind, size in SIZES.items()}
