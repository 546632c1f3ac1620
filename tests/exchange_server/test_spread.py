"""How long things took: the median, and the 95th percentile by nearest rank."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import Spread
from blocklist_sdk.exchange.spread import spread

SECONDS = st.lists(st.floats(-1e6, 1e9), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("seconds", "median_s", "p95_s"),
    [
        ([7.0], 7.0, 7.0),
        ([1.0, 2.0], 1.5, 2.0),
        ([3.0, 1.0, 2.0], 2.0, 3.0),
        (list(range(1, 20)), 10, 19),
        (list(range(1, 21)), 10.5, 19),
        (list(range(1, 22)), 11, 20),
        (list(range(100, 0, -1)), 50.5, 95),
        (list(range(1, 102)), 51, 96),
        ([5.0] * 40, 5.0, 5.0),
    ],
)
def test_known_spreads(seconds: list[float], median_s: float, p95_s: float) -> None:
    assert spread(seconds) == Spread(count=len(seconds), median_s=median_s, p95_s=p95_s)


def test_nothing_has_no_spread() -> None:
    assert spread([]) == Spread(count=0, median_s=None, p95_s=None)


@given(SECONDS)
def test_the_percentile_occurred_and_is_the_smallest_that_covers_95_of_100(seconds: list[float]) -> None:
    p95_s = spread(seconds).p95_s
    covering = [one for one in seconds if sum(other <= one for other in seconds) * 100 >= 95 * len(seconds)]
    assert p95_s == min(covering)


@given(SECONDS)
def test_numpy_says_the_same(seconds: list[float]) -> None:
    found = spread(seconds)
    assert found.median_s == pytest.approx(np.median(seconds), rel=1e-9, abs=1e-9)
    assert found.p95_s is not None
    assert found.p95_s >= np.percentile(seconds, 94.9, method="inverted_cdf")
    assert found.p95_s <= np.percentile(seconds, 95.1, method="inverted_cdf")


@given(SECONDS)
def test_the_order_does_not_matter_and_nothing_is_changed(seconds: list[float]) -> None:
    before = list(seconds)
    assert spread(seconds) == spread(sorted(seconds, reverse=True)) == spread(tuple(seconds))
    assert seconds == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_duration_is_refused(bad: float) -> None:
    with pytest.raises(InvalidInput, match="finite"):
        spread([1.0, bad])
