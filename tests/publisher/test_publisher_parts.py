"""A release that is planned from the part of the list that it touches is the one that the whole list would give."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blocklist_sdk import InvalidInput, times
from blocklist_sdk.numbers.reach import reach
from blocklist_sdk.publisher import plans
from blocklist_sdk.publisher.amendments import ANY_ISSUER, with_added, without
from blocklist_sdk.publisher.guard import HORIZONS_MS, PublisherGuard
from blocklist_sdk.publisher.judging import Moments, judge
from blocklist_sdk.publisher.limits import reject_never_in_force
from blocklist_sdk.publisher.next_release import NO_ENTRY, EntryDefaults, ListRows, plan_release
from blocklist_sdk.publisher.plans import Plan, plan_added, plan_removed, plan_whole
from blocklist_sdk.publisher.protected_rows import cut_list
from blocklist_sdk.release import windows
from blocklist_sdk.release.blocking import blocking_change, ended_between
from blocklist_sdk.release.index import FeedIndex, Release
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import difference
from blocklist_sdk.release.protected import covers, cut_around
from blocklist_sdk.release.rows import FOREVER_MS, TEXT_COLUMNS, Int64s, Rows, Texts
from blocklist_sdk.release.tallies import count_by
from blocklist_sdk.release.windows import all_outside_ranges, ended_by, ending_between, growing, reach_of
from support.scale import scaled
from support.strategies import DAY_MS, Row, to_plain, to_rows

T = TypeVar("T")

NOW_MS = 1_700_000_000_000
PUBLISHED_MS = NOW_MS - 40 * DAY_MS
NUMBERS = st.integers(6_281_200_000_000, 6_281_200_000_024)
SPANS = st.sampled_from([0, 0, 0, 0, 1, 3, 9])
ISSUERS = ("ojk", "komdigi", "authority")
ENDS = st.sampled_from([FOREVER_MS, FOREVER_MS, NOW_MS - 50 * DAY_MS, NOW_MS, NOW_MS + 1000, NOW_MS + 40 * DAY_MS])
BEGINNINGS = st.sampled_from([0, 0, PUBLISHED_MS, NOW_MS - DAY_MS, NOW_MS + 2 * DAY_MS])
DEFAULTS = EntryDefaults("block", "fraud", "authority", "sms+voice")
EXAMPLES = scaled(30, long=500)


@st.composite
def current_lists(draw: st.DrawFn) -> list[Row]:
    rows = []
    for entry in range(1, draw(st.integers(1, 25)) + 1):
        number, since = draw(NUMBERS), draw(BEGINNINGS)
        rows.append(
            Row(
                number=number,
                last=number + draw(SPANS),
                entry=entry,
                level=draw(st.sampled_from(["block", "block", "advisory"])),
                category=draw(st.sampled_from(["fraud", "spam"])),
                issuer=draw(st.sampled_from(ISSUERS)),
                scope=draw(st.sampled_from(["sms", "sms+voice", "messaging"])),
                since=since,
                until=max(draw(ENDS), since + 1000),
            )
        )
    return sorted(rows)


@st.composite
def layered(draw: st.DrawFn) -> LayeredRows:
    """A list as a base and an overlay."""
    plain = draw(current_lists())
    base = LayeredRows.of(to_rows([row for row in plain if draw(st.sampled_from([True, True, False]))]))
    goal = to_rows([row if draw(st.booleans()) else replace(row, category="other") for row in plain])
    return base.applied(difference(base.whole(), goal).delta())[0]


@st.composite
def given_rows(draw: st.DrawFn, *, issuers: Sequence[str] = ISSUERS) -> ListRows:
    """A list: some columns are there, others are not."""
    count = draw(st.integers(1, 8))
    number = np.array([draw(NUMBERS) for _ in range(count)], np.int64)
    last = number + np.array([draw(SPANS) for _ in range(count)], np.int64)

    def texts(values: Sequence[str]) -> Texts:
        return Texts.encode(np.array([draw(st.integers(0, len(values) - 1)) for _ in range(count)]), values)

    rows = ListRows(line=np.arange(1, count + 1), number=number, last=last)
    if draw(st.booleans()):
        rows = replace(rows, issuer=texts(issuers))
    if draw(st.booleans()):
        rows = replace(rows, scope=texts(["sms", "sms+voice"]), level=texts(["block", "advisory"]))
    if draw(st.booleans()):
        rows = replace(rows, until=np.array([draw(ENDS) for _ in range(count)], np.int64))
    return rows


lists_to_remove = given_rows(issuers=[*ISSUERS, "nobody", ANY_ISSUER])
protected_numbers = st.lists(NUMBERS, max_size=3, unique=True).map(lambda drawn: np.array(sorted(drawn), np.int64))


def cut_whole(rows: Rows, protected: Int64s, *, last_entry: int) -> tuple[Rows, int, int]:
    """All rows without the protected numbers."""
    hit = covers(rows.number, rows.last, protected)
    if not hit.any():
        return rows, last_entry, 0
    concerned = rows.take(hit)
    at, first, last = cut_around(concerned.number, concerned.last, protected)
    pieces = replace(concerned.take(at), number=first, entry=last_entry + 1 + np.arange(len(at))).with_last(last)
    return rows.take(~hit).with_rows(pieces).sort(), last_entry + len(at), len(concerned)


def assert_plan(plan: Plan, before: Rows, lawful: Rows, after: Rows, guard: PublisherGuard) -> None:
    """Whatever is said of a plan is what is found by going through all rows."""
    assert to_plain(plan.after.whole()) == to_plain(after)
    assert len(plan.after) == len(after)
    assert to_plain(plan.lawful.whole()) == to_plain(lawful)
    expected = difference(before, after)
    for name in ("added", "removed", "changed_old", "changed_new"):
        assert to_plain(getattr(plan.changes, name)) == to_plain(getattr(expected, name))
    for name in TEXT_COLUMNS:
        assert plan.texts_after(name) == count_by(getattr(after, name))
        assert plan.distinct_texts(name) >= len(getattr(after, name).values)
    outside = all_outside_ranges(plan.before) + plan.more_outside
    assert reach_of(plan.after, outside=outside) == reach_of(plan.after) == reach(after.number, after.last)
    for published_ms in (NOW_MS, NOW_MS + 3_000):
        assert_judged(plan, lawful, after, guard, published_ms)


def assert_judged(plan: Plan, lawful: Rows, after: Rows, guard: PublisherGuard, published_ms: int) -> None:
    whole = blocking_change(
        lawful,
        after,
        now_ms=NOW_MS,
        horizons_ms=HORIZONS_MS,
        old_published_ms=PUBLISHED_MS,
        new_published_ms=published_ms,
    )
    moments = Moments(times.from_ms(published_ms), NOW_MS, NOW_MS, None)
    found = judge(plan, INDEX, moments, guard=guard)
    refusals = guard.refusals(whole)
    ended, blocked = ended_between(lawful, since_ms=PUBLISHED_MS, now_ms=NOW_MS)
    assert found.refusals[: len(refusals)] == refusals
    is_doubted = guard.is_too_much_removed(ended, blocked) and whole.before == 0
    assert len(found.refusals) == len(refusals) + is_doubted
    assert found.ended == ended
    assert (found.notice is not None) is (guard.is_too_much_removed(ended, blocked) and not is_doubted)
    assert f"{ended:,} of {blocked:,} block" in (found.notice or f"{ended:,} of {blocked:,} block")
    exact = judge(plan, INDEX, moments, guard=guard, exactly=True).change
    counts = ("before", "after", "removed", "added", "single_before", "single_removed", "single_added")
    assert [getattr(exact, name) for name in counts] == [getattr(whole, name) for name in counts]
    for rows in (plan.changes.removed, plan.changes.added, plan.changes.changed_new):
        for mine, its in ((exact.removed_numbers, whole.removed_numbers), (exact.added_numbers, whole.added_numbers)):
            assert mine.touch(rows.number, rows.last).tolist() == its.touch(rows.number, rows.last).tolist()


INDEX = FeedIndex(
    feed="a",
    serial=1,
    published_at=times.from_ms(PUBLISHED_MS),
    rows=1,
    digest="0" * 64,
    last_entry=100,
    releases=(Release(serial=1, published_at=times.from_ms(PUBLISHED_MS), rows=1, digest="0" * 64),),
)


def outcome(plan: Callable[[], T]) -> tuple[str, T | None]:
    """Why it cannot be planned, or what is planned."""
    try:
        return "", plan()
    except InvalidInput as error:
        return str(error), None


@contextmanager
def parts(share: float, size: int = 1 << 20) -> Iterator[None]:
    """Let parts of lists be looked at up to that share of the list, in windows of that many rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "_PART", share)
        patch.setattr(windows, "WINDOW_ROWS", size)
        yield


