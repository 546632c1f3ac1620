"""How a statement is made: the records of a ledger, summed up for one month."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, get_args

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import OWN_ENTRY, Bools, Items, Operation, Positions
from blocklist_sdk.enforcement.ledger import RECORDS_KEPT, Ledger
from blocklist_sdk.enforcement.ledger_state import NOTHING_TO_BLOCK, LedgerRecord, OutcomeCode, is_any_of
from blocklist_sdk.enforcement.paths import is_shadow
from blocklist_sdk.enforcement.repairs import Repairs
from blocklist_sdk.enforcement.sink import plain
from blocklist_sdk.enforcement.statement import (
    NO_REASON,
    OTHER_REASONS,
    CategoryFigures,
    DayFigures,
    OperationFigures,
    ReasonFigures,
    RepairFigures,
    Statement,
)
from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.exchange.models import MONTH
from blocklist_sdk.exchange.spread import spread_of_counts
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.texts import is_displayable

OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)

_SLICE_ROWS: Final = 1 << 20
"""Changes that are summed up together; they take some 50 MB."""

_REASONS_MAX: Final = 1000
"""The most reasons that are counted one by one; bounds the memory if a sink words every refusal differently."""


_NUMBER: Final = re.compile(r"\+?\d(?:[ ().\-]{0,2}\d){5,}")
"""What may be a telephone number in a sink's words: six digits or more, as the shortest E.164 numbers have."""

_DONE: Final = (OutcomeCode.ENFORCED, OutcomeCode.REVERSED)
_LIFTED: Final = (*_DONE, OutcomeCode.ALREADY_INACTIVE)

_Origin = Literal["list", "repair", "own"]
"""What asks for a change: the list, a repair of the sink, or only the recipient's own overrides."""

_ORIGINS: Final[tuple[_Origin, ...]] = get_args(_Origin)

_Figure = Literal["carried", "received", "enforced", "nothing_to_do", "refused", "set_aside", "overtaken"]

_IN: Final[tuple[_Figure, ...]] = ("carried", "received")
_OUT: Final[tuple[_Figure, ...]] = ("enforced", "nothing_to_do", "refused", "set_aside", "overtaken")
"""Figures of changes that came, and of those that are over; what is in neither is open."""

_FIGURES: Final[dict[OutcomeCode, _Figure]] = {
    **dict.fromkeys(_DONE, "enforced"),
    **dict.fromkeys(NOTHING_TO_BLOCK, "nothing_to_do"),
    OutcomeCode.REFUSED: "refused",
    OutcomeCode.GIVEN_UP: "set_aside",
}
"""The figure of each outcome after which a change is not tried again."""


def monthly_statement(
    ledger: Ledger, month: str, *, now: datetime, organisation: str | None = None, contact: str | None = None
) -> Statement:
    """Make the statement of a month.

    Memory does not grow with the number of records, nor with the number of changes in one of them.

    Args:
        ledger: the sink's, from `Ledger.read` or any other.
        month: such as ``2026-10``; it begins and ends in UTC.
        now: timezone-aware; what happened later is left out.
        organisation: whose statement it is, in one line.
        contact: whom to ask about it, in one line.

    Raises:
        InvalidInput: `month` is not a month, has not begun, or ended before the ledger's oldest record; or nothing was
            enforced into the sink yet; or `organisation` or `contact` is not one line of text.
        Malformed: a record is damaged.
        StorageFailed: the disk refused.
    """
    if not MONTH.fullmatch(month):
        raise InvalidInput(f"{month!r} is not a month: give one such as 2026-10")
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    end = (start + timedelta(days=32)).replace(day=1)
    for name, text in (("organisation", organisation), ("contact", contact)):
        if text is not None and not (text.strip() and is_displayable(text)):
            raise InvalidInput(f"{name} must be one line of text without control characters, or be left out")
    if now < start:
        raise InvalidInput(f"the month {month} has not begun yet")
    if ledger.is_empty:
        raise InvalidInput(f"nothing has been enforced into {ledger.directory.name} yet, so there is nothing to state")
    oldest = next(ledger.records(), None)
    if oldest is None or end <= oldest.begun:
        since = "it has none" if oldest is None else f"its oldest one is of {oldest.begun.astimezone(UTC):%Y-%m-%d}"
        raise InvalidInput(
            f"the ledger of {ledger.directory.name} has no record of {month}: {since}. Records stay for "
            f"{RECORDS_KEPT.days} days; an older statement can be made from a copy of the ledger"
        )
    sums = _Sums(start, min(now, end), Repairs(ledger.directory))
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
    first, last = min(sums.releases, default=None), max(sums.releases, default=None)
    return Statement(
        month=month,
        feed=ledger.feed,
        sink=ledger.directory.name,
        made_at=now.astimezone(UTC),
        is_whole=now >= end,
        is_shadow=is_shadow(ledger.directory.name),
        organisation=organisation,
        contact=contact,
        first_serial=first and first.serial,
        last_serial=last and last.serial,
        first_era=first and first.era,
        last_era=last and last.era,
        has_ranges=sums.has_ranges,
        operations={name: sums.flows["list", name].figures() for name in OPERATIONS},
        categories=tuple(sums.categories()),
        days=tuple(DayFigures(day, sums.blocked_on[day], sums.lifted_on[day]) for day in days),
        reasons=tuple(ReasonFigures(*reason, count) for reason, count in sums.reasons.most_common()),
        repairs=sums.repairs(),
        own_decisions=sums.own_decisions(),
        receipts_waiting=waiting,
        receipts_refused=refused,
    )


