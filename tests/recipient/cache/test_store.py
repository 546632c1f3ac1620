"""Generations on disk: switched whole, healed when damaged, never lost."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blocklist_sdk.errors import InvalidInput, Locked, Malformed, StorageFailed
from blocklist_sdk.recipient.cache import generation as generation_module
from blocklist_sdk.recipient.cache.generation import About, NextList
from blocklist_sdk.recipient.cache.state import SyncState, load_state, save_state
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.quick_processes import quick_processes
from support.scale import scaled
from support.strategies import to_plain
from support.world import make_world

EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)


def rows_of(serial: int, count: int = 100) -> Rows:
    """A release whose entry ids all contain its serial."""
    number = np.arange(6_281_200_000_000, 6_281_200_000_000 + count)
    x = Texts.repeat("block", count)
    forever = np.full(count, FOREVER_MS)
    return Rows(number, number, np.arange(count) + serial * 1000, x, x, x, x, np.zeros(count, np.int64), forever)


def about(serial: int, rows: Rows) -> About:
    return About("id-all", serial, digest(rows), len(rows), datetime(2026, 1, serial, tzinfo=UTC))


def commit(store: Store, serial: int) -> None:
    rows = rows_of(serial)
    store.commit(NextList.of(rows), about(serial, rows), EXPIRES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "id-all")


def serial_in_force(store: Store) -> int | None:
    opened = store.open()
    return opened[0].about.serial if opened else None


def test_nothing_is_written_before_the_first_commit(store: Store) -> None:
    assert store.open() is None
    assert not store.directory.exists()


def test_a_commit_is_what_opens(store: Store) -> None:
    commit(store, 1)
    opened = store.open()
    assert opened is not None
    generation, expires = opened
    assert to_plain(generation.rows) == to_plain(rows_of(1))
    assert (generation.about, expires) == (about(1, rows_of(1)), EXPIRES)


def test_old_generations_are_forgotten_but_the_one_before(store: Store) -> None:
    for serial in range(1, 6):
        commit(store, serial)
    kept = sorted(path.name[:12] for path in (store.directory / "generations").iterdir())
    assert kept == ["000000000004", "000000000005"]


def test_what_a_damaged_copy_leaves_behind_never_drives_out_the_good_one(store: Store) -> None:
    commit(store, 1)
    commit(store, 2)
    damaged = next((store.directory / "generations").glob("000000000002-*"))
    (damaged / "rows.arrow").write_bytes(b"")
    commit(store, 2)
    assert not damaged.exists()
    kept = sorted(path.name[:12] for path in (store.directory / "generations").iterdir())
    assert kept == ["000000000001", "000000000002"]


def test_what_a_killed_sync_left_is_swept(store: Store) -> None:
    commit(store, 1)
    (store.directory / "fetch-killed").mkdir()
    with store.workspace() as directory:
        assert [path.name for path in store.directory.glob("fetch-*")] == [directory.name]
    assert not list(store.directory.glob("fetch-*"))


def test_an_open_generation_outlives_its_files(store: Store) -> None:
    commit(store, 1)
    opened = store.open()
    for serial in range(2, 5):
        commit(store, serial)
    assert opened is not None
    assert opened[0].blocks(6_281_200_000_042, 0)


@pytest.mark.parametrize(
    "name", ["about.json", "rows.arrow", "cells.arrow", "segments.arrow", "kinds.arrow", "ranges.arrow"]
)
@pytest.mark.parametrize("damage", ["gone", "empty", "truncated", "garbage"])
def test_a_damaged_generation_gives_way_to_the_one_before(store: Store, name: str, damage: str) -> None:
    commit(store, 1)
    commit(store, 2)
    path = next((store.directory / "generations").glob("000000000002-*")) / name
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "truncated": whole[:-9], "garbage": b"\xff" * len(whole)}[damage])
    assert serial_in_force(store) == 1
    commit(store, 2)
    assert serial_in_force(store) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"format": 1}', b'{"format": 1, "generation": "x"}']
)
def test_a_damaged_pointer_gives_way_to_the_newest_generation(store: Store, content: bytes) -> None:
    commit(store, 1)
    commit(store, 2)
    store.pointer.write_bytes(content)
    opened = store.open()
    assert opened is not None
    assert opened[0].about.serial == 2
    assert opened[1] is None  # so that every verdict says stale until a sync has verified it again


def test_what_a_newer_version_wrote_is_refused(store: Store) -> None:
    commit(store, 1)
    store.pointer.write_text(json.dumps({"format": 99, "generation": "x", "expires": None}))
    with pytest.raises(InvalidInput, match="newer blocklist-sdk"):
        store.open()


@pytest.mark.parametrize("failing", [1, 2, 3, 4, 5, 6])
def test_a_full_disk_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """The nth flush to disk fails, as it does when the disk is full."""
    commit(store, 1)
    before = sorted((store.directory / "generations").iterdir())
    calls = 0
    real = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space left"):
        commit(store, 2)
    monkeypatch.undo()
    assert serial_in_force(store) == 1
    left = sorted((store.directory / "generations").iterdir())
    assert left[: len(before)] == before
    assert not list((store.directory / "generations").glob(".new-*"))
    commit(store, 2)
    assert serial_in_force(store) == 2


def test_a_failed_write_of_the_rows_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(generation_module, "write_answers", full)
    with pytest.raises(StorageFailed):
        commit(store, 2)
    monkeypatch.undo()
    assert serial_in_force(store) == 1


def hold(directory: Path, held: "multiprocessing.synchronize.Event", done: "multiprocessing.synchronize.Event") -> None:
    with Store(directory).lock(0):
        held.set()
        done.wait(30)


def test_one_process_at_a_time(store: Store) -> None:
    context = quick_processes()
    held, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(store.directory, held, done))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(Locked, match="another process is syncing"), store.lock(0.1):
            pass
    finally:
        done.set()
        other.join()
    with store.lock(0):
        pass


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "id-all")
    assert store.open() is None
    with pytest.raises(StorageFailed, match="cannot use"), store.lock(0):
        pass


def test_state_survives_and_heals(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.json"
    assert load_state(path) == SyncState()
    state = SyncState(highest_serial=7, last_success=datetime(2026, 1, 1, tzinfo=UTC), last_error="Unreachable: x")
    save_state(path, state)
    assert load_state(path) == state
    path.write_bytes(b"\0" * 50)
    assert load_state(path) == SyncState()


TURNS = scaled(20, long=120)

FLIPS = """
import random, shutil, sys
from pathlib import Path
from typing import Any
sys.path[:0] = sys.argv[4:]
from blocklist_sdk import Blocklist, BlocklistError
from support.world import FEED, FIRST, LISTED
url, directory, turns = sys.argv[1:4]
directory = Path(directory)
pristine = directory / "pristine"
options = dict(feed=FEED, root=directory / "publisher" / "root.json", region="ID")
with Blocklist.open(url, cache_dir=pristine, **options) as blocklist:
    blocklist.sync()
