"""What was answered to idempotency keys: who asks the same again gets the same answer, and nothing is done twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from pydantic import BaseModel
from sqlalchemy import Table, bindparam, update
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.database import add_if_new
from blocklist_sdk.exchange_server.store.tables import AnswerRow


@dataclass(frozen=True, slots=True)
class Question:
    """A request that changes something.

    Attributes:
        account: whose it is.
        key: its idempotency key.
        request: a hash of what is asked.
        at: when.
    """

    account: int
    key: str
    request: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What a request was answered with.

    Attributes:
        body: JSON.
        status: HTTP's.
        replayed: it is the answer to the same request before.
    """

    body: str
    status: int
    replayed: bool = False


def answer_once(session: Session, question: Question, act: Callable[[], BaseModel], *, status: int) -> StoredResponse:
    """Do it and answer, or answer as before.

    The answer is stored in the same transaction as what was done. What is refused is not stored.

    Raises:
        Refusal: the key was used for another request, or `act` refuses.
    """
    (answer,) = answer_all(session, [question], lambda _: [act()], status=status)
    if isinstance(answer, Refusal):
        raise answer
    return answer


def answer_all(
    session: Session, questions: Sequence[Question], act: Callable[[list[int]], Sequence[BaseModel]], *, status: int
) -> list[StoredResponse | Refusal]:
    """Answer many at once, as `answer_once` does.

    Args:
        session: one that writes.
        questions: no two with the same key of the same account.
        act: is told the places of those that are new, and answers them in that order; it refuses none of many.
        status: of the answers.
    """
    taken = _claim(session, questions)
    new = [place for place, is_taken in enumerate(taken) if is_taken]
    made: dict[int, StoredResponse] = {}
    if new:
        made = {
            place: StoredResponse(body.model_dump_json(), status) for place, body in zip(new, act(new), strict=True)
        }
        session.connection().execute(
            _ANSWERED,
            [
                {"of": questions[place].account, "its_key": questions[place].key}
                | {"its_status": status, "its_body": answer.body}
                for place, answer in made.items()
            ],
        )
    return [
        made[place] if place in made else _again(each, session.get_one(AnswerRow, (each.account, each.key)))
        for place, each in enumerate(questions)
    ]


def answered(session: Session, question: Question) -> StoredResponse | None:
    """What was answered before, if anything.

    Raises:
        Refusal: the key was used for another request.
    """
    row = session.get(AnswerRow, (question.account, question.key))
    answer = None if row is None else _again(question, row)
    if isinstance(answer, Refusal):
        raise answer
    return answer


def is_used(session: Session, account: int, key: str) -> bool:
    """Whether a key has been used."""
    return session.get(AnswerRow, (account, key)) is not None


def _claim(session: Session, questions: Sequence[Question]) -> list[bool]:
    """Take the keys; False for each that has been taken before.

    Where another process takes one at the same moment, this waits until it is done.
    """
    new = [
        {"account_id": each.account, "key": each.key, "request": each.request, "status": 0, "body": "", "at": each.at}
        for each in questions
    ]
    # In one order, so that processes with the same keys do not wait for each other.
    taken = add_if_new(session, AnswerRow, sorted(new, key=lambda row: (row["account_id"], row["key"])))
    return [(each.account, each.key) in taken for each in questions]


def _again(question: Question, row: AnswerRow) -> StoredResponse | Refusal:
    if row.request != question.request:
        return Refusal("key-reused", "a new request needs a key of its own")
    return StoredResponse(row.body, row.status, replayed=True)


_ANSWERED: Final = (
    update(cast(Table, AnswerRow.__table__))
    .where(AnswerRow.account_id == bindparam("of"), AnswerRow.key == bindparam("its_key"))
    .values(status=bindparam("its_status"), body=bindparam("its_body"))
)
