"""Feeds: their files, publishing, receipts, and monthly statistics."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.exchange.models import (
    Feed,
    FeedName,
    Id,
    Month,
    NewAcceptance,
    NewPublication,
    NewReceipts,
    NewRecycledAnswer,
    Page,
    Publication,
    Receipt,
    ReceiptItems,
    RecycledAnswer,
    RecycledBatch,
    Statistics,
    WaitingRelease,
)
from blocklist_sdk.exchange_server.casework import receipts, recycled, representations, waiting_releases
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import CurrentExchange, CurrentState, needs
from blocklist_sdk.exchange_server.http.bodies import RECEIPTS_BYTES_MAX, BodyRoute, takes
from blocklist_sdk.exchange_server.http.idempotency_key import (
    AcceptingRequest,
    OfficerRequest,
    PublisherRequest,
    RecipientRequest,
)
from blocklist_sdk.exchange_server.http.pagination import RequestedPage, page_by_id
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.quotas import RECEIPTS, ROWS, ROWS_OF_STATISTICS
from blocklist_sdk.exchange_server.store.tables import FeedRow, ListingRow, ReceiptRow
from blocklist_sdk.net.ranges import FileVersion
from blocklist_sdk.net.static_files import MUTABLE, cache_control, find_file

router: APIRouter = APIRouter(route_class=BodyRoute)

_COMMON: Final = ("root", "targets", "snapshot")
"""Roles whose metadata all recipients read; every other role belongs to a feed."""

_FILE_TYPES: Final = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/v1/feeds", response_model=tuple[Feed, ...], tags=["feeds"])
def list_feeds(exchange: CurrentExchange, caller: Annotated[Caller, Depends(needs())]) -> tuple[Feed, ...]:
    """The feeds that the account may read."""
    with exchange.database.reading() as session:
        known = {row.name: row for row in session.scalars(select(FeedRow))}
    every = caller.may("officer", "publish")
    return tuple(
        Feed(
            feed=name,
            serial=known[name].serial if name in known else None,
            rows=known[name].rows if name in known else 0,
            published_at=known[name].published_at if name in known else None,
        )
        for name in exchange.routing.feeds
        if every or caller.reads(name)
    )


@router.post("/v1/publications", response_model=Publication, tags=["feeds"])
def publish(new: NewPublication, request: PublisherRequest) -> Response:
    """Publish urgent decisions and retractions, and with the monthly cycle everything else."""
    earlier = request.earlier_response(new)
    if earlier is not None:
        return earlier
    try:
        made = request.exchange.publish(everything=new.everything)
    except InvalidInput as error:
        # A list made here is refused only if the keys are missing.
        raise Refusal("unavailable", "this server cannot sign: publish on the machine that has the keys") from error
    return request.once(new, lambda session: made)


@router.get("/v1/publications/waiting", response_model=tuple[WaitingRelease, ...], tags=["feeds"])
def list_waiting(
    exchange: CurrentExchange, caller: Annotated[Caller, Depends(needs("officer", "publish"))]
) -> tuple[WaitingRelease, ...]:
    """What the guard refused: the listings of each feed that wait until they are accepted."""
    return exchange.waiting()


@router.post("/v1/publications/acceptances", response_model=Publication, tags=["feeds"])
def accept(new: NewAcceptance, request: AcceptingRequest) -> Response:
    """Let through what the guard refused on a feed, and publish it.

    409 if nothing waits there, or something else does. On a server that cannot sign, it is accepted, and stays in
    `waiting` until the next run where the keys are.
    """
    earlier = request.earlier_response(new)
    if earlier is not None:
        return earlier
    exchange, actor, now = request.exchange, request.caller.name, request.received_at
    waiting_releases.let_through(exchange.database, new.feed, new.digest, actor, now=now)
    try:
        made = exchange.publish()
    except InvalidInput:  # as for `publish`
        made = Publication(at=now, routine=False, feeds=(), waiting=exchange.waiting())
    if any(each.feed == new.feed and each.digest != new.digest for each in made.waiting):
        raise Refusal("conflict", f"what waits on feed {new.feed!r} has changed in the meantime. Look at it once more.")
    return request.once(new, lambda session: made)


@router.post("/v1/receipts", response_model=ReceiptItems, tags=["receipts"])
@takes(RECEIPTS_BYTES_MAX)
def submit_receipts(new: NewReceipts, request: RecipientRequest, state: CurrentState) -> Response:
    """Send the outcome of entries; each receipt gets a result of its own."""
    state.quotas.spend(RECEIPTS, request.caller.id, len(new.receipts))

    def act(session: Session) -> ReceiptItems:
        items = receipts.take_receipts(
            session,
            request.caller,
            new.receipts,
            now=request.received_at,
            settings=request.exchange.settings,
            routing=request.exchange.routing,
        )
        return ReceiptItems(items=tuple(items))

    return request.once(new, act)


@router.get("/v1/receipts", response_model=Page[Receipt], tags=["receipts"])
def list_receipts(
    state: CurrentState,
    caller: Annotated[Caller, Depends(needs("receipt", "officer"))],
    page: RequestedPage,
    feed: FeedName | None = None,
    entry: Annotated[Id | None, Query()] = None,
) -> Page[Receipt]:
    """Your own receipts, or all for officers; oldest first."""
    wanted = select(ReceiptRow)
    if not caller.may("officer"):
        wanted = wanted.where(ReceiptRow.account_id == caller.id)
    if feed is not None or entry is not None:
        wanted = wanted.join(ListingRow, ListingRow.id == ReceiptRow.listing_id)
        wanted = wanted if feed is None else wanted.where(ListingRow.feed == feed)
        wanted = wanted if entry is None else wanted.where(ListingRow.entry == entry)

    def make() -> Page[Receipt]:
        with state.exchange.database.reading() as session:
            return page_by_id(
                session, wanted, ReceiptRow.id, page, lambda rows: representations.receipts(session, rows)
            )

    return state.quotas.page(caller.id, page.limit, make)


@router.get("/v1/receipts/recycled", response_model=tuple[RecycledBatch, ...], tags=["receipts"])
def list_recycled(
    exchange: CurrentExchange, officer: Annotated[Caller, Depends(needs("officer"))]
) -> tuple[RecycledBatch, ...]:
    """What recipients said was recycled, beyond what retracts by itself in a day: it waits for an officer."""
    with exchange.database.reading() as session:
        return recycled.batches(session, settings=exchange.settings, routing=exchange.routing)


@router.post("/v1/receipts/recycled/answers", response_model=RecycledAnswer, tags=["receipts"])
def answer_recycled(new: NewRecycledAnswer, request: OfficerRequest, state: CurrentState) -> Response:
    """Confirm a batch of recycled numbers, which retracts them at once, or refuse it.

    409 if the batch is not what waits any more.
    """
    if not new.confirm:
        state.floors.check("decision")
    exchange = request.exchange

    def act(session: Session) -> RecycledAnswer:
        return recycled.answer(
            session,
            request.caller,
            new,
            now=request.received_at,
            settings=exchange.settings,
            routing=exchange.routing,
        )

    return request.once(new, act)


@router.get("/v1/statistics/{month}", response_model=Statistics, tags=["statistics"])
def get_statistics(
    month: Annotated[Month, Path()],
    state: CurrentState,
    caller: Annotated[Caller, Depends(needs("officer", "publish", "receipt"))],
) -> Statistics:
    """Statistics of a month; a recipient gets its own part."""
    state.quotas.spend(ROWS, caller.id, ROWS_OF_STATISTICS)
    is_whole = caller.may("officer", "publish")
    return state.exchange.statistics(month, recipient=None if is_whole else caller.name)


@router.head("/repository/{path:path}", include_in_schema=False)
@router.get(
    "/repository/{path:path}",
    tags=["feeds"],
    response_class=FileResponse,
    responses={200: _FILE_TYPES, 206: _FILE_TYPES, 304: {"description": "Not modified"}},
)
def repository_file(
    request: Request, path: str, exchange: CurrentExchange, caller: Annotated[Caller, Depends(needs())]
) -> Response:
    """A file of the signed repository: metadata, and the targets of the feeds that the account may read."""
    parts = path.split("/")
    _check_rights(parts, exchange, caller)
    known = find_file(exchange.repository, parts)
    if known is None:
        raise Refusal("not-found", "the repository has no such file")
    file, status = known
    version = FileVersion.of(status)
    headers = {
        "ETag": version.etag,
        "Last-Modified": version.modified,
        "Cache-Control": cache_control(file.name, kept_by="private"),
    }
    if version.is_known(request.headers):
        return Response(status_code=304, headers=headers)
    part = version.requested_range(request.headers)
    # FileResponse reads these headers by its own rules: give it the range as it was read here.
    kept = [each for each in request.scope["headers"] if each[0] not in (b"range", b"if-range")]
    if part:
        kept.append((b"range", f"bytes={part.start}-{part.stop - 1}".encode()))
    elif part is not None:
        where = {"Content-Range": f"bytes */{version.size}"}
        raise HttpRefusal("out-of-range", f"the file has {version.size} bytes", headers=where)
    request.scope["headers"] = kept
    return FileResponse(file, media_type="application/octet-stream", headers=headers, stat_result=status)


def _check_rights(parts: list[str], exchange: Exchange, caller: Caller) -> None:
    """Check that an account may read a file, whether or not the file exists.

    Raises:
        Refusal: it may not read the file.
    """
    feed = feed_of(parts)
    allowed = caller.reads(feed) if feed is not None else bool(caller.feeds)
    if not allowed and not caller.may("publish"):
        wanted = f"feed:{feed}" if feed is not None else "feed:NAME of any feed"
        raise Refusal("forbidden", f"the token does not have the scope {wanted}")


def feed_of(parts: list[str]) -> str | None:
    """The feed that a file of the repository belongs to; None for files that all recipients read.

    >>> feed_of(["targets", "id-all", "ab12.index.json"])
    'id-all'
    >>> feed_of(["metadata", "3.id-all.json"])
    'id-all'
    >>> feed_of(["metadata", "3.snapshot.json"]) is feed_of(["targets", "ab12.protected.json"]) is None
    True
    """
    if len(parts) > 2 and parts[0] == "targets":
        return parts[1]
    if len(parts) == 2 and parts[0] == "metadata" and parts[1] != MUTABLE:
        role = parts[1].partition(".")[2].removesuffix(".json")
        return None if role in _COMMON else role
    return None
