"""The exchange's database: SQLite, or PostgreSQL by its URL."""

import contextlib
import functools
import logging
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

from sqlalchemy import URL, Connection, Engine, Insert, Table, create_engine, event, insert, inspect, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, TimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from blocklist_sdk.errors import InvalidInput, StorageFailed
from blocklist_sdk.exchange_server.store.group_commit import GroupCommit, Result
from blocklist_sdk.exchange_server.store.tables import SCHEMA, Base, SchemaRow

log = logging.getLogger(__name__)

BACKENDS: Final = ("sqlite", "postgresql")

_WAIT_S: Final = 30
"""How long a change waits for another's, and for a database that does not connect or is cut off from the network."""

_PATIENCE: Final = "patience"
"""Of transactions that write: how long they wait for what others hold, seconds."""

_LATER: Final = "later"

_AWAY_SQLITE: Final = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY")
_AWAY_POSTGRESQL: Final = ("08", "53", "57P")
"""Classes of PostgreSQL's codes: connections, resources, and servers that stop."""

_COLLISIONS: Final = ("40001", "40P01")
"""PostgreSQL's codes for transactions of which one has to begin anew."""

_TRIES: Final = 5

T = TypeVar("T")

_Action: TypeAlias = Callable[[Session], Any]


class Database:
    """Transactions: many that read, and those that write.

    In SQLite only one writes at a time; those of this process queue for it here, where they wait without polling.
    Changes that wait share a transaction, each with a savepoint of its own, since making them durable is what takes
    longest.
    """

    def __init__(self, url: str, *, directory: Path) -> None:
        """Connect to nothing yet.

        Args:
            url: SQLAlchemy's; a relative SQLite path is relative to the folder.
            directory: the exchange's folder.

        Raises:
            InvalidInput: the URL is none, or of another kind of database.
        """
        self._turns = GroupCommit(self._change_all)
        try:
            parsed = _parsed(url)
            backend = parsed.get_backend_name()
            if backend not in BACKENDS:
                raise InvalidInput(f"the database is {backend!r}, but these are known: {', '.join(BACKENDS)}")
            self._is_sqlite = backend == "sqlite"
            if self._is_sqlite:
                if not parsed.database or parsed.database == ":memory:":
                    raise InvalidInput("name a file in the database's URL, as in sqlite:///exchange.sqlite")
                parsed = parsed.set(drivername="sqlite", database=str(directory / parsed.database))
            else:
                parsed = parsed.set(drivername="postgresql+psycopg")
            self._engine = _engine(parsed, is_sqlite=self._is_sqlite)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InvalidInput(f"the database's URL cannot be used: {error}") from error

    def create(self) -> None:
        """Make the tables.

        Raises:
            InvalidInput: there are some already.
            StorageFailed: the database refused.
        """
        with self.writing() as session:
            if inspect(session.connection()).has_table(SchemaRow.__tablename__):
                raise InvalidInput("the database holds an exchange already: name another one")
            Base.metadata.create_all(session.connection())
            session.add(SchemaRow(version=SCHEMA))

    def check(self) -> None:
        """Look whether the tables are those of this version.

        Raises:
            InvalidInput: they are not.
            StorageFailed: the database cannot be reached.
        """
        with self.reading() as session:
            connection = session.connection()
            known = inspect(connection).has_table(SchemaRow.__tablename__)
            version = session.scalar(select(SchemaRow.version)) if known else None
        if version is None:
            raise InvalidInput("the database holds no exchange: run `blocklist exchange init`")
        if version != SCHEMA:
            raise InvalidInput(f"the database has version {version}, this blocklist-sdk has {SCHEMA}: upgrade")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that reads.

        Raises:
            StorageFailed: the database cannot be reached.
        """
        with _faults(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed, durably, if nothing is raised.

        Raises:
            StorageFailed: the database cannot be reached, or refused.
        """
        with self._turns.turn if self._is_sqlite else contextlib.nullcontext(), self._transaction() as session:
            yield session

    @contextlib.contextmanager
    def _transaction(self, patience_s: float | None = None) -> Iterator[Session]:
        with _faults(), self._connection(patience_s) as connection, _session(connection) as session:
            yield session

    def _connection(self, patience_s: float | None = None) -> Connection:
        return self._engine.connect().execution_options(**{_PATIENCE: _WAIT_S if patience_s is None else patience_s})

    def change(self, action: Callable[[Session], T], *, patience_s: float | None = None) -> T:
        """Run a transaction that writes; again where it and another one waited for each other.

        Args:
            action: may run several times.
            patience_s: how long it waits for what another transaction holds, half a minute where nothing is said; of no
                account on SQLite, where changes take turns.

        Raises:
            StorageFailed: the database cannot be reached, or refused.
        """
        if self._is_sqlite:
            return cast(T, self._turns.do(action))
        for _ in range(_TRIES):
            try:
                with self._transaction(patience_s) as session:
                    return action(session)
            except StorageFailed as error:
                if not (isinstance(error.__cause__, DBAPIError) and _code_of(error.__cause__) in _COLLISIONS):
                    raise
        with self._transaction(patience_s) as session:
            return action(session)

    def _change_all(self, actions: "list[_Action]") -> list[Result[Any]]:
        if len(actions) > 1:
            try:
                return self._change_together(actions)
            except StorageFailed as error:
                if is_away(error):
                    return [Result.failed(error)] * len(actions)
                # After a fault SQLite may have undone more than the change that met it: then each runs by itself.
                log.warning("of %d changes one met a fault, so each is made by itself: %s", len(actions), error)
        return [Result.of(partial(self._change, action)) for action in actions]

    def _change(self, action: Callable[[Session], T]) -> T:
        with self._transaction() as session:
            return action(session)

    def _change_together(self, actions: "list[_Action]") -> list[Result[Any]]:
        def part(connection: Connection, action: _Action) -> Any:
            with _session(connection) as session:
                return action(session)

        with _faults(), self._connection() as connection, connection.begin():
            return [Result.of(partial(part, connection, action), but=DBAPIError) for action in actions]

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()


