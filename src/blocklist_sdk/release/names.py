"""The names of files and feeds in a repository."""

import re
from collections.abc import Collection

from blocklist_sdk.errors import InvalidInput

PROTOCOL = 1
"""Version of the protocol."""

TARGET_NAME_CHARS_MAX = 128
"""Leaves room for a hash before the name, and a suffix behind it, in the 255 bytes that file systems allow."""

_TARGET_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

_FEED_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FEED_NAME_CHARS_MAX = 64
_NAMED_MAX = 30
"""So many feeds are named in a message."""

_RESERVED = frozenset({"root", "targets", "snapshot", "timestamp"})
"""TUF's own role names; a feed is a TUF role and cannot be called so."""


def feed_name(name: str) -> str:
    """Check a feed's name.

    Raises:
        InvalidInput: it is not lower-case words joined by hyphens, or is one of TUF's own role names.

    >>> feed_name("id-telkomsel")
    'id-telkomsel'
    """
    if (
        not isinstance(name, str)
        or not _FEED_NAME.fullmatch(name)
        or len(name) > _FEED_NAME_CHARS_MAX
        or name in _RESERVED
    ):
        raise InvalidInput(
            f"{name!r} is not a feed name: use lower-case words and digits joined by hyphens, as in id-messaging",
            argument="feed",
        )
    return name


def unknown_feed(repository: str, feed: str, feeds: Collection[str]) -> str:
    """What to say of a feed that a repository does not have.

    Args:
        repository: what to call the repository, such as its address.
        feed: the name that was given.
        feeds: the names of the feeds that it has.

    >>> unknown_feed("the repository", "id-tsel", ["id-messaging", "id-telkomsel"])
    "the repository has no feed 'id-tsel', only: id-messaging, id-telkomsel. Correct the name, or ask the publisher"
    """
    if not feeds:
        return f"{repository} has no feed {feed!r}, nor any other: ask the publisher"
    names = sorted(feeds)
    more = f" and {len(names) - _NAMED_MAX:,} more" if len(names) > _NAMED_MAX else ""
    named = ", ".join(names[:_NAMED_MAX])
    return f"{repository} has no feed {feed!r}, only: {named}{more}. Correct the name, or ask the publisher"


def is_target_path(path: str, *, feed: str | None = None) -> bool:
    """Whether a signed path may name a file of a repository: a name, or a feed's name, a slash and a name.

    Names are of ASCII letters, digits, ``.``, ``_`` and ``-``, do not start with a dot, and are not longer than
    `TARGET_NAME_CHARS_MAX`.

    Args:
        path: the target path.
        feed: the feed whose file it must be; None for any file of the repository.

    >>> is_target_path("id-all/1.delta.parquet"), is_target_path("id-all/..", feed="id-all")
    (True, False)
    >>> is_target_path("id-all/1.delta.parquet", feed="id-sms")
    False
    """
    folder, slash, name = path.rpartition("/")
    if len(name) > TARGET_NAME_CHARS_MAX or not _TARGET_NAME.fullmatch(name):
        return False
    if feed is not None:
        return folder == feed
    return not slash or (len(folder) <= _FEED_NAME_CHARS_MAX and _FEED_NAME.fullmatch(folder) is not None)


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
