"""What is stored where and for how long, and the errors if it cannot be."""

import traceback
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select
from starlette.requests import Request

from blocklist_sdk.errors import StorageFailed
from blocklist_sdk.exchange_server.http.rates import address_of
from blocklist_sdk.exchange_server.store.tables import AnswerRow
from support.command_line import run
from support.evidence_files import png_of
from support.postgres import run_sql
from support.talking import PASSPHRASE, Talk, refused


def test_evidence_leaves_the_last_of_the_disk_to_decisions(lite: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    report = lite.report()
    with monkeypatch.context() as full:
        full.setattr(lite.exchange.evidence, "reserve_bytes", 1 << 62)
        path = f"/v1/reports/{report['id']}/evidence?name=a.png"
        answer = lite.post("web", path, content=png_of(200), key="again")
        refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
    lite.make("web", path, content=png_of(200), key="again")
    assert lite.state(report["case"]) == "received"


def test_a_database_whose_connections_are_all_taken_is_away_for_a_while(lite: Talk) -> None:
    pool = lite.exchange.database._engine.pool
    pool._timeout = 0.1  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(lite.exchange.database._engine.connect())
        answer = lite.get("anna", "/v1/cases")
        refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
    assert lite.read("anna", "/v1/cases")


def test_what_the_database_refuses_is_in_no_log(talk: Talk) -> None:
    row = {"account_id": 1, "key": "k", "request": "r", "status": 200, "body": "a complaint", "at": talk.clock()}
    with pytest.raises(StorageFailed) as caught, talk.exchange.database.writing() as session:
        session.execute(insert(AnswerRow), [row, row])
    assert "a complaint" not in "".join(traceback.format_exception(caught.value))


def test_answers_are_forgotten_where_a_timer_publishes_too(lite: Talk) -> None:
    with lite.exchange.database.writing() as session:
        for days in (1, 8):
            at = datetime.now(UTC) - timedelta(days=days)
            row = {"account_id": 1, "key": f"k{days}", "request": "r", "status": 200, "body": "a complaint", "at": at}
            session.execute(insert(AnswerRow), row)
    done = run("exchange", "publish", lite.exchange.directory, env={"BLOCKLIST_PASSPHRASE": PASSPHRASE})
    assert done.code == 0, done.err
    with lite.exchange.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(AnswerRow)) == 1


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::7", "2001:db8::/48"),
        ("2001:db8:0:1:ffff::9", "2001:db8::/48"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_whoever_has_a_network_of_ipv6_is_counted_once(host: str, counted: str) -> None:
    assert address_of(Request({"type": "http", "client": (host, 1)})) == counted


@pytest.mark.parametrize("zone", ["Asia/Jakarta", "America/New_York"])
def test_moments_are_the_same_in_whatever_zone_the_database_is(
    start: Callable[..., Talk], new_postgres: Callable[[], str], zone: str
) -> None:
    url = new_postgres()
    run_sql(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET timezone = '{zone}'")
    talk = start(url)
    report = talk.report(happened_at="1970-01-01T00:00:00Z")
    talk.attach(report["id"])
    until = "2999-12-31T23:59:59Z"
    talk.decide(report["case"], urgent=True, until=until)
    assert talk.publish()["id-telkomsel"]
    assert [each["until"] for each in talk.case(report["case"])["listings"]] == [until] * 3
    assert (
        talk.read("web", "/v1/reports?since=1970-01-01T00:00:00Z")["items"][0]["happened_at"] == "1970-01-01T00:00:00Z"
    )
    another = talk.complete()
    refused(talk.try_to_decide(another, until="9999-12-31T23:59:59Z"), 422, "invalid")
