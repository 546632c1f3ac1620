"""Upkeep: what nobody waits for is done all the same, once, and whoever is killed at it loses nothing."""

import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import NotSynced, StorageFailed, times
from blocklist_sdk.locks import file_lock
from blocklist_sdk.recipient import upkeep as module
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.state import Scrub, load_state, save_state
from blocklist_sdk.recipient.sync.scrub import read_pieces
from blocklist_sdk.records import UpkeepResult
from blocklist_sdk.release import stored
from support.command_line import run
from support.world import ADDED, FEED, FIRST, SECOND, Recipient, World, copy_world, make_world


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every overlay is large enough to be folded."""
    monkeypatch.setattr(stored, "OVERLAY_ROWS_MIN", 1)
    monkeypatch.setattr(stored, "FOLD_SHARE", 0.0)


@pytest.fixture
def long_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list is too long to be read by a sync."""
    monkeypatch.setattr("blocklist_sdk.recipient.sync.scrub.AT_ONCE_BYTES", 1)
    monkeypatch.setattr(module, "AT_ONCE_BYTES", 1)


@pytest.fixture
def synced(world: World) -> Iterator[Recipient]:
    with world.recipient() as recipient:
        recipient.sync()
        yield recipient


def in_force(recipient: Recipient) -> str:
    current = internals_of(recipient).store.current()
    assert current is not None
    return current.generation


def has_overlay(recipient: Recipient) -> bool:
    return (internals_of(recipient).store.directory / "generations" / in_force(recipient) / "puts.arrow").exists()


def scrub_of(recipient: Recipient) -> Scrub:
    found = load_state(internals_of(recipient).state_file).scrub
    assert found is not None
    return found


def begin_pass(recipient: Recipient, *, ago: timedelta) -> None:
    path = internals_of(recipient).state_file
    save_state(path, replace(load_state(path), scrub=Scrub(begun_at=times.now() - ago)))


def test_a_list_that_needs_nothing_gets_nothing(synced: Recipient) -> None:
    before = threading.active_count()
    assert synced.upkeep() == UpkeepResult(FEED)
    synced.sync()
    assert threading.active_count() == before


def test_a_library_folds_in_a_thread_for_which_closing_waits(world: World, synced: Recipient, folding: None) -> None:
    world.release(SECOND)
    assert synced.sync().kind == "delta"
    before = in_force(synced)
    synced.close()
    assert in_force(synced) != before
    assert not has_overlay(synced)
    assert (ADDED in synced, FIRST[1] in synced) == (True, False)
    assert not synced.verify().problems
    assert scrub_of(synced).whole_at is not None
    assert synced.sync().kind == "none"


def test_it_can_be_done_at_once(world: World, synced: Recipient, folding: None) -> None:
    world.release(SECOND)
    synced._sync(wait_s=0, accept=None, stop=None, is_scheduled=False)
    assert synced.upkeep() == UpkeepResult(FEED, is_folded=True)
    assert synced.upkeep() == UpkeepResult(FEED)


def test_what_is_due_is_read_and_the_rest_is_not(synced: Recipient, long_lists: None) -> None:
    begin_pass(synced, ago=timedelta(hours=12))
    assert synced.upkeep() == UpkeepResult(FEED)
    scrub = scrub_of(synced)
    assert scrub.pieces > 0
    assert scrub.whole_at is None
    begin_pass(synced, ago=timedelta(days=2))
    synced.upkeep()
    whole_at = scrub_of(synced).whole_at
    assert whole_at is not None
    assert synced.status().whole_at == whole_at


def test_damage_is_noted_for_the_next_sync(world: World, long_lists: None) -> None:
    world.release([f"+62811{i:08}" for i in range(20_000)])
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        begin_pass(recipient, ago=timedelta(days=2))
        (path,) = internals_of(recipient).store.directory.glob("generations/*/cells.arrow")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert recipient.upkeep() == UpkeepResult(FEED, is_damaged=True)
        assert recipient.upkeep() == UpkeepResult(FEED)
        assert recipient.status().damaged
        assert recipient.sync().kind == "snapshot"
        assert not recipient.status().damaged


