"""The Redis door with real clients, and with those that send half, read nothing, or come in crowds."""

import asyncio
import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from blocklist_sdk import Blocklist
from blocklist_sdk.lookup_server import redis_door as door_module
from blocklist_sdk.lookup_server.redis_commands import Conversation
from support.mixed_list import ADDED_LATER, ADVISED, BLOCKED, BOTH, FREE, MixedList
from support.redis_doors import OpenedDoor, redis_door
from support.waiting import until

GET = b"*2\r\n$3\r\nGET\r\n$14\r\n+6281200000001\r\n"
BLOCK = b"$5\r\nblock\r\n"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> MixedList:
    return MixedList(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def synced(published: MixedList) -> Blocklist:
    recipient = published.recipient()
    recipient.sync()
    return recipient


@pytest.fixture(scope="module")
def door(synced: Blocklist) -> Iterator[OpenedDoor]:
    with redis_door(synced) as opened:
        yield opened


def connected(door: OpenedDoor) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=10)


def read_exactly(connection: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length and (piece := connection.recv(length - len(found))):
        found += piece
    return found


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_asks(door: OpenedDoor, protocol: int) -> None:
    with redis.Redis(port=door.port, protocol=protocol, decode_responses=True, client_name="gateway-1") as client:
        assert client.ping()
        assert client.get(BLOCKED) == "block"
        assert client.mget([ADVISED, FREE, f"sms:{BOTH}"]) == ["advisory", None, "block"]
        assert client.exists(BLOCKED, ADVISED, FREE) == 1
        assert client.client_getname() == "gateway-1"
        info = client.info("blocklist")
        assert isinstance(info, dict)
        assert (info["feed"], info["release"], info["stale"]) == ("id-telkomsel", 1, 0)
        for is_transaction in (True, False):
            with client.pipeline(transaction=is_transaction) as pipeline:
                for number in (BLOCKED, FREE, ADVISED):
                    pipeline.get(number)
                assert pipeline.execute() == ["block", None, "advisory"]
        with pytest.raises(redis.ResponseError, match="not a telephone number"):
            client.get("GoPay")
        with pytest.raises(redis.exceptions.ReadOnlyError):
            client.set(BLOCKED, "free")
        assert client.get(BLOCKED) == "block"
    with redis.Redis(port=door.port, protocol=protocol, db=1) as client, pytest.raises(redis.ResponseError):
        client.get(BLOCKED)


def test_a_pool_and_threads_ask(door: OpenedDoor) -> None:
    pool = redis.BlockingConnectionPool(port=door.port, max_connections=4)  # type: ignore[no-untyped-call]
    answers: list[object] = []

    def ask() -> None:
        client = redis.Redis(connection_pool=pool)
        answers.extend(client.get(BLOCKED) for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.disconnect()
    assert answers == [b"block"] * 400


def test_redis_py_asks_from_asyncio(door: OpenedDoor) -> None:
    async def ask() -> list[object]:
        async with redis.asyncio.Redis(port=door.port, protocol=3) as client:
            return list(await asyncio.gather(*(client.get(number) for number in (BLOCKED, FREE, ADVISED))))

    assert asyncio.run(ask()) == [b"block", None, b"advisory"]


def test_a_client_with_a_token(synced: Blocklist) -> None:
    with redis_door(synced, token="sesame") as door:
        for protocol in (2, 3):
            with redis.Redis(port=door.port, password="sesame", protocol=protocol) as client:
                assert client.get(BLOCKED) == b"block"
            with redis.Redis(port=door.port, username="default", password="sesame", protocol=protocol) as client:
                assert client.get(BLOCKED) == b"block"
            for password in (None, "wrong"):
                # By default it tries for a quarter of a minute.
                refused = redis.Redis(port=door.port, password=password, protocol=protocol, retry=Retry(NoBackoff(), 0))
                with refused as client, pytest.raises(redis.AuthenticationError):
                    client.get(BLOCKED)


def test_new_releases_and_decisions_count_on_open_connections(published: MixedList, tmp_path: Path) -> None:
    recipient = published.recipient(str(tmp_path / "cache"))
    recipient.sync()
    with redis_door(recipient) as door, redis.Redis(port=door.port, decode_responses=True) as client:
        assert client.mget(BLOCKED, ADDED_LATER) == ["block", None]
        with published.recipient(str(tmp_path / "cache")) as another:
            another.overrides.allow(BLOCKED, reason="appeal 17")
            until(lambda: client.get(BLOCKED) is None)
            published.release_later()
            another.sync()
        until(lambda: client.get(ADDED_LATER) == "block")


def test_requests_in_pieces_and_in_heaps(door: OpenedDoor) -> None:
    with connected(door) as connection:
        for i in range(len(GET)):
            connection.sendall(GET[i : i + 1])
        assert read_exactly(connection, len(BLOCK)) == BLOCK
        many = 20_000
        sender = threading.Thread(target=connection.sendall, args=(GET * many + b"PING\r\n",))
        sender.start()
        expected = BLOCK * many + b"+PONG\r\n"
        assert read_exactly(connection, len(expected)) == expected
        sender.join()
        connection.sendall(b"QUIT\r\nPING\r\n")
        assert read_all(connection) == b"+OK\r\n"


def test_a_heap_of_texts_that_are_no_numbers_keeps_nobody_waiting(door: OpenedDoor) -> None:
    junk, many = b"*2\r\n$3\r\nGET\r\n$14\r\n0812-3456-789O\r\n", 5_000
    with connected(door) as connection, connected(door) as other:
        connection.sendall(junk)
        error = connection.recv(1000)
        connection.sendall(junk * many)
        other.sendall(GET)
        assert read_exactly(other, len(BLOCK)) == BLOCK
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert len(connection.recv(len(error) * many)) < len(error) * many
        connection.setblocking(True)
        connection.sendall(b"QUIT\r\n")
        assert read_all(connection).endswith(error + b"+OK\r\n")


def test_what_is_no_request_gets_one_error_and_the_end(door: OpenedDoor) -> None:
    for data in (
        b"*x\r\n",
        b"*10002\r\n",
        GET + b"*1\r\n$-5\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"x" * 5000,
    ):
        with connected(door) as connection:
            connection.sendall(data)
            reply = read_all(connection)
            assert reply.startswith((b"-ERR", BLOCK + b"-ERR"))
    until(lambda: len(door.connections.open) == 0)


def test_clients_that_do_not_read_are_waited_for_and_then_cut(
    synced: Blocklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "WRITE_S", 0.3)
    with redis_door(synced, tick_s=0.05) as door, connected(door) as connection, connected(door) as other:
        connection.settimeout(0.2)
        asked = 0
        with contextlib.suppress(TimeoutError, ConnectionError):  # it may be cut meanwhile
            while asked < 10_000_000:
                asked += connection.send(b"INFO\r\n" * 2000)
        assert asked < 10_000_000, "it is read although it does not read"
        other.sendall(GET)
        assert read_exactly(other, len(BLOCK)) == BLOCK
        until(lambda: len(door.connections.open) == 1)


def test_half_requests_and_silence_have_an_end(synced: Blocklist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "REQUEST_S", 0.4)
    with redis_door(synced, tick_s=0.05) as door:
        dripping = itertools.chain([b"*2\r\n$3\r\nGET\r\n$4000\r\n"], itertools.repeat(b"1"))
        with connected(door) as half, connected(door) as whole:
            started = time.monotonic()
            while time.monotonic() < started + 5:
                try:
                    half.sendall(next(dripping))
                    whole.sendall(GET)
                except OSError:
                    break
                assert read_exactly(whole, len(BLOCK)) == BLOCK
                time.sleep(0.05)
            assert time.monotonic() < started + 4
        monkeypatch.setattr(door_module, "IDLE_S", 0.2)
        with connected(door) as idle:
            idle.sendall(GET)
            assert read_all(idle) == BLOCK
    with redis_door(synced, token="sesame", tick_s=0.05) as door, connected(door) as stranger:
        started = time.monotonic()
        replies = b""
        while time.monotonic() < started + 5:
            try:
                stranger.sendall(b"PING\r\n")
                replies += (piece := stranger.recv(4096))
            except OSError:
                break
            if not piece:
                break
            time.sleep(0.02)
        assert b"show the token within" in replies
        assert time.monotonic() < started + 4


def test_connections_have_a_bound_and_strangers_give_way(synced: Blocklist, caplog: pytest.LogCaptureFixture) -> None:
    with redis_door(synced, limit=3) as door:
        some = [connected(door) for _ in range(4)]
        assert read_all(some[3]).startswith(b"-ERR max number of clients reached")
        assert "connections of the Redis door are refused: 3 are open" in caplog.text
        some[0].sendall(GET)
        assert read_exactly(some[0], len(BLOCK)) == BLOCK
        for each in some:
            each.close()
    with redis_door(synced, token="sesame", limit=3) as door:
        some = [connected(door) for _ in range(3)]
        some[0].sendall(b"AUTH sesame\r\n")
        assert read_exactly(some[0], 5) == b"+OK\r\n"
        some.append(connected(door))
        assert read_all(some[1]) == b""
        some[0].sendall(GET)
        assert read_exactly(some[0], len(BLOCK)) == BLOCK
        for each in some:
            each.close()


@pytest.mark.parametrize("before", [0, 1, 10_000], ids="after {} questions".format)
def test_after_a_fault_no_reply_is_taken_for_another(
    synced: Blocklist, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    reply = Conversation.reply

    def faulty(self: Conversation, request: list[bytes]) -> object:
        if request[0] == b"LOLWUT":
            raise RuntimeError(f"bad {BLOCKED}")
        return reply(self, request)

    monkeypatch.setattr(Conversation, "reply", faulty)
    with redis_door(synced) as door, connected(door) as client:
        client.sendall(GET * before + b"*1\r\n$6\r\nLOLWUT\r\n" + GET)
        last = read_all(client).removeprefix(BLOCK * before)
        assert last.startswith(b"-ERR internal error")
        assert last.count(b"\r\n") == 1, "nothing comes after it"
    assert "unexpected RuntimeError" in caplog.text
    assert BLOCKED not in "".join(record.message for record in caplog.records)


def test_a_worker_that_stops_lets_replies_go_out(synced: Blocklist) -> None:
    with redis_door(synced) as door, connected(door) as idle, connected(door) as half:
        half.sendall(GET[:-3])
        until(lambda: len(door.connections.open) == 2)
        time.sleep(0.05)
        door.loop.call_soon_threadsafe(door.connections.drain)
        assert read_all(idle) == b""
        half.sendall(GET[-3:])
        assert read_all(half) == BLOCK


def test_no_number_is_in_a_log(door: OpenedDoor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), redis.Redis(port=door.port) as client:
        client.get(BLOCKED)
        for wrong in ("0812-3456-789O", "62812345678*"):
            with pytest.raises(redis.ResponseError):
                client.get(wrong)
    assert not [record for record in caplog.records if "812" in record.getMessage()]


def test_answers_are_counted(synced: Blocklist) -> None:
    with redis_door(synced) as door, redis.Redis(port=door.port) as client:
        client.mget(BLOCKED, ADVISED, FREE)
        client.get(BLOCKED)
        with pytest.raises(redis.ResponseError):
            client.get("GoPay")
        assert door.answered() == {"block": 2, "advisory": 1, "free": 1, "invalid": 1}
        assert dict(door.counters.open_connections())["redis"] == 1
