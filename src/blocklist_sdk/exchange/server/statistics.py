"""Pure helpers of the monthly statistics."""

import math
from collections.abc import Sequence
from statistics import median

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Spread

_PERCENT = 95


def spread(seconds: Sequence[float]) -> Spread:
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
    if not all(map(math.isfinite, seconds)):
        raise InvalidInput("a duration is a finite number of seconds")
    if not seconds:
        return Spread(count=0, median_s=None, p95_s=None)
    ascending = sorted(seconds)
    rank = -(-_PERCENT * len(ascending) // 100)  # rounded up in integers: 0.95 is no exact float
    return Spread(count=len(ascending), median_s=median(ascending), p95_s=ascending[rank - 1])
