"""Releases and deltas after them, as plain rows: what `release.layers` and `release.merge` are compared with."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.merge import Removals
from support.strategies import Row, plain_rows

Key = tuple[int, int, int]


def key_of(row: Row) -> Key:
    return row.number, row.last, row.entry


def removals(keys: Sequence[Key]) -> Removals:
    columns = np.array(sorted(keys), np.int64).reshape(-1, 3).T
    return Removals(*columns)


def naive(old: list[Row], puts: list[Row], removes: list[Key]) -> list[Row]:
    """Entry by entry.

    Raises:
        Malformed: the delta does not fit.
    """
    entries = {key_of(row): row for row in old}
    if not set(removes) <= entries.keys() or set(removes) & {key_of(row) for row in puts}:
        raise Malformed("it does not fit")
    for key in removes:
        del entries[key]
    return [row for _, row in sorted((entries | {key_of(row): row for row in puts}).items())]


@st.composite
def chains(draw: st.DrawFn, *, most: int) -> tuple[list[Row], list[tuple[list[Row], list[Key]]]]:
    """A release, and deltas of puts and removals after it. Few entries on few numbers, so that deltas meet."""
    first = draw(plain_rows(max_size=12))
    deltas = []
    known = {key_of(row) for row in first}
    for _ in range(draw(st.integers(0, most))):
        puts = draw(plain_rows(max_size=6))
        candidates = sorted(known - {key_of(row) for row in puts})
        removes = draw(st.lists(st.sampled_from(candidates), unique=True, max_size=4)) if candidates else []
        if draw(st.integers(0, 9)) == 0:
            removes = sorted({*removes, draw(st.sampled_from([(1_000_001, 1_000_001, 3), *map(key_of, puts)]))})
        known = (known | {key_of(row) for row in puts}) - set(removes)
        deltas.append((puts, sorted(removes)))
    return first, deltas
