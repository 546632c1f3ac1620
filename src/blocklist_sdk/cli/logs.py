"""What commands tell of the log: at their end, or as it comes where the end is far."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Final

from blocklist_sdk.cli.prompts import say, say_bug

_SYNCS: Final = "blocklist_sdk.recipient.sync.run"

_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Of syslog, which systemd's journal reads in front of a line (sd-daemon(3))."""


class Notes(logging.Handler):
    """Warnings, told at the end, each once; the one that is also raised is told as the failure."""

    def __init__(self) -> None:
        """Has heard of nothing yet."""
        super().__init__(logging.WARNING)
        self._messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._messages[record.getMessage()] = None

    def tell(self, *, but: str | None) -> None:
        """Print them, without those about the failure that is reported anyway."""
        for message in self._messages:
            if but is None or but not in message:
                say(message)


@contextlib.contextmanager
def log_told(levels: Mapping[str, int] = {}) -> Iterator[None]:
    """Tell warnings, and what is worse, on standard error as they come, and keep none of them as a note.

    Args:
        levels: of loggers of which more, or less, is to be told.
    """
    root = logging.getLogger()
    notes = [handler for handler in root.handlers if isinstance(handler, Notes)]
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    talk = _Talk()
    for handler in notes:
        root.removeHandler(handler)
    root.addHandler(talk)
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
        root.removeHandler(talk)
        for handler in notes:
            root.addHandler(handler)


class _Talk(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # The background tells of a failed sync too, and says when the next one is.
        if record.name == _SYNCS and hasattr(record, "outcome"):
            return
        error = record.exc_info[1] if record.exc_info else None
        say(record.getMessage(), mark=_mark(record.levelno))
        if isinstance(error, Exception):
            say_bug(error)


def _mark(level: int) -> str:
    if "JOURNAL_STREAM" not in os.environ:
        return ""
    return next((f"<{priority}>" for least, priority in _PRIORITIES if level >= least), "<7>")
