"""The exchange as a server: Uvicorn, and a thread that publishes."""

import contextlib
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn

from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.exchange_server.app import create_app
from blocklist_sdk.exchange_server.exchange import Exchange

log: logging.Logger = logging.getLogger(__name__)

_EVERY_S: Final = 2.0
"""Seconds between two looks for urgent decisions and retractions."""

_SIGN_AGAIN_S: Final = 3600.0
"""Seconds after which the timestamp is signed again, from the protocol."""

_AFTER_FAULT_S: Final = 60.0

_NOTE_AGAIN_S: Final = 30.0
"""Seconds after which publishing is noted again as working; `publishing_health.OVERDUE_AFTER` is much longer."""

_KEEP_S: Final = 75
"""How long an idle connection is kept, seconds: longer than clients keep theirs (httpx 5 s), so that the server never
closes one just as a request arrives."""

_STOP_S: Final = 10
"""How long requests under way may take after the server was asked to stop, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificate files of a server.

    Attributes:
        certificate: the server's certificate with its chain, PEM.
        key: its private key, PEM.
        client_ca: the authority that must have signed the certificates of clients (mutual TLS); None if clients need no
            certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Server(uvicorn.Server):
    """Uvicorn's server, which calls a function once it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[str], object]) -> None:
        """See `server_of`."""
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and pass on the base URL."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._on_started(f"{'https' if self.config.is_ssl else 'http'}://{shown}:{port}")


def server_of(
    exchange: Exchange,
    *,
    host: str,
    port: int,
    on_started: Callable[[str], object],
    tls: TlsFiles | None = None,
    behind_proxy: str | None = None,
) -> Server:
    """A server that does not run yet.

    Args:
        exchange: the exchange that it serves.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        on_started: called with the base URL once the server listens.
        tls: certificates; None for plain HTTP, behind a reverse proxy or on loopback.
        behind_proxy: addresses of proxies trusted to say where a request comes from, separated by commas.

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
    return Server(config, on_started)


@contextlib.contextmanager
def serving_exchange(
    exchange: Exchange,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: TlsFiles | None = None,
    behind_proxy: str | None = None,
    publish: bool = True,
    on_ended: Callable[[], object] = lambda: None,
) -> Iterator[str]:
    """Serve an exchange in the background.

    Args:
        exchange: the exchange to serve.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        tls: certificates; None for plain HTTP.
        behind_proxy: addresses of proxies trusted to say where a request comes from, separated by commas.
        publish: also publish decisions in the background.
        on_ended: called when the server has stopped for any reason.

    Yields:
        The base URL.

    Raises:
        InvalidInput: cannot listen on the address, or the certificates cannot be used.
        RuntimeError: the server stopped by itself.
    """
    urls: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stopped = threading.Event()
    server = server_of(exchange, host=host, port=port, on_started=urls.put, tls=tls, behind_proxy=behind_proxy)

    def run() -> None:
        try:
            server.run()
        except SystemExit:  # raised by Uvicorn if it cannot listen
            log.error("the exchange's server has stopped")
        finally:
            stopped.set()
            urls.put(None)
            on_ended()

    thread = threading.Thread(target=run, name="exchange", daemon=True)
    with publishing(exchange) if publish else contextlib.nullcontext():
        try:
            thread.start()
            url = urls.get()
            if url is None:
                raise InvalidInput(f"cannot listen on {host}, port {port}")
            yield url
            # Not `thread.is_alive`: a thread that has called `on_ended` is alive for a moment.
            if stopped.is_set():
                raise RuntimeError("the exchange's server stopped by itself")
        finally:
            server.should_exit = True
            _join(thread)


@contextlib.contextmanager
def publishing(exchange: Exchange, *, every_s: float = _EVERY_S) -> Iterator[None]:
    """Publish decisions and renew signatures in the background.

    A run that fails is logged and repeated a minute later.
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
    """Wait for a thread to end, unless an interrupt came before it was started."""
    if thread.ident is not None:
        thread.join()


class _Health:
    """Writes for all processes how publishing fares, each time that this changes and at least twice a minute."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._noted: tuple[float, str] = (-_NOTE_AGAIN_S, "")
        _try(exchange.expect_publishing)

    def note(self, error: BaseException | None) -> None:
        now, kind = time.monotonic(), type(error).__name__
        if kind != self._noted[1] or now - self._noted[0] >= _NOTE_AGAIN_S:
            _try(partial(self._exchange.note_publishing, error))
            self._noted = now, kind

    def end(self) -> None:
        _try(self._exchange.expect_no_publishing)


def _try(action: Callable[[], None]) -> None:
    """Note something; if the database fails, what is missing there shows it."""
    try:
        action()
    except BlocklistError as error:
        log.error("the state of publishing was not noted: %s", error)


def _publish(exchange: Exchange, stop: threading.Event, every_s: float) -> None:
    health = _Health(exchange)
    try:
        _publish_until(stop, exchange, every_s, health)
    finally:
        health.end()


def _publish_until(stop: threading.Event, exchange: Exchange, every_s: float, health: _Health) -> None:
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
            health.note(None)
        except BlocklistError as error:
            health.note(error)
            log.error("publishing failed, next try in %d s: %s", _AFTER_FAULT_S, error)
            wait = _AFTER_FAULT_S
        except Exception as error:
            health.note(error)
            log.exception("publishing failed unexpectedly, next try in %d s", _AFTER_FAULT_S)
            wait = _AFTER_FAULT_S
