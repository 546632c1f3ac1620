"""Whether publishing in the background works: the process that publishes writes it, and every process can see it."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.store.database import add_missing
from blocklist_sdk.exchange_server.store.tables import PublishingRow

OVERDUE_AFTER: Final = timedelta(minutes=5)
"""Publishing that has not succeeded for so long does not work. It runs every two seconds, after a fault in a minute."""

_NAME: Final = "background"


def expect_publishing(session: Session, *, now: datetime) -> None:
    """Note that a process publishes in the background from now on, unless that is known already."""
    add_missing(session, PublishingRow, [{"name": _NAME, "expected_since": now, "succeeded_at": None, "error": ""}])


def note_publishing(session: Session, *, now: datetime, error: str = "") -> None:
    """Note the end of a run.

    Args:
        session: one that writes.
        now: this moment.
        error: the kind of the error that ended it; empty if it succeeded.
    """
    expect_publishing(session, now=now)
    row = session.get_one(PublishingRow, _NAME, with_for_update=True)
    row.error = error[:64]
    if not error:
        row.succeeded_at = now


def expect_no_publishing(session: Session) -> None:
    """Note that a process stopped to publish in good order. If others publish, their next run notes it again."""
    row = session.get(PublishingRow, _NAME)
    if row is not None:
        session.delete(row)


def overdue(session: Session, *, now: datetime) -> str | None:
    """Why publishing does not work; None if it does, or if no process publishes in the background."""
    row = session.get(PublishingRow, _NAME)
    if row is None:
        return None
    since = row.succeeded_at or row.expected_since
    if now - since <= OVERDUE_AFTER:
        return None
    why = f"the last try failed: {row.error}" if row.error else "no run has ended since"
    return f"nothing was published since {since:%Y-%m-%d %H:%M} UTC; {why}"
