"""What a client does with answers, failures and slow lines: by both clients alike, on a real server on loopback."""

import base64
import contextlib
import dataclasses
import gc
import hashlib
import os
import socket
import ssl
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import respx
import trustme

from blocklist_sdk import (
    AsyncExchangeClient,
    ExchangeClient,
    ExchangeError,
    InvalidInput,
    Malformed,
    StorageFailed,
    Unreachable,
    Untrusted,
)
from blocklist_sdk.exchange.models import Evidence
from blocklist_sdk.exchange.wire import ClientSettings
from blocklist_sdk.fetch.transport import Transport, TransportSettings
from blocklist_sdk.net.tls import tls_context
from support.exchanges import EVIDENCE, Answer, Asked, Handler, Told, exchanging, problem, report, routes
from support.loopback import QuietServer
from support.waiting import until

QUICK = ClientSettings(attempts=3, backoff_initial_s=0.0, backoff_max_s=0.0)
ENOUGH = 50
"""Attempts until a server that answers is asked in a moment in which this machine has time for it."""
ACCOUNT = {"name": "gopay", "scopes": ["report"]}
REPORT: dict[str, Any] = {
    "category": "fraud",
    "channel": "sms",
    "text": "You have won",
    "happened_at": datetime(2026, 11, 24, 8, tzinfo=UTC),
    "reporter": "customer-17",
}
DATA = os.urandom(300_000)

AUTHORITIES = tls_context()
"""Read once: to read them takes longer than most of these tests."""


def synchronously(url: str, use: Any, settings: ClientSettings = QUICK, waits: list[float] | None = None) -> Any:
    waited = waits if waits is not None else []
    with ExchangeClient(url, tls=AUTHORITIES, settings=settings, sleep=waited.append) as client:
        return use(client)


def asynchronously(url: str, use: Any, settings: ClientSettings = QUICK, waits: list[float] | None = None) -> Any:
    waited = waits if waits is not None else []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def run() -> Any:
        async with AsyncExchangeClient(url, tls=AUTHORITIES, settings=settings, sleep=sleep) as client:
            return await use(client)

    return anyio.run(run)


both = pytest.mark.parametrize("ask", [synchronously, asynchronously])


def account(client: Any) -> Any:
    return client.get_account()


def file_a_report(client: Any) -> Any:
    return client.submit_report("0812-3456-7890", **REPORT)


@both
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_with_the_same_key_and_body(status: int, ask: Any) -> None:
    failures = [problem(status, "not now"), Told(b"<html>", status, media_type="text/html")]
    with exchanging(routes({"POST /v1/reports": [*failures, Told(report(), 201)]})) as (url, asked):
        assert ask(url, file_a_report).id == 1
    assert len(asked) == 3
    assert len({each.headers["Idempotency-Key"] for each in asked}) == 1
    assert len({each.body for each in asked}) == 1


@both
def test_two_calls_have_two_keys(ask: Any) -> None:
    with exchanging(routes({"POST /v1/reports": report()})) as (url, asked):
        ask(url, file_a_report)
        ask(url, file_a_report)
    assert len({each.headers["Idempotency-Key"] for each in asked}) == 2


@both
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_refusal_is_not_tried_again(status: int, ask: Any) -> None:
    with (
        exchanging(routes({"GET /v1/account": problem(status, "no")})) as (url, asked),
        pytest.raises(ExchangeError) as refused,
    ):
        ask(url, account)
    assert (refused.value.status, refused.value.problem["detail"], len(asked)) == (status, "no", 1)


class Marker:
    """Something that a caller has at hand while it asks."""


def _error_of(client: ExchangeClient) -> "weakref.ref[Marker]":
    marker = Marker()
    try:
        client.get_account()
    except ExchangeError:
        return weakref.ref(marker)
    raise AssertionError("the exchange refused")


async def _async_error_of(client: AsyncExchangeClient) -> "weakref.ref[Marker]":
    marker = Marker()
    try:
        await client.get_account()
    except ExchangeError:
        return weakref.ref(marker)
    raise AssertionError("the exchange refused")


