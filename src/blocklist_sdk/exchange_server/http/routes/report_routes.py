"""Reports and evidence."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, BinaryIO, Final, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import (
    BulkItem,
    BulkReports,
    Evidence,
    FieldProblem,
    Id,
    Moment,
    NewReport,
    NewReports,
    Page,
    Report,
)
from blocklist_sdk.exchange_server.casework import intake, representations
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.evidence.evidence_store import EvidenceRefused
from blocklist_sdk.exchange_server.http.authentication import TheExchange, TheState, needs
from blocklist_sdk.exchange_server.http.idempotency_key import IdempotentRequest, posting, response
from blocklist_sdk.exchange_server.http.pagination import ThePage, page_by_id
from blocklist_sdk.exchange_server.http.problems import problem_of
from blocklist_sdk.exchange_server.http.state import state_of
from blocklist_sdk.exchange_server.http.uploads import chunks_of
from blocklist_sdk.exchange_server.store.tables import AppealRow, EvidenceRow, ReportRow

router = APIRouter(tags=["reports"])

Posting = Annotated[IdempotentRequest, Depends(posting("report"))]
Reporting = Annotated[Caller, Depends(needs("report"))]

FILE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The file itself. Its type is told by its content alone.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

R = TypeVar("R", ReportRow, AppealRow)

FileName = Annotated[str, Query(max_length=1000, description="What the file is called, without any path.")]

_PIECE_BYTES: Final = 1 << 16

_REFUSED: Final = {413: "too-large", 415: "wrong-type", 422: "invalid"}


@router.post("/v1/reports", response_model=Report, status_code=201)
async def report(new: NewReport, posted: Posting, state: TheState) -> Response:
    """Report a number. Without evidence its case stays `incomplete`."""
    return await anyio.to_thread.run_sync(_report, new, posted, limiter=state.reports)


def _report(new: NewReport, posted: IdempotentRequest) -> Response:
    exchange = posted.exchange
    incoming = intake.IncomingReport.read(posted.caller, new, region=exchange.settings.region, at=posted.at)
    return response(exchange.report_queue.receive(posted.question(new), incoming))


@router.post("/v1/reports/bulk", response_model=BulkReports)
def report_all(new: NewReports, posted: Posting) -> Response:
    """Report many numbers; each is answered by itself, and one that cannot be used does not hold up the others."""
    region = posted.exchange.settings.region
    items: dict[int, BulkItem] = {}
    usable: dict[int, intake.IncomingReport] = {}
    for index, each in enumerate(new.reports):
        try:
            usable[index] = intake.IncomingReport.read(posted.caller, each, region=region, at=posted.at)
        except Refusal as refusal:
            refusal.errors = tuple(intake.field_problems(refusal.errors, under=f"body.reports.{index}"))
            items[index] = BulkItem(index=index, problem=problem_of(refusal))

    def act(session: Session) -> BulkReports:
        for index, received in zip(usable, intake.receive_all(session, list(usable.values())), strict=True):
            items[index] = BulkItem(index=index, report=representations.new_report(*received))
        return BulkReports(items=tuple(items[index] for index in range(len(new.reports))))

    return posted.once(new, act)


@router.get("/v1/reports", response_model=Page[Report])
def reports(
    exchange: TheExchange,
    caller: Reporting,
    page: ThePage,
    number: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    since: Annotated[Moment | None, Query(description="Received then or later.")] = None,
) -> Page[Report]:
    """One's own reports, oldest first."""
    wanted = select(ReportRow).where(ReportRow.account_id == caller.id)
    if number is not None:
        asked = intake.read_number(number, region=exchange.settings.region, field="query.number")
        wanted = wanted.where(ReportRow.number == asked)
    if since is not None:
        wanted = wanted.where(ReportRow.received_at >= since)
    with exchange.database.reading() as session:
        return page_by_id(session, wanted, ReportRow.id, page, lambda row: representations.report(session, row))


@router.get("/v1/reports/{report}", response_model=Report)
def report_status(
    report: Id, exchange: TheExchange, caller: Annotated[Caller, Depends(needs("report", "officer"))]
) -> Report:
    """How a report stands."""
    with exchange.database.reading() as session:
        return representations.report(session, _visible(intake.report_of(session, report), caller))


@router.post("/v1/reports/{report}/evidence", response_model=Evidence, status_code=201, openapi_extra=FILE_BODY)
async def attach_to_report(request: Request, report: Id, name: FileName, posted: Posting) -> Response:
    """Attach a file to a report, which makes its case complete."""

    def find(session: Session) -> ReportRow:
        return own(intake.report_of(session, report), posted.caller)

    return await attach(request, posted, name, find)


async def attach(
    request: Request, posted: IdempotentRequest, name: str, find: Callable[[Session], ReportRow | AppealRow]
) -> Response:
    """Store the request's body as evidence of what `find` finds."""
    with state_of(request.app).uploads.one_of(posted.caller.id) as threads:
        return await anyio.to_thread.run_sync(_attach, request, posted, name, find, limiter=threads)


def _attach(
    request: Request, posted: IdempotentRequest, name: str, find: Callable[[Session], ReportRow | AppealRow]
) -> Response:
    """In a thread of its own.

    Where nothing new can come of it, the body is looked at and not kept: what is refused leaves no file.
    """
    exchange = posted.exchange
    with exchange.database.reading() as session:
        is_full = len(intake.evidence_of(session, find(session))) >= exchange.settings.evidence_files
    stored = None
    try:
        if is_full or posted.is_used():
            sha256 = exchange.evidence.hash_of(chunks_of(request), name=name)
        else:
            stored = exchange.evidence.receive(chunks_of(request), name=name)
            sha256 = stored.sha256
    except EvidenceRefused as error:
        field = error.field if error.field == "body" else f"query.{error.field}"
        problem = FieldProblem(field=field, reason=error.reason)
        raise Refusal(_REFUSED[error.status], f"{field}: {error.reason}", errors=[problem]) from error

    def act(session: Session) -> Evidence:
        return representations.evidence(
            intake.attach(
                session,
                posted.caller,
                find(session),
                sha256=sha256,
                stored=stored,
                at=posted.at,
            )
        )

    return posted.once(sha256, act, status=201)


@router.get(
    "/v1/evidence/{evidence}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
def evidence(evidence: Id, exchange: TheExchange, caller: Annotated[Caller, Depends(needs("officer"))]) -> Response:
    """A file, to be saved: never shown by a browser, never run."""
    with exchange.database.reading() as session:
        row = session.get(EvidenceRow, evidence)
    if row is None:
        raise Refusal("not-found", f"there is no evidence {evidence}")
    extension = exchange.evidence.judge.extensions.get(row.media_type, "bin")
    return StreamingResponse(
        _pieces(exchange.evidence.open(row.sha256)),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(row.bytes),
            "Content-Disposition": f'attachment; filename="evidence-{row.id}.{extension}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "no-store",
        },
    )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _visible(row: ReportRow, caller: Caller) -> ReportRow:
    return row if caller.may("officer") else own(row, caller)


def own(row: R, caller: Caller) -> R:
    """One's own; others' are not there.

    Raises:
        Refusal: it is another's.
    """
    if row.account_id != caller.id:
        raise Refusal("not-found", "there is none of that id among your own")
    return row
