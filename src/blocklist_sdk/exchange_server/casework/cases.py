"""Cases: where one may go from where, and the history that keeps who moved it."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import CaseState
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.database import write_later
from blocklist_sdk.exchange_server.store.tables import CaseRow, HistoryRow, ListingRow, ReceiptRow

INCOMPLETE, RECEIVED, VERIFYING, DECIDED, PUBLISHED, ENFORCED, APPEALED, RETRACTED, REJECTED = CaseState

NEXT: Final[dict[CaseState, frozenset[CaseState]]] = {
    INCOMPLETE: frozenset({RECEIVED, REJECTED}),
    RECEIVED: frozenset({VERIFYING, DECIDED, REJECTED}),
    VERIFYING: frozenset({DECIDED, REJECTED}),
    DECIDED: frozenset({DECIDED, PUBLISHED, APPEALED, RETRACTED}),
    PUBLISHED: frozenset({DECIDED, ENFORCED, APPEALED, RETRACTED}),
    ENFORCED: frozenset({DECIDED, APPEALED, RETRACTED}),
    APPEALED: frozenset({DECIDED, PUBLISHED, ENFORCED, RETRACTED}),
    RETRACTED: frozenset(),
    REJECTED: frozenset(),
}
"""Where a case may go; from the last two, nowhere: what is reported of the number then is a new case."""

LISTED: Final = (DECIDED, PUBLISHED, ENFORCED, APPEALED)
"""States in which the number is listed, or is about to be."""

UNDECIDED: Final = (INCOMPLETE, RECEIVED, VERIFYING)

_CLOCKS: Final = {
    RECEIVED: "complete_at",
    VERIFYING: "verifying_at",
    DECIDED: "decided_at",
    PUBLISHED: "published_at",
    ENFORCED: "enforced_at",
}
"""Which moment a case keeps of reaching a state for the first time."""

FINAL_OUTCOMES: Final = ("enforced", "already-inactive", "not-ours", "recycled", "refused", "reversed")
"""After these a recipient has answered for an entry; `failed` means that it tries again."""

LIFTING_OUTCOMES: Final = ("reversed", "already-inactive")
"""These show that an entry is not blocked, if the receipt is for a release without it."""

SYSTEM: Final = "exchange"
"""Who acts where nobody does; no account is called that."""

_AT_A_TIME: Final = 500

T = TypeVar("T")

Detail = str | int | bool | None

Recipients = Mapping[str, frozenset[int]]
"""The accounts that answer for each feed."""


def locked(session: Session, case_id: int) -> CaseRow:
    """A case, for a change: whoever else wants to change it waits.

    Raises:
        Refusal: there is none.
    """
    row = session.scalar(select(CaseRow).where(CaseRow.id == case_id).with_for_update())
    if row is None:
        raise Refusal("not-found", f"there is no case {case_id}")
    return row


def locked_many(session: Session, ids: Collection[int]) -> dict[int, CaseRow]:
    """Cases for a change, locked in one order, so that two who want the same seldom wait for each other."""
    found: dict[int, CaseRow] = {}
    for some in in_parts(sorted(ids)):
        rows = session.scalars(select(CaseRow).where(CaseRow.id.in_(some)).order_by(CaseRow.id).with_for_update())
        found |= {row.id: row for row in rows}
    return found


def in_parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Values for one question to the database after the other, each well within what SQLite takes.

    >>> [len(part) for part in in_parts(range(1001))]
    [500, 500, 1]
    """
    rest = list(values)
    while rest:
        yield rest[:_AT_A_TIME]
        rest = rest[_AT_A_TIME:]


def state_of(case: CaseRow) -> CaseState:
    """Where a case stands."""
    return CaseState(case.state)


def move(
    session: Session, case: CaseRow, to: CaseState, *, at: datetime, actor: str, event: str, **detail: Detail
) -> None:
    """Bring a case into a state, and note it.

    Raises:
        Refusal: it cannot go there from where it stands.
    """
    state = state_of(case)
    if to not in NEXT[state]:
        raise Refusal("conflict", f"case {case.id} is {state}: it cannot become {to} now")
    case.state = to
    clock = _CLOCKS.get(to)
    if clock is not None and getattr(case, clock) is None:
        setattr(case, clock, at)
    if not NEXT[to]:
        case.closed_at = at
    note(session, case, at=at, actor=actor, event=event, **detail)


