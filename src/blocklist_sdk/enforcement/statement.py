"""A month of enforcement in figures: what a recipient owes the authority, from its own records.

A *change* is one item of the ledger: one number, or one run of numbers, to block, to block otherwise, or to unblock.
However often it is tried, it is one change: it is received when it goes to the sink for the first time, and done with
when it has an outcome. So for every month: *carried over + received = enforced + nothing to do + refused + set aside +
overtaken + open*. What only an override of the recipient's own asked for is the recipient's business, and left out.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import OWN, Items, Masks, Operation, Positions
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import NOTHING_TO_BLOCK, OutcomeCode, Record, is_any_of
from blocklist_sdk.enforcement.paths import is_shadow
from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.exchange.models import MONTH, Spread
from blocklist_sdk.exchange.spread import spread_of_counts
from blocklist_sdk.release.rows import Int64s

OPERATIONS: Final = get_args(Operation)

_SLICE_ROWS: Final = 1 << 20
"""Changes that are looked at together: some 50 MB."""

_REASONS_MAX: Final = 1000
"""Different reasons that are told apart; bounds the memory, should a sink say something else each time."""

_OTHER: Final = "other reasons"
_NO_REASON: Final = "the sink does not say why"

_NUMBER: Final = re.compile(r"\+?\d(?:[ ().\-]{0,2}\d){5,}")
"""What may be a telephone number in a sink's words: six digits or more, as of the shortest E.164 numbers."""

_DONE: Final = (OutcomeCode.ENFORCED, OutcomeCode.REVERSED)
_LIFTED: Final = (*_DONE, OutcomeCode.ALREADY_INACTIVE)

_FINAL: Final = tuple(code for code in OutcomeCode if code not in (OutcomeCode.FAILED, OutcomeCode.IN_DOUBT))
"""Outcomes after which a change is not tried again."""


@dataclass(frozen=True, slots=True)
class OperationMonth:
    """What came of the changes of one kind.

    Attributes:
        carried: asked for before the month, and open when it began.
        received: asked for in the month.
        enforced: done in the month; of unblocks, lifted.
        nothing_to_do: the number was inactive, not the recipient's, or another subscriber's by now.
        refused: the sink will not.
        set_aside: failed so often that they were given up.
        overtaken: something else was asked for the same number before this was done.
        open: without an outcome at the end of the month, or now.
        time: from the publication of the release, or for what ended by itself from its end, until it was done; of
            what was done in the month.
    """

    carried: int
    received: int
    enforced: int
    nothing_to_do: int
    refused: int
    set_aside: int
    overtaken: int
    open: int
    time: Spread


@dataclass(frozen=True, slots=True)
class CategoryMonth:
    """What came of one category in the month."""

    category: str
    received: int
    blocked: int
    lifted: int
    refused: int
    set_aside: int


@dataclass(frozen=True, slots=True)
class DayMonth:
    """What was done on one day, UTC."""

    day: date
    blocked: int
    lifted: int


