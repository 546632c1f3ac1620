"""Webhooks, against a real receiver on loopback: requests, good answers and bad ones."""

import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Blocklist
from blocklist_sdk.cli.exit_codes import enforcement_code, exit_code
from blocklist_sdk.enforcement import EnforcementSettings, SinkWarning, enforce
from blocklist_sdk.enforcement.registry import open_sink
from blocklist_sdk.enforcement.sink import (
    DETAIL_CHARS_MAX,
    HeldItem,
    Outcome,
    ReadableSink,
    Sink,
    SinkUnavailable,
    WarningSink,
)
from blocklist_sdk.enforcement.sinks.webhook import BODY_BYTES_MAX, SECRET_VARIABLE
from blocklist_sdk.enforcement.webhook_signatures import new_webhook_secret
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.testing import Item, MakeSink, SinkContract, make_batch
from support.receiving import SECRET, Handler, Receiver, receiving
from support.world import FEED, World, make_world

A, B, C = 6281200000001, 6281200000002, 6281200000003


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def sink(receiver: Receiver) -> Iterator[Sink]:
    opened = open_sink(receiver.url, feed="id-test", secret=SECRET, timeout=20)
    yield opened
    opened.close()


def kinds(outcomes: Iterable[Outcome]) -> list[str]:
    return ["pending" if outcome.pending else outcome.kind for outcome in outcomes]


def warnings_of(sink: Sink) -> list[SinkWarning]:
    assert isinstance(sink, WarningSink)
    return list(sink.warnings())


def block(url: str, **options: Any) -> list[str]:
    """The outcome of one block, with a sink of its own."""
    opened = open_sink(url, feed="id-test", **options)
    try:
        return kinds(opened.apply(make_batch("block", [A])))
    finally:
        opened.close()


class TestWebhook(SinkContract):
    refuses = 6281300000000

    @pytest.fixture
    def make_sink(self, receiver: Receiver) -> MakeSink:
        self.receiver = receiver
        receiver.refuses = self.refuses
        return lambda feed: open_sink(receiver.url, feed=feed, secret=SECRET)

    def held_items(self, feed: str) -> list[HeldItem]:
        return list(self.receiver.held.get(feed, {}).values())


# What is sent


