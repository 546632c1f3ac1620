"""A disk that fills up at any moment, and a sync that is killed at any moment: the list stays whole, and heals."""

import random
import shutil
from functools import partial
from pathlib import Path

import pytest

from blocklist_sdk import StorageFailed
from support.full_disk import FullDisk
from support.killing import LATER, SOONER, Moment, Say, counted_steps, nursery, spread
from support.scale import scaled
from support.world import FIRST, SECOND, Recipient, World, copy_world, is_whole, make_world, whole_releases_only

KILLS = scaled(8, long=40)
STEP = scaled(3, long=1)
"""Of the moments at which a disk is full, one in so many is tried."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def assert_whole(recipient: Recipient, *serials: int) -> None:
    """A list opened anew answers from one of these releases, and from all of it."""
    assert recipient.status().serial in serials
    assert whole_releases_only(recipient) is None
    assert is_whole(recipient)


@pytest.mark.parametrize(
    ("before", "once"),
    [(0, False), (1, False), (1, True)],
    ids=["the first sync, from then on", "a delta, from then on", "a delta, for a moment"],
)
def test_a_disk_that_is_full_at_every_moment_of_a_sync(world: World, before: int, once: bool) -> None:
    if before:
        world.recipient(cache="original").sync()
        world.release(SECOND)
    done: list[int] = []
    for moment in range(1, 1000, STEP):
        cache = f"cache-{moment}"
        for suffix in ("", "-state") if before else ():
            shutil.copytree(world.directory / f"original{suffix}", world.directory / f"{cache}{suffix}")
        recipient, disk = world.recipient(cache=cache), FullDisk(moment, once=once)
        with disk.mounted():
            try:
                after = recipient.sync().after
                done.append(moment)
            except StorageFailed:
                after = None
        if before or recipient.anew().status().serial is not None:
            assert_whole(recipient.anew(), before + 1 if after else max(before, 1), before + 1)
        assert recipient.anew().sync().after == before + 1
        assert_whole(recipient.anew(), before + 1)
        for suffix in ("", "-state"):
            shutil.rmtree(world.directory / f"{cache}{suffix}")
        if not disk.has_refused:
            break
    # After the switch only the outcome is left to write: if that fails, it is logged, and the sync has succeeded. So it
    # does where only the moment of the offer could not be noted before, which is one file.
    assert moment > 30
    switched = next(at for at in done if [*range(at, moment + 1, STEP)] == done[done.index(at) :])
    noted = done[: done.index(switched)]
    assert len(noted) <= (3 if once else 0)
    assert moment - switched < 8


def sync(world: World, _: int, say: Say) -> None:
    world.recipient().sync()


@pytest.mark.timing
def test_a_sync_that_is_killed_at_any_moment(world: World) -> None:
    world.recipient().sync()
    cache = world.directory / "cache"
    chance = random.Random(11)
    serial = 1
    after_a_kill: set[bool] = set()

    def release_next() -> None:
        nonlocal serial
        serial += 1
        world.release(SECOND if serial % 2 == 0 else FIRST)

    def killed(moment: Moment) -> bool:
        release_next()
        was_killed = children.run(serial, moment).was_killed
        assert_whole(world.recipient(), serial - 1, serial)
        if was_killed:
            after_a_kill.add(world.recipient().status().serial == serial)
        assert world.recipient().sync().after == serial
        assert_whole(world.recipient(), serial)
        return was_killed

    with nursery(partial(sync, world)) as children:
        release_next()
        with counted_steps() as steps:
            world.recipient().sync()
        for step in spread(steps.count, KILLS // 2):
            # A sync has one step more if a second has begun since the last one: the moment of the offer is stored then.
            assert any(killed(Moment(step=step)) for _ in range(60))
        assert after_a_kill == {False, True}
        # Half of these kills at any moment, half of them while the new generation is written and put in force.
        longest_s = {"*": 0.1, "*/generations/.new-*": 0.02}
        kills = 0
        while kills < KILLS // 2:
            pattern = chance.choice(sorted(longest_s))
            was_killed = killed(Moment(chance.uniform(0, longest_s[pattern]), pattern, cache))
            longest_s[pattern] *= LATER if was_killed else SOONER
            kills += was_killed
    assert len(list(cache.glob("*/fetch-*"))) == 0
