"""After any chain of deltas, a generation with an overlay answers as one that was made from all its rows."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk.errors import Malformed
from blocklist_sdk.recipient.cache import classify
from blocklist_sdk.recipient.cache.folding import write_folded
from blocklist_sdk.recipient.cache.generation import (
    Generation,
)
from blocklist_sdk.recipient.cache.kinds import DAY_MS, UNLISTED
from blocklist_sdk.recipient.changes import Changes
from blocklist_sdk.release import stored, windows
from blocklist_sdk.release.arrow_files import map_table
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.generations import first, follow, no_rules
from support.scale import scaled
from support.strategies import Row, plain_rows, to_plain, to_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCOPES = (None, "sms", "voice", "messaging", "data")
LOW = 6_281_200_000_000


def changed_numbers(opened: Generation) -> int:
    """How many numbers the table of the overlay has."""
    path = opened.directory / "changed-cells.arrow"
    return int(np.count_nonzero(map_table(path).column("cell"))) if path.exists() else 0


def has_overlay(opened: Generation) -> bool:
    return "puts.arrow" in opened.files


def blocked(opened: Generation, number: int, now_ms: int) -> bool:
    """As `in` does: by the kind if that is enough, else by the rows."""
    answer = opened.answers.finder(now_ms // DAY_MS)(number)
    return opened.blocks(number, now_ms) if answer is None else answer


def assert_answers_are_right(opened: Generation, numbers: list[int], moments: list[int]) -> None:
    """Answers of `in` and of screening that do not read the rows are those of the rows."""
    rows = to_plain(opened.rows)
    asked = np.array(numbers, np.int64)
    kinds = opened.answers.kinds_of(asked)
    covering = [[row for row in rows if row.number <= number <= row.last] for number in numbers]
    for now_ms in moments:
        for number, found in zip(numbers, covering, strict=True):
            assert blocked(opened, number, now_ms) == (said(found, now_ms, None)[0] == "block"), number
        for scope in SCOPES:
            verdicts = opened.answers.kind_verdicts(now_ms, scope, opened.categories)
            for kind, found in zip(kinds.tolist(), covering, strict=True):
                if not verdicts.is_undecided[kind]:
                    level, category = verdicts.level[kind], verdicts.category[kind]
                    assert (
                        (None, "block", "advisory")[level + 1],
                        None if category < 0 else opened.categories[category],
                    ) == said(found, now_ms, scope)


def said(rows: list[Row], now_ms: int, scope: str | None) -> tuple[str | None, str | None]:
    """Level and category, from a scan."""
    in_force = [row for row in rows if row.since <= now_ms < row.until]
    in_force = [row for row in in_force if scope is None or scope in row.scope.split("+")]
    blocks = [row for row in in_force if row.level == "block"]
    if not in_force:
        return None, None
    first = min(blocks or in_force, key=lambda row: (row.since, row.entry))
    return ("block" if blocks else "advisory"), first.category


@settings(max_examples=scaled(15, long=100))
@given(st.data())
def test_chains_of_small_lists(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("generations")
    lists = data.draw(st.lists(plain_rows(), min_size=2, max_size=5))
    numbers = sorted(
        {edge + step for rows in lists for r in rows for edge in (r.number, r.last) for step in (-1, 0, 1)}
    )
    published = 0
    opened = first(directory / "0", to_rows(lists[0]), published)
    for i, rows in enumerate(lists[1:], 1):
        published += data.draw(st.integers(0, 4)) * DAY_MS // 2
        opened = follow(directory / str(i), opened, to_rows(rows), published)
        assert has_overlay(opened)
        moments = [published + half_days * DAY_MS // 2 for half_days in (0, 1, 2, 3, 5, 8, 30)]
        assert_answers_are_right(opened, numbers, moments)
        (directory / f"{i}-folded").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows, "WINDOW_ROWS", 2)
            write_folded(directory / f"{i}-folded", opened)
        folded = Generation.open(directory / f"{i}-folded")
        assert (folded.is_whole(), to_plain(folded.rows)) == (True, rows)
        if data.draw(st.booleans()):
            opened = folded
        for number in numbers:
            covering = [row.entry for row in rows if row.number <= number <= row.last]
            assert [entry.entry for entry in opened.covering(number)] == sorted(covering)


def random_list(random: np.random.Generator, entries: np.ndarray, day: int, ranges: int) -> list[Row]:
    """Entries whose rows depend on nothing but the draw; most are in force on that day."""
    found = []
    for i, entry in enumerate(entries.tolist()):
        number = LOW + int(random.integers(0, 6000))
        since = (day + int(random.integers(-20, 3))) * DAY_MS
        span = int(random.choice([9, 99, 999])) if i < ranges else 0
        until = (
            FOREVER_MS if random.random() < 0.3 else since + int(random.integers(1, 90)) * DAY_MS // 3 // 1000 * 1000
        )
        level, scope = random.choice(["block", "block", "advisory"]), random.choice(["sms", "sms+voice", "messaging"])
        category = random.choice(["fraud", "phishing", "spam"])
        found.append(
            Row(number, number + span, entry, str(level), str(category), "x", str(scope), max(0, since), until)
        )
    return found


@pytest.mark.parametrize("ranges", [0, 3], ids=["numbers", "numbers and ranges"])
@pytest.mark.parametrize("seed", range(scaled(1, long=6)))
def test_a_year_of_deltas(tmp_path: Path, seed: int, ranges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most releases write an overlay; after too many changes, a base is made anew."""
    monkeypatch.setattr(stored, "OVERLAY_ROWS_MIN", 0)
    random = np.random.default_rng(seed)
    day = 100
    plain = random_list(random, np.arange(1, 2001), day, ranges * 5)
    opened = first(tmp_path / "0", to_rows(sorted(plain)).sort(), day * DAY_MS)
    made_anew = 0
    for i in range(1, 40):
        day += int(random.integers(0, 18))
        gone = set(random.choice(len(plain), 15, replace=False).tolist())
        plain = [row for at, row in enumerate(plain) if at not in gone]
        plain += random_list(random, np.arange(15) + 10_000 + 100 * i, day, ranges and i % 4 == 0)
        before = opened
        opened = follow(tmp_path / str(i), before, to_rows(plain).sort(), day * DAY_MS)
        made_anew += not has_overlay(opened)
        assert changed_numbers(opened) in (0, *range(changed_numbers(before) + 20, 401))
        if i % 13 == 0:
            numbers = random.choice(np.arange(LOW - 5, LOW + 7000), 1500, replace=False).tolist()
            moments = [day * DAY_MS + hours * 3_600_000 for hours in (0, 30, 24 * 40)]
            assert_answers_are_right(opened, numbers, moments)
    assert 1 < made_anew < 15


