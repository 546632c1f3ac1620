"""The bodies of requests: how long each may be, who may send one, how fast it has to come, and how it is read.

A body is read after the token and its permissions were checked, up to the limit of its route, at a minimum rate, and in
proportion to what its account and all accounts may keep in memory. A long one is parsed and validated in a thread.
Uploads of evidence are streams, which `uploads` bounds.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, TypeVar, get_args
from urllib.parse import parse_qsl

import anyio.to_thread
from fastapi import Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import Message

from blocklist_sdk.exchange.models import BULK_MAX, RECEIPTS_MAX, FieldProblem, RequestModel
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.http.authentication import permitted, required_by
from blocklist_sdk.exchange_server.http.body_memory import Charge
from blocklist_sdk.exchange_server.http.idempotency_key import KEY_HEADER, needed_key
from blocklist_sdk.exchange_server.http.state import state_of
from blocklist_sdk.exchange_server.http.strict_json import NotStrictJson, read_json
from blocklist_sdk.exchange_server.http.uploads import BYTES_A_S, GRACE_S

BODY_BYTES_MAX: Final = 64_000
"""Longest body of a route that declares no other limit: three times as long as the longest report."""

BULK_BYTES_MAX: Final = BULK_MAX * 20_000
"""Longest bulk of reports: each takes up to 19 kB of UTF-8."""

RECEIPTS_BYTES_MAX: Final = RECEIPTS_MAX * 4_500
"""Longest batch of receipts: each takes up to 4.3 kB of UTF-8."""

FIELDS_MAX: Final = 16
"""Most fields of a form; a request for a token has six."""

_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_JSON_TYPE: Final = "application/json"

_AT_ONCE_BYTES: Final = 8_192
"""A body up to this long is parsed on the event loop, which takes less than a millisecond."""

E = TypeVar("E", bound=Callable[..., Any])

_LIMITS: Final[dict[object, int]] = {}


def takes(bytes_max: int) -> Callable[[E], E]:
    """Declare how long the body of a route may be, bytes."""

    def declare(endpoint: E) -> E:
        _LIMITS[endpoint] = bytes_max
        return endpoint

    return declare


class BodyRoute(APIRoute):
    """A route whose body, if it has one, is bounded and read strictly.

    The endpoint gets the model that it declares, as in any other route.
    """

    @property
    def bytes_max(self) -> int | None:
        """How long its body may be, bytes; None if it takes none, or a stream."""
        return None if self.body_field is None else _LIMITS.get(self.endpoint, BODY_BYTES_MAX)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What handles a request: FastAPI's handler, with a body that was read here."""
        handle = super().get_route_handler()
        bytes_max = self.bytes_max
        if bytes_max is None or self.body_field is None:
            return handle
        if isinstance(self.body_field.field_info, params.Form):
            return partial(_with_form, handle, bytes_max)
        model, is_optional = _model_of(self.endpoint)
        return partial(_with_json, handle, bytes_max, model, is_optional, required_by(self.dependant))


def _model_of(endpoint: Callable[..., Any]) -> tuple[type[RequestModel], bool]:
    """The model of an endpoint's body, and whether the body may be left out."""
    for each in inspect.signature(endpoint).parameters.values():
        options = get_args(each.annotation) or (each.annotation,)
        for option in options:
            if inspect.isclass(option) and issubclass(option, RequestModel):
                return option, type(None) in options
    raise TypeError(f"{endpoint} takes a body that is no model")


