"""Cases: where one may go, who decides, in which order they come, and a history that cannot be changed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from blocklist_sdk.exchange.models import CaseState
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.tables import CaseRow
from blocklist_sdk.exchange_server.store.trail import Act
from support.talking import Talk, good, refused

ALLOWED = {
    ("incomplete", "received"),
    ("incomplete", "rejected"),
    ("received", "verifying"),
    ("received", "decided"),
    ("received", "rejected"),
    ("verifying", "decided"),
    ("verifying", "rejected"),
    ("decided", "decided"),
    ("decided", "published"),
    ("decided", "appealed"),
    ("decided", "retracted"),
    ("published", "decided"),
    ("published", "enforced"),
    ("published", "appealed"),
    ("published", "retracted"),
    ("enforced", "decided"),
    ("enforced", "appealed"),
    ("enforced", "retracted"),
    ("appealed", "decided"),
    ("appealed", "published"),
    ("appealed", "enforced"),
    ("appealed", "retracted"),
}
"""Written from the documentation, not from the code."""


def test_a_case_goes_where_it_may_and_nowhere_else(lite: Talk) -> None:
    with lite.exchange.database.writing(by=Act("command line", "prepared")) as session:
        case = CaseRow(number=lite.number(), state="incomplete", opened_at=lite.clock(), events=0, head="")
        session.add(case)
        session.flush()
        for start in CaseState:
            for stop in CaseState:
                case.state, case.closed_at = start, None
                went = True
                try:
                    cases.move_case(session, case, stop, now=lite.clock(), actor="x", event="moved")
                except Refusal:
                    went = False
                assert went is ((start, stop) in ALLOWED), (start, stop)
                assert (case.closed_at is not None) is (went and stop in ("retracted", "rejected"))


def brought(talk: Talk, state: str, count: int) -> list[int]:
    """Cases in each state, brought there by requests."""
    if state == "incomplete":
        return [int(talk.report()["case"]) for _ in range(count)]
    cases = [talk.complete() for _ in range(count)]
    for case in cases:
        if state == "verifying":
            talk.make("anna", f"/v1/cases/{case}/verification")
        if state == "rejected":
            talk.decide(case, "reject")
        if state in ("decided", "published", "enforced", "appealed", "retracted"):
            talk.decide(case, scope=["sms"], urgent=True)
    serial = talk.publish()["id-telkomsel"] if state in ("published", "enforced", "appealed") else 0
    for case in cases:
        if state == "enforced":
            talk.answer_for("telkomsel", talk.receipt(talk.entry(case), serial=serial))
        if state == "appealed":
            number = talk.case(case)["number"]
            talk.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": "mine", "appellant": "p"})
        if state == "retracted":
            talk.decide(case, "retract")
        assert talk.state(case) == state
    return cases


UNDECIDED, LISTED = {"received", "verifying"}, {"decided", "published", "enforced"}
TO_DO: dict[str, tuple[set[str], str]] = {
    "verification": (UNDECIDED, "verifying"),
    "block": (UNDECIDED | LISTED | {"appealed"}, "decided"),
    "advisory": (UNDECIDED | LISTED | {"appealed"}, "decided"),
    "reject": (UNDECIDED | {"incomplete"}, "rejected"),
    "retract": (LISTED | {"appealed"}, "retracted"),
}


def test_officers_do_in_each_state_what_may_be_done_there(lite: Talk) -> None:
    lite.publish()  # the month's cycle, so that nothing goes out by itself
    for state in CaseState:
        for case, (what, (where, after)) in zip(brought(lite, state, len(TO_DO)), TO_DO.items(), strict=True):
            events = len(lite.history(case))
            if what == "verification":
                answer = lite.post("anna", f"/v1/cases/{case}/verification")
            else:
                answer = lite.try_to_decide(case, what)
            if state in where:
                good(answer)
                is_kept = state == "appealed" and after == "decided"  # until the appeal is answered
                assert lite.state(case) == ("appealed" if is_kept else after), (state, what)
            else:
                refused(answer, 409, "conflict")
                assert (lite.state(case), len(lite.history(case))) == (state, events)


def test_what_is_reported_after_a_case_is_closed_is_a_new_case(talk: Talk) -> None:
    number = talk.number()
    first = talk.complete(number)
    talk.decide(first, "reject")
    second = talk.report(number)
    assert second["case"] != first
    assert second["repeats"] is None
    found = talk.read("anna", f"/v1/cases?number=%2B{number}")["items"]
    assert {each["id"]: each["state"] for each in found} == {first: "rejected", second["case"]: "incomplete"}


# Decisions


def test_a_decision_says_what_was_decided_and_until_when(talk: Talk) -> None:
    case = talk.complete(category="phishing")
    made = talk.decide(case)
    assert made["category"] == "phishing"
    assert made["until"] == (talk.clock() + timedelta(days=180)).isoformat().replace("+00:00", "Z")
    assert made["scope"] == ["data", "messaging", "sms", "voice"]
    assert (made["state"], made["officer"], made["confirmed_by"]) == ("effective", "anna", None)
    until = (talk.clock() + timedelta(days=7)).isoformat()
    again = talk.decide(case, "advisory", until=until, category="spam", scope=["sms", "sms"])
    assert (again["category"], again["scope"]) == ("spam", ["sms"])
    assert [each["kind"] for each in talk.case(case)["decisions"]] == ["block", "advisory"]
    listings = talk.case(case)["listings"]
    assert {each["feed"]: each["retracted_at"] is None for each in listings} == {
        "id-telkomsel": True,
        "id-messaging": False,
        "id-all": True,
    }
    assert {each["level"] for each in listings if not each["retracted_at"]} == {"advisory"}


def test_what_cannot_be_decided_is_refused(lite: Talk) -> None:
    case = lite.complete()
    past = lite.clock().isoformat()
    assert refused(lite.try_to_decide(case, until=past), 422)["errors"]
    refused(lite.try_to_decide(case, scope=[]), 422)
    refused(lite.try_to_decide(case, reason=""), 422)
    body = {"kind": "block", "reason": "x", "version": 1}
    refused(lite.post("anna", "/v1/cases/999/decisions", body), 404, "not-found")
    refused(lite.post("anna", "/v1/decisions/999/confirmation"), 404, "not-found")
    assert lite.case(case)["decisions"] == []


def test_protected_numbers_cannot_be_decided_on(talk: Talk) -> None:
    number = talk.number()
    case = talk.complete(number)
    talk.exchange.publisher.protect([f"+{number}"])
    refused(talk.try_to_decide(case), 409, "conflict")
    refused(talk.try_to_decide(case, "advisory"), 409, "conflict")
    assert talk.decide(case, "reject")["state"] == "effective"


def test_under_the_two_person_rule_another_officer_confirms(start: Any, database: str) -> None:
    talk = start(database, two_person=True)
    case = talk.complete()
    made = talk.decide(case)
    assert (made["state"], talk.state(case), talk.case(case)["listings"]) == ("proposed", "verifying", [])
    path = f"/v1/decisions/{made['id']}"
    refused(talk.confirm(made, who="anna"), 409, "conflict")
    refused(talk.try_to_decide(case, who="budi"), 409, "conflict")
    confirmed = good(talk.confirm(made))
    assert (confirmed["state"], confirmed["confirmed_by"], talk.state(case)) == ("effective", "budi", "decided")
    refused(talk.confirm(made), 409, "conflict")
    refused(talk.post("anna", f"{path}/withdrawal"), 409, "conflict")


def test_a_proposal_may_be_withdrawn(start: Any, database: str) -> None:
    talk = start(database, two_person=True)
    case = talk.complete()
    made = talk.decide(case)
    assert talk.make("anna", f"/v1/decisions/{made['id']}/withdrawal")["state"] == "withdrawn"
    refused(talk.confirm(made), 409, "conflict")
    assert talk.decide(case, who="budi")["state"] == "proposed"
    assert talk.decide(talk.complete(), "reject")["state"] == "effective"  # it lists nothing


def test_what_has_changed_since_a_proposal_stops_it(start: Any, database: str) -> None:
    talk = start(database, two_person=True)
    number = talk.number()
    case = talk.complete(number)
    first = talk.decide(case, urgent=True)
    good(talk.confirm(first))
    talk.publish()
    wider = talk.decide(case, "advisory")
    seen = {"version": talk.version(case)}
    talk.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": "mine", "appellant": "p"})
    stale = refused(talk.post("budi", f"/v1/decisions/{wider['id']}/confirmation", seen), 409, "conflict")
    assert f"has version {talk.version(case)} now" in stale["detail"]
    assert talk.state(case) == "appealed"
    talk.decide(case, "retract", who="budi")
    assert [each["state"] for each in talk.case(case)["decisions"]] == ["effective", "withdrawn", "effective"]
    withdrawn = next(each for each in talk.history(case) if each["event"] == "withdrawn")
    assert (withdrawn["actor"], withdrawn["detail"]) == ("budi", {"decision": wider["id"]})
    other = talk.number()
    case = talk.complete(other)
    made = talk.decide(case)
    talk.exchange.publisher.protect([f"+{other}"])
    refused(talk.confirm(made), 409, "conflict")


def test_taking_a_case_up_again_does_nothing_and_another_officer_takes_it_over(talk: Talk) -> None:
    case = talk.complete()
    for who in ("anna", "anna", "budi"):
        assert talk.make(who, f"/v1/cases/{case}/verification")["officer"] == who
    assert [each["event"] for each in talk.history(case)][-2:] == ["verifying", "taken-over"]


# Order and lateness


def test_a_case_is_overdue_after_24_hours_and_not_at_them(talk: Talk) -> None:
    case = talk.complete()
    incomplete = talk.report()["case"]
    late = "/v1/cases?overdue=true"
    talk.clock.forward(hours=24)
    assert (talk.case(case)["overdue"], talk.read("anna", late)["items"]) == (False, [])
    talk.clock.forward(seconds=1)
    assert talk.case(case)["overdue"]
    assert [each["id"] for each in talk.read("anna", late)["items"]] == [case]
    assert not talk.case(incomplete)["overdue"]
    assert talk.read("anna", "/v1/statistics/2026-11")["overdue"] == 1
    talk.decide(case)
    assert talk.read("anna", late)["items"] == []
    assert not talk.case(case)["overdue"]


def pages(talk: Talk, path: str, *, limit: int) -> list[int]:
    found: list[int] = []
    cursor = ""
    while True:
        page = talk.read("anna", f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}")
        assert len(page["items"]) <= limit
        found += [each["id"] for each in page["items"]]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


def test_appealed_cases_come_first_then_those_complete_for_longest(talk: Talk) -> None:
    talk.publish()
    reports = []
    for index in range(6):
        reports.append(talk.report(reporter=f"r{index}"))
        talk.clock.forward(minutes=1)
    for report in reversed(reports[:5]):  # complete in another order than opened
        talk.attach(report["id"])
        talk.clock.forward(minutes=1)
    ids = [each["case"] for each in reports]
    appealed = ids[1]
    talk.decide(appealed)
    number = talk.case(appealed)["number"]
    talk.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": "mine", "appellant": "p"})
    expected = [appealed, ids[5], ids[4], ids[3], ids[2], ids[0]]
    for limit in (1, 2, 3, 6, 100):
        assert pages(talk, "/v1/cases", limit=limit) == expected
    assert pages(talk, "/v1/cases?state=received", limit=2) == [ids[4], ids[3], ids[2], ids[0]]


def test_pages_stay_whole_while_cases_are_added(talk: Talk) -> None:
    ids = [talk.complete() for _ in range(5)]
    first = talk.read("anna", "/v1/cases?limit=2")
    later = talk.complete()
    rest = talk.read("anna", "/v1/cases", params={"limit": "500", "cursor": first["next"]})
    assert [each["id"] for page in (first, rest) for each in page["items"]] == [*ids, later]


def test_cursors_that_nobody_gave_out_are_refused(lite: Talk) -> None:
    for path in ("/v1/cases", "/v1/reports", "/v1/receipts", "/v1/appeals"):
        who = "web" if path == "/v1/reports" else "anna"
        for cursor in ("x", "", "W10", "WzEsMiwzXQ", "WyJhIl0", "bnVsbA", "WzFlOTld", "W" * 200, "é", "%00"):
            answer = lite.get(who, path, params={"cursor": cursor})
            refused(answer, 404 if answer.status_code == 404 else 422)
        refused(lite.get(who, path, params={"limit": 0}), 422)
        refused(lite.get(who, path, params={"limit": 501}), 422)


# History


def test_every_step_stands_in_the_history(talk: Talk) -> None:
    (case,) = brought(talk, "appealed", 1)
    events = talk.history(case)
    assert [each["sequence"] for each in events] == list(range(1, len(events) + 1))
    assert [each["event"] for each in events] == [
        "opened",
        "reported",
        "evidence",
        "complete",
        "decided",
        "listed",
        "listed",
        "published",
        "appealed",
    ]
    assert [each["actor"] for each in events][4:6] == ["anna", "exchange"]
    before = ""
    for each in events:
        at = datetime.fromisoformat(each["at"])
        before = cases.line_hash(before, case, each["sequence"], at, each["actor"], each["event"], each["detail"])
        assert each["hash"] == before


def run(database: Database, statement: str) -> None:
    with database.writing() as session:
        session.execute(text(statement))


FORBIDDEN = (
    "UPDATE history SET actor = 'another' WHERE sequence = 2",
    "DELETE FROM history WHERE sequence = 2",
    "UPDATE history SET hash = hash",
)


def test_the_database_itself_keeps_the_history(talk: Talk) -> None:
    case = talk.complete()
    events = talk.history(case)
    more = () if talk.exchange.settings.database.startswith("sqlite") else ("TRUNCATE history",)
    for statement in (*FORBIDDEN, *more):
        with pytest.raises(Exception, match="the database failed") as caught:
            run(talk.exchange.database, statement)
        assert isinstance(caught.value.__cause__, DBAPIError)
        assert "can only be added to" in str(caught.value.__cause__)
    assert talk.history(case) == events


DROP = {
    "sqlite": ("DROP TRIGGER history_no_update", "DROP TRIGGER history_no_delete"),
    "postgresql": ("DROP TRIGGER history_is_kept ON history",),
}
TAMPERED: dict[str, tuple[str, int]] = {
    "an actor": ("UPDATE history SET actor = 'another' WHERE case_id = {} AND sequence = 3", 3),
    "a moment": ("UPDATE history SET at = '2026-11-01 00:00:00' WHERE case_id = {} AND sequence = 2", 2),
    "a detail": ("UPDATE history SET detail = '{{}}' WHERE case_id = {} AND sequence = 2", 2),
    "a line gone": ("DELETE FROM history WHERE case_id = {} AND sequence = 2", 2),
    "the last line gone": ("DELETE FROM history WHERE case_id = {} AND sequence = 4", 4),
}


def test_whoever_gets_round_the_database_breaks_the_chain(start: Callable[..., Talk], database: str) -> None:
    talk = start(database)
    for statement in DROP["sqlite" if database.startswith("sqlite") else "postgresql"]:
        run(talk.exchange.database, statement)
    for name, (statement, broken) in TAMPERED.items():
        case = talk.complete()
        assert first_broken(talk, case) is None
        run(talk.exchange.database, statement.format(case))
        assert first_broken(talk, case) == broken, name


def first_broken(talk: Talk, case: int) -> int | None:
    with talk.exchange.database.reading() as session:
        return cases.first_broken_line(session, session.get_one(CaseRow, case))
