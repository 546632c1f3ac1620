"""Reports that come at the same moment: taken together, each with its own response."""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select, text

from blocklist_sdk.exchange.models import NewReport
from blocklist_sdk.exchange_server.casework import intake
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.idempotency import RequestIdentity, StoredResponse
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.store.tables import AnswerRow, CaseRow, ReportRow
from support.talking import Talk, good, refused
from support.waiting import until


def at_once(talk: Talk, *requests: tuple[str, dict[str, Any], str]) -> list[httpx.Response]:
    """Send reports, given with account and key, so that all of them wait together."""
    commit = talk.exchange.report_queue.group_commit
    with ThreadPoolExecutor(len(requests)) as threads:
        sent: list[Future[httpx.Response]] = []
        with commit.lock:
            for who, body, key in requests:
                sent.append(threads.submit(talk.post, who, "/v1/reports", body, key=key))
                until(lambda: commit.waiting == len(sent))
        return [each.result() for each in sent]


def rows_of(talk: Talk, table: type[Any]) -> int:
    with talk.exchange.database.reading() as session:
        return session.query(table).count()


def test_each_is_taken_into_its_case_and_counted_as_if_alone(talk: Talk) -> None:
    one, two = talk.number(), talk.number()
    requests = [
        ("web", talk.new_report(one, reporter="a"), "k1"),
        ("web", talk.new_report(one, reporter="b"), "k2"),
        ("web", talk.new_report(two, reporter="a"), "k3"),
        ("bank", talk.new_report(one, reporter="a"), "k1"),
        ("web", talk.new_report(one, reporter="a", text="Again."), "k4"),
        ("web", talk.new_report(one, reporter="a", text="And again."), "k5"),
    ]
    made = [good(each) for each in at_once(talk, *requests)]
    assert [each["id"] for each in made] == sorted(each["id"] for each in made)
    assert len({each["id"] for each in made}) == 6
    assert [each["number"] for each in made] == [one, one, two, one, one, one]
    assert len({talk.case_of(each) for each in made}) == 2
    first = made[0]["id"]
    assert [each["repeats"] for each in made] == [None, None, None, None, first, first]
    case = talk.case_of(made[0])
    assert talk.case(case)["reporters"] == 3
    lines = talk.history(case)
    assert [line["event"] for line in lines] == ["opened", *["reported"] * 5]
    assert [line["actor"] for line in lines] == ["web", "web", "web", "bank", "web", "web"]
    assert [line["detail"]["report"] for line in lines[1:]] == [each["id"] for each in made if each["number"] == one]
    assert list(talk.exchange.damage()) == []
    again = at_once(talk, ("web", talk.new_report(one, reporter="a", text="Later."), "k6"))
    assert good(again[0])["repeats"] == first


def commits_of(talk: Talk) -> list[object]:
    """Grows with each committed transaction."""
    commits: list[object] = []
    event.listen(talk.exchange.database._engine, "commit", commits.append)
    return commits


def test_they_share_a_transaction(talk: Talk) -> None:
    talk.report()  # takes a part of the quota, which all others are within
    commits = commits_of(talk)
    for each in at_once(talk, *(("web", talk.new_report(), f"k{index}") for index in range(12))):
        good(each)
    assert len(commits) == 1
    good(talk.post("web", "/v1/reports", talk.new_report()))
    assert len(commits) == 2


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_one_whose_case_is_held_up_holds_up_no_other(talk: Talk) -> None:
    held = talk.report(reporter="a")
    requests = [("web", talk.new_report(), f"k{index}") for index in range(4)]
    waits = ("web", talk.new_report(held["number"], reporter="b"), "waits")
    commit = talk.exchange.report_queue.group_commit
    with ThreadPoolExecutor(5) as threads:
        with talk.exchange.database.writing() as session:
            session.execute(select(CaseRow).where(CaseRow.id == held["case"]).with_for_update())
            with commit.lock:
                sent = [
                    threads.submit(talk.post, each[0], "/v1/reports", each[1], key=each[2])
                    for each in (waits, *requests)
                ]
                until(lambda: commit.waiting == 5)
            for each in sent[1:]:
                good(each.result())
            assert not sent[0].done()
        good(sent[0].result())
    assert talk.case(held["case"])["reporters"] == 2


def test_a_key_that_comes_twice_at_once_is_done_once(talk: Talk) -> None:
    body, other = talk.new_report(), talk.new_report()
    first, again, reused = at_once(talk, ("web", body, "k"), ("web", body, "k"), ("web", other, "k"))
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert good(first) == good(again)
    assert again.status_code == 201
    refused(reused, 422, "key-reused")
    assert rows_of(talk, ReportRow) == rows_of(talk, AnswerRow) == 1
    replayed, new, reused = at_once(
        talk, ("web", body, "k"), ("web", other, "another"), ("web", talk.new_report(), "k")
    )
    assert replayed.content == first.content
    assert good(new)["id"] == good(first)["id"] + 1
    refused(reused, 422, "key-reused")


