"""Which requests are taken: each kind of work has places of its own, and what is too much is refused with 503.

A request without a valid token needs a place only where none is required; elsewhere it gets its 401 at once.
"""

import contextlib
import time
from collections.abc import Collection, Mapping
from typing import Final, Literal

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from blocklist_sdk.exchange_server.http.authentication import claims_of
from blocklist_sdk.exchange_server.http.floors import Purpose
from blocklist_sdk.exchange_server.http.places import Busy, Kind, Places
from blocklist_sdk.exchange_server.http.problems import HttpRefusal, problem_response
from blocklist_sdk.exchange_server.http.rates import network_of
from blocklist_sdk.exchange_server.http.state import state_of

_PURPOSES: Final[Mapping[Kind, Purpose]] = {
    "bulk": "report",
    "decision": "publishing",
    "publish": "publishing",
    "receipt": "decision",
    "report": "report",
    "write": "report",
}
"""Whose floor of disk space a request must be above. Decisions other than retractions have a higher one."""

_RETRY_S: Final = "2"

_DESK: Final = ("/v1/cases", "/v1/appeals", "/v1/publications", "/v1/statistics", "/v1/receipts", "/metrics")


def kind_of(method: str, path: str, oauth_scopes: Collection[str]) -> Kind | None:
    """The kind of work that a request is.

    Args:
        method: its method.
        path: its path.
        oauth_scopes: what its token allows.

    Returns:
        The kind; None if it needs no place. Evidence has its own way to count what is received, and log-ins have queues
        of their own, where wrong ones delay no right one.

    >>> kind_of("POST", "/v1/reports/bulk", {"report"}), kind_of("POST", "/v1/decisions/3/confirmation", {"officer"})
    ('bulk', 'decision')
    >>> kind_of("GET", "/v1/cases", {"officer"}), kind_of("GET", "/healthz", ())
    ('desk', None)
    """
    open_to_all = _OPEN.get(path) or ("look-up" if path.startswith("/v1/numbers/") else None)
    if open_to_all or not oauth_scopes:
        return open_to_all
    if method == "POST":
        return _kind_of_change(path)
    if path.startswith("/repository/"):
        return "feed"
    is_desk = "officer" in oauth_scopes or ("publish" in oauth_scopes and path.startswith(_DESK))
    return "desk" if is_desk else "read"


_OPEN: Final[Mapping[str, Kind]] = {"/readyz": "health"}


def _kind_of_change(path: str) -> Kind | None:
    if path.endswith("/evidence"):
        return None
    if path.startswith("/v1/publications"):
        return "publish"
    if path.startswith(("/v1/cases", "/v1/decisions", "/v1/receipts/recycled")) or path.endswith("/answer"):
        return "decision"
    return _CHANGES.get(path, "write")


_CHANGES: Final[Mapping[str, Kind]] = {
    "/v1/reports": "report",
    "/v1/reports/bulk": "bulk",
    "/v1/receipts": "receipt",
}


class Admission:
    """ASGI middleware: gives each request a place of its kind when its body has come, until its response begins."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if asgi_scope["type"] != "http":
            await self._app(asgi_scope, receive, send)
            return
        state, headers = state_of(asgi_scope["app"]), Headers(scope=asgi_scope)
        claims = claims_of(Request(asgi_scope), headers.get("Authorization"))
        kind = kind_of(asgi_scope["method"], asgi_scope["path"], claims.oauth_scopes if claims else ())
        if kind is None:
            await self._app(asgi_scope, receive, send)
            return
        client = asgi_scope.get("client")
        who = claims.name if claims else network_of(client[0] if client else "")
        place = _Place(state.places[kind], who)
        comes_with_body = "content-length" in headers or "transfer-encoding" in headers

        async def receive_all() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                try:
                    await place.take()
                except Busy:
                    raise HTTPException(503, _BUSY, headers={"Retry-After": _RETRY_S}) from None
            return message

        async def send_and_free(message: Message) -> None:
            place.free()
            await send(message)

        try:
            if kind in _PURPOSES:
                state.floors.check(_PURPOSES[kind])
            place.check()
            # Officers send short bodies, and many of their requests none, which is then never read.
            if kind == "decision" or not comes_with_body:
                await place.take()
        except Busy:
            busy = HttpRefusal("unavailable", _BUSY, headers={"Retry-After": _RETRY_S})
            await problem_response(Request(asgi_scope), busy)(asgi_scope, receive, send)
            return
        except HttpRefusal as refusal:
            await problem_response(Request(asgi_scope), refusal)(asgi_scope, receive, send)
            return
        with contextlib.closing(place):
            await self._app(asgi_scope, receive_all, send_and_free)


_BUSY: Final = "the exchange has more of these requests than it can answer in time: send it again later"


class _Place:
    """A place that one request takes once and gives back once."""

    def __init__(self, places: Places, who: str) -> None:
        self._places = places
        self._who = who
        self._state: Literal["new", "held", "done"] = "new"
        self._began = 0.0

    def check(self) -> None:
        """Refuse what would be refused later, before its body is read."""
        if self._places.is_full(self._who):
            raise Busy

    async def take(self) -> None:
        if self._state == "new":
            self._began = time.monotonic()
            await self._places.take(self._who)
            self._state = "held"

    def free(self) -> None:
        if self._state == "held":
            self._places.free(self._who, took_s=time.monotonic() - self._began)
        self._state = "done"

    close = free
