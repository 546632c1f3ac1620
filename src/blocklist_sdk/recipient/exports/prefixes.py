"""A table of prefixes: the fewest that match the numbers that block, and no others. Pure.

A prefix alone matches longer numbers as well, which may be somebody else's: numbering plans have numbers of several
lengths, and Indonesia's mobile numbers have from 10 to 13 digits. So each prefix says how many digits a number has.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.recipient.exports.texts import Part, joined
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.release.spans import Spans, positions_between

HEADER: bytes = b"prefix,digits\n"

_LENGTHS: Spans = Spans(10 ** np.arange(15), np.append(10 ** np.arange(1, 15) - 1, LARGEST))
"""All numbers of one digit, of two digits, and so on, up to 15."""


def fewest_prefixes(spans: Spans) -> tuple[Int64s, Int64s]:
    """The fewest prefixes of which each number of some spans has one, and no other number of as many digits.

    Args:
        spans: the numbers.

    Returns:
        The prefixes, by the first numbers that have them, and how many digits the numbers of each have.

    >>> prefix, digits = fewest_prefixes(Spans.of(np.array([6281, 6290, 7]), np.array([6283, 6299, 7])))
    >>> list(zip(prefix.tolist(), digits.tolist(), strict=True))
    [(7, 1), (6281, 4), (6282, 4), (6283, 4), (629, 4)]
    """
    spans = spans.common(_LENGTHS)
    low, high = spans.first, spans.last + 1
    digits = np.searchsorted(_LENGTHS.last, spans.last) + 1
    first: list[Int64s] = []
    prefix: list[Int64s] = []
    of: list[Int64s] = []
    size = 1
    while len(low):
        # Of what is left, these are not ten with the same prefix of one digit less.
        up = np.minimum(-(-low // 10) * 10, high)
        down = np.maximum(high // 10 * 10, up)
        for start, stop in ((low, up), (down, high)):
            found = positions_between(start, stop).astype(np.int64, copy=False)
            prefix.append(found)
            first.append(found * size)
            of.append(np.repeat(digits, stop - start))
        low, high, size = up // 10, down // 10, size * 10
        left = low < high
        low, high, digits = low[left], high[left], digits[left]
    if not prefix:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(np.concatenate(first), kind="stable")
    return np.concatenate(prefix)[order], np.concatenate(of)[order]


def table(parts: Iterable[Spans]) -> Iterator[Part]:
    """The table as CSV, one prefix a line, with how many it has."""
    yield Part(HEADER, 0)
    for spans in parts:
        prefix, digits = fewest_prefixes(spans)
        columns = [pa.array(each).cast(pa.string()) for each in (prefix, digits)]
        yield Part(joined(columns[0], ",", columns[1], "\n"), len(prefix))
