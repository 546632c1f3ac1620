"""Enforcement: a sink comes to hold what is in force, whatever fails on the way. All numbers are generated."""

import contextlib
import itertools
import math
import random
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocklist_sdk import (
    Blocklist,
    InvalidInput,
    Locked,
    Malformed,
    NotPermitted,
    NotSynced,
    StorageFailed,
    Unreachable,
)
from blocklist_sdk.enforcement import Batch, Outcome, SinkChange, SinkUnavailable, delivery, enforce, reconcile
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import scopes_of
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.receipts import count_receipts, receipts_of
from blocklist_sdk.enforcement.settings import EnforcementSettings
from blocklist_sdk.enforcement.sink import PENDING
from blocklist_sdk.enforcement.statement_sums import monthly_statement
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.records import SCOPES
from support.memory_sink import MemorySink
from support.scale import scaled
from support.world import FEED, World, make_world

BASE = 6_281_255_500_000
NUMBERS = [BASE + i for i in range(20)]
TOMORROW = datetime.now(UTC).replace(hour=12) + timedelta(days=1)
"""A moment at which everything published now has begun."""


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
    ) as blocklist:
        yield blocklist


def put(world: World, blocklist: Blocklist, rows: list[dict[str, Any]]) -> None:
    """Release a list, and sync it."""
    names = ("number", "last", "level", "scope", "category", "issuer")
    plain: dict[str, Any] = {"last": None, "level": "block", "scope": "sms", "category": "fraud", "issuer": "authority"}
    table = {name: pa.array([({**plain, **row})[name] for row in rows], pa.string()) for name in names}
    moments = {name: pa.array([row.get(name) for row in rows], pa.timestamp("s", "UTC")) for name in ("since", "until")}
    world.publisher.release(FEED, pa.table({**table, **moments}), allow_empty=True)
    blocklist.sync()


def listed(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [{"number": f"+{number}", **more} for number in numbers]


def test_a_sink_follows_the_list(world: World, blocklist: Blocklist) -> None:
    sink = MemorySink()
    with pytest.raises(NotSynced):
        enforce(blocklist, sink)
    put(world, blocklist, listed(*NUMBERS[:5]))
    done = enforce(blocklist, sink)
    assert (done.planned, done.outcomes) == ({"unblock": 0, "change": 0, "block": 5}, {"enforced": 5})
    assert sink.numbers == set(NUMBERS[:5])
    assert enforce(blocklist, sink).outcomes == {}
    put(world, blocklist, listed(*NUMBERS[2:6]) + listed(NUMBERS[7], scope="voice"))
    sink.seen.clear()
    done = enforce(blocklist, sink)
    assert done.outcomes == {"reversed": 2, "enforced": 2}
    assert [change.operation for change in sink.seen] == ["unblock", "unblock", "block", "block"]
    assert sink.numbers == {*NUMBERS[2:6], NUMBERS[7]}
    assert sink.scopes(NUMBERS[7]) == {"voice"}
    put(world, blocklist, [])
    enforce(blocklist, sink)
    assert sink.numbers == set()


def test_overrides_and_ends_are_enforced_without_a_release(world: World, blocklist: Blocklist) -> None:
    now = datetime.now(UTC)
    put(world, blocklist, listed(NUMBERS[0]) + listed(NUMBERS[1], until=now + timedelta(days=2)))
    sink = MemorySink()
    done = enforce(blocklist, sink)
    assert done.next_change is not None
    assert abs(done.next_change - now - timedelta(days=2)) < timedelta(seconds=2)
    blocklist.overrides.allow(NUMBERS[0], reason="appeal")
    blocklist.overrides.block(NUMBERS[9], reason="own finding")
    enforce(blocklist, sink)
    assert sink.numbers == {NUMBERS[1], NUMBERS[9]}
    assert (sink.held[NUMBERS[9]].entries, sink.held[NUMBERS[9]].scope) == ((), SCOPES)
    enforce(blocklist, sink, clock=lambda: now + timedelta(days=3))
    assert sink.numbers == {NUMBERS[9]}
    blocklist.overrides.remove(NUMBERS[0])
    enforce(blocklist, sink)
    assert NUMBERS[0] in sink.numbers


def test_ranges_and_several_entries_become_items_that_do_not_overlap(world: World, blocklist: Blocklist) -> None:
    ranged = {"number": f"+{NUMBERS[2]}", "last": f"+{NUMBERS[10]}"}
    put(world, blocklist, [ranged, *listed(NUMBERS[4], scope="voice", issuer="bank")])
    blocklist.overrides.allow(NUMBERS[7], reason="mine")
    sink = MemorySink()
    enforce(blocklist, sink)
    spans = sorted((each.number, each.last, each.scope) for each in sink.held.values())
    assert spans == [
        (NUMBERS[2], NUMBERS[3], ("sms",)),
        (NUMBERS[4], NUMBERS[4], ("sms", "voice")),
        (NUMBERS[5], NUMBERS[6], ("sms",)),
        (NUMBERS[8], NUMBERS[10], ("sms",)),
    ]
    assert len(sink.held[NUMBERS[4]].entries) == 2
    put(world, blocklist, [ranged])  # the bank's entry has gone; the range's stays
    enforce(blocklist, sink)
    assert sink.scopes(NUMBERS[4]) == {"sms"}
    blocklist.overrides.remove(NUMBERS[7])
    enforce(blocklist, sink)
    assert [(each.number, each.last) for each in sink.held.values()] == [(NUMBERS[2], NUMBERS[10])]


numbers = st.integers(0, 19)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "first": numbers,
            "more": st.sampled_from([0, 0, 0, 1, 5]),
            "level": st.sampled_from(["block", "block", "advisory"]),
            "scope": st.sampled_from(["sms", "voice", "sms+voice", "messaging"]),
            "since": st.sampled_from([-3, -1, 1]),
            "until": st.sampled_from([None, None, -1, 1, 3]),
        }
    ),
    max_size=12,
)


