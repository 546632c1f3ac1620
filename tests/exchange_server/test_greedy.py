"""A client that takes more than its share, by malice or by a slow line, does not hold up others."""

import itertools
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from blocklist_sdk.exchange_server.http import uploads
from blocklist_sdk.exchange_server.http.places import SIZES
from blocklist_sdk.exchange_server.http.routes import public_routes
from blocklist_sdk.exchange_server.http.state import PROOFS_AT_A_TIME, REPORTS_AT_A_TIME
from support.talking import Talk, good, refused
from support.waiting import until

MANY = 45
"""More than the threads of the server."""

_KEYS = itertools.count(1)


@pytest.fixture
def begin(lite: Talk) -> Iterator[Callable[[str, int], socket.socket]]:
    """Starts to send a file, and keeps the connection open."""
    address = urlsplit(lite.url)
    with ExitStack() as stack:

        def begin(who: str, report: int) -> socket.socket:
            line = stack.enter_context(socket.create_connection((address.hostname, address.port or 0), timeout=60))
            head = [
                f"POST /v1/reports/{report}/evidence?name=a.png HTTP/1.1",
                "Host: exchange.example",
                *(f"{name}: {value}" for name, value in lite.token(who).items()),
                f"Idempotency-Key: slow-{next(_KEYS)}",
                "Content-Length: 1000000",
            ]
            line.sendall("\r\n".join([*head, "", ""]).encode() + b"\x89PNG")
            return line

        yield begin


def status_of(line: socket.socket) -> int:
    """The status of a response that comes before the file is complete."""
    return int(line.recv(65536).split(b" ", 2)[1])


def test_files_that_come_slowly_hold_up_nothing_else(lite: Talk, begin: Callable[[str, int], socket.socket]) -> None:
    slow = lite.report(who="bank")
    lines = [begin("bank", slow["id"]) for _ in range(MANY)]
    answered: list[socket.socket] = []
    while len(answered) < MANY - uploads.UPLOADS_OF_ACCOUNT:
        ready, _, _ = select.select([line for line in lines if line not in answered], [], [], 60)
        assert ready
        answered += ready
    assert {status_of(line) for line in answered} == {429}

    good(lite.get(None, "/healthz", timeout=60))
    assert lite.complete(who="web")
    refused(lite.post("bank", f"/v1/reports/{slow['id']}/evidence?name=b.png", content=b"more"), 429, "too-many")


@pytest.mark.timing
def test_a_file_that_does_not_come_is_given_up(
    lite: Talk, begin: Callable[[str, int], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = lite.report()
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "_GRACE_S", 0.2)
        assert status_of(begin("web", report["id"])) == 408
    lite.attach(report["id"])


def test_reports_that_wait_hold_up_nothing_else(lite: Talk) -> None:
    case = lite.complete()
    commit, share = lite.exchange.report_queue.group_commit, SIZES["report"].share
    assert share < REPORTS_AT_A_TIME

    def report(place: int) -> int:
        return lite.post("web", "/v1/reports", lite.new_report(reporter=f"r{place}")).status_code

    with ThreadPoolExecutor(REPORTS_AT_A_TIME + 6) as threads:
        with commit.lock:
            sent = [threads.submit(report, place) for place in range(REPORTS_AT_A_TIME + 6)]
            # One account has a share of the places; what waits for one is refused after a moment.
            until(lambda: commit.waiting == share and sum(each.done() for each in sent) == len(sent) - share)
            for path in ("/healthz", "/readyz", "/v1/numbers/+6281234567890"):
                good(lite.get(None, path, timeout=60))
            assert lite.decide(case)
        assert Counter(each.result() for each in sent) == {201: share, 503: len(sent) - share}


@pytest.mark.parametrize(("path", "status"), [("/v1/reports", 401), ("/oauth/token", 413)])
def test_without_a_token_a_long_body_is_not_read(lite: Talk, path: str, status: int) -> None:
    address = urlsplit(lite.url)
    expired = lite.token("web")["Authorization"]
    lite.clock.forward(days=1)
    kind = "application/json" if status == 401 else "application/x-www-form-urlencoded"
    head = f"Host: x\r\nAuthorization: {expired}\r\nContent-Type: {kind}\r\nContent-Length: 9000000\r\n\r\n"
    with socket.create_connection((address.hostname, address.port or 0), timeout=60) as line:
        line.sendall(f"POST {path} HTTP/1.1\r\n{head}".encode() + b"[]," * 50_000)
        assert status_of(line) == status


def test_with_a_token_a_long_body_is_read(lite: Talk) -> None:
    refused(lite.post("web", "/v1/reports", content=b'["' + b"x" * (5 << 20) + b'"]'), 422)


def test_one_account_cannot_bury_a_case_in_appeals(talk: Talk) -> None:
    case = talk.listed()
    number = f"+{talk.case(case)['number']}"

    def appeal(appellant: str, who: str = "web") -> int:
        body = {"number": number, "grounds": "mine by now", "appellant": appellant}
        return talk.post(who, "/v1/appeals", body).status_code

    assert [appeal(f"a{place}") for place in range(12)] == [201] * 10 + [409] * 2
    assert appeal("b", "bank") == 201
    for each in talk.read("anna", "/v1/appeals")["items"]:
        talk.make("anna", f"/v1/appeals/{each['id']}/answer", {"grant": False, "reason": "no proof"})
    assert talk.state(case) == "published"
    assert appeal("a") == 201


@pytest.mark.timing
def test_guessing_secrets_keeps_no_other_request_waiting(lite: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = most = 0
    lock, go_on = threading.Lock(), threading.Event()

    def dear(row: object, secret: str) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        go_on.wait(600)
        with lock:
            at_once -= 1
        return False

    monkeypatch.setattr(public_routes, "verify_secret", dear)

    def guess(place: int) -> int:
        body = {"grant_type": "client_credentials", "client_id": f"guess-{place}", "client_secret": "word"}
        return lite.request("POST", "/oauth/token", data=body).status_code

    with ThreadPoolExecutor(MANY) as pool:
        guesses = [pool.submit(guess, place) for place in range(MANY)]
        until(lambda: most > 0)
        try:
            good(lite.get(None, "/healthz", timeout=60))
            good(lite.get("web", "/v1/account", timeout=60))
        finally:
            go_on.set()
        assert {each.result() for each in guesses} == {401, 503}
    assert most <= PROOFS_AT_A_TIME
