"""Intake: reports gather in cases, and evidence makes them complete."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self, cast

from sqlalchemy import Table, bindparam, func, insert, select
from sqlalchemy.orm import Session

from blocklist_sdk.errors import InvalidNumber
from blocklist_sdk.exchange.models import FieldProblem, NewReport
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal, invalid
from blocklist_sdk.exchange_server.evidence.evidence_store import StoredEvidence
from blocklist_sdk.exchange_server.store.database import add_new
from blocklist_sdk.exchange_server.store.tables import AppealRow, CaseRow, EvidenceRow, ReportRow
from blocklist_sdk.numbers import normalize

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far apart a sender's clock and this one may be."""


def read_number(text: str, *, region: str, field: str = "body.number") -> int:
    """A number as the E.164 integer it means.

    Raises:
        Refusal: it is none.
    """
    try:
        return normalize(text, region=region)
    except InvalidNumber as error:
        raise invalid(field, f"it is no telephone number: {error.reason}") from error


@dataclass(frozen=True, slots=True)
class IncomingReport:
    """A report that can be used.

    Attributes:
        caller: who sends it.
        new: it.
        number: which it is on, E.164 as an integer.
        at: when it came.
    """

    caller: Caller
    new: NewReport
    number: int
    at: datetime

    @classmethod
    def read(cls, caller: Caller, new: NewReport, *, region: str, at: datetime) -> Self:
        """Look whether it can be used.

        Raises:
            Refusal: a field cannot.
        """
        number = read_number(new.number, region=region)
        if new.happened_at > at + CLOCK_SKEW:
            raise invalid("body.happened_at", "it is yet to come")
        return cls(caller, new, number, at)


Received = tuple[ReportRow, CaseRow]

_Vote = tuple[int, int, str]
"""Case, account and reporter: each counts once."""


def receive_all(session: Session, batch: Sequence[IncomingReport]) -> list[Received]:
    """Take reports into their numbers' cases; open those that are missing.

    Who complains again about the same number in the same case is heard, but not counted again.

    Returns:
        The reports as they were written, which are no part of the session, and their cases, which are.
    """
    open_cases = _open_cases(session, batch)
    votes = _votes(session, batch, [case.id for case in open_cases.values() if case.events > 1])
    rows: dict[_Vote, ReportRow] = {}
    received: list[Received] = []
    with session.no_autoflush:  # histories and cases are written together, at the end
        for each in batch:
            case, new = open_cases[each.number], each.new
            vote = (case.id, each.caller.id, new.reporter)
            if vote in rows:  # it repeats a report of this batch, whose id is told by writing it
                _write(session, rows, votes)
            row = rows[vote] = ReportRow(
                case_id=case.id,
                account_id=each.caller.id,
                number=each.number,
                category=new.category,
                channel=new.channel,
                app=new.app,
                text=new.text,
                happened_at=new.happened_at,
                received_at=each.at,
                reporter=new.reporter,
                repeats=votes.get(vote),
            )
            received.append((row, case))
        _write(session, rows, votes)
        for each, (row, case) in zip(batch, received, strict=True):
            actor = each.caller.name
            cases.note(session, case, at=each.at, actor=actor, event="reported", report=row.id, repeats=row.repeats)
    session.flush()
    return received


_REPORTS: Final = cast(Table, ReportRow.__table__)
_NEW_REPORTS: Final = insert(_REPORTS).returning(_REPORTS.c.id, sort_by_parameter_order=True)
_REPORT_COLUMNS: Final = tuple(column.key for column in _REPORTS.columns if column is not _REPORTS.c.id)


def _write(session: Session, rows: dict[_Vote, ReportRow], votes: dict[_Vote, int]) -> None:
    """Add reports and tell their ids; the first of each reporter is the one that counts."""
    if not rows:
        return
    values = [{name: getattr(row, name) for name in _REPORT_COLUMNS} for row in rows.values()]
    ids = session.connection().execute(_NEW_REPORTS, values).scalars()
    for (vote, row), row_id in zip(rows.items(), ids, strict=True):
        row.id = row_id
        votes.setdefault(vote, row_id)
    rows.clear()


_OPEN_CASES: Final = (
    select(CaseRow)
    .where(CaseRow.number.in_(bindparam("numbers", expanding=True)), CaseRow.closed_at.is_(None))
    .order_by(CaseRow.id)
    .with_for_update()
)


