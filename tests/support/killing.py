"""Processes that are killed at work, as by a power cut or when memory runs out."""

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.quick_processes import quick_processes

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Say = Callable[[str], None]
Act = Callable[[int, Say], None]
"""What a child does, given a number. What it says is kept, also if it is killed. Must be picklable."""

LATER, SOONER = 1.1, 0.8
"""Factors for the longest delay after a child that was killed, and after one that ended first: so, on a machine of any
speed, some are killed at their very end."""

_WITHOUT_WAITING = os.WEXITED | os.WNOHANG | os.WNOWAIT


@dataclass(frozen=True)
class Moment:
    """When to kill: after a time, which differs from machine to machine, or at a step, which does not.

    Attributes:
        delay_s: so long after what `pattern` says.
        pattern: a file under `directory` has appeared; ``""``: the child has said something; None: it was started.
        directory: where to look.
        step: just before the child renames a file, after it has renamed this many; the other attributes do not count.
    """

    delay_s: float = 0.0
    pattern: str | None = None
    directory: Path = Path()
    step: int | None = None

    def has_come(self, said: int) -> bool:
        if self.pattern is None:
            return True
        if self.pattern == "":
            return os.fstat(said).st_size > 0
        return any(self.directory.glob(self.pattern))


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes:
        was_killed: False where it was done before.
        said: what it had said by then.
    """

    was_killed: bool
    said: list[str]


class Nursery:
    """Starts children that act, one at a time, and kills them."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def run(self, argument: int, moment: Moment) -> End:
        self._connection.send((argument, moment))
        end: End = self._connection.recv()
        return end


@dataclass
class Steps:
    """How often a file was renamed."""

    count: int = 0


@contextlib.contextmanager
def counted_steps(*, kill_at: int | None = None) -> Iterator[Steps]:
    """A rename is a step: it puts something in force. Just before step `kill_at` this process kills itself."""
    steps, rename = Steps(), os.replace

    def counted(source: Any, target: Any, **folders: int) -> None:
        if steps.count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.count += 1
        rename(source, target, **folders)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", counted)
        yield steps


def spread(steps: int, kills: int) -> list[int]:
    """Numbers of `kills` steps, evenly spread from the first to the last."""
    return [index * (steps - 1) // (kills - 1) for index in range(kills)]


@contextlib.contextmanager
def nursery(act: Act) -> Iterator[Nursery]:
    """Children are forked from an interpreter of their own, since a fresh one takes longer to start than to sync."""
    context = quick_processes()
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, act), daemon=True)
    process.start()
    there.close()
    try:
        yield Nursery(here)
        here.send(None)
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


def _serve(connection: "Connection", act: Act) -> None:
    # Before the forks, so that importing is not what gets killed.
    import blocklist_sdk.publisher.publisher
    import blocklist_sdk.recipient.sync.run  # noqa: F401

    while (order := connection.recv()) is not None:
        argument, moment = order
        with tempfile.TemporaryFile(buffering=0) as said:
            was_killed = _run(act, argument, moment, said.fileno())
            said.seek(0)
            connection.send(End(was_killed, said.read().decode().splitlines()))


def _run(act: Act, argument: int, moment: Moment, said: int) -> bool:
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), counted_steps(kill_at=moment.step):
            act(argument, lambda line: _write(said, line))
        os._exit(0)
    if moment.step is not None:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    while not moment.has_come(said) and os.waitid(os.P_PID, child, _WITHOUT_WAITING) is None:
        time.sleep(0.0002)
    time.sleep(moment.delay_s)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _write(said: int, line: str) -> None:
    # In one call, so that a line is there whole or not at all.
    os.write(said, f"{line}\n".encode())