def simple(numbers: np.ndarray, *, until: int = FOREVER_MS, category: str = "fraud") -> Rows:
    n = len(numbers)
    block, kind, sms = Texts.repeat("block", n), Texts.repeat(category, n), Texts.repeat("sms", n)
    return Rows(
        numbers, numbers, np.arange(1, n + 1), block, kind, sms, sms, np.zeros(n, np.int64), np.full(n, until, np.int64)
    )


def but(rows: Rows, gone: slice) -> Rows:
    kept = np.ones(len(rows), np.bool_)
    kept[gone] = False
    return rows.take(kept)


def test_a_number_that_is_gone_and_comes_again(tmp_path: Path) -> None:
    whole = simple(LOW + np.arange(1000))
    less = but(whole, slice(500, 503))
    opened = first(tmp_path / "1", whole, 0)
    opened = follow(tmp_path / "2", opened, less, DAY_MS)
    assert has_overlay(opened)
    found = [blocked(opened, number, 2 * DAY_MS) for number in (LOW + np.arange(495, 510)).tolist()]
    assert found == [True] * 5 + [False] * 3 + [True] * 7
    # By its cell, without a look at the rows.
    assert opened.answers.finder(2)(LOW + 501) is False
    assert opened.answers.kinds_of(np.array([LOW + 501])) == [UNLISTED]
    opened = follow(tmp_path / "3", opened, whole, 2 * DAY_MS)
    assert all(blocked(opened, number, 3 * DAY_MS) for number in whole.number.tolist())
    assert opened.layers.base is not None
    assert (tmp_path / "3" / "rows.arrow").samefile(tmp_path / "1" / "rows.arrow")


