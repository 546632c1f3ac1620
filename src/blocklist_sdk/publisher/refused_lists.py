"""The lists that the guard refused, so that a person can accept one of them and no other."""

from pathlib import Path
from typing import Final

from blocklist_sdk.disk import read_json, storage, write_json
from blocklist_sdk.errors import InvalidInput

_FILE: Final = "refused.json"
_FORMAT: Final = 1


def remember_refused(directory: Path, feed: str, *, digest: str, content: str) -> None:
    """Store durably what was refused; it replaces what was refused on the feed before.

    Args:
        directory: the publisher's folder, locked.
        feed: the feed's name.
        digest: the digest of the current release.
        content: the hash of what the list asks for, see `drafts.content_of`.

    Raises:
        StorageFailed: the disk refused.
    """
    path = directory / _FILE
    document = read_json(path, format_version=_FORMAT) or {"format": _FORMAT, "feeds": {}}
    document["feeds"][feed] = {"digest": digest, "list": content}
    with storage(path):
        write_json(path, document)


def require_refused(directory: Path, feed: str, *, digest: str | None, content: str) -> None:
    """Make sure that the same content was refused before, on the same release.

    Raises:
        InvalidInput: it was not; the message says what differs.
    """
    document = read_json(directory / _FILE, format_version=_FORMAT) or {"feeds": {}}
    known = document["feeds"].get(feed)
    if known is None:
        why = "nothing was refused on this feed and in this folder"
    elif known["digest"] != digest:
        why = "a release has been published since the last refusal"
    elif known["list"] != content:
        why = "the list that was refused was another one, or was to be read otherwise"
    else:
        return
    raise InvalidInput(
        f"accept is taken only after the same list was refused, and {why}. Nothing was published. A dry run is not a "
        "refusal: publish the list once without accept and without a dry run, read what would change, and then accept "
        "it."
    )