def _open_cases(session: Session, batch: Sequence[IncomingReport]) -> dict[int, CaseRow]:
    """The numbers' open cases, locked in the order in which all who change several lock them."""
    first: dict[int, IncomingReport] = {}
    for each in batch:
        first.setdefault(each.number, each)
    found: dict[int, CaseRow] = {}
    missing = sorted(first)
    while missing:
        for some in cases.in_parts(missing):
            rows = session.scalars(_OPEN_CASES, {"numbers": some})
            found |= {row.number: row for row in rows}
        missing = [number for number in missing if number not in found]
        # Another process may open one at the same moment; then this adds none, and the next round finds it.
        new = {"state": cases.INCOMPLETE, "events": 0, "head": ""}
        add_new(session, CaseRow, [{"number": number, "opened_at": first[number].at} | new for number in missing])
    for number, case in found.items():
        if not case.events:
            cases.note(session, case, at=first[number].at, actor=first[number].caller.name, event="opened")
    return found


def _votes(session: Session, batch: Sequence[IncomingReport], case_ids: Sequence[int]) -> dict[_Vote, int]:
    """The reports that count already, of these reporters in these cases."""
    accounts, reporters = {each.caller.id for each in batch}, {each.new.reporter for each in batch}
    found: dict[_Vote, int] = {}
    for some in cases.in_parts(case_ids):
        rows = session.execute(
            select(ReportRow.case_id, ReportRow.account_id, ReportRow.reporter, ReportRow.id).where(
                ReportRow.case_id.in_(some),
                ReportRow.account_id.in_(accounts),
                ReportRow.reporter.in_(reporters),
                ReportRow.repeats.is_(None),
            )
        )
        found |= {(row.case_id, row.account_id, row.reporter): row.id for row in rows}
    return found


def report_of(session: Session, report_id: int) -> ReportRow:
    """A report.

    Raises:
        Refusal: there is none.
    """
    row = session.get(ReportRow, report_id)
    if row is None:
        raise Refusal("not-found", f"there is no report {report_id}")
    return row


def attach(
    session: Session,
    caller: Caller,
    to: ReportRow | AppealRow,
    *,
    sha256: str,
    stored: StoredEvidence | None,
    at: datetime,
) -> EvidenceRow:
    """Note a stored file as evidence; a report's case is complete with its first.

    The same file for the same report is one piece of evidence, however often it comes.

    Args:
        session: one that writes.
        caller: who sends it.
        to: what it belongs to.
        sha256: of its content.
        stored: the file; None where it was not kept, since there is no room for another.
        at: now.

    Raises:
        Refusal: there is no room for another.
    """
    case = cases.locked(session, to.case_id)
    known = evidence_of(session, to)
    for each in known:
        if each.sha256 == sha256:
            return each
    if stored is None:
        raise Refusal("conflict", f"there are {len(known)} files already, which is the most")
    row = EvidenceRow(
        report_id=to.id if isinstance(to, ReportRow) else None,
        appeal_id=to.id if isinstance(to, AppealRow) else None,
        sha256=sha256,
        media_type=stored.media_type,
        bytes=stored.bytes,
        name=stored.name,
        received_at=at,
    )
    session.add(row)
    session.flush()
    kind = "report" if isinstance(to, ReportRow) else "appeal"
    cases.note(
        session, case, at=at, actor=caller.name, event="evidence", **{kind: to.id}, evidence=row.id, sha256=sha256
    )
    if isinstance(to, ReportRow) and cases.state_of(case) == cases.INCOMPLETE:
        cases.move(session, case, cases.RECEIVED, at=at, actor=cases.SYSTEM, event="complete")
    return row


def evidence_of(session: Session, to: ReportRow | AppealRow) -> Sequence[EvidenceRow]:
    """The evidence of a report or an appeal, in the order in which it came."""
    mine = EvidenceRow.report_id == to.id if isinstance(to, ReportRow) else EvidenceRow.appeal_id == to.id
    return session.scalars(select(EvidenceRow).where(mine).order_by(EvidenceRow.id)).all()


def most_say(session: Session, case_id: int) -> str:
    """The category that most reporters of a case name; of several the first by name."""
    row = session.execute(
        select(ReportRow.category)
        .where(ReportRow.case_id == case_id, ReportRow.repeats.is_(None))
        .group_by(ReportRow.category)
        .order_by(func.count().desc(), ReportRow.category)
        .limit(1)
    ).first()
    return str(row[0]) if row else "other"


def field_problems(problems: Sequence[FieldProblem], *, under: str) -> list[FieldProblem]:
    """The same problems, of a part of a larger body."""
    return [FieldProblem(field=each.field.replace("body", under, 1), reason=each.reason) for each in problems]
