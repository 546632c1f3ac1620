"""How often somebody may ask."""

import ipaddress
import time
from typing import Final

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from blocklist_sdk.exchange.server.problems import Refusal

_NETWORK_BITS: Final = 64


class Limits:
    """Counts requests in this process, over a window that slides: two counts for each who asks, however many come."""

    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._parsed: dict[str, RateLimitItem] = {}

    def check(self, rate: str, *who: str) -> None:
        """Count one more.

        Raises:
            Refusal: it is one too many.
        """
        item = self._parsed.get(rate)
        if item is None:
            item = self._parsed[rate] = parse(rate)
        if not self._limiter.hit(item, *who):
            wait = max(1, round(self._limiter.get_window_stats(item, *who).reset_time - time.time() + 0.5))
            raise Refusal("too-many", f"more than {rate}: wait {wait} s", headers={"Retry-After": str(wait)})


def limit(request: Request, rate: str, *who: str) -> None:
    """Count one more request of somebody.

    Raises:
        Refusal: it is one too many.
    """
    limits: Limits = request.app.state.limits
    limits.check(rate, *who)


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
