"""`kill -9` at random moments: no wrong answer, nothing acknowledged is lost, and the next run needs no help."""

import json
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.disk import STAGED_PREFIX
from blocklist_sdk.publisher import PublisherGuard
from support.audit import audited
from support.decisions import Decisions, Step, after, assert_answers_follow, decide, standing
from support.killing import LATER, SOONER, Moment, Nursery, Say, nursery
from support.scale import Tally, scaled
from support.world import FEED, FIRST, LISTED, PASSPHRASE, SECOND, World, copy_world, make_world, sync_accepting

pytestmark = pytest.mark.timing

KILLS = scaled(4, long=100)
TRIES_MAX = 10 * KILLS

OTHERS = [f"+62811{i:08d}" for i in random.Random(8).sample(range(10_000, 10**8), 2000)]
"""Generated numbers that are on no other list."""

DECIDED = FIRST[:6] + OTHERS[:6]
"""Numbers that are decided on locally."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


# Syncs


def sync(world: World, serial: int, say: Say) -> None:
    sync_accepting(world.recipient())
    say("done")


WAYS = ("delta", "snapshot over another list", "first snapshot")


def prepare(world: World, way: str, serial: int) -> list[str]:
    """Publish the next release so that a sync has to go this way."""
    listed = OTHERS if way == "snapshot over another list" else (FIRST, SECOND)[serial % 2]
    world.release(listed)
    if way == "first snapshot":
        shutil.rmtree(world.directory / "cache")
    return listed


def test_syncs_that_are_killed(world: World, tally: Tally) -> None:
    recipient = world.recipient()
    recipient.sync()
    recipient.overrides.block(OTHERS[-1], reason="our own case")
    chance = random.Random(11)
    lists: dict[int, list[str]] = {1: FIRST}
    longest_s = {None: 0.15, "fetch-*": 0.05, "generations/.new-*": 0.03}
    kills = syncs = 0
    after_a_kill: list[bool] = []
    with nursery(partial(sync, world)) as children:
        for serial in range(2, TRIES_MAX):
            if kills == KILLS:
                break
            way = WAYS[serial % 3]
            lists[serial] = prepare(world, way, serial)
            pattern = chance.choice(list(longest_s))
            moment = Moment(chance.uniform(0, longest_s[pattern]), pattern, world.directory / "cache" / FEED)
            was_killed = children.run(serial, moment).was_killed
            kills += was_killed
            longest_s[pattern] *= LATER if was_killed else SOONER
            left = world.recipient()
            if left.is_synced() or way != "first snapshot":
                found = audited(left, lists, chance=chance)
                assert found == serial if way == "first snapshot" or not was_killed else found in (serial - 1, serial)
                if was_killed:
                    after_a_kill.append(found == serial)
            assert sync_accepting(world.recipient()).after == serial
            syncs += 1
            healed = world.recipient()
            assert audited(healed, lists, chance=chance) == serial
            assert OTHERS[-1] in healed
            assert healed.status().last_error is None
    assert kills == KILLS
    assert not list((world.directory / "cache").glob("*/fetch-*"))
    tally(kills=kills, syncs=syncs, kills_before_the_switch=after_a_kill.count(False))


# Publishing


def listed_in(serial: int) -> list[str]:
    """What every release lists, so that a reader knows it from its serial alone."""
    start = serial * 37 % 1000
    return [LISTED, *FIRST[1 + start : 600 + start]]


def publish(directory: Path, _: int, say: Say) -> None:
    """Releases and renewals for ever; each release is said once it is acknowledged."""
    publisher = Publisher.open(directory, passphrase=PASSPHRASE, guard=PublisherGuard.off())
    while True:
        serial = release_next(publisher, directory)
        say(str(serial))
        publisher.refresh()


def release_next(publisher: Publisher, directory: Path) -> int:
    serial = (publisher.status().feeds[0].serial or 0) + 1
    source = directory.with_name("next.txt")
    source.write_text("\n".join(listed_in(serial)))
    assert publisher.release("a", source).serial == serial
    return serial


class Lists(dict[int, list[str]]):
    """The numbers of every serial."""

    def __missing__(self, serial: int) -> list[str]:
        return self.setdefault(serial, listed_in(serial))


def test_publishing_that_is_killed(tmp_path: Path, tally: Tally) -> None:
    publisher = Publisher.init(tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, region="ID")
    release_next(publisher, publisher.directory)
    chance = random.Random(12)
    serial = kills = tries = 0
    lists = Lists()

    def recipient(cache: str) -> Blocklist:
        return Blocklist.open(
            publisher.repository.as_uri(), feed="a", root=publisher.root, region="ID", cache_dir=tmp_path / cache
        )

    with nursery(partial(publish, publisher.directory)) as children:
        while kills < KILLS and tries < TRIES_MAX:
            tries += 1
            pattern = chance.choice((None, f"**/{STAGED_PREFIX}*"))
            moment = Moment(chance.uniform(0, 0.4 if pattern is None else 0.08), pattern, publisher.repository)
            end = children.run(0, moment)
            assert end.was_killed
            kills += 1
            offered = publisher.status().feeds[0].serial
            assert offered is not None
            assert offered >= max(map(int, end.said), default=serial)
            kept = recipient("kept")
            assert sync_accepting(kept).after == offered
            assert audited(kept, lists, chance=chance) == offered
            serial = release_next(publisher, publisher.directory)
            assert serial == offered + 1
            publisher.refresh()
            shutil.rmtree(tmp_path / "new", ignore_errors=True)
            new = recipient("new")
            assert new.sync().after == serial
            assert audited(new, lists, chance=chance) == serial
    assert kills == KILLS
    assert not list(publisher.directory.rglob(f"{STAGED_PREFIX}*"))
    tally(kills=kills, releases=serial)


# Overrides


def steps(seed: int) -> Iterator[Step]:
    """Decisions without end: what, on which number, and why."""
    chance = random.Random(seed)
    for step in range(10**6):
        yield chance.choice(("allow", "block", "remove")), chance.choice(DECIDED), f"case {seed}-{step}"


def decide_on(world: World, seed: int, say: Say) -> None:
    """Decides for ever; each decision is said before it is made, and acknowledged afterwards."""
    recipient = world.recipient()
    for step in steps(seed):
        say(json.dumps(step))
        decide(recipient, step)
        say("done")


def kill_while_deciding(children: Nursery, seed: int, delay_s: float) -> tuple[list[Step], bool]:
    """The decisions that were begun, and whether the last of them was acknowledged."""
    end = children.run(seed, Moment(delay_s, ""))
    assert end.was_killed
    begun: list[Step] = [tuple(json.loads(line)) for line in end.said if line != "done"]
    return begun, len(end.said) == 2 * len(begun)


def test_override_writes_that_are_killed(world: World, tally: Tally) -> None:
    world.recipient().sync()
    chance = random.Random(13)
    decisions: Decisions = {}
    acknowledged = in_between = 0
    with nursery(partial(decide_on, world)) as children:
        for kill in range(KILLS):
            if kill % 3 == 0:
                # The first decision of all makes the file.
                shutil.rmtree(world.directory / "cache-state" / FEED)
                decisions = {}
            begun, is_done = kill_while_deciding(children, kill, chance.uniform(0, 0.15 if kill % 3 else 0.02))
            for step in begun[: None if is_done else -1]:
                decisions = after(decisions, step)
            recipient = world.recipient()
            found = standing(recipient)
            # What was begun and not acknowledged may stand or not, but not in half.
            assert found == decisions or (not is_done and found == after(decisions, begun[-1]))
            acknowledged += len(begun) - (not is_done)
            in_between += not is_done
            assert_answers_follow(recipient, found, DECIDED, listed=FIRST)
            step = ("allow", LISTED, f"after kill {kill}")
            decide(recipient, step)
            decisions = after(found, step)
            assert standing(world.recipient()) == decisions
    assert world.recipient().sync().after == 1
    assert_answers_follow(world.recipient(), decisions, DECIDED, listed=FIRST)
    tally(kills=KILLS, acknowledged_overrides=acknowledged, kills_in_a_decision=in_between)
