"""Intake: reports gather in cases, and evidence makes them complete."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocklist_sdk.errors import InvalidNumber
from blocklist_sdk.exchange.models import FieldProblem, NewReport
from blocklist_sdk.exchange.server import cases
from blocklist_sdk.exchange.server.accounts import Caller
from blocklist_sdk.exchange.server.database import add_new
from blocklist_sdk.exchange.server.problems import Refusal, invalid
from blocklist_sdk.exchange.server.tables import AppealRow, CaseRow, EvidenceRow, ReportRow
from blocklist_sdk.numbers import normalize

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far ahead a reporter's clock may be."""


def read_number(text: str, *, region: str, field: str = "body.number") -> int:
    """A number as the E.164 integer it means.

    Raises:
        Refusal: it is none.
    """
    try:
        return normalize(text, region=region)
    except InvalidNumber as error:
        raise invalid(field, f"it is no telephone number: {error.reason}") from error


def receive(session: Session, caller: Caller, new: NewReport, *, region: str, at: datetime) -> ReportRow:
    """Take a report into the number's case; open one where there is none.

    Who complains again about the same number in the same case is heard, but not counted again.

    Raises:
        Refusal: a field cannot be used.
    """
    number = read_number(new.number, region=region)
    if new.happened_at > at + CLOCK_SKEW:
        raise invalid("body.happened_at", "it is yet to come")
    case = _open_case(session, number, caller, at=at)
    first = session.scalar(
        select(ReportRow.id).where(
            ReportRow.case_id == case.id,
            ReportRow.account_id == caller.id,
            ReportRow.reporter == new.reporter,
            ReportRow.repeats.is_(None),
        )
    )
    row = ReportRow(
        case_id=case.id,
        account_id=caller.id,
        number=number,
        category=new.category,
        channel=new.channel,
        app=new.app,
        text=new.text,
        happened_at=new.happened_at,
        received_at=at,
        reporter=new.reporter,
        repeats=first,
    )
    session.add(row)
    session.flush()
    cases.note(session, case, at=at, actor=caller.name, event="reported", report=row.id, repeats=first)
    return row


def _open_case(session: Session, number: int, caller: Caller, *, at: datetime) -> CaseRow:
    """The number's open case, locked."""
    wanted = select(CaseRow).where(CaseRow.number == number, CaseRow.closed_at.is_(None)).with_for_update()
    found = session.scalar(wanted)
    while found is None:
        # Another process may open one at the same moment; then this adds none.
        add_new(
            session, CaseRow, [{"number": number, "state": cases.INCOMPLETE, "opened_at": at, "events": 0, "head": ""}]
        )
        found = session.scalar(wanted)
    if not found.events:
        cases.note(session, found, at=at, actor=caller.name, event="opened")
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
    media_type: str,
    size: int,
    name: str,
    most: int,
    at: datetime,
) -> EvidenceRow:
    """Note a stored file as evidence; a report's case is complete with its first.

    The same file for the same report is one piece of evidence, however often it comes.

    Raises:
        Refusal: there are `most` files already.
    """
    case = cases.locked(session, to.case_id)
    mine = EvidenceRow.report_id == to.id if isinstance(to, ReportRow) else EvidenceRow.appeal_id == to.id
    known = session.scalars(select(EvidenceRow).where(mine)).all()
    for each in known:
        if each.sha256 == sha256:
            return each
    if len(known) >= most:
        raise Refusal("conflict", f"there are {len(known)} files already, which is the most")
    row = EvidenceRow(
        report_id=to.id if isinstance(to, ReportRow) else None,
        appeal_id=to.id if isinstance(to, AppealRow) else None,
        sha256=sha256,
        media_type=media_type,
        bytes=size,
        name=name,
        received_at=at,
    )
    session.add(row)
    session.flush()
    kind = "report" if isinstance(to, ReportRow) else "appeal"
    cases.note(
        session, case, at=at, actor=caller.name, event="evidence", **{kind: to.id}, evidence=row.id, sha256=sha256
    )
    if isinstance(to, ReportRow) and cases.state_of(case) == cases.INCOMPLETE:
        cases.move(session, case, cases.RECEIVED, at=at, actor="exchange", event="complete")
    return row


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
