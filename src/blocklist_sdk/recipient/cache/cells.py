"""A table on disk that gives the kind of each listed number in one read; opening it builds and loads nothing.

It is an open-addressing hash table with linear probing. A cell holds the number and, in its low bits, its kind
(`blocklist_sdk.recipient.cache.kinds`); an empty cell is 0. A look-up goes from the number's home on until it finds the
number or an empty cell, so it takes as long as a run of full cells.

Whoever publishes a list picks its numbers, and could pick them to fall into one cell. So homes follow from secrets that
are drawn anew for each table and stay on this machine; and a table with a long run of full cells is never kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

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

_BLOCK: Final = 256
"""No block of so many cells, beginning at a multiple of it, may be full. So no run has twice as many full cells; the
longest that half a billion numbers without a pattern make has about a hundred (Knuth, as above)."""

_LONGEST_RUN: Final = 2 * _BLOCK
"""A number that finds no cell on so many is in a run that is too long."""

_DRAWS: Final = 8
"""A list that makes a long run with so many draws, one after the other, is looked up in its rows."""

_PRIMES_SHARE: Final = 4
"""The prime lies between twice as many as there are numbers and that plus this part of them: there are 250 for 10,000
numbers, 17,000 for a million."""

_MULTIPLIERS: Final = range(1 << 12, 1 << 13)
"""They take 13 bits beside the 50 of a number, so that products have 63 bits, in numpy as in Python."""

_NUMBER_BITS: Final = LARGEST.bit_length()

_NUMBERS_PER_PART: Final = 400_000
"""With their part of the table, six megabytes, they fit in a processor's cache."""

_WORKERS: Final = 2
"""numpy releases the interpreter lock, so parts are filled side by side."""

