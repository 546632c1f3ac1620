"""A disk without room, a limit on the size of files, a read-only disk: refused, nothing lost, and it heals."""

import contextlib
import logging
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blocklist_sdk import NotSynced, StorageFailed
from support.audit import audited
from support.decisions import Decisions, Step, after, assert_answers_follow, decide, standing
from support.scale import Tally, scaled
from support.world import FIRST, LISTED, SECOND, Recipient, World, copy_world, make_world

LISTS = {1: FIRST, 2: SECOND}
DECIDED = [*FIRST[:5], "+6281299999999"]
VOLUME_BYTES = 2 << 20
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A record that is kept keeps the error, and with it the mapped files, whose room is then never free again."""
    caplog.set_level(logging.CRITICAL + 1, logger="blocklist_sdk")


@dataclass(frozen=True)
class Volume:
    """A small disk of its own.

    Attributes:
        path: where it is mounted.
    """

    path: Path

    @contextlib.contextmanager
    def filled(self, *, room: int) -> Iterator[None]:
        """Leave so many bytes."""
        filler = self.path / "filler"
        with filler.open("wb") as file:
            free = shutil.disk_usage(self.path).free
            file.write(b"\0" * max(0, free - room))
        try:
            yield
        finally:
            filler.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        _run("mount", "-o", "remount,ro", str(self.path))
        try:
            yield
        finally:
            _run("mount", "-o", "remount,rw", str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    path = tmp_path / "volume"
    path.mkdir()
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES}", "tmpfs", str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a disk of its own cannot be mounted here: {error}")
    try:
        yield Volume(path)
    finally:
        # What is still mapped keeps a disk busy; this one goes once that is let go.
        _run("umount", "--lazy", str(path))


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, also below Python; a write beyond fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


Narrow = Callable[[int], contextlib.AbstractContextManager[None]]


def sync_in(narrow: Narrow, sizes: list[int], world: World, cache: str) -> tuple[int, int]:
    """A first sync and a delta with little room: how many were refused, and how many were done."""
    refused = done = 0
    chance = random.Random(21)
    for size in sizes:
        for before in (0, 1):
            if before:
                copy_of(world, cache)
            # Closed again each, since a file that is still mapped keeps its room on the disk.
            with world.recipient(cache=cache) as recipient, narrow(size):
                try:
                    assert recipient.sync().after == 2
                    done += 1
                except StorageFailed:
                    refused += 1
                    assert_serial(recipient, before, chance)
            with world.recipient(cache=cache) as left:
                assert_serial(left, before, chance)
            with world.recipient(cache=cache) as healed:
                assert healed.sync().after == 2
                assert_serial(healed, 2, chance)
            for suffix in ("", "-state"):
                shutil.rmtree(world.directory / f"{cache}{suffix}")
    return refused, done


def copy_of(world: World, cache: str) -> None:
    """A cache that holds the first release."""
    for suffix in ("", "-state"):
        shutil.copytree(world.directory / f"original{suffix}", world.directory / f"{cache}{suffix}")


def assert_serial(recipient: Recipient, before: int, chance: random.Random) -> None:
    """The release before answers, or the one after, where only the end of the sync was refused."""
    if recipient.is_synced():
        assert audited(recipient, LISTS, chance=chance) >= before
    else:
        assert not before
        with pytest.raises(NotSynced):
            recipient.check(LISTED)


def with_second(world: World) -> None:
    world.recipient(cache="original").sync()
    world.release(SECOND)


def spread(least: int, most: int, count: int) -> list[int]:
    return [least + (most - least) * i // (count - 1) for i in range(count)]


def test_syncs_whose_files_may_not_grow(world: World, tally: Tally) -> None:
    with_second(world)
    sizes = [*spread(0, 5000, scaled(3, long=40)), *spread(6000, 140_000, scaled(4, long=60))]
    refused, done = sync_in(largest_file, sizes, world, "small")
    assert refused
    assert done
    tally(refused_syncs=refused, syncs=done)


def test_syncs_on_a_full_disk(world: World, volume: Volume, tally: Tally) -> None:
    with_second(world)
    sizes = [PAGE_BYTES * pages for pages in spread(0, 160, scaled(7, long=80))]
    refused, done = sync_in(lambda size: volume.filled(room=size), sizes, world, str(volume.path / "cache"))
    assert refused
    assert done
    tally(refused_syncs=refused, syncs=done)


def decide_in(narrow: Narrow, sizes: list[int], world: World, cache: str) -> tuple[int, int]:
    """Decisions with little room: how many were refused, and how many were made."""
    refused = made = 0
    chance = random.Random(22)
    recipient = world.recipient(cache=cache)
    recipient.sync()
    decisions: Decisions = {}
    for size in sizes:
        steps: list[Step] = [(chance.choice(("allow", "block", "remove")), n, f"case {size}") for n in DECIDED]
        with narrow(size):
            for step in steps:
                try:
                    decide(recipient, step)
                    decisions = after(decisions, step)
                    made += 1
                except StorageFailed:
                    refused += 1
                assert_answers_follow(recipient, decisions, DECIDED, listed=FIRST)
        for each in (recipient, world.recipient(cache=cache)):
            assert standing(each) == decisions
            assert_answers_follow(each, decisions, DECIDED, listed=FIRST)
        step = ("block", chance.choice(DECIDED), f"after {size}: {'a long reason' * 50}")
        decide(recipient, step)
        decisions = after(decisions, step)
    return refused, made


def test_overrides_whose_file_may_not_grow(world: World, tally: Tally) -> None:
    sizes = [*spread(0, 40_000, scaled(8, long=200))]
    refused, made = decide_in(largest_file, sizes, world, "small")
    assert refused
    assert made
    tally(refused_overrides=refused, overrides=made)


def test_overrides_on_a_full_disk(world: World, volume: Volume, tally: Tally) -> None:
    sizes = [PAGE_BYTES * pages for pages in spread(0, 14, scaled(5, long=15))] * scaled(1, long=10)
    refused, made = decide_in(lambda size: volume.filled(room=size), sizes, world, str(volume.path / "cache"))
    assert refused
    assert made
    tally(refused_overrides=refused, overrides=made)


@contextlib.contextmanager
def without_write_permission(directory: Path) -> Iterator[None]:
    folders = [directory, *(path for path in directory.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o700)


def check_read_only(world: World, cache: str, freezing: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
    recipient = world.recipient(cache=cache)
    recipient.sync()
    first: Step = ("allow", LISTED, "appeal 17")
    decide(recipient, first)
    decisions = after({}, first)
    world.release(SECOND)
    with freezing():
        for each in (recipient, world.recipient(cache=cache)):
            with pytest.raises(StorageFailed):
                each.sync()
            for what in ("allow", "block", "remove"):
                with pytest.raises(StorageFailed):
                    decide(each, (what, LISTED, "another"))
            assert standing(each) == decisions
            assert_answers_follow(each, decisions, DECIDED, listed=FIRST)
            assert audited(each, LISTS, chance=random.Random(23)) == 1
    assert recipient.sync().after == 2
    second: Step = ("block", DECIDED[-1], "our own case")
    decide(recipient, second)
    assert_answers_follow(world.recipient(cache=cache), after(decisions, second), DECIDED, listed=SECOND)


def test_a_read_only_disk(world: World, volume: Volume) -> None:
    check_read_only(world, str(volume.path / "cache"), volume.read_only)


def test_a_directory_without_permission_to_write(world: World) -> None:
    place = world.directory / "place"
    place.mkdir()
    with without_write_permission(place):
        if os.access(place, os.W_OK):
            pytest.skip("no permission keeps this user, who may be root, from writing")
    check_read_only(world, str(place / "cache"), lambda: without_write_permission(place))
