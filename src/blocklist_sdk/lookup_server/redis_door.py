"""The Redis door: connections on which clients of Redis ask, bounded in number, length and time.

A request is answered in the call that brings its last byte, and all requests of one read in one write. Where a client
asks faster than it reads, no more of it is read until it has; and no client keeps the worker for long at a stretch.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Final

from blocklist_sdk.lookup_server import resp
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import DoorCounters
from blocklist_sdk.lookup_server.redis_commands import Conversation, RedisDoor
from blocklist_sdk.lookup_server.resp import RequestReader, plain_keys
from blocklist_sdk.lookup_server.seldom import Seldom

log: logging.Logger = logging.getLogger(__name__)

REQUEST_S: Final = 10.0
"""How long a request may take from its first byte to its last, seconds; and how long a client may take to show the
token."""

IDLE_S: Final = 3_600.0
"""How long an idle connection is kept, seconds: clients of Redis keep theirs, and expect servers to do the same."""

WRITE_S: Final = 30.0
"""How long a client may leave replies unread, seconds."""

_UNREAD_BYTES_MAX: Final = 1 << 16
"""How much may wait for a client to read it before no more requests of that connection are read."""

_QUICK_KEYS_MAX: Final = 128
"""Most questions that are answered without a look at the time."""

_TURN_BYTES: Final = 1 << 16
_TURN_S: Final = 0.002
"""After replies of so many bytes, or so many seconds, other connections have their turn: to say why a text is no number
takes a hundred times as long as to look one up."""

_FAULT: Final = resp.error("ERR internal error: a fault of this server; its log on standard error has more")


class RedisConnections:
    """The connections of the Redis door of one worker, and the clock that ends those that take too long.

    Attributes:
        door: what their conversations share.
        open: those that are open.
        strangers: those of them that have not shown the token, the oldest first.
        is_draining: whether the worker stops.
    """

    def __init__(
        self, answers: Answers, counters: DoorCounters, *, token: str | None, limit: int, port: int = 0
    ) -> None:
        """No connection is open.

        Args:
            answers: what answers questions.
            counters: of this door in this worker.
            token: what clients must show first; None if they need not.
            limit: most connections at a time.
            port: where they connect.
        """
        self._limit = limit
        self._full = Seldom()
        shown = None if token is None else token.encode()
        self.door: RedisDoor = RedisDoor(answers, counters, shown, version("blocklist-sdk"), port)
        self.open: set[RedisConnection] = set()
        self.strangers: dict[RedisConnection, None] = {}
        self.is_draining: bool = False

    def new_connection(self) -> "RedisConnection":
        """The protocol of a connection, for an event loop."""
        return RedisConnection(self)

    def enter(self, connection: "RedisConnection") -> bool:
        """Take a connection if there is room, or if one that has not shown the token gives way."""
        if len(self.open) >= self._limit:
            if not self.strangers:
                self.door.counters.connection_refused()
                if self._full.is_due():
                    log.warning("connections of the Redis door are refused: %d are open", len(self.open))
                return False
            next(iter(self.strangers)).abort()
        self.open.add(connection)
        self.door.clients += 1
        self.door.counters.connections(1)
        if not connection.is_trusted:
            self.strangers[connection] = None
        return True

    def leave(self, connection: "RedisConnection") -> None:
        """Forget a connection; one that is not known is no error."""
        self.strangers.pop(connection, None)
        if connection in self.open:
            self.open.discard(connection)
            self.door.clients -= 1
            self.door.counters.connections(-1)

    def tick(self) -> None:
        """End what takes too long; to be called about once a second."""
        now = time.monotonic()
        for connection in list(self.open):
            connection.look(now)

    def drain(self) -> None:
        """Close connections: idle ones now, the others when they have their replies."""
        self.is_draining = True
        for connection in list(self.open):
            connection.close_if_idle()

    def abort(self) -> None:
        """Cut all connections."""
        for connection in list(self.open):
            connection.abort()


class RedisConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, connections: RedisConnections) -> None:
        """See `RedisConnections`."""
        self._all = connections
        self._talk = talk = Conversation(connections.door)
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._write: Callable[[bytes], object] = _nowhere
        self._was_trusted = talk.is_trusted
        self._is_writing_paused = False
        self._has_turn_coming = False
        # Whether requests are answered as they come: nothing waits, and nothing is half read.
        self._is_quick = False
        # When what the client does now must have ended, by the clock of `look`; None until it has looked.
        self._deadline: float | None = None
        self._has_read = False
        self._is_reading_paused = False
        self._token_by = 0.0
        # What makes the reply to the request before those that wait.
        self._work: Iterator[bytes | None] | None = None
        if not talk.is_trusted:
            self._expect_token()

    @property
    def is_trusted(self) -> bool:
        """Whether the client has shown the token, or need not."""
        return self._talk.is_trusted

    # asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        self._transport = transport
        transport.set_write_buffer_limits(_UNREAD_BYTES_MAX)
        if not self._all.enter(self):
            transport.write(resp.error("ERR max number of clients reached: close connections, or start more workers"))
            transport.close()
        elif self._all.is_draining:
            transport.close()
        else:
            self._write = transport.write
            self._is_quick = self._talk.is_plain

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._transport, self._write, self._is_quick = None, _nowhere, False
        self._all.leave(self)

    def data_received(self, data: bytes) -> None:
        """Answer the requests that end in what has come."""
        self._has_read = True
        if self._is_quick:
            try:
                keys = plain_keys(data)
                replies = self._talk.plain_replies(keys) if keys and len(keys) <= _QUICK_KEYS_MAX else None
            except Exception:
                log.debug("the Redis door: asked once more, step by step", exc_info=True)
                replies = None
            if replies is not None:
                self._write(replies)
                return
        if not self._reader.is_amid_request:
            self._deadline = None  # a request begins
        self._reader.feed(data)
        if not (self._is_writing_paused or self._has_turn_coming):
            self._answer()

    def pause_writing(self) -> None:
        """Read no more until the client has read."""
        self._is_writing_paused, self._is_quick = True, False
        self._deadline = None
        self._pause_reading()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._is_writing_paused = False
        self._deadline = None
        if not self._has_turn_coming:
            self._answer()

    # Answers

    def _answer(self) -> None:
        """Answer what has been read, in one write, for one turn."""
        self._has_turn_coming = False
        transport, talk, reader = self._transport, self._talk, self._reader
        if transport is None or transport.is_closing():
            return
        replies: list[bytes] = []
        size, is_turn_over = 0, False
        turn_ends = time.perf_counter() + _TURN_S
        while not talk.is_over:
            try:
                if self._work is None:
                    request = reader.next()
                    if request is None:
                        break
                    reply = talk.reply(request)
                    if not isinstance(reply, bytes):
                        self._work = reply
                        continue
                    part: bytes | None = reply
                else:
                    part = next(self._work)
            except Exception as error:
                # A client takes replies by their order, so none may come after one that is missing.
                log.error("the Redis door: internal error: unexpected %s", type(error).__name__)
                log.debug("the Redis door: internal error", exc_info=True)  # with its text, which may contain a number
                part, talk.is_over = _FAULT, True
            if part is not None:
                self._work = None
                replies.append(part)
                size += len(part)
            if talk.is_trusted is not self._was_trusted:
                self._on_trust()
            if size >= _TURN_BYTES or time.perf_counter() >= turn_ends:
                is_turn_over = True
                break
        if replies:
            self._deadline = None
        if reader.problem is not None and not is_turn_over:
            replies.append(resp.error(f"ERR Protocol error: {reader.problem}"))
        if replies:
            self._write(b"".join(replies))
        if talk.is_over or (reader.problem is not None and not is_turn_over):
            self._hang_up()
        elif is_turn_over:
            self._is_quick, self._has_turn_coming = False, True
            self._pause_reading()
            asyncio.get_running_loop().call_soon(self._next_turn)
        elif not self._is_writing_paused:
            self._is_quick = talk.is_plain and not reader.is_amid_request
            if self._is_reading_paused:
                self._is_reading_paused = False
                transport.resume_reading()
            if self._all.is_draining:
                self.close_if_idle()

    def _next_turn(self) -> None:
        self._has_turn_coming = False
        if not self._is_writing_paused:
            self._answer()

    def _on_trust(self) -> None:
        """Note that the client has shown the token, or has gone back to the beginning."""
        self._was_trusted = self._talk.is_trusted
        if self._talk.is_trusted:
            self._reader.arguments_max = resp.ARGUMENTS_MAX
            self._all.strangers.pop(self, None)
        else:
            self._expect_token()
            self._all.strangers[self] = None

    def _expect_token(self) -> None:
        """Begin the time in which the client has to show the token."""
        self._reader.arguments_max = resp.STRANGERS_ARGUMENTS_MAX
        self._token_by = time.monotonic() + REQUEST_S

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    # Ends

    def _hang_up(self) -> None:
        self._is_quick = False
        self._deadline = None
        if self._transport is not None:
            self._transport.close()

    def look(self, now: float) -> None:
        """End the connection if what it does takes too long; called about once a second.

        Args:
            now: this moment, in seconds of a clock that only goes forward.
        """
        transport = self._transport
        if transport is None:
            return
        is_stuck = self._is_writing_paused or transport.is_closing()
        is_amid = self._reader.is_amid_request
        if self._deadline is None or (self._has_read and not is_stuck and not is_amid):
            self._deadline = now + (WRITE_S if is_stuck else REQUEST_S if is_amid else IDLE_S)
        self._has_read = False
        deadline = self._deadline if self._talk.is_trusted else min(self._deadline, self._token_by)
        if now < deadline:
            return
        if is_stuck:
            transport.abort()
            return
        if is_amid or not self._talk.is_trusted:
            what = "send a whole request" if self._talk.is_trusted else "show the token"
            self._write(resp.error(f"ERR {what} within {REQUEST_S:.0f} s"))
        self._hang_up()

    def close_if_idle(self) -> None:
        """Close it unless a request is under way."""
        is_busy = self._reader.is_amid_request or self._has_turn_coming or self._work is not None
        if self._transport is not None and not is_busy:
            self._transport.close()

    def abort(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()
            self._all.leave(self)


def _nowhere(data: bytes) -> None:
    """The connection is closed."""
