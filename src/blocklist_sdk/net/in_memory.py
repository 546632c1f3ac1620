"""Servers inside this process, for tests: requests to their hosts use no socket, no proxy, no TLS and no waits.

Hosts end in ``.test``, which is reserved for tests (RFC 6761), so that no real server can be replaced.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from blocklist_sdk.net.http import httpx

_TEST_DOMAIN = ".test"


class InMemoryServer(Protocol):
    """What answers for a host. Called from any thread.

    Attributes:
        directory: where what is stored of this server goes, if no other folder is given.
    """

    @property
    def directory(self) -> Path:
        """See the class."""

    def answer(self, request: "httpx.Request") -> "httpx.Response":
        """Answer a request whose body was read; raises `httpx.RequestError` where the network would have failed."""


_servers: dict[str, InMemoryServer] = {}


@contextlib.contextmanager
def answering(host: str, server: InMemoryServer) -> Iterator[None]:
    """Let a server answer for a host until the end of the block.

    Raises:
        ValueError: the host does not end in ``.test``, or has a server already.
    """
    if not host.endswith(_TEST_DOMAIN) or host in _servers:
        raise ValueError(f"{host!r} must be a host that ends in {_TEST_DOMAIN} and has no server yet")
    _servers[host] = server
    try:
        yield
    finally:
        del _servers[host]


def server_at(url: "httpx.URL | str") -> InMemoryServer | None:
    """The server that answers for a URL; None if none does."""
    if not _servers:
        return None
    try:
        return _servers.get(urlsplit(str(url)).hostname or "")
    except ValueError:
        return None


def patience_s(url: str, seconds: float) -> float:
    """How long to wait before a URL is asked again: as long as was to be, and not at all for a server in memory."""
    return 0.0 if server_at(url) is not None else seconds


def answered(status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> "httpx.Response":
    """An answer as it comes from a network: its body has not been read."""
    from blocklist_sdk.net.http import httpx

    shown = httpx.Headers(headers)
    shown["Content-Length"] = str(len(content))
    return httpx.Response(status, headers=shown, stream=httpx.ByteStream(content))
