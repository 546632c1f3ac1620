"""One page of rows, in the order of their ids."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from blocklist_sdk.exchange.models import Page
from blocklist_sdk.exchange.server.access import Paging, next_of
from blocklist_sdk.exchange.server.problems import invalid

R = TypeVar("R")
T = TypeVar("T")


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
