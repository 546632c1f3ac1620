"""The log of requests: accounts, routes, statuses and times, and no content."""

import logging

import pytest
from sqlalchemy import text

from support.talking import Talk, refused
from support.waiting import until

REQUESTS = "blocklist_sdk.exchange_server.requests"


def test_each_request_is_one_record_without_its_content(lite: Talk, caplog: pytest.LogCaptureFixture) -> None:
    number = lite.number()
    with caplog.at_level(logging.INFO, REQUESTS):
        answers = [
            lite.post("web", "/v1/reports", lite.new_report(number)),
            lite.get("web", f"/v1/reports?number={number}"),
            lite.get(None, f"/v1/numbers/+{number}"),
            lite.get("anna", "/v1/cases/999"),
            lite.get(None, "/v1/cases"),
            lite.get(None, f"/elsewhere/{number}"),
        ]
        until(lambda: len(caplog.records) == len(answers))
    logged = [
        (each.__dict__["method"], each.__dict__["route"], each.__dict__["account"], each.__dict__["status"])
        for each in caplog.records
    ]
    assert logged == [
        ("POST", "/v1/reports", "web", 201),
        ("GET", "/v1/reports", "web", 200),
        ("GET", "/v1/numbers/{number}", None, 200),
        ("GET", "/v1/cases/{case}", "anna", 404),
        ("GET", "/v1/cases", None, 401),
        ("GET", "(no such path)", None, 404),
    ]
    for answer, record in zip(answers, caplog.records, strict=True):
        assert record.__dict__["request_id"] == answer.headers["X-Request-Id"]
        assert answer.headers["X-Request-Id"] in record.getMessage()
        assert 0 <= record.__dict__["seconds"] < 60
        assert str(number) not in record.getMessage()
    assert "GET (no such path): 404 after " in caplog.text


def test_an_error_is_logged_with_its_request_id(lite: Talk, caplog: pytest.LogCaptureFixture) -> None:
    with lite.exchange.database.writing() as session:
        session.execute(text("ALTER TABLE listings RENAME TO elsewhere"))
    answer = lite.get(None, f"/v1/numbers/+{lite.number()}")
    problem = refused(answer, 503, "unavailable")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert f"request {problem['request_id']} to /v1/numbers/{{number}}: unavailable: " in record.getMessage()
    assert "SQLITE_ERROR" in record.getMessage()


def test_invalid_credentials_are_logged_with_their_address(lite: Talk, caplog: pytest.LogCaptureFixture) -> None:
    form = {"grant_type": "client_credentials", "client_id": "6281234567890", "client_secret": "guessed"}
    assert lite.request("POST", "/oauth/token", data=form).status_code == 401
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.getMessage() == "log-in refused: account 6281…890 at 127.0.0.1: no account has this name"
