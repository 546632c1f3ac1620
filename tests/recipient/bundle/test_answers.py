"""A bundle answers what its list answers, and its table is never believed where it says something else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import Untrusted
from blocklist_sdk.recipient.bundle import contents
from blocklist_sdk.recipient.bundle.container import ArchiveWriter
from blocklist_sdk.recipient.bundle.reading import BundledRelease, BundleFile
from blocklist_sdk.recipient.bundle.writing import write_list
from blocklist_sdk.recipient.cache import cells
from blocklist_sdk.recipient.cache.cells import Homes, fill_cells, holds_exactly
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.kinds import DAY_MS
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.records import Scope
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.rows import FOREVER_MS, Int64s
from support.bundles import contents_of, doctored
from support.generations import edges_of, first, follow, screening
from support.strategies import Row, plain_rows, to_plain, to_rows

SCOPES: tuple[Scope | None, ...] = (None, "sms", "voice", "messaging")
MOMENTS = [day * DAY_MS for day in (1, 2, 3, 9)]


def bundled(path: Path, generation: Generation) -> Path:
    """The members about the rows of a list, without what proves it."""
    path.touch()
    with ArchiveWriter(path) as archive:
        archive.add(contents.ABOUT, contents.about_document(generation.about.feed))
        write_list(archive, generation)
        archive.finish()
    return path


def opened(path: Path, generation: Generation) -> BundledRelease:
    file = BundleFile(path)
    file.check_sums()
    rows, texts = file.rows(generation.about.rows)
    assert digest(rows) == digest(generation.rows)
    return BundledRelease(file, generation.about, rows, texts, file.answers(rows, generation._published_ms))


def all_answers(release: ReleaseAnswers, numbers: list[int]) -> list[object]:
    """What look-ups and screenings find."""
    found: list[object] = [release.categories, release.scope_entries, to_plain(release.rows)]
    found += [release.covering(number) for number in numbers]
    for now_ms in MOMENTS:
        find = release.answers.finder(now_ms // DAY_MS)
        for number in numbers:
            answer = find(number) if now_ms >= release.answers.from_ms else None
            found.append(release.blocks(number, now_ms) if answer is None else answer)
        for scope in SCOPES:
            found.append(screening(release, now_ms, scope).table(pa.array(numbers, pa.int64())).to_pylist())
    return found


@given(plain_rows(), st.integers(0, 4))
def test_of_any_list(tmp_path_factory: pytest.TempPathFactory, plain: list[Row], published: int) -> None:
    folder = tmp_path_factory.mktemp("list")
    generation = first(folder / "1", to_rows(plain), published * DAY_MS)
    bundle = opened(bundled(folder / "bundle", generation), generation)
    numbers = edges_of(plain)
    assert all_answers(bundle, numbers) == all_answers(generation, numbers)


@given(st.lists(plain_rows(max_size=12), min_size=2, max_size=3))
def test_of_any_list_with_an_overlay(tmp_path_factory: pytest.TempPathFactory, chain: list[list[Row]]) -> None:
    folder = tmp_path_factory.mktemp("chain")
    generation = first(folder / "1", to_rows(chain[0]), DAY_MS)
    for i, plain in enumerate(chain[1:], start=2):
        generation = follow(folder / str(i), generation, to_rows(plain), DAY_MS)
    bundle = opened(bundled(folder / "bundle", generation), generation)
    numbers = edges_of([row for plain in chain for row in plain])
    assert all_answers(bundle, numbers) == all_answers(generation, numbers)


def singles(count: int) -> list[Row]:
    number = 6281200000000
    return [Row(number + i, number + i, i, "block", "fraud", "a", "sms", 0, FOREVER_MS) for i in range(1, count + 1)]


def test_where_no_table_could_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens it tries again, and else reads the rows."""
    plain = singles(8)
    generation = first(tmp_path / "1", to_rows(plain), DAY_MS)
    whole = opened(bundled(tmp_path / "whole", generation), generation)
    monkeypatch.setattr(cells, "_DRAWS", 0)
    path = bundled(tmp_path / "bundle", generation)
    assert contents.CELLS not in contents_of(path)
    numbers = edges_of(plain)
    without = opened(path, generation)
    monkeypatch.undo()
    assert (
        all_answers(without, numbers) == all_answers(opened(path, generation), numbers) == all_answers(whole, numbers)
    )


