"""A long list in windows of numbers, so that what is worked out on the way takes the memory of one window. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.numbers.reach import reach
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import merged
from blocklist_sdk.release.rows import Int64s, Rows, Texts, distinct
from blocklist_sdk.release.tallies import count_by

WINDOW_ROWS: Final = 1 << 18
"""Rows of a window, about: what is worked out for each takes some ten times eight bytes meanwhile."""

_COUNTED_FIRST: Final = 100_000
_COUNTED_GROWTH: Final = 8
"""Of so many rows is counted first, and then of so many times as many."""


def bounds(*lists: Int64s, size: int) -> Iterator[tuple[int, int]]:
    """The first and the last number of windows that have no more than about `size` rows of any list.

    Args:
        lists: numbers, each list ascending.
        size: how many rows.

    >>> list(bounds(np.array([3, 5, 5, 9]), size=2))
    [(0, 4), (5, 999999999999999)]
    """
    cuts = distinct(np.concatenate([numbers[size::size] for numbers in lists] or [np.empty(0, np.int64)]))
    starts = [0, *cuts.tolist()]
    yield from zip(starts, [*(start - 1 for start in starts[1:]), LARGEST], strict=True)


def windows(layers: LayeredRows) -> Iterator[Rows]:
    """A list in windows, in order: all rows of a number are in one."""
    for first, last in bounds(layers.base.number, layers.overlay.puts.number, size=WINDOW_ROWS):
        yield layers.near(np.array([first]), np.array([last]))


def growing(layers: LayeredRows) -> Iterator[Rows]:
    """The first rows, then more and more of them, then all."""
    count = _COUNTED_FIRST
    while count < len(layers.base):
        yield layers.near(np.array([0]), layers.base.number[count : count + 1])
        count *= _COUNTED_GROWTH
    yield layers.whole()


def ending_between(layers: LayeredRows, *, after_ms: int, until_ms: int) -> Rows:
    """The rows that end after one moment, and no later than another, milliseconds since 1970 UTC."""
    base, puts = layers.base, layers.overlay.puts
    found = []
    for start in range(0, len(base), WINDOW_ROWS):
        until = base.until[start : start + WINDOW_ROWS]
        found.append(start + np.flatnonzero((until > after_ms) & (until <= until_ms)))
    at = np.concatenate([np.empty(0, np.intp), *found])
    at = np.setdiff1d(at, layers.overlay.dropped, assume_unique=True)
    return merged(base.take(at), puts.take((puts.until > after_ms) & (puts.until <= until_ms)))


def ended_by(layers: LayeredRows, moment_ms: int) -> int:
    """How many rows have ended by a moment, milliseconds since 1970 UTC."""
    base, puts = layers.base.until, layers.overlay.puts.until
    ended = sum(
        int(np.count_nonzero(base[start : start + WINDOW_ROWS] <= moment_ms))
        for start in range(0, len(base), WINDOW_ROWS)
    )
    dropped = int(np.count_nonzero(base[layers.overlay.dropped] <= moment_ms))
    return ended - dropped + int(np.count_nonzero(puts <= moment_ms))


def texts_of(texts: Texts) -> Counter[str]:
    """How many rows have each text."""
    counts = Counter[str]()
    for start in range(0, len(texts.codes), WINDOW_ROWS):
        counts.update(count_by(Texts(texts.codes[start : start + WINDOW_ROWS], texts.values)))
    return counts


def outside_ranges(rows: Rows) -> int:
    """How many single numbers lie outside all ranges, each number once.

    Args:
        rows: a list; or of one all ranges, and all rows of some numbers, which are counted then.
    """
    if not rows.has_ranges:
        return reach(rows.number, rows.last)
    ranges = rows.take(rows.last > rows.number)
    return reach(rows.number, rows.last) - reach(ranges.number, ranges.last)


def all_outside_ranges(layers: LayeredRows) -> int:
    """The same of a whole list."""
    if not layers.has_ranges:
        return sum(reach(part.number, part.last) for part in windows(layers))
    ranges = layers.ranges()
    return sum(outside_ranges(merged(part.take(part.last == part.number), ranges)) for part in windows(layers))


def reach_of(layers: LayeredRows, *, outside: int | None = None) -> int:
    """How many numbers a list covers, as `reach` counts them.

    Args:
        layers: the list.
        outside: its `all_outside_ranges`, if that is known.
    """
    ranges = layers.ranges()
    return (all_outside_ranges(layers) if outside is None else outside) + reach(ranges.number, ranges.last)
