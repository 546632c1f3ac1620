"""Feeds: their files, publishing, receipts, and the month's figures."""

import re
import stat
from email.utils import formatdate
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
    NewPublication,
    NewReceipts,
    Page,
    Publication,
    Receipt,
    ReceiptItems,
    Statistics,
)
from blocklist_sdk.exchange_server.casework import receipts, representations
from blocklist_sdk.exchange_server.casework.accounts import Caller
from blocklist_sdk.exchange_server.casework.refusals import Refusal
from blocklist_sdk.exchange_server.exchange import Exchange
from blocklist_sdk.exchange_server.http.authentication import TheExchange, needs
from blocklist_sdk.exchange_server.http.idempotency_key import IdempotentRequest, posting
from blocklist_sdk.exchange_server.http.pagination import ThePage, page_by_id
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.store.tables import FeedRow, ListingRow, ReceiptRow

router = APIRouter()

_MUTABLE: Final = "timestamp.json"
"""The only file of a repository that ever changes under its name."""

_COMMON: Final = ("root", "targets", "snapshot")
"""Roles whose metadata everyone reads; every other one is a feed's."""

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)

_FILE_TYPES: Final = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/v1/feeds", response_model=tuple[Feed, ...], tags=["feeds"])
def feeds(exchange: TheExchange, caller: Annotated[Caller, Depends(needs())]) -> tuple[Feed, ...]:
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
def publish(new: NewPublication, posted: Annotated[IdempotentRequest, Depends(posting("publish"))]) -> Response:
    """Publish what is urgent and what is retracted, and with the cycle the rest."""
    earlier = posted.earlier(new)
    if earlier is not None:
        return earlier
    try:
        made = posted.exchange.publish(everything=new.everything)
    except InvalidInput as error:
        # A list that was made here is no good only where a key is not at hand.
        raise Refusal("unavailable", "this exchange has no key to sign with: publish where the keys are") from error
    return posted.once(new, lambda session: made)


@router.post("/v1/receipts", response_model=ReceiptItems, tags=["receipts"])
def send_receipts(new: NewReceipts, posted: Annotated[IdempotentRequest, Depends(posting("receipt"))]) -> Response:
    """Say what came of entries; each receipt is answered by itself."""

    def act(session: Session) -> ReceiptItems:
        items = receipts.take(session, posted.caller, new.receipts, at=posted.at, routing=posted.exchange.routing)
        return ReceiptItems(items=tuple(items))

    return posted.once(new, act)


@router.get("/v1/receipts", response_model=Page[Receipt], tags=["receipts"])
def list_receipts(
    exchange: TheExchange,
    caller: Annotated[Caller, Depends(needs("receipt", "officer"))],
    page: ThePage,
    feed: FeedName | None = None,
    entry: Annotated[Id | None, Query()] = None,
) -> Page[Receipt]:
    """One's own receipts, for officers all, oldest first."""
    wanted = select(ReceiptRow)
    if not caller.may("officer"):
        wanted = wanted.where(ReceiptRow.account_id == caller.id)
    if feed is not None or entry is not None:
        wanted = wanted.join(ListingRow, ListingRow.id == ReceiptRow.listing_id)
        wanted = wanted if feed is None else wanted.where(ListingRow.feed == feed)
        wanted = wanted if entry is None else wanted.where(ListingRow.entry == entry)
    with exchange.database.reading() as session:
        rows = page_by_id(session, wanted, ReceiptRow.id, page, lambda row: row)
        return Page(items=representations.receipts(session, rows.items), next=rows.next)


@router.get("/v1/statistics/{month}", response_model=Statistics, tags=["statistics"])
def statistics(
    month: Annotated[Month, Path()],
    exchange: TheExchange,
    caller: Annotated[Caller, Depends(needs("officer", "publish", "receipt"))],
) -> Statistics:
    """A month in figures; a recipient sees its own part."""
    is_whole = caller.may("officer", "publish")
    return exchange.statistics(month, recipient=None if is_whole else caller.name)


@router.head("/repository/{path:path}", include_in_schema=False)
@router.get(
    "/repository/{path:path}",
    tags=["feeds"],
    response_class=FileResponse,
    responses={200: _FILE_TYPES, 206: _FILE_TYPES, 304: {"description": "Not modified"}},
)
def repository_file(
    request: Request, path: str, exchange: TheExchange, caller: Annotated[Caller, Depends(needs())]
) -> Response:
    """A file of the signed repository: metadata, and the targets of the feeds that the account may read."""
    parts = path.split("/")
    _check_rights(parts, exchange, caller)
    if any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts):
        raise _no_such_file()
    file = exchange.repository.joinpath(*parts)
    try:
        about = file.stat()
        is_within = file.resolve().is_relative_to(exchange.repository.resolve())
    except (OSError, ValueError) as error:
        raise _no_such_file() from error
    if not stat.S_ISREG(about.st_mode) or not is_within:
        raise _no_such_file()
    etag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
    headers = {
        "ETag": etag,
        "Last-Modified": formatdate(about.st_mtime, usegmt=True),
        "Cache-Control": "no-cache" if parts[-1] == _MUTABLE else "private, max-age=31536000, immutable",
    }
    if request.headers.get("If-None-Match") == etag:
        return Response(status_code=304, headers=headers)
    _check_range(request, about.st_size)
    return FileResponse(file, media_type="application/octet-stream", headers=headers, stat_result=about)


def _check_range(request: Request, size: int) -> None:
    """Let one range of bytes through, and ignore what is none (RFC 9110, 14.2).

    Raises:
        Refusal: it lies outside the file.
    """
    if "Range" not in request.headers:
        return
    found = _RANGE.fullmatch(request.headers["Range"].strip())
    first, last = found.groups() if found else ("", "")
    if (not first and not last) or (first and last and int(first) > int(last)):
        request.scope["headers"] = [each for each in request.scope["headers"] if each[0] != b"range"]
    elif int(first) >= size if first else not int(last):
        where = {"Content-Range": f"bytes */{size}"}
        raise HttpRefusal("out-of-range", f"the file has {size} bytes", headers=where)


def _check_rights(parts: list[str], exchange: Exchange, caller: Caller) -> None:
    """Whether the account may read a file, if there is one.

    Raises:
        Refusal: it may not.
    """
    feed = feed_of(parts)
    allowed = caller.reads(feed) if feed is not None else bool(caller.feeds)
    if not allowed and not caller.may("publish"):
        wanted = f"feed:{feed}" if feed is not None else "feed:NAME of any feed"
        raise Refusal("forbidden", f"the token does not have the scope {wanted}")


def feed_of(parts: list[str]) -> str | None:
    """The feed that a file of the repository belongs to; None for what all recipients read.

    >>> feed_of(["targets", "id-all", "ab12.index.json"])
    'id-all'
    >>> feed_of(["metadata", "3.id-all.json"])
    'id-all'
    >>> feed_of(["metadata", "3.snapshot.json"]) is feed_of(["targets", "ab12.protected.json"]) is None
    True
    """
    if len(parts) > 2 and parts[0] == "targets":
        return parts[1]
    if len(parts) == 2 and parts[0] == "metadata" and parts[1] != _MUTABLE:
        role = parts[1].partition(".")[2].removesuffix(".json")
        return None if role in _COMMON else role
    return None


def _no_such_file() -> Refusal:
    return Refusal("not-found", "the repository has no such file")
