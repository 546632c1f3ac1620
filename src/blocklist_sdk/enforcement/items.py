"""Items: the numbers that a sink blocks, as columns; and changes, which are what a sink is asked to do.

An *item* is one number, or one run of numbers, that is blocked in some scopes. The items of a sink never overlap. So
lifting one item never touches another, however many entries, ranges and overrides are behind them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId
from blocklist_sdk.release.rows import FOREVER_MS, LATEST_MS, Int64s

Positions = NDArray[np.intp]
Bools = NDArray[np.bool_]
UInt8s = NDArray[np.uint8]
Int32s = NDArray[np.int32]

OWN_ENTRY: Final = 0
"""Stands for an entry's id where only an override of the recipient's own blocks the item."""

OWN_CATEGORY: Final = "own-decision"
"""The category of such an item."""

Operation = Literal["block", "change", "unblock"]

_BITS: Final[dict[str, int]] = {scope: 1 << bit for bit, scope in enumerate(SCOPES)}
_SCOPES_OF: Final = tuple(tuple(scope for scope in SCOPES if mask & _BITS[scope]) for mask in range(1 << len(SCOPES)))

EVERYWHERE: Final = (1 << len(SCOPES)) - 1
"""All scopes as bits."""


def mask_of(scopes: Iterable[str]) -> int:
    """Scopes as bits.

    >>> mask_of(["sms", "voice"])
    12
    """
    return sum(_BITS[scope] for scope in set(scopes))


def scopes_of(mask: int) -> tuple[str, ...]:
    """Bits as scopes.

    >>> scopes_of(12)
    ('sms', 'voice')
    """
    return _SCOPES_OF[mask]


def until_text(milliseconds: int) -> str | None:
    """The end of an item as text that sorts like time; None if it has no end.

    >>> until_text(1_798_761_600_000)
    '2027-01-01T00:00:00Z'
    """
    return None if milliseconds == FOREVER_MS else times.iso(times.from_ms(min(milliseconds, LATEST_MS)))


class EntryLists(Mapping[int, tuple[int, ...]]):
    """The entries of those items of a long column that have several, by index; each is read when it is asked for."""

    def __init__(self, offsets: NDArray[np.int32], values: Int64s) -> None:
        """Takes columns as Arrow lists have them: where the entries of each item begin and end, and the entries."""
        self._offsets = offsets
        self._values = values

    def __bool__(self) -> bool:
        return bool(len(self._values))

    def __len__(self) -> int:
        return len(self.indexes)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indexes.tolist())

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and index in range(len(self._offsets) - 1) and bool(self._entries(index))

    def __getitem__(self, index: int) -> tuple[int, ...]:
        if index not in self:
            raise KeyError(index)
        return self._entries(index)

    def _entries(self, index: int) -> tuple[int, ...]:
        return tuple(self._values[self._offsets[index] : self._offsets[index + 1]].tolist())

    @cached_property
    def indexes(self) -> Positions:
        """The indexes of all items that have several entries, ascending."""
        return np.flatnonzero(self._offsets[1:] != self._offsets[:-1])

    def among(self, positions: Positions) -> Positions:
        """Which of some positions have several entries: indexes in `positions`, ascending."""
        return np.flatnonzero(self._offsets[positions + 1] != self._offsets[positions])


@dataclass(frozen=True, slots=True)
class Items:
    """Items in ascending order, none of which overlaps another.

    Attributes:
        number: the first number of each item.
        last: the last number; `number` itself for a single number.
        scope: where the item is blocked, as bits of `mask_of`.
        entry: the id of the entry that blocks it, the lowest one of several; `OWN_ENTRY` for an override alone.
        until: when the item ends, milliseconds since 1970 UTC; `FOREVER_MS` if it never does.
        category: positions in `categories`.
        categories: names of categories.
        entry_lists: for each item with several entries, by index: the ids of all of them.
        lifted_entries: in changes, by index: ids of the entries that do not block the item any more. Left out where the
            operation says it: an unblock lifts all entries, any other change none.
    """

    number: Int64s
    last: Int64s
    scope: UInt8s
    entry: Int64s
    until: Int64s
    category: Int32s
    categories: tuple[str, ...]
    entry_lists: Mapping[int, tuple[int, ...]]
    lifted_entries: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.number)

    @classmethod
    def empty(cls) -> "Items":
        """No items."""
        none = np.empty(0, np.int64)
        return cls(none, none, np.empty(0, np.uint8), none, none, np.empty(0, np.int32), (), {})

    @classmethod
    def concatenated(cls, parts: Sequence["Items"]) -> "Items":
        """The items of several parts, one part after the other; the same number may occur twice."""
        categories: list[str] = list(dict.fromkeys(name for part in parts for name in part.categories))
        code_of = {name: code for code, name in enumerate(categories)}
        category: list[Int32s] = []
        entry_lists: dict[int, tuple[int, ...]] = {}
        lifted_entries: dict[int, tuple[int, ...]] = {}
        start = 0
        for part in parts:
            codes = np.array([code_of[name] for name in part.categories] or [0], np.int32)
            category.append(codes[part.category])
            entry_lists |= {start + index: entries for index, entries in part.entry_lists.items()}
            lifted_entries |= {start + index: entries for index, entries in part.lifted_entries.items()}
            start += len(part)
        return cls(
            number=np.concatenate([part.number for part in parts]),
            last=np.concatenate([part.last for part in parts]),
            scope=np.concatenate([part.scope for part in parts]),
            entry=np.concatenate([part.entry for part in parts]),
            until=np.concatenate([part.until for part in parts]),
            category=np.concatenate(category),
            categories=tuple(categories),
            entry_lists=entry_lists,
            lifted_entries=lifted_entries,
        )

    @classmethod
    def merged(cls, some: "Items", others: "Items") -> "Items":
        """The items of both, in order."""
        if not len(some) or not len(others):
            return some if len(some) else others
        both = cls.concatenated([some, others])
        return both.take(np.argsort(both.number, kind="stable"))

    def take(self, positions: Positions) -> "Items":
        """Some of the items, in the order of the positions."""
        return replace(
            self,
            number=self.number[positions],
            last=self.last[positions],
            scope=self.scope[positions],
            entry=self.entry[positions],
            until=self.until[positions],
            category=self.category[positions],
            entry_lists=_taken(self.entry_lists, positions),
            lifted_entries=_taken(self.lifted_entries, positions),
        )

    def where(self, is_wanted: Bools) -> "Items":
        """Those of the items that are wanted; of a long list that is wanted whole, nothing is copied."""
        return self if bool(is_wanted.all()) else self.take(np.flatnonzero(is_wanted))

    def entries(self, index: int) -> tuple[int, ...]:
        """The ids of the entries behind an item; empty if an override alone blocks it."""
        entry = int(self.entry[index])
        return self.entry_lists.get(index) or (() if entry == OWN_ENTRY else (entry,))


def _taken(entries: Mapping[int, tuple[int, ...]], positions: Positions) -> dict[int, tuple[int, ...]]:
    """The lists of the items at some positions, by their new index."""
    if not entries:
        return {}
    if isinstance(entries, EntryLists):
        found = entries.among(positions)
    else:
        found = np.flatnonzero(np.isin(positions, np.fromiter(entries, np.intp, len(entries))))
    return {new: entries[old] for new, old in zip(found.tolist(), positions[found].tolist(), strict=True)}


@dataclass(frozen=True, slots=True)
class SinkChange:
    """One thing that a sink is asked to do.

    Attributes:
        operation: ``block``, ``unblock``, or ``change`` for what is blocked already and now has other scopes or another
            end.
        number: the first number, E.164 digits as an integer.
        last: the last number; the same for a single number.
        scope: where it is blocked from now on; for an unblock, where it was.
        category: why.
        entries: ids of the entries behind it; empty for a decision of the recipient's own.
        until: when it ends by itself, milliseconds since 1970 UTC; None if it never does. An unblock is sent then, too.
        feed: the feed.
        serial: the serial of the release in force.
        era: its era.
    """

    operation: Operation
    number: int
    last: int
    scope: tuple[str, ...]
    category: str
    entries: tuple[int, ...]
    until: int | None
    feed: str
    serial: int
    era: int = FIRST_ERA

    @property
    def key(self) -> str:
        """Identifies the change: equal whenever the same is asked for again, even if it was lifted in between."""
        what = "+".join(self.scope) if self.operation != "unblock" else ""
        entries = ".".join(map(str, self.entries))
        return f"{self.feed}:{self.number}-{self.last}:{what}:{self.until or ''}:{entries}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes of one operation that go to a sink together: a sequence of `SinkChange`, and the same as columns.

    Attributes:
        number_in_ledger: counts up by one from batch to batch of a sink. A sink that stores it in the same transaction
            as the items can say after a crash what was done (`TransactionalSink`).
        operation: the operation of all changes.
        items: what the changes are about, as columns, which are faster for large batches.
        feed: the feed.
        serial: the serial of the release in force.
        era: its era.
    """

    number_in_ledger: int
    operation: Operation
    items: Items
    feed: str
    serial: int
    era: int = FIRST_ERA

    @property
    def release(self) -> ReleaseId:
        """The era and serial of the release in force."""
        return ReleaseId(self.era, self.serial)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> SinkChange:
        items = self.items
        until = int(items.until[index])
        return SinkChange(
            operation=self.operation,
            number=int(items.number[index]),
            last=int(items.last[index]),
            scope=scopes_of(int(items.scope[index])),
            category=items.categories[int(items.category[index])],
            entries=items.entries(index),
            until=None if until == FOREVER_MS else until,
            feed=self.feed,
            serial=self.serial,
            era=self.era,
        )

    def __iter__(self) -> Iterator[SinkChange]:
        return (self[index] for index in range(len(self)))


def era_field(batch: Batch) -> dict[str, int]:
    """The era of a batch for what is sent to a sink; left out if it is 1, as every reader of earlier versions expects.

    >>> from blocklist_sdk.testing import make_batch
    >>> era_field(make_batch("block", [6281200000001], feed="id-all"))
    {}
    """
    return {} if batch.era == FIRST_ERA else {"era": batch.era}
