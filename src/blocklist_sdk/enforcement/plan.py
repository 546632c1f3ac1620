"""The plan: what a sink must be asked to do, from what it has acknowledged to what it should hold. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from blocklist_sdk.enforcement.items import OWN_ENTRY, Bools, Items, Operation, Positions, UInt8s
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, is_any_of
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.release.spans import Spans

_FEW: Final = 10_000
_BITS_OF_FEW: Final = 20
_BITS_OF_MANY: Final = 24
_ROWS_AT_A_TIME: Final = 100_000
"""Sizes with which the marks, and the part of the column they are compared with, stay in the processor's cache: 30 ms
for 10 M entries."""


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Changes of a plan that go to the sink together.

    Attributes:
        operation: what the sink is asked to do.
        items: the items to do it with.
        lifts: whether each change lifts something: an item, or some of its numbers, scopes or entries.
        is_capped: whether the changes count towards the daily cap, and wait once it is reached. What lifts something
            does not; nor does what is asked for again, since it was counted the first time.
    """

    operation: Operation
    items: Items
    lifts: bool
    is_capped: bool


@dataclass(frozen=True, slots=True)
class EnforcementPlan:
    """What a sink must be asked to do.

    Attributes:
        unblock: items that the sink must not hold any more, as it acknowledged them.
        lift: items that the sink holds, and of which some numbers, scopes or entries must go.
        again: items in doubt, and items set aside that shrink; all of them were asked for before.
        change: other items that the sink holds, and that change.
        block: items that the sink does not hold.
    """

    unblock: Items
    lift: Items
    again: Items
    change: Items
    block: Items

    def __len__(self) -> int:
        return sum(self.counts().values())

    def counts(self) -> dict[Operation, int]:
        """The number of changes of each operation."""
        return {
            "unblock": len(self.unblock),
            "change": len(self.lift) + len(self.change),
            "block": len(self.again) + len(self.block),
        }

    def spans(self) -> Spans:
        """The numbers of all changes."""
        parts = (self.unblock, self.lift, self.again, self.change, self.block)
        return Spans.union(Spans.of(part.number, part.last) for part in parts)

    def batches(self, most: int) -> Iterator[PlannedBatch]:
        """The whole plan in batches of at most `most` changes; what lifts something comes first."""
        parts = (
            PlannedBatch("unblock", self.unblock, lifts=True, is_capped=False),
            PlannedBatch("change", self.lift, lifts=True, is_capped=False),
            PlannedBatch("block", self.again, lifts=False, is_capped=False),
            PlannedBatch("change", self.change, lifts=False, is_capped=True),
            PlannedBatch("block", self.block, lifts=False, is_capped=True),
        )
        for part in parts:
            for start in range(0, len(part.items), most):
                positions = np.arange(start, min(start + most, len(part.items)))
                yield replace(part, items=part.items.take(positions))


def make_plan(state: LedgerState, target_items: Items) -> EnforcementPlan:
    """Compare what a sink holds with what it should hold, item by item, by their first numbers.

    What was refused, or given up, is not asked for again until something about it changes. What lifts something always
    is.
    """
    plan = _compared(state, target_items)
    return replace(plan, unblock=_without_what_stays(plan.unblock, target_items))


def _compared(state: LedgerState, target_items: Items) -> EnforcementPlan:
    if not len(state.changed):
        return _plan(state.items, state.status, target_items)
    # Items that changed after the base are few, and compared by themselves.
    positions = np.searchsorted(target_items.number, state.changed)
    inside = positions < len(target_items)
    positions = positions[inside]
    few = positions[target_items.number[positions] == state.changed[inside]]
    patch = _plan(state.patch, state.patch_status, target_items.take(few))
    base = _plan(state.items, state.status, target_items, without=(state.superseded(), few))
    return EnforcementPlan(
        *(Items.merged(getattr(base, part.name), getattr(patch, part.name)) for part in fields(EnforcementPlan))
    )


_NOWHERE = np.empty(0, np.intp)


