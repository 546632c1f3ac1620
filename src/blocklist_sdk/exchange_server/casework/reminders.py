"""Alarms about a state that lasts: raised when it begins, and again after a while, not every few seconds."""

import time
from collections.abc import Callable
from typing import Final

_AGAIN_S: Final = 3600.0
"""A person who looks at alarms once an hour sees each."""


class Reminders:
    """What was said, and when. Whoever uses it sees to it that one thread at a time does.

    Example:
        >>> reminders = Reminders()
        >>> reminders.is_due("the trail was changed"), reminders.is_due("the trail was changed")
        (True, False)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was said yet; `clock` returns seconds that only grow."""
        self._clock = clock
        self._said: dict[str, float] = {}

    def is_due(self, what: str) -> bool:
        """Whether to say something now; it then counts as said."""
        now = self._clock()
        self._said = {each: at for each, at in self._said.items() if now - at < _AGAIN_S}
        if what in self._said:
            return False
        self._said[what] = now
        return True
