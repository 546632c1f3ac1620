"""Appeals: officers see them first, and a granted one shows who has lifted the block."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from support.evidence_files import png_of
from support.talking import Talk, good, refused


def appeal(talk: Talk, case: int, *, who: str = "web", **fields: Any) -> Any:
    return good(talk.appeal(case, who=who, **fields))


def answer(talk: Talk, made: Any, *, grant: bool, who: str = "anna") -> Any:
    return good(talk.answer(made, grant=grant, who=who))


def test_an_appeal_names_a_number_or_an_entry(talk: Talk) -> None:
    case = talk.listed()
    by_number = appeal(talk, case)
    by_entry = talk.make(
        "care", "/v1/appeals", {"feed": "id-telkomsel", "entry": 1, "grounds": "mine", "appellant": "p"}
    )
    assert (by_number["case"], by_entry["case"], by_entry["state"]) == (None, case, "open")
    assert talk.read("anna", f"/v1/appeals/{by_number['id']}")["case"] == case
    assert talk.state(case) == "appealed"
    assert [each["event"] for each in talk.history(case)][-2:] == ["appealed", "appealed"]


def test_an_appeal_names_something_that_can_be_listed(talk: Talk) -> None:
    body = {"number": f"+{talk.number()}", "grounds": "x", "appellant": "p"}
    entry = {"feed": "id-telkomsel", "entry": 7, "grounds": "x", "appellant": "p"}
    refused(talk.post("care", "/v1/appeals", entry), 409, "conflict")
    refused(talk.post("web", "/v1/appeals", body | {"number": "110"}), 422, "invalid")
    for wrong in ({"entry": 1}, {"feed": "id-all"}, {"number": "+6281234567890", "feed": "id-all", "entry": 1}, {}):
        refused(talk.post("web", "/v1/appeals", {"grounds": "x", "appellant": "p"} | wrong), 422, "invalid")


def test_an_appeal_by_number_is_answered_alike_whether_the_number_is_decided_on_or_unknown(talk: Talk) -> None:
    talk.publish(everything=True)  # so that what is decided now waits for the next cycle
    decided, undecided, unknown = talk.number(), talk.number(), talk.number()
    talk.decide(talk.complete(decided))
    talk.complete(undecided)
    numbers = talk.number(), unknown, undecided, decided
    for number in numbers:  # the first is against nothing, and must be in the way of no other
        assert talk.post("bank", "/v1/appeals", _by_number(number)).status_code == 201, number
    for number in numbers:
        refused(talk.post("bank", "/v1/appeals", _by_number(number)), 409, "conflict")


def _by_number(number: int) -> dict[str, str]:
    return {"number": f"+{number}", "grounds": "mine", "appellant": "p"}


def test_only_who_may_read_the_feed_appeals_by_entry(talk: Talk) -> None:
    talk.listed()
    listed = {"feed": "id-telkomsel", "entry": 1, "grounds": "x", "appellant": "p"}
    for who in ("web", "bank"):
        for body in (listed, listed | {"entry": 7}, listed | {"feed": "no-such-feed"}):
            problem = refused(talk.post(who, "/v1/appeals", body), 403, "forbidden")
            assert problem["detail"] == f"the token does not have the scope feed:{body['feed']}: appeal by number"
    refused(talk.post("care", "/v1/appeals", listed | {"feed": "id-all"}), 403, "forbidden")
    header = talk.token("care", "report") | {"Idempotency-Key": "without"}
    refused(talk.request("POST", "/v1/appeals", json=listed, headers=header), 403, "forbidden")
    assert talk.make("care", "/v1/appeals", listed)["state"] == "open"


def test_a_granted_appeal_retracts_at_once_and_shows_who_has_lifted_the_block(talk: Talk) -> None:
    case = talk.listed()
    talk.answer_for("telkomsel", talk.receipt())
    made = appeal(talk, case)
    granted = answer(talk, made, grant=True)
    assert (granted["state"], granted["reason"], talk.state(case)) == ("granted", "looked at", "retracted")
    assert talk.case(case)["decisions"][-1]["kind"] == "retract"

    def lifted() -> Any:
        found = talk.read("web", f"/v1/appeals/{made['id']}")["lifted"]
        return [(each["recipient"], each["feed"], each["lifted_at"] is not None) for each in found]

    nobody = [("messenger", "id-messaging", False), ("telkomsel", "id-telkomsel", False)]
    assert lifted() == nobody
    talk.publish()
    talk.answer_for("telkomsel", talk.receipt(serial=1, outcome="already-inactive"))  # of the release with the entry
    assert lifted() == nobody
    talk.clock.forward(minutes=1)
    talk.answer_for("telkomsel", talk.receipt(serial=2, outcome="failed"))
    assert lifted() == nobody
    talk.answer_for("telkomsel", talk.receipt(serial=2, outcome="reversed"))
    talk.answer_for("messenger", talk.receipt(serial=1, feed="id-messaging", outcome="refused"))
    assert lifted() == [("messenger", "id-messaging", True), ("telkomsel", "id-telkomsel", True)]
    proof = talk.read("web", f"/v1/appeals/{made['id']}")["lifted"][1]
    kept = {each["id"]: each["outcome"] for each in talk.read("anna", "/v1/receipts")["items"]}
    assert kept[proof["receipt"]] == "reversed"


@pytest.mark.parametrize("state", ["decided", "published", "enforced"])
def test_a_dismissed_appeal_leaves_the_case_where_it_was(talk: Talk, state: str) -> None:
    talk.publish()
    case = talk.complete()
    talk.decide(case, scope=["sms"], urgent=state != "decided")
    talk.publish()
    if state == "enforced":
        talk.answer_for("telkomsel", talk.receipt())
    assert talk.state(case) == state
    dismissed = answer(talk, appeal(talk, case), grant=False)
    assert (dismissed["state"], dismissed["lifted"], talk.state(case)) == ("dismissed", [], state)
    assert talk.history(case)[-1]["event"] == "upheld"


def test_what_happens_during_an_appeal_counts_afterwards(talk: Talk) -> None:
    talk.publish()
    case = talk.complete()
    talk.decide(case, scope=["sms"])
    made = appeal(talk, case)
    talk.publish(everything=True)
    assert talk.state(case) == "appealed"
    talk.answer_for("telkomsel", talk.receipt())
    answer(talk, made, grant=False)
    assert talk.state(case) == "enforced"


def test_appeals_on_a_case_that_ends_are_granted_with_it(talk: Talk) -> None:
    case = talk.listed(until=(talk.clock() + timedelta(days=1)).isoformat())
    dismissed = appeal(talk, case)
    answer(talk, dismissed, grant=False)
    made = [appeal(talk, case, who="bank"), appeal(talk, case, who="care")]
    talk.clock.forward(days=2)
    talk.publish()
    assert talk.state(case) == "retracted"
    assert talk.read("anna", "/v1/appeals?state=open")["items"] == []
    for who, each in zip(("bank", "care"), made, strict=True):
        found = talk.read(who, f"/v1/appeals/{each['id']}")
        assert (found["state"], found["reason"]) == ("granted", "the listing has ended")
        assert found["answered_at"] == talk.clock().isoformat().replace("+00:00", "Z")
        assert {proof["recipient"] for proof in found["lifted"]} == {"messenger", "telkomsel"}
    assert talk.read("web", f"/v1/appeals/{dismissed['id']}")["state"] == "dismissed"
    granted = [each["actor"] for each in talk.history(case) if each["event"] == "granted"]
    assert granted == ["exchange", "exchange"]
    path = f"/v1/appeals/{made[0]['id']}/answer"
    refused(talk.post("anna", path, {"grant": True, "reason": "x"}), 409, "conflict")


def test_a_case_stays_appealed_until_every_appeal_is_answered(talk: Talk) -> None:
    case = talk.listed()
    first, second = appeal(talk, case), appeal(talk, case, who="bank")
    answer(talk, first, grant=False)
    assert talk.state(case) == "appealed"
    refused(talk.post("anna", f"/v1/appeals/{first['id']}/answer", {"grant": True, "reason": "x"}), 409, "conflict")
    answer(talk, second, grant=False)
    assert talk.state(case) == "published"
    talk.decide(case, urgent=True)  # anew, so that they may appeal again
    third, fourth = appeal(talk, case), appeal(talk, case, who="bank")
    answer(talk, third, grant=True)
    assert talk.read("bank", f"/v1/appeals/{fourth['id']}")["state"] == "granted"
    open_ones = talk.read("anna", "/v1/appeals?state=open")["items"]
    assert open_ones == []


def test_an_officer_who_retracts_answers_the_open_appeals(talk: Talk) -> None:
    case = talk.listed()
    made = appeal(talk, case)
    talk.decide(case, "retract", reason="our mistake")
    found = talk.read("web", f"/v1/appeals/{made['id']}")
    assert (found["state"], found["reason"]) == ("granted", "our mistake")


def test_two_officers_do_not_answer_one_appeal_both(talk: Talk) -> None:
    case = talk.listed()
    made = appeal(talk, case)
    path = f"/v1/appeals/{made['id']}/answer"
    grants, body = (False, True) * 4, {"reason": "x", "version": talk.version(case)}
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda grant: talk.post("anna" if grant else "budi", path, body | {"grant": grant}), grants)
        )
    assert sorted(each.status_code for each in answers) == [200] + [409] * 7
    (winner,) = (good(each) for each in answers if each.is_success)
    assert talk.read("web", f"/v1/appeals/{made['id']}")["state"] == winner["state"]


def test_appeals_and_their_evidence_are_their_senders_own(talk: Talk) -> None:
    case = talk.listed()
    made = appeal(talk, case)
    file = talk.make("web", f"/v1/appeals/{made['id']}/evidence?name=bill.png", content=png_of(300))
    assert talk.read("web", f"/v1/appeals/{made['id']}")["evidence"] == [file]
    refused(talk.get("bank", f"/v1/appeals/{made['id']}"), 404, "not-found")
    path = f"/v1/appeals/{made['id']}/evidence?name=x.png"
    refused(talk.post("bank", path, content=png_of(301)), 404, "not-found")
    assert talk.read("bank", "/v1/appeals")["items"] == []
    assert talk.get("anna", f"/v1/evidence/{file['id']}?original=true").content == png_of(300)
    refused(talk.post("anna", "/v1/appeals/99/answer", {"grant": True, "reason": "x"}), 404, "not-found")
