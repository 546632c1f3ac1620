"""The state of a ledger: what a sink holds after a base and the records of the batches since then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final, Self

import numpy as np

from blocklist_sdk.enforcement.items import Batch, Bools, Items, Positions, UInt8s
from blocklist_sdk.enforcement.sink import OUTCOME_KINDS, OutcomeKind
from blocklist_sdk.release.rows import Int64s


class ItemStatus(IntEnum):
    """What the ledger knows about one item in the sink."""

    HELD = 0
    """The sink holds the item."""
    SET_ASIDE = 1
    """The sink refused the item, or it failed too often. It is not asked for again until something about it changes."""
    IN_DOUBT = 2
    """The sink may hold the item or not: it failed, is not answered yet, or the run was killed before the answer."""
    NOTHING_TO_BLOCK = 3
    """The sink says that there is nothing to block: the number is inactive, recycled, or not the recipient's."""
    WIDER = 4
    """The sink may hold more than the item says, since a change that lifts a part of it is not done yet."""


class OutcomeCode(IntEnum):
    """The outcome of one change, as a record stores it."""

    ENFORCED = 0
    """The sink blocks the item as asked; for an unblock, it has lifted it."""
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
    """The sink has lifted the item."""
    GIVEN_UP = 254
    """The change failed so often that it is set aside."""
    IN_DOUBT = 255
    """The outcome is unknown."""

    @property
    def kind(self) -> OutcomeKind | None:
        """The outcome as a receipt says it; None if it is unknown."""
        if self is OutcomeCode.IN_DOUBT:
            return None
        return "failed" if self is OutcomeCode.GIVEN_UP else OUTCOME_KINDS[self]

    @classmethod
    def of(cls, kind: OutcomeKind) -> Self:
        """The code of an outcome that a sink returned."""
        return cls(OUTCOME_KINDS.index(kind))


NOTHING_TO_BLOCK: Final = (OutcomeCode.ALREADY_INACTIVE, OutcomeCode.NOT_OURS, OutcomeCode.RECYCLED)
"""Outcomes after which a block or a change need not be done."""

_LIFTED: Final = (OutcomeCode.ENFORCED, OutcomeCode.REVERSED, *NOTHING_TO_BLOCK)
"""Outcomes after which an unblock is done."""

_STATUS: Final[Mapping[OutcomeCode, ItemStatus]] = {
    **dict.fromkeys(NOTHING_TO_BLOCK, ItemStatus.NOTHING_TO_BLOCK),
    OutcomeCode.REFUSED: ItemStatus.SET_ASIDE,
    OutcomeCode.FAILED: ItemStatus.IN_DOUBT,
    OutcomeCode.IN_DOUBT: ItemStatus.IN_DOUBT,
}
"""The status of an item after a block or a change; `HELD` after any other outcome."""


