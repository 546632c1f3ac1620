"""How long something took, of many times: pure helpers of monthly figures, the exchange's and a recipient's."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Spread

_PERCENT: Final = 95


def spread(seconds: Iterable[float]) -> Spread:
    """Say how long something took: how often, in the middle, and at worst but for one time in twenty.

    The median is the middle one, or half-way between the middle two. The 95th percentile is by *nearest rank*: the
    smallest value that at least 95 % of all do not exceed, that is the one at the place ⌈0.95 · n⌉ in ascending order.
    So it is a time that really occurred, never one in between. Source: Hyndman and Fan, "Sample Quantiles in
    Statistical Packages", The American Statistician 50 (1996), definition 1.

    Args:
        seconds: one duration each, in any order.

    Returns:
        The count and both values in seconds; None for both where there is nothing to look at.

    Raises:
        InvalidInput: one of them is no finite number.

    >>> spread([30.0, 10.0, 20.0, 60.0])
    Spread(count=4, median_s=25.0, p95_s=60.0)
    >>> spread([])
    Spread(count=0, median_s=None, p95_s=None)
    """
    return spread_of_counts(Counter(seconds))


def spread_of_counts(times: Mapping[float, int]) -> Spread:
    """The same, of durations that occur many times each.

    Args:
        times: how often each duration, in seconds, occurred.

    Raises:
        InvalidInput: one of them is no finite number.

    >>> spread_of_counts({60.0: 1, 10.0: 99})
    Spread(count=100, median_s=10.0, p95_s=10.0)
    """
    if not all(map(math.isfinite, times)):
        raise InvalidInput("a duration is a finite number of seconds")
    count = sum(times.values())
    if not count:
        return Spread(count=0, median_s=None, p95_s=None)
    rank = -(-_PERCENT * count // 100)  # rounded up in integers: 0.95 is no exact float
    low, high, worst = _at(times, (count + 1) // 2, count // 2 + 1, rank)
    return Spread(count=count, median_s=low if low == high else (low + high) / 2, p95_s=worst)


def _at(times: Mapping[float, int], *places: int) -> list[float]:
    """The values at places in ascending order, counted from one; the places ascend as well."""
    found: list[float] = []
    ascending, passed, value = iter(sorted(times.items())), 0, 0.0
    for place in places:
        while passed < place:
            value, count = next(ascending)
            passed += count
        found.append(value)
    return found
