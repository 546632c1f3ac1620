"""Look-ups on a generation answer what a scan over all rows would."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.cache.generation import About, Generation, write_generation
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from strategies import DAY_MS, Row, plain_rows, to_rows

ABOUT = {"feed": "id-all", "serial": 1, "digest": "0" * 64, "published_at": datetime(2026, 1, 1, tzinfo=UTC)}


def generation(directory: Path, rows: Rows) -> Generation:
    write_generation(directory, rows, About(rows=len(rows), **ABOUT))  # type: ignore[arg-type]
    return Generation.open(directory)


def covers(row: Row, number: int) -> bool:
    return row.number <= number <= row.last


def blocks(row: Row, number: int, now: int) -> bool:
    return covers(row, number) and row.level == "block" and row.since <= now < row.until


@given(plain_rows(), st.data())
def test_small_lists(tmp_path_factory: pytest.TempPathFactory, plain: list[Row], data: st.DataObject) -> None:
    opened = generation(tmp_path_factory.mktemp("generation"), to_rows(plain))
    edges = sorted({edge + step for row in plain for edge in (row.number, row.last) for step in (-1, 0, 1)} | {1})
    for number in edges:
        now = data.draw(st.integers(0, 8)) * DAY_MS
        assert opened.blocks(number, now) == any(blocks(row, number, now) for row in plain)
        found = [(entry.number, entry.entry) for entry in opened.covering(number)]
        assert found == sorted(((r.number, r.entry) for r in plain if covers(r, number)), key=lambda pair: pair[1])


@pytest.mark.parametrize("ranges", [False, True], ids=["numbers", "numbers and ranges"])
def test_a_large_list(tmp_path: Path, ranges: bool) -> None:
    """Half a million questions over dense, sparse and far-apart numbers, against numpy's own answers."""
    random = np.random.default_rng(7)
    areas = [
        random.integers(6_281_200_000_000, 6_281_200_200_000, 60_000),
        random.integers(62_811_000_000, 62_811_999_999, 20_000),
        random.integers(12_000_000_000, 19_999_999_999, 20_000),
        np.array([7_000_000, 999_999_999_999_999]),
        np.repeat(np.int64(6_281_200_000_777), 50),
    ]
    number = np.sort(np.concatenate(areas))
    n = len(number)
    last = number.copy()
    if ranges:
        at = random.choice(n, 300, replace=False)
        last[at] += random.choice([9, 999, 99_999, 9_999_999], 300)
    since = random.integers(0, 10, n) * DAY_MS
    until = np.where(random.random(n) < 0.5, FOREVER_MS, since + random.integers(1, 10, n) * DAY_MS)
    level = random.integers(0, 2, n)
    texts = Texts.repeat("x", n)
    entry = np.arange(1, n + 1)
    encoded = Texts.encode(level, ("block", "advisory"))
    rows = Rows(number, number, entry, encoded, texts, texts, texts, since, until).with_last(last)
    opened = generation(tmp_path, rows.sort())

    questions = np.concatenate([random.choice(number, 30_000), random.choice(number, 30_000) + 1, number[-2:] - 1])
    now = 5 * DAY_MS
    in_force = (level == 0) & (since <= now) & (now < until)
    exact = set(number[in_force].tolist())
    wide = np.flatnonzero(in_force & (last > number))
    for question in questions.tolist():
        expected = question in exact or bool(((number[wide] <= question) & (question <= last[wide])).any())
        assert opened.blocks(question, now) == expected, question
    for question in questions[::300].tolist():
        covering = entry[(number <= question) & (question <= last)].tolist()
        assert [found.entry for found in opened.covering(question)] == covering


def test_an_empty_list(tmp_path: Path) -> None:
    opened = generation(tmp_path, Rows.empty())
    assert not opened.blocks(6_281_234_567_890, 0)
    assert opened.covering(6_281_234_567_890) == []
