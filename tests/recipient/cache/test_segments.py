"""The segments that ranges cut, and the ranges that cover each, are those that one finds by looking at every one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.recipient.cache import ranges
from blocklist_sdk.recipient.cache.ranges import DEPTH_MAX, covering, segments
from support.hostile_releases import list_of

SPANS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 40)), max_size=60)


@given(SPANS, st.integers(1, 9))
def test_segments_are_as_by_looking_at_every_range(spans: list[tuple[int, int]], at_a_time: int) -> None:
    spans = sorted((first, first + more) for first, more in spans)
    number, last = np.array(spans, np.int64).reshape(-1, 2).T.copy()
    rows = list_of(len(spans), number=number).with_last(last)
    is_range = [(at, first, end) for at, (first, end) in enumerate(spans) if end > first]
    edges = sorted({edge for _, first, end in is_range for edge in (first, end + 1)})
    expected = [{at for at, low, high in is_range if low <= edge <= high} for edge in edges]

    first, depth = segments(rows)
    assert first.tolist() == edges
    assert depth.tolist() == [len(each) for each in expected]
    found: dict[int, set[int]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "_SEGMENTS_AT_A_TIME", at_a_time)
        for at, row in covering(rows, first, depth):
            ends = np.cumsum(depth[at])
            assert len(row) == (ends[-1] if len(at) else 0)
            for segment, part in zip(at.tolist(), np.split(row, ends[:-1]), strict=len(at) > 0):
                found[segment] = set(part.tolist())
    assert found == {i: each for i, each in enumerate(expected) if 0 < len(each) <= DEPTH_MAX}
