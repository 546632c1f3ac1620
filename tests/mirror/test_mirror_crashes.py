"""A run that is cut, killed or out of room at any moment: readers see whole releases, and the next run repairs."""

import contextlib
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import StorageFailed, Untrusted
from blocklist_sdk.publisher import serving
from support.full_disk import FullDisk
from support.killing import LATER, SOONER, Moment, Say, counted_steps, nursery, spread
from support.mirrors import assert_mirror_answers, at_mirror, make_mirror, place, published, replace_online_key, served
from support.scale import scaled
from support.waiting import until
from support.world import FIRST, SECOND, Forger, World, copy_world, is_whole, make_world, whole_releases_only

KILLS = scaled(6, long=30)
STEP = scaled(3, long=1)
"""Of the moments at which a disk is full, one in so many is tried."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def serial_seen(world: World, url: str | None = None) -> int:
    """What a new recipient of the mirror syncs, after a look that it is all of it."""
    recipient = at_mirror(world, url=url, cache="reader")
    try:
        serial = recipient.sync().after
        assert whole_releases_only(recipient) is None
        assert is_whole(recipient)
    finally:
        for suffix in ("", "-state"):
            shutil.rmtree(world.directory / f"reader{suffix}", ignore_errors=True)
    return serial


class Killed(BaseException):
    """A power cut in the middle of a run."""


@contextlib.contextmanager
def cut_after(renames: int) -> Iterator[None]:
    """The rename is the step; after so many of them the run ends."""
    rename, left = os.replace, renames

    def cut(source: Any, target: Any) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", cut)
        yield


def test_a_cut_at_each_single_step_is_repaired(world: World) -> None:
    make_mirror(world)
    shutil.copytree(place(world), world.directory / "original")
    world.release(SECOND)
    seen: list[int] = []
    for renames in range(100):
        shutil.rmtree(place(world))
        shutil.copytree(world.directory / "original", place(world))
        with cut_after(renames), contextlib.suppress(Killed):
            make_mirror(world)
            break
        seen.append(serial_seen(world))
        make_mirror(world)
        assert served(place(world)).items() >= published(world).items()
        assert serial_seen(world) == 2
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}
    # TUF's root, timestamp, snapshot and feed; three target files, arrived and in place; snapshot, feed, timestamp;
    # which feeds; what was dropped.
    assert len(seen) == 4 + 2 * 3 + 3 + 1 + 1


def test_a_first_run_that_is_cut_at_each_single_step_is_repaired(world: World) -> None:
    for renames in range(100):
        with cut_after(renames), contextlib.suppress(Killed):
            make_mirror(world)
            break
        if (place(world) / "metadata" / "timestamp.json").exists():
            assert serial_seen(world) == 1
        make_mirror(world)
        assert served(place(world)) == published(world)
        shutil.rmtree(place(world))
    assert renames > 15


def test_a_new_online_key_is_repaired_as_well(world: World) -> None:
    """Between the new root and the new timestamp a recipient is refused; it has its list, and the next run mends it."""
    make_mirror(world)
    world.release(SECOND)
    replace_online_key(Forger(world))
    shutil.copytree(place(world), world.directory / "original")
    refusals = 0
    for renames in range(100):
        shutil.rmtree(place(world))
        shutil.copytree(world.directory / "original", place(world))
        with cut_after(renames), contextlib.suppress(Killed):
            make_mirror(world)
            break
        try:
            assert serial_seen(world) in (1, 2)
        except Untrusted:
            refusals += 1
        make_mirror(world)
        assert_mirror_answers(world, 2)
    assert refusals == 1


def copy_again(world: World, _: int, say: Say) -> None:
    make_mirror(world)


class Reader(threading.Thread):
    """Syncs new recipients from a mirror all the while.

    Attributes:
        seen: the serials they got, in order.
        failure: what ended it early.
    """

    def __init__(self, look: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.seen: list[int] = []
        self.failure: BaseException | None = None
        self._look = look
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.seen.append(self._look())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must show it
            self.failure = error

    def __enter__(self) -> "Reader":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join()


@pytest.mark.timing
def test_a_run_that_is_killed_at_any_moment(world: World) -> None:
    make_mirror(world)
    chance = random.Random(5)
    serial = 1
    switched: set[bool] = set()

    def release_next() -> None:
        nonlocal serial
        serial += 1
        world.release(SECOND if serial % 2 == 0 else FIRST)

    def killed(moment: Moment) -> bool:
        release_next()
        was_killed = children.run(serial, moment).was_killed
        if was_killed:
            timestamps = [path / "metadata" / "timestamp.json" for path in (world.repository, place(world))]
            switched.add(timestamps[0].read_bytes() == timestamps[1].read_bytes())
        make_mirror(world)
        assert served(place(world)).items() >= published(world).items()
        until(lambda: reader.failure is not None or reader.seen[-1:] == [serial])
        return was_killed

    with nursery(partial(copy_again, world)) as children:
        release_next()
        with counted_steps() as steps:
            make_mirror(world)
        with serving(place(world)) as url, Reader(lambda: serial_seen(world, url)) as reader:
            for step in spread(steps.count, KILLS // 2):
                assert killed(Moment(step=step))
            assert switched == {False, True}
            # Half of these kills at any moment, half of them while the new state is put in force.
            longest_s = {"*": 0.2, "metadata/.new-*": 0.02}
            kills = 0
            while kills < KILLS // 2:
                pattern = chance.choice(sorted(longest_s))
                was_killed = killed(Moment(chance.uniform(0, longest_s[pattern]), pattern, place(world)))
                longest_s[pattern] *= LATER if was_killed else SOONER
                kills += was_killed
    assert reader.failure is None
    assert reader.seen == sorted(reader.seen)
    assert serial_seen(world) == serial
    assert not list(place(world).rglob(".new-*"))
    make_mirror(world, grace_s=0)
    assert served(place(world)) == published(world)


@pytest.mark.parametrize(
    ("before", "once"),
    [(0, False), (1, False), (1, True)],
    ids=["the first run, from then on", "a later run, from then on", "a later run, for a moment"],
)
def test_a_disk_that_is_full_at_every_moment(world: World, before: int, once: bool) -> None:
    original, timestamp = world.directory / "original", place(world) / "metadata" / "timestamp.json"
    if before:
        make_mirror(world)
        shutil.copytree(place(world), original)
        world.release(SECOND)
    for moment in range(1, 1000, STEP):
        shutil.rmtree(place(world), ignore_errors=True)
        if before:
            shutil.copytree(original, place(world))
        disk = FullDisk(moment, once=once)
        with disk.mounted(), contextlib.suppress(StorageFailed):
            make_mirror(world)
        if timestamp.exists() and timestamp.read_bytes() == (world.metadata / timestamp.name).read_bytes():
            assert served(place(world)).items() >= published(world).items()
        elif before:
            assert served(place(world)).items() >= served(original).items()
        make_mirror(world)
        assert served(place(world)).items() >= published(world).items()
        if not disk.has_refused:
            break
    assert moment > 40
    assert_mirror_answers(world, before + 1)


def test_two_runs_at_once_wait_for_each_other(world: World) -> None:
    make_mirror(world)
    world.release(SECOND)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(make_mirror(world, wait_s=30))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.fetched for result in results) == [0, 0, 0, 3]
    assert served(place(world)).items() >= published(world).items()


def test_files_that_are_here_are_not_fetched_again_after_a_kill(world: World) -> None:
    with cut_after(16), pytest.raises(Killed):
        make_mirror(world)
    there = {path for path in served(place(world)) if path.startswith("targets/")}
    assert there
    result = make_mirror(world)
    assert result.kept == len(there)
    assert result.fetched == 5 - len(there)
