"""What a sink holds, as layers: a base and what changed since, each by first number.

Whatever is asked of a few numbers costs by these and by the number of layers, not by what the sink holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk.enforcement.items import Bools, Items, Positions, UInt8s
from blocklist_sdk.enforcement.ledger_files import items_of, items_table
from blocklist_sdk.enforcement.ledger_state import Effects, ItemStatus, LedgerState, is_any_of
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.release.spans import Spans, places_of, positions_between

_AT_A_TIME = 1 << 20

Counts = tuple[int, ...]
"""How many items have each `ItemStatus`, by its value."""


@dataclass(frozen=True, slots=True)
class LedgerLayer:
    """A base, or what changed after the layer below.

    Attributes:
        items: the items by first number, each once; also those that are gone.
        status: the `ItemStatus` of each item.
        is_there: which items the sink holds, or may hold; None for all of them.
        reach: for each item, the furthest last number so far.
        counts: of what the sink holds with this layer and those below; None if nobody has counted it.
    """

    items: Items
    status: UInt8s
    is_there: Bools | None
    reach: Int64s
    counts: Counts | None

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, effects: Effects, *, counts: Counts | None = None) -> Self:
        """A layer of changes, ascending by number, each once."""
        items = effects.items
        reach = items.last if are_apart(items) else np.maximum.accumulate(items.last)
        return cls(items, effects.status, effects.is_there, reach, counts)

    @classmethod
    def read(cls, table: pa.Table, about: Mapping[str, Any]) -> Self:
        """A layer from its file."""
        items = items_of(table)
        if not len(items):
            return cls(items, np.empty(0, np.uint8), None, items.last, None)
        status = table.column("status").chunk(0).to_numpy(zero_copy_only=True)
        is_there = table.column("is_there").to_numpy().astype(np.bool_) if "is_there" in table.column_names else None
        is_apart = about["is_apart"] is True if "is_apart" in about else are_apart(items)
        counts = tuple(int(count) for count in about["counts"]) if "counts" in about else None
        if counts is not None and len(counts) != len(ItemStatus):
            raise ValueError("it has not a count for each status")
        return cls(items, status, is_there, items.last if is_apart else np.maximum.accumulate(items.last), counts)

    def table(self) -> tuple[pa.Table, dict[str, Any]]:
        """What its file has: a table, and facts about it."""
        table = items_table(self.items).append_column("status", pa.array(self.status))
        if self.is_there is not None:
            table = table.append_column("is_there", pa.array(self.is_there))
        return table, {"counts": self.counts, "is_apart": self.reach is self.items.last}

    def effects(self) -> Effects:
        """The layer as changes."""
        is_there = np.ones(len(self), np.bool_) if self.is_there is None else self.is_there
        return Effects(self.items, self.status, is_there)

    def touching(self, spans: Spans) -> Positions:
        """Positions of the items of which a number lies in one of the spans, ascending."""
        start = np.searchsorted(self.reach, spans.first, "left")
        stop = np.searchsorted(self.items.number, spans.last, "right")
        found = positions_between(start, stop)
        if self.reach is self.items.last:
            return found
        return found[spans.touch(self.items.number[found], self.items.last[found])]

    def has(self, numbers: Int64s) -> tuple[Positions, Bools]:
        """Where items would stand by their first numbers, and whether they do."""
        return places_of(numbers, self.items.number)


@dataclass(frozen=True)
class LedgerLayers:
    """What a sink holds.

    Attributes:
        layers: the base, and then what changed since, oldest first.
    """

    layers: Sequence[LedgerLayer]

    def count(self, *status: ItemStatus) -> int:
        """How many items have one of some statuses."""
        return sum(self.counts[each] for each in status)

    def numbers_with(self, *status: ItemStatus) -> Int64s:
        """The first numbers of the items that have one of some statuses, ascending; looks at all items."""
        numbers: list[Int64s] = []
        for place, layer in enumerate(self.layers):
            found = np.flatnonzero(is_any_of(layer.status, *status))
            numbers.append(layer.items.number[self._uppermost(place, found)])
        return np.sort(np.concatenate(numbers))

    def _uppermost(self, place: int, positions: Positions) -> Positions:
        """Those of some positions in a layer where an item is that no layer above replaces."""
        layer = self.layers[place]
        if layer.is_there is not None:
            positions = positions[layer.is_there[positions]]
        for above in self.layers[place + 1 :]:
            positions = positions[~above.has(layer.items.number[positions])[1]]
        return positions

    @cached_property
    def counts(self) -> Counts:
        """How many items have each status, by its value."""
        counted = max((at for at, layer in enumerate(self.layers) if layer.counts is not None), default=0)
        counts = np.array(self.layers[counted].counts or counted_in(self.layers[0].status), np.int64)
        for at in range(counted + 1, len(self.layers)):
            layer = self.layers[at]
            before = LedgerLayers(self.layers[:at]).status_of(layer.items.number)
            is_there = slice(None) if layer.is_there is None else layer.is_there
            counts += np.array(counted_in(layer.status[is_there]), np.int64)
            counts -= np.array(counted_in(before[before != _GONE]), np.int64)
        return tuple(counts.tolist())

    def status_of(self, numbers: Int64s) -> UInt8s:
        """The status of the items with some first numbers; `_GONE` where there is none."""
        status = np.full(len(numbers), _GONE, np.uint8)
        for layer in self.layers:
            at, is_here = layer.has(numbers)
            at = at[is_here]
            found = layer.status[at]
            status[is_here] = found if layer.is_there is None else np.where(layer.is_there[at], found, _GONE)
        return status

    def near(self, spans: Spans) -> LedgerState:
        """The items of which a number lies in one of the spans, as a state of their own."""
        parts: list[Items] = []
        status: list[UInt8s] = []
        for place, layer in enumerate(self.layers):
            found = self._uppermost(place, layer.touching(spans))
            parts.append(layer.items.take(found))
            status.append(layer.status[found])
        items = Items.concatenated(parts)
        order = np.argsort(items.number, kind="stable")
        return LedgerState.of(items.take(order), np.concatenate(status)[order])


_GONE = np.uint8(255)
"""Stands for the status of what the sink does not hold."""


def counted_in(status: UInt8s) -> Counts:
    """How many items have each status, by its value."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(status), _AT_A_TIME):
        counts += np.bincount(status[start : start + _AT_A_TIME], minlength=256)
    return tuple(counts[: len(ItemStatus)].tolist())


def are_apart(items: Items) -> bool:
    """Whether no item overlaps another one."""
    parts = (slice(start, start + _AT_A_TIME + 1) for start in range(0, len(items), _AT_A_TIME))
    return all(bool((items.last[part][:-1] < items.number[part][1:]).all()) for part in parts)


def merged_patches(patches: Sequence[LedgerLayer], recent: Effects, *, factor: int) -> Iterator[LedgerLayer]:
    """Patches with recent changes on top, of which each is at least `factor` times as large as the next one.

    So there are few, and on average each change is written again but a few times.
    """
    kept = list(patches)
    parts = [recent]
    while kept and len(kept[-1]) < factor * sum(map(len, parts)):
        parts.insert(0, kept.pop().effects())
    yield from kept
    yield LedgerLayer.of(Effects.latest(parts))
