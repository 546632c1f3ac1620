"""What every sink has to keep, as tests that any sink can run against itself.

With pytest, a class and a fixture are all it takes (nothing of pytest is imported here)::

    class TestMySink(SinkContract):
        @pytest.fixture
        def make_sink(self):
            return lambda feed: MySink("mine://localhost/test", feed=feed)

Without it, `check_sink` does the same in one call. The checks write numbers of feeds of their own names into the system
that the sink stands for, so let it be one for tests. All numbers are generated.
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
from blocklist_sdk.enforcement.items import OWN, OWN_CATEGORY, Batch, Items, Operation, mask_of, scopes_of
from blocklist_sdk.enforcement.sink import (
    DETAIL_CHARS_MAX,
    KINDS,
    HeldItem,
    Outcome,
    ReadableSink,
    Sink,
    TransactionalSink,
)
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import FOREVER_MS

MakeSink = Callable[[str], Sink]
"""Opens a sink for a feed. It is called several times for one feed, also while another sink of it is open."""

HeldBy = Callable[[str], Iterable[HeldItem]]
"""What the system behind the sink holds of a feed, read past the sink."""

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
    """A sink does not keep what a sink has to."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item for a test.

    Attributes:
        number: the first number.
        last: the last one; None for a single number.
        scope: where it is blocked.
        category: why.
        entries: the entries behind it; none for a recipient's own decision.
        until: when it ends, timezone-aware; None for never.
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
        items: numbers, or more than that of some; they must not overlap.

    Raises:
        ValueError: they overlap.

    >>> items = make_items([6281200000002, Item(6281200000000, last=6281200000001, scope=("voice",))])
    >>> items.number.tolist(), items.last.tolist()
    ([6281200000000, 6281200000002], [6281200000001, 6281200000002])
    """
    rows = sorted((Item(each) if isinstance(each, int) else each for each in items), key=lambda row: row.number)
    last = [row.number if row.last is None else row.last for row in rows]
    if any(end >= row.number for end, row in zip(last, rows[1:], strict=False)):
        raise ValueError("items of a sink never overlap")
    categories = tuple(dict.fromkeys(row.category for row in rows))
    place = {name: i for i, name in enumerate(categories)}
    return Items(
        number=np.array([row.number for row in rows], np.int64),
        last=np.array(last, np.int64),
        scope=np.array([mask_of(row.scope) for row in rows], np.uint8),
        entry=np.array([min(row.entries, default=OWN) for row in rows], np.int64),
        until=np.array([_milliseconds(row.until) for row in rows], np.int64),
        category=np.array([place[row.category] for row in rows], np.int32),
        categories=categories,
        more={i: row.entries for i, row in enumerate(rows) if len(row.entries) > 1},
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


class SinkContract:
    """The contract as tests: inherit from it in a class of pytest's, and give it the fixture `make_sink`.

    Attributes:
        refuses: a number that the sink under test refuses, if there is one: then it is seen whether the others go on.
            Not one of 6281200000000 to 6281200099999, with which the checks work.
    """

    refuses: int | None = None

    def held(self, feed: str) -> Iterable[HeldItem] | None:
        """What the system holds of a feed, read past the sink: for sinks that cannot be read themselves."""
        return None

    def _probe(self, make_sink: MakeSink) -> "_Probe":
        can_see = type(self).held is not SinkContract.held
        return _Probe(make_sink, self._held_by if can_see else None, _feed(), self.refuses)

    def _held_by(self, feed: str) -> Iterable[HeldItem]:
        return self.held(feed) or ()

    def test_there_is_one_outcome_for_each_change(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _one_outcome_each(self._probe(make_sink))

    def test_outcomes_come_in_the_order_of_the_changes(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _outcomes_in_order(self._probe(make_sink))

    def test_the_same_batch_may_come_twice(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _same_batch_twice(self._probe(make_sink))

    def test_blocking_replaces_what_has_the_same_first_number(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _replaced(self._probe(make_sink))

    def test_unblocking_goes_by_the_first_number(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _unblocked(self._probe(make_sink))

    def test_unblocking_what_is_not_blocked_is_done(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _unblock_absent(self._probe(make_sink))

    def test_runs_of_numbers_are_held(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _ranges(self._probe(make_sink))

    def test_every_combination_of_scopes_is_held(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _scopes(self._probe(make_sink))

    def test_ends_and_no_ends_are_taken(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _until(self._probe(make_sink))

    def test_the_shortest_and_the_longest_numbers_are_held(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _big_numbers(self._probe(make_sink))

    def test_own_decisions_without_entries_are_taken(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _own_decisions(self._probe(make_sink))

    def test_categories_are_any_text(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _categories(self._probe(make_sink))

    def test_ten_thousand_changes_go_in_one_batch(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _many(self._probe(make_sink))

    def test_what_is_held_outlives_the_sink(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _outlives(self._probe(make_sink))

    def test_feeds_do_not_mix(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _feeds_apart(self._probe(make_sink))

    def test_a_sink_may_be_closed_twice(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _closed_twice(self._probe(make_sink))

    def test_the_number_of_the_last_batch_counts_up(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _applied_counts_up(self._probe(make_sink))

    def test_the_number_of_the_last_batch_and_its_changes_come_together(self, make_sink: MakeSink) -> None:
        """See `check_sink`."""
        _applied_in_one_transaction(self._probe(make_sink))


def check_sink(make_sink: MakeSink, *, held: HeldBy | None = None, refuses: int | None = None) -> None:
    """See whether a sink keeps what a sink has to.

    What it holds can be seen only if it is `ReadableSink`, or with `held`; otherwise its outcomes alone are judged.
    Whether
    the number of the last batch is right is seen where it is `TransactionalSink`.

    Args:
        make_sink: opens it for a feed.
        held: reads the system past the sink.
        refuses: a number that it refuses; not one of 6281200000000 to 6281200099999, with which the checks work.

    Raises:
        ValueError: it is one of those.
        ContractBroken: it does not; the message has every promise that is broken, and every error that came instead.

    >>> from blocklist_sdk.enforcement import open_sink
    >>> check_sink(lambda feed: open_sink("file:drop", feed=feed))
    """
    broken = []
    for check in CHECKS:
        probe = _Probe(make_sink, held, _feed(), refuses)
        try:
            check(probe)
        except Exception as error:  # noqa: BLE001 -- whatever a sink raises, the other promises are looked at as well
            said = str(error) if isinstance(error, ContractBroken) else f"{type(error).__name__}: {error}"
            broken.append(f"{check.__name__.strip('_').replace('_', ' ')}: {said}")
    if broken:
        raise ContractBroken("\n".join([f"{len(broken)} of {len(CHECKS)} checks failed", *broken]))


class _Probe:
    """Applies batches to a sink, in order, and says what has to be so."""

    def __init__(self, make_sink: MakeSink, held: HeldBy | None, feed: str, refuses: int | None) -> None:
        if refuses is not None and refuses in _USED:
            raise ValueError(f"the number that is refused is one of {_USED[0]} to {_USED[-1]}, which have to be taken")
        self.feed = feed
        self.refuses = refuses
        self.number = 0
        self._make_sink = make_sink
        self._held = held

    def beside(self, feed: str) -> "_Probe":
        return _Probe(self._make_sink, self._held, feed, self.refuses)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Sink]:
        sink = self._make_sink(self.feed)
        _promise(isinstance(sink, Sink), "it has no `apply` or no `close`")
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
        """Apply a batch of which everything has to be done."""
        done = _LIFTED if batch.operation == "unblock" else _DONE
        for place, outcome in enumerate(outcomes_of(sink, batch)):
            if outcome.kind not in done:
                said = f"{outcome.kind} ({outcome.detail})" if outcome.detail else outcome.kind
                raise ContractBroken(f"outcome {place} of a {batch.operation} batch is {said}")

    def expect(self, sink: Sink, items: Iterable[int | Item]) -> None:
        """See whether exactly these are held, as far as anybody can see."""
        wanted = make_items(items)
        expected = {
            number: HeldItem(number, last, scopes_of(scope))
            for number, last, scope in zip(
                wanted.number.tolist(), wanted.last.tolist(), wanted.scope.tolist(), strict=True
            )
        }
        if isinstance(sink, ReadableSink):
            self._compare("`current` says", sink.current(), expected)
        if self._held is not None:
            self._compare("the system holds", self._held(self.feed), expected)

    def _compare(self, who: str, found: Iterable[HeldItem], expected: dict[int, HeldItem]) -> None:
        held: dict[int, HeldItem] = {}
        for each in found:
            if each.number in held:
                raise ContractBroken(f"{who} {each.number} twice")
            held[each.number] = HeldItem(each.number, each.last, tuple(sorted(each.scope)))
        missing, surplus = expected.keys() - held.keys(), held.keys() - expected.keys()
        _promise(not missing, f"{who} nothing of {len(missing)} numbers that are blocked, as {min(missing, default=0)}")
        _promise(not surplus, f"{who} {len(surplus)} numbers that are not blocked, as {min(surplus, default=0)}")
        differing = [number for number, item in expected.items() if held[number] != item]
        if differing:
            raise ContractBroken(f"{who} {held[differing[0]]}, not {expected[differing[0]]}")


def outcomes_of(sink: Sink, batch: Batch) -> Sequence[Outcome]:
    """Apply a batch, and see whether the outcomes are what a ledger can write down.

    Raises:
        ContractBroken: they are not.
    """
    outcomes = sink.apply(batch)
    _promise(len(outcomes) == len(batch), f"there are {len(outcomes)} outcomes of {len(batch)} changes")
    _promise(sum(1 for _ in outcomes) == len(batch), "iterating over the outcomes gives another count than `len`")
    for place, outcome in enumerate(outcomes):
        wrong = _wrong_with(outcome, batch)
        _promise(not wrong, f"outcome {place} of a {batch.operation} batch {wrong}")
    return outcomes


def _wrong_with(outcome: object, batch: Batch) -> str | None:
    if not isinstance(outcome, Outcome):
        return f"is no `Outcome`: {outcome!r}"
    if outcome.kind not in KINDS:
        return f"is {outcome.kind!r}, which no receipt knows"
    if not isinstance(outcome.detail, str):
        return "has a detail that is no text: say '' for none"
    if len(outcome.detail) > DETAIL_CHARS_MAX:
        return "has a detail that is too long for a receipt"
    if outcome.kind == "reversed" and batch.operation != "unblock":
        return "is `reversed`, which is of an unblock"
    return None


# The checks


def _one_outcome_each(probe: _Probe) -> None:
    with probe.opened() as sink:
        for count in (1, 2, 7):
            probe.apply(sink, "block", range(_FIRST, _FIRST + count))
        probe.apply(sink, "change", range(_FIRST, _FIRST + 7))
        probe.apply(sink, "unblock", range(_FIRST, _FIRST + 7))


def _outcomes_in_order(probe: _Probe) -> None:
    """With a number that is refused, since outcomes are all alike otherwise."""
    if probe.refuses is None:
        return
    others = [_SHORTEST, _FIRST, _FIRST + 1, _LONGEST]
    with probe.opened() as sink:
        batch = probe.batch("block", [*others, probe.refuses])
        outcomes = outcomes_of(sink, batch)
        said = [outcome.kind for outcome in outcomes]
        place = batch.items.number.tolist().index(probe.refuses)
        _promise(said[place] == "refused", f"change {place} is to be refused, and the outcomes are {', '.join(said)}")
        rest = {*said[:place], *said[place + 1 :]}
        _promise(rest <= _DONE, f"one change is refused, and the outcomes of the others are {', '.join(sorted(rest))}")
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
        # A change of what the sink lost meanwhile is a block.
        probe.apply(sink, "change", [_FIRST + 200])
        probe.expect(sink, [again, _FIRST + 100, _FIRST + 200])


def _unblocked(probe: _Probe) -> None:
    with probe.opened() as sink:
        probe.apply(sink, "block", [Item(_FIRST, last=_FIRST + 9), Item(_FIRST + 10, last=_FIRST + 19), _FIRST + 20])
        # Of what is unblocked the rest may have become another.
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
        probe.apply(sink, "block", [Item(_FIRST + place, until=end) for place, end in enumerate(ends)])
        probe.expect(sink, [_FIRST, _FIRST + 1, _FIRST + 2])
        probe.apply(sink, "change", [Item(_FIRST + place, until=end) for place, end in enumerate(reversed(ends))])
        probe.expect(sink, [_FIRST, _FIRST + 1, _FIRST + 2])


def _big_numbers(probe: _Probe) -> None:
    items: list[int | Item] = [_SHORTEST, Item(_LONGEST - 10, last=_LONGEST - 1, entries=(2**53 + 1,)), _LONGEST]
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
    items = [Item(_FIRST + place, category=text) for place, text in enumerate(texts)]
    with probe.opened() as sink:
        probe.apply(sink, "block", items)
        probe.expect(sink, items)


def _many(probe: _Probe) -> None:
    items = [Item(_FIRST + 3 * place, entries=(place + 1,)) for place in range(_MANY)]
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
    """Two feeds with the same numbers in one system, each with a sink of its own, at the same time."""
    probes = [probe, probe.beside(f"{probe.feed}-other")]
    wanted = [
        [Item(_FIRST + place, scope=scope) for place in range(200)] for scope in (("voice",), ("messaging", "sms"))
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
        # Numbers of batches that never came are left out.
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
    found = sink.applied()
    _promise(found == wanted, f"`applied` says {found} where the last batch is {wanted}")


def _applied_in_one_transaction(probe: _Probe) -> None:
    """Somebody who looks on, all the while, never sees a number and what is held differ."""
    scopes = [scopes_of(mask) for mask in range(1, 1 << len(SCOPES))]
    numbers = range(_FIRST, _FIRST + 500)
    with probe.opened() as sink, probe.opened() as onlooker:
        if not (isinstance(onlooker, TransactionalSink) and isinstance(onlooker, ReadableSink)):
            return
        over = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                for _ in range(_WATCHED_BATCHES):
                    # The batch that comes next has another scope than this one, so that they can be told apart.
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
                seen = {held.scope for held in onlooker.current()}
                if before is not None and before == onlooker.applied():
                    wanted = scopes[(before - 1) % len(scopes)]
                    _promise(
                        seen == {wanted},
                        f"while `applied` says {before} what is held is of another batch: they are not kept in one "
                        "transaction",
                    )
        finally:
            thread.join()
    if failed:
        raise failed[0]


CHECKS: Final[tuple[Callable[[_Probe], None], ...]] = (
    _one_outcome_each,
    _outcomes_in_order,
    _same_batch_twice,
    _replaced,
    _unblocked,
    _unblock_absent,
    _ranges,
    _scopes,
    _until,
    _big_numbers,
    _own_decisions,
    _categories,
    _many,
    _outlives,
    _feeds_apart,
    _closed_twice,
    _applied_counts_up,
    _applied_in_one_transaction,
)
"""Each raises `ContractBroken`, or what the sink raises."""


def _promise(kept: object, otherwise: str) -> None:
    if not kept:
        raise ContractBroken(otherwise)


def _feed() -> str:
    return f"contract-{secrets.token_hex(5)}"


def _milliseconds(moment: datetime | None) -> int:
    return FOREVER_MS if moment is None else times.to_ms(moment)
