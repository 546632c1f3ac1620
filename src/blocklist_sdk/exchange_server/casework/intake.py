"""Intake: reports are collected in cases, and evidence makes a case complete."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Self, cast

from sqlalchemy import Table, bindparam, func, insert, select
from sqlalchemy.orm import Session

from blocklist_sdk.errors import InvalidNumber
from blocklist_sdk.exchange.models import FieldProblem, NewReport
from blocklist_sdk.exchange_server.casework import cases
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal, invalid
from blocklist_sdk.exchange_server.evidence.evidence_store import StoredEvidence
from blocklist_sdk.exchange_server.store.audited import IMAGES
from blocklist_sdk.exchange_server.store.database import add_missing
from blocklist_sdk.exchange_server.store.tables import AppealRow, CaseRow, EvidenceRow, ReportRow, new_salt
from blocklist_sdk.exchange_server.store.trail import Act, Unit, note_new, record
from blocklist_sdk.exchange_server.store.trail_lines import OpenLine
from blocklist_sdk.numbers import normalize

NO_CATEGORY: Final = "other"
"""The category of a case without reports."""

CLOCK_SKEW: Final = timedelta(minutes=5)
"""Tolerated difference between a sender's clock and this one."""


def read_number(text: str, *, region: str, field: str = "body.number") -> int:
    """Read a telephone number as an E.164 integer.

    Raises:
        Refusal: the text is not a telephone number.
    """
    try:
        return normalize(text, region=region)
    except InvalidNumber as error:
        raise invalid(field, f"not a telephone number: {error.reason}") from error


@dataclass(frozen=True, slots=True)
class IncomingReport:
    """A report whose fields have been checked.

    Attributes:
        caller: the account that sent it.
        new: its fields.
        number: the number, E.164 as an integer.
        received_at: when it came.
    """

    caller: Caller
    new: NewReport
    number: int
    received_at: datetime

    @classmethod
    def read(cls, caller: Caller, new: NewReport, *, region: str, now: datetime) -> Self:
        """Check a report's fields.

        Raises:
            Refusal: a field cannot be used.
        """
        number = read_number(new.number, region=region)
        if new.happened_at > now + CLOCK_SKEW:
            raise invalid("body.happened_at", "must not be in the future")
        return cls(caller, new, number, now)


Received = tuple[ReportRow, CaseRow]

_Vote = tuple[int, int, str]
"""Case, account and reporter; reports with the same three count once."""


def receive_all(session: Session, batch: Sequence[IncomingReport]) -> list[Received]:
    """Add reports to the open cases of their numbers; open the cases that are missing.

    A report by the same reporter in the same case is stored, but not counted again. Each report is a line of the audit
    trail, since reports of several accounts may share a transaction.

    Returns:
        The stored reports, which are not part of the session, and their cases, which are.
    """
    lines = [record(session, Act(each.caller.name, "report")) for each in batch]
    open_cases = _open_cases(session, batch, lines)
    votes = _votes(session, batch, [case.id for case in open_cases.values() if case.events > 1])
    rows: dict[_Vote, tuple[ReportRow, OpenLine]] = {}
    received: list[Received] = []
    with session.no_autoflush:  # histories and cases are written together, at the end
        for each, line in zip(batch, lines, strict=True):
            case, new = open_cases[each.number], each.new
            Unit.of(session).keep(case, line)
            vote = (case.id, each.caller.id, new.reporter)
            if vote in rows:  # it repeats a report of this batch, which gets its ID when it is written
                _write(session, rows, votes)
            row = ReportRow(
                case_id=case.id,
                account_id=each.caller.id,
                number=each.number,
                category=new.category,
                channel=new.channel,
                app=new.app,
                text=new.text,
                happened_at=new.happened_at,
                received_at=each.received_at,
                reporter=new.reporter,
                repeats=votes.get(vote),
                salt=new_salt(),
            )
            rows[vote] = row, line
            received.append((row, case))
        _write(session, rows, votes)
        for each, (row, case) in zip(batch, received, strict=True):
            actor = each.caller.name
            cases.add_event(
                session, case, now=each.received_at, actor=actor, event="reported", report=row.id, repeats=row.repeats
            )
    session.flush()
    return received


_REPORTS: Final = cast(Table, ReportRow.__table__)
_NEW_REPORTS: Final = insert(_REPORTS).returning(_REPORTS.c.id, sort_by_parameter_order=True)
_REPORT_COLUMNS: Final = tuple(column.key for column in _REPORTS.columns if column is not _REPORTS.c.id)


def _write(session: Session, rows: dict[_Vote, tuple[ReportRow, OpenLine]], votes: dict[_Vote, int]) -> None:
    """Write reports, set their IDs, and note them in their lines; the first of each reporter counts."""
    if not rows:
        return
    values = [{name: getattr(row, name) for name in _REPORT_COLUMNS} for row, _ in rows.values()]
    ids = session.connection().execute(_NEW_REPORTS, values).scalars()
    for (vote, (row, line)), row_id in zip(rows.items(), ids, strict=True):
        row.id = row_id
        note_new(line, IMAGES[ReportRow], partial(getattr, row))
        votes.setdefault(vote, row_id)
    rows.clear()


_OPEN_CASES: Final = (
    select(CaseRow)
    .where(CaseRow.number.in_(bindparam("numbers", expanding=True)), CaseRow.closed_at.is_(None))
    .order_by(CaseRow.id)
    .with_for_update()
)


