"""The contract of a sink as tests that any sink can run against itself, and batches for tests.

With pytest, a class and a fixture are enough (this module does not import pytest)::

    class TestMySink(SinkContract):
        @pytest.fixture
        def make_sink(self):
            return lambda feed: MySink("mine://localhost/test", feed=feed)

Without pytest, `check_sink` does the same in one call. The checks write numbers of feeds with names of their own into
the system behind the sink, so use a system for tests. All numbers are generated.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import OWN_CATEGORY, OWN_ENTRY, Batch, Items, Operation, mask_of, scopes_of
from blocklist_sdk.enforcement.sink import (
    DETAIL_CHARS_MAX,
    OUTCOME_KINDS,
    HeldItem,
    Outcome,
    ReadableSink,
    Sink,
    TransactionalSink,
)
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import FOREVER_MS

__all__ = [
    "ContractBroken",
    "Item",
    "SinkContract",
    "check_sink",
    "make_batch",
    "make_items",
    "outcomes_of",
]

MakeSink = Callable[[str], Sink]
"""Opens a sink for a feed. It is called several times for one feed, also while another sink for it is open."""

ReadItems = Callable[[str], Iterable[HeldItem]]
"""Returns the items of a feed in the system behind the sink, without using the sink."""

_MANY: Final = 10_000
_FIRST: Final = 6281200000000
_USED: Final = range(_FIRST, _FIRST + 10 * _MANY)
_SHORTEST: Final = 100_000
_LONGEST: Final = 999_999_999_999_999
_DONE: Final = {"enforced", "already-inactive"}
_LIFTED: Final = {"enforced", "reversed", "already-inactive"}
_WATCHED_BATCHES: Final = 20
_PATIENCE_S: Final = 60.0


class ContractBroken(AssertionError):
    """A sink breaks the contract."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item for a test.

    Attributes:
        number: the first number.
        last: the last number; None for a single number.
        scope: where it is blocked.
        category: why.
        entries: ids of the entries behind it; empty for a decision of the recipient's own.
        until: when it ends, timezone-aware; None if it never does.
    """

    number: int
    last: int | None = None
    scope: tuple[str, ...] = ("sms", "voice")
    category: str = "fraud"
    entries: tuple[int, ...] = (1,)
    until: datetime | None = None


def make_items(items: Iterable[int | Item]) -> Items:
    """Items for a test, as a sink gets them.

    Args:
        items: numbers, or an `Item` where a number is not enough.

    Raises:
        ValueError: items overlap.

    >>> items = make_items([6281200000002, Item(6281200000000, last=6281200000001, scope=("voice",))])
    >>> items.number.tolist(), items.last.tolist()
    ([6281200000000, 6281200000002], [6281200000001, 6281200000002])
    """
    rows = sorted((Item(item) if isinstance(item, int) else item for item in items), key=lambda row: row.number)
    last = [row.number if row.last is None else row.last for row in rows]
    if any(end >= row.number for end, row in zip(last, rows[1:], strict=False)):
        raise ValueError("items overlap, which those of a sink never do")
    categories = tuple(dict.fromkeys(row.category for row in rows))
    codes = {name: code for code, name in enumerate(categories)}
    return Items(
        number=np.array([row.number for row in rows], np.int64),
        last=np.array(last, np.int64),
        scope=np.array([mask_of(row.scope) for row in rows], np.uint8),
        entry=np.array([min(row.entries, default=OWN_ENTRY) for row in rows], np.int64),
        until=np.array([_milliseconds(row.until) for row in rows], np.int64),
        category=np.array([codes[row.category] for row in rows], np.int32),
        categories=categories,
        entry_lists={index: row.entries for index, row in enumerate(rows) if len(row.entries) > 1},
    )


def make_batch(
    operation: Operation,
    items: Iterable[int | Item],
    *,
    feed: str = "id-test",
    number_in_ledger: int = 1,
    serial: int = 1,
) -> Batch:
    """A batch for a test, as `enforce` hands it to a sink.

    >>> batch = make_batch("block", [6281200000001, Item(6281200000002, entries=(7, 9))])
    >>> len(batch), batch[1].number, batch[1].entries
    (2, 6281200000002, (7, 9))
    """
    return Batch(number_in_ledger, operation, make_items(items), feed, serial)


class _Probe:
    """Applies batches to a sink, in order, and checks the results."""

    def __init__(self, make_sink: MakeSink, held_items: ReadItems | None, feed: str, refuses: int | None) -> None:
        if refuses is not None and refuses in _USED:
            raise ValueError(f"refuses must not be one of {_USED[0]} to {_USED[-1]}, which the checks use")
        self.feed = feed
        self.refuses = refuses
        self.number = 0
        self._make_sink = make_sink
        self._held_items = held_items

    def beside(self, feed: str) -> "_Probe":
        return _Probe(self._make_sink, self._held_items, feed, self.refuses)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Sink]:
        sink = self._make_sink(self.feed)
        _require(isinstance(sink, Sink), "it has no `apply` or no `close`")
        try:
            yield sink
        except BaseException:
            with contextlib.suppress(Exception):
                sink.close()
            raise
        sink.close()

    def batch(self, operation: Operation, items: Iterable[int | Item]) -> Batch:
        self.number += 1
        return make_batch(operation, items, feed=self.feed, number_in_ledger=self.number, serial=7)

    def apply(self, sink: Sink, operation: Operation, items: Iterable[int | Item]) -> None:
        self.hand(sink, self.batch(operation, items))

    def hand(self, sink: Sink, batch: Batch) -> None:
        """Apply a batch, and require that every change is done."""
        done = _LIFTED if batch.operation == "unblock" else _DONE
        for index, outcome in enumerate(outcomes_of(sink, batch)):
            if outcome.kind not in done:
                what = f"{outcome.kind} ({outcome.detail})" if outcome.detail else outcome.kind
                raise ContractBroken(f"outcome {index} of a {batch.operation} batch is {what}")

    def expect(self, sink: Sink, items: Iterable[int | Item]) -> None:
        """Require that the sink holds exactly these items, as far as it can be read."""
        wanted = make_items(items)
        expected = {
            number: HeldItem(number, last, scopes_of(scope))
            for number, last, scope in zip(
                wanted.number.tolist(), wanted.last.tolist(), wanted.scope.tolist(), strict=True
            )
        }
        if isinstance(sink, ReadableSink):
            self._compare("`current` returns", sink.current(), expected)
        if self._held_items is not None:
            self._compare("the system holds", self._held_items(self.feed), expected)

    def _compare(self, who: str, items: Iterable[HeldItem], expected: dict[int, HeldItem]) -> None:
        held: dict[int, HeldItem] = {}
        for item in items:
            if item.number in held:
                raise ContractBroken(f"{who} {item.number} twice")
            held[item.number] = HeldItem(item.number, item.last, tuple(sorted(item.scope)))
        missing, surplus = expected.keys() - held.keys(), held.keys() - expected.keys()
        _require(not missing, f"{who} nothing for {len(missing)} blocked numbers, such as {min(missing, default=0)}")
        _require(not surplus, f"{who} {len(surplus)} numbers not blocked, such as {min(surplus, default=0)}")
        differing = [number for number, item in expected.items() if held[number] != item]
        if differing:
            raise ContractBroken(f"{who} {held[differing[0]]}, not {expected[differing[0]]}")


def outcomes_of(sink: Sink, batch: Batch) -> Sequence[Outcome]:
    """Apply a batch, and check that a ledger can write down the outcomes.

    Raises:
        ContractBroken: it cannot.
    """
    outcomes = sink.apply(batch)
    _require(len(outcomes) == len(batch), f"it returned {len(outcomes)} outcomes for a batch of {len(batch)}")
    _require(sum(1 for _ in outcomes) == len(batch), "iterating over the outcomes gives another count than `len`")
    for index, outcome in enumerate(outcomes):
        wrong = _wrong_with(outcome, batch)
        _require(not wrong, f"outcome {index} of a {batch.operation} batch {wrong}")
    return outcomes


def _wrong_with(outcome: object, batch: Batch) -> str | None:
    if not isinstance(outcome, Outcome):
        return f"is not an `Outcome`: {outcome!r}"
    if outcome.kind not in OUTCOME_KINDS:
        return f"is {outcome.kind!r}, which no receipt can have"
    if not isinstance(outcome.detail, str):
        return "has a detail that is not text: use '' if there is none"
    if len(outcome.detail) > DETAIL_CHARS_MAX:
        return f"has a detail of more than {DETAIL_CHARS_MAX:,} characters, too long for a receipt"
    if outcome.kind == "reversed" and batch.operation != "unblock":
        return "is `reversed`, which only an unblock can be"
    return None


# The checks


def _one_outcome_each(probe: _Probe) -> None:
    with probe.opened() as sink:
        for count in (1, 2, 7):
            probe.apply(sink, "block", range(_FIRST, _FIRST + count))
        probe.apply(sink, "change", range(_FIRST, _FIRST + 7))
        probe.apply(sink, "unblock", range(_FIRST, _FIRST + 7))


def _outcomes_in_order(probe: _Probe) -> None:
    """With a number that is refused, since otherwise all outcomes are alike."""
    if probe.refuses is None:
        return
    others = [_SHORTEST, _FIRST, _FIRST + 1, _LONGEST]
    with probe.opened() as sink:
        batch = probe.batch("block", [*others, probe.refuses])
        outcomes = outcomes_of(sink, batch)
        kinds = [outcome.kind for outcome in outcomes]
        index = batch.items.number.tolist().index(probe.refuses)
        _require(kinds[index] == "refused", f"change {index} must be refused, but the outcomes are {', '.join(kinds)}")
        rest = {*kinds[:index], *kinds[index + 1 :]}
        _require(rest <= _DONE, f"one change is refused, but the others are {', '.join(sorted(rest))}")
        probe.expect(sink, others)


def _same_batch_twice(probe: _Probe) -> None:
    items: list[int | Item] = [_FIRST, Item(_FIRST + 10, last=_FIRST + 19)]
    with probe.opened() as sink:
        batch = probe.batch("block", items)
        probe.hand(sink, batch)
        probe.hand(sink, batch)
        probe.expect(sink, items)
        # After a crash it comes under another number.
        probe.apply(sink, "block", items)
        probe.expect(sink, items)
        batch = probe.batch("unblock", items)
        probe.hand(sink, batch)
        probe.hand(sink, batch)
        probe.expect(sink, [])


def _replaced(probe: _Probe) -> None:
    with probe.opened() as sink:
        probe.apply(sink, "block", [_FIRST, _FIRST + 100])
        changed = Item(_FIRST, last=_FIRST + 9, scope=("messaging",), category="spam", entries=(2, 3))
        probe.apply(sink, "change", [changed])
        probe.expect(sink, [changed, _FIRST + 100])
        again = Item(_FIRST, scope=("data", "voice"))
        probe.apply(sink, "block", [again])
        probe.expect(sink, [again, _FIRST + 100])
        # A change of an item that the sink has lost is a block.
        probe.apply(sink, "change", [_FIRST + 200])
        probe.expect(sink, [again, _FIRST + 100, _FIRST + 200])


def _unblocked(probe: _Probe) -> None:
    with probe.opened() as sink:
        probe.apply(sink, "block", [Item(_FIRST, last=_FIRST + 9), Item(_FIRST + 10, last=_FIRST + 19), _FIRST + 20])
        # An unblock may name another last number and other scopes than the item has.
        probe.apply(sink, "unblock", [Item(_FIRST + 10, last=_FIRST + 15, scope=("voice",))])
        probe.expect(sink, [Item(_FIRST, last=_FIRST + 9), _FIRST + 20])
        probe.apply(sink, "block", [Item(_FIRST + 10)])
        probe.expect(sink, [Item(_FIRST, last=_FIRST + 9), _FIRST + 10, _FIRST + 20])


def _unblock_absent(probe: _Probe) -> None:
    with probe.opened() as sink:
        probe.apply(sink, "unblock", [_FIRST, Item(_FIRST + 10, last=_FIRST + 19)])
        probe.expect(sink, [])
        probe.apply(sink, "block", [_FIRST])
        probe.apply(sink, "unblock", [_FIRST, _FIRST + 1])
        probe.expect(sink, [])


def _ranges(probe: _Probe) -> None:
    ranges = [Item(_FIRST, last=_FIRST + 9_999), Item(_FIRST + 10_000), Item(_FIRST + 10_001, last=_FIRST + 10_002)]
    with probe.opened() as sink:
        probe.apply(sink, "block", ranges)
        probe.expect(sink, ranges)


def _scopes(probe: _Probe) -> None:
    items = [Item(_FIRST + mask, scope=scopes_of(mask)) for mask in range(1, 1 << len(SCOPES))]
    with probe.opened() as sink:
        probe.apply(sink, "block", items)
        probe.expect(sink, items)


def _until(probe: _Probe) -> None:
    ends = [datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), None]
    with probe.opened() as sink:
        probe.apply(sink, "block", [Item(_FIRST + index, until=end) for index, end in enumerate(ends)])
        probe.expect(sink, [_FIRST, _FIRST + 1, _FIRST + 2])
        probe.apply(sink, "change", [Item(_FIRST + index, until=end) for index, end in enumerate(reversed(ends))])
        probe.expect(sink, [_FIRST, _FIRST + 1, _FIRST + 2])


def _big_numbers(probe: _Probe) -> None:
    items: list[int | Item] = [_SHORTEST, Item(_LONGEST - 10, last=_LONGEST - 1, entries=(2**53 - 1,)), _LONGEST]
    with probe.opened() as sink:
        probe.apply(sink, "block", items)
        probe.expect(sink, items)
        probe.apply(sink, "unblock", [_LONGEST])
        probe.expect(sink, items[:2])


def _own_decisions(probe: _Probe) -> None:
    own = Item(_FIRST, category=OWN_CATEGORY, entries=())
    with probe.opened() as sink:
        probe.apply(sink, "block", [own, Item(_FIRST + 1, entries=(3, 4, 5))])
        probe.expect(sink, [own, _FIRST + 1])
        probe.apply(sink, "unblock", [own])
        probe.expect(sink, [_FIRST + 1])


def _categories(probe: _Probe) -> None:
    texts = ["fraud", "", "penipuan – 詐欺", 'a, "b"; c:d', "it's\n\t\\N", "x" * 200]
    items = [Item(_FIRST + index, category=text) for index, text in enumerate(texts)]
    with probe.opened() as sink:
        probe.apply(sink, "block", items)
        probe.expect(sink, items)


def _many(probe: _Probe) -> None:
    items = [Item(_FIRST + 3 * index, entries=(index + 1,)) for index in range(_MANY)]
    with probe.opened() as sink:
        probe.apply(sink, "block", items)
        probe.expect(sink, items)
        probe.apply(sink, "unblock", items[1:])
        probe.expect(sink, items[:1])


def _outlives(probe: _Probe) -> None:
    with probe.opened() as sink:
        probe.apply(sink, "block", [_FIRST, _FIRST + 1])
    with probe.opened() as sink:
        probe.expect(sink, [_FIRST, _FIRST + 1])
        probe.apply(sink, "unblock", [_FIRST])
    with probe.opened() as sink:
        probe.expect(sink, [_FIRST + 1])


def _feeds_apart(probe: _Probe) -> None:
    """Two sinks at the same time, for two feeds with the same numbers in one system."""
    probes = [probe, probe.beside(f"{probe.feed}-other")]
    wanted = [
        [Item(_FIRST + index, scope=scope) for index in range(200)] for scope in (("voice",), ("messaging", "sms"))
    ]
    failed: list[BaseException] = []

    def run(mine: _Probe, items: list[Item]) -> None:
        try:
            with mine.opened() as sink:
                for start in range(0, len(items), 20):
                    mine.apply(sink, "block", items[start : start + 20])
        except BaseException as error:  # noqa: BLE001 -- raised below, in the thread that waits
            failed.append(error)

    threads = [threading.Thread(target=run, args=each) for each in zip(probes, wanted, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    with probes[0].opened() as sink, probes[1].opened() as other:
        probes[0].expect(sink, wanted[0])
        probes[1].expect(other, wanted[1])
        probes[0].apply(sink, "unblock", wanted[0])
        probes[0].expect(sink, [])
        probes[1].expect(other, wanted[1])


def _closed_twice(probe: _Probe) -> None:
    with probe.opened() as sink:
        probe.apply(sink, "block", [_FIRST])
        sink.close()
        _close_again(sink)
    with probe.opened() as unused:
        unused.close()
        _close_again(unused)


def _close_again(sink: Sink) -> None:
    try:
        sink.close()
    except Exception as error:
        raise ContractBroken(f"a second `close` raises {type(error).__name__}: {error}") from error


def _applied_counts_up(probe: _Probe) -> None:
    with probe.opened() as sink:
        if not isinstance(sink, TransactionalSink):
            return
        _applied(sink, None)
        batch = probe.batch("block", [_FIRST])
        probe.hand(sink, batch)
        _applied(sink, 1)
        probe.hand(sink, batch)
        _applied(sink, 1)
        # Numbers of batches that never came are skipped.
        probe.number = 4
        probe.apply(sink, "unblock", [_FIRST])
        _applied(sink, 5)
        with probe.beside(f"{probe.feed}-other").opened() as other:
            assert isinstance(other, TransactionalSink)
            _applied(other, None)
    with probe.opened() as sink:
        assert isinstance(sink, TransactionalSink)
        _applied(sink, 5)


def _applied(sink: TransactionalSink, wanted: int | None) -> None:
    number = sink.applied()
    _require(number == wanted, f"`applied` returns {number}, but the last batch is {wanted}")


def _applied_in_one_transaction(probe: _Probe) -> None:
    """Another sink that reads all the while never sees a batch's number without its items, or the other way round."""
    scopes = [scopes_of(mask) for mask in range(1, 1 << len(SCOPES))]
    numbers = range(_FIRST, _FIRST + 500)
    with probe.opened() as sink, probe.opened() as onlooker:
        if not (isinstance(onlooker, TransactionalSink) and isinstance(onlooker, ReadableSink)):
            return
        over, compared = threading.Event(), threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            batches, end = 0, time.monotonic() + _PATIENCE_S
            try:
                # At least one look must have fallen between two batches.
                while batches < _WATCHED_BATCHES or not (compared.is_set() or time.monotonic() >= end):
                    batches += 1
                    # Each batch has another scope than the one before, so that they can be distinguished.
                    scope = scopes[probe.number % len(scopes)]
                    probe.apply(sink, "block", [Item(number, scope=scope) for number in numbers])
            except BaseException as error:  # noqa: BLE001 -- raised below, in the thread that waits
                failed.append(error)
            finally:
                over.set()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            end = time.monotonic() + _PATIENCE_S
            while not over.is_set() and time.monotonic() < end:
                before = onlooker.applied()
                seen = {item.scope for item in onlooker.current()}
                if before is not None and before == onlooker.applied():
                    wanted = scopes[(before - 1) % len(scopes)]
                    _require(
                        seen == {wanted},
                        f"`applied` returned {before} while the sink held another batch: store both in one transaction",
                    )
                    compared.set()
        finally:
            thread.join()
    if failed:
        raise failed[0]
    _require(compared.is_set(), "`applied` never returned the same number twice, so nothing could be compared")


