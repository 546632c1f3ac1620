"""What a sink holds: numbers that are blocked, as columns.

An *item* is one number, or a run of numbers, that is blocked in some scopes. A sink's items never overlap, so lifting
one never touches what another one says, however many entries, ranges and overrides lie behind them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import FOREVER_MS, Int64s

Positions = NDArray[np.intp]
Masks = NDArray[np.uint8]
Codes = NDArray[np.int32]

OWN: Final = 0
"""In place of an entry's id: a recipient's own override blocks it."""

OWN_CATEGORY: Final = "own-decision"

Operation = Literal["block", "change", "unblock"]

_BITS: Final[dict[str, int]] = {scope: 1 << place for place, scope in enumerate(SCOPES)}
_SCOPES_OF: Final = tuple(tuple(scope for scope in SCOPES if mask & _BITS[scope]) for mask in range(1 << len(SCOPES)))

EVERYWHERE: Final = (1 << len(SCOPES)) - 1


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


@dataclass(frozen=True, slots=True)
class Items:
    """Items in order, none of which overlaps another.

    Attributes:
        number: the first number of each, ascending.
        last: its last one; `number` itself for a single number.
        scope: where it is blocked, as bits of `mask_of`.
        entry: the entry that blocks it, the lowest id of several; `OWN` for an override alone.
        until: when the entry ends, milliseconds since 1970 UTC; `FOREVER_MS` for never.
        category: positions in `categories`.
        categories: of the entries.
        more: for items with several entries, by place: all of them.
        lifted: for what is to be done with items, by place: entries that do not block them any more, where these are
            not just what the operation says, which is all of an unblock's and none of a change's.
    """

    number: Int64s
    last: Int64s
    scope: Masks
    entry: Int64s
    until: Int64s
    category: Codes
    categories: tuple[str, ...]
    more: dict[int, tuple[int, ...]]
    lifted: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.number)

    @classmethod
    def empty(cls) -> "Items":
        """No items."""
        none = np.empty(0, np.int64)
        return cls(none, none, np.empty(0, np.uint8), none, none, np.empty(0, np.int32), (), {})

    def take(self, at: Positions) -> "Items":
        """Some of them, by place, in any order of places."""
        places = list(enumerate(at.tolist())) if self.more or self.lifted else []
        more, lifted = (
            {new: entries[old] for new, old in places if old in entries} for entries in (self.more, self.lifted)
        )
        return replace(
            self,
            number=self.number[at],
            last=self.last[at],
            scope=self.scope[at],
            entry=self.entry[at],
            until=self.until[at],
            category=self.category[at],
            more=more,
            lifted=lifted,
        )

    def entries(self, place: int) -> tuple[int, ...]:
        """The entries behind an item; none where an override alone blocks it."""
        entry = int(self.entry[place])
        return self.more.get(place) or (() if entry == OWN else (entry,))


@dataclass(frozen=True, slots=True)
class SinkChange:
    """One thing to do in a sink.

    Attributes:
        operation: ``block``, ``change`` (it is blocked already, but other scopes or another end hold now), ``unblock``.
        number: the first number, E.164 digits as an integer.
        last: the last one; the same for a single number.
        scope: where it is blocked from now on; for an unblock where it was.
        category: why.
        entries: ids of the entries behind it; none for a recipient's own decision.
        until: when it ends by itself, milliseconds since 1970 UTC; None for never. It is also unblocked then.
        feed: the feed.
        serial: the release in force.
        key: the same whenever the same is asked for again: what has been done under it need not be done twice.
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

    @property
    def key(self) -> str:
        """Names the change: feed, numbers, and what is to be so."""
        what = "+".join(self.scope) if self.operation != "unblock" else ""
        entries = ".".join(map(str, self.entries))
        return f"{self.feed}:{self.number}-{self.last}:{what}:{self.until or ''}:{entries}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes of one kind that go to a sink together. A sequence of `SinkChange`, and columns for sinks in a hurry.

    Attributes:
        number_in_ledger: counts up by one from batch to batch of a sink. A sink that keeps it with what it holds, in
            one transaction, tells after a crash what has been done.
        operation: of all of them.
        items: what they are about.
        feed: the feed.
        serial: the release in force.
    """

    number_in_ledger: int
    operation: Operation
    items: Items
    feed: str
    serial: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> SinkChange:
        items = self.items
        until = int(items.until[place])
        return SinkChange(
            operation=self.operation,
            number=int(items.number[place]),
            last=int(items.last[place]),
            scope=scopes_of(int(items.scope[place])),
            category=items.categories[int(items.category[place])],
            entries=items.entries(place),
            until=None if until == FOREVER_MS else until,
            feed=self.feed,
            serial=self.serial,
        )

    def __iter__(self) -> Iterator[SinkChange]:
        return (self[place] for place in range(len(self)))
