"""`AsyncBlocklist`: the same answers in an asynchronous program, and cancellation that breaks nothing."""

import inspect
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from blocklist_sdk import AsyncBlocklist, Blocklist, InvalidInput, NotSynced, Unreachable
from blocklist_sdk.recipient import AsyncOverrides, Overrides, SyncOutcome
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


NOT_FOR_USERS = {"load_stamped", "stamp"}
"""Methods of `Overrides` with which this library sees whether decisions have changed."""


def public(thing: object) -> set[str]:
    """What users find on an object: attributes, methods, and the special methods that its class defines."""
    special = {name for name in vars(type(thing)) if name.startswith("__") and callable(getattr(thing, name))}
    return {name for name in dir(thing) if not name.startswith("_")} | special


def parameters(function: Callable[..., object]) -> list[tuple[object, ...]]:
    """A function's parameters but `stop`, instead of which a task is cancelled."""
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default, each.annotation) for each in found if each.name != "stop"]


def test_it_has_every_question_that_the_list_has(world: World) -> None:
    ours = opened(world)
    theirs = ours.blocklist
    assert public(theirs) - public(ours) == {"__enter__", "__exit__"}
    assert public(ours) - public(theirs) == {"blocklist", "__aenter__", "__aexit__"}
    lacking = public(theirs.overrides) - public(ours.overrides) - NOT_FOR_USERS
    assert lacking == {"__iter__", "__len__"}, "`load` has what these have"


@pytest.mark.parametrize("pair", [(AsyncBlocklist, Blocklist), (AsyncOverrides, Overrides)], ids=["list", "overrides"])
def test_its_calls_take_what_the_lists_own_take_and_return_the_same(pair: tuple[type, type]) -> None:
    ours, theirs = pair
    both = {name for name in vars(ours) if not name.startswith("_")} & vars(theirs).keys()
    calls = {name for name in both if callable(getattr(ours, name))}
    assert {"open", "sync", "dry_run", "verify"} <= calls or "decide" in calls
    assert not [name for name in calls if parameters(getattr(ours, name)) != parameters(getattr(theirs, name))]
    result = {name: inspect.signature(getattr(ours, name)).return_annotation for name in calls - {"keep_synced"}}
    assert not [
        name for name, kind in result.items() if kind != inspect.signature(getattr(theirs, name)).return_annotation
    ]
    docs = {name: getattr(ours, name).__doc__ for name in both}
    assert not [name for name, text in docs.items() if f"`{theirs.__name__}.{name}`" not in text]


def test_every_question_has_the_lists_answer(world: World) -> None:
    outcomes: list[SyncOutcome] = []

    async def main() -> None:
        async with opened(world) as blocklist:
            assert not blocklist.is_synced()
            assert (await blocklist.dry_run()).after == 1
            assert not blocklist.is_synced()
            blocklist.add_listener(outcomes.append)
            await blocklist.sync()
            await blocklist.hold("billing", 1)
            world.release(SECOND)
            await blocklist.sync()
            same = blocklist.blocklist
            assert blocklist.explain(LISTED) == same.explain(LISTED)
            assert await blocklist.verify() == same.verify()
            assert (await blocklist.to_arrow()).equals(same.to_arrow())
            assert [*await blocklist.changes(since=1)] == [*same.changes(since=1)] != []
            assert (await blocklist.changes(since=1)).before == 1
            assert blocklist.screening(scope="sms").serial == 2
            assert await blocklist.release_hold("billing")
            assert not await blocklist.release_hold("billing")
            assert blocklist.root_fingerprint == same.root_fingerprint
            replaced = await blocklist.replace_root(blocklist.root_fingerprint, dry_run=True)
            assert (replaced.serial, replaced.dry_run) == (2, True)

    anyio.run(main)
    assert [outcome.feed for outcome in outcomes] == [FEED, FEED]


def test_overrides_are_made_in_threads_and_take_effect_at_once(world: World, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(world) as blocklist:
            await blocklist.sync()
            overrides = blocklist.overrides
            allowed = await overrides.allow(LISTED, reason="our hotline", author="ayu")
            assert LISTED not in blocklist
            assert await overrides.get(LISTED) == allowed
            (blocked,) = await overrides.decide("block", ADDED, reason="ticket 17", author="ayu")
            assert ADDED in blocklist
            assert await overrides.load() == [*blocklist.blocklist.overrides]
            assert await overrides.export_csv(tmp_path / "decisions.csv") == 2
            assert await overrides.remove(LISTED)
            assert await overrides.removals() == blocklist.blocklist.overrides.removals()
            assert LISTED in blocklist
            assert (await overrides.import_file(tmp_path / "decisions.csv")).rows == 2
            assert LISTED not in blocklist
            assert (await overrides.block(ADDED, reason="still")).number == blocked.number

    anyio.run(main)


def test_cancelling_a_dry_run_cuts_it_and_frees_the_list(world: World) -> None:
    async def main(url: str, asked: list[str]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened(world, url).dry_run)
            while not any(path.endswith(".parquet") for path in asked):
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert (await opened(world).sync(wait_s=60)).after == 1

    with answering(world.repository, stalled) as (url, asked):
        anyio.run(main, url, asked)


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
