"""Connections: who is taken, who gives way, and what a running server bears of heads, upgrades and slow clients."""

import itertools
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.exchange_server import connections, serving
from blocklist_sdk.exchange_server.connection_limits import (
    HEAD_PATIENCE_S,
    ConnectionLimits,
    ConnectionTable,
    connection_limits,
)
from blocklist_sdk.exchange_server.serving import serving_exchange
from blocklist_sdk.net.server_tls import TlsFiles
from support.abused_server import answer_on, status_in
from support.talking import Talk, good, refused

LIMITS = ConnectionLimits(total=6, of_address=2, of_network=3)
SINGLE = [f"192.0.2.{last}" for last in (1, 2, 3)] + [f"2001:db8:1:{part}::1" for part in (1, 2, 3)]
ADDRESSES = [*SINGLE, "proxy", ""]


# Who is taken


@given(st.lists(st.tuples(st.sampled_from(["enter", "idle", "busy", "leave"]), st.integers(0, 30)), max_size=80))
def test_no_limit_is_ever_exceeded_and_only_who_waits_gives_way(steps: list[tuple[str, int]]) -> None:
    table = ConnectionTable[int](LIMITS, lambda address: address == "proxy")
    names = itertools.count()
    known: dict[int, tuple[str, str, float]] = {}  # address, what it does, since when
    for now, (step, choice) in enumerate(steps):
        if step == "enter":
            address = ADDRESSES[choice % len(ADDRESSES)]
            name = next(names)
            admission = table.enter(name, address, now=now / 2)
            if admission.gives_way is not None:
                assert admission.is_taken
                _, doing, since = known.pop(admission.gives_way)
                assert doing == "idle" or (doing == "head" and now / 2 - since > HEAD_PATIENCE_S)
            if admission.is_taken:
                known[name] = address, "head", now / 2
            else:
                assert name not in table._groups
        elif known:
            name = list(known)[choice % len(known)]
            if step == "leave":
                known.pop(name)
                table.leave(name)
            else:
                known[name] = known[name][0], step, now / 2
                (table.set_idle if step == "idle" else table.set_busy)(name)
        addresses = [each[0] for each in known.values()]
        assert len(table) == len(known) <= LIMITS.total
        for address in SINGLE:
            assert addresses.count(address) <= LIMITS.of_address
        assert sum(each.startswith("2001:") for each in addresses) <= LIMITS.of_network


