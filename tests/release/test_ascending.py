"""Values are found in a long column where numpy finds them, by way of a sample or without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.release import ascending
from blocklist_sdk.release.ascending import Ascending

NUMBERS = st.integers(0, 60)


@given(column=st.lists(NUMBERS, max_size=80), values=st.lists(st.integers(-2, 62), max_size=30), step=st.integers(0, 5))
def test_the_places_are_those_of_numpy(column: list[int], values: list[int], step: int) -> None:
    numbers, asked = np.array(sorted(column), np.int64), np.array(values, np.int64)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ascending, "_SAMPLE", max(1, len(column) >> step))
        patched.setattr(ascending, "_FEW", 0)
        found = Ascending(numbers)
        assert found.before(asked).tolist() == np.searchsorted(numbers, asked).tolist()
        begin, end = found.bounds(asked, asked + 3)
    assert begin.tolist() == np.searchsorted(numbers, asked).tolist()
    assert end.tolist() == np.searchsorted(numbers, asked + 3, "right").tolist()


def test_a_long_column_is_searched_by_its_sample() -> None:
    rng = np.random.default_rng(1)
    numbers = np.sort(rng.integers(0, 1 << 20, 1 << 19))
    asked = rng.integers(-5, (1 << 20) + 5, 5_000)
    found = Ascending(numbers)
    assert found.before(asked[:10]).tolist() == np.searchsorted(numbers, asked[:10]).tolist()
    assert found._sample is None, "for so few it is not made"
    assert np.array_equal(found.before(asked), np.searchsorted(numbers, asked))
    assert found._sample is not None
    assert len(found._sample) < 1 << 17
