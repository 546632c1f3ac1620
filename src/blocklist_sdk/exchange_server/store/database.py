"""The exchange's database: SQLite, or PostgreSQL by its URL."""

import contextlib
import functools
import logging
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Insert,
    Row,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, TimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from blocklist_sdk import times
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput, StorageFailed, foreign_text
from blocklist_sdk.exchange_server.store import bulk
from blocklist_sdk.exchange_server.store.audited import IMAGES, with_salts
from blocklist_sdk.exchange_server.store.group_commit import GroupCommit, WorkResult
from blocklist_sdk.exchange_server.store.roles import grant, may_alter_trail
from blocklist_sdk.exchange_server.store.tables import SCHEMA, AuditHeadRow, Base, InstanceRow, SchemaRow
from blocklist_sdk.exchange_server.store.trail import AuditedSession, Unit, note_new, record
from blocklist_sdk.exchange_server.store.trail_lines import Act, OpenLine, canonical, stored_json
from blocklist_sdk.locks import sqlite_locked
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.texts import missing_extra

log: logging.Logger = logging.getLogger(__name__)

BACKENDS: Final = ("sqlite", "postgresql")

_WAIT_S: Final = 30
"""How long to wait for another change, for a connection, and for a server that is cut off from the network, seconds."""

_LOCK_WAIT: Final = "lock_wait_s"
"""The execution option of transactions that write: how long they wait for the locks of others, seconds."""

_PENDING: Final = "later"

_PORT: Final = 5432
"""PostgreSQL's, where a URL names none."""

_UNAVAILABLE_SQLITE: Final = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY")
_UNAVAILABLE_POSTGRESQL: Final = ("08", "53", "57P")
"""PostgreSQL's classes of error codes for connections, resources, and servers that shut down."""

_COLLISIONS: Final = ("40001", "40P01")
"""PostgreSQL's error codes for two transactions that cannot both commit; one has to start again."""

_TRIES: Final = 5

T = TypeVar("T")

_Action: TypeAlias = Callable[[Session], Any]


@dataclass(frozen=True, slots=True)
class _Work:
    """A change that waits for its turn, and who makes it."""

    action: _Action
    by: Act | None


