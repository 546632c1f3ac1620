"""What a release may hold at most, whoever signs it; part of the protocol. Pure.

A signature says whose list it is, not what it costs to read. Within these limits every file takes memory, and every
question time, in proportion to the list's rows. They are far above every known list, and every publisher keeps to them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import Malformed, mask

ROWS_MAX: Final = 500_000_000
"""Rows of a release: every third mobile number of a country of a billion people has fewer. In memory they take about
20 GB, which the largest recipients have."""

TEXT_BYTES_MAX: Final = 256
"""Bytes of UTF-8 of an issuer or a category: twice the longest official name of an authority that we know of. Every
process that opens a list reads every text once."""

DISTINCT_TEXTS_MAX: Final = 65_536
"""Distinct texts of a column: as many as 16 bits can tell apart."""

ENTRIES_PER_NUMBER_MAX: Final = 1_000
"""Entries of one number, ranges aside. Each is a case that an issuer decided; real numbers have a handful. `check`
reads all of them, in about ten milliseconds for so many."""

RANGE_DEPTH_MAX: Final = 64
"""Ranges that cover one number. Real ranges overlap two or three deep: a provider's, an operator's, an authority's. An
item that ranges block names all of them to a sink."""

RELEASES_MAX: Final = 5_000
"""Releases in an index: one an hour for half a year."""

INDEX_BYTES_MAX: Final = 1 << 20
"""Bytes of an index: the most releases, each with one file and without white space, take 900 kB."""

ROOT_BYTES_MAX: Final = 512_000
"""Bytes of root metadata: as many as tuf itself allows (`UpdaterConfig.root_max_length`)."""

FILE_BYTES_BASE: Final = 1 << 20
FILE_BYTES_PER_ROW: Final = 1_200
"""A release file has at most the first, and the second for each row: nine columns without any compression, all texts of
full length, take 1,120 bytes a row."""

FOOTER_BYTES_BASE: Final = 1 << 16
FOOTER_ROWS_PER_BYTE: Final = 16
"""The footer of a release file has at most the first, and a byte for so many rows. Ours has a kilobyte for a million
rows, that of a writer with small groups and statistics 13."""

COLUMNS_MAX: Final = 100
"""Columns of a release file, those of later protocols included; there are ten today."""

GROUPS_BASE: Final = 100
GROUP_ROWS_MIN: Final = 10_000
"""A release file has at most the first number of row groups, and one for so many rows. Writers put from 120,000 to a
million rows into a group."""

PAGE_BYTES_MAX: Final = DISTINCT_TEXTS_MAX * (TEXT_BYTES_MAX + 4)
"""Bytes of a page when it is unpacked: those of a dictionary of the most texts of full length, 17 MB. Writers cut pages
at a megabyte."""

_ROWS_AT_A_TIME: Final = 1 << 17
"""A few columns of this many rows fit in a processor's cache."""


def file_bytes_max(rows: int) -> int:
    """The bytes that a release file of so many rows has at most.

    >>> file_bytes_max(1_000_000)
    1201048576
    """
    return FILE_BYTES_BASE + FILE_BYTES_PER_ROW * rows


def footer_bytes_max(rows: int) -> int:
    """The bytes that the footer of a release file of so many rows has at most.

    >>> footer_bytes_max(16_000_000)
    1065536
    """
    return FOOTER_BYTES_BASE + rows // FOOTER_ROWS_PER_BYTE


def groups_max(rows: int) -> int:
    """The row groups that a release file of so many rows has at most.

    >>> groups_max(1_000_000)
    200
    """
    return GROUPS_BASE + rows // GROUP_ROWS_MIN


def check_text_bytes(name: str, longest: int) -> None:
    """Check the longest text of a column, by its bytes of UTF-8.

    Raises:
        Malformed: it is too long.
    """
    if longest > TEXT_BYTES_MAX:
        raise Malformed(
            f"the release's column {name!r} holds a text of {longest:,} bytes; a text may have at most {TEXT_BYTES_MAX}"
        )


