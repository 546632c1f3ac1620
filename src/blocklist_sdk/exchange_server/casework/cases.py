"""Cases: the states that one may pass through, and its history."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring_ascii
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import CaseState
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.store.bulk import one_of
from blocklist_sdk.exchange_server.store.database import add_later, change_all
from blocklist_sdk.exchange_server.store.tables import CaseRow, HistoryRow, ListingRow, ReceiptRow
from blocklist_sdk.exchange_server.store.trail_lines import Encoded, canonical_json

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
"""The states that may follow each state. Nothing follows the last two: a later report opens a new case."""

LISTED: Final = (DECIDED, PUBLISHED, ENFORCED, APPEALED)
"""States in which the number is listed, or will be with the next release."""

UNDECIDED: Final = (INCOMPLETE, RECEIVED, VERIFYING)

_MOMENT_COLUMNS: Final = {
    RECEIVED: "complete_at",
    VERIFYING: "verifying_at",
    DECIDED: "decided_at",
    PUBLISHED: "published_at",
    ENFORCED: "enforced_at",
}
"""The column with the moment at which a case first reached a state."""

FINAL_OUTCOMES: Final = ("enforced", "already-inactive", "not-ours", "recycled", "refused", "reversed")
"""Outcomes after which a recipient is done with an entry; after `failed` it tries again."""

LIFTING_OUTCOMES: Final = ("reversed", "already-inactive")
"""Outcomes that show that an entry is not blocked, if the receipt is for a release without it."""

SYSTEM: Final = "exchange"
"""The actor in histories if no account acted; no account may have this name."""

COMMAND_LINE: Final = "command line"
"""Who acts by a command on the exchange's own machine; no account may have this name."""

_BATCH: Final = 500

T = TypeVar("T")

Detail = str | int | bool | None

Recipients = Mapping[str, frozenset[int]]
"""IDs of the accounts that send receipts for each feed."""


@dataclass(slots=True)
class BriefCase:
    """The columns of a case that receipts need, locked; whole rows of the ORM take several times as long.

    What is changed here is written by `store_brief`.

    Attributes:
        before: its columns as they are in the database.
    """

    before: Mapping[Any, Any]
    id: int
    number: int
    state: str
    enforced_at: datetime | None
    events: int
    head: str

    def after(self) -> dict[str, Any]:
        """Its columns as they are here."""
        return {
            "id": self.id,
            "number": self.number,
            "state": self.state,
            "enforced_at": self.enforced_at,
            "events": self.events,
            "head": self.head,
        }


_BRIEF: Final = (CaseRow.id, CaseRow.number, CaseRow.state, CaseRow.enforced_at, CaseRow.events, CaseRow.head)

AnyCase: TypeAlias = CaseRow | BriefCase


def lock_case(session: Session, case_id: int) -> CaseRow:
    """A case, locked until the end of the transaction.

    Raises:
        Refusal: the case does not exist.
    """
    row = session.scalar(select(CaseRow).where(CaseRow.id == case_id).with_for_update())
    if row is None:
        raise Refusal("not-found", f"case {case_id} does not exist")
    return row


def lock_cases(session: Session, ids: Collection[int]) -> dict[int, CaseRow]:
    """Cases, locked in the order of their IDs, so that two transactions seldom wait for each other."""
    found: dict[int, CaseRow] = {}
    for some in in_batches(sorted(ids)):
        rows = session.scalars(
            select(CaseRow).where(one_of(session, CaseRow.id, some)).order_by(CaseRow.id).with_for_update()
        )
        found |= {row.id: row for row in rows}
    return found


def lock_brief(session: Session, ids: Collection[int]) -> dict[int, BriefCase]:
    """As `lock_cases`, without what only the ORM needs."""
    found: dict[int, BriefCase] = {}
    for some in in_batches(sorted(ids)):
        rows = session.execute(
            select(*_BRIEF).where(one_of(session, CaseRow.id, some)).order_by(CaseRow.id).with_for_update()
        )
        found |= {row.id: BriefCase(row._mapping, *row) for row in rows}
    return found


def store_brief(session: Session, cases: Collection[BriefCase]) -> None:
    """Write what was changed.

    Args:
        session: one that writes, with no row of these cases.
        cases: the cases; do not change them afterwards.
    """
    change_all(session, CaseRow, [case.before for case in cases], [case.after() for case in cases])


def in_batches(values: Iterable[T]) -> Iterator[list[T]]:
    """Values in batches, each within what SQLite takes in one query.

    >>> [len(batch) for batch in in_batches(range(1001))]
    [500, 500, 1]
    """
    rest = list(values)
    while rest:
        yield rest[:_BATCH]
        rest = rest[_BATCH:]


def state_of(case: AnyCase) -> CaseState:
    """The state of a case."""
    return CaseState(case.state)


