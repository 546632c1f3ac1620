"""The contract of sinks: a sink that keeps it passes, and each broken promise is found."""

import inspect
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from blocklist_sdk.enforcement.items import OWN_ENTRY, Batch, SinkChange
from blocklist_sdk.enforcement.sink import HeldItem, Outcome, UniformOutcomes, all_done
from blocklist_sdk.testing import ContractBroken, Item, MakeSink, SinkContract, check_sink, make_batch, make_items
from blocklist_sdk.testing import sinks as testing

REFUSED = 6281300000000


class System:
    """The system behind several sinks: items by feed and first number, and the number of each feed's last batch."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held: dict[str, dict[int, HeldItem]] = {}
        self.last: dict[str, int] = {}


class MemorySink:
    """Keeps every promise."""

    def __init__(self, system: System, feed: str) -> None:
        self.system = system
        self.feed = feed
        self.closings = 0

    @property
    def mine(self) -> dict[int, HeldItem]:
        return self.system.held.setdefault(self.feed, {})

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        with self.system.lock:
            outcomes = [self.do(change) for change in batch]
            self.system.last[self.feed] = batch.number_in_ledger
        return outcomes

    def do(self, change: SinkChange) -> Outcome:
        if change.number == REFUSED:
            return Outcome("refused", "it is ours")
        if change.operation == "unblock":
            self.mine.pop(change.number, None)
            return Outcome("reversed")
        self.mine[change.number] = HeldItem(change.number, change.last, change.scope)
        return Outcome("enforced")

    def current(self) -> Iterator[HeldItem]:
        with self.system.lock:
            return iter(list(self.mine.values()))

    def applied(self) -> int | None:
        with self.system.lock:
            return self.system.last.get(self.feed)

    def close(self) -> None:
        self.closings += 1


class BlindSink(MemorySink):
    """Cannot be read."""

    current = None  # type: ignore[assignment]
    applied = None  # type: ignore[assignment]


class TooFewOutcomes(MemorySink):
    def apply(self, batch: Batch) -> Sequence[Outcome]:
        return super().apply(batch)[1:]


class ShuffledOutcomes(MemorySink):
    def apply(self, batch: Batch) -> Sequence[Outcome]:
        return list(reversed(super().apply(batch)))


class AppendsWhatComesTwice(MemorySink):
    def current(self) -> Iterator[HeldItem]:
        seen = self.system.held.setdefault(f"{self.feed} all", {})
        return iter([*seen.values(), *super().current()])

    def do(self, change: SinkChange) -> Outcome:
        if change.number in self.mine and change.operation == "block":
            self.system.held.setdefault(f"{self.feed} all", {})[change.number] = self.mine[change.number]
        return super().do(change)


class KeepsTheOld(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        return (
            Outcome("enforced") if change.number in self.mine and change.operation == "change" else super().do(change)
        )


class UnblocksByTheWholeRun(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        held = self.mine.get(change.number)
        if change.operation == "unblock" and held and held.last != change.last:
            return Outcome("reversed")
        return super().do(change)


class FailsToUnblockTheAbsent(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        if change.operation == "unblock" and change.number not in self.mine:
            return Outcome("failed", "not found")
        return super().do(change)


class SingleNumbersOnly(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        return super().do(replace(change, last=change.number))


class VoiceOnly(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        return super().do(replace(change, scope=("voice",)))


class CannotEnd(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        return Outcome("refused", "no ends here") if change.until else super().do(change)


class FloatingPoint(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        assert all(int(float(entry)) == entry for entry in change.entries), "an id is another as a float"
        return super().do(change)


class WantsEntries(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        return Outcome("enforced", f"entry {change.entries[0]}") and super().do(change)


class AsciiOnly(MemorySink):
    def do(self, change: SinkChange) -> Outcome:
        change.category.encode("ascii")
        return super().do(change)


class AThousandAtMost(MemorySink):
    def apply(self, batch: Batch) -> Sequence[Outcome]:
        for place in range(min(len(batch), 1000)):
            self.do(batch[place])
        self.system.last[self.feed] = batch.number_in_ledger
        return all_done(batch)


class ForgetsWhenClosed(MemorySink):
    def close(self) -> None:
        super().close()
        self.mine.clear()


class OneBagForAll(MemorySink):
    @property
    def mine(self) -> dict[int, HeldItem]:
        return self.system.held.setdefault("all", {})


class ClosesOnce(MemorySink):
    def close(self) -> None:
        super().close()
        if self.closings > 1:
            raise RuntimeError("closed already")


class CountsBatches(MemorySink):
    def apply(self, batch: Batch) -> Sequence[Outcome]:
        count = self.system.last.get(self.feed, 0)
        outcomes = super().apply(batch)
        self.system.last[self.feed] = count + 1
        return outcomes


class NumberComesLater(MemorySink):
    def apply(self, batch: Batch) -> Sequence[Outcome]:
        outcomes = [self.do(change) for change in batch]
        time.sleep(0.02)
        self.system.last[self.feed] = batch.number_in_ledger
        return outcomes


BROKEN = {
    TooFewOutcomes: "one outcome each",
    ShuffledOutcomes: "outcomes in order",
    AppendsWhatComesTwice: "same batch twice",
    KeepsTheOld: "replaced",
    UnblocksByTheWholeRun: "unblocked",
    FailsToUnblockTheAbsent: "unblock absent",
    SingleNumbersOnly: "ranges",
    VoiceOnly: "scopes",
    CannotEnd: "until",
    FloatingPoint: "big numbers",
    WantsEntries: "own decisions",
    AsciiOnly: "categories",
    AThousandAtMost: "many",
    ForgetsWhenClosed: "outlives",
    OneBagForAll: "feeds apart",
    ClosesOnce: "closed twice",
    CountsBatches: "applied counts up",
    NumberComesLater: "applied in one transaction",
}
"""Sinks that break a promise, and the check that finds it, maybe among others."""


class TestMemorySink(SinkContract):
    refuses = REFUSED

    @pytest.fixture
    def make_sink(self) -> MakeSink:
        system = System()
        return lambda feed: MemorySink(system, feed)


class TestBlindSink(SinkContract):
    """Seen past the sink."""

    @pytest.fixture(autouse=True)
    def _system(self) -> None:
        self.system = System()

    @pytest.fixture
    def make_sink(self) -> MakeSink:
        return lambda feed: BlindSink(self.system, feed)

    def held_items(self, feed: str) -> list[HeldItem]:
        return list(self.system.held.get(feed, {}).values())


def maker(kind: type[MemorySink]) -> MakeSink:
    system = System()
    return lambda feed: kind(system, feed)


def test_a_sink_that_keeps_every_promise_passes() -> None:
    check_sink(maker(MemorySink), refuses=REFUSED)
    check_sink(maker(BlindSink))


@pytest.mark.timing
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_promise_is_found(kind: type[MemorySink]) -> None:
    with pytest.raises(ContractBroken) as found:
        check_sink(maker(kind), refuses=REFUSED)
    assert f"\n{BROKEN[kind]}: " in str(found.value)


def test_every_check_can_fail() -> None:
    assert sorted(BROKEN.values()) == sorted(each.__name__.strip("_").replace("_", " ") for each in testing.CHECKS)


def is_check(value: Callable[..., Any]) -> bool:
    return inspect.isfunction(value) and list(inspect.signature(value).parameters) == ["probe"]


def test_the_class_for_pytest_has_every_check() -> None:
    defined = [name for name, value in vars(testing).items() if callable(value) and is_check(value)]
    assert sorted(check.__name__ for check in testing.CHECKS) == sorted(defined)
    assert len([name for name in vars(SinkContract) if name.startswith("test_")]) == len(defined)


def test_faults_of_a_sink_that_cannot_be_read_are_found_in_the_system_behind_it() -> None:
    system = System()

    class Lying(BlindSink):
        def do(self, change: SinkChange) -> Outcome:
            return Outcome("reversed" if change.operation == "unblock" else "enforced")

    check_sink(lambda feed: Lying(system, feed))
    with pytest.raises(ContractBroken, match="ranges: the system holds nothing for 3 blocked numbers"):
        check_sink(lambda feed: Lying(system, feed), held_items=lambda feed: system.held.get(feed, {}).values())


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome("done"), "no receipt can have"),  # type: ignore[arg-type]
        (Outcome("enforced", "x" * 1001), "too long"),
        (Outcome("enforced", None), "not text"),  # type: ignore[arg-type]
        (Outcome("reversed"), "only an unblock can be"),
        ("enforced", "not an `Outcome`"),
    ],
)
def test_outcomes_that_a_ledger_cannot_write_down_are_found(outcome: Any, said: str) -> None:
    class Odd(MemorySink):
        def apply(self, batch: Batch) -> Sequence[Outcome]:
            return [outcome] * len(batch)

    with pytest.raises(ContractBroken, match=said):
        testing.outcomes_of(Odd(System(), "id-test"), make_batch("block", [6281200000001]))


def test_the_refused_number_must_not_be_one_that_the_checks_use() -> None:
    with pytest.raises(ValueError, match="which the checks use"):
        check_sink(maker(MemorySink), refuses=6281200000112)


def test_outcomes_may_be_the_same_for_all() -> None:
    class Brief(MemorySink):
        def apply(self, batch: Batch) -> Sequence[Outcome]:
            super().apply(batch)
            return all_done(batch)

    check_sink(maker(Brief))
    assert isinstance(all_done(make_batch("block", [6281200000001])), UniformOutcomes)


def test_errors_of_a_sink_are_in_the_message() -> None:
    class Down(MemorySink):
        def apply(self, batch: Batch) -> Sequence[Outcome]:
            raise ConnectionError("no route")

    with pytest.raises(ContractBroken, match=r"ConnectionError: no route") as found:
        check_sink(maker(Down))
    assert "many: ConnectionError" in str(found.value)


def test_errors_of_other_threads_are_not_lost() -> None:
    class DownBeside(MemorySink):
        def apply(self, batch: Batch) -> Sequence[Outcome]:
            if batch.feed.endswith("-other"):
                raise ConnectionError("one connection only")
            return super().apply(batch)

    with pytest.raises(ContractBroken, match="feeds apart: ConnectionError: one connection only"):
        check_sink(maker(DownBeside))


def test_items_for_tests_are_as_a_sink_gets_them() -> None:
    items = make_items([6281200000005, Item(6281200000001, last=6281200000003, scope=("voice",), entries=(9, 4))])
    assert items.number.tolist() == [6281200000001, 6281200000005]
    assert items.last.tolist() == [6281200000003, 6281200000005]
    assert items.entries(0) == (9, 4)
    assert items.entry.tolist() == [4, 1]
    assert make_items([Item(6281200000001, entries=())]).entry.tolist() == [OWN_ENTRY]
    assert len(make_items([])) == 0


def test_items_must_not_overlap() -> None:
    with pytest.raises(ValueError, match="items overlap"):
        make_items([Item(6281200000001, last=6281200000003), 6281200000003])


def test_pytest_is_not_needed() -> None:
    import subprocess
    import sys

    program = "import sys, blocklist_sdk.testing as kit; kit.check_sink, kit.fake_repository; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "blocklist_sdk.testing.repository" in loaded
    assert "pytest" not in loaded


def test_a_sink_is_closed_also_where_a_check_fails() -> None:
    made: list[MemorySink] = []
    system = System()

    def make(feed: str) -> MemorySink:
        made.append(TooFewOutcomes(system, feed))
        return made[-1]

    with suppress(ContractBroken):
        check_sink(make)
    assert made
    assert all(sink.closings for sink in made)
