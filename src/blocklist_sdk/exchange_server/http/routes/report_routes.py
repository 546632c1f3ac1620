"""Reports and evidence."""

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, BinaryIO, Final, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange.models import (
    CLEANED_BYTES_MAX,
    CONTENT_DIGEST,
    EVIDENCE_COPY,
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
from blocklist_sdk.exchange_server.evidence.evidence_store import EvidenceRefused, EvidenceStore, NoCleanCopy
from blocklist_sdk.exchange_server.http.authentication import CurrentExchange, CurrentState, needs
from blocklist_sdk.exchange_server.http.bodies import BULK_BYTES_MAX, BodyRoute, takes
from blocklist_sdk.exchange_server.http.idempotency_key import IdempotentRequest, ReporterRequest, http_response
from blocklist_sdk.exchange_server.http.pagination import RequestedPage, page_by_id
from blocklist_sdk.exchange_server.http.problems import problem_of
from blocklist_sdk.exchange_server.http.quotas import EVIDENCE, REPORTS, Quotas
from blocklist_sdk.exchange_server.http.state import AppState, state_of
from blocklist_sdk.exchange_server.http.uploads import chunks_of
from blocklist_sdk.exchange_server.store.tables import AppealRow, EvidenceRow, ReportRow
from blocklist_sdk.exchange_server.store.trail import Act

router: APIRouter = APIRouter(tags=["reports"], route_class=BodyRoute)

Reporting = Annotated[Caller, Depends(needs("report"))]

FILE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The file itself. Its type is determined by its content alone.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

R = TypeVar("R", ReportRow, AppealRow)

FileName = Annotated[str, Query(max_length=1000, description="The file's name, without a path.")]

_PIECE_BYTES: Final = 1 << 16

_REFUSED: Final = {413: "too-large", 415: "wrong-type", 422: "invalid"}


@router.post("/v1/reports", response_model=Report, status_code=201)
async def submit_report(new: NewReport, request: ReporterRequest, state: CurrentState) -> Response:
    """Report a number. Without evidence its case stays `incomplete`."""
    return await anyio.to_thread.run_sync(_receive, new, request, state.quotas, limiter=state.reports)


def _receive(new: NewReport, request: IdempotentRequest, quotas: Quotas) -> Response:
    quotas.spend(REPORTS, request.caller.id)
    exchange = request.exchange
    incoming = intake.IncomingReport.read(request.caller, new, region=exchange.settings.region, now=request.received_at)
    return http_response(exchange.report_queue.receive(request.identity(new), incoming))


@router.post("/v1/reports/bulk", response_model=BulkReports)
@takes(BULK_BYTES_MAX)
def submit_reports(new: NewReports, request: ReporterRequest, state: CurrentState) -> Response:
    """Report many numbers; each report gets a result of its own, and an invalid one does not hold up the others."""
    state.quotas.spend(REPORTS, request.caller.id, len(new.reports))
    region = request.exchange.settings.region
    items: dict[int, BulkItem] = {}
    usable: dict[int, intake.IncomingReport] = {}
    for index, each in enumerate(new.reports):
        try:
            usable[index] = intake.IncomingReport.read(request.caller, each, region=region, now=request.received_at)
        except Refusal as refusal:
            refusal.errors = tuple(intake.problems_within(refusal.errors, parent=f"body.reports.{index}"))
            items[index] = BulkItem(index=index, problem=problem_of(refusal))

    def act(session: Session) -> BulkReports:
        for index, (row, _) in zip(usable, intake.receive_all(session, list(usable.values())), strict=True):
            items[index] = BulkItem(index=index, report=representations.new_report(row))
        return BulkReports(items=tuple(items[index] for index in range(len(new.reports))))

    return request.once(new, act)


@router.get("/v1/reports", response_model=Page[Report])
def list_reports(
    state: CurrentState,
    caller: Reporting,
    page: RequestedPage,
    number: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    since: Annotated[Moment | None, Query(description="Received then or later.")] = None,
) -> Page[Report]:
    """Your own reports, oldest first, each with what may be seen of the state of its case."""
    exchange = state.exchange
    wanted = select(ReportRow).where(ReportRow.account_id == caller.id)
    if number is not None:
        wanted_number = intake.read_number(number, region=exchange.settings.region, field="query.number")
        wanted = wanted.where(ReportRow.number == wanted_number)
    if since is not None:
        wanted = wanted.where(ReportRow.received_at >= since)

    def make() -> Page[Report]:
        with exchange.database.reading() as session:
            return page_by_id(
                session,
                wanted,
                ReportRow.id,
                page,
                lambda rows: representations.reports(session, rows, for_officer=caller.may("officer")),
            )

    return state.quotas.page(caller.id, page.limit, make)


@router.get("/v1/reports/{report}", response_model=Report)
def get_report(
    report: Id, exchange: CurrentExchange, caller: Annotated[Caller, Depends(needs("report", "officer"))]
) -> Report:
    """A report, with what may be seen of the state of its case."""
    with exchange.database.reading() as session:
        row = _visible(intake.find_report(session, report), caller)
        (found,) = representations.reports(session, [row], for_officer=caller.may("officer"))
        return found


@router.post("/v1/reports/{report}/evidence", response_model=Evidence, status_code=201, openapi_extra=FILE_BODY)
async def attach_to_report(http_request: Request, report: Id, name: FileName, request: ReporterRequest) -> Response:
    """Attach a file to a report, which makes its case complete."""

    def find(session: Session) -> ReportRow:
        return own(intake.find_report(session, report), request.caller)

    return await attach(http_request, request, name, find)


async def attach(
    http_request: Request, request: IdempotentRequest, name: str, find: Callable[[Session], ReportRow | AppealRow]
) -> Response:
    """Store a request's body as evidence for the report or appeal that `find` returns."""
    state = state_of(http_request.app)
    state.floors.check("evidence")
    with state.uploads.one_of(request.caller.id) as threads:
        return await anyio.to_thread.run_sync(_attach, http_request, request, name, find, state, limiter=threads)


def _attach(
    http_request: Request,
    request: IdempotentRequest,
    name: str,
    find: Callable[[Session], ReportRow | AppealRow],
    state: AppState,
) -> Response:
    """Receive the body, in a thread.

    If it cannot become new evidence it is read without storing it, so that a refused request leaves no file.
    """
    exchange = request.exchange
    with exchange.database.reading() as session:
        is_full = len(intake.evidence_of(session, find(session))) >= exchange.settings.evidence_files
        left = exchange.settings.evidence_total - intake.stored_bytes(session, request.caller.id)
    stored = None
    chunks = _counted(chunks_of(http_request), request.caller.id, state)
    try:
        if is_full or request.is_used():
            sha256 = exchange.evidence.hash_of(chunks, name=name)
        else:
            stored = exchange.evidence.receive(_within(chunks, left), name=name)
            sha256 = stored.sha256
    except EvidenceRefused as error:
        field = error.field if error.field == "body" else f"query.{error.field}"
        problem = FieldProblem(field=field, reason=error.reason)
        raise Refusal(_REFUSED[error.status], f"{field}: {error.reason}", errors=[problem]) from error

    def act(session: Session) -> Evidence:
        return representations.evidence(
            intake.attach_evidence(
                session,
                request.caller,
                find(session),
                sha256=sha256,
                evidence_file=stored,
                now=request.received_at,
            )
        )

    return request.once(sha256, act, status=201)


def _counted(chunks: Iterable[bytes], account: int, state: AppState) -> Iterator[bytes]:
    """The same chunks, counted as they come, so that what is too much is not read to its end.

    Raises:
        Refusal: the account has sent too many bytes, or the disk has too little space by now.
    """
    for chunk in chunks:
        state.quotas.spend(EVIDENCE, account, len(chunk))
        state.floors.check("evidence")
        yield chunk


def _within(chunks: Iterable[bytes], left: int) -> Iterator[bytes]:
    """The same chunks, up to what the account may still store.

    Raises:
        Refusal: they have more bytes.
    """
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise Refusal("too-many", "this account has stored as much evidence as it may: ask the exchange for more")
        yield chunk


@router.get(
    "/v1/evidence/{evidence}",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                EVIDENCE_COPY: {"description": "`cleaned` or `original`.", "schema": {"type": "string"}},
                CONTENT_DIGEST: {
                    "description": "The SHA-256 of what is given out, as RFC 9530 writes it.",
                    "schema": {"type": "string"},
                },
            },
        }
    },
)
def download_evidence(
    evidence: Id,
    exchange: CurrentExchange,
    caller: Annotated[Caller, Depends(needs("officer"))],
    original: Annotated[bool, Query(description="The file as it was sent, with all that it tells of its author.")] = (
        False
    ),
) -> Response:
    """A file of evidence, for saving; its headers keep browsers from showing or running it.

    Without `original` it is a copy without positions, names of authors, devices and comments. The stored file is not
    changed: its SHA-256 is the one in reports and appeals.
    """
    with exchange.database.reading() as session:
        row = session.get(EvidenceRow, evidence)
    if row is None:
        raise Refusal("not-found", f"evidence {evidence} does not exist")
    extension = exchange.evidence.judge.extensions.get(row.media_type, "bin")
    copy = None if original else _cleaned(exchange.evidence, row)
    # Opened before the line is written, and the line written before a byte goes out.
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(exchange.evidence.open(row.sha256)) if copy is None else None
        read = {"evidence": row.id, "sha256": row.sha256, "original": original}
        exchange.database.note(Act(caller.name, "evidence read", read))
        stack.pop_all()
    if file is not None:
        pieces, length, digest = _pieces(file), row.bytes, bytes.fromhex(row.sha256)
    else:
        assert copy is not None
        pieces, length, digest = iter([copy]), len(copy), hashlib.sha256(copy).digest()
    return StreamingResponse(
        pieces,
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(length),
            "Content-Disposition": f'attachment; filename="evidence-{row.id}.{extension}"',
            EVIDENCE_COPY: "original" if original else "cleaned",
            CONTENT_DIGEST: f"sha-256=:{base64.b64encode(digest).decode()}:",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "no-store",
        },
    )


def _cleaned(store: EvidenceStore, row: EvidenceRow) -> bytes:
    try:
        copy = store.cleaned(row.sha256, row.media_type)
        if len(copy) > CLEANED_BYTES_MAX:
            raise NoCleanCopy(f"it would have more than {CLEANED_BYTES_MAX:,} bytes")
        return copy
    except NoCleanCopy as error:
        raise Refusal(
            "conflict",
            f"no copy without its author's data can be made of evidence {row.id}: {error.reason}; ask for it with "
            "original=true, and handle it with care",
        ) from error


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _visible(row: ReportRow, caller: Caller) -> ReportRow:
    return row if caller.may("officer") else own(row, caller)


def own(row: R, caller: Caller) -> R:
    """Check that a report or appeal belongs to the caller, and return it.

    Raises:
        Refusal: it belongs to another account.
    """
    if row.account_id != caller.id:
        kind = "report" if isinstance(row, ReportRow) else "appeal"
        raise Refusal("not-found", f"you have no {kind} with that ID")
    return row
