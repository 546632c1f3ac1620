"""Alarms: what a person has to look at soon. A logger of their own, so that they can be sent somewhere of their own."""

import logging
from typing import Final

ALARMS: Final = __name__
"""The name of the logger: ``blocklist_sdk.exchange_server.alarms``."""

log: logging.Logger = logging.getLogger(__name__)


def alarm(message: str, *args: object) -> None:
    """Raise an alarm: an error in the log, by the logger `ALARMS`.

    Args:
        message: what happened and what to do, with placeholders as for `logging`.
        args: for the placeholders; never a telephone number.
    """
    log.error(message, *args)
