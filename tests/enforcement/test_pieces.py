"""Sets of items, compared number by number. All numbers are generated."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.pieces import common, reach, without
from support.ledgers import items_of

BASE = 6_281_200_003_000
spans = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(1, 15)), max_size=5)


def made(parts: list[tuple[int, int, int]]) -> Items:
    at, numbers, scopes = BASE, [], []
    for gap, more, scope in parts:
        numbers.append((at + gap, at + gap + more))
        scopes.append(scope)
        at += gap + more + 1
    items = items_of(numbers) if numbers else Items.empty()
    items.scope[:] = np.array(scopes, np.uint8)
    return items


def bits(items: Items) -> dict[int, int]:
    return {
        number: int(scope)
        for first, last, scope in zip(items.number, items.last, items.scope, strict=True)
        for number in range(int(first), int(last) + 1)
    }


@given(spans, spans)
def test_what_is_common_is_in_both(some: list[tuple[int, int, int]], others: list[tuple[int, int, int]]) -> None:
    one, two = bits(made(some)), bits(made(others))
    expected = {number: one[number] & two[number] for number in one.keys() & two.keys() if one[number] & two[number]}
    assert bits(common(made(some), made(others))) == expected


@given(spans, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6))
def test_items_without_some_numbers_have_all_others(
    parts: list[tuple[int, int, int]], gone: list[tuple[int, int]]
) -> None:
    items, ranges = made(parts), [(BASE + first, BASE + first + more) for first, more in gone]
    numbers = {number for first, last in ranges for number in range(first, last + 1)}
    left = without(items, ranges)
    assert bits(left) == {number: scope for number, scope in bits(items).items() if number not in numbers}
    assert reach(left) == len(bits(left))
    assert bool((left.number[1:] > left.last[:-1]).all()), "no two overlap"
