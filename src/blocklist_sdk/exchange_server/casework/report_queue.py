"""Reports that come one by one, taken together where many come at a time."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import Report
from blocklist_sdk.exchange_server.casework import intake, representations
from blocklist_sdk.exchange_server.casework.idempotency import Question, StoredResponse, answer_all
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.database import Database, is_away
from blocklist_sdk.exchange_server.store.group_commit import GroupCommit, Result

_PATIENCE_S: Final = 0.5
"""How long reports that go together wait for a case that somebody else is changing."""

_Asked: TypeAlias = tuple[Question, intake.IncomingReport]


class ReportQueue:
    """Takes reports, each with an idempotency key; those that wait share a transaction and its statements.

    Attributes:
        turns: in which they are taken.
    """

    def __init__(self, database: Database) -> None:
        """For an exchange's database."""
        self._database = database
        self.turns: GroupCommit[_Asked, StoredResponse | None] = GroupCommit(self._take_all)

    def receive(self, question: Question, incoming: intake.IncomingReport) -> StoredResponse:
        """Take a report, or answer as before.

        Raises:
            Refusal: the key was used for another request.
            StorageFailed: the database cannot be reached, or refused.
        """
        asked = question, incoming
        answer = self.turns.do(asked)
        if answer is None:
            # Out of turn, so that whatever this one meets holds up nobody else.
            (alone,) = self._database.change(partial(_answer, [asked]))
            answer = _result(alone).get()
            assert answer is not None
        return answer

    def _take_all(self, asked: Sequence[_Asked]) -> list[Result[StoredResponse | None]]:
        return [result for some in _without_repeats(asked) for result in self._take(some)]

    def _take(self, asked: Sequence[_Asked]) -> list[Result[StoredResponse | None]]:
        """Answer all; none where one of them is at fault, or in the way of somebody else, and nobody knows which."""
        try:
            answers = self._database.change(partial(_answer, asked), patience_s=_PATIENCE_S)
        except Exception as error:  # noqa: BLE001 -- raised in the threads that asked
            return [Result.failed(error) if is_away(error) else Result(None)] * len(asked)
        return [_result(answer) for answer in answers]


def _answer(asked: Sequence[_Asked], session: Session) -> list[StoredResponse | Refusal]:
    def act(new: list[int]) -> list[Report]:
        received = intake.receive_all(session, [asked[place][1] for place in new])
        return [representations.new_report(row, case) for row, case in received]

    return answer_all(session, [question for question, _ in asked], act, status=201)


def _result(answer: StoredResponse | Refusal) -> Result[StoredResponse | None]:
    return Result.failed(answer) if isinstance(answer, Refusal) else Result(answer)


def _without_repeats(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """In parts: whoever sends a key twice at a time is answered the second time with what came of the first."""
    part: dict[tuple[int, str], _Asked] = {}
    for each in asked:
        key = each[0].account, each[0].key
        if key in part:
            yield list(part.values())
            part = {}
        part[key] = each
    yield list(part.values())
