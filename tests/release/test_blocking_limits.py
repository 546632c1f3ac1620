"""The limits of what may change, on both sides, and their words."""

import math

import numpy as np
import pytest

from blocklist_sdk import InvalidInput
from blocklist_sdk.release.blocking import BlockingChange, NumberSet
from blocklist_sdk.release.blocking_limits import Limits

LIMITS = Limits(max_removed=0.29, min_removed=20, max_added=1.0, min_added=1_000)
NOBODY = NumberSet(*[np.empty(0, np.int64)] * 3)


def change(
    before: int = 0, removed: int = 0, added: int = 0, *, single: tuple[int, int, int] | None = None
) -> BlockingChange:
    """A change of numbers; of single ones alone, unless `single` says how many are blocked, removed and added."""
    return BlockingChange(before, before, removed, added, *(single or (before, removed, added)), NOBODY, NOBODY)


@pytest.mark.parametrize(
    ("before", "removed", "added", "is_refused"),
    [
        (10, 10, 0, False),
        (30, 20, 0, False),
        (30, 21, 0, True),
        (100, 29, 0, False),
        (100, 30, 0, True),
        (10_000_000, 2_900_000, 0, False),
        (10_000_000, 2_900_001, 0, True),
        (0, 0, 1_000, False),
        (0, 0, 1_001, True),
        (999, 0, 1_000, False),
        (5_000, 0, 5_000, False),
        (5_000, 0, 5_001, True),
    ],
)
def test_both_sides_of_each_limit(before: int, removed: int, added: int, is_refused: bool) -> None:
    assert bool(LIMITS.refusals(change(before, removed, added))) is is_refused
    diluted = change(10**9, removed, added, single=(before, removed, added))
    assert bool(LIMITS.refusals(diluted)) is is_refused
    assert LIMITS.is_too_much_removed(removed, before) is (is_refused and removed > 0)


def test_the_words() -> None:
    assert LIMITS.refusals(change(100, 50, 2_000)) == (
        "it would unblock 50 numbers, 50 % of the 100 that are blocked; the guard lets 29 pass",
        "it would begin to block 2,000 numbers, 2000 % of the 100 that are blocked; the guard lets 1,000 pass",
    )
    assert LIMITS.refusals(change(0, 0, 1_001)) == (
        "it would begin to block 1,001 numbers, and none is blocked; the guard lets 1,000 pass",
    )
    assert LIMITS.refusals(change(10_000, 50, 0, single=(100, 50, 0))) == (
        "it would unblock 50 single numbers, 50 % of the 100 that are blocked; the guard lets 29 pass",
    )


def test_no_limits() -> None:
    off = Limits(max_removed=1.0, min_removed=0, max_added=math.inf, min_added=0)
    assert off.refusals(change(0, 0, 10**12)) == off.refusals(change(100, 100, 10**12)) == ()


@pytest.mark.parametrize(
    "wrong", [{"max_removed": 1.1}, {"max_removed": -0.1}, {"max_added": float("nan")}, {"min_added": -1}]
)
def test_wrong_limits(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="limits"):
        Limits(**({"max_removed": 0.1, "min_removed": 20, "max_added": 1.0, "min_added": 1_000} | wrong))  # type: ignore[arg-type]