@settings(suppress_health_check=list(HealthCheck), max_examples=12)
@given(
    lists=st.lists(rows, min_size=1, max_size=3),
    allowed=st.frozensets(numbers, max_size=2),
    blocked=st.frozensets(numbers, max_size=2),
    scopes=st.sampled_from([None, ("sms",), ("voice", "messaging")]),
)
def test_a_sink_holds_what_the_list_answers(
    world: World,
    tmp_path_factory: pytest.TempPathFactory,
    lists: list[list[dict[str, Any]]],
    allowed: frozenset[int],
    blocked: frozenset[int],
    scopes: tuple[str, ...] | None,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    sink = MemorySink()
    with Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        cache_dir=folder / "cache",
        state_dir=folder / "state",
        guard=None,
    ) as blocklist:
        now = datetime.now(UTC)
        for each in allowed - blocked:
            blocklist.overrides.allow(NUMBERS[each], reason="generated")
        for each in blocked:
            blocklist.overrides.block(NUMBERS[each], reason="generated")
        for drawn in lists:
            put(world, blocklist, [_row(i, row, now) for i, row in enumerate(drawn)])
            enforce(blocklist, sink, settings=EnforcementSettings(batch=3, scopes=scopes))
            for number in [*NUMBERS, BASE - 1, BASE + 20, BASE + 24]:
                wanted = {s for s in (scopes or SCOPES) if blocklist.check(number, scope=s).blocked}  # type: ignore[arg-type]
                assert sink.scopes(number) == wanted, number
            spans = sorted((each.number, each.last) for each in sink.held.values())
            assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))


def _row(i: int, row: dict[str, Any], now: datetime) -> dict[str, Any]:
    first = NUMBERS[row["first"]]
    until = None if row["until"] is None else now + row["until"] * timedelta(days=1)
    since = now + row["since"] * timedelta(days=1)
    if until is not None and until <= since:
        until = since + timedelta(hours=1)
    return {
        "number": f"+{first}",
        "last": f"+{first + row['more']}" if row["more"] else None,
        "level": row["level"],
        "scope": row["scope"],
        "issuer": f"issuer-{i}",
        "since": since,
        "until": until,
    }


def test_a_sink_that_refuses_one_item_gets_the_rest(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:4]))

    def behave(change: SinkChange) -> Outcome | None:
        return Outcome("refused", "a VIP line") if change.number == NUMBERS[1] else None

    sink = MemorySink(behave)
    done = enforce(blocklist, sink)
    assert (done.outcomes, done.set_aside) == ({"enforced": 3, "refused": 1}, 1)
    sink.seen.clear()
    assert enforce(blocklist, sink).set_aside == 1
    assert sink.seen == []  # not asked again, until something about it changes
    put(world, blocklist, listed(*NUMBERS[2:4]) + listed(NUMBERS[0]) + listed(NUMBERS[1], scope="sms+voice"))
    sink.behave = lambda change: None
    assert enforce(blocklist, sink).outcomes == {"enforced": 1}
    assert sink.numbers == set(NUMBERS[:4])


def test_a_poisoned_item_is_set_aside_after_some_tries(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:4]))

    def behave(change: SinkChange) -> Outcome | None:
        return Outcome("failed", "timeout in the HLR") if change.number == NUMBERS[2] else None

    sink = MemorySink(behave)
    for run in range(1, 4):
        done = enforce(blocklist, sink, settings=EnforcementSettings(tries=3))
        assert done.outcomes["failed"] == 1
        assert done.set_aside == (1 if run == 3 else 0)
    sink.seen.clear()
    enforce(blocklist, sink, settings=EnforcementSettings(tries=3))
    assert sink.seen == []
    assert sink.numbers == {NUMBERS[0], NUMBERS[1], NUMBERS[3]}


