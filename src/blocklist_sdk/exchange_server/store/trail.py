"""The audit trail: every transaction that changes an audited row writes the lines that say so, or does not commit.

A transaction that writes has a unit, which collects lines. What the ORM flushes goes to the line that was begun last;
if none was, to a line for the transaction's `Act`. At the end the lines are chained to the trail's head, which is
locked last, so that no transaction waits for another one's head while it holds what that one needs.

Statements that do not go through the ORM's rows would pass by the trail. So the ORM's bulk statements on audited tables
are refused here, and `store.database` has the functions that add many rows at once and note them.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from functools import partial
from typing import Any, Final, cast

from sqlalchemy import Table, bindparam, event, func, insert, select, update
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction
from sqlalchemy.orm.state import InstanceState

from blocklist_sdk.exchange_server.store.audited import IMAGES, SALT, Images
from blocklist_sdk.exchange_server.store.tables import AuditHeadRow, AuditRow, Base
from blocklist_sdk.exchange_server.store.trail_lines import Act as Act
from blocklist_sdk.exchange_server.store.trail_lines import Change, Encoded, OpenLine, canonical_json, hash_of_texts
from blocklist_sdk.exchange_server.store.trail_lines import TrailEnd as TrailEnd
from blocklist_sdk.exchange_server.store.trail_lines import TrailLine as TrailLine
from blocklist_sdk.exchange_server.store.trail_lines import fold as fold

log: logging.Logger = logging.getLogger(__name__)

_UNIT: Final = "trail"

_CHANGES_MAX: Final = 20_000
"""Most changes of one line; what is more is continued in the next line. A batch of receipts never is."""

_BATCH: Final = 200
"""Lines that are read at a time."""

UNREADABLE: Final = (ValueError, TypeError, AttributeError)
"""Errors from reading a value that is not of its column's type, which SQLite lets somebody write."""


class Unit:
    """The lines that a transaction will write.

    Attributes:
        act: what the transaction does, unless it begins lines of its own; None if it may not change audited rows.
        lines: the lines begun.
    """

    def __init__(self, act: Act | None, clock: Callable[[], datetime]) -> None:
        """Nothing has changed yet."""
        self.act = act
        self.lines: list[OpenLine] = []
        self._clock = clock
        self._owners: dict[Base, OpenLine] = {}

    @classmethod
    def of(cls, session: Session) -> "Unit":
        """The unit of a session that writes."""
        unit: Unit = session.info[_UNIT]
        return unit

    def begin(self, act: Act) -> OpenLine:
        """Begin a line."""
        line = OpenLine(act)
        self.lines.append(line)
        return line

    def keep(self, row: Base, line: OpenLine) -> None:
        """Let the changes of a row go to this line, also after others were begun."""
        self._owners[row] = line

    def line_of(self, row: Base) -> OpenLine:
        """The line that a row's changes go to."""
        return self._owners.get(row) or self.line()

    def line(self) -> OpenLine:
        """The line begun last.

        Raises:
            RuntimeError: the transaction has no act: whoever wrote it forgot to say who changes what.
        """
        if self.lines:
            return self.lines[-1]
        if self.act is None:
            raise RuntimeError("a transaction changes an audited table and does not say who does it: give it an `Act`")
        return self.begin(self.act)

    def write(self, session: Session) -> None:
        """Chain the lines to the trail's head, and write them."""
        if not self.lines:
            return
        # Encoded before the head is locked, since on PostgreSQL all that write wait for each other from there on.
        encoded = [
            (line.act, Encoded(canonical_json(detail)), Encoded(canonical_json(changes)))
            for line in self.lines
            for detail, changes in _parts(line)
        ]
        connection = session.connection()
        end = connection.execute(_LOCKED_HEAD).one_or_none()
        if end is None:
            # Somebody else has deleted it. No change waits for that, above all no unblock: lines that were removed are
            # found by what is kept outside the database.
            last = connection.execute(_LAST).one_or_none()
            length, before = (0, "") if last is None else (last.sequence, last.hash)
            log.error("the audit trail lost its head, and goes on after line %d: look with `exchange verify`", length)
            connection.execute(_NEW_HEAD, {"length": length, "hash": before})
            highest = None
        else:
            length, before, highest = end
        if highest is not None:
            # Somebody else put it there. It is found by its hash, and holds up no change, above all no unblock.
            log.error("the audit trail has lines beyond its head, up to %d: look with `exchange verify`", highest)
            length = highest
        at = self._clock()
        values = []
        for act, detail, changes in encoded:
            length += 1
            before = hash_of_texts(before, length, at, act.actor, act.event, detail, changes)
            values.append(
                {"sequence": length, "at": at, "actor": act.actor, "event": act.event}
                | {"detail": detail, "changes": changes, "hash": before}
            )
        connection.execute(_NEW_LINES, values)
        connection.execute(_MOVED_HEAD, {"new_length": length, "new_hash": before})
        self.lines = []


def _parts(line: OpenLine) -> Iterator[tuple[dict[str, Any], list[Change]]]:
    """A line's detail and changes; in parts if there are too many for one line."""
    detail, changes = dict(line.act.detail), line.changes
    yield detail, changes[:_CHANGES_MAX]
    for part, start in enumerate(range(_CHANGES_MAX, len(changes), _CHANGES_MAX), 2):
        yield detail | {"part": part}, changes[start : start + _CHANGES_MAX]