random = random.Random(5)
for turn in range(int(turns)):
    cache = directory / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(pristine, cache)
    name = random.choice(["rows", "cells", "kinds", "segments", "ranges"])
    (file,) = cache.glob(f"*/generations/*/{name}.arrow")
    data = bytearray(file.read_bytes())
    at = random.randrange(len(data))
    data[at] ^= 1 << random.randrange(8)
    file.write_bytes(data)
    with Blocklist.open(url, cache_dir=cache, **options) as blocklist:
        for ask in (lambda: LISTED in blocklist, lambda: blocklist.check(LISTED), lambda: blocklist.entries(LISTED)):
            try:
                ask()
            except BlocklistError:
                pass
        blocklist.sync()
        assert all(number in blocklist for number in FIRST[:200]), (name, at)
        assert blocklist.check(LISTED).blocked and "+6281200009778" not in blocklist, (name, at)
"""


def test_a_flipped_bit_kills_no_process_and_the_next_sync_repairs_it(tmp_path: Path) -> None:
    """In a process of its own: the wrong bit in a mapped file could end it with a bus error."""
    world = make_world(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", FLIPS, world.url, str(tmp_path), str(TURNS), str(Path(__file__).parents[2])],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_a_lost_pointer_gives_way_to_the_newest_whole_generation(store: Store) -> None:
    commit(store, 1)
    commit(store, 2)
    store.pointer.unlink()
    assert serial_in_force(store) == 2


@pytest.mark.parametrize(
    "document", ['{"format": 1, "generation": "x", "expires": "2030-01-01T00:00:00"}', "[" * 200_000]
)
def test_an_odd_pointer_counts_as_damaged(store: Store, document: str) -> None:
    commit(store, 1)
    store.pointer.write_text(document)
    opened = store.open()
    assert opened is not None
    assert (opened[0].about.serial, opened[1]) == (1, None)


def test_disk_use_is_counted_while_a_sync_deletes_a_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for name in ("kept", "forgotten"):
        folder = tmp_path / "generations" / name
        folder.mkdir(parents=True)
        (folder / "rows.arrow").write_bytes(b"x" * 100)
    assert store.disk_bytes() == 200
    look = os.scandir

    def forgets(path: Any) -> Any:
        if Path(path).name == "forgotten":
            (Path(path) / "rows.arrow").unlink()
            Path(path).rmdir()
        return look(path)

    monkeypatch.setattr(os, "scandir", forgets)
    assert store.disk_bytes() == 100


def test_a_reader_held_up_through_many_switches_finds_what_is_in_force(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the reader opens what the pointer named, syncs have switched to others and deleted that."""
    commit(store, 1)
    opening, serials = generation_module.Generation.open, iter(range(2, 8))

    def held_up(directory: Path) -> generation_module.Generation:
        serial = next(serials, None)
        if serial is not None:
            monkeypatch.undo()
            commit(store, serial)
            monkeypatch.setattr(generation_module.Generation, "open", held_up)
            raise Malformed(f"{directory} is gone")
        return opening(directory)

    monkeypatch.setattr(generation_module.Generation, "open", held_up)
    opened = store.open()
    assert opened is not None
    assert (opened[0].about.serial, opened[1]) == (7, EXPIRES)
