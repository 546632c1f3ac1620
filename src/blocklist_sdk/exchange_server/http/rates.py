"""Rate limits."""

import ipaddress
import time
from typing import Final

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from blocklist_sdk.exchange_server.http.problems import HttpRefusal

_NETWORK_BITS: Final = 48
"""What one customer of a provider may get (RFC 6177)."""


class RateLimits:
    """Counts the requests of this process in a sliding window: two counters for each client, however often it asks."""

    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._parsed: dict[tuple[str, int], RateLimitItem] = {}

    def check(self, rate: str, *client: str, factor: int = 1, kind: str = "too-many") -> None:
        """Count one request of a client.

        Args:
            rate: most requests in a time, such as ``30/minute``.
            client: what is counted together: a name, an address, or several of these.
            factor: multiplies the rate.
            kind: the kind of problem if it is one too many: ``unavailable`` where the client is not to blame.

        Raises:
            Refusal: it is one request too many.
        """
        item = self._item(rate, factor)
        if not self.take(rate, *client, factor=factor):
            wait = max(1, round(self._limiter.get_window_stats(item, *client).reset_time - time.time() + 0.5))
            raise HttpRefusal(kind, f"more than {item}: wait {wait} s", headers={"Retry-After": str(wait)})

    def take(self, rate: str, *client: str, factor: int = 1) -> bool:
        """Count one request of a client, and return whether it is allowed. Arguments are those of `check`."""
        return self._limiter.hit(self._item(rate, factor), *client)

    def is_spent(self, rate: str, *client: str, factor: int = 1) -> bool:
        """Whether one more request of a client would be too many; counts nothing. Arguments are those of `check`."""
        return not self._limiter.test(self._item(rate, factor), *client)

    def _item(self, rate: str, factor: int) -> RateLimitItem:
        item = self._parsed.get((rate, factor))
        if item is None:
            base = parse(rate)
            item = type(base)(base.amount * factor, base.multiples)
            self._parsed[rate, factor] = item
        return item


def amount_and_span(rate: str) -> tuple[int, int]:
    """The amount of a rate, and its span in seconds.

    >>> amount_and_span("30/minute"), amount_and_span("5 per 2 days")
    ((30, 60), (5, 172800))
    """
    item = parse(rate)
    return item.amount, item.get_expiry()


def address_of(request: Request) -> str:
    """The address that a request comes from; behind a trusted proxy, the address that the proxy names.

    For IPv6 this is the network, see `network_of`.
    """
    return network_of(request.client.host if request.client else "")


def network_of(host: str) -> str:
    """An IPv4 address as it is, and an IPv6 address as its network of 48 bits, since one client may have all of that.

    >>> network_of("192.0.2.7"), network_of("2001:db8:1:2::3")
    ('192.0.2.7', '2001:db8:1::/48')
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), _NETWORK_BITS), strict=False))
