"""A table on disk that gives the kind of each listed number in one read; opening it builds and loads nothing.

It is an open-addressing hash table with linear probing. A cell holds the number and, in its low bits, its kind
(`blocklist_sdk.recipient.cache.kinds`); an empty cell is 0. The hash is the number modulo a prime: quick to compute in
Python and in numpy, and a run of consecutive numbers, as lists often have, falls into consecutive cells.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.release.rows import Int64s

KIND_BITS: Final = 13
"""A number of 15 digits takes 50 bits, which leaves 13 of a cell's 63."""

KINDS_MAX: Final = 1 << KIND_BITS
_KIND_MASK: Final = KINDS_MAX - 1

_CELLS_PER_NUMBER: Final = 2
"""At half load a hit takes 1.5 probes on average and a miss 2.5 (Knuth, TAOCP 3, 6.4)."""

_LONGEST_RUN: Final = 512
"""Longer runs of full cells mean that the numbers follow a pattern that the prime shares; so another prime is tried."""

_PRIMES_TRIED: Final = 4

_NUMBERS_PER_PART: Final = 400_000
"""With their part of the table, six megabytes, they fit in a processor's cache."""

_WORKERS: Final = 2
"""numpy releases the interpreter lock, so parts are filled side by side."""

Kinds = NDArray[np.uint16]


