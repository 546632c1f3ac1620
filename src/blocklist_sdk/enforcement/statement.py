"""A statement: one month of enforcement in figures, which a recipient owes the authority. Data, JSON and CSV.

A *change* is one item of the ledger, that is one number or one run of numbers: to block it, to block it otherwise, or
to unblock it. However often it is tried, it is one change. It is received when it first goes to the sink, and over when
it has a final outcome. So in every month:

*carried over + received = enforced + nothing to do + refused + set aside + overtaken + open*

Changes that only the recipient's own overrides ask for are its own business, and in none of these figures.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from blocklist_sdk import times
from blocklist_sdk.exchange.models import Spread


@dataclass(frozen=True, slots=True)
class OperationFigures:
    """The changes of one operation.

    Attributes:
        carried: asked for before the month, and open when it began.
        received: asked for in the month.
        enforced: done in the month; for unblocks, lifted.
        nothing_to_do: the number was inactive, not the recipient's, or already had a new owner.
        refused: refused by the sink.
        set_aside: failed so often that they are not tried any more.
        overtaken: something else was asked for the same number before they were done.
        open: without a final outcome at the end of the month, or now.
        time: how long the changes took that were done in the month: from the publication of the release, or from the
            end of an entry that ended by itself, until they were done.
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
class CategoryFigures:
    """The changes of one category."""

    category: str
    received: int
    blocked: int
    lifted: int
    refused: int
    set_aside: int


@dataclass(frozen=True, slots=True)
class DayFigures:
    """The changes that were done on one day, UTC."""

    day: date
    blocked: int
    lifted: int


@dataclass(frozen=True, slots=True)
class ReasonFigures:
    """How many changes were refused or set aside for one reason. Telephone numbers in the sink's words are masked."""

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
        sink: the recipient's name of the sink.
        made_at: when the statement was made.
        is_whole: whether the month was over by then.
        is_shadow: whether the sink was a shadow, so that nothing of this has happened.
        operations: figures of ``block``, ``change`` and ``unblock``.
        categories: figures of the categories that occur, by name.
        days: every day of the month up to `made_at`.
        reasons: the most frequent first.
        own_decisions: changes that only the recipient's own overrides asked for; in no other figure.
        receipts_waiting: records of the month whose receipts the exchange has not acknowledged.
        receipts_refused: receipts of the month that the exchange refused.
    """

    month: str
    feed: str
    sink: str
    made_at: datetime
    is_whole: bool
    is_shadow: bool
    operations: dict[str, OperationFigures]
    categories: tuple[CategoryFigures, ...]
    days: tuple[DayFigures, ...]
    reasons: tuple[ReasonFigures, ...]
    own_decisions: int
    receipts_waiting: int
    receipts_refused: int

    def to_json(self) -> str:
        """The statement as one JSON document."""
        return json.dumps(asdict(self), default=_plain, ensure_ascii=False, indent=1) + "\n"

    def to_csv(self) -> str:
        """The statement as CSV, one figure per line: ``month, feed, sink, part, name, figure, value``."""
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\n").writerow
        write(("month", "feed", "sink", "part", "name", "figure", "value"))
        for part, name, figure, value in self._lines():
            write((self.month, self.feed, self.sink, part, _cell(name), figure, "" if value is None else value))
        return text.getvalue()

    def _lines(self) -> Iterator[tuple[str, str, str, object]]:
        for operation, figures in self.operations.items():
            for name, value in asdict(figures).items():
                if name != "time":
                    yield "operation", operation, name, value
            for name, value in figures.time.model_dump().items():
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


def _plain(value: object) -> Any:
    if isinstance(value, Spread):
        return value.model_dump()
    return times.iso(value.replace(microsecond=0)) if isinstance(value, datetime) else str(value)


def _cell(text: str) -> str:
    """The text, in a form that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
