"""The items that a sink should hold at a moment: entries in force, less protected and allowed numbers, and own blocks.

Pure. Most numbers are on a list once, and no range or rule touches them: these are handled as columns. The others are
few, and are cut into items by a sweep over the ends of the ranges that cover them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import (
    EVERYWHERE,
    OWN_CATEGORY,
    OWN_ENTRY,
    Bools,
    Items,
    Positions,
    UInt8s,
    mask_of,
)
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.enforcement.turns import next_turn
from blocklist_sdk.numbers.operators import operator_codes
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist


def items_of(blocklist: "Blocklist", *, at: datetime | None = None, settings: EnforcementSettings = DEFAULTS) -> Items:
    """The items that a sink of a list should hold.

    Args:
        blocklist: the list, synced.
        at: the moment; by default now.
        settings: only `scopes` and `only_operator` count here.

    Raises:
        NotSynced: the feed was not synced yet.
    """
    from blocklist_sdk.recipient.blocklist import internals_of

    generation, rules = internals_of(blocklist).in_force()
    published = generation.about.published_at
    return desired_items(generation.rows, rules, at or times.now(), settings=settings, published=published)


def desired_items(
    rows: Rows,
    rules: Rules,
    at: datetime,
    *,
    settings: EnforcementSettings = DEFAULTS,
    published: datetime | None = None,
) -> Items:
    """The items that a sink should hold.

    Args:
        rows: the release in force.
        rules: protected numbers and overrides.
        at: the moment.
        settings: only `scopes` and `only_operator` count here. An override applies to all of the scopes.
        published: when the release was published: what begins no later has begun, whatever this machine's clock says.
    """
    scope_mask = EVERYWHERE if settings.scopes is None else mask_of(settings.scopes)
    now = times.to_ms(at)
    begun = now if published is None else max(now, times.to_ms(published))
    block = rows.level.values.index("block") if "block" in rows.level.values else -1
    known = set(SCOPES)
    masks = np.array([mask_of(known & set(value.split("+"))) for value in rows.scope.values] or [0], np.uint8)
    scope: UInt8s = (masks & np.uint8(scope_mask))[rows.scope.codes]
    in_force = (rows.level.codes == block) & (rows.since <= begun) & (now < rows.until) & (scope != 0)
    at_rows = np.flatnonzero(in_force)
    tangled = _tangled(rows, at_rows, rules)
    plain = at_rows[~tangled]
    items = Items(
        number=rows.number[plain],
        last=rows.number[plain],
        scope=scope[plain],
        entry=rows.entry[plain],
        until=rows.until[plain],
        category=rows.category.codes[plain].astype(np.int32),
        categories=rows.category.values,
        entry_lists={},
    )
    items = Items.merged(items, _items_of(list(_sweep(rows, at_rows[tangled], scope, rules, at, scope_mask))))
    if settings.only_operator is not None:
        codes, names = operator_codes(items.number)
        kept = np.flatnonzero(np.isin(codes, [names.index(name) for name in settings.operators if name in names]))
        items = items.take(kept)
    return items


def next_change(rows: Rows, rules: Rules, at: datetime) -> datetime | None:
    """When the next entry or override begins or ends by itself; None if none does.

    Args:
        rows: the release in force.
        rules: protected numbers and overrides.
        at: now.
    """
    return next_moment(next_turn(rows, at), rules, at)


def next_moment(turn: int, rules: Rules, at: datetime) -> datetime | None:
    """The same, where it is known when the next entry begins or ends: from `next_turn`."""
    ends = [override.until for override in rules.decisions()]
    coming = [turn, *(times.to_ms(end) for end in ends if end is not None and end > at)]
    return times.from_ms(min(coming)) if min(coming) < FOREVER_MS else None


def _tangled(rows: Rows, at_rows: Positions, rules: Rules) -> Bools:
    """Which of some rows are ranges, lie in a range, share their number with another row, or meet a rule."""
    number = rows.number[at_rows]
    tangled = np.zeros(len(number), np.bool_)
    if not len(number):
        return tangled
    same = number[1:] == number[:-1]
    tangled[1:] |= same
    tangled[:-1] |= same
    if rows.has_ranges:
        last = rows.last[at_rows]
        tangled |= last != number
        # Rows are sorted by number: one that begins at or before the furthest end so far is covered by a range.
        reach = np.maximum.accumulate(last)
        tangled[1:] |= number[1:] <= reach[:-1]
    if rules.protected or rules.overrides:
        ruled = np.array(sorted({*rules.protected, *rules.overrides}), np.int64)
        nearest = np.minimum(np.searchsorted(ruled, number), len(ruled) - 1)
        tangled |= ruled[nearest] == number
    if rules.ranges:
        segment = np.searchsorted(np.array(rules.ranges.starts, np.int64), number, "right") - 1
        tangled |= (segment >= 0) & np.array([bool(choices) for choices in rules.ranges.choices])[segment]
    return tangled


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive numbers that are blocked for the same reasons: by the same rows, and by rules alike."""

    first: int
    last: int
    scope: int
    rows: tuple[int, ...]
    entries: tuple[int, ...]
    until: int
    category: str


