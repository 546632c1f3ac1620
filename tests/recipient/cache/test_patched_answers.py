"""After any chain of deltas, a generation that was patched answers as one that was made from all its rows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocklist_sdk.recipient.cache import lookup as answers_module
from blocklist_sdk.recipient.cache.generation import About, DeltaStep, Generation, write_generation
from blocklist_sdk.recipient.cache.kinds import DAY_MS, UNDECIDED, UNLISTED
from blocklist_sdk.recipient.cache.lookup import NumberLookup, Touched, answer_tables
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.layers import apply
from blocklist_sdk.release.merge import delta_between
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.scale import scaled
from support.strategies import Row, plain_rows, to_plain, to_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCOPES = (None, "sms", "voice", "messaging", "data")
LOW = 6_281_200_000_000


def write(directory: Path, serial: int, rows: Rows, published_ms: int, step: DeltaStep | None = None) -> Generation:
    directory.mkdir()
    about = About("id-all", serial, digest(rows), len(rows), EPOCH + timedelta(milliseconds=published_ms))
    write_generation(directory, rows, about, step=step)
    return Generation.open(directory)


def follow(directory: Path, before: Generation, rows: Rows, published_ms: int) -> Generation:
    """The next generation, as a sync of the delta makes it."""
    delta = delta_between(before.rows, rows)
    new, _ = apply(before.rows, delta)
    parts = (delta.puts, delta.removes)
    touched = Touched(np.concatenate([p.number for p in parts]), np.concatenate([p.last for p in parts]))
    return write(directory, before.about.serial + 1, new, published_ms, DeltaStep(before, touched))


def patches(opened: Generation) -> int:
    return opened.answers._patched


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
            verdicts = opened.answers.kind_verdicts(now_ms, scope, opened.rows.category.values)
            for kind, found in zip(kinds.tolist(), covering, strict=True):
                if not verdicts.is_undecided[kind]:
                    level, category = verdicts.level[kind], verdicts.category[kind]
                    assert (
                        (None, "block", "advisory")[level + 1],
                        None if category < 0 else opened.rows.category.values[category],
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


@settings(max_examples=scaled(40, long=100))
@given(st.data())
def test_chains_of_small_lists(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers_module, "_PATCHED_MAX", 1000)
        directory = tmp_path_factory.mktemp("generations")
        lists = data.draw(st.lists(plain_rows(), min_size=2, max_size=5))
        numbers = sorted(
            {edge + step for rows in lists for r in rows for edge in (r.number, r.last) for step in (-1, 0, 1)}
        )
        published = 0
        opened = write(directory / "0", 1, to_rows(lists[0]), published)
        for i, rows in enumerate(lists[1:], 1):
            published += data.draw(st.integers(0, 4)) * DAY_MS // 2
            opened = follow(directory / str(i), opened, to_rows(rows), published)
            moments = [published + half_days * DAY_MS // 2 for half_days in (0, 1, 2, 3, 5, 8, 30)]
            assert_answers_are_right(opened, numbers, moments)


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
@pytest.mark.parametrize("seed", range(3))
def test_a_year_of_deltas(tmp_path: Path, seed: int, ranges: int) -> None:
    """Most releases are patched; after too many changes, the table is made again."""
    random = np.random.default_rng(seed)
    day = 100
    plain = random_list(random, np.arange(1, 2001), day, ranges * 5)
    opened = write(tmp_path / "0", 1, to_rows(sorted(plain)).sort(), day * DAY_MS)
    made_anew = 0
    for i in range(1, 40):
        day += int(random.integers(0, 18))
        gone = set(random.choice(len(plain), 15, replace=False).tolist())
        plain = [row for at, row in enumerate(plain) if at not in gone]
        plain += random_list(random, np.arange(15) + 10_000 + 100 * i, day, ranges and i % 4 == 0)
        before = opened
        opened = follow(tmp_path / str(i), before, to_rows(plain).sort(), day * DAY_MS)
        made_anew += patches(opened) == 0
        assert patches(opened) in (0, *range(patches(before) + 30, 201))
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
    opened = write(tmp_path / "1", 1, whole, 0)
    size = len(opened.answers._cells)
    opened = follow(tmp_path / "2", opened, less, DAY_MS)
    assert patches(opened) > 0
    found = [blocked(opened, number, 2 * DAY_MS) for number in (LOW + np.arange(495, 510)).tolist()]
    assert found == [True] * 5 + [False] * 3 + [True] * 7
    # By its cell, without a look at the rows.
    assert opened.answers.finder(2)(LOW + 501) is False
    assert opened.answers.kinds_of(np.array([LOW + 501])) == [UNLISTED]
    opened = follow(tmp_path / "3", opened, whole, 2 * DAY_MS)
    assert all(blocked(opened, number, 3 * DAY_MS) for number in whole.number.tolist())
    assert len(opened.answers._cells) == size


def test_under_a_range_the_rows_tell_of_a_number_that_is_gone(tmp_path: Path) -> None:
    whole = simple(LOW + np.arange(1000))
    wide = whole.number.copy()
    wide[400] += 200
    whole = whole.with_last(wide)
    opened = write(tmp_path / "1", 1, whole, 0)
    opened = follow(tmp_path / "2", opened, but(whole, slice(500, 503)), DAY_MS)
    assert opened.answers.kinds_of(np.array([LOW + 501])) == [UNDECIDED]
    assert blocked(opened, LOW + 501, 2 * DAY_MS)
    # And when the range is removed as well, although no entry names the number any more.
    opened = follow(tmp_path / "3", opened, but(but(whole, slice(500, 503)), slice(400, 401)), 2 * DAY_MS)
    assert not blocked(opened, LOW + 501, 3 * DAY_MS)
    assert blocked(opened, LOW + 504, 3 * DAY_MS)


@pytest.mark.parametrize(
    ("rows", "published_ms"),
    [
        pytest.param(simple(LOW + np.arange(0, 2000, 2)), 2 * DAY_MS, id="much has changed"),
        pytest.param(but(simple(LOW + np.arange(1000)), slice(5)), DAY_MS - 1000, id="published before the one before"),
        pytest.param(simple(LOW + np.arange(1000), category="spam"), 2 * DAY_MS, id="a category is gone"),
        pytest.param(
            simple(LOW + np.arange(1000)).with_last(LOW + np.arange(1000) + (np.arange(1000) == 7)),
            2 * DAY_MS,
            id="the first range",
        ),
        pytest.param(Rows.empty(), 2 * DAY_MS, id="empty"),
    ],
)
def test_reasons_to_make_the_table_again(tmp_path: Path, rows: Rows, published_ms: int) -> None:
    opened = write(tmp_path / "1", 1, simple(LOW + np.arange(1000)), DAY_MS)
    opened = follow(tmp_path / "2", opened, rows, published_ms)
    assert patches(opened) == 0
    numbers = list(range(LOW - 3, LOW + 2003))
    assert_answers_are_right(opened, numbers, [published_ms, published_ms + 10 * DAY_MS])


def test_a_table_without_room_for_kinds_is_made_again(tmp_path: Path) -> None:
    """Eight thousand kinds are full; a release with one more has the table made again, with the most frequent ones."""
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
    opened = write(tmp_path / "1", 1, full, DAY_MS)
    until = full.until.copy()
    until[:20] += 1000
    more = Rows(**{name: getattr(full, name) for name in Rows.__dataclass_fields__ if name != "until"}, until=until)
    opened = follow(tmp_path / "2", opened, more, 2 * DAY_MS)
    assert patches(opened) == 0
    assert_answers_are_right(opened, full.number[:100].tolist(), [2 * DAY_MS, 9 * DAY_MS])


@pytest.mark.parametrize("name", ["cells.arrow", "kinds.arrow", "segments.arrow"])
def test_a_damaged_table_is_not_patched(tmp_path: Path, name: str) -> None:
    """Otherwise the damage would have a valid hash from then on."""
    whole = simple(LOW + np.arange(100_000)).with_last(LOW + np.arange(100_000) + (np.arange(100_000) == 7))
    opened = write(tmp_path / "1", 1, whole, 0)
    data = bytearray((tmp_path / "1" / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "1" / name).write_bytes(data)
    opened = follow(tmp_path / "2", opened, but(whole, slice(5)), DAY_MS)
    assert patches(opened) == 0
    assert opened.is_whole()


def test_a_table_that_does_not_say_how_much_was_patched_is_taken_as_new(tmp_path: Path) -> None:
    rows = simple(LOW + np.arange(1000))
    tables = answer_tables(rows, published_ms=0)
    tables["kinds.arrow"] = tables["kinds.arrow"].replace_schema_metadata(None)
    touched = Touched(rows.number[:3], rows.last[:3])
    found = NumberLookup(tables, published_ms=0).patch(but(rows, slice(3)), touched, published_ms=DAY_MS)
    assert found is not None
    assert found.tables["kinds.arrow"].schema.metadata[b"patched"] == b"3"