class Database:
    """Makes transactions that read and transactions that write.

    SQLite allows one writer at a time; those of this process wait for each other here, without polling. Changes that
    wait share a transaction, each with a savepoint of its own, since committing takes longest.
    """

    def __init__(self, url: str, *, directory: Path, clock: Callable[[], datetime] = times.this_second) -> None:
        """Opens no connection yet.

        Args:
            url: URL for SQLAlchemy; a relative SQLite path is relative to the folder.
            directory: the exchange's folder.
            clock: returns the time of the audit trail's lines, UTC, to the whole second.

        Raises:
            InvalidInput: the URL cannot be used, or is for another kind of database.
        """
        self._group_commit = GroupCommit(self._change_all)
        self._clock = clock
        self._file: Path | None = None
        try:
            parsed = _parsed(url)
            backend = parsed.get_backend_name()
            if backend not in BACKENDS:
                raise InvalidInput(f"the database must be one of {', '.join(BACKENDS)}, not {backend!r}")
            self._is_sqlite = backend == "sqlite"
            if self._is_sqlite:
                if not parsed.database or parsed.database == ":memory:":
                    raise InvalidInput("name a file in the database's URL, as in sqlite:///exchange.sqlite")
                self._file = directory / parsed.database
                parsed = parsed.set(drivername="sqlite", database=str(self._file))
            else:
                parsed = parsed.set(drivername="postgresql+psycopg")
            self._engine = _engine(parsed, is_sqlite=self._is_sqlite)
        except ModuleNotFoundError as error:
            raise InvalidInput(f"for PostgreSQL, {missing_extra(str(error.name), 'exchange')}") from None
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InvalidInput(f"the database's URL cannot be used: {foreign_text(error)}") from None

    @property
    def file(self) -> Path | None:
        """The file of SQLite; None for PostgreSQL."""
        return self._file

    def create(self, *, service: str | None = None) -> None:
        """Make the tables.

        Args:
            service: another role of PostgreSQL, which will serve. It may use the tables, and only add to the audit
                trail; None if this role will serve.

        Raises:
            InvalidInput: the database holds an exchange already; or the other role does not exist, or may act as the
                owner.
            StorageFailed: the database cannot be reached, or refused the change.
        """
        if self._file is not None:
            with storage(self._file):
                PRIVATE.prepare_database(self._file)
        with self.writing() as session:
            if inspect(session.connection()).has_table(SchemaRow.__tablename__):
                raise InvalidInput("the database holds an exchange already: use another database")
            Base.metadata.create_all(session.connection())
            session.add_all([SchemaRow(version=SCHEMA), AuditHeadRow()])
            session.add(InstanceRow(id=f"urn:uuid:{uuid.uuid4()}"))
            if service is not None:
                grant(session.connection(), service)

    def check(self) -> None:
        """Check that the tables are those of this version.

        Raises:
            InvalidInput: they are missing, or of another version.
            StorageFailed: the database cannot be reached.
        """
        if self._file is not None:
            with storage(self._file):
                PRIVATE.give_database(self._file)  # earlier versions let every user read it
        with self.reading() as session:
            connection = session.connection()
            known = inspect(connection).has_table(SchemaRow.__tablename__)
            version = session.scalar(select(SchemaRow.version)) if known else None
        if version is None:
            raise InvalidInput("the database does not hold an exchange: run `blocklist exchange init`")
        if version != SCHEMA:
            raise InvalidInput(f"the database has schema version {version}, this blocklist-sdk needs {SCHEMA}: upgrade")

    def instance(self) -> str:
        """The identity that the database got when it was made: a URN.

        Raises:
            InvalidInput: it has none.
            StorageFailed: the database cannot be reached.
        """
        with self.reading() as session:
            found: str | None = session.scalar(select(InstanceRow.id))
        if found is None:
            raise InvalidInput("the database does not say which exchange it is: restore it from your backup")
        return found

    def add_missing_tables(self) -> None:
        """Make the tables that a later version of this library has added to the same schema.

        Raises:
            StorageFailed: the database cannot be reached, or refused the change.
        """
        if self._missing_tables():
            try:
                with self.writing() as session:
                    Base.metadata.create_all(session.connection())
            except StorageFailed:
                # Another process may have made them at the same moment.
                if self._missing_tables():
                    raise

    def _missing_tables(self) -> set[str]:
        with self.reading() as session:
            return set(Base.metadata.tables) - set(inspect(session.connection()).get_table_names())

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that reads.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with _faults(self._file), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A transaction that reads, and sees the database as it is at its first statement, whatever others do.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with _faults(self._file), self._engine.connect() as connection:
            if not self._is_sqlite:  # which does so anyhow
                connection.execution_options(isolation_level="REPEATABLE READ")
            with Session(connection) as session:
                yield session

    @contextlib.contextmanager
    def writing(self, *, by: Act | None = None) -> Iterator[Session]:
        """A transaction that writes; it is committed durably unless the block raises.

        Args:
            by: who changes what, for the audit trail; as for `change`.

        Raises:
            StorageFailed: the database cannot be reached, or refused the change.
        """
        lock = self._group_commit.lock if self._is_sqlite else contextlib.nullcontext()
        with lock, self._transaction(by) as session:
            yield session

    @contextlib.contextmanager
    def _transaction(self, by: Act | None, lock_wait_s: float | None = None) -> Iterator[Session]:
        with _faults(self._file), self._connection(lock_wait_s) as connection, self._session(connection, by) as session:
            yield session

    @contextlib.contextmanager
    def _session(self, connection: Connection, by: Act | None) -> Iterator[AuditedSession]:
        """A session that commits to the connection, or to a savepoint if the connection is in a transaction."""
        with AuditedSession(
            connection,
            act=by,
            clock=self._clock,
            expire_on_commit=False,
            join_transaction_mode="create_savepoint",
        ) as session:
            yield session
            session.flush()
            add_pending(session)
            Unit.of(session).write(session)  # last: it locks the trail's head
            session.commit()

    def _connection(self, lock_wait_s: float | None = None) -> Connection:
        return self._engine.connect().execution_options(**{_LOCK_WAIT: _WAIT_S if lock_wait_s is None else lock_wait_s})

    def change(self, action: Callable[[Session], T], *, by: Act | None = None, lock_wait_s: float | None = None) -> T:
        """Run a transaction that writes; repeat it if it collided with another one.

        Args:
            action: makes the change; may run several times.
            by: who changes what, for the audit trail. Without it the action begins lines itself by `trail.record`, or
                changes nothing that the trail covers.
            lock_wait_s: how long to wait for the locks of other transactions, seconds; None for half a minute. SQLite
                does not use it.

        Raises:
            StorageFailed: the database cannot be reached, or refused the change.
            RuntimeError: the action changes what the trail covers, and nobody said who does it.
        """
        if self._is_sqlite:
            return cast(T, self._group_commit.do(_Work(action, by)))
        for _ in range(_TRIES):
            try:
                with self._transaction(by, lock_wait_s) as session:
                    return action(session)
            except StorageFailed as error:
                if not (isinstance(error.__cause__, DBAPIError) and _code_of(error.__cause__) in _COLLISIONS):
                    raise
        with self._transaction(by, lock_wait_s) as session:
            return action(session)

    def may_alter_trail(self) -> bool:
        """Whether this is a role of PostgreSQL that could alter the audit trail. SQLite has no roles.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        if self._is_sqlite:
            return False
        with self.reading() as session:
            return may_alter_trail(session.connection())

    def note(self, act: Act) -> None:
        """Add a line to the audit trail about something that changes no row.

        Raises:
            StorageFailed: the database cannot be reached, or refused the change.
        """
        self.change(lambda session: record(session, act))

    def _change_all(self, works: list[_Work]) -> list[WorkResult[Any]]:
        if len(works) > 1:
            try:
                return self._change_together(works)
            except StorageFailed as error:
                if is_unavailable(error):
                    return [WorkResult.failed(error)] * len(works)
                # After an error SQLite may have undone more than the change that failed, so each one runs alone.
                log.warning("one of %d changes failed, so each is made by itself: %s", len(works), error)
        return [WorkResult.of(partial(self._change, work)) for work in works]

    def _change(self, work: _Work) -> Any:
        with self._transaction(work.by) as session:
            return work.action(session)

    def _change_together(self, works: list[_Work]) -> list[WorkResult[Any]]:
        def part(connection: Connection, work: _Work) -> Any:
            with self._session(connection, work.by) as session:
                return work.action(session)

        with _faults(self._file), self._connection() as connection, connection.begin():
            return [WorkResult.of(partial(part, connection, work), passing=DBAPIError) for work in works]

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def service_role(service: str, owner: str) -> str:
    """The role that serves, where another one owns the tables.

    Args:
        service: the URL of the role that serves.
        owner: the URL of the owner.

    Raises:
        InvalidInput: one of them is not PostgreSQL, they are not the same database, or the role is not named.
    """
    serving, owning = _parsed(service), _parsed(owner)
    if {serving.get_backend_name(), owning.get_backend_name()} != {"postgresql"}:
        raise InvalidInput("only PostgreSQL has roles: without it, leave the owner's URL out")
    if (serving.host, serving.port or _PORT, serving.database) != (owning.host, owning.port or _PORT, owning.database):
        raise InvalidInput("the owner's URL must name the same server and database as the exchange's")
    if not serving.username or serving.username == owning.username:
        raise InvalidInput("the database's URL must name another role than the owner's, one that owns nothing")
    return serving.username


def add_later(session: Session, row: type[Base], values: dict[str, Any]) -> None:
    """Add a row at the end of the transaction, together with all others of its table."""
    lines: dict[type[Base], list[dict[str, Any]]] = session.info.setdefault(_PENDING, {})
    lines.setdefault(row, []).append(values)


def add_pending(session: Session) -> None:
    """Add the rows of `add_later`."""
    for row, values in session.info.pop(_PENDING, {}).items():
        add_all(session, row, values)


def add_missing(
    session: Session,
    row: type[Base],
    values: Sequence[Mapping[str, Any]],
    *,
    line_of: Callable[[Row[Any]], OpenLine] | None = None,
) -> list[Row[Any]]:
    """Add rows; skip those that any unique index has already, and return those that were added.

    Args:
        session: one that writes.
        row: their class.
        values: their columns.
        line_of: the line of the audit trail for a row that was added; by default the one begun last.
    """
    # Through the table, not the mapped class, which takes four times as long.
    if not values:
        return []
    images = IMAGES.get(row)
    salted = with_salts(values) if images and images.audited.is_personal else list(values)
    added = session.connection().execute(_missing(row, session.get_bind().dialect.name), salted).all()
    if images is not None:
        for each in added:
            line = Unit.of(session).line() if line_of is None else line_of(each)
            note_new(line, images, partial(getattr, each))
    return list(added)


def add_missing_returning(session: Session, row: type[Base], values: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Add rows; skip those that exist already, and return the primary keys of the added ones.

    Raises:
        RuntimeError: the audit trail covers the table: use `add_missing`.
    """
    if row in IMAGES:
        raise RuntimeError(f"the audit trail covers {row.__tablename__}: add its rows with `add_missing`")
    added = _new_key(row, session.get_bind().dialect.name)
    return {tuple(key) for key in session.connection().execute(added, values)}