def is_any_of(codes: UInt8s, *members: IntEnum) -> Bools:
    """Which codes are one of some members.

    The members are compared as `uint8`: to compare with an enum, numpy converts the codes, which takes twenty times as
    long.
    """
    matches: Bools = codes == np.uint8(members[0])
    for member in members[1:]:
        matches |= codes == np.uint8(member)
    return matches


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """A batch and its outcomes.

    Attributes:
        batch: the changes.
        published: when the release that asked for them was published.
        begun: when the batch went to the sink.
        done: when the outcomes were known; None until then.
        outcome: the outcome of each change, as an `OutcomeCode`.
        details: the sink's words on an outcome, by index, where it said something.
        lifts: whether the changes lift something, as in `PlannedBatch`.
        is_capped: whether they count towards the daily cap, as in `PlannedBatch`.
        own: which changes only the recipient's own rules asked for; None in records of earlier versions.
    """

    batch: Batch
    published: datetime
    begun: datetime
    done: datetime | None
    outcome: UInt8s
    details: Mapping[int, str]
    lifts: bool
    is_capped: bool
    own: Bools | None = None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a sink holds: a base, and a patch with what changed since, so that a few changes do not copy a long list.

    Attributes:
        items: the base. What it says about the numbers in `changed` does not count any more.
        status: the `ItemStatus` of each item.
        changed: first numbers of the items that changed after the base, ascending.
        patch: those of the changed items that the sink still holds, or may hold.
        patch_status: the `ItemStatus` of each item of the patch.
    """

    items: Items
    status: UInt8s
    changed: Int64s
    patch: Items
    patch_status: UInt8s

    def __len__(self) -> int:
        return len(self.items) - len(self.superseded()) + len(self.patch)

    @classmethod
    def of(cls, items: Items, status: UInt8s) -> Self:
        """A state that is all base."""
        return cls(items, status, np.empty(0, np.int64), Items.empty(), np.empty(0, np.uint8))

    @classmethod
    def empty(cls) -> Self:
        """The state of a sink into which nothing was enforced."""
        return cls.of(Items.empty(), np.empty(0, np.uint8))

    def superseded(self) -> Positions:
        """Positions in the base that do not count any more."""
        positions = np.minimum(np.searchsorted(self.items.number, self.changed), max(len(self.items) - 1, 0))
        return positions[self.items.number[positions] == self.changed] if len(self.items) else positions[:0]

    def whole(self) -> "LedgerState":
        """The same state with base and patch as one base."""
        if not len(self.changed):
            return self
        if not len(self.items):
            return LedgerState.of(self.patch, self.patch_status)
        kept = np.delete(np.arange(len(self.items)), self.superseded())
        items = Items.concatenated([self.items.take(kept), self.patch])
        order = np.argsort(items.number, kind="stable")
        return LedgerState.of(items.take(order), np.concatenate((self.status[kept], self.patch_status))[order])

    def count(self, status: ItemStatus) -> int:
        """How many items have a status."""
        superseded = self.status[self.superseded()]
        base, gone, patch = (
            int(is_any_of(codes, status).sum()) for codes in (self.status, superseded, self.patch_status)
        )
        return base - gone + patch


@dataclass(frozen=True, slots=True)
class Effects:
    """What batches changed about what a sink holds.

    Attributes:
        items: the items as they are from then on; also those that the sink does not hold any more.
        status: the `ItemStatus` of each item.
        is_there: whether the sink holds it, or may hold it.
    """

    items: Items
    status: UInt8s
    is_there: Bools

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, record: LedgerRecord) -> Self:
        """What one batch changed, in its order."""
        is_changed, is_there = _effect_of(record)
        return cls(_items_after(record).where(is_changed), _status_of(record)[is_changed], is_there[is_changed])

    @classmethod
    def latest(cls, parts: Sequence["Effects"]) -> "Effects":
        """What all of some parts changed, by number; of several changes of one number, the last one counts."""
        if not parts:
            return Effects(Items.empty(), np.empty(0, np.uint8), np.empty(0, np.bool_))
        if len(parts) == 1 and _ascends(parts[0].items):
            return parts[0]
        items = Items.concatenated([part.items for part in parts])
        if _ascends(items):  # as after a first run, which may be about a hundred million
            status, is_there = (
                np.concatenate([getattr(part, name) for part in parts]) for name in ("status", "is_there")
            )
            return Effects(items, status, is_there)
        order = np.argsort(items.number, kind="stable")
        ordered = items.number[order]
        is_last = np.ones(len(order), np.bool_)
        is_last[:-1] = ordered[1:] != ordered[:-1]
        kept = order[is_last]
        status, is_there = (np.concatenate([getattr(part, name) for part in parts]) for name in ("status", "is_there"))
        return Effects(items.take(kept), status[kept], is_there[kept])


def patched(base: LedgerState, parts: Sequence[Effects]) -> LedgerState:
    """A state that is all base, after some changes."""
    changes = Effects.latest(parts)
    there = changes.is_there
    return LedgerState(base.items, base.status, changes.items.number, changes.items.where(there), changes.status[there])


def _ascends(items: Items) -> bool:
    return bool((items.number[1:] > items.number[:-1]).all())


def _effect_of(record: LedgerRecord) -> tuple[Bools, Bools]:
    """Which of the changes had an effect, and for each of them whether the sink may hold the item now."""
    if record.batch.operation != "unblock":
        # What failed may have been done anyway, or in part.
        all_of_them = np.ones(len(record.outcome), np.bool_)
        return all_of_them, all_of_them
    # An unblock that was refused has changed nothing. One that failed or is in doubt may have been done or not.
    return ~is_any_of(record.outcome, OutcomeCode.REFUSED), ~is_any_of(record.outcome, *_LIFTED)


def _items_after(record: LedgerRecord) -> Items:
    """A record's items from then on. Where a change is in doubt, the entries that it was to lift may still be there."""
    items = record.batch.items
    if not items.lifted_entries:
        return items
    entry, entry_lists, status = items.entry.copy(), dict(items.entry_lists), _status_of(record)
    if record.batch.operation != "unblock":
        for index, lifted in items.lifted_entries.items():
            if status[index] in (ItemStatus.IN_DOUBT, ItemStatus.WIDER):
                entries = tuple(sorted({*items.entries(index), *lifted}))
                entry[index] = entries[0]
                if len(entries) > 1:
                    entry_lists[index] = entries
    return replace(items, entry=entry, entry_lists=entry_lists, lifted_entries={})


def _status_of(record: LedgerRecord) -> UInt8s:
    is_unblock = record.batch.operation == "unblock"
    status = np.full(len(record.outcome), ItemStatus.HELD, np.uint8)
    for code, value in _STATUS.items():
        status[is_any_of(record.outcome, code)] = value
    given_up = ItemStatus.IN_DOUBT if is_unblock else ItemStatus.SET_ASIDE
    status[is_any_of(record.outcome, OutcomeCode.GIVEN_UP)] = given_up
    if record.lifts and not is_unblock:
        status[is_any_of(status, ItemStatus.SET_ASIDE, ItemStatus.IN_DOUBT)] = ItemStatus.WIDER
    return status