# The contract


CHECKS: Final[list[Callable[[_Probe], None]]] = []
"""The checks. Each raises `ContractBroken`, or what the sink raises."""


def _as_test(check: Callable[[_Probe], None]) -> "Callable[[object], Callable[[SinkContract, MakeSink], None]]":
    """Decorator: a test that makes a check."""
    CHECKS.append(check)

    def test(self: "SinkContract", make_sink: MakeSink) -> None:
        check(self._probe(make_sink))

    return lambda _: test


class SinkContract:
    """The contract as tests for pytest: inherit from it, and add the fixture `make_sink`.

    Attributes:
        refuses: a number that the sink under test refuses, if there is one, to test that the other changes go on; not
            one of 6281200000000 to 6281200099999, which the checks use.
    """

    refuses: int | None = None

    def held_items(self, feed: str) -> Iterable[HeldItem] | None:
        """The items of a feed in the system behind the sink. Override it for a sink that cannot be read."""
        return None

    def _probe(self, make_sink: MakeSink) -> _Probe:
        can_see = type(self).held_items is not SinkContract.held_items
        read = (lambda feed: self.held_items(feed) or ()) if can_see else None
        return _Probe(make_sink, read, _feed(), self.refuses)

    # Each is made by its decorator. They are functions, and not assigned, so that every type checker knows their types.
    @_as_test(_one_outcome_each)
    def test_there_is_one_outcome_for_each_change(self, make_sink: MakeSink) -> None: ...
    @_as_test(_outcomes_in_order)
    def test_outcomes_come_in_the_order_of_the_changes(self, make_sink: MakeSink) -> None: ...
    @_as_test(_same_batch_twice)
    def test_the_same_batch_may_come_twice(self, make_sink: MakeSink) -> None: ...
    @_as_test(_replaced)
    def test_blocking_replaces_what_has_the_same_first_number(self, make_sink: MakeSink) -> None: ...
    @_as_test(_unblocked)
    def test_unblocking_goes_by_the_first_number(self, make_sink: MakeSink) -> None: ...
    @_as_test(_unblock_absent)
    def test_unblocking_what_is_not_blocked_is_done(self, make_sink: MakeSink) -> None: ...
    @_as_test(_ranges)
    def test_runs_of_numbers_are_held(self, make_sink: MakeSink) -> None: ...
    @_as_test(_scopes)
    def test_every_combination_of_scopes_is_held(self, make_sink: MakeSink) -> None: ...
    @_as_test(_until)
    def test_ends_and_no_ends_are_taken(self, make_sink: MakeSink) -> None: ...
    @_as_test(_big_numbers)
    def test_the_shortest_and_the_longest_numbers_are_held(self, make_sink: MakeSink) -> None: ...
    @_as_test(_own_decisions)
    def test_own_decisions_without_entries_are_taken(self, make_sink: MakeSink) -> None: ...
    @_as_test(_categories)
    def test_categories_are_any_text(self, make_sink: MakeSink) -> None: ...
    @_as_test(_many)
    def test_ten_thousand_changes_go_in_one_batch(self, make_sink: MakeSink) -> None: ...
    @_as_test(_outlives)
    def test_what_is_held_outlives_the_sink(self, make_sink: MakeSink) -> None: ...
    @_as_test(_feeds_apart)
    def test_feeds_do_not_mix(self, make_sink: MakeSink) -> None: ...
    @_as_test(_closed_twice)
    def test_a_sink_may_be_closed_twice(self, make_sink: MakeSink) -> None: ...
    @_as_test(_applied_counts_up)
    def test_the_number_of_the_last_batch_counts_up(self, make_sink: MakeSink) -> None: ...
    @_as_test(_applied_in_one_transaction)
    def test_the_number_of_the_last_batch_and_its_changes_come_together(self, make_sink: MakeSink) -> None: ...


