"""The exchange as a web application, and its OpenAPI document."""

import functools
import json
from typing import Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI
from fastapi.responses import Response

from blocklist_sdk import __version__
from blocklist_sdk.exchange.models import Problem
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.admission import Admission
from blocklist_sdk.exchange_server.http.authentication import TOKEN_PATH
from blocklist_sdk.exchange_server.http.problems import MEDIA_TYPE, handle_problems
from blocklist_sdk.exchange_server.http.request_log import RequestLog
from blocklist_sdk.exchange_server.http.routes import (
    appeal_routes,
    case_routes,
    feed_routes,
    public_routes,
    report_routes,
)
from blocklist_sdk.exchange_server.http.state import AppState, set_state

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
    app = FastAPI(title="blocklist exchange", version=__version__, description=_DESCRIPTION.strip(), openapi_url=None)
    if exchange is not None:
        set_state(app, AppState.of(exchange))
    for part in (public_routes, report_routes, case_routes, appeal_routes, feed_routes):
        app.include_router(part.router)
    handle_problems(app)
    app.add_middleware(Admission)
    app.add_middleware(RequestLog)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]

    @functools.cache
    def document() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    one = anyio.CapacityLimiter(1)

    # FastAPI's route for it would write the whole document anew, on the event loop, for whoever asks. Here it is made
    # once; those who ask meanwhile wait without a thread.
    @app.get("/openapi.json", include_in_schema=False)
    async def get_document() -> Response:
        return Response(await anyio.to_thread.run_sync(document, limiter=one), media_type="application/json")

    return app


def openapi_document() -> dict[str, Any]:
    """The API as an OpenAPI 3.1 document."""
    return create_app(None).openapi()


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
