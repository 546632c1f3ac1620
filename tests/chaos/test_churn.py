"""Weeks of a list as lists change: whoever takes deltas and whoever takes snapshots hold the same list every day."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocklist_sdk import Publisher, Refused
from blocklist_sdk.release.arrow import from_table
from blocklist_sdk.release.digest import digest
from support.audit import audited
from support.scale import Tally, scaled
from support.world import FEED, OTHER_FEED, PASSPHRASE, Recipient, World, sync_accepting, unguarded

DAYS = scaled(12, long=60)
BAD_DAY = scaled(7, long=41)
AWAY_DAYS = 5
"""One recipient syncs this seldom, and takes several deltas at once."""

NUMBERS = 8000
CHURN = 100
"""Numbers that come, and as many that go, on an ordinary day, more or less."""

DROPPED_SHARE = 0.45
"""What is missing from the list on the bad day, as after an export that was cut short."""

CATEGORIES = ("fraud", "impersonation", "phishing", "spam")


def generated_numbers(chance: random.Random) -> Iterator[str]:
    """Numbers that were never given before, of several operators."""
    given = set()
    while True:
        number = f"+62{chance.choice(('812', '813', '852', '877', '896'))}{chance.randrange(10**7, 10**8)}"
        if number not in given:
            given.add(number)
            yield number


def changed(listed: dict[str, str], numbers: Iterator[str], chance: random.Random) -> dict[str, str]:
    """The next day's list; some of what stays gets another category."""
    gone = set(chance.sample(sorted(listed), chance.randint(CHURN - 20, CHURN + 20)))
    left = {number: category for number, category in listed.items() if number not in gone}
    for number in chance.sample(sorted(left), 10):
        left[number] = chance.choice(CATEGORIES)
    return left | {next(numbers): chance.choice(CATEGORIES) for _ in range(chance.randint(CHURN - 20, CHURN + 20))}


def without_many(listed: dict[str, str], chance: random.Random) -> dict[str, str]:
    gone = set(chance.sample(sorted(listed), int(DROPPED_SHARE * len(listed))))
    return {number: category for number, category in listed.items() if number not in gone}


@pytest.fixture
def world(tmp_path: Path) -> World:
    Publisher.init(tmp_path / "publisher", feeds=[FEED, OTHER_FEED], passphrase=PASSPHRASE, region="ID")
    publisher = unguarded(tmp_path / "publisher")
    return World(tmp_path, publisher, publisher.repository.as_uri())


def publish(world: World, listed: dict[str, str], day: int) -> str:
    """Publish a day's list, dated as it would have been; its digest."""
    source = world.directory / "list.csv"
    lines = [f"{number},{category}\n" for number, category in listed.items()]
    source.write_text("".join(["number,category\n", *lines]))
    moment = datetime.now(UTC) - timedelta(days=DAYS - day)
    report = world.publisher.release(FEED, source, published_at=moment)
    assert (report.serial, report.rows) == (day + 1, len(listed))
    return report.digest


def digest_of(recipient: Recipient) -> str:
    """As computed from its rows; it is also the one that was signed."""
    found = digest(from_table(recipient.to_arrow()))
    assert recipient.status().digest == found
    return found


def refused_and_accepted(recipient: Recipient, serial: int, lists: dict[int, dict[str, str]]) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match=f"--accept {serial}") as caught:
            recipient.sync()
        assert caught.value.serial == serial
        assert audited(recipient, lists, chance=random.Random(serial)) == serial - 1
        assert recipient.status().refused == serial
    result = recipient.sync(accept=serial)
    assert (result.after, result.kind) == (serial, "delta")
    assert audited(recipient, lists, chance=random.Random(serial)) == serial


def test_every_day_all_hold_the_same_list(world: World, tally: Tally) -> None:
    chance = random.Random(61)
    numbers = generated_numbers(chance)
    listed = {next(numbers): chance.choice(CATEGORIES) for _ in range(NUMBERS)}
    lists: dict[int, dict[str, str]] = {}
    daily, away = world.recipient(cache="daily"), world.recipient(cache="away")
    for day in range(DAYS):
        if day:
            listed = without_many(listed, chance) if day == BAD_DAY else changed(listed, numbers, chance)
        serial = day + 1
        lists[serial] = listed
        published = publish(world, listed, day)
        if day == BAD_DAY:
            refused_and_accepted(daily, serial, lists)
        else:
            result = daily.sync()
            assert (result.after, result.kind) == (serial, "delta" if day else "snapshot")
        newcomer = world.recipient(cache=f"new-{day}")
        assert newcomer.sync().kind == "snapshot"
        assert digest_of(daily) == digest_of(newcomer) == published
        assert audited(daily, lists, chance=chance) == serial
        if day % AWAY_DAYS == 0:
            assert sync_accepting(away).after == serial
            assert digest_of(away) == published
    tally(days=DAYS, deltas=DAYS - 1, snapshots=DAYS + 2, refused_syncs=2)
