"""Group commit: what many threads want done, done by one of them for all who wait, which costs far less."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Result(Generic[A]):
    """What came of something: a value, or what was raised.

    >>> Result.of(lambda: 1).get()
    1
    """

    value: A | None = None
    error: BaseException | None = None

    @classmethod
    def of(cls, action: Callable[[], A], *, but: type[BaseException] | tuple[()] = ()) -> Self:
        """Do something, and keep what comes of it for whoever waits for it.

        Args:
            action: what is done.
            but: what is raised here nevertheless.
        """
        try:
            return cls(action())
        except but:
            raise
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that asked
            return cls.failed(error)

    @classmethod
    def failed(cls, error: BaseException) -> Self:
        """What was raised."""
        return cls(error=error)

    def get(self) -> A:
        """The value, or raise."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # where nothing was raised, there is one


class GroupCommit(Generic[Q, A]):
    """Whoever has the turn does what all others wait for as well.

    Attributes:
        turn: held by whose turn it is; take it to do something else alone.
    """

    def __init__(self, run: Callable[[list[Q]], list[Result[A]]]) -> None:
        """For one kind of work.

        Args:
            run: does it for several, at least one, and tells of each what came of it, in their order.
        """
        self.turn = threading.Lock()
        self._run = run
        self._waiting: deque[_Waiting[Q, A]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def do(self, what: Q) -> A:
        """Wait until it is done, by this thread or another.

        Raises:
            BaseException: what it raised; where the work itself failed, the same in every thread that waited.
        """
        mine = _Waiting[Q, A](what)
        self._waiting.append(mine)
        with self.turn:
            if mine.result is None:
                self._do([self._waiting.popleft() for _ in range(len(self._waiting))])
        assert mine.result is not None
        return mine.result.get()

    def _do(self, some: "list[_Waiting[Q, A]]") -> None:
        try:
            for each, result in zip(some, self._run([each.what for each in some]), strict=True):
                each.result = result
        except BaseException as error:  # noqa: BLE001 -- raised in the threads that wait
            for each in some:
                each.result = each.result or Result.failed(error)


class _Waiting(Generic[Q, A]):
    """What somebody wants done, and what came of it; None as long as it waits."""

    def __init__(self, what: Q) -> None:
        self.what = what
        self.result: Result[A] | None = None
