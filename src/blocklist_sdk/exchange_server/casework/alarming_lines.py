"""Lines of the audit trail that raise an alarm, whichever process wrote them."""

from collections.abc import Iterator
from typing import Any, Final, cast

from sqlalchemy import Row, Table, bindparam, select, update
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.alarms import alarm
from blocklist_sdk.exchange_server.casework.cases import COMMAND_LINE
from blocklist_sdk.exchange_server.casework.configuration import configuration_before, differences
from blocklist_sdk.exchange_server.store.database import Database
from blocklist_sdk.exchange_server.store.tables import (
    ALARMING_ONLY,
    CONFIGURATION,
    RELEASE_ACCEPTED,
    AuditHeadRow,
    AuditRow,
)
from blocklist_sdk.exchange_server.store.trail import UNREADABLE, head
from blocklist_sdk.exchange_server.store.trail_lines import canonical_json
from blocklist_sdk.texts import displayable

_AT_A_TIME: Final = 100

_HEAD: Final = cast(Table, AuditHeadRow.__table__)
_CORRECTED: Final = update(_HEAD).where(_HEAD.c.alarmed > _HEAD.c.length).values(alarmed=_HEAD.c.length)
_ALARMED: Final = update(_HEAD).where(_HEAD.c.alarmed < bindparam("last")).values(alarmed=bindparam("last"))


def raise_alarms(database: Database) -> None:
    """Raise an alarm for each line that asks for one since the last look; again rather than never.

    A line that cannot be read ends it: publishing goes on, and raises the alarm about that line.

    Raises:
        StorageFailed: the database failed.
    """
    _check_alarmed(database)
    while True:
        with database.reading() as session:
            wanted = (
                select(AuditRow.sequence, AuditRow.actor, AuditRow.event, AuditRow.detail)
                .where(ALARMING_ONLY, AuditRow.sequence > select(AuditHeadRow.alarmed).scalar_subquery())
                .order_by(AuditRow.sequence)
                .limit(_AT_A_TIME)
            )
            try:
                lines = session.execute(wanted).all()
                messages = [message for line in lines for message in _messages(session, line)]
            except UNREADABLE:
                return
        for message in messages:
            alarm("%s", message)
        if lines:
            _set_alarmed(database, lines[-1].sequence)
        if len(lines) < _AT_A_TIME:
            return


def _check_alarmed(database: Database) -> None:
    """Raise an alarm if alarms were marked as raised for lines that do not exist, which would silence those to come."""
    with database.reading() as session:
        found = session.execute(select(_HEAD.c.length, _HEAD.c.alarmed)).one_or_none()
    if found is None or found.alarmed <= found.length:
        return
    alarm(
        "somebody has marked the alarms of lines up to %d of the audit trail as raised, and it has %d. Some may have "
        "been missed: read the lines (blocklist exchange verify DIR --export FILE)",
        *(found.alarmed, found.length),
    )
    database.change(lambda session: session.connection().execute(_CORRECTED))


def mark_alarmed(database: Database) -> None:
    """Raise no alarm for the lines up to now, such as those of a new exchange."""
    with database.reading() as session:
        last = head(session).length
    _set_alarmed(database, last)


def _set_alarmed(database: Database, last: int) -> None:
    database.change(lambda session: session.connection().execute(_ALARMED, {"last": last}))


def _messages(session: Session, line: Row[Any]) -> Iterator[str]:
    what = canonical_json(line.detail)
    if line.event == RELEASE_ACCEPTED and line.actor != COMMAND_LINE:
        return  # an officer's work
    if line.event == CONFIGURATION:
        before = configuration_before(session, line.sequence)
        if before is None:
            return
        what = "; ".join(differences(before, line.detail))
    yield f"{line.event} by {line.actor}, line {line.sequence} of the audit trail: {displayable(what)}"
