"""A list as a base and an overlay is, to whoever asks, the list that plain rows give; and so is its tree."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release import tree as trees
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Delta, difference
from blocklist_sdk.release.rows import Rows
from blocklist_sdk.release.stored import BASE_FILES, link_files, open_list, write_base, write_overlay
from blocklist_sdk.release.tree import Tree
from support.chains import Key, chains, naive, removals
from support.strategies import Row, to_plain, to_rows

Chain = tuple[list[Row], list[tuple[list[Row], list[Key]]]]


@given(chain=chains(most=8), leaf_rows=st.sampled_from([1, 2, 5, 64]), data=st.data())
def test_a_list_that_changes_is_the_list_that_plain_rows_give(
    tmp_path_factory: pytest.TempPathFactory, chain: Chain, leaf_rows: int, data: st.DataObject
) -> None:
    """Whatever is put, removed, folded, written and read, and wherever leaves are cut."""
    plain, deltas = chain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "LEAF_ROWS", leaf_rows)
        layers = LayeredRows.of(to_rows(plain))
        tree = Tree.of(layers.base)
        seen = [(layers, plain)]
        for puts, removes in deltas:
            delta = Delta(to_rows(puts), removals(removes))
            try:
                expected = naive(plain, puts, removes)
            except Malformed:
                with pytest.raises(Malformed):
                    layers.applied(delta)
                continue
            after, changes = layers.applied(delta)
            tree = tree.updated(after, changes)
            assert to_plain(after.whole()) == expected
            assert len(after) == len(expected)
            assert tree.digest == digest(to_rows(expected))
            assert_same(changes, layers.whole(), after.whole())
            for before, its in seen:
                since = after.changed_since(before)
                if since is not None:
                    assert_same(since, to_rows(its), after.whole())
            layers, plain = after, expected
            match data.draw(st.sampled_from(["go on", "fold", "store"])):
                case "fold":
                    layers = LayeredRows.of(layers.whole())
                case "store":
                    layers, tree = stored(tmp_path_factory.mktemp("list"), layers, tree)
                    assert tree.digest == digest(to_rows(expected))
            seen.append((layers, plain))
            assert_parts(layers, plain, data)


def assert_same(found: object, old: Rows, new: Rows) -> None:
    expected = difference(old, new)
    for name in ("added", "removed", "changed_old", "changed_new"):
        assert to_plain(getattr(found, name)) == to_plain(getattr(expected, name)), name


def stored(directory: Path, layers: LayeredRows, tree: Tree) -> tuple[LayeredRows, Tree]:
    """Write base and overlay in two folders, as two generations do, and read them back."""
    write_base(directory, layers.base)
    later = directory / "later"
    later.mkdir()
    link_files(directory, later, BASE_FILES)
    if len(layers.overlay):
        base = open_list(directory)
        again = LayeredRows(base.layers.base, layers.overlay, base.layers.facts)
        write_overlay(later, again, tree if len(tree.patch) else Tree.of(layers.whole()))
    found = open_list(later)
    return found.layers, found.tree


def assert_parts(layers: LayeredRows, plain: list[Row], data: st.DataObject) -> None:
    spots = st.sampled_from([0, 999_999, 1_000_000, 1_000_003, 1_000_007, 62_811_000_000, 6_281_234_567_890])
    spans = data.draw(st.lists(st.tuples(spots, st.integers(0, 10)), max_size=4))
    first = np.array([number for number, _ in spans], np.int64)
    last = np.array([number + more for number, more in spans], np.int64)
    near = [row for row in plain if any(low <= row.number <= low + more for low, more in spans)]
    assert to_plain(layers.near(first, last)) == near
    ranges = [row for row in plain if row.last > row.number]
    assert to_plain(layers.ranges()) == ranges
    assert to_plain(layers.around(first, last)) == sorted(
        {*near, *ranges}, key=lambda row: (row.number, row.last, row.entry)
    )
    assert layers.highest_entry >= max((row.entry for row in plain), default=0)
    assert layers.latest_since_ms >= max((row.since for row in plain), default=0)
    entries = np.array([1, 7], np.int64)
    assert layers.has_entry(entries) == any(row.entry in (1, 7) for row in plain)
