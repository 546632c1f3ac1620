"""Lists in pages: which one is asked for, and where the next begins."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from blocklist_sdk.exchange.models import PAGE_MAX, Page
from blocklist_sdk.exchange_server.casework.refusals import invalid

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is asked for.

    Attributes:
        limit: items on it, at most.
        after: the last item of the page before, as `next_of` had it; None for the first page.
    """

    limit: int
    after: tuple[Any, ...] | None


async def paging(
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Items on a page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
) -> Paging:
    """A dependency of routes that answer with pages."""
    return Paging(limit, None if cursor is None else _read_cursor(cursor))


ThePage = Annotated[Paging, Depends(paging)]


def next_of(*place: Any) -> str:
    """A cursor behind the item that has this place in the order."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[Any, ...]:
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise invalid("query.cursor", "it is none that was given out") from error
    if not isinstance(place, list) or not all(type(part) is int and abs(part) < 1 << 63 for part in place):
        raise invalid("query.cursor", "it is none that was given out")
    return tuple(place)


def page_by_id(
    session: Session,
    rows: Select[R],
    key: InstrumentedAttribute[int],
    paging: Paging,
    view: Callable[[R], T],
) -> Page[T]:
    """A page of rows by their ids, ascending.

    Raises:
        Refusal: the cursor is of another list.
    """
    if paging.after is not None:
        (after,) = check_cursor(paging, 1)
        rows = rows.where(key > after)
    found = session.scalars(rows.order_by(key).limit(paging.limit + 1)).all()
    items = found[: paging.limit]
    following = next_of(getattr(items[-1], key.key)) if len(found) > len(items) else None
    return Page(items=tuple(view(row) for row in items), next=following)


def check_cursor(paging: Paging, parts: int) -> tuple[Any, ...]:
    """The place that a cursor names.

    Raises:
        Refusal: the cursor is of another list.
    """
    after = paging.after or ()
    if len(after) != parts:
        raise invalid("query.cursor", "it is of another list")
    return after