@given(st.integers(16, 1 << 20))
def test_files_are_kept_for_other_things(files: int) -> None:
    limits = connection_limits(files)
    assert limits.of_address <= limits.of_network <= limits.total
    assert limits.total == 8 or 2 * limits.total + min(256, files // 2) <= files


# What a server bears


@pytest.fixture
def connect(lite: Talk) -> Callable[[], socket.socket]:
    address = urlsplit(lite.url)
    return lambda: socket.create_connection((address.hostname, address.port or 0), timeout=20)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n" + "X: 1\r\n" * 98, 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n" + "X: 1\r\n" * 100, 431),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + "a" * 30_000 + "\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + "a" * 33_000 + "\r\n", 431),
        ("GET /healthz?" + "a" * 8_000 + " HTTP/1.1\r\nHost: x\r\n", 200),
        ("GET /healthz?" + "a" * 9_000 + " HTTP/1.1\r\nHost: x\r\n", 414),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", 200),
        ("CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n", 400),
        ("GET /healthz\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_heads_have_limits(connect: Callable[[], socket.socket], head: str, status: int) -> None:
    with connect() as line:
        line.sendall(f"{head}\r\n".encode("latin-1"))
        answer = answer_on(line)
    assert status_in(answer) == status
    if status != 200:
        start, _, body = answer.partition(b"\r\n\r\n")
        problem = json.loads(body)
        assert problem["status"] == status
        assert b"application/problem+json" in start
        assert f"X-Request-Id: {problem['request_id']}".encode() in start


def test_a_websocket_is_refused(connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_LINGER_S", 0.1)
    with connect() as line:
        head = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
        line.sendall(f"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n{head}Sec-WebSocket-Key: eA==\r\n\r\n".encode())
        assert status_in(answer_on(line)) == 400
        assert line.recv(1) == b""


def test_a_few_requests_may_wait_on_a_connection_but_not_many(connect: Callable[[], socket.socket]) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect() as line:
        line.sendall(ask * 15 + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert sum(piece.count(b"HTTP/1.1 200") for piece in iter(lambda: line.recv(1 << 16), b"")) == 16
    with connect() as line:
        line.sendall(ask * 400)
        found = b""
        with suppress(OSError):
            while piece := line.recv(1 << 16):
                found += piece
        assert found.count(b"HTTP/1.1 200") < 400


def test_after_an_answer_that_came_before_the_end_of_a_body_the_server_hangs_up(
    lite: Talk, connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LINGER_S", 0.1)
    token = lite.token("telkomsel")["Authorization"]
    with connect() as line:
        line.sendall(
            f"POST /v1/reports HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 60000\r\n\r\n".encode()
        )
        answer = answer_on(line)
        assert status_in(answer) == 403
        assert b"connection: close" in answer
        line.sendall(b" " * 1000)  # still read, so that the answer is not lost
        assert line.recv(1) == b""


def test_trailers_are_no_headers(lite: Talk, connect: Callable[[], socket.socket]) -> None:
    body = json.dumps(lite.new_report()).encode()
    head = "\r\n".join(f"{name}: {value}" for name, value in lite.token("web").items())
    start = f"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    for key, trailer, status in (("Idempotency-Key: t1\r\n", "", 201), ("", "Idempotency-Key: t2\r\n", 400)):
        with connect() as line:
            line.sendall(f"{start}{key}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
            line.sendall(f"0\r\n{trailer}\r\n".encode())
            assert status_in(answer_on(line)) == status


@pytest.mark.timing
def test_a_head_has_to_come_in_time(connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    monkeypatch.setattr(connections, "_LINGER_S", 0.1)
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for sent, expected in ((b"", []), (b"GET / HTTP/1.1\r\nX: ", [408]), (ask, [200]), (ask + ask[:9], [200, 408])):
        with connect() as line:
            line.sendall(sent)
            line.settimeout(0.6 if expected == [200] else 20)
            found = b""
            try:
                while piece := line.recv(1 << 16):
                    found += piece
            except TimeoutError:
                assert expected == [200]  # idle, and kept
            statuses = [int(part.split(b" ")[0]) for part in found.split(b"HTTP/1.1 ")[1:]]
            assert statuses == expected


@pytest.mark.timing
def test_who_does_not_read_is_given_up(lite: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WRITE_S", 0.2)
    address = urlsplit(lite.url)
    before = len(lite.server.connections)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        line.connect((address.hostname, address.port))
        line.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 16)
        end = time.monotonic() + 20
        seen = 0
        while time.monotonic() < end and not (seen and len(lite.server.connections) <= before):
            seen = max(seen, len(lite.server.connections) - before)
            time.sleep(0.02)
        assert len(lite.server.connections) <= before


# Many connections


@pytest.fixture
def few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_open_files", lambda: 64)  # 16 connections, 8 of one address


def ask(line: socket.socket) -> int:
    line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    return status_in(answer_on(line))


def hold(url: str, count: int, source: str) -> list[socket.socket]:
    """Connections with half a head."""
    address = urlsplit(url)
    made = [
        socket.create_connection((address.hostname, address.port or 0), timeout=20, source_address=(source, 0))
        for _ in range(count)
    ]
    for line in made:
        line.sendall(b"GET / HTTP/1.1\r\nX: ")
    return made


@pytest.mark.usefixtures("few_files")
def test_one_address_gets_its_part_and_is_told_so(lite: Talk) -> None:
    with serving_exchange(lite.exchange, publish=False) as url:
        held = hold(url, 8, "127.0.0.1")
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(verify=False)) as client:
            answer = client.get("/healthz")
        problem = refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
        assert "too many connections" in problem["detail"]
        transport = httpx.HTTPTransport(verify=False, local_address="127.0.0.2")
        with httpx.Client(base_url=url, transport=transport) as client:
            good(client.get("/healthz"))
        for line in held:
            line.close()


@pytest.mark.usefixtures("few_files")
def test_a_proxys_connections_count_for_the_total_only_and_idle_ones_give_way(lite: Talk) -> None:
    with serving_exchange(lite.exchange, publish=False, behind_proxy="127.0.0.1") as url:
        address = urlsplit(url)
        lines = []
        for _ in range(20):  # four more than there is room for
            lines.append(socket.create_connection((address.hostname, address.port or 0), timeout=20))
            assert ask(lines[-1]) == 200
        assert [line.recv(1) for line in lines[:4]] == [b""] * 4
        assert [ask(line) for line in lines[4:]] == [200] * 16
        for line in lines:
            line.close()


@pytest.fixture
def tls_files(tmp_path: Path) -> TlsFiles:
    made = trustme.CA().issue_cert("127.0.0.1")
    file = tmp_path / "server.pem"
    file.write_bytes(b"".join(part.bytes() for part in (made.private_key_pem, *made.cert_chain_pems)))
    return TlsFiles(certificate=file, key=file)


@pytest.mark.timing
@pytest.mark.usefixtures("few_files")
def test_a_handshake_has_to_come_in_time_and_counts(
    lite: Talk, tls_files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.5)
    with serving_exchange(lite.exchange, publish=False, tls=tls_files) as url:
        address = urlsplit(url)

        def connected() -> socket.socket:
            return socket.create_connection((address.hostname, address.port or 0), timeout=20)

        silent = [connected() for _ in range(8)]
        with connected() as one_more:
            assert one_more.recv(1) == b""  # without a word, since a word would need a handshake
        assert [line.recv(1) for line in silent] == [b""] * 8
        for line in silent:
            line.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with connected() as plain, context.wrap_socket(plain) as line:
            assert ask(line) == 200


@pytest.fixture
def hanging(lite: Talk) -> Iterator[str]:
    """A server that holds half a head when it is stopped."""
    with serving_exchange(lite.exchange, publish=False) as url:
        held = hold(url, 1, "127.0.0.1")
        yield url
    assert held[0].recv(1) == b""
    held[0].close()


def test_half_a_head_does_not_hold_up_the_end(hanging: str) -> None:
    assert hanging
