"""Lists in pages: the requested page, and the cursor of the next one."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Query
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from blocklist_sdk.exchange.models import PAGE_MAX, Page
from blocklist_sdk.exchange_server.casework.refusals import invalid

_FOREIGN_CURSOR: Final = "this cursor was not issued by this server"

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paging:
    """A requested page.

    Attributes:
        limit: most items on it.
        after: the position of the last item of the page before, as it was given to `cursor_after`; None for the first
            page.
    """

    limit: int
    after: tuple[Any, ...] | None


async def paging(
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Most items on the page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
) -> Paging:
    """A dependency of routes that return pages."""
    return Paging(limit, None if cursor is None else _read_cursor(cursor))


RequestedPage = Annotated[Paging, Depends(paging)]


def cursor_after(*position: Any) -> str:
    """The cursor of the page after the item with this position in the order."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[Any, ...]:
    try:
        position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise invalid("query.cursor", _FOREIGN_CURSOR) from error
    if not isinstance(position, list) or not all(type(part) is int and abs(part) < 1 << 63 for part in position):
        raise invalid("query.cursor", _FOREIGN_CURSOR)
    return tuple(position)


def page_by_id(
    session: Session,
    rows: Select[R],
    key: InstrumentedAttribute[int],
    paging: Paging,
    views: Callable[[Sequence[R]], Sequence[T]],
) -> Page[T]:
    """A page of rows, sorted by their IDs.

    Args:
        session: one that reads.
        rows: the whole list, not sorted.
        key: the column of the IDs.
        paging: the requested page.
        views: turns rows into items, in their order; all at once, since each query costs as much as many rows.

    Raises:
        Refusal: the cursor is for another list.
    """
    if paging.after is not None:
        (after,) = check_cursor(paging, 1)
        rows = rows.where(key > after)
    found = session.scalars(rows.order_by(key).limit(paging.limit + 1)).all()
    items = found[: paging.limit]
    following = cursor_after(getattr(items[-1], key.key)) if len(found) > len(items) else None
    return Page(items=tuple(views(items)), next=following)


def check_cursor(paging: Paging, parts: int) -> tuple[Any, ...]:
    """The position in a cursor.

    Args:
        paging: the requested page, with a cursor.
        parts: number of parts of a position in this list.

    Raises:
        Refusal: the cursor is for another list.
    """
    after = paging.after or ()
    if len(after) != parts:
        raise invalid("query.cursor", "this cursor is for another list")
    return after
