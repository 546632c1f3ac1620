"""Appeals, and their answers."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import Appeal, AppealState, Evidence, Id, NewAnswer, NewAppeal, Page
from blocklist_sdk.exchange_server.casework import appeals, cases, representations
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.http.authentication import CurrentExchange, needs
from blocklist_sdk.exchange_server.http.bodies import BodyRoute
from blocklist_sdk.exchange_server.http.idempotency_key import OfficerRequest, ReporterRequest
from blocklist_sdk.exchange_server.http.pagination import RequestedPage, page_by_id
from blocklist_sdk.exchange_server.http.routes.report_routes import FILE_BODY, FileName, attach, own
from blocklist_sdk.exchange_server.store.tables import AppealRow

router: APIRouter = APIRouter(tags=["appeals"], route_class=BodyRoute)

Reader = Annotated[Caller, Depends(needs("report", "officer"))]


@router.post("/v1/appeals", response_model=Appeal, status_code=201)
def submit_appeal(new: NewAppeal, request: ReporterRequest) -> Response:
    """Ask for a retraction. Officers see appealed cases before all others.

    409 if the number is not listed, if an appeal of the account is open, or if one against the same decision was
    dismissed.
    """

    def act(session: Session) -> Appeal:
        settings = request.exchange.settings
        return representations.appeal(
            session, appeals.open_appeal(session, request.caller, new, settings=settings, now=request.received_at)
        )

    return request.once(new, act, status=201)


@router.get("/v1/appeals", response_model=Page[Appeal])
def list_appeals(
    exchange: CurrentExchange, caller: Reader, page: RequestedPage, state: AppealState | None = None
) -> Page[Appeal]:
    """Your own appeals, or all for officers; oldest first."""
    wanted = select(AppealRow)
    if not caller.may("officer"):
        wanted = wanted.where(AppealRow.account_id == caller.id)
    if state is not None:
        wanted = wanted.where(AppealRow.state == state)
    with exchange.database.reading() as session:
        return page_by_id(session, wanted, AppealRow.id, page, lambda row: representations.appeal(session, row))


@router.get("/v1/appeals/{appeal}", response_model=Appeal)
def get_appeal(appeal: Id, exchange: CurrentExchange, caller: Reader) -> Appeal:
    """An appeal; if it was granted, with the recipients that have lifted the block."""
    with exchange.database.reading() as session:
        row = _find(session, appeal)
        return representations.appeal(session, row if caller.may("officer") else own(row, caller))


@router.post("/v1/appeals/{appeal}/evidence", response_model=Evidence, status_code=201, openapi_extra=FILE_BODY)
async def attach_to_appeal(http_request: Request, appeal: Id, name: FileName, request: ReporterRequest) -> Response:
    """Attach a file to an appeal."""

    def find(session: Session) -> AppealRow:
        return own(_find(session, appeal), request.caller)

    return await attach(http_request, request, name, find)


@router.post("/v1/appeals/{appeal}/answer", response_model=Appeal)
def answer_appeal(appeal: Id, new: NewAnswer, request: OfficerRequest) -> Response:
    """Grant an appeal, which retracts the case's listings at once, or dismiss it.

    Nobody answers an appeal of their own account, or dismisses one against their own decision. Beyond an officer's
    bound of retractions a day the appeal stays open, and `proposed` names the decision that a second officer confirms.
    """

    def act(session: Session) -> Appeal:
        case = cases.lock_case(session, _find(session, appeal).case_id)
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
        return representations.appeal(session, row)

    return request.once(new, act)


def _find(session: Session, appeal: int) -> AppealRow:
    row = session.get(AppealRow, appeal)
    if row is None:
        raise Refusal("not-found", f"appeal {appeal} does not exist")
    return row
