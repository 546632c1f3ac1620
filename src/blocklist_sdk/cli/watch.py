"""``blocklist sync --watch``: sync until told to stop, one line for each sync; and the figures of syncs in a file."""

import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from blocklist_sdk.cli.exit_codes import FINE
from blocklist_sdk.cli.logs import log_to_stderr
from blocklist_sdk.cli.output import write_json
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.recipient.metrics import write_metrics
from blocklist_sdk.recipient.sync_outcomes import SyncOutcome
from blocklist_sdk.records import Status, SyncResult

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist

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
    with StopOnSignal() as stop, log_to_stderr():

        def show(outcome: SyncOutcome) -> None:
            try:
                if as_json:
                    write_json(_document(outcome))
                elif outcome.result is not None:
                    typer.echo(told(outcome.feed, outcome.result))
            except OSError as error:
                lost.append(error)
                stop.set()

        blocklist.add_listener(show)
        with blocklist.keep_synced(interval) as background:
            stop.wait()
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