def test_a_request_has_everything_that_is_known(sink: Sink, receiver: Receiver) -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC)
    items = [
        Item(A, entries=(7, 9), until=end),
        Item(B, last=C, scope=("messaging",), category="own-decision", entries=()),
    ]
    batch = make_batch("change", items, number_in_ledger=17, serial=42)
    assert kinds(sink.apply(batch)) == ["enforced", "enforced"]
    ((headers, message),) = receiver.requests
    assert message == {
        "type": "blocklist.change",
        "feed": "id-test",
        "serial": 42,
        "batch": 17,
        "items": [
            {
                "key": batch[0].key,
                "number": "+6281200000001",
                "last": "+6281200000001",
                "scope": ["sms", "voice"],
                "category": "fraud",
                "entries": [7, 9],
                "until": "2027-01-01T00:00:00Z",
            },
            {
                "key": batch[1].key,
                "number": "+6281200000002",
                "last": "+6281200000003",
                "scope": ["messaging"],
                "category": "own-decision",
                "entries": [],
                "until": None,
            },
        ],
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == headers["webhook-id"]


def test_the_key_of_a_request_is_the_same_only_for_the_same_request(sink: Sink, receiver: Receiver) -> None:
    batch = make_batch("block", [A])
    sink.apply(batch)
    sink.apply(batch)
    # Blocked again after it was lifted: the receiver must not skip it because it knows the key.
    sink.apply(make_batch("unblock", [A], number_in_ledger=2))
    sink.apply(make_batch("block", [A], number_in_ledger=3))
    first, again, lifted, anew = (headers["Idempotency-Key"] for headers, _ in receiver.requests)
    assert first == again
    assert len({first, lifted, anew}) == 3


def test_large_batches_go_in_requests_of_a_megabyte_at_most(sink: Sink, receiver: Receiver) -> None:
    numbers = [A + 2 * place for place in range(10_000)]
    receiver.refuses = numbers[7_001]
    outcomes = sink.apply(make_batch("block", [Item(number, category="x" * 60) for number in numbers]))
    assert len(receiver.bodies) > 1
    assert max(map(len, receiver.bodies)) <= BODY_BYTES_MAX
    assert [item["number"] for _, message in receiver.requests for item in message["items"]] == [
        f"+{number}" for number in numbers
    ]
    assert [place for place, outcome in enumerate(outcomes) if outcome.kind == "refused"] == [7_001]


def test_it_cannot_be_read_back(sink: Sink) -> None:
    assert not isinstance(sink, ReadableSink)


# Secrets


def test_the_secret_may_come_from_a_file_or_the_environment(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    block(receiver.url, secret_file=tmp_path / "secret")
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    block(receiver.url)
    assert len(receiver.requests) == 2


def test_a_secret_that_is_being_replaced_signs_beside_the_new_one(receiver: Receiver) -> None:
    """The receiver still has the old secret."""
    secret = f"{new_webhook_secret()} {SECRET}"
    assert block(receiver.url, secret=secret) == ["enforced"]


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("https://sink.example/", {}, "secret is missing: give secret or secret_file"),
        ("https://sink.example/", {"secret": ""}, "is empty"),
        ("https://sink.example/", {"secret": "hunter2"}, "whsec_ and base64"),
        ("https://sink.example/", {"secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ("https://sink.example/", {"secret": SECRET, "secret_file": "x"}, "two webhook secrets"),
        ("https://sink.example/", {"secret_file": "/nowhere/at/all"}, "cannot read"),
        ("https://sink.example/", {"secret": SECRET, "timeout": "soon"}, "timeout must be more than 0 s"),
        ("https://sink.example/", {"secret": SECRET, "timeout": 0}, "timeout must be more than 0 s"),
        ("https://sink.example/", {"secret": SECRET, "ca": "/nowhere/at/all"}, "cannot use the certificates"),
        ("https://", {"secret": SECRET}, "is not a webhook"),
        ("https://me:hunter2@sink.example/", {"secret": SECRET}, "leave credentials out of the URL"),
        ("https://sink.example/#x", {"secret": SECRET}, "the sink's URL cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_sent(
    url: str, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    with pytest.raises(InvalidInput, match=said) as found:
        open_sink(url, feed="id-test", **options)
    assert "hunter2" not in str(found.value)
    assert "hunter2" not in str(found.value)


def test_unencrypted_numbers_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    sink = open_sink("http://sink.example/", feed="id-test", secret=SECRET)
    sink.close()
    assert "unencrypted" in caplog.text
    assert isinstance(sink, WarningSink)
    (warning,) = sink.warnings()
    assert warning.kind == "unencrypted"
    assert "use https:" in warning.message


@pytest.mark.parametrize("url", ["https://sink.example/", "http://127.0.0.1:8080/"])
def test_nothing_is_said_of_numbers_that_nobody_on_the_way_can_read(url: str, caplog: pytest.LogCaptureFixture) -> None:
    sink = open_sink(url, feed="id-test", secret=SECRET)
    sink.close()
    assert isinstance(sink, WarningSink)
    assert not sink.warnings()
    assert not caplog.text


# Answers


def answering(receiver: Receiver, status: int, body: bytes = b"", **headers: str) -> None:
    receiver.step_in = lambda handler, _: handler.answer(status, body, **headers)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (204, b"", ["enforced", "enforced"]),
        (200, b"", ["enforced", "enforced"]),
        (200, b" \n", ["enforced", "enforced"]),
        (202, b"", ["pending", "pending"]),
    ],
)
def test_an_empty_success_counts_for_all_changes(
    sink: Sink, receiver: Receiver, status: int, body: bytes, expected: list[str]
) -> None:
    answering(receiver, status, body)
    assert kinds(sink.apply(make_batch("block", [A, B]))) == expected


def test_an_unblock_is_reversed(sink: Sink, receiver: Receiver) -> None:
    assert kinds(sink.apply(make_batch("unblock", [A]))) == ["reversed"]
    answering(receiver, 204)
    assert kinds(sink.apply(make_batch("unblock", [A]))) == ["reversed"]


@pytest.mark.parametrize("is_list", [True, False])
def test_items_are_answered_by_their_keys_in_any_order(sink: Sink, receiver: Receiver, is_list: bool) -> None:
    batch = make_batch("block", [A, B, C, C + 1, C + 2, C + 3])
    items = [
        {"key": batch[4].key, "outcome": "pending", "detail": "queued"},
        {"key": batch[2].key, "outcome": "recycled", "detail": "since\nMay", "more": 1},
        {"key": batch[0].key, "outcome": "enforced", "detail": None},
        {"key": batch[1].key, "outcome": "done"},
        {"key": "unknown", "outcome": "enforced"},
        {"key": batch[5].key, "outcome": "reversed"},
    ]
    answering(receiver, 200, json.dumps(items if is_list else {"items": items}).encode())
    outcomes = sink.apply(batch)
    assert kinds(outcomes) == ["enforced", "failed", "recycled", "failed", "pending", "failed"]
    assert [outcome.detail for outcome in outcomes] == [
        "",
        "the answer says 'done', which is not an outcome",
        "since May",
        "the answer does not mention it",
        "queued",
        "the answer says that a block is reversed",
    ]


@pytest.mark.parametrize("outcome", [None, 7, [], {"a": 1}, "x" * 5000, "EnforcementResult"])
def test_unknown_outcomes_are_failures(sink: Sink, receiver: Receiver, outcome: Any) -> None:
    batch = make_batch("block", [A])
    answering(receiver, 200, json.dumps([{"key": batch[0].key, "outcome": outcome, "detail": "y" * 5000}]).encode())
    (said,) = sink.apply(batch)
    assert said.kind == "failed"
    assert len(said.detail) < 100


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    ("body", "media_type", "reason"),
    [
        (b"<html>Sign in to the network</html>", "text/html", "not JSON (text/html)"),
        (b"OK", "text/plain", "not JSON (text/plain)"),
        (b'{"items": ', "application/json", "not JSON"),
        (b"{}", "application/json", "no list of items"),
        (b'{"ok": true}', "application/json", "no list of items"),
        (b'{"items": 3}', "application/json", "no list of items"),
        (b'{"items": {"a": 1}}', "application/json", "no list of items"),
        (b'{"items": []}', "application/json", "mentions none of the changes"),
        (b"[]", "application/json", "mentions none of the changes"),
        (b'{"items": [{"key": "another", "outcome": "enforced"}]}', "application/json", "mentions none of the changes"),
        (b"[1]", "application/json", "has no key"),
        (b'[{"outcome": "enforced"}]', "application/json", "has no key"),
        (b'"enforced"', "application/json", "no list of items"),
        (b"null", "application/json", "no list of items"),
        (b"[" * 200_000, "application/json", "not JSON"),
        (b"\xff\xfe", "application/json", "not JSON"),
    ],
)
def test_an_answer_of_another_kind_is_neither_a_success_nor_a_failure_of_the_changes(
    sink: Sink, receiver: Receiver, status: int, body: bytes, media_type: str, reason: str
) -> None:
    answering(receiver, status, body, media_type=media_type)
    for operation in ("block", "unblock"):
        outcomes = sink.apply(make_batch(operation, [A, B]))
        assert kinds(outcomes) == ["pending", "pending"]
        assert [warning.kind for warning in warnings_of(sink)] == ["unreadable response"]
        for outcome in outcomes:
            assert reason in outcome.detail
            assert "a webhook answers with nothing, or with" in outcome.detail
            assert len(outcome.detail) <= DETAIL_CHARS_MAX
    receiver.step_in = lambda _, __: False
    sink.apply(make_batch("block", [A, B]))
    assert warnings_of(sink) == []


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("listed"))
    world.release([f"+{A}", f"+{B}"])
    return world


@pytest.fixture
def blocklist(listed: World, tmp_path: Path) -> Iterator[Blocklist]:
    with Blocklist.open(
        listed.url,
        feed=FEED,
        root=listed.publisher.root,
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
    ) as opened:
        opened.sync()
        yield opened


def runs(blocklist: Blocklist, sink: Sink, count: int) -> list[int]:
    """The exit codes of some runs."""
    codes = []
    for _ in range(count):
        try:
            codes.append(enforcement_code(enforce(blocklist, sink, sleep=lambda _: None)))
        except BlocklistError as error:
            codes.append(exit_code(error))
    return codes


LOGIN_FORM = b"<!doctype html><form action=/login><input name=user><input name=password type=password></form>"


@pytest.mark.parametrize(
    ("status", "body", "media_type", "code"),
    [
        (200, b"<html>Sign in</html>", "text/html", 4),
        (200, LOGIN_FORM, "text/html; charset=utf-8", 4),
        (202, LOGIN_FORM, "text/html", 4),
        (200, b'{"status": "ok"}', "application/json", 4),
        *((status, b"", "text/html", 3) for status in (302, 404, 407, 429, 503)),
        *((status, b"", "text/html", 77) for status in (401, 403)),
        (400, b"<h1>Bad Request</h1>", "text/html", 3),
        (413, b"<h1>Too large</h1>", "text/html", 3),
    ],
)
def test_what_is_not_about_a_change_never_sets_one_aside(
    receiver: Receiver, sink: Sink, blocklist: Blocklist, status: int, body: bytes, media_type: str, code: int
) -> None:
    answering(receiver, status, body, media_type=media_type)
    assert runs(blocklist, sink, 7) == [code] * 7
    receiver.step_in = lambda _, __: False
    done = enforce(blocklist, sink)
    assert (done.outcomes, done.set_aside, done.warnings) == ({"enforced": 2}, 0, ())
    assert receiver.held[FEED].keys() == {A, B}


def test_connections_that_are_reset_never_set_a_change_aside(
    receiver: Receiver, sink: Sink, blocklist: Blocklist
) -> None:
    def reset(handler: Handler, _: Any) -> bool:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        raise ConnectionResetError

    receiver.step_in = reset
    assert runs(blocklist, sink, 7) == [3] * 7
    receiver.step_in = lambda _, __: False
    assert runs(blocklist, sink, 1) == [0]
    assert receiver.held[FEED].keys() == {A, B}


def failing(message: dict[str, Any]) -> list[dict[str, str]]:
    return [{"key": item["key"], "outcome": "failed"} for item in message["items"]]


def test_answers_about_changes_set_them_aside_and_an_unreadable_one_between_them_neither_counts_nor_forgives(
    receiver: Receiver, sink: Sink, blocklist: Blocklist
) -> None:
    def fails(handler: Handler, message: dict[str, Any]) -> bool:
        return handler.answer(200, json.dumps({"items": failing(message)}).encode())

    receiver.step_in = fails
    assert runs(blocklist, sink, 4) == [9] * 4
    answering(receiver, 200, LOGIN_FORM, media_type="text/html")
    assert runs(blocklist, sink, 3) == [4] * 3
    receiver.step_in = fails
    done = enforce(blocklist, sink)
    assert (done.outcomes, done.set_aside) == ({"failed": 2}, 2), "the fifth failure"


def test_a_success_without_a_body_is_done(receiver: Receiver, sink: Sink, blocklist: Blocklist) -> None:
    answering(receiver, 204, b"")
    assert runs(blocklist, sink, 2) == [0, 0]
    assert len(receiver.requests) == 1


def test_a_part_that_cannot_be_read_does_not_make_another_one_a_failure(sink: Sink, receiver: Receiver) -> None:
    """A portal that answers large requests in another way than small ones."""
    requests = 0

    def step_in(handler: Handler, _: dict[str, Any]) -> bool:
        nonlocal requests
        requests += 1
        return handler.answer(200, LOGIN_FORM) if requests == 1 else handler.answer(400, LOGIN_FORM)

    receiver.step_in = step_in
    with pytest.raises(SinkUnavailable, match="rejects every change"):
        sink.apply(make_batch("block", [A + 2 * place for place in range(10_000)]))


def test_a_warning_of_an_early_batch_lasts_to_the_end_of_the_run(
    receiver: Receiver, sink: Sink, blocklist: Blocklist
) -> None:
    receiver.step_in = lambda handler, _: len(receiver.requests) == 1 and handler.answer(200, LOGIN_FORM)
    done = enforce(blocklist, sink, settings=EnforcementSettings(batch=1))
    assert done.outcomes == {"in doubt": 1, "enforced": 1}
    assert [warning.kind for warning in done.warnings] == ["not asked", "unreadable response"]
    done = enforce(blocklist, sink, settings=EnforcementSettings(batch=1))
    assert (done.outcomes, done.warnings) == ({"enforced": 1}, ())


def test_compressed_answers_are_refused(sink: Sink, receiver: Receiver) -> None:
    import gzip

    answering(receiver, 200, gzip.compress(b"[]"), Content_Encoding="gzip")
    with pytest.raises(SinkUnavailable):
        sink.apply(make_batch("block", [A]))


@pytest.mark.parametrize("status", [401, 403, 404, 405, 408, 409, 410, 425, 429, 500, 502, 503, 504, 599])
def test_other_statuses_make_the_sink_unavailable(sink: Sink, receiver: Receiver, status: int) -> None:
    answering(receiver, status)
    with pytest.raises(SinkUnavailable, match=f"answered {status}") as found:
        sink.apply(make_batch("block", [A, B]))
    assert found.value.retry_after is None
    assert found.value.is_permitted is (status not in (401, 403))
    assert len(receiver.requests) == 1
    assert "for=test" not in str(found.value)


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_a_receiver_asks_for_is_passed_on(sink: Sink, receiver: Receiver, status: int) -> None:
    answering(receiver, status, Retry_After="120")
    with pytest.raises(SinkUnavailable) as found:
        sink.apply(make_batch("block", [A]))
    assert found.value.retry_after == 120


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(sink: Sink, receiver: Receiver, status: int) -> None:
    answering(receiver, status, Location=receiver.url)
    with pytest.raises(SinkUnavailable, match="not followed"):
        sink.apply(make_batch("block", [A]))
    assert len(receiver.requests) == 1


# Changes that a receiver rejects


def rejecting(receiver: Receiver, numbers: set[int], status: int = 422) -> None:
    def step_in(handler: Handler, message: dict[str, Any]) -> bool:
        if numbers.isdisjoint(int(item["number"]) for item in message["items"]):
            return False
        return handler.answer(status, b'{"title": "Unprocessable", "detail": "no such\\nprefix"}')

    receiver.step_in = step_in


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_poisoned_change_is_found_and_the_others_go_on(sink: Sink, receiver: Receiver, status: int) -> None:
    numbers = list(range(A, A + 1000))
    rejecting(receiver, {numbers[3], numbers[700]}, status)
    outcomes = sink.apply(make_batch("block", numbers))
    assert {place: outcome.kind for place, outcome in enumerate(outcomes) if outcome.kind != "enforced"} == {
        3: "failed",
        700: "failed",
    }
    assert outcomes[3].detail == f"the receiver answered {status}: no such prefix"
    assert receiver.held["id-test"].keys() == set(numbers) - {numbers[3], numbers[700]}
    assert len(receiver.requests) < 50


def test_many_poisoned_changes_do_not_hold_up_the_others_for_ever(sink: Sink, receiver: Receiver) -> None:
    """Every run finds some, which fail and are set aside one day; no good change fails meanwhile."""
    numbers = list(range(A, A + 2000))
    poisoned = set(numbers[::100])
    rejecting(receiver, poisoned)
    left, found, rounds = numbers, set[int](), 0
    while left:
        rounds += 1
        outcomes = sink.apply(make_batch("block", left, number_in_ledger=rounds))
        failed = {number for number, outcome in zip(left, outcomes, strict=True) if kinds([outcome]) == ["failed"]}
        pending = [number for number, outcome in zip(left, outcomes, strict=True) if outcome.pending]
        assert failed
        assert failed <= poisoned
        found |= failed
        left = pending
    assert found == poisoned
    assert receiver.held["id-test"].keys() == set(numbers) - poisoned
    assert rounds < 10


def test_a_single_change_that_is_rejected_has_failed(sink: Sink, receiver: Receiver) -> None:
    rejecting(receiver, {A})
    assert kinds(sink.apply(make_batch("block", [A]))) == ["failed"]


@pytest.mark.parametrize("count", [2, 5, 5000])
def test_a_receiver_that_rejects_everything_is_unavailable(sink: Sink, receiver: Receiver, count: int) -> None:
    """The changes are not at fault, so no change is set aside."""
    numbers = set(range(A, A + count))
    rejecting(receiver, numbers)
    with pytest.raises(SinkUnavailable, match="no such prefix"):
        sink.apply(make_batch("block", numbers))
    assert len(receiver.requests) <= 102


# The network


def test_without_a_receiver_the_sink_is_unavailable() -> None:
    with receiving() as gone:
        url = gone.url
    with pytest.raises(SinkUnavailable, match="failed"):
        block(url, secret=SECRET)


def test_after_a_cut_connection_the_next_batch_goes(sink: Sink, receiver: Receiver) -> None:
    def cut(handler: Handler, _: dict[str, Any]) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"items"')
        handler.close_connection = True
        return True

    receiver.step_in = cut
    with pytest.raises(SinkUnavailable):
        sink.apply(make_batch("block", [A]))
    receiver.step_in = lambda _, __: False
    assert kinds(sink.apply(make_batch("block", [A]))) == ["enforced"]


def hanging(handler: Handler, _: dict[str, Any]) -> bool:
    handler.receiver.stopped.wait(600)
    return True


def dripping_head(handler: Handler, _: dict[str, Any]) -> bool:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.receiver.stopped.wait(0.05):
        handler.wfile.write(b"X-Drip: 1\r\n")
    return True


def dripping_body(handler: Handler, _: dict[str, Any]) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.receiver.stopped.wait(0.05):
        handler.wfile.write(b" ")
    return True


@pytest.mark.timing
@pytest.mark.parametrize("step_in", [hanging, dripping_head, dripping_body], ids=lambda step_in: step_in.__name__)
def test_no_wait_is_endless(receiver: Receiver, step_in: Any) -> None:
    receiver.step_in = step_in
    begun = time.monotonic()
    with pytest.raises(SinkUnavailable):
        block(receiver.url, secret=SECRET, timeout=0.5)
    assert time.monotonic() - begun < 300  # much more than it needs, much less than the receiver takes


def test_an_endless_answer_is_cut(sink: Sink, receiver: Receiver) -> None:
    def endless(handler: Handler, _: dict[str, Any]) -> bool:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while not handler.receiver.stopped.is_set():
            handler.wfile.write(bytes(1 << 20))
        return True

    receiver.step_in = endless
    with pytest.raises(SinkUnavailable, match="longer than"):
        sink.apply(make_batch("block", [A]))


def test_a_receiver_over_tls_is_asked_for_its_certificate(tmp_path: Path) -> None:
    import threading

    import trustme

    from support.loopback import QuietServer

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    receiver = Receiver()
    server = QuietServer(("127.0.0.1", 0), type("Receiving", (Handler,), {"receiver": receiver}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        url = f"https://localhost:{server.server_port}/"
        assert block(url, secret=SECRET, ca=tmp_path / "ca.pem") == ["enforced"]
        with pytest.raises(SinkUnavailable, match="certificate"):
            block(url, secret=SECRET)
        assert len(receiver.requests) == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_proxies_of_the_environment_that_cannot_be_used_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "what://is this")
    with pytest.raises(InvalidInput, match="HTTPS_PROXY"):
        open_sink("https://sink.example/", feed="id-test", secret=SECRET)
