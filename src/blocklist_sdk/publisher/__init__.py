"""The publisher's wing: keys, rows from files, the signed repository, and a server for it.

Names load when they are first used: the signing libraries are heavy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blocklist_sdk.publisher.keys import KeyUri as KeyUri
    from blocklist_sdk.publisher.publisher import Publisher as Publisher
    from blocklist_sdk.publisher.publisher import Timing as Timing
    from blocklist_sdk.publisher.reports import LateRole as LateRole
    from blocklist_sdk.publisher.reports import PublisherStatus as PublisherStatus
    from blocklist_sdk.publisher.reports import RefreshReport as RefreshReport
    from blocklist_sdk.publisher.reports import ReleaseReport as ReleaseReport
    from blocklist_sdk.publisher.repository import Lifetimes as Lifetimes
    from blocklist_sdk.publisher.serve import serving as serving

_HOME = {
    "KeyUri": "keys",
    "LateRole": "reports",
    "Lifetimes": "repository",
    "Publisher": "publisher",
    "PublisherStatus": "reports",
    "RefreshReport": "reports",
    "ReleaseReport": "reports",
    "Timing": "publisher",
    "serving": "serve",
}
"""Where each name lives."""

__all__ = [
    "KeyUri",
    "LateRole",
    "Lifetimes",
    "Publisher",
    "PublisherStatus",
    "RefreshReport",
    "ReleaseReport",
    "Timing",
    "serving",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
