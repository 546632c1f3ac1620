"""Hostile input: it is refused with a reason, and nothing of it is kept."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from blocklist_sdk.exchange_server.store.tables import AppealRow, DecisionRow, EvidenceRow, ReceiptRow, ReportRow
from support.evidence_files import allowed_files
from support.hostile_files import hostile_files
from support.talking import Talk, refused

NOT_JSON = {"a huge integer", "not a number"}
"""What JSON has no name for, or readers round."""

STRANGE: dict[str, Any] = {
    "NUL": "a\0b",
    "half a character": "\ud800",
    "escape": "\x1b[2J",
    "delete": "\x7f",
    "a huge integer": 10**400,
    "a huge float": 1e300,
    "a list": ["x"],
    "an object": {"x": 1},
    "deep": None,
    "nothing": None,
    "not a number": float("nan"),
}


def sent(talk: Talk, who: str, path: str, body: Any) -> Any:
    """JSON with exactly this text, surrogates included."""
    content = json.dumps(body).encode()
    return talk.post(who, path, content=content, headers={"Content-Type": "application/json"})


def bodies(talk: Talk) -> dict[str, tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Every body with texts: its sender, a valid one, and the names of its texts."""
    return {
        "/v1/reports": (
            "web",
            talk.new_report(channel="messaging", app="x"),
            ("number", "category", "channel", "app", "text", "happened_at", "reporter"),
        ),
        "/v1/cases/1/decisions": (
            "anna",
            {"kind": "block", "reason": "x", "category": "fraud", "until": "2027-01-01T00:00:00Z", "scope": ["sms"]},
            ("kind", "reason", "category", "until", "scope", "urgent"),
        ),
        "/v1/appeals": (
            "web",
            {"number": "+6281234500000", "grounds": "x", "appellant": "p"},
            ("grounds", "appellant"),
        ),
        "/v1/appeals/1/answer": ("anna", {"grant": True, "reason": "x"}, ("grant", "reason")),
        "/v1/publications": ("press", {"everything": True}, ("everything",)),
        "/v1/publications/acceptances": ("anna", {"feed": "id-all", "digest": "0" * 64}, ("feed", "digest")),
    }


def counts(talk: Talk) -> list[int | None]:
    tables = (ReportRow, DecisionRow, AppealRow, EvidenceRow, ReceiptRow)
    with talk.exchange.database.reading() as session:
        return [session.scalar(select(func.count()).select_from(table)) for table in tables]


MAY_BE_NULL = {"app", "category", "until"}


def test_no_text_field_takes_what_is_no_text(talk: Talk) -> None:
    talk.complete()
    before = counts(talk)
    for path, (who, body, fields) in bodies(talk).items():
        for field in fields:
            for name, value in STRANGE.items():
                if value is None and field in MAY_BE_NULL:
                    continue
                answer = sent(talk, who, path, body | {field: value})
                problem = refused(answer, 400 if name in NOT_JSON else 422)
                assert problem["detail"], (path, field, name)
        refused(sent(talk, who, path, body | {"\ud800\0": 1}), 422)
        refused(sent(talk, who, path, [body]), 422)
    for name, value in STRANGE.items():
        batch = [talk.receipt() | {"detail": value, "feed": "id-telkomsel"}]
        if name == "half a character" or value is None or isinstance(value, str):
            refused(sent(talk, "telkomsel", "/v1/receipts", {"receipts": batch}), 422)
    assert counts(talk) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[" * 50_000,
        b'{"a":' * 10_000,
        b"\xff\xfe",
        b"\x00" * 1000,
        b"9" * 5000,
        b'{"number": ' + b"9" * 5000 + b"}",
        b'{"number": NaN}',
    ],
    ids=["empty", "cut off", "null", "lists", "objects", "no UTF-8", "NUL", "digits", "a number", "NaN"],
)
def test_a_body_that_is_none_is_refused(lite: Talk, content: bytes) -> None:
    for kind in ("application/json", "text/plain", ""):
        answer = lite.post("web", "/v1/reports", content=content, headers={"Content-Type": kind})
        refused(answer, answer.status_code)
        assert answer.status_code in (400, 415, 422)


@pytest.mark.parametrize(
    ("who", "path", "body", "field"),
    [
        ("press", "/v1/publications", {"everything": 1}, "body.everything"),
        ("press", "/v1/publications", {"everything": "yes"}, "body.everything"),
        ("anna", "/v1/cases/1/decisions", {"kind": "block", "reason": "x", "urgent": "on"}, "body.urgent"),
        ("anna", "/v1/appeals/1/answer", {"grant": 0, "reason": "x"}, "body.grant"),
        ("web", "/v1/appeals", {"feed": "id-all", "entry": "1", "grounds": "x", "appellant": "x"}, "body.entry"),
        ("telkomsel", "/v1/receipts", {"serial": "1"}, "body.receipts.0.serial"),
        ("telkomsel", "/v1/receipts", {"entry": True}, "body.receipts.0.entry"),
        ("telkomsel", "/v1/receipts", {"entry": 1.5}, "body.receipts.0.entry"),
    ],
)
def test_what_is_of_another_type_is_not_guessed_at(
    lite: Talk, who: str, path: str, body: dict[str, Any], field: str
) -> None:
    sent = {"receipts": [lite.receipt(**body)]} if path == "/v1/receipts" else body
    problem = refused(lite.post(who, path, sent), 422, "invalid")
    assert problem["errors"][0]["field"] == field