class AuditedSession(Session):
    """A session that writes: what it changes in audited tables is in the trail, or it raises."""

    def __init__(self, bind: Any, *, act: Act | None, clock: Callable[[], datetime], **options: Any) -> None:
        """See `Session`.

        Args:
            bind: the connection.
            act: what the transaction does; None if it begins its lines itself, or changes no audited row.
            clock: returns the time of the lines.
            options: of `Session`.
        """
        super().__init__(bind, **options)
        self.info[_UNIT] = Unit(act, clock)


@event.listens_for(AuditedSession, "after_flush")
def _note_flushed(session: Session, context: UOWTransaction) -> None:
    """Note what was flushed; the session still knows what was new, changed and deleted."""
    unit = Unit.of(session)
    for row in session.new:
        images = IMAGES.get(type(row))
        if images is not None:
            note_new(unit.line_of(row), images, partial(getattr, row))
    for row in session.dirty:
        images = IMAGES.get(type(row))
        if images is not None:
            _note_changed(unit, images, row)
    for row in session.deleted:
        images = IMAGES.get(type(row))
        if images is not None:
            unit.line_of(row).note(images.table, images.key_of(partial(getattr, row)), "delete", {})


def _note_changed(unit: Unit, images: Images, row: Base) -> None:
    state = cast(InstanceState[Any], row.__dict__["_sa_instance_state"])
    before = state.committed_state
    values = row.__dict__
    changed = [name for name, old in before.items() if name not in values or values[name] != old]
    if not changed:
        return
    value_of = partial(getattr, row)
    image, operation = images.of(value_of, changed), "update"
    if images.audited.is_personal and not row.__dict__.get(SALT):
        image = images.without_personal(image)
        operation = "erased" if SALT in changed else "update"
    if image or operation == "erased":
        unit.line_of(row).note(images.table, images.key_of(value_of), cast(Any, operation), image)


def note_new(line: OpenLine, images: Images, value_of: Callable[[str], Any]) -> None:
    """Note a new row.

    Args:
        line: the line that it belongs to.
        images: of the row's table.
        value_of: returns a column's value.
    """
    line.note(images.table, images.key_of(value_of), "insert", images.of(value_of))


@event.listens_for(AuditedSession, "do_orm_execute")
def _refuse_bulk(state: ORMExecuteState) -> None:
    """Refuse the ORM's bulk statements on audited tables, which would pass by the trail."""
    if state.is_select:
        return
    mapper = state.bind_mapper
    if mapper is not None and mapper.class_ in IMAGES and (state.is_insert or state.is_update or state.is_delete):
        raise RuntimeError(
            f"a bulk statement on {mapper.class_.__tablename__} would not be in the audit trail: change its rows one "
            "by one, or use the functions of `store.database`"
        )


def record(session: Session, act: Act) -> OpenLine:
    """Begin a line, which is written even if no row changes; what is flushed from now on belongs to it.

    Args:
        session: one that writes.
        act: who does what.
    """
    return Unit.of(session).begin(act)


_LINES: Final = cast(Table, AuditRow.__table__)
_HEAD: Final = cast(Table, AuditHeadRow.__table__)
_SHOWN_HEAD: Final = select(_HEAD.c.length, _HEAD.c.hash)
_BEYOND: Final = select(func.max(_LINES.c.sequence)).where(_LINES.c.sequence > _HEAD.c.length).correlate(_HEAD)
_LOCKED_HEAD: Final = select(_HEAD.c.length, _HEAD.c.hash, _BEYOND.scalar_subquery()).with_for_update(of=_HEAD)
"""In one statement: each journey to PostgreSQL with the head locked is one that all others wait for."""
_LAST: Final = select(_LINES.c.sequence, _LINES.c.hash).order_by(_LINES.c.sequence.desc()).limit(1)
_NEW_HEAD: Final = insert(_HEAD).values(id=1, alarmed=0)
_NEW_LINES: Final = insert(_LINES)
_MOVED_HEAD: Final = update(_HEAD).values(length=bindparam("new_length"), hash=bindparam("new_hash"))


def head(session: Session) -> TrailEnd:
    """Where the trail ends.

    Args:
        session: one that reads or writes. In one that writes, lines of its own are not counted yet.
    """
    found = session.execute(_SHOWN_HEAD).one_or_none()
    return TrailEnd(0, "") if found is None else TrailEnd(*found)


def lines(session: Session, after: int = 0, *, at_most: int | None = None) -> Generator[TrailLine, None, None]:
    """The lines of the trail in order, read a few at a time.

    Args:
        session: one that reads.
        after: the number of a line; only later ones are read. Close the iterator if you stop before the last one.
        at_most: how many are read; None for all.
    """
    wanted = select(_LINES).where(_LINES.c.sequence > after).order_by(_LINES.c.sequence).limit(at_most)
    with session.execute(wanted, execution_options={"yield_per": _BATCH}) as found:
        for row in found:
            yield TrailLine(row.sequence, row.at, row.actor, row.event, row.detail, row.changes, row.hash)
