"""The result of a run, and what is counted for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from blocklist_sdk.enforcement.brake import WaitingChanges
from blocklist_sdk.enforcement.items import Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_layers import LedgerLayers
from blocklist_sdk.enforcement.ledger_state import ItemStatus, OutcomeCode, is_any_of
from blocklist_sdk.enforcement.receipts import ReceiptsResult
from blocklist_sdk.enforcement.sink import SinkWarning
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId

UNANSWERED_AFTER: Final = timedelta(days=1)
"""After how long a change that has no answer is something to look at: a drop directory may be emptied once a night."""

_LOOKED_BACK: Final = timedelta(days=7)
"""How far back it is looked for."""


@dataclass(frozen=True, slots=True)
class EnforcementResult:
    """The result of a run.

    Attributes:
        serial: the serial of the release in force.
        era: its era.
        planned: how many changes there were to make when the run began, by operation.
        outcomes: how many changes had each outcome; ``in doubt`` if it is unknown.
        deferred: changes that wait for another day, because the daily cap is reached.
        set_aside: items that the sink refuses, or that failed too often, from this and earlier runs.
        newly_set_aside: how many of them were set aside today (UTC).
        is_hopeless: whether nothing could be enforced: all that was tried in this run failed or was refused, or the
            sink holds nothing, since everything failed too often.
        unanswered: how many items have been in doubt for more than a day, since the sink's system does not answer.
        waiting: what waits because too much of the run was unexplained; None if nothing does. The rest was done.
        not_accepted: why nothing was accepted, although the run was asked to accept; None otherwise.
        next_change: when the next entry or override begins or ends by itself; None if none does.
        dry_run: whether nothing was done.
        seconds: how long the run took.
        receipts: the result of sending the receipts; None if they were not sent.
        warnings: what a person must look at in the sink, such as a response that cannot be read.
    """

    serial: int
    planned: dict[Operation, int]
    outcomes: dict[str, int] = field(default_factory=dict)
    deferred: int = 0
    set_aside: int = 0
    newly_set_aside: int = 0
    is_hopeless: bool = False
    unanswered: int = 0
    waiting: WaitingChanges | None = None
    not_accepted: str | None = None
    next_change: datetime | None = None
    dry_run: bool = False
    seconds: float = 0.0
    receipts: ReceiptsResult | None = None
    warnings: tuple[SinkWarning, ...] = ()
    era: int = FIRST_ERA

    @property
    def release(self) -> ReleaseId:
        """The era and serial of the release in force."""
        return ReleaseId(self.era, self.serial)


def set_aside_on(ledger: Ledger, holds: LedgerLayers, day: date) -> int:
    """How many of the items that are set aside were so on a day, UTC; the newest day of the ledger."""
    if not holds.count(ItemStatus.SET_ASIDE):
        return 0
    parts = [np.empty(0, np.int64)]
    for record in ledger.records_backwards():
        if record.begun.astimezone(UTC).date() < day:
            break
        if record.batch.operation != "unblock":
            is_aside = is_any_of(record.outcome, OutcomeCode.REFUSED, OutcomeCode.GIVEN_UP)
            parts.append(record.batch.items.number[is_aside])
    return int(np.isin(holds.numbers_with(ItemStatus.SET_ASIDE), np.concatenate(parts)).sum())


def unanswered(ledger: Ledger, holds: LedgerLayers, *, before: datetime) -> int:
    """How many items are in doubt, were so before a moment, and had no answer since."""
    if not holds.count(ItemStatus.IN_DOUBT, ItemStatus.WIDER):
        return 0
    numbers = holds.numbers_with(ItemStatus.IN_DOUBT, ItemStatus.WIDER)
    found = np.empty(0, np.int64)
    for record in ledger.records_backwards():
        if not len(numbers) or record.begun < before - _LOOKED_BACK:
            break
        in_doubt = is_any_of(record.outcome, OutcomeCode.IN_DOUBT)
        asked = record.batch.items.number
        numbers = numbers[~np.isin(numbers, asked[~in_doubt])]
        if record.begun < before:
            found = np.union1d(found, numbers[np.isin(numbers, asked[in_doubt])])
            numbers = numbers[~np.isin(numbers, found)]
    return len(found)


def is_hopeless(ledger: Ledger, holds: LedgerLayers, outcomes: Mapping[str, int]) -> bool:
    """Whether nothing could be enforced, in this run or ever."""
    if outcomes:
        return set(outcomes) <= {"failed", "refused"}
    if not holds.count(ItemStatus.SET_ASIDE) or holds.count(ItemStatus.HELD, ItemStatus.NOTHING_TO_BLOCK):
        return False
    aside = holds.numbers_with(ItemStatus.SET_ASIDE)
    # What a sink refuses is settled. What failed again and again is not.
    given_up = [
        record.batch.items.number[is_any_of(record.outcome, OutcomeCode.GIVEN_UP)] for record in ledger.records()
    ]
    return bool(np.isin(aside, np.concatenate([np.empty(0, np.int64), *given_up])).any())
