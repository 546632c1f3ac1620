"""Sockets that servers listen on."""

import contextlib
import errno
import socket
from collections.abc import Iterable
from typing import Any, Final

NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of `socket.accept` that pass when other connections end."""

NO_FILES_PAUSE_S: Final = 0.2
"""How long to wait then, seconds."""


def listening_sockets(addresses: Iterable[tuple[Any, ...]], *, backlog: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of a host, and do not block.

    Args:
        addresses: as `socket.getaddrinfo` returns them.
        backlog: most connections that wait to be taken.

    Raises:
        OSError: an address cannot be used; none of them is listened on then.
    """
    with contextlib.ExitStack() as stack:
        made = []
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setblocking(False)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(backlog)
            made.append(listener)
        stack.pop_all()
    return made


def url_of(listener: socket.socket, scheme: str) -> str:
    """The URL at which a socket listens over TCP."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
