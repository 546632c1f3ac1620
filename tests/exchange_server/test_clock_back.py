"""The clock of the exchange is set back."""

from collections.abc import Callable
from datetime import timedelta

from support.talking import Talk, refused


def test_a_clock_that_is_put_back_keeps_no_feed_from_being_published(talk: Talk) -> None:
    case, wrong = talk.listed(), talk.listed()
    talk.clock.forward(days=-3)
    soon = (talk.clock() + timedelta(hours=1)).isoformat()
    talk.decide(case, urgent=True, until=soon)
    talk.decide(wrong, "retract")
    assert set(talk.publish()) == {"id-all", "id-messaging", "id-telkomsel"}
    assert all(each["lifted_at"] for each in talk.case(wrong)["listings"])
    assert all(each["since"] < each["until"] for each in talk.case(case)["listings"])


def test_a_proposal_whose_end_has_passed_is_not_confirmed(start: Callable[..., Talk], database: str) -> None:
    talk = start(database, two_person=True)
    proposed = talk.decide(talk.complete(), until=(talk.clock() + timedelta(hours=1)).isoformat())
    talk.clock.forward(hours=2)
    refused(talk.confirm(proposed), 409, "conflict")
    talk.make("budi", f"/v1/decisions/{proposed['id']}/withdrawal")