@pytest.mark.parametrize(("ask", "use"), [(synchronously, _error_of), (asynchronously, _async_error_of)])
def test_an_error_keeps_nothing_of_its_caller(ask: Any, use: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        with exchanging(routes({"GET /v1/account": problem(404, "no")})) as (url, _):
            marker = ask(url, use)
        assert marker() is None
    finally:
        gc.enable()


@both
def test_attempts_come_to_an_end(ask: Any) -> None:
    waits = list[float]()
    with (
        exchanging(routes({"GET /v1/account": problem(503, "the database is away")})) as (url, asked),
        pytest.raises(ExchangeError, match=r"the database is away: try again later"),
    ):
        ask(url, account, ClientSettings(attempts=4), waits)
    assert len(asked) == 4
    assert [0 <= wait <= 0.5 * 2**place for place, wait in enumerate(waits)] == [True] * 3


@both
def test_a_server_is_left_alone_as_long_as_it_asks(ask: Any) -> None:
    waits = list[float]()
    busy = problem(429, "too many", headers={"Retry-After": "7"})
    with exchanging(routes({"GET /v1/account": [busy, Told(b"", 503, {"Retry-After": "3"}), ACCOUNT]})) as (url, _):
        ask(url, account, QUICK, waits)
    assert waits == [7.0, 3.0]


@both
@pytest.mark.parametrize(("asked_s", "told_s"), [("31", 31.0), ("999999999999", 86_400.0)])
def test_a_long_wait_is_the_callers_to_decide(asked_s: str, told_s: float, ask: Any) -> None:
    busy = problem(429, "too many", headers={"Retry-After": asked_s})
    with (
        exchanging(routes({"GET /v1/account": busy})) as (url, asked),
        pytest.raises(ExchangeError, match="too many requests") as refused,
    ):
        ask(url, account)
    assert (refused.value.retry_after, len(asked)) == (told_s, 1)


@both
def test_an_error_of_a_gateway_is_one_of_the_network(ask: Any) -> None:
    told = Told(b"<html>Bad gateway</html>", 502, {"Retry-After": "60"}, "text/html")
    with exchanging(routes({"GET /v1/account": told})) as (url, _), pytest.raises(Unreachable, match="502") as failed:
        ask(url, account)
    assert (failed.value.status, failed.value.retry_after) == (502, 60.0)


def test_a_message_says_what_to_do_about_a_problem() -> None:
    errors = [{"field": "body.number", "reason": "it is too short"}, {"field": "query.limit", "reason": "at most 500"}]
    told = problem(422, "Two fields cannot be used.", errors=errors, request_id="r-17")
    with exchanging(routes({"POST /v1/reports": told})) as (url, _), pytest.raises(ExchangeError) as refused:
        synchronously(url, file_a_report)
    assert str(refused.value) == (
        "the exchange refused: Two fields cannot be used (body.number: it is too short; query.limit: at most 500) "
        "[request r-17]"
    )
    assert refused.value.problem["errors"] == errors


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "status 403: this account may not"),
        ({"title": "Forbidden"}, "Forbidden: this account"),
        ({"detail": 7, "errors": 7}, "7: this account"),
        ({"detail": "x", "errors": [7, {}, {"field": 1}]}, "a field: cannot be used; 1: cannot"),
        ({"detail": "x", "errors": [{"field": f"f{n}", "reason": "r"} for n in range(50)]}, "and 40 more"),
        ({"detail": "x" * 100_000}, "xxx: this account"),
    ],
    ids=["empty", "title", "types", "odd fields", "many fields", "long"],
)
def test_an_odd_problem_is_still_one(document: Any, words: str) -> None:
    told = Told(document, 403, {"X-Request-Id": "from-header"}, "application/problem+json; charset=utf-8")
    with exchanging(routes({"GET /v1/account": told})) as (url, _), pytest.raises(ExchangeError) as refused:
        synchronously(url, account)
    assert words in str(refused.value)
    assert str(refused.value).endswith("[request from-header]")
    assert len(str(refused.value)) < 1200


