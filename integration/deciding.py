"""When a gateway begins to decide differently: after a sync, and at the end of an entry. For tests of every gateway."""

import time
from datetime import timedelta
from typing import Final

from blocklist_sdk import times
from integration.calls import call
from integration.listed import ENDING
from integration.services import Service
from support.waiting import until

COUNTS_WITHIN_S: Final = 10.0
"""So long a gateway may go on as before after a sync, or after an end. The docs say a second at most; a busy machine
gets more."""

CALL_TAKES: Final = timedelta(seconds=1)
"""So long a call may take that is answered."""


def check_end(gateway: int, asked: Service) -> None:
    """Check that a caller is refused until the end of its entry, and let through from then on, with no sync in between.

    Args:
        gateway: the port of the gateway.
        asked: what it asks.

    Raises:
        AssertionError: the caller is not refused before, is let through too early, or is still refused afterwards.
    """
    ends = asked.commands.add_ending()
    asked.follow()
    check_counts_soon(gateway, ENDING[-1], 608)
    number, end = next((number, end) for number, end in ends.items() if end > times.now() + CALL_TAKES)
    status = call(gateway, f"+{number}").status
    assert times.now() < end, f"a call took longer than {CALL_TAKES}"
    assert status == 608
    until(lambda: call(gateway, f"+{number}").status == 200)
    assert 0 <= (times.now() - end).total_seconds() < COUNTS_WITHIN_S


def check_counts_soon(gateway: int, number: str, status: int) -> None:
    """Check that what a sync brought decides about a caller soon.

    Args:
        gateway: the port of the gateway.
        number: the caller's digits.
        status: what the caller gets from then on.
    """
    start = time.monotonic()
    until(lambda: call(gateway, f"+{number}").status == status)
    assert time.monotonic() - start < COUNTS_WITHIN_S
