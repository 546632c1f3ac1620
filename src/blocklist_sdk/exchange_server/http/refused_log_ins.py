"""Failed log-ins in the log: the account and the address, and never more lines than a person can read."""

import logging
from typing import Final

from blocklist_sdk.errors import without_numbers
from blocklist_sdk.exchange_server.casework.accounts import is_account_name
from blocklist_sdk.exchange_server.http.rates import RateLimits

log: logging.Logger = logging.getLogger(__name__)

_LINES_OF_ONE: Final = "10/minute"
"""Lines of one account at one address."""

_LINES: Final = "100/minute"
"""Lines of all of them."""


class RefusedLogIns:
    """Logs why credentials were refused. What is too much for the log is counted, and the next line has the number."""

    def __init__(self, limits: RateLimits) -> None:
        """Nothing was refused yet.

        Args:
            limits: counts the lines.
        """
        self._limits = limits
        self._left_out = 0

    def add(self, account: str | None, address: str, cause: str) -> None:
        """Log a failed log-in.

        Args:
            account: whom the client says it is, not verified; it may be no account's name, or a telephone number.
            address: where the request came from.
            cause: why the credentials were refused.
        """
        name = account if account is not None and is_account_name(account) else None
        if not (
            self._limits.take(_LINES_OF_ONE, "log of log-ins", address, name or "") and self._limits.take(_LINES, "log")
        ):
            self._left_out += 1
            return
        shown = f"account {without_numbers(name)}" if name is not None else "a request with no account name"
        more = f" ({self._left_out:,} more since the last line)" if self._left_out else ""
        self._left_out = 0
        log.warning("log-in refused: %s at %s: %s%s", shown, address, cause, more)
