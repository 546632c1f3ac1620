"""The minimum rate: an attempt that receives too little is cut."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class MinimumRate:
    """Calls `cut` when fewer bytes than the minimum arrive in a whole window; for a `with` block.

    It needs a thread: a read timeout starts anew with every byte, and headers that drip in never reach our loop.

    Attributes:
        fired: whether it has cut.

    >>> with MinimumRate(lambda: 0, floor_bytes=1, window_s=60, cut=lambda: None) as watch:
    ...     pass
    >>> watch.fired
    False
    """

    def __init__(
        self, received: Callable[[], int], *, floor_bytes: float, window_s: float, cut: Callable[[], None]
    ) -> None:
        """Starts to watch when it is entered.

        Args:
            received: the bytes received so far; called from another thread.
            floor_bytes: the bytes that must arrive in each window.
            window_s: the length of a window, in seconds.
            cut: ends the attempt; called from another thread.
        """
        self.fired: bool = False
        self._received = received
        self._floor_bytes = floor_bytes
        self._window_s = window_s
        self._cut = cut
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blocklist-minimum-rate", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        before = self._received()
        while not self._over.wait(self._window_s):
            if self._received() - before < self._floor_bytes:
                self.fired = True
                self._cut()
                return
            before = self._received()
