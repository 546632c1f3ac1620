"""Rate limits."""

import ipaddress
import threading
import time
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from limits import RateLimitItem, parse

from blocklist_sdk.exchange_server.http.problems import HttpRefusal

_NETWORK_BITS: Final = 48
"""What one customer of a provider may get (RFC 6177)."""


_SWEPT_FROM: Final = 1024
"""So many clients are remembered before those that have not asked for long are looked for."""


@dataclass(slots=True)
class _Window:
    """How often a client asked in one span of time, and in the one before.

    Attributes:
        number: the span's, counted from 1970.
        count: requests in it.
        before: requests in the span before it.
        span_s: how long a span is, seconds.
    """

    number: int
    count: int
    before: int
    span_s: int

    def advance(self, now: float) -> None:
        """Go on to the span that this moment is in."""
        number = int(now // self.span_s)
        if number != self.number:
            self.before = self.count if number == self.number + 1 else 0
            self.number, self.count = number, 0

    def weighted(self, now: float) -> float:
        """Requests in the span of time that ends now, as if those of the span before had come evenly."""
        return self.before * (1 - now / self.span_s % 1) + self.count

    def opens_in_s(self, now: float) -> float:
        """Seconds until one more of the requests counts no longer."""
        left_s = (1 - now / self.span_s % 1) * self.span_s
        return min(left_s, left_s % (self.span_s / self.before) if self.before else left_s)


class RateLimits:
    """Counts the requests of this process in a sliding window: two counters for each client, however often it asks.

    All of it takes microseconds and no thread of its own, since every request is counted on the event loop.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._parsed: dict[tuple[str, int], RateLimitItem] = {}
        self._windows: dict[tuple[RateLimitItem, tuple[str, ...]], _Window] = {}
        self._swept_at = _SWEPT_FROM
        self._lock = threading.Lock()

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
            now = time.time()
            with self._lock:
                window = self._windows.get((item, client))
                wait_s = window.opens_in_s(now) if window else 0.0
            wait = max(1, round(wait_s + 0.5))
            raise HttpRefusal(kind, f"more than {item}: wait {wait} s", headers={"Retry-After": str(wait)})

    def take(self, rate: str, *client: str, factor: int = 1) -> bool:
        """Count one request of a client, and return whether it is allowed. Arguments are those of `check`."""
        return self._has_room(self._item(rate, factor), client, taken=1)

    def is_spent(self, rate: str, *client: str, factor: int = 1) -> bool:
        """Whether one more request of a client would be too many; counts nothing. Arguments are those of `check`."""
        return not self._has_room(self._item(rate, factor), client, taken=0)

    def _has_room(self, item: RateLimitItem, client: tuple[str, ...], *, taken: int) -> bool:
        key, now = (item, client), time.time()
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                window = _Window(0, 0, 0, item.get_expiry())
                if taken and item.amount:
                    self._sweep(now)
                    self._windows[key] = window
            window.advance(now)
            has_room = int(window.weighted(now)) < item.amount
            window.count += taken if has_room else 0
            return has_room

    def _sweep(self, now: float) -> None:
        """Forget who has not asked for two spans, whenever twice as many are remembered as after the last time."""
        if len(self._windows) < self._swept_at:
            return
        self._windows = {key: each for key, each in self._windows.items() if now // each.span_s <= each.number + 1}
        self._swept_at = max(_SWEPT_FROM, 2 * len(self._windows))

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
