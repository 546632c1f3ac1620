"""Bodies and cursors: what is read, how long it may be, and that whatever has two readings is refused."""

import base64
import itertools
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import FailFast

from blocklist_sdk.exchange import models
from blocklist_sdk.exchange.models import NewReceipts, NewReport, NewReports, RequestModel
from blocklist_sdk.exchange_server import connections
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.connection_limits import FILES_KEPT, connection_limits
from blocklist_sdk.exchange_server.http import bodies, body_memory, uploads
from blocklist_sdk.exchange_server.http.bodies import BodyRoute
from blocklist_sdk.exchange_server.http.body_memory import ACCOUNT_BYTES, FREE_BYTES, TOTAL_BYTES, Bodies
from blocklist_sdk.exchange_server.http.cursors import Cursors, ForeignCursor
from blocklist_sdk.exchange_server.http.problems import ERRORS_MAX, invalid_fields
from blocklist_sdk.exchange_server.http.routes import (
    appeal_routes,
    case_routes,
    feed_routes,
    public_routes,
    report_routes,
)
from blocklist_sdk.exchange_server.http.strict_json import NESTING_MAX, VALUES_MAX, NotStrictJson, read_json
from support.abused_server import answer_on, status_in
from support.talking import Talk, good, refused

ROUTES = [
    route
    for part in (public_routes, report_routes, case_routes, appeal_routes, feed_routes)
    for route in part.router.routes
    if isinstance(route, BodyRoute)
]
MODELS = [each for each in RequestModel.__subclasses__() if each.__module__ == models.__name__]
JSON = {"Content-Type": "application/json"}

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | FINITE | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


# JSON


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_has_one_reading_is_read(value: Any, is_ascii: bool, indent: int | None) -> None:
    content = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    if depth(value) <= NESTING_MAX:
        assert read_json(content) == value
    else:
        with pytest.raises(NotStrictJson):
            read_json(content)


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), st.data())
def test_a_key_that_stands_twice_is_refused_however_it_is_written(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(list(value)))
    again = "".join(f"\\u{ord(each):04x}" if ord(each) < 1 << 16 else each for each in key)
    content = json.dumps(value)[:-1] + f', "{again}": 1}}'
    for text in (content, f"[{content}]", f'{{"reports": [{content}]}}'):
        with pytest.raises(NotStrictJson):
            read_json(text.encode())


@given(st.binary(max_size=60))
def test_bytes_are_read_as_the_standard_says_or_not_at_all(content: bytes) -> None:
    try:
        found = read_json(content)
    except NotStrictJson:
        return
    assert found == json.loads(content.decode())


