"""Statistics of a month: counts, and how long things took."""

from datetime import timedelta
from typing import Any

from support.talking import Talk, refused


def test_a_month_that_is_known_beforehand(talk: Talk) -> None:
    """Twenty cases, each enforced ten minutes later than the one before; the last ones are retracted."""
    talk.publish()
    cases = []
    for index in range(20):
        case = talk.complete(category="fraud", reporter=f"r{index}")
        talk.decide(case, urgent=True, scope=["sms"])
        cases.append(case)
    late = talk.complete()
    talk.report()
    rejected = talk.complete()
    talk.decide(rejected, "reject")
    decided = talk.clock()
    talk.publish()
    entries = [talk.entry(case) for case in cases]
    for index, entry in enumerate(entries):
        at = (decided + timedelta(minutes=10 * (index + 1))).isoformat()
        talk.clock.moment = decided + timedelta(hours=4)
        talk.answer_for("telkomsel", talk.receipt(entry, at=at))
        talk.answer_for("telkomsel", talk.receipt(entry, outcome="already-inactive"))
    retracted = talk.clock()
    for case in cases[-2:]:
        talk.decide(case, "retract")
    talk.publish()
    talk.clock.forward(hours=1)
    for seconds, entry in zip((60, 90), entries[-2:], strict=True):
        at = (retracted + timedelta(seconds=seconds)).isoformat()
        talk.answer_for("telkomsel", talk.receipt(entry, serial=2, outcome="reversed", at=at))
    talk.clock.forward(days=1)

    whole = talk.read("anna", "/v1/statistics/2026-11")
    assert {
        name: whole[name] for name in ("month", "reports", "cases", "published", "enforced", "open", "overdue")
    } == {
        "month": "2026-11",
        "reports": 23,
        "cases": 23,
        "published": 20,
        "enforced": 20,
        "open": 1,
        "overdue": 1,
    }
    assert whole["decisions"] == {"block": 20, "advisory": 0, "reject": 1, "retract": 2}
    mine = of(whole, "telkomsel")
    assert (mine["published"], mine["retracted"], mine["open"]) == (20, 2, 0)
    assert mine["receipts"] == {"enforced": 20, "already-inactive": 20, "reversed": 2}
    # From 10 to 200 minutes: half-way between 100 and 110, and the 19th of 20.
    assert mine["decision_to_enforcement"] == {"count": 20, "median_s": 105 * 60.0, "p95_s": 190 * 60.0}
    assert mine["retraction_to_lifting"] == {"count": 2, "median_s": 75.0, "p95_s": 90.0}
    assert of(whole, "messenger")["published"] == 0
    assert talk.read("press", "/v1/statistics/2026-11") == whole
    assert talk.read("anna", "/v1/statistics/2026-10")["reports"] == 0
    assert talk.state(late) == "received"

    own = talk.read("telkomsel", "/v1/statistics/2026-11")
    assert own["recipients"] == [mine]
    assert {own[name] for name in ("reports", "cases", "decisions", "published", "enforced", "open", "overdue")} == {
        None
    }
    assert [each["recipient"] for each in talk.read("indosat", "/v1/statistics/2026-11")["recipients"]] == ["indosat"]
    refused(talk.get("web", "/v1/statistics/2026-11"), 403)


def of(statistics: Any, recipient: str) -> Any:
    (found,) = (each for each in statistics["recipients"] if each["recipient"] == recipient)
    return found


def test_what_a_recipient_has_not_answered_for_is_open(talk: Talk) -> None:
    talk.listed(scope=["sms"])
    talk.answer_for("telkomsel", talk.receipt(outcome="failed"))
    assert of(talk.read("anna", "/v1/statistics/2026-11"), "telkomsel")["open"] == 1
    talk.answer_for("telkomsel", talk.receipt(outcome="not-ours"))
    assert of(talk.read("anna", "/v1/statistics/2026-11"), "telkomsel")["open"] == 0


def test_a_month_ends_where_the_next_begins(talk: Talk) -> None:
    talk.clock.moment = talk.clock.moment.replace(day=30, hour=23, minute=59, second=59)
    talk.report()
    talk.clock.forward(seconds=1)
    talk.report()
    for month, count in (("2026-11", 1), ("2026-12", 1), ("2027-01", 0)):
        assert talk.read("anna", f"/v1/statistics/{month}")["reports"] == count
