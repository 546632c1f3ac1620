"""The exchange as a server: Uvicorn, and a thread that publishes."""

import contextlib
import functools
import gc
import ipaddress
import logging
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import uvicorn

from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.exchange_server.app import create_app
from blocklist_sdk.exchange_server.connection_limits import ConnectionTable, connection_limits
from blocklist_sdk.exchange_server.connections import Acceptor, GuardedConnection, listening
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.net.listening import url_of
from blocklist_sdk.net.server_tls import TlsFiles, server_context
from blocklist_sdk.texts import counted

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

log: logging.Logger = logging.getLogger(__name__)

_EVERY_S: Final = 1.0
"""Seconds between two looks for urgent decisions and retractions."""

_SIGN_AGAIN_S: Final = 3600.0
"""Seconds after which the timestamp is signed again, from the protocol."""

_AFTER_FAULT_S: Final = 60.0

_NOTE_AGAIN_S: Final = 30.0
"""Seconds after which publishing is noted again as working; `publishing_health.OVERDUE_AFTER` is much longer."""

_KEEP_S: Final = 75
"""How long an idle connection is kept, seconds: longer than clients keep theirs (httpx 5 s), so that the server never
closes one just as a request arrives."""

_LOOK_AFTER: Final = 20_000
"""New objects after which the garbage collector looks at them; Python's 700 come many times in a batch of receipts."""

_OPEN_FILES_MAX: Final = 65_536
"""More open files than any number of connections here needs."""

_LEAST_OPEN_FILES: Final = 1_024
"""What systems let a process open at least, by custom."""

_STOP_S: Final = 10
"""How long requests under way may take after the server was asked to stop, seconds."""


class Server(uvicorn.Server):
    """Uvicorn's server with guarded connections, which calls a function once it listens."""

    def __init__(
        self, config: uvicorn.Config, on_started: Callable[[str], object], table: ConnectionTable[GuardedConnection]
    ) -> None:
        """See `server_of`."""
        super().__init__(config)
        self._on_started = on_started
        self._table = table
        self._acceptor: Acceptor | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and pass on the base URL."""
        config = self.config
        try:
            listeners = await listening(config.host, config.port, backlog=config.backlog)
        except OSError as error:
            log.error("cannot listen on %s, port %d: %s", config.host, config.port, error)
            sys.exit(uvicorn.config.STARTUP_FAILURE)
        await super().startup(sockets=[])  # it listens on nothing by itself
        self._acceptor = Acceptor(listeners, self._new_connection, self._table, config.ssl)
        self._acceptor.start()
        self._on_started(url_of(listeners[0], "http" if config.ssl is None else "https"))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and end those that there are."""
        if self._acceptor is not None:
            await self._acceptor.close()
        await super().shutdown(sockets)

    def _new_connection(self) -> GuardedConnection:
        return GuardedConnection(
            self._table, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def raise_open_files() -> None:
    """Let this process open as many files as it may, of which the number of connections follows; 65,536 at most."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_what_is_loaded() -> None:
    """Let the garbage collector pass over all that this process has now; what it looks at later is what requests leave.

    For a process that does nothing but serve. Otherwise a batch of receipts has it look at a million objects that stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_LOOK_AFTER, *gc.get_threshold()[1:])


def _open_files() -> int:
    """How many files this process may open, 65,536 at most."""
    if resource is None:
        return _LEAST_OPEN_FILES
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _OPEN_FILES_MAX if soft == resource.RLIM_INFINITY else min(soft, _OPEN_FILES_MAX)


def proxies_of(addresses: str | None) -> Callable[[str], bool]:
    """Whether an address is one of these proxies, as Uvicorn reads them.

    >>> is_proxy = proxies_of("127.0.0.1, 192.0.2.0/24")
    >>> is_proxy("127.0.0.1"), is_proxy("192.0.2.7"), is_proxy("198.51.100.7"), proxies_of(None)("127.0.0.1")
    (True, True, False, False)
    """
    if addresses is None:
        return lambda address: False
    trusted = [each.strip() for each in addresses.split(",")]
    if "*" in trusted:
        return lambda address: True
    networks = []
    for each in trusted:
        with contextlib.suppress(ValueError):
            networks.append(ipaddress.ip_network(each, strict=False))

    @functools.lru_cache(maxsize=1024)
    def is_proxy(address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in networks)

    return is_proxy


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
    context = None if tls is None else server_context(tls)
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
        ws="none",
    )
    config.load()
    config.ssl = context
    table = ConnectionTable[GuardedConnection](connection_limits(_open_files()), proxies_of(behind_proxy))
    return Server(config, on_started, table)


@contextlib.contextmanager
def serving_exchange(
    exchange: Exchange,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: TlsFiles | None = None,
    behind_proxy: str | None = None,
    publish: bool = True,
    allow_root_key: bool = False,
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
        allow_root_key: publish even if the exchange's passphrase opens a root or targets key that is in the folder.
        on_ended: called when the server has stopped for any reason.

    Yields:
        The base URL.

    Raises:
        InvalidInput: cannot listen on the address, the certificates cannot be used, or a root or targets key can be
            opened here.
        StorageFailed: the database failed.
        RuntimeError: the server stopped by itself.
    """
    exchange.note_configuration()
    if exchange.database.may_alter_trail():
        log.warning("the database's role could alter the audit trail: let another one own it (`--database-owner`)")
    old = exchange.old_hashes()
    if old:
        log.warning(
            "%s with a hash of its secret from before, which is replaced at its next log-in: until then, each wrong "
            "secret takes a tenth of a second, and many at a time are refused. See `blocklist exchange user list`",
            counted(old, "account"),
        )
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
    with publishing(exchange, allow_root_key=allow_root_key) if publish else contextlib.nullcontext():
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
def publishing(exchange: Exchange, *, every_s: float = _EVERY_S, allow_root_key: bool = False) -> Iterator[None]:
    """Publish decisions and renew signatures in the background.

    A run that fails is logged and repeated a minute later.

    Args:
        exchange: the exchange.
        every_s: seconds between two looks for what has to be published.
        allow_root_key: publish even if the exchange's passphrase opens a root or targets key that is in the folder.

    Raises:
        InvalidInput: it opens one.
    """
    if not allow_root_key:
        exchange.check_keys_apart()
    here = exchange.publisher.offline_keys_here()
    if here:
        log.warning(
            "%s of root and targets in %s: take them off this machine, since publishing needs none of them",
            counted(len(here), "key"),
            here[0].parent,
        )
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
            exchange.raise_alarms()
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
