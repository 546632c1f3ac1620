"""A recipient's own decisions on ranges: everything that answers agrees with a slow and obvious model.

All numbers are generated.
"""

import itertools
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, Blocklists, InvalidNumber, Override, Refused
from blocklist_sdk.enforcement import enforce, reconcile
from blocklist_sdk.enforcement.desired import desired_items, next_change
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.rules import RangeOverrides
from support.clock import Clock
from support.memory_sink import MemorySink
from support.scale import scaled
from support.world import FEED, World, make_world

LOW = 6_281_255_500_000
SPAN = 120
NUMBERS = [LOW + step for step in range(-2, SPAN + 2)]
PROTECTED = {LOW + 17, LOW + 60}


@dataclass(frozen=True)
class Decided:
    """A decision, as the model keeps it."""

    first: int
    last: int
    decision: str
    made: int
    until: datetime | None

    def decides(self, number: int, at: datetime) -> bool:
        return self.first <= number <= self.last and (self.until is None or at < self.until)


def deciding(number: int, decided: list[Decided], at: datetime) -> Decided | None:
    found = [each for each in decided if each.decides(number, at)]
    return min(found, key=lambda each: (each.last - each.first, -each.made), default=None)


def obvious(number: int, decided: list[Decided], listed: list[tuple[int, int]], at: datetime) -> str:
    """The reason of the answer: protected, then the narrowest decision, then the latest, then the feed."""
    if number in PROTECTED:
        return "protected"
    best = deciding(number, decided, at)
    if best is not None:
        return f"override-{best.decision}"
    return "listed" if any(first <= number <= last for first, last in listed) else "not-listed"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def blocklist(world: World, tmp_path: Path) -> Iterator[Blocklist]:
    with Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        region="ID",
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
        guard=None,
        protected=[f"+{number}" for number in PROTECTED],
    ) as opened:
        yield opened


def put(world: World, blocklist: Blocklist, ranges: list[tuple[int, int]]) -> None:
    texts = pa.array([f"+{first}-+{last}" if last > first else f"+{first}" for first, last in ranges])
    world.publisher.release(FEED, pa.table({"number": texts}), allow_empty=True)
    blocklist.sync()


def random_ranges(random: np.random.Generator, most: int) -> list[tuple[int, int]]:
    ranges = []
    for _ in range(int(random.integers(0, most))):
        first = LOW + int(random.integers(0, SPAN))
        ranges.append((first, min(LOW + SPAN - 1, first + int(random.choice([0, 0, 1, 9, 40])))))
    return ranges


def held_by_a_sink(blocklist: Blocklist, at: datetime) -> set[int]:
    generation, rules = internals_of(blocklist).in_force()
    items = desired_items(generation.rows, rules, at)
    runs = list(zip(items.number.tolist(), items.last.tolist(), strict=True))
    assert all(last < following for (_, last), (following, _) in itertools.pairwise(runs))
    return {number for first, last in runs for number in range(first, last + 1)}


def check_changes(blocklist: Blocklist, decided: list[Decided], at: datetime) -> None:
    """The decisions that each change names are those that decide on at least one of its numbers."""
    for change in blocklist.changes(since=None):
        last = change.entry.last or change.entry.number
        numbers = set(range(change.entry.number, last + 1))
        wanted = {deciding(number, decided, at) for number in numbers - PROTECTED} - {None}
        found = [(each.number, each.last or each.number, each.decision) for each in change.overrides]
        assert found == sorted((each.first, each.last, each.decision) for each in wanted if each)
        assert change.protected is not numbers.isdisjoint(PROTECTED)
        is_single = change.entry.last is None
        assert change.override == (change.overrides[0] if is_single and change.overrides else None)


def test_a_change_does_not_name_a_decision_that_others_take_the_place_of(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, [(LOW + 10, LOW + 30)])
    blocklist.overrides.allow(f"+{LOW + 17}-+{LOW + 18}", reason="of no effect: one is protected, and one is blocked")
    blocklist.overrides.block(f"+{LOW + 18}", reason="own")
    blocklist.overrides.allow(f"+{LOW + 30}-+{LOW + 40}", reason="of its last number")
    blocklist.overrides.allow(f"+{LOW + 31}-+{LOW + 50}", reason="beside it")
    (change,) = blocklist.changes(since=None)
    assert [override.number for override in change.overrides] == [LOW + 18, LOW + 30]
    assert (change.override, change.protected) == (None, True)


