"""The exchange's guard: what begins to block may wait for an officer, what ceases to never does."""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select, text

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import WaitingRelease
from blocklist_sdk.exchange_server.casework.release_guard import Content, NextEntry
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.serving import publishing
from blocklist_sdk.exchange_server.store.database import add_all
from blocklist_sdk.exchange_server.store.tables import CaseRow, FeedRow, ListingRow, WaitingRow
from blocklist_sdk.exchange_server.store.trail import Act
from blocklist_sdk.publisher.publisher import Publisher
from support.command_line import Ran, run
from support.talking import PASSPHRASE, START, TELKOMSEL, Clock, Talk, refused

FEED = "id-telkomsel"
TIGHT: dict[str, Any] = {"min_added": 2, "max_added": 0.0}
"""Limits with which a third number waits."""

_numbers = count(TELKOMSEL + 5_000_000)


def add_listings(talk: Talk, amount: int, *, urgent: bool = True, level: str = "block") -> list[int]:
    """Decide on so many new cases at once, for one feed: their IDs."""
    at = talk.clock()
    numbers = [next(_numbers) for _ in range(amount)]
    case = {"state": "decided", "opened_at": at, "complete_at": at, "decided_at": at, "events": 0, "head": ""}
    listing = {"feed": FEED, "level": level, "category": "fraud", "scope": "sms", "since": at, "urgent": urgent}
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        add_all(session, CaseRow, [{"number": number} | case for number in numbers])
        found = select(CaseRow.id, CaseRow.number).where(CaseRow.number.between(numbers[0], numbers[-1]))
        made = session.execute(found).all()
        until = at + timedelta(days=180)
        values = [{"case_id": row.id, "number": row.number, "until": until} | listing for row in made]
        add_all(session, ListingRow, values)
    return sorted(row.id for row in made)


def published(talk: Talk) -> dict[int, tuple[str, str, datetime | None]]:
    """The current release: level, scope and end by number."""
    rows = talk.exchange.publisher.entries(FEED).to_pylist()
    return {row["number"]: (row["level"], row["scope"], row["until"]) for row in rows}


def number_of(talk: Talk, case: int) -> int:
    return int(talk.case(case)["number"])


def listing_of(talk: Talk, case: int, feed: str = FEED) -> dict[str, Any]:
    found: dict[str, Any] = [each for each in talk.case(case)["listings"] if each["feed"] == feed][-1]
    return found


def waiting(talk: Talk) -> dict[str, WaitingRelease]:
    return {each.feed: each for each in talk.exchange.waiting()}


def accept(talk: Talk, digest: str, *, feed: str = FEED, who: str = "anna") -> Any:
    return talk.make(who, "/v1/publications/acceptances", {"feed": feed, "digest": digest})


def listed_event(talk: Talk, case: int) -> dict[str, Any]:
    """What the case's history says about its listing."""
    (found,) = [each["detail"] for each in talk.history(case) if each["event"] == "listed"]
    return dict(found)


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "guard holds back" in each.getMessage()]


# Where the limit is


@pytest.mark.parametrize(
    ("listed", "settings", "most"),
    [
        (30, {}, 1000),
        (500, {}, 1000),
        (30, {"min_added": 10}, 30),
        (30, {"min_added": 10, "max_added": 0.5}, 15),
        (500, {"min_added": 100}, 500),
        (500, {"min_added": 0, "max_added": 0.0}, 0),
    ],
)
def test_both_sides_of_the_limit(start: Callable[..., Talk], listed: int, settings: Any, most: int) -> None:
    talk = start(**settings)
    first = add_listings(talk, listed)
    assert talk.publish()[FEED] == 1  # the first list is free
    assert talk.publish() == {}
    more = add_listings(talk, most) if most else []
    assert talk.publish() == ({FEED: 2} if most else {})
    assert len(published(talk)) == listed + most
    allowed = max(settings.get("min_added", 1000), int(settings.get("max_added", 1.0) * (listed + most)))
    beyond = add_listings(talk, allowed + 1)
    assert talk.publish() == {}
    assert len(published(talk)) == listed + most
    held = waiting(talk)[FEED]
    assert (held.listings, held.added, held.blocked) == (allowed + 1, allowed + 1, listed + most)
    assert f"{allowed + 1:,} number" in held.reasons[0]
    assert f"the guard lets {allowed:,} pass" in held.reasons[0]
    assert len(held.examples) == min(20, allowed + 1)
    assert {each.case for each in held.examples} <= {*beyond}
    with talk.exchange.database.reading() as session:
        rows = session.scalars(select(ListingRow).where(ListingRow.case_id.in_(beyond[:500]))).all()
        assert {(row.entry, row.listed_serial, row.listed_at, row.waiting) for row in rows} == {(None,) * 3 + (True,)}
    assert first
    assert len(more) == most


