"""What is to be done in a sink, from what it has acknowledged to what it should hold. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from blocklist_sdk.enforcement.items import Items, Masks, Operation, Positions
from blocklist_sdk.enforcement.ledger import ASIDE, DOUBT, Acknowledged, joined


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        unblock: items that are not to be held any more, as they were acknowledged.
        change: items that are held, but otherwise.
        block: items that are not held, or of which nobody knows.
    """

    unblock: Items
    change: Items
    block: Items

    def __len__(self) -> int:
        return len(self.unblock) + len(self.change) + len(self.block)

    def batches(self, most: int) -> Iterator[tuple[Operation, Items]]:
        """All of it in parts: unblocks first, since each of them frees somebody."""
        parts: tuple[tuple[Operation, Items], ...] = (
            ("unblock", self.unblock),
            ("change", self.change),
            ("block", self.block),
        )
        for operation, items in parts:
            for start in range(0, len(items), most):
                yield operation, items.take(np.arange(start, min(start + most, len(items))))


def make_plan(acknowledged: Acknowledged, wanted: Items) -> Plan:
    """What leads from one to the other, item by item, by their first numbers.

    What was refused, or given up, is not asked for again until something about it changes.
    """
    if not len(acknowledged.later):
        return _plan(acknowledged.items, acknowledged.status, wanted)
    # Of a few numbers something was said after the base: they are compared by themselves.
    place = np.searchsorted(wanted.number, acknowledged.later)
    inside = place < len(wanted)
    place = place[inside]
    few = place[wanted.number[place] == acknowledged.later[inside]]
    late = _plan(acknowledged.patch, acknowledged.patch_status, wanted.take(few))
    base = _plan(acknowledged.items, acknowledged.status, wanted, without=(acknowledged.superseded(), few))
    return Plan(*(_merged(getattr(base, name), getattr(late, name)) for name in ("unblock", "change", "block")))


_NOWHERE = np.empty(0, np.intp)


def _plan(
    held: Items, status: Masks, wanted: Items, *, without: tuple[Positions, Positions] = (_NOWHERE, _NOWHERE)
) -> Plan:
    in_held, in_wanted = matched(held, wanted)
    is_gone = np.ones(len(held), np.bool_)
    is_gone[in_held] = False
    is_gone[without[0]] = False
    is_new = np.ones(len(wanted), np.bool_)
    is_new[in_wanted] = False
    is_new[without[1]] = False
    differs = _differs(held, in_held, wanted, in_wanted)
    anew = (status[in_held] == DOUBT) | (differs & (status[in_held] == ASIDE))
    if len(without[0]):
        counts = np.ones(len(held), np.bool_)
        counts[without[0]] = False
        differs &= counts[in_held]
        anew &= counts[in_held]
    is_new[in_wanted[anew]] = True
    changed = np.flatnonzero(differs & ~anew)
    return Plan(
        unblock=_without_what_stays(held.take(np.flatnonzero(is_gone)), wanted),
        change=_with_what_goes(held, in_held[changed], wanted.take(in_wanted[changed])),
        block=wanted.take(np.flatnonzero(is_new)),
    )


def _with_what_goes(held: Items, in_held: Positions, change: Items) -> Items:
    """Changes, with the entries that blocked the items before and do not any more."""
    goes = np.flatnonzero(held.entry[in_held] != change.entry)
    several = np.flatnonzero(np.isin(in_held, np.array(list(held.more), np.intp)))
    places = {*goes.tolist(), *several.tolist()}
    lifted = {}
    for place in places:
        gone = tuple(sorted(set(held.entries(int(in_held[place]))) - set(change.entries(place))))
        if gone:
            lifted[place] = gone
    return replace(change, lifted=lifted)


def _without_what_stays(unblock: Items, wanted: Items) -> Items:
    """Unblocks; an entry that goes on blocking, since its range is only cut in another way, is not lifted."""
    spread = wanted.last != wanted.number
    if not len(unblock) or not (wanted.more or bool(spread.any())):
        return unblock
    stays = {*wanted.entry[spread].tolist(), *(entry for entries in wanted.more.values() for entry in entries)}
    lifted = {}
    for place in range(len(unblock)):
        entries = unblock.entries(place)
        if not stays.isdisjoint(entries):
            lifted[place] = tuple(entry for entry in entries if entry not in stays)
    return replace(unblock, lifted=lifted)


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
