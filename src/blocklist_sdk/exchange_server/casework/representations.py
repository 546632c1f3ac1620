"""Rows of the database in the form in which the API returns them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from blocklist_sdk.exchange import models
from blocklist_sdk.exchange_server.casework import appeals, cases, intake, visibility
from blocklist_sdk.exchange_server.casework.decisions import proposed_retractions
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
C = TypeVar("C", DecisionRow, ListingRow)


def reports(session: Session, rows: Sequence[ReportRow], *, for_officer: bool) -> tuple[models.Report, ...]:
    """Reports with their evidence and states: the state of the case for officers, what may be seen of it for others."""
    evidence = _evidence_of(session, EvidenceRow.report_id, [row.id for row in rows])
    case_ids = {row.case_id for row in rows}
    states = _states(session, case_ids)
    if for_officer:
        return tuple(_report(row, states[row.case_id], evidence.get(row.id, ()), case=row.case_id) for row in rows)
    first_listings = visibility.first_listings(session, case_ids)
    found = []
    for row in rows:
        files = evidence.get(row.id, ())
        state = visibility.report_state(
            states[row.case_id],
            received_at=row.received_at,
            first_listed_at=first_listings.get(row.case_id),
            has_evidence=bool(files),
        )
        found.append(_report(row, state, files))
    return tuple(found)


def new_report(row: ReportRow) -> models.Report:
    """A report that was just received, so that it has no evidence yet; nothing about its case."""
    return _report(row, cases.INCOMPLETE, ())


def _report(
    row: ReportRow, state: models.CaseState, evidence: tuple[models.Evidence, ...], *, case: int | None = None
) -> models.Report:
    return models.Report(
        id=row.id,
        case=case,
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


def _states(session: Session, case_ids: Collection[int]) -> dict[int, models.CaseState]:
    rows: dict[int, models.CaseState] = {}
    for some in cases.in_batches(sorted(case_ids)):
        found = session.execute(select(CaseRow.id, CaseRow.state).where(CaseRow.id.in_(some)))
        rows |= {case_id: models.CaseState(state) for case_id, state in found}
    return rows


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


def _evidence_of(
    session: Session, owner: InstrumentedAttribute[int | None], ids: Sequence[int]
) -> dict[int, tuple[models.Evidence, ...]]:
    """The evidence of many reports or appeals, by the owner's ID, in the order in which it came."""
    found: dict[int, tuple[models.Evidence, ...]] = {}
    for some in cases.in_batches(ids):
        for row in session.scalars(select(EvidenceRow).where(owner.in_(some)).order_by(EvidenceRow.id)):
            key = getattr(row, owner.key)
            found[key] = (*found.get(key, ()), evidence(row))
    return found


def all_cases(
    session: Session, rows: Sequence[CaseRow], *, settings: ExchangeSettings, now: datetime
) -> tuple[models.Case, ...]:
    """Cases with their decisions and listings."""
    ids = [row.id for row in rows]
    counts = _counts(session, ids)
    categories = intake.prevailing_categories(session, ids)
    decisions = _by_case(session, DecisionRow, ids, DecisionRow.id)
    listings = _by_case(session, ListingRow, ids, ListingRow.feed, ListingRow.id)
    found = []
    for row in rows:
        of_reports, of_reporters, of_accounts = counts.get(row.id, (0, 0, 0))
        found.append(
            models.Case(
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
                reports=of_reports,
                reporters=of_reporters,
                accounts=of_accounts,
                category=categories.get(row.id, intake.NO_CATEGORY),
                overdue=is_overdue(row, settings=settings, now=now),
                decisions=tuple(decision(each) for each in decisions.get(row.id, ())),
                listings=tuple(listing(each) for each in listings.get(row.id, ())),
            )
        )
    return tuple(found)


def case(session: Session, row: CaseRow, *, settings: ExchangeSettings, now: datetime) -> models.Case:
    """A case with its decisions and listings."""
    (found,) = all_cases(session, [row], settings=settings, now=now)
    return found


def _counts(session: Session, case_ids: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    """Numbers of reports, reporters and accounts, by the case's ID."""
    found: dict[int, tuple[int, int, int]] = {}
    for some in cases.in_batches(case_ids):
        counts = (
            select(
                ReportRow.case_id,
                func.count(),
                func.count().filter(ReportRow.repeats.is_(None)),
                func.count(ReportRow.account_id.distinct()),
            )
            .where(ReportRow.case_id.in_(some))
            .group_by(ReportRow.case_id)
        )
        found |= {case_id: (every, first, accounts) for case_id, every, first, accounts in session.execute(counts)}
    return found


def _by_case(
    session: Session, table: type[C], case_ids: Sequence[int], *order: InstrumentedAttribute[Any]
) -> dict[int, list[C]]:
    """Rows that belong to cases, by the case's ID."""
    found: dict[int, list[C]] = {}
    for some in cases.in_batches(case_ids):
        for row in session.scalars(select(table).where(table.case_id.in_(some)).order_by(*order)):
            found.setdefault(row.case_id, []).append(row)
    return found


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


def all_appeals(
    session: Session, rows: Sequence[AppealRow], *, for_officer: bool, now: datetime
) -> tuple[models.Appeal, ...]:
    """Appeals; granted ones with the recipients that have lifted the block. Only officers see what is not published."""
    evidence = _evidence_of(session, EvidenceRow.appeal_id, [row.id for row in rows])
    case_ids = {row.case_id for row in rows if row.case_id is not None}
    numbers = _numbers(session, case_ids)
    listed = frozenset[int]() if for_officer else frozenset(visibility.first_listings(session, case_ids))
    seen = {
        row.id: visibility.seen_appeal(row, is_published=for_officer or row.case_id in listed, now=now) for row in rows
    }
    granted = {row.case_id for row in rows if row.case_id is not None and seen[row.id].state == "granted"}
    lifted = appeals.lifted(session, granted)
    proposed = proposed_retractions(session, case_ids) if for_officer else {}
    found = []
    for row in rows:
        state, reason, answered_at = seen[row.id]
        number = row.number if row.case_id is None else numbers[row.case_id]
        assert number is not None
        found.append(
            models.Appeal(
                id=row.id,
                case=row.case_id if for_officer or row.number is None else None,
                number=number,
                state=state,
                grounds=row.grounds,
                appellant=row.appellant,
                received_at=row.received_at,
                evidence=evidence.get(row.id, ()),
                reason=reason,
                answered_at=answered_at,
                proposed=proposed.get(row.case_id) if row.case_id is not None and state == "open" else None,
                lifted=tuple(lifted[row.case_id]) if row.case_id is not None and state == "granted" else (),
            )
        )
    return tuple(found)


def appeal(session: Session, row: AppealRow, *, for_officer: bool, now: datetime) -> models.Appeal:
    """An appeal, see `all_appeals`."""
    (found,) = all_appeals(session, [row], for_officer=for_officer, now=now)
    return found


def _numbers(session: Session, case_ids: Collection[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for some in cases.in_batches(sorted(case_ids)):
        rows = session.execute(select(CaseRow.id, CaseRow.number).where(CaseRow.id.in_(some)))
        found |= {row.id: row.number for row in rows}
    return found


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