_Claim = tuple[int, int, int, int, int]
"""What one row adds to a piece that it covers: entry id, position of the row, scope as bits, end in milliseconds since
1970 UTC, code of the category. As plain tuples they sort by entry id, and quickly: there is one for each row."""


def _sweep(
    rows: Rows, at_rows: Positions, scope: UInt8s, rules: Rules, at: datetime, scope_mask: int
) -> Iterator[_Piece]:
    """Cut overlapping rows into pieces that do not overlap, in ascending order.

    Takes time in proportion to the rows and the entries of all pieces; a release's limits bound how many a piece has.
    """
    starts: dict[int, list[_Claim]] = {}
    ends: dict[int, list[_Claim]] = {}
    columns = (rows.entry[at_rows], at_rows, scope[at_rows], rows.until[at_rows], rows.category.codes[at_rows])
    claims: Iterator[_Claim] = zip(*(column.tolist() for column in columns), strict=True)
    first, last = rows.number[at_rows].tolist(), rows.last[at_rows].tolist()
    for claim, begin, end in zip(claims, first, last, strict=True):
        starts.setdefault(begin, []).append(claim)
        ends.setdefault(end + 1, []).append(claim)
    ruled = {*rules.protected, *rules.overrides}
    points = sorted({*starts, *ends, *ruled, *(number + 1 for number in ruled), *rules.ranges.starts})
    active: list[_Claim] = []
    piece: _Piece | None = None
    for index, point in enumerate(points):
        if gone := ends.get(point):
            is_gone = set(gone)
            active = [claim for claim in active if claim not in is_gone]
        if come := starts.get(point):
            active = sorted([*active, *come])
        until = points[index + 1] - 1 if index + 1 < len(points) else point
        following = _piece(rows.category.values, active, rules, at, scope_mask, point, until)
        if following is None:
            continue
        if piece is not None:
            if (following.first, *_content(following)) == (piece.last + 1, *_content(piece)):
                piece = replace(piece, last=following.last)
                continue
            yield piece
        piece = following
    if piece is not None:
        yield piece


def _content(piece: _Piece) -> tuple[int, tuple[int, ...], int, str]:
    return piece.scope, piece.rows, piece.until, piece.category


def _piece(
    categories: tuple[str, ...],
    active: list[_Claim],
    rules: Rules,
    at: datetime,
    scope_mask: int,
    first: int,
    last: int,
) -> _Piece | None:
    """The piece from `first` to `last`, between which nothing begins or ends; None if it is not blocked."""
    rule = rules.of(first, at)
    if rule is not None and rule[0] != "override-block":
        return None
    mask = until = 0
    for _, _, scope, end, _ in active:
        mask |= scope
        until = max(until, end)
    if rule is not None and rule[1] is not None:
        mask = scope_mask
        until = max(until, FOREVER_MS if rule[1].until is None else times.to_ms(rule[1].until))
    if not mask:
        return None
    category = categories[active[0][4]] if active else OWN_CATEGORY
    at_rows = tuple([row for _, row, *_ in active])
    return _Piece(first, last, mask, at_rows, tuple([entry for entry, *_ in active]), until, category)


def _items_of(pieces: list[_Piece]) -> Items:
    codes = {name: code for code, name in enumerate(dict.fromkeys(piece.category for piece in pieces))}
    return Items(
        number=_column([piece.first for piece in pieces]),
        last=_column([piece.last for piece in pieces]),
        scope=np.array([piece.scope for piece in pieces], np.uint8),
        entry=_column([piece.entries[0] if piece.entries else OWN_ENTRY for piece in pieces]),
        until=_column([piece.until for piece in pieces]),
        category=np.array([codes[piece.category] for piece in pieces], np.int32),
        categories=tuple(codes),
        entry_lists={index: piece.entries for index, piece in enumerate(pieces) if len(piece.entries) > 1},
    )


def _column(values: list[int]) -> Int64s:
    return np.array(values, np.int64)
