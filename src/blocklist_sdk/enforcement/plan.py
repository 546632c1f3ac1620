"""What is to be done in a sink, from what it has acknowledged to what it should hold. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from blocklist_sdk.enforcement.items import OWN, Items, Masks, Operation, Positions
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, is_any_of, joined
from blocklist_sdk.release.rows import Int64s

_FEW: Final = 10_000
_BITS_OF_FEW: Final = 20
_BITS_OF_MANY: Final = 24
_AT_A_TIME: Final = 100_000
"""So that the marks of few, and what is looked at, stay in the processor's cache: 30 ms for 10 M entries."""


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Changes of a plan that go to the sink together.

    Attributes:
        operation: what is to be done.
        items: with what.
        lifts: whether each change lifts something: an item, or some of its numbers, scopes or entries.
        is_capped: whether it counts towards the daily cap, and waits when the cap is reached. What lifts something
            never does; nor does what is asked for again, since it was counted the first time.
    """

    operation: Operation
    items: Items
    lifts: bool
    is_capped: bool


@dataclass(frozen=True, slots=True)
class EnforcementPlan:
    """What is to be done.

    Attributes:
        unblock: items that are not to be held any more, as they were acknowledged.
        lift: items that are held, and of which a part, a scope or an entry is not to be held any more.
        again: items of which nobody knows, or that were set aside and are to be less; they were asked for before.
        change: other items that are held, but otherwise.
        block: items that are not held.
    """

    unblock: Items
    lift: Items
    again: Items
    change: Items
    block: Items

    def __len__(self) -> int:
        return sum(self.counts().values())

    def counts(self) -> dict[Operation, int]:
        """How many there are of each operation."""
        return {
            "unblock": len(self.unblock),
            "change": len(self.lift) + len(self.change),
            "block": len(self.again) + len(self.block),
        }

    def batches(self, most: int) -> Iterator[PlannedBatch]:
        """All of it in batches of so many changes at most; what lifts something comes first."""
        parts = (
            PlannedBatch("unblock", self.unblock, lifts=True, is_capped=False),
            PlannedBatch("change", self.lift, lifts=True, is_capped=False),
            PlannedBatch("block", self.again, lifts=False, is_capped=False),
            PlannedBatch("change", self.change, lifts=False, is_capped=True),
            PlannedBatch("block", self.block, lifts=False, is_capped=True),
        )
        for part in parts:
            for start in range(0, len(part.items), most):
                some = np.arange(start, min(start + most, len(part.items)))
                yield replace(part, items=part.items.take(some))


def make_plan(acknowledged: LedgerState, wanted: Items) -> EnforcementPlan:
    """What leads from one to the other, item by item, by their first numbers.

    What was refused, or given up, is not asked for again until something about it changes; what lifts something
    always is.
    """
    plan = _compared(acknowledged, wanted)
    return replace(plan, unblock=_without_what_stays(plan.unblock, wanted))


def _compared(acknowledged: LedgerState, wanted: Items) -> EnforcementPlan:
    if not len(acknowledged.later):
        return _plan(acknowledged.items, acknowledged.status, wanted)
    # Of a few numbers something was said after the base: they are compared by themselves.
    place = np.searchsorted(wanted.number, acknowledged.later)
    inside = place < len(wanted)
    place = place[inside]
    few = place[wanted.number[place] == acknowledged.later[inside]]
    late = _plan(acknowledged.patch, acknowledged.patch_status, wanted.take(few))
    base = _plan(acknowledged.items, acknowledged.status, wanted, without=(acknowledged.superseded(), few))
    return EnforcementPlan(
        *(_merged(getattr(base, each.name), getattr(late, each.name)) for each in fields(EnforcementPlan))
    )


_NOWHERE = np.empty(0, np.intp)


def _plan(
    held: Items, status: Masks, wanted: Items, *, without: tuple[Positions, Positions] = (_NOWHERE, _NOWHERE)
) -> EnforcementPlan:
    in_held, in_wanted = matched(held, wanted)
    is_gone = np.ones(len(held), np.bool_)
    is_gone[in_held] = False
    is_gone[without[0]] = False
    is_new = np.ones(len(wanted), np.bool_)
    is_new[in_wanted] = False
    is_new[without[1]] = False
    standing = status[in_held]
    differs = _differs(held, in_held, wanted, in_wanted)
    differs |= is_any_of(standing, ItemStatus.IN_DOUBT, ItemStatus.WIDER)
    if len(without[0]):
        counts = np.ones(len(held), np.bool_)
        counts[without[0]] = False
        differs &= counts[in_held]
    some = np.flatnonzero(differs)
    standing, in_held, in_wanted = standing[some], in_held[some], in_wanted[some]
    items = _with_what_goes(held, in_held, wanted.take(in_wanted))
    is_less = (held.last[in_held] > items.last) | (held.scope[in_held] & ~items.scope != 0)
    goes = is_less.copy()
    goes[list(items.lifted)] = True
    is_aside = is_any_of(standing, ItemStatus.SET_ASIDE)
    lift = is_any_of(standing, ItemStatus.WIDER) | (is_any_of(standing, ItemStatus.HELD) & goes)
    again = is_any_of(standing, ItemStatus.IN_DOUBT) | (is_aside & is_less)
    anew = is_aside & ~is_less
    return EnforcementPlan(
        unblock=held.take(np.flatnonzero(is_gone)),
        lift=items.take(np.flatnonzero(lift)),
        again=items.take(np.flatnonzero(again)),
        change=items.take(np.flatnonzero(~(lift | again | anew))),
        block=_merged(items.take(np.flatnonzero(anew)), wanted.take(np.flatnonzero(is_new))),
    )


def _with_what_goes(held: Items, in_held: Positions, wanted: Items) -> Items:
    """What is to be held, with the entries that blocked the same items before and do not any more."""
    goes = np.flatnonzero(held.entry[in_held] != wanted.entry)
    several = np.flatnonzero(np.isin(in_held, np.array(list(held.more), np.intp))) if held.more else goes
    lifted = {}
    for place in {*goes.tolist(), *several.tolist()}:
        gone = tuple(sorted(set(held.entries(int(in_held[place]))) - set(wanted.entries(place))))
        if gone:
            lifted[place] = gone
    return replace(wanted, lifted=lifted)


def _without_what_stays(unblock: Items, wanted: Items) -> Items:
    """Unblocks; an entry that goes on blocking, since its range is only cut in another way, is not lifted."""
    if not len(unblock):
        return unblock
    several = [entry for entries in unblock.more.values() for entry in entries]
    candidates = np.unique(np.concatenate((unblock.entry, np.array(several, np.int64))))
    stays = set(candidates[np.isin(candidates, _likely(candidates, wanted.entry))].tolist()) - {OWN}
    stays |= {entry for entries in wanted.more.values() for entry in entries}
    lifted = {}
    if stays:
        touched = np.isin(unblock.entry, np.array(sorted(stays), np.int64))
        for place in {*np.flatnonzero(touched).tolist(), *unblock.more}:
            entries = unblock.entries(place)
            if not stays.isdisjoint(entries):
                lifted[place] = tuple(entry for entry in entries if entry not in stays)
    return replace(unblock, lifted=lifted)


def _likely(some: Int64s, many: Int64s) -> Int64s:
    """Those of many that have the last bits of any of some: few against many, without sorting the many."""
    bits = (1 << (_BITS_OF_FEW if len(some) < _FEW else _BITS_OF_MANY)) - 1
    marked = np.zeros(bits + 1, np.bool_)
    marked[some & bits] = True
    parts = (many[start : start + _AT_A_TIME] for start in range(0, len(many), _AT_A_TIME))
    return np.concatenate([some[:0], *(part[marked[part & bits]] for part in parts)])


def _merged(some: Items, others: Items) -> Items:
    """Items of both, in order."""
    if not len(some) or not len(others):
        return some if len(some) else others
    both = joined([some, others])
    return both.take(np.argsort(both.number, kind="stable"))


def matched(held: Items, wanted: Items) -> tuple[Positions, Positions]:
    """Places of the items with the same first number in both."""
    if len(held) == len(wanted) and np.array_equal(held.number, wanted.number):
        every = np.arange(len(held))
        return every, every
    number = np.concatenate((held.number, wanted.number))
    # Two sorted runs: numpy's stable sort merges them in one pass, what is held before what is wanted.
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    pair = np.flatnonzero(ordered[1:] == ordered[:-1])
    return order[pair], order[pair + 1] - len(held)


def _differs(
    held: Items, in_held: Positions, wanted: Items, in_wanted: Positions
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    differs = np.zeros(len(in_held), np.bool_)
    for before, after in (
        (held.last, wanted.last),
        (held.scope, wanted.scope),
        (held.entry, wanted.entry),
        (held.until, wanted.until),
    ):
        differs |= before[in_held] != after[in_wanted]
    if held.more or wanted.more:
        several = np.flatnonzero(
            np.isin(in_held, np.array(list(held.more), np.intp))
            | np.isin(in_wanted, np.array(list(wanted.more), np.intp))
        )
        for place in several.tolist():
            was, now = int(in_held[place]), int(in_wanted[place])
            differs[place] |= held.entries(was) != wanted.entries(now)
    return differs