def check_sink(make_sink: MakeSink, *, held_items: ReadItems | None = None, refuses: int | None = None) -> None:
    """Check a sink against the contract.

    What the sink holds is checked if it is a `ReadableSink`, or with `held_items`; otherwise only its outcomes are. The
    number of its last batch is checked if it is a `TransactionalSink`.

    Args:
        make_sink: opens the sink for a feed.
        held_items: returns the items of a feed in the system behind the sink.
        refuses: a number that the sink refuses; not one of 6281200000000 to 6281200099999, which the checks use.

    Raises:
        ValueError: `refuses` is one of those.
        ContractBroken: the sink breaks the contract. The message has every check that failed, and why.

    >>> from blocklist_sdk.enforcement import open_sink
    >>> check_sink(lambda feed: open_sink("file:drop", feed=feed))
    """
    broken = []
    for check in CHECKS:
        probe = _Probe(make_sink, held_items, _feed(), refuses)
        try:
            check(probe)
        except Exception as error:  # noqa: BLE001 -- whatever a sink raises, the other checks go on
            reason = str(error) if isinstance(error, ContractBroken) else f"{type(error).__name__}: {error}"
            broken.append(f"{check.__name__.strip('_').replace('_', ' ')}: {reason}")
    if broken:
        raise ContractBroken("\n".join([f"{len(broken)} of {len(CHECKS)} checks failed", *broken]))


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ContractBroken(message)


def _feed() -> str:
    return f"contract-{secrets.token_hex(5)}"


def _milliseconds(moment: datetime | None) -> int:
    return FOREVER_MS if moment is None else times.to_ms(moment)
