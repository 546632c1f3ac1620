"""Requests that change something: who may, and with which idempotency key."""

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import KEY_CHARS_MAX
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.idempotency import Question, StoredResponse, answer_once, answered, is_used
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import TheToken, permitted
from blocklist_sdk.exchange_server.http.state import state_of

REPLAYED: Final = "Idempotent-Replayed"

_KEY: Final = r"^[!-~]+$"


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request that changes something, and is done once however often it comes.

    Attributes:
        exchange: where.
        caller: who.
        key: its idempotency key.
        at: when.
    """

    exchange: Exchange
    caller: Caller
    key: str
    at: datetime
    _about: str

    def once(self, body: BaseModel | str, act: Callable[[Session], BaseModel], *, status: int = 200) -> Response:
        """Do it and answer, or answer as before; see `answer_once`.

        Args:
            body: what was sent, or a hash of it.
            act: does it, within a transaction, and gives the answer.
            status: of the answer.

        Raises:
            Refusal: the key was used for another request, or `act` refuses.
        """
        question = self.question(body)

        def change(session: Session) -> StoredResponse:
            return answer_once(session, question, lambda: act(session), status=status)

        return response(self.exchange.database.change(change))

    def earlier(self, body: BaseModel | str) -> Response | None:
        """What was answered before, if anything.

        Raises:
            Refusal: the key was used for another request.
        """
        with self.exchange.database.reading() as session:
            answer = answered(session, self.question(body))
        return None if answer is None else response(answer)

    def is_used(self) -> bool:
        """Whether its key has been used before."""
        with self.exchange.database.reading() as session:
            return is_used(session, self.caller.id, self.key)

    def question(self, body: BaseModel | str) -> Question:
        """As what it is remembered."""
        text = body if isinstance(body, str) else body.model_dump_json()
        request = hashlib.sha256(f"{self._about}\n{text}".encode()).hexdigest()
        return Question(self.caller.id, self.key, request, self.at)


def posting(*permissions: str) -> Callable[..., Coroutine[Any, Any, IdempotentRequest]]:
    """A dependency of routes that change something: who may, and with which key."""

    async def check(
        request: Request,
        token: TheToken,
        key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                description="Made anew for each request and kept when it is sent again.",
                max_length=KEY_CHARS_MAX,
                pattern=_KEY,
            ),
        ] = None,
    ) -> IdempotentRequest:
        # Not by more dependencies, which cost more than what they do.
        caller, exchange = await permitted(request, token, permissions), state_of(request.app).exchange
        if key is None:
            raise Refusal("no-idempotency-key", "send an Idempotency-Key, made anew for each request")
        about = f"{request.method} {request.url.path}?{request.url.query}"
        return IdempotentRequest(exchange, caller, key, exchange.clock(), about)

    return check


def response(answer: StoredResponse) -> Response:
    """An answer as HTTP has it."""
    headers = {REPLAYED: "true"} if answer.replayed else None
    return Response(answer.body, answer.status, headers, "application/json")
