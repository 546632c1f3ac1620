"""What may go wrong between a client and whatever server it asks, as `FakeRepository` and `FakeExchange` show it."""

import contextlib
from collections.abc import Callable
from types import TracebackType

from blocklist_sdk.net.http import httpx
from blocklist_sdk.net.in_memory import answered


def network_fault(fault: object, request: httpx.Request) -> httpx.Response | None:
    """The answer to a request while a fault of the network lasts; None if the fault is another one.

    Raises:
        httpx.RequestError: there is no answer.
    """
    match fault:
        case "unreachable":
            raise httpx.ConnectError("Connection refused", request=request)
        case "slow":
            raise httpx.ReadTimeout("timed out", request=request)
        case "captive-portal":
            return answered(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
    return None


class Healing(contextlib.AbstractContextManager[None]):
    """Ends a fault at the end of a ``with`` block; without one, the fault lasts."""

    def __init__(self, heal: Callable[[], None]) -> None:
        """See `FakeRepository.fail`."""
        self._heal = heal

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heal()
