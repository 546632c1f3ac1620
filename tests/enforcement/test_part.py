"""A run that looks at a part of the list plans what one that looks at everything does. All numbers are generated."""

import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Blocklist, times
from blocklist_sdk.enforcement import Outcome, SinkChange, enforce, run
from blocklist_sdk.enforcement import ledger as ledgers
from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import make_plan
from blocklist_sdk.enforcement.settings import EnforcementSettings
from support.memory_sink import MemorySink
from support.scale import Tally, scaled
from support.world import FEED, World, make_world

BASE = 6_281_255_500_000
DAY = timedelta(days=1)


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
    import pyarrow as pa

    names = ("number", "last", "level", "scope", "category", "issuer")
    table = {name: pa.array([row[name] for row in rows], pa.string()) for name in names}
    moments = {name: pa.array([row[name] for row in rows], pa.timestamp("s", "UTC")) for name in ("since", "until")}
    world.publisher.release(FEED, pa.table({**table, **moments}), allow_empty=True)
    blocklist.sync()


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
        assert ledger.layers().counts == tuple(map(ledger.state().whole().count, run.ItemStatus))
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
    rows = [a_row(chance, place, now) for place in range(15)]
    put(world, blocklist, rows)
    sink = MemorySink()
    settings = EnforcementSettings(batch=chance.choice((2, 10)), tries=2, max_removed=9, max_added=9)
    partial = 0
    for step in range(12):
        what = chance.randrange(6)
        if what < 2:
            kept = [row for row in rows if chance.random() < 0.85]
            rows = kept + [a_row(chance, 100 * (step + 1) + place, now) for place in range(chance.randrange(5))]
            put(world, blocklist, rows)
        elif what < 4:
            with monkeypatch.context() as patched:
                patched.setattr(times, "now", lambda at=at: at)
                for _ in range(chance.randrange(1, 3)):
                    decide(chance, blocklist, at)
        elif what == 4:
            at += chance.choice((DAY / 2, DAY, -DAY))
        elif chance.random() < 0.3:
            settings = EnforcementSettings(
                batch=2, tries=2, max_removed=9, max_added=9, scopes=chance.choice((None, ("sms",)))
            )
        everything, _ = planned(blocklist, settings, at, is_partial=False)
        part, is_partial = planned(blocklist, settings, at, is_partial=True)
        assert part == everything, step
        sink.behave = fate(chance, kills=chance.choice((0, 0, 0.2)))
        with contextlib.suppress(Killed):
            enforce(blocklist, sink, settings=settings, clock=lambda at=at: at)  # type: ignore[misc]
        partial += is_partial
    sink.behave = lambda _: None
    enforce(blocklist, sink, settings=settings, clock=lambda: at)
    tally(parts=partial, of=12)
    assert partial > 2