shares = st.sampled_from([0.0, 0.25, 100.0])
guards = st.builds(
    PublisherGuard,
    max_removed=st.sampled_from([0.0, 0.1, 0.5]),
    min_removed=st.sampled_from([0, 2]),
    max_added=st.sampled_from([0.0, 0.3]),
    min_added=st.sampled_from([0, 2]),
)


@given(layered(), given_rows(), protected_numbers, guards, shares)
@settings(max_examples=EXAMPLES)
def test_what_is_added(
    before: LayeredRows, rows: ListRows, protected: Int64s, guard: PublisherGuard, share: float
) -> None:
    rows, _, _ = cut_list(rows, protected)
    rows, _ = reject_never_in_force(rows, before, now_ms=NOW_MS)
    assume(len(rows))
    old = before.whole()
    lawful, last_entry, concerned = cut_whole(old, protected, last_entry=100)
    given: dict[str, Any] = {"now_ms": NOW_MS, "defaults": DEFAULTS, "published_entry": 100}
    given["published_ms"] = PUBLISHED_MS
    expected = with_added(lawful, rows, last_entry=last_entry, **given)
    if (expected.following.rows.until <= expected.following.rows.since).any():
        with pytest.raises(InvalidInput, match="would end before it begins"):
            plan_added(before, rows, protected=protected, last_entry=100, **given)
        return
    plan = plan_added(before, rows, protected=protected, last_entry=100, **given)
    assert (plan.concerned, plan.already_listed, plan.extended, plan.duplicates, plan.last_entry) == (
        concerned,
        expected.already_listed,
        expected.extended,
        expected.following.duplicates,
        expected.following.last_entry,
    )
    with parts(share):
        assert_plan(plan, old, lawful, expected.following.rows, guard)


