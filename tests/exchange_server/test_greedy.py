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

import httpx
import pytest

from blocklist_sdk.exchange_server.casework import secret_hashes
from blocklist_sdk.exchange_server.casework.accounts import find_account
from blocklist_sdk.exchange_server.http import uploads
from blocklist_sdk.exchange_server.http.places import SIZES
from blocklist_sdk.exchange_server.http.proofs import OLD_HASHES_AT_A_TIME, OLD_HASHES_WAITING
from blocklist_sdk.exchange_server.http.routes import public_routes
from blocklist_sdk.exchange_server.http.state import REPORTS_AT_A_TIME, state_of
from blocklist_sdk.exchange_server.store.trail import Act
from support.talking import SECRETIVE, Talk, good, refused
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
        patch.setattr(uploads, "GRACE_S", 0.2)
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


def test_a_body_is_as_long_as_its_route_needs(lite: Talk) -> None:
    long = b'["' + b"x" * (5 << 20) + b'"]'
    headers = {"Content-Type": "application/json"}
    refused(lite.post("web", "/v1/reports", content=long, headers=headers), 413, "too-large")
    refused(lite.post("web", "/v1/reports/bulk", content=long, headers=headers), 422, "invalid")


def test_one_account_cannot_bury_a_case_in_appeals(talk: Talk) -> None:
    case = talk.listed()
    number = f"+{talk.case(case)['number']}"

    def appeal(appellant: str, who: str = "web") -> int:
        body = {"number": number, "grounds": "mine by now", "appellant": appellant}
        return talk.post(who, "/v1/appeals", body).status_code

    assert [appeal(f"a{place}") for place in range(3)] == [201] + [409] * 2
    assert appeal("b", "bank") == 201
    for each in talk.read("anna", "/v1/appeals")["items"]:
        good(talk.answer(each, grant=False))
    assert talk.state(case) == "published"
    assert appeal("a") == 409


@pytest.mark.timing
def test_guessing_where_hashes_from_before_are_left_delays_nobody_with_a_new_one(
    lite: Talk, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = most = 0
    lock, go_on = threading.Lock(), threading.Event()

    def dear(stored: str | None, secret: str) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        go_on.wait(600)
        with lock:
            at_once -= 1
        return False

    keep_old_hash(lite, "bank", "from before")
    monkeypatch.setattr(public_routes, "matches_old", dear)
    monkeypatch.setattr(public_routes, "OLD_HASHES_RATE", "1000/second")

    def ask(name: str, secret: str) -> httpx.Response:
        body = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        return lite.request("POST", "/oauth/token", data=body)

    with ThreadPoolExecutor(MANY) as pool:
        guesses = [pool.submit(ask, f"guess-{place}", "word") for place in range(MANY)]
        until(lambda: sum(each.done() for each in guesses) == MANY - OLD_HASHES_AT_A_TIME - OLD_HASHES_WAITING)
        try:
            good(lite.get(None, "/healthz", timeout=60))
            good(lite.get("web", "/v1/account", timeout=60))
            assert ask(SECRETIVE, secrets[SECRETIVE]).status_code == 200
            shed = ask(SECRETIVE, "wrong")
            refused(shed, 503, "unavailable")
            assert shed.headers["Retry-After"] == "1"
        finally:
            go_on.set()
        assert Counter(each.result().status_code for each in guesses) == {
            401: OLD_HASHES_AT_A_TIME + OLD_HASHES_WAITING,
            503: MANY - OLD_HASHES_AT_A_TIME - OLD_HASHES_WAITING,
        }
    assert most == OLD_HASHES_AT_A_TIME


def test_a_client_that_hung_up_while_it_waited_is_not_worked_for(lite: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []
    go_on = threading.Event()

    def dear(stored: str | None, secret: str) -> bool:
        began.append(secret)
        go_on.wait(600)
        return False

    keep_old_hash(lite, "bank", "from before")
    monkeypatch.setattr(public_routes, "matches_old", dear)
    monkeypatch.setattr(public_routes, "OLD_HASHES_RATE", "1000/second")
    address = urlsplit(lite.url)

    def ask(secret: str) -> socket.socket:
        line = socket.create_connection((address.hostname, address.port or 0), timeout=60)
        body = f"grant_type=client_credentials&client_id=x&client_secret={secret}"
        kind = "Content-Type: application/x-www-form-urlencoded"
        head = f"POST /oauth/token HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall((head + body).encode())
        return line

    queue = state_of(lite.server.app).old_hashes
    lines = [ask("first") for _ in range(OLD_HASHES_AT_A_TIME)]
    try:
        until(lambda: len(began) == OLD_HASHES_AT_A_TIME)
        gone, stays = ask("gone"), ask("stays")
        until(lambda: queue._waiting == 2)
        gone.close()
        good(lite.get(None, "/healthz"))  # so that the server has seen it
    finally:
        go_on.set()
    assert status_of(stays) == 401
    assert "gone" not in began
    for line in (*lines, stays):
        line.close()


def keep_old_hash(talk: Talk, name: str, secret: str) -> str:
    """Give an account a secret whose hash is of the kind from before."""
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        row = find_account(session, name)
        row.secret_hash, row.key = secret_hashes._HASHER.hash(secret), None
        return row.secret_hash


def test_a_hash_from_before_is_verified_once_and_replaced(
    talk: Talk, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = keep_old_hash(talk, "bank", "from before")
    worked: list[str | None] = []

    def counting(stored: str | None, secret: str) -> bool:
        worked.append(stored)
        return secret_hashes.matches_old(stored, secret)

    monkeypatch.setattr(public_routes, "matches_old", counting)
    monkeypatch.setattr(public_routes, "OLD_HASHES_RATE", "1000/second")

    def ask(name: str, secret: str) -> int:
        body = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        return talk.request("POST", "/oauth/token", data=body).status_code

    assert talk.exchange.old_hashes() == 1
    # As long as one is left, every wrong try costs the same, whoever it says it is, so that nobody learns who there is.
    assert [ask(name, "wrong") for name in ("bank", "nobody", "anna", SECRETIVE, "gone")] == [401] * 5
    assert worked == [old, None, None, None, None]
    assert ask("bank", "from before") == 200
    assert talk.exchange.old_hashes() == 0
    with talk.exchange.database.reading() as session:
        assert (find_account(session, "bank").secret_hash or "").startswith("sha256$")
    worked.clear()
    assert [ask("bank", "from before"), ask("bank", "wrong"), ask("nobody", "wrong")] == [200, 401, 401]
    assert worked == []


def test_hashes_from_before_leave_time_for_others(lite: Talk, secrets: dict[str, str]) -> None:
    keep_old_hash(lite, "bank", "from before")

    def ask(name: str, secret: str) -> httpx.Response:
        body = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        return lite.request("POST", "/oauth/token", data=body)

    answers = [ask(f"made-up-{place}", "wrong") for place in range(6)]
    shed = [answer for answer in answers if answer.status_code == 503]
    assert len(shed) >= 3
    assert {int(answer.headers["Retry-After"]) for answer in shed} <= {1, 2}
    assert ask(SECRETIVE, secrets[SECRETIVE]).status_code == 200
