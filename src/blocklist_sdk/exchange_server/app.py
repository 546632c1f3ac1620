"""The exchange as a web application, and its OpenAPI document."""

from typing import Any, Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from blocklist_sdk import __version__
from blocklist_sdk.exchange.models import Problem
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.admission import Admission
from blocklist_sdk.exchange_server.http.authentication import TOKEN_PATH, token_of
from blocklist_sdk.exchange_server.http.problems import MEDIA_TYPE, handle_problems
from blocklist_sdk.exchange_server.http.request_log import RequestLog
from blocklist_sdk.exchange_server.http.routes import (
    appeal_routes,
    case_routes,
    feed_routes,
    public_routes,
    report_routes,
)
from blocklist_sdk.exchange_server.http.state import AppState, set_state, state_of

_BODY_BYTES_MAX: Final = 20 << 20
"""Longest body: enough for a full bulk of the longest reports. Evidence has a limit of its own."""

_OPEN_BYTES_MAX: Final = 1 << 16
"""Longest body of a request without a valid token: several times as long as a request for a token."""

_DESCRIPTION: Final = """
Reports of fraud numbers, officers' decisions, releases of signed lists, receipts and appeals.

Every error is a problem document (RFC 9457). Every POST but the one for tokens needs an `Idempotency-Key`: the same
request with the same key gets the same response, another request with that key gets 422. Lists come in pages: `next` is
the cursor of the next page.
"""


def create_app(exchange: Exchange | None) -> FastAPI:
    """The application.

    Args:
        exchange: the exchange that it serves; None if only its OpenAPI document is wanted.
    """
    app = FastAPI(
        title="blocklist exchange", version=__version__, description=_DESCRIPTION.strip(), docs_url=None, redoc_url=None
    )
    if exchange is not None:
        set_state(app, AppState.of(exchange))
    for part in (public_routes, report_routes, case_routes, appeal_routes, feed_routes):
        app.include_router(part.router)
    handle_problems(app)
    app.add_middleware(Admission)
    app.add_middleware(_Bounded)
    app.add_middleware(RequestLog)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def openapi_document() -> dict[str, Any]:
    """The API as an OpenAPI 3.1 document."""
    return create_app(None).openapi()


class _Bounded:
    """ASGI middleware: stops reading a body that is too long, whatever its headers say.

    Bodies are read before a route checks the token, so this checks it for a long one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] != "http" or asgi_scope["path"].endswith("/evidence"):
            await self._app(asgi_scope, receive, send)
            return
        received = 0
        is_open = True

        async def receive_bounded() -> Message:
            nonlocal received, is_open
            message = await receive()
            received += len(message.get("body", b""))
            if is_open and received > _OPEN_BYTES_MAX:
                exchange = state_of(asgi_scope["app"]).exchange
                if token_of(exchange, Headers(scope=asgi_scope).get("Authorization")) is None:
                    raise _too_long(asgi_scope["path"])
                is_open = False
            if received > _BODY_BYTES_MAX:
                raise HTTPException(413, f"a body may have at most {_BODY_BYTES_MAX:,} bytes")
            return message

        await self._app(asgi_scope, receive_bounded, send)


def _too_long(path: str) -> HTTPException:
    if path == TOKEN_PATH:
        return HTTPException(413, f"a request for a token may have at most {_OPEN_BYTES_MAX:,} bytes")
    return HTTPException(401, f"get a token at {TOKEN_PATH} first", headers={"WWW-Authenticate": "Bearer"})


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with problem documents in place of FastAPI's own errors."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        models = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        schemas |= models.pop("$defs", {}) | {"Problem": models}
        problem = {
            "description": "The request failed, and why",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        refusal = {
            "description": "No token was issued, and why (RFC 6749, 5.2)",
            "content": {"application/json": {"schema": _TOKEN_ERROR}},
        }
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = problem
                if path == TOKEN_PATH:
                    operation["responses"] |= {"400": refusal, "401": refusal}
    assert app.openapi_schema is not None
    return app.openapi_schema


_TOKEN_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}
