"""Why a request is not fulfilled, as a problem document (RFC 9457); whatever fails on the way out becomes one."""

import logging
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blocklist_sdk.errors import BlocklistError, InvalidInput, Locked, StorageFailed
from blocklist_sdk.exchange.models import FieldProblem, Problem

log = logging.getLogger(__name__)
requests = logging.getLogger("blocklist_sdk.exchange.requests")
"""Tells each request that was answered, by its route: paths and queries may hold telephone numbers."""

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:blocklist:problem:"

_RETRY_S: Final = "5"
"""When to try again after a fault that passes by itself."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_TITLES: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "The request cannot be read"),
    "no-idempotency-key": (400, "An Idempotency-Key is needed"),
    "unauthenticated": (401, "Valid credentials are needed"),
    "forbidden": (403, "These credentials do not allow that"),
    "not-found": (404, "There is none"),
    "method-not-allowed": (405, "That cannot be done here"),
    "too-slow": (408, "It came too slowly"),
    "conflict": (409, "That does not fit how things stand"),
    "too-large": (413, "It is too large"),
    "wrong-type": (415, "Files of that type are not taken"),
    "out-of-range": (416, "The range lies outside the file"),
    "invalid": (422, "Something in the request cannot be used"),
    "key-reused": (422, "The Idempotency-Key was used for another request"),
    "too-many": (429, "Too many requests"),
    "fault": (500, "A fault of the exchange"),
    "unavailable": (503, "Not possible just now"),
}
"""Kinds of problems, with their status and title."""

_BY_STATUS: Final = {status: name for name, (status, _) in reversed(_TITLES.items())}


class Refusal(Exception):
    """A request is not fulfilled; nothing was stored.

    Attributes:
        name: the kind of problem, one of `_TITLES`.
        detail: why, for who asked.
        errors: which fields are to blame.
        headers: of the answer.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def problem(self, request_id: str = "") -> Problem:
        """As a document."""
        status, title = _TITLES[self.name]
        return Problem(
            type=_TYPE + self.name,
            title=title,
            status=status,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
        )


def invalid(field: str, reason: str) -> Refusal:
    """One field cannot be used."""
    return Refusal("invalid", f"{field}: {reason}", errors=[FieldProblem(field=field, reason=reason)])


class Numbered:
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
        except Exception as error:
            # The last border: nobody behind it could answer.
            log.error("request %s failed", request_id, exc_info=error)
            if status is not None:
                raise
            fault = Refusal("fault", "an unexpected fault: tell the exchange the request's id")
            await _answer(Request(scope), fault)(scope, receive, send_numbered)
        finally:
            if requests.isEnabledFor(logging.INFO):
                _tell(scope, status, time.perf_counter() - started)


def _tell(scope: Scope, status: int | None, seconds: float) -> None:
    """Log a request; without a status where the client has gone."""
    state = scope["state"]
    about = {
        "request_id": state["request_id"],
        "method": scope["method"],
        "route": getattr(scope.get("route"), "path", None),
        "status": status,
        "seconds": round(seconds, 6),
        "account": state.get("account"),
    }
    who = f" for {about['account']}" if about["account"] else ""
    requests.info(
        "request %s: %s %s%s: %s after %.0f ms",
        about["request_id"],
        about["method"],
        about["route"] or "(no such path)",
        who,
        "no answer" if status is None else status,
        seconds * 1000,
        extra=about,
    )


def handle_problems(app: FastAPI) -> None:
    """Answer whatever is raised with a problem document."""

    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return _answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        errors = [FieldProblem(field=_place(each["loc"]), reason=_reason(each)) for each in error.errors()]
        if any(each["type"] == "json_invalid" for each in error.errors()):
            return _answer(request, Refusal("malformed", "the body is no JSON", errors=errors))
        first = errors[0]
        return _answer(request, Refusal("invalid", f"{first.field}: {first.reason}", errors=errors))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        name = _BY_STATUS.get(error.status_code, "malformed" if error.status_code < 500 else "fault")
        return _answer(request, Refusal(name, str(error.detail), headers=error.headers))

    @app.exception_handler(BlocklistError)
    async def ours(request: Request, error: BlocklistError) -> Response:
        return _answer(request, _refusal_of(error))


def _refusal_of(error: BlocklistError) -> Refusal:
    if isinstance(error, StorageFailed | Locked):
        log.error("unavailable: %s", error)
        return Refusal("unavailable", "the exchange's storage is not at hand", headers={"Retry-After": _RETRY_S})
    if isinstance(error, InvalidInput):
        return Refusal("invalid", str(error))
    log.error("a fault: %s", error, exc_info=error)
    return Refusal("fault", "a fault of the exchange; tell it the request's id")


def _answer(request: Request, refusal: Refusal) -> JSONResponse:
    problem = refusal.problem(request.state.request_id)
    return JSONResponse(problem.model_dump(mode="json"), problem.status, refusal.headers, MEDIA_TYPE)


def _place(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)


def _reason(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
