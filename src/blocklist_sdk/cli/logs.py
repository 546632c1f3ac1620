"""Log records on standard error: at a command's end, or at once if it runs for long."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Final

from blocklist_sdk.cli.messages import say, say_bug

_SYNCS: Final = "blocklist_sdk.recipient.sync.run"
"""The logger that has a record for each sync."""

_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Syslog's priorities, which systemd's journal reads at the beginning of a line (sd-daemon(3))."""


class DeferredWarnings(logging.Handler):
    """Keeps warnings until the command's end, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self._messages[record.getMessage()] = None

    def forget(self, failure: str) -> None:
        """Drop the messages that quote a failure, which is written anyway."""
        self._messages = {message: None for message in self._messages if failure not in message}

    def write(self) -> None:
        """Write the messages to standard error, and keep them no longer."""
        for message in self._messages:
            say(message)
        self._messages = {}


@contextlib.contextmanager
def log_to_stderr(levels: Mapping[str, int] = {}) -> Iterator[None]:
    """Write warnings, and what is worse, to standard error at once, and keep none until the end.

    Those that were kept so far are written first: a command that runs for months ends too late.

    Args:
        levels: the lowest level to write for loggers that should write more, or less.
    """
    root = logging.getLogger()
    deferred = [handler for handler in root.handlers if isinstance(handler, DeferredWarnings)]
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    immediate = _StderrHandler()
    for handler in deferred:
        root.removeHandler(handler)
        handler.write()
    root.addHandler(immediate)
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
        root.removeHandler(immediate)
        for handler in deferred:
            root.addHandler(handler)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # The background thread logs a failed sync too, and adds when the next one is.
        if record.name == _SYNCS and hasattr(record, "outcome"):
            return
        error = record.exc_info[1] if record.exc_info else None
        say(record.getMessage(), prefix=_journal_priority(record.levelno))
        if isinstance(error, Exception):
            say_bug(error)


def _journal_priority(level: int) -> str:
    """The priority for systemd's journal, such as ``<4>``; empty if standard error goes elsewhere."""
    if "JOURNAL_STREAM" not in os.environ:
        return ""
    return next((f"<{priority}>" for least, priority in _PRIORITIES if level >= least), "<7>")
