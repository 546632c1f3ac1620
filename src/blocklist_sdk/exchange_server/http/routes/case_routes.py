"""Officers' work: cases, decisions, answers to appeals."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from sqlalchemy import Select, func, or_, select
from sqlalchemy import case as either
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import (
    Case,
    CaseState,
    Decision,
    Event,
    Id,
    NewConfirmation,
    NewDecision,
    Page,
    Report,
)
from blocklist_sdk.exchange_server.casework import appeals, cases, decisions, intake, representations
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import CurrentExchange, CurrentState, needs
from blocklist_sdk.exchange_server.http.bodies import BodyRoute
from blocklist_sdk.exchange_server.http.idempotency_key import OfficerRequest
from blocklist_sdk.exchange_server.http.pagination import Paging, RequestedPage, foreign_cursor, page_by_id
from blocklist_sdk.exchange_server.store.tables import CaseRow, DecisionRow, HistoryRow, ReportRow

router: APIRouter = APIRouter(tags=["cases"], route_class=BodyRoute)

_CASES: Final = "cases"
"""The list of cases, in cursors."""

Officer = Annotated[Caller, Depends(needs("officer"))]


@router.get("/v1/cases", response_model=Page[Case])
def list_cases(
    app_state: CurrentState,
    officer: Officer,
    page: RequestedPage,
    state: CaseState | None = None,
    number: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    overdue: Annotated[bool, Query(description="Only those that officers should have decided already.")] = False,
) -> Page[Case]:
    """Cases: appealed ones first, then those that have been complete for longest."""
    exchange = app_state.exchange
    wanted = select(CaseRow)
    if state is not None:
        wanted = wanted.where(CaseRow.state == state)
    if number is not None:
        wanted_number = intake.read_number(number, region=exchange.settings.region, field="query.number")
        wanted = wanted.where(CaseRow.number == wanted_number)
    if overdue:
        late = exchange.clock() - exchange.settings.decide_within
        wanted = wanted.where(CaseRow.state.in_(cases.UNDECIDED), CaseRow.complete_at < late)
    return app_state.quotas.page(officer.id, page.limit, lambda: _page_of_cases(exchange, wanted, page))


def _page_of_cases(exchange: Exchange, wanted: Select[CaseRow], page: Paging) -> Page[Case]:
    rank = either((CaseRow.state == cases.APPEALED, 0), else_=1)
    since = func.coalesce(CaseRow.complete_at, CaseRow.opened_at)
    with exchange.database.reading() as session:
        after = page.after(_CASES, 2)
        if after is not None:
            last_rank, last = after[0], session.get(CaseRow, after[1])
            if last is None:
                raise foreign_cursor()
            moment = last.complete_at or last.opened_at
            later = or_(since > moment, (since == moment) & (CaseRow.id > last.id))
            wanted = wanted.where(or_(rank > last_rank, (rank == last_rank) & later))
        found = session.scalars(wanted.order_by(rank, since, CaseRow.id).limit(page.limit + 1)).all()
        items = found[: page.limit]
        following = None
        if len(found) > len(items):
            following = page.next(_CASES, 0 if items[-1].state == cases.APPEALED else 1, items[-1].id)
        shown = representations.all_cases(session, items, settings=exchange.settings, now=exchange.clock())
        return Page(items=shown, next=following)


@router.get("/v1/cases/{case}", response_model=Case)
def get_case(case: Id, exchange: CurrentExchange, officer: Officer) -> Case:
    """A case."""
    with exchange.database.reading() as session:
        return _view(session, _find(session, case), exchange)


@router.get("/v1/cases/{case}/reports", response_model=Page[Report])
def list_case_reports(case: Id, state: CurrentState, officer: Officer, page: RequestedPage) -> Page[Report]:
    """The reports of a case, oldest first."""

    def make() -> Page[Report]:
        with state.exchange.database.reading() as session:
            _find(session, case)
            wanted = select(ReportRow).where(ReportRow.case_id == case)
            return page_by_id(
                session,
                wanted,
                ReportRow.id,
                page,
                lambda rows: representations.reports(session, rows, for_officer=True),
            )

    return state.quotas.page(officer.id, page.limit, make)


@router.get("/v1/cases/{case}/history", response_model=Page[Event])
def list_case_history(case: Id, state: CurrentState, officer: Officer, page: RequestedPage) -> Page[Event]:
    """Everything that happened to a case, in order; each line has a hash over itself and the line before."""

    def make() -> Page[Event]:
        with state.exchange.database.reading() as session:
            _find(session, case)
            wanted = select(HistoryRow).where(HistoryRow.case_id == case)
            return page_by_id(
                session, wanted, HistoryRow.sequence, page, lambda rows: [representations.event(row) for row in rows]
            )

    return state.quotas.page(officer.id, page.limit, make)


@router.post("/v1/cases/{case}/verification", response_model=Case)
def start_verification(case: Id, request: OfficerRequest) -> Response:
    """Begin to verify a case."""

    def act(session: Session) -> Case:
        row = cases.lock_case(session, case)
        decisions.start_verification(session, row, request.caller.name, now=request.received_at)
        session.flush()
        return _view(session, row, request.exchange)

    return request.once("", act)


@router.post("/v1/cases/{case}/decisions", response_model=Decision, status_code=201)
def decide(case: Id, new: NewDecision, request: OfficerRequest, state: CurrentState) -> Response:
    """Decide on a case. What lists a number waits for a second officer, and so do retractions beyond a bound a day.

    409 if the case has changed since the officer looked at it: the `version` is that of the case.
    """
    exchange = request.exchange
    if new.kind != "retract":
        state.floors.check("decision")
    protected = exchange.publisher.protected()

    def act(session: Session) -> Decision:
        row = cases.lock_case(session, case)
        made = decisions.decide(
            session,
            row,
            request.caller,
            new,
            now=request.received_at,
            settings=exchange.settings,
            protected=protected,
            routing=exchange.routing,
        )
        if made.kind == "retract" and made.state == "effective":
            appeals.grant_open_appeals(session, row, request.caller, new.reason, now=request.received_at)
        return representations.decision(made)

    return request.once(new, act, status=201)


@router.post("/v1/decisions/{decision}/confirmation", response_model=Decision)
def confirm_decision(
    decision: Id, request: OfficerRequest, state: CurrentState, new: NewConfirmation | None = None
) -> Response:
    """Confirm another officer's decision, which makes it effective.

    409 if the case has changed since the officer looked at it, or if the officer's account reported the number or
    appealed.
    """
    version = None if new is None else new.version
    protected = request.exchange.publisher.protected()

    def act(session: Session) -> Decision:
        case, row = _decision(session, decision)
        if row.kind != "retract":
            state.floors.check("decision")
        decisions.confirm(
            session,
            case,
            row,
            request.caller,
            version=version,
            now=request.received_at,
            protected=protected,
            routing=request.exchange.routing,
        )
        if row.kind == "retract":
            appeals.grant_open_appeals(session, case, request.caller, row.reason, now=request.received_at)
        return representations.decision(row)

    return request.once(new or "", act)


@router.post("/v1/decisions/{decision}/withdrawal", response_model=Decision)
def withdraw_decision(decision: Id, request: OfficerRequest) -> Response:
    """Withdraw a decision that waits for confirmation."""

    def act(session: Session) -> Decision:
        case, row = _decision(session, decision)
        decisions.withdraw(session, case, row, request.caller.name, now=request.received_at)
        return representations.decision(row)

    return request.once("", act)


def _view(session: Session, row: CaseRow, exchange: Exchange) -> Case:
    return representations.case(session, row, settings=exchange.settings, now=exchange.clock())


def _find(session: Session, case: int) -> CaseRow:
    row = session.get(CaseRow, case)
    if row is None:
        raise Refusal("not-found", f"case {case} does not exist")
    return row


def _decision(session: Session, decision: int) -> tuple[CaseRow, DecisionRow]:
    """A decision and its case, locked."""
    case_id = session.scalar(select(DecisionRow.case_id).where(DecisionRow.id == decision))
    if case_id is None:
        raise Refusal("not-found", f"decision {decision} does not exist")
    case = cases.lock_case(session, case_id)
    return case, session.get_one(DecisionRow, decision)
