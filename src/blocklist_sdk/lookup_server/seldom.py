"""What would otherwise be said of every request is said once a minute."""

import time
from typing import Final

_EVERY_S: Final = 60.0


class Seldom:
    """Whether it is time to say something again.

    >>> seldom = Seldom()
    >>> seldom.is_due(), seldom.is_due()
    (True, False)
    """

    __slots__ = ("_next",)

    def __init__(self) -> None:
        """It has not been said yet."""
        self._next = 0.0

    def is_due(self) -> bool:
        """Whether a minute has passed since this was last true."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _EVERY_S
        return True