def test_a_number_that_is_gone_is_as_the_ranges_around_it_say(tmp_path: Path) -> None:
    whole = simple(LOW + np.arange(1000))
    wide = whole.number.copy()
    wide[400] += 200
    whole = whole.with_last(wide)
    opened = first(tmp_path / "1", whole, 0)
    opened = follow(tmp_path / "2", opened, but(whole, slice(500, 503)), DAY_MS)
    assert opened.answers.kinds_of(np.array([LOW + 501])) != [UNLISTED]
    assert opened.answers.finder(2)(LOW + 501) is True
    # And when the range is removed as well, although no entry names the number any more.
    opened = follow(tmp_path / "3", opened, but(but(whole, slice(500, 503)), slice(400, 401)), 2 * DAY_MS)
    assert opened.answers.kinds_of(np.array([LOW + 501])) == [UNLISTED]
    assert opened.answers.finder(3)(LOW + 501) is False
    assert blocked(opened, LOW + 504, 3 * DAY_MS)
    # And when it comes back.
    opened = follow(tmp_path / "4", opened, but(whole, slice(500, 503)), 4 * DAY_MS)
    assert opened.answers.finder(5)(LOW + 501) is True


def test_the_first_range_reaches_numbers_that_are_gone(tmp_path: Path) -> None:
    whole = simple(LOW + np.arange(1000))
    less = but(whole, slice(500, 503))
    opened = follow(tmp_path / "2", first(tmp_path / "1", whole, 0), less, DAY_MS)
    assert opened.answers.finder(2)(LOW + 501) is False
    wide = less.number.copy()
    wide[400] += 200
    opened = follow(tmp_path / "3", opened, less.with_last(wide), 2 * DAY_MS)
    assert has_overlay(opened)
    assert_answers_are_right(opened, (LOW + np.arange(390, 610)).tolist(), [2 * DAY_MS, 9 * DAY_MS])


@pytest.mark.parametrize(
    ("rows", "published_ms", "is_base"),
    [
        pytest.param(simple(LOW + np.arange(0, 2000, 2)), 2 * DAY_MS, True, id="much has changed"),
        pytest.param(
            but(simple(LOW + np.arange(1000)), slice(5)), DAY_MS - 1000, True, id="published before the one before"
        ),
        pytest.param(simple(LOW + np.arange(1000), category="spam"), 2 * DAY_MS, True, id="all has changed"),
        pytest.param(
            simple(LOW + np.arange(1000)).with_last(LOW + np.arange(1000) + (np.arange(1000) == 7)),
            2 * DAY_MS,
            False,
            id="the first range",
        ),
        pytest.param(simple(LOW + np.arange(1000)), 2 * DAY_MS, False, id="nothing has changed"),
        pytest.param(Rows.empty(), 2 * DAY_MS, True, id="empty"),
    ],
)
def test_reasons_to_write_a_base(
    tmp_path: Path, rows: Rows, published_ms: int, is_base: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "OVERLAY_ROWS_MIN", 0)
    opened = first(tmp_path / "1", simple(LOW + np.arange(1000)), DAY_MS)
    opened = follow(tmp_path / "2", opened, rows, published_ms)
    assert has_overlay(opened) is not is_base
    numbers = list(range(LOW - 3, LOW + 2003))
    assert_answers_are_right(opened, numbers, [published_ms, published_ms + 10 * DAY_MS])


