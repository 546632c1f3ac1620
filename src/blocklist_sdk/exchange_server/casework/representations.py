"""Rows of the database in the form in which the API returns them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange import models
from blocklist_sdk.exchange_server.casework import appeals, cases, intake
from blocklist_sdk.exchange_server.casework.decisions import proposed_retraction
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.tables import (
    AccountRow,
    AppealRow,
    CaseRow,
    DecisionRow,
    EvidenceRow,
    HistoryRow,
    ListingRow,
    ReceiptRow,
    ReportRow,
)
from blocklist_sdk.numbers import operator_of
from blocklist_sdk.records import SCOPES

T = TypeVar("T", ListingRow, AccountRow)


def report(session: Session, row: ReportRow) -> models.Report:
    """A report with its evidence and the state of its case."""
    case = session.get_one(CaseRow, row.case_id)
    return _report(row, case, _evidence_of(session, row))


def new_report(row: ReportRow, case: CaseRow) -> models.Report:
    """A report that was just received, so that it has no evidence yet."""
    return _report(row, case, ())


def _report(row: ReportRow, case: CaseRow, evidence: tuple[models.Evidence, ...]) -> models.Report:
    state = cases.state_of(case)
    return models.Report(
        id=row.id,
        case=row.case_id,
        number=row.number,
        category=row.category,
        channel=row.channel,
        app=row.app,
        text=row.text,
        happened_at=row.happened_at,
        received_at=row.received_at,
        reporter=row.reporter,
        repeats=row.repeats,
        evidence=evidence,
        case_state=state,
        missing=("evidence",) if state == cases.INCOMPLETE else (),
    )


def evidence(row: EvidenceRow) -> models.Evidence:
    """A piece of evidence."""
    return models.Evidence(
        id=row.id,
        sha256=row.sha256,
        media_type=row.media_type,
        bytes=row.bytes,
        name=row.name,
        received_at=row.received_at,
    )


def _evidence_of(session: Session, row: ReportRow | AppealRow) -> tuple[models.Evidence, ...]:
    return tuple(evidence(each) for each in intake.evidence_of(session, row))


def case(session: Session, row: CaseRow, *, settings: ExchangeSettings, now: datetime) -> models.Case:
    """A case with its decisions and listings."""
    counts = session.execute(
        select(
            func.count(), func.count().filter(ReportRow.repeats.is_(None)), func.count(ReportRow.account_id.distinct())
        ).where(ReportRow.case_id == row.id)
    ).one()
    decisions = session.scalars(select(DecisionRow).where(DecisionRow.case_id == row.id).order_by(DecisionRow.id))
    listings = session.scalars(
        select(ListingRow).where(ListingRow.case_id == row.id).order_by(ListingRow.feed, ListingRow.id)
    )
    return models.Case(
        id=row.id,
        version=row.events,
        number=row.number,
        operator=operator_of(row.number),
        state=cases.state_of(row),
        opened_at=row.opened_at,
        complete_at=row.complete_at,
        verifying_at=row.verifying_at,
        decided_at=row.decided_at,
        published_at=row.published_at,
        enforced_at=row.enforced_at,
        closed_at=row.closed_at,
        officer=row.officer,
        reports=counts[0],
        reporters=counts[1],
        accounts=counts[2],
        category=intake.prevailing_category(session, row.id),
        overdue=is_overdue(row, settings=settings, now=now),
        decisions=tuple(decision(each) for each in decisions),
        listings=tuple(listing(each) for each in listings),
    )


def is_overdue(row: CaseRow, *, settings: ExchangeSettings, now: datetime) -> bool:
    """Whether officers have taken longer over a complete case than they may."""
    return (
        cases.state_of(row) in cases.UNDECIDED
        and row.complete_at is not None
        and now - row.complete_at > settings.decide_within
    )


def decision(row: DecisionRow) -> models.Decision:
    """A decision."""
    return models.Decision(
        id=row.id,
        case=row.case_id,
        kind=row.kind,
        reason=row.reason,
        category=row.category,
        scope=tuple(scope for scope in SCOPES if scope in row.scope.split("+")),
        until=row.until,
        urgent=row.urgent,
        officer=row.officer,
        decided_at=row.decided_at,
        state=row.state,
        confirmed_by=row.confirmed_by,
        confirmed_at=row.confirmed_at,
    )


def listing(row: ListingRow) -> models.Listing:
    """A listing."""
    return models.Listing(
        feed=row.feed,
        entry=row.entry,
        level=row.level,
        since=row.since,
        until=row.until,
        listed_serial=row.listed_serial if row.listed_at else None,
        listed_at=row.listed_at,
        retracted_at=row.retracted_at,
        lifted_serial=row.lifted_serial if row.lifted_at else None,
        lifted_at=row.lifted_at,
    )


def event(row: HistoryRow) -> models.Event:
    """A line of history."""
    return models.Event(
        sequence=row.sequence, at=row.at, actor=row.actor, event=row.event, detail=row.detail, hash=row.hash
    )


def appeal(session: Session, row: AppealRow) -> models.Appeal:
    """An appeal; if it was granted, with the recipients that have lifted the block."""
    number = session.scalar(select(CaseRow.number).where(CaseRow.id == row.case_id))
    assert number is not None
    return models.Appeal(
        id=row.id,
        case=row.case_id,
        number=number,
        state=row.state,
        grounds=row.grounds,
        appellant=row.appellant,
        received_at=row.received_at,
        evidence=_evidence_of(session, row),
        reason=row.reason,
        answered_at=row.answered_at,
        proposed=proposed_retraction(session, row.case_id) if row.state == "open" else None,
        lifted=tuple(appeals.lifted(session, row.case_id)) if row.state == "granted" else (),
    )


def receipts(session: Session, rows: Sequence[ReceiptRow]) -> tuple[models.Receipt, ...]:
    """Receipts."""
    listings = _by_id(session, ListingRow, {row.listing_id for row in rows})
    accounts = _by_id(session, AccountRow, {row.account_id for row in rows})
    return tuple(
        models.Receipt(
            id=row.id,
            recipient=accounts[row.account_id].name,
            feed=listings[row.listing_id].feed,
            serial=row.serial,
            entry=listings[row.listing_id].entry or 0,
            outcome=row.outcome,
            at=row.at,
            detail=row.detail,
            received_at=row.received_at,
        )
        for row in rows
    )


def _by_id(session: Session, table: type[T], ids: set[int]) -> dict[int, T]:
    return {row.id: row for row in session.scalars(select(table).where(table.id.in_(ids)))}
