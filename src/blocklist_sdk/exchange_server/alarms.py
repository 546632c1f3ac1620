"""Alarms: what somebody has to look at now. They are logged as errors by one logger, for whatever watches the log."""

import logging
from typing import Final

ALARMS: Final = "blocklist_sdk.exchange_server.alarms"
"""The logger of alarms."""

log: logging.Logger = logging.getLogger(__name__)


def alarm(message: str, *args: object) -> None:
    """Raise an alarm.

    Args:
        message: what has happened, as a format of `logging`.
        args: its arguments.
    """
    log.error(message, *args)
