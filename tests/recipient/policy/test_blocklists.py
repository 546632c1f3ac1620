"""Several feeds asked as one: none lifts what another lists, and each can be switched off."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import Blocklist, Blocklists, InvalidInput, NotPermitted, NotSynced, SyncResult, Unreachable
from support.loopback import Handler, answering
from support.world import FEED, FIRST, LISTED, OTHER_FEED, World, make_world

BOTH, ONE, OTHER, NONE = FIRST[5], FIRST[0], FIRST[100], "+6281299999999"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path)
    world.release(FIRST[:50])
    world.release([FIRST[5], *FIRST[100:150]], OTHER_FEED)
    return world


@pytest.fixture
def lists(world: World) -> Blocklists:
    lists = Blocklists([world.recipient(), world.recipient(feed=OTHER_FEED)])
    assert all(isinstance(outcome, SyncResult) for outcome in lists.sync().values())
    return lists


def blocked(lists: Blocklists) -> list[bool]:
    answers = [number in lists for number in (BOTH, ONE, OTHER, NONE)]
    assert [lists.check(number).blocked for number in (BOTH, ONE, OTHER, NONE)] == answers
    screened = lists.screen(pa.array([BOTH, ONE, OTHER, NONE, "GoPay"]))
    assert screened.column("blocked").to_pylist() == [*answers, None]
    feeds = screened.column("feed").to_pylist()
    assert feeds[:4] == [lists.check(number).feed for number in (BOTH, ONE, OTHER, NONE)]
    assert feeds[4] is None
    return answers


def test_each_feed_adds_its_own(lists: Blocklists) -> None:
    assert blocked(lists) == [True, True, True, False]
    assert (lists.check(ONE).feed, lists.check(OTHER).feed) == (FEED, OTHER_FEED)
    assert [entry.feed for entry in lists.entries(BOTH)] == [FEED, OTHER_FEED]
    assert set(lists.verdicts(BOTH)) == {FEED, OTHER_FEED}


def test_one_feeds_retraction_lifts_no_others_entry(world: World, lists: Blocklists) -> None:
    world.release([number for number in FIRST[:50] if number != BOTH])
    lists.sync()
    assert BOTH not in lists[FEED]
    assert blocked(lists) == [True, True, True, False]
    world.release(FIRST[100:150], OTHER_FEED)
    lists.sync()
    assert blocked(lists) == [False, True, True, False]


def test_a_feed_that_is_not_permitted_stops_no_other(world: World) -> None:
    def step_in(handler: Handler) -> bool:
        return handler.path.startswith(f"/targets/{OTHER_FEED}") and handler.fail(403)

    with answering(world.repository, step_in) as (url, _):
        lists = Blocklists([world.recipient(url=url), world.recipient(url=url, feed=OTHER_FEED)])
        outcome = lists.sync()
    assert isinstance(outcome[FEED], SyncResult)
    error = outcome[OTHER_FEED]
    assert isinstance(error, NotPermitted)
    assert (error.status, error.url.startswith(url)) == (403, True)


def test_a_feed_can_be_switched_off_and_on(lists: Blocklists) -> None:
    lists.switch(OTHER_FEED, on=False)
    assert not lists.is_on(OTHER_FEED)
    assert blocked(lists) == [True, True, False, False]
    lists.switch(OTHER_FEED, on=True)
    assert blocked(lists) == [True, True, True, False]
    with pytest.raises(InvalidInput, match="no feed is named 'x'"):
        lists.switch("x", on=False)


def test_an_allowed_number_is_blocked_by_no_feed(lists: Blocklists) -> None:
    lists[OTHER_FEED].overrides.allow(BOTH, reason="appeal 17")
    lists[FEED].overrides.block(NONE, reason="our own")
    assert blocked(lists) == [False, True, True, True]
    assert lists.check(BOTH).reason == "override-allow"


def test_a_feed_that_fails_keeps_no_other_from_syncing(world: World, lists: Blocklists) -> None:
    gone = world.recipient(url="http://127.0.0.1:1", cache="elsewhere")
    mixed = Blocklists([gone, world.recipient(feed=OTHER_FEED)])
    outcome = mixed.sync()
    assert isinstance(outcome[FEED], Unreachable)
    assert isinstance(outcome[OTHER_FEED], SyncResult)
    assert OTHER in mixed
    assert ONE not in mixed


def test_none_was_ever_synced(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with Blocklists([world.recipient()]) as lists, pytest.raises(NotSynced):
        lists.check(LISTED)


def test_names_tell_feeds_apart(world: World) -> None:
    with pytest.raises(InvalidInput):
        Blocklists([])
    with pytest.raises(InvalidInput):
        Blocklists([world.recipient(), world.recipient()])


@given(numbers=st.lists(st.sampled_from([BOTH, ONE, OTHER, NONE, *FIRST[90:110]]), max_size=20))
def test_screening_says_what_check_says(shared: Blocklists, numbers: list[str]) -> None:
    found = shared.screen(pa.array(numbers, pa.string())).to_pylist()
    for number, row in zip(numbers, found, strict=True):
        verdict = shared.check(number)
        assert (row["blocked"], row["reason"], row["feed"]) == (verdict.blocked, verdict.reason, verdict.feed)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Blocklists:
    world = make_world(tmp_path_factory.mktemp("shared"))
    one: Blocklist = world.recipient()
    lists = Blocklists([one, world.recipient(feed=OTHER_FEED)])
    world.release(FIRST[:100])
    world.release(FIRST[100:200], OTHER_FEED)
    lists.sync()
    one.overrides.allow(FIRST[101], reason="appeal")
    return lists


# What authorities protect


@pytest.fixture
def two_authorities(tmp_path: Path) -> tuple[World, World, Blocklists]:
    """One authority with one feed, and another one that lists the same numbers on its other feed."""
    ours, theirs = make_world(tmp_path / "ours"), make_world(tmp_path / "theirs")
    lists = Blocklists([ours.recipient(), theirs.recipient(feed=OTHER_FEED)])
    lists.sync()
    theirs.publisher.protect(FIRST[:1000])
    lists.sync()
    return ours, theirs, lists


def lifted(lists: Blocklists) -> list[bool]:
    """Whether a number that they protect is blocked, asked in each way."""
    number = FIRST[7]
    row = lists.screen(pa.array([number, FIRST[2000]])).to_pylist()
    verdict = lists.check(number)
    assert (row[0]["blocked"], row[0]["reason"], row[0]["feed"]) == (verdict.blocked, verdict.reason, verdict.feed)
    assert row[1]["blocked"]
    return [number in lists, verdict.blocked, row[0]["blocked"]]


def test_an_authority_lifts_no_number_from_the_feed_of_another(
    two_authorities: tuple[World, World, Blocklists],
) -> None:
    _, _, lists = two_authorities
    assert lifted(lists) == [True] * 3
    assert (lists.check(FIRST[7]).feed, lists.check(FIRST[7]).reason) == (FEED, "listed")
    assert lists.verdicts(FIRST[7])[OTHER_FEED].reason == "protected"
    lists.switch(FEED, on=False)
    assert FIRST[7] not in lists
    assert lists.check(FIRST[7]).reason == "protected"


def test_a_recipient_may_let_an_authority_protect_for_all(two_authorities: tuple[World, World, Blocklists]) -> None:
    ours, theirs, lists = two_authorities
    trusting = Blocklists([lists[FEED], lists[OTHER_FEED]], protects=[OTHER_FEED])
    assert lifted(trusting) == [False] * 3
    assert trusting.check(FIRST[7]).reason == "protected"
    with pytest.raises(InvalidInput, match="no feed is named"):
        Blocklists([lists[FEED]], protects=[OTHER_FEED])
    own = Blocklist.open(
        theirs.url,
        feed=OTHER_FEED,
        root=theirs.directory / "publisher" / "root.json",
        region="ID",
        cache_dir=theirs.directory / "cache",
        state_dir=theirs.directory / "cache-state",
        protected=[FIRST[7]],
    )
    assert lifted(Blocklists([ours.recipient(), own])) == [False] * 3, "numbers of one's own are never blocked"


def test_feeds_of_one_authority_share_what_it_protects(world: World) -> None:
    one, other = world.recipient(), world.recipient(feed=OTHER_FEED)
    one.sync()
    world.publisher.protect([ONE])
    lists = Blocklists([one, other])
    other.sync()
    assert ONE in one, "the other feed was synced since, and knows better"
    assert ONE not in lists
    assert lists.screen(pa.array([ONE])).column("blocked").to_pylist() == [False]
