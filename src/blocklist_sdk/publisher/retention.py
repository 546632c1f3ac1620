"""When files that are no longer published are deleted.

A recipient that read `timestamp.json` a moment ago is about to fetch the files that it referred to then. So a file
stays for a while after the release that dropped it. The moment at which it was dropped is recorded in a small file
beside the repository, since the file's own age does not show it; if the record is lost, the wait starts again.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blocklist_sdk.disk import STAGED_PREFIX, read_json, storage, write_json
from blocklist_sdk.errors import InvalidInput, Malformed

_FORMAT = 1

FOLDERS = ("metadata", "targets")
"""The folders of a repository; files elsewhere, such as a robots.txt, are left alone."""


def delete_unneeded(
    directory: Path, needed: Collection[Path], record: Path, *, now: datetime, grace: timedelta
) -> None:
    """Delete files of a repository that have not been needed for longer than `grace`.

    Args:
        directory: the repository.
        needed: the files that are published now.
        record: the file that records when each file was dropped.
        now: the current moment, UTC.
        grace: how long a dropped file stays.

    Raises:
        StorageFailed: the disk refused.
    """
    dropped_at = _read(record)
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
        write_json(record, {"format": _FORMAT, "dropped": waiting})


def _read(record: Path) -> dict[str, datetime]:
    try:
        document = read_json(record, format_version=_FORMAT)
        dropped = document["dropped"] if document else {}
        return {name: datetime.fromisoformat(moment).astimezone(UTC) for name, moment in dropped.items()}
    except (Malformed, InvalidInput, AttributeError, KeyError, OverflowError, TypeError, ValueError):
        # The record of a newer version, too: the release is published already, and a longer wait does no harm.
        return {}
