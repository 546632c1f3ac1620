"""A table on disk that gives the kind of each listed number in one read; opening it builds and loads nothing.

It is an open-addressing hash table with linear probing. A cell holds the number and, in its low bits, its kind
(`blocklist_sdk.recipient.cache.kinds`); an empty cell is 0. A look-up goes from the number's home on until it finds the
number or an empty cell, so it takes as long as a run of full cells.

Whoever publishes a list picks its numbers, and could pick them to fall into one cell. So homes follow from secrets that
are drawn anew for each table and stay on this machine; and a table with a long run of full cells is never kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.numbers.e164 import LARGEST, SMALLEST
from blocklist_sdk.release.arrow_files import ColumnFile
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

_CELLS_PER_PART: Final = 1 << 16
"""With their numbers, a megabyte, they fit in a processor's cache, and a home in a part has 16 bits. A multiple of
`_BLOCK`."""

_NUMBERS_AT_A_TIME: Final = 1 << 18
"""They are sorted by parts; of the longest lists, each part gets a dozen of them."""

_CELL: Final = "cell"
"""The column of a table on disk."""

_WORKERS: Final = 2
"""numpy releases the interpreter lock, so parts are filled side by side."""

Kinds = NDArray[np.uint16]

A = TypeVar("A")
"""The answer of a kind."""


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
    """Make the table in memory.

    Args:
        numbers: distinct numbers of at most 15 digits.
        kinds: the kind of each, below `KINDS_MAX`.
        draw: draws homes for so many numbers.

    Returns:
        The cells, the last of which is always empty, and the homes. None if each of several draws makes a long run.
    """
    for _ in range(_DRAWS):
        homes = draw(len(numbers))
        cells = np.zeros(cells_of(homes), np.int64)
        if fill(_InMemory(cells), numbers, kinds, homes):
            return cells, homes
    return None


def fill_and_draw(space: "Callable[[Homes], CellSpace]", numbers: Int64s, kinds: Kinds) -> Homes | None:
    """Make the table where the caller wants it.

    Args:
        space: gives an empty table of `cells_of` these homes; called for each draw.
        numbers: as for `fill_cells`.
        kinds: the same.

    Returns:
        The homes; None if each of several draws makes a long run.
    """
    for _ in range(_DRAWS):
        homes = Homes.drawn_for(len(numbers))
        if fill(space(homes), numbers, kinds, homes):
            return homes
    return None


def cells_of(homes: Homes) -> int:
    """How many cells a table has: one for each home, and room for the last run."""
    return homes.prime + _LONGEST_RUN + 2


class CellSpace(Protocol):
    """Where a table is made: in memory, or in a file."""

    def write(self, at: int, cells: Int64s) -> None:
        """Set cells from a position on; called from several threads at once, for other cells each."""

    def all(self) -> Int64s:
        """Every cell as it is now; not written to."""


@dataclass(frozen=True, slots=True)
class _InMemory:
    cells: Int64s

    def write(self, at: int, cells: Int64s) -> None:
        self.cells[at : at + len(cells)] = cells

    def all(self) -> Int64s:
        return self.cells


@dataclass(frozen=True, slots=True)
class _InFile:
    file: ColumnFile

    def write(self, at: int, cells: Int64s) -> None:
        self.file.write(_CELL, at, cells)

    def all(self) -> Int64s:
        return self.file.column(_CELL)


def write_cells(path: Path, numbers: Int64s, kinds: Kinds, *, about: Callable[[Homes], Mapping[bytes, str]]) -> bool:
    """Make the table as an Arrow file, which the caller flushes; each part of it goes there as soon as it is full.

    Args:
        path: the file; replaced.
        numbers: as for `fill_cells`.
        kinds: the same.
        about: the table's metadata, by its homes.

    Returns:
        False if each of several draws makes a long run; then the file is not one.

    Raises:
        OSError: the disk refused.
    """
    for _ in range(_DRAWS):
        homes = Homes.drawn_for(len(numbers))
        with ColumnFile(path, (_CELL,), cells_of(homes)) as file:
            if fill(_InFile(file), numbers, kinds, homes):
                file.finish((_CELL,), metadata=about(homes))
                return True
    return False


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


def fill(table: CellSpace, numbers: Int64s, kinds: Kinds, homes: Homes) -> bool:
    """Put each number into the first free cell from its home on; False if that makes a long run of full cells.

    The table is made in parts, side by side, each in order, and each written once: sorted by home, a number takes its
    home, or else the cell after the number before it. Numbers that find no free cell up to the end of their part wait
    until all parts are written.

    Args:
        table: where to make it; `cells_of(homes)` cells, all of them empty.
        numbers: as for `fill_cells`.
        kinds: the same.
        homes: where each number belongs.
    """
    count = cells_of(homes)
    parts = -(-homes.prime // _CELLS_PER_PART)
    contents = np.empty(len(numbers), np.int64)

    def sort_some(start: int) -> Int64s:
        """Put the contents of some cells in order of their parts; returns where those of each part begin."""
        some = slice(start, start + _NUMBERS_AT_A_TIME)
        part = (homes.of(numbers[some]) // _CELLS_PER_PART).astype(np.uint16)
        contents[some] = ((numbers[some] << KIND_BITS) | kinds[some])[np.argsort(part, kind="stable")]
        return start + np.cumsum(np.append(0, np.bincount(part, minlength=parts)))

    def fill_part(i: int) -> tuple[Int64s, int] | None:
        """Write a part; returns the contents that found no cell in it, and where it ends. None if it has a long run."""
        mine = np.concatenate([contents[start[i] : start[i + 1]] for start in starts])
        begin, end = i * _CELLS_PER_PART, (i + 1) * _CELLS_PER_PART if i + 1 < parts else count
        home = homes.of(mine >> KIND_BITS) - begin
        # numpy sorts 16 bits in linear time.
        order = np.argsort(home.astype(np.uint16), kind="stable")
        home, mine = home[order], mine[order]
        row = np.arange(len(mine))
        at = np.maximum.accumulate(home - row) + row
        fits = int(np.searchsorted(at, end - begin - (end == count)))
        cells = np.zeros(end - begin, np.int64)
        cells[at[:fits]] = mine[:fits]
        if int((at - home).max(initial=0)) >= _LONGEST_RUN or _has_full_block(cells, np.arange(len(cells) // _BLOCK)):
            return None
        table.write(begin, cells)
        return mine[fits:], end

    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(_WORKERS) as pool:
        starts = list(pool.map(sort_some, range(0, max(1, len(numbers)), _NUMBERS_AT_A_TIME)))
        filled = list(pool.map(fill_part, range(parts)))
    waiting = [part for part in filled if part is not None]
    return len(waiting) == parts and _settle(table, waiting, count)


def _settle(table: CellSpace, waiting: Sequence[tuple[Int64s, int]], count: int) -> bool:
    """Let contents try a cell, then the next, and so on; False if that makes a long run."""
    cells = table.all()
    settled: list[int] = []
    for contents, end in waiting:
        at = end
        for content in contents:
            while at < count - 1 and cells[at]:
                at += 1
            if at == count - 1 or at - end >= _LONGEST_RUN:
                return False
            table.write(at, np.array([content], np.int64))
            settled.append(at // _BLOCK)
    blocks = np.unique(np.array(settled, np.int64))
    return not _has_full_block(cells, blocks[blocks < len(cells) // _BLOCK])


def holds_exactly(cells: Int64s, homes: Homes, numbers: Int64s, kinds: Kinds) -> bool:
    """Whether a table that somebody else may have made has these numbers with these kinds, and is as quick as ours.

    Args:
        cells: the table; whatever is in it, no look-up is made in it before.
        homes: where each number belongs, as is said of it.
        numbers: distinct numbers of at most 15 digits.
        kinds: the kind of each, below `KINDS_MAX`.
    """
    if not (homes.are_secret and 0 <= homes.mask < 1 << _NUMBER_BITS and homes.prime > 0):
        return False
    if len(cells) != cells_of(homes) or cells[-1]:
        return False

    def count(start: int) -> int:
        return int(np.count_nonzero(cells[start : start + _CELLS_PER_PART]))

    def are_there(start: int) -> bool:
        some = slice(start, start + _NUMBERS_AT_A_TIME)
        wanted, at = (numbers[some] << KIND_BITS) | kinds[some], homes.of(numbers[some])
        for _ in range(_LONGEST_RUN):
            found = cells[at]
            going = np.flatnonzero(found != wanted)
            if not len(going):
                return True
            # A cell that is empty ends the search; so does one of the same number, of which there may be no second.
            stops = found[going]
            if not (stops != 0).all() or (stops >> KIND_BITS == wanted[going] >> KIND_BITS).any():
                return False
            wanted, at = wanted[going], at[going] + 1
        return False

    from concurrent.futures import ThreadPoolExecutor  # here, since look-ups do without it

    with ThreadPoolExecutor(_WORKERS) as pool:
        # Each number has a cell, and there are no more of them: so no cell has anything else.
        if sum(pool.map(count, range(0, len(cells), _CELLS_PER_PART))) != len(numbers):
            return False
        if not all(pool.map(are_there, range(0, len(numbers), _NUMBERS_AT_A_TIME))):
            return False
    return not _has_full_block(cells, np.arange(len(cells) // _BLOCK))


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
    cells: memoryview,
    homes: Homes,
    answers: Sequence[A | None],
    elsewhere: Callable[[int], A | None] | None,
    *,
    unlisted: A,
) -> Callable[[int], A | None]:
    """A function that answers for one number by its kind.

    It answers None if the rows have to be read, or if the integer is not an E.164 number. It is a closure, since it is
    called for every message and call, and Python reaches a closure's variables the quickest.

    `answers` are those of each kind; `elsewhere` answers for numbers without a cell, None if no entry covers them, and
    then the answer is `unlisted`.
    """
    bits, mask, smallest, largest = KIND_BITS, _KIND_MASK, SMALLEST, LARGEST
    prime, multiplier, secret = homes.prime, homes.multiplier, homes.mask

    def find(number: int) -> A | None:
        at = (number ^ secret) * multiplier % prime
        while cell := cells[at]:
            if cell >> bits == number:
                return answers[cell & mask]
            at += 1
        if smallest <= number <= largest:
            return unlisted if elsewhere is None else elsewhere(number)
        return None

    return find


def layered_kind_finder(
    changed: memoryview,
    changed_homes: Homes,
    cells: memoryview,
    homes: Homes,
    answers: Sequence[A | None],
    elsewhere: Callable[[int], A | None] | None,
    *,
    unlisted: A,
) -> Callable[[int], A | None]:
    """The same where a small table goes before the large one: of the numbers that have changed since."""
    bits, mask, smallest, largest = KIND_BITS, _KIND_MASK, SMALLEST, LARGEST
    prime, multiplier, secret = homes.prime, homes.multiplier, homes.mask
    changed_prime, changed_multiplier, changed_secret = (
        changed_homes.prime,
        changed_homes.multiplier,
        changed_homes.mask,
    )

    def find(number: int) -> A | None:
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
            return unlisted if elsewhere is None else elsewhere(number)
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
