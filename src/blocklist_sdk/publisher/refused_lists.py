"""What the guard refused, so that a person can accept that and nothing else."""

import logging
from pathlib import Path
from typing import Any, Final

from blocklist_sdk.disk import read_json, storage, write_json
from blocklist_sdk.errors import InvalidInput, Malformed

_FILE: Final = "refused.json"
_FORMAT: Final = 1

log: logging.Logger = logging.getLogger(__name__)


def remember_refused(directory: Path, feed: str, *, serial: int, content: str) -> None:
    """Store durably what was refused; it replaces what was refused on the feed before.

    Args:
        directory: the publisher's folder, locked.
        feed: the feed's name.
        serial: the serial of the current release.
        content: the hash of what would have changed, see `drafts.content_of`.

    Raises:
        StorageFailed: the disk refused.
        InvalidInput: the file was written by a newer version of this library.
    """
    path = directory / _FILE
    feeds = {**_feeds(path), feed: {"serial": serial, "content": content}}
    with storage(path):
        write_json(path, {"format": _FORMAT, "feeds": feeds})


def require_refused(directory: Path, feed: str, *, serial: int, content: str) -> None:
    """Make sure that the same was refused before, on the same release.

    Raises:
        InvalidInput: it was not; the message says what differs.
        StorageFailed: the file cannot be read.
    """
    known = _feeds(directory / _FILE).get(feed)
    if known is None:
        why = "nothing was refused on this feed and in this folder"
    elif known["serial"] != serial:
        why = "a release has been published since the last refusal"
    elif known["content"] != content:
        why = (
            "what was refused was another one: the list, how it is read, the feed's scope or the protected numbers "
            "were different"
        )
    else:
        return
    raise InvalidInput(
        f"accept is taken only after the same list was refused, and {why}. Nothing was published. A dry run is not a "
        "refusal: publish the list once without accept and without a dry run, read what would change, and then accept "
        "it."
    )


def _feeds(path: Path) -> dict[str, dict[str, Any]]:
    """What was refused, by feed. A damaged file counts as none: then the list is refused once more."""
    try:
        document = read_json(path, format_version=_FORMAT)
        feeds = document["feeds"] if document is not None else {}
        # A file without serials was written by an older version.
        return {str(feed): known for feed, known in feeds.items() if {"serial", "content"} <= known.keys()}
    except (Malformed, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is damaged, so nothing counts as refused before: %s", path, error)
        return {}