def test_an_unblock_that_fails_is_never_given_up(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:2]))
    sink = MemorySink()
    enforce(blocklist, sink)
    put(world, blocklist, listed(NUMBERS[0]))
    for kind in ("failed", "refused", "failed", "failed"):
        sink.behave = lambda change, kind=kind: Outcome(kind, "not now")  # type: ignore[misc]
        done = enforce(blocklist, sink, settings=EnforcementSettings(tries=2))
        assert done.planned["unblock"] == 1
        assert NUMBERS[1] in sink.numbers
    sink.behave = lambda change: None
    assert enforce(blocklist, sink).outcomes == {"reversed": 1}
    assert sink.numbers == {NUMBERS[0]}


def test_a_sink_that_is_down_loses_nothing(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:6]))
    asked = 0

    def behave(change: SinkChange) -> Outcome | None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise SinkUnavailable("connection refused", retry_after=7)
        return None

    sink = MemorySink(behave)
    waited: list[float] = []
    with pytest.raises(Unreachable, match="connection refused") as down:
        enforce(blocklist, sink, settings=EnforcementSettings(batch=2), sleep=waited.append)
    assert down.value.retry_after == 7
    assert waited
    assert all(wait >= 7 for wait in waited)
    assert sink.numbers == set(NUMBERS[:3])  # one of them is in doubt
    sink.behave = lambda change: None
    sink.seen.clear()
    enforce(blocklist, sink)
    assert sink.numbers == set(NUMBERS[:6])
    assert {change.number for change in sink.seen} == set(NUMBERS[2:6])


def test_a_sink_that_does_not_permit_it_is_not_tried_again(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:2]))
    asked: list[SinkChange] = []

    def refuse(change: SinkChange) -> Outcome | None:
        asked.append(change)
        raise SinkUnavailable("wrong password", is_permitted=False)

    sink = MemorySink(refuse)
    waited: list[float] = []
    with pytest.raises(NotPermitted, match="does not permit this: wrong password"):
        enforce(blocklist, sink, sleep=waited.append)
    assert (len(asked), waited) == (1, [])
    sink.behave = lambda change: None
    enforce(blocklist, sink)
    assert sink.numbers == set(NUMBERS[:2])


def test_a_change_in_doubt_is_lifted_if_its_number_is_not_listed_any_more(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:2]))
    sink = MemorySink()

    class Killed(BaseException):
        pass

    apply = sink.apply

    def die(batch: Batch) -> Any:
        apply(batch)
        raise Killed

    sink.apply = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        enforce(blocklist, sink)
    sink.apply = apply  # type: ignore[method-assign]
    put(world, blocklist, listed(NUMBERS[0]))
    enforce(blocklist, sink)
    assert sink.numbers == {NUMBERS[0]}


def test_a_dry_run_does_nothing(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:3]))
    sink = MemorySink()
    done = enforce(blocklist, sink, dry_run=True)
    assert (done.dry_run, done.planned["block"], sink.seen) == (True, 3, [])
    assert reconcile(blocklist, sink).missing == 3
    assert not ledger_path(blocklist, "default").parent.exists()
    assert enforce(blocklist, sink).outcomes == {"enforced": 3}
    before = {path: path.read_bytes() for path in ledger_path(blocklist, "default").rglob("*") if path.is_file()}
    put(world, blocklist, listed(*NUMBERS[1:4]))
    done = enforce(blocklist, sink, dry_run=True)
    assert (done.planned["block"], done.planned["unblock"]) == (1, 1)
    assert (reconcile(blocklist, sink).missing, len(sink.seen)) == (1, 3)
    assert before == {
        path: path.read_bytes() for path in ledger_path(blocklist, "default").rglob("*") if path.is_file()
    }


def test_a_daily_cap_never_holds_up_an_unblock(world: World, blocklist: Blocklist) -> None:
    sink, capped = MemorySink(), EnforcementSettings(daily_cap=4, batch=3)
    put(world, blocklist, listed(*NUMBERS[:6]))
    done = enforce(blocklist, sink, settings=capped, clock=lambda: TOMORROW)
    assert (done.outcomes, done.deferred) == ({"enforced": 4}, 2)
    put(world, blocklist, listed(*NUMBERS[3:6]))
    done = enforce(blocklist, sink, settings=capped, clock=lambda: TOMORROW)
    assert (done.outcomes, done.deferred) == ({"reversed": 3}, 2)
    assert enforce(blocklist, sink, settings=capped, clock=lambda: TOMORROW + timedelta(days=1)).deferred == 0
    assert sink.numbers == set(NUMBERS[3:6])


