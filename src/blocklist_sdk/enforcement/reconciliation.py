"""Reconciliation: compare what a sink really holds with what it should hold."""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import OWN_CATEGORY, OWN_ENTRY, Items, Positions, mask_of
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, is_any_of
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import matched
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.enforcement.sink import HeldItem, ReadableSink, Sink, SinkUnavailable, TransactionalSink
from blocklist_sdk.errors import InvalidInput, Malformed, Unreachable
from blocklist_sdk.recipient.blocklist import Blocklist, internals_of
from blocklist_sdk.release.rows import FOREVER_MS

_EXAMPLES: Final = 10
"""How many numbers are named of each kind of drift."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How a sink differs from what it should hold; false if it does not.

    Attributes:
        items: how many items it should hold.
        missing: how many of them it lacks.
        surplus: how many items it holds that it should not.
        differing: how many items have another last number or other scopes.
        examples: first numbers of some of the items, for each of ``missing``, ``surplus`` and ``differing``.
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

    With `repair`, the ledger then says what the sink really holds, so the next `enforce` repairs just what differs.
    Takes some 17 bytes of memory for each item that the sink holds.

    Args:
        blocklist: the list.
        sink: the sink; it must be a `ReadableSink`.
        name: the sink's name.
        settings: as for `enforce`; only `scopes` and `only_operator` count here.
        repair: prepare the next run to repair what differs.
        clock: returns the current time, UTC.
        wait_s: how long to wait for another process that enforces into the same sink, seconds.

    Raises:
        InvalidInput: the sink cannot be read.
        NotSynced, Stale, Locked, Unreachable, Malformed, StorageFailed: as for `enforce`.
    """
    if not isinstance(sink, ReadableSink):
        raise InvalidInput("this sink cannot be read, so it cannot be reconciled")
    with Ledger.open(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
        generation, rules = internals_of(blocklist).in_force()
        wanted = desired_items(generation.rows, rules, clock(), settings=settings)
        try:
            applied = (sink.applied() or 0) if isinstance(sink, TransactionalSink) else 0
            held = _items_held(sink.current())
        except SinkUnavailable as error:
            raise Unreachable(
                f"the sink is unavailable: {error}. Nothing was compared; run this again later.",
                url=name,
                retry_after=error.retry_after,
            ) from error
        known = ledger.state().whole()
        wanted = _without_nothing_to_block(wanted, known)
        in_held, in_wanted = matched(held, wanted)
        same = (held.last[in_held] == wanted.last[in_wanted]) & (held.scope[in_held] == wanted.scope[in_wanted])
        if repair:
            _repair(ledger, known, held, wanted, in_held[same], in_wanted[same], applied)
        numbers = {
            "missing": np.delete(wanted.number, in_wanted),
            "surplus": np.delete(held.number, in_held),
            "differing": held.number[in_held[~same]],
        }
        return Drift(
            items=len(wanted),
            **{kind: len(column) for kind, column in numbers.items()},
            examples={kind: tuple(column[:_EXAMPLES].tolist()) for kind, column in numbers.items()},
        )


def _items_held(current: Iterable[HeldItem]) -> Items:
    """The items that a sink holds, as columns in order."""
    number, last, scope = array("q"), array("q"), array("B")
    for item in current:
        number.append(item.number)
        last.append(item.last)
        scope.append(mask_of(item.scope))
    if not number:
        return Items.empty()
    columns = np.frombuffer(number, np.int64), np.frombuffer(last, np.int64), np.frombuffer(scope, np.uint8)
    order = np.argsort(columns[0], kind="stable")
    # A sink may return the same item twice, if items change while it is read.
    is_repeated = np.ones(len(order), np.bool_)
    is_repeated[0] = False
    for column in columns:
        is_repeated[1:] &= column[order][1:] == column[order][:-1]
    order = order[~is_repeated]
    first = columns[0][order]
    if bool((first[1:] == first[:-1]).any()):
        raise Malformed("the sink holds two items with the same first number: it must keep items by their first number")
    count = len(first)
    return Items(
        number=first,
        last=columns[1][order],
        scope=columns[2][order],
        entry=np.full(count, OWN_ENTRY, np.int64),
        until=np.full(count, FOREVER_MS, np.int64),
        category=np.zeros(count, np.int32),
        categories=(OWN_CATEGORY,),
        entry_lists={},
    )


def _without_nothing_to_block(wanted: Items, known: LedgerState) -> Items:
    """The wanted items, without those of which the sink says that there is nothing to block."""
    nothing = known.items.number[is_any_of(known.status, ItemStatus.NOTHING_TO_BLOCK)]
    return wanted.take(np.flatnonzero(~np.isin(wanted.number, nothing))) if len(nothing) else wanted


def _repair(
    ledger: Ledger,
    known: LedgerState,
    held: Items,
    wanted: Items,
    same_held: Positions,
    same_wanted: Positions,
    applied: int,
) -> None:
    """Make what the sink really holds the base of the ledger, with the entries that are known to be behind it."""
    other = _with_entries(held.take(np.delete(np.arange(len(held)), same_held)), known.items)
    same = wanted.take(same_wanted)
    is_nothing = is_any_of(known.status, ItemStatus.NOTHING_TO_BLOCK)
    nothing = known.items.take(np.flatnonzero(is_nothing & ~np.isin(known.items.number, held.number)))
    # No receipt has the outcome of these yet, and other entries may be behind them: they are asked for again.
    unsure = known.items.take(np.flatnonzero(is_any_of(known.status, ItemStatus.IN_DOUBT, ItemStatus.WIDER)))
    status_of_same = np.full(len(same), ItemStatus.HELD, np.uint8)
    status_of_same[matched(same, unsure)[0]] = ItemStatus.IN_DOUBT
    same = _with_entries(same, unsure)
    # Items that are gone, as they should be, are unblocked once more: no receipt says so yet.
    elsewhere = np.isin(known.items.number, held.number) | np.isin(known.items.number, wanted.number)
    gone = known.items.take(np.flatnonzero(~is_nothing & ~elsewhere))
    parts = [same, other, nothing, gone]
    codes = ItemStatus.HELD, ItemStatus.NOTHING_TO_BLOCK, ItemStatus.IN_DOUBT
    status = [np.full(len(part), code, np.uint8) for part, code in zip(parts[1:], codes, strict=True)]
    items = Items.concatenated(parts)
    order = np.argsort(items.number, kind="stable")
    ledger.replace(LedgerState.of(items.take(order), np.concatenate([status_of_same, *status])[order]), after=applied)


def _with_entries(items: Items, known: Items) -> Items:
    """Items, with the entries and categories of the known items that have the same first number."""
    in_items, in_known = matched(items, known)
    names = (*items.categories, *known.categories)
    entry, category = items.entry.copy(), items.category.copy()
    entry[in_items] = known.entry[in_known]
    category[in_items] = known.category[in_known] + len(items.categories)
    entry_lists = dict(items.entry_lists)
    for index, known_index in zip(in_items.tolist(), in_known.tolist(), strict=True):
        entry_lists.pop(index, None)
        if known_index in known.entry_lists:
            entry_lists[index] = known.entry_lists[known_index]
    return replace(items, entry=entry, category=category, categories=names, entry_lists=entry_lists)