def move_case(
    session: Session, case: AnyCase, to: CaseState, *, now: datetime, actor: str, event: str, **detail: Detail
) -> None:
    """Change the state of a case, and add the event to its history.

    Raises:
        Refusal: the new state cannot follow the present one.
    """
    state = state_of(case)
    if to not in NEXT[state]:
        raise Refusal("conflict", f"case {case.id} is {state}, so it cannot become {to}")
    case.state = to
    clock = _MOMENT_COLUMNS.get(to)
    if clock is not None and getattr(case, clock) is None:
        setattr(case, clock, now)
    if not NEXT[to]:
        assert isinstance(case, CaseRow), "a brief case has no column for it"
        case.closed_at = now
    add_event(session, case, now=now, actor=actor, event=event, **detail)


def add_event(session: Session, case: AnyCase, *, now: datetime, actor: str, event: str, **detail: Detail) -> None:
    """Add a line to a case's history. The case must be locked."""
    case.events += 1
    text = Encoded(canonical_json(detail))
    case.head = _hash_of_text(case.head, case.id, case.events, now, actor, event, text)
    line = {"case_id": case.id, "sequence": case.events, "at": now, "actor": actor, "event": event}
    add_later(session, HistoryRow, {**line, "detail": text, "hash": case.head})


def line_hash(
    before: str, case_id: int, sequence: int, now: datetime, actor: str, event: str, detail: dict[str, Any]
) -> str:
    """The hash of a line of history: SHA-256 over a JSON array, so that a change of an earlier line is noticed.

    >>> from datetime import UTC
    >>> line_hash("", 1, 1, datetime(2026, 11, 25, tzinfo=UTC), "bank", "opened", {})[:16]
    'dfd92370fed77bbe'
    """
    return _hash_of_text(before, case_id, sequence, now, actor, event, canonical_json(detail))


def _hash_of_text(before: str, case_id: int, sequence: int, now: datetime, actor: str, event: str, detail: str) -> str:
    """As `line_hash`, for a detail that is JSON already: encoding the whole array takes three times as long."""
    texts = (encode_basestring_ascii(text) for text in (before, now.isoformat(), actor, event))
    quoted_before, at, quoted_actor, quoted_event = texts
    line = f"[{quoted_before},{case_id},{sequence},{at},{quoted_actor},{quoted_event},{detail}]"
    return hashlib.sha256(line.encode()).hexdigest()


def first_broken_line(session: Session, case: CaseRow) -> int | None:
    """The number of the first line of a case's history that was changed or removed; None if all are intact."""
    rows = session.scalars(select(HistoryRow).where(HistoryRow.case_id == case.id).order_by(HistoryRow.sequence))
    return broken_line(rows, events=case.events, head=case.head)


def broken_line(rows: "Iterable[HistoryRow | Row[Any]]", *, events: int, head: str) -> int | None:
    """As `first_broken_line`, for the lines of a history.

    Args:
        rows: the lines, in order.
        events: how many the case has.
        head: the hash of the last one.
    """
    reached, sequence = "", 0
    for sequence, row in enumerate(rows, 1):
        reached = line_hash(reached, row.case_id, row.sequence, row.at, row.actor, row.event, row.detail)
        if row.sequence != sequence or row.hash != reached:
            return sequence
    return None if (sequence, reached) == (events, head) else sequence + 1


def mark_enforced(session: Session, cases: Iterable[AnyCase], recipients: Recipients, *, now: datetime) -> None:
    """Mark cases as enforced for which every recipient concerned has sent a receipt.

    Args:
        session: one that writes.
        cases: the cases, locked.
        recipients: IDs of the accounts that send receipts for each feed.
        now: this moment.
    """
    waiting = {case.id: case for case in cases if state_of(case) == PUBLISHED}
    for case_id in _answered(session, waiting, recipients):
        move_case(session, waiting[case_id], ENFORCED, now=now, actor=SYSTEM, event="enforced")


def listed_state(session: Session, case: CaseRow, recipients: Recipients) -> CaseState:
    """The state that a listed case has if it is not appealed."""
    active = session.scalars(
        select(ListingRow.waiting).where(ListingRow.case_id == case.id, ListingRow.retracted_at.is_(None))
    ).all()
    if not active or any(active):
        return DECIDED
    return ENFORCED if case.id in _answered(session, [case.id], recipients) else PUBLISHED


def _answered(session: Session, cases: Collection[int], recipients: Recipients) -> list[int]:
    """IDs of the cases with at least one recipient whose recipients have sent final receipts for every listing."""
    wanted: set[int] = set()
    missing: set[int] = set()
    for some in in_batches(sorted(cases)):
        # Asked for those that are not retracted, SQLite reads all that are not, of every case.
        found = session.execute(
            select(ListingRow.id, ListingRow.case_id, ListingRow.feed, ListingRow.retracted_at).where(
                one_of(session, ListingRow.case_id, some)
            )
        )
        listings = [row for row in found if row.retracted_at is None]
        answers: dict[int, set[int]] = {}
        for listing, account in session.execute(
            select(ReceiptRow.listing_id, ReceiptRow.account_id).where(
                one_of(session, ReceiptRow.listing_id, [row.id for row in listings]),
                ReceiptRow.outcome.in_(FINAL_OUTCOMES),
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
