"""`AsyncBlocklist`: the same answers in an asynchronous program, and cancellation that breaks nothing."""

import inspect
import threading
from pathlib import Path

import anyio
import pytest

from blocklist_sdk import AsyncBlocklist, Blocklist, InvalidInput, NotSynced, Unreachable
from blocklist_sdk.recipient.background import BackgroundSync
from support.loopback import Handler, answering
from support.world import ADDED, FEED, FIRST, LISTED, SECOND, World, copy_world, is_whole, make_world


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def opened(world: World, url: str | None = None) -> AsyncBlocklist:
    return AsyncBlocklist.open(
        url or world.url,
        feed=FEED,
        root=world.publisher.root,
        region="ID",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "cache-state",
    )


def test_it_answers_as_the_list_itself(world: World) -> None:
    async def main() -> None:
        async with opened(world) as blocklist:
            with pytest.raises(NotSynced):
                blocklist.check(LISTED)
            assert (await blocklist.sync()).after == 1
            assert LISTED in blocklist
            assert ADDED not in blocklist
            same = blocklist.blocklist
            assert blocklist.check(LISTED, scope="sms") == same.check(LISTED, scope="sms")
            assert blocklist.entries(LISTED) == same.entries(LISTED)
            assert blocklist.status() == same.status()
            column = [LISTED, ADDED, None]
            import pyarrow as pa

            assert (await blocklist.screen(pa.array(column))).equals(same.screen(pa.array(column)))

    anyio.run(main)


@pytest.mark.parametrize("name", ["open", "sync", "check", "entries", "screen", "keep_synced"])
def test_its_calls_take_what_the_lists_own_take(name: str) -> None:
    """All but `stop`, instead of which a task is cancelled."""
    ours = inspect.signature(getattr(AsyncBlocklist, name)).parameters
    theirs = dict(inspect.signature(getattr(Blocklist, name)).parameters)
    theirs.pop("stop", None)
    assert [(each.name, each.kind, each.default) for each in ours.values()] == [
        (each.name, each.kind, each.default) for each in theirs.values()
    ]


def test_a_failure_is_the_same_error(world: World) -> None:
    async def main(url: str) -> None:
        with pytest.raises(Unreachable):
            await opened(world, url).sync()

    with answering(world.repository, lambda handler: handler.fail(404)) as (url, _):
        anyio.run(main, url)


@pytest.mark.timing
def test_other_tasks_go_on_while_it_syncs(world: World) -> None:
    async def main(url: str, may_end: threading.Event) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened(world, url).sync)
            await anyio.sleep(0.05)
            may_end.set()

    may_end = threading.Event()
    with answering(world.repository, lambda _: not may_end.wait(30)) as (url, _):
        anyio.run(main, url, may_end)
    assert opened(world).status().serial == 1


def stalled(handler: Handler) -> bool:
    return handler.path.endswith(".parquet") and handler.hang()


def test_cancelling_a_sync_cuts_it_and_harms_nothing(world: World) -> None:
    world.recipient().sync()
    world.release(SECOND)

    async def main(url: str, asked: list[str]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened(world, url).sync)
            while not any(path.endswith(".parquet") for path in asked):
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        # The lock is free again, and the same program may sync at once.
        assert (await opened(world).sync(wait_s=30)).after == 2

    with answering(world.repository, stalled) as (url, asked):
        anyio.run(main, url, asked)
    recipient = world.recipient()
    assert ADDED in recipient
    assert is_whole(recipient)
    assert not list((world.directory / "cache" / FEED).glob("fetch-*"))


@pytest.mark.timing
def test_cancelling_at_random_moments_never_leaves_half_a_list(world: World) -> None:
    world.recipient().sync()

    async def main() -> None:
        blocklist = opened(world)
        for turn in range(20):
            world.release(SECOND if turn % 2 else FIRST)
            with anyio.move_on_after(turn * 0.004):
                await blocklist.sync(wait_s=30)
            assert is_whole(blocklist.blocklist)
        assert (await blocklist.sync(wait_s=30)).after == 21

    anyio.run(main)
    assert is_whole(world.recipient())


def test_keep_synced_as_a_block(world: World) -> None:
    async def main() -> None:
        async with opened(world) as blocklist:
            async with blocklist.keep_synced(every=0.05) as background:
                while background.last_success is None:
                    await anyio.sleep(0.01)
                world.release(SECOND)
                while ADDED not in blocklist:
                    await anyio.sleep(0.01)
            assert not background.is_running
            with pytest.raises(InvalidInput):
                async with blocklist.keep_synced(every=0):
                    raise AssertionError("not reached")

    anyio.run(main)


def test_cancellation_stops_the_background_too(world: World) -> None:
    started: list[BackgroundSync] = []

    async def main() -> None:
        with anyio.move_on_after(0.2):
            async with opened(world).keep_synced(every=3600) as background:
                started.append(background)
                await anyio.sleep_forever()

    anyio.run(main)
    (background,) = started
    assert not background.is_running
