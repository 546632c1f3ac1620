"""Responses stored by idempotency key: a request that comes again gets the same response, and nothing is done twice.

`http.idempotency_key` explains how routes use them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias, cast

from pydantic import BaseModel
from sqlalchemy import Table, bindparam, update
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.database import add_missing_returning
from blocklist_sdk.exchange_server.store.tables import AnswerRow


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """What a request is recognized by when it comes again.

    Attributes:
        account: the ID of the account that sent it.
        key: its idempotency key.
        fingerprint: a hash of everything that it asks for.
        received_at: when it came.
    """

    account: int
    key: str
    fingerprint: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to a request.

    Attributes:
        body: JSON.
        status: the HTTP status.
        replayed: whether it was stored for the same request before.
    """

    body: str
    status: int
    replayed: bool = False


_Act: TypeAlias = Callable[[list[int]], Sequence[BaseModel]]


def respond_once(
    session: Session, request: RequestIdentity, act: Callable[[], BaseModel], *, status: int
) -> StoredResponse:
    """Do what a request asks for and respond, or return the stored response.

    The response is stored in the same transaction as the change. Refusals are not stored.

    Raises:
        Refusal: the key was used for another request, or `act` refuses.
    """
    (response,) = respond_to_all(session, [request], lambda _: [act()], status=status)
    if isinstance(response, Refusal):
        raise response
    return response


def respond_to_all(
    session: Session, requests: Sequence[RequestIdentity], act: _Act, *, status: int
) -> list[StoredResponse | Refusal]:
    """Respond to many requests at once, each as `respond_once` does.

    Args:
        session: one that writes.
        requests: the requests; each key of an account occurs once.
        act: takes the indexes of the requests that are new, and returns the bodies of their responses in that order. If
            there is more than one it must not refuse any.
        status: the HTTP status of the responses.
    """
    claimed = _claim(session, requests)
    new = [index for index, is_claimed in enumerate(claimed) if is_claimed]
    made: dict[int, StoredResponse] = {}
    if new:
        made = {
            index: StoredResponse(body.model_dump_json(), status) for index, body in zip(new, act(new), strict=True)
        }
        session.connection().execute(
            _STORE_RESPONSE,
            [
                {"of": requests[index].account, "its_key": requests[index].key}
                | {"its_status": response.status, "its_body": response.body}
                for index, response in made.items()
            ],
        )
    return [
        made[index] if index in made else _replayed(each, session.get_one(AnswerRow, (each.account, each.key)))
        for index, each in enumerate(requests)
    ]


def stored_response(session: Session, request: RequestIdentity) -> StoredResponse | None:
    """The response to the same request before; None if it is new.

    Raises:
        Refusal: the key was used for another request.
    """
    row = session.get(AnswerRow, (request.account, request.key))
    response = None if row is None else _replayed(request, row)
    if isinstance(response, Refusal):
        raise response
    return response


def is_key_used(session: Session, account: int, key: str) -> bool:
    """Whether an account has used a key."""
    return session.get(AnswerRow, (account, key)) is not None


def _claim(session: Session, requests: Sequence[RequestIdentity]) -> list[bool]:
    """Take the keys; False for each that was taken before.

    If another process takes one at the same moment, this waits until that process is done.
    """
    new = [
        {"account_id": each.account, "key": each.key, "request": each.fingerprint}
        | {"status": 0, "body": "", "at": each.received_at}
        for each in requests
    ]
    # Always in the same order, so that processes with the same keys do not wait for each other.
    claimed = add_missing_returning(session, AnswerRow, sorted(new, key=lambda row: (row["account_id"], row["key"])))
    return [(each.account, each.key) in claimed for each in requests]


def _replayed(request: RequestIdentity, row: AnswerRow) -> StoredResponse | Refusal:
    if row.request != request.fingerprint:
        return Refusal("key-reused", "send a new Idempotency-Key with each new request")
    return StoredResponse(row.body, row.status, replayed=True)


_STORE_RESPONSE: Final = (
    update(cast(Table, AnswerRow.__table__))
    .where(AnswerRow.account_id == bindparam("of"), AnswerRow.key == bindparam("its_key"))
    .values(status=bindparam("its_status"), body=bindparam("its_body"))
)
