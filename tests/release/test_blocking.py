"""The judge of what blocks whom, against sets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.blocking import DAY_MS, Spans, blocking_change
from blocklist_sdk.release.rows import FOREVER_MS, Rows
from support.strategies import Row, plain_rows, to_rows

NOW_MS = 2 * DAY_MS
NUMBER = 6_281_234_567_890


def row(number: int = NUMBER, last: int | None = None, **columns: object) -> Row:
    return replace(
        Row(
            number=number,
            last=number if last is None else last,
            entry=1,
            level="block",
            category="fraud",
            issuer="authority",
            scope="sms+voice",
            since=0,
            until=FOREVER_MS,
        ),
        **columns,  # type: ignore[arg-type]
    )


def counts(old: list[Row], new: list[Row]) -> tuple[int, int, int, int]:
    change = blocking_change(to_rows(sorted(old)), to_rows(sorted(new)), now_ms=NOW_MS)
    return change.before, change.after, change.removed, change.added


def blocked(rows: list[Row], scope: str, at_ms: int) -> set[int]:
    """The numbers that a list blocks, one by one."""
    return {
        number
        for each in rows
        if each.level == "block" and scope in each.scope.split("+") and each.since <= at_ms < each.until
        for number in range(each.number, each.last + 1)
    }


def as_set(spans: Spans, singles: set[int]) -> set[int]:
    """The numbers of a set, where `singles` are the single numbers that either list blocks."""
    ranges = zip(spans.first.tolist(), spans.after.tolist(), strict=True)
    return set(spans.singles.tolist()) | {n for first, after in ranges for n in range(first, after)} - singles


few_rows = plain_rows(max_size=8).map(
    lambda rows: [replace(each, last=min(each.last, each.number + 8)) for each in rows]
)


@given(few_rows, few_rows, st.integers(0, 5))
def test_the_judge_counts_as_sets_do(old: list[Row], new: list[Row], day: int) -> None:
    now_ms = day * DAY_MS
    change = blocking_change(to_rows(sorted(old)), to_rows(sorted(new)), now_ms=now_ms)
    before: set[int] = set()
    after: set[int] = set()
    removed: set[int] = set()
    added: set[int] = set()
    for scope in SCOPES:
        was, was_ahead = (blocked(old, scope, at) for at in (now_ms, now_ms + DAY_MS))
        will, will_ahead = (blocked(new, scope, at) for at in (now_ms, now_ms + DAY_MS))
        before |= was | was_ahead
        after |= will | will_ahead
        removed |= (was_ahead - will_ahead) | ((was & was_ahead) - will)
        added |= (will - was) | (will_ahead - was_ahead)
    assert (change.before, change.after) == (len(before), len(after))
    assert (change.removed, change.added) == (len(removed), len(added))

    def blocks(each: Row) -> bool:
        return any(blocked([each], scope, at) for scope in SCOPES for at in (now_ms, now_ms + DAY_MS))

    singles = {each.number for each in [*old, *new] if each.number == each.last and blocks(each)}
    assert as_set(change.removed_numbers, singles) == removed
    assert as_set(change.added_numbers, singles) == added
    for rows, spans, numbers in ((old, change.removed_numbers, removed), (new, change.added_numbers, added)):
        columns = to_rows(sorted(each for each in rows if blocks(each)))
        hit = spans.touch(columns.number, columns.last)
        for number, last, touches in zip(columns.number.tolist(), columns.last.tolist(), hit.tolist(), strict=True):
            assert not numbers.intersection(range(number, last + 1)) or touches
            if number == last:
                assert touches == (number in numbers)


@pytest.mark.parametrize(
    "changed",
    [
        {"level": "advisory"},
        {"until": NOW_MS},
        {"until": NOW_MS + DAY_MS},
        {"since": NOW_MS + 1000},
        {"since": NOW_MS + 2 * DAY_MS},
        {"scope": "sms"},
        {"scope": "messaging+sms"},
    ],
)
def test_whatever_weakens_a_block_removes_it(changed: dict[str, object]) -> None:
    assert counts([row()], [replace(row(), **changed)])[2] == 1  # type: ignore[arg-type]


def test_what_ends_within_the_day_is_not_removed() -> None:
    for until in (NOW_MS - 1000, NOW_MS, NOW_MS + 1000, NOW_MS + DAY_MS):
        assert counts([row(until=until)], [])[2] == 0
    assert counts([row(until=NOW_MS + DAY_MS + 1000)], [])[2] == 1


def test_a_number_listed_again_under_another_entry_is_neither_removed_nor_added() -> None:
    assert counts([row()], [row(entry=7, issuer="another", category="spam")]) == (1, 1, 0, 0)
    wide = row(NUMBER, NUMBER + 9)
    cut = [row(NUMBER, NUMBER + 3, entry=2), *(row(NUMBER + i, entry=2 + i) for i in range(4, 10))]
    assert counts([wide], cut) == (10, 10, 0, 0)


def test_a_number_counts_once_however_many_entries_it_has() -> None:
    twice = [row(entry=1), row(entry=2, issuer="another"), row(NUMBER - 5, NUMBER + 5, entry=3)]
    assert counts(twice, []) == (11, 0, 11, 0)
    assert counts(twice, twice[2:]) == (11, 11, 0, 0)


def test_an_advisory_pads_nothing() -> None:
    padding = [row(NUMBER + 100 + i, entry=10 + i, level="advisory") for i in range(50)]
    assert counts([row(), *padding], padding) == (1, 0, 1, 0)


def test_a_scope_that_is_not_known_blocks_nobody() -> None:
    assert counts([row(scope="telepathy")], []) == (0, 0, 0, 0)


def test_nothing_is_like_nothing() -> None:
    empty = Rows.empty()
    change = blocking_change(empty, empty, now_ms=NOW_MS)
    assert (change.before, change.after, change.removed, change.added) == (0, 0, 0, 0)
    assert not np.any(change.removed_numbers.touch(empty.number, empty.last))


@pytest.mark.parametrize("share_of_ranges", [0.0, 0.5, 1.0])
def test_the_judge_counts_thousands_of_ranges_as_arrays_do(share_of_ranges: float) -> None:
    """Every number of a universe has a place in an array for each scope and moment; ranges overlap, nest and touch."""
    universe = 50_000
    random = np.random.default_rng(int(10 * share_of_ranges))

    def drawn(count: int) -> list[Row]:
        rows = []
        for entry in range(1, count + 1):
            number = int(random.integers(universe - 200))
            span = int(random.integers(1, 200)) if random.random() < share_of_ranges else 0
            rows.append(
                row(
                    NUMBER + number,
                    NUMBER + number + span,
                    entry=entry,
                    level="block" if random.random() < 0.9 else "advisory",
                    scope=str(random.choice(["sms", "sms+voice", "messaging"])),
                    since=int(random.choice([0, NOW_MS + 1000])),
                    until=int(random.choice([FOREVER_MS, NOW_MS + DAY_MS // 2])),
                )
            )
        return sorted(rows)

    def marked(rows: list[Row], at_ms: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        places = np.zeros((len(SCOPES), universe), np.bool_)
        for each in rows:
            if each.level == "block" and each.since <= at_ms < each.until:
                for i, scope in enumerate(SCOPES):
                    places[i, each.number - NUMBER : each.last - NUMBER + 1] |= scope in each.scope.split("+")
        return places

    old, new = drawn(3_000), drawn(3_000)
    was, was_ahead, will, will_ahead = (marked(rows, at) for rows in (old, new) for at in (NOW_MS, NOW_MS + DAY_MS))
    change = blocking_change(to_rows(old), to_rows(new), now_ms=NOW_MS)
    assert change.before == (was | was_ahead).any(axis=0).sum()
    assert change.after == (will | will_ahead).any(axis=0).sum()
    assert change.removed == ((was_ahead & ~will_ahead) | (was & was_ahead & ~will)).any(axis=0).sum()
    assert change.added == ((will & ~was) | (will_ahead & ~was_ahead)).any(axis=0).sum()