def _plan(
    sink_items: Items,
    status: UInt8s,
    target_items: Items,
    *,
    without: tuple[Positions, Positions] = (_NOWHERE, _NOWHERE),
) -> EnforcementPlan:
    """The plan for a sink's items and target items, `without` some positions of each."""
    in_sink, in_target = matched(sink_items, target_items)
    is_gone = np.ones(len(sink_items), np.bool_)
    is_gone[in_sink] = False
    is_gone[without[0]] = False
    is_new = np.ones(len(target_items), np.bool_)
    is_new[in_target] = False
    is_new[without[1]] = False
    status = status[in_sink]
    differs = _differs(sink_items, in_sink, target_items, in_target)
    differs |= is_any_of(status, ItemStatus.IN_DOUBT, ItemStatus.WIDER)
    if len(without[0]):
        counts = np.ones(len(sink_items), np.bool_)
        counts[without[0]] = False
        differs &= counts[in_sink]
    some = np.flatnonzero(differs)
    status, in_sink, in_target = status[some], in_sink[some], in_target[some]
    items = _with_lifted_entries(sink_items, in_sink, target_items.take(in_target))
    shrinks = (sink_items.last[in_sink] > items.last) | (sink_items.scope[in_sink] & ~items.scope != 0)
    lifts = shrinks.copy()
    lifts[list(items.lifted_entries)] = True
    is_aside = is_any_of(status, ItemStatus.SET_ASIDE)
    lift = is_any_of(status, ItemStatus.WIDER) | (is_any_of(status, ItemStatus.HELD) & lifts)
    again = is_any_of(status, ItemStatus.IN_DOUBT) | (is_aside & shrinks)
    anew = is_aside & ~shrinks
    return EnforcementPlan(
        unblock=sink_items.where(is_gone),
        lift=items.where(lift),
        again=items.where(again),
        change=items.where(~(lift | again | anew)),
        block=Items.merged(items.where(anew), target_items.where(is_new)),
    )


def _with_lifted_entries(sink_items: Items, in_sink: Positions, target_items: Items) -> Items:
    """The target items, with the entries that blocked the same items before and do not any more."""
    indexes = np.flatnonzero(sink_items.entry[in_sink] != target_items.entry).tolist()
    if sink_items.entry_lists:
        indexes += np.flatnonzero(np.isin(in_sink, np.array(list(sink_items.entry_lists), np.intp))).tolist()
    lifted = {}
    for index in set(indexes):
        gone = tuple(sorted(set(sink_items.entries(int(in_sink[index]))) - set(target_items.entries(index))))
        if gone:
            lifted[index] = gone
    return replace(target_items, lifted_entries=lifted)


def _without_what_stays(unblock: Items, target_items: Items) -> Items:
    """The unblocks; an entry that goes on blocking, because its range is only cut in another way, is not lifted."""
    if not len(unblock):
        return unblock
    several = [entry for entries in unblock.entry_lists.values() for entry in entries]
    candidates = np.unique(np.concatenate((unblock.entry, np.array(several, np.int64))))
    stays = set(candidates[np.isin(candidates, _likely(candidates, target_items.entry))].tolist()) - {OWN_ENTRY}
    stays |= {entry for entries in target_items.entry_lists.values() for entry in entries}
    lifted = {}
    if stays:
        touched = np.isin(unblock.entry, np.array(sorted(stays), np.int64))
        for index in {*np.flatnonzero(touched).tolist(), *unblock.entry_lists}:
            entries = unblock.entries(index)
            if not stays.isdisjoint(entries):
                lifted[index] = tuple(entry for entry in entries if entry not in stays)
    return replace(unblock, lifted_entries=lifted)


def _likely(some: Int64s, many: Int64s) -> Int64s:
    """The entries of `many` that may be among `some`, by their last bits; quicker than sorting the many."""
    bits = (1 << (_BITS_OF_FEW if len(some) < _FEW else _BITS_OF_MANY)) - 1
    marked = np.zeros(bits + 1, np.bool_)
    marked[some & bits] = True
    parts = (many[start : start + _ROWS_AT_A_TIME] for start in range(0, len(many), _ROWS_AT_A_TIME))
    return np.concatenate([some[:0], *(part[marked[part & bits]] for part in parts)])


def matched(sink_items: Items, target_items: Items) -> tuple[Positions, Positions]:
    """The positions, in each of both, of the items whose first number is in both."""
    if len(sink_items) == len(target_items) and np.array_equal(sink_items.number, target_items.number):
        positions = np.arange(len(sink_items))
        return positions, positions
    if not len(sink_items) or not len(target_items):
        return _NOWHERE, _NOWHERE
    number = np.concatenate((sink_items.number, target_items.number))
    # Two sorted runs: numpy's stable sort merges them in one pass, the sink's items before target items.
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    pair = np.flatnonzero(ordered[1:] == ordered[:-1])
    return order[pair], order[pair + 1] - len(sink_items)


def _differs(sink_items: Items, in_sink: Positions, target_items: Items, in_target: Positions) -> Bools:
    differs = np.zeros(len(in_sink), np.bool_)
    for before, after in (
        (sink_items.last, target_items.last),
        (sink_items.scope, target_items.scope),
        (sink_items.entry, target_items.entry),
        (sink_items.until, target_items.until),
    ):
        differs |= before[in_sink] != after[in_target]
    if sink_items.entry_lists or target_items.entry_lists:
        several = np.flatnonzero(
            np.isin(in_sink, np.array(list(sink_items.entry_lists), np.intp))
            | np.isin(in_target, np.array(list(target_items.entry_lists), np.intp))
        )
        for index in several.tolist():
            differs[index] |= sink_items.entries(int(in_sink[index])) != target_items.entries(int(in_target[index]))
    return differs
