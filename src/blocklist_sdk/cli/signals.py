"""How commands end that run until they are told to stop: by Ctrl-C, or by SIGTERM, as service managers send it."""

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal:
    """Rings at SIGINT and SIGTERM, and when told to; for a `with` block in the main thread.

    Attributes:
        interrupts: the next signal raises KeyboardInterrupt as well; those after it do not, so that what the block
            holds can be cleaned up.
    """

    def __init__(self, *, interrupts: bool = False) -> None:
        """Rings from the beginning of the block to its end."""
        self.interrupts = interrupts

    def __enter__(self) -> Self:
        self._listening, self._ringing = os.pipe()
        os.set_blocking(self._ringing, False)
        # An event would not do: Python runs no handler for a signal that comes right before a wait. This one is written
        # by the interpreter itself, whenever the signal comes.
        self._fd_before = signal.set_wakeup_fd(self._ringing, warn_on_full_buffer=False)
        self._before = {
            each: signal.signal(each, self._heard)
            # Whoever is started with Ctrl-C ignored, as in the background of a shell, goes on ignoring it.
            for each in _SIGNALS
            if signal.getsignal(each) is not signal.SIG_IGN
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._listening)
        # A thread that rings late must not write into what has its number then.
        ringing, self._ringing = self._ringing, -1
        os.close(ringing)

    def ring(self) -> None:
        """Ring."""
        with contextlib.suppress(OSError):  # it rings already, or nobody listens any more
            os.write(self._ringing, b"\0")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it rings, or for so long; whether it has rung."""
        ready, _, _ = select.select([self._listening], [], [], seconds)
        return bool(ready)

    def _heard(self, signal_number: int, frame: FrameType | None) -> None:
        # To ring, nothing is left to do.
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