STRANGE = {
    "captive portal": (Told(b"<html>Log in</html>", media_type="text/html"), "captive portal"),
    "no type": (Told(b"{}", media_type=""), "captive portal"),
    "no JSON": (Told(b"<html>"), "is not JSON"),
    "nothing": (Told(b""), "is not JSON"),
    "nesting": (Told(b"[" * 100_000), "is not JSON"),
    "no object": (Told([1]), "the whole"),
    "a field less": (Told({"name": "x"}), r"\(scopes\)"),
    "another type": (Told({"name": "x", "scopes": 7}), r"\(scopes\)"),
    "compressed": (Told(ACCOUNT, headers={"Content-Encoding": "br"}), "not the response of an exchange"),
    "404 of a web server": (Told(b"<html>", 404, media_type="text/html"), "404"),
    "a problem that is a list": (Told(b"[]", 400, media_type="application/problem+json"), "400"),
    "a problem that is not JSON": (Told(b"{", 400, media_type="application/problem+json"), "400"),
    "too long": (Told(b" " * 1001), "1,000 bytes"),
    "204": (Told(b"", 204), "is not JSON"),
    "304": (Told(b"", 304), "304"),
}


@both
@pytest.mark.parametrize("name", STRANGE)
def test_responses_that_are_not_from_an_exchange(name: str, ask: Any) -> None:
    told, words = STRANGE[name]
    settings = ClientSettings(attempts=3, answer_bytes_max=1000)
    if name == "nesting":
        settings = QUICK
    with exchanging(routes({"GET /v1/account": told})) as (url, asked), pytest.raises(Malformed, match=words):
        ask(url, account, settings)
    assert len(asked) == 1


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int, ask: Any) -> None:
    with exchanging(routes({})) as (elsewhere, asked_elsewhere):
        told = Told(b"", status, {"Location": f"{elsewhere}/login?session=secret"})
        with (
            exchanging(routes({"POST /v1/reports": told})) as (url, asked),
            pytest.raises(Malformed, match="redirects to http://127") as failed,
        ):
            ask(url, file_a_report)
    assert "secret" not in str(failed.value)
    assert (len(asked), asked_elsewhere) == (1, [])


@pytest.mark.parametrize("target", ["http://[", "//", "\x80", "https://a:b@c.example/"])
def test_a_redirect_to_nowhere_is_malformed(target: str) -> None:
    with (
        exchanging(routes({"GET /v1/account": Told(b"", 302, {"Location": target})})) as (url, _),
        pytest.raises((Malformed, Unreachable)) as failed,
    ):
        synchronously(url, account)
    assert "a:b" not in str(failed.value)


def test_no_message_has_a_number() -> None:
    told = Told(b"<html>", 404, media_type="text/html")
    with exchanging(lambda asked, handler: told) as (url, _), pytest.raises(Malformed) as failed:
        synchronously(url, lambda client: client.get_number_status("+6281234567890"))
    assert "6281234567890" not in str(failed.value)
    assert "/v1/numbers/…" in str(failed.value)


