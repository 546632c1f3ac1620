"""The items of a sink: what they hold number by number, and that overlapping ranges cost no more than they must."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import mask_of
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Override
from blocklist_sdk.release.limits import RANGE_DEPTH_MAX
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.strategies import DAY_MS, Row, plain_rows, to_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_RULES = Rules(frozenset(), {})
ITEM = tuple[int, tuple[int, ...], int, str]


def obvious(plain: list[Row], number: int, now_ms: int, rules: Rules) -> ITEM | None:
    """Scopes, entries, end and category of what blocks a number; None if nothing does."""
    rows = [r for r in plain if r.number <= number <= r.last and r.level == "block" and r.since <= now_ms < r.until]
    rows.sort(key=lambda row: row.entry)
    if number in rules.protected or not rows:
        return None
    scopes = {part for row in rows for part in row.scope.split("+")}
    return mask_of(scopes), tuple(row.entry for row in rows), max(row.until for row in rows), rows[0].category


@given(plain_rows(), st.integers(0, 10), st.lists(st.sampled_from([1_000_000, 1_000_001, 1_000_004]), unique=True))
def test_items_hold_what_going_through_the_entries_finds(plain: list[Row], day: int, protected: list[int]) -> None:
    now_ms = day * DAY_MS // 2
    rules = Rules(frozenset(protected), {})
    items = desired_items(to_rows(plain), rules, EPOCH + timedelta(milliseconds=now_ms))
    assert (items.last >= items.number).all()
    assert (items.number[1:] > items.last[:-1]).all()
    edges = {edge + step for row in plain for edge in (row.number, row.last) for step in (-1, 0, 1)}
    for number in sorted(edges | set(protected)):
        at = int(np.searchsorted(items.number, number, "right")) - 1
        found = None
        if at >= 0 and items.last[at] >= number:
            category = items.categories[int(items.category[at])]
            found = int(items.scope[at]), items.entries(at), int(items.until[at]), category
        assert found == obvious(plain, number, now_ms, rules), number


def nested(groups: int, depth: int) -> Rows:
    """Groups of ranges within ranges, side by side."""
    n = groups * depth
    group, place = np.divmod(np.arange(n), depth)
    number = 6_281_200_000_000 + group * 1_000 + place
    zero = np.zeros(n, np.int64)
    texts = {name: Texts.repeat("x", n) for name in ("category", "issuer")}
    rows = Rows(
        number=number,
        last=number,
        entry=np.arange(1, n + 1),
        level=Texts.repeat("block", n),
        scope=Texts.repeat("sms", n),
        since=zero,
        until=zero + FOREVER_MS,
        **texts,
    )
    return rows.with_last(number + 900 - 2 * place)


def calls(work: Any) -> int:
    """How many functions of Python are called."""
    count = 0

    def called(_frame: object, event: str, _what: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_the_deepest_ranges_that_are_allowed_take_steps_in_proportion_to_the_rows() -> None:
    """A list of such ranges that is eight times as long takes eight times the steps."""
    small, large = nested(10, RANGE_DEPTH_MAX), nested(80, RANGE_DEPTH_MAX)
    large.validate()
    items = desired_items(large, NO_RULES, EPOCH)
    assert len(items) == 80 * (2 * RANGE_DEPTH_MAX - 1)
    assert max(map(len, items.entry_lists.values())) == RANGE_DEPTH_MAX
    one, eight = (calls(lambda rows=rows: desired_items(rows, NO_RULES, EPOCH)) for rows in (small, large))
    assert eight < 9 * one


@pytest.mark.parametrize("decision", ["allow", "block"])
def test_a_decision_of_ones_own_within_ranges(decision: Any) -> None:
    """It cuts the pieces at its number."""
    rows = nested(1, 2)
    number = int(rows.number[1]) + 1
    override = Override(number=number, decision=decision, reason="appeal", author="ana", created=EPOCH, until=None)
    items = desired_items(rows, Rules.made_of(frozenset(), [override]), EPOCH)
    at = int(np.searchsorted(items.number, number))
    blocked = at < len(items) and int(items.number[at]) == number == int(items.last[at])
    assert blocked is (decision == "block")
