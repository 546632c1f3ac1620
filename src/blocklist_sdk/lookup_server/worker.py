"""One worker of a look-up server: an event loop that takes connections and answers them, until SIGTERM."""

import asyncio
import contextlib
import functools
import signal
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import uvloop

from blocklist_sdk.lookup_server.acceptor import OpenDoor, accepting
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.connection import Connections, HttpConnection
from blocklist_sdk.lookup_server.counters import Counters
from blocklist_sdk.lookup_server.listeners import Listener
from blocklist_sdk.lookup_server.redis_door import RedisConnections
from blocklist_sdk.lookup_server.routes import Routes
from blocklist_sdk.lookup_server.settings import ServeSettings
from blocklist_sdk.net.server_tls import TlsFiles, server_context

STOP_S: Final = 10.0
"""How long requests under way may take after the worker was asked to stop, seconds."""

_TICK_S: Final = 1.0
_DRAIN_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class DoorTls:
    """The TLS of the doors over TCP; None for plain text.

    Attributes:
        http: lets clients without a certificate connect, since `/healthz` and `/readyz` need none.
        redis: refuses them where certificates are asked for.
    """

    http: ssl.SSLContext | None
    redis: ssl.SSLContext | None

    def __bool__(self) -> bool:
        return self.http is not None

    @classmethod
    def of(cls, files: TlsFiles | None) -> "DoorTls":
        """Read the files.

        Raises:
            InvalidInput: a file cannot be used.
        """
        if files is None:
            return cls(None, None)
        return cls(server_context(files, asks_later=True), server_context(files))


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What the parent made before it forked.

    Attributes:
        number: the worker's, from 0 on.
        settings: of the service.
        listeners: the sockets, which all workers share.
        tls: for the doors over TCP.
        counters: of the service.
        lifeline: readable when the parent has ended.
        limit: most connections at a time.
    """

    number: int
    settings: ServeSettings
    listeners: Sequence[Listener]
    tls: DoorTls
    counters: Counters
    lifeline: socket.socket
    limit: int


def run_worker(answers: Answers, parts: WorkerParts) -> None:
    """Serve until SIGTERM, or until the parent has ended."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(answers, parts))


async def _serve(answers: Answers, parts: WorkerParts) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it as well, and stops the workers
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(parts.lifeline, stop.set)
    with contextlib.ExitStack() as stack:
        doors = _open_doors(loop, answers, parts, stack)
        ticking = loop.create_task(_tick(doors))
        await stop.wait()
    loop.remove_reader(parts.lifeline)
    for door in doors:
        door.drain()
    deadline = loop.time() + STOP_S
    while any(len(door.open) for door in doors) and loop.time() < deadline:
        await asyncio.sleep(_DRAIN_LOOK_S)
    for door in doors:
        door.abort()
    ticking.cancel()
    await asyncio.sleep(0)


def _open_doors(
    loop: asyncio.AbstractEventLoop, answers: Answers, parts: WorkerParts, stack: contextlib.ExitStack
) -> list[OpenDoor]:
    """Take connections at every door until the stack is closed."""
    settings = parts.settings
    http = Connections(
        Routes(
            answers,
            parts.counters,
            token=settings.token,
            needs_certificate=settings.tls is not None and settings.tls.client_ca is not None,
            require_fresh=settings.require_fresh,
            own_name=None if settings.is_protected or settings.tls is not None else settings.host,
        ),
        limit=parts.limit,
    )
    doors: list[OpenDoor] = [http]
    for listener in parts.listeners:
        counters = parts.counters.of(parts.number, listener.door)
        is_ahead = functools.partial(parts.counters.is_ahead, parts.number, listener.door)
        makes_room = functools.partial(http.make_room, counters)
        if listener.door == "http":
            new = functools.partial(HttpConnection, http, counters, is_trusted=False)
            stack.enter_context(
                accepting(loop, listener.socket, new, parts.tls.http, makes_room=makes_room, is_ahead=is_ahead)
            )
        elif listener.door == "unix":
            new = functools.partial(HttpConnection, http, counters, is_trusted=True)
            stack.enter_context(accepting(loop, listener.socket, new, None, makes_room=makes_room, is_ahead=is_ahead))
        else:
            port = listener.socket.getsockname()[1]
            redis = RedisConnections(answers, counters, token=settings.token, port=port, limit=parts.limit)
            doors.append(redis)
            stack.enter_context(
                accepting(loop, listener.socket, redis.new_connection, parts.tls.redis, is_ahead=is_ahead)
            )
    return doors


async def _tick(doors: Sequence[OpenDoor]) -> None:
    while True:
        for door in doors:
            door.tick()
        await asyncio.sleep(_TICK_S)
