"""Reception: reports that come one by one, taken together where many come at a time."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import Report
from blocklist_sdk.exchange.server import intake, views
from blocklist_sdk.exchange.server.answers import Answer, Question, answer_all
from blocklist_sdk.exchange.server.database import Database, is_away
from blocklist_sdk.exchange.server.problems import Refusal
from blocklist_sdk.exchange.server.turns import Outcome, Turns

_TOGETHER: Final = 200

_Asked: TypeAlias = tuple[Question, intake.Incoming]


class Reception:
    """Takes reports, each with an idempotency key; those that wait share a transaction and its statements.

    Attributes:
        turns: in which they are taken.
    """

    def __init__(self, database: Database) -> None:
        """For an exchange's database."""
        self._database = database
        self.turns: Turns[_Asked, Answer] = Turns(self._take_all, together=_TOGETHER)

    def receive(self, question: Question, incoming: intake.Incoming) -> Answer:
        """Take a report, or answer as before.

        Raises:
            Refusal: the key was used for another request.
            StorageFailed: the database cannot be reached, or refused.
        """
        return self.turns.do((question, incoming))

    def _take_all(self, asked: Sequence[_Asked]) -> list[Outcome[Answer]]:
        return [outcome for some in _without_repeats(asked) for outcome in self._take(some)]

    def _take(self, asked: Sequence[_Asked]) -> list[Outcome[Answer]]:
        try:
            answers = self._database.change(partial(_answer, asked))
        except Exception as error:  # noqa: BLE001 -- raised in the threads that asked
            if len(asked) > 1 and not is_away(error):  # one of them is at fault: the others are not to suffer from it
                return [outcome for each in asked for outcome in self._take([each])]
            return [Outcome.failed(error)] * len(asked)
        return [Outcome.failed(each) if isinstance(each, Refusal) else Outcome(each) for each in answers]


def _answer(asked: Sequence[_Asked], session: Session) -> list[Answer | Refusal]:
    def act(new: list[int]) -> list[Report]:
        received = intake.receive_all(session, [asked[place][1] for place in new])
        return [views.new_report(row, case) for row, case in received]

    return answer_all(session, [question for question, _ in asked], act, status=201)


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
