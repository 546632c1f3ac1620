"""Waiting for what other threads do."""

import time
from collections.abc import Callable


def until(holds: Callable[[], bool]) -> None:
    """Wait until another thread or process has done something; a minute at most."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not happen within a minute"
        time.sleep(0.01)
