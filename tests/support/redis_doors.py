"""The Redis door of a list in a thread of the test, on uvloop as in a worker."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import uvloop

from blocklist_sdk import Blocklist
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import Counters
from blocklist_sdk.lookup_server.redis_door import RedisConnections


@dataclass
class OpenedDoor:
    """A door that takes connections.

    Attributes:
        port: on loopback.
        connections: those that are open; to be looked at, not called: they belong to another thread.
        counters: of one worker.
        loop: runs in another thread.
    """

    port: int
    connections: RedisConnections
    counters: Counters
    loop: asyncio.AbstractEventLoop

    def answered(self) -> dict[str, int]:
        """How many numbers got which answer."""
        return {answer: count for door, answer, count in self.counters.answered() if door == "redis" and count}


@contextlib.contextmanager
def redis_door(
    blocklist: Blocklist, *, token: str | None = None, tick_s: float = 1.0, limit: int = 100
) -> Iterator[OpenedDoor]:
    """Open the door; at the end every connection is cut.

    Args:
        blocklist: the list that is asked.
        token: what clients must show.
        limit: most connections at a time.
        tick_s: seconds between two looks for connections that take too long.
    """
    counters = Counters(workers=1)
    connections = RedisConnections(Answers(blocklist), counters.of(0, "redis"), token=token, limit=limit)
    loop = uvloop.new_event_loop()
    creating = loop.create_server(connections.new_connection, "127.0.0.1", 0)
    server = cast(asyncio.Server, loop.run_until_complete(creating))

    async def tick() -> None:
        while True:
            connections.tick()
            await asyncio.sleep(tick_s)

    def run() -> None:
        ticking = loop.create_task(tick())
        loop.run_forever()
        ticking.cancel()
        server.close()
        connections.abort()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield OpenedDoor(server.sockets[0].getsockname()[1], connections, counters, loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
