"""An error of a retried call has its whole traceback, and keeps nothing alive once it is let go."""

import asyncio
import gc
import traceback
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest
import tenacity

from blocklist_sdk.net.retries import retried, retried_async


class Marker:
    """Something that a caller has at hand."""


@pytest.fixture(autouse=True)
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def options(attempts: int) -> dict[str, object]:
    return {"stop": tenacity.stop_after_attempt(attempts), "reraise": True}


def failing(kind: type[BaseException]) -> Callable[[], None]:
    def at_fault() -> None:
        try:
            raise ValueError("the cause")
        except ValueError as cause:
            raise kind("x") from cause

    return at_fault


Ask = Callable[[int, type[BaseException]], tuple["weakref.ref[Marker]", traceback.StackSummary]]


def ask(attempts: int, kind: type[BaseException]) -> tuple["weakref.ref[Marker]", traceback.StackSummary]:
    marker = Marker()
    try:
        retried(tenacity.Retrying(**options(attempts)), failing(kind))  # type: ignore[arg-type]
    except kind as error:
        return weakref.ref(marker), traceback.extract_tb(error.__traceback__)
    raise AssertionError("it fails")


def ask_in_loop(attempts: int, kind: type[BaseException]) -> tuple["weakref.ref[Marker]", traceback.StackSummary]:
    async def attempt() -> None:
        failing(kind)()

    async def ask() -> tuple["weakref.ref[Marker]", traceback.StackSummary]:
        marker = Marker()
        try:
            await retried_async(tenacity.AsyncRetrying(**options(attempts)), attempt)  # type: ignore[arg-type]
        except kind as error:
            return weakref.ref(marker), traceback.extract_tb(error.__traceback__)
        raise AssertionError("it fails")

    return asyncio.run(ask())


@pytest.mark.parametrize("asked", [ask, ask_in_loop])
@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("kind", [OSError, KeyError, KeyboardInterrupt])
def test_an_error_says_where_it_comes_from_and_keeps_nothing(
    asked: Ask, attempts: int, kind: type[BaseException]
) -> None:
    marker, frames = asked(attempts, kind)
    assert marker() is None
    assert (frames[0].name, frames[-1].name) == ("ask", "at_fault")
    assert not any("tenacity" in frame.filename for frame in frames)


def test_a_task_that_is_cancelled_keeps_nothing() -> None:
    async def wait() -> None:
        await asyncio.sleep(60)

    async def ask(attempt: Callable[[], Awaitable[None]]) -> "weakref.ref[Marker]":
        marker = Marker()
        try:
            async with asyncio.timeout(0.01):
                await retried_async(tenacity.AsyncRetrying(**options(3)), attempt)  # type: ignore[arg-type]
        except TimeoutError:
            return weakref.ref(marker)
        raise AssertionError("it takes too long")

    assert asyncio.run(ask(wait))() is None
