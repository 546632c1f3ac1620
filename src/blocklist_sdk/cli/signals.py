"""How commands end that run until they are stopped: by Ctrl-C, or by SIGTERM from a service manager."""

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal:
    """An event that SIGINT and SIGTERM set, as any thread can; for a `with` block in the main thread.

    Attributes:
        interrupts: whether the next signal raises KeyboardInterrupt as well. Later ones do not, so that the block can
            clean up.
    """

    def __init__(self, *, interrupts: bool = False) -> None:
        self.interrupts: bool = interrupts

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        # A threading.Event would not do: Python runs no handler for a signal that arrives right before a wait. The
        # interpreter itself writes to this descriptor, whenever the signal arrives.
        self._fd_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, self._handle)
            # A process that was started with Ctrl-C ignored, such as in the background of a shell, keeps ignoring it.
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._reader)
        # A thread that calls `set` late must not write into a file that was given the same descriptor.
        writer, self._writer = self._writer, -1
        os.close(writer)

    def fileno(self) -> int:
        """The descriptor that is readable once the event is set, for `select`."""
        return self._reader

    def set(self) -> None:
        """Set the event, from any thread."""
        with contextlib.suppress(OSError):  # it is set already, or the block has ended
            os.write(self._writer, b"\0")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the event is set, at most this long; return whether it is."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        return bool(ready)

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        # The interpreter has set the event already.
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
