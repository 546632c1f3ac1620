"""The table of numbers stays quick whatever numbers a publisher picks; if it cannot, the rows answer."""

from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.numbers.e164 import LARGEST
from blocklist_sdk.recipient.cache import cells as cells_module
from blocklist_sdk.recipient.cache.cells import (
    _BLOCK,
    _DRAWS,
    _MULTIPLIERS,
    Homes,
    _prime_from,
    cells_to_write,
    fill_cells,
    find_kinds,
    kind_finder,
)
from blocklist_sdk.recipient.cache.kinds import UNDECIDED
from blocklist_sdk.recipient.cache.lookup import ANSWER_FILES, CELLS, NumberLookup, write_answers
from blocklist_sdk.release.arrow_files import map_table
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows, Texts

LOW = 6_281_200_000_000
RUN_MAX = 2 * _BLOCK - 2
KIND, UNLISTED = 7, 1


def longest_run(cells: Int64s) -> int:
    """The most full cells in a row."""
    empty = np.concatenate(([-1], np.flatnonzero(cells == 0)))
    return int(np.diff(empty).max()) - 1


def table_of(numbers: Int64s, draw: Callable[[int], Homes] = Homes.drawn_for) -> tuple[Int64s, Homes]:
    found = fill_cells(numbers, np.full(len(numbers), KIND, np.uint16), draw=draw)
    assert found is not None
    return found


def primes(start: int, stop: int) -> list[int]:
    sieve = np.ones(stop, np.bool_)
    sieve[:2] = False
    for divisor in range(2, int(stop**0.5) + 1):
        sieve[divisor * divisor :: divisor] = False
    return [prime for prime in np.flatnonzero(sieve).tolist() if prime >= start]


