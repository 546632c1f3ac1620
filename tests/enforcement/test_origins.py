"""Whose business a change is: the list's or the recipient's own, from a list to the month's statement.

All numbers are generated.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist
from blocklist_sdk.enforcement import Ledger, Statement, enforce, monthly_statement
from blocklist_sdk.enforcement.paths import ledger_path
from support.memory_sink import MemorySink
from support.world import FEED, World, make_world

ONE, TWO = 6_281_200_500_000, 6_281_200_500_002


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def blocklist(world: World) -> Iterator[Blocklist]:
    put(world, [ONE, TWO])
    with Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        region="ID",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "state",
        guard=None,
    ) as opened:
        opened.sync()
        yield opened


def put(world: World, numbers: list[int]) -> None:
    world.publisher.release(FEED, pa.table({"number": pa.array(numbers, pa.int64())}), allow_empty=True)


def figures(blocklist: Blocklist) -> tuple[dict[str, int], int]:
    """What the list asked for and was done, by operation; and how many changes were the recipient's own."""
    made = statement_of(blocklist)
    return {name: each.enforced for name, each in made.operations.items()}, made.own_decisions


def statement_of(blocklist: Blocklist) -> Statement:
    now = datetime.now(UTC)
    with Ledger.read(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        return monthly_statement(ledger, f"{now:%Y-%m}", now=now + timedelta(seconds=1))


def test_an_own_block_on_a_listed_number_is_own_and_what_the_list_lifts_later_is_lifted(
    world: World, blocklist: Blocklist
) -> None:
    sink = MemorySink()
    enforce(blocklist, sink)
    blocklist.overrides.block(f"+{ONE}", reason="own")
    assert enforce(blocklist, sink).planned["change"] == 1
    assert figures(blocklist) == ({"block": 2, "change": 0, "unblock": 0}, 1)
    put(world, [TWO])
    blocklist.sync()
    assert enforce(blocklist, sink).planned["change"] == 1
    assert ONE in sink.numbers
    assert figures(blocklist) == ({"block": 2, "change": 0, "unblock": 1}, 1)
    assert sum(day.lifted for day in statement_of(blocklist).days) == 1
    assert blocklist.overrides.remove(f"+{ONE}")
    enforce(blocklist, sink)
    assert sink.numbers == {TWO}
    assert figures(blocklist) == ({"block": 2, "change": 0, "unblock": 1}, 2)


def test_what_the_recipient_allows_is_own_and_what_the_list_lifts_is_not(world: World, blocklist: Blocklist) -> None:
    sink = MemorySink()
    enforce(blocklist, sink)
    blocklist.overrides.allow(f"+{ONE}", reason="appeal")
    enforce(blocklist, sink)
    assert sink.numbers == {TWO}
    assert figures(blocklist) == ({"block": 2, "change": 0, "unblock": 0}, 1)
    put(world, [ONE])
    blocklist.sync()
    enforce(blocklist, sink)
    assert sink.numbers == set()
    assert figures(blocklist) == ({"block": 2, "change": 0, "unblock": 1}, 1)


def test_what_the_authority_protects_is_the_lists_business(world: World, blocklist: Blocklist) -> None:
    sink = MemorySink()
    blocklist.overrides.block("+6281200500008", reason="own")
    enforce(blocklist, sink)
    world.publisher.protect([f"+{ONE}"])
    blocklist.sync()
    enforce(blocklist, sink)
    assert figures(blocklist) == ({"block": 2, "change": 0, "unblock": 1}, 1)
