"""Look-ups and screening on a generation answer what a slow, obvious scan over all rows does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.recipient.cache.cells import KINDS_MAX
from blocklist_sdk.recipient.cache.generation import About, Generation, NextList, write_generation
from blocklist_sdk.recipient.cache.kinds import DAY_MS, UNDECIDED
from blocklist_sdk.recipient.screening.columns import SCHEMA
from blocklist_sdk.records import Scope
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.generations import edges_of, screening
from support.strategies import Row, plain_rows, to_plain, to_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Answer = tuple[bool, str | None, str | None, str]


def generation(directory: Path, rows: Rows, *, published_ms: int = 2 * DAY_MS) -> Generation:
    published_at = EPOCH + timedelta(milliseconds=published_ms)
    write_generation(directory, NextList.of(rows), About("id-all", 1, "0" * 64, len(rows), published_at))
    return Generation.open(directory)


def obvious(plain: list[Row], number: int, now_ms: int, scope: str | None, *, published_ms: int) -> Answer:
    """Blocked, level, category and reason, from a scan over all rows; what began before the publication has begun."""
    rows = [row for row in plain if row.number <= number <= row.last]
    rows = [row for row in rows if scope is None or scope in row.scope.split("+")]
    in_force = [row for row in rows if row.since <= max(now_ms, published_ms) and now_ms < row.until]
    blocks = [row for row in in_force if row.level == "block"]
    if in_force:
        first = min(blocks or in_force, key=lambda row: (row.since, row.entry))
        level = "block" if blocks else "advisory"
        return bool(blocks), level, first.category, "listed" if blocks else "advisory"
    if any(row.until <= now_ms for row in rows):
        return False, None, None, "expired"
    return False, None, None, "not-yet" if rows else "not-listed"


def ask(opened: Generation, number: int, now_ms: int) -> bool:
    """As `in` does: by the kind if that is enough, else by the rows."""
    if now_ms >= opened.answers.from_ms:
        answer = opened.answers.finder(now_ms // DAY_MS)(number)
        if answer is not None:
            return answer
    return opened.blocks(number, now_ms)


MOMENTS = st.integers(0, 20).map(lambda half_days: half_days * DAY_MS // 2)


@given(plain_rows(), st.integers(0, 10), st.lists(MOMENTS, min_size=1, max_size=4))
def test_small_lists(
    tmp_path_factory: pytest.TempPathFactory, plain: list[Row], published: int, moments: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("generation")
    published_ms = published * DAY_MS // 2
    opened = generation(directory, to_rows(plain), published_ms=published_ms)
    numbers = edges_of(plain)
    for now_ms in moments:
        for number in numbers:
            assert ask(opened, number, now_ms) == obvious(plain, number, now_ms, None, published_ms=published_ms)[0]
        for scope in (None, "sms", "voice", "messaging", "data"):
            # Some edges are not possible numbers, and screening would refuse them: so ask the layer below.
            expected = [obvious(plain, number, now_ms, scope, published_ms=published_ms) for number in numbers]
            verdicts = opened.answers.kind_verdicts(now_ms, scope, opened.rows.category.values)
            kinds = opened.answers.kinds_of(np.array(numbers))
            for kind, answer in zip(kinds.tolist(), expected, strict=True):
                if not verdicts.is_undecided[kind]:
                    category = verdicts.category[kind]
                    assert (
                        verdicts.level[kind] == 0,
                        opened.rows.category.values[category] if category >= 0 else None,
                    ) == (answer[0], answer[2])
    for number in numbers:
        found = [(entry.number, entry.entry) for entry in opened.covering(number)]
        assert found == sorted(((r.number, r.entry) for r in plain if r.number <= number <= r.last), key=lambda p: p[1])


LOW = 6_281_200_000_000


def random_rows(random: np.random.Generator, numbers: int, ranges: int) -> Rows:
    """A list on few numbers, so that a third has several entries, many are in ranges, and ends are spread."""
    n = numbers + ranges
    number = LOW + random.integers(0, numbers * 2, n)
    last = number.copy()
    last[numbers:] += random.choice([0, 1, 9, 99, 999], ranges)
    since = random.integers(0, 40, n) * DAY_MS // 2
    until = np.where(random.random(n) < 0.3, FOREVER_MS, since + random.integers(1, 60, n) * DAY_MS // 3 // 1000 * 1000)

    def texts(*values: str) -> Texts:
        return Texts.encode(random.integers(0, len(values), n), values)

    return (
        Rows(
            number=number,
            last=number,
            entry=random.permutation(n) + 1,
            level=texts("block", "block", "advisory", "of-a-later-protocol"),
            category=texts("fraud", "phishing", "spam"),
            issuer=texts("komdigi"),
            scope=texts("sms", "sms+voice", "messaging", "data+messaging+sms+voice"),
            since=since,
            until=until,
        )
        .with_last(last)
        .sort()
    )


QUESTIONS_PER_LIST = 500_000


@pytest.mark.parametrize("seed", range(20))
def test_random_lists(tmp_path: Path, seed: int) -> None:
    """Ten million questions in all: screening answers each, and `in` each distinct one, as the scan does."""
    random = np.random.default_rng(seed)
    rows = random_rows(random, numbers=400, ranges=seed % 4 * 10)
    opened = generation(tmp_path, rows, published_ms=10 * DAY_MS)
    plain = to_plain(rows)
    now_ms = int(random.integers(0, 45 * 24)) * DAY_MS // 24
    scope: Scope | None = random.choice(np.array([None, None, "sms", "voice"], object))
    universe = np.arange(LOW - 50, LOW + 2000)
    expected = {number: obvious(plain, number, now_ms, scope, published_ms=10 * DAY_MS) for number in universe.tolist()}
    if scope is None:
        for number in universe.tolist():
            assert ask(opened, number, now_ms) == expected[number][0], number
    asked = random.choice(universe, QUESTIONS_PER_LIST)
    found = screening(opened, now_ms, scope).table(pa.array(asked))
    columns = zip(*((number, *answer) for number, answer in expected.items()), strict=True)
    answers = pa.table([pa.array(column) for column in columns], names=SCHEMA.names)
    assert pa.table(found).cast(answers.schema).equals(answers.take(asked - universe[0]))


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
        at = random.choice(n - 1, 300, replace=False)
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
        assert ask(opened, question, now) == expected, question
    for question in questions[::300].tolist():
        covering = entry[(number <= question) & (question <= last)].tolist()
        assert [found.entry for found in opened.covering(question)] == covering


def plain_list(number: np.ndarray[tuple[int], np.dtype[np.int64]], until: int = FOREVER_MS) -> Rows:
    n = len(number)
    block = Texts.repeat("block", n)
    sms = Texts.repeat("sms", n)
    return Rows(number, number, np.arange(1, n + 1), block, sms, sms, sms, np.zeros(n, np.int64), np.full(n, until))


@pytest.mark.parametrize("stride", [1, 10_000, 200_003, 2**20], ids=str)
def test_numbers_that_follow_a_pattern_are_found_quickly(tmp_path: Path, stride: int) -> None:
    """Also where the distance between numbers is a prime that might be taken."""
    number = LOW + np.arange(100_000) * stride
    opened = generation(tmp_path, plain_list(number))
    find = opened.answers.finder(3)
    assert all(find(n) for n in number[:: len(number) // 1000].tolist())
    assert not any(find(n + 1) for n in number[:: len(number) // 1000].tolist() if stride > 1)
    cells = np.flatnonzero(opened.answers._base.cells)
    runs = np.diff(np.flatnonzero(np.concatenate(([True], np.diff(cells) != 1, [True]))))
    assert runs.max() <= 512


def test_more_kinds_than_there_is_room_for(tmp_path: Path) -> None:
    """Thousands of days, categories and scopes: rare ones are left to the rows, and every answer stays right."""
    random = np.random.default_rng(3)
    n = 60_000
    rows = plain_list(LOW + np.arange(n) * 7)
    categories = [f"c{i:03}" for i in range(300)]
    scopes = ["data", "messaging", "sms", "voice", "sms+voice", "data+sms", "messaging+sms", "data+voice"]
    rows = Rows(
        **{name: getattr(rows, name) for name in ("number", "last", "entry", "issuer", "since")},
        level=Texts.encode(random.integers(0, 2, n), ("block", "advisory")),
        category=Texts.encode(random.integers(0, 300, n), categories),
        scope=Texts.encode(random.integers(0, 8, n), scopes),
        until=random.integers(1, 6000, n) * DAY_MS,
    )
    rows = rows.with_last(rows.number)
    opened = generation(tmp_path, rows)
    kinds = opened.answers.kinds_of(rows.number)
    assert kinds.max() < KINDS_MAX
    assert (kinds == UNDECIDED).any()
    now_ms = 1500 * DAY_MS + 1
    plain = to_plain(rows)
    for row in plain[::50]:
        assert ask(opened, row.number, now_ms) == (row.level == "block" and now_ms < row.until)
    found = screening(opened, now_ms).table(pa.array(rows.number[::50])).to_pylist()
    for row, answer in zip(plain[::50], found, strict=True):
        expected = obvious([row], row.number, now_ms, None, published_ms=2 * DAY_MS)
        assert (answer["blocked"], answer["level"], answer["category"], answer["reason"]) == expected


def test_an_empty_list(tmp_path: Path) -> None:
    opened = generation(tmp_path, Rows.empty())
    assert not ask(opened, 6_281_234_567_890, 0)
    assert not ask(opened, 6_281_234_567_890, 3 * DAY_MS)
    assert opened.covering(6_281_234_567_890) == []
    found = screening(opened, 3 * DAY_MS).table(pa.array([6_281_234_567_890, None]))
    assert found.schema == SCHEMA
    assert found.to_pylist()[0]["reason"] == "not-listed"
    assert found.to_pylist()[1] == dict.fromkeys(SCHEMA.names)


def test_an_end_beyond_what_kinds_tell_apart(tmp_path: Path) -> None:
    end = 9000 * DAY_MS
    opened = generation(tmp_path, plain_list(np.array([LOW]), end))
    for now_ms in (2 * DAY_MS, 5000 * DAY_MS, end - 1000):
        assert ask(opened, LOW, now_ms)
    assert not ask(opened, LOW, end)
