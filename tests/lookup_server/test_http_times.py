"""How long a connection may take, with times shortened, in this process."""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from blocklist_sdk.lookup_server import connection as module
from blocklist_sdk.lookup_server.acceptor import accepting
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.connection import Connections, HttpConnection
from blocklist_sdk.lookup_server.counters import Counters
from blocklist_sdk.lookup_server.routes import Routes
from support.lookup_servers import read_all
from support.mixed_list import BLOCKED, MixedList
from support.waiting import until

GET = f"GET /v1/verdicts/{BLOCKED} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
POST = b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


@contextlib.contextmanager
def door(published: MixedList, *, limit: int = 100) -> Iterator[tuple[tuple[str, int], Connections]]:
    """A door in a thread of this process, with a clock that ticks ten times as often."""
    counters = Counters(workers=1)
    connections = Connections(Routes(Answers(published.recipient()), counters), limit=limit)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = uvloop.new_event_loop()

    async def run() -> None:
        http = counters.of(0, "http")
        with accepting(
            loop,
            listener,
            lambda: HttpConnection(connections, http, is_trusted=False),
            None,
            makes_room=functools.partial(connections.make_room, http),
        ):
            while not stop.is_set():
                connections.tick()
                await asyncio.sleep(0.1)
        connections.abort()
        await asyncio.sleep(0.05)

    stop = threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        yield listener.getsockname(), connections
    finally:
        stop.set()
        thread.join()
        loop.close()
        listener.close()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> MixedList:
    published = MixedList(tmp_path_factory.mktemp("published"))
    published.recipient().sync()
    return published


def connected(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=20)


def test_half_a_request_gets_words_and_an_end(published: MixedList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.3)
    monkeypatch.setattr(module, "_LINGER_S", 0.3)
    with door(published) as (address, _):
        for half in (GET[:10], POST, POST + b"{", GET + GET[:10]):
            with connected(address) as connection:
                connection.sendall(half)
                *_, last = read_all(connection).split(b"HTTP/1.1 ")
                assert last.startswith(b"408 ")


def test_an_idle_connection_ends(published: MixedList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.3)
    with door(published) as (address, _), connected(address) as connection:
        connection.sendall(GET)
        assert b'"blocked": true' in read_all(connection)


def test_who_says_nothing_is_hung_up_on(published: MixedList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.3)
    with door(published) as (address, _), connected(address) as connection:
        assert read_all(connection) == b""


def test_who_does_not_read_is_cut(published: MixedList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_S", 0.3)
    with door(published) as (address, _), connected(address) as connection, contextlib.suppress(ConnectionError):
        for _ in range(2_000):
            connection.sendall(GET * 100)
        raise AssertionError("the server takes everything")


def test_the_longest_idle_connection_gives_way(published: MixedList) -> None:
    with door(published, limit=3) as (address, _):
        held = [connected(address) for _ in range(3)]
        for connection in held:
            connection.sendall(GET)
            assert connection.recv(1 << 16)
        with connected(address) as one_more:
            one_more.sendall(GET)
            assert one_more.recv(1 << 16)
        assert read_all(held[0]) == b""
        held[2].sendall(GET)
        assert held[2].recv(1 << 16)
        for connection in held:
            connection.close()


def test_where_all_are_busy_one_more_is_refused(published: MixedList, caplog: pytest.LogCaptureFixture) -> None:
    with door(published, limit=2) as (address, connections):
        held = [connected(address) for _ in range(2)]
        for connection in held:
            connection.sendall(GET[:20])
        until(lambda: [each.is_idle for each in tuple(connections.open)] == [False, False])
        with connected(address) as one_more:
            assert read_all(one_more) == b""
        assert "all of them busy" in caplog.text
        held[0].sendall(GET[20:])
        assert b'"blocked": true' in held[0].recv(1 << 16)
        held[0].sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        figures = read_all(held[0])
        assert b'blocklist_lookup_refused_connections_total{feed="id-telkomsel",door="http"} 1\n' in figures
        for connection in held:
            connection.close()


def test_a_socket_path_is_a_path(tmp_path: Path) -> None:
    assert len(str(tmp_path)) < 100, "sockets in tests need short paths"