def test_damage_that_another_found_meanwhile_is_not_forgotten(
    synced: Recipient, long_lists: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_pass(synced, ago=timedelta(hours=12))
    upkeep = internals_of(synced).upkeep.upkeep

    def found_meanwhile(generation: Generation, *arguments: Any, **options: Any) -> Scrub:
        read = read_pieces(generation, *arguments, **options)
        upkeep.note_damage(generation)  # as a run of enforcement does
        return read

    monkeypatch.setattr(module, "read_pieces", found_meanwhile)
    assert upkeep.run() == UpkeepResult(FEED)
    assert scrub_of(synced).damaged == in_force(synced)
    assert synced.sync().kind == "snapshot"


def test_damage_that_all_releases_share_is_said_and_healed(world: World) -> None:
    numbers = [f"+62811{i:08}" for i in random.Random(3).sample(range(10**8), 20_000)]
    world.release(numbers)
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        world.release(numbers[10:])
        assert recipient.sync().kind == "delta"
        path = internals_of(recipient).store.directory / "generations" / in_force(recipient) / "rows.arrow"
    assert path.stat().st_nlink > 1
    os.truncate(path, 1_000)
    with world.recipient(is_guarded=False) as recipient:
        with pytest.raises(NotSynced, match=r"on this disk is damaged: run blocklist sync, which fetches it again"):
            numbers[20] in recipient  # noqa: B015 -- it raises
        assert recipient.sync().kind == "snapshot"
        assert numbers[20] in recipient


def test_a_list_that_is_damaged_is_not_folded(world: World, folding: None) -> None:
    numbers = [f"+62811{i:08}" for i in random.Random(3).sample(range(10**8), 20_000)]
    world.release(numbers)
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        world.release(numbers[10:])
        recipient._sync(wait_s=0, accept=None, stop=None, is_scheduled=False)
        before = in_force(recipient)
        path = internals_of(recipient).store.directory / "generations" / before / "rows.arrow"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert recipient.upkeep() == UpkeepResult(FEED, is_damaged=True)
        assert in_force(recipient) == before
        assert recipient.sync().kind == "snapshot"
        assert not recipient.verify().problems


def test_one_process_at_a_time_does_it(synced: Recipient, long_lists: None) -> None:
    begin_pass(synced, ago=timedelta(days=2))
    path = internals_of(synced).store.directory / "upkeep.lock"
    with file_lock(path, wait_s=0, busy="the test is at it"):
        assert synced.upkeep() == UpkeepResult(FEED)
    assert scrub_of(synced).whole_at is None


def test_a_sync_that_runs_meanwhile_is_not_waited_for_long(
    synced: Recipient, long_lists: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NOTE_WAIT_S", 0.0)
    begin_pass(synced, ago=timedelta(days=2))
    with internals_of(synced).store.lock(0):
        assert synced.upkeep() == UpkeepResult(FEED)
    assert scrub_of(synced).whole_at is None


def test_a_pinned_root_still_knows_the_list_of_before(world: World, synced: Recipient, folding: None) -> None:
    world.release(SECOND)
    synced._sync(wait_s=0, accept=None, stop=None, is_scheduled=False)
    path = internals_of(synced).state_file
    save_state(path, replace(load_state(path), former_generation=in_force(synced)))
    assert synced.upkeep().is_folded
    assert load_state(path).former_generation == in_force(synced)


def test_syncing_in_the_background_does_it_between_syncs(world: World, synced: Recipient, folding: None) -> None:
    world.release(SECOND)
    with synced.keep_synced(0.2):
        until = time.monotonic() + 20
        while not in_force(synced).startswith("000000000002") or has_overlay(synced):
            assert time.monotonic() < until
            time.sleep(0.02)
    assert not synced.verify().problems


def test_the_command_does_it_before_it_ends(
    world: World, synced: Recipient, folding: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.release(SECOND)
    given = ("--url", world.url, "--feed", FEED, "--root", str(world.directory / "publisher" / "root.json"))
    places = ("--cache-dir", str(world.directory / "cache"), "--state-dir", str(world.directory / "cache-state"))
    done = run("sync", *given, *places)
    assert done.code == 0, done
    assert in_force(synced).startswith("000000000002")
    assert not has_overlay(synced)

    def full(*_: object, **__: object) -> UpkeepResult:
        raise StorageFailed("the disk is full", path=world.directory)

    monkeypatch.setattr(module.Upkeep, "run", full)
    failed = run("sync", *given, *places)
    assert (failed.code, "up to date at release 2" in failed.out) == (74, True)
    assert "the disk is full" in failed.err


def flip_cells(recipient: Recipient) -> None:
    """Flip a bit that nothing but reading every byte finds, in a list that is read again by now."""
    (path,) = internals_of(recipient).store.directory.glob(f"generations/{in_force(recipient)}/cells.arrow")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    begin_pass(recipient, ago=timedelta(days=2))


def test_the_command_fetches_a_damaged_list_again(world: World, long_lists: None) -> None:
    world.release([f"+62811{i:08}" for i in range(20_000)])
    given = ("--url", world.url, "--feed", FEED, "--root", str(world.directory / "publisher" / "root.json"))
    places = ("--cache-dir", str(world.directory / "cache"), "--state-dir", str(world.directory / "cache-state"))
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        flip_cells(recipient)
        before = in_force(recipient)
        found = run("sync", *given, *places)
        assert (found.code, "is damaged, so it is fetched again" in found.err) == (0, True), found
        assert in_force(recipient) != before
        flip_cells(recipient)
        for file in world.release_files("*.snapshot.parquet"):
            file.unlink()
        lost = run("sync", *given, *places)
        assert lost.code in (3, 4), lost


def test_syncing_in_the_background_fetches_a_damaged_list_again(world: World, long_lists: None) -> None:
    world.release([f"+62811{i:08}" for i in range(20_000)])
    with world.recipient(is_guarded=False) as recipient:
        recipient.sync()
        flip_cells(recipient)
        before = in_force(recipient)
        # The next sync is an hour from here: nothing else would fetch it before.
        with recipient.keep_synced(3600) as background:
            background._turn()
            assert in_force(recipient) != before
            assert not recipient.status().damaged
