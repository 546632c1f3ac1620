"""What came of a sync, for those who watch over it: its name, its record, and whom to tell."""

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
    NotSynced,
    Refused,
    Stale,
    StorageFailed,
    Unreachable,
    Untrusted,
)
from blocklist_sdk.records import SyncResult

UNEXPECTED: Final = "unexpected"
"""The outcome that only a fault of this library has."""

_ERRORS: Final[dict[type[BlocklistError], str]] = {
    Unreachable: "unreachable",
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
"""By class of error; a subclass has its parent's name."""

OUTCOMES: Final = ("none", "delta", "snapshot", *_ERRORS.values(), UNEXPECTED)
"""Every name that `outcome_of` gives."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What came of one sync, well or badly.

    Attributes:
        feed: the feed's name.
        name: one of `OUTCOMES`: how it went in a word.
        at: when it ended, UTC.
        seconds: how long it took.
        bytes: what went over the wire, after a failure too.
        result: what it did, None where it failed.
        error: what it failed with, None where it did not.
    """

    feed: str
    name: str
    at: datetime
    seconds: float
    bytes: int
    result: SyncResult | None
    error: Exception | None


Listener = Callable[[SyncOutcome], None]
"""Is told of every sync, in the thread that ran it."""


def outcome_of(ended: SyncResult | Exception) -> str:
    """How a sync went, in a word.

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
    """What a log record about a sync has beside its message, for logs that are searched by field."""
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
    """Times one sync and tells the listeners what came of it; for a `with` block, through which errors pass.

    What is no `Exception` (Ctrl-C, a sync that was stopped) says nothing about the feed, and nobody is told.

    Attributes:
        bytes_received: the bytes that came so far.
        result: what the sync did; to be set at its end.
    """

    def __init__(self, feed: str, listeners: Iterable[Listener]) -> None:
        """Begins when it is entered."""
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
            tell(listener, outcome)


def tell(listener: Listener, outcome: SyncOutcome) -> None:
    """Tell one listener; what it fails with is logged, since it changes nothing about the sync."""
    try:
        listener(outcome)
    except BlocklistError as error:
        log.error("a listener to the syncs of feed %s failed: %s", outcome.feed, error)
    except Exception as error:  # noqa: BLE001 -- it is the caller's code, and a sync must not fail by it
        # Without its text, which is not ours and may hold a number.
        log.error("a listener to the syncs of feed %s failed: unexpected %s", outcome.feed, type(error).__name__)