@dataclass(frozen=True, slots=True)
class ReasonMonth:
    """Why changes were refused or set aside; numbers in the sink's words are masked."""

    operation: str
    outcome: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of one sink.

    Attributes:
        month: such as ``2026-10``.
        feed: the feed that is enforced.
        sink: what the recipient calls the sink.
        made_at: when the report was made.
        is_whole: whether the month was over by then.
        is_shadow: whether the sink was a shadow, so that nothing of this has happened.
        operations: ``block``, ``change`` and ``unblock``.
        categories: those that occur, by name.
        days: every day of the month up to `made_at`.
        reasons: the most frequent first.
        own_decisions: changes that only overrides of the recipient's own asked for; in no other figure.
        receipts_waiting: records of the month whose receipts the exchange has not acknowledged.
        receipts_refused: receipts of the month that it refused.
    """

    month: str
    feed: str
    sink: str
    made_at: datetime
    is_whole: bool
    is_shadow: bool
    operations: dict[str, OperationMonth]
    categories: tuple[CategoryMonth, ...]
    days: tuple[DayMonth, ...]
    reasons: tuple[ReasonMonth, ...]
    own_decisions: int
    receipts_waiting: int
    receipts_refused: int

    def to_json(self) -> str:
        """The report as one JSON document."""
        document = asdict(self)
        document["operations"] = {
            name: asdict(each) | {"time": each.time.model_dump()} for name, each in self.operations.items()
        }
        return json.dumps(document, default=_plain, ensure_ascii=False, indent=1) + "\n"

    def to_csv(self) -> str:
        """The report as CSV, one figure a line: ``month, feed, sink, part, name, figure, value``."""
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\n").writerow
        write(("month", "feed", "sink", "part", "name", "figure", "value"))
        for part, name, figure, value in self._figures():
            write((self.month, self.feed, self.sink, part, _cell(name), figure, "" if value is None else value))
        return text.getvalue()

    def to_html(self) -> str:
        """The report as a page that needs nothing beside itself, for the eye and the printer."""
        from blocklist_sdk.enforcement.statement_page import page

        return page(self)

    def _figures(self) -> Iterator[tuple[str, str, str, object]]:
        for operation, month in self.operations.items():
            for name, value in asdict(month).items():
                if name != "time":
                    yield "operation", operation, name, value
            for name, value in month.time.model_dump().items():
                yield "operation", operation, f"time_{name}", value
        for category in self.categories:
            for name, value in asdict(category).items():
                if name != "category":
                    yield "category", category.category, name, value
        for day in self.days:
            yield "day", day.day.isoformat(), "blocked", day.blocked
            yield "day", day.day.isoformat(), "lifted", day.lifted
        for reason in self.reasons:
            yield "reason", reason.reason, f"{reason.operation} {reason.outcome}", reason.count
        for name in ("own_decisions", "receipts_waiting", "receipts_refused"):
            yield "other", "", name, getattr(self, name)


def monthly_statement(ledger: Ledger, month: str, *, now: datetime) -> Statement:
    """Sum up a month.

    Memory does not grow with the number of records, nor with how many changes one of them has.

    Args:
        ledger: the sink's, from `Ledger.read` or any other.
        month: such as ``2026-10``; it begins and ends in UTC.
        now: timezone-aware; what comes after is not looked at.

    Raises:
        InvalidInput: that is no month, or it has not begun.
        Malformed: a record is damaged.
        StorageFailed: the disk refused.
    """
    if not MONTH.fullmatch(month):
        raise InvalidInput(f"{month!r} is no month: give one such as 2026-10")
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    end = (start + timedelta(days=32)).replace(day=1)
    if now < start:
        raise InvalidInput(f"the month {month} has not begun yet")
    sums = _Sums(start, min(now, end))
    waiting, mine = 0, set[int]()
    for record in ledger.records():
        if record.begun >= sums.stop:
            break
        sums.add(record)
        if record.done is not None and start <= record.done < sums.stop:
            number = record.batch.number_in_ledger
            mine.add(number)
            waiting += not ledger.is_acknowledged(number)
    refused = sum(number in mine for number, _ in ledger.refused_receipts())
    begun = (sums.stop - timedelta(microseconds=1)).astimezone(UTC).date()
    days = [start.date() + timedelta(days=place) for place in range(max(0, (begun - start.date()).days) + 1)]
    return Statement(
        month=month,
        feed=ledger.feed,
        sink=ledger.directory.name,
        made_at=now.astimezone(UTC),
        is_whole=now >= end,
        is_shadow=is_shadow(ledger.directory.name),
        operations={name: sums.of[name].month() for name in OPERATIONS},
        categories=tuple(sums.categories()),
        days=tuple(
            DayMonth(day, sums.blocked_on[day], sums.lifted_on[day])
            for day in days
            if day <= now.astimezone(UTC).date()
        ),
        reasons=tuple(
            ReasonMonth(operation, outcome, reason, count)
            for (operation, outcome, reason), count in sums.reasons.most_common()
        ),
        own_decisions=sums.own,
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

    def find(self, numbers: Int64s) -> tuple[NDArray[np.bool_], Int64s]:
        """Which are open already, and since when they should be done, milliseconds since 1970 UTC."""
        if not len(self.open_numbers):
            return np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.int64)
        at = np.minimum(np.searchsorted(self.open_numbers, numbers), len(self.open_numbers) - 1)
        return self.open_numbers[at] == numbers, self.open_since[at]

    def close(self, numbers: Int64s) -> int:
        """They are not open any more; how many were."""
        if not len(self.open_numbers) or not len(numbers):
            return 0
        left = ~np.isin(self.open_numbers, numbers)
        self.open_numbers, self.open_since = self.open_numbers[left], self.open_since[left]
        return int(len(left) - len(self.open_numbers))

    def leave_open(self, numbers: Int64s, since: Int64s) -> None:
        """They have no outcome yet."""
        if len(numbers):
            joined, joined_since = np.append(self.open_numbers, numbers), np.append(self.open_since, since)
            order = np.argsort(joined, kind="stable")
            self.open_numbers, self.open_since = joined[order], joined_since[order]

    def month(self) -> OperationMonth:
        done = self.outcomes
        enforced, nothing = sum(done[code] for code in _DONE), sum(done[code] for code in NOTHING_TO_BLOCK)
        refused, set_aside = done[OutcomeCode.REFUSED], done[OutcomeCode.GIVEN_UP]
        over = enforced + nothing + refused + set_aside + self.overtaken
        return OperationMonth(
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
    """What a month comes to, record by record."""

    def __init__(self, start: datetime, stop: datetime) -> None:
        self.start, self.stop = start, stop
        self.of: dict[str, _Operation] = {name: _Operation() for name in OPERATIONS}
        self.blocked_on: Counter[date] = Counter()
        self.lifted_on: Counter[date] = Counter()
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        self.own = 0
        self._by_category: dict[str, Counter[str]] = {}

    def add(self, record: Record) -> None:
        """Take in a record that begins before `stop`; the older ones come first."""
        for first in range(0, len(record.batch), _SLICE_ROWS):
            self._add(record, np.arange(first, min(first + _SLICE_ROWS, len(record.batch))))

    def categories(self) -> Iterator[CategoryMonth]:
        for name, found in sorted(self._by_category.items()):
            yield CategoryMonth(
                category=name,
                received=found["received"],
                blocked=found["blocked"],
                lifted=found["lifted"],
                refused=found["refused"],
                set_aside=found["failed"],
            )

    def _add(self, record: Record, places: Positions) -> None:
        items, operation = record.batch.items, record.batch.operation
        sums = self.of[operation]
        is_new, is_over = record.begun >= self.start, record.done is not None and record.done < self.stop
        is_ours = items.entry[places] == OWN
        places = places[~is_ours]
        self.own += int(is_ours.sum()) if is_new else 0

        numbers, code = items.number[places], record.outcome[places]
        is_known, since = sums.find(numbers)
        since = np.where(is_known, since, _should_be_done(record, items, places))
        if is_new:
            sums.received += int((~is_known).sum())
            self._categorise("received", items, places[~is_known])
        else:
            sums.carried += int((~is_known).sum())
        for name, other in self.of.items():
            if name != operation:
                gone = other.close(numbers)
                other.overtaken += gone if is_new else 0
                other.carried -= 0 if is_new else gone

        is_final = is_any_of(code, *_FINAL) & is_over
        sums.close(numbers)
        sums.leave_open(numbers[~is_final], since[~is_final])
        if record.done is None or not is_over:
            return
        if record.done < self.start:
            sums.carried -= int(is_final.sum())
            return
        self._outcomes(record, places, code, since)

    def _outcomes(self, record: Record, places: Positions, code: Masks, since: Int64s) -> None:
        """What came of changes in the month."""
        assert record.done is not None
        items, operation = record.batch.items, record.batch.operation
        sums, is_unblock = self.of[operation], operation == "unblock"
        for outcome in _FINAL:
            at = is_any_of(code, outcome)
            count = int(at.sum())
            if not count:
                continue
            sums.outcomes[outcome] += count
            if outcome in (_LIFTED if is_unblock else _DONE):
                done_ms = times.to_ms(record.done)
                moments, counts = np.unique(since[at], return_counts=True)
                for moment, how_often in zip(moments.tolist(), counts.tolist(), strict=True):
                    sums.times[max(0, done_ms - moment) / 1000] += how_often
            if outcome in _DONE and operation != "change":
                (self.lifted_on if is_unblock else self.blocked_on)[record.done.astimezone(UTC).date()] += count
                self._categorise("lifted" if is_unblock else "blocked", items, places[at])
            if outcome in (OutcomeCode.REFUSED, OutcomeCode.GIVEN_UP):
                kind = outcome.kind or ""
                self._categorise(kind, items, places[at])
                self._reason(record, kind, places[at])

    def _categorise(self, figure: str, items: Items, places: Positions) -> None:
        if not len(places):
            return
        counts = np.bincount(items.category[places], minlength=len(items.categories)).tolist()
        for name, count in zip(items.categories, counts, strict=False):
            if count:
                self._by_category.setdefault(name, Counter())[figure] += count

    def _reason(self, record: Record, kind: str, places: Positions) -> None:
        operation, details = record.batch.operation, record.details
        if not details:
            self.reasons[operation, kind, _NO_REASON] += len(places)
            return
        for place in places.tolist():
            text = details.get(place, "").strip()
            reason = (operation, kind, _NUMBER.sub(lambda found: mask(found[0]), text) or _NO_REASON)
            is_room = reason in self.reasons or len(self.reasons) < _REASONS_MAX
            self.reasons[reason if is_room else (operation, kind, _OTHER)] += 1


def _should_be_done(record: Record, items: Items, places: Positions) -> Int64s:
    """From when on changes should be done: their release's publication, or the end of what has ended by itself."""
    published = np.full(len(places), times.to_ms(record.published), np.int64)
    if record.batch.operation != "unblock":
        return published
    until = items.until[places]
    ended = until <= times.to_ms(record.begun)
    return np.where(ended, np.maximum(published, until), published)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return times.iso(value.replace(microsecond=0))
    return str(value)


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
