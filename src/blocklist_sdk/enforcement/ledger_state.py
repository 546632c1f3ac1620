"""What a sink has acknowledged: records of batches, one after the other, and where they leave each item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.enforcement.items import Batch, Codes, Items, Masks, Positions
from blocklist_sdk.enforcement.sink import KINDS, OutcomeKind
from blocklist_sdk.release.rows import Int64s


class ItemStatus(IntEnum):
    """What the ledger knows of one item in the sink."""

    HELD = 0
    """The sink holds the item."""
    SET_ASIDE = 1
    """The sink refused the item, or it failed too often. It is not asked for again until something about it changes."""
    IN_DOUBT = 2
    """The sink may hold the item or not: it failed, or the run was killed before it got an answer."""
    NOTHING_TO_BLOCK = 3
    """The sink says that there is nothing to block: the number is inactive, recycled, or not the recipient's."""
    WIDER = 4
    """The sink may hold more than the item says, since a change that lifts a part of it is not done yet."""


class OutcomeCode(IntEnum):
    """The outcome of one change, as a record keeps it."""

    ENFORCED = 0
    """The sink blocks the item as asked; after an unblock, it does not block it."""
    ALREADY_INACTIVE = 1
    """The number is not in use, so there is nothing to block."""
    NOT_OURS = 2
    """The number belongs to another operator or provider."""
    RECYCLED = 3
    """The number has a new owner."""
    REFUSED = 4
    """The sink will not do it."""
    FAILED = 5
    """The sink could not do it now; the next run asks again."""
    REVERSED = 6
    """The sink has lifted the block."""
    GIVEN_UP = 254
    """It failed so often that it is set aside."""
    IN_DOUBT = 255
    """The outcome is not known."""

    @property
    def kind(self) -> OutcomeKind | None:
        """The outcome as receipts say it; None if it is not known."""
        if self is OutcomeCode.IN_DOUBT:
            return None
        return "failed" if self is OutcomeCode.GIVEN_UP else KINDS[self]

    @classmethod
    def of(cls, kind: OutcomeKind) -> Self:
        """The code of an outcome that a sink gave."""
        return cls(KINDS.index(kind))


NOTHING_TO_BLOCK: Final = (OutcomeCode.ALREADY_INACTIVE, OutcomeCode.NOT_OURS, OutcomeCode.RECYCLED)
"""Outcomes after which a block or a change need not be done."""

LIFTED: Final = (OutcomeCode.ENFORCED, OutcomeCode.REVERSED, *NOTHING_TO_BLOCK)
"""Outcomes after which an unblock is done."""


def is_any_of(codes: Masks, *members: IntEnum) -> NDArray[np.bool_]:
    """Which codes are one of some members.

    The members are compared as `uint8`: numpy would convert the codes to compare them with an enum, which takes twenty
    times as long.
    """
    found: NDArray[np.bool_] = codes == np.uint8(members[0])
    for member in members[1:]:
        found |= codes == np.uint8(member)
    return found


