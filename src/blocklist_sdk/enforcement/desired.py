"""What a sink should hold at a moment: entries in force, less what is protected or allowed, and one's own blocks. Pure.

Most numbers stand on a list once, and no range or rule touches them: these are taken as columns. The others are few,
and go through a sweep over the ends of all that covers them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import EVERYWHERE, OWN, OWN_CATEGORY, Items, Masks, Positions, mask_of
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.numbers.operators import operator_codes
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows


def desired_items(rows: Rows, rules: Rules, at: datetime, *, settings: EnforcementSettings = DEFAULTS) -> Items:
    """What a sink should hold.

    Args:
        rows: the release in force.
        rules: protected numbers and overrides.
        at: the moment.
        settings: `scopes` and `only_operator` count here. An override holds in all of the scopes.
    """
    wanted = EVERYWHERE if settings.scopes is None else mask_of(settings.scopes)
    now = times.to_ms(at)
    block = rows.level.values.index("block") if "block" in rows.level.values else -1
    known = set(SCOPES)
    masks = np.array([mask_of(known & set(value.split("+"))) for value in rows.scope.values] or [0], np.uint8)
    scope: Masks = (masks & np.uint8(wanted))[rows.scope.codes]
    in_force = (rows.level.codes == block) & (rows.since <= now) & (now < rows.until) & (scope != 0)
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
        more={},
    )
    swept = list(_sweep(rows, at_rows[tangled], scope, rules, at, wanted))
    if swept:
        items = _with(items, swept)
    if settings.only_operator is not None:
        codes, names = operator_codes(items.number)
        code = names.index(settings.only_operator) if settings.only_operator in names else -2
        kept = np.flatnonzero(codes == code)
        items = items.take(kept)
    return items


def next_change(rows: Rows, rules: Rules, at: datetime) -> datetime | None:
    """When something begins or ends by itself; None for never.

    Args:
        rows: the release in force.
        rules: protected numbers and overrides.
        at: now.
    """
    now = times.to_ms(at)
    coming = [
        int(moments.min())
        for moments in (rows.since[rows.since > now], rows.until[(rows.until > now) & (rows.until != FOREVER_MS)])
        if len(moments)
    ]
    coming += [times.to_ms(each.until) for each in rules.overrides.values() if each.until and each.until > at]
    return times.from_ms(min(coming)) if coming else None


def _tangled(rows: Rows, at_rows: Positions, rules: Rules) -> NDArray[np.bool_]:
    """Which of some rows are ranges, lie in one, share their number with another one, or meet a rule."""
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
        # Sorted by number: what lies at or before the furthest end so far is covered by a range before it.
        reach = np.maximum.accumulate(last)
        tangled[1:] |= number[1:] <= reach[:-1]
    if rules:
        ruled = np.array(sorted({*rules.protected, *rules.overrides}), np.int64)
        place = np.minimum(np.searchsorted(ruled, number), len(ruled) - 1)
        tangled |= ruled[place] == number
    return tangled


@dataclass(frozen=True, slots=True)
class _Swept:
    first: int
    last: int
    scope: int
    entries: tuple[int, ...]
    until: int
    category: str


def _sweep(rows: Rows, at_rows: Positions, scope: Masks, rules: Rules, at: datetime, wanted: int) -> Iterator[_Swept]:
    """Cut what overlaps into pieces that do not, by number."""
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for row, first, last in zip(
        at_rows.tolist(), rows.number[at_rows].tolist(), rows.last[at_rows].tolist(), strict=True
    ):
        starts.setdefault(first, []).append(row)
        ends.setdefault(last + 1, []).append(row)
    ruled = {*rules.protected, *rules.overrides}
    points = sorted({*starts, *ends, *ruled, *(number + 1 for number in ruled)})
    active: set[int] = set()
    piece: _Swept | None = None
    for place, point in enumerate(points):
        active.difference_update(ends.get(point, ()))
        active.update(starts.get(point, ()))
        last = points[place + 1] - 1 if place + 1 < len(points) else point
        found = _piece(rows, active, scope, rules, at, wanted, point, last)
        if found is None:
            continue
        if piece is not None:
            if (found.first, *_content(found)) == (piece.last + 1, *_content(piece)):
                piece = _Swept(piece.first, found.last, *_content(found))
                continue
            yield piece
        piece = found
    if piece is not None:
        yield piece


def _content(piece: _Swept) -> tuple[int, tuple[int, ...], int, str]:
    return piece.scope, piece.entries, piece.until, piece.category


def _piece(
    rows: Rows, active: set[int], scope: Masks, rules: Rules, at: datetime, wanted: int, first: int, last: int
) -> _Swept | None:
    """What is so from one number to another, where nothing begins or ends; None where nothing is blocked."""
    rule = rules.of(first, at)
    if rule is not None and rule[0] != "override-block":
        return None
    mask = until = 0
    entries = sorted((int(rows.entry[row]), row) for row in active)
    for _, row in entries:
        mask |= int(scope[row])
        until = max(until, int(rows.until[row]))
    if rule is not None and rule[1] is not None:
        mask = wanted
        until = max(until, FOREVER_MS if rule[1].until is None else times.to_ms(rule[1].until))
    if not mask:
        return None
    category = rows.category.values[int(rows.category.codes[entries[0][1]])] if entries else OWN_CATEGORY
    return _Swept(first, last, mask, tuple(entry for entry, _ in entries), until, category)


def _with(items: Items, swept: list[_Swept]) -> Items:
    """Columns, and pieces among them."""
    categories = list(dict.fromkeys((*items.categories, *(piece.category for piece in swept))))
    place = {name: i for i, name in enumerate(categories)}
    number = np.concatenate((items.number, _column([piece.first for piece in swept])))
    order = np.argsort(number, kind="stable")
    joined = Items(
        number=number,
        last=np.concatenate((items.last, _column([piece.last for piece in swept]))),
        scope=np.concatenate((items.scope, np.array([piece.scope for piece in swept], np.uint8))),
        entry=np.concatenate((items.entry, _column([piece.entries[0] if piece.entries else OWN for piece in swept]))),
        until=np.concatenate((items.until, _column([piece.until for piece in swept]))),
        category=np.concatenate((items.category, np.array([place[piece.category] for piece in swept], np.int32))),
        categories=tuple(categories),
        more={len(items) + i: piece.entries for i, piece in enumerate(swept) if len(piece.entries) > 1},
    )
    return joined.take(order)


def _column(values: list[int]) -> Int64s:
    return np.array(values, np.int64)
