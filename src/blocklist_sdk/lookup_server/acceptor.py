"""Takes connections from sockets that other workers listen on as well; and what a door is to a worker."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sized
from typing import Any, Final, Protocol

from blocklist_sdk.lookup_server.seldom import Seldom
from blocklist_sdk.net.listening import NO_FILES, NO_FILES_PAUSE_S

log: logging.Logger = logging.getLogger(__name__)

_HANDSHAKE_S: Final = 10.0

_WAIT_S: Final = 0.002
"""How long a worker that has more connections than another one leaves a new one to that, seconds."""

HANDSHAKES_MAX: Final = 128
"""Most TLS handshakes under way at one address; one that comes after that takes the place of the oldest."""


class OpenDoor(Protocol):
    """The connections of a door in one worker."""

    @property
    def open(self) -> Sized:
        """The connections that are open."""
        ...

    def tick(self) -> None:
        """End what takes too long; called about once a second."""
        ...

    def drain(self) -> None:
        """Close idle connections now, and the others after their next answer."""
        ...

    def abort(self) -> None:
        """Cut all connections."""
        ...


@contextlib.contextmanager
def accepting(
    loop: asyncio.AbstractEventLoop,
    listener: socket.socket,
    new_connection: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
    *,
    makes_room: Callable[[], bool] = lambda: True,
    is_ahead: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Take connections from a socket that other processes listen on as well.

    One at a time, not as many as wait, so that those that come at once are shared between the workers.

    Args:
        loop: the running loop.
        listener: the socket; it does not block.
        new_connection: makes the protocol of a connection.
        tls: for TLS; None for plain text.
        makes_room: called for each; returns whether it is taken, or else hung up on.
        is_ahead: returns whether this worker has more connections than another one, which may then take it first.
    """
    tasks: dict[asyncio.Task[None], None] = {}  # the oldest first
    is_open, has_waited = True, False
    no_files = Seldom()

    def listen() -> None:
        if is_open:
            loop.add_reader(listener, accept)

    def accept() -> None:
        nonlocal has_waited
        if not has_waited and is_ahead():
            has_waited = True
            loop.remove_reader(listener)
            loop.call_later(_WAIT_S, listen)
            return
        has_waited = False
        try:
            taken, _ = listener.accept()
        except BlockingIOError:
            return  # another worker was quicker
        except OSError as error:
            if error.errno in NO_FILES:
                if no_files.is_due():
                    log.error("no more connections can be taken: %s", error.strerror)
                loop.remove_reader(listener)
                loop.call_later(NO_FILES_PAUSE_S, listen)
            return
        if not makes_room():
            taken.close()
            return
        taken.setblocking(False)
        if tls is not None and len(tasks) >= HANDSHAKES_MAX:
            oldest = next(iter(tasks))
            del tasks[oldest]
            oldest.cancel()
        task = loop.create_task(_connect(loop, taken, new_connection, tls))
        tasks[task] = None
        task.add_done_callback(lambda done: tasks.pop(done, None))

    listen()
    try:
        yield
    finally:
        is_open = False
        loop.remove_reader(listener)
        for task in tasks:
            task.cancel()


async def _connect(
    loop: asyncio.AbstractEventLoop,
    taken: socket.socket,
    new_connection: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
) -> None:
    limits: dict[str, Any] = {} if tls is None else {"ssl": tls, "ssl_handshake_timeout": _HANDSHAKE_S}
    try:
        await loop.connect_accepted_socket(new_connection, taken, **limits)
    except OSError:  # ssl.SSLError and TimeoutError among these
        taken.close()
    except asyncio.CancelledError:
        taken.close()
        raise
