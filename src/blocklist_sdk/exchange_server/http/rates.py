"""How often somebody may ask."""

import ipaddress
import time
from typing import Final

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from blocklist_sdk.exchange_server.http.problems import HttpRefusal

_NETWORK_BITS: Final = 64


class RateLimits:
    """Counts requests in this process, over a window that slides: two counts for each who asks, however many come."""

    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._parsed: dict[tuple[str, int], RateLimitItem] = {}

    def check(self, rate: str, *who: str, times: int = 1) -> None:
        """Count one more, of so many times the rate.

        Raises:
            Refusal: it is one too many.
        """
        item = self._parsed.get((rate, times))
        if item is None:
            written = parse(rate)
            item = type(written)(written.amount * times, written.multiples)
            self._parsed[rate, times] = item
        if not self._limiter.hit(item, *who):
            wait = max(1, round(self._limiter.get_window_stats(item, *who).reset_time - time.time() + 0.5))
            raise HttpRefusal("too-many", f"more than {item}: wait {wait} s", headers={"Retry-After": str(wait)})


def address_of(request: Request) -> str:
    """Where a request comes from; behind a proxy that is trusted, where it says.

    Of IPv6 the network, since whoever has one address has 2^64 (RFC 6177).
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), _NETWORK_BITS), strict=False))
