"""One account or address that takes all it can gets its quota and its share of the places, and others are answered.

On a running server. Numbers are generated, none is anybody's.
"""

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import event, func, select

from blocklist_sdk.exchange_server.casework.visibility import CLOSES_AFTER
from blocklist_sdk.exchange_server.http.places import SIZES
from blocklist_sdk.exchange_server.http.state import state_of
from blocklist_sdk.exchange_server.serving import publishing, serving_exchange
from blocklist_sdk.exchange_server.store.tables import AppealRow, BudgetRow, PublishingRow
from support.evidence_files import png_of
from support.talking import Talk, good, refused
from support.waiting import until

_SERVE = """
import json, signal, sys
from pathlib import Path
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.serving import serving_exchange
with Exchange.open(Path(sys.argv[1]), passphrase=None, **json.loads(sys.argv[2])) as exchange:
    with serving_exchange(exchange, publish=False) as url:
        print(url, flush=True)
        sys.stdin.read()
"""


@contextmanager
def another_process(talk: Talk, **settings: Any) -> Iterator[str]:
    """A second process that serves the same exchange: its address."""
    named = {"database": talk.exchange.settings.database} | settings
    command = [sys.executable, "-c", _SERVE, str(talk.exchange.directory), json.dumps(named)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("")


@contextmanager
def statements(talk: Talk) -> Iterator[list[str]]:
    """What the exchange of this process asks its database."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    engine = talk.exchange.database._engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def bulk(talk: Talk, count: int, **fields: Any) -> dict[str, Any]:
    return {"reports": [talk.new_report(**fields) for _ in range(count)]}


# Quotas


def test_processes_share_the_quotas(start: Callable[..., Talk], database: str) -> None:
    quotas = {"public_rate": "30/day", "report_quota": "100/day"}
    talk = start(database, **quotas)
    talk.clock.moment = datetime.now(UTC).replace(microsecond=0)
    with another_process(talk, **quotas) as url, httpx.Client(timeout=60) as client:
        urls = (talk.url, url)
        answers = [client.get(f"{urls[turn % 2]}/v1/numbers/+6281234567890") for turn in range(40)]
        assert Counter(each.status_code for each in answers) == {200: 30, 429: 10}
        assert all(0 < int(each.headers["Retry-After"]) <= 86_400 for each in answers[-10:])

        accepted = 0
        for turn in range(60):
            headers = talk.token("web") | {"Idempotency-Key": f"bulk-{turn}"}
            sent = client.post(f"{urls[turn % 2]}/v1/reports/bulk", json=bulk(talk, 3), headers=headers)
            accepted += 3 if sent.status_code == 200 else 0
            assert sent.status_code in (200, 429), sent.text
        # Never more than the quota; less by what the other process took and did not spend.
        assert 90 <= accepted <= 100
        good(
            client.post(
                f"{url}/v1/reports", json=talk.new_report(), headers=talk.token("bank") | {"Idempotency-Key": "b"}
            )
        )
    with talk.exchange.database.reading() as session:
        used = dict(session.execute(select(BudgetRow.what, func.max(BudgetRow.used)).group_by(BudgetRow.what)).all())
    assert used["look-up"] == 30
    assert accepted <= used["report"] <= 100


def test_a_quota_is_full_again_in_its_next_window_and_old_ones_are_forgotten(start: Callable[..., Talk]) -> None:
    talk = start(report_quota="2/minute", receipt_quota="1/minute", appeal_quota="1/hour")
    assert [talk.post("web", "/v1/reports", talk.new_report()).status_code for _ in range(3)] == [201, 201, 429]
    problem = refused(talk.post("web", "/v1/reports/bulk", bulk(talk, 3)), 429, "too-many")
    assert problem["detail"] == "this needs 3 reports, and the limit is 2 reports a minute: ask for less at a time"
    assert talk.post("bank", "/v1/reports", talk.new_report()).status_code == 201
    two = {"receipts": [talk.receipt(), talk.receipt(entry=2)]}
    refused(talk.post("telkomsel", "/v1/receipts", two), 429, "too-many")
    appeal = {"number": f"+{talk.number()}", "grounds": "mine", "appellant": "a"}
    assert [talk.post("web", "/v1/appeals", appeal).status_code for _ in range(2)] == [201, 429]
    talk.clock.forward(minutes=1)
    assert talk.post("web", "/v1/reports", talk.new_report()).status_code == 201
    talk.clock.forward(hours=1)
    talk.exchange.forget()
    with talk.exchange.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(BudgetRow)) == 0


def test_a_clock_that_was_ahead_locks_nobody_out(start: Callable[..., Talk]) -> None:
    talk = start(report_quota="1/minute")
    talk.clock.forward(days=3)
    assert [talk.post("web", "/v1/reports", talk.new_report()).status_code for _ in range(2)] == [201, 429]
    talk.clock.forward(days=-3)
    assert [talk.post("web", "/v1/reports", talk.new_report()).status_code for _ in range(2)] == [201, 429]


def test_what_is_refused_again_asks_the_database_nothing(start: Callable[..., Talk]) -> None:
    talk = start(report_quota="1/day", page_quota="120/day", public_rate="1/day")
    talk.report()
    good(talk.get(None, "/v1/numbers/+6281234567890"))
    good(talk.get("web", "/v1/reports"))
    again: list[Callable[[], httpx.Response]] = [
        lambda: talk.post("web", "/v1/reports", talk.new_report()),
        lambda: talk.get(None, "/v1/numbers/+6281234567890"),
        lambda: talk.get("web", "/v1/reports"),
    ]
    for ask in again:
        refused(ask(), 429, "too-many")
    with statements(talk) as seen:
        for ask in again * 3:
            refused(ask(), 429, "too-many")
    assert [each for each in seen if "FROM accounts" not in each and "BEGIN" not in each] == []


def test_a_page_costs_its_rows(start: Callable[..., Talk]) -> None:
    talk = start(page_quota="1000/day")
    talk.make("web", "/v1/reports/bulk", bulk(talk, 90))
    pages = [talk.get("web", "/v1/reports?limit=90").status_code for _ in range(12)]
    assert pages == [200] * 10 + [429] * 2
    good(talk.get("bank", "/v1/reports?limit=500"))
    assert [talk.get("bank", "/v1/reports?limit=10").status_code for _ in range(60)] == [200] * 60  # nothing to show


def test_look_ups_are_counted_by_network_and_by_account(start: Callable[..., Talk]) -> None:
    talk = start(public_rate="3/day")
    with serving_exchange(talk.exchange, publish=False, behind_proxy="127.0.0.1") as url:

        def ask(address: str, who: str | None = None) -> int:
            headers = talk.token(who) | {"X-Forwarded-For": address}
            return httpx.get(f"{url}/v1/numbers/+6281234567890", headers=headers).status_code

        assert [ask(f"2001:db8:7:{place}::1") for place in range(4)] == [200] * 3 + [429]
        assert ask("2001:db8:8::1") == 200
        assert [ask(f"192.0.2.{place}") for place in range(4)] == [200] * 4
        assert [ask(f"198.51.100.{place}", "web") for place in range(4)] == [200] * 3 + [429]
        assert ask("198.51.100.9", "bank") == 200


# Pages


def test_a_page_takes_as_many_queries_as_a_row(talk: Talk) -> None:
    def queries(who: str, path: str) -> int:
        with statements(talk) as seen:
            assert talk.read(who, path)["items"]
        # A minute that begins takes a part of the quota, and accounts are read once a second.
        return sum("FROM accounts" not in each and "budgets" not in each for each in seen)

    def least(who: str, path: str) -> int:
        # What the exchange does now and then, whoever asks, may fall into one of them.
        return min(queries(who, path) for _ in range(3))

    case = talk.listed()
    number = f"+{talk.case(case)['number']}"
    paths = (("web", "/v1/reports"), ("web", "/v1/appeals"), ("anna", "/v1/appeals"), ("anna", "/v1/cases"))

    def appeal(place: int) -> None:
        talk.make("web", "/v1/appeals", {"number": number, "grounds": "mine", "appellant": f"a{place}"})

    appeal(0)
    talk.make("anna", "/v1/appeals/1/answer", {"grant": True, "reason": "yes"})
    for who, path in paths:  # the first request takes a part of the quota
        talk.read(who, path)
    few = [least(who, path) for who, path in paths]
    talk.make("web", "/v1/reports/bulk", bulk(talk, 30))
    for place in range(3):
        number = f"+{talk.case(talk.listed())['number']}"
        appeal(place)
        talk.make("anna", f"/v1/appeals/{place + 2}/answer", {"grant": True, "reason": "yes"})
    assert [least(who, path) for who, path in paths] == few


# Uploads


def test_bytes_of_a_file_are_counted_as_they_come(start: Callable[..., Talk]) -> None:
    talk = start(evidence_quota="200000/day", evidence_total=500)
    report = talk.report()
    address = urlsplit(talk.url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=60) as line:
        head = [
            f"POST /v1/reports/{report['id']}/evidence?name=a.png HTTP/1.1",
            "Host: exchange.example",
            *(f"{name}: {value}" for name, value in talk.token("bank").items()),
            "Idempotency-Key: long",
            "Content-Length: 19000000",
        ]
        line.sendall("\r\n".join(head).replace("bank", "bank").encode() + b"\r\n\r\n")
        assert int(line.recv(65536).split(b" ", 2)[1]) == 404  # it is not the account's own: nothing of it is read
    path = f"/v1/reports/{report['id']}/evidence?name=a.png"
    assert talk.post("web", path, content=png_of(300)).status_code == 201
    problem = refused(talk.post("web", path, content=png_of(301)), 429, "too-many")
    assert "as much evidence as it may" in problem["detail"]
    with socket.create_connection((address.hostname, address.port or 0), timeout=60) as line:
        head = [each.replace("a.png", "b.png") for each in head if "Authorization" not in each]
        head += [f"{name}: {value}" for name, value in talk.token("web").items()]
        line.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + b"\x89PNG" + bytes(300_000))
        assert int(line.recv(65536).split(b" ", 2)[1]) == 429
    refused(talk.post("web", path, content=png_of(200_001)), 429, "too-many")
    until(lambda: not list(talk.exchange.evidence.directory.glob(".incoming-*")))


# The disk


def test_what_fills_the_disk_stops_first_and_an_unblock_never(lite: Talk) -> None:
    case, other = lite.listed(), lite.complete()
    appeal = good(lite.appeal(case))
    report = lite.report()
    floors = state_of(lite.server.app).floors.floors

    def statuses() -> list[int]:
        answers = (
            lite.post("web", f"/v1/reports/{report['id']}/evidence?name=a.png", content=png_of(200)),
            lite.post("web", "/v1/reports", lite.new_report()),
            lite.post("telkomsel", "/v1/receipts", {"receipts": [lite.receipt()]}),
            lite.try_to_decide(other, "advisory"),
            lite.get(None, "/readyz"),
        )
        for each in answers:
            if not each.is_success:
                assert refused(each, 503, "unavailable")["detail"].endswith(("make room", "MB"))
                assert each.headers["Retry-After"]
        return [each.status_code for each in answers]

    assert statuses() == [201, 201, 200, 201, 200]
    full = []
    for purpose in ("evidence", "report", "decision"):
        floors[purpose] = 1 << 60
        full.append(statuses())
    assert full == [[503, 201, 200, 201, 200], [503, 503, 200, 201, 200], [503, 503, 503, 503, 200]]
    refused(lite.answer(appeal, grant=False), 503, "unavailable")
    assert good(lite.answer(appeal, grant=True))["state"] == "granted"
    assert lite.publish()["id-telkomsel"] == 2
    floors["publishing"] = 1 << 60
    assert "the disk has" in refused(lite.get(None, "/readyz"), 503)["detail"]


# Readiness


def test_every_process_knows_whether_publishing_works(lite: Talk) -> None:
    def why() -> str:
        return str(refused(lite.get(None, "/readyz"), 503, "unavailable")["detail"])

    lite.clock.forward(days=1)
    good(lite.get(None, "/readyz"))  # no process publishes in the background
    lite.exchange.expect_publishing()
    lite.clock.forward(minutes=6)
    assert "nothing was published since 2026-11-03 08:00 UTC; no run has ended since" in why()
    lite.exchange.note_publishing()
    good(lite.get(None, "/readyz"))
    lite.exchange.note_publishing(RuntimeError("secret"))
    good(lite.get(None, "/readyz"))
    lite.clock.forward(minutes=6)
    assert "the last try failed: RuntimeError" in why()
    lite.exchange.expect_no_publishing()
    good(lite.get(None, "/readyz"))


def test_publishing_in_the_background_is_noted_until_it_stops(lite: Talk) -> None:
    def row() -> PublishingRow | None:
        with lite.exchange.database.reading() as session:
            return session.scalar(select(PublishingRow))

    with publishing(lite.exchange, every_s=0.05, allow_root_key=True):
        until(lambda: (found := row()) is not None and found.succeeded_at is not None)
    assert row() is None


def test_a_repository_that_cannot_be_read_is_named(lite: Talk) -> None:
    lite.publish(everything=True)
    (lite.exchange.repository / "metadata" / "timestamp.json").write_bytes(b"{")
    assert "the repository cannot be read" in refused(lite.get(None, "/readyz"), 503)["detail"]


# What leaks


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("id", "number", *names)}


def test_reports_and_appeals_do_not_tell_what_is_listed_or_decided(talk: Talk) -> None:
    listed, decided, verified = talk.listed(), talk.complete(), talk.complete()
    talk.decide(decided)
    talk.make("anna", f"/v1/cases/{verified}/verification")
    talk.clock.forward(seconds=1)
    numbers = [talk.case(case)["number"] for case in (listed, decided, verified)] + [talk.number()]

    def alike(documents: list[dict[str, Any]]) -> dict[str, Any]:
        """What all say, which has to be the same."""
        assert [each["number"] for each in documents] == numbers
        first, *others = (without(each) for each in documents)
        assert others == [first] * len(others)
        return first

    reports = [talk.new_report(number) for number in numbers]
    bulk_answer = talk.post("bank", "/v1/reports/bulk", {"reports": reports}, key="once")
    made = [each["report"] for each in good(bulk_answer)["items"]]
    assert alike(made)["case_state"] == "incomplete"
    assert talk.post("bank", "/v1/reports/bulk", {"reports": reports}, key="once").content == bulk_answer.content
    for each in made:
        talk.attach(each["id"], who="bank", content=png_of(200))
    shown = alike(
        [without(each, "evidence") | {"number": each["number"]} for each in talk.read("bank", "/v1/reports")["items"]]
    )
    assert (shown["case_state"], shown["missing"], shown["case"]) == ("received", [], None)
    singles = [talk.read("bank", f"/v1/reports/{each['id']}") for each in made]
    assert alike([without(each, "evidence") | {"number": each["number"]} for each in singles]) == shown
    officers = [talk.read("anna", f"/v1/reports/{each['id']}") for each in made]
    assert [each["case_state"] for each in officers] == ["published", "decided", "verifying", "received"]

    grounds = {"grounds": "mine", "appellant": "a"}
    appeals = [talk.make("bank", "/v1/appeals", {"number": f"+{number}"} | grounds) for number in numbers]
    assert alike(appeals)["state"] == "open"
    assert alike(talk.read("bank", "/v1/appeals?state=open")["items"]) == alike(appeals)
    files = [
        talk.post("bank", f"/v1/appeals/{each['id']}/evidence?name=a.png", content=png_of(200)) for each in appeals
    ]
    assert {each.status_code for each in files} == {201}

    # Only those that there is something to answer for wait for an officer.
    waiting = talk.read("anna", "/v1/appeals?state=open")["items"]
    assert [each["number"] for each in waiting] == numbers[:2]
    refused(talk.post("anna", f"/v1/appeals/{appeals[2]['id']}/answer", {"grant": True, "reason": "x"}), 409)
    good(talk.answer(appeals[1], grant=False, reason="the decision stands"))
    good(talk.answer(appeals[0], grant=False, reason="the listing stands"))
    now = {each["number"]: (each["state"], each["reason"]) for each in talk.read("bank", "/v1/appeals")["items"]}
    assert now[numbers[0]] == ("dismissed", "the listing stands")  # published
    assert {now[number] for number in numbers[1:]} == {("open", None)}

    talk.clock.forward(seconds=CLOSES_AFTER.total_seconds())
    closed = talk.read("bank", "/v1/appeals?state=dismissed")["items"]
    assert [each["number"] for each in closed] == numbers
    first, *others = (without(each, "evidence") for each in closed[1:])
    assert others == [first] * len(others)
    assert talk.read("bank", "/v1/appeals?state=open")["items"] == []
    talk.exchange.forget()
    with talk.exchange.database.reading() as session:
        assert set(session.scalars(select(AppealRow.state))) == {"dismissed"}

    # What is published is seen, by reports that came before.
    talk.publish(everything=True)
    states = [each["case_state"] for each in talk.read("bank", "/v1/reports")["items"]]
    assert states == ["received", "published", "received", "received"]
    seen = talk.read("bank", f"/v1/appeals/{appeals[1]['id']}")
    assert (seen["state"], seen["reason"]) == ("dismissed", "the decision stands")
    talk.decide(listed, "retract")
    talk.decide(decided, "retract")
    talk.decide(verified, "reject")
    states = [each["case_state"] for each in talk.read("bank", "/v1/reports")["items"]]
    assert states == ["rejected", "retracted", "rejected", "received"]


def test_open_appeals_are_limited_alike_for_every_number(lite: Talk) -> None:
    listed = lite.case(lite.listed())["number"]
    for number in (listed, lite.number()):
        body = {"number": f"+{number}", "grounds": "mine", "appellant": "a"}
        assert [lite.post("web", "/v1/appeals", body).status_code for _ in range(3)] == [201, 409, 409]


def test_the_invented_reporters_of_one_account_set_no_category(talk: Talk) -> None:
    number = talk.number()
    case = talk.complete(number, category="fraud")
    for category in ("spam-call", "phishing"):
        many = [talk.new_report(number, category=category, reporter=f"{category}-{place}") for place in range(40)]
        talk.make("bank", "/v1/reports/bulk", {"reports": many})
    assert talk.case(case)["category"] == "fraud"
    talk.report(number, who="care", category="phishing")
    assert talk.case(case)["category"] == "phishing"
    assert talk.decide(case)["category"] == "phishing"


# Load


def _is_any_done(answers: list[Future[int]]) -> bool:
    return any(each.done() for each in answers)


HONEST_WAIT_S = 1.0
TRIES = 3
"""Other tests may keep the processors busy for a while."""


@pytest.mark.timing
def test_whoever_takes_all_it_can_keeps_no_other_waiting(lite: Talk) -> None:
    for turn in range(2):
        lite.make("web", "/v1/reports/bulk", bulk(lite, 1000, reporter=f"r{turn}"))
    for _ in range(TRIES):
        waits_s = _waits_beside_the_greedy(lite)
        if max(waits_s) <= HONEST_WAIT_S:
            break
    assert max(waits_s) <= HONEST_WAIT_S, waits_s
    assert SIZES["read"].share < SIZES["read"].places


def _waits_beside_the_greedy(lite: Talk) -> list[float]:
    """How long a reader and an officer wait while an account reads all it can, and then sends all it can."""
    case = lite.complete(who="bank")
    waits_s: list[float] = []

    def read(_: int) -> int:
        return lite.get("web", "/v1/reports?limit=500").status_code

    def send(_: int) -> int:
        return lite.post("web", "/v1/reports/bulk", bulk(lite, 300)).status_code

    with ThreadPoolExecutor(32) as pool:
        for greedy, count in ((read, 64), (send, 20)):
            answers = [pool.submit(greedy, place) for place in range(count)]
            until(partial(_is_any_done, answers))
            began = time.perf_counter()
            good(lite.get("bank", "/v1/reports"))
            waits_s.append(time.perf_counter() - began)
            began = time.perf_counter()
            if greedy is read:
                lite.decide(case, urgent=True)
            else:
                lite.decide(case, "retract")
            waits_s.append(time.perf_counter() - began)
            statuses = Counter(each.result() for each in answers)
            assert set(statuses) <= {200, 429, 503}, statuses
            assert statuses[200], "its quota was spent before, so it kept nobody waiting"
    return waits_s
