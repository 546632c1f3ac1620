"""Lists in pages: the requested page, and the cursor of the next one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Query, Request
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from blocklist_sdk.exchange.models import PAGE_MAX, Page
from blocklist_sdk.exchange_server.casework.refusals import Refusal, invalid
from blocklist_sdk.exchange_server.http.cursors import CURSOR_CHARS_MAX, Cursors, ForeignCursor
from blocklist_sdk.exchange_server.http.state import state_of

_FOREIGN_CURSOR: Final = "this cursor was not given out by this exchange for this list"

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paging:
    """A requested page.

    Attributes:
        limit: most items on it.
        cursor: `next` of the page before; None for the first page.
        cursors: reads and writes cursors.
    """

    limit: int
    cursor: str | None
    cursors: Cursors

    def after(self, name: str, parts: int) -> tuple[int, ...] | None:
        """The position of the last item of the page before, as it was given to `next`; None for the first page.

        Args:
            name: the list's name.
            parts: number of integers of a position in this list.

        Raises:
            Refusal: the cursor was not given out for this list.
        """
        if self.cursor is None:
            return None
        try:
            return self.cursors.read(name, self.cursor, parts)
        except ForeignCursor as error:
            raise foreign_cursor() from error

    def next(self, name: str, *position: int) -> str:
        """The cursor of the page after the item with this position."""
        return self.cursors.write(name, position)


async def paging(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Most items on the page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=CURSOR_CHARS_MAX, description="`next` of the page before.")] = None,
) -> Paging:
    """A dependency of routes that return pages."""
    return Paging(limit, cursor, state_of(request.app).cursors)


RequestedPage = Annotated[Paging, Depends(paging)]


def foreign_cursor() -> Refusal:
    """The refusal of a cursor that is of no use."""
    return invalid("query.cursor", _FOREIGN_CURSOR)


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
    name = f"{key.class_.__name__}.{key.key}"
    after = paging.after(name, 1)
    if after is not None:
        rows = rows.where(key > after[0])
    found = session.scalars(rows.order_by(key).limit(paging.limit + 1)).all()
    items = found[: paging.limit]
    following = paging.next(name, getattr(items[-1], key.key)) if len(found) > len(items) else None
    return Page(items=tuple(views(items)), next=following)