def test_a_daily_cap_never_holds_up_a_change_that_lifts_something(world: World, blocklist: Blocklist) -> None:
    ranged = {"number": f"+{NUMBERS[2]}", "last": f"+{NUMBERS[10]}"}
    put(world, blocklist, [ranged, *listed(NUMBERS[15], scope="sms+voice")])
    sink = MemorySink()
    enforce(blocklist, sink)
    blocklist.overrides.allow(NUMBERS[7], reason="appeal")
    put(world, blocklist, [ranged, *listed(NUMBERS[15], scope="sms"), *listed(NUMBERS[16])])
    done = enforce(blocklist, sink, settings=EnforcementSettings(daily_cap=0))
    assert done.deferred == 2  # what lies behind the hole, and the new one
    assert sink.numbers == {*NUMBERS[2:7], NUMBERS[15]}
    assert sink.scopes(NUMBERS[15]) == {"sms"}
    enforce(blocklist, sink)
    assert sink.numbers == {*NUMBERS[2:7], *NUMBERS[8:11], NUMBERS[15], NUMBERS[16]}


@pytest.mark.parametrize("kind", ["refused", "failed", "pending", "killed"])
def test_a_change_that_lifts_something_is_asked_for_until_it_is_done(
    world: World, blocklist: Blocklist, kind: Any
) -> None:
    put(world, blocklist, [{"number": f"+{NUMBERS[2]}", "last": f"+{NUMBERS[10]}"}])
    sink = MemorySink()
    enforce(blocklist, sink)
    blocklist.overrides.allow(NUMBERS[7], reason="appeal")

    def behave(change: SinkChange) -> Outcome | None:
        if kind == "killed":
            raise KeyboardInterrupt
        return PENDING if kind == "pending" else Outcome(kind, "not this one")

    sink.behave = behave
    for _ in range(3):
        with contextlib.suppress(KeyboardInterrupt):
            enforce(blocklist, sink, settings=EnforcementSettings(tries=2))
    assert NUMBERS[7] in sink.numbers
    sink.behave = lambda change: Outcome("refused", "not this one")
    enforce(blocklist, sink)
    sink.behave = lambda change: None
    enforce(blocklist, sink, settings=EnforcementSettings(daily_cap=0))
    assert NUMBERS[7] not in sink.numbers
    enforce(blocklist, sink)
    assert not enforce(blocklist, sink).outcomes


def test_a_failed_change_is_lifted_if_its_number_is_not_listed_any_more(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(NUMBERS[0]))
    sink = MemorySink()
    answer = sink.apply

    def time_out(batch: Batch) -> list[Outcome]:
        answer(batch)
        return [Outcome("failed", "timeout in the HLR")] * len(batch)

    sink.apply = time_out  # type: ignore[method-assign]
    enforce(blocklist, sink)
    assert sink.numbers == {NUMBERS[0]}
    sink.apply = answer  # type: ignore[method-assign]
    put(world, blocklist, [])
    enforce(blocklist, sink)
    assert sink.numbers == set()


def test_a_pending_change_counts_once_for_the_daily_cap(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:4]))
    sink = MemorySink(lambda change: PENDING)
    day = TOMORROW
    for expected in (2, 4):
        enforce(blocklist, sink, settings=EnforcementSettings(daily_cap=2), clock=itertools.repeat(day).__next__)
        assert len({change.number for change in sink.seen}) == expected
        day += timedelta(days=1)


def test_a_rate_is_kept(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:10]))
    waited: list[float] = []
    enforce(blocklist, MemorySink(), settings=EnforcementSettings(rate=4), sleep=waited.append)
    assert sum(waited) == pytest.approx(10 / 4, abs=0.5)


@pytest.mark.parametrize(("rate", "batch", "expected"), [(0.5, 10_000, 100), (250, 10_000, 250), (5000, 70, 70)])
def test_a_rate_makes_no_tiny_batches(
    world: World, blocklist: Blocklist, rate: float, batch: int, expected: int
) -> None:
    put(world, blocklist, listed(*range(BASE, BASE + 500)))
    waited: list[float] = []
    sizes: list[int] = []

    class Sizes(MemorySink):
        def apply(self, batch: Batch) -> Sequence[Outcome]:
            sizes.append(len(batch))
            return super().apply(batch)

    enforce(blocklist, Sizes(), settings=EnforcementSettings(rate=rate, batch=batch), sleep=waited.append)
    assert sizes[:-1] == [expected] * (len(sizes) - 1)
    assert sum(sizes) == 500
    assert sum(waited) <= 500 / rate
    if rate == 0.5:
        assert sum(waited) == pytest.approx(500 / rate, rel=0.05)
        assert max(waited) <= 10, "so that an unblock does not wait"


