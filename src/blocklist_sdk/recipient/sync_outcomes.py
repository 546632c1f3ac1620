"""The outcome of a sync: its name, its record, and the listeners that get it."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from blocklist_sdk import times
from blocklist_sdk.errors import (
    BlocklistError,
    ExchangeError,
    InvalidInput,
    Locked,
    Malformed,
    NotPermitted,
    NotSynced,
    Refused,
    Stale,
    StorageFailed,
    Unreachable,
    Untrusted,
)
from blocklist_sdk.records import SyncResult

UNEXPECTED: Final = "unexpected"
"""The outcome of a sync that failed by a fault of this library."""

_ERRORS: Final[dict[type[BlocklistError], str]] = {
    Unreachable: "unreachable",
    NotPermitted: "not-permitted",
    Untrusted: "untrusted",
    Stale: "stale",
    Malformed: "malformed",
    Refused: "refused",
    Locked: "locked",
    StorageFailed: "storage",
    InvalidInput: "invalid-input",
    NotSynced: "not-synced",
    ExchangeError: "exchange",
}
"""The outcome of each class of error; a subclass has that of its parent."""

OUTCOMES: Final = ("none", "delta", "snapshot", *_ERRORS.values(), UNEXPECTED)
"""Every name that `outcome_of` returns."""

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """The outcome of one sync, whether it succeeded or failed.

    Attributes:
        feed: the feed's name.
        name: the outcome in a word, one of `OUTCOMES`.
        at: when it ended, UTC.
        seconds: how long it took.
        bytes: the bytes received, also by a failed sync.
        result: its result, None if it failed.
        error: its error, None if it succeeded.
    """

    feed: str
    name: str
    at: datetime
    seconds: float
    bytes: int
    result: SyncResult | None
    error: Exception | None


Listener = Callable[[SyncOutcome], None]
"""Called after every sync, in the thread that ran it."""


def outcome_of(ended: SyncResult | Exception) -> str:
    """The outcome of a sync in a word.

    >>> from blocklist_sdk import Untrusted
    >>> outcome_of(Untrusted("a signature is wrong"))
    'untrusted'
    >>> outcome_of(ZeroDivisionError())
    'unexpected'
    """
    if isinstance(ended, SyncResult):
        return ended.kind
    return next((_ERRORS[kind] for kind in type(ended).__mro__ if kind in _ERRORS), UNEXPECTED)


def log_fields(feed: str, ended: SyncResult | Exception, *, bytes: int, seconds: float) -> dict[str, Any]:
    """The fields of a log record about a sync, for logs that are searched by field."""
    result = ended if isinstance(ended, SyncResult) else None
    return {
        "feed": feed,
        "outcome": outcome_of(ended),
        "serial": result and result.after,
        "kind": result and result.kind,
        "bytes": bytes,
        "seconds": round(seconds, 3),
    }


class Attempt:
    """Times one sync and calls the listeners with its outcome; for a `with` block, through which errors pass.

    Ctrl-C and a stopped sync are not outcomes: the listeners are not called.

    Attributes:
        bytes_received: returns the bytes received so far.
        result: the sync's result; to be set at its end.
    """

    def __init__(self, feed: str, listeners: Iterable[Listener]) -> None:
        """Starts when it is entered."""
        self.bytes_received: Callable[[], int] = int
        self.result: SyncResult | None = None
        self._feed = feed
        self._listeners = tuple(listeners)
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = error or self.result
        if not isinstance(ended, SyncResult | Exception):
            return
        outcome = SyncOutcome(
            feed=self._feed,
            name=outcome_of(ended),
            at=times.now(),
            seconds=time.monotonic() - self._started,
            bytes=self.bytes_received(),
            result=ended if isinstance(ended, SyncResult) else None,
            error=ended if isinstance(ended, Exception) else None,
        )
        for listener in self._listeners:
            call(listener, outcome)


def call(listener: Listener, outcome: SyncOutcome) -> None:
    """Call one listener; its errors are logged, since they change nothing about the sync."""
    try:
        listener(outcome)
    except BlocklistError as error:
        log.error("a listener to the syncs of feed %s failed: %s", outcome.feed, error)
    except Exception as error:  # noqa: BLE001 -- the caller's code must not make a sync fail
        # Without its text, which may contain a number.
        log.error("a listener to the syncs of feed %s failed: unexpected %s", outcome.feed, type(error).__name__)
