"""What httpx and httpcore log about our requests: without telephone numbers and queries.

httpx logs every URL at INFO, and the API of an exchange has numbers in URLs. So while one of our requests is sent,
their records are masked: numbers, queries, and the headers of responses, which httpcore logs at DEBUG. Requests that
the program itself sends with httpx are logged as ever.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from blocklist_sdk.errors import without_credentials, without_numbers

_LIBRARIES: Final = ("httpx", "httpx2")
_MODULES: Final = ("", ".connection", ".http11", ".http2", ".proxy", ".socks", ".pool")
NAMES: Final = (*_LIBRARIES, *(f"httpcore{number}{module}" for number in ("", "2") for module in _MODULES))
"""The loggers of httpx and httpcore, and of their successors. A filter holds for its own logger alone."""

_HEADERS: Final = re.compile(r"\[\(b['\"].*", re.DOTALL)
"""The headers of a response in a record of httpcore, and all that follows them."""

_QUERY: Final = re.compile(r"\?[^\s\"]*")
"""A query in a record of httpx, which encodes blanks and double quotation marks in a URL, but no single ones."""

_is_ours: ContextVar[bool] = ContextVar("blocklist_sdk_request", default=False)


def masked(text: str) -> str:
    """A text about a request, without telephone numbers, credentials, queries and headers.

    >>> masked("GET https://exchange.example/v1/numbers/%2B6281234567890?token=17")
    'GET https://exchange.example/v1/numbers/%2B6281…890?…'
    """
    return without_numbers(_HEADERS.sub("[…", _QUERY.sub("?…", without_credentials(text))))


class _Masking(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if _is_ours.get():
            record.msg, record.args = masked(record.getMessage()), None
        return True


@contextmanager
def masked_logs() -> Iterator[None]:
    """Mask what httpx and httpcore log in this thread or task, as long as the block lasts."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


_masking: Final = _Masking()
for _name in NAMES:
    logging.getLogger(_name).addFilter(_masking)
