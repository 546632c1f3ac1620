"""Cutting connections from another thread, to end a request that does not end by itself."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from blocklist_sdk.net.bounded import Deadline

_GRACE_S: Final = 0.2
"""Seconds between a deadline and the cut: code that notices the deadline by itself raises a better message."""

_CONNECTED: Final = (".connect_tcp.complete", ".start_tls.complete")


class SocketCutter:
    """Keeps track of a client's open sockets, and can cut them; may be shared by threads.

    No timeout of httpx ends a response whose headers come byte by byte, and only httpx's trace gives access to its
    socket: pass `trace` to each request as its extension of that name.
    """

    def __init__(self) -> None:
        self._sockets: tuple[socket.socket, ...] = ()
        self._is_cut = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the socket of a new connection."""
        if event.endswith(_CONNECTED):
            open_ones = (known for known in self._sockets if known.fileno() != -1)
            self._sockets = (*open_ones, info["return_value"].get_extra_info("socket"))
            if self._is_cut:
                # It was not there yet when the others were cut for good.
                self.cut()

    def cut(self) -> None:
        """Cut all connections. Requests under way fail at once; later ones make new connections."""
        for known in self._sockets:
            with contextlib.suppress(OSError):
                # Not the shutdown of TLS, which waits for a response.
                socket.socket.shutdown(known, socket.SHUT_RDWR)

    def cut_for_good(self) -> None:
        """Cut all connections, and each new one as soon as it is made."""
        self._is_cut = True
        self.cut()

    @contextlib.contextmanager
    def cut_after(self, deadline: Deadline) -> Iterator[Deadline]:
        """Cut all connections if the block has not ended by the deadline.

        It is not known which of a client's connections is late, so requests of other threads fail as well.
        """
        timer = threading.Timer(deadline.seconds + _GRACE_S, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield deadline
        finally:
            timer.cancel()
