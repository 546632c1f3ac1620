"""``blocklist sync --watch``: sync until told to stop, one line for each sync; and the figures of syncs in a file."""

import contextlib
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import typer

from blocklist_sdk.cli.exit_codes import FINE
from blocklist_sdk.cli.logs import log_told
from blocklist_sdk.cli.output import write_json
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.metrics import write_metrics
from blocklist_sdk.outcomes import SyncOutcome
from blocklist_sdk.records import Status, SyncResult

if TYPE_CHECKING:
    from blocklist_sdk.blocklist import Blocklist

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_UNITS: Final = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

log = logging.getLogger(__name__)


def sync_until_told(
    blocklist: "Blocklist", *, every: str, told: Callable[[str, SyncResult], str], as_json: bool
) -> None:
    """Sync time and again; SIGINT and SIGTERM end it within a second.

    Args:
        blocklist: what to sync.
        every: the time between syncs, as `duration` reads it.
        told: one line about a sync that succeeded. One that failed is told by the library's own log.
        as_json: one line of JSON for each sync instead, whatever came of it.

    Raises:
        InvalidInput: `every` cannot be used.
        OSError: standard output cannot be written any more.
    """
    interval = duration(every)
    lost: list[OSError] = []
    with _Bell() as bell, log_told():

        def show(outcome: SyncOutcome) -> None:
            try:
                if as_json:
                    write_json(_document(outcome))
                elif outcome.result is not None:
                    typer.echo(told(outcome.feed, outcome.result))
            except OSError as error:
                lost.append(error)
                bell.ring()

        blocklist.add_listener(show)
        with blocklist.keep_synced(interval) as background:
            bell.wait()
    if lost:
        raise lost[0]
    if background.is_running:
        # It is reading a release, which nothing can cut. Python must not end around it: native code may be running
        # there, and would bring the process down with an error. For the disk this is a crash, which harms nothing.
        sys.stdout.flush()
        os._exit(FINE)


def duration(text: str) -> timedelta:
    """A time as people write it: a number of seconds, or a number with s, m, h or d.

    Raises:
        InvalidInput: it is none.

    >>> duration("90"), duration("1.5h")
    (datetime.timedelta(seconds=90), datetime.timedelta(seconds=5400))
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", text.strip(), re.ASCII)
    if found is None:
        raise InvalidInput(f"{text!r} is no time: give seconds, or a number with s, m, h or d, such as 15m")
    return timedelta(**{_UNITS[found[2]]: float(found[1])})


class MetricsListener:
    """Writes the figures of a list into a file after each of its syncs, whatever came of it.

    Attributes:
        error: what kept it from writing the last time, None if nothing did.
    """

    def __init__(self, blocklist: "Blocklist", path: Path) -> None:
        """Begins to listen."""
        self.error: BlocklistError | None = None
        self._blocklist = blocklist
        self._path = path
        blocklist.add_listener(self._write)

    def _write(self, outcome: SyncOutcome) -> None:
        try:
            write_metrics(self._path, self._status(), outcome=outcome)
            self.error = None
        except BlocklistError as error:
            log.error("the metrics were not written: %s", error)
            self.error = error

    def _status(self) -> Status:
        """How the list stands; where even that cannot be read, it does not answer, and the figures must say so."""
        try:
            return self._blocklist.status()
        except BlocklistError:
            unknown: dict[str, Any] = dict.fromkeys(field.name for field in fields(Status))
            return Status(**{**unknown, "feed": self._blocklist.feed, "stale": True})


def _document(outcome: SyncOutcome) -> dict[str, Any]:
    document: dict[str, Any] = {"feed": outcome.feed, "at": outcome.at}
    if outcome.result is not None:
        return document | asdict(outcome.result)
    # The text of what is not ours may hold anything.
    message = str(outcome.error) if isinstance(outcome.error, BlocklistError) else "a fault of this library: report it"
    return document | {"error": {"type": type(outcome.error).__name__, "message": message}}


class _Bell:
    """Rings at SIGINT and SIGTERM, and when told to; for a `with` block in the main thread."""

    def __enter__(self) -> Self:
        self._listening, self._ringing = os.pipe()
        os.set_blocking(self._ringing, False)
        # An event would not do: Python runs no handler for a signal that comes right before a wait. This one is written
        # by the interpreter itself, whenever the signal comes.
        self._fd_before = signal.set_wakeup_fd(self._ringing, warn_on_full_buffer=False)
        self._before = {
            each: signal.signal(each, _heard)
            # Whoever is started with Ctrl-C ignored, as in the background of a shell, goes on ignoring it.
            for each in _SIGNALS
            if signal.getsignal(each) is not signal.SIG_IGN
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._listening)
        # A thread that rings late must not write into what has its number then.
        ringing, self._ringing = self._ringing, -1
        os.close(ringing)

    def ring(self) -> None:
        """Ring."""
        with contextlib.suppress(OSError):  # it rings already, or nobody listens any more
            os.write(self._ringing, b"\0")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it rings, or for so long; whether it has rung."""
        ready, _, _ = select.select([self._listening], [], [], seconds)
        return bool(ready)


def waiting_for_the_end() -> "_Bell":
    """Something to wait for until SIGINT or SIGTERM; for a `with` block in the main thread."""
    return _Bell()


def _heard(signal_number: int, frame: FrameType | None) -> None:
    """Nothing is left to do: the bell has rung."""