Change = Callable[[Int64s], None]


def _forget(table: Int64s) -> None:
    table[np.flatnonzero(table)[0]] = 0


def _block_another(table: Int64s) -> None:
    table[np.flatnonzero(table[:-1] == 0)[0]] = 6281299999999 << cells.KIND_BITS | 2


def _swap_one(table: Int64s) -> None:
    _forget(table)
    _block_another(table)


def _other_kind(table: Int64s) -> None:
    table[np.flatnonzero(table)[0]] ^= 1


def _no_end(table: Int64s) -> None:
    table[-1] = table[table != 0][0]


def _full(table: Int64s) -> None:
    table[table == 0] = table[table != 0][0]


def _negative(table: Int64s) -> None:
    table[np.flatnonzero(table)[0]] *= -1


@pytest.mark.parametrize("change", [_forget, _block_another, _swap_one, _other_kind, _no_end, _full, _negative])
def test_a_doctored_table_is_refused(tmp_path: Path, change: Change) -> None:
    plain = [
        Row(6281200000000 + i, 6281200000000 + i, i, "block", "fraud", "a", "sms", 0, FOREVER_MS) for i in range(1, 99)
    ]
    generation = first(tmp_path / "1", to_rows(plain), DAY_MS)
    path = bundled(tmp_path / "bundle", generation)
    table = np.frombuffer(contents_of(path)[contents.CELLS], np.int64).copy()
    change(table)
    other = doctored(path, tmp_path / "doctored", {contents.CELLS: table.tobytes()})
    with pytest.raises(Untrusted, match="other answers"):
        opened(other, generation)


NUMBERS = np.arange(6281200000001, 6281200000400, dtype=np.int64)
KINDS = np.full(len(NUMBERS), 3, np.uint16)


def made() -> tuple[Int64s, Homes]:
    filled = fill_cells(NUMBERS, KINDS)
    assert filled is not None
    table, homes = filled
    return table, homes


def test_a_table_holds_what_was_put_into_it() -> None:
    table, homes = made()
    assert holds_exactly(table, homes, NUMBERS, KINDS)
    assert not holds_exactly(table, homes, NUMBERS[1:], KINDS[1:])
    assert not holds_exactly(table, homes, NUMBERS, KINDS + np.uint16(1))
    none = fill_cells(NUMBERS[:0], KINDS[:0])
    assert none is not None
    assert holds_exactly(*none, NUMBERS[:0], KINDS[:0])


@pytest.mark.parametrize(
    "homes",
    [
        Homes(0, 5000, 1),
        Homes(-7, 5000, 1),
        Homes(10**9, 5000, 1),
        Homes(809, 1, 1),
        Homes(809, 10**12, 1),
        Homes(809, 5000, -1),
        Homes(809, 5000, 1 << 60),
    ],
)
def test_homes_that_nobody_draws_are_refused(homes: Homes) -> None:
    table, _ = made()
    assert not holds_exactly(table, homes, NUMBERS, KINDS)


def test_a_table_that_is_slow_is_refused() -> None:
    """Whoever picks the homes can put all numbers into one run."""
    homes = Homes(2_003, 4_097, 0)
    table = np.zeros(cells.cells_of(homes), np.int64)
    numbers = np.array([2_003 * (10**9 + i) for i in range(400)], np.int64)
    start = int(homes.of(numbers[:1])[0])
    table[start : start + 400] = (numbers << cells.KIND_BITS) | 3
    assert (homes.of(numbers) == start).all()
    assert not holds_exactly(table, homes, numbers, KINDS[:1].repeat(400))
