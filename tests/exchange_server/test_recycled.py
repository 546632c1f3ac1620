"""A recipient that says `recycled` unblocks so many numbers a day alone; what is more waits for an officer."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from blocklist_sdk.exchange_server.alarms import ALARMS
from support.talking import Talk, good, refused


def recycled(talk: Talk, cases: list[int], *, who: str = "telkomsel", feed: str = "id-telkomsel") -> None:
    receipts = [talk.receipt(talk.entry(case, feed), feed=feed, serial=1, outcome="recycled") for case in cases]
    assert {each["status"] for each in talk.answer_for(who, *receipts)} == {"accepted"}


def listed(talk: Talk, count: int) -> list[int]:
    cases = [talk.complete() for _ in range(count)]
    for case in cases:
        talk.decide(case, urgent=True)
    talk.publish()
    return cases


def states(talk: Talk, cases: list[int]) -> list[str]:
    return [talk.state(case) for case in cases]


def answer(talk: Talk, digest: str, *, confirm: bool = True, who: str = "anna") -> Any:
    body = {"digest": digest, "confirm": confirm, "reason": "asked the operator"}
    return talk.post(who, "/v1/receipts/recycled/answers", body)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [each.getMessage() for each in caplog.records if each.name == ALARMS]
    caplog.clear()
    return found


def test_what_is_more_than_a_day_may_bring_waits_for_one_command(
    start: Callable[..., Talk], database: str, caplog: pytest.LogCaptureFixture
) -> None:
    talk = start(database, min_recycled=2)
    cases = listed(talk, 6)
    good(talk.appeal(cases[3]))
    with caplog.at_level(logging.ERROR, logger=ALARMS):
        recycled(talk, cases[:4])
        assert states(talk, cases[:4]) == ["retracted"] * 2 + ["published", "appealed"]
        (alarm,) = said(caplog)
        assert "telkomsel says that more numbers were recycled than the 2 a day" in alarm
        recycled(talk, cases[4:5])
        assert said(caplog) == []  # it rings once for what waits
        talk.clock.forward(hours=24)
        talk.publish()
        talk.publish()
        (alarm,) = said(caplog)
        assert "3 numbers have waited for an officer for more than a day" in alarm
    (batch,) = talk.read("anna", "/v1/receipts/recycled")
    shown = {name: batch[name] for name in ("feed", "recipient", "is_home", "numbers", "bound")}
    assert shown == {"feed": "id-telkomsel", "recipient": "telkomsel", "is_home": True, "numbers": 3, "bound": 2}
    assert [each["case"] for each in batch["examples"]] == cases[2:5]
    refused(answer(talk, "0" * 64), 409, "conflict")
    made = good(answer(talk, batch["digest"]))
    assert made == {"feed": "id-telkomsel", "recipient": "telkomsel", "numbers": 3, "retracted": 3}
    assert states(talk, cases) == ["retracted"] * 5 + ["published"]
    assert talk.read("anna", "/v1/appeals")["items"][0]["state"] == "granted"
    decision = talk.case(cases[2])["decisions"][-1]
    assert (decision["officer"], decision["confirmed_by"]) == ("exchange", "anna")
    assert [each["event"] for each in talk.history(cases[2])][-2:] == ["recycled-confirmed", "retracted"]
    refused(answer(talk, batch["digest"]), 409, "conflict")
    assert talk.read("anna", "/v1/receipts/recycled") == []
    recycled(talk, cases[5:])  # the next day has a bound of its own
    assert states(talk, cases[5:]) == ["retracted"]


def test_a_batch_that_was_refused_does_not_pass_the_next_day(start: Callable[..., Talk]) -> None:
    talk = start(min_recycled=0)
    (case,) = listed(talk, 1)
    recycled(talk, [case])
    (batch,) = talk.read("anna", "/v1/receipts/recycled")
    assert good(answer(talk, batch["digest"], confirm=False))["retracted"] == 0
    assert (talk.state(case), talk.history(case)[-1]["event"]) == ("published", "recycled-refused")
    talk.decide(case, urgent=True, category="spam")
    serial = talk.publish()["id-telkomsel"]
    values = talk.exchange.settings.model_dump() | {"min_recycled": 50}
    object.__setattr__(talk.exchange, "settings", type(talk.exchange.settings).of(values))
    talk.answer_for("telkomsel", talk.receipt(talk.entry(case), serial=serial, outcome="recycled"))
    assert talk.state(case) == "published"
    assert len(talk.read("anna", "/v1/receipts/recycled")) == 1
    # One officer unblocks one number at once, and then nothing waits.
    talk.decide(case, "retract")
    assert talk.read("anna", "/v1/receipts/recycled") == []


def test_another_recipients_word_opens_no_more_appeals_than_the_bound(start: Callable[..., Talk]) -> None:
    talk = start(min_recycled=1, two_person=True)
    cases = [talk.complete() for _ in range(2)]
    for case in cases:
        good(talk.confirm(talk.decide(case, urgent=True)))
    talk.publish()
    recycled(talk, cases, who="messenger", feed="id-messaging")
    assert states(talk, cases) == ["appealed", "published"]
    (batch,) = talk.read("anna", "/v1/receipts/recycled")
    assert (batch["is_home"], batch["numbers"]) == (False, 1)
    header = talk.token("messenger", "officer")
    assert talk.request("GET", "/v1/receipts/recycled", headers=header).status_code == 403
