"""``blocklist sync --watch``: sync until a signal stops it, one line for each sync; and figures of syncs in a file."""

import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blocklist_sdk.cli.exit_codes import FINE
from blocklist_sdk.cli.logs import log_to_stderr
from blocklist_sdk.cli.output import write_json, write_line
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.modes import SHARED, Access
from blocklist_sdk.recipient.metrics import write_metrics
from blocklist_sdk.recipient.sync_outcomes import SyncOutcome
from blocklist_sdk.records import Status, SyncResult

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist

_UNITS: Final = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

log: logging.Logger = logging.getLogger(__name__)


def sync_until_stopped(
    blocklist: "Blocklist", *, every: str, line: Callable[[str, SyncResult], str], as_json: bool
) -> None:
    """Sync again and again; SIGINT and SIGTERM end it within a second.

    Args:
        blocklist: the list to sync.
        every: the time between syncs, as `duration` reads it.
        line: makes the line about a sync that succeeded. The library's log has the failures.
        as_json: write one line of JSON for each sync instead, successful or failed.

    Raises:
        InvalidInput: `every` cannot be used.
        OSError: standard output can no longer be written.
    """
    interval = duration(every)
    failures: list[OSError] = []
    with StopOnSignal() as stop, log_to_stderr():

        def show(outcome: SyncOutcome) -> None:
            try:
                if as_json:
                    write_json(_document(outcome))
                elif outcome.result is not None:
                    write_line(line(outcome.feed, outcome.result))
            except OSError as error:
                failures.append(error)
                stop.set()

        blocklist.add_listener(show)
        with blocklist.keep_synced(interval) as background:
            stop.wait()
    if failures:
        raise failures[0]
    if background.is_running:
        # The thread is reading a release, which cannot be cut. If Python shut down around it, native code that still
        # runs there might crash the process. Ending at once is like a crash for the disk, and that does no harm.
        sys.stdout.flush()
        os._exit(FINE)


def duration(text: str) -> timedelta:
    """A time as people write it: a number of seconds, or a number with s, m, h or d.

    Raises:
        InvalidInput: `text` is not a time.

    >>> duration("90"), duration("1.5h")
    (datetime.timedelta(seconds=90), datetime.timedelta(seconds=5400))
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", text.strip(), re.ASCII)
    if found is None:
        raise InvalidInput(f"{text!r} is not a time: give seconds, or a number with s, m, h or d, such as 15m")
    return timedelta(**{_UNITS[found[2]]: float(found[1])})


class MetricsListener:
    """Writes the figures of a list into a file after each of its syncs, successful or failed.

    Attributes:
        error: why the file was not written the last time; None if it was.
    """

    def __init__(self, blocklist: "Blocklist", path: Path, its_access: Access = SHARED) -> None:
        """Add itself to the list's listeners."""
        self._access = its_access
        self.error: BlocklistError | None = None
        self._blocklist = blocklist
        self._path = path
        blocklist.add_listener(self._write)

    def _write(self, outcome: SyncOutcome) -> None:
        try:
            write_metrics(
                self._path,
                self._status(),
                outcome=outcome,
                group=self._access.group,
                file_mode=self._access.file_mode,
            )
            self.error = None
        except BlocklistError as error:
            log.error("the metrics were not written: %s", error)
            self.error = error

    def _status(self) -> Status:
        """The state of the list; if it cannot be read, the list does not answer either, and the figures must say so."""
        try:
            return self._blocklist.status()
        except BlocklistError:
            unknown: dict[str, Any] = dict.fromkeys(field.name for field in fields(Status))
            return Status(**{**unknown, "feed": self._blocklist.feed, "stale": True})


def _document(outcome: SyncOutcome) -> dict[str, Any]:
    document: dict[str, Any] = {"feed": outcome.feed, "at": outcome.at}
    if outcome.result is not None:
        return document | asdict(outcome.result)
    # The text of another library's error may contain a number.
    message = str(outcome.error) if isinstance(outcome.error, BlocklistError) else "a fault of this library: report it"
    return document | {"error": {"type": type(outcome.error).__name__, "message": message}}
