"""The distinct values of a column, against sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.release.rows import distinct


@given(st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)))
def test_the_distinct_values_are_those_of_a_set_ascending(values: list[int]) -> None:
    assert distinct(np.array(values, np.int64)).tolist() == sorted(set(values))
