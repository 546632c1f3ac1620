"""The exchange's clock: the machine's, as long as that runs evenly.

Listings, tokens and assertions end by the clock. A machine's clock may jump: a time server errs, a virtual machine
wakes, a person types a wrong year. While the exchange runs it notices, since the machine also counts seconds that
nobody can set, and then goes by those. What a clock may do while the exchange was stopped, `casework.held_ends` judges.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from blocklist_sdk import times
from blocklist_sdk.exchange_server.alarms import alarm

log: logging.Logger = logging.getLogger(__name__)

STEP: Final = timedelta(minutes=5)
"""A jump up to this is followed: clocks may differ by so much everywhere in this project."""

_GLIDE: Final = 0.001
"""How much faster or slower than counted seconds a clock may run for long: twice what a time service adjusts it by."""


def elapsed_s() -> float:
    """Seconds that nobody can set, since the machine started; on Linux those in which it slept count too."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SteadyClock:
    """Shows the machine's time, to the whole second; after a jump it goes on as before, and raises an alarm.

    It shows the machine's time again when that is right again, when the exchange is restarted, or after `follow`.
    Threads may share one.

    Example:
        >>> from datetime import UTC
        >>> moments = [datetime(2026, 11, 2, tzinfo=UTC), datetime(2027, 5, 2, tzinfo=UTC)]
        >>> seconds = [0.0, 5.0]
        >>> clock = SteadyClock(lambda: moments[-1], lambda: seconds[-1])
        >>> clock().year, clock.jumped
        (2027, None)
    """

    def __init__(self, wall: Callable[[], datetime] = times.now, elapsed: Callable[[], float] = elapsed_s) -> None:
        """Believe the machine's clock as it is now.

        Args:
            wall: returns the machine's time, UTC.
            elapsed: returns seconds that nobody can set, from any moment on.
        """
        self._wall = wall
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._jumped: timedelta | None = None
        self._acceptances: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._checked_s = self._elapsed()
        self._origin = self._wall() - timedelta(seconds=self._checked_s)

    @property
    def jumped(self) -> timedelta | None:
        """How far the machine's clock is ahead, negative if behind, after a jump that is not followed; else None."""
        return self._jumped

    def follow(self) -> None:
        """Believe the machine's clock as it is now: a person has said that it is right."""
        with self._lock:
            self._begin()
            self._jumped = None

    def follow_if_accepted(self, acceptances: int) -> None:
        """Do so if a person has said it since the last call.

        Args:
            acceptances: how often anybody ever has.
        """
        if self._acceptances is not None and acceptances > self._acceptances:
            self.follow()
        self._acceptances = acceptances

    def __call__(self) -> datetime:
        """This moment, UTC, to the whole second."""
        with self._lock:
            return self._now().replace(microsecond=0)

    def _now(self) -> datetime:
        elapsed, wall = self._elapsed(), self._wall()
        steady = self._origin + timedelta(seconds=elapsed)
        ahead = wall - steady
        most = timedelta(seconds=max(elapsed - self._checked_s, 0.0) * _GLIDE)
        if abs(ahead) > STEP + most:
            if self._jumped is None or abs(ahead - self._jumped) > STEP:
                alarm(
                    "the machine's clock has jumped %s by %s, to %s. The exchange goes on by %s. If the machine's "
                    "clock is right: restart the exchange, or blocklist exchange publish --accept-clock",
                    *("ahead" if ahead > timedelta() else "back", _long(abs(ahead)), times.iso(_whole(wall))),
                    times.iso(_whole(steady)),
                )
            self._jumped, self._checked_s = ahead, elapsed
            return steady
        if self._jumped is not None:
            log.warning("the machine's clock is right again, and the exchange goes by it")
            self._jumped = None
        self._origin += max(-most, min(most, ahead))
        self._checked_s = elapsed
        return wall


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _long(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))
