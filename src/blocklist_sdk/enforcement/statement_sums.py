"""How a statement is made: the records of a ledger, summed up for one month."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, get_args

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import OWN_ENTRY, Bools, Items, Operation, Positions, UInt8s
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import NOTHING_TO_BLOCK, LedgerRecord, OutcomeCode, is_any_of
from blocklist_sdk.enforcement.paths import is_shadow
from blocklist_sdk.enforcement.statement import CategoryFigures, DayFigures, OperationFigures, ReasonFigures, Statement
from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.exchange.models import MONTH
from blocklist_sdk.exchange.spread import spread_of_counts
from blocklist_sdk.release.rows import Int64s

OPERATIONS: Final = get_args(Operation)

_SLICE_ROWS: Final = 1 << 20
"""Changes that are summed up together; they take some 50 MB."""

_REASONS_MAX: Final = 1000
"""The most reasons that are counted one by one; bounds the memory if a sink words every refusal differently."""

_OTHER: Final = "other reasons"
_NO_REASON: Final = "the sink does not say why"

_NUMBER: Final = re.compile(r"\+?\d(?:[ ().\-]{0,2}\d){5,}")
"""What may be a telephone number in a sink's words: six digits or more, as the shortest E.164 numbers have."""

_DONE: Final = (OutcomeCode.ENFORCED, OutcomeCode.REVERSED)
_LIFTED: Final = (*_DONE, OutcomeCode.ALREADY_INACTIVE)

_FINAL: Final = tuple(code for code in OutcomeCode if code not in (OutcomeCode.FAILED, OutcomeCode.IN_DOUBT))
"""Outcomes after which a change is not tried again."""


def monthly_statement(ledger: Ledger, month: str, *, now: datetime) -> Statement:
    """Make the statement of a month.

    Memory does not grow with the number of records, nor with the number of changes in one of them.

    Args:
        ledger: the sink's, from `Ledger.read` or any other.
        month: such as ``2026-10``; it begins and ends in UTC.
        now: timezone-aware; what happened later is left out.

    Raises:
        InvalidInput: `month` is not a month, or has not begun; or nothing was enforced into the sink yet.
        Malformed: a record is damaged.
        StorageFailed: the disk refused.
    """
    if not MONTH.fullmatch(month):
        raise InvalidInput(f"{month!r} is not a month: give one such as 2026-10")
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    end = (start + timedelta(days=32)).replace(day=1)
    if now < start:
        raise InvalidInput(f"the month {month} has not begun yet")
    if ledger.is_empty:
        raise InvalidInput(f"nothing has been enforced into {ledger.directory.name} yet, so there is nothing to state")
    sums = _Sums(start, min(now, end))
    waiting, numbers = 0, set[int]()
    for record in ledger.records():
        if record.begun >= sums.stop:
            break
        sums.add(record)
        if record.done is not None and start <= record.done < sums.stop:
            number = record.batch.number_in_ledger
            numbers.add(number)
            waiting += not ledger.is_acknowledged(number)
    refused = sum(number in numbers for number, _ in ledger.refused_receipts())
    last_day = (sums.stop - timedelta(microseconds=1)).astimezone(UTC).date()
    days = [start.date() + timedelta(days=count) for count in range(max(0, (last_day - start.date()).days) + 1)]
    return Statement(
        month=month,
        feed=ledger.feed,
        sink=ledger.directory.name,
        made_at=now.astimezone(UTC),
        is_whole=now >= end,
        is_shadow=is_shadow(ledger.directory.name),
        operations={name: operation.figures() for name, operation in sums.operations.items()},
        categories=tuple(sums.categories()),
        days=tuple(DayFigures(day, sums.blocked_on[day], sums.lifted_on[day]) for day in days),
        reasons=tuple(ReasonFigures(*reason, count) for reason, count in sums.reasons.most_common()),
        own_decisions=sums.own_decisions,
        receipts_waiting=waiting,
        receipts_refused=refused,
    )


@dataclass(slots=True)
class _Operation:
    """Sums of one operation, and which of its changes are open."""

    carried: int = 0
    received: int = 0
    outcomes: Counter[OutcomeCode] = field(default_factory=Counter)
    overtaken: int = 0
    times: Counter[float] = field(default_factory=Counter)
    open_numbers: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    open_since: Int64s = field(default_factory=lambda: np.empty(0, np.int64))

    def find(self, numbers: Int64s) -> tuple[Bools, Int64s]:
        """Which numbers are open already, and since when they should be done, milliseconds since 1970 UTC."""
        if not len(self.open_numbers):
            return np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.int64)
        at = np.minimum(np.searchsorted(self.open_numbers, numbers), len(self.open_numbers) - 1)
        return self.open_numbers[at] == numbers, self.open_since[at]

    def close(self, numbers: Int64s) -> int:
        """Take numbers off those that are open; returns how many were."""
        if not len(self.open_numbers) or not len(numbers):
            return 0
        left = ~np.isin(self.open_numbers, numbers)
        self.open_numbers, self.open_since = self.open_numbers[left], self.open_since[left]
        return int(len(left) - len(self.open_numbers))

    def leave_open(self, numbers: Int64s, since: Int64s) -> None:
        """Add numbers to those that are open."""
        if len(numbers):
            joined, joined_since = np.append(self.open_numbers, numbers), np.append(self.open_since, since)
            order = np.argsort(joined, kind="stable")
            self.open_numbers, self.open_since = joined[order], joined_since[order]

    def figures(self) -> OperationFigures:
        done = self.outcomes
        enforced, nothing = sum(done[code] for code in _DONE), sum(done[code] for code in NOTHING_TO_BLOCK)
        refused, set_aside = done[OutcomeCode.REFUSED], done[OutcomeCode.GIVEN_UP]
        over = enforced + nothing + refused + set_aside + self.overtaken
        return OperationFigures(
            carried=self.carried,
            received=self.received,
            enforced=enforced,
            nothing_to_do=nothing,
            refused=refused,
            set_aside=set_aside,
            overtaken=self.overtaken,
            open=self.carried + self.received - over,
            time=spread_of_counts(self.times),
        )


