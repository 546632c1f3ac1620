"""Receipts: one result for each, none counted twice, and a case is enforced after the last one."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from blocklist_sdk.exchange_server.casework.accounts import disable_account
from blocklist_sdk.exchange_server.http.places import SIZES
from blocklist_sdk.exchange_server.store.database import add_all
from blocklist_sdk.exchange_server.store.tables import AccountRow, CaseRow, FeedRow, ListingRow
from blocklist_sdk.exchange_server.store.trail import Act
from support.talking import START, Talk, good, refused


def test_each_receipt_is_answered_by_itself(talk: Talk) -> None:
    talk.listed()
    later = (talk.clock() + timedelta(hours=1)).isoformat()
    items = talk.answer_for(
        "telkomsel",
        talk.receipt(1),
        talk.receipt(1),
        talk.receipt(1, detail="in another switch"),
        talk.receipt(1, outcome="failed"),
        talk.receipt(1, feed="id-messaging"),
        talk.receipt(1, feed="no-such-feed"),
        talk.receipt(2),
        talk.receipt(1, serial=2),
        talk.receipt(1, outcome="not-ours", at=later),
    )
    assert [each["index"] for each in items] == list(range(9))
    assert [(each["status"], each["reason"]) for each in items] == [
        ("accepted", None),
        ("repeated", None),
        ("repeated", None),
        ("accepted", None),
        ("refused", "this account may not send receipts for the feed"),
        ("refused", "this account may not send receipts for the feed"),
        ("refused", "the feed has never had this entry"),
        ("refused", "the release with this serial did not have the entry"),
        ("refused", "`at` must not be in the future"),
    ]
    assert [each["status"] for each in talk.answer_for("telkomsel", talk.receipt(1))] == ["repeated"]
    kept = talk.read("telkomsel", "/v1/receipts")["items"]
    assert [(each["recipient"], each["outcome"]) for each in kept] == [
        ("telkomsel", "enforced"),
        ("telkomsel", "failed"),
    ]


def test_receipts_from_before_the_entry_was_listed_are_refused(talk: Talk) -> None:
    case = talk.complete()
    talk.decide(case)
    decided = talk.clock()
    talk.clock.forward(hours=1)
    talk.publish(everything=True)
    early = decided - timedelta(minutes=5)
    moments = (f"{early - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}", "1970-01-01T00:00:00Z", early.isoformat())
    items = talk.answer_for("telkomsel", *(talk.receipt(at=at) for at in moments))
    assert [(each["status"], each["reason"]) for each in items] == [
        ("refused", "`at` must not be before the entry's `since`"),
        ("refused", "`at` must not be before the entry's `since`"),
        ("accepted", None),
    ]
    talk.decide(case, "advisory", scope=["sms"], urgent=True)  # the same entry, decided anew, has its first beginning
    talk.publish()
    (item,) = talk.answer_for("telkomsel", talk.receipt(at=decided.isoformat(), outcome="failed"))
    assert item["status"] == "accepted"


def test_recipients_see_their_own_receipts_and_officers_all(talk: Talk) -> None:
    talk.listed()
    talk.answer_for("telkomsel", talk.receipt())
    talk.answer_for("messenger", talk.receipt(feed="id-messaging"))
    for who, expected in (("telkomsel", ["telkomsel"]), ("indosat", []), ("anna", ["telkomsel", "messenger"])):
        assert [each["recipient"] for each in talk.read(who, "/v1/receipts")["items"]] == expected
    for query, expected in (("feed=id-messaging", ["messenger"]), ("entry=1&limit=500", ["telkomsel", "messenger"])):
        assert [each["recipient"] for each in talk.read("anna", f"/v1/receipts?{query}")["items"]] == expected
    assert talk.read("anna", "/v1/receipts?entry=2")["items"] == []


def test_a_case_is_enforced_when_every_recipient_concerned_has_answered(talk: Talk) -> None:
    case = talk.listed()
    assert talk.state(case) == "published"
    talk.answer_for("telkomsel", talk.receipt(outcome="failed"))
    talk.answer_for("messenger", talk.receipt(feed="id-messaging", outcome="refused"))
    assert talk.state(case) == "published"  # who failed tries again
    talk.clock.forward(minutes=5)
    talk.answer_for("telkomsel", talk.receipt(outcome="enforced"))
    found = talk.case(case)
    assert (found["state"], found["enforced_at"]) == (
        "enforced",
        talk.clock().isoformat().replace("+00:00", "Z"),
    )
    assert [each["event"] for each in talk.history(case)].count("receipt") == 3


def test_who_answers_for_nothing_any_more_stands_in_for_nobody(talk: Talk) -> None:
    number = talk.number()
    case = talk.listed(number, scope=["sms"])
    talk.answer_for("telkomsel", talk.receipt())
    assert talk.state(case) == "enforced"
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        session.add(AccountRow(name="heir", scopes="feed:id-telkomsel receipt", created_at=START))
        disable_account(session, "telkomsel", talk.clock())
    made = talk.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": "mine", "appellant": "p"})
    good(talk.answer(made, grant=False))
    assert talk.state(case) == "published"
    header = talk.token("heir", "receipt", "feed:id-telkomsel") | {"Idempotency-Key": "heir"}
    talk.request("POST", "/v1/receipts", json={"receipts": [talk.receipt()]}, headers=header).raise_for_status()
    assert talk.state(case) == "enforced"


def test_a_number_that_its_home_operator_calls_recycled_is_retracted_by_itself(talk: Talk) -> None:
    number = talk.number()
    case = talk.listed(number)
    talk.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": "mine", "appellant": "p"})
    talk.answer_for("telkomsel", talk.receipt(outcome="recycled"))
    found = talk.case(case)
    assert found["state"] == "retracted"
    assert (found["decisions"][-1]["kind"], found["decisions"][-1]["officer"]) == ("retract", "exchange")
    assert "telkomsel" in found["decisions"][-1]["reason"]
    assert talk.read("web", "/v1/appeals/1")["state"] == "granted"
    assert set(talk.publish()) == {"id-all", "id-messaging", "id-telkomsel"}
    talk.answer_for("messenger", talk.receipt(feed="id-messaging", serial=2, outcome="recycled"))
    assert len(talk.case(case)["decisions"]) == 2


def test_a_number_that_another_recipient_calls_recycled_is_one_appeal_for_an_officer(talk: Talk) -> None:
    case = talk.listed()
    recycled = talk.receipt(feed="id-messaging", outcome="recycled")
    talk.answer_for("messenger", recycled)
    talk.answer_for("messenger", talk.receipt(feed="id-messaging", outcome="refused"), recycled)
    assert talk.state(case) == "appealed"
    assert talk.publish() == {}
    (made,) = talk.read("anna", "/v1/appeals?state=open")["items"]
    assert (made["case"], made["appellant"]) == (case, "messenger")
    assert made["grounds"].startswith("according to messenger the number belongs to another subscriber now: feed id-me")
    assert talk.read("anna", "/v1/cases")["items"][0]["id"] == case
    good(talk.answer(made, grant=False, reason="the operator says no"))
    assert talk.state(case) == "published"
    talk.answer_for("messenger", recycled)  # repeated
    assert talk.state(case) == "published"


def test_the_home_operators_word_settles_what_others_have_said(talk: Talk) -> None:
    case = talk.listed()
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        session.add(AccountRow(name="both", scopes="feed:id-messaging feed:id-telkomsel receipt", created_at=START))
    talk.answer_for("messenger", talk.receipt(feed="id-messaging", outcome="recycled"))
    header = talk.token("both", "receipt", "feed:id-telkomsel", "feed:id-messaging") | {"Idempotency-Key": "both"}
    batch = [talk.receipt(feed=feed, outcome="recycled") for feed in ("id-telkomsel", "id-messaging")]
    talk.request("POST", "/v1/receipts", json={"receipts": batch}, headers=header).raise_for_status()
    assert talk.state(case) == "retracted"
    assert [each["state"] for each in talk.read("anna", "/v1/appeals")["items"]] == ["granted"]


def test_a_month_keeps_the_figures_of_a_recipient_that_was_closed_since(talk: Talk) -> None:
    talk.listed()
    talk.answer_for("telkomsel", talk.receipt())
    before = talk.read("anna", "/v1/statistics/2026-11")
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        disable_account(session, "telkomsel", talk.clock())
        disable_account(session, "indosat", talk.clock())
    after = talk.read("anna", "/v1/statistics/2026-11")
    assert after == before | {"recipients": [each for each in before["recipients"] if each["recipient"] != "indosat"]}
    assert {"recipient": "telkomsel", "receipts": {"enforced": 1}}.items() <= after["recipients"][-1].items()


def test_receipts_for_what_is_lifted_are_taken_too(talk: Talk) -> None:
    case = talk.listed()
    talk.decide(case, "retract")
    serial = talk.publish()["id-telkomsel"]
    items = talk.answer_for("telkomsel", talk.receipt(serial=serial, outcome="reversed"), talk.receipt(serial=1))
    assert [each["status"] for each in items] == ["accepted", "accepted"]


def seeded(talk: Talk, count: int) -> int:
    """So many listings on one feed, as if they were published, each with its own case."""
    at = talk.clock()
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        case = {"state": "published", "opened_at": at, "published_at": at, "events": 0, "head": ""}
        add_all(session, CaseRow, [{"number": talk.number()} | case for _ in range(count)])
        rows = session.execute(select(CaseRow.id, CaseRow.number).order_by(CaseRow.id)).all()
        listing = {"feed": "id-telkomsel", "level": "block", "category": "fraud", "scope": "sms", "since": at}
        listing |= {"urgent": True, "waiting": False, "listed_serial": 1, "listed_at": at}
        add_all(
            session,
            ListingRow,
            [{"case_id": row.id, "number": row.number, "entry": i} | listing for i, row in enumerate(rows, 1)],
        )
        session.add(FeedRow(name="id-telkomsel", last_entry=count, begun=1, serial=1, rows=count, published_at=at))
    return count


def test_five_thousand_receipts_are_one_batch(talk: Talk) -> None:
    count = seeded(talk, 5000)
    receipts = [talk.receipt(entry) for entry in range(1, count + 1)]
    items = talk.answer_for("telkomsel", *receipts)
    assert {each["status"] for each in items} == {"accepted"}
    assert {each["status"] for each in talk.answer_for("telkomsel", *receipts)} == {"repeated"}
    with talk.exchange.database.reading() as session:
        assert set(session.scalars(select(CaseRow.state))) == {"enforced"}
    refused(talk.post("telkomsel", "/v1/receipts", {"receipts": [*receipts, receipts[0]]}), 422, "invalid")
    refused(talk.post("telkomsel", "/v1/receipts", {"receipts": []}), 422, "invalid")


def test_batches_that_come_at_once_count_once(talk: Talk) -> None:
    count = seeded(talk, 50)
    receipts = [talk.receipt(entry) for entry in range(1, count + 1)]
    with ThreadPoolExecutor(SIZES["receipt"].share) as pool:
        answers = list(pool.map(lambda some: talk.answer_for("telkomsel", *some), [receipts, receipts[::-1]] * 2))
    counts = [[each["status"] for each in items].count("accepted") for items in answers]
    assert sum(counts) == count
    assert len(talk.read("telkomsel", "/v1/receipts?limit=500")["items"]) == count


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("serial", 0),
        ("serial", 1 << 53),
        ("entry", 1 << 53),
        ("entry", -1),
        ("entry", "1e3"),
        ("outcome", "blocked"),
        ("at", "yesterday"),
    ],
    ids=str,
)
def test_receipts_that_cannot_be_read_are_refused(lite: Talk, field: str, value: Any) -> None:
    problem = refused(lite.post("telkomsel", "/v1/receipts", {"receipts": [lite.receipt() | {field: value}]}), 422)
    assert problem["errors"][0]["field"] == f"body.receipts.0.{field}"
