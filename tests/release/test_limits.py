"""What a release may hold at most: found by sorting, and refused with the number that is too much."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.limits import (
    ENTRIES_PER_NUMBER_MAX,
    RANGE_DEPTH_MAX,
    Peak,
    check_overlaps,
    depth_of_ranges,
    entries_per_number,
)
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts

LOW = 6_281_200_000_000


def rows_of(number: list[int], last: list[int] | None = None) -> Rows:
    """A list of such rows; entry ids count up."""
    n = len(number)
    fraud, zero = Texts.repeat("fraud", n), np.zeros(n, np.int64)
    first = np.array(number, np.int64)
    block, sms = Texts.repeat("block", n), Texts.repeat("sms", n)
    rows = Rows(first, first, np.arange(1, n + 1), block, fraud, fraud, sms, zero, zero + FOREVER_MS)
    return rows.with_last(np.array(number if last is None else last, np.int64)).sort()


SPANS = st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0, 0, 1, 5, 20])), max_size=40)


@given(SPANS)
def test_the_most_is_found_as_by_counting(spans: list[tuple[int, int]]) -> None:
    rows = rows_of([first for first, _ in spans], [first + width for first, width in spans])
    own = {number: sum(span == (number, 0) for span in spans) for number in range(1, 51)}
    ranges = {
        number: sum(first <= number <= first + width and width > 0 for first, width in spans) for number in range(1, 51)
    }
    for found, expected in (
        (entries_per_number(rows.number, rows.last), own),
        (depth_of_ranges(rows.number, rows.last), ranges),
    ):
        assert found.count == max(expected.values(), default=0)
        assert found == Peak(0, 0) or expected[found.number] == found.count


@pytest.mark.parametrize("before", [0, 1, 131_071, 200_000])
def test_a_number_may_have_so_many_entries_and_no_more(before: int) -> None:
    """Wherever in the list they stand."""
    others = [LOW - before + i for i in range(before)]
    most = rows_of([*others, *[LOW] * ENTRIES_PER_NUMBER_MAX, LOW + 9])
    most.validate()
    more = rows_of([*others, *[LOW] * (ENTRIES_PER_NUMBER_MAX + 1), LOW + 9])
    with pytest.raises(Malformed, match=r"1,001 entries of \+628…000; a number may have at most 1,000"):
        more.validate()


def test_ranges_that_begin_with_a_number_are_not_entries_of_it() -> None:
    """They count as ranges, of which there may be fewer."""
    number = [LOW] * (ENTRIES_PER_NUMBER_MAX + RANGE_DEPTH_MAX)
    last = [LOW] * ENTRIES_PER_NUMBER_MAX + [LOW + i for i in range(1, RANGE_DEPTH_MAX + 1)]
    rows_of(number, last).validate()


@pytest.mark.parametrize("step", [0, 1], ids=["the same range", "nested ranges"])
def test_ranges_may_overlap_so_deep_and_no_deeper(step: int) -> None:
    def nested(count: int) -> Rows:
        return rows_of([LOW + step * i for i in range(count)], [LOW + 1_000 - step * i for i in range(count)])

    nested(RANGE_DEPTH_MAX).validate()
    with pytest.raises(Malformed, match=r"65 ranges that cover \+628…0..; a number may lie in at most 64"):
        nested(RANGE_DEPTH_MAX + 1).validate()


def test_many_ranges_one_after_the_other_are_no_deep_ones() -> None:
    first = [LOW + 10 * i for i in range(5_000)]
    rows_of(first, [number + 9 for number in first]).validate()
    rows_of(first, [number + 600 for number in first]).validate()
    with pytest.raises(Malformed, match="ranges that cover"):
        rows_of(first, [number + 650 for number in first]).validate()


def test_a_list_that_is_nothing_of_the_kind() -> None:
    none = np.empty(0, np.int64)
    check_overlaps(none, none)
    assert entries_per_number(none, none) == depth_of_ranges(none, none) == Peak(0, 0)
    single = np.array([LOW])
    assert depth_of_ranges(single, single.copy()) == Peak(0, 0)