def multiples(of: int, count: int) -> Int64s:
    """Numbers that are multiples, spread over all of up to 15 digits."""
    most = LARGEST // of
    return np.arange(1, most + 1, max(1, most // count))[:count] * of


def filled_up(numbers: Int64s, count: int) -> Int64s:
    """So many numbers: those, and anybody's."""
    others = np.setdiff1d(LOW + np.random.default_rng(5).permutation(count * 100)[: 2 * count], numbers)
    return np.sort(np.concatenate((numbers, np.random.default_rng(6).permutation(others)[: count - len(numbers)])))


def flood(count: int) -> Int64s:
    """As many groups of multiples as there is room for, each for two of the primes that a table may have."""
    candidates = primes(2 * count, 2 * count + count // 4)
    groups = zip(candidates[::2], candidates[1::2], strict=False)
    found = [multiples(one * other, 2 * _BLOCK) for one, other in groups][: count // (2 * _BLOCK)]
    return filled_up(np.unique(np.concatenate(found)), count)


def assert_answers(cells: Int64s, homes: Homes, numbers: Int64s) -> None:
    """All numbers are found, their neighbours are not, one by one and as columns."""
    listed = set(numbers.tolist())
    find = kind_finder(cells.data, homes, [n == KIND for n in range(1 << 13)], None, unlisted=False)
    some = numbers[:: max(1, len(numbers) // 2000)]
    for number in chain(some.tolist(), (some + 1).tolist()):
        # Fewer digits than any number has: no answer, instead of False.
        assert bool(find(number)) is (number in listed), number
    asked = np.concatenate((numbers, numbers + 1))
    expected = np.where(np.isin(asked, numbers), KIND, UNLISTED)
    assert np.array_equal(find_kinds(cells, homes, asked, unlisted=UNLISTED), expected)


@given(st.integers(0, LARGEST), st.integers(3, 1 << 31), st.sampled_from(_MULTIPLIERS), st.integers(0, (1 << 50) - 1))
def test_numpy_and_python_agree_on_homes(number: int, prime: int, multiplier: int, mask: int) -> None:
    """Up to the largest product, which has 63 bits."""
    homes = Homes(prime, multiplier, mask)
    assert homes.of(np.array([number])).tolist() == [(number ^ mask) * multiplier % prime]


def test_homes_are_drawn_anew() -> None:
    drawn = {Homes.drawn_for(10_000) for _ in range(20)}
    assert len(drawn) == 20
    assert len({homes.prime for homes in drawn}) > 5
    for homes in drawn:
        assert homes.are_secret
        assert 20_000 <= homes.prime < 23_000
        assert all(homes.prime % divisor for divisor in range(2, 200))
    assert Homes.drawn_for(0).prime >= 3


@pytest.mark.parametrize("count", [700, 30_000, 100_000])
def test_who_floods_all_primes_that_he_can_floods_nothing(count: int) -> None:
    """He knows how homes are drawn, but not what was drawn: a fifth of all primes would divide his numbers."""
    numbers = flood(count)
    assert len(numbers) == count
    flooded = [longest_of(numbers, Homes(prime)) > RUN_MAX for prime in primes(2 * count, 2 * count + count // 4)[:9]]
    assert flooded.count(True) >= 2, "without a mask it is an attack"
    homes_tried: list[Homes] = []

    def draw(count: int) -> Homes:
        homes_tried.append(Homes.drawn_for(count))
        return homes_tried[-1]

    cells, homes = table_of(numbers, draw)
    assert len(homes_tried) == 1
    assert longest_run(cells) < 150
    assert_answers(cells, homes, numbers)


def longest_of(numbers: Int64s, homes: Homes) -> int:
    """The most numbers that share a home."""
    return int(np.bincount(homes.of(numbers)).max())


@pytest.mark.parametrize("step", [1, 2, 7, 10_000, 2**20], ids=str)
def test_numbers_at_equal_distances(step: int) -> None:
    """As in a block that was listed number by number. Nor do unlisted numbers meet a long run."""
    numbers = LOW + np.arange(100_000) * step
    cells, homes = table_of(numbers)
    assert longest_run(cells) <= RUN_MAX
    assert_answers(cells, homes, numbers)


def known_homes(count: int) -> Homes:
    """The homes that the publisher knows."""
    return Homes(_prime_from(2 * count), _MULTIPLIERS[1], 0)


def crafted(count: int) -> Int64s:
    """A third of the numbers share one home, for a publisher who knows all secrets; the others are anybody's."""
    return filled_up(multiples(known_homes(count).prime, count // 3), count)


def test_a_draw_that_makes_a_long_run_is_not_taken() -> None:
    numbers = crafted(30_000)
    draws = chain([known_homes(30_000)] * 3, repeat(None))
    cells, homes = table_of(numbers, lambda count: next(draws) or Homes.drawn_for(count))
    assert homes != known_homes(30_000)
    assert longest_run(cells) <= RUN_MAX
    assert_answers(cells, homes, numbers)


def test_a_run_that_many_short_ways_make_is_long_all_the_same() -> None:
    """Each number is at home in its cell, and so is the next: an unlisted one would go through all."""
    homes = Homes(_prime_from(10_000), 1, 0)
    numbers = np.arange(1, 600) + homes.prime * 10**6
    assert longest_of(numbers, homes) == 1
    assert fill_cells(numbers, np.full(len(numbers), KIND, np.uint16), draw=lambda _: homes) is None


def rows_of(numbers: Int64s, last: Int64s | None = None) -> Rows:
    n = len(numbers)
    zero = np.zeros(n, np.int64)
    block, fraud, sms = (Texts.repeat(text, n) for text in ("block", "fraud", "sms"))
    rows = Rows(numbers, numbers, np.arange(1, n + 1), block, fraud, fraud, sms, zero, zero + FOREVER_MS)
    return rows if last is None else rows.with_last(last)


def answer_tables(rows: Rows) -> dict[str, pa.Table]:
    """The tables of a list's answers, mapped."""
    with TemporaryDirectory() as directory:
        write_answers(Path(directory), rows, published_ms=0)
        return {name: map_table(Path(directory) / name) for name in ANSWER_FILES}


@pytest.mark.parametrize("with_ranges", [False, True], ids=["numbers", "numbers and a range"])
def test_when_no_draw_will_do_the_rows_answer(monkeypatch: pytest.MonkeyPatch, with_ranges: bool) -> None:
    """Which takes a search in order, and is never wrong."""
    drawn: list[int] = []
    numbers = crafted(3_000)

    def draw(count: int) -> Homes:
        drawn.append(count)
        return known_homes(count)

    monkeypatch.setattr(Homes, "drawn_for", draw)
    last = numbers.copy()
    last[-1] += 5 * with_ranges
    rows = rows_of(numbers, last)
    tables = answer_tables(rows)
    assert len(drawn) == _DRAWS
    lookup = NumberLookup(tables, published_ms=0)
    find = lookup.finder(1)
    asked = np.concatenate((numbers, numbers + 1))
    assert {find(number) for number in asked.tolist()} == {None}
    assert (lookup.kinds_of(asked) == UNDECIDED).all()
    assert find(-1) is find(10**20) is None
    assert next_overlay(lookup, rows) is None
    # The next list is another one, and gets a table again.
    monkeypatch.undo()
    again = NumberLookup(answer_tables(rows), published_ms=0).finder(1)
    assert all(again(number) for number in numbers.tolist())


def next_overlay(lookup: NumberLookup, rows: Rows) -> dict[str, pa.Table] | None:
    """The answers of an overlay of the next release, in which nothing is new; None if a base is written."""
    layers, none = LayeredRows.of(rows), Difference.none()
    return lookup.changed_tables(layers, none, published_ms=1, from_ms=1, numbers_max=1000)


def test_a_patch_that_would_make_a_long_run_is_none() -> None:
    """The publisher lists a few more numbers that fill the gaps between the runs that he knows."""
    homes = Homes(_prime_from(40_000), 1, 0)
    base = homes.prime * 10**6
    numbers = base + np.arange(1, 700, 2)
    cells, _ = table_of(numbers, lambda _: homes)
    assert longest_run(cells) == 1
    few, gaps = base + np.arange(2, 200, 2), base + np.arange(2, 700, 2)
    kinds = np.full(len(gaps), KIND, np.uint16)
    written = cells_to_write(cells, homes, few, kinds[: len(few)])
    assert written is not None
    at, what = written
    patched = cells.copy()
    patched[at] = what
    assert longest_run(patched) == 199
    assert cells_to_write(cells, homes, gaps, kinds) is None


def old_tables(numbers: Int64s) -> tuple[Rows, dict[str, pa.Table]]:
    """The tables as they were written before homes were secret."""
    rows = rows_of(numbers)
    tables = answer_tables(rows)
    lookup = NumberLookup(tables, published_ms=0)
    homes = Homes(_prime_from(2 * len(numbers)))
    found = fill_cells(numbers, lookup.kinds_of(numbers), draw=lambda _: homes)
    assert found is not None
    about = {b"modulus": str(homes.prime)}
    return rows, {**tables, CELLS: pa.table({"cell": found[0]}).replace_schema_metadata(about)}


def test_a_table_of_before_answers_until_the_next_release() -> None:
    numbers = LOW + np.arange(0, 200_000, 199)
    rows, tables = old_tables(numbers)
    lookup = NumberLookup(tables, published_ms=0)
    find = lookup.finder(1)
    assert all(find(number) for number in numbers.tolist())
    assert not any(find(number + 1) for number in numbers.tolist())
    assert next_overlay(lookup, rows) is None


@pytest.mark.parametrize("about", [{}, {b"modulus": "0"}, {b"modulus": "-3"}, {b"modulus": "9999"}, {b"modulus": "x"}])
def test_a_table_that_says_nonsense_about_itself_is_damaged(about: dict[bytes, str]) -> None:
    _, tables = old_tables(LOW + np.arange(0, 2_000, 19))
    tables[CELLS] = tables[CELLS].replace_schema_metadata(about)
    with pytest.raises((KeyError, ValueError, TypeError)):
        NumberLookup(tables, published_ms=0)


def test_two_generations_of_one_release_have_their_own_secrets() -> None:
    rows = rows_of(LOW + np.arange(0, 2_000, 19))
    one, other = (answer_tables(rows)[CELLS].schema.metadata for _ in range(2))
    assert one[b"mask"] != other[b"mask"]


@given(
    numbers=st.sets(st.integers(1, 10**15 - 1), max_size=400).map(lambda found: np.array(sorted(found), np.int64)),
    numbers_at_a_time=st.integers(1, 50),
)
def test_a_table_made_in_parts_finds_every_number(
    tmp_path_factory: pytest.TempPathFactory, numbers: Int64s, numbers_at_a_time: int
) -> None:
    """In memory and in a file; also those that found no cell in their part of it."""
    kinds = (np.arange(len(numbers)) % 8_000).astype(np.uint16)
    path = tmp_path_factory.mktemp("cells") / "cells.arrow"
    drawn: list[Homes] = []

    def about(homes: Homes) -> dict[bytes, str]:
        drawn.append(homes)
        return {b"prime": str(homes.prime)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells_module, "_CELLS_PER_PART", _BLOCK)
        patch.setattr(cells_module, "_NUMBERS_AT_A_TIME", numbers_at_a_time)
        tables = [fill_cells(numbers, kinds)]
        assert cells_module.write_cells(path, numbers, kinds, about=about)
    kept = map_table(path)
    assert kept.schema.metadata[b"prime"] == str(drawn[0].prime).encode()
    tables.append((kept.column("cell").chunk(0).to_numpy(zero_copy_only=True), drawn[0]))
    for table in tables:
        assert table is not None
        cells, homes = table
        assert len(cells) == cells_module.cells_of(homes)
        assert np.count_nonzero(cells) == len(numbers)
        assert find_kinds(cells, homes, numbers, unlisted=8_001).tolist() == kinds.tolist()
        others = np.setdiff1d(numbers + 1, numbers)
        assert (find_kinds(cells, homes, others, unlisted=8_001) == 8_001).all()
