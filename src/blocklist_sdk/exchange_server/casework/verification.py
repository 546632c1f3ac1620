"""Recomputes the database from the audit trail, and names each difference."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, cast

from sqlalchemy import Row, Table, func, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.casework.cases import broken_line
from blocklist_sdk.exchange_server.evidence.evidence_store import EvidenceStore
from blocklist_sdk.exchange_server.store.audited import AUDITED, IMAGES, SALT, Images, is_empty
from blocklist_sdk.exchange_server.store.tables import AuditHeadRow, CaseRow, EvidenceRow, HistoryRow
from blocklist_sdk.exchange_server.store.trail import UNREADABLE, TrailEnd, head, lines
from blocklist_sdk.exchange_server.store.trail_lines import ExpectedRow, ExpectedRows, RowKey, fold_line
from blocklist_sdk.texts import displayable

_BATCH: Final = 500
_SHOWN_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the verification has to say.

    Attributes:
        text: a row or a line, and what about it.
        is_damage: False if it is as the trail says: its personal content was erased.
    """

    text: str
    is_damage: bool = True


def findings(session: Session, evidence: EvidenceStore) -> Iterator[Finding]:
    """Compare the database and the evidence files with the audit trail.

    The trail is read line by line. What it adds up to, the rows as they should be, is kept in memory.

    Args:
        session: one that reads a snapshot.
        evidence: the files.

    Raises:
        StorageFailed: a file cannot be read.
    """
    rows: ExpectedRows = {}
    yield from map(Finding, _trail(session, rows))
    yield from map(Finding, _alarms(session))
    for audited in AUDITED:
        images = IMAGES[audited.row]
        yield from _differences(session, images, rows.get(images.table, {}))
    yield from map(Finding, _histories(session))
    yield from map(Finding, _files(session, evidence))


def _trail(session: Session, rows: ExpectedRows) -> Iterator[str]:
    """Check the chain, and put together the rows that its lines add up to."""
    reached = TrailEnd(0, "")
    try:
        for line in lines(session):
            if line.sequence != reached.length + 1:
                yield f"the audit trail has no line {reached.length + 1}: line {line.sequence} follows {reached.length}"
            if line.hash != line.expected_hash(reached.hash):
                yield f"line {line.sequence} of the audit trail was changed, or the line before it was"
            reached = TrailEnd(line.sequence, line.hash)
            try:
                fold_line(rows, line)
            except UNREADABLE:  # its hash is wrong, too
                yield f"line {line.sequence} of the audit trail does not say what changed"
    except UNREADABLE:
        yield f"line {reached.length + 1} of the audit trail cannot be read, so those after it were not"
    end = head(session)
    if end != reached:
        yield (
            f"the audit trail ends with line {reached.length}, and its head names line {end.length}"
            if end.length != reached.length
            else "the head of the audit trail is not the hash of its last line"
        )


def _alarms(session: Session) -> Iterator[str]:
    alarmed, length = session.execute(select(AuditHeadRow.alarmed, AuditHeadRow.length)).one_or_none() or (0, 0)
    if alarmed > length:
        yield f"alarms are marked as raised up to line {alarmed} of the audit trail, and its head names line {length}"


def _differences(session: Session, images: Images, expected: dict[RowKey, ExpectedRow]) -> Iterator[Finding]:
    """Compare one table with the rows that should be in it; `expected` is used up."""
    table = images.audited.table
    columns = [table.c[name] for name in images.audited.key]
    wanted = select(table).order_by(*columns).execution_options(yield_per=_BATCH)
    try:
        for row in session.execute(wanted):
            key = images.key_of(partial(getattr, row))
            name = images.name_of(key)
            should = expected.pop(key, None)
            if should is None:
                yield Finding(f"{name} is in no line of the audit trail")
            elif should.is_erased:
                yield from _of_erased(images, name, row, should)
            else:
                yield from map(Finding, _of_row(images, name, images.of(partial(getattr, row)), should.columns))
    except UNREADABLE:
        yield Finding(f"a row of the table {table.name} cannot be read, so those after it were not")
        return
    for key in expected:
        yield Finding(f"{images.name_of(key)} is missing")


def _of_row(images: Images, name: str, image: dict[str, Any], should: dict[str, Any]) -> Iterator[str]:
    if image == should:
        return
    for column in sorted({*image, *should}):
        found, wanted = image.get(column), should.get(column)
        if found == wanted and type(found) is type(wanted):
            continue
        if column in images.audited.plain:
            yield f"{name}: {column} is {_shown(found)}, and the trail says {_shown(wanted)}"
        else:
            yield f"{name}: {column} is not what the trail says"


def _of_erased(images: Images, name: str, row: Row[Any], should: ExpectedRow) -> Iterator[Finding]:
    """A row whose personal content and salt were erased."""
    left = [column for column in (*images.audited.personal, SALT) if not is_empty(getattr(row, column))]
    for column in left:
        yield Finding(f"{name}: {column} is there, and the trail says that it was erased")
    image = images.without_personal(images.of(partial(getattr, row)))
    yield from map(Finding, _of_row(images, name, image, images.without_personal(should.columns)))
    if not left:
        yield Finding(f"{name} was erased", is_damage=False)


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    text = displayable(str(value))
    text = text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"
    return f"'{text}'" if isinstance(value, str) else text


def _histories(session: Session) -> Iterator[str]:
    """Check that the history of each case ends where the case says."""
    cases = cast(Table, CaseRow.__table__)
    history = cast(Table, HistoryRow.__table__)
    ends = {row.id: (row.events, row.head) for row in session.execute(select(cases.c.id, cases.c.events, cases.c.head))}
    wanted = select(history).order_by(history.c.case_id, history.c.sequence).execution_options(yield_per=_BATCH)
    last: int | None = None
    try:
        for case_id, rows in groupby(session.execute(wanted), key=attrgetter("case_id")):
            last = case_id
            end = ends.pop(case_id, None)
            if end is None:
                yield f"the history of case {case_id} has no case"
                continue
            line = broken_line(rows, events=end[0], head=end[1])
            if line is not None:
                yield f"the history of case {case_id} was changed at line {line}"
    except UNREADABLE:
        yield f"the history of case {last} or of the case after it cannot be read, so those after it were not"
        return
    for case_id, (events, _) in ends.items():
        if events:
            yield f"the history of case {case_id} was changed at line 1"


def _files(session: Session, evidence: EvidenceStore) -> Iterator[str]:
    """Check the evidence files by their hashes; the file of evidence that was erased may be gone."""
    wanted = select(EvidenceRow.sha256, func.max(EvidenceRow.salt).label(SALT)).group_by(EvidenceRow.sha256)
    for sha256, salt in session.execute(wanted.order_by(EvidenceRow.sha256)).all():
        if salt and not evidence.verify(sha256):
            yield f"the evidence file {sha256} is missing or damaged"
