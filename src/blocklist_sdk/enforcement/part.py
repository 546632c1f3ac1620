"""The part of a list, and of what a sink holds, that a run must look at. Pure.

Before, outside of what was left to do, the sink held what it should. So what a run must look at follows from what
differs since: entries, rules, moments, and what was asked of the sink. The part is *closed*: whatever reaches out of
it, a range, a block of the recipient's own or an item that the sink holds, is in it as a whole. Then the items of the
part follow from its rows and rules alone, and are those that the whole list would give there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from blocklist_sdk.enforcement.basis import KnownRules, named
from blocklist_sdk.enforcement.checkpoint import Checkpoint, ascending
from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.ledger_layers import LedgerLayers
from blocklist_sdk.enforcement.ledger_state import LedgerState
from blocklist_sdk.enforcement.turns import Clock, turns_between, turns_foreseen
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Override
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.rows import Int64s, Rows
from blocklist_sdk.release.spans import Spans

_SHARE_MOST: Final = 0.25
"""From this share of the list on, all of it is looked at, which takes less time for each row."""

_ROWS_ALWAYS: Final = 1_000
"""So many rows are a part of any list."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a run must look at.

    Attributes:
        spans: the numbers.
        rows: the rows about them.
        rules: the rules about them.
        state: what the sink holds of them.
        next_turn: when the next entry of the whole list begins or ends, as in `Turns.next`.
    """

    spans: Spans
    rows: Rows
    rules: Rules
    state: LedgerState
    next_turn: int


def part_of(
    checkpoint: Checkpoint,
    known: KnownRules,
    *,
    rows: LayeredRows,
    difference: Difference,
    rules: Rules,
    at: datetime,
    published: datetime,
    asked: Sequence[Items],
    held: LedgerLayers,
) -> Part | None:
    """What a run must look at; None if that is so much that it should look at everything.

    Args:
        checkpoint: what the run went by after which the sink held what it should.
        known: the rules of that run.
        rows: the release in force.
        difference: how it differs from the checkpoint's.
        rules: protected numbers and overrides.
        at: the moment.
        published: when the release was published.
        asked: what was asked of the sink after the checkpoint.
        held: what the sink holds.
    """
    clocks = Clock.of(checkpoint.at, published=checkpoint.published), Clock.of(at, published=published)
    turns = turns_foreseen(checkpoint.next_turn, *clocks, difference) or turns_between(rows, *clocks)
    touched = [
        checkpoint.left,
        Spans.of(*difference.numbers()),
        turns.spans,
        _other_rules(checkpoint, known, rules, at),
        *(Spans.of(items.number, items.last) for items in asked),
    ]
    spans = _closed(Spans.union(touched), rows, rules, held)
    if spans is None:
        return None
    return Part(
        spans=spans,
        rows=rows.near(spans.first, spans.last),
        rules=_rules_about(spans, rules),
        state=held.near(spans),
        next_turn=turns.next,
    )


def _other_rules(checkpoint: Checkpoint, known: KnownRules, rules: Rules, at: datetime) -> Spans:
    """The numbers of rules that came, went, changed or ended since a checkpoint."""
    protected = np.setxor1d(checkpoint.protected, ascending(rules.protected), assume_unique=True)
    there = {named(override): override for override in rules.decisions()}
    since, until = sorted((checkpoint.at, at))
    changed = [
        key
        for key in {*there, *known.overrides}
        if there.get(key) != known.overrides.get(key) or _ends(there[key], since, until)
    ]
    first, last = np.array(changed, np.int64).reshape(-1, 2).T
    return Spans.union([Spans.of(protected, protected), Spans.of(first, last)])


def _ends(override: Override, since: datetime, until: datetime) -> bool:
    return override.until is not None and since < override.until <= until


def _closed(spans: Spans, rows: LayeredRows, rules: Rules, held: LedgerLayers) -> Spans | None:
    """The smallest closed part that has some numbers in it; None if it is too much of the list."""
    reaching = Spans.union(_reaching(rows, rules))
    while True:
        if _rows_in(spans, rows.base.number) > max(_ROWS_ALWAYS, _SHARE_MOST * len(rows)):
            return None
        items = held.near(spans).items
        wider = Spans.union([spans, reaching.touching(spans), Spans.of(items.number, items.last)])
        if wider.is_same(spans):
            return spans
        spans = wider


def _reaching(rows: LayeredRows, rules: Rules) -> Iterator[Spans]:
    """What may make one item of several numbers."""
    if rows.has_ranges:
        ranges = rows.ranges()
        yield Spans.of(ranges.number, ranges.last)
    blocks = [named(override) for override in rules.decisions() if override.decision == "block"]
    first, last = np.array(blocks, np.int64).reshape(-1, 2).T
    yield Spans.of(first, last)


def _rows_in(spans: Spans, number: Int64s) -> int:
    start, stop = np.searchsorted(number, spans.first, "left"), np.searchsorted(number, spans.last, "right")
    return int((stop - start).sum())


def _rules_about(spans: Spans, rules: Rules) -> Rules:
    """The rules that decide about some numbers, whole."""
    protected = ascending(rules.protected)
    overrides = list(rules.decisions())
    first, last = np.array([named(override) for override in overrides], np.int64).reshape(-1, 2).T
    return Rules.made_of(
        frozenset(protected[spans.touch(protected, protected)].tolist()),
        [overrides[at] for at in np.flatnonzero(spans.touch(first, last)).tolist()],
        own_protected=rules.own_protected,
    )
