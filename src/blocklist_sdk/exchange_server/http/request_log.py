"""Request IDs, which are in responses and in the log, and the log of requests."""

import asyncio
import logging
import random
import re
import time
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.http.problems import FAULT, HttpRefusal, problem_response, route_of

log: logging.Logger = logging.getLogger(__name__)

REQUESTS: Final = "blocklist_sdk.exchange_server.requests"
"""The logger with one record for each request, at level INFO."""

_REQUESTS: Final = logging.getLogger(REQUESTS)

_REQUEST_ID: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9._-]{1,64}")
"""Request IDs that clients may choose; not digits alone, which may be a telephone number."""


class RequestLog:
    """ASGI middleware: gives requests IDs, logs them, and turns uncaught errors into problem documents."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if asgi_scope["type"] != "http":
            await self._app(asgi_scope, receive, send)
            return
        client_id = Headers(scope=asgi_scope).get("X-Request-Id", "")
        request_id = client_id if _REQUEST_ID.fullmatch(client_id) else f"{random.getrandbits(64):016x}"
        asgi_scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(asgi_scope, receive, send_with_id)
        except ClientDisconnect:
            log.info("request %s: the client disconnected", request_id)
        except asyncio.CancelledError:
            # The server is stopping and has waited long enough.
            log.warning("request %s to %s was cancelled because the server stopped", request_id, route_of(asgi_scope))
            if status is None:
                stopping = HttpRefusal("unavailable", "the exchange is shutting down", headers={"Retry-After": "5"})
                await problem_response(Request(asgi_scope), stopping)(asgi_scope, receive, send_with_id)
        except Exception as error:
            # The outermost handler: nothing after it could respond.
            log.error("request %s to %s failed", request_id, route_of(asgi_scope), exc_info=error)
            if status is not None:
                raise
            fault = Refusal("fault", FAULT)
            await problem_response(Request(asgi_scope), fault)(asgi_scope, receive, send_with_id)
        finally:
            if _REQUESTS.isEnabledFor(logging.INFO):
                _log_request(asgi_scope, status, time.perf_counter() - started)


def _log_request(asgi_scope: AsgiScope, status: int | None, seconds: float) -> None:
    """Log a request; its status is None if no response was sent, such as after a disconnect."""
    account = asgi_scope["state"].get("account")
    fields = {
        "request_id": asgi_scope["state"]["request_id"],
        "method": asgi_scope["method"],
        "route": route_of(asgi_scope),
        "account": account,
        "status": status,
        "seconds": round(seconds, 6),
    }
    _REQUESTS.info(
        "request %s: %s %s%s: %s after %.0f ms",
        fields["request_id"],
        fields["method"],
        fields["route"],
        f" for {account}" if account else "",
        status or "no response",
        seconds * 1000,
        extra=fields,
    )