def test_an_empty_list_may_become_one_of_overlays(tmp_path: Path) -> None:
    rows = simple(LOW + np.arange(100))
    opened = follow(tmp_path / "2", first(tmp_path / "1", Rows.empty(), 0), rows, DAY_MS)
    assert has_overlay(opened)
    assert_answers_are_right(opened, list(range(LOW - 3, LOW + 103)), [DAY_MS])
    opened = follow(tmp_path / "3", opened, Rows.empty(), 2 * DAY_MS)
    assert_answers_are_right(opened, list(range(LOW - 3, LOW + 103)), [2 * DAY_MS])


@pytest.mark.parametrize("spare", [0, 5, 1000])
def test_numbers_whose_kinds_have_no_room_are_looked_up_in_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    """Eight thousand kinds are full; a delta with more of them is an overlay all the same."""
    monkeypatch.setattr(classify, "_SPARE", spare)
    n = 20_000
    rows = simple(LOW + np.arange(n))
    day = np.arange(n) % 4090
    level = Texts.encode(np.arange(n) // 4090 % 2, ("block", "advisory"))
    full = Rows(
        **{name: getattr(rows, name) for name in ("number", "last", "entry", "category", "issuer", "scope", "since")},
        level=level,
        until=(day + 2) * DAY_MS,
    )
    full = full.with_last(full.number)
    opened = first(tmp_path / "1", full, DAY_MS)
    until = full.until.copy()
    until[:20] += 1000
    more = Rows(**{name: getattr(full, name) for name in Rows.__dataclass_fields__ if name != "until"}, until=until)
    opened = follow(tmp_path / "2", opened, more, 2 * DAY_MS)
    assert has_overlay(opened)
    assert_answers_are_right(opened, full.number[:100].tolist(), [2 * DAY_MS, 9 * DAY_MS])


BASE = ["rows.arrow", "nodes.arrow", "texts.arrow", "cells.arrow", "kinds.arrow", "segments.arrow", "ranges.arrow"]
OVERLAY = [
    *("puts.arrow", "dropped.arrow", "changed-nodes.arrow", "changed-texts.arrow"),
    *("changed-cells.arrow", "changed-kinds.arrow", "changed-segments.arrow", "changed-ranges.arrow"),
]


def ranged(count: int) -> Rows:
    number = LOW + np.arange(count) * 10
    return simple(number).with_last(number + 5 * (np.arange(count) % 2))


@pytest.mark.parametrize("name", BASE + OVERLAY)
def test_a_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    """In every file of a base and of an overlay; none of them lies between the ends that opening compares."""
    whole = ranged(20_000)
    opened = first(tmp_path / "1", whole.take(np.arange(16_000)), 0)
    opened = follow(tmp_path / "2", opened, whole.take(np.arange(1_000, 20_000)), DAY_MS)
    assert {*opened.files} == {*BASE, *OVERLAY}
    path = tmp_path / "2" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    try:
        damaged = Generation.open(tmp_path / "2")
    except Malformed:
        return
    assert not damaged.is_whole()
    whole_pieces = [damaged.is_piece_whole(at) for at in range(damaged.pieces())]
    assert 1 <= whole_pieces.count(False) <= 3


def test_damage_never_passes_for_a_change(tmp_path: Path) -> None:
    whole = simple(LOW + np.arange(100_000) * 3)
    before = first(tmp_path / "1", whole, 0)
    opened = follow(tmp_path / "2", before, but(whole, slice(50_000, 50_010)), DAY_MS)
    rows = tmp_path / "2" / "rows.arrow"
    data = rows.read_bytes()
    at = data.index(whole.number[50_004:50_008].tobytes())
    with rows.open("r+b") as file:
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))
    assert not opened.is_base_whole_beside(whole.number[50_000:50_010])
    with pytest.raises(Malformed, match="is damaged: run a sync"):
        Changes(before, opened, no_rules)
