"""Reconciliation: compare what a sink really holds with what it should hold."""

import contextlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.binding import identity_of
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import OWN_CATEGORY, OWN_ENTRY, Items, Positions, mask_of
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, is_any_of
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import matched
from blocklist_sdk.enforcement.repairs import find_repairs, write_repairs
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.enforcement.shadow import check_name
from blocklist_sdk.enforcement.sink import HeldItem, ReadableSink, Sink, SinkUnavailable, TransactionalSink
from blocklist_sdk.errors import InvalidInput, Malformed, NotPermitted, Unreachable
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

    With `repair`, the ledger then says what the sink really holds, and belongs to this sink, so the next `enforce`
    repairs just what differs. Without it nothing is written.

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
        InvalidInput: the sink cannot be read, or `name` is not for it.
        NotSynced, Stale, Locked, NotPermitted, Unreachable, Malformed, StorageFailed: as for `enforce`.
    """
    check_name(sink, name)
    check_readable(sink)
    directory = ledger_path(blocklist, name)
    with contextlib.ExitStack() as stack:
        ledger = None
        if repair or Ledger.exists(directory):
            ledger = stack.enter_context(Ledger.open(directory, feed=blocklist.feed, wait_s=wait_s))
        generation, rules = internals_of(blocklist).in_force()
        published = generation.about.published_at
        target_items = desired_items(generation.rows, rules, clock(), settings=settings, published=published)
        try:
            last_batch = (sink.applied() or 0) if isinstance(sink, TransactionalSink) else 0
            sink_items = _items_held(check_readable(sink).current())
            identity = identity_of(sink)
        except SinkUnavailable as error:
            if not error.is_permitted:
                raise NotPermitted(
                    f"the sink does not permit this: {error}. Nothing was compared; correct the account or its "
                    "permissions, and run this again.",
                    url=name,
                ) from error
            raise Unreachable(
                f"the sink is unavailable: {error}. Nothing was compared; run this again later.",
                url=name,
                retry_after=error.retry_after,
            ) from error
        ledger_state = LedgerState.empty() if ledger is None else ledger.state().whole()
        target_items = _without_nothing_to_block(target_items, ledger_state)
        in_sink, in_target = matched(sink_items, target_items)
        same = (sink_items.last[in_sink] == target_items.last[in_target]) & (
            sink_items.scope[in_sink] == target_items.scope[in_target]
        )
        if ledger is not None and repair:
            repairs = find_repairs(ledger_state, sink_items, target_items, in_sink, in_target)
            write_repairs(ledger, repairs, after=max(ledger.last, last_batch))
            _repair(ledger, ledger_state, sink_items, target_items, in_sink[same], in_target[same], last_batch)
            ledger.bind(identity, cursor=last_batch)
        numbers = {
            "missing": np.delete(target_items.number, in_target),
            "surplus": np.delete(sink_items.number, in_sink),
            "differing": sink_items.number[in_sink[~same]],
        }
        return Drift(
            items=len(target_items),
            **{kind: len(column) for kind, column in numbers.items()},
            examples={kind: tuple(column[:_EXAMPLES].tolist()) for kind, column in numbers.items()},
        )


def check_readable(sink: Sink) -> ReadableSink:
    """The sink, if it can be read.

    Raises:
        InvalidInput: it cannot.
    """
    if not isinstance(sink, ReadableSink):
        raise InvalidInput("this sink cannot be read, so it cannot be reconciled")
    return sink


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


def _without_nothing_to_block(target_items: Items, ledger_state: LedgerState) -> Items:
    """The target items, without those of which the sink says that there is nothing to block."""
    nothing = ledger_state.items.number[is_any_of(ledger_state.status, ItemStatus.NOTHING_TO_BLOCK)]
    return target_items.take(np.flatnonzero(~np.isin(target_items.number, nothing))) if len(nothing) else target_items


_NOWHERE = np.empty(0, np.intp)


def forget_what_was_lost(ledger: Ledger, target_items: Items, *, last_batch: int) -> None:
    """Make the ledger of a sink that lost everything say so, so that the next plan fills it.

    That is a repair, so the month's statement does not count it as new, and no daily cap holds it back.

    Raises:
        Malformed, StorageFailed: as for `Ledger.state` and `Ledger.replace`.
    """
    state = ledger.state().whole()
    repairs = find_repairs(state, Items.empty(), target_items, _NOWHERE, _NOWHERE)
    write_repairs(ledger, repairs, after=max(ledger.last, last_batch))
    _repair(ledger, state, Items.empty(), target_items, _NOWHERE, _NOWHERE, last_batch)


def _repair(
    ledger: Ledger,
    ledger_state: LedgerState,
    sink_items: Items,
    target_items: Items,
    same_in_sink: Positions,
    same_in_target: Positions,
    last_batch: int,
) -> None:
    """Make what the sink really holds the base of the ledger, with the entries that are known to be behind it."""
    other = _with_entries(sink_items.take(np.delete(np.arange(len(sink_items)), same_in_sink)), ledger_state.items)
    same = target_items.take(same_in_target)
    is_nothing = is_any_of(ledger_state.status, ItemStatus.NOTHING_TO_BLOCK)
    nothing = ledger_state.items.take(
        np.flatnonzero(is_nothing & ~np.isin(ledger_state.items.number, sink_items.number))
    )
    # No receipt has the outcome of these yet, and other entries may be behind them: they are asked for again.
    unsure = ledger_state.items.take(
        np.flatnonzero(is_any_of(ledger_state.status, ItemStatus.IN_DOUBT, ItemStatus.WIDER))
    )
    status_of_same = np.full(len(same), ItemStatus.HELD, np.uint8)
    status_of_same[matched(same, unsure)[0]] = ItemStatus.IN_DOUBT
    same = _with_entries(same, unsure)
    # Items that are gone, as they should be, are unblocked once more: no receipt says so yet.
    # So are items that are gone and should not be: they are in doubt, and asked for again without regard to a cap.
    is_wanted = np.isin(ledger_state.items.number, target_items.number)
    is_aside = is_any_of(ledger_state.status, ItemStatus.SET_ASIDE)
    is_there = np.isin(ledger_state.items.number, sink_items.number)
    gone = ledger_state.items.take(np.flatnonzero(~is_nothing & ~is_there & ~(is_aside & is_wanted)))
    parts = [same, other, nothing, gone]
    codes = ItemStatus.HELD, ItemStatus.NOTHING_TO_BLOCK, ItemStatus.IN_DOUBT
    status = [np.full(len(part), code, np.uint8) for part, code in zip(parts[1:], codes, strict=True)]
    items = Items.concatenated(parts)
    order = np.argsort(items.number, kind="stable")
    ledger.replace(
        LedgerState.of(items.take(order), np.concatenate([status_of_same, *status])[order]), after=last_batch
    )


def _with_entries(items: Items, ledger_items: Items) -> Items:
    """Items, with the entries and categories of the known items that have the same first number."""
    in_items, in_ledger = matched(items, ledger_items)
    names = (*items.categories, *ledger_items.categories)
    entry, category = items.entry.copy(), items.category.copy()
    entry[in_items] = ledger_items.entry[in_ledger]
    category[in_items] = ledger_items.category[in_ledger] + len(items.categories)
    entry_lists = dict(items.entry_lists)
    for index, ledger_index in zip(in_items.tolist(), in_ledger.tolist(), strict=True):
        entry_lists.pop(index, None)
        if ledger_index in ledger_items.entry_lists:
            entry_lists[index] = ledger_items.entry_lists[ledger_index]
    return replace(items, entry=entry, category=category, categories=names, entry_lists=entry_lists)