def test_a_sinks_own_error_fails_its_batch_and_nothing_else(
    world: World, blocklist: Blocklist, caplog: pytest.LogCaptureFixture
) -> None:
    put(world, blocklist, listed(*NUMBERS[:6]))

    class Plugin(MemorySink):
        is_broken = True

        def apply(self, batch: Batch) -> Sequence[Outcome]:
            if self.is_broken and NUMBERS[2] in [change.number for change in batch]:
                raise KeyError("imsi of a generated number")
            return super().apply(batch)

    sink, how = Plugin(), EnforcementSettings(batch=2, tries=3)
    done = enforce(blocklist, sink, settings=how)
    assert done.outcomes == {"enforced": 4, "failed": 2}
    assert sink.numbers == {*NUMBERS[:2], *NUMBERS[4:6]}
    with Ledger.read(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        details = {detail for record in ledger.records() for detail in record.details.values()}
    assert details == {"the sink raised KeyError: the log has the rest"}
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], KeyError)
    for _ in range(5):
        done = enforce(blocklist, sink, settings=how)
        assert (done.outcomes, done.set_aside) == ({"failed": 2}, 0), "the items are not to blame"
    sink.is_broken = False
    assert enforce(blocklist, sink, settings=how).outcomes == {"enforced": 2}
    assert sink.numbers == set(NUMBERS[:6])


def test_errors_of_this_library_end_the_run(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:6]))

    class Damaged(MemorySink):
        def apply(self, batch: Batch) -> Sequence[Outcome]:
            raise Malformed("what it holds makes no sense")

    with pytest.raises(Malformed, match="makes no sense"):
        enforce(blocklist, Damaged(), settings=EnforcementSettings(batch=2))


@pytest.mark.parametrize("what", ["release", "override", "end"])
def test_an_unblock_does_not_wait_for_the_end_of_a_long_run(
    world: World, blocklist: Blocklist, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(delivery, "_LOOK_S", 0.0)
    now = datetime.now(UTC)
    put(world, blocklist, listed(NUMBERS[0], until=now + timedelta(days=1)))
    sink = MemorySink()
    enforce(blocklist, sink)
    put(world, blocklist, listed(NUMBERS[0], until=now + timedelta(days=1)) + listed(*NUMBERS[1:10]))
    sink.seen.clear()
    ended = False

    def wait(seconds: float) -> None:
        nonlocal ended
        if len(sink.seen) != 3 or ended:
            return
        ended = what == "end"
        if what == "release":
            put(world, blocklist, listed(*NUMBERS[1:11]))
        elif what == "override":
            blocklist.overrides.allow(NUMBERS[0], reason="appeal")

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(days=2 if ended else 0)

    done = enforce(blocklist, sink, settings=EnforcementSettings(rate=1, batch=1), sleep=wait, clock=clock)
    assert [change.operation for change in sink.seen[:5]] == ["block"] * 3 + ["unblock", "block"]
    assert sink.numbers == set(NUMBERS[1 : 11 if what == "release" else 10])
    assert done.planned["block"] == 9
    assert done.outcomes["reversed"] == 1
    assert not enforce(blocklist, sink, clock=clock).outcomes


def test_only_one_operators_numbers(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(6281255500001, 6285755500001, 14155550100))
    sink = MemorySink()
    enforce(blocklist, sink, settings=EnforcementSettings(only_operator="telkomsel"))
    assert sink.numbers == {6281255500001}
    enforce(blocklist, sink, settings=EnforcementSettings(only_operator="telkomsel+indosat"))
    assert sink.numbers == {6281255500001, 6285755500001}
    assert EnforcementSettings(only_operator="telkomsel+indosat") == EnforcementSettings(
        only_operator="indosat+telkomsel"
    )


def test_drift_is_found_and_repaired(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:5]))
    sink = MemorySink()
    enforce(blocklist, sink)
    assert not reconcile(blocklist, sink)
    lost = sink.held.pop(NUMBERS[0])
    sink.held[NUMBERS[9]] = SinkChange("block", NUMBERS[9], NUMBERS[9], ("sms",), "", (), None, FEED, 1)
    sink.held[NUMBERS[3]] = SinkChange("block", NUMBERS[3], NUMBERS[3], ("voice",), "", (), None, FEED, 1)
    drift = reconcile(blocklist, sink, repair=True)
    assert (drift.missing, drift.surplus, drift.differing) == (1, 1, 1)
    assert drift.examples == {"missing": (NUMBERS[0],), "surplus": (NUMBERS[9],), "differing": (NUMBERS[3],)}
    sink.seen.clear()
    enforce(blocklist, sink)
    assert [(change.operation, change.number) for change in sink.seen] == [
        ("unblock", NUMBERS[9]),
        ("change", NUMBERS[3]),
        ("block", NUMBERS[0]),
    ]
    assert sink.held[NUMBERS[0]].entries == lost.entries
    assert not reconcile(blocklist, sink)


