"""How long something took, of many times: helpers for the statistics of the exchange and of recipients."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Spread

_PERCENT: Final = 95


def spread(seconds: Iterable[float]) -> Spread:
    """The count, the median and the 95th percentile of durations.

    The median is the middle value, or half-way between the middle two. The 95th percentile is by *nearest rank*: the
    smallest value that at least 95 % of all values do not exceed, the one with rank ⌈0.95 · n⌉ in ascending order. So
    it is always one of the values. Source: Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American
    Statistician 50 (1996), definition 1.

    Args:
        seconds: the durations, in any order.

    Returns:
        The count, and both values in seconds; None for both if there are no durations.

    Raises:
        InvalidInput: a duration is not a finite number.

    >>> spread([30.0, 10.0, 20.0, 60.0])
    Spread(count=4, median_s=25.0, p95_s=60.0)
    >>> spread([])
    Spread(count=0, median_s=None, p95_s=None)
    """
    return spread_of_counts(Counter(seconds))


def spread_of_counts(times: Mapping[float, int]) -> Spread:
    """The same for durations that occur many times each.

    Args:
        times: for each duration, in seconds, how often it occurred.

    Raises:
        InvalidInput: a duration is not a finite number.

    >>> spread_of_counts({60.0: 1, 10.0: 99})
    Spread(count=100, median_s=10.0, p95_s=10.0)
    """
    if not all(map(math.isfinite, times)):
        raise InvalidInput("durations must be finite numbers of seconds")
    count = sum(times.values())
    if not count:
        return Spread(count=0, median_s=None, p95_s=None)
    rank = -(-_PERCENT * count // 100)  # rounded up with integers, since 0.95 is not exact as a float
    low, high, worst = _values_at(times, (count + 1) // 2, count // 2 + 1, rank)
    return Spread(count=count, median_s=low if low == high else (low + high) / 2, p95_s=worst)


def _values_at(times: Mapping[float, int], *ranks: int) -> list[float]:
    """The values with these ranks in ascending order, counted from one; the ranks must ascend."""
    found: list[float] = []
    ascending, passed, value = iter(sorted(times.items())), 0, 0.0
    for rank in ranks:
        while passed < rank:
            value, count = next(ascending)
            passed += count
        found.append(value)
    return found
