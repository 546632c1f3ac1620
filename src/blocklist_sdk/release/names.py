"""The names of files and feeds in a repository."""

import re

from blocklist_sdk.errors import InvalidInput

PROTOCOL = 1
"""Version of the protocol."""

_FEED_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RESERVED = frozenset({"root", "targets", "snapshot", "timestamp"})
"""TUF's own role names; a feed is a TUF role and cannot be called so."""


def feed_name(name: str) -> str:
    """Check a feed's name.

    Raises:
        InvalidInput: it is not lower-case words joined by hyphens, or is one of TUF's own role names.

    >>> feed_name("id-telkomsel")
    'id-telkomsel'
    """
    if not isinstance(name, str) or not _FEED_NAME.fullmatch(name) or len(name) > 64 or name in _RESERVED:
        raise InvalidInput(
            f"{name!r} is not a feed name: use lower-case words and digits joined by hyphens, as in id-messaging"
        )
    return name


def index_path(feed: str) -> str:
    """The target path of a feed's index."""
    return f"{feed}/index.json"


def snapshot_path(feed: str, serial: int) -> str:
    """The target path of a release's snapshot."""
    return f"{feed}/{serial}.snapshot.parquet"


def delta_path(feed: str, serial: int) -> str:
    """The target path of the delta that leads to a release from the one before."""
    return f"{feed}/{serial}.delta.parquet"


PROTECTED_PATH = "protected.json"
"""The target path of the protected numbers, signed by the targets role itself."""