@given(
    layered(), given_rows(issuers=[*ISSUERS, "nobody", ANY_ISSUER]), protected_numbers, guards, shares, st.booleans()
)
@settings(max_examples=EXAMPLES)
def test_what_is_removed(
    before: LayeredRows, rows: ListRows, protected: Int64s, guard: PublisherGuard, share: float, allow_empty: bool
) -> None:
    old = before.whole()
    lawful, _, _ = cut_whole(old, protected, last_entry=100)
    given: dict[str, Any] = {"now_ms": NOW_MS, "last_entry": 100, "issuer": ANY_ISSUER, "allow_empty": allow_empty}
    why, expected = outcome(lambda: without(old, rows, **given))
    if expected is None:
        assert outcome(lambda: plan_removed(before, rows, protected=protected, **given)) == (why, None)
        return
    after, last_entry, concerned = cut_whole(expected.following.rows, protected, last_entry=100)
    plan = plan_removed(before, rows, protected=protected, **given)
    assert (plan.concerned, plan.not_listed, plan.duplicates, plan.last_entry) == (
        concerned,
        expected.not_listed,
        expected.following.duplicates,
        last_entry,
    )
    with parts(share):
        assert_plan(plan, old, lawful, after, guard)


@given(layered(), given_rows(), protected_numbers, guards, shares, st.data())
@settings(max_examples=EXAMPLES)
def test_a_whole_list(
    before: LayeredRows,
    rows: ListRows,
    protected: Int64s,
    guard: PublisherGuard,
    share: float,
    data: st.DataObject,
) -> None:
    old = before.whole()
    if data.draw(st.booleans()) and len(old):
        # Most of a list stays as it is.
        at = np.flatnonzero([data.draw(st.sampled_from([True, True, True, False])) for _ in range(len(old))])
        kept = old.take(at)
        names = [name for name in ("issuer", "level", "scope") if getattr(rows, name) is not None]
        columns = {name: getattr(kept, name) for name in names}
        until = None if rows.until is None else kept.until
        mine = ListRows(line=np.arange(len(kept)) + 100, number=kept.number, last=kept.last, until=until, **columns)
        rows = rows.with_rows(mine)
    if data.draw(st.booleans()) and len(old):
        ids = dict(zip(zip(old.number.tolist(), old.last.tolist(), strict=True), old.entry.tolist(), strict=True))
        pairs = list(zip(rows.number.tolist(), rows.last.tolist(), strict=True))
        rows = replace(rows, entry=np.array([ids.pop(pair, NO_ENTRY) for pair in pairs], np.int64))
    rows, _, _ = cut_list(rows, protected)
    rows, _ = reject_never_in_force(rows, before, now_ms=NOW_MS)
    lawful, last_entry, concerned = cut_whole(old, protected, last_entry=100)
    given: dict[str, Any] = {"now_ms": NOW_MS, "defaults": DEFAULTS, "published_entry": 100}
    size = data.draw(st.sampled_from([1, 3, 1 << 20]))
    with parts(share, size):
        why, expected = outcome(lambda: plan_release(lawful, rows, last_entry=last_entry, **given))
        if expected is not None and (expected.rows.until <= expected.rows.since).any():
            with pytest.raises(InvalidInput, match="would end before it begins"):
                plan_whole(before, rows, protected=protected, last_entry=100, **given)
            return
        plan_of = partial(plan_whole, before, rows, protected=protected, last_entry=100, **given)
        if expected is None:
            assert outcome(plan_of) == (why, None)
            return
        plan = plan_of()
        assert (plan.concerned, plan.duplicates, plan.last_entry) == (
            concerned,
            expected.duplicates,
            expected.last_entry,
        )
        assert_plan(plan, old, lawful, expected.rows, guard)


@given(layered(), st.integers(1, 4))
@settings(max_examples=EXAMPLES)
def test_windows_and_counts(layers: LayeredRows, size: int) -> None:
    whole = layers.whole()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW_ROWS", size)
        patch.setattr(windows, "_COUNTED_FIRST", size)
        parts = list(windows.windows(layers))
        assert [row for part in parts for row in to_plain(part)] == to_plain(whole)
        assert reach_of(layers) == reach(whole.number, whole.last)
        grown = list(growing(layers))
        assert to_plain(grown[-1]) == to_plain(whole)
        assert all(set(to_plain(one)) <= set(to_plain(two)) for one, two in pairwise(grown))
        ends = [row for row in to_plain(whole) if PUBLISHED_MS < row.until <= NOW_MS]
        assert to_plain(ending_between(layers, after_ms=PUBLISHED_MS, until_ms=NOW_MS)) == ends
        assert ended_by(layers, NOW_MS) == sum(row.until <= NOW_MS for row in to_plain(whole))
