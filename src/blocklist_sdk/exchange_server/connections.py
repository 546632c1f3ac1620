"""Connections of the exchange's server: bounded in number, in length of what comes before a body, and in time.

Uvicorn parses HTTP with httptools, which bounds neither the length nor the time of a head. `GuardedConnection` is
Uvicorn's protocol with these bounds; `Acceptor` takes connections as `ConnectionTable` decides, and refuses the others
at once, before a handshake.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from blocklist_sdk.exchange_server.connection_limits import ConnectionTable
from blocklist_sdk.exchange_server.http.client_certificates import certificate_extension
from blocklist_sdk.exchange_server.http.problems import MEDIA_TYPE, HttpRefusal, problem_of
from blocklist_sdk.net.listening import NO_FILES, NO_FILES_PAUSE_S, listening_sockets
from blocklist_sdk.texts import counted

log: logging.Logger = logging.getLogger(__name__)

HEAD_BYTES_MAX: Final = 32_768
"""Longest head of a request: what browsers and proxies send is far below."""

HEADERS_MAX: Final = 100
"""Most headers of a request."""

TARGET_BYTES_MAX: Final = 8_192
"""Longest target in a request line; servers should bear 8,000 bytes (RFC 9112, 3)."""

PIPELINED_MAX: Final = 16
"""Most requests that may wait on one connection for the answer to another one."""

HEAD_S: Final = 10.0
"""How long the head of a request may take, from the connection or from its first byte on, seconds."""

HANDSHAKE_S: Final = 10.0
"""How long a TLS handshake may take, seconds."""

WRITE_S: Final = 30.0
"""How long a client may leave what the server wants to send unread, seconds. Some 48 kB must go in this time."""

_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 1 << 20
"""How long and how much a server that has answered before a body ended goes on reading it. If it hung up at once, the
client might never see the answer."""

_PIECE_BYTES: Final = 1 << 14
"""How much is parsed before lengths are checked again."""

_CHUNK_LINE_BYTES: Final = 32
"""What the lines around a chunk may take: its length, two line ends, a short extension."""

_SHED_LINGER_S: Final = 0.5
_SHED_LINGERING: Final = 32

_LOG_EVERY_S: Final = 60.0

_RETRY_S: Final = "5"

_NO_HTTP: Final = "this is not a request in HTTP/1.1"

_NOT_SENT_BYTES_MAX: Final = 1 << 17
"""How much the system keeps for a client that reads nothing; without this, up to 4 MB of its memory."""

_NOT_SENT_OPTION: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)
"""The option's number on Linux is in include/uapi/linux/tcp.h; Python's module does not have it everywhere."""


class _Refused(Exception):
    """Stops the parser."""


class GuardedConnection(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, with limits. Requests carry the fingerprint of the client's certificate.

    Attributes:
        handshake: what makes the connection ready, until it is.
    """

    def __init__(self, table: "ConnectionTable[GuardedConnection]", **kwargs: Any) -> None:
        """See `HttpToolsProtocol`.

        Args:
            table: where it is entered.
            kwargs: what Uvicorn gives to its protocols.
        """
        super().__init__(**kwargs)
        self.handshake: asyncio.Task[None] | None = None
        self._table = table
        self._served_app = self.app
        self.app: Any = self._run
        self._refusal: HttpRefusal | None = None
        self._cycles: list[RequestResponseCycle] = []
        self._extensions: dict[str, Any] = {}
        self._is_lingering = False
        self._lingered = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        # Of the message that is being parsed: what was fed to the parser and belongs to neither body nor chunks.
        self._is_in_head = False
        self._overhead = 0
        self._piece_bytes = 0
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the client's certificate from the handshake, and wait for the first head."""
        self.handshake = None
        super().connection_made(transport)
        self._extensions = certificate_extension(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end_cycles()
        self._table.leave(self)
        for timer in (self._head_timer, self._write_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close it: another connection takes its place."""
        if self.transport is not None:
            self._abort() if self._unsent() else self.transport.close()
        elif self.handshake is not None:
            self.handshake.cancel()

    # What comes

    def data_received(self, data: bytes) -> None:
        """Parse what has come, piece by piece."""
        self._unset_keepalive_if_required()
        for start in range(0, len(data), _PIECE_BYTES):
            if self.transport.is_closing():
                return
            if self._is_lingering:
                self._discard(len(data) - start)
                return
            self._parse(data[start : start + _PIECE_BYTES])
        if self._is_in_head and self._head_timer is None:
            self._await_head()

    def _parse(self, piece: bytes) -> None:
        self._piece_bytes = len(piece)
        self._overhead += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # The request is answered as one without an upgrade, and nothing after it is read.
            if self.cycle is not None:
                self.cycle.keep_alive = False
            self._linger()
        except httptools.HttpParserError:
            self._refuse(self._refusal or HttpRefusal("malformed", _NO_HTTP))
        else:
            if self._overhead > HEAD_BYTES_MAX + _PIECE_BYTES:
                self._refuse(_head_too_long())

    def on_message_begin(self) -> None:
        """Begin a request, unless too many wait on this connection."""
        if len(self.pipeline) >= PIPELINED_MAX:
            self._stop(HttpRefusal("too-many", f"more than {PIPELINED_MAX} requests wait on this connection"))
        super().on_message_begin()
        self.scope["extensions"] = dict(self._extensions)  # Uvicorn passes no certificate on
        self._is_in_head = True
        self._overhead = self._piece_bytes
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Keep a part of the target."""
        super().on_url(url)
        if len(self.url) > TARGET_BYTES_MAX:
            self._stop(HttpRefusal("target-too-long", f"an address may have at most {TARGET_BYTES_MAX:,} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after a body is no header of the request."""
        if not self._is_in_head:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes + len(self.url) > HEAD_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            self._stop(_head_too_long())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the client wants another protocol."""
        self._is_in_head = False
        self._overhead = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._table.set_busy(self)
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self._stop(HttpRefusal("malformed", _NO_HTTP))
        if self.parser.should_upgrade():
            wanted = [value.lower() for name, value in self.headers if name == b"upgrade"]
            if self.parser.get_method() == b"CONNECT" or b"websocket" in wanted:
                self._stop(HttpRefusal("malformed", "this server speaks no WebSocket, and is no proxy"))
        super().on_headers_complete()
        self._cycles.append(self.cycle)

    def on_chunk_header(self) -> None:
        """Allow for the lines around a chunk."""
        self._overhead -= _CHUNK_LINE_BYTES

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body."""
        self._overhead -= len(body)
        super().on_body(body)

    # What goes

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. If it answers before the body has ended, hang up after the answer, but not at once."""

        async def send_and_close(message: Message) -> None:
            if self.transport.is_closing():
                # With uvloop, to write now would raise; `connection_lost` may be called a moment later.
                self._end_cycles()
                return
            # Only the last request that was parsed can have a body that has not ended.
            cycle = self.cycle
            if message["type"] == "http.response.start" and cycle.scope is scope and cycle.more_body:
                cycle.keep_alive = False
                cycle.transport = _Lingering(self)  # type: ignore[assignment]
            await send(message)

        await self._served_app(scope, receive, send_and_close)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        super().on_response_complete()
        self._expect_reading()
        is_idle = not (self.transport.is_closing() or self._is_lingering or self._is_in_head)
        if is_idle and (self.cycle is None or self.cycle.response_complete):
            self._table.set_idle(self)

    def pause_writing(self) -> None:
        """Wait until the client has read more."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Go on: the client has read more."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _expect_reading(self) -> None:
        """Hang up on a client that does not read."""
        if self._write_timer is None and self._unsent():
            self._write_timer = self.loop.call_later(WRITE_S, self._on_unread)

    def _on_unread(self) -> None:
        self._write_timer = None
        if self._unsent():
            self._abort()

    def _unsent(self) -> int:
        """How many bytes the client has not taken yet."""
        try:
            return self.transport.get_write_buffer_size()
        except RuntimeError:  # uvloop's, on a transport that is closed
            return 0

    # Ends

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._on_no_head)
        self._table.set_waiting(self, now=self.loop.time())

    def _on_no_head(self) -> None:
        self._head_timer = None
        if self._is_in_head:
            self._refuse(HttpRefusal("too-slow", f"send the head of a request within {HEAD_S:.0f} s"))
        else:
            self.transport.close()

    def _stop(self, refusal: HttpRefusal) -> None:
        """Stop the parser because of a refusal; for its callbacks."""
        self._refusal = refusal
        raise _Refused

    def _refuse(self, refusal: HttpRefusal) -> None:
        """Answer what is no request that can be served, and hang up."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._abort()  # another answer is on its way
            return
        self.transport.write(response_bytes(refusal))
        self._linger()

    def _linger(self) -> None:
        self._is_lingering = True
        if self._end_timer is None:
            self._end_timer = self.loop.call_later(_LINGER_S, self._on_lingered)

    def _on_lingered(self) -> None:
        self._end_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._linger()  # an answer is on its way
            return
        self.transport.close()
        self._expect_reading()

    def _discard(self, count: int) -> None:
        self._lingered += count
        if self._lingered > _LINGER_BYTES:
            self._abort()

    def _abort(self) -> None:
        self._end_cycles()
        self.transport.abort()

    def _end_cycles(self) -> None:
        """Let all requests under way know that nobody waits for them; Uvicorn knows of the last one only."""
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()
        self._cycles.clear()


class _Lingering:
    """The transport of an answer that is sent before the body of its request has ended."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def close(self) -> None:
        self._connection._linger()


def _head_too_long() -> HttpRefusal:
    return HttpRefusal(
        "head-too-large",
        f"a request may have {HEADERS_MAX} headers, which with its address take {HEAD_BYTES_MAX:,} bytes",
    )


def response_bytes(refusal: HttpRefusal) -> bytes:
    """A refusal as an HTTP response after which the server hangs up."""
    problem = problem_of(refusal, secrets.token_hex(8))
    body = json.dumps(problem.model_dump(mode="json")).encode()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Request-Id": problem.request_id,
        **refusal.headers,
    }
    lines = [f"HTTP/1.1 {problem.status} {problem.title}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Acceptor:
    """Takes connections from listening sockets, as many as a table lets it."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        new_connection: Callable[[], GuardedConnection],
        table: ConnectionTable[GuardedConnection],
        tls: ssl.SSLContext | None,
    ) -> None:
        """Takes none yet.

        Args:
            listeners: sockets that listen, and do not block. They are closed at the end.
            new_connection: makes the protocol of a connection.
            table: decides.
            tls: for HTTPS; None for HTTP.
        """
        self._listeners = listeners
        self._new_connection = new_connection
        self._table = table
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: deque[socket.socket] = deque()
        self._refused = 0
        self._logged = -_LOG_EVERY_S

    def start(self) -> None:
        """Take connections from now on."""
        for listener in self._listeners:
            self._start(self._accept(listener))

    async def close(self) -> None:
        """Take no more, and end handshakes under way; connections that are ready go on."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for opened in (*self._listeners, *self._closing):
            opened.close()

    def _start(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, address = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in NO_FILES:
                    log.error("no more connections can be taken: %s", error.strerror)
                    await asyncio.sleep(NO_FILES_PAUSE_S)
                continue
            self._admit(taken, str(address[0]) if isinstance(address, tuple) else "")
            await asyncio.sleep(0)  # so that a flood of connections leaves time for those that are taken

    def _admit(self, taken: socket.socket, address: str) -> None:
        if _NOT_SENT_OPTION is not None:
            with contextlib.suppress(OSError):
                taken.setsockopt(socket.IPPROTO_TCP, _NOT_SENT_OPTION, _NOT_SENT_BYTES_MAX)
        connection = self._new_connection()
        admission = self._table.enter(connection, address, now=asyncio.get_running_loop().time())
        if admission.gives_way is not None:
            admission.gives_way.give_way()
        if admission.is_taken:
            connection.handshake = self._start(self._connect(taken, connection))
        else:
            self._shed(taken)

    async def _connect(self, taken: socket.socket, connection: GuardedConnection) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                taken,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls else None,
                ssl_shutdown_timeout=_LINGER_S if self._tls else None,
            )
        except OSError:  # ssl.SSLError and TimeoutError among these
            self._table.leave(connection)
            taken.close()
        except asyncio.CancelledError:
            self._table.leave(connection)
            taken.close()
            raise

    def _shed(self, taken: socket.socket) -> None:
        """Refuse a connection: a short answer, if no handshake is needed for it, and the end."""
        self._refused += 1
        if time.monotonic() - self._logged >= _LOG_EVERY_S:
            log.warning(
                "%s refused: too many are open, or too many from one network", counted(self._refused, "connection")
            )
            self._logged, self._refused = time.monotonic(), 0
        if self._tls is not None:
            taken.close()
            return
        refusal = HttpRefusal("unavailable", "too many connections are open", headers={"Retry-After": _RETRY_S})
        with contextlib.suppress(OSError):
            taken.send(response_bytes(refusal))
            taken.shutdown(socket.SHUT_WR)
        # A socket that is closed while a request arrives resets the connection, and the answer may be lost.
        self._closing.append(taken)
        if len(self._closing) > _SHED_LINGERING:
            self._close_oldest()
        else:
            asyncio.get_running_loop().call_later(_SHED_LINGER_S, self._close_oldest)

    def _close_oldest(self) -> None:
        if self._closing:
            self._closing.popleft().close()


async def listening(host: str, port: int, *, backlog: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of a host, and do not block.

    Args:
        host: a name or an address.
        port: 0 takes a free one.
        backlog: most connections that wait to be taken.

    Raises:
        OSError: the address cannot be used.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return listening_sockets(found, backlog=backlog)
