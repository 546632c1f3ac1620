"""Metrics for Prometheus, as a text file for node_exporter's textfile collector.

The format is Prometheus's text exposition format, version 0.0.4; times are seconds since 1970, UTC.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from blocklist_sdk import times
from blocklist_sdk.disk import replaced, storage, sync_file
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.modes import access
from blocklist_sdk.recipient.sync_outcomes import OUTCOMES, SyncOutcome
from blocklist_sdk.records import Status

_MARK: Final = "# HELP blocklist_"
"""How every file of ours begins: no other file is overwritten."""

_LINE: Final = re.compile(
    r'(?P<name>blocklist_\w+)\{feed="(?P<feed>[^"]*)"(?:,outcome="(?P<outcome>[^"]*)")?\} (?P<value>\S+)'
)

_HELP: Final = {
    "up": "Whether a verified list is in force.",
    "stale": "Whether the list is past its signed expiry.",
    "audit_contradicted": "1 if an audit head contradicted an earlier one that was seen here.",
    "clock_behind_seconds": "By how much this machine's clock is known to be behind; 0 if by five minutes at most.",
    "damaged": "Whether a part of the list on this disk was found not to be as it was written.",
    "whole_timestamp_seconds": "When every byte of the list on this disk had last been found as it was written.",
    "serial": "Release in force.",
    "rows": "Entries in the release in force.",
    "generation_bytes": "Size of the release in force on disk.",
    "age_seconds": "Time since the release in force was published, when this file was written.",
    "as_of_timestamp_seconds": "When the release in force was published.",
    "expires_timestamp_seconds": "When the list passes its signed expiry.",
    "last_attempt_timestamp_seconds": "When a sync last ran.",
    "last_success_timestamp_seconds": "When a sync last succeeded.",
    "last_sync_success": "Whether the last sync succeeded.",
    "last_sync_bytes": "Bytes that the last sync fetched.",
    "last_sync_duration_seconds": "How long the last sync took.",
    "syncs_total": "Syncs by outcome.",
}
"""Each metric without its prefix, and its meaning, in the order of the file."""

_CARRIED: Final = ("last_sync_success", "last_sync_bytes", "last_sync_duration_seconds")
"""Metrics that only a sync provides; a file that is written without one keeps them."""

_COUNTER: Final = "syncs_total"

Key = tuple[str, str | None]
"""A metric without its prefix, and its outcome or None."""


def write_metrics(
    path: str | Path,
    status: Status,
    *,
    outcome: SyncOutcome | None = None,
    group: str | int | None = None,
    file_mode: str | int | None = None,
) -> None:
    """Write the metrics of one feed, completely or not at all.

    Counters continue from the values in the file, so they outlive processes. Give each feed its own file; its name must
    end in ``.prom`` for the collector.

    Args:
        path: the file; replaced if it is one of ours.
        status: the state of the list.
        outcome: the outcome of the sync that has just run, if any.
        group: the group that may read the file, by name or number, such as that of node_exporter; by default that of
            the process. A directory with the setgid bit gives its own group.
        file_mode: the mode of the file, such as ``"0644"``; by default ``"0640"``.

    Raises:
        InvalidInput: the file is not one of ours, or the group or the mode cannot be used.
        StorageFailed: the local disk failed.
    """
    path, its_access = Path(path), access(group, file_mode).to_be_read()
    before = _read(path, status.feed)
    text = render(status, outcome=outcome, before=before, now=times.now())
    with replaced(path, its_access) as temporary:
        temporary.write_text(text, encoding="utf-8")
        sync_file(temporary)


def render(status: Status, *, outcome: SyncOutcome | None, before: Mapping[Key, float], now: datetime) -> str:
    """The file's text; `before` are the values in the file so far, as `parse` reads them."""
    figures = _of_syncs(outcome, before)
    figures.update(((name, None), value) for name, value in _gauges(status, now).items() if value is not None)
    return "".join(_lines(figures, status.feed))


def parse(text: str, *, feed: str) -> dict[Key, float]:
    """The values of a feed in a file of ours; damaged lines are skipped."""
    found: dict[Key, float] = {}
    for match in map(_LINE.fullmatch, text.splitlines()):
        if match and match["feed"] == feed:
            try:
                found[match["name"].removeprefix("blocklist_"), match["outcome"]] = float(match["value"])
            except ValueError:
                continue
    return found


def _read(path: Path, feed: str) -> dict[Key, float]:
    with storage(path):
        if not path.is_file():
            return {}
        text = path.read_text(encoding="utf-8", errors="replace")
    if text and not text.startswith(_MARK):
        raise InvalidInput(f"{path} is not a metrics file of this library: name another file")
    return parse(text, feed=feed)


def _gauges(status: Status, now: datetime) -> dict[str, float | None]:
    return {
        "up": status.serial is not None,
        "stale": status.stale,
        "audit_contradicted": status.audit_warning is not None,
        "clock_behind_seconds": status.clock_behind_s or (None if status.serial is None else 0),
        "damaged": status.damaged,
        "whole_timestamp_seconds": _timestamp(status.whole_at),
        "serial": status.serial,
        "rows": status.rows,
        "generation_bytes": status.generation_bytes,
        # Where the clock is behind, `clock_behind_seconds` says so.
        "age_seconds": None if status.as_of is None else max(0.0, (now - status.as_of).total_seconds()),
        "as_of_timestamp_seconds": _timestamp(status.as_of),
        "expires_timestamp_seconds": _timestamp(status.expires),
        "last_attempt_timestamp_seconds": _timestamp(status.last_attempt),
        "last_success_timestamp_seconds": _timestamp(status.last_success),
    }


def _of_syncs(outcome: SyncOutcome | None, before: Mapping[Key, float]) -> dict[Key, float]:
    # All outcomes from the first file on: Prometheus does not see an increase if a counter first appears with 1.
    figures: dict[Key, float] = {(_COUNTER, name): before.get((_COUNTER, name), 0) for name in OUTCOMES}
    if outcome is None:
        return figures | {(name, None): before[name, None] for name in _CARRIED if (name, None) in before}
    figures[_COUNTER, outcome.name] += 1
    values = (outcome.error is None, outcome.bytes, outcome.seconds)
    return figures | {(name, None): value for name, value in zip(_CARRIED, values, strict=True)}


def _lines(figures: Mapping[Key, float], feed: str) -> Iterator[str]:
    for name, meaning in _HELP.items():
        samples = [(outcome, value) for (each, outcome), value in figures.items() if each == name]
        if samples:
            yield f"# HELP blocklist_{name} {meaning}\n"
            yield f"# TYPE blocklist_{name} {'counter' if name == _COUNTER else 'gauge'}\n"
        for outcome, value in samples:
            label = "" if outcome is None else f',outcome="{outcome}"'
            yield f'blocklist_{name}{{feed="{feed}"{label}}} {_number(value)}\n'


def _number(value: float) -> str:
    """Whole numbers without an exponent: people read serials and sizes, too."""
    return str(int(value)) if float(value).is_integer() else f"{value:.3f}"


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