@dataclass(slots=True)
class _Flow:
    """Changes of one origin and operation: what came in and what became of it, by category, and which are open."""

    counts: Counter[tuple[_Figure, int]] = field(default_factory=Counter)
    times: Counter[float] = field(default_factory=Counter)
    open_numbers: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    open_since: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    open_category: Int64s = field(default_factory=lambda: np.empty(0, np.int64))

    def count(self, figure: _Figure, categories: Int64s, sign: int = 1) -> None:
        """Add changes of these categories to a figure, or take them off it."""
        if len(categories):
            for category, count in zip(*np.unique(categories, return_counts=True), strict=True):
                self.counts[figure, int(category)] += sign * int(count)

    def find(self, numbers: Int64s) -> tuple[Bools, Int64s, Int64s]:
        """Which numbers are open; since when they should be done, milliseconds since 1970 UTC; their categories."""
        if not len(self.open_numbers):
            return np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
        at = np.minimum(np.searchsorted(self.open_numbers, numbers), len(self.open_numbers) - 1)
        return self.open_numbers[at] == numbers, self.open_since[at], self.open_category[at]

    def close(self, numbers: Int64s) -> Int64s:
        """Take numbers off those that are open; returns the categories of those that were."""
        if not len(self.open_numbers) or not len(numbers):
            return self.open_category[:0]
        gone = np.isin(self.open_numbers, numbers)
        categories, left = self.open_category[gone], ~gone
        self.open_numbers, self.open_since = self.open_numbers[left], self.open_since[left]
        self.open_category = self.open_category[left]
        return categories

    def leave_open(self, numbers: Int64s, since: Int64s, category: Int64s) -> None:
        """Add numbers to those that are open."""
        if len(numbers):
            joined = np.append(self.open_numbers, numbers)
            order = np.argsort(joined, kind="stable")
            self.open_numbers = joined[order]
            self.open_since = np.append(self.open_since, since)[order]
            self.open_category = np.append(self.open_category, category)[order]

    def total(self, figure: _Figure) -> int:
        """A figure over all categories."""
        return sum(count for (name, _), count in self.counts.items() if name == figure)

    def open(self, category: int | None = None) -> int:
        """How many changes are without a final outcome."""
        return sum(
            count if figure in _IN else -count
            for (figure, code), count in self.counts.items()
            if category is None or code == category
        )

    def figures(self) -> OperationFigures:
        """The figures over all categories."""
        return OperationFigures(
            **{figure: self.total(figure) for figure in (*_IN, *_OUT)},
            open=self.open(),
            time=spread_of_counts(self.times),
        )