@contextlib.contextmanager
def _session(connection: Connection) -> Iterator[Session]:
    """A session whose commit is one of the connection, or within a transaction of the connection a part of it."""
    with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session:
        yield session
        session.flush()
        write_lines(session)
        session.commit()


def write_later(session: Session, row: type[Base], values: dict[str, Any]) -> None:
    """Add a row when the transaction ends, together with all others of its table."""
    lines: dict[type[Base], list[dict[str, Any]]] = session.info.setdefault(_LATER, {})
    lines.setdefault(row, []).append(values)


def write_lines(session: Session) -> None:
    """Add what `write_later` put off."""
    for row, values in session.info.pop(_LATER, {}).items():
        add_all(session, row, values)


def add_new(session: Session, row: type[Base], values: list[dict[str, Any]]) -> None:
    """Add rows, and pass over those that are there already, by any unique index."""
    # Through the table, not the mapped class, which takes four times as long.
    if values:
        session.connection().execute(_new(row, session.get_bind().dialect.name), values)


def add_if_new(session: Session, row: type[Base], values: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Add rows, and pass over those that are there already; the primary keys of those that are new."""
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


def add_all(session: Session, row: type[Base], values: list[dict[str, Any]]) -> None:
    """Add many rows at once."""
    if values:
        session.connection().execute(_all(row), values)


@functools.cache
def _all(row: type[Base]) -> Insert:
    return insert(cast(Table, row.__table__))


def is_away(error: Exception) -> bool:
    """Whether a change failed since the database was not at hand or has no room, and not by what was to be changed."""
    cause = error.__cause__ if isinstance(error, StorageFailed) else None
    if isinstance(cause, TimeoutError):
        return True
    if not isinstance(cause, OperationalError):
        return False
    code = _code_of(cause)
    if isinstance(cause.orig, sqlite3.Error):
        return code.startswith(_AWAY_SQLITE)
    return not code or code.startswith(_AWAY_POSTGRESQL)


def _code_of(error: DBAPIError) -> str:
    """The database's own name for a fault, which holds nothing of what was to be changed; empty where it gave none."""
    return getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, TimeoutError) as error:
        kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        if isinstance(error, DBAPIError) and _code_of(error):
            kind += f" ({_code_of(error)})"
        raise StorageFailed(f"the database refused: {kind}. Nothing was changed.", path=Path("database")) from error


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ValueError:  # its message may name a part of the password
        raise InvalidInput("the database's URL cannot be used: write special characters in it as %40, …") from None


def _engine(url: URL, *, is_sqlite: bool) -> Engine:
    return _sqlite(url) if is_sqlite else _postgresql(url)


def _postgresql(url: URL) -> Engine:
    usual = {"connect_timeout": _WAIT_S, "tcp_user_timeout": _WAIT_S * 1000, "keepalives_idle": _WAIT_S}
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=40,  # opened as they are needed, and then kept: a new one takes the server longer than a transaction
        max_overflow=10,
        connect_args={name: value for name, value in usual.items() if name not in url.query},
        hide_parameters=True,  # what people complain about stands in no log
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # For the transaction alone: a pooler between may give the next one another connection.
        patience_s = connection.get_execution_options().get(_PATIENCE)
        if patience_s is not None:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(patience_s * 1000)}")

    return engine


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=40,
        max_overflow=10,
        connect_args={"timeout": _WAIT_S, "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = _PATIENCE in connection.get_execution_options()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
