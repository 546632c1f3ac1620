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
from blocklist_sdk.exchange_server.http.authentication import TheExchange, needs
from blocklist_sdk.exchange_server.http.idempotency_key import IdempotentRequest, posting
from blocklist_sdk.exchange_server.http.pagination import ThePage, page_by_id
from blocklist_sdk.exchange_server.http.routes.report_routes import FILE_BODY, FileName, attach, own
from blocklist_sdk.exchange_server.store.tables import AppealRow

router = APIRouter(tags=["appeals"])

Posting = Annotated[IdempotentRequest, Depends(posting("report"))]
Reader = Annotated[Caller, Depends(needs("report", "officer"))]


@router.post("/v1/appeals", response_model=Appeal, status_code=201)
def appeal(new: NewAppeal, posted: Posting) -> Response:
    """Ask for a retraction. Appealed cases come before all others."""

    def act(session: Session) -> Appeal:
        region = posted.exchange.settings.region
        return representations.appeal(session, appeals.appeal(session, posted.caller, new, region=region, at=posted.at))

    return posted.once(new, act, status=201)


@router.get("/v1/appeals", response_model=Page[Appeal])
def list_appeals(
    exchange: TheExchange, caller: Reader, page: ThePage, state: AppealState | None = None
) -> Page[Appeal]:
    """One's own appeals, for officers all, oldest first."""
    wanted = select(AppealRow)
    if not caller.may("officer"):
        wanted = wanted.where(AppealRow.account_id == caller.id)
    if state is not None:
        wanted = wanted.where(AppealRow.state == state)
    with exchange.database.reading() as session:
        return page_by_id(session, wanted, AppealRow.id, page, lambda row: representations.appeal(session, row))


@router.get("/v1/appeals/{appeal}", response_model=Appeal)
def appeal_status(appeal: Id, exchange: TheExchange, caller: Reader) -> Appeal:
    """How an appeal stands; once granted, with the proof of who has lifted the block."""
    with exchange.database.reading() as session:
        row = _find(session, appeal)
        return representations.appeal(session, row if caller.may("officer") else own(row, caller))


@router.post("/v1/appeals/{appeal}/evidence", response_model=Evidence, status_code=201, openapi_extra=FILE_BODY)
async def attach_to_appeal(request: Request, appeal: Id, name: FileName, posted: Posting) -> Response:
    """Attach a file to an appeal."""

    def find(session: Session) -> AppealRow:
        return own(_find(session, appeal), posted.caller)

    return await attach(request, posted, name, find)


@router.post("/v1/appeals/{appeal}/answer", response_model=Appeal)
def answer(appeal: Id, new: NewAnswer, posted: Annotated[IdempotentRequest, Depends(posting("officer"))]) -> Response:
    """Grant an appeal, which retracts the case's listings at once, or dismiss it."""

    def act(session: Session) -> Appeal:
        case = cases.locked(session, _find(session, appeal).case_id)
        row = session.get_one(AppealRow, appeal, populate_existing=True)  # as it is now that the case is locked
        appeals.answer(
            session,
            case,
            row,
            posted.caller.name,
            grant=new.grant,
            reason=new.reason,
            at=posted.at,
            routing=posted.exchange.routing,
        )
        return representations.appeal(session, row)

    return posted.once(new, act)


def _find(session: Session, appeal: int) -> AppealRow:
    row = session.get(AppealRow, appeal)
    if row is None:
        raise Refusal("not-found", f"there is no appeal {appeal}")
    return row