class _Sums:
    """The sums of a month, to which records are added one by one."""

    def __init__(self, start: datetime, stop: datetime, repairs: Repairs) -> None:
        self.start, self.stop = start, stop
        self.flows: dict[tuple[_Origin, Operation], _Flow] = {
            (origin, operation): _Flow() for origin in _ORIGINS for operation in OPERATIONS
        }
        self.blocked_on: Counter[date] = Counter()
        self.lifted_on: Counter[date] = Counter()
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        self.releases: set[ReleaseId] = set()
        self.has_ranges = False
        self._repairs = repairs
        self._categories: dict[str, int] = {}

    def add(self, record: LedgerRecord) -> None:
        """Add a record that begins before `stop`; older ones come first."""
        self._repairs.advance(record.batch.number_in_ledger)
        if record.begun >= self.start:
            self.releases.add(record.batch.release)
        for first in range(0, len(record.batch), _SLICE_ROWS):
            self._add(record, np.arange(first, min(first + _SLICE_ROWS, len(record.batch))))

    def categories(self) -> Iterator[CategoryFigures]:
        """The figures of each category that occurs."""
        block, unblock = self.flows["list", "block"], self.flows["list", "unblock"]
        for name, code in sorted(self._categories.items()):
            figures = {
                "blocked" if figure == "enforced" else figure: block.counts[figure, code] for figure in (*_IN, *_OUT)
            }
            lifted = unblock.counts["enforced", code]
            if any(figures.values()) or lifted:
                yield CategoryFigures(category=name, **figures, open=block.open(code), lifted=lifted)

    def own_decisions(self) -> int:
        """How many changes of the month only the recipient's own overrides asked for."""
        return sum(self.flows["own", operation].total("received") for operation in OPERATIONS)

    def repairs(self) -> RepairFigures:
        """The figures of repairs."""
        flows = {operation: self.flows["repair", operation] for operation in OPERATIONS}
        done = {operation: flow.total("enforced") for operation, flow in flows.items()}
        return RepairFigures(
            carried=sum(flow.total("carried") for flow in flows.values()),
            received=sum(flow.total("received") for flow in flows.values()),
            blocked=done["block"],
            changed=done["change"],
            lifted=done["unblock"],
            not_done=sum(flow.total(figure) for flow in flows.values() for figure in _OUT if figure != "enforced"),
            open=sum(flow.open() for flow in flows.values()),
        )

    def _add(self, record: LedgerRecord, positions: Positions) -> None:
        for operation, some in self._by_operation(record, positions):
            if len(some):
                self._add_operation(record, operation, some)

    def _by_operation(self, record: LedgerRecord, positions: Positions) -> Iterator[tuple[Operation, Positions]]:
        """The changes by what they are to the list, which is not always what the sink was asked to do."""
        items, operation = record.batch.items, record.batch.operation
        numbers = items.number[positions]
        other = np.zeros(len(positions), np.bool_)
        if operation == "block":
            # What is in doubt is asked for again as a block, also if it was a change.
            for origin in _ORIGINS:
                other |= self.flows[origin, "change"].find(numbers)[0]
            yield "change", positions[other]
        elif operation == "change" and items.lifted_entries and record.own is not None:
            # The list blocks the number no more, and an override of the recipient's own goes on blocking it.
            lifted = np.array(sorted(items.lifted_entries), np.int64)
            other = np.isin(positions, lifted) & (items.entry[positions] == OWN_ENTRY) & ~record.own[positions]
            yield "unblock", positions[other]
        yield operation, positions[~other]

    def _add_operation(self, record: LedgerRecord, operation: Operation, positions: Positions) -> None:
        items = record.batch.items
        numbers, entries = items.number[positions], items.entry[positions]
        codes = np.array(
            [self._categories.setdefault(name, len(self._categories)) for name in items.categories], np.int64
        )
        changes = _Changes(positions, numbers, _due_ms(record, items, positions), codes[items.category[positions]])
        is_own = entries == OWN_ENTRY if record.own is None else record.own[positions]
        is_named = self._repairs.take(operation, numbers, entries)
        is_known = np.where(is_own, *(self.flows[origin, operation].find(numbers)[0] for origin in ("own", "list")))
        is_repair = self.flows["repair", operation].find(numbers)[0] | (is_named & ~is_known)
        is_of: dict[_Origin, Bools] = {
            "repair": is_repair,
            "own": is_own & ~is_repair,
            "list": ~is_own & ~is_repair,
        }
        for origin, is_its in is_of.items():
            if is_its.any():
                self._add_of(origin, operation, record, changes.take(np.flatnonzero(is_its)))

    def _add_of(self, origin: _Origin, operation: Operation, record: LedgerRecord, changes: "_Changes") -> None:
        """Add the changes of one origin and operation."""
        flow = self.flows[origin, operation]
        is_new, is_over = record.begun >= self.start, record.done is not None and record.done < self.stop
        numbers, codes = changes.numbers, record.outcome[changes.positions]
        is_known, since, category = flow.find(numbers)
        # A change that was asked for before goes on as it began.
        since = np.where(is_known, since, changes.since)
        category = np.where(is_known, category, changes.category)
        flow.count("received" if is_new else "carried", category[~is_known])
        for other in self.flows.values():
            if other is not flow:
                gone = other.close(numbers)
                other.count("overtaken" if is_new else "carried", gone, 1 if is_new else -1)

        is_final = is_any_of(codes, *_FIGURES) & is_over
        flow.close(numbers)
        flow.leave_open(numbers[~is_final], since[~is_final], category[~is_final])
        done_at = record.done if is_over else None
        is_past = done_at is not None and done_at < self.start
        if origin == "list" and operation == "block" and not (is_past and is_final.all()):
            self.has_ranges |= bool((record.batch.items.last[changes.positions] != numbers).any())
        if is_past:
            flow.count("carried", category[is_final], -1)
        elif done_at is not None:
            self._outcomes(origin, operation, record, done_at, _Changes(changes.positions, numbers, since, category))

    def _outcomes(
        self, origin: _Origin, operation: Operation, record: LedgerRecord, done_at: datetime, changes: "_Changes"
    ) -> None:
        """Add the final outcomes of the month."""
        codes = record.outcome[changes.positions]
        flow, is_unblock = self.flows[origin, operation], operation == "unblock"
        for outcome, figure in _FIGURES.items():
            at = is_any_of(codes, outcome)
            count = int(at.sum())
            if not count:
                continue
            flow.count(figure, changes.category[at])
            if outcome in (_LIFTED if is_unblock else _DONE):
                moments, counts = np.unique(changes.since[at], return_counts=True)
                for moment, how_often in zip(moments.tolist(), counts.tolist(), strict=True):
                    flow.times[max(0, times.to_ms(done_at) - moment) / 1000] += how_often
            if origin != "list":
                continue
            if outcome in _DONE and operation != "change":
                (self.lifted_on if is_unblock else self.blocked_on)[done_at.astimezone(UTC).date()] += count
            if outcome in (OutcomeCode.REFUSED, OutcomeCode.GIVEN_UP):
                self._reason(record, operation, outcome.kind or "", changes.positions[at])

    def _reason(self, record: LedgerRecord, operation: Operation, kind: str, positions: Positions) -> None:
        details = record.details
        if not details:
            self.reasons[operation, kind, NO_REASON] += len(positions)
            return
        for index in positions.tolist():
            text = plain(details.get(index, ""))
            reason = (operation, kind, _NUMBER.sub(lambda found: mask(found[0]), text) or NO_REASON)
            is_room = reason in self.reasons or len(self.reasons) < _REASONS_MAX
            self.reasons[reason if is_room else (operation, kind, OTHER_REASONS)] += 1


@dataclass(frozen=True, slots=True)
class _Changes:
    """Some changes of a record.

    Attributes:
        positions: where they are in the record.
        numbers: their first numbers.
        since: from when on they should be done, milliseconds since 1970 UTC.
        category: codes of the sums' own.
    """

    positions: Positions
    numbers: Int64s
    since: Int64s
    category: Int64s

    def take(self, at: Positions) -> "_Changes":
        """Some of them."""
        return _Changes(self.positions[at], self.numbers[at], self.since[at], self.category[at])


def _due_ms(record: LedgerRecord, items: Items, positions: Positions) -> Int64s:
    """From when on each change should be done: the publication of its release, or the end of an entry that ended."""
    published = np.full(len(positions), times.to_ms(record.published), np.int64)
    if record.batch.operation != "unblock":
        return published
    until = items.until[positions]
    return np.where(until <= times.to_ms(record.begun), np.maximum(published, until), published)