def note(session: Session, case: CaseRow, *, at: datetime, actor: str, event: str, **detail: Detail) -> None:
    """Add a line to a case's history. The case has to be `locked`."""
    case.events += 1
    case.head = chained(case.head, case.id, case.events, at, actor, event, detail)
    line = {"case_id": case.id, "sequence": case.events, "at": at, "actor": actor, "event": event, "detail": detail}
    write_later(session, HistoryRow, line | {"hash": case.head})


def chained(
    before: str, case_id: int, sequence: int, at: datetime, actor: str, event: str, detail: dict[str, Any]
) -> str:
    """The hash of a line of history: SHA-256 over a JSON array, so that nobody can change an earlier line unnoticed.

    >>> from datetime import UTC
    >>> chained("", 1, 1, datetime(2026, 11, 25, tzinfo=UTC), "bank", "opened", {})[:16]
    'dfd92370fed77bbe'
    """
    line = [before, case_id, sequence, at.isoformat(), actor, event, detail]
    return hashlib.sha256(_as_json(line).encode()).hexdigest()


_as_json: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def first_broken(session: Session, case: CaseRow) -> int | None:
    """The first line of a case's history that is not as it was written; None if all are."""
    head, sequence = "", 0
    rows = session.scalars(select(HistoryRow).where(HistoryRow.case_id == case.id).order_by(HistoryRow.sequence))
    for sequence, row in enumerate(rows, 1):
        head = chained(head, case.id, row.sequence, row.at, row.actor, row.event, row.detail)
        if row.sequence != sequence or row.hash != head:
            return sequence
    return None if (sequence, head) == (case.events, case.head) else sequence + 1


def settle(session: Session, cases: Iterable[CaseRow], recipients: Recipients, *, at: datetime) -> None:
    """Note cases as enforced that every recipient concerned has answered for.

    Args:
        session: one that writes.
        cases: `locked`.
        recipients: the accounts that answer for each feed.
        at: now.
    """
    waiting = {case.id: case for case in cases if state_of(case) == PUBLISHED}
    for case_id in _answered(session, waiting, recipients):
        move(session, waiting[case_id], ENFORCED, at=at, actor=SYSTEM, event="enforced")


def listed_state(session: Session, case: CaseRow, recipients: Recipients) -> CaseState:
    """The state that a listed case is in, apart from appeals."""
    active = session.scalars(
        select(ListingRow.waiting).where(ListingRow.case_id == case.id, ListingRow.retracted_at.is_(None))
    ).all()
    if not active or any(active):
        return DECIDED
    return ENFORCED if case.id in _answered(session, [case.id], recipients) else PUBLISHED


def _answered(session: Session, cases: Collection[int], recipients: Recipients) -> list[int]:
    """Those of the cases for which every recipient of every listing has answered, and at least one could."""
    wanted: set[int] = set()
    missing: set[int] = set()
    for some in in_parts(sorted(cases)):
        listings = session.execute(
            select(ListingRow.id, ListingRow.case_id, ListingRow.feed).where(
                ListingRow.case_id.in_(some), ListingRow.retracted_at.is_(None)
            )
        ).all()
        answers: dict[int, set[int]] = {}
        for listing, account in session.execute(
            select(ReceiptRow.listing_id, ReceiptRow.account_id).where(
                ReceiptRow.listing_id.in_([row.id for row in listings]), ReceiptRow.outcome.in_(FINAL_OUTCOMES)
            )
        ):
            answers.setdefault(listing, set()).add(account)
        for row in listings:
            concerned = recipients.get(row.feed, frozenset())
            if concerned:
                wanted.add(row.case_id)
            if not concerned <= answers.get(row.id, set()):
                missing.add(row.case_id)
    return sorted(wanted - missing)
