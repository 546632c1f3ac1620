"""Officers' work: cases, decisions, answers to appeals."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from sqlalchemy import case as either
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import Case, CaseState, Decision, Event, Id, NewDecision, Page, Report
from blocklist_sdk.exchange_server.casework import appeals, cases, decisions, intake, representations
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import TheExchange, needs
from blocklist_sdk.exchange_server.http.idempotency_key import IdempotentRequest, posting
from blocklist_sdk.exchange_server.http.pagination import ThePage, check_cursor, next_of, page_by_id
from blocklist_sdk.exchange_server.store.tables import CaseRow, DecisionRow, HistoryRow, ReportRow

router = APIRouter(tags=["cases"])

Officer = Annotated[Caller, Depends(needs("officer"))]
Posting = Annotated[IdempotentRequest, Depends(posting("officer"))]


@router.get("/v1/cases", response_model=Page[Case])
def list_cases(
    exchange: TheExchange,
    officer: Officer,
    page: ThePage,
    state: CaseState | None = None,
    number: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    overdue: Annotated[bool, Query(description="Only those that officers should have decided by now.")] = False,
) -> Page[Case]:
    """Cases: appealed ones first, then those that have been complete for longest."""
    wanted = select(CaseRow)
    if state is not None:
        wanted = wanted.where(CaseRow.state == state)
    if number is not None:
        asked = intake.read_number(number, region=exchange.settings.region, field="query.number")
        wanted = wanted.where(CaseRow.number == asked)
    if overdue:
        late = exchange.clock() - exchange.settings.decide_within
        wanted = wanted.where(CaseRow.state.in_(cases.UNDECIDED), CaseRow.complete_at < late)
    rank = either((CaseRow.state == cases.APPEALED, 0), else_=1)
    since = func.coalesce(CaseRow.complete_at, CaseRow.opened_at)
    with exchange.database.reading() as session:
        if page.after is not None:
            last = session.get(CaseRow, check_cursor(page, 2)[1])
            if last is None:
                raise Refusal("not-found", "the case that the cursor names has gone")
            place, moment = page.after[0], last.complete_at or last.opened_at
            later = or_(since > moment, (since == moment) & (CaseRow.id > last.id))
            wanted = wanted.where(or_(rank > place, (rank == place) & later))
        found = session.scalars(wanted.order_by(rank, since, CaseRow.id).limit(page.limit + 1)).all()
        items = found[: page.limit]
        following = None
        if len(found) > len(items):
            following = next_of(0 if items[-1].state == cases.APPEALED else 1, items[-1].id)
        return Page(items=tuple(_view(session, row, exchange) for row in items), next=following)


@router.get("/v1/cases/{case}", response_model=Case)
def show_case(case: Id, exchange: TheExchange, officer: Officer) -> Case:
    """How a case stands."""
    with exchange.database.reading() as session:
        return _view(session, _find(session, case), exchange)


@router.get("/v1/cases/{case}/reports", response_model=Page[Report])
def case_reports(case: Id, exchange: TheExchange, officer: Officer, page: ThePage) -> Page[Report]:
    """Its reports, oldest first."""
    with exchange.database.reading() as session:
        _find(session, case)
        wanted = select(ReportRow).where(ReportRow.case_id == case)
        return page_by_id(session, wanted, ReportRow.id, page, lambda row: representations.report(session, row))


@router.get("/v1/cases/{case}/history", response_model=Page[Event])
def case_history(case: Id, exchange: TheExchange, officer: Officer, page: ThePage) -> Page[Event]:
    """All that ever happened to it, in order; each line has a hash over itself and the line before."""
    with exchange.database.reading() as session:
        _find(session, case)
        wanted = select(HistoryRow).where(HistoryRow.case_id == case)
        return page_by_id(session, wanted, HistoryRow.sequence, page, representations.event)


@router.post("/v1/cases/{case}/verification", response_model=Case)
def start_verification(case: Id, posted: Posting) -> Response:
    """Begin to verify it."""

    def act(session: Session) -> Case:
        row = cases.locked(session, case)
        decisions.start_verification(session, row, posted.caller.name, at=posted.at)
        session.flush()
        return _view(session, row, posted.exchange)

    return posted.once("", act)


@router.post("/v1/cases/{case}/decisions", response_model=Decision, status_code=201)
def decide(case: Id, new: NewDecision, posted: Posting) -> Response:
    """Decide on it. Under the two-person rule what lists a number waits for another officer."""
    exchange = posted.exchange
    protected = exchange.publisher.protected()

    def act(session: Session) -> Decision:
        row = cases.locked(session, case)
        made = decisions.decide(
            session,
            row,
            posted.caller.name,
            new,
            at=posted.at,
            usual=exchange.settings.listing,
            two_person=exchange.settings.two_person,
            protected=protected,
            routing=exchange.routing,
        )
        if new.kind == "retract":
            appeals.grant_all(session, row, posted.caller.name, new.reason, at=posted.at)
        return representations.decision(made)

    return posted.once(new, act, status=201)


@router.post("/v1/decisions/{decision}/confirmation", response_model=Decision)
def confirm(decision: Id, posted: Posting) -> Response:
    """Confirm another officer's decision, which then takes effect."""
    protected = posted.exchange.publisher.protected()

    def act(session: Session) -> Decision:
        case, row = _decision(session, decision)
        decisions.confirm(
            session,
            case,
            row,
            posted.caller.name,
            at=posted.at,
            protected=protected,
            routing=posted.exchange.routing,
        )
        return representations.decision(row)

    return posted.once("", act)


@router.post("/v1/decisions/{decision}/withdrawal", response_model=Decision)
def withdraw(decision: Id, posted: Posting) -> Response:
    """Take back a decision that waits to be confirmed."""

    def act(session: Session) -> Decision:
        case, row = _decision(session, decision)
        decisions.withdraw(session, case, row, posted.caller.name, at=posted.at)
        return representations.decision(row)

    return posted.once("", act)


def _view(session: Session, row: CaseRow, exchange: Exchange) -> Case:
    return representations.case(session, row, settings=exchange.settings, at=exchange.clock())


def _find(session: Session, case: int) -> CaseRow:
    row = session.get(CaseRow, case)
    if row is None:
        raise Refusal("not-found", f"there is no case {case}")
    return row


def _decision(session: Session, decision: int) -> tuple[CaseRow, DecisionRow]:
    """A decision and its case, locked."""
    case_id = session.scalar(select(DecisionRow.case_id).where(DecisionRow.id == decision))
    if case_id is None:
        raise Refusal("not-found", f"there is no decision {decision}")
    case = cases.locked(session, case_id)
    return case, session.get_one(DecisionRow, decision)
