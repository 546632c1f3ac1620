"""Entries keep their ids for as long as they stand on the list, and no id is ever given to another."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import Publisher
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.next_release import (
    NO_ENTRY,
    NOT_GIVEN_MS,
    EntryDefaults,
    ListRows,
    NextRelease,
    plan_release,
)
from blocklist_sdk.records import ENTRY_MAX
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.merge import difference
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts

DEFAULTS = EntryDefaults(level="block", category="fraud", issuer="authority", scope="sms+voice")
DAY_MS = 86_400_000


@dataclass(frozen=True, order=True)
class Line:
    """One row of a list, as plain values."""

    number: int
    last: int
    issuer: str
    level: str
    category: str
    scope: str
    since: int
    until: int


COLUMNS = ("issuer", "level", "category", "scope", "since", "until")

lines = st.builds(
    lambda number, span, *rest: Line(number, number + span, *rest),
    st.sampled_from([6281100, 6281101, 6281102, 6281103]),
    st.sampled_from([0, 0, 0, 5]),
    st.sampled_from(["komdigi", "ojk"]),
    st.sampled_from(["block", "advisory"]),
    st.sampled_from(["fraud", "phishing"]),
    st.sampled_from(["sms", "sms+voice"]),
    st.sampled_from([NOT_GIVEN_MS, DAY_MS, 2 * DAY_MS]),
    st.sampled_from([FOREVER_MS, 9 * DAY_MS]),
)
lists = st.lists(lines, max_size=12)
columns = st.sets(st.sampled_from(COLUMNS))


def to_list_rows(rows: list[Line], given_columns: set[str] = frozenset(COLUMNS)) -> ListRows:  # type: ignore[assignment]
    def texts(name: str) -> Texts | None:
        if name not in given_columns:
            return None
        values = [getattr(row, name) for row in rows]
        return Texts.encode(np.arange(len(values)), values)

    def integers(name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([getattr(row, name) for row in rows], np.int64)

    return ListRows(
        line=np.arange(2, 2 + len(rows)),
        number=integers("number"),
        last=integers("last"),
        issuer=texts("issuer"),
        level=texts("level"),
        category=texts("category"),
        scope=texts("scope"),
        since=integers("since") if "since" in given_columns else None,
        until=integers("until") if "until" in given_columns else None,
    )


def plan(previous: NextRelease | None, list_rows: ListRows, now_ms: int = 3 * DAY_MS) -> NextRelease:
    rows, last_entry = (previous.rows, previous.last_entry) if previous else (Rows.empty(), 0)
    return plan_release(rows, list_rows, now_ms=now_ms, last_entry=last_entry, defaults=DEFAULTS)


def listings(release: NextRelease) -> list[tuple[object, ...]]:
    rows = release.rows
    return list(
        zip(
            rows.number.tolist(),
            rows.last.tolist(),
            rows.issuer.tolist(),
            rows.level.tolist(),
            rows.category.tolist(),
            rows.scope.tolist(),
            rows.since.tolist(),
            rows.until.tolist(),
            strict=True,
        )
    )


@given(lists, columns)
def test_the_same_list_twice_changes_nothing(rows: list[Line], given_columns: set[str]) -> None:
    list_rows = to_list_rows(rows, given_columns)
    first = plan(None, list_rows)
    second = plan(first, list_rows, now_ms=5 * DAY_MS)
    assert digest(second.rows) == digest(first.rows)
    assert second.last_entry == first.last_entry


@given(lists, lists, columns, st.randoms(use_true_random=False))
def test_the_order_of_the_list_is_irrelevant(
    before: list[Line], after: list[Line], given_columns: set[str], shuffler: random.Random
) -> None:
    previous = plan(None, to_list_rows(before))
    shuffled = shuffler.sample(after, len(after))
    one, other = (plan(previous, to_list_rows(rows, given_columns)) for rows in (after, shuffled))
    assert digest(one.rows) == digest(other.rows)
    assert one.duplicates == other.duplicates


@given(st.lists(st.tuples(lists, columns), min_size=2, max_size=6))
def test_no_entry_id_is_ever_given_out_twice(releases: list[tuple[list[Line], set[str]]]) -> None:
    release: NextRelease | None = None
    owner: dict[int, tuple[int, int]] = {}
    gone: set[int] = set()
    for rows, given_columns in releases:
        following = plan(release, to_list_rows(rows, given_columns))
        following.rows.validate()
        entries = following.rows.entry.tolist()
        assert len(set(entries)) == len(entries)
        assert not gone & set(entries)
        for entry, number, last in zip(
            entries, following.rows.number.tolist(), following.rows.last.tolist(), strict=True
        ):
            assert owner.setdefault(entry, (number, last)) == (number, last)
        assert following.last_entry >= max(entries, default=0)
        gone |= set(owner) - set(entries)
        release = following


@given(lists, lists)
def test_the_release_lists_what_the_list_says_and_each_row_once(before: list[Line], after: list[Line]) -> None:
    release = plan(plan(None, to_list_rows(before)), to_list_rows(after))
    said = [
        (row.number, row.last, row.issuer, row.level, row.category, row.scope, row.until) for row in sorted(set(after))
    ]
    assert Counter((*row[:6], row[7]) for row in listings(release)) == Counter(said)
    assert release.duplicates == len(after) - len(set(after))


@given(lists, lists)
def test_only_what_differs_changes(before: list[Line], after: list[Line]) -> None:
    """Rows that are equal in both lists keep their entry unchanged."""
    first = plan(None, to_list_rows(before))
    second = plan(first, to_list_rows(after), now_ms=4 * DAY_MS)
    # As many entries stay as there are rows of the same number, range and issuer in both lists.
    keys = [Counter((row.number, row.last, row.issuer) for row in set(rows)) for rows in (before, after)]
    kept = (keys[0] & keys[1]).total()
    found = difference(first.rows, second.rows)
    assert len(found.removed) == len(first.rows) - kept
    assert len(found.added) == len(second.rows) - kept
    same = {row for row in set(before) & set(after) if row.since != NOT_GIVEN_MS}
    untouched = Counter(listings(first)) & Counter(listings(second))
    assert all(untouched[tuple(getattr(row, name) for name in Line.__dataclass_fields__)] for row in same)


def test_a_number_that_comes_back_gets_a_new_id() -> None:
    alone = to_list_rows([Line(6281100, 6281100, "ojk", "block", "fraud", "sms", DAY_MS, FOREVER_MS)])
    other = to_list_rows([Line(6281199, 6281199, "ojk", "block", "fraud", "sms", DAY_MS, FOREVER_MS)])
    first = plan(None, alone)
    third = plan(plan(first, other), alone)
    assert first.rows.entry.tolist() == [1]
    assert third.rows.entry.tolist() == [3]
    assert third.last_entry == 3


def test_what_the_list_does_not_say_stays_as_it_was() -> None:
    first = plan(
        None,
        to_list_rows([Line(6281100, 6281100, "authority", "advisory", "phishing", "sms", DAY_MS, 9 * DAY_MS)]),
    )
    bare = ListRows(line=np.array([1, 2]), number=np.array([6281100, 6281101]), last=np.array([6281100, 6281101]))
    assert listings(plan(first, bare)) == [
        (6281100, 6281100, "authority", "advisory", "phishing", "sms", DAY_MS, 9 * DAY_MS),
        (6281101, 6281101, "authority", "block", "fraud", "sms+voice", 3 * DAY_MS, FOREVER_MS),
    ]


def with_entries(pairs: list[tuple[int, int]]) -> ListRows:
    numbers = np.array([number for number, _ in pairs])
    return ListRows(
        line=np.arange(2, 2 + len(pairs)),
        number=numbers,
        last=numbers,
        entry=np.array([entry for _, entry in pairs], np.int64),
    )


def test_an_entry_column_says_which_entry_is_which() -> None:
    first = plan(None, with_entries([(6281101, 7), (6281100, 9), (6281100, 3)]))
    assert first.rows.entry.tolist() == [3, 9, 7]
    assert first.last_entry == 9
    second = plan(first, with_entries([(6281101, 7), (6281102, 12), (6281102, 12)]))
    assert second.rows.entry.tolist() == [7, 12]
    assert (second.last_entry, second.duplicates) == (12, 1)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(6281100, 7), (6281101, 7)], r"lines 2 and 3 both have entry 7"),
        ([(6281100, 7), (6281102, 3)], r"line 3: entry 3 was used before"),
        ([(6281101, 7)], r"line 2: entry 7 belongs to another number"),
    ],
)
def test_entry_ids_that_contradict_the_past_are_refused(pairs: list[tuple[int, int]], message: str) -> None:
    first = plan(None, with_entries([(6281100, 7)]))
    with pytest.raises(InvalidInput, match=message):
        plan(first, with_entries(pairs))


def test_a_feed_without_ids_left_is_named_as_that() -> None:
    first = plan(None, with_entries([(6281100, ENTRY_MAX)]))
    assert first.last_entry == ENTRY_MAX
    assert plan(first, with_entries([(6281100, ENTRY_MAX)])).last_entry == ENTRY_MAX
    with pytest.raises(InvalidInput, match=r"no entry ids left.*List new numbers on another feed"):
        plan(first, with_entries([(6281100, ENTRY_MAX), (6281101, NO_ENTRY)]))


def test_a_row_without_an_id_is_the_entry_that_it_matches_or_a_new_one(tmp_path: Path) -> None:
    """An export with new rows at its end is the next release: the old ones keep their ids."""
    publisher = Publisher.init(tmp_path / "p", feeds=["id-all"], passphrase="generated for a test", region="ID")
    source = tmp_path / "list.csv"
    source.write_text("number\n+6281200000001\n+6281200000002\n")
    publisher.release("id-all", source)
    header = "number,last,entry,level,category,issuer,scope,since,until\n"
    rows = "6281200000001,,1,block,fraud,authority,sms+voice,2026-01-01T00:00:00Z,\n"
    source.write_text(f"{header}{rows}6281200000002,,,,,,,,\n6281200000003,,,,,,,,\n")
    for expected in ((1, 0), (0, 0)):  # the second time, nothing is new
        result = publisher.release("id-all", source)
        assert (result.added, result.removed, result.invalid) == (*expected, 0)
        assert (result.form.by, result.form.form) == ("header", "international")
    assert publisher.status().feeds[0].last_entry == 3