@pytest.mark.parametrize("seed", range(scaled(3, long=40)))
def test_everything_that_answers_agrees_with_the_model(
    world: World, blocklist: Blocklist, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = np.random.default_rng(seed)
    several = Blocklists([blocklist])
    for _ in range(6):
        with monkeypatch.context() as patch:
            listed = random_ranges(random, 30)
            put(world, blocklist, listed)
            clock = Clock(datetime.now(UTC) + timedelta(minutes=1))
            clock.install(patch)
            for override in list(blocklist.overrides):
                rest = "" if override.last is None else f"-+{override.last}"
                assert blocklist.overrides.remove(f"+{override.number}{rest}")
            decided: dict[tuple[int, int], Decided] = {}
            ends = [None, clock.now + timedelta(hours=1), clock.now + timedelta(hours=2)]
            for made, (first, last) in enumerate(random_ranges(random, 14)):
                clock.at_s += 1
                decision = str(random.choice(["allow", "block"]))
                until = ends[int(random.integers(0, 3))]
                if first == last and first in PROTECTED:
                    continue
                text = f"+{first}" if first == last else f"+{first}-+{last}"
                decide = blocklist.overrides.allow if decision == "allow" else blocklist.overrides.block
                found = decide(text, reason="generated", until=until)
                assert (found.number, found.last) == (first, None if first == last else last)
                decided[first, last] = Decided(first, last, decision, made, until)
            for hours in (0.5, 1.5, 2.5):
                clock.at_s = (clock.now + timedelta(hours=hours)).timestamp()
                at = clock.now
                expected = [obvious(number, list(decided.values()), listed, at) for number in NUMBERS]
                blocks = [reason in ("override-block", "listed") for reason in expected]
                texts = [f"+{number}" for number in NUMBERS]
                assert [number in blocklist for number in NUMBERS] == blocks
                assert [text in blocklist for text in texts] == blocks
                assert [blocklist._contains(number) for number in NUMBERS] == blocks
                assert [blocklist.check(number).reason for number in NUMBERS] == expected
                screened = blocklist.screen(pa.array(texts))
                assert screened.column("reason").to_pylist() == expected
                assert screened.column("blocked").to_pylist() == blocks
                assert [number in several for number in NUMBERS] == blocks
                assert [several.check(number).reason for number in NUMBERS] == expected
                assert several.screen(pa.array(texts)).column("reason").to_pylist() == expected
                wanted = {number for number, blocked in zip(NUMBERS, blocks, strict=True) if blocked}
                assert held_by_a_sink(blocklist, at) == wanted
                check_changes(blocklist, list(decided.values()), at)
                clock.at_s -= hours * 3600


def test_a_pattern_decides_on_all_of_its_numbers(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, [(LOW + 5, LOW + 5), (LOW + 300, LOW + 300)])
    allowed = blocklist.overrides.allow("0812-5550-00##", reason="our own block", author="ayu")
    assert (allowed.number, allowed.last, allowed.decision) == (LOW, LOW + 99, "allow")
    assert LOW + 5 not in blocklist
    verdict = blocklist.check(LOW + 5)
    assert (verdict.reason, verdict.override, len(verdict.entries)) == ("override-allow", allowed, 1)
    assert blocklist.explain(LOW + 5).verdict.override == allowed
    assert blocklist.status().overrides == 1
    assert LOW + 300 in blocklist
    blocklist.overrides.block(LOW + 6, reason="one of them was stolen")
    assert LOW + 6 in blocklist
    assert LOW + 7 not in blocklist
    assert blocklist.overrides.get("0812-5550-00##") == allowed
    assert blocklist.overrides.get(LOW + 7) is None, "no decision of its own"
    assert not blocklist.overrides.remove(LOW + 7)
    assert blocklist.overrides.remove("+6281255500000..+6281255500099")
    assert LOW + 5 in blocklist


def test_a_pattern_of_several_ranges_makes_a_decision_for_each(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, [])
    made = blocklist.overrides.decide("block", "0812-555[13]-00##", reason="generated")
    assert [(each.number, each.last) for each in made] == [
        (6_281_255_510_000, 6_281_255_510_099),
        (6_281_255_530_000, 6_281_255_530_099),
    ]
    assert [number in blocklist for number in (6_281_255_510_007, 6_281_255_520_007)] == [True, False]
    assert blocklist.overrides.get("0812-555[13]-00##") == made[0]
    assert blocklist.overrides.remove("0812-555[13]-00##")
    assert list(blocklist.overrides) == []


@pytest.mark.parametrize("decision", ["allow", "block"])
def test_a_pattern_that_covers_too_much_is_refused(world: World, blocklist: Blocklist, decision: Any) -> None:
    with pytest.raises(Refused, match=r"max_cover=1000000, or --max-cover 1000000") as refused:
        blocklist.overrides.decide(decision, "0812-55##-####", reason="generated")
    assert refused.value.reasons == ("+6281255###### covers 1,000,000 numbers",)
    assert list(blocklist.overrides) == []
    blocklist.overrides.decide(decision, "0812-55##-####", reason="generated", max_cover=1_000_000)
    blocklist.overrides.decide(decision, "0812-555#-####", reason="as many as are free")
    assert len(blocklist.overrides) == 2


def test_what_is_neither_number_nor_pattern_is_refused(blocklist: Blocklist) -> None:
    for text in ("0812-3456-XXXX", "GoPay", "+62812555000..+62812555", "08*"):
        with pytest.raises((InvalidNumber, Refused)):
            blocklist.overrides.allow(text, reason="generated")
    assert list(blocklist.overrides) == []


def test_ranges_are_exported_and_imported(world: World, blocklist: Blocklist, tmp_path: Path) -> None:
    blocklist.overrides.allow("0812-5550-00##", reason="our own block")
    blocklist.overrides.block(LOW + 300, reason="generated")
    file = tmp_path / "overrides.csv"
    assert blocklist.overrides.export_csv(file) == 2
    before = [(o.number, o.last, o.decision, o.reason) for o in blocklist.overrides]
    assert blocklist.overrides.remove("0812-5550-00##")
    assert blocklist.overrides.import_file(file).rows == 2
    assert [(o.number, o.last, o.decision, o.reason) for o in blocklist.overrides] == before
    file.write_text(
        "number,decision,reason\n0812-5551-00##,block,x\n0812-55##-####,allow,x\n0812-555[13]-22##,allow,x\n"
    )
    found = blocklist.overrides.import_file(file)
    assert (found.rows, [reject.line for reject in found.rejects]) == (2, [3])
    assert "covers 1,000,000 numbers" in found.rejects[0].reason
    assert len(blocklist.overrides) == 5
    assert blocklist.overrides.import_file(file, max_cover=1_000_000).rows == 3


def test_a_sink_is_brought_to_ranges_and_compared_with_them(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, [(LOW + 5, LOW + 5), (LOW + 90, LOW + 110), (LOW + 300, LOW + 300)])
    sink = MemorySink()
    enforce(blocklist, sink)
    blocklist.overrides.allow("0812-5550-00##", reason="our own block")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    blocklist.overrides.block("0812-5550-03##", reason="generated", until=end)
    generation, rules = internals_of(blocklist).in_force()
    assert next_change(generation.rows, rules, datetime.now(UTC)) == end
    enforce(blocklist, sink)
    held = {number for item in sink.current() for number in range(item.number, item.last + 1)}
    assert held == {*range(LOW + 100, LOW + 111), *range(LOW + 300, LOW + 400)}
    assert not reconcile(blocklist, sink)
    enforce(blocklist, sink, clock=lambda: end)
    held = {number for item in sink.current() for number in range(item.number, item.last + 1)}
    assert held == {*range(LOW + 100, LOW + 111), LOW + 300}


def test_a_file_from_before_ranges_is_read_and_converted_by_the_first_change(
    world: World, blocklist: Blocklist, tmp_path: Path
) -> None:
    put(world, blocklist, [(LOW, LOW)])
    file = tmp_path / "state" / FEED / "recipient.sqlite"
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    connection.executescript(
        """
        CREATE TABLE overrides (
            number INTEGER PRIMARY KEY, decision TEXT NOT NULL CHECK (decision IN ('allow', 'block')),
            reason TEXT NOT NULL, author TEXT NOT NULL, created TEXT NOT NULL, until TEXT
        ) STRICT;
        CREATE TABLE holds (name TEXT PRIMARY KEY, serial INTEGER NOT NULL) STRICT;
        INSERT INTO overrides VALUES (6281255500000, 'allow', 'appeal', 'ayu', '2026-01-02T03:04:05+00:00', NULL);
        INSERT INTO holds VALUES ('sink', 1);
        PRAGMA user_version = 1;
        """
    )
    connection.close()
    old = Override(LOW, "allow", "appeal", "ayu", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None)
    bytes_before = file.read_bytes()
    if os.geteuid():
        file.chmod(0o444)
    assert list(blocklist.overrides) == [old]
    assert blocklist.overrides.get(LOW) == old
    assert blocklist.status().held == {"sink": 1}
    assert file.read_bytes() == bytes_before, "a reader converts nothing"
    file.chmod(0o644)
    made = blocklist.overrides.block("0812-5550-00##", reason="generated")
    assert list(blocklist.overrides) == [old, made]
    assert LOW not in blocklist
    assert LOW + 1 in blocklist
    assert blocklist.status().held == {"sink": 1}


def test_many_overlapping_ranges_are_cut_quickly_and_without_what_never_decides() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    nested = [Override(LOW + i, "allow", "x", "x", at, None, last=LOW + 20_000 - i) for i in range(5_000)]
    ranges = RangeOverrides.cut(nested)
    assert max(map(len, ranges.choices)) == 1
    assert ranges.of(LOW + 6_000, at) == nested[-1]
    assert ranges.of(LOW - 1, at) is ranges.of(LOW + 20_001, at) is None
