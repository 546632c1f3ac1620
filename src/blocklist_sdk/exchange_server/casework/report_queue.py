"""Single reports: those that come at the same time share a transaction."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import Report
from blocklist_sdk.exchange_server.casework import intake, representations
from blocklist_sdk.exchange_server.casework.idempotency import RequestIdentity, StoredResponse, respond_to_all
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.database import Database, is_unavailable
from blocklist_sdk.exchange_server.store.group_commit import GroupCommit, WorkResult

_LOCK_WAIT_S: Final = 0.5
"""How long reports that share a transaction wait for a case that another transaction is changing, seconds."""

_GATHER_S: Final = 0.02
"""Time between two transactions while reports come in a crowd, seconds. A transaction of one report takes as long as
one of ten, so that without it the processors are busy with half-empty ones."""

_Request: TypeAlias = tuple[RequestIdentity, intake.IncomingReport]


class ReportQueue:
    """Takes reports, each with an idempotency key; those that wait share a transaction and its statements.

    Attributes:
        group_commit: the queue of waiting reports.
    """

    def __init__(self, database: Database) -> None:
        """For an exchange's database."""
        self._database = database
        self.group_commit: GroupCommit[_Request, StoredResponse | None] = GroupCommit(
            self._take_all, gather_s=_GATHER_S
        )

    def receive(self, identity: RequestIdentity, incoming: intake.IncomingReport) -> StoredResponse:
        """Take a report, or return the stored response to the same request.

        Raises:
            Refusal: the key was used for another request.
            StorageFailed: the database cannot be reached, or refused the change.
        """
        request = identity, incoming
        response = self.group_commit.do(request)
        if response is None:
            # In a transaction of its own and without the lock, so that its fault holds up nothing else.
            (alone,) = self._database.change(partial(_respond, [request]))
            response = _result(alone).get()
            assert response is not None
        return response

    def _take_all(self, requests: Sequence[_Request]) -> list[WorkResult[StoredResponse | None]]:
        return [result for batch in _without_repeated_keys(requests) for result in self._take(batch)]

    def _take(self, requests: Sequence[_Request]) -> list[WorkResult[StoredResponse | None]]:
        """Respond to all; to none if any of them fails or waits too long, since the culprit is not known."""
        try:
            responses = self._database.change(partial(_respond, requests), lock_wait_s=_LOCK_WAIT_S)
        except Exception as error:  # noqa: BLE001 -- raised in the threads that sent the requests
            return [WorkResult.failed(error) if is_unavailable(error) else WorkResult(None)] * len(requests)
        return [_result(response) for response in responses]


def _respond(requests: Sequence[_Request], session: Session) -> list[StoredResponse | Refusal]:
    def act(new: list[int]) -> list[Report]:
        received = intake.receive_all(session, [requests[index][1] for index in new])
        return [representations.new_report(row) for row, _ in received]

    return respond_to_all(session, [identity for identity, _ in requests], act, status=201)


def _result(response: StoredResponse | Refusal) -> WorkResult[StoredResponse | None]:
    return WorkResult.failed(response) if isinstance(response, Refusal) else WorkResult(response)


def _without_repeated_keys(requests: Sequence[_Request]) -> Iterator[list[_Request]]:
    """Requests in batches without a repeated key, so that the later of two is sent the stored response."""
    batch: dict[tuple[int, str], _Request] = {}
    for request in requests:
        key = request[0].account, request[0].key
        if key in batch:
            yield list(batch.values())
            batch = {}
        batch[key] = request
    yield list(batch.values())
