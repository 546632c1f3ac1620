"""Two changes of the same thing at the same moment."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from blocklist_sdk.exchange_server.casework.publishing import Publishing
from blocklist_sdk.exchange_server.store.tables import CaseRow
from blocklist_sdk.publisher.results import FeedStatus
from support.talking import Talk, refused


def test_a_listing_that_is_extended_while_the_publisher_ends_it_stands_on_every_feed(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = talk.listed(until=(talk.clock() + timedelta(hours=1)).isoformat())
    talk.clock.forward(hours=2)
    longer = (talk.clock() + timedelta(days=9)).isoformat()
    officer = threading.Thread(target=talk.decide, args=(case,), kwargs={"urgent": True, "until": longer})
    prepare = Publishing._prepare

    def interrupted(self: Publishing, session: Any, stands: FeedStatus, *args: Any, **kwargs: Any) -> Any:
        rows = prepare(self, session, stands, *args, **kwargs)
        # Where PostgreSQL ends this transaction and not the officer's, since both wait, it begins anew.
        if stands.feed == "id-messaging" and officer.ident is None:
            officer.start()
            officer.join(1.0)  # where it has to wait for the publisher, it goes on afterwards
        return rows

    monkeypatch.setattr(Publishing, "_prepare", interrupted)
    talk.publish()
    officer.join()
    monkeypatch.undo()
    talk.publish()
    listings = [each for each in talk.case(case)["listings"] if each["lifted_at"] is None]
    assert {each["feed"]: each["retracted_at"] for each in listings} == dict.fromkeys(
        ("id-all", "id-messaging", "id-telkomsel")
    )
    assert all(each["listed_at"] for each in listings)
    assert talk.state(case) == "published"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_who_waits_too_long_for_another_is_told_to_come_again(
    database: str, start: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocklist_sdk.exchange_server.store.database._WAIT_S", 1)
    talk = start(database)
    number = talk.number()
    report = talk.report(number)
    with talk.exchange.database.writing() as session:
        session.execute(select(CaseRow).where(CaseRow.id == report["case"]).with_for_update())
        refused(
            talk.post("web", "/v1/reports", talk.new_report(number, reporter="r2"), key="again"), 503, "unavailable"
        )
        decision = {"kind": "reject", "reason": "nothing"}
        refused(talk.post("anna", f"/v1/cases/{report['case']}/decisions", decision, key="again"), 503, "unavailable")
    talk.make("web", "/v1/reports", talk.new_report(number, reporter="r2"), key="again")
    assert talk.case(report["case"])["reporters"] == 2
