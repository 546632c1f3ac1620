"""A base is made anew of a generation and its overlay while readers and syncs go on."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blocklist_sdk.errors import Malformed
from blocklist_sdk.recipient.cache.generation import About, Generation, NextList
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.changes import Changes
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release import stored, windows
from blocklist_sdk.release.merge import delta_between
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.strategies import to_plain

LOW = 6_281_200_000_000
EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
SIGNED = {"index.json": b"{}", "timestamp.json": b"[]"}


def rows_of(serial: int, count: int = 300) -> Rows:
    """A release without the first numbers, as many as its serial."""
    number = LOW + np.arange(serial, count)
    x = Texts.repeat("block", len(number))
    zero = np.zeros(len(number), np.int64)
    return Rows(number, number, number - LOW + 1, x, x, x, x, zero, np.full(len(number), FOREVER_MS, np.int64))


def commit(store: Store, serial: int, *, hold: frozenset[ReleaseId] = frozenset()) -> None:
    """Put a release in force as a sync of the delta does."""
    rows = rows_of(serial)
    before = store.open()
    listed = NextList.of(rows)
    if before is not None and before[0].about.serial < serial:
        layers, changes = before[0].layers.applied(delta_between(before[0].rows, rows))
        listed = NextList(layers, before[0].tree.updated(layers, changes), changes)
    about = About(
        "id-all", serial, listed.tree.digest, len(rows), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=serial - 1)
    )
    store.commit(listed, about, EXPIRES, signed=SIGNED, hold=hold)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "id-all")
    commit(store, 1)
    commit(store, 2)
    return store


def in_force(store: Store) -> Generation:
    opened = store.open()
    assert opened is not None
    return opened[0]


def names(store: Store) -> set[str]:
    return {path.name for path in (store.directory / "generations").iterdir()}


@pytest.mark.parametrize("rows_at_a_time", [1 << 20, 7])
def test_the_same_release_is_in_force_without_an_overlay(
    store: Store, rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", rows_at_a_time)
    before = in_force(store)
    assert len(before.layers.overlay) > 0
    assert store.fold(before)
    after = in_force(store)
    assert after.name != before.name
    assert (after.about, len(after.layers.overlay), after.all_signed()) == (before.about, 0, SIGNED)
    assert after.is_whole()
    assert to_plain(after.rows) == to_plain(before.rows) == to_plain(rows_of(2))
    current = store.current()
    assert current is not None
    assert current.expires == EXPIRES
    assert store.releases() == [ReleaseId(1, 2), ReleaseId(1, 1)]
    # Who has the older copy open goes on with it.
    assert before.blocks(LOW + 5, 0)
    commit(store, 3)
    assert [in_force(store).about.serial, in_force(store).is_whole()] == [3, True]


def during_the_fold(monkeypatch: pytest.MonkeyPatch, happens: Callable[[Store], None]) -> None:
    """Let something happen once a base is written, and before it is put in force."""
    writing = Store._write_folded

    def interrupted(self: Store, staging: Path, generation: Generation) -> Generation:
        folded = writing(self, staging, generation)
        with self.lock(0):  # which is free meanwhile
            happens(self)
        assert staging.is_dir()
        return folded

    monkeypatch.setattr(Store, "_write_folded", interrupted)


def test_releases_that_came_meanwhile_are_put_on_the_new_base(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def happens(store: Store) -> None:
        for serial in (3, 4, 5):
            commit(store, serial)

    before = in_force(store)
    during_the_fold(monkeypatch, happens)
    replaced = store.fold(before)
    after = in_force(store)
    assert replaced is not None
    assert replaced not in (before.name, after.name)
    assert (after.about.serial, after.is_whole(), after.all_signed()) == (5, True, SIGNED)
    assert not after.shares_base(before)
    assert after.folded_from == before.layers.facts.base_id
    # Entries 3 to 5 are gone since the fold began; the two before are in the base no more.
    assert (len(after.layers.base), len(after.layers.overlay)) == (298, 3)
    assert to_plain(after.rows) == to_plain(rows_of(5))
    assert [after.blocks(LOW + i, 0) for i in range(7)] == [False] * 5 + [True] * 2
    # The release before has the older base, as the copy that stays.
    assert serials_of_changes(store, 4) == (True, [5])
    assert not [name for name in names(store) if name.startswith(".")]
    commit(store, 6)
    assert serials_of_changes(store, 5) == (True, [6])
    assert in_force(store).is_whole()


def test_a_base_that_came_meanwhile_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def happens(store: Store) -> None:
        rows = rows_of(3)
        listed = NextList.of(rows)
        about = About("id-all", 3, listed.tree.digest, len(rows), datetime(2026, 1, 3, tzinfo=UTC))
        store.commit(listed, about, EXPIRES, signed=SIGNED)

    during_the_fold(monkeypatch, happens)
    assert store.fold(in_force(store)) is None
    after = in_force(store)
    assert (after.about.serial, len(after.layers.overlay), after.folded_from) == (3, 0, None)
    assert not [name for name in names(store) if name.startswith(".")]


def test_so_much_came_meanwhile_that_a_base_would_have_to_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "OVERLAY_ROWS_MIN", 0)
    monkeypatch.setattr("blocklist_sdk.recipient.cache.folding.OVERLAY_SHARE_MAX", 0.01)

    def happens(store: Store) -> None:
        for serial in (3, 4, 5):
            commit(store, serial)

    during_the_fold(monkeypatch, happens)
    assert store.fold(in_force(store)) is None
    assert (in_force(store).about.serial, in_force(store).is_whole()) == (5, True)


def test_an_overlay_that_came_meanwhile_is_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def happens(store: Store) -> None:
        opened = in_force(store)
        layers, changes = opened.layers.applied(delta_between(opened.rows, rows_of(4)))
        about = replace(opened.about, serial=4, digest="tree-" + "0" * 64, rows=len(layers))
        # Its rows do not have this digest, as if a bit had been flipped.
        store.commit(NextList(layers, opened.tree.updated(layers, changes), changes), about, EXPIRES, signed=SIGNED)

    during_the_fold(monkeypatch, happens)
    with pytest.raises(Malformed, match="is damaged"):
        store.fold(in_force(store))
    assert in_force(store).about.serial == 4


def test_two_folds_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before, second = in_force(store), []
    writing = Store._write_folded

    def beside(self: Store, staging: Path, generation: Generation) -> Generation:
        thread = threading.Thread(target=lambda: second.append(Store(store.directory).fold(before)))
        thread.start()
        thread.join()
        return writing(self, staging, generation)

    monkeypatch.setattr(Store, "_write_folded", beside)
    assert store.fold(before)
    assert second == [None]
    assert in_force(store).is_whole()


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run in a child that is killed before its nth rename, link or flush; whether it came that far."""
    child = os.fork()
    if not child:
        left = [step]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **options)

            return call

        for module, name in ((os, "fsync"), (os, "replace"), (os, "link"), (shutil, "rmtree")):
            setattr(module, name, counted(getattr(module, name)))
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("meanwhile", [False, True])
def test_killed_at_any_moment(store: Store, monkeypatch: pytest.MonkeyPatch, meanwhile: bool) -> None:
    """What is in force is whole, and the next release sweeps what was left."""
    serial, step = 2, 1
    if meanwhile:
        during_the_fold(monkeypatch, lambda store: commit(store, in_force(store).about.serial + 1))
    while killed_at(step, lambda: store.fold(in_force(store))):
        if meanwhile:
            serial = max(serial, min(in_force(store).about.serial, serial + 1))
        assert (in_force(store).about.serial, in_force(store).is_whole()) == (serial, True)
        if step % 5 == 0:
            serial += 1
            commit(store, serial)
            assert store.releases() == [ReleaseId(1, serial), ReleaseId(1, serial - 1)]
            assert len(names(store)) == 2
        step += 1
    assert step > 10
    assert in_force(store).is_whole()


