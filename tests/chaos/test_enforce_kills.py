"""`kill -9` at random moments of enforcement: the sink comes to hold the list, and every outcome is known, once."""

import random
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist
from blocklist_sdk.enforcement import enforce, open_sink
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import scopes_of
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.receipts import receipts_of
from blocklist_sdk.enforcement.settings import EnforcementSettings
from blocklist_sdk.enforcement.sink import HeldItem, ReadableSink
from blocklist_sdk.enforcement.sinks.drop_files import read_drop_file
from blocklist_sdk.recipient.blocklist import internals_of
from support.killing import LATER, SOONER, Moment, Say, nursery
from support.scale import Tally, scaled
from support.world import FEED, World, make_world

pytestmark = pytest.mark.timing

KILLS = scaled(3, long=70)
CHANGES = scaled(3000, long=100_000)
BATCH = scaled(100, long=2000)

NUMBERS = [6_281_100_000_000 + i for i in range(2 * CHANGES)]
"""Generated."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def opened(url: str, directory: Path) -> Blocklist:
    return Blocklist.open(
        url,
        feed=FEED,
        root=directory / "publisher" / "root.json",
        cache_dir=directory / "cache",
        state_dir=directory / "state",
        guard=None,
    )


def publish(world: World, numbers: list[int]) -> None:
    texts = pa.array([f"+{number}" for number in numbers], pa.string())
    world.publisher.release(FEED, pa.table({"number": texts}))
    with opened(world.url, world.directory) as blocklist:
        blocklist.sync()


def carry(source: str, directory: Path, to: str, argument: int, say: Say) -> None:
    with opened(source, directory) as blocklist:
        sink = open_sink(to, feed=FEED)
        say("open")
        enforce(blocklist, sink, settings=EnforcementSettings(batch=BATCH))
        sink.close()


def replayed(folder: Path) -> list[HeldItem]:
    """What who picks the files up holds after all of them."""
    held: dict[int, HeldItem] = {}
    for path in sorted(folder.glob(f"{FEED}.*.csv")):
        for change in read_drop_file(path).changes:
            if change.operation == "unblock":
                held.pop(change.number, None)
            else:
                held[change.number] = HeldItem(change.number, change.last, change.scope)
    return list(held.values())


@pytest.mark.parametrize("kind", ["postgresql", "redis", "file"])
def test_enforcement_that_is_killed(
    world: World, kind: str, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally
) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    url = (
        folder.as_uri() if kind == "file" else request.getfixturevalue({"redis": "redis_url"}.get(kind, "postgres_url"))
    )
    chance = random.Random(17)
    kills = runs = 0
    longest_s = 0.1
    with nursery(partial(carry, world.url, world.directory, url)) as children:
        while kills < KILLS:
            # Half of the numbers go, as many others come.
            publish(world, chance.sample(NUMBERS, CHANGES))
            for _ in range(2):
                end = children.run(0, Moment(chance.uniform(0, longest_s), ""))
                longest_s *= LATER if end.was_killed else SOONER
                kills, runs = kills + end.was_killed, runs + 1
    with opened(world.url, world.directory) as blocklist:
        sink = open_sink(url, feed=FEED)
        enforce(blocklist, sink, settings=EnforcementSettings(batch=BATCH))
        assert enforce(blocklist, sink, settings=EnforcementSettings(batch=BATCH)).outcomes == {}
        generation, rules = internals_of(blocklist).in_force()
        wanted = desired_items(generation.rows, rules, datetime.now(UTC))
        current = list(sink.current()) if isinstance(sink, ReadableSink) else replayed(folder)
        sink.close()
        assert Counter((each.number, each.last, each.scope) for each in current) == Counter(
            (number, last, scopes_of(scope))
            for number, last, scope in zip(
                wanted.number.tolist(), wanted.last.tolist(), wanted.scope.tolist(), strict=True
            )
        )
        listed = set(wanted.entry.tolist())
        with Ledger.open(ledger_path(blocklist, "default"), feed=FEED) as ledger:
            assert ledger.open_batches() == []
            receipts = Counter(
                (each.entry, each.serial, each.outcome) for record in ledger.records() for each in receipts_of(record)
            )
    assert set(receipts.values()) == {1}
    enforced = {entry for entry, _, outcome in receipts if outcome == "enforced"}
    lifted = {entry for entry, _, outcome in receipts if outcome == "reversed"}
    assert listed <= enforced
    assert enforced - listed <= lifted
    tally(kills=kills, runs=runs, changes=CHANGES)
