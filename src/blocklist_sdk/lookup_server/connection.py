"""HTTP connections of a look-up server: an asyncio protocol on httptools, bounded in length and time.

Since an answer is there within microseconds, a request is answered in the call that brings its last byte, without a
task. Only a long list in JSON is answered in steps, and then the requests behind it wait in a queue. httptools bounds
neither the length nor the time of what comes, so that is done here.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Final

import httptools

from blocklist_sdk.lookup_server.counters import DoorCounters
from blocklist_sdk.lookup_server.messages import Request, Response, problem_response
from blocklist_sdk.lookup_server.problems import FAULT, Problem
from blocklist_sdk.lookup_server.routes import Routes
from blocklist_sdk.lookup_server.seldom import Seldom

HEAD_BYTES_MAX: Final = 16_384
"""Longest head of a request."""

HEADERS_MAX: Final = 100
"""Most headers of a request."""

TARGET_BYTES_MAX: Final = 8_192
"""Longest target in a request line; servers should bear 8,000 bytes (RFC 9112, 3)."""

BODY_BYTES_MAX: Final = 2 << 20
"""Longest body: 10,000 numbers, each as a text of 200 bytes."""

REQUEST_S: Final = 10.0
"""How long a request may take from its first byte to its last, seconds."""

IDLE_S: Final = 75.0
"""How long an idle connection is kept, seconds: longer than clients keep theirs (httpx 5 s), so that the server never
closes one just as a request arrives."""

WRITE_S: Final = 30.0
"""How long a client may leave an answer unread, seconds."""

_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 1 << 20
"""How long and how much a server that has answered before a body ended goes on reading it. If it hung up at once, the
client might never see the answer."""

_PIECE_BYTES: Final = 1 << 14
"""How much is parsed before lengths are checked again."""

_CHUNK_LINE_BYTES: Final = 32
"""What the lines around a chunk may take: its length, two line ends, a short extension."""

_UNREAD_BYTES_MAX: Final = 1 << 16
"""How much may wait for a client to read it before no more requests of that connection are read."""

_CLOSE: Final = b"Connection: close\r\n"
_KEEP: Final = b"Connection: keep-alive\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_NO_HTTP: Final = Problem("malformed", "this is not a request in HTTP/1.1")


log: logging.Logger = logging.getLogger(__name__)


class _Stopped(Exception):
    """Stops the parser."""


class Connections:
    """The HTTP connections of one worker, and the clock that ends those that take too long."""

    def __init__(self, routes: Routes, *, limit: int) -> None:
        """No connection is open.

        Args:
            routes: answers requests.
            limit: most connections at a time.
        """
        self.routes: Routes = routes
        self._limit = limit
        self._full = Seldom()
        self.open: set[HttpConnection] = set()
        self.is_draining: bool = False
        self.date: bytes = b""

    def tick(self) -> None:
        """End what takes too long, and set the clock of answers; to be called about once a second."""
        self.date = f"Date: {formatdate(usegmt=True)}\r\n".encode()
        now = time.monotonic()
        for connection in [each for each in self.open if each.deadline <= now]:
            connection.expire()

    def make_room(self, counters: DoorCounters) -> bool:
        """Whether one more connection may come; if there are as many as there may be, the longest idle one goes.

        Args:
            counters: of its door.
        """
        if len(self.open) < self._limit:
            return True
        oldest = min((each for each in self.open if each.is_idle), key=lambda each: each.deadline, default=None)
        if oldest is not None:
            oldest.abort()
            return True
        counters.connection_refused()
        if self._full.is_due():
            log.warning("connections are refused: %d are open, and all of them busy", len(self.open))
        return False

    def drain(self) -> None:
        """Close idle connections now, and the others after their next answer."""
        self.is_draining = True
        for connection in list(self.open):
            connection.close_if_idle()

    def abort(self) -> None:
        """Cut all connections."""
        for connection in list(self.open):
            connection.abort()


class HttpConnection(asyncio.Protocol):
    """One connection.

    Attributes:
        deadline: when it has taken too long, by the monotonic clock.
        is_idle: whether it waits for a request.
    """

    def __init__(self, connections: Connections, counters: DoorCounters, *, is_trusted: bool) -> None:
        """See `Connections`.

        Args:
            connections: where it is entered.
            counters: of its door.
            is_trusted: whether its client need not show a token or a certificate.
        """
        self._loop = asyncio.get_running_loop()
        self._all = connections
        self._routes = connections.routes
        self._counters = counters
        self._is_trusted = is_trusted
        self._has_certificate = False
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self.deadline: float = time.monotonic() + REQUEST_S
        self.is_idle: bool = True
        self._is_lingering = False
        self._is_writing_paused = False
        self._lingered = 0
        self._work: Iterator[Response | None] | None = None
        self._waiting: deque[tuple[Request, Problem | None, bool]] = deque()
        # Why nothing more is read; to be said after the answers to what was read before.
        self._last_problem: Problem | None = None
        self._clear()

    def _clear(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._is_in_head = False
        self._overhead = 0
        self._piece_bytes = 0
        self._plain_body_left = 0
        self._request: Request | None = None
        self._refusal: Problem | None = None
        self._clear_body()

    def _clear_body(self) -> None:
        self._body: list[bytes] = []
        self._body_bytes = 0

    # asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        self._transport = transport
        self._has_certificate = bool(transport.get_extra_info("peercert"))
        transport.set_write_buffer_limits(_UNREAD_BYTES_MAX)
        self._all.open.add(self)
        self._counters.connections(1)
        if self._all.is_draining:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._transport is not None:
            self._transport = None
            self._all.open.discard(self)
            self._counters.connections(-1)
        self._work = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, piece by piece, and answer the requests in it."""
        if self.is_idle:
            self.is_idle = False
            self.deadline = time.monotonic() + REQUEST_S
        # While a long answer is made nothing is read, but what had been read before that comes here.
        for start in range(0, len(data), _PIECE_BYTES):
            if self._transport is None or self._transport.is_closing():
                return
            if self._is_lingering:
                self._lingered += len(data) - start
                if self._lingered > _LINGER_BYTES:
                    self.abort()
                return
            self._parse(data if len(data) <= _PIECE_BYTES else data[start : start + _PIECE_BYTES])

    def pause_writing(self) -> None:
        """Read no more until the client has read."""
        self._is_writing_paused = True
        self.deadline = time.monotonic() + WRITE_S
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._is_writing_paused = False
        self.deadline = time.monotonic() + (IDLE_S if self.is_idle else REQUEST_S)
        if self._transport is not None and self._work is None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Ends

    def expire(self) -> None:
        """End it, since it has taken too long."""
        if self._transport is None or self._work is not None:
            return
        if self._is_writing_paused or self._transport.is_closing() or self._is_lingering:
            self.abort()
        elif self.is_idle:
            self._transport.close()
            self.deadline = time.monotonic() + WRITE_S
        else:
            self._refuse(Problem("too-slow", f"send a whole request within {REQUEST_S:.0f} s"))

    def close_if_idle(self) -> None:
        """Close it if no request is under way."""
        if self.is_idle and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()

    # The parser

    def _parse(self, piece: bytes) -> None:
        while piece and self._transport is not None and not self._transport.is_closing():
            piece = self._parse_up_to_upgrade(piece)

    def _parse_up_to_upgrade(self, piece: bytes) -> bytes:
        """Parse bytes, and return what comes after the head of a request with an upgrade."""
        if self._plain_body_left:
            piece = self._take_plain_body(piece)
        if not piece:
            return b""
        self._piece_bytes = len(piece)
        self._overhead += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            # Answered as a request without an upgrade (RFC 9110, 7.8): Java's client offers HTTP/2 with the first one.
            rest = piece[upgrade.args[0] :]
            if not self._plain_body_left:
                self._parser = httptools.HttpRequestParser(self)
            return rest
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Stopped):
                # Without its text, which may contain a number.
                log.error("a request was not answered: unexpected %s", type(error.__context__).__name__)
                log.debug("a request was not answered", exc_info=True)
                self._refusal = FAULT
            self._refuse(self._refusal or _NO_HTTP)
        except httptools.HttpParserError:
            self._refuse(_NO_HTTP)
        else:
            if self._overhead > HEAD_BYTES_MAX + _PIECE_BYTES:
                self._refuse(_head_too_long())
        return b""

    def _take_plain_body(self, piece: bytes) -> bytes:
        """Keep a part of a body that the parser leaves to us, and return what comes after it."""
        part, rest = piece[: self._plain_body_left], piece[self._plain_body_left :]
        self._plain_body_left -= len(part)
        self.on_body(part)
        if not self._plain_body_left:
            self._on_whole_request()
            self._parser = httptools.HttpRequestParser(self)
        return rest

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._clear()
        self._is_in_head = True
        self._overhead = self._piece_bytes
        if self.is_idle:  # it came with the request before
            self.is_idle = False
            self.deadline = time.monotonic() + REQUEST_S

    def on_url(self, url: bytes) -> None:
        """Keep a part of the target."""
        self._target += url
        if len(self._target) > TARGET_BYTES_MAX:
            self._stop(Problem("target-too-long", f"an address may have at most {TARGET_BYTES_MAX:,} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after a body is no header of the request."""
        if not self._is_in_head:
            return
        self._header_count += 1
        if self._header_count > HEADERS_MAX:
            self._stop(_head_too_long())
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Refuse at once what need not be read to its end."""
        self._is_in_head = False
        if self._overhead > HEAD_BYTES_MAX + _PIECE_BYTES:
            self._stop(_head_too_long())
        self._overhead = 0
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._stop(_NO_HTTP)
        target = self._target.decode("latin-1")
        path, _, query = _origin_form(target).partition("?")
        request = Request(
            self._parser.get_method().decode("latin-1"), path, query, self._headers, is_http_1_0=version == "1.0"
        )
        self._request = request
        self._refusal = self._routes.early_problem(
            request, is_trusted=self._is_trusted, has_certificate=self._has_certificate
        )
        if int(self._headers.get("content-length", 0)) > BODY_BYTES_MAX:
            self._stop(self._refusal or _body_too_long())
        if self._parser.should_upgrade() and not _is_passed_over(request):
            self._stop(Problem("malformed", "this server speaks no other protocol than HTTP/1.1, and is no proxy"))
        if self._refusal is None and self._headers.get("expect", "").lower() == "100-continue":
            self._write(_CONTINUE)

    def on_chunk_header(self) -> None:
        """Allow for the lines around a chunk."""
        self._overhead -= _CHUNK_LINE_BYTES

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, unless the request is refused already."""
        self._overhead -= len(body)
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._stop(self._refusal or _body_too_long())
        if self._refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer, unless a body comes that the parser leaves to us: that of a request with an upgrade."""
        length = int(self._headers.get("content-length", 0)) if self._parser.should_upgrade() else 0
        if length:
            self._plain_body_left = length
        else:
            self._on_whole_request()

    def _on_whole_request(self) -> None:
        """Answer, or wait for the answers of the requests before."""
        request = self._request
        assert request is not None, "a head comes first"
        if self._body:
            request = replace(request, body=self._body[0] if len(self._body) == 1 else b"".join(self._body))
        refusal, keeps = self._refusal, self._parser.should_keep_alive()
        self._request = self._refusal = None
        self._clear_body()
        if self._work is None:
            self._answer(request, refusal, keeps)
        else:
            self._waiting.append((request, refusal, keeps))

    # Answers

    def _answer(self, request: Request, refusal: Problem | None, keeps: bool) -> None:
        started = time.perf_counter_ns()
        work = problem_response(refusal) if refusal else self._routes.respond(request, self._counters)
        if isinstance(work, Response):
            self._send(work, request, keeps=keeps)
            self._counters.took(time.perf_counter_ns() - started)
            return
        self._work = work
        if self._transport is not None:
            self._transport.pause_reading()
        self._loop.call_soon(self._step, request, keeps, started)

    def _step(self, request: Request, keeps: bool, started: int) -> None:
        """Do a part of the work of a long answer; other connections have their turn between two parts."""
        if self._work is None or self._transport is None:
            return
        response = self._routes.step(self._work, request, self._counters)
        if response is None:
            self._loop.call_soon(self._step, request, keeps, started)
            return
        self._work = None
        self._send(response, request, keeps=keeps)
        self._counters.took(time.perf_counter_ns() - started)
        while self._waiting and self._work is None:
            self._answer(*self._waiting.popleft())
        if self._work is None and self._last_problem is not None:
            self._refuse(self._last_problem)
        if self._work is None and not self._is_writing_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _send(self, response: Response, request: Request, *, keeps: bool) -> None:
        keeps = keeps and not self._all.is_draining
        self._counters.request(response.status)
        connection = _CLOSE if not keeps else _KEEP if request.is_http_1_0 else b""
        head = response.head(date=self._all.date, connection=connection)
        self._write(head if request.method == "HEAD" else head + response.body)
        if not keeps and self._transport is not None:
            self._transport.close()
        self.is_idle = not (self._waiting or self._is_in_head)
        if not self._is_writing_paused:
            self.deadline = time.monotonic() + (IDLE_S if self.is_idle else REQUEST_S)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _stop(self, problem: Problem) -> None:
        """Stop the parser because of a refusal; for its callbacks."""
        self._refusal = problem
        raise _Stopped

    def _refuse(self, problem: Problem) -> None:
        """Answer what cannot be read to its end, and hang up a little later; after the requests before it."""
        self._is_lingering = True
        self._clear()
        if self._work is not None:
            self._last_problem = problem
            return
        response = problem_response(problem)
        self._counters.request(response.status)
        self._write(response.head(date=self._all.date, connection=_CLOSE) + response.body)
        self.deadline = time.monotonic() + _LINGER_S


def _is_passed_over(request: Request) -> bool:
    """Whether a request that offers another protocol is answered as if it did not."""
    offered = request.headers.get("upgrade", "").lower()
    return request.method != "CONNECT" and "websocket" not in offered and "transfer-encoding" not in request.headers


def _origin_form(target: str) -> str:
    """A target without scheme and host, which clients send to proxies (RFC 9112, 3.2.2).

    >>> _origin_form("http://127.0.0.1:8044/readyz"), _origin_form("/readyz")
    ('/readyz', '/readyz')
    """
    if target.startswith("/"):
        return target
    _, separator, rest = target.partition("://")
    return "/" + rest.partition("/")[2] if separator else target


def _head_too_long() -> Problem:
    return Problem(
        "head-too-large",
        f"a request may have {HEADERS_MAX} headers, which with its address take {HEAD_BYTES_MAX:,} bytes",
    )


def _body_too_long() -> Problem:
    return Problem("too-large", f"a request may have {BODY_BYTES_MAX:,} bytes: ask in several requests")
