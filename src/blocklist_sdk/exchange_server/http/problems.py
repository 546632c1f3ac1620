"""Problem documents (RFC 9457): every error becomes one."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from blocklist_sdk.errors import BlocklistError, InvalidInput, Locked, StorageFailed
from blocklist_sdk.exchange.models import FieldProblem, Problem
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.texts import counted

log: logging.Logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:blocklist:problem:"

ERRORS_MAX: Final = 20
"""Most errors that a problem document shows."""

_FIELD_CHARS_MAX: Final = 200
_REASON_CHARS_MAX: Final = 400

FAULT: Final = "internal error: give the request ID to the operator of the exchange"

_RETRY_S: Final = "5"
"""When to try again after an error that passes by itself, seconds."""

_TITLES: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "The request cannot be read"),
    "no-idempotency-key": (400, "An Idempotency-Key is required"),
    "unauthenticated": (401, "Valid credentials are required"),
    "forbidden": (403, "Not permitted"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "too-slow": (408, "Request too slow"),
    "conflict": (409, "Conflict with the present state"),
    "too-large": (413, "Too large"),
    "target-too-long": (414, "Address too long"),
    "wrong-type": (415, "Type not accepted"),
    "out-of-range": (416, "Range outside the file"),
    "invalid": (422, "Invalid request"),
    "key-reused": (422, "The Idempotency-Key was used for another request"),
    "too-many": (429, "Too many requests"),
    "head-too-large": (431, "Headers too large"),
    "fault": (500, "Internal error"),
    "unavailable": (503, "Temporarily unavailable"),
}
"""The kinds of problems, with status and title."""

_BY_STATUS: Final = {status: name for name, (status, _) in reversed(_TITLES.items())}


class HttpRefusal(Refusal):
    """A refusal whose response has headers of its own.

    Attributes:
        headers: the headers.
    """

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(kind, detail)
        self.headers: dict[str, str] = dict(headers or {})


def handle_problems(app: FastAPI) -> None:
    """Make an application answer every error with a problem document."""

    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return problem_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        return problem_response(request, invalid_fields(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        name = _BY_STATUS.get(error.status_code, "malformed" if error.status_code < 500 else "fault")
        return problem_response(request, HttpRefusal(name, str(error.detail), headers=error.headers))

    @app.exception_handler(BlocklistError)
    async def ours(request: Request, error: BlocklistError) -> Response:
        return problem_response(request, _refusal_of(request, error))


def invalid_fields(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """The refusal of a request with errors as pydantic describes them, of which it shows some and counts the rest.

    >>> invalid_fields([{"loc": ("body", "text"), "msg": "Field required"}] * 3).detail
    'body.text: Field required (2 more errors)'
    """
    shown = [FieldProblem(field=_field(each["loc"]), reason=_reason(each)) for each in errors[:ERRORS_MAX]]
    more = f" ({counted(len(errors) - 1, 'more error')})" if len(errors) > 1 else ""
    return Refusal("invalid", f"{shown[0].field}: {shown[0].reason}{more}", errors=shown)


def _refusal_of(request: Request, error: BlocklistError) -> Refusal:
    if isinstance(error, StorageFailed | Locked):
        log.error("request %s to %s: unavailable: %s", request.state.request_id, route_of(request.scope), error)
        return HttpRefusal("unavailable", "the exchange's storage is unavailable", headers={"Retry-After": _RETRY_S})
    if isinstance(error, InvalidInput):
        return Refusal("invalid", str(error))
    log.error("request %s to %s: internal error", request.state.request_id, route_of(request.scope), exc_info=error)
    return Refusal("fault", FAULT)


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


def problem_with_status(status: int, detail: str) -> Problem:
    """A problem document with a status."""
    name = _BY_STATUS.get(status, "malformed" if status < 500 else "fault")
    return problem_of(Refusal(name, detail)).model_copy(update={"status": status})


def problem_response(request: Request, refusal: Refusal) -> JSONResponse:
    """A refusal as an HTTP response."""
    problem = problem_of(refusal, request.state.request_id)
    headers = refusal.headers if isinstance(refusal, HttpRefusal) else None
    return JSONResponse(problem.model_dump(mode="json"), problem.status, headers, MEDIA_TYPE)


def route_of(asgi_scope: Mapping[str, Any]) -> str:
    """The path of a request's route, for logs: the path itself may hold a telephone number."""
    route = getattr(asgi_scope.get("route"), "path", None)
    return "(no such path)" if route is None else str(route)


def _field(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)[:_FIELD_CHARS_MAX]


def _reason(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")[:_REASON_CHARS_MAX]
