"""Requests have numbers, which their answers and the log tell."""

import asyncio
import logging
import re
import secrets
import time
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.http.problems import HttpRefusal, answer, route_of

log = logging.getLogger(__name__)

REQUESTS: Final = "blocklist_sdk.exchange_server.requests"
"""The logger that tells of each request, at the level INFO."""

_REQUESTS: Final = logging.getLogger(REQUESTS)

_REQUEST_ID: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9._-]{1,64}")
"""What a client may call a request; no digits alone, which may be a telephone number."""


class RequestLog:
    """ASGI middleware: numbers and logs requests, and answers with a problem what nothing behind it has caught."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None

        async def send_numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_numbered)
        except ClientDisconnect:
            log.info("request %s: the client has gone", request_id)
        except asyncio.CancelledError:
            # The server has been told to stop, and does not wait any longer.
            log.warning("request %s to %s was not done when the server stopped", request_id, route_of(scope))
            if status is None:
                stopping = HttpRefusal("unavailable", "the exchange is being stopped", headers={"Retry-After": "5"})
                await answer(Request(scope), stopping)(scope, receive, send_numbered)
        except Exception as error:
            # The last border: nobody behind it could answer.
            log.error("request %s to %s failed", request_id, route_of(scope), exc_info=error)
            if status is not None:
                raise
            fault = Refusal("fault", "an unexpected fault: tell the exchange the request's id")
            await answer(Request(scope), fault)(scope, receive, send_numbered)
        finally:
            if _REQUESTS.isEnabledFor(logging.INFO):
                _tell(scope, status, time.perf_counter() - started)


def _tell(scope: Scope, status: int | None, seconds: float) -> None:
    """Log a request; without a status where nothing was answered, as when the client has gone."""
    account = scope["state"].get("account")
    about = {
        "request_id": scope["state"]["request_id"],
        "method": scope["method"],
        "route": route_of(scope),
        "account": account,
        "status": status,
        "seconds": round(seconds, 6),
    }
    _REQUESTS.info(
        "request %s: %s %s%s: %s after %.0f ms",
        about["request_id"],
        about["method"],
        about["route"],
        f" for {account}" if account else "",
        status or "no answer",
        seconds * 1000,
        extra=about,
    )
