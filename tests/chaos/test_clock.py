"""A clock that jumps: every answer is the right one for the moment that the clock shows."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, Stale
from blocklist_sdk.records import SCOPES, Status
from support.clock import Clock
from support.reference import Answer, Decided, Listing, answer
from support.scale import Tally, scaled
from support.world import FEED, World, make_world

JUMPS = scaled(60, long=3000)
NUMBERS = [6_281_255_500_000 + i for i in range(30)]
"""Generated; some of them are listed."""

HOUR, DAY, MOMENT = timedelta(hours=1), timedelta(days=1), timedelta(milliseconds=1)


def generated(chance: random.Random, today: datetime) -> list[Listing]:
    """Entries that begin and end within days of today, many of them at midnight or just beside it."""

    def moment(low: int, high: int) -> datetime:
        edge = chance.choice((timedelta(), timedelta(), timedelta(seconds=1), -timedelta(seconds=1), 7 * HOUR))
        return today + chance.randrange(low, high) * DAY + edge

    listings = []
    for _ in range(40):
        number = chance.choice(NUMBERS[:24])
        since = moment(-9, 9)
        end = max(moment(-9, 12), since + HOUR)
        until = chance.choice((None, end, end))
        last = number + chance.choice((0, 0, 0, 3))
        scope = chance.choice(("sms", "sms+voice", "messaging", "data"))
        listings.append(Listing(number, last, chance.choice(("block", "block", "advisory")), scope, since, until))
    return listings


def table(listings: Sequence[Listing]) -> pa.Table:
    return pa.table(
        {
            "number": [f"+{each.number}" for each in listings],
            "last": [None if each.last == each.number else f"+{each.last}" for each in listings],
            "level": [each.level for each in listings],
            "scope": [each.scope for each in listings],
            "since": pa.array([each.since for each in listings], pa.timestamp("s", "UTC")),
            "until": pa.array([each.until for each in listings], pa.timestamp("s", "UTC")),
        }
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(datetime.now(UTC))
    clock.install(monkeypatch)
    return clock


def jumps(chance: random.Random, listings: Sequence[Listing], published: datetime) -> Iterator[timedelta | datetime]:
    """Where the clock goes next: so far, or to a moment."""
    midnight = published.replace(hour=0, minute=0, second=0)
    edges = [edge for each in listings for edge in (each.since, each.until) if edge is not None]
    while True:
        kind = chance.randrange(7)
        if kind == 0:
            yield chance.randrange(1, 9) * DAY
        elif kind == 1:
            yield -chance.randrange(1, 9) * DAY
        elif kind == 2:
            # Across midnight: just before it, then on.
            yield midnight + chance.randrange(-5, 5) * DAY - MOMENT
            yield chance.choice((MOMENT, 2 * MOMENT, HOUR))
        elif kind == 3:
            yield published - chance.choice((MOMENT, HOUR, 30 * DAY))
            yield published
        elif kind == 4:
            edge = chance.choice(edges)
            yield edge - MOMENT
            yield edge
        else:
            # So little that what was kept for the last answer may still be in use.
            yield chance.choice((1, -1)) * chance.choice((MOMENT, 100 * MOMENT, 600 * MOMENT))


Listings = Sequence[Listing]
Overridden = Mapping[int, Decided]


def expected(listings: Listings, decided: Overridden, at: datetime, scope: str | None) -> list[Answer]:
    return [answer(listings, number, at, scope=scope, override=decided.get(number)) for number in NUMBERS]


def check_answers(recipient: Blocklist, listings: Listings, decided: Overridden, at: datetime) -> int:
    """Compare the answers to every kind of question; how many were compared."""
    column = pa.array(NUMBERS)
    assert [number in recipient for number in NUMBERS] == [said[0] for said in expected(listings, decided, at, None)]
    for scope in (None, *SCOPES):
        wanted = expected(listings, decided, at, scope)
        verdicts = [recipient.check(number, scope=scope) for number in NUMBERS]
        assert [(said.blocked, said.level, said.reason) for said in verdicts] == wanted
        rows = recipient.screen(column, scope=scope).to_pylist()
        assert [(row["blocked"], row["level"], row["reason"]) for row in rows] == wanted
    return len(NUMBERS) * (1 + 2 * (1 + len(SCOPES)))


def test_a_clock_that_jumps(world: World, clock: Clock, tally: Tally) -> None:
    chance = random.Random(41)
    today = clock.now.replace(hour=0, minute=0, second=0, microsecond=0)
    listings = generated(chance, today)
    world.publisher.release(FEED, table(listings))
    recipient = world.recipient()
    recipient.sync(accept=2)
    strict = strict_one(world)
    status = recipient.status()
    assert status.as_of is not None
    assert status.expires is not None
    decided: dict[int, Decided] = {}
    compared = synced = stale = 0
    course = jumps(chance, listings, status.as_of)
    # What had begun when the release was published has begun, whatever this clock says.
    begun = [
        replace(each, since=datetime(1970, 1, 1, tzinfo=UTC)) if each.since <= status.as_of else each
        for each in listings
    ]
    for jump in range(JUMPS):
        to = next(course)
        clock.at_s = (to if isinstance(to, datetime) else clock.now + to).timestamp()
        if abs(clock.now - today) > 40 * DAY:
            clock.at_s = today.timestamp()
        if jump % 5 == 0:
            number = chance.choice(NUMBERS)
            until = chance.choice((None, clock.now + chance.choice((MOMENT, HOUR, 3 * DAY))))
            override = recipient.overrides.allow if jump % 2 else recipient.overrides.block
            decided[number] = Decided(override(number, reason="generated", until=until).decision, until)
        if jump % 11 == 0:
            try:
                assert recipient.sync().after == 2
                synced += 1
            except Stale:
                assert clock.now >= status.expires - DAY
                stale += 1
        compared += check_answers(recipient, begun, decided, clock.now)
        check_strict(strict, recipient.status(), begun, decided, clock.now)
    assert stale
    tally(jumps=JUMPS, answers=compared, syncs=synced, stale_syncs=stale)


def test_an_override_that_ended_is_in_force_again_on_a_clock_that_is_set_back(world: World, clock: Clock) -> None:
    world.publisher.release(FEED, pa.table({"number": [f"+{NUMBERS[0]}"]}))
    recipient = world.recipient()
    recipient.sync(accept=2)
    end = clock.now + HOUR
    recipient.overrides.allow(NUMBERS[0], reason="generated", until=end)
    for at, blocked in ((end - MOMENT, False), (end, True), (end - MOMENT, False)):
        clock.at_s = at.timestamp()
        # The first question looks for what is in force, those that follow rely on it.
        assert [NUMBERS[0] in recipient for _ in range(3)] == [blocked] * 3


def strict_one(world: World) -> Blocklist:
    """Another one on the same disk, whose policy is to raise past the expiry."""
    return Blocklist.open(
        world.url,
        feed=FEED,
        root=world.directory / "publisher" / "root.json",
        region="ID",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "cache-state",
        when_stale="raise",
    )


def check_strict(strict: Blocklist, status: Status, listings: Listings, decided: Overridden, at: datetime) -> None:
    assert status.expires is not None
    assert status.as_of is not None
    assert status.last_success is not None
    # Whoever published it, and the last sync, have seen these moments.
    passed = max(status.as_of, status.last_success)
    # What it knows of the overrides may be up to a second old, as in any other process.
    strict.close()
    if passed - timedelta(minutes=5) <= at < status.expires:
        check_answers(strict, listings, decided, at)
        return
    number = NUMBERS[0]
    for ask in (lambda: number in strict, lambda: strict.check(number), lambda: strict.screen(pa.array(NUMBERS))):
        with pytest.raises(Stale):
            ask()
