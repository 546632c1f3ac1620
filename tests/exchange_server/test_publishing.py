"""Publishing: what is published when, with which IDs, even if a run is interrupted; and what a recipient reads."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from blocklist_sdk import Blocklist
from blocklist_sdk.errors import BlocklistError, StorageFailed
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.store.database import add_all
from blocklist_sdk.exchange_server.store.tables import CaseRow, ListingRow
from blocklist_sdk.exchange_server.store.trail import Act
from blocklist_sdk.publisher.publisher import Publisher
from support.talking import PASSPHRASE, TELKOMSEL, Clock, Talk

FEEDS = {"id-telkomsel", "id-messaging", "id-all"}


def listings(talk: Talk, case: int) -> dict[str, Any]:
    """The newest listing of each feed."""
    return {each["feed"]: each for each in talk.case(case)["listings"]}


def test_what_is_routine_waits_for_its_cycle(talk: Talk) -> None:
    assert talk.publish() == {}  # the cycle of November, with nothing to publish
    case = talk.complete()
    talk.decide(case)
    talk.clock.forward(days=28)
    assert (talk.clock().month, talk.publish()) == (11, {})
    assert talk.state(case) == "decided"
    assert {each["entry"] for each in listings(talk, case).values()} == {None}
    talk.clock.forward(hours=16)
    assert (talk.clock().month, set(talk.publish())) == (12, FEEDS)
    assert talk.state(case) == "published"
    assert {each["listed_serial"] for each in listings(talk, case).values()} == {1}
    assert talk.publish() == {}
    talk.clock.forward(days=31)
    assert talk.publish() == dict.fromkeys(FEEDS, 2)  # nothing has changed, and recipients learn just that


def test_what_is_urgent_goes_at_once_and_leaves_the_rest_waiting(talk: Talk) -> None:
    talk.publish()
    routine, urgent = talk.complete(), talk.complete()
    talk.decide(routine)
    talk.decide(urgent, urgent=True)
    assert set(talk.publish()) == FEEDS
    assert (talk.state(routine), talk.state(urgent)) == ("decided", "published")
    assert talk.publish() == {}
    assert set(talk.publish(everything=True)) == FEEDS
    assert talk.state(routine) == "published"


def test_what_is_retracted_is_lifted_at_once(talk: Talk) -> None:
    first, second = talk.listed(), talk.listed()
    talk.decide(first, "retract")
    assert set(talk.publish()) == FEEDS
    assert talk.state(first) == "retracted"
    assert {(each["entry"], each["lifted_serial"]) for each in listings(talk, first).values()} == {(1, 3)}
    assert {each["lifted_at"] for each in listings(talk, second).values()} == {None}
    assert talk.history(first)[-1]["event"] == "lifted"
    assert talk.publish() == {}


def test_what_was_retracted_before_it_was_published_never_stood_anywhere(talk: Talk) -> None:
    talk.publish()
    case = talk.complete()
    talk.decide(case)
    talk.decide(case, "retract")
    talk.publish()
    for each in listings(talk, case).values():
        assert (each["entry"], each["listed_serial"], each["lifted_serial"]) == (None, None, None)
    assert talk.publish() == {}
    assert "lifted" not in [each["event"] for each in talk.history(case)]


def test_entries_keep_their_ids_and_no_id_comes_twice(talk: Talk) -> None:
    number = talk.number()
    first, second = talk.listed(number), talk.listed()
    assert (talk.entry(first), talk.entry(second)) == (1, 2)
    talk.decide(first, "advisory", urgent=True, category="spam")
    talk.publish()
    assert (talk.entry(first), listings(talk, first)["id-telkomsel"]["listed_serial"]) == (1, 1)
    talk.decide(second, "retract")
    talk.decide(first, "retract")
    talk.publish()
    again = talk.listed(number)
    assert again != first
    assert talk.entry(again) == 3


def test_a_narrower_decision_lifts_where_the_number_is_no_longer_listed(talk: Talk) -> None:
    case = talk.listed()
    talk.decide(case, scope=["messaging"], urgent=True)
    talk.publish()
    stand = listings(talk, case)
    assert (stand["id-telkomsel"]["lifted_serial"], stand["id-messaging"]["lifted_serial"]) == (2, None)
    assert talk.state(case) == "published"
    talk.decide(case, scope=["sms"], urgent=True)
    talk.publish()
    found = [each for each in talk.case(case)["listings"] if each["feed"] == "id-telkomsel"]
    assert [each["entry"] for each in found] == [1, 2]  # a new listing, so a new id


@pytest.mark.parametrize(
    ("before", "after", "feeds"),
    [
        ({}, {"kind": "advisory"}, FEEDS),
        ({"scope": ["sms", "voice"]}, {"scope": ["sms"]}, {"id-telkomsel", "id-all"}),
        ({"scope": ["sms"]}, {"scope": ["voice", "data"]}, {"id-telkomsel", "id-all"}),
        ({}, {}, set()),
        ({"scope": ["sms"]}, {"scope": ["sms", "voice"]}, set()),
        ({"kind": "advisory"}, {}, set()),
        ({"kind": "advisory"}, {"kind": "advisory", "scope": ["sms", "messaging"]}, set()),
    ],
    ids=["to-advisory", "narrower", "elsewhere", "the-same", "wider", "to-block", "narrower-advisory"],
)
def test_what_weakens_a_block_goes_at_once_and_what_does_not_waits(
    lite: Talk, before: dict[str, Any], after: dict[str, Any], feeds: set[str]
) -> None:
    case = lite.listed(**before)
    lite.decide(case, **after)
    assert set(lite.publish()) == feeds
    assert lite.state(case) == ("published" if feeds else "decided")
    assert lite.publish() == {}


def test_what_was_weakened_is_not_held_back_by_the_next_decision(lite: Talk) -> None:
    case = lite.listed()
    lite.decide(case, "advisory", scope=["sms", "messaging"])
    lite.decide(case, "advisory")
    assert set(lite.publish()) == FEEDS


def test_what_is_weakened_before_anybody_saw_it_waits_for_its_cycle(lite: Talk) -> None:
    lite.publish()
    case = lite.complete()
    lite.decide(case)
    lite.decide(case, "advisory")
    assert lite.publish() == {}


def test_a_listing_that_has_come_to_its_end_closes_its_case(talk: Talk) -> None:
    until = (talk.clock() + timedelta(days=1)).isoformat()
    case = talk.listed(until=until)
    talk.clock.forward(days=1, seconds=-1)
    assert talk.publish() == {}
    talk.clock.forward(seconds=1)
    assert set(talk.publish()) == FEEDS
    assert (talk.state(case), talk.history(case)[-1]["event"]) == ("retracted", "ended")
    assert talk.publish() == {}


def test_a_listing_that_ends_before_its_cycle_closes_its_case_too(talk: Talk) -> None:
    talk.publish()
    case = talk.complete()
    talk.decide(case, until=(talk.clock() + timedelta(days=1)).isoformat())
    talk.clock.forward(days=2)
    talk.publish()
    assert talk.state(case) == "retracted"
    assert talk.publish() == {}
    assert talk.report(talk.case(case)["number"])["case"] != case


def test_a_number_that_is_protected_later_is_retracted_and_holds_nothing_up(talk: Talk) -> None:
    number = talk.number()
    protected, other = talk.listed(number), talk.complete()
    talk.make("web", "/v1/appeals", {"number": f"+{number}", "grounds": "mine", "appellant": "p"})
    talk.decide(other, urgent=True)
    talk.exchange.publisher.protect([f"+{number}"])
    assert set(talk.publish()) == FEEDS
    assert (talk.state(protected), talk.state(other)) == ("retracted", "published")
    assert listings(talk, protected)["id-all"]["lifted_serial"] == 2
    assert talk.read("web", "/v1/appeals/1")["state"] == "granted"


class Failing(Exception):
    """The machine lost its power."""


def interrupted(monkeypatch: pytest.MonkeyPatch, *, after: bool, feed: str = "id-messaging") -> None:
    """From now on, publishing that feed is interrupted right before or right after its release."""
    release = Publisher.release

    def cut_short(self: Publisher, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == feed and not after:
            raise Failing
        made = release(self, name, *args, **kwargs)
        if name == feed:
            raise Failing
        return made

    monkeypatch.setattr(Publisher, "release", cut_short)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_was_cut_short_is_taken_up_by_the_next_run(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    first = talk.listed()
    second = talk.complete()
    talk.decide(second, urgent=True)
    talk.decide(first, "retract")
    with monkeypatch.context() as patched:
        interrupted(patched, after=after)
        with pytest.raises(Failing):
            talk.publish()
    assert talk.case(second)["state"] == "decided"
    entry = talk.entry(second, "id-messaging")
    if after:  # a recipient that was quick may answer before the exchange has noted anything
        receipts = [
            talk.receipt(entry, feed="id-messaging", serial=2),
            talk.receipt(1, feed="id-messaging", serial=2, outcome="reversed"),
        ]
        assert [each["status"] for each in talk.answer_for("messenger", *receipts)] == ["accepted"] * 2
    third = talk.complete()
    talk.decide(third, urgent=True)
    talk.publish()
    assert (talk.state(first), talk.state(second), talk.state(third)) == ("retracted", "published", "published")
    entries = [talk.entry(case, "id-messaging") for case in (first, second, third)]
    assert entries == [1, 2, 3]
    serials = listings(talk, second)["id-messaging"]["listed_serial"], listings(talk, first)["id-messaging"]
    assert (serials[0], serials[1]["lifted_serial"]) == (2, 2)
    assert numbers_on(talk, "id-messaging") == {talk.case(case)["number"] for case in (second, third)}
    assert talk.publish() == {}


def test_a_database_brought_back_from_a_backup_gives_no_id_twice_and_holds_nothing_up(lite: Talk) -> None:
    kept = lite.listed()
    file = lite.exchange.directory / "exchange.sqlite"
    lite.exchange.close()
    backup = file.read_bytes()
    lost = lite.case(lite.listed())["number"]
    lite.exchange.close()
    file.write_bytes(backup)
    new = lite.complete()
    lite.decide(new, urgent=True)
    lite.decide(kept, "retract")
    assert set(lite.publish()) == FEEDS
    assert numbers_on(lite, "id-all") == set(), "nothing new is listed before a person has said that it was meant"
    assert "is not the one" in (lite.exchange.publish().listings_held_why or "")
    assert [*lite.exchange.damage()] == [], "the older copy agrees with itself"
    (doubt,) = lite.exchange.doubts()
    assert "lines were changed or removed" in doubt
    end = lite.exchange.audit_head()
    lite.exchange.accept_trail(f"{end.length}:{end.hash}")
    assert set(lite.publish()) == FEEDS
    assert not [*lite.exchange.doubts()]
    assert {each["entry"] for each in listings(lite, new).values()} == {3}
    assert (lite.state(new), lite.state(kept)) == ("published", "retracted")
    assert numbers_on(lite, "id-all") == {lite.case(new)["number"]} != {lost}


def numbers_on(talk: Talk, feed: str) -> set[int]:
    """The list in the signed repository, as any recipient reads it."""
    folder = talk.exchange.directory.with_name(f"look-{feed}")
    with Blocklist.open(
        talk.exchange.repository.as_uri(), feed=feed, root=talk.exchange.root, region="ID", cache_dir=folder, guard=None
    ) as recipient:
        recipient.sync()
        return set(recipient.to_arrow().column("number").to_pylist())


def test_one_feed_that_fails_keeps_no_other_back(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    case = talk.listed()
    talk.decide(case, "retract")
    release = Publisher.release

    def refusing(self: Publisher, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "id-all":
            raise StorageFailed("the disk is full", path=Path("x"))
        return release(self, name, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "release", refusing)
        with pytest.raises(StorageFailed):
            talk.publish()
    assert {feed: each["lifted_serial"] for feed, each in listings(talk, case).items()} == {
        "id-all": None,
        "id-messaging": 2,
        "id-telkomsel": 2,
    }
    assert talk.publish() == {"id-all": 2}


def test_what_is_decided_while_a_release_is_made_goes_into_the_next(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, retracted = talk.complete(), talk.complete()
    for case in (changed, retracted):
        talk.decide(case, urgent=True)
    release = Publisher.release

    def slow(self: Publisher, name: str, *args: Any, **kwargs: Any) -> Any:
        made = release(self, name, *args, **kwargs)
        if name == "id-all":
            talk.decide(changed, "advisory", urgent=True)
            talk.decide(retracted, "retract")
        return made

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "release", slow)
        talk.publish()
    assert talk.state(changed) == "decided"
    assert talk.publish() == {"id-all": 2}  # the other feeds' lists were made later
    assert talk.state(changed) == "published"
    assert listings(talk, retracted)["id-all"]["lifted_serial"] == 2
    assert numbers_on(talk, "id-all") == {talk.case(changed)["number"]}


def test_two_processes_publish_one_after_the_other(talk: Talk) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cases = [talk.complete() for _ in range(4)]
    for case in cases:
        talk.decide(case, urgent=True)
    others = [Exchange.open(talk.exchange.directory, passphrase=PASSPHRASE, clock=talk.clock) for _ in range(3)]
    if not talk.exchange.settings.database.startswith("sqlite"):
        for each in others:
            each.close()
        url = talk.exchange.settings.database
        others = [
            Exchange.open(talk.exchange.directory, passphrase=PASSPHRASE, clock=talk.clock, database=url)
            for _ in range(3)
        ]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda exchange: exchange.publish(), [talk.exchange, *others]))
    for each in others:
        each.close()
    assert sorted(len(each.feeds) for each in made) == [0, 0, 0, 3]
    assert [talk.entry(case) for case in cases] == [1, 2, 3, 4]


def test_publishing_needs_the_keys(start: Callable[..., Talk], template: Path, clock: Clock) -> None:
    talk = start()
    case = talk.complete()
    talk.decide(case, urgent=True)
    with Exchange.open(talk.exchange.directory, passphrase=None, clock=clock) as keyless:
        with pytest.raises(BlocklistError):
            keyless.publish()
        talk.server.serve(keyless)
        answer = talk.post("press", "/v1/publications", {"everything": True}, key="once")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:blocklist:problem:unavailable")
    talk.server.serve(talk.exchange)
    made = talk.make("press", "/v1/publications", {"everything": True}, key="once")
    released = {each["feed"]: (each["serial"], each["rows"], each["added"]) for each in made["feeds"]}
    assert released == dict.fromkeys(FEEDS, (1, 1, 1))
    again = talk.post("press", "/v1/publications", {"everything": True}, key="once")
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (made, "true")
    feeds = {each["feed"]: each["serial"] for each in talk.read("press", "/v1/feeds")}
    assert feeds == dict.fromkeys(talk.exchange.routing.feeds, None) | dict.fromkeys(FEEDS, 1)


# A recipient


def list_all(talk: Talk, numbers: list[int]) -> None:
    """Put numbers on the feeds as decisions would."""
    at = talk.clock()
    until = at + timedelta(days=180)
    with talk.exchange.database.writing(by=Act("command line", "prepared")) as session:
        case = {"state": "decided", "opened_at": at, "complete_at": at, "decided_at": at, "events": 0, "head": ""}
        add_all(session, CaseRow, [{"number": number} | case for number in numbers])
        listing = {"level": "block", "category": "fraud", "scope": "sms", "since": at, "until": until, "urgent": True}
        rows = session.execute(select(CaseRow.id, CaseRow.number)).all()
        for feed in ("id-telkomsel", "id-messaging"):
            values = [{"case_id": row.id, "number": row.number, "feed": feed} | listing for row in rows]
            add_all(session, ListingRow, values)


class Bearer(httpx.Auth):
    """Shows a token."""

    def __init__(self, header: dict[str, str]) -> None:
        self._header = header

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers.update(self._header)
        yield request


def test_a_recipient_syncs_with_its_own_rights_and_by_delta_the_second_time(talk: Talk, tmp_path: Path) -> None:
    talk.clock.moment = datetime.now(UTC).replace(microsecond=0)
    numbers = random.Random(5).sample(range(TELKOMSEL, TELKOMSEL + 10**7), 500)
    list_all(talk, numbers)
    talk.publish()

    def recipient(who: str, feed: str) -> Blocklist:
        return Blocklist.open(
            f"{talk.url}/repository",
            feed=feed,
            root=talk.exchange.root,
            region="ID",
            cache_dir=tmp_path / f"cache-{who}-{feed}",
            auth=Bearer(talk.token(who)),
            guard=None,
        )

    with recipient("telkomsel", "id-telkomsel") as mine:
        assert (mine.sync().kind, f"+{numbers[0]}" in mine) == ("snapshot", True)
        talk.decide(1, "retract")
        talk.publish()
        result = mine.sync()
        assert (result.kind, result.removed, result.after) == ("delta", 1, 2)
        assert f"+{numbers[0]}" not in mine
        entries = mine.entries(f"+{numbers[1]}")
        assert [each.entry for each in entries] == [talk.entry(2)]
    with recipient("telkomsel", "id-messaging") as theirs, pytest.raises(BlocklistError):
        theirs.sync()
    with recipient("indosat", "id-telkomsel") as theirs, pytest.raises(BlocklistError):
        theirs.sync()


# The look-up that is open to everyone


def test_a_look_up_says_what_is_published_and_nothing_else(talk: Talk) -> None:
    number = talk.number()

    def status() -> Any:
        return talk.get(None, f"/v1/numbers/+{number}").json()

    assert status() == {"number": number, "status": "not-known"}
    case = talk.complete(number)
    talk.decide(case, "advisory", urgent=True)
    assert status()["status"] == "not-known"
    talk.publish()
    assert status()["status"] == "advisory"
    talk.decide(case, urgent=True, until=(talk.clock() + timedelta(days=1)).isoformat())
    talk.publish()
    assert status() == {"number": number, "status": "listed"}
    talk.clock.forward(days=1)
    assert status()["status"] == "not-known"
    assert json.dumps(status()).count("r1") == 0
