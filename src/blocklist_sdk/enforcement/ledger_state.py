"""What a sink has acknowledged: records of batches, one after the other, and where they leave each item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

import numpy as np

from blocklist_sdk.enforcement.items import Batch, Codes, Items, Masks, Positions
from blocklist_sdk.enforcement.sink import KINDS, OutcomeKind
from blocklist_sdk.release.rows import Int64s

HELD, ASIDE, DOUBT, NOTHING, WIDER = range(5)
"""How an item stands: the sink holds it; it refused it, or was given up; nobody knows; there is nothing to block; it
may hold more than the item says, since a change that lifts something is not done."""

_STATUS: Final[Mapping[OutcomeKind, int]] = {
    "enforced": HELD,
    "already-inactive": NOTHING,
    "not-ours": NOTHING,
    "recycled": NOTHING,
    "refused": ASIDE,
    "failed": DOUBT,
}

_LIFTED: Final = [KINDS.index(kind) for kind in ("enforced", "reversed", "already-inactive", "not-ours", "recycled")]

IN_DOUBT: Final = 255
GIVEN_UP: Final = 254
"""In place of the position of an outcome in `KINDS`: nobody knows; it failed so often that it is set aside."""


@dataclass(frozen=True, slots=True)
class Record:
    """A batch, and what came of it.

    Attributes:
        batch: the changes.
        published: when the release was published that asked for them.
        begun: when the batch went to the sink.
        done: when its outcomes were known; None while they are not.
        outcome: of each change, as its position in `KINDS`, or `IN_DOUBT`, or `GIVEN_UP`.
        details: why, by place, where there is something to say.
        is_urgent: whether no daily cap holds it up, as `EnforcementPlan.batches` says.
    """

    batch: Batch
    published: datetime
    begun: datetime
    done: datetime | None
    outcome: Masks
    details: Mapping[int, str]
    is_urgent: bool

    @property
    def lifts(self) -> bool:
        """Whether somebody is freed by it."""
        return self.batch.operation == "unblock" or (self.batch.operation == "change" and self.is_urgent)

    def outcome_at(self, place: int) -> OutcomeKind | None:
        """The outcome of a change as receipts say it; None where nobody knows."""
        code = int(self.outcome[place])
        return None if code == IN_DOUBT else "failed" if code == GIVEN_UP else KINDS[code]


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a sink has acknowledged: a base and what came after it, so that a few changes do not copy a long list.

    Attributes:
        items: the base; what it says of numbers among `later` does not count any more.
        status: `HELD`, `ASIDE`, `DOUBT`, `NOTHING` or `WIDER`, for each.
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

    def count(self, status: int) -> int:
        """How many items stand so."""
        base = int((self.status == status).sum()) - int((self.status[self.superseded()] == status).sum())
        return base + int((self.patch_status == status).sum())


def patched(base: LedgerState, records: Sequence[Record]) -> LedgerState:
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


def _said(record: Record) -> tuple[Positions, Masks]:
    """Places of changes of which the record says something new, and for every place whether an item is there now."""
    if record.batch.operation != "unblock":
        # What has failed may have been done all the same, or in part.
        return np.arange(len(record.outcome)), np.ones(len(record.outcome), np.uint8)
    # What a sink would not lift stands as before; what failed or is in doubt may be held or not.
    lifted = np.isin(record.outcome, _LIFTED)
    return np.flatnonzero(record.outcome != KINDS.index("refused")), np.where(lifted, 0, 1).astype(np.uint8)


def _items_after(record: Record) -> Items:
    """What a record's items are from then on; one in doubt may still stand with the entries that were to go."""
    items = record.batch.items
    if not items.lifted:
        return items
    entry, more, status = items.entry.copy(), dict(items.more), _status_of(record)
    if record.batch.operation != "unblock":
        for place, lifted in items.lifted.items():
            if status[place] in (DOUBT, WIDER):
                entries = tuple(sorted({*items.entries(place), *lifted}))
                entry[place] = entries[0]
                if len(entries) > 1:
                    more[place] = entries
    return replace(items, entry=entry, more=more, lifted={})


def _status_of(record: Record) -> Masks:
    status = np.full(len(record.outcome), HELD, np.uint8)
    for kind, value in _STATUS.items():
        status[record.outcome == KINDS.index(kind)] = value
    status[record.outcome == IN_DOUBT] = DOUBT
    status[record.outcome == GIVEN_UP] = DOUBT if record.batch.operation == "unblock" else ASIDE
    if record.lifts and record.batch.operation == "change":
        status[np.isin(status, (ASIDE, DOUBT))] = WIDER
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
