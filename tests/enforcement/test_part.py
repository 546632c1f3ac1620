"""A run that looks at a part of the list plans what one that looks at everything does. All numbers are generated."""

import contextlib
import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, times
from blocklist_sdk.enforcement import Outcome, SinkChange, enforce, reconcile, run
from blocklist_sdk.enforcement import checkpoint as checkpoints
from blocklist_sdk.enforcement import ledger as ledgers
from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import make_plan
from blocklist_sdk.enforcement.settings import EnforcementSettings
from blocklist_sdk.numbers.operators import register_operators
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.store import Store
from support.ledgers import items_of, written
from support.memory_sink import MemorySink
from support.scale import Tally, scaled
from support.world import FEED, World, make_world

BASE = 6_281_255_500_000
DAY = timedelta(days=1)
NOBODY = np.empty(0, np.int64)
"""Protected numbers, where there are none."""


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def blocklist(world: World, tmp_path: Path) -> Iterator[Blocklist]:
    with opened(world, tmp_path) as blocklist:
        yield blocklist


def opened(world: World, folder: Path) -> Blocklist:
    return Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        region="ID",
        cache_dir=folder / "cache",
        state_dir=folder / "state",
        guard=None,
    )


def put(world: World, blocklist: Blocklist, rows: list[dict[str, Any]]) -> None:
    """Release a list, and sync it."""
    names = ("number", "last", "level", "scope", "category", "issuer")
    table = {name: pa.array([row[name] for row in rows], pa.string()) for name in names}
    moments = {name: pa.array([row[name] for row in rows], pa.timestamp("s", "UTC")) for name in ("since", "until")}
    world.publisher.release(FEED, pa.table({**table, **moments}), allow_empty=True)
    blocklist.sync()


