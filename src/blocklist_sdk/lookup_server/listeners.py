"""The sockets of a look-up server, bound before anything is forked: an address in use is a plain error."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.lookup_server.counters import Door
from blocklist_sdk.lookup_server.settings import ServeSettings
from blocklist_sdk.net.listening import listening_sockets, url_of

_BACKLOG: Final = 1024
_SOCKET_MODE: Final = 0o660
_PATH_BYTES_MAX: Final = 100
"""Longest path of a Unix socket: systems have room for 104 or 108 bytes, the zero at the end among them."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens.

    Attributes:
        door: the door behind it.
        socket: it; it does not block.
        address: where it listens, as a URL or a path.
    """

    door: Door
    socket: socket.socket
    address: str


@contextlib.contextmanager
def listening(settings: ServeSettings) -> Iterator[list[Listener]]:
    """Bind every address; at the end close all, and remove the Unix socket.

    Raises:
        InvalidInput: an address cannot be used.
    """
    with contextlib.ExitStack() as stack:
        found: list[Listener] = []
        if settings.port is not None:
            scheme = "http" if settings.tls is None else "https"
            found += _tcp(stack, "http", settings, settings.host, settings.port, scheme)
        if settings.uds is not None:
            found.append(_unix(stack, settings.uds))
        if settings.redis_port is not None:
            scheme = "redis" if settings.tls is None else "rediss"
            found += _tcp(stack, "redis", settings, settings.redis_host, settings.redis_port, scheme)
        yield found


def _tcp(
    stack: contextlib.ExitStack, door: Door, settings: ServeSettings, host: str, port: int, scheme: str
) -> list[Listener]:
    """Listen on all addresses of a host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for *_, address in found:
            settings.check_address(str(address[0]), host)  # a name such as localhost may be of any address
        made = listening_sockets(found, backlog=_BACKLOG)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise InvalidInput(f"cannot listen on {host}, port {port}: {reason}. Give another address or port.") from error
    return [Listener(door, stack.enter_context(each), url_of(each, scheme)) for each in made]


def _unix(stack: contextlib.ExitStack, path: Path) -> Listener:
    """Listen on a Unix socket that its owner and group may use; the socket of a dead process is replaced."""
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        raise InvalidInput(f"the path of a Unix socket may have {_PATH_BYTES_MAX} bytes: {path} is longer")
    try:
        _remove_dead(path)
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.setblocking(False)
        # Made with a mode that nobody else may use, so that there is no moment in which others could connect.
        before = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(before)
        made = path.stat()
        stack.callback(_remove, path, (made.st_dev, made.st_ino))
        path.chmod(_SOCKET_MODE)
        listener.listen(_BACKLOG)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise InvalidInput(f"cannot listen on the Unix socket {path}: {reason}. Give another path.") from error
    return Listener("unix", listener, str(path))


def _remove_dead(path: Path) -> None:
    """Remove the socket of a process that has ended.

    Raises:
        InvalidInput: a process listens on it, or it is not a socket.
        OSError: it cannot be removed.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidInput(f"{path} is not a socket, and stays as it is: give another path for the Unix socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
        except (BlockingIOError, TimeoutError):
            pass  # its queue is full, so somebody listens
    raise InvalidInput(f"another process listens on the Unix socket {path}: stop it, or give another path")


def _remove(path: Path, made: tuple[int, int]) -> None:
    """Remove a socket of ours, unless another one has taken its place."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        if (status.st_dev, status.st_ino) == made:
            path.unlink()