def serials_of_changes(store: Store, since: int) -> tuple[bool, list[int]]:
    """Whether only overlays were compared, and the entries that are gone."""
    pair = store.open_pair(ReleaseId(1, since), in_force(store))
    assert pair is not None
    assert pair[1].about == in_force(store).about
    changes = Changes(*pair, lambda: Rules(frozenset(), {}))
    return pair[0].shares_base(pair[1]), [change.entry.entry for change in changes]


def test_changes_across_a_fold_are_those_of_overlays(store: Store) -> None:
    assert serials_of_changes(store, 1) == (True, [2])
    assert store.fold(in_force(store))
    assert serials_of_changes(store, 1) == (True, [2])
    commit(store, 3, hold=frozenset({ReleaseId(1, 1)}))
    assert serials_of_changes(store, 2) == (True, [3])
    # Further back, all rows are compared.
    assert serials_of_changes(store, 1) == (False, [2, 3])


def test_held_releases_stay(store: Store) -> None:
    commit(store, 3, hold=frozenset({ReleaseId(1, 1)}))
    assert store.fold(in_force(store))
    assert store.releases() == [ReleaseId(1, 3), ReleaseId(1, 2), ReleaseId(1, 1)]
    held = store.open_release(ReleaseId(1, 1))
    assert held is not None
    assert held.is_whole()


def test_without_room_on_the_disk_nothing_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = names(store)
    usage = shutil.disk_usage(store.directory)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert not store.fold(in_force(store))
    assert names(store) == before
    assert "to make a base of it takes" in caplog.text


def test_a_damaged_generation_is_not_made_a_base(store: Store) -> None:
    opened = in_force(store)
    rows = opened.directory / "rows.arrow"
    data = rows.read_bytes()
    at = data.index((LOW + np.arange(100, 104)).tobytes())
    before = names(store)
    with rows.open("r+b") as file:
        file.seek(at + 1)
        file.write(bytes([data[at + 1] ^ 1]))
    with pytest.raises(Malformed, match="is damaged"):
        store.fold(opened)
    assert names(store) == before


def test_only_large_overlays_are_to_be_folded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_force(store).is_to_be_folded
    monkeypatch.setattr(stored, "OVERLAY_ROWS_MIN", 0)
    assert not in_force(store).is_to_be_folded
    for serial in range(3, 13):
        commit(store, serial)
    assert in_force(store).is_to_be_folded


def test_files_that_generations_share_count_once(store: Store) -> None:
    before = store.disk_bytes()
    commit(store, 3)
    commit(store, 4)
    assert store.disk_bytes() < before + 20_000