def listed(*numbers: int) -> list[dict[str, Any]]:
    plain = {"last": None, "level": "block", "scope": "sms", "category": "fraud", "issuer": "authority"}
    return [{"number": f"+{BASE + number}", **plain, "since": None, "until": None} for number in numbers]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many numbers the parts were of which runs looked at, in order; None for everything."""
    found: list[int | None] = []
    view = run._view

    def watched(*arguments: Any, **more: Any) -> Any:
        made = view(*arguments, **more)
        found.append(None if made.part is None else int((made.part.spans.last - made.part.spans.first + 1).sum()))
        return made

    monkeypatch.setattr(run, "_view", watched)
    return found


def a_row(chance: random.Random, issuer: int, now: datetime, *, widest: int = 6) -> dict[str, Any]:
    """An entry on one of forty numbers, or on a few of them."""
    first = BASE + chance.randrange(40)
    more = chance.choice((0, 0, 0, 0, 1, widest))
    since, until = chance.choice(((-3, None), (-3, None), (-3, 1), (-3, 2), (1, 4), (2, None), (1, 2)))
    return {
        "number": f"+{first}",
        "last": f"+{first + more}" if more else None,
        "level": chance.choice(("block", "block", "block", "advisory")),
        "scope": chance.choice(("sms", "voice", "sms+voice")),
        "category": chance.choice(("fraud", "spam")),
        "issuer": f"issuer-{issuer}",
        "since": now + DAY * since,
        "until": None if until is None else now + DAY * until,
    }


def decide(chance: random.Random, blocklist: Blocklist, now: datetime) -> None:
    """Make, change or remove an override."""
    first = BASE + chance.randrange(40)
    number: str | int = first if chance.random() < 0.7 else f"+{first}-+{first + chance.choice((1, 4))}"
    kind = chance.randrange(4)
    until = now + DAY * chance.choice((1, 3)) if chance.random() < 0.4 else None
    if kind == 0:
        existing = list(blocklist.overrides)
        if existing:
            old = chance.choice(existing)
            blocklist.overrides.remove(f"+{old.number}" if old.last is None else f"+{old.number}-+{old.last}")
    elif kind == 1:
        blocklist.overrides.allow(number, reason="generated", until=until)
    else:
        blocklist.overrides.block(number, reason="generated", until=until)


def as_tuples(items: Items) -> list[tuple[object, ...]]:
    columns = (items.number, items.last, items.scope, items.until)
    return [
        (*values, items.entries(place), items.lifted_entries.get(place), items.categories[int(items.category[place])])
        for place, values in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]


def planned(blocklist: Blocklist, settings: EnforcementSettings, at: datetime, *, is_partial: bool) -> tuple[Any, bool]:
    """The plan of a run, and all that follows from it; and whether the run looked at a part."""
    with Ledger.open(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        target = run._Target.now(blocklist, settings, at)
        brake = run._Brake(ledger, blocklist, accept=False, is_dry=True)
        view = run._view(ledger, target, brake, is_partial=is_partial)
        judgement = brake.judged(view.state, view.items, target)
        plan = make_plan(view.state, judgement.items)
        origins = target.origins(view)
        batches = [
            (
                part.operation,
                part.lifts,
                part.is_capped,
                as_tuples(part.items),
                None if origins is None else origins.own(part).tolist(),
            )
            for part in plan.batches(1_000)
        ]
        assert ledger.layers().counts == tuple(map(ledger.state().whole().count, ItemStatus))
        return (batches, view.next_change, judgement.waiting, judgement.basis), view.part is not None


def fate(chance: random.Random, *, kills: float) -> Callable[[SinkChange], Outcome | None]:
    def of(_: SinkChange) -> Outcome | None:
        if chance.random() < kills:
            raise Killed
        return chance.choice(
            (*[None] * 9, Outcome("refused"), Outcome("failed"), Outcome("failed", pending=True), Outcome("not-ours"))
        )

    return of


@pytest.mark.parametrize("seed", range(scaled(4, long=60)))
def test_a_run_that_looks_at_a_part_plans_what_one_that_looks_at_everything_does(
    seed: int, world: World, blocklist: Blocklist, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(ledgers, "_RECORDS_MOST", chance.choice((1, 3, 32)))
    monkeypatch.setattr(ledgers, "_FOLD_ROWS", chance.choice((15, 100_000)))
    monkeypatch.setattr(ledgers, "_FOLD_SHARE", 0.5)
    now, at = datetime.now(UTC), datetime.now(UTC)
    rows = before = [a_row(chance, place, now) for place in range(15)]
    put(world, blocklist, rows)
    sink = MemorySink()
    settings = EnforcementSettings(batch=chance.choice((2, 10)), tries=2, max_removed=9, max_added=9)
    partial = 0
    for step in range(12):
        what = chance.choice(("list", "list", "rules", "rules", "clock", "clock", "back", "settings"))
        if what == "list":
            before = rows
            rows = [row for row in rows if chance.random() < 0.85]
            rows += [a_row(chance, 100 * (step + 1) + place, now) for place in range(chance.randrange(5))]
            put(world, blocklist, rows)
        elif what == "back":
            rows, before = before, rows
            put(world, blocklist, rows)
        elif what == "rules":
            with monkeypatch.context() as patched:
                patched.setattr(times, "now", lambda at=at: at)
                for _ in range(chance.randrange(1, 3)):
                    decide(chance, blocklist, at)
        elif what == "clock":
            at += chance.choice((DAY / 2, DAY, DAY, -DAY))
        elif chance.random() < 0.3:
            settings = EnforcementSettings(
                batch=2, tries=2, max_removed=9, max_added=9, scopes=chance.choice((None, ("sms",)))
            )
        everything, _ = planned(blocklist, settings, at, is_partial=False)
        part, is_partial = planned(blocklist, settings, at, is_partial=True)
        assert part == everything, step
        sink.behave = fate(chance, kills=chance.choice((0, 0, 0.4)))
        with contextlib.suppress(Killed):
            enforce(blocklist, sink, settings=settings, clock=lambda at=at: at)  # type: ignore[misc]
        partial += is_partial
    sink.behave = lambda _: None
    enforce(blocklist, sink, settings=settings, clock=lambda: at)
    tally(parts=partial, of=12)
    assert partial


def test_a_run_looks_at_what_differs_since_the_last_one(
    world: World, blocklist: Blocklist, looked_at: list[int | None]
) -> None:
    sink = MemorySink()
    put(world, blocklist, listed(*range(20)))
    enforce(blocklist, sink)
    enforce(blocklist, sink)
    put(world, blocklist, listed(*range(2, 21)))
    blocklist.overrides.allow(BASE + 7, reason="appeal")
    enforce(blocklist, sink)
    assert looked_at == [None, 0, 4]
    assert sink.numbers == {BASE + number for number in range(2, 21) if number != 7}


def test_what_differs_across_a_fold_is_found_without_comparing_all_rows(
    world: World, blocklist: Blocklist, looked_at: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MemorySink()
    numbers = sorted(random.Random(1).sample(range(400_000), 2_001))
    put(world, blocklist, listed(*numbers[:-1]))
    enforce(blocklist, sink)
    put(world, blocklist, listed(*numbers[1:]))
    store = internals_of(blocklist).store
    opened = store.open()
    assert opened is not None
    assert len(opened[0].layers.overlay)
    assert store.fold(opened[0])
    monkeypatch.delattr(run, "difference")
    enforce(blocklist, sink)
    assert looked_at == [None, 2]
    assert sink.numbers == {BASE + number for number in numbers[1:]}


def test_what_differs_across_a_fold_that_a_release_overtook_is_found_without_comparing_all_rows(
    world: World, blocklist: Blocklist, looked_at: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was enforced before the fold, or after."""
    sink = MemorySink()
    numbers = sorted(random.Random(1).sample(range(400_000), 2_003))
    put(world, blocklist, listed(*numbers[:-3]))
    enforce(blocklist, sink)
    put(world, blocklist, listed(*numbers[1:-2]))
    store, writing = internals_of(blocklist).store, Store._write_folded

    def overtaken(self: Store, staging: Path, generation: Generation) -> Generation:
        folded = writing(self, staging, generation)
        enforce(blocklist, sink)
        put(world, blocklist, listed(*numbers[2:-1]))
        return folded

    monkeypatch.setattr(Store, "_write_folded", overtaken)
    opened = store.open()
    assert opened is not None
    assert store.fold(opened[0])
    monkeypatch.delattr(run, "difference")
    enforce(blocklist, sink)
    put(world, blocklist, listed(*numbers[3:]))
    enforce(blocklist, sink)
    assert looked_at == [None, 2, 2, 2]
    assert sink.numbers == {BASE + number for number in numbers[3:]}


