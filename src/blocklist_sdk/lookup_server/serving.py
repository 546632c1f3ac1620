"""The look-up server as a service: one parent that binds, forks, syncs and waits, and workers that answer.

1. Every address is bound, so that one in use is an error before anything runs.
2. The list is opened, so that all workers share its memory; then the workers are forked.
3. The parent waits for a signal, or for the end of a worker, which ends the service: a supervisor such as systemd
   starts it again, and says so.
"""

import contextlib
import gc
import logging
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.lookup_server.acceptor import HANDSHAKES_MAX
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.lookup_server.counters import Counters
from blocklist_sdk.lookup_server.listeners import Listener, listening
from blocklist_sdk.lookup_server.settings import ServeSettings
from blocklist_sdk.lookup_server.worker import STOP_S, DoorTls, WorkerParts, run_worker

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist

log: logging.Logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_KILL_AFTER_S: Final = STOP_S + 5.0
CONNECTIONS_MAX: Final = 4_000
"""Most connections of a worker by HTTP, and as many at each address of the Redis door, whatever files it may open."""

_FILES_KEPT: Final = 128
"""Files kept for the list and the listeners."""

_FAILED: Final = 70
"""How a worker ends that failed; its parent says so, and ends with a code of its own."""


@dataclass(frozen=True, slots=True)
class _Worker:
    number: int
    process: int
    lifeline: socket.socket
    """The parent's end: it has an end of file when the worker has ended."""


class Stop(Protocol):
    """What ends a service: readable once it has to end."""

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        ...


def serve(
    blocklist: "Blocklist", settings: ServeSettings, *, stop: Stop, on_started: Callable[[Sequence[str]], object]
) -> None:
    """Serve look-ups until it has to stop.

    To be called in the main thread of a process without other threads, since it forks.

    Args:
        blocklist: the list; it is open, and may not be synced yet.
        settings: what to listen on, and whom to answer.
        stop: ends it; the commands give what SIGINT and SIGTERM make readable.
        on_started: called with the addresses once they are open and the workers run.

    Raises:
        InvalidInput: the settings cannot be used, or an address cannot.
        BlocklistError: a worker has ended by itself.
    """
    settings.check()
    tls = DoorTls.of(settings.tls)
    with listening(settings) as listeners:
        counters = Counters(workers=settings.workers)
        with contextlib.suppress(BlocklistError):
            blocklist.status()  # opens it; if that fails, questions say why
        _keep_what_is_loaded()
        workers: list[_Worker] = []
        try:
            for number in range(settings.workers):
                workers.append(_fork(blocklist, settings, listeners, tls, counters, number, workers))
            on_started([listener.address for listener in listeners])
            with _syncing(blocklist, settings, counters):
                dead = _wait(stop, workers)
        finally:
            ended = _stop(workers)
    if dead is not None:
        raise BlocklistError(
            f"worker {dead.number + 1} of {settings.workers} (process {dead.process}) has ended by itself, "
            f"{_how(ended[dead.process])}, so the service has ended: start it again, and look at the log above"
        )


def _fork(
    blocklist: "Blocklist",
    settings: ServeSettings,
    listeners: Sequence[Listener],
    tls: DoorTls,
    counters: Counters,
    number: int,
    others: Sequence[_Worker],
) -> _Worker:
    ours, theirs = socket.socketpair()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    process = os.fork()
    if process:
        theirs.close()
        return _Worker(number, process, ours)
    code = _FAILED
    try:
        signal.set_wakeup_fd(-1)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        ours.close()
        for other in others:
            other.lifeline.close()
        parts = WorkerParts(
            number, settings, listeners, tls, counters, theirs, connections_max(listeners, has_tls=bool(tls))
        )
        run_worker(Answers(blocklist), parts)
        code = 0
    except BaseException:
        log.exception("worker %d has failed", number + 1)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def connections_max(listeners: Sequence[Listener], *, has_tls: bool) -> int:
    """How many connections a worker may have by HTTP, and how many at each address of the Redis door.

    All together they leave it files to open the next release with, of which it asks the system for more.

    Args:
        listeners: where they come in.
        has_tls: whether they begin with a handshake, which some never end.
    """
    redis = sum(listener.door == "redis" for listener in listeners)
    shares = redis + (len(listeners) > redis)
    kept = _FILES_KEPT + (HANDSHAKES_MAX * len(listeners) if has_tls else 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX * shares + kept
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    files = wanted if soft == resource.RLIM_INFINITY else min(soft, wanted)
    return max(1, (files - kept) // shares)


def _keep_what_is_loaded() -> None:
    """Let the garbage collector pass over all that is loaded, so that the workers go on sharing its memory."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _syncing(blocklist: "Blocklist", settings: ServeSettings, counters: Counters) -> Iterator[None]:
    """Sync in a thread of this process, if that was asked for; the workers notice its releases by themselves."""
    if settings.watch_every_s is None:
        yield
        return
    blocklist.add_listener(counters.note_sync)
    with blocklist.keep_synced(settings.watch_every_s):
        yield


def _wait(stop: Stop, workers: Sequence[_Worker]) -> _Worker | None:
    """Wait until the service has to stop, or a worker ends; return the worker."""
    ready, _, _ = select.select([stop, *(worker.lifeline for worker in workers)], [], [])
    return None if stop in ready else next(worker for worker in workers if worker.lifeline in ready)


def _stop(workers: Sequence[_Worker]) -> dict[int, int]:
    """End all workers, and return how each has ended, as `os.waitstatus_to_exitcode` has it."""
    ended: dict[int, int] = {}
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.process, signal.SIGTERM)
    deadline = time.monotonic() + _KILL_AFTER_S
    for worker in workers:
        select.select([worker.lifeline], [], [], max(0.0, deadline - time.monotonic()))
        if time.monotonic() >= deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process, signal.SIGKILL)
        worker.lifeline.close()
        _, status = os.waitpid(worker.process, 0)
        ended[worker.process] = os.waitstatus_to_exitcode(status)
    return ended


def _how(code: int) -> str:
    """How a process has ended.

    >>> _how(-9), _how(70)
    ('by SIGKILL', 'with code 70')
    """
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