def test_the_statement_counts_repairs_apart(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:5]))
    sink = MemorySink()
    enforce(blocklist, sink)
    sink.held.pop(NUMBERS[0])
    sink.held[NUMBERS[9]] = SinkChange("block", NUMBERS[9], NUMBERS[9], ("sms",), "", (), None, FEED, 1)
    sink.held[NUMBERS[3]] = SinkChange("block", NUMBERS[3], NUMBERS[3], ("voice",), "", (), None, FEED, 1)
    put(world, blocklist, listed(*NUMBERS[:7]))  # two more are missing, but only since the list wants them
    assert reconcile(blocklist, sink, repair=True).missing == 3
    reconcile(blocklist, sink, repair=True)
    enforce(blocklist, sink)
    with Ledger.read(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        now = datetime.now(UTC)
        statement = monthly_statement(ledger, f"{now:%Y-%m}", now=now)
    block, repairs = statement.operations["block"], statement.repairs
    assert (block.received, block.enforced, statement.categories[0].received) == (7, 7, 7)
    assert (repairs.blocked, repairs.changed, repairs.lifted, repairs.received) == (1, 1, 1, 3)
    assert statement.operations["unblock"].received == statement.operations["change"].received == 0
    assert statement.own_decisions == 0


def test_a_sink_that_lost_everything_is_filled_again(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:5]))
    sink = MemorySink()
    enforce(blocklist, sink)
    sink.held.clear()
    assert reconcile(blocklist, sink, repair=True).missing == 5
    assert enforce(blocklist, sink).outcomes == {"enforced": 5}
    assert not reconcile(blocklist, sink)


def test_a_repaired_item_has_receipts_like_any_other(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:4]))
    ids = [blocklist.entries(number)[0].entry for number in NUMBERS[:4]]
    sink = MemorySink(lambda change: PENDING if change.number == NUMBERS[3] else None)
    enforce(blocklist, sink)
    held = {number: sink.held[number] for number in NUMBERS[:3]}
    put(world, blocklist, listed(NUMBERS[0], scope="voice", issuer="bank") + listed(NUMBERS[2], NUMBERS[3]))
    # The first differs, the second is too much, the last was done meanwhile.
    sink.held = {**held, NUMBERS[3]: SinkChange("block", NUMBERS[3], NUMBERS[3], ("sms",), "", (), None, FEED, 1)}
    new = blocklist.entries(NUMBERS[0])[0].entry
    assert new != ids[0]
    reconcile(blocklist, sink, repair=True)
    before = len(receipts_in(blocklist))
    sink.behave = lambda change: None
    enforce(blocklist, sink)
    assert sorted(receipts_in(blocklist)[before:]) == sorted(
        [(ids[0], "reversed"), (new, "enforced"), (ids[1], "reversed"), (ids[3], "enforced")]
    )
    assert not reconcile(blocklist, sink)


def test_an_unblock_in_doubt_has_a_receipt_after_a_repair(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:2]))
    entry = blocklist.entries(NUMBERS[1])[0].entry
    sink = MemorySink()
    enforce(blocklist, sink)
    put(world, blocklist, listed(NUMBERS[0]))

    def lift_and_die(change: SinkChange) -> Outcome | None:
        del sink.held[change.number]
        raise KeyboardInterrupt

    sink.behave = lift_and_die
    with pytest.raises(KeyboardInterrupt):
        enforce(blocklist, sink)
    sink.behave = lambda change: None
    assert not reconcile(blocklist, sink, repair=True)
    enforce(blocklist, sink)
    assert receipts_in(blocklist).count((entry, "reversed")) == 1
    assert not enforce(blocklist, sink).outcomes


