"""When files that are no longer published may go.

A recipient that read `timestamp.json` a moment ago is about to fetch what it referred to then. So a file stays for a
while after the release that dropped it. That moment is kept in a small ledger beside the repository, since a file's
own age says nothing about it; if the ledger is lost, the wait starts anew.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blocklist_sdk.disk import STAGED_PREFIX, read_json, storage, write_json
from blocklist_sdk.errors import InvalidInput, Malformed

_FORMAT = 1

FOLDERS = ("metadata", "targets")
"""What is ours in the repository; other files, such as a robots.txt, are left alone."""


def retire(directory: Path, needed: Collection[Path], ledger: Path, *, now: datetime, grace: timedelta) -> None:
    """Delete files under `directory` that `needed` has not named for longer than `grace`.

    Args:
        directory: the repository.
        needed: the files that are published.
        ledger: where the moment is kept at which each file was dropped.
        now: the moment to measure from.
        grace: how long a dropped file stays.

    Raises:
        StorageFailed: the disk refused.
    """
    dropped_at = _read(ledger)
    waiting: dict[str, str] = {}
    with storage(directory):
        for path in sorted(path for folder in FOLDERS for path in (directory / folder).rglob("*")):
            if path in needed or not path.is_file() or path.name.startswith(STAGED_PREFIX):
                continue
            name = path.relative_to(directory).as_posix()
            dropped = dropped_at.get(name, now)
            if now - dropped >= grace:
                path.unlink()
            else:
                waiting[name] = dropped.isoformat()
        write_json(ledger, {"format": _FORMAT, "dropped": waiting})


def _read(ledger: Path) -> dict[str, datetime]:
    try:
        document = read_json(ledger, format_version=_FORMAT)
        dropped = document["dropped"] if document else {}
        return {name: datetime.fromisoformat(moment).astimezone(UTC) for name, moment in dropped.items()}
    except (Malformed, InvalidInput, AttributeError, KeyError, OverflowError, TypeError, ValueError):
        # Of a newer version, too: what was asked for is published already, and waiting anew does no harm.
        return {}
