"""How requests leave: straight or through a proxy, with or without TLS. Decided for each request.

httpx's clients decide once, from variables that they read themselves, and make a TLS context even where none is needed.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.net.certificates import Certificates, certificates_in_use, certificates_of, trusting
from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.in_memory import server_at
from blocklist_sdk.net.proxies import Proxy, proxy_for

_ROUTE: Final = "blocklist_sdk.route"
"""Where a request's extensions say how it left."""

_NO_TLS: Final[Any] = object()
"""In the place of a TLS context, for connections without TLS: httpcore passes it on and never asks it anything."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a request leaves.

    Attributes:
        proxy: the proxy that it goes through; None if there is none.
        certificates: the authorities that are trusted; None if there is no TLS, or the caller has made the context.
    """

    proxy: Proxy | None = None
    certificates: Certificates | None = None


def route_of(request: httpx.Request | None) -> Route:
    """How a request left, as far as it is known."""
    route = None if request is None else request.extensions.get(_ROUTE)
    return route if isinstance(route, Route) else Route()


T = TypeVar("T", httpx.BaseTransport, httpx.AsyncBaseTransport)


class _Router(Generic[T]):
    """Makes the transports of a client when they are needed, one for each way that its requests take."""

    def __init__(self, tls: ssl.SSLContext | None, make: Callable[..., T]) -> None:
        self._tls = tls
        self._make: Callable[..., T] = make
        # As they are now, so that a program that changes them later does not change its open clients.
        self._environment: Mapping[str, str] = dict(os.environ)
        self._transports: dict[tuple[Proxy | None, bool], T] = {}
        self._lock = ForkSafeLock()

    def transport_for(self, request: httpx.Request) -> T:
        """The transport that a request takes.

        Raises:
            InvalidInput: the proxy or certificate settings of the environment cannot be used.
        """
        url = request.url
        proxy = self.proxy_for(url)
        is_encrypted = url.scheme == "https"
        with self._lock:
            transport = self._transports.get((proxy, is_encrypted))
            if transport is None:
                transport = self._transports[proxy, is_encrypted] = self._made(proxy, is_encrypted=is_encrypted)
            has_tls = is_encrypted or (proxy is not None and proxy.url.scheme == "https")
            certificates = certificates_of(self._context()) if has_tls else None
        request.extensions[_ROUTE] = Route(proxy, certificates)
        return transport

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """The proxy that requests to a URL take."""
        return proxy_for(url.scheme, url.host, url.port, self._environment)

    def check(self, url: str) -> None:
        """Check that the settings of the environment can be used for a URL, before anything is sent.

        Raises:
            InvalidInput: they cannot.
        """
        if server_at(url) is None:
            self.transport_for(httpx.Request("GET", url))

    def made(self) -> list[T]:
        """The transports that were made."""
        return list(self._transports.values())

    def _made(self, proxy: Proxy | None, *, is_encrypted: bool) -> T:
        way: dict[str, Any] = {"verify": self._context() if is_encrypted else _NO_TLS, "trust_env": False}
        if proxy is not None:
            url = proxy.url
            account = None if url.user is None and url.password is None else (url.user or "", url.password or "")
            way["proxy"] = httpx.Proxy(
                f"{url.scheme}://{url.hosts}",
                auth=account,
                ssl_context=self._context() if url.scheme == "https" else None,
            )
        try:
            return self._make(**way)
        except ImportError as error:
            raise InvalidInput(
                f"{proxy} is a SOCKS proxy, for which a package is missing: pip install socksio"
            ) from error

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = trusting(certificates_in_use(environment=self._environment))
        return self._tls


class Routes(httpx.BaseTransport):
    """The transport of a client of ours; may be shared by threads."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, url: str | None = None) -> None:
        """Connects to nothing.

        Args:
            tls: for servers with ``https:``; by default one that trusts the authorities of `certificates_in_use`, made
                when it is needed.
            url: where requests will go, if that is known, so that a setting that cannot be used is found at once.

        Raises:
            InvalidInput: the proxy or certificate settings of the environment cannot be used for `url`.
        """
        self._router = _Router[httpx.BaseTransport](tls, httpx.HTTPTransport)
        if url is not None:
            self._router.check(url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        server = server_at(request.url)
        if server is not None:
            request.read()
            return server.answer(request)
        return self._router.transport_for(request).handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        for transport in self._router.made():
            transport.close()


class AsyncRoutes(httpx.AsyncBaseTransport):
    """The same for httpx's asynchronous client."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, url: str | None = None) -> None:
        """As for `Routes`."""
        self._router = _Router[httpx.AsyncBaseTransport](tls, httpx.AsyncHTTPTransport)
        if url is not None:
            self._router.check(url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        server = server_at(request.url)
        if server is not None:
            import anyio.to_thread  # here, since only tests get here

            await request.aread()
            return await anyio.to_thread.run_sync(server.answer, request)
        return await self._router.transport_for(request).handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in self._router.made():
            await transport.aclose()
