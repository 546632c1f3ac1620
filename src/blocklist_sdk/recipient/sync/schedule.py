"""When the next scheduled sync is due. Pure: time and chance are arguments.

A draw is a random number from 0 (included) to 1 (excluded).
"""

import math
from datetime import datetime, timedelta
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.cache.state import BegunBuild, SyncState
from blocklist_sdk.release.release_id import ReleaseId

EVERY_MAX: Final = timedelta(days=366)
"""Longer than any signature on a feed lasts by default."""

_BACKOFF_FIRST_S: Final = 15 * 60.0
BACKOFF_MAX_S: Final = 24 * 3600.0
"""Safe Browsing's rule for its update servers: after N failures in a row wait MIN((2^(N-1) * 15 minutes) * (RAND + 1),
24 hours), with RAND drawn anew each time (developers.google.com/safe-browsing/v4/request-frequency)."""

ASKED_INTERVALS_MAX: Final = 2
"""How many intervals a server's `Retry-After` may delay the next scheduled sync, at most."""

_DOUBLINGS_MAX: Final = 10
"""More doublings would exceed 24 hours anyway, and in the end the largest float."""

_KILLED_MIN: Final = 2
"""So many builds of a release in a row that never ended are more than a restart at a bad moment."""

_OTHERS_SHARE: Final = 0.1
"""A process that finds that another one has synced comes later by up to this share of the interval: so the first stays
the first, and the others find its work done."""


def interval(every: float | timedelta) -> timedelta:
    """The time between two scheduled syncs.

    Args:
        every: seconds, or a timedelta.

    Raises:
        InvalidInput: `every` is not more than 0 and at most `EVERY_MAX`.

    >>> interval(3600)
    datetime.timedelta(seconds=3600)
    """
    seconds = every.total_seconds() if isinstance(every, timedelta) else float(every)
    if not 0 < seconds <= EVERY_MAX.total_seconds():
        raise InvalidInput(f"the interval must be more than 0 s and at most a year, not {seconds:g} s")
    return timedelta(seconds=seconds)


def backoff_s(failures: int, *, every: timedelta, draw: float, retry_after_s: float | None = None) -> float:
    """How long to wait after a failure, in seconds; 24 hours at most.

    Args:
        failures: failures in a row, this one included.
        every: the time from one sync to the next.
        draw: spreads recipients that failed at the same moment.
        retry_after_s: the wait that the server asked for. It counts up to `ASKED_INTERVALS_MAX` intervals: nobody signs
            it, so one answer of whoever is in between must not hold a list back for long.

    >>> hour = timedelta(hours=1)
    >>> [backoff_s(failures, every=hour, draw=0.0) for failures in (1, 3, 9)]
    [900.0, 3600.0, 86400.0]
    >>> [backoff_s(1, every=hour, draw=0.0, retry_after_s=asked_s) for asked_s in (3000, 99_999_999)]
    [3000.0, 7200.0]
    """
    wait_s = 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS_MAX) * _BACKOFF_FIRST_S * (1 + draw)
    if retry_after_s is not None and not math.isnan(retry_after_s):
        longest_s = ASKED_INTERVALS_MAX * every.total_seconds()
        # Recipients with the same answer do not all come back at once: later than it asks, or within the last interval.
        asked_s = retry_after_s + draw * _BACKOFF_FIRST_S
        latest_s = longest_s - draw * min(_BACKOFF_FIRST_S, every.total_seconds())
        wait_s = max(wait_s, min(asked_s, latest_s))
    return min(wait_s, BACKOFF_MAX_S)


def first_attempt(state: SyncState, *, every: timedelta, now: datetime, draw: float) -> datetime:
    """When to sync for the first time after a start.

    At a random offset, since thousands of recipients start at the same full hour, or after the same power cut; at once
    if the feed was never synced, since until then nothing is blocked; but never before the end of a wait after earlier
    failures.
    """
    waiting = _waiting_until(state, now)
    if waiting is not None:
        return waiting
    return now if state.last_success is None else now + draw * every


def postponed_until(
    state: SyncState, *, known_success: datetime | None, every: timedelta, now: datetime, draw: float
) -> datetime | None:
    """When to try again instead of syncing now; None to sync.

    Processes that share a recipient's state share the schedule: a release that one of them fetches serves all.

    Args:
        state: what is stored about the feed now.
        known_success: the last success that the caller knew when it planned this sync; a later one is another
            process's.
        every: the time from one sync to the next.
        now: timezone-aware.
        draw: spreads the other processes.
    """
    waiting = _waiting_until(state, now)
    if waiting is not None:
        return waiting
    last = state.last_success
    if last is None or (known_success is not None and last <= known_success):
        return None
    # A moment in the future comes from a clock that has been set since, and is ignored.
    if not last <= now < last + every:
        return None
    return last + (1 + _OTHERS_SHARE * draw) * every


def held_until(begun: BegunBuild | None, *, release: ReleaseId, digest: str, now: datetime) -> datetime | None:
    """When a scheduled sync may try a release again that killed the process while it was built; None if it may now.

    A process may end for other reasons, so the first time is not held against a release; from the second time on it is
    waited for as after failures. Another release is not held.

    Args:
        begun: what is stored of the build before.
        release: what is offered now.
        digest: its digest.
        now: timezone-aware.
    """
    if begun is None or begun.attempts < _KILLED_MIN or not begun.is_of(release, digest):
        return None
    until = begun.at + timedelta(seconds=backoff_s(begun.attempts + 1 - _KILLED_MIN, every=timedelta(0), draw=0.0))
    # A moment in the future comes from a clock that has been set since.
    return until if begun.at <= now < until else None


def _waiting_until(state: SyncState, now: datetime) -> datetime | None:
    """The end of the current wait, or None."""
    if not state.failures or state.next_attempt is None or state.next_attempt <= now:
        return None
    # The clock may have been far ahead when it was stored.
    return min(state.next_attempt, now + timedelta(seconds=BACKOFF_MAX_S))
