"""The exchange as a server: Uvicorn in front, and the publisher at work beside it."""

import contextlib
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.exchange_server.app import create_app
from blocklist_sdk.exchange_server.exchange import Exchange

log = logging.getLogger(__name__)

_EVERY_S: Final = 2.0
"""How often the publisher looks for urgent decisions and retractions."""

_SIGN_AGAIN_S: Final = 3600.0
"""How often the timestamp is signed again, as the protocol says."""

_AFTER_FAULT_S: Final = 60.0

_KEEP_S: Final = 75
"""How long an idle connection is kept: longer than clients keep theirs (httpx 5 s), so that it is never closed just as
a request is on its way."""

_STOP_S: Final = 10
"""How long requests may take to end when the server is told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates.

    Attributes:
        certificate: the server's, PEM, with its chain.
        key: its private key, PEM.
        client_ca: clients have to show a certificate that this authority signed (mutual TLS); None: they need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Server(uvicorn.Server):
    """Uvicorn's server, which tells when it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[str], object]) -> None:
        """For `server_of`."""
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell the base URL."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._told(f"{'https' if self.config.is_ssl else 'http'}://{shown}:{port}")


def server_of(
    exchange: Exchange,
    *,
    host: str,
    port: int,
    started: Callable[[str], object],
    tls: Tls | None = None,
    behind_proxy: str | None = None,
) -> Server:
    """A server that is yet to run.

    Args:
        exchange: what it serves.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        started: is told the base URL once it listens.
        tls: certificates; None for plain HTTP, behind a reverse proxy or on loopback.
        behind_proxy: addresses of proxies whose word on where a request comes from is taken, joined by commas.

    Raises:
        InvalidInput: the certificates cannot be used.
    """
    config = uvicorn.Config(
        create_app(exchange),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=behind_proxy is not None,
        forwarded_allow_ips=behind_proxy,
        timeout_keep_alive=_KEEP_S,
        timeout_graceful_shutdown=_STOP_S,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"the certificates cannot be used: {error}") from error
    return Server(config, started)


@contextlib.contextmanager
def serving_exchange(
    exchange: Exchange,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: Tls | None = None,
    behind_proxy: str | None = None,
    publish: bool = True,
    ended: Callable[[], object] = lambda: None,
) -> Iterator[str]:
    """Serve an exchange in the background.

    Args:
        exchange: what is served.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        tls: certificates; None for plain HTTP.
        behind_proxy: addresses of proxies whose word on where a request comes from is taken, joined by commas.
        publish: publish as decisions and the cycle ask for it.
        ended: is called when the server has ended, also if it was not told to.

    Yields:
        The base URL.

    Raises:
        InvalidInput: the address cannot be listened on, or the certificates cannot be used.
        RuntimeError: the server ended without being told to.
    """
    told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    over = threading.Event()
    server = server_of(exchange, host=host, port=port, started=told.put, tls=tls, behind_proxy=behind_proxy)

    def run() -> None:
        try:
            server.run()
        except SystemExit:  # how Uvicorn says that it cannot listen there
            log.error("the exchange's server has ended")
        finally:
            over.set()
            told.put(None)
            ended()

    thread = threading.Thread(target=run, name="exchange", daemon=True)
    with publishing(exchange) if publish else contextlib.nullcontext():
        try:
            thread.start()
            url = told.get()
            if url is None:
                raise InvalidInput(f"cannot listen on {host}, port {port}")
            yield url
            # Not `thread.is_alive`: a thread that has called `ended` is alive for a moment.
            if over.is_set():
                raise RuntimeError("the exchange's server has ended by itself")
        finally:
            server.should_exit = True
            _join(thread)


@contextlib.contextmanager
def publishing(exchange: Exchange, *, every_s: float = _EVERY_S) -> Iterator[None]:
    """Publish in the background, as decisions and the cycle ask for it, and sign again what is near its end.

    A run that fails is logged, and tried again a minute later.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_publish, args=(exchange, stop, every_s), name="publisher", daemon=True)
    try:
        thread.start()
        yield
    finally:
        stop.set()
        _join(thread)


def _join(thread: threading.Thread) -> None:
    """Wait for its end; an interrupt may have come before its beginning."""
    if thread.ident is not None:
        thread.join()


def _publish(exchange: Exchange, stop: threading.Event, every_s: float) -> None:
    signed = -_SIGN_AGAIN_S
    wait = 0.0
    while not stop.wait(wait):
        wait = every_s
        try:
            exchange.begin()
            exchange.publish()
            if time.monotonic() - signed >= _SIGN_AGAIN_S:
                exchange.publisher.refresh()
                exchange.forget()
                signed = time.monotonic()
        except BlocklistError as error:
            log.error("publishing failed, and is tried again in %d s: %s", _AFTER_FAULT_S, error)
            wait = _AFTER_FAULT_S
        except Exception:
            log.exception("publishing failed unexpectedly, and is tried again in %d s", _AFTER_FAULT_S)
            wait = _AFTER_FAULT_S