def test_an_item_that_the_sink_declined_but_holds_is_lifted(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(*NUMBERS[:3]))
    sink = MemorySink(lambda change: Outcome("not-ours") if change.number == NUMBERS[1] else None)
    enforce(blocklist, sink)
    assert not reconcile(blocklist, sink)
    sink.held[NUMBERS[1]] = SinkChange("block", NUMBERS[1], NUMBERS[1], ("sms",), "", (), None, FEED, 1)
    assert reconcile(blocklist, sink, repair=True).surplus == 1
    put(world, blocklist, listed(NUMBERS[2]))
    sink.behave = lambda change: None
    enforce(blocklist, sink)
    assert sink.numbers == {NUMBERS[2]}
    with Ledger.open(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        assert len(ledger.state().whole().items) == 1


DAMAGED = ("ledger.json", "base", "batch", "done")
HOW = ("gone", "empty", "cut", "noise")


class CountingSink(MemorySink):
    """Keeps the number of the last batch with what it holds."""

    last: int | None = None

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        outcomes = super().apply(batch)
        self.last = batch.number_in_ledger
        return outcomes

    def applied(self) -> int | None:
        return self.last


def test_a_ledger_restored_from_an_old_copy_must_be_reconciled_first(
    world: World, blocklist: Blocklist, tmp_path: Path
) -> None:
    put(world, blocklist, listed(*NUMBERS[:2]))
    sink = CountingSink()
    enforce(blocklist, sink)
    directory = ledger_path(blocklist, "default")
    shutil.copytree(directory, tmp_path / "copy")
    for count in (3, 4, 5):
        put(world, blocklist, listed(*NUMBERS[:count]))
        enforce(blocklist, sink)
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "copy", directory)
    put(world, blocklist, listed(*NUMBERS[1:4]))
    with pytest.raises(Malformed, match="reconcile"):
        enforce(blocklist, sink)
    assert reconcile(blocklist, sink, repair=True).surplus == 2
    enforce(blocklist, sink)
    assert sink.numbers == set(NUMBERS[1:4])
    assert sink.last == 5
    assert not enforce(blocklist, sink).outcomes


@pytest.mark.parametrize(
    ("damaged", "how"),
    scaled(
        [*zip(DAMAGED, HOW, strict=True), ("done", "gone")],
        long=[*itertools.product(DAMAGED, HOW)],
    ),
)
def test_a_damaged_ledger_is_an_error_that_says_what_to_do(
    world: World, blocklist: Blocklist, tmp_path: Path, damaged: str, how: str
) -> None:
    put(world, blocklist, listed(*NUMBERS[:3]))
    sink = MemorySink()
    enforce(blocklist, sink)
    assert not reconcile(blocklist, sink, repair=True)  # which makes a base
    put(world, blocklist, listed(*NUMBERS[:5]))
    enforce(blocklist, sink)
    put(world, blocklist, listed(*NUMBERS[:6]))
    enforce(blocklist, sink)
    put(world, blocklist, listed(NUMBERS[0]))
    directory = ledger_path(blocklist, "default")
    file = {
        "ledger.json": directory / "ledger.json",
        "base": next(directory.glob("base-*")),
        "batch": directory / "records/000000002.batch.arrow",
        "done": directory / "records/000000002.done.arrow",
    }[damaged]
    data = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "noise": b"x" * len(data)}[how])
    if (damaged, how) == ("done", "gone"):  # as if the run had been killed before it
        enforce(blocklist, sink)
    else:
        with pytest.raises((Malformed, StorageFailed)):
            enforce(blocklist, sink)
        directory.rename(tmp_path / "away")
        reconcile(blocklist, sink, repair=True)
        enforce(blocklist, sink)
    assert sink.numbers == {NUMBERS[0]}


