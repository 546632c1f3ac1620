"""Ending a request that would not end by itself: its connections are cut from another thread."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from blocklist_sdk.net.bounded import Deadline

_GRACE_S: Final = 0.2
"""How long after a deadline connections are cut: what notices the deadline by itself has a better message."""

_CONNECTED: Final = (".connect_tcp.complete", ".start_tls.complete")


class SocketCutter:
    """Knows a client's open sockets, and can cut them; may be shared by threads.

    No timeout of httpx ends an answer whose headers drip in, and there is no other way to the socket of a request that
    has no answer yet than httpx's trace: give `trace` to each request as its extension of that name.
    """

    def __init__(self) -> None:
        self._sockets: tuple[socket.socket, ...] = ()
        self._is_cut = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the socket of a connection that has just been made."""
        if event.endswith(_CONNECTED):
            open_ones = (known for known in self._sockets if known.fileno() != -1)
            self._sockets = (*open_ones, info["return_value"].get_extra_info("socket"))
            if self._is_cut:
                # It came too late to be among those that were cut for good.
                self.cut()

    def cut(self) -> None:
        """Cut all connections; requests under way fail at once, and later ones make new connections."""
        for known in self._sockets:
            with contextlib.suppress(OSError):
                # Not TLS's own way to say goodbye, which would wait for an answer.
                socket.socket.shutdown(known, socket.SHUT_RDWR)

    def cut_for_good(self) -> None:
        """Cut all connections, and each new one as soon as it is made."""
        self._is_cut = True
        self.cut()

    @contextlib.contextmanager
    def cut_after(self, deadline: Deadline) -> Iterator[Deadline]:
        """Cut all connections if the block has not ended by the deadline.

        Which of a client's connections is the late one cannot be known, so requests of other threads fail as well.
        """
        timer = threading.Timer(deadline.seconds + _GRACE_S, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield deadline
        finally:
            timer.cancel()
