"""A clock that a test sets, in the place of the machine's in all of this library."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput


class Clock:
    """The time that this library reads, in this whole process: look-ups, ends, expiry, signatures, enforcement.

    It is the machine's until it is set; then it stands still until it is set or advanced again. Waits are not
    shortened by it, and the time that other libraries and other processes read stays the machine's. All the clocks of
    a process are one. May be used by threads.
    """

    def __init__(self) -> None:
        """Reads and changes nothing."""
        self._lock = threading.Lock()

    @property
    def now(self) -> datetime:
        """The time, UTC."""
        return times.now()

    def set(self, moment: datetime) -> datetime:
        """Set the clock, forwards or backwards, and stop it there.

        Args:
            moment: the time, with a time zone.

        Returns:
            The time, UTC.

        Raises:
            InvalidInput: `moment` has no time zone.
        """
        if moment.tzinfo is None:
            raise InvalidInput(f"{moment.isoformat()} has no time zone: give one, such as tzinfo=UTC")
        with self._lock:
            return _stop_at(moment)

    def advance(self, span: timedelta) -> datetime:
        """Move the clock on, or back if `span` is negative, and stop it there.

        Returns:
            The time, UTC.

        >>> from datetime import timedelta
        >>> with fake_clock() as clock:
        ...     before = clock.now
        ...     clock.advance(timedelta(days=2)) - before >= timedelta(days=2)
        True
        """
        with self._lock:
            return _stop_at(times.now() + span)

    def reset(self) -> None:
        """Go by the machine's clock again."""
        _restore(_MACHINE)


_Source = tuple[Callable[[], float], datetime | None]


def _source() -> _Source:
    return times.clock, times.moment


def _restore(source: _Source) -> None:
    times.clock, times.moment = source


_MACHINE: Final = _source()


def _stop_at(moment: datetime) -> datetime:
    times.clock, times.moment = _not_a_number, moment.astimezone(UTC)
    return times.moment


def _not_a_number() -> float:
    return math.nan


@dataclass(eq=False, slots=True)
class _Block:
    """A block with a clock.

    Attributes:
        before: what everything went by when it began.
    """

    before: _Source


_blocks: list[_Block] = []
_blocks_lock: Final = threading.Lock()


@contextlib.contextmanager
def fake_clock() -> Iterator[Clock]:
    """A clock that can be set; at the end of the block everything goes by the clock of before.

    Where blocks of several threads overlap, the time stays that of those still open: the last one to end puts back the
    clock that was there before the first.

    >>> from datetime import UTC, datetime
    >>> with fake_clock() as clock:
    ...     clock.set(datetime(2027, 1, 1, tzinfo=UTC))
    datetime.datetime(2027, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    with _blocks_lock:
        block = _Block(_source())
        _blocks.append(block)
    try:
        yield Clock()
    finally:
        with _blocks_lock:
            place = _blocks.index(block)
            del _blocks[place]
            if place == len(_blocks):
                _restore(block.before)
            else:  # one that began later is still open, and goes back to what was before both
                _blocks[place].before = block.before


@contextlib.contextmanager
def machine_clock() -> Iterator[None]:
    """Go by the machine's clock until the end of the block, whatever was set."""
    with fake_clock() as clock:
        clock.reset()
        yield