def test_one_run_at_a_time(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, listed(NUMBERS[0]))
    with Ledger.open(ledger_path(blocklist, "default"), feed=FEED), pytest.raises(Locked):
        enforce(blocklist, MemorySink(), wait_s=0)
    with pytest.raises(InvalidInput, match="cannot name a sink"):
        enforce(blocklist, MemorySink(), name="../x")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"tries": 0}, "tries must be at least 1, not 0"),
        ({"rate": 0}, "rate must be greater than 0 and finite, not 0"),
        ({"rate": math.inf}, "rate must be greater than 0 and finite, not inf"),
        ({"rate": math.nan}, "rate must be greater than 0 and finite, not nan"),
        ({"rate": 1e-300}, "rate must be at least one change a day"),
        ({"daily_cap": -1}, "daily_cap must be 0 or more, not -1"),
        ({"scopes": ()}, "the scopes are .*name at least one"),
        ({"scopes": ("telex",)}, "the scopes are .*name at least one"),
        ({"only_operator": "nobody"}, "no operator 'nobody' is known: name one of .*telkomsel"),
        ({"only_operator": "telkomsel+nobody"}, "no operator 'nobody' is known"),
        ({"only_operator": ""}, "no operator '' is known"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_what_is_expected(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        EnforcementSettings(**wrong)


def receipts_in(blocklist: Blocklist) -> list[tuple[int, str]]:
    """The receipts of all records, by entry and outcome, in their order."""
    with Ledger.open(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        records = list(ledger.records())
        assert all(count_receipts(record) == len(list(receipts_of(record))) for record in records)
        return [(each.entry, each.outcome) for record in records for each in receipts_of(record)]


def test_an_entry_that_goes_has_a_receipt_while_another_blocks_the_number(world: World, blocklist: Blocklist) -> None:
    ranged = {"number": f"+{NUMBERS[2]}", "last": f"+{NUMBERS[10]}", "issuer": "authority"}
    put(world, blocklist, [ranged, *listed(NUMBERS[4], issuer="bank"), *listed(NUMBERS[15], issuer="bank")])
    ids = {entry.issuer: entry.entry for entry in blocklist.entries(NUMBERS[4])}
    sink = MemorySink()
    enforce(blocklist, sink)
    assert {entry for entry, _ in receipts_in(blocklist)} == {*ids.values(), blocklist.entries(NUMBERS[15])[0].entry}
    before = len(receipts_in(blocklist))
    put(world, blocklist, [ranged, *listed(NUMBERS[15], issuer="bank")])
    enforce(blocklist, sink)
    assert sink.scopes(NUMBERS[4]) == {"sms"}
    later = receipts_in(blocklist)[before:]
    assert (ids["bank"], "reversed") in later
    assert (ids["authority"], "reversed") not in later  # it goes on blocking, only cut in another way
    put(world, blocklist, [])
    enforce(blocklist, sink)
    assert (ids["authority"], "reversed") in receipts_in(blocklist)


def test_each_entry_that_goes_has_one_receipt(world: World, blocklist: Blocklist) -> None:
    both = [*listed(NUMBERS[4], issuer="authority"), *listed(NUMBERS[4], issuer="bank")]
    put(world, blocklist, both)
    ids = {entry.issuer: entry.entry for entry in blocklist.entries(NUMBERS[4])}
    sink = MemorySink()
    for rows in (both, both[:1], []):
        put(world, blocklist, rows)
        enforce(blocklist, sink)
    reversed_ = [entry for entry, outcome in receipts_in(blocklist) if outcome == "reversed"]
    assert reversed_ == [ids["bank"], ids["authority"]]


def test_an_entry_that_goes_has_a_receipt_after_its_change_was_in_doubt(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, [*listed(NUMBERS[4], issuer="authority"), *listed(NUMBERS[4], issuer="bank")])
    ids = {entry.issuer: entry.entry for entry in blocklist.entries(NUMBERS[4])}
    sink = MemorySink()
    enforce(blocklist, sink)
    put(world, blocklist, listed(NUMBERS[4], issuer="authority"))

    def die(change: SinkChange) -> Outcome | None:
        raise KeyboardInterrupt

    sink.behave = die
    with pytest.raises(KeyboardInterrupt):
        enforce(blocklist, sink)
    sink.behave = lambda change: None
    enforce(blocklist, sink)
    assert [entry for entry, outcome in receipts_in(blocklist) if outcome == "reversed"] == [ids["bank"]]


def test_an_entry_whose_range_is_cut_to_single_numbers_still_blocks(world: World, blocklist: Blocklist) -> None:
    put(world, blocklist, [{"number": f"+{NUMBERS[2]}", "last": f"+{NUMBERS[4]}"}])
    entry = blocklist.entries(NUMBERS[3])[0].entry
    sink = MemorySink()
    for allowed in (3, 2):
        blocklist.overrides.allow(NUMBERS[allowed], reason="appeal")
        enforce(blocklist, sink)
    assert sink.numbers == {NUMBERS[4]}
    assert (entry, "reversed") not in receipts_in(blocklist)
    blocklist.overrides.allow(NUMBERS[4], reason="appeal")
    enforce(blocklist, sink)
    assert receipts_in(blocklist).count((entry, "reversed")) == 1


def test_many_runs_with_faults_end_with_the_right_content(world: World, blocklist: Blocklist) -> None:
    chance = random.Random(3)
    sink = MemorySink()

    def behave(change: SinkChange) -> Outcome | None:
        fate = chance.random()
        if fate < 0.05:
            raise SinkUnavailable("away")
        return Outcome("failed", "busy") if fate < 0.15 else None

    for _ in range(6):
        put(world, blocklist, listed(*chance.sample(NUMBERS, 12)))
        sink.behave = behave
        for _ in range(3):
            try:
                enforce(blocklist, sink, settings=EnforcementSettings(batch=2, tries=1000), sleep=lambda wait: None)
            except Unreachable:
                continue
    sink.behave = lambda change: None
    enforce(blocklist, sink)
    held, rules = internals_of(blocklist).in_force()
    wanted = desired_items(held.rows, rules, datetime.now(UTC))
    assert {(c.number, c.scope) for c in sink.held.values()} == {
        (number, scopes_of(scope)) for number, scope in zip(wanted.number.tolist(), wanted.scope.tolist(), strict=True)
    }
    assert not reconcile(blocklist, sink)
