"""When entries begin and end: what is foreseen, and what is searched for, is what each row says. Generated numbers."""

import random

import numpy as np
import pytest

from blocklist_sdk.enforcement import turns
from blocklist_sdk.enforcement.turns import Clock, turns_between, turns_foreseen
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import delta_between
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from blocklist_sdk.release.spans import Spans
from support.scale import scaled


def drawn(chance: random.Random, entries: dict[int, tuple[int, int]]) -> Rows:
    """A list; `entries` are the moments of each entry that may stay as it is."""
    for entry in range(1, 9):
        if chance.random() < 0.3:
            since = chance.randrange(40)
            entries[entry] = since, chance.choice((FOREVER_MS, since + 1 + chance.randrange(40)))
        elif chance.random() < 0.1:
            entries.pop(entry, None)
    ids = np.array(sorted(entries), np.int64)
    texts = Texts.repeat("block", len(ids))
    moments = np.array([entries[each] for each in ids.tolist()], np.int64).reshape(-1, 2)
    return Rows(ids * 10, ids * 10, ids, texts, texts, texts, texts, moments[:, 0].copy(), moments[:, 1].copy())


def in_force(rows: Rows, clock: Clock) -> dict[int, bool]:
    is_in = (rows.since <= clock.begun) & (clock.now < rows.until)
    return dict(zip(rows.number.tolist(), is_in.tolist(), strict=True))


def next_of(rows: Rows, now: int) -> int:
    return min((int(each) for column in (rows.since, rows.until) for each in column if each > now), default=FOREVER_MS)


@pytest.mark.parametrize("seed", range(scaled(60, long=2_000)))
def test_turns_are_what_each_row_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(turns, "_ROWS_AT_A_TIME", chance.choice((1, 4, 100)))
    entries: dict[int, tuple[int, int]] = {}
    old = LayeredRows.of(drawn(chance, entries))
    new, difference = old.applied(delta_between(old.whole(), drawn(chance, entries)))
    clocks = []
    for _ in range(2):
        now = chance.randrange(60)
        clocks.append(Clock(now, now + chance.choice((0, 5, 25))))
    before, after = clocks
    found = turns_between(new, before, after)
    rows = new.whole()
    assert found.next == next_of(rows, after.now)
    was, now_is = in_force(rows, before), in_force(rows, after)
    turned = np.array([number for number in was if was[number] != now_is[number]], np.int64)
    assert found.spans.touch(turned, turned).all()
    foreseen = turns_foreseen(next_of(old.whole(), before.now), before, after, difference)
    if foreseen is not None:
        assert foreseen.next == found.next
        alike = np.setdiff1d(turned, Spans.of(*difference.numbers()).first)
        assert not len(alike), "an entry turned that nobody has touched"
