"""The library's log, told as it comes: commands that run for long must not keep it until they end."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

from blocklist_sdk.cli.talk import say

_LIBRARY: Final = "blocklist_sdk"
_SYNCS: Final = f"{_LIBRARY}.sync.run"

REQUESTS: Final = f"{_LIBRARY}.exchange.requests"
"""Where the exchange logs each request that it has answered."""


@contextlib.contextmanager
def log_told(*, requests: bool = False) -> Iterator[None]:
    """Tell warnings, and what is worse, on standard error.

    Args:
        requests: each request that an exchange has answered as well.
    """
    library, of_requests = logging.getLogger(_LIBRARY), logging.getLogger(REQUESTS)
    talk = _Talk(logging.INFO if requests else logging.WARNING)
    propagates, level = library.propagate, of_requests.level
    library.addHandler(talk)
    library.propagate = False
    if requests:
        of_requests.setLevel(logging.INFO)
    try:
        yield
    finally:
        of_requests.setLevel(level)
        library.propagate = propagates
        library.removeHandler(talk)


class _Talk(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # The background tells of a failed sync too, and says when the next one is.
        if record.name == _SYNCS and hasattr(record, "outcome"):
            return
        with contextlib.suppress(OSError):  # whoever read it has gone
            say(self.format(record))
