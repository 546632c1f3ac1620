"""Appeals, and their answers."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import Appeal, AppealState, Evidence, Id, NewAnswer, NewAppeal, Page
from blocklist_sdk.exchange_server.casework import appeals, cases, representations, visibility
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.http.authentication import CurrentExchange, CurrentState, needs
from blocklist_sdk.exchange_server.http.bodies import BodyRoute
from blocklist_sdk.exchange_server.http.idempotency_key import OfficerRequest, ReporterRequest
from blocklist_sdk.exchange_server.http.pagination import RequestedPage, page_by_id
from blocklist_sdk.exchange_server.http.quotas import APPEALS
from blocklist_sdk.exchange_server.http.routes.report_routes import FILE_BODY, FileName, attach, own
from blocklist_sdk.exchange_server.store.tables import AppealRow

router: APIRouter = APIRouter(tags=["appeals"], route_class=BodyRoute)

Reader = Annotated[Caller, Depends(needs("report", "officer"))]


@router.post("/v1/appeals", response_model=Appeal, status_code=201)
def submit_appeal(new: NewAppeal, request: ReporterRequest, state: CurrentState) -> Response:
    """Ask for a retraction. Officers see appealed cases before all others.

    One by number is taken whether or not the number is listed; if nothing that is published names it, it closes by
    itself after a week. 409 if an appeal of the account against the same is open, or if one against the same decision
    was dismissed.
    """
    state.quotas.spend(APPEALS, request.caller.id)

    def act(session: Session) -> Appeal:
        settings, now = request.exchange.settings, request.received_at
        row = appeals.open_appeal(session, request.caller, new, settings=settings, now=now)
        return representations.appeal(session, row, for_officer=False, now=now)

    return request.once(new, act, status=201)


@router.get("/v1/appeals", response_model=Page[Appeal])
def list_appeals(
    app_state: CurrentState, caller: Reader, page: RequestedPage, state: AppealState | None = None
) -> Page[Appeal]:
    """Your own appeals, or all that there is something to answer for officers; oldest first."""
    exchange, for_officer = app_state.exchange, caller.may("officer")
    now = exchange.clock()
    if for_officer:
        wanted = select(AppealRow).where(AppealRow.case_id.is_not(None))
        wanted = wanted if state is None else wanted.where(AppealRow.state == state)
    else:
        wanted = select(AppealRow).where(AppealRow.account_id == caller.id)
        wanted = wanted if state is None else wanted.where(visibility.is_seen_as(state, now))

    def make() -> Page[Appeal]:
        with exchange.database.reading() as session:
            return page_by_id(
                session,
                wanted,
                AppealRow.id,
                page,
                lambda rows: representations.all_appeals(session, rows, for_officer=for_officer, now=now),
            )

    return app_state.quotas.page(caller.id, page.limit, make)


@router.get("/v1/appeals/{appeal}", response_model=Appeal)
def get_appeal(appeal: Id, exchange: CurrentExchange, caller: Reader) -> Appeal:
    """An appeal; if it was granted, with the recipients that have lifted the block."""
    with exchange.database.reading() as session:
        row, for_officer = _find(session, appeal), caller.may("officer")
        row = row if for_officer else own(row, caller)
        return representations.appeal(session, row, for_officer=for_officer, now=exchange.clock())


@router.post("/v1/appeals/{appeal}/evidence", response_model=Evidence, status_code=201, openapi_extra=FILE_BODY)
async def attach_to_appeal(http_request: Request, appeal: Id, name: FileName, request: ReporterRequest) -> Response:
    """Attach a file to an appeal."""

    def find(session: Session) -> AppealRow:
        return own(_find(session, appeal), request.caller)

    return await attach(http_request, request, name, find)


@router.post("/v1/appeals/{appeal}/answer", response_model=Appeal)
def answer_appeal(appeal: Id, new: NewAnswer, request: OfficerRequest, state: CurrentState) -> Response:
    """Grant an appeal, which retracts the case's listings at once, or dismiss it.

    Nobody answers an appeal of their own account, or dismisses one against their own decision. Beyond an officer's
    bound of retractions a day the appeal stays open, and `proposed` names the decision that a second officer confirms.
    """
    if not new.grant:
        state.floors.check("decision")

    def act(session: Session) -> Appeal:
        case_id = _find(session, appeal).case_id
        if case_id is None:
            raise Refusal("conflict", f"appeal {appeal} is against a number that was not listed: it closes by itself")
        case = cases.lock_case(session, case_id)
        row = session.get_one(AppealRow, appeal, populate_existing=True)  # it may have changed
        appeals.answer_appeal(
            session,
            case,
            row,
            request.caller,
            new,
            now=request.received_at,
            settings=request.exchange.settings,
            routing=request.exchange.routing,
        )
        return representations.appeal(session, row, for_officer=True, now=request.received_at)

    return request.once(new, act)


def _find(session: Session, appeal: int) -> AppealRow:
    row = session.get(AppealRow, appeal)
    if row is None:
        raise Refusal("not-found", f"appeal {appeal} does not exist")
    return row