_STATUS: Final[Mapping[OutcomeCode, ItemStatus]] = {
    **dict.fromkeys(NOTHING_TO_BLOCK, ItemStatus.NOTHING_TO_BLOCK),
    OutcomeCode.REFUSED: ItemStatus.SET_ASIDE,
    OutcomeCode.FAILED: ItemStatus.IN_DOUBT,
    OutcomeCode.IN_DOUBT: ItemStatus.IN_DOUBT,
}
"""The status of an item after a block or a change; where nothing is said here, it is held."""


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """A batch, and what came of it.

    Attributes:
        batch: the changes.
        published: when the release was published that asked for them.
        begun: when the batch went to the sink.
        done: when its outcomes were known; None while they are not.
        outcome: of each change, as an `OutcomeCode`.
        details: why, by place, where there is something to say.
        lifts: whether it lifts something, as `PlannedBatch` says.
        is_capped: whether it counts towards the daily cap, as `PlannedBatch` says.
    """

    batch: Batch
    published: datetime
    begun: datetime
    done: datetime | None
    outcome: Masks
    details: Mapping[int, str]
    lifts: bool
    is_capped: bool


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a sink has acknowledged: a base and what came after it, so that a few changes do not copy a long list.

    Attributes:
        items: the base; what it says of numbers among `later` does not count any more.
        status: of each, as an `ItemStatus`.
        later: numbers about which something was said after the base, ascending.
        patch: what is so of them; a number that is only among `later` is not held any more.
        patch_status: as `status`.
    """

    items: Items
    status: Masks
    later: Int64s
    patch: Items
    patch_status: Masks

    @classmethod
    def of(cls, items: Items, status: Masks) -> Self:
        """All of it as a base."""
        return cls(items, status, np.empty(0, np.int64), Items.empty(), np.empty(0, np.uint8))

    def superseded(self) -> Positions:
        """Places of the base that do not count any more."""
        place = np.minimum(np.searchsorted(self.items.number, self.later), max(len(self.items) - 1, 0))
        return place[self.items.number[place] == self.later] if len(self.items) else place[:0]

    def whole(self) -> "LedgerState":
        """Base and patch as one."""
        if not len(self.later):
            return self
        kept = np.delete(np.arange(len(self.items)), self.superseded())
        items = joined([self.items.take(kept), self.patch])
        order = np.argsort(items.number, kind="stable")
        return LedgerState.of(items.take(order), np.concatenate((self.status[kept], self.patch_status))[order])

    def count(self, status: ItemStatus) -> int:
        """How many items have a status."""
        superseded = self.status[self.superseded()]
        base, gone, patch = (
            int(is_any_of(each, status).sum()) for each in (self.status, superseded, self.patch_status)
        )
        return base - gone + patch


def patched(base: LedgerState, records: Sequence[LedgerRecord]) -> LedgerState:
    """The base with what the records say on top of it; of each number the last word counts."""
    parts: list[Items] = []
    status: list[Masks] = []
    said: list[Masks] = []
    for record in records:
        known, is_there = _said(record)
        parts.append(_items_after(record).take(known))
        status.append(_status_of(record)[known])
        said.append(is_there[known])
    items = joined(parts)
    order = np.argsort(items.number, kind="stable")
    ordered = items.number[order]
    is_last = np.ones(len(order), np.bool_)
    is_last[:-1] = ordered[1:] != ordered[:-1]
    latest = order[is_last]
    kept = latest[np.concatenate(said)[latest] == 1]
    return LedgerState(base.items, base.status, items.number[latest], items.take(kept), np.concatenate(status)[kept])


def _said(record: LedgerRecord) -> tuple[Positions, Masks]:
    """Places of changes of which the record says something new, and for every place whether an item is there now."""
    if record.batch.operation != "unblock":
        # What has failed may have been done all the same, or in part.
        return np.arange(len(record.outcome)), np.ones(len(record.outcome), np.uint8)
    # What a sink would not lift stands as before; what failed or is in doubt may be held or not.
    lifted = is_any_of(record.outcome, *LIFTED)
    return np.flatnonzero(~is_any_of(record.outcome, OutcomeCode.REFUSED)), np.where(lifted, 0, 1).astype(np.uint8)


def _items_after(record: LedgerRecord) -> Items:
    """What a record's items are from then on; one in doubt may still stand with the entries that were to go."""
    items = record.batch.items
    if not items.lifted:
        return items
    entry, more, status = items.entry.copy(), dict(items.more), _status_of(record)
    if record.batch.operation != "unblock":
        for place, lifted in items.lifted.items():
            if status[place] in (ItemStatus.IN_DOUBT, ItemStatus.WIDER):
                entries = tuple(sorted({*items.entries(place), *lifted}))
                entry[place] = entries[0]
                if len(entries) > 1:
                    more[place] = entries
    return replace(items, entry=entry, more=more, lifted={})


def _status_of(record: LedgerRecord) -> Masks:
    is_unblock = record.batch.operation == "unblock"
    status = np.full(len(record.outcome), ItemStatus.HELD, np.uint8)
    for code, value in _STATUS.items():
        status[is_any_of(record.outcome, code)] = value
    given_up = ItemStatus.IN_DOUBT if is_unblock else ItemStatus.SET_ASIDE
    status[is_any_of(record.outcome, OutcomeCode.GIVEN_UP)] = given_up
    if record.lifts and not is_unblock:
        status[is_any_of(status, ItemStatus.SET_ASIDE, ItemStatus.IN_DOUBT)] = ItemStatus.WIDER
    return status


def joined(parts: Sequence[Items]) -> Items:
    """Items one after the other; numbers may come twice."""
    categories: list[str] = list(dict.fromkeys(name for part in parts for name in part.categories))
    place = {name: i for i, name in enumerate(categories)}
    category: list[Codes] = []
    more: dict[int, tuple[int, ...]] = {}
    lifted: dict[int, tuple[int, ...]] = {}
    start = 0
    for part in parts:
        codes = np.array([place[name] for name in part.categories] or [0], np.int32)
        category.append(codes[part.category])
        more |= {start + at: entries for at, entries in part.more.items()}
        lifted |= {start + at: entries for at, entries in part.lifted.items()}
        start += len(part)
    return Items(
        number=np.concatenate([part.number for part in parts]),
        last=np.concatenate([part.last for part in parts]),
        scope=np.concatenate([part.scope for part in parts]),
        entry=np.concatenate([part.entry for part in parts]),
        until=np.concatenate([part.until for part in parts]),
        category=np.concatenate(category),
        categories=tuple(categories),
        more=more,
        lifted=lifted,
    )
