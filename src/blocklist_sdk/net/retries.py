"""Retries by tenacity, whose last error keeps nothing alive but what its traceback shows.

tenacity keeps the error in a state that a frame of the error's traceback keeps, or one of its cause's. Such a circle
stays until the garbage collector comes, and with it every frame above and what that had at hand: open files, mapped
lists, numbers.
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import tenacity

T = TypeVar("T")


class _Failure:
    """The last error of an attempt, with its traceback: frames of tenacity, which come on top of it, are left out."""

    __slots__ = ("_error", "_trace")

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._trace: TracebackType | None = None

    def note(self, error: BaseException) -> None:
        """Keep an error as an attempt raised it."""
        self._error, self._trace = error, error.__traceback__

    def let_go(self, error: BaseException, turn: tenacity.AttemptManager | None) -> None:
        """Break the circles that lead to an error which is on its way out."""
        if turn is not None:
            turn.retry_state.outcome = None
        if error is self._error:
            error.__traceback__ = self._trace
        self._error = self._trace = None


def retried(retrying: tenacity.Retrying, attempt: Callable[..., T], *arguments: Any) -> T:
    """Call an attempt, again where `retrying` says so; returns its result, or raises its last error.

    Only errors are tried again: `retrying` does not see results.

    >>> retried(tenacity.Retrying(), int, "7")
    7
    """
    failure, turn = _Failure(), None
    try:
        for turn in retrying:
            with turn:
                try:
                    return attempt(*arguments)
                except BaseException as error:
                    failure.note(error)
                    raise
    except BaseException as error:
        failure.let_go(error, turn)
        raise
    raise AssertionError("tenacity ends with an error")


async def retried_async(retrying: tenacity.AsyncRetrying, attempt: Callable[[], Awaitable[T]]) -> T:
    """The same for a coroutine function."""
    failure, turn = _Failure(), None
    try:
        async for turn in retrying:
            with turn:
                try:
                    return await attempt()
                except BaseException as error:
                    failure.note(error)
                    raise
    except BaseException as error:
        failure.let_go(error, turn)
        raise
    raise AssertionError("tenacity ends with an error")
