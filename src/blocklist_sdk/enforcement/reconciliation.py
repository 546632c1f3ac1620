"""Reconciliation: what a sink really holds against what it should hold."""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import OWN, OWN_CATEGORY, Items, Positions, mask_of
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, is_any_of, joined
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import matched
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.enforcement.sink import HeldItem, ReadableSink, Sink, SinkUnavailable, TransactionalSink
from blocklist_sdk.errors import InvalidInput, Malformed, Unreachable
from blocklist_sdk.recipient.blocklist import Blocklist
from blocklist_sdk.release.rows import FOREVER_MS

_SHOWN: Final = 10
"""Numbers named of each kind of drift."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How a sink differs from what it should hold.

    Attributes:
        items: how many it should hold.
        missing, surplus, differing: how many it lacks, has too many, or holds otherwise.
        examples: some of the numbers, by kind.
    """

    items: int
    missing: int
    surplus: int
    differing: int
    examples: dict[str, tuple[int, ...]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.surplus or self.differing)


def reconcile(
    blocklist: Blocklist,
    sink: Sink,
    *,
    name: str = "default",
    settings: EnforcementSettings = DEFAULTS,
    repair: bool = False,
    clock: Callable[[], datetime] = times.now,
    wait_s: float = 10.0,
) -> Drift:
    """Compare what a sink really holds with what it should hold.

    With `repair`, what it really holds is taken for what it has acknowledged, so that the next `enforce` mends just
    what differs. Takes some 17 bytes of memory for each item that the sink holds.

    Args:
        blocklist: the list.
        sink: which; it has to be `ReadableSink`.
        name: the sink's.
        settings: as for `enforce`; `scopes` and `only_operator` count here.
        repair: prepare the next run to mend it.
        clock: tells the time, UTC.
        wait_s: how long to wait for another process that enforces into the same sink, seconds.

    Raises:
        InvalidInput: the sink cannot be read.
        NotSynced, Stale, Locked, Unreachable, Malformed, StorageFailed: as for `enforce`.
    """
    if not isinstance(sink, ReadableSink):
        raise InvalidInput("this sink cannot be read, so it cannot be reconciled")
    with Ledger.open(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
        generation, rules = blocklist.in_force()
        wanted = desired_items(generation.rows, rules, clock(), settings=settings)
        try:
            applied = (sink.applied() or 0) if isinstance(sink, TransactionalSink) else 0
            held = _items_held(sink.current())
        except SinkUnavailable as error:
            raise Unreachable(
                f"the sink is down: {error}. Nothing was compared; run this again later.",
                url=name,
                retry_after=error.retry_after,
            ) from error
        known = ledger.acknowledged().whole()
        wanted_there = _without_nothing(wanted, known)
        in_held, in_wanted = matched(held, wanted_there)
        same = (held.last[in_held] == wanted_there.last[in_wanted]) & (
            held.scope[in_held] == wanted_there.scope[in_wanted]
        )
        surplus = np.delete(np.arange(len(held)), in_held)
        missing = np.delete(np.arange(len(wanted_there)), in_wanted)
        if repair:
            _note(ledger, known, held, wanted_there, in_held[same], in_wanted[same], applied)
        numbers = {
            "missing": wanted_there.number[missing],
            "surplus": held.number[surplus],
            "differing": held.number[in_held[~same]],
        }
        return Drift(
            items=len(wanted_there),
            missing=len(missing),
            surplus=len(surplus),
            differing=int((~same).sum()),
            examples={kind: tuple(found[:_SHOWN].tolist()) for kind, found in numbers.items()},
        )


def _items_held(current: Iterable[HeldItem]) -> Items:
    """What a sink holds, as columns in order."""
    number, last, scope = array("q"), array("q"), array("B")
    for each in current:
        number.append(each.number)
        last.append(each.last)
        scope.append(mask_of(each.scope))
    if not number:
        return Items.empty()
    columns = np.frombuffer(number, np.int64), np.frombuffer(last, np.int64), np.frombuffer(scope, np.uint8)
    order = np.argsort(columns[0], kind="stable")
    # While it is read, a sink may tell the same twice.
    again = np.ones(len(order), np.bool_)
    again[0] = False
    for column in columns:
        again[1:] &= column[order][1:] == column[order][:-1]
    order = order[~again]
    first = columns[0][order]
    if bool((first[1:] == first[:-1]).any()):
        raise Malformed("the sink holds a number twice: it does not keep items by their first number")
    count = len(first)
    return Items(
        number=first,
        last=columns[1][order],
        scope=columns[2][order],
        entry=np.full(count, OWN, np.int64),
        until=np.full(count, FOREVER_MS, np.int64),
        category=np.zeros(count, np.int32),
        categories=(OWN_CATEGORY,),
        more={},
    )


def _without_nothing(wanted: Items, known: LedgerState) -> Items:
    """What should be there, less what the sink says that there is nothing to block of."""
    nothing = known.items.number[is_any_of(known.status, ItemStatus.NOTHING_TO_BLOCK)]
    return wanted.take(np.flatnonzero(~np.isin(wanted.number, nothing))) if len(nothing) else wanted


def _note(
    ledger: Ledger,
    known: LedgerState,
    held: Items,
    wanted: Items,
    same_held: Positions,
    same_wanted: Positions,
    applied: int,
) -> None:
    """Take what the sink really holds for what it has acknowledged, with the entries that are known to be behind it."""
    other = _with_entries(held.take(np.delete(np.arange(len(held)), same_held)), known.items)
    same = wanted.take(same_wanted)
    is_nothing = is_any_of(known.status, ItemStatus.NOTHING_TO_BLOCK)
    nothing = known.items.take(np.flatnonzero(is_nothing & ~np.isin(known.items.number, held.number)))
    # What came of these has not been told to anybody, and it may have been other entries: they are asked for again.
    unsure = known.items.take(np.flatnonzero(is_any_of(known.status, ItemStatus.IN_DOUBT, ItemStatus.WIDER)))
    status_of_same = np.full(len(same), ItemStatus.HELD, np.uint8)
    status_of_same[matched(same, unsure)[0]] = ItemStatus.IN_DOUBT
    same = _with_entries(same, unsure)
    # What has gone, and is to go, is unblocked once more: of that too nobody has been told.
    elsewhere = np.isin(known.items.number, held.number) | np.isin(known.items.number, wanted.number)
    gone = known.items.take(np.flatnonzero(~is_nothing & ~elsewhere))
    parts = [same, other, nothing, gone]
    codes = ItemStatus.HELD, ItemStatus.NOTHING_TO_BLOCK, ItemStatus.IN_DOUBT
    status = [np.full(len(part), code, np.uint8) for part, code in zip(parts[1:], codes, strict=True)]
    items = joined(parts)
    order = np.argsort(items.number, kind="stable")
    ledger.replace(LedgerState.of(items.take(order), np.concatenate([status_of_same, *status])[order]), after=applied)


def _with_entries(items: Items, known: Items) -> Items:
    """Items, with the entries and categories that are known of those with the same first number."""
    at, in_known = matched(items, known)
    names = (*items.categories, *known.categories)
    entry, category = items.entry.copy(), items.category.copy()
    entry[at] = known.entry[in_known]
    category[at] = known.category[in_known] + len(items.categories)
    more = dict(items.more)
    for place, there in zip(at.tolist(), in_known.tolist(), strict=True):
        more.pop(place, None)
        if there in known.more:
            more[place] = known.more[there]
    return replace(items, entry=entry, category=category, categories=names, more=more)