def test_retractions_and_ends_go_out_though_additions_wait(start: Callable[..., Talk], database: str) -> None:
    talk = start(database, min_added=4, max_added=0.0)
    gone, ends, stays = talk.listed(), talk.listed(until=(talk.clock() + timedelta(days=1)).isoformat()), talk.listed()
    talk.decide(gone, "retract")
    beyond = add_listings(talk, 5)
    assert set(talk.publish()) == {FEED, "id-all", "id-messaging"}
    assert set(published(talk)) == {number_of(talk, ends), number_of(talk, stays)}
    assert (talk.state(gone), talk.state(beyond[0])) == ("retracted", "decided")
    talk.clock.forward(days=1)
    assert FEED in talk.publish()
    assert set(published(talk)) == {number_of(talk, stays)}
    assert talk.state(ends) == "retracted"
    talk.decide(stays, "retract")  # all of the list, at once
    assert FEED in talk.publish()
    assert published(talk) == {}


def test_a_purge_of_all_but_one_goes_out_at_once(lite: Talk) -> None:
    cases = add_listings(lite, 500)
    lite.publish()
    for case in cases[1:40]:
        lite.decide(case, "retract")
    assert lite.publish() == {FEED: 2}
    assert len(published(lite)) == 461


@pytest.mark.parametrize("amount", [1, 3], ids=["passes", "waits"])
@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({}, {"kind": "advisory"}, ("advisory", "data+messaging+sms+voice", None)),
        ({}, {"scope": ["sms"]}, ("block", "sms", None)),
        ({}, {"until_days": 20}, ("block", "data+messaging+sms+voice", 20)),
    ],
    ids=["to-advisory", "narrower", "sooner"],
)
def test_what_weakens_a_block_goes_out_though_additions_wait(
    start: Callable[..., Talk], amount: int, before: Any, after: dict[str, Any], shown: tuple[str, str, int | None]
) -> None:
    talk, after = start(**TIGHT), {**after}
    case = talk.listed(**before)
    end = talk.clock() + timedelta(days=after.pop("until_days", 180))
    talk.decide(case, until=end.isoformat(), **after)
    add_listings(talk, amount)
    talk.publish()
    level, scope, days = shown
    assert published(talk)[number_of(talk, case)] == (level, scope, end)
    assert days is None or end == talk.clock() + timedelta(days=days)
    assert len(published(talk)) == (1 if amount == 3 else 2)
    with talk.exchange.database.reading() as session:
        assert (
            session.scalar(select(ListingRow.waiting).where(ListingRow.case_id == case, ListingRow.feed == FEED))
            is False
        )


@pytest.mark.parametrize(
    ("before", "after", "meanwhile"),
    [
        ({"scope": ["sms"]}, {"scope": ["sms", "voice"], "until_days": 20}, ("block", "sms", 20)),
        ({"scope": ["sms", "data"]}, {"scope": ["sms", "voice"]}, ("block", "sms", 180)),
        ({"scope": ["sms"]}, {"scope": ["voice"]}, ("advisory", "voice", 180)),
        ({"kind": "advisory", "scope": ["sms"]}, {"scope": ["sms"], "until_days": 20}, ("advisory", "sms", 20)),
    ],
    ids=["wider-and-sooner", "one-for-another", "elsewhere", "to-block"],
)
def test_of_what_weakens_and_strengthens_only_the_gain_waits(
    start: Callable[..., Talk], before: Any, after: dict[str, Any], meanwhile: tuple[str, str, int]
) -> None:
    talk, after = start(**TIGHT), {**after}
    case = talk.listed(**before)
    entry = talk.entry(case)
    end = talk.clock() + timedelta(days=after.pop("until_days", 180))
    talk.decide(case, until=end.isoformat(), urgent=True, **after)
    add_listings(talk, 3)
    talk.publish()
    level, scope, days = meanwhile
    number = number_of(talk, case)
    assert published(talk) == {number: (level, scope, talk.clock() + timedelta(days=days))}
    assert (talk.entry(case), talk.state(case), waiting(talk)[FEED].listings) == (entry, "decided", 4)
    assert FEED not in talk.publish()  # nothing more to publish
    accept(talk, waiting(talk)[FEED].digest)
    assert published(talk)[number] == ("block", "+".join(sorted(after["scope"])), end)
    assert (talk.entry(case), talk.state(case), len(published(talk))) == (entry, "published", 4)


