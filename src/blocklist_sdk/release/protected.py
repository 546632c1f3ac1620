"""Protected numbers: those that no feed may list. The targets role signs them, so no feed's key can lift one."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.names import PROTOCOL
from blocklist_sdk.release.rows import Int64s, Positions

PROTECTED_BYTES_MAX = 4 << 20
"""Room for two hundred thousand numbers; an authority protects some hundreds."""


def write_protected(numbers: Iterable[int]) -> bytes:
    r"""The signed document with these E.164 integers.

    >>> write_protected([6281234567890]).decode()
    '{"protocol": 1, "numbers": [6281234567890]}\n'
    """
    return json.dumps({"protocol": PROTOCOL, "numbers": sorted(set(numbers))}).encode() + b"\n"


def read_protected(document: bytes) -> Int64s:
    """The numbers of a signed document, in order.

    Raises:
        Malformed: it is damaged.
    """
    try:
        numbers = json.loads(document)["numbers"]
        return np.sort(np.array(numbers, np.int64))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Malformed(f"the list of protected numbers is damaged: {error}") from error


def read_protected_file(path: Path) -> frozenset[int]:
    """The numbers of a signed document on disk; empty if the file does not exist.

    Raises:
        Malformed: it is damaged.
        StorageFailed: it cannot be read.
    """
    with storage(path):
        try:
            document = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
    return frozenset(read_protected(document).tolist())


def covers(first: Int64s, last: Int64s, numbers: Int64s) -> NDArray[np.bool_]:
    """Which ranges cover one of the numbers at least.

    Args:
        first: E.164 integers, in any order.
        last: the same; the number itself for a single one.
        numbers: E.164 integers, ascending.

    >>> covers(np.array([1, 5]), np.array([3, 5]), np.array([2])).tolist()
    [True, False]
    """
    if not len(numbers):
        return np.zeros(len(first), np.bool_)
    hit: NDArray[np.bool_] = np.searchsorted(numbers, last, "right") > np.searchsorted(numbers, first, "left")
    return hit


def covered_among(numbers: Int64s, first: Int64s, last: Int64s) -> Int64s:
    """The numbers that one of the ranges covers at least.

    Args:
        numbers: E.164 integers.
        first: E.164 integers, ascending.
        last: the same; the number itself for a single one, and the same array if all are single ones.

    >>> covered_among(np.array([2, 4, 5]), np.array([1, 5]), np.array([3, 5])).tolist()
    [2, 5]
    """
    begun = np.searchsorted(first, numbers, "right")
    furthest = last if last is first else np.maximum.accumulate(last)
    is_covered = begun > 0
    is_covered[is_covered] = furthest[begun[is_covered] - 1] >= numbers[is_covered]
    found: Int64s = numbers[is_covered]
    return found


def cut_around(first: Int64s, last: Int64s, numbers: Int64s) -> tuple[Positions, Int64s, Int64s]:
    """What is left of ranges without the numbers: the position of the range, first, last of each piece.

    >>> [column.tolist() for column in cut_around(np.array([1, 5]), np.array([3, 5]), np.array([2, 5]))]
    [[0, 0], [1, 3], [1, 3]]
    """
    low, high = np.searchsorted(numbers, first, "left"), np.searchsorted(numbers, last, "right")
    pieces = high - low + 1
    at = np.repeat(np.arange(len(first)), pieces)
    which = np.arange(len(at)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    padded = np.append(numbers, 0)
    begin = np.where(which == 0, first[at], padded[low[at] + which - 1] + 1)
    end = np.where(which == high[at] - low[at], last[at], padded[low[at] + which] - 1)
    is_left = begin <= end
    return at[is_left], begin[is_left], end[is_left]