def fill_cells(numbers: Int64s, kinds: Kinds) -> tuple[Int64s, int]:
    """Make the table.

    Args:
        numbers: distinct numbers of at most 15 digits.
        kinds: the kind of each, below `KINDS_MAX`.

    Returns:
        The cells, the last of which is always empty, and the modulus.
    """
    modulus = _prime_from(_CELLS_PER_NUMBER * len(numbers))
    for _ in range(_PRIMES_TRIED):
        cells = _fill(numbers, kinds, modulus, longest_run=_LONGEST_RUN)
        if cells is not None:
            return cells, modulus
        modulus = _prime_from(modulus + modulus // 8)
    cells = _fill(numbers, kinds, modulus, longest_run=len(numbers))
    assert cells is not None
    return cells, modulus


def _fill(numbers: Int64s, kinds: Kinds, modulus: int, *, longest_run: int) -> Int64s | None:
    """Put each number into the first free cell from its home on; None if one would go further than the longest run.

    The table is filled in parts, side by side, since a part fits in a processor's cache. Numbers that find no free cell
    up to the end of their part wait until all parts are filled.
    """
    cells = np.zeros(modulus + longest_run + 2, np.int64)
    parts = max(1, len(numbers) // _NUMBERS_PER_PART)
    ends = [modulus * (i + 1) // parts for i in range(parts)]
    part = np.empty(len(numbers), np.uint16)

    def find_parts(start: int) -> None:
        some = slice(start, start + _NUMBERS_PER_PART)
        part[some] = np.searchsorted(ends, _home(numbers[some], modulus), "right")

    def fill_part(i: int) -> tuple[Int64s, Int64s]:
        mine = np.flatnonzero(part == i)
        number = numbers[mine]
        contents = (number << KIND_BITS) | kinds[mine]
        return _settle(cells, contents, _home(number, modulus), end=ends[i], rounds=longest_run)

    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(find_parts, range(0, len(numbers), _NUMBERS_PER_PART)))
        waiting = list(pool.map(fill_part, range(parts)))
    left, at = (np.concatenate(column) for column in zip(*waiting, strict=True))
    left, _ = _settle(cells, left, at, end=len(cells) - 1, rounds=longest_run)
    return None if len(left) else cells


def _home(numbers: Int64s, modulus: int) -> Int64s:
    """The remainder of each number; numpy's own operator is slower."""
    return numbers - numbers // modulus * modulus


def _settle(cells: Int64s, contents: Int64s, at: Int64s, *, end: int, rounds: int) -> tuple[Int64s, Int64s]:
    """Let all contents try their cell before `end`, then the next, and so on; if several want the same, one gets it.

    Returns:
        The contents that got no cell, and the cell that each would try next.
    """
    waiting: list[tuple[Int64s, Int64s]] = []
    for _ in range(rounds):
        if not len(contents):
            break
        if int(at.max()) >= end:
            beyond = at >= end
            waiting.append((contents[beyond], at[beyond]))
            contents, at = contents[~beyond], at[~beyond]
        free = cells[at] == 0
        cells[at[free]] = contents[free]
        lost = cells[at] != contents
        contents, at = contents[lost], at[lost] + 1
    waiting.append((contents, at))
    none, nowhere = (np.concatenate(column) for column in zip(*waiting, strict=True))
    return none, nowhere


def cells_to_write(cells: Int64s, modulus: int, numbers: Int64s, kinds: Kinds) -> tuple[Int64s, Int64s] | None:
    """Find the cells to write so that numbers get new kinds: the cells that they have, or else the first free ones.

    Returns:
        The positions of the cells and their contents; None if the table would get too long runs of full cells.
    """
    left, at = (numbers << KIND_BITS) | kinds, _home(numbers, modulus)
    found: list[tuple[Int64s, Int64s]] = [(left[:0], at[:0])]
    for _ in range(min(_LONGEST_RUN, len(cells) - 1 - modulus)):
        if not len(left):
            break
        cell = cells[at]
        # A free cell goes to the first of those that come to it in this round; later rounds find it taken.
        is_first = np.zeros(len(at), np.bool_)
        is_first[np.unique(at, return_index=True)[1]] = True
        taken = np.concatenate([where for where, _ in found])
        settled = (cell >> KIND_BITS == left >> KIND_BITS) | ((cell == 0) & is_first & ~np.isin(at, taken))
        found.append((at[settled], left[settled]))
        left, at = left[~settled], at[~settled] + 1
    if len(left):
        return None
    where, what = (np.concatenate(column) for column in zip(*found, strict=True))
    return where, what


def _prime_from(least: int) -> int:
    """The smallest odd prime that is `least` or more.

    >>> _prime_from(2), _prime_from(2_000_000)
    (3, 2000003)
    """
    candidate = max(3, least | 1)
    while any(candidate % divisor == 0 for divisor in range(3, int(candidate**0.5) + 1, 2)):
        candidate += 2
    return candidate


def kind_finder(
    cells: memoryview, modulus: int, answers: Sequence[bool | None], elsewhere: Callable[[int], bool | None] | None
) -> Callable[[int], bool | None]:
    """A function that answers for one number by its kind.

    It answers None if the rows have to be read, or if the integer is not an E.164 number. It is a closure, since it is
    called for every message and call, and Python reaches a closure's variables the quickest.

    `answers` are those of each kind; `elsewhere` answers for numbers without a cell, None if no entry covers them.
    """
    bits, mask, smallest, largest = KIND_BITS, _KIND_MASK, SMALLEST, LARGEST

    def find(number: int) -> bool | None:
        at = number % modulus
        while cell := cells[at]:
            if cell >> bits == number:
                return answers[cell & mask]
            at += 1
        if smallest <= number <= largest:
            return False if elsewhere is None else elsewhere(number)
        return None

    return find


def find_kinds(cells: Int64s, modulus: int, numbers: Int64s, *, unlisted: int) -> Kinds:
    """The kind of each of many numbers, `unlisted` for those that have no cell."""
    at = _home(numbers, modulus)
    cell = cells[at]
    kinds: Kinds = (cell & _KIND_MASK).astype(np.uint16)
    going = np.flatnonzero(cell >> KIND_BITS != numbers)
    cell = cell[going]
    while len(going):
        empty = cell == 0
        kinds[going[empty]] = unlisted
        going = going[~empty]
        at[going] += 1
        cell = cells[at[going]]
        found = cell >> KIND_BITS == numbers[going]
        kinds[going[found]] = cell[found] & _KIND_MASK
        going, cell = going[~found], cell[~found]
    return kinds
