"""Requests that change something: each carries an `Idempotency-Key`, and is done once however often it comes.

There are three ways to use a key. All find a request again by its `RequestIdentity` and store their response with
`casework.idempotency`:

1. `IdempotentRequest.once`: nearly all routes. The change and its response are committed in one transaction.
2. `ReportQueue.receive`: single reports, the only requests that come in great numbers. Those that wait share one
   transaction (`idempotency.respond_to_all`); each still gets a response of its own.
3. `IdempotentRequest.earlier_response`, then `once`: publishing, which takes longer than a transaction may. If it is
   interrupted, the request sent again publishes what is left.
"""

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import KEY_CHARS_MAX
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.idempotency import (
    RequestIdentity,
    StoredResponse,
    is_key_used,
    respond_once,
    stored_response,
)
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import BearerToken, permitted
from blocklist_sdk.exchange_server.http.state import state_of
from blocklist_sdk.exchange_server.store.trail import Act

REPLAYED: Final = "Idempotent-Replayed"

_KEY: Final = r"^[!-~]+$"


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request that changes something.

    Attributes:
        exchange: the exchange that it changes.
        caller: the account that sent it.
        key: its idempotency key.
        received_at: when it came.
        event: what it does, for the audit trail: the name of its route.
    """

    exchange: Exchange
    caller: Caller
    key: str
    received_at: datetime
    event: str
    _target: str

    @property
    def act(self) -> Act:
        """Who does what, for the audit trail."""
        return Act(self.caller.name, self.event)

    def once(self, body: BaseModel | str, act: Callable[[Session], BaseModel], *, status: int = 200) -> Response:
        """Do it and respond, or send the earlier response again; see `respond_once`.

        Args:
            body: what was sent, or a hash of it.
            act: does it, within a transaction, and returns the body of the response.
            status: the HTTP status of the response.

        Raises:
            Refusal: the key was used for another request, or `act` refuses.
        """
        identity = self.identity(body)

        def change(session: Session) -> StoredResponse:
            return respond_once(session, identity, lambda: act(session), status=status)

        return http_response(self.exchange.database.change(change, by=self.act))

    def earlier_response(self, body: BaseModel | str) -> Response | None:
        """The response to the same request before; None if it is new.

        Raises:
            Refusal: the key was used for another request.
        """
        with self.exchange.database.reading() as session:
            earlier = stored_response(session, self.identity(body))
        return None if earlier is None else http_response(earlier)

    def is_used(self) -> bool:
        """Whether its key has been used before."""
        with self.exchange.database.reading() as session:
            return is_key_used(session, self.caller.id, self.key)

    def identity(self, body: BaseModel | str) -> RequestIdentity:
        """What the request is recognized by when it comes again."""
        text = body if isinstance(body, str) else body.model_dump_json()
        fingerprint = hashlib.sha256(f"{self._target}\n{text}".encode()).hexdigest()
        return RequestIdentity(self.caller.id, self.key, fingerprint, self.received_at)


def idempotent(*permissions: str) -> Callable[..., Coroutine[Any, Any, IdempotentRequest]]:
    """A dependency of routes that change something: it checks the caller's permissions and the key.

    Args:
        permissions: the caller needs one of these.
    """

    async def check(
        request: Request,
        token: BearerToken,
        key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                description="New for each request, and the same when it is sent again.",
                max_length=KEY_CHARS_MAX,
                pattern=_KEY,
            ),
        ] = None,
    ) -> IdempotentRequest:
        # One dependency for all of it: each one costs more time than what it does.
        caller, exchange = await permitted(request, token, permissions), state_of(request.app).exchange
        if key is None:
            raise Refusal("no-idempotency-key", "send an Idempotency-Key header with a new value for each request")
        target = f"{request.method} {request.url.path}?{request.url.query}"
        event = request.scope["route"].name.replace("_", " ")
        return IdempotentRequest(exchange, caller, key, exchange.clock(), event, target)

    return check


ReporterRequest = Annotated[IdempotentRequest, Depends(idempotent("report"))]
OfficerRequest = Annotated[IdempotentRequest, Depends(idempotent("officer"))]
PublisherRequest = Annotated[IdempotentRequest, Depends(idempotent("publish"))]
AcceptingRequest = Annotated[IdempotentRequest, Depends(idempotent("officer", "publish"))]
RecipientRequest = Annotated[IdempotentRequest, Depends(idempotent("receipt"))]


def http_response(stored: StoredResponse) -> Response:
    """A stored response as FastAPI sends it."""
    headers = {REPLAYED: "true"} if stored.replayed else None
    return Response(stored.body, stored.status, headers, "application/json")
