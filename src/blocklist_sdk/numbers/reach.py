"""Reach: how many numbers ranges cover.

Of a range, *assigned* numbers are counted: those that are valid in their country's numbering plan, so that somebody may
have them. ``+62812*`` covers 10^10 numbers that are possible in Indonesia, and a tenth of them can be anybody's. A
single number counts as one, whatever the plan says: real lists hold spoofed numbers.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from blocklist_sdk.errors import mask

Int64s = npt.NDArray[np.int64]

MAX_COVER: Final = 100_000
"""Ten times what four wildcards cover. Whoever means more numbers by one pattern or range has to say so."""

MAX_ENTRY_COVER: Final = 1_000_000
"""How many numbers an entry may cover that a recipient's guard lets pass by itself; publishers warn by it."""

_POWERS_OF_TEN: Final[Int64s] = 10 ** np.arange(19, dtype=np.int64)

_CODES: Final = 1_000
"""Country codes have at most three digits: ITU-T E.164 (11/2010), 6.2.2."""


def covered(first: Int64s, last: Int64s) -> Int64s:
    """How many numbers each range covers: the assigned ones, and one for a single number.

    A range that no country code or no length has to itself counts whole.

    Args:
        first: E.164 integers.
        last: the same; the number itself for a single one.

    >>> covered(np.array([6281234560000, 628000000000]), np.array([6281234569999, 628999999999])).tolist()
    [10000, 831000000]
    """
    counts: Int64s = last - first + 1
    wide = np.flatnonzero(counts > 1)
    kinds = _kinds(first[wide])
    at = wide[(kinds > 0) & (kinds == _kinds(last[wide]))]
    counts[at] = assigned(first[at], last[at])
    return counts


def assigned(first: Int64s, last: Int64s) -> Int64s:
    """How many numbers of each range are assigned, without the benefit of the doubt that `covered` gives.

    None is where no country has the code. A range across codes or lengths counts what each of them assigns.

    Args:
        first: E.164 integers.
        last: the same; the number itself for a single one.

    >>> assigned(np.array([6281234560000, 6281234560000, 999_000]), np.array([6281234569999, 6281234560000, 999_999]))
    array([10000,     1,     0])
    """
    counts = np.zeros(len(first), np.int64)
    kinds = _kinds(first)
    crosses = kinds != _kinds(last)
    for i in np.flatnonzero(crosses).tolist():
        borders = _borders()
        low, high = np.searchsorted(borders, (first[i] + 1, last[i] + 1))
        cuts = borders[low:high]
        counts[i] = assigned(np.append(first[i], cuts), np.append(cuts - 1, last[i])).sum()
    kinds[crosses] = 0
    for kind in np.unique(kinds[kinds > 0]).tolist():
        at = np.flatnonzero(kinds == kind)
        digits, code = divmod(kind, _CODES)
        plan = _plan(code, digits - len(str(code)))
        base = code * 10**plan.length
        below, _ = plan.rank(first[at] - base)
        through, is_assigned = plan.rank(last[at] - base)
        counts[at] = through + is_assigned - below
    return counts


def reach(first: Int64s, last: Int64s) -> int:
    """How many numbers a list covers; one that several entries cover counts once.

    Args:
        first: E.164 integers, ascending.
        last: the same; the number itself for a single one.

    >>> reach(np.array([6281234560000, 6281234560003, 6281234569000]), np.array([6281234569999] * 3))
    10000
    """
    is_wide = last > first
    starts, ends = first[is_wide], last[is_wide]
    if len(starts):  # those that overlap are one
        furthest = np.maximum.accumulate(ends)
        begins = np.flatnonzero(np.append(True, starts[1:] > furthest[:-1]))
        starts, ends = starts[begins], furthest[np.append(begins[1:], len(furthest)) - 1]
    singles = first[~is_wide]
    distinct = np.ones(len(singles), bool)
    distinct[1:] = np.diff(singles) != 0
    singles = singles[distinct]
    is_outside = np.searchsorted(starts, singles, "right") == np.searchsorted(ends, singles, "left")
    return int(is_outside.sum()) + int(covered(starts, ends).sum())


def country_codes(numbers: Int64s) -> Int64s:
    """The country code that each E.164 number begins with; 0 if no country has it.

    >>> country_codes(np.array([6281234560000, 33612345678, 999])).tolist()
    [62, 33, 0]
    """
    return _kinds(numbers) % _CODES


def range_text(first: int, last: int) -> str:
    """Write a range for a message: as a pattern if one covers exactly its numbers, else by its ends, masked.

    >>> range_text(6281234560000, 6281234569999), range_text(628123000000, 628125999999)
    ('+628123456####', '+62812[3-5]######')
    >>> range_text(6281234560000, 6281234560008)
    '+628…000-+628…008'
    """
    low, high, wildcards = first, last, ""
    while low % 10 == 0 and high % 10 == 9:
        low, high, wildcards = low // 10, high // 10, wildcards + "#"
    if wildcards and low == high:
        return f"+{low}{wildcards}"
    if wildcards and low // 10 == high // 10:
        return f"+{low // 10}[{low % 10}-{high % 10}]{wildcards}"
    return f"{mask(f'+{first}')}-{mask(f'+{last}')}"


def _kinds(numbers: Int64s) -> Int64s:
    """Digits and country code of each number as one integer; 0 if no country has the code."""
    digits = np.searchsorted(_POWERS_OF_TEN, numbers, "right").astype(np.int64)
    codes = _codes()[numbers // _POWERS_OF_TEN[np.maximum(digits - 3, 0)]]
    return np.where(codes > 0, digits * _CODES + codes, 0)


@lru_cache(maxsize=1)
def _codes() -> Int64s:
    """The country code that numbers begin with, by their first three digits."""
    from blocklist_sdk.numbers import reference  # late, here and below: it loads the numbering plans

    return np.array([reference.country_code_of(str(lead)) or 0 for lead in range(_CODES)], np.int64)


@lru_cache(maxsize=1)
def _borders() -> Int64s:
    """Where numbers of another length, or with another lead of three digits, begin; ascending."""
    leads = np.arange(1, _CODES, dtype=np.int64)
    powers = _POWERS_OF_TEN[: len(_POWERS_OF_TEN) - 3]
    return np.unique(np.concatenate((_POWERS_OF_TEN, (leads[:, None] * powers).ravel())))


class _Plan:
    """The valid national numbers of one length, as an automaton in tables: ranked without being listed."""

    def __init__(self, code: int, length: int) -> None:
        from blocklist_sdk.numbers.numbering_plan import valid_numbers

        self.length = length
        steps, is_final = valid_numbers(code, length).table()
        self._next = np.array(steps, np.int64)
        self._is_final = np.array(is_final, np.int64)
        # How many valid numbers begin with a smaller digit, by how many digits are left, state and digit.
        self._smaller = []
        whole = self._is_final
        for _ in range(length):
            by_digit = whole[self._next]
            self._smaller.append(np.cumsum(by_digit, axis=1) - by_digit)
            whole = by_digit.sum(axis=1)

    def rank(self, national: Int64s) -> tuple[Int64s, Int64s]:
        """How many valid numbers are smaller than each, and whether (0 or 1) it is valid itself."""
        smaller = np.zeros(len(national), np.int64)
        state = np.zeros(len(national), np.int64)
        for left in range(self.length - 1, -1, -1):
            digit = national // _POWERS_OF_TEN[left] % 10
            smaller += self._smaller[left][state, digit]
            state = self._next[state, digit]
        return smaller, self._is_final[state]


_plan = lru_cache(maxsize=256)(_Plan)