async def _with_json(
    handle: Callable[[Request], Coroutine[Any, Any, Response]],
    bytes_max: int,
    model: type[RequestModel],
    is_optional: bool,
    permissions: tuple[str, ...] | None,
    request: Request,
) -> Response:
    account = 0
    if permissions is not None:
        caller = await permitted(request, request.headers.get("Authorization"), permissions)
        needed_key(request.headers.get(KEY_HEADER))
        account = caller.id
    with state_of(request.app).bodies.charging(account) as charge:
        content = await _content(request, bytes_max, charge)
        if is_optional and not content:
            return await handle(_EmptyRequest(request.scope, request.receive))
        _check_type(request, _JSON_TYPE)
        read = partial(_model, content, model)
        if len(content) <= _AT_ONCE_BYTES:
            value = read()
        else:
            value = await anyio.to_thread.run_sync(read, limiter=state_of(request.app).bodies.readers)
        return await handle(_ReadRequest(request, value))


async def _with_form(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], bytes_max: int, request: Request
) -> Response:
    with state_of(request.app).bodies.charging(0) as charge:
        content = await _content(request, bytes_max, charge)
    if content:
        _check_type(request, _FORM_TYPE)
        wrong = _wrong_in_form(content)
        if wrong is not None:  # in the form that OAuth has for it (RFC 6749, 5.2)
            answer = {"error": "invalid_request", "error_description": wrong}
            return JSONResponse(answer, 400, headers={"Cache-Control": "no-store"})

    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:  # then it says whether the client has hung up
            return await request.receive()
        is_read = True
        return {"type": "http.request", "body": content, "more_body": False}

    return await handle(Request(request.scope, receive))


class _ReadRequest(Request):
    """A request whose body has become a model; FastAPI takes it for the JSON and does not validate it again."""

    def __init__(self, request: Request, value: RequestModel) -> None:
        super().__init__(request.scope, request.receive)
        self._value = value

    async def body(self) -> bytes:
        return b"{}"  # not empty, so that FastAPI calls `json`

    async def json(self) -> Any:
        return self._value


class _EmptyRequest(Request):
    """A request without a body, which was found out by reading it."""

    async def body(self) -> bytes:
        return b""


async def _content(request: Request, bytes_max: int, charge: Charge) -> bytes:
    """A request's body.

    Raises:
        Refusal: it is too long, comes too slowly, or memory for it is lacking.
    """
    too_long = f"the body may have at most {bytes_max:,} bytes here"
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:20]) > bytes_max:
        raise Refusal("too-large", too_long)
    began = asyncio.get_running_loop().time()
    found = bytearray()
    try:
        async with asyncio.timeout(GRACE_S) as deadline:
            async for piece in request.stream():
                found += piece
                if len(found) > bytes_max:
                    raise Refusal("too-large", too_long)
                charge.raise_to(len(found))
                deadline.reschedule(began + GRACE_S + len(found) / BYTES_A_S)
    except TimeoutError as error:
        raise Refusal("too-slow", f"send a body at {BYTES_A_S:,} bytes a second or more") from error
    return bytes(found)


def _check_type(request: Request, wanted: str) -> None:
    kind, _, rest = request.headers.get("Content-Type", "").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != wanted or charset not in ("", "utf-8"):
        raise Refusal("wrong-type", f"send the body as {wanted}, in UTF-8")


def _wrong_in_form(content: bytes) -> str | None:
    """Why a form has more than one reading, or too many fields; None if it is fine."""
    try:
        fields = parse_qsl(content.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return f"a form must be ASCII and have at most {FIELDS_MAX} fields"
    # RFC 6749, 3.2
    return "a field stands twice in the form" if len(fields) > len({name for name, _ in fields}) else None


def _model(content: bytes, model: type[RequestModel]) -> RequestModel:
    """The model that a body stands for.

    Raises:
        Refusal: the body is not JSON with one reading.
        RequestValidationError: it is not what the model demands.
    """
    try:
        value = read_json(content)
    except NotStrictJson as error:
        problem = FieldProblem(field="body", reason=str(error))
        raise Refusal("malformed", f"the body is not JSON that can be used: {error}", errors=[problem]) from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found: list[Mapping[str, Any]] = [
            {**each, "loc": ("body", *each["loc"])}
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise RequestValidationError(found) from None