@pytest.mark.parametrize("left", [timedelta(hours=5), timedelta(days=30)])
def test_advisories_and_later_ends_do_not_wait(start: Callable[..., Talk], left: timedelta) -> None:
    """Also of a block that ends within the day: it must not lapse because other things wait."""
    talk = start(**TIGHT)
    case = talk.listed()
    end = talk.clock() + left
    talk.decide(case, until=end.isoformat())
    add_listings(talk, 1)
    talk.publish()
    assert published(talk)[number_of(talk, case)][2] == end
    later = talk.clock() + timedelta(days=300)
    talk.decide(case, until=later.isoformat())
    hints = add_listings(talk, 5, level="advisory")
    add_listings(talk, 3)
    talk.publish()
    found = published(talk)
    assert found[number_of(talk, case)][2] == later
    assert {number_of(talk, each) for each in hints} < set(found)
    assert len(found) == 7


def test_an_urgent_decision_does_not_wait_for_a_cycle_that_does(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    talk.listed()
    routine = add_listings(talk, 3, urgent=False)
    talk.publish(everything=True)
    held = waiting(talk)[FEED]
    assert held.listings == 3
    urgent = add_listings(talk, 2)
    talk.publish()
    assert number_of(talk, urgent[0]) in published(talk)
    assert waiting(talk)[FEED].digest == held.digest  # the cycle waits as it was, and can be accepted
    add_listings(talk, 1, urgent=False)  # belongs to the next cycle
    talk.publish()
    assert waiting(talk)[FEED].digest == held.digest
    accept(talk, held.digest)
    assert {number_of(talk, each) for each in routine} < set(published(talk))
    assert len(published(talk)) == 6
    assert waiting(talk) == {}


# Accepting


def test_what_was_refused_is_let_through_by_name(start: Callable[..., Talk], database: str) -> None:
    talk = start(database, **TIGHT)
    first, beyond = talk.listed(), add_listings(talk, 3)
    talk.publish()
    made = accept(talk, waiting(talk)[FEED].digest)
    assert [(each["feed"], each["rows"], each["added"]) for each in made["feeds"]] == [(FEED, 4, 3)]
    assert made["waiting"] == []
    assert [talk.state(each) for each in beyond] == ["published"] * 3
    assert listed_event(talk, beyond[0]) == {"feed": FEED, "serial": 2, "entry": 2, "accepted_by": "anna"}
    assert talk.publish() == {}
    assert talk.entry(first) == 1


def test_accepting_needs_a_refusal_of_the_same(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    talk.listed()

    def conflict(digest: str) -> str:
        body = {"feed": FEED, "digest": digest}
        return str(refused(talk.post("anna", "/v1/publications/acceptances", body), 409, "conflict")["detail"])

    assert "nothing waits" in conflict("0" * 64)
    with pytest.raises(InvalidInput, match="nothing waits"):
        talk.exchange.accept(FEED, "0" * 64)
    beyond = add_listings(talk, 3)
    talk.publish()
    seen = waiting(talk)[FEED].digest
    assert "not what you accept" in conflict("0" * 64)
    add_listings(talk, 1)  # not judged yet: the run that follows the acceptance does
    assert "has changed in the meantime" in conflict(seen)
    now = waiting(talk)[FEED]
    assert (now.listings, now.accepted_by, len(published(talk))) == (4, None, 1)
    assert "not what you accept" in conflict(seen)
    talk.decide(beyond[0], "retract")
    talk.decide(beyond[1], "retract")
    talk.publish()  # two are few enough
    assert (waiting(talk), len(published(talk))) == ({}, 3)
    assert "nothing waits" in conflict(now.digest)


def test_a_retraction_of_another_number_leaves_what_waits_as_it_is(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    first = talk.listed()
    add_listings(talk, 3)
    talk.publish()
    digest = waiting(talk)[FEED].digest
    talk.decide(first, "retract")
    talk.publish()
    talk.clock.forward(hours=20)
    talk.publish()
    assert (published(talk), waiting(talk)[FEED].digest) == ({}, digest)  # a list that was emptied is no first one
    accept(talk, digest)
    assert len(published(talk)) == 3


def test_what_was_refused_outlives_a_restart(
    start: Callable[..., Talk], database: str, caplog: pytest.LogCaptureFixture
) -> None:
    talk = start(database, **TIGHT)
    talk.listed()
    add_listings(talk, 3)
    talk.publish()
    digest = waiting(talk)[FEED].digest
    with Exchange.open(
        talk.exchange.directory, passphrase=PASSPHRASE, clock=talk.clock, database=database, **TIGHT
    ) as again:
        again.publish()
        (held,) = again.waiting()
        assert (held.digest, held.refused_at) == (digest, talk.clock())
        again.accept(FEED, digest, accepted_by="budi")
    talk.publish()  # accepted, and the process that was told so is gone
    assert (len(published(talk)), waiting(talk)) == (4, {})
    assert len(alarms(caplog)) == 1


def test_other_limits_let_it_through(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    talk.listed()
    add_listings(talk, 3)
    talk.publish()
    with Exchange.open(talk.exchange.directory, passphrase=PASSPHRASE, clock=talk.clock) as wide:
        assert [each.feed for each in wide.publish().feeds] == [FEED]
        assert wide.waiting() == ()


def test_a_server_without_keys_stores_the_acceptance(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    talk.listed()
    add_listings(talk, 3)
    talk.publish()
    with Exchange.open(talk.exchange.directory, passphrase=None, clock=talk.clock, **TIGHT) as keyless:
        talk.server.serve(keyless)
        made = accept(talk, waiting(talk)[FEED].digest)
        assert (made["feeds"], made["waiting"][0]["accepted_by"]) == ([], "anna")
    talk.server.serve(talk.exchange)
    assert talk.publish() == {FEED: 2}


# Interruptions


class Failing(Exception):
    """The machine lost its power."""


@contextmanager
def power_cut(monkeypatch: pytest.MonkeyPatch, *, after: bool) -> Iterator[None]:
    """The next release of the feed is interrupted right before or right after it is made."""
    release = Publisher.release

    def cut_short(self: Publisher, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == FEED and not after:
            raise Failing
        made = release(self, name, *args, **kwargs)
        if name == FEED:
            raise Failing
        return made

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "release", cut_short)
        with pytest.raises(Failing):
            yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_interrupted_run_is_completed_while_something_waits(
    start: Callable[..., Talk], database: str, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    talk = start(database, **TIGHT)
    gone, weaker = talk.listed(), talk.listed()
    beyond = add_listings(talk, 3)
    talk.decide(gone, "retract")
    talk.decide(weaker, "advisory")
    with power_cut(monkeypatch, after=after):
        talk.publish()
    assert [listing_of(talk, each)["entry"] for each in beyond] == [None] * 3
    talk.publish()
    assert (talk.state(gone), talk.state(weaker)) == ("retracted", "published")
    assert listing_of(talk, gone)["lifted_serial"] == 3
    assert {key: value[0] for key, value in published(talk).items()} == {number_of(talk, weaker): "advisory"}
    assert [listing_of(talk, each)["entry"] for each in beyond] == [None] * 3
    # Then the list blocks nobody, so that three would not be measured by their share, but they are three.
    digest = waiting(talk)[FEED].digest
    with power_cut(monkeypatch, after=after):
        accept_and_publish(talk, digest)
    talk.publish()
    assert [talk.state(each) for each in beyond] == ["published"] * 3
    assert sorted(talk.entry(each) for each in beyond) == [3, 4, 5]
    assert (len(published(talk)), waiting(talk), talk.publish()) == (4, {}, {})


def accept_and_publish(talk: Talk, digest: str) -> None:
    talk.exchange.accept(FEED, digest, accepted_by="anna")
    talk.exchange.publish()


def test_what_an_interrupted_run_was_to_publish_loses_its_id_if_it_has_to_wait(
    start: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = start(**TIGHT)
    talk.listed()
    two = add_listings(talk, 2)
    with power_cut(monkeypatch, after=False):
        talk.publish()
    assert [listing_of(talk, each)["entry"] for each in two] == [2, 3]
    add_listings(talk, 2)
    talk.publish()
    assert {(listing_of(talk, each)["entry"], listing_of(talk, each)["listed_serial"]) for each in two} == {
        (None, None)
    }
    assert waiting(talk)[FEED].listings == 4
    accept(talk, waiting(talk)[FEED].digest)
    assert [talk.entry(each) for each in two] == [4, 5]  # no ID comes twice
    assert len(published(talk)) == 5


def test_a_cycle_that_is_refused_is_not_forgotten(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    talk.publish()
    talk.listed()
    beyond = add_listings(talk, 3, urgent=False)
    assert waiting(talk) == {}
    talk.clock.moment = datetime(2026, 12, 1, 8, tzinfo=START.tzinfo)
    talk.publish()
    assert waiting(talk)[FEED].listings == 3
    talk.clock.forward(hours=3)
    talk.publish()
    accept(talk, waiting(talk)[FEED].digest)
    assert [talk.state(each) for each in beyond] == ["published"] * 3


# What is seen of it


def test_one_alarm_for_each_refusal_and_no_work_in_between(
    start: Callable[..., Talk], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = start(**TIGHT)
    talk.listed()
    add_listings(talk, 3)
    for _ in range(5):
        talk.publish()
    (alarm,) = alarms(caplog)
    assert alarm.startswith(
        "feed id-telkomsel: the guard holds back 3 listings, until an officer accepts this: it would"
    )
    assert not re.search(r"\d{9,}", alarm.split("Digest")[0])
    assert [each.levelno for each in caplog.records if "holds back" in each.getMessage()] == [logging.ERROR]
    judged = []
    entries = Publisher.entries

    def counted(self: Publisher, feed: str) -> Any:
        judged.append(feed)
        return entries(self, feed)

    monkeypatch.setattr(Publisher, "entries", counted)
    for _ in range(5):
        talk.publish()
    assert judged == []
    talk.clock.forward(minutes=61)
    talk.publish()
    assert len(judged) == 1
    add_listings(talk, 1)
    talk.publish()
    assert len(alarms(caplog)) == 2


def test_a_server_that_publishes_by_itself_goes_on(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    case = talk.listed()
    add_listings(talk, 3)
    done = threading.Event()
    with publishing(talk.exchange, every_s=0.01, allow_root_key=True):
        while not waiting(talk):
            done.wait(0.01)
        talk.decide(case, "retract")
        while talk.state(case) != "retracted" or published(talk):
            done.wait(0.01)


def test_officers_see_what_waits_and_others_do_not(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)
    talk.listed()
    beyond = add_listings(talk, 3)
    talk.publish()
    for who in ("anna", "press"):
        (shown,) = talk.read(who, "/v1/publications/waiting")
        assert (shown["feed"], shown["listings"], shown["added"], shown["accepted_by"]) == (FEED, 3, 3, None)
        assert sorted(each["case"] for each in shown["examples"]) == beyond
    for who in ("web", "telkomsel", "mirror"):
        refused(talk.get(who, "/v1/publications/waiting"), 403, "forbidden")
        body = {"feed": FEED, "digest": shown["digest"]}
        refused(talk.post(who, "/v1/publications/acceptances", body), 403, "forbidden")
        refused(talk.get(who, "/metrics"), 403, "forbidden")
    assert accept(talk, shown["digest"], who="press")["feeds"][0]["feed"] == FEED


def test_metrics_say_how_many_wait(start: Callable[..., Talk]) -> None:
    talk = start(**TIGHT)

    def values() -> dict[str, str]:
        answer = talk.get("press", "/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = [line.rpartition(" ") for line in answer.text.splitlines() if line[0] != "#"]
        return {name: value for name, _, value in lines}

    assert values()['blocklist_exchange_waiting_listings{feed="id-telkomsel"}'] == "0"
    talk.listed()
    add_listings(talk, 3)
    talk.publish()
    found = values()
    assert found['blocklist_exchange_waiting_listings{feed="id-telkomsel"}'] == "3"
    assert found['blocklist_exchange_waiting_numbers{feed="id-telkomsel"}'] == "3"
    assert found['blocklist_exchange_waiting_listings{feed="id-all"}'] == "0"
    since = found['blocklist_exchange_waiting_since_timestamp_seconds{feed="id-telkomsel"}']
    assert int(since) == talk.clock().timestamp()


def test_the_command_shows_what_waits_and_how_to_let_it_through(
    start: Callable[..., Talk], clock: Clock, tmp_path: Path
) -> None:
    clock.moment = datetime.now(START.tzinfo).replace(microsecond=0)  # the command has no other clock
    talk = start(min_added=2, max_added=0.0)
    file = talk.exchange.directory / "exchange.toml"
    file.write_text(
        file.read_text().replace("min_added = 1000", "min_added = 2").replace("max_added = 1.0", "max_added = 0")
    )
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE)
    gone = talk.listed()
    talk.listed()
    beyond = add_listings(talk, 3)
    talk.decide(gone, "retract")

    def publish(*options: str) -> Ran:
        return run("exchange", "publish", talk.exchange.directory, "--passphrase-file", secret, *options)

    wrong = publish("--accept", f"{FEED}:{'0' * 64}")
    assert (wrong.code, "nothing waits on feed" in wrong.err) == (2, True)
    assert talk.state(gone) == "retracted"  # whatever else was wrong
    shown = publish()
    assert shown.code == 6, shown
    assert "3 listings held back since" in shown.err
    assert all(f"case {case}: +628…" in shown.err for case in beyond)
    command = re.search(r"blocklist exchange publish .* --accept (\S+)", shown.err)
    assert command is not None
    as_json = publish("--json")
    assert (as_json.code, as_json.document["waiting"][0]["digest"]) == (6, command[1].partition(":")[2])
    assert publish("--accept", "nonsense").code == 2
    more = add_listings(talk, 1)
    changed = publish("--accept", command[1])
    assert (changed.code, "what you accepted has changed in the meantime" in changed.err) == (6, True)
    command = re.search(r"blocklist exchange publish .* --accept (\S+)", changed.err)
    assert command is not None
    done = publish("--accept", command[1])
    assert done.code == 0, done
    assert re.search(rf"^{FEED} [0-9]+: 5 rows, \+4 −0 ~0$", done.out, re.MULTILINE)
    assert {listed_event(talk, each)["accepted_by"] for each in beyond + more} == {"command line"}


def test_feeds_have_the_scopes_of_the_rules(lite: Talk) -> None:
    lite.listed()
    scopes = {feed.feed: feed.scope for feed in lite.exchange.publisher.status().feeds}
    assert (scopes["id-telkomsel"], scopes["id-messaging"]) == ("data+sms+voice", "messaging")
    lite.exchange.publisher.set_scope("id-messaging", "sms")
    lite.listed()
    assert {feed.feed: feed.scope for feed in lite.exchange.publisher.status().feeds} == scopes


def test_a_database_from_before_gets_the_table(start: Callable[..., Talk], database: str) -> None:
    talk = start(database)
    with talk.exchange.database.writing() as session:
        session.execute(text("DROP TABLE waiting_releases"))
    with Exchange.open(talk.exchange.directory, passphrase=PASSPHRASE, clock=talk.clock, database=database) as again:
        assert again.waiting() == ()
    with talk.exchange.database.reading() as session:
        assert session.scalars(select(WaitingRow)).all() == []
        assert session.get(FeedRow, "nothing") is None


# The decision by itself

contents = st.builds(
    Content,
    level=st.sampled_from(["block", "advisory"]),
    category=st.just("fraud"),
    scope=st.sets(st.sampled_from(["data", "messaging", "sms", "voice"]), min_size=1).map(
        lambda s: "+".join(sorted(s))
    ),
    since=st.integers(-50, 50).map(lambda hours: START + timedelta(hours=hours)),
    until=st.none() | st.integers(1, 200).map(lambda hours: START + timedelta(hours=hours)),
).filter(lambda content: content.until is None or content.since < content.until)


def blocks(content: Content | None, at: datetime) -> set[str]:
    if content is None or content.level != "block" or not content.since <= at:
        return set()
    return set() if content.until is not None and content.until <= at else {*content.scope.split("+")}


LASTS = Content("block", "fraud", "sms+voice", START, START + timedelta(hours=200))


@given(st.none() | contents, contents)
@example(LASTS._replace(until=START + timedelta(hours=5)), LASTS)
def test_meanwhile_nothing_blocks_that_did_not_and_nothing_that_should_not(was: Content | None, will: Content) -> None:
    entry = NextEntry(1, 1, TELKOMSEL, 1, True, will, was)
    shown = entry.without_gain()
    for hours in range(-60, 210, 3):
        at = START + timedelta(hours=hours)
        assert blocks(shown, at) == blocks(was, at) & blocks(will, at)
    if shown is not None:
        assert not NextEntry(1, 1, TELKOMSEL, 1, True, shown, was).begins(START)
    ahead = START + timedelta(days=1)
    # An end that is put off is no beginning.
    gains = blocks(will, START) - blocks(was, START), blocks(will, ahead) - blocks(was, ahead) - blocks(was, START)
    assert entry.begins(START) == any(gains)
