"""Two who change the same at the same moment."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from talking import Talk

from blocklist_sdk.exchange.server.publishing import Publishing
from blocklist_sdk.publisher.reports import FeedStatus


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
        if stands.feed == "id-messaging":
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