@pytest.mark.parametrize(
    "content",
    [
        *(json.dumps({"a": 1}).encode(encoding) for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-32-be")),
        json.dumps({"a": 1}).encode("utf-8-sig"),
        "é".encode("latin-1"),
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 21,
        b"1." + b"0" * 60,
        b"[" * 9 + b"]" * 9,
        b'{"a":' * 9 + b"1" + b"}" * 9,
        b"[" * 100_000,
        b"[" + b"1," * 100_001 + b"1]",
        b"",
        b'"\n"',
        b"'a'",
        b'{"a":1}{}',
    ],
)
def test_what_is_no_strict_json_is_refused(content: bytes) -> None:
    with pytest.raises(NotStrictJson):
        read_json(content)


def test_lengths_at_the_limits_are_read() -> None:
    assert read_json(b"[" * 8 + b"]" * 8) == [[[[[[[[]]]]]]]]
    assert read_json(str(-(1 << 63)).encode()) == -(1 << 63)
    receipt = {f"field{index}": index for index in range(8)}
    assert len(read_json(json.dumps({"receipts": [receipt] * 5000}).encode())["receipts"]) == 5000
    strings = {"a": '[{"\\', "b": "[" * 100_000 + '\\"' * 1000}
    assert read_json(json.dumps(strings).encode()) == strings


# Models


def annotations_of(model: type[RequestModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield name, (field.annotation, *field.metadata)


def test_every_list_in_a_request_stops_at_its_first_error() -> None:
    lists = {
        f"{model.__name__}.{name}": described
        for model in MODELS
        for name, described in annotations_of(model)
        if any(get_origin(each) in (tuple, list, set, dict) for each in (described[0], *get_args(described[0])))
    }
    assert {"NewReports.reports", "NewReceipts.receipts", "NewDecision.scope"} <= set(lists)
    for name, described in lists.items():
        assert any(isinstance(each, FailFast) for each in described), name


def test_a_refusal_shows_some_errors_and_counts_the_rest() -> None:
    refusal = invalid_fields([{"loc": ("body", "x" * 1000), "msg": "y" * 1000}] * 500)
    assert len(refusal.errors) == ERRORS_MAX == 20
    assert "499 more errors" in refusal.detail
    assert all(len(each.field) + len(each.reason) < 1000 for each in refusal.errors)


LONGEST = {
    "number": "\N{PILE OF POO}" * 64,
    "category": "a" * 64,
    "channel": "messaging",
    "app": "\N{PILE OF POO}" * 200,
    "text": "\N{PILE OF POO}" * 4000,
    "happened_at": "2026-11-01T10:00:00.000000+00:00",
    "reporter": "\N{PILE OF POO}" * 200,
}
LONGEST_RECEIPT = {
    "feed": "a" * 64,
    "serial": (1 << 53) - 1,
    "entry": (1 << 53) - 1,
    "outcome": "already-inactive",
    "at": "2026-11-01T10:00:00.000000+00:00",
    "era": (1 << 53) - 1,
    "detail": "\N{PILE OF POO}" * 1000,
}


def test_the_longest_body_that_is_valid_fits_its_route() -> None:
    limits = {(route.path, *sorted(route.methods or ())): route.bytes_max for route in ROUTES}
    longest: tuple[tuple[str, type[RequestModel], dict[str, Any]], ...] = (
        ("/v1/reports/bulk", NewReports, {"reports": [LONGEST] * models.BULK_MAX}),
        ("/v1/receipts", NewReceipts, {"receipts": [LONGEST_RECEIPT] * models.RECEIPTS_MAX}),
        ("/v1/reports", NewReport, LONGEST),
    )
    for path, model, body in longest:
        content = json.dumps(body, ensure_ascii=False).encode()
        model.model_validate(read_json(content))
        assert len(content) <= (limits[path, "POST"] or 0)
    takers = {path for (path, _), limit in limits.items() if limit is not None}
    assert len(takers) == 11
    assert {path for (path, _), limit in limits.items() if limit and limit > 64_000} == {
        "/v1/reports/bulk",
        "/v1/receipts",
    }


def test_the_page_of_limits_has_these_numbers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "limits.md").read_text(encoding="utf-8")
    (part,) = page.split("## Of an exchange")[1:]
    limits = connection_limits(16_384)
    numbers = {
        *(connections.HEAD_BYTES_MAX, connections.HEADERS_MAX, connections.TARGET_BYTES_MAX, connections.PIPELINED_MAX),
        *(int(each) for each in (connections.HEAD_S, connections.HANDSHAKE_S, connections.WRITE_S, uploads.GRACE_S)),
        *(
            bodies.BODY_BYTES_MAX,
            bodies.BULK_BYTES_MAX,
            bodies.RECEIPTS_BYTES_MAX,
            uploads.BYTES_A_S,
            bodies.FIELDS_MAX,
        ),
        *(ACCOUNT_BYTES, TOTAL_BYTES, FREE_BYTES, NESTING_MAX, VALUES_MAX, ERRORS_MAX, FILES_KEPT, limits.total),
    }
    assert {number for number in numbers if not re.search(rf"\b{number:,}\b", part)} == set()


# On a running server


def test_a_body_is_not_asked_for_before_its_sender_may_send_it(lite: Talk) -> None:
    address = urlsplit(lite.url)
    for who, path, key, status in (
        ("telkomsel", "/v1/reports", "Idempotency-Key: a\r\n", 403),
        ("web", "/v1/receipts", "Idempotency-Key: b\r\n", 403),
        ("web", "/v1/cases/1/decisions", "Idempotency-Key: c\r\n", 403),
        ("gone", "/v1/reports", "Idempotency-Key: d\r\n", 401),
        ("web", "/v1/reports", "", 400),
    ):
        token = lite.token(who)["Authorization"]
        head = f"Host: x\r\nAuthorization: {token}\r\n{key}Content-Type: application/json\r\nExpect: 100-continue\r\n"
        with socket.create_connection((address.hostname, address.port or 0), timeout=20) as line:
            line.sendall(f"POST {path} HTTP/1.1\r\n{head}Content-Length: 50000\r\n\r\n".encode())
            assert status_in(answer_on(line)) == status


@pytest.mark.timing
def test_a_body_has_to_come_in_time(lite: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_S", 0.2)
    address = urlsplit(lite.url)
    token = lite.token("web")["Authorization"]
    head = f"Host: x\r\nAuthorization: {token}\r\nIdempotency-Key: slow\r\nContent-Type: application/json\r\n"
    with socket.create_connection((address.hostname, address.port or 0), timeout=20) as line:
        line.sendall(f"POST /v1/reports HTTP/1.1\r\n{head}Content-Length: 500\r\n\r\n{{".encode())
        assert status_in(answer_on(line)) == 408


def test_nothing_that_was_sent_is_repeated_in_an_error(lite: Talk) -> None:
    secret = "MARIA-SITI-0812345678"
    for path, who, body in (
        ("/v1/reports", "web", dict.fromkeys(LONGEST, secret) | {secret: secret}),
        ("/v1/reports", "web", dict.fromkeys(LONGEST, secret)),
        ("/v1/reports", "web", LONGEST | {"text": f"{secret}\0", "reporter": 7}),
        ("/v1/reports/bulk", "web", {"reports": [{secret: secret}]}),
        ("/v1/receipts", "telkomsel", {"receipts": [dict.fromkeys(LONGEST_RECEIPT, secret)]}),
        ("/v1/appeals", "web", {"number": secret, "grounds": secret, "appellant": [secret]}),
        ("/v1/cases/1/decisions", "anna", {"kind": secret, "reason": secret, "scope": [secret], "until": secret}),
        ("/v1/publications/acceptances", "anna", {"feed": secret, "digest": secret}),
    ):
        answer = lite.post(who, path, body)
        refused(answer, 422, "invalid")
        assert secret not in answer.text
        assert len(answer.content) < 4_000
    for content in (f'{{"{secret}": 1, "{secret}": 2}}', f'["{secret}", {secret}]'):
        answer = lite.post("web", "/v1/reports", content=content.encode(), headers=JSON)
        refused(answer, 400, "malformed")
        assert secret not in answer.text


def test_unknown_fields_are_one_error_that_names_a_few(lite: Talk) -> None:
    body = lite.new_report() | {"colour": 1, "shape": 2, "size": 3, "weight": 4, "0812345678": 5}
    problem = refused(lite.post("web", "/v1/reports", body), 422, "invalid")
    (error,) = problem["errors"]
    assert error == {
        "field": "body",
        "reason": "5 unknown fields: colour, shape, size; remove it, or correct the name",
    }


def test_the_bodies_of_one_account_and_of_all_are_bounded() -> None:
    kept = Bodies()
    with kept.charging(1) as first, kept.charging(1) as second:
        first.raise_to(FREE_BYTES)
        assert kept.total == 0
        first.raise_to(ACCOUNT_BYTES)
        with pytest.raises(Refusal) as refusal:
            second.raise_to(ACCOUNT_BYTES)
        assert refusal.value.kind == "too-many"
        with kept.charging(2) as other, kept.charging(3) as another:
            other.raise_to(ACCOUNT_BYTES)
            with pytest.raises(Refusal) as shed:
                another.raise_to(TOTAL_BYTES - 2 * ACCOUNT_BYTES + 3 * FREE_BYTES + 1)
            assert shed.value.kind == "unavailable"
    assert kept.total == 0
    assert not +kept.by_account
    assert body_memory.TOTAL_BYTES > 2 * body_memory.ACCOUNT_BYTES


# Cursors

KEY = b"generated for a test"
INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.lists(INTEGERS, min_size=1, max_size=2), st.data())
def test_whatever_is_changed_in_a_cursor_makes_it_foreign(position: list[int], data: st.DataObject) -> None:
    cursors = Cursors(KEY)
    cursor = cursors.write("cases", tuple(position))
    assert cursors.read("cases", cursor, len(position)) == tuple(position)
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from(LETTERS + "=+/ \0é"))
    changed = [
        cursor[:place] + letter + cursor[place + 1 :],
        cursor[:place] + letter + cursor[place:],
        cursor[:place] + cursor[place + 1 :],
        cursor[:place],
        cursor + letter,
        base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("="),
        Cursors(b"another key").write("cases", tuple(position)),
        cursors.write("reports", tuple(position)),
        data.draw(st.text(max_size=64)),
    ]
    for each in changed:
        if each != cursor:
            with pytest.raises(ForeignCursor):
                cursors.read("cases", each, len(position))
    with pytest.raises(ForeignCursor):
        cursors.read("cases", cursor, 3 - len(position))


def test_cursors_are_taken_where_they_were_given_out_only(talk: Talk) -> None:
    for index in range(3):
        talk.report(reporter=f"r{index}")
    given_out = {
        path: talk.read(who, f"{path}?limit=1")["next"] for who, path in (("anna", "/v1/cases"), ("web", "/v1/reports"))
    }
    for (_, cursor), path in itertools.product(given_out.items(), ["/v1/cases", "/v1/reports"]):
        who = "web" if path == "/v1/reports" else "anna"
        own = cursor == given_out[path]
        answer = talk.get(who, path, params={"limit": 1, "cursor": cursor})
        assert answer.status_code == (200 if own else 422)
        if own:
            assert len(good(answer)["items"]) == 1
        shapes = [
            [1 << 62, 1],
            [-(1 << 63) + 1, 1],
            [1 << 64],
            [0, 1.5],
            ["0", 1],
            {"a": 1},
            [None],
            [True, 1],
            [[1]],
            [],
        ]
        foreign = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in shapes]
        for each in (*foreign, cursor[:-1], cursor + "A", cursor[::-1], cursor.swapcase(), "x" * 64, "\0"):
            refused(talk.get(who, path, params={"cursor": each}), 422, "invalid")
