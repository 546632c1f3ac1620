"""Group commit: one thread does the work of all threads that wait, in one transaction, which costs far less."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class WorkResult(Generic[A]):
    """The value that a piece of work returned, or the error that it raised.

    >>> WorkResult.of(lambda: 1).get()
    1
    """

    value: A | None = None
    error: BaseException | None = None

    @classmethod
    def of(cls, action: Callable[[], A], *, passing: type[BaseException] | tuple[()] = ()) -> Self:
        """Run an action and keep its result.

        Args:
            action: what to run.
            passing: errors to raise here instead of keeping them.
        """
        try:
            return cls(action())
        except passing:
            raise
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that waits for the work
            return cls.failed(error)

    @classmethod
    def failed(cls, error: BaseException) -> Self:
        """The result of work that raised an error."""
        return cls(error=error)

    def get(self) -> A:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error there is a value


class GroupCommit(Generic[Q, A]):
    """Lets the thread that holds the lock do the work of all others that wait for it.

    Attributes:
        lock: held while work is done; hold it to do something else alone.
    """

    def __init__(self, run: Callable[[list[Q]], list[WorkResult[A]]], *, gather_s: float = 0.0) -> None:
        """For one kind of work.

        Args:
            run: does several pieces of work, at least one, and returns their results in the same order.
            gather_s: while work comes in a crowd, it is begun no sooner than this after the last was, seconds. Who is
                alone never waits.
        """
        self.lock: threading.Lock = threading.Lock()
        self._run = run
        self._gather_s = gather_s
        self._began = 0.0
        self._is_crowd = False
        self._waiting: deque[_Waiting[Q, A]] = deque()

    @property
    def waiting(self) -> int:
        """Number of pieces of work that wait for the lock."""
        return len(self._waiting)

    def do(self, work: Q) -> A:
        """Wait until a piece of work is done, by this thread or another, and return its value.

        Raises:
            BaseException: the error of this work; or if `run` failed, its error, in every thread that waited.
        """
        mine = _Waiting[Q, A](work)
        self._waiting.append(mine)
        with self.lock:
            if mine.result is None:
                self._gather()
                self._do([self._waiting.popleft() for _ in range(len(self._waiting))])
        assert mine.result is not None
        return mine.result.get()

    def _gather(self) -> None:
        if self._is_crowd:
            time.sleep(max(0.0, min(self._gather_s, self._began + self._gather_s - time.monotonic())))
        self._began, self._is_crowd = time.monotonic(), self._gather_s > 0 and len(self._waiting) > 1

    def _do(self, batch: "list[_Waiting[Q, A]]") -> None:
        try:
            for each, result in zip(batch, self._run([each.work for each in batch]), strict=True):
                each.result = result
        except BaseException as error:  # noqa: BLE001 -- raised in the threads that wait
            for each in batch:
                each.result = each.result or WorkResult.failed(error)


class _Waiting(Generic[Q, A]):
    """A piece of work and its result; None while it waits."""

    def __init__(self, work: Q) -> None:
        self.work = work
        self.result: WorkResult[A] | None = None