@functools.cache
def _new(row: type[Base], backend: str) -> Insert:
    table = cast(Table, row.__table__)
    if backend == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


@functools.cache
def _new_key(row: type[Base], backend: str) -> ReturningInsert[Any]:
    return _new(row, backend).returning(*cast(Table, row.__table__).primary_key)


@functools.cache
def _missing(row: type[Base], backend: str) -> ReturningInsert[Any]:
    return _new(row, backend).returning(*cast(Table, row.__table__).columns)


def add_all(session: Session, row: type[Base], values: Sequence[Mapping[str, Any]]) -> None:
    """Add many rows at once; the audit trail has them in the line begun last."""
    if not values:
        return
    images, connection = IMAGES.get(row), session.connection()
    salted = with_salts(values) if images and images.audited.is_personal else list(values)
    names = frozenset(salted[0])
    is_bulk = bulk.fits(row, names) and all(each.keys() == names for each in salted)
    if images is None:
        if is_bulk:
            bulk.insert_rows(connection, row, salted)
        else:
            connection.execute(_all(row), salted)
        return
    line = Unit.of(session).line()
    if is_bulk and names >= images.columns:
        bulk.insert_rows(connection, row, salted)
        for each in salted:
            key = tuple(canonical(each[name]) for name in images.audited.key)
            line.note(images.table, key, "insert", images.of_values(each))
        return
    for added in connection.execute(_all_returning(row), salted):
        note_new(line, images, partial(getattr, added))


