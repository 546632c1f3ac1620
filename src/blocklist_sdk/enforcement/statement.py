"""A statement: one month of enforcement in figures, which a recipient owes the authority. Data, JSON and CSV.

A *change* is one item of the ledger, that is one number or one run of numbers: to block it, to block it otherwise, or
to unblock it. However often it is tried, it is one change. It is received when it first goes to the sink, and over when
it has a final outcome. So in every month:

*carried over + received = enforced + nothing to do + refused + set aside + overtaken + open*

So it is in every category as well, for blocks.

Two kinds of changes are in none of these figures. Changes that only the recipient's own overrides ask for are its own
business. Repairs only put the sink right (`reconcile`): nothing new was received.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final

from blocklist_sdk import times
from blocklist_sdk.exchange.models import Spread
from blocklist_sdk.texts import displayable, spreadsheet_cell

OTHER_REASONS: Final = "other reasons"
"""Stands for reasons beyond the first thousand."""

NO_REASON: Final = "the sink does not say why"
"""Stands for a reason that the sink did not give."""


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
    """The blocks of one category, and how many of its numbers were lifted.

    *carried + received = blocked + nothing_to_do + refused + set_aside + overtaken + open*, and over all categories
    these are the figures of the operation ``block``.

    Attributes:
        category: its name.
        carried, received, blocked, nothing_to_do, refused, set_aside, overtaken, open: blocks, as in
            `OperationFigures`; `blocked` is its `enforced`.
        lifted: unblocks that were done.
    """

    category: str
    carried: int
    received: int
    blocked: int
    nothing_to_do: int
    refused: int
    set_aside: int
    overtaken: int
    open: int
    lifted: int


@dataclass(frozen=True, slots=True)
class RepairFigures:
    """Changes that put the sink right, after `reconcile` found that it held something else than the ledger said.

    *carried + received = blocked + changed + lifted + not_done + open*

    Attributes:
        carried: asked for before the month, and open when it began.
        received: asked for in the month.
        blocked: what the sink had lost, blocked again.
        changed: what had other scopes or another last number, set right.
        lifted: what nobody had asked the sink to block, taken out.
        not_done: refused, set aside, overtaken, or nothing to do.
        open: without a final outcome at the end of the month, or now.
    """

    carried: int
    received: int
    blocked: int
    changed: int
    lifted: int
    not_done: int
    open: int


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
        organisation: whose statement it is; None if it was not said.
        contact: whom to ask about it; None if it was not said.
        first_serial: the oldest release that asked for a change in the month; None if none did.
        last_serial: the newest one.
        first_era, last_era: their eras.
        has_ranges: whether some of the blocks are runs of numbers, and not single ones.
        operations: figures of ``block``, ``change`` and ``unblock``.
        categories: figures of the categories that occur, by name.
        days: every day of the month up to `made_at`.
        reasons: the most frequent first.
        repairs: changes that only put the sink right; in no other figure.
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
    organisation: str | None
    contact: str | None
    first_serial: int | None
    last_serial: int | None
    has_ranges: bool
    operations: dict[str, OperationFigures]
    categories: tuple[CategoryFigures, ...]
    days: tuple[DayFigures, ...]
    reasons: tuple[ReasonFigures, ...]
    repairs: RepairFigures
    own_decisions: int
    receipts_waiting: int
    receipts_refused: int
    first_era: int | None = None
    last_era: int | None = None

    def to_json(self) -> str:
        """The statement as one JSON document."""
        return json.dumps(asdict(self), default=_plain, ensure_ascii=False, indent=1) + "\n"

    def to_csv(self) -> str:
        """The statement as CSV, one figure per line: ``month, feed, sink, part, name, figure, value``."""
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\n").writerow
        write(("month", "feed", "sink", "part", "name", "figure", "value"))
        for part, name, figure, value in self._lines():
            write((self.month, self.feed, self.sink, part, _cell(name), figure, _value(value)))
        return text.getvalue()

    def _lines(self) -> Iterator[tuple[str, str, str, object]]:
        for name in (
            "organisation",
            "contact",
            "made_at",
            "is_whole",
            "is_shadow",
            "first_serial",
            "last_serial",
            "first_era",
            "last_era",
            "has_ranges",
        ):
            yield "about", "", name, getattr(self, name)
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
        for name, value in asdict(self.repairs).items():
            yield "repair", "", name, value
        for name in ("own_decisions", "receipts_waiting", "receipts_refused"):
            yield "other", "", name, getattr(self, name)


def _plain(value: object) -> Any:
    if isinstance(value, Spread):
        return value.model_dump()
    return times.iso(value.replace(microsecond=0)) if isinstance(value, datetime) else str(value)


def _value(value: object) -> object:
    """A value as JSON writes it, but for null, which is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return _plain(value)
    return _cell(value) if isinstance(value, str) else "" if value is None else value


def _cell(text: str) -> str:
    """The text as one line, in a form that no spreadsheet takes for a formula and no terminal obeys."""
    return spreadsheet_cell(displayable(text))
