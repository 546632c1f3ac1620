"""Deltas, alone and in chains, lead where going through entries one by one leads, in memory that follows the rows."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release import merge
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.layers import LayeredRows, apply
from blocklist_sdk.release.layers import apply_all as apply_all_layered
from blocklist_sdk.release.merge import Delta, Difference, delta_between, difference
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.chains import Key, chains, naive, removals
from support.strategies import Row, to_plain, to_rows

LOW = 6_281_200_000_000


def apply_all(old: Rows, deltas: Sequence[Delta]) -> tuple[Rows, Difference]:
    after, changes = apply_all_layered(LayeredRows.of(old), deltas)
    return after.whole(), changes


def in_turn(first: list[Row], deltas: list[tuple[list[Row], list[Key]]]) -> list[Row] | None:
    """Where the deltas lead; None if one of them does not fit."""
    try:
        for puts, removes in deltas:
            first = naive(first, puts, removes)
    except Malformed:
        return None
    return first


def assert_same_difference(found: Difference, old: Rows, new: Rows) -> None:
    expected = difference(old, new)
    for name in ("added", "removed", "changed_old", "changed_new"):
        assert to_plain(getattr(found, name)) == to_plain(getattr(expected, name)), name


@pytest.mark.parametrize("rows_per_piece", [0, merge._ROWS_PER_PIECE], ids=["piece by piece", "row by row"])
@given(chain=chains(most=6))
def test_deltas_lead_where_entries_one_by_one_lead(
    rows_per_piece: int, chain: tuple[list[Row], list[tuple[list[Row], list[Key]]]]
) -> None:
    first, plain = chain
    deltas = [Delta(to_rows(puts), removals(removes)) for puts, removes in plain]
    old, expected = to_rows(first), in_turn(first, plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "_ROWS_PER_PIECE", rows_per_piece)
        if expected is None:
            with pytest.raises(Malformed):
                apply_all(old, deltas)
            return
        new, changes = apply_all(old, deltas)
        step = old
        for delta in deltas:
            before = step
            step, changes_of_step = apply(before, delta)
            assert_same_difference(changes_of_step, before, step)
    assert to_plain(new) == to_plain(step) == expected
    assert digest(new) == digest(to_rows(expected))
    assert_same_difference(changes, old, new)


def list_of(numbers: int, entries: int) -> Rows:
    """So many numbers with so many entries each."""
    n = numbers * entries
    number = LOW + np.repeat(np.arange(numbers), entries)
    zero = np.zeros(n, np.int64)
    texts = {name: Texts.repeat(name, n) for name in ("category", "issuer")}
    return Rows(
        number=number,
        last=number,
        entry=np.arange(1, n + 1),
        level=Texts.repeat("block", n),
        scope=Texts.repeat("sms", n),
        since=zero,
        until=zero + FOREVER_MS,
        **texts,
    )


def peak_bytes(work: Any) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


_NONE = removals([])


def changed(rows: Rows) -> Rows:
    return Rows(
        **{name: getattr(rows, name) for name in ("number", "last", "entry", "level", "category", "issuer", "scope")},
        since=rows.since + 1000,
        until=rows.until,
    )


def test_what_it_takes_follows_the_rows_however_they_are_spread() -> None:
    """As much for thirty numbers with a thousand entries each as for thirty thousand with one each.

    A row is 76 bytes in memory. One candidate for each pair of a put and an entry would be 30 million of them.
    """
    spread, crowded = list_of(30_000, 1), list_of(30, 1_000)
    for rows in (spread, crowded):
        delta = Delta(changed(rows), _NONE)
        new, changes = apply(rows, delta)
        assert len(new) == len(changes.changed_new) == 30_000
        assert peak_bytes(lambda rows=rows, delta=delta: apply(rows, delta)) < 30_000 * 1000


def test_many_puts_on_one_number_are_too_many_at_once() -> None:
    """Ten thousand on a number that has ten thousand: refused before they are told apart one by one."""
    puts = list_of(1, 20_000)
    old, late = puts.take(np.arange(10_000)), puts.take(np.arange(10_000, 20_000))

    def attempt() -> None:
        with pytest.raises(Malformed, match=r"20,000 entries of \+628…000"):
            apply(old, Delta(late, _NONE))

    assert peak_bytes(attempt) < 20_000 * 1000


def test_a_release_beyond_the_limits_is_malformed_whatever_led_to_it() -> None:
    """Each delta is within them, and so was the release before."""
    rows = list_of(1, 1_001)
    some, one = rows.take(np.arange(1_000)), rows.take(np.array([1_000]))
    with pytest.raises(Malformed, match="at most 1,000"):
        apply(some, Delta(one, _NONE))
    with pytest.raises(Malformed, match="at most 1,000"):
        apply_all(Rows.empty(), [Delta(some, _NONE), Delta(one, _NONE)])


def test_deltas_without_entries_cost_nothing() -> None:
    """A thousand of them go over the rows not once."""
    rows = list_of(200_000, 1)
    empty = Delta(Rows.empty(), _NONE)
    assert apply_all(rows, [empty] * 1000)[0] is rows
    assert peak_bytes(lambda: apply_all(rows, [empty] * 1000)) < len(rows)


def test_a_chain_of_deltas_goes_over_the_rows_once() -> None:
    """Two hundred go together, and lead where one would."""
    rows = list_of(20_000, 1)
    later = changed(rows)
    deltas = [Delta(later.take(np.array([i])), _NONE) for i in range(0, 20_000, 100)]
    new, changes = apply_all(rows, deltas)
    assert changes.changed_new.number.tolist() == rows.number[::100].tolist()
    assert digest(new) == digest(apply(rows, delta_between(rows, new))[0])
    one = peak_bytes(lambda: apply(rows, delta_between(rows, new)))
    assert peak_bytes(lambda: apply_all(rows, deltas)) < 2 * one
