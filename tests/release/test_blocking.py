"""The judge of what blocks whom, and when, against sets."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.blocking import AHEAD, DAY_MS, NumberSet, blocking_change, ended_between
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


def blocked(rows: list[Row], scope: str, at_ms: int, published_ms: int | None = None) -> set[int]:
    """The numbers that a list blocks, one by one."""
    begun_ms = at_ms if published_ms is None else max(at_ms, published_ms)
    return {
        number
        for each in rows
        if each.level == "block" and scope in each.scope.split("+") and each.since <= begun_ms and at_ms < each.until
        for number in range(each.number, each.last + 1)
    }


@cache
def is_assigned(number: int) -> bool:
    return phonenumbers.is_valid_number(phonenumbers.parse(f"+{number}"))


def as_set(spans: NumberSet, singles: set[int]) -> set[int]:
    """The numbers of a set, where `singles` are the single numbers that either list blocks."""
    ranges = zip(spans.first.tolist(), spans.after.tolist(), strict=True)
    return set(spans.singles.tolist()) | {n for first, after in ranges for n in range(first, after)} - singles


few_rows = plain_rows(max_size=8).map(
    lambda rows: [replace(each, last=min(each.last, each.number + 8)) for each in rows]
)
some_horizons = st.sampled_from([(0,), AHEAD, (0, DAY_MS, 3 * DAY_MS), (0, DAY_MS, 2 * DAY_MS, 3 * DAY_MS, 4 * DAY_MS)])
some_moment = st.none() | st.integers(0, 5).map(lambda day: day * DAY_MS)


@given(few_rows, few_rows, st.integers(0, 5), some_horizons, some_moment, some_moment)
def test_the_judge_counts_as_sets_do(
    old: list[Row],
    new: list[Row],
    day: int,
    horizons_ms: Sequence[int],
    old_published_ms: int | None,
    new_published_ms: int | None,
) -> None:
    now_ms = day * DAY_MS
    change = blocking_change(
        to_rows(sorted(old)),
        to_rows(sorted(new)),
        now_ms=now_ms,
        horizons_ms=horizons_ms,
        old_published_ms=old_published_ms,
        new_published_ms=new_published_ms,
    )
    moments = [now_ms + horizon for horizon in horizons_ms]
    before: set[int] = set()
    after: set[int] = set()
    removed: set[int] = set()
    added: set[int] = set()
    for scope in SCOPES:
        was = [blocked(old, scope, at, old_published_ms) for at in moments]
        will = [blocked(new, scope, at, new_published_ms) for at in moments]
        before.update(*was)
        after.update(*will)
        removed |= (was[0] & was[1] if len(moments) > 1 else was[0]) - will[0]
        for i in range(1, len(moments)):
            removed |= was[i] - will[i]
        for i in range(len(moments)):
            added |= will[i] - set[int]().union(*was[: i + 1])

    def blocks(each: Row, published_ms: int | None) -> bool:
        return any(blocked([each], scope, at, published_ms) for scope in SCOPES for at in moments)

    lists = ((old, old_published_ms), (new, new_published_ms))
    own_old, own_new = (
        {each.number for each in rows if each.number == each.last and blocks(each, published_ms)}
        for rows, published_ms in lists
    )
    singles = own_old | own_new

    def size(numbers: set[int]) -> int:
        return sum(number in singles or is_assigned(number) for number in numbers)

    assert (change.before, change.after) == (size(before), size(after))
    assert (change.removed, change.added) == (size(removed), size(added))
    assert change.single_before == len(own_old)
    assert (change.single_removed, change.single_added) == (len(removed & own_old), len(added & own_new))
    assert as_set(change.removed_numbers, singles) == removed
    assert as_set(change.added_numbers, singles) == added
    for (rows, published_ms), spans, numbers in zip(
        lists, (change.removed_numbers, change.added_numbers), (removed, added), strict=True
    ):
        columns = to_rows(sorted(each for each in rows if blocks(each, published_ms)))
        hit = spans.touch(columns.number, columns.last)
        for number, last, touches in zip(columns.number.tolist(), columns.last.tolist(), hit.tolist(), strict=True):
            assert not numbers.intersection(range(number, last + 1)) or touches
            if number == last:
                assert touches == (number in numbers)


@given(few_rows, st.integers(0, 5), st.integers(0, 5))
def test_ends_that_passed_are_counted(rows: list[Row], since_day: int, days: int) -> None:
    since_ms = since_day * DAY_MS
    now_ms = since_ms + days * DAY_MS
    blocking = [each for each in rows if each.level == "block" and each.since <= since_ms < each.until]
    ended = sum(each.until <= now_ms for each in blocking)
    assert ended_between(to_rows(sorted(rows)), since_ms=since_ms, now_ms=now_ms) == (ended, len(blocking))


@pytest.mark.parametrize("changes", [0, 1, 40, 700])
@pytest.mark.parametrize("size", [0, 63, 64, 65, 5_000])
def test_long_lists_that_differ_little_are_compared_number_by_number(size: int, changes: int) -> None:
    """Blocks of numbers that follow each other in both are found at once; each other one by itself."""
    random = np.random.default_rng(size + changes)
    numbers = np.sort(random.choice(3 * size + 10, size, replace=False)) + NUMBER
    gone = random.choice(numbers, min(changes, size), replace=False)
    come = random.integers(NUMBER, NUMBER + 3 * size + 10, changes)
    kept = np.union1d(np.setdiff1d(numbers, gone), come)
    lists = [to_rows([row(number, entry=1) for number in each.tolist()]) for each in (numbers, kept)]
    change = blocking_change(*lists, now_ms=NOW_MS)
    assert change.before == change.single_before == size
    assert change.after == len(kept)
    assert change.removed_numbers.singles.tolist() == np.setdiff1d(numbers, kept).tolist()
    assert change.added_numbers.singles.tolist() == np.setdiff1d(kept, numbers).tolist()
    assert (change.removed, change.added) == (len(change.removed_numbers.singles), len(change.added_numbers.singles))


def test_numbers_that_nobody_has_pad_nothing() -> None:
    """A range of a country or a length that is not assigned counts for nothing, and one across borders for its part."""
    nobody = [row(999_000_000_000, 999_999_999_999), row(6_281_000, 6_281_999, entry=2)]
    assert counts([*nobody, row(entry=3)], [row(entry=3)]) == (1, 1, 0, 0)
    across = row(6_299_999_000_000, 6_300_000_000_000)
    assert counts([across], []) == (0, 0, 0, 0)
    many = row(1, 999_999_999_999_999)
    assert counts([many], [])[0] > 10**11


def test_a_range_dilutes_no_single_numbers() -> None:
    wide, singles = row(NUMBER - 890, NUMBER + 9_109), [row(NUMBER + 20_000 + i, entry=2 + i) for i in range(50)]
    change = blocking_change(to_rows([wide, *singles]), to_rows([wide]), now_ms=NOW_MS)
    assert (change.before, change.removed) == (10_050, 50)
    assert (change.single_before, change.single_removed) == (50, 50)
    change = blocking_change(to_rows([wide]), to_rows([wide, *singles]), now_ms=NOW_MS)
    assert (change.single_before, change.single_added) == (0, 50)


def test_a_single_number_that_a_range_blocks_as_well_is_not_removed() -> None:
    wide = row(NUMBER, NUMBER + 9, entry=2)
    change = blocking_change(to_rows([row(), wide]), to_rows([wide]), now_ms=NOW_MS)
    assert (change.single_before, change.single_removed, change.removed) == (1, 0, 0)


def test_ends_moved_beyond_a_day_are_found_by_a_longer_horizon() -> None:
    moved = row(until=NOW_MS + DAY_MS + 7_200_000)
    lists = to_rows([row()]), to_rows([moved])
    assert blocking_change(*lists, now_ms=NOW_MS).removed == 0
    month = (0, DAY_MS, 31 * DAY_MS)
    assert blocking_change(*lists, now_ms=NOW_MS, horizons_ms=month).removed == 1
    late = to_rows([row(since=NOW_MS + DAY_MS + 7_200_000)])
    assert blocking_change(Rows.empty(), late, now_ms=NOW_MS, horizons_ms=month).added == 1
    # What only lasts longer does not begin.
    assert blocking_change(*reversed(lists), now_ms=NOW_MS, horizons_ms=month).added == 0


def test_a_slow_clock_does_not_unbegin_what_was_published() -> None:
    begun = to_rows([row(since=NOW_MS)])
    slow = NOW_MS - 5 * DAY_MS
    assert blocking_change(begun, Rows.empty(), now_ms=slow).removed == 0
    assert blocking_change(begun, Rows.empty(), now_ms=slow, old_published_ms=NOW_MS).removed == 1
    assert blocking_change(begun, begun, now_ms=slow, old_published_ms=NOW_MS).removed == 1
    same = blocking_change(begun, begun, now_ms=slow, old_published_ms=NOW_MS, new_published_ms=NOW_MS + 1000)
    assert (same.before, same.removed, same.added) == (1, 0, 0)


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
    assert change.added == ((will & ~was) | (will_ahead & ~was_ahead & ~was)).any(axis=0).sum()