def test_everything_is_looked_at_once_a_day(
    world: World, blocklist: Blocklist, looked_at: list[int | None], caplog: pytest.LogCaptureFixture
) -> None:
    sink, now = MemorySink(), datetime.now(UTC)
    put(world, blocklist, listed(*range(5)))
    enforce(blocklist, sink, clock=lambda: now)
    with Ledger.open(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        # As by a fault that nobody has noticed, an item is missing.
        checkpoint = ledger.checkpoint(likely=NOBODY)
        assert checkpoint is not None
        state = ledger.state().whole()
        ledger.replace(LedgerState.of(state.items.take(np.arange(1, 5)), state.status[1:]))
        ledger.keep_checkpoint(checkpoint)
    sink.held.pop(BASE)
    assert enforce(blocklist, sink, clock=lambda: now + DAY / 2).outcomes == {}
    assert "missed" not in caplog.text
    result = enforce(blocklist, sink, clock=lambda: now + DAY)
    assert result.outcomes == {"enforced": 1}
    assert [warning.kind for warning in result.warnings] == ["missed"]
    assert "found 1 change that earlier runs had missed" in caplog.text
    assert looked_at == [None, 0, 0, None]
    assert enforce(blocklist, sink, clock=lambda: now + DAY * 1.5).outcomes == {}
    assert looked_at[4:] == [0]


def test_what_a_killed_run_lifted_is_blocked_again_once_the_clock_is_right(
    world: World, blocklist: Blocklist, looked_at: list[int | None]
) -> None:
    sink, now = MemorySink(), datetime.now(UTC)
    put(world, blocklist, [*listed(0, 1), *(row | {"until": now + DAY} for row in listed(2))])
    enforce(blocklist, sink, clock=lambda: now)

    def kill(change: SinkChange) -> Outcome | None:
        del sink.held[change.number]
        raise Killed

    sink.behave = kill
    with pytest.raises(Killed):
        enforce(blocklist, sink, clock=lambda: now + DAY * 2)
    assert sink.numbers == {BASE, BASE + 1}
    sink.behave = lambda _: None
    enforce(blocklist, sink, clock=lambda: now)
    assert sink.numbers == {BASE, BASE + 1, BASE + 2}
    assert looked_at == [None, 1, 1]


def test_an_item_of_several_overrides_is_looked_at_as_a_whole(
    world: World, blocklist: Blocklist, looked_at: list[int | None]
) -> None:
    sink = MemorySink()
    put(world, blocklist, listed(0))
    for number in (10, 11, 12):
        blocklist.overrides.block(BASE + number, reason="own")
    enforce(blocklist, sink)
    assert [(each.number, each.last) for each in sink.held.values()] == [(BASE, BASE), (BASE + 10, BASE + 12)]
    blocklist.overrides.remove(BASE + 11)
    enforce(blocklist, sink)
    assert looked_at == [None, 3]
    assert sink.numbers == {BASE, BASE + 10, BASE + 12}
    blocklist.overrides.block(BASE + 11, reason="own")
    enforce(blocklist, sink)
    assert sink.numbers == {BASE, BASE + 10, BASE + 11, BASE + 12}


def test_what_the_sink_refuses_to_lift_is_asked_for_again(
    world: World, blocklist: Blocklist, looked_at: list[int | None]
) -> None:
    sink = MemorySink()
    put(world, blocklist, listed(0, 1))
    enforce(blocklist, sink)
    put(world, blocklist, listed(1))
    sink.behave = lambda _: Outcome("refused")
    for _ in range(2):
        assert enforce(blocklist, sink).outcomes == {"refused": 1}
    sink.behave = lambda _: None
    assert enforce(blocklist, sink).outcomes == {"reversed": 1}
    assert looked_at == [None, 1, 1, 1]
    assert sink.numbers == {BASE + 1}


Change = Callable[[Path, pytest.MonkeyPatch], None]


def damage(directory: Path, _: pytest.MonkeyPatch) -> None:
    (directory / "checkpoint.arrow").write_bytes(b"x" * 100)


def lose(directory: Path, _: pytest.MonkeyPatch) -> None:
    (directory / "checkpoint.arrow").unlink()


def update(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "__version__", "99")


def rebase(directory: Path, _: pytest.MonkeyPatch) -> None:
    with Ledger.open(directory, feed=FEED) as ledger:
        ledger.replace(ledger.state())


def begin_again(directory: Path, _: pytest.MonkeyPatch) -> None:
    checkpoint = (directory / "checkpoint.arrow").read_bytes()
    shutil.rmtree(directory)
    with Ledger.open(directory, feed=FEED) as ledger:
        written(ledger, items_of([BASE + 30]))
    (directory / "checkpoint.arrow").write_bytes(checkpoint)


@pytest.mark.parametrize("change", [damage, lose, update, rebase, begin_again])
def test_everything_is_looked_at_where_the_checkpoint_is_not_the_ledgers(
    change: Change, world: World, blocklist: Blocklist, looked_at: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MemorySink()
    put(world, blocklist, listed(0, 1))
    enforce(blocklist, sink)
    change(ledger_path(blocklist, "default"), monkeypatch)
    for _ in range(2):
        enforce(blocklist, sink)
    assert looked_at == [None, None, 0]


def test_a_ledger_restored_from_a_copy_does_not_believe_a_later_checkpoint(
    world: World, blocklist: Blocklist, tmp_path: Path
) -> None:
    sink, directory = MemorySink(), ledger_path(blocklist, "default")
    put(world, blocklist, listed(0))
    enforce(blocklist, sink)
    shutil.copytree(directory, tmp_path / "copy")
    (tmp_path / "copy" / "checkpoint.arrow").unlink()
    put(world, blocklist, listed(0, 1, 2))
    enforce(blocklist, sink, settings=EnforcementSettings(batch=1))
    checkpoint = (directory / "checkpoint.arrow").read_bytes()
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "copy", directory)
    (directory / "checkpoint.arrow").write_bytes(checkpoint)
    calls = itertools.count(1)

    def kill(_: SinkChange) -> Outcome | None:
        if next(calls) == 2:
            raise Killed
        return None

    sink.held.clear()
    sink.behave = kill
    with pytest.raises(Killed):
        enforce(blocklist, sink, settings=EnforcementSettings(batch=1))
    sink.behave = lambda _: None
    enforce(blocklist, sink)
    assert {BASE + 1, BASE + 2} <= sink.numbers


def test_everything_is_looked_at_where_a_resolver_decides_on_operators(
    world: World, blocklist: Blocklist, looked_at: list[int | None]
) -> None:
    sink, own = MemorySink(), EnforcementSettings(only_operator="telkomsel")
    put(world, blocklist, listed(0, 1))
    register_operators(62, lambda _: "telkomsel")
    try:
        enforce(blocklist, sink, settings=own)
        register_operators(62, lambda number: "telkomsel" if number == BASE else None)
        enforce(blocklist, sink, settings=own)
        assert sink.numbers == {BASE}
        register_operators(62, lambda _: None)
        enforce(blocklist, sink, settings=own)
        assert not sink.numbers
    finally:
        register_operators(62, None)
    enforce(blocklist, sink, settings=own)
    assert looked_at == [None] * 4


def test_a_reconciled_ledger_is_looked_at_as_a_whole(
    world: World, blocklist: Blocklist, looked_at: list[int | None]
) -> None:
    sink = MemorySink()
    put(world, blocklist, listed(0, 1, 2))
    enforce(blocklist, sink)
    del sink.held[BASE + 1]
    assert enforce(blocklist, sink).outcomes == {}
    assert reconcile(blocklist, sink, repair=True).missing == 1
    assert enforce(blocklist, sink).outcomes == {"enforced": 1}
    assert looked_at == [None, 0, None]


def test_a_dry_run_plans_by_a_part_and_writes_nothing(
    world: World, blocklist: Blocklist, looked_at: list[int | None]
) -> None:
    sink, directory = MemorySink(), ledger_path(blocklist, "default")
    put(world, blocklist, listed(0, 1))
    enforce(blocklist, sink)
    put(world, blocklist, listed(1, 2))
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
    assert enforce(blocklist, sink, dry_run=True).planned == {"unblock": 1, "change": 0, "block": 1}
    assert looked_at == [None, 2]
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()} == before


def test_many_runs_leave_few_files_to_read_and_write_what_they_change(
    world: World, blocklist: Blocklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "_RECORDS_MOST", 4)
    sink, directory = MemorySink(), ledger_path(blocklist, "default")
    put(world, blocklist, listed(*range(30)))
    for number in range(24):
        blocklist.overrides.allow(BASE + number, reason="appeal")
        enforce(blocklist, sink)
    with Ledger.open(directory, feed=FEED) as ledger:
        layers, upto = ledger._stored_layers()
        assert ledger.last - upto <= 4
        assert 1 < len(layers) <= 4
        state = ledger.state().whole()
    assert sorted(state.items.number.tolist()) == sorted(sink.held)
    # The records say the same.
    for path in directory.glob("patch-*"):
        path.write_bytes(path.read_bytes()[:-40])
    with Ledger.open(directory, feed=FEED) as ledger:
        again = ledger.state().whole()
    assert again.items.number.tolist() == state.items.number.tolist()
    assert len(enforce(blocklist, sink).outcomes) == 0
