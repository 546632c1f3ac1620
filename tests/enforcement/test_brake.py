"""The brake: what nothing explains waits if it is much, and everything else goes out. All numbers are generated."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import Blocklist
from blocklist_sdk.cli.exit_codes import enforcement_code
from blocklist_sdk.enforcement import EnforcementSettings, Outcome, enforce, reconcile
from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.pieces import Pieces
from support.ledgers import items_of
from support.lost_overrides import lose
from support.memory_sink import MemorySink
from support.world import FEED, World, make_world

BASE = 6_281_200_003_000
TELKOMSEL_ONLY = EnforcementSettings(only_operator="telkomsel")
INDOSAT_ONLY = EnforcementSettings(only_operator="indosat")


def table(numbers: list[str]) -> pa.Table:
    return pa.table({"number": pa.array(numbers, pa.string())})


def texts(numbers: range) -> list[str]:
    return [f"+{BASE + number}" for number in numbers]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def opened(world: World, protected: tuple[str, ...] = ()) -> Blocklist:
    return Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        region="ID",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "state",
        protected=protected,
        guard=None,
    )


@pytest.fixture
def blocklist(world: World) -> Iterator[Blocklist]:
    with opened(world) as blocklist:
        yield blocklist


def put(world: World, blocklist: Blocklist, numbers: range | list[str]) -> None:
    rows = table(numbers if isinstance(numbers, list) else texts(numbers))
    world.publisher.release(FEED, rows, allow_empty=True)
    blocklist.sync()


def block(blocklist: Blocklist, numbers: range) -> None:
    for text in texts(numbers):
        blocklist.overrides.block(text, reason="own")


@pytest.mark.parametrize(("count", "waits"), [(5, False), (20, False), (21, True), (30, True), (500, True)])
def test_a_mistyped_filter_waits_unless_the_ledger_is_small(
    world: World, blocklist: Blocklist, count: int, waits: bool
) -> None:
    put(world, blocklist, range(count))
    sink = MemorySink()
    assert enforce(blocklist, sink, settings=TELKOMSEL_ONLY).waiting is None, "the first run is free"
    result = enforce(blocklist, sink, settings=INDOSAT_ONLY)
    assert (result.waiting is not None, len(sink.held)) == (waits, count if waits else 0)
    if result.waiting is not None:
        assert result.waiting.changes == {"unblock": count, "change": 0, "block": 0}
        assert (result.waiting.removed, result.waiting.added, result.waiting.held) == (count, 0, count)
        assert result.waiting.reasons == ("--only-operator is indosat, and was telkomsel",)
        assert result.waiting.examples[0] == "+628…000"
        assert len(result.waiting.examples) == 20
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).waiting is not None, "it waits until it is accepted"
        assert enforce(blocklist, sink, settings=TELKOMSEL_ONLY).waiting is None, "or is corrected"
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).waiting is not None
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY, accept=True).outcomes == {"reversed": count}
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).waiting is None


@pytest.mark.parametrize(
    ("count", "lost", "waits"), [(30, 20, False), (30, 21, True), (450, 50, False), (449, 51, True)]
)
def test_overrides_that_vanish_wait_beyond_the_limit(
    world: World, blocklist: Blocklist, count: int, lost: int, waits: bool
) -> None:
    """Both sides of 20 items, and of a tenth of 500."""
    put(world, blocklist, range(count))
    block(blocklist, range(1000, 1000 + 2 * lost, 2))
    sink = MemorySink()
    assert enforce(blocklist, sink).outcomes == {"enforced": count + lost}
    assert lose(world.directory / "state", range(BASE + 1000, BASE + 1000 + 2 * lost)) == lost
    result = enforce(blocklist, sink)
    assert (result.waiting is not None, len(sink.held)) == (waits, count + lost if waits else count)
    if result.waiting is not None:
        assert result.waiting.reasons == (f"{lost} overrides gone",)


def test_an_override_for_a_range_is_explained_when_it_comes_and_waits_when_it_vanishes(
    world: World, blocklist: Blocklist
) -> None:
    put(world, blocklist, range(200))
    sink = MemorySink()
    assert enforce(blocklist, sink).outcomes == {"enforced": 200}
    first, last = texts(range(1))[0], texts(range(59, 60))[0]
    blocklist.overrides.allow(f"{first}-{last}", reason="our own lines")
    result = enforce(blocklist, sink)
    assert (result.waiting, len(sink.held)) == (None, 140)
    assert lose(world.directory / "state", [(BASE, BASE + 59)]) == 1
    result = enforce(blocklist, sink)
    assert result.waiting is not None
    assert (result.waiting.reasons, len(sink.held)) == (("1 override gone",), 140)


@pytest.mark.parametrize(
    ("count", "lost", "waits"), [(30, 20, False), (30, 21, True), (500, 50, False), (500, 51, True)]
)
def test_what_a_lost_file_of_protected_numbers_would_block_waits(
    world: World, count: int, lost: int, waits: bool
) -> None:
    sink = MemorySink()
    with opened(world, protected=tuple(texts(range(1000, 1000 + lost)))) as blocklist:
        put(world, blocklist, texts(range(count)) + texts(range(1000, 1000 + lost)))
        assert enforce(blocklist, sink).outcomes == {"enforced": count}
    with opened(world) as blocklist:
        result = enforce(blocklist, sink)
        assert (result.waiting is not None, len(sink.held)) == (waits, count if waits else count + lost)
        if result.waiting is not None:
            assert (result.waiting.added, result.waiting.reasons) == (lost, (f"{lost} protected numbers gone",))


def test_what_is_explained_never_waits(world: World, blocklist: Blocklist) -> None:
    sink = MemorySink()
    put(world, blocklist, range(100))
    enforce(blocklist, sink)
    put(world, blocklist, range(90, 300))
    result = enforce(blocklist, sink)
    assert (result.waiting, len(sink.held)) == (None, 210), "the release's own changes"
    block(blocklist, range(1000, 1200, 2))
    for text in texts(range(100, 200)):
        blocklist.overrides.allow(text, reason="appeal", until=datetime.now(UTC) + timedelta(days=2))
    result = enforce(blocklist, sink)
    assert (result.waiting, len(sink.held)) == (None, 210), "new overrides"

    def later() -> datetime:
        return datetime.now(UTC) + timedelta(days=3)

    result = enforce(blocklist, sink, clock=later)
    assert (result.waiting, len(sink.held)) == (None, 310), "overrides that ended"
    for number in range(200, 300):
        del sink.held[BASE + number]
    reconcile(blocklist, sink, repair=True, clock=later)
    result = enforce(blocklist, sink, clock=later)
    assert (result.waiting, len(sink.held)) == (None, 310), "what the sink lost"


def test_an_unblock_of_a_release_goes_out_while_the_rest_waits(world: World, blocklist: Blocklist) -> None:
    sink = MemorySink()
    put(world, blocklist, range(100))
    enforce(blocklist, sink)
    put(world, blocklist, range(40, 110))
    result = enforce(blocklist, sink, settings=INDOSAT_ONLY)
    assert result.outcomes == {"reversed": 40}
    assert sink.numbers == {BASE + number for number in range(40, 100)}, "and nothing new is blocked"
    assert result.waiting is not None
    assert result.waiting.removed == 60
    # Overrides that are added meanwhile are enforced, and are explained from then on.
    blocklist.overrides.allow(texts(range(41, 42))[0], reason="appeal")
    assert enforce(blocklist, sink, settings=INDOSAT_ONLY).outcomes == {"reversed": 1}
    assert enforce(blocklist, sink).outcomes == {"enforced": 10}


def test_a_scope_that_is_left_out_waits_and_one_that_a_release_lifts_does_not(
    world: World, blocklist: Blocklist
) -> None:
    sink = MemorySink()
    numbers = table(texts(range(50)))
    for scope in ("data+sms+voice", "sms+voice"):
        world.publisher.release(FEED, numbers.append_column("scope", pa.array([scope] * 50)))
        blocklist.sync()
        assert set(blocklist.to_arrow()["scope"].to_pylist()) == {scope}
        if scope.startswith("data"):
            enforce(blocklist, sink)
    result = enforce(blocklist, sink, settings=EnforcementSettings(scopes=("sms",)))
    assert result.waiting is not None
    assert {sink.held[BASE + number].scope for number in range(50)} == {("sms", "voice")}
    assert result.waiting.changes == {"unblock": 0, "change": 50, "block": 0}


def test_accepting_lets_only_this_run_through(world: World, blocklist: Blocklist) -> None:
    sink = MemorySink()
    put(world, blocklist, range(100))
    enforce(blocklist, sink)
    assert enforce(blocklist, sink, settings=INDOSAT_ONLY).waiting is not None
    assert enforce(blocklist, sink, settings=INDOSAT_ONLY, accept=True).not_accepted is None
    assert enforce(blocklist, sink).waiting is not None, "also where nothing is held any more: it is not the first run"
    assert enforce(blocklist, sink, accept=True).outcomes == {"enforced": 100}


def test_a_dry_run_shows_what_would_wait_and_changes_nothing(world: World, blocklist: Blocklist) -> None:
    sink = MemorySink()
    put(world, blocklist, range(100))
    enforce(blocklist, sink)
    basis = (ledger_path(blocklist, "default") / "basis.json").read_bytes()
    result = enforce(blocklist, sink, settings=INDOSAT_ONLY, dry_run=True)
    assert result.waiting is not None
    assert result.planned == {"unblock": 0, "change": 0, "block": 0}
    assert (ledger_path(blocklist, "default") / "basis.json").read_bytes() == basis


def test_another_list_in_the_place_of_the_last_one_waits(world: World, blocklist: Blocklist, tmp_path: Path) -> None:
    sink = MemorySink()
    put(world, blocklist, range(50))
    put(world, blocklist, range(100))
    enforce(blocklist, sink)
    other = make_world(tmp_path / "other")
    with Blocklist.open(
        other.url,
        feed=FEED,
        root=other.publisher.root,
        region="ID",
        cache_dir=tmp_path / "cache2",
        state_dir=tmp_path / "state2",
        guard=None,
    ) as switched:
        put(other, switched, range(500, 600))
        ledger_path(switched, "default").parent.mkdir(parents=True, exist_ok=True)
        ledger_path(blocklist, "default").rename(ledger_path(switched, "default"))
        result = enforce(switched, sink)
        assert result.waiting is not None
        assert (result.waiting.removed, result.waiting.added) == (100, 100)
        assert result.waiting.reasons == (
            "the list is another one: release 2 after release 3, signed by other keys than before",
        )
        assert sink.numbers == {BASE + number for number in range(100)}
        for last in (610, 620, 630):
            put(other, switched, range(500, last))
            assert enforce(switched, sink).waiting is not None, "also when its serial is higher"
        put(other, switched, range(500, 600))
        assert enforce(switched, sink, accept=True).not_accepted is not None, "something else waits than before"
        assert enforce(switched, sink, accept=True).waiting is None
        assert sink.numbers == {BASE + number for number in range(500, 600)}


def test_what_was_set_aside_on_an_earlier_day_is_only_counted(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, range(5))
    sink = MemorySink(lambda change: Outcome("refused", "no") if change.number == BASE else None)
    first = enforce(blocklist, sink)
    codes = [enforcement_code(first), enforcement_code(enforce(blocklist, sink))]
    later = enforce(blocklist, sink, clock=lambda: datetime.now(UTC) + timedelta(days=30))
    assert (later.set_aside, later.newly_set_aside, later.is_hopeless) == (1, 0, False)
    assert [*codes, enforcement_code(later)] == [8, 8, 0]


def test_a_sink_in_which_everything_failed_too_often_is_hopeless(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, range(5))
    sink = MemorySink(lambda change: Outcome("failed", "nonsense"))
    days = [datetime.now(UTC) + timedelta(days=day) for day in range(8)]
    runs = [enforce(blocklist, sink, clock=partial(lambda moment: moment, day)) for day in days]
    assert [enforcement_code(result) for result in runs] == [9] * 8
    assert runs[-1].set_aside == 5


spans = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(1, 15)), max_size=5)


def made(parts: list[tuple[int, int, int]]) -> Items:
    at, numbers, scopes = 0, [], []
    for gap, more, scope in parts:
        numbers.append((BASE + at + gap, BASE + at + gap + more))
        scopes.append(scope)
        at += gap + more + 1
    if not numbers:
        return Items.empty()
    items = items_of(numbers)
    items.scope[:] = np.array(scopes, np.uint8)
    return items


def bits(items: Items) -> dict[int, int]:
    return {
        number: int(scope)
        for first, last, scope in zip(items.number, items.last, items.scope, strict=True)
        for number in range(int(first), int(last) + 1)
    }


@given(spans, spans, spans)
def test_the_majority_blocks_what_two_of_three_block(
    held: list[tuple[int, int, int]], target: list[tuple[int, int, int]], explained: list[tuple[int, int, int]]
) -> None:
    three = made(held), made(target), made(explained)
    a, b, c = (bits(each) for each in three)
    expected = {}
    for number in {*a, *b, *c}:
        x, y, z = (each.get(number, 0) for each in (a, b, c))
        if (x & y) | (x & z) | (y & z):
            expected[number] = (x & y) | (x & z) | (y & z)
    found = Pieces.of(*three).majority()
    assert bits(found) == expected
    assert bool((found.number[1:] > found.last[:-1]).all()), "no two overlap"


@given(spans, spans)
def test_what_is_explained_and_asked_for_is_the_same_items(
    held: list[tuple[int, int, int]], target: list[tuple[int, int, int]]
) -> None:
    found, items = Pieces.of(made(held), made(target), made(target)).majority(), made(target)
    assert (found.number.tolist(), found.last.tolist()) == (items.number.tolist(), items.last.tolist())
    assert found.entry.tolist() == items.entry.tolist()
