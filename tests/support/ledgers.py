"""Ledgers that tests write without a run."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from blocklist_sdk import Blocklist
from blocklist_sdk.enforcement.items import OWN_CATEGORY, OWN_ENTRY, Items, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import LedgerRecord
from blocklist_sdk.enforcement.plan import PlannedBatch
from blocklist_sdk.enforcement.sink import DONE, LIFTED, Outcome
from blocklist_sdk.release.rows import FOREVER_MS

PUBLISHED = datetime(2026, 10, 5, 6, tzinfo=UTC)
FIRST = 6281200000000


def items_of(
    numbers: Sequence[int | tuple[int, int]],
    *,
    entries: Sequence[tuple[int, ...]] | None = None,
    categories: Sequence[str] | None = None,
    scope: int = 15,
    until: Sequence[int] | None = None,
) -> Items:
    """Items by their numbers, or first and last ones; by default each with an entry of its own, counted from 1."""
    spans = [each if isinstance(each, tuple) else (each, each) for each in numbers]
    behind = [(place,) for place in range(1, len(spans) + 1)] if entries is None else list(entries)
    said = ["fraud"] * len(spans) if categories is None else list(categories)
    said = [OWN_CATEGORY if not entries_ else name for entries_, name in zip(behind, said, strict=True)]
    names = tuple(dict.fromkeys(said))
    return Items(
        number=np.array([first for first, _ in spans], np.int64),
        last=np.array([last for _, last in spans], np.int64),
        scope=np.full(len(spans), scope, np.uint8),
        entry=np.array([each[0] if each else OWN_ENTRY for each in behind], np.int64),
        until=np.full(len(spans), FOREVER_MS, np.int64) if until is None else np.array(until, np.int64),
        category=np.array([names.index(name) for name in said], np.int32),
        categories=names,
        entry_lists={place: each for place, each in enumerate(behind) if len(each) > 1},
    )


def planned(operation: Operation, items: Items) -> PlannedBatch:
    """A batch of a plan; only unblocks lift something."""
    return PlannedBatch(operation, items, lifts=operation == "unblock", is_capped=operation != "unblock")


def written(
    ledger: Ledger,
    items: Items,
    outcomes: Sequence[Outcome] | None = None,
    *,
    operation: Operation = "block",
    serial: int = 1,
    published: datetime = PUBLISHED,
    begun: datetime | None = None,
    took: timedelta = timedelta(minutes=10),
    given_up: Sequence[int] = (),
) -> LedgerRecord:
    """Write a record of items; by default all are done."""
    begun = published + timedelta(minutes=5) if begun is None else begun
    batch = ledger.begin(planned(operation, items), serial=serial, published=published, at=begun)
    said = [LIFTED if operation == "unblock" else DONE] * len(items) if outcomes is None else outcomes
    return ledger.finish(batch, said, given_up=given_up, at=begun + took)


def listed(blocklist: Blocklist) -> tuple[Items, int]:
    """Everything that is on a list of single numbers, as items, and the release."""
    table = blocklist.to_arrow()
    serial = blocklist.status().serial
    assert serial is not None
    numbers = table.column("number").to_pylist()
    return items_of(numbers, entries=[(entry,) for entry in table.column("entry").to_pylist()]), serial