def change_all(
    session: Session, row: type[Base], before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> None:
    """Change many rows at once; the audit trail has what changed in the line begun last.

    Args:
        session: one that writes.
        row: their class, with no row of it in the session.
        before: the primary key and the columns that may change, as they are in the database, locked. The trail must
            have the columns as they are.
        after: the same rows and columns, as they are to be.

    Raises:
        RuntimeError: a row does not exist any more; or the trail does not have one of the columns as it is.
    """
    images = IMAGES[row]
    changes = [
        (new, {name: canonical(value) for name, value in new.items() if value != old[name]})
        for old, new in zip(before, after, strict=True)
    ]
    changes = [(new, image) for new, image in changes if image]
    if not changes:
        return
    changed = {name for _, image in changes for name in image}
    if not changed <= {*images.audited.plain}:
        raise RuntimeError(f"the audit trail hides columns of {row.__tablename__}, or has none: change them by the ORM")
    bulk.update_rows(session.connection(), row, sorted(changed), [new for new, _ in changes])
    line, names = Unit.of(session).line(), images.audited.key
    for new, image in changes:
        line.note(images.table, tuple(canonical(new[name]) for name in names), "update", image)


@functools.cache
def _all(row: type[Base]) -> Insert:
    return insert(cast(Table, row.__table__))


@functools.cache
def _all_returning(row: type[Base]) -> ReturningInsert[Any]:
    table = cast(Table, row.__table__)
    return insert(table).returning(*table.columns)


def is_unavailable(error: Exception) -> bool:
    """Whether a change failed because the database is unreachable or full, not because of the change itself."""
    cause = error.__cause__ if isinstance(error, StorageFailed) else None
    if isinstance(cause, TimeoutError):
        return True
    if not isinstance(cause, OperationalError):
        return False
    code = _code_of(cause)
    if isinstance(cause.orig, sqlite3.Error):
        return code.startswith(_UNAVAILABLE_SQLITE)
    return not code or code.startswith(_UNAVAILABLE_POSTGRESQL)


def _code_of(error: DBAPIError) -> str:
    """The database's own code for an error, which never holds data; empty if it gave none."""
    return getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""


@contextlib.contextmanager
def _faults(file: Path | None) -> Iterator[None]:
    """Translate the database's errors; `file` is that of SQLite."""
    try:
        yield
    except (DBAPIError, TimeoutError) as error:
        kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        if isinstance(error, DBAPIError) and _code_of(error):
            kind += f" ({_code_of(error)})"
            if file is not None and isinstance(error.orig, sqlite3.Error):
                locked = sqlite_locked(error.orig, file, busy="another process is changing the database")
                if isinstance(locked, StorageFailed):
                    raise locked from error
        raise StorageFailed(f"the database failed: {kind}. Nothing was changed.", path=Path("database")) from error


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ValueError:  # its message may hold a part of the password
        raise InvalidInput("the database's URL cannot be used: write special characters in it as %40, …") from None


def _engine(url: URL, *, is_sqlite: bool) -> Engine:
    return _sqlite(url) if is_sqlite else _postgresql(url)


def _postgresql(url: URL) -> Engine:
    defaults = {"connect_timeout": _WAIT_S, "tcp_user_timeout": _WAIT_S * 1000, "keepalives_idle": _WAIT_S}
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=40,  # opened when needed and then kept: opening one takes the server longer than a transaction
        max_overflow=10,
        connect_args={name: value for name, value in defaults.items() if name not in url.query},
        hide_parameters=True,  # keeps reports and numbers out of the log
        json_serializer=stored_json,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # For this transaction only: a pooler in between may give the next one another connection.
        lock_wait_s = connection.get_execution_options().get(_LOCK_WAIT)
        if lock_wait_s is not None:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(lock_wait_s * 1000)}")

    return engine


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=40,
        max_overflow=10,
        connect_args={"timeout": _WAIT_S, "check_same_thread": False},
        hide_parameters=True,
        json_serializer=stored_json,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver assumes
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = _LOCK_WAIT in connection.get_execution_options()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