@both
def test_no_server_is_listening(ask: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    waits = list[float]()
    with pytest.raises(Unreachable, match="failed") as failed:
        ask(url, account, QUICK, waits)
    assert (len(waits), failed.value.status) == (2, None)


def test_every_fault_of_the_network_is_translated() -> None:
    faults = [httpx.ConnectTimeout, httpx.PoolTimeout, httpx.WriteError, httpx.RemoteProtocolError, httpx.ProxyError]
    for fault in faults:
        with respx.mock(base_url="https://exchange.example") as router:
            asked = router.get("/v1/account").mock(side_effect=fault("broken"))
            with pytest.raises(Unreachable, match="broken"):
                synchronously("https://exchange.example", account)
            assert asked.call_count == 3
    with respx.mock(base_url="https://exchange.example") as router:
        router.get("/v1/account").mock(side_effect=httpx.LocalProtocolError("secret"))
        with pytest.raises(InvalidInput) as refused:
            synchronously("https://exchange.example", account)
        assert "secret" not in str(refused.value)


def hang(asked: Asked, handler: Handler) -> Told | None:
    handler.stopped.wait(600)
    return None


def hang_half_way(asked: Asked, handler: Handler) -> Told | None:
    handler.tell(Told(b'{"name": "'), length=1000)
    handler.stopped.wait(600)
    return None


def drip(asked: Asked, handler: Handler) -> Told | None:
    handler.tell(Told(b"{"), length=1000)
    while not handler.stopped.wait(0.05):
        handler.wfile.write(b" ")
    return None


def cut(asked: Asked, handler: Handler) -> Told | None:
    handler.tell(Told(b'{"name": "'), length=1000)
    handler.close_connection = True
    return None


def cut_at_an_end(asked: Asked, handler: Handler) -> Told | None:
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"name": "')
    handler.close_connection = True
    return None


def no_http(asked: Asked, handler: Handler) -> Told | None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    handler.close_connection = True
    return None


@both
@pytest.mark.timing
@pytest.mark.parametrize("fault", [hang, hang_half_way, drip, cut, cut_at_an_end, no_http])
def test_a_server_that_breaks_off_or_hangs_is_given_up_and_asked_again(fault: Answer, ask: Any) -> None:
    times = list[int]()

    def once(asked: Asked, handler: Handler) -> Told | None:
        times.append(1)
        return fault(asked, handler) if len(times) == 1 else Told(ACCOUNT)

    settings = ClientSettings(attempts=ENOUGH, read_timeout_s=0.3, answer_timeout_s=0.5)
    with exchanging(once) as (url, asked):
        assert ask(url, account, settings).name == "gopay"
        assert len(asked) >= 2
    settings = dataclasses.replace(settings, attempts=2)
    with exchanging(fault) as (url, asked):
        with pytest.raises(Unreachable):
            ask(url, account, settings)
        until(lambda: len(asked) == 2)


def drip_headers(asked: Asked, handler: Handler) -> Told | None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.stopped.wait(0.05):
        handler.wfile.write(b"x")
    return None


@both
@pytest.mark.timing
def test_headers_that_drip_in_are_given_up(ask: Any) -> None:
    settings = ClientSettings(attempts=2, answer_timeout_s=0.4)
    with exchanging(drip_headers) as (url, asked):
        with pytest.raises(Unreachable):
            ask(url, account, settings)
        until(lambda: len(asked) == 2)


@pytest.mark.timing
def test_headers_that_drip_in_on_a_connection_that_was_used_before_are_given_up() -> None:
    times = list[int]()

    def second(asked: Asked, handler: Handler) -> Told | None:
        times.append(1)
        return drip_headers(asked, handler) if len(times) == 2 else Told(ACCOUNT)

    settings = ClientSettings(attempts=ENOUGH, answer_timeout_s=0.4)
    with exchanging(second) as (url, _), ExchangeClient(url, settings=settings, sleep=lambda _: None) as client:
        assert client.get_account() == client.get_account()
    assert len(times) >= 3


# Evidence


@both
@pytest.mark.parametrize("as_path", [True, False])
def test_a_file_is_sent_whole_with_its_progress(as_path: bool, ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "shot one.png"
    path.write_bytes(DATA)
    seen = list[tuple[int, int]]()
    given: Any = path if as_path else DATA

    def attach(client: Any) -> Any:
        return client.attach_evidence(1, given, name="é.png", progress=lambda *at: seen.append(at))

    with exchanging(routes({"POST /v1/reports/1/evidence": Told(EVIDENCE, 201)})) as (url, asked):
        assert ask(url, attach).id == 3
    assert asked[0].body == DATA
    assert asked[0].query == {"name": "é.png"}
    assert asked[0].headers["Content-Type"] == "image/png"
    assert asked[0].headers["Content-Length"] == str(len(DATA))
    assert "Transfer-Encoding" not in asked[0].headers
    assert [total for _, total in seen] == [len(DATA)] * len(seen)
    assert sorted(seen) == seen
    assert seen[-1][0] == len(DATA)
    assert len(seen) > 3


@both
def test_a_file_is_sent_again_from_its_beginning(ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "shot.png"
    path.write_bytes(DATA)
    told = [problem(503, "not now"), Told(EVIDENCE, 201)]
    with exchanging(routes({"POST /v1/reports/1/evidence": told})) as (url, asked):
        ask(url, lambda client: client.attach_evidence(1, path))
    assert [each.body for each in asked] == [DATA, DATA]
    assert len({each.headers["Idempotency-Key"] for each in asked}) == 1


@both
@pytest.mark.parametrize("length", [10, 400_000])
def test_a_file_that_changes_on_its_way_is_not_sent_as_something_else(length: int, ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "shot.png"
    path.write_bytes(DATA)

    def change(sent: int, total: int) -> None:
        path.write_bytes(bytes(length))

    def attach(client: Any) -> Any:
        return client.attach_evidence(1, path, progress=change)

    with (
        exchanging(routes({"POST /v1/reports/1/evidence": Told(EVIDENCE, 201)})) as (url, asked),
        pytest.raises(InvalidInput, match="changed while it was sent"),
    ):
        ask(url, attach)
    assert all(len(each.body) < len(DATA) for each in asked)


@both
def test_a_file_that_is_gone_when_it_is_to_be_sent(ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "shot.png"
    path.write_bytes(DATA)

    def again(asked: Asked, handler: Handler) -> Told | None:
        path.unlink(missing_ok=True)
        return problem(503, "not now")

    with exchanging(again) as (url, _), pytest.raises(StorageFailed, match=r"shot\.png"):
        ask(url, lambda client: client.attach_evidence(1, path))


@both
def test_an_exchange_that_refuses_a_file_early_is_heard(ask: Any) -> None:
    with _refusing_early() as url, pytest.raises(ExchangeError, match="may have 1,000 bytes"):
        ask(url, lambda client: client.attach_evidence(1, bytes(19_000_000), name="x"))


@contextlib.contextmanager
def _refusing_early() -> Iterator[str]:
    """Answers after the request's headers, and reads no body; what comes is thrown away until the client has gone."""
    body = b'{"title": "x", "status": 413, "detail": "a file may have 1,000 bytes"}'
    head = f"HTTP/1.1 413 X\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(2000)
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while connection.recv(1 << 20):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(10)
        listener.close()


FILE = Evidence.model_validate({**EVIDENCE, "bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()})
STREAM = Told(DATA, headers={"Content-Disposition": "attachment"}, media_type="image/png")


@both
def test_evidence_is_fetched_and_verified(ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"older")
    with exchanging(routes({"GET /v1/evidence/3": [problem(503, "not now"), STREAM]})) as (url, _):
        assert ask(url, lambda client: client.download_evidence(FILE, path)) == path
    assert path.read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [path]


@both
@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (Told(DATA[:-1] + b"x", media_type="x"), Untrusted),
        (Told(DATA[:-1], media_type="x"), Untrusted),
        (Told(DATA + b"x", media_type="x"), Malformed),
        (problem(403, "you are not an officer"), ExchangeError),
        (Told(b"", 302, {"Location": "/login"}), Malformed),
    ],
    ids=["another", "shorter", "longer", "refused", "redirected"],
)
def test_evidence_that_is_not_what_was_described_is_not_written(
    told: Told, kind: type[Exception], ask: Any, tmp_path: Path
) -> None:
    with exchanging(routes({"GET /v1/evidence/3": told})) as (url, _), pytest.raises(kind):
        ask(url, lambda client: client.download_evidence(FILE, tmp_path / "a.png"))
    assert list(tmp_path.iterdir()) == []


@both
def test_a_copy_of_evidence_is_verified_by_its_own_hash(ask: Any, tmp_path: Path) -> None:
    copy, path = DATA + b"longer", tmp_path / "a.png"
    digest = base64.b64encode(hashlib.sha256(copy).digest()).decode()
    headers = {"Evidence-Copy": "cleaned", "Content-Digest": f"sha-256=:{digest}:"}
    with exchanging(routes({"GET /v1/evidence/3": Told(copy, 200, headers, media_type="x")})) as (url, _):
        ask(url, lambda client: client.download_evidence(FILE, path))
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (copy, 0o600)
        path.unlink()
        with pytest.raises(Malformed):
            ask(url, lambda client: client.download_evidence(FILE, path, original=True))
    other = Told(copy[:-1] + b"x", 200, headers, media_type="x")
    with (
        exchanging(routes({"GET /v1/evidence/3": other})) as (url, _),
        pytest.raises(Untrusted, match="the copy of evidence"),
    ):
        ask(url, lambda client: client.download_evidence(FILE, path))
    assert list(tmp_path.iterdir()) == []


@both
def test_evidence_that_cannot_be_written(ask: Any, tmp_path: Path) -> None:
    with exchanging(routes({"GET /v1/evidence/3": STREAM})) as (url, _):
        with pytest.raises(StorageFailed):
            ask(url, lambda client: client.download_evidence(FILE, tmp_path / "nowhere" / "a.png"))
        with pytest.raises(InvalidInput, match="regular file"):
            ask(url, lambda client: client.download_evidence(FILE, tmp_path))


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.contextmanager
def _with_tls(authority: trustme.CA) -> Iterator[str]:
    """An exchange that asks for a certificate of the client's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    members = {
        "answer": staticmethod(routes({"GET /v1/account": ACCOUNT})),
        "asked": [],
        "stopped": threading.Event(),
    }
    server = QuietServer(("127.0.0.1", 0), type("WithTls", (Handler,), members))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_certificates_of_ones_own(authority: trustme.CA, tmp_path: Path) -> None:
    ca, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    authority.cert_pem.write_to_path(str(ca))
    authority.issue_cert("gopay.example").private_key_and_cert_chain_pem.write_to_path(str(own))
    settings = ClientSettings(attempts=1)
    with _with_tls(authority) as url:
        with ExchangeClient(url, tls=tls_context(ca=ca, client_cert=own), settings=settings) as client:
            assert client.get_account().name == "gopay"

        async def ask() -> str:
            async with AsyncExchangeClient(url, tls=tls_context(ca=ca, client_cert=own)) as client:
                return (await client.get_account()).name

        assert anyio.run(ask) == "gopay"
        for context in (tls_context(ca=ca), None):
            with ExchangeClient(url, tls=context, settings=settings) as client, pytest.raises(Unreachable):
                client.get_account()
        with Transport(tls=tls_context(ca=ca, client_cert=own)) as transport:
            assert b"gopay" in transport.get(f"{url}/v1/account", max_bytes=1000)
        once = TransportSettings(attempts=1)
        with Transport(tls=tls_context(ca=ca), settings=once) as transport, pytest.raises(Unreachable):
            transport.get(f"{url}/v1/account", max_bytes=1000)


def test_certificates_that_cannot_be_used(authority: trustme.CA, tmp_path: Path) -> None:
    text, ca = tmp_path / "text.pem", tmp_path / "ca.pem"
    text.write_text("no certificate")
    authority.cert_pem.write_to_path(str(ca))
    for arguments in ({"ca": text}, {"ca": tmp_path / "nowhere"}, {"client_cert": text}, {"client_cert": ca}):
        with pytest.raises(InvalidInput, match=r"\.pem|nowhere"):
            tls_context(**arguments)


def test_an_encrypted_key_is_refused_and_not_asked_for(authority: trustme.CA, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    own = authority.issue_cert("gopay.example")
    key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    path = tmp_path / "own.pem"
    path.write_bytes(encrypted + own.cert_chain_pems[0].bytes())
    with pytest.raises(InvalidInput, match="not encrypted"):
        tls_context(client_cert=path)