def check_distinct_texts(name: str, count: int) -> None:
    """Check how many distinct texts a column has.

    Raises:
        Malformed: there are too many.
    """
    if count > DISTINCT_TEXTS_MAX:
        raise Malformed(
            f"the release's column {name!r} holds {count:,} distinct texts; it may hold at most {DISTINCT_TEXTS_MAX:,}"
        )


@dataclass(frozen=True, slots=True)
class Peak:
    """Where a list holds the most.

    Attributes:
        number: the number; 0 if the list holds nothing of the kind.
        count: how many entries, or ranges, there are.
    """

    number: int
    count: int


def entries_per_number(number: NDArray[np.int64], last: NDArray[np.int64]) -> Peak:
    """The most entries that a number of its own has; ranges do not count. Takes time linear in the rows.

    Args:
        number: the numbers of the rows, ascending; the first number of a range.
        last: the last numbers; the same for a single number.

    >>> entries_per_number(np.array([5, 7, 7, 7]), np.array([5, 7, 7, 9]))
    Peak(number=7, count=2)
    """
    single = number if last is number else number[last == number]
    if not len(single):
        return Peak(0, 0)
    starts = np.flatnonzero(np.append(True, single[1:] != single[:-1]))
    counts = np.diff(np.append(starts, len(single)))
    most = int(np.argmax(counts))
    return Peak(int(single[starts[most]]), int(counts[most]))


def depth_of_ranges(number: NDArray[np.int64], last: NDArray[np.int64]) -> Peak:
    """The most ranges that cover one number; entries of single numbers do not count. Sorts the ranges once.

    Args:
        number: the numbers of the rows, ascending; the first number of a range.
        last: the last numbers; the same for a single number.

    >>> depth_of_ranges(np.array([10, 15, 16, 30]), np.array([19, 18, 16, 39]))
    Peak(number=15, count=2)
    """
    if last is number:
        return Peak(0, 0)
    at = np.flatnonzero(last > number)
    if not len(at):
        return Peak(0, 0)
    first, ends = number[at], np.sort(last[at])
    # Where a range begins, it and all that began before it are open, but for those that ended. Nowhere are there more.
    depth = np.searchsorted(first, first, "right") - np.searchsorted(ends, first, "left")
    most = int(np.argmax(depth))
    return Peak(int(first[most]), int(depth[most]))


def check_overlaps(number: NDArray[np.int64], last: NDArray[np.int64]) -> None:
    """Check that no number has too many entries, and that no ranges overlap too deep.

    Args:
        number: the numbers of the rows, ascending; the first number of a range.
        last: the last numbers, those of one number ascending; the very array `number` if no row is a range.

    Raises:
        Malformed: the rows are beyond `ENTRIES_PER_NUMBER_MAX` or `RANGE_DEPTH_MAX`.
    """
    if _is_crowded(number, last):
        peak = entries_per_number(number, last)
        raise Malformed(
            f"the release holds {peak.count:,} entries of {mask(f'+{peak.number}')}; a number may have at most "
            f"{ENTRIES_PER_NUMBER_MAX:,}"
        )
    peak = depth_of_ranges(number, last)
    if peak.count > RANGE_DEPTH_MAX:
        raise Malformed(
            f"the release holds {peak.count:,} ranges that cover {mask(f'+{peak.number}')}; a number may lie in at "
            f"most {RANGE_DEPTH_MAX}"
        )


def _is_crowded(number: NDArray[np.int64], last: NDArray[np.int64]) -> bool:
    """Whether a number has too many entries; in a fraction of the time that finding the most takes."""
    # Entries of a number alone stand before its ranges, so the last of too many follows the first at this distance.
    ahead = ENTRIES_PER_NUMBER_MAX
    for start in range(0, len(number) - ahead, _ROWS_AT_A_TIME):
        stop = min(start + _ROWS_AT_A_TIME, len(number) - ahead)
        same = number[start + ahead : stop + ahead] == number[start:stop]
        if same.any() and (last[start + ahead : stop + ahead][same] == number[start:stop][same]).any():
            return True
    return False
