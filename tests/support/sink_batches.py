"""Batches for sinks, from plain tuples. Numbers are generated."""

from collections.abc import Sequence

import numpy as np

from blocklist_sdk.enforcement.items import Batch, Items, Operation, mask_of
from blocklist_sdk.enforcement.sink import HeldItem
from blocklist_sdk.release.rows import FOREVER_MS

FEED = "id-messaging"
FIRST = 6281200000000


def items_of(
    numbers: Sequence[int],
    *,
    lasts: Sequence[int] | None = None,
    scope: Sequence[str] = ("sms", "voice"),
    until: int = FOREVER_MS,
    entries: Sequence[tuple[int, ...]] | None = None,
    category: str = "fraud",
) -> Items:
    """Items that differ only in their numbers."""
    count = len(numbers)
    ids = entries or [(place + 1,) for place in range(count)]
    return Items(
        number=np.array(numbers, np.int64),
        last=np.array(lasts if lasts is not None else numbers, np.int64),
        scope=np.full(count, mask_of(scope), np.uint8),
        entry=np.array([min(each, default=0) for each in ids], np.int64),
        until=np.full(count, until, np.int64),
        category=np.full(count, 1, np.int32),
        categories=("other", category),
        entry_lists={place: each for place, each in enumerate(ids) if len(each) > 1},
    )


def batch_of(number_in_ledger: int, operation: Operation, items: Items, *, feed: str = FEED, serial: int = 7) -> Batch:
    """A batch as the ledger makes it."""
    return Batch(number_in_ledger, operation, items, feed, serial)


def numbered(number_in_ledger: int, *, size: int = 1000) -> Batch:
    """A batch that blocks a thousand numbers of its own, so that the items show which batches were applied."""
    first = FIRST + number_in_ledger * size
    return batch_of(number_in_ledger, "block", items_of(range(first, first + size)))


def held_of(items: Items) -> set[HeldItem]:
    """The items that a sink holds after these are blocked."""
    return {HeldItem(change.number, change.last, change.scope) for change in batch_of(0, "block", items)}