def test_who_sends_something_bad_is_refused_and_harms_nobody_else(talk: Talk) -> None:
    commit = talk.exchange.report_queue.group_commit
    late = talk.new_report(happened_at="2027-01-01T00:00:00Z")
    with ThreadPoolExecutor(2) as threads:
        with commit.lock:
            waits = threads.submit(talk.post, "web", "/v1/reports", talk.new_report(), key="k1")
            until(lambda: commit.waiting == 1)
            for body in (late, talk.new_report() | {"number": "12"}):
                refused(talk.post("web", "/v1/reports", body, key="k2"), 422, "invalid")
        good(waits.result())
    good(talk.post("web", "/v1/reports", talk.new_report(), key="k2"))


def test_one_that_meets_a_fault_takes_no_other_with_it(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = intake.receive_all

    def faulty(session: Any, batch: Sequence[intake.IncomingReport]) -> Any:
        received = receive(session, batch)
        if any(each.new.reporter == "poison" for each in batch):
            raise ZeroDivisionError
        return received

    monkeypatch.setattr(intake, "receive_all", faulty)
    reporters = ("a", "poison", "b")
    answers = at_once(talk, *(("web", talk.new_report(reporter=each), f"k-{each}") for each in reporters))
    refused(answers[1], 500, "fault")
    good(answers[0])
    good(answers[2])
    assert rows_of(talk, ReportRow) == rows_of(talk, AnswerRow) == 2
    monkeypatch.undo()
    good(talk.post("web", "/v1/reports", talk.new_report(reporter="poison"), key="k-poison"))
    assert list(talk.exchange.damage()) == []


def test_where_the_database_fails_all_are_told_to_come_again(talk: Talk) -> None:
    requests = [("web", talk.new_report(reporter=f"r{index}"), f"k{index}") for index in range(5)]
    with talk.exchange.database.writing() as session:
        session.execute(text("ALTER TABLE reports RENAME TO elsewhere"))
    for each in at_once(talk, *requests):
        assert refused(each, 503, "unavailable")
    with talk.exchange.database.writing() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO reports"))
    assert rows_of(talk, AnswerRow) == 0
    for each in at_once(talk, *requests):
        assert "Idempotent-Replayed" not in each.headers
        good(each)
    assert rows_of(talk, ReportRow) == 5


def test_where_the_database_is_away_nobody_waits_for_it_again(
    start: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocklist_sdk.exchange_server.store.database._WAIT_S", 0.2)
    talk = start()
    talk.report()
    requests = [("web", talk.new_report(reporter=f"r{index}"), f"k{index}") for index in range(5)]
    refusals: list[object] = []
    with contextlib.closing(sqlite3.connect(talk.exchange.directory / "exchange.sqlite")) as another:
        another.execute("BEGIN IMMEDIATE")
        event.listen(talk.exchange.database._engine, "handle_error", refusals.append)
        for each in at_once(talk, *requests):
            assert refused(each, 503, "unavailable")
        assert len(refusals) == 1
    for each in at_once(talk, *requests):
        good(each)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_processes_that_share_a_database_do_each_thing_once(talk: Talk) -> None:
    numbers = [talk.number() for _ in range(6)]
    caller = Caller(1, "web", frozenset({"report"}))
    with Exchange.open(talk.exchange.directory, passphrase=None, database=talk.exchange.settings.database) as another:

        def send(exchange: Exchange, order: int) -> list[StoredResponse]:
            """All reports, sent by two exchanges in opposite orders, many at a time."""

            def one(place: int) -> StoredResponse:
                new = NewReport.model_validate(talk.new_report(numbers[place % 6], reporter=f"r{place}"))
                incoming = intake.IncomingReport(caller, new, numbers[place % 6], talk.clock())
                return exchange.report_queue.receive(
                    RequestIdentity(1, f"k{place}", f"{place}", talk.clock()), incoming
                )

            with ThreadPoolExecutor(8) as threads:
                return list(threads.map(one, list(range(60))[::order]))[::order]

        with ThreadPoolExecutor(2) as both:
            first = both.submit(send, talk.exchange, 1)
            second = both.submit(send, another, -1)
            pairs = list(zip(first.result(), second.result(), strict=True))
    assert all(one.body == other.body for one, other in pairs)
    assert all(one.replayed is not other.replayed for one, other in pairs)
    assert rows_of(talk, ReportRow) == rows_of(talk, AnswerRow) == 60
    assert rows_of(talk, CaseRow) == 6
    assert list(talk.exchange.damage()) == []