Kinds = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Homes:
    """Where each number belongs: (number XOR mask) times multiplier, modulo a prime.

    A publisher may guess one prime in some, and list numbers that are multiples of several; the mask turns them into
    numbers that are none. He may list consecutive numbers; the multiplier keeps them from filling consecutive cells.

    Attributes:
        prime: how many homes there are.
        multiplier: one of `_MULTIPLIERS`; 1 in tables of before there were any.
        mask: `_NUMBER_BITS` bits; 0 in tables of before there were any.
    """

    prime: int
    multiplier: int = 1
    mask: int = 0

    @classmethod
    def drawn_for(cls, count: int) -> Self:
        """Draw homes for so many numbers, which nobody else can know."""
        import secrets  # here, since look-ups do without it

        least = _CELLS_PER_NUMBER * count + secrets.randbelow(count // _PRIMES_SHARE + 1)
        return cls(_prime_from(least), secrets.choice(_MULTIPLIERS), secrets.randbits(_NUMBER_BITS))

    @property
    def are_secret(self) -> bool:
        """Whether they were drawn."""
        return self.multiplier in _MULTIPLIERS

    def of(self, numbers: Int64s) -> Int64s:
        """The home of each number; numpy's own operator of remainders is slower."""
        product = numbers ^ self.mask
        product *= self.multiplier
        return product - product // self.prime * self.prime


def fill_cells(
    numbers: Int64s, kinds: Kinds, *, draw: Callable[[int], Homes] = Homes.drawn_for
) -> tuple[Int64s, Homes] | None:
    """Make the table.

    Args:
        numbers: distinct numbers of at most 15 digits.
        kinds: the kind of each, below `KINDS_MAX`.
        draw: draws homes for so many numbers.

    Returns:
        The cells, the last of which is always empty, and the homes. None if each of several draws makes a long run.
    """
    for _ in range(_DRAWS):
        homes = draw(len(numbers))
        cells = _fill(numbers, kinds, homes)
        if cells is not None and not _has_full_block(cells, np.arange(len(cells) // _BLOCK)):
            return cells, homes
    return None


def _has_full_block(cells: Int64s, blocks: Int64s, *, written: Int64s | None = None) -> bool:
    """Whether one of some blocks is full of numbers.

    Half the cells are empty, so half the blocks drop out at each step.

    Args:
        cells: the table.
        blocks: the blocks to look at: 0 is that of the first `_BLOCK` cells.
        written: positions of cells that count as full, ascending.
    """
    left = blocks * _BLOCK
    for _ in range(_BLOCK):
        if not len(left):
            return False
        full = cells[left] != 0
        if written is not None:
            full |= np.searchsorted(written, left, "right") > np.searchsorted(written, left, "left")
        left = left[full] + 1
    return bool(len(left))


def _fill(numbers: Int64s, kinds: Kinds, homes: Homes) -> Int64s | None:
    """Put each number into the first free cell from its home on; None if one would go further than the longest run.

    The table is filled in parts, side by side, since a part fits in a processor's cache. Numbers that find no free cell
    up to the end of their part wait until all parts are filled.
    """
    cells = np.zeros(homes.prime + _LONGEST_RUN + 2, np.int64)
    parts = max(1, len(numbers) // _NUMBERS_PER_PART)
    ends = [-(-homes.prime * (i + 1) // parts) for i in range(parts)]
    contents = np.empty(len(numbers), np.int64)

    def sort_some(start: int) -> Int64s:
        """Put the contents of some cells in order of their parts; returns where those of each part begin."""
        some = slice(start, start + _NUMBERS_PER_PART)
        part = (homes.of(numbers[some]) * parts // homes.prime).astype(np.uint16)
        contents[some] = ((numbers[some] << KIND_BITS) | kinds[some])[np.argsort(part, kind="stable")]
        return start + np.cumsum(np.append(0, np.bincount(part, minlength=parts)))

    def fill_part(i: int) -> tuple[Int64s, Int64s]:
        mine = np.concatenate([contents[start[i] : start[i + 1]] for start in starts])
        return _settle(cells, mine, homes.of(mine >> KIND_BITS), end=ends[i])

    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(_WORKERS) as pool:
        starts = list(pool.map(sort_some, range(0, max(1, len(numbers)), _NUMBERS_PER_PART)))
        waiting = list(pool.map(fill_part, range(parts)))
    left, at = (np.concatenate(column) for column in zip(*waiting, strict=True))
    left, _ = _settle(cells, left, at, end=len(cells) - 1)
    return None if len(left) else cells


def _settle(cells: Int64s, contents: Int64s, at: Int64s, *, end: int) -> tuple[Int64s, Int64s]:
    """Let all contents try their cell before `end`, then the next, and so on; if several want the same, one gets it.

    Returns:
        The contents that got no cell, and the cell that each would try next.
    """
    waiting: list[tuple[Int64s, Int64s]] = []
    for _ in range(_LONGEST_RUN):
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


def cells_to_write(cells: Int64s, homes: Homes, numbers: Int64s, kinds: Kinds) -> tuple[Int64s, Int64s] | None:
    """Find the cells to write so that numbers get new kinds: the cells that they have, or else the first free ones.

    Returns:
        The positions of the cells and their contents; None if the table would get too long runs of full cells.
    """
    left, at = (numbers << KIND_BITS) | kinds, homes.of(numbers)
    found: list[tuple[Int64s, Int64s]] = [(left[:0], at[:0])]
    for _ in range(min(_LONGEST_RUN, len(cells) - 1 - homes.prime)):
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
    newly_full = np.sort(where[cells[where] == 0])
    if _has_full_block(cells, np.unique(newly_full // _BLOCK), written=newly_full):
        return None
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
    cells: memoryview, homes: Homes, answers: Sequence[bool | None], elsewhere: Callable[[int], bool | None] | None
) -> Callable[[int], bool | None]:
    """A function that answers for one number by its kind.

    It answers None if the rows have to be read, or if the integer is not an E.164 number. It is a closure, since it is
    called for every message and call, and Python reaches a closure's variables the quickest.

    `answers` are those of each kind; `elsewhere` answers for numbers without a cell, None if no entry covers them.
    """
    bits, mask, smallest, largest = KIND_BITS, _KIND_MASK, SMALLEST, LARGEST
    prime, multiplier, secret = homes.prime, homes.multiplier, homes.mask

    def find(number: int) -> bool | None:
        at = (number ^ secret) * multiplier % prime
        while cell := cells[at]:
            if cell >> bits == number:
                return answers[cell & mask]
            at += 1
        if smallest <= number <= largest:
            return False if elsewhere is None else elsewhere(number)
        return None

    return find


def layered_kind_finder(
    changed: memoryview,
    changed_homes: Homes,
    cells: memoryview,
    homes: Homes,
    answers: Sequence[bool | None],
    elsewhere: Callable[[int], bool | None] | None,
) -> Callable[[int], bool | None]:
    """The same where a small table goes before the large one: of the numbers that have changed since."""
    bits, mask, smallest, largest = KIND_BITS, _KIND_MASK, SMALLEST, LARGEST
    prime, multiplier, secret = homes.prime, homes.multiplier, homes.mask
    changed_prime, changed_multiplier, changed_secret = (
        changed_homes.prime,
        changed_homes.multiplier,
        changed_homes.mask,
    )

    def find(number: int) -> bool | None:
        at = (number ^ changed_secret) * changed_multiplier % changed_prime
        while cell := changed[at]:
            if cell >> bits == number:
                return answers[cell & mask]
            at += 1
        at = (number ^ secret) * multiplier % prime
        while cell := cells[at]:
            if cell >> bits == number:
                return answers[cell & mask]
            at += 1
        if smallest <= number <= largest:
            return False if elsewhere is None else elsewhere(number)
        return None

    return find


def numbers_in(cells: Int64s) -> tuple[Int64s, Kinds]:
    """The numbers that a table has, in no order, and their kinds."""
    full = cells[cells != 0]
    return full >> KIND_BITS, (full & _KIND_MASK).astype(np.uint16)


def find_kinds(cells: Int64s, homes: Homes, numbers: Int64s, *, unlisted: int) -> Kinds:
    """The kind of each of many numbers, `unlisted` for those that have no cell."""
    at = homes.of(numbers)
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
