"""Retries by tenacity, whose last error keeps nothing alive but itself.

tenacity keeps the error in a state that a frame of the error's traceback keeps, or one of its cause's. Such a circle
stays until the garbage collector comes, and with it every frame above and what that had at hand: open files, mapped
lists, numbers.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import tenacity

T = TypeVar("T")


def _let_go(error: Exception, turn: tenacity.AttemptManager | None) -> None:
    if turn is not None:
        turn.retry_state.outcome = None
    error.__traceback__ = None


def retried(retrying: tenacity.Retrying, attempt: Callable[..., T], *arguments: Any) -> T:
    """What an attempt returns in the end.

    >>> retried(tenacity.Retrying(), int, "7")
    7
    """
    turn: tenacity.AttemptManager | None = None
    try:
        for turn in retrying:
            with turn:
                return attempt(*arguments)
    except Exception as error:
        _let_go(error, turn)
        raise
    raise AssertionError("tenacity ends with an error")


async def retried_async(retrying: tenacity.AsyncRetrying, attempt: Callable[[], Awaitable[T]]) -> T:
    """What a coroutine function's attempt returns in the end."""
    turn: tenacity.AttemptManager | None = None
    try:
        async for turn in retrying:
            with turn:
                return await attempt()
    except Exception as error:
        _let_go(error, turn)
        raise
    raise AssertionError("tenacity ends with an error")