class _Sums:
    """The sums of a month, to which records are added one by one."""

    def __init__(self, start: datetime, stop: datetime) -> None:
        self.start, self.stop = start, stop
        self.operations: dict[str, _Operation] = {name: _Operation() for name in OPERATIONS}
        self.blocked_on: Counter[date] = Counter()
        self.lifted_on: Counter[date] = Counter()
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        self.own_decisions = 0
        self._by_category: dict[str, Counter[str]] = {}

    def add(self, record: LedgerRecord) -> None:
        """Add a record that begins before `stop`; older ones come first."""
        for first in range(0, len(record.batch), _SLICE_ROWS):
            self._add(record, np.arange(first, min(first + _SLICE_ROWS, len(record.batch))))

    def categories(self) -> Iterator[CategoryFigures]:
        for name, counts in sorted(self._by_category.items()):
            yield CategoryFigures(
                category=name,
                received=counts["received"],
                blocked=counts["blocked"],
                lifted=counts["lifted"],
                refused=counts["refused"],
                set_aside=counts["failed"],
            )

    def _add(self, record: LedgerRecord, positions: Positions) -> None:
        items, operation = record.batch.items, record.batch.operation
        sums = self.operations[operation]
        is_new, is_over = record.begun >= self.start, record.done is not None and record.done < self.stop
        is_own = items.entry[positions] == OWN_ENTRY
        positions = positions[~is_own]
        self.own_decisions += int(is_own.sum()) if is_new else 0

        numbers, codes = items.number[positions], record.outcome[positions]
        is_known, since = sums.find(numbers)
        since = np.where(is_known, since, _due_ms(record, items, positions))
        if is_new:
            sums.received += int((~is_known).sum())
            self._categorise("received", items, positions[~is_known])
        else:
            sums.carried += int((~is_known).sum())
        for name, other in self.operations.items():
            if name != operation:
                gone = other.close(numbers)
                other.overtaken += gone if is_new else 0
                other.carried -= 0 if is_new else gone

        is_final = is_any_of(codes, *_FINAL) & is_over
        sums.close(numbers)
        sums.leave_open(numbers[~is_final], since[~is_final])
        if record.done is None or not is_over:
            return
        if record.done < self.start:
            sums.carried -= int(is_final.sum())
            return
        self._outcomes(record, record.done, positions, codes, since)

    def _outcomes(
        self, record: LedgerRecord, done_at: datetime, positions: Positions, codes: UInt8s, since: Int64s
    ) -> None:
        """Add the final outcomes of the month."""
        items, operation = record.batch.items, record.batch.operation
        sums, is_unblock = self.operations[operation], operation == "unblock"
        for outcome in _FINAL:
            at = is_any_of(codes, outcome)
            count = int(at.sum())
            if not count:
                continue
            sums.outcomes[outcome] += count
            if outcome in (_LIFTED if is_unblock else _DONE):
                moments, counts = np.unique(since[at], return_counts=True)
                for moment, how_often in zip(moments.tolist(), counts.tolist(), strict=True):
                    sums.times[max(0, times.to_ms(done_at) - moment) / 1000] += how_often
            if outcome in _DONE and operation != "change":
                (self.lifted_on if is_unblock else self.blocked_on)[done_at.astimezone(UTC).date()] += count
                self._categorise("lifted" if is_unblock else "blocked", items, positions[at])
            if outcome in (OutcomeCode.REFUSED, OutcomeCode.GIVEN_UP):
                kind = outcome.kind or ""
                self._categorise(kind, items, positions[at])
                self._reason(record, kind, positions[at])

    def _categorise(self, figure: str, items: Items, positions: Positions) -> None:
        if not len(positions):
            return
        counts = np.bincount(items.category[positions], minlength=len(items.categories)).tolist()
        for name, count in zip(items.categories, counts, strict=False):
            if count:
                self._by_category.setdefault(name, Counter())[figure] += count

    def _reason(self, record: LedgerRecord, kind: str, positions: Positions) -> None:
        operation, details = record.batch.operation, record.details
        if not details:
            self.reasons[operation, kind, _NO_REASON] += len(positions)
            return
        for index in positions.tolist():
            text = details.get(index, "").strip()
            reason = (operation, kind, _NUMBER.sub(lambda found: mask(found[0]), text) or _NO_REASON)
            is_room = reason in self.reasons or len(self.reasons) < _REASONS_MAX
            self.reasons[reason if is_room else (operation, kind, _OTHER)] += 1


def _due_ms(record: LedgerRecord, items: Items, positions: Positions) -> Int64s:
    """From when on each change should be done: the publication of its release, or the end of an entry that ended."""
    published = np.full(len(positions), times.to_ms(record.published), np.int64)
    if record.batch.operation != "unblock":
        return published
    until = items.until[positions]
    return np.where(until <= times.to_ms(record.begun), np.maximum(published, until), published)
