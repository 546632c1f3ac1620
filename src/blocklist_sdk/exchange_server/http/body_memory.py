"""How much memory the bodies of all requests under way may take, and those of one account."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

import anyio

from blocklist_sdk.exchange_server.http.problems import HttpRefusal

FREE_BYTES: Final = 64_000
"""The first bytes of each body, which are not counted: connections are, and most bodies are shorter."""

TOTAL_BYTES: Final = 128_000_000
"""Bytes of all bodies at a time, beyond the first of each: six bulks of the longest reports."""

ACCOUNT_BYTES: Final = 48_000_000
"""The same of one account: two such bulks."""

_READERS: Final = 2
"""Long bodies that are parsed and validated at a time, each by a thread."""

_RETRY: Final = {"Retry-After": "5"}


class Bodies:
    """Counts the bytes of the bodies of requests under way; for the event loop's thread alone.

    Attributes:
        readers: limits the threads that parse and validate.
    """

    def __init__(self) -> None:
        """Nothing is under way yet."""
        self.readers: anyio.CapacityLimiter = anyio.CapacityLimiter(_READERS)
        self.total: int = 0
        self.by_account: Counter[int] = Counter()

    @contextlib.contextmanager
    def charging(self, account: int) -> Iterator["Charge"]:
        """Count the bytes of one more body of an account while the block runs."""
        charge = Charge(self, account)
        try:
            yield charge
        finally:
            self.total -= charge.bytes
            self.by_account -= Counter({account: charge.bytes})


class Charge:
    """What is counted for one body.

    Attributes:
        bytes: so many.
    """

    def __init__(self, bodies: Bodies, account: int) -> None:
        self._bodies = bodies
        self._account = account
        self.bytes: int = 0

    def raise_to(self, length: int) -> None:
        """Count so many bytes for this body.

        Raises:
            Refusal: the account, or all accounts together, have too many bytes under way.
        """
        more = length - FREE_BYTES - self.bytes
        if more <= 0:
            return
        if self._bodies.by_account[self._account] + more > ACCOUNT_BYTES:
            why = f"bodies of this account with {ACCOUNT_BYTES:,} bytes are under way: send the next after one of them"
            raise HttpRefusal("too-many", why, headers=_RETRY)
        if self._bodies.total + more > TOTAL_BYTES:
            raise HttpRefusal("unavailable", "too many long bodies are under way", headers=_RETRY)
        self.bytes += more
        self._bodies.total += more
        self._bodies.by_account[self._account] += more