def _open_cases(session: Session, batch: Sequence[IncomingReport], lines: Sequence[OpenLine]) -> dict[int, CaseRow]:
    """The open cases of the numbers, locked in the order of their IDs as everywhere."""
    first: dict[int, IncomingReport] = {}
    line_of: dict[int, OpenLine] = {}
    for each, line in zip(batch, lines, strict=True):
        first.setdefault(each.number, each)
        line_of.setdefault(each.number, line)
    found: dict[int, CaseRow] = {}
    missing = sorted(first)
    while missing:
        for some in cases.in_batches(missing):
            rows = session.scalars(_OPEN_CASES, {"numbers": some})
            found |= {row.number: row for row in rows}
        missing = [number for number in missing if number not in found]
        # If another process opens one at the same moment, this adds nothing, and the next round finds it.
        new = {"state": cases.INCOMPLETE, "events": 0, "head": ""}
        opened = [{"number": number, "opened_at": first[number].received_at} | new for number in missing]
        add_missing(session, CaseRow, opened, line_of=lambda row: line_of[row.number])
    for number, case in found.items():
        if not case.events:
            cases.add_event(
                session, case, now=first[number].received_at, actor=first[number].caller.name, event="opened"
            )
    return found


def _votes(session: Session, batch: Sequence[IncomingReport], case_ids: Sequence[int]) -> dict[_Vote, int]:
    """The reports of these reporters in these cases that count already."""
    accounts, reporters = {each.caller.id for each in batch}, {each.new.reporter for each in batch}
    found: dict[_Vote, int] = {}
    for some in cases.in_batches(case_ids):
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


def find_report(session: Session, report_id: int) -> ReportRow:
    """A report by its ID.

    Raises:
        Refusal: the report does not exist.
    """
    row = session.get(ReportRow, report_id)
    if row is None:
        raise Refusal("not-found", f"report {report_id} does not exist")
    return row


def attach_evidence(
    session: Session,
    caller: Caller,
    owner: ReportRow | AppealRow,
    *,
    sha256: str,
    evidence_file: StoredEvidence | None,
    now: datetime,
) -> EvidenceRow:
    """Add a stored file to a report or an appeal; the first file of a report makes its case complete.

    The same file for the same report is one piece of evidence, however often it comes.

    Args:
        session: one that writes.
        caller: the account that sent it.
        owner: the report or appeal.
        sha256: of its content.
        evidence_file: the file; None if it was not stored, because the report or appeal has as many as it may.
        now: this moment.

    Raises:
        Refusal: the report or appeal has as many files as it may.
    """
    # An appeal against nothing has no case; its files are kept like those of any other.
    case = None if owner.case_id is None else cases.lock_case(session, owner.case_id)
    known = evidence_of(session, owner)
    for each in known:
        if each.sha256 == sha256:
            return each
    if evidence_file is None:
        raise Refusal("conflict", f"it has {len(known)} files already, and may not have more")
    row = EvidenceRow(
        account_id=owner.account_id,
        report_id=owner.id if isinstance(owner, ReportRow) else None,
        appeal_id=owner.id if isinstance(owner, AppealRow) else None,
        sha256=sha256,
        media_type=evidence_file.media_type,
        bytes=evidence_file.bytes,
        name=evidence_file.name,
        received_at=now,
    )
    session.add(row)
    session.flush()
    kind = "report" if isinstance(owner, ReportRow) else "appeal"
    if case is None:
        return row
    cases.add_event(
        session, case, now=now, actor=caller.name, event="evidence", **{kind: owner.id}, evidence=row.id, sha256=sha256
    )
    if isinstance(owner, ReportRow) and cases.state_of(case) == cases.INCOMPLETE:
        cases.move_case(session, case, cases.RECEIVED, now=now, actor=cases.SYSTEM, event="complete")
    return row


def prevailing_categories(session: Session, case_ids: Collection[int]) -> dict[int, str]:
    """The category that most accounts name, for each case with reports.

    Accounts count, not their reporters, whom an account may invent. Of categories with equally many accounts it is the
    one that was reported first, which nobody can change by later reports.
    """
    found: dict[int, str] = {}
    accounts, first = func.count(ReportRow.account_id.distinct()), func.min(ReportRow.id)
    for some in cases.in_batches(sorted(case_ids)):
        counts = (
            select(ReportRow.case_id, ReportRow.category)
            .where(ReportRow.case_id.in_(some))
            .group_by(ReportRow.case_id, ReportRow.category)
            .order_by(ReportRow.case_id, accounts.desc(), first)
        )
        for case_id, category in session.execute(counts):
            found.setdefault(case_id, category)
    return found


def evidence_of(session: Session, owner: ReportRow | AppealRow) -> Sequence[EvidenceRow]:
    """The evidence of a report or an appeal, in the order in which it came."""
    mine = EvidenceRow.report_id == owner.id if isinstance(owner, ReportRow) else EvidenceRow.appeal_id == owner.id
    return session.scalars(select(EvidenceRow).where(mine).order_by(EvidenceRow.id)).all()


def stored_bytes(session: Session, account: int) -> int:
    """How many bytes of evidence an account has stored."""
    return session.scalar(select(func.sum(EvidenceRow.bytes)).where(EvidenceRow.account_id == account)) or 0


def prevailing_category(session: Session, case_id: int) -> str:
    """The category that most accounts name in their reports of a case, see `prevailing_categories`."""
    return prevailing_categories(session, [case_id]).get(case_id, NO_CATEGORY)


def problems_within(problems: Sequence[FieldProblem], *, parent: str) -> list[FieldProblem]:
    """Problems of a body as those of a part of a larger body."""
    return [FieldProblem(field=each.field.replace("body", parent, 1), reason=each.reason) for each in problems]
