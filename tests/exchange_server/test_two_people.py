"""What blocks needs two people without a part in the case; what unblocks one number needs one, at once."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from blocklist_sdk.exchange_server.alarms import ALARMS
from support.talking import Talk, good, refused


@pytest.fixture
def pair(start: Callable[..., Talk]) -> Talk:
    """An exchange with two people, where `care` and `web` are officers too, and `eva` is nothing else."""
    return with_two(start())


def with_two(talk: Talk, **settings: Any) -> Talk:
    exchange = talk.exchange
    exchange.add_account("eva", ["officer"])
    for row in exchange.accounts():
        if row.name in ("care", "web"):
            exchange.change_scopes(row.name, [*row.scopes.split(), "officer"])
    values = exchange.settings.model_dump() | {"two_person": True, "retractions_share": 1.0} | settings
    object.__setattr__(exchange, "settings", type(exchange.settings).of(values))
    return talk


def listed(talk: Talk, *, who: tuple[str, str] = ("anna", "budi"), case: int | None = None, **fields: Any) -> int:
    """A published case that two officers decided on."""
    case = case or talk.complete(who="bank")
    good(talk.confirm(talk.decide(case, who=who[0], urgent=True, **fields), who=who[1]))
    talk.publish()
    return case


def as_officer(talk: Talk, who: str, path: str, body: Any = None) -> Any:
    """A request of an account that has the scope `officer` beside others."""
    header = talk.token(who, "officer", "report") | {"Idempotency-Key": f"{who} {path} {body}"[:120].replace(" ", "")}
    return talk.request("POST", path, json=body, headers=header)


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == ALARMS]


def test_the_account_that_reported_or_appealed_does_not_decide_what_blocks(pair: Talk) -> None:
    case = pair.complete(who="web")
    body = {"kind": "block", "reason": "x", "version": pair.version(case)}
    problem = refused(as_officer(pair, "web", f"/v1/cases/{case}/decisions", body), 409, "conflict")
    assert problem["detail"] == "your account reported the number: another officer has to do it"
    made = pair.decide(case)
    body = {"version": pair.version(case)}
    refused(as_officer(pair, "web", f"/v1/decisions/{made['id']}/confirmation", body), 409, "conflict")
    refused(pair.confirm(made, who="anna"), 409, "conflict")
    good(pair.confirm(made))
    pair.publish()
    good(pair.appeal(case, who="care"))
    body = {"kind": "block", "reason": "x", "version": pair.version(case)}
    assert "appealed" in refused(as_officer(pair, "care", f"/v1/cases/{case}/decisions", body), 409)["detail"]
    # It unblocks, and against what the account itself had reported.
    good(as_officer(pair, "web", f"/v1/cases/{case}/decisions", {"kind": "retract", "reason": "x"}))
    assert pair.state(case) == "retracted"
    later = pair.complete(who="bank")
    new = {"kind": "block", "reason": "x", "version": pair.version(later)}
    made = good(as_officer(pair, "web", f"/v1/cases/{later}/decisions", new))
    pair.report(pair.case(later)["number"], who="web")
    assert "web has reported the number since then" in refused(pair.confirm(made), 409)["detail"]
    mine = pair.complete(who="web")
    good(as_officer(pair, "web", f"/v1/cases/{mine}/decisions", {"kind": "reject", "reason": "x"}))


def test_nobody_answers_an_appeal_of_their_own_or_dismisses_one_against_their_decision(pair: Talk) -> None:
    case = listed(pair)
    appeal = good(pair.appeal(case, who="care"))
    for who in ("anna", "budi"):
        problem = refused(pair.answer(appeal, grant=False, who=who), 409, "conflict")
        assert "decided on the listing" in problem["detail"]
    for grant in (True, False):
        body = {"grant": grant, "reason": "x", "version": pair.version(case)}
        problem = refused(as_officer(pair, "care", f"/v1/appeals/{appeal['id']}/answer", body), 409, "conflict")
        assert "sent this appeal" in problem["detail"]
    # Nor does an account that reported the number, which would keep it blocked by itself.
    pair.report(pair.case(case)["number"], who="web")
    body = {"grant": False, "reason": "x", "version": pair.version(case)}
    problem = refused(as_officer(pair, "web", f"/v1/appeals/{appeal['id']}/answer", body), 409, "conflict")
    assert "reported the number" in problem["detail"]
    # Others have extended since: who decided what the appeal is against does not answer it for that.
    longer = pair.decide(case, who="eva")
    good(pair.confirm(longer, who="budi"))
    refused(pair.answer(appeal, grant=False, who="anna"), 409, "conflict")
    assert good(pair.answer(appeal, grant=True, who="anna"))["state"] == "granted"
    # A sender who is an officer unblocks at once by a retraction, and does not appear as who granted the appeal.
    other = listed(pair)
    appeal = good(pair.appeal(other, who="care"))
    good(as_officer(pair, "care", f"/v1/cases/{other}/decisions", {"kind": "retract", "reason": "x"}))
    granted = [each["actor"] for each in pair.history(other) if each["event"] == "granted"]
    assert (pair.state(other), granted) == ("retracted", ["exchange"])


def test_one_person_exchanges_have_nobody_else_to_ask(lite: Talk) -> None:
    case = lite.listed()
    appeal = good(lite.appeal(case))
    assert good(lite.answer(appeal, grant=False))["state"] == "dismissed"


def test_an_officer_retracts_so_many_numbers_a_day_alone_and_then_one_now_and_then(
    pair: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    with_two_limits(pair, retractions_alone=2)
    cases = [listed(pair) for _ in range(6)]
    with caplog.at_level(logging.ERROR, logger=ALARMS):
        assert [pair.decide(case, "retract")["state"] for case in cases[:3]] == ["effective", "effective", "proposed"]
    (said,) = alarms(caplog)
    assert "anna has retracted 2 numbers alone in a day" in said
    assert "waits for a second officer" in said
    assert pair.state(cases[2]) == "published"
    refused(pair.try_to_decide(cases[2], "retract"), 409, "conflict")
    # An appeal that is granted counts too.
    appeal = good(pair.appeal(cases[3]))
    waits = good(pair.answer(appeal, grant=True))
    assert (waits["state"], waits["proposed"] is not None, pair.state(cases[3])) == ("open", True, "appealed")
    # A second officer lets it through, or retracts by himself: nobody has used up his bound.
    good(pair.post("budi", f"/v1/decisions/{waits['proposed']}/confirmation"))
    assert pair.read("web", f"/v1/appeals/{appeal['id']}")["state"] == "granted"
    pair.decide(cases[2], "retract", who="budi")
    assert [pair.state(case) for case in cases[2:4]] == ["retracted", "retracted"]
    # One number at once, whatever the bound says; not a list.
    pair.clock.forward(minutes=15)
    with caplog.at_level(logging.ERROR, logger=ALARMS):
        assert pair.decide(cases[4], "retract")["state"] == "effective"
    assert "was retracted at once" in alarms(caplog)[-1]
    proposed = pair.decide(cases[5], "retract")
    assert proposed["state"] == "proposed"
    refused(pair.post("anna", f"/v1/decisions/{proposed['id']}/confirmation"), 409, "conflict")
    # What is only proposed to be unblocked keeps no one from unblocking it.
    pair.clock.forward(days=1, seconds=1)
    assert pair.decide(cases[5], "retract")["state"] == "effective"


def with_two_limits(talk: Talk, **settings: Any) -> None:
    values = talk.exchange.settings.model_dump() | settings
    object.__setattr__(talk.exchange, "settings", type(talk.exchange.settings).of(values))


def test_a_share_of_the_list_is_a_bound_as_well_and_one_number_always_passes(pair: Talk) -> None:
    with_two_limits(pair, retractions_share=0.1)
    cases = [listed(pair) for _ in range(2)]
    assert [pair.decide(case, "retract")["state"] for case in cases] == ["effective", "proposed"]


def test_many_retractions_at_one_moment_are_counted_one_by_one(
    start: Callable[..., Talk], new_postgres: Callable[[], str]
) -> None:
    talk = with_two(start(new_postgres()), retractions_alone=2)
    cases = [listed(talk) for _ in range(6)]
    body = {"kind": "retract", "reason": "x"}
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda case: good(talk.post("anna", f"/v1/cases/{case}/decisions", body)), cases))
    assert sorted(each["state"] for each in made) == ["effective"] * 2 + ["proposed"] * 4


def test_of_eight_officers_who_decide_at_one_moment_one_does(talk: Talk) -> None:
    case = talk.complete()
    body = {"kind": "block", "reason": "x", "version": talk.version(case)}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda who: talk.post(who, f"/v1/cases/{case}/decisions", body), ("anna", "budi") * 4))
    assert sorted(each.status_code for each in answers) == [201] + [409] * 7
    assert len(talk.case(case)["decisions"]) == 1
    detail = refused(talk.post("anna", f"/v1/cases/{case}/decisions", body), 409, "conflict")["detail"]
    assert f"you looked at version {body['version']}, it has version {talk.version(case)} now" in detail


def test_what_blocks_says_which_version_was_looked_at_and_a_retraction_need_not(pair: Talk) -> None:
    case = pair.complete(who="bank")
    for kind in ("block", "advisory"):
        problem = refused(pair.post("anna", f"/v1/cases/{case}/decisions", {"kind": kind, "reason": "x"}), 422)
        assert problem["errors"][0]["field"] == "body.version"
    made = pair.decide(case, urgent=True)
    refused(pair.post("budi", f"/v1/decisions/{made['id']}/confirmation"), 422, "invalid")
    pair.report(pair.case(case)["number"], reporter="another")  # the case is not what was proposed on
    stale = {"version": pair.version(case) - 1}
    refused(pair.post("budi", f"/v1/decisions/{made['id']}/confirmation", stale), 409, "conflict")
    good(pair.confirm(made))
    appeal = good(pair.appeal(case))
    refused(pair.post("eva", f"/v1/appeals/{appeal['id']}/answer", {"grant": False, "reason": "x"}), 422, "invalid")
    before = pair.version(case) - 1
    refused(pair.answer(appeal, grant=True, who="eva", version=before), 409, "conflict")
    good(pair.post("eva", f"/v1/appeals/{appeal['id']}/answer", {"grant": True, "reason": "x"}))
    assert pair.state(case) == "retracted"


# Appeals veto nothing


def test_an_appeal_stops_no_extension_and_is_not_granted_by_silence_then(pair: Talk) -> None:
    end = pair.clock() + timedelta(days=1)
    case = listed(pair, until=end.isoformat())
    appeal = good(pair.appeal(case))
    longer = pair.decide(case, until=(end + timedelta(days=9)).isoformat(), urgent=True)
    good(pair.confirm(longer))
    assert pair.state(case) == "appealed"
    pair.clock.forward(days=2)
    pair.publish()
    assert pair.state(case) == "appealed"
    assert pair.read("web", f"/v1/appeals/{appeal['id']}")["state"] == "open"
    good(pair.answer(appeal, grant=False, who="eva"))
    assert pair.state(case) == "published"
    later = good(pair.appeal(case, who="care"))
    pair.clock.forward(days=9)
    pair.publish()
    assert pair.state(case) == "retracted"
    assert pair.read("care", f"/v1/appeals/{later['id']}")["reason"] == "the listing has ended"


def test_what_is_proposed_on_a_case_that_ends_is_withdrawn(pair: Talk) -> None:
    case = listed(pair, until=(pair.clock() + timedelta(days=1)).isoformat())
    proposed = pair.decide(case, until=(pair.clock() + timedelta(days=9)).isoformat())
    pair.clock.forward(days=2)
    pair.publish()
    assert (pair.state(case), pair.case(case)["decisions"][-1]["state"]) == ("retracted", "withdrawn")
    refused(pair.confirm(proposed), 409, "conflict")


def test_an_account_has_one_appeal_against_a_decision(talk: Talk) -> None:
    case = talk.listed()
    first = good(talk.appeal(case))
    problem = refused(talk.appeal(case, appellant="somebody else"), 409, "conflict")
    assert f"appeal {first['id']} of this account is open" in problem["detail"]
    good(talk.appeal(case, who="bank"))
    good(talk.answer(first, grant=False))
    assert "was dismissed" in refused(talk.appeal(case), 409, "conflict")["detail"]
    talk.decide(case, urgent=True)
    again = good(talk.appeal(case))
    good(talk.answer(again, grant=False))
    talk.clock.forward(days=60)  # by then the number may be somebody else's
    assert good(talk.appeal(case))["state"] == "open"


def test_an_account_has_so_many_open_appeals(start: Callable[..., Talk]) -> None:
    talk = start(open_appeals=1)
    cases = [talk.listed(), talk.listed()]
    good(talk.appeal(cases[0]))
    assert "has 1 open appeal:" in refused(talk.appeal(cases[1]), 409, "conflict")["detail"]
    good(talk.appeal(cases[1], who="bank"))
