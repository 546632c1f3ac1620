"""The plan: it is the same for a base with records as for one base. All numbers are generated."""

import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from blocklist_sdk.enforcement import Outcome
from blocklist_sdk.enforcement import ledger as ledgers
from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import Effects, ItemStatus, LedgerState, OutcomeCode, patched
from blocklist_sdk.enforcement.plan import EnforcementPlan, make_plan
from blocklist_sdk.enforcement.sink import OUTCOME_KINDS
from blocklist_sdk.release.rows import FOREVER_MS
from blocklist_sdk.testing import make_items
from support.scale import scaled

NOW = datetime(2026, 10, 5, tzinfo=UTC)
FATES = ("enforced", "enforced", "enforced", "refused", "failed", "not-ours", "pending", "killed")


def drawn(chance: random.Random) -> Items:
    """Items in order that do not overlap; an entry may be behind several of them."""
    number, last, entries = [], [], []
    at = 6_281_255_500_000
    for _ in range(chance.randrange(12)):
        at += chance.randrange(1, 4)
        number.append(at)
        at += chance.choice((0, 0, 2))
        last.append(at)
        entries.append(tuple(sorted(chance.sample(range(1, 9), chance.choice((0, 1, 1, 2))))))
    count = len(number)
    return Items(
        number=np.array(number, np.int64),
        last=np.array(last, np.int64),
        scope=np.array([chance.choice((4, 8, 12)) for _ in range(count)], np.uint8),
        entry=np.array([each[0] if each else 0 for each in entries], np.int64),
        until=np.full(count, FOREVER_MS, np.int64),
        category=np.zeros(count, np.int32),
        categories=("fraud",),
        entry_lists={place: each for place, each in enumerate(entries) if len(each) > 1},
    )


def as_tuples(items: Items) -> list[tuple[object, ...]]:
    """Items as tuples, with the entries that they lift."""
    columns = (items.number, items.last, items.scope, items.until)
    return [
        (*values, items.entries(place), items.lifted_entries.get(place))
        for place, values in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]


def parts(plan: EnforcementPlan) -> list[tuple[str, list[tuple[object, ...]]]]:
    return [(part.operation, as_tuples(part.items)) for part in plan.batches(1_000)]


def run(ledger: Ledger, plan: EnforcementPlan, chance: random.Random) -> None:
    """Do some of a plan, with mixed outcomes."""
    for part in plan.batches(4):
        if chance.random() < 0.2:
            continue
        operation, items = part.operation, part.items
        batch = ledger.begin(part, serial=1, published=NOW, at=NOW)
        fates = [chance.choice(FATES) for _ in range(len(items))]
        if "killed" in fates and chance.random() < 0.5:
            ledger.settle(batch.number_in_ledger, is_applied=False, at=NOW)
            continue
        outcomes = [
            Outcome("failed", pending=fate == "pending")
            if fate in ("failed", "pending", "killed")
            else Outcome("reversed" if operation == "unblock" and fate == "enforced" else fate)  # type: ignore[arg-type]
            for fate in fates
        ]
        given_up = [place for place, fate in enumerate(fates) if fate == "failed" and chance.random() < 0.3]
        ledger.finish(batch, outcomes, given_up=given_up, at=NOW)


@pytest.mark.parametrize("seed", range(scaled(6, long=30)))
def test_a_plan_is_the_same_from_a_base_and_records_as_from_one_base(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(ledgers, "_FOLD_ROWS", 5)
    with Ledger.open(tmp_path / "ledger", feed="id-all") as ledger:
        for _ in range(12):
            wanted = drawn(chance)
            acknowledged = ledger.state()
            whole = acknowledged.whole()
            assert parts(make_plan(acknowledged, wanted)) == parts(make_plan(whole, wanted))
            for status in ItemStatus:
                assert acknowledged.count(status) == whole.count(status)
            run(ledger, make_plan(acknowledged, wanted), chance)
            if chance.random() < 0.4:
                before = as_tuples(ledger.state().whole().items)
                ledger.fold(at=NOW)
                assert as_tuples(ledger.state().whole().items) == before


def test_nothing_is_planned_if_the_sink_holds_what_it_should() -> None:
    wanted = drawn(random.Random(1))
    assert len(make_plan(LedgerState.of(wanted, np.zeros(len(wanted), np.uint8)), wanted)) == 0


def test_every_outcome_of_a_sink_has_a_code_and_every_code_a_meaning() -> None:
    assert [OutcomeCode.of(kind).kind for kind in OUTCOME_KINDS] == list(OUTCOME_KINDS)
    assert set(OutcomeCode) - {OutcomeCode.of(kind) for kind in OUTCOME_KINDS} == {
        OutcomeCode.GIVEN_UP,
        OutcomeCode.IN_DOUBT,
    }
    assert (OutcomeCode.GIVEN_UP.kind, OutcomeCode.IN_DOUBT.kind) == ("failed", None)


def test_a_first_run_copies_nothing_of_a_long_list() -> None:
    """What is to be blocked, what is written down, and the next base are the same columns."""
    items = make_items(range(6_281_255_500_000, 6_281_255_500_100))
    plan = make_plan(LedgerState.empty(), items)
    assert plan.block is items
    there = np.ones(len(items), np.bool_)
    state = patched(LedgerState.empty(), [Effects(items, np.zeros(len(items), np.uint8), there)])
    assert state.patch is items
    assert state.whole().items is items