def test_a_body_that_is_too_large_is_not_read_to_its_end(lite: Talk) -> None:
    def endless() -> Any:
        for _ in range(40):
            yield b" " * (1 << 20)

    try:
        answer = lite.post("web", "/v1/reports", content=endless(), headers={"Content-Type": "application/json"})
    except OSError:
        return
    refused(answer, 413, "too-large")


def test_odd_paths_and_queries_are_no_faults(lite: Talk) -> None:
    for number in ("%00", "%ED%A0%80", "%FF", "110", "+" + "9" * 60, "x" * 64, "%F0%9F%98%80", "-1", "١٢٣"):
        answer = lite.get(None, f"/v1/numbers/{number}")
        refused(answer, 422, "invalid")
    refused(lite.get(None, "/v1/numbers/" + "9" * 65), 422)
    for identity in ("0", "-1", str(1 << 53), str(1 << 63), "9" * 400, "x", "1.5", "%00", "٣"):
        for path in ("/v1/cases/{}", "/v1/reports/{}", "/v1/evidence/{}", "/v1/appeals/{}", "/v1/cases/{}/history"):
            answer = lite.get("anna", path.format(identity))
            refused(answer, 404 if answer.status_code == 404 else 422)
    for query in ("state=x", "state=%00", "number=%00", "number=", "limit=x", "limit=1e9", "overdue=maybe"):
        refused(lite.get("anna", f"/v1/cases?{query}"), 422)
    for query in ("since=x", "since=0001-01-01T00:00:00%2B14:00", "since=9999-12-31T23:59:59-14:00", "number=x"):
        refused(lite.get("web", f"/v1/reports?{query}"), 422)
    for query in ("feed=X", "feed=%00", "entry=0", f"entry={1 << 53}"):
        refused(lite.get("anna", f"/v1/receipts?{query}"), 422)
    for month in ("2026-13", "2026-1", "1999-01", "x", "2026-11-01", "%00"):
        refused(lite.get("anna", f"/v1/statistics/{month}"), 422)
    refused(lite.get("anna", "/v1/nothing"), 404, "not-found")
    refused(lite.request("DELETE", "/v1/cases/1", headers=lite.token("anna")), 405, "method-not-allowed")


def test_request_ids_are_taken_over_where_they_are_some(lite: Talk) -> None:
    assert lite.get(None, "/healthz", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    for strange in ("a b", "x" * 65, "<script>", "", "6281234567890", "0812-3456-7890"):
        given = lite.get(None, "/healthz", headers={"X-Request-Id": strange}).headers["X-Request-Id"]
        assert given != strange
        assert given


# Evidence


def test_hostile_files_are_refused_and_nothing_of_them_is_kept(start: Any) -> None:
    most = 2_000_000
    talk = start(evidence_bytes=most)
    report = talk.report()["id"]
    folder = talk.exchange.directory / "evidence"
    files = list(hostile_files(most=most))
    assert len(files) > 150
    for each in files:
        path = f"/v1/reports/{report}/evidence"
        answer = talk.post("web", path, content=each.content, params={"name": each.name})
        if each.name != each.name.encode("utf-8", "replace").decode():  # it cannot even be put into a URL
            assert answer.status_code in (201, 422)
            continue
        problem = refused(answer, each.status)
        assert problem["errors"][0]["field"] == ("body" if each.field == "body" else "query.name"), each.id
        assert each.reason in problem["detail"], each.id
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    found = talk.read("web", f"/v1/reports/{report}")
    assert (found["evidence"], found["case_state"]) == ([], "incomplete")


def test_every_kind_of_evidence_is_taken_whatever_it_is_said_to_be(start: Any) -> None:
    talk = start(evidence_files=100)
    report = talk.report()["id"]
    for _, name, content, media_type in allowed_files():
        path = f"/v1/reports/{report}/evidence"
        headers = {"Content-Type": "text/html"}
        made = talk.make("web", path, content=content, params={"name": name}, headers=headers)
        assert made["media_type"] == media_type
        assert talk.get("anna", f"/v1/evidence/{made['id']}?original=true").content == content


def test_evidence_that_is_too_long_is_not_read_to_its_end(start: Any) -> None:
    talk = start(evidence_bytes=1_000_000)
    report = talk.report()["id"]

    def endless() -> Any:
        for _ in range(64):
            yield bytes(1 << 20)

    try:
        answer = talk.post("web", f"/v1/reports/{report}/evidence?name=a.png", content=endless())
    except OSError:
        pass  # the exchange has hung up
    else:
        refused(answer, 413, "too-large")
    assert not any(path.is_file() for path in (talk.exchange.directory / "evidence").rglob("*"))
