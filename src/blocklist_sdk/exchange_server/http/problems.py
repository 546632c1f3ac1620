"""Why a request is not fulfilled, as a problem document (RFC 9457); whatever fails on the way out becomes one."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from blocklist_sdk.errors import BlocklistError, InvalidInput, Locked, StorageFailed
from blocklist_sdk.exchange.models import FieldProblem, Problem
from blocklist_sdk.exchange_server.casework.refusals import Refusal

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:blocklist:problem:"

_RETRY_S: Final = "5"
"""When to try again after a fault that passes by itself."""

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


class HttpRefusal(Refusal):
    """A refusal whose answer carries headers.

    Attributes:
        headers: of the answer.
    """

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(kind, detail)
        self.headers = dict(headers or {})


def handle_problems(app: FastAPI) -> None:
    """Answer whatever is raised with a problem document."""

    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        errors = [FieldProblem(field=_place(each["loc"]), reason=_reason(each)) for each in error.errors()]
        if any(each["type"] == "json_invalid" for each in error.errors()):
            return answer(request, Refusal("malformed", "the body is no JSON", errors=errors))
        first = errors[0]
        return answer(request, Refusal("invalid", f"{first.field}: {first.reason}", errors=errors))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        name = _BY_STATUS.get(error.status_code, "malformed" if error.status_code < 500 else "fault")
        return answer(request, HttpRefusal(name, str(error.detail), headers=error.headers))

    @app.exception_handler(BlocklistError)
    async def ours(request: Request, error: BlocklistError) -> Response:
        return answer(request, _refusal_of(request, error))


def _refusal_of(request: Request, error: BlocklistError) -> Refusal:
    if isinstance(error, StorageFailed | Locked):
        log.error("request %s to %s: unavailable: %s", request.state.request_id, route_of(request.scope), error)
        return HttpRefusal("unavailable", "the exchange's storage is not at hand", headers={"Retry-After": _RETRY_S})
    if isinstance(error, InvalidInput):
        return Refusal("invalid", str(error))
    log.error("request %s to %s: a fault", request.state.request_id, route_of(request.scope), exc_info=error)
    return Refusal("fault", "a fault of the exchange; tell it the request's id")


def problem_of(refusal: Refusal, request_id: str = "") -> Problem:
    """A refusal as a problem document."""
    status, title = _TITLES[refusal.kind]
    return Problem(
        type=_TYPE + refusal.kind,
        title=title,
        status=status,
        detail=refusal.detail,
        request_id=request_id,
        errors=refusal.errors,
    )


def answer(request: Request, refusal: Refusal) -> JSONResponse:
    """A refusal as an HTTP answer."""
    problem = problem_of(refusal, request.state.request_id)
    headers = refusal.headers if isinstance(refusal, HttpRefusal) else None
    return JSONResponse(problem.model_dump(mode="json"), problem.status, headers, MEDIA_TYPE)


def route_of(scope: Mapping[str, Any]) -> str:
    """What a request asks for, without what it is about: paths and queries may hold telephone numbers."""
    route = getattr(scope.get("route"), "path", None)
    return "(no such path)" if route is None else str(route)


def _place(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)


def _reason(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
