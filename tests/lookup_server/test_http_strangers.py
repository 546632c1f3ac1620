"""What no HTTP library sends: endless heads, half requests, many at once. Nobody else notices."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from support.lookup_servers import Service, read_all, serving
from support.mixed_list import BLOCKED, FREE, MixedList

GET = f"GET /v1/verdicts/{BLOCKED} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
LAST = f"GET /v1/verdicts/{FREE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    published = MixedList(tmp_path_factory.mktemp("published"))
    published.recipient().sync()
    with serving(published.settings(), published.directory / "log") as service:
        yield service
        # Nothing that was asked is in the log, and nothing has failed.
        assert service.stop() == 0
        assert service.log.read_text() == "blocklist: serving until Ctrl-C\n"


NO_REQUESTS = [
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000, 431),
    (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 2_000 + b"\r\n", 431),
    (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 414),
    (b"GET / HTTP/2.5\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, 400),
    (b"hello\r\n\r\n", 400),
    (b"POST /v1/verdicts HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /v1/verdicts HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400),
    (b"CONNECT example:443 HTTP/1.1\r\n\r\n", 400),
]


def test_what_is_no_request_is_refused_in_words(service: Service) -> None:
    for (sent, status), answer in zip(NO_REQUESTS, service.say_all([each for each, _ in NO_REQUESTS]), strict=True):
        assert answer.startswith(b"HTTP/1.1 %d " % status), (sent[:100], answer[:200])
        assert b"application/problem+json" in answer
        assert b"Connection: close" in answer


def test_a_body_without_end_is_cut(service: Service) -> None:
    head = b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    long_body = head + b"10000\r\n" + b"a" * 0x10000 + (b"\r\n10000\r\n" + b"a" * 0x10000) * 40
    body, extension = service.say_all([long_body, head + b"1;" + b"x" * 100_000])
    assert body.startswith(b"HTTP/1.1 413 ")
    assert extension.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


def test_requests_come_in_pieces_and_in_crowds(service: Service) -> None:
    with service.connect() as connection:
        for byte in GET:
            connection.send(bytes([byte]))
        assert b'"blocked": true' in connection.recv(1 << 16)
    answers = service.say(GET * 999 + LAST)
    assert answers.count(b"HTTP/1.1 200 OK") == 1000
    assert answers.count(b'"blocked": true') == 999


def test_answers_keep_the_order_of_questions(service: Service) -> None:
    """A long list is answered in steps, and what was asked after it waits."""
    numbers = b'{"numbers": [' + b",".join([b'"0812-3456-0042"'] * 2_000) + b"]}"
    post = b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(numbers)
    answers = service.say(GET + post + numbers + GET + post + numbers + LAST)
    heads = answers.split(b"HTTP/1.1 ")[1:]
    assert [head[:6] for head in heads] == [b"200 OK"] * 5
    assert [head.count(b'"input"') for head in heads] == [1, 2_000, 1, 2_000, 1]


def test_a_refusal_waits_for_the_answers_before_it(service: Service) -> None:
    """A client, or a proxy, takes the first answer as that to its first question."""
    numbers = b'{"numbers": [' + b",".join([b'"0812-3456-0042"'] * 2_000) + b"]}"
    post = b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(numbers)
    answers = service.say(post + numbers + GET + post + numbers + b"\0\r\n\r\n" + GET)
    heads = answers.split(b"HTTP/1.1 ")[1:]
    assert [head[:3] for head in heads] == [b"200", b"200", b"200", b"400"]
    assert [head.count(b'"input"') for head in heads] == [2_000, 1, 2_000, 0]


def test_others_have_their_turn_during_a_long_list(service: Service) -> None:
    numbers = b'{"numbers": [' + b",".join([b'"0812-3456-0042"'] * 10_000) + b"]}"
    post = b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(numbers)
    with service.connect() as long, httpx.Client(base_url=service.url) as client:
        long.sendall(post + numbers)
        long.settimeout(0.0)
        answered = 0
        while True:
            assert client.get(f"/v1/verdicts/{BLOCKED}").json()["blocked"] is True
            answered += 1
            try:
                long.recv(1, socket.MSG_PEEK)
                break
            except BlockingIOError:
                continue
        assert answered > 1


def test_a_client_that_waits_for_leave_gets_it(service: Service) -> None:
    head = b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    with service.connect() as connection:
        connection.sendall(head + b"Content-Length: 15\r\nConnection: close\r\n\r\n")
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"numbers": []}')
        assert b'{"verdicts": []}' in read_all(connection)


def test_an_offer_of_http_2_is_passed_over(service: Service) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n\r\n"
    body = b'{"numbers": []}'
    post = b"POST /v1/verdicts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 15\r\n"
    answers = service.say(GET[:-2] + offer + post + offer + body + GET + LAST)
    assert answers.count(b"HTTP/1.1 200 OK") == 4


def test_what_comes_after_an_offer_is_refused_as_elsewhere(service: Service) -> None:
    offer = GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    answers = service.say(offer * 200 + b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 OK") == 200
    assert answers.count(b"HTTP/1.1 ") == 201
    assert b"HTTP/1.1 414 " in answers


def test_http_1_0_and_absolute_addresses(service: Service) -> None:
    answer = service.say(b"GET http://x/healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer


def test_many_half_requests_do_not_matter(service: Service) -> None:
    held = [service.connect() for _ in range(200)]
    for connection in held:
        connection.sendall(GET[:20])
    begun = time.monotonic()
    for _ in range(20):
        assert httpx.get(f"{service.url}/v1/verdicts/{BLOCKED}").status_code == 200
    assert time.monotonic() - begun < 10
    for connection in held:
        connection.close()
