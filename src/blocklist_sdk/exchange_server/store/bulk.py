"""Many rows in one statement, without the time that SQLAlchemy takes for the values of each row.

PostgreSQL gets each column as an array of JSON, so that hundreds of rows are one journey. SQLite gets the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    String,
    Table,
    any_,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from blocklist_sdk.exchange_server.store.tables import Base, UtcDateTime
from blocklist_sdk.exchange_server.store.trail_lines import canonical_json, moment_text, stored_json


@dataclass(frozen=True, slots=True)
class _Statement:
    sql: str
    columns: tuple[Column[Any], ...]
    is_sqlite: bool


def one_of(
    session: Session, column: InstrumentedAttribute[int] | InstrumentedAttribute[int | None], values: Sequence[int]
) -> ColumnElement[bool]:
    """The condition that a column has one of these values; they are one parameter, however many.

    Args:
        session: that of the query.
        column: of integers.
        values: at most some thousands.
    """
    if session.get_bind().dialect.name == "sqlite":
        given = func.json_each(canonical_json(list(values))).table_valued("value")
        return column.in_(select(given.c.value))
    return column == any_(literal(list(values), ARRAY(BigInteger)))


@cache
def fits(row: type[Base], names: frozenset[str]) -> bool:
    """Whether rows with these columns can be added: no other column has a value that only SQLAlchemy knows."""
    return all(column.key in names or column.default is None for column in cast(Table, row.__table__).columns)


def insert_rows(connection: Connection, row: type[Base], values: Sequence[Mapping[str, Any]]) -> None:
    """Add rows.

    Args:
        connection: one that writes.
        row: their class.
        values: their columns, the same in each row; see `fits`.
    """
    _run(connection, _insert(row, tuple(values[0]), connection.dialect.name), values)


def update_rows(
    connection: Connection, row: type[Base], changed: Sequence[str], values: Sequence[Mapping[str, Any]]
) -> None:
    """Change rows, which exist and are locked.

    Args:
        connection: one that writes.
        row: their class.
        changed: the columns to set.
        values: those columns and the primary key, of each row.

    Raises:
        RuntimeError: some of the rows do not exist.
    """
    count = _run(connection, _update(row, tuple(changed), connection.dialect.name), values)
    if count != len(values):
        raise RuntimeError(f"{len(values)} rows of {row.__tablename__} were to be changed, and {count} were")


def _run(connection: Connection, statement: _Statement, values: Sequence[Mapping[str, Any]]) -> int:
    columns = [(column, [each[column.key] for each in values]) for column in statement.columns]
    sent: Any
    if statement.is_sqlite:
        sent = list(zip(*(_as_bound(connection.dialect, *each) for each in columns), strict=True))
    else:
        sent = tuple(canonical_json(_as_json(*each)) for each in columns)
    return connection.exec_driver_sql(statement.sql, sent).rowcount


def _as_bound(dialect: Dialect, column: Column[Any], values: list[Any]) -> list[Any]:
    """A column's values as SQLAlchemy would give them to the driver."""
    if isinstance(column.type, JSON):
        return [stored_json(value) for value in values]
    process = cast("Callable[[Any], Any] | None", column.type.dialect_impl(dialect).bind_processor(dialect))
    if process is None:
        return values
    if isinstance(column.type, UtcDateTime):  # seldom more than a few different ones
        bound = {value: process(value) for value in set(values)}
        return [bound[value] for value in values]
    return [process(value) for value in values]


def _as_json(column: Column[Any], values: list[Any]) -> list[Any]:
    """A column's values as JSON for PostgreSQL."""
    if isinstance(column.type, JSON):
        return [stored_json(value) for value in values]
    if isinstance(column.type, UtcDateTime):
        return [None if value is None else moment_text(value) for value in values]
    return values


@cache
def _insert(row: type[Base], names: tuple[str, ...], backend: str) -> _Statement:
    table, columns = _columns(row, names)
    quoted = [_quoted(column) for column in columns]
    start = f"INSERT INTO {table} ({', '.join(quoted)})"
    if backend == "sqlite":
        return _Statement(f"{start} VALUES ({', '.join('?' * len(names))})", columns, is_sqlite=True)
    shown = ", ".join(_shown(column) for column in columns)
    sql = f"{start} SELECT {shown} FROM {_sent(columns)}"  # noqa: S608 -- names of our tables and columns
    return _Statement(sql, columns, is_sqlite=False)


@cache
def _update(row: type[Base], names: tuple[str, ...], backend: str) -> _Statement:
    table, others = _columns(row, names)
    keys = tuple(cast(Table, row.__table__).primary_key)
    if backend == "sqlite":
        changes = ", ".join(f"{_quoted(column)} = ?" for column in others)
        these = " AND ".join(f"{_quoted(column)} = ?" for column in keys)
        sql = f"UPDATE {table} SET {changes} WHERE {these}"  # noqa: S608 -- names of our tables and columns
        return _Statement(sql, (*others, *keys), is_sqlite=True)
    columns = (*others, *keys)
    changes = ", ".join(f"{_quoted(column)} = {_shown(column)}" for column in others)
    these = " AND ".join(f"{table}.{_quoted(column)} = {_shown(column)}" for column in keys)
    sql = f"UPDATE {table} SET {changes} FROM {_sent(columns)} WHERE {these}"  # noqa: S608 -- names of ours
    return _Statement(sql, columns, is_sqlite=False)


def _columns(row: type[Base], names: Sequence[str]) -> tuple[str, tuple[Column[Any], ...]]:
    table = cast(Table, row.__table__)
    return table.name, tuple(table.columns[name] for name in names)


_quote = sqlite.dialect().identifier_preparer.quote


def _quoted(column: Column[Any]) -> str:
    return _quote(column.name)


def _sent(columns: Sequence[Column[Any]]) -> str:
    """The rows that PostgreSQL gets as arrays, each value as text."""
    arrays = ", ".join("json_array_elements_text(%s::json)" for _ in columns)
    return f"ROWS FROM ({arrays}) AS sent({', '.join(_quoted(column) for column in columns)})"


def _shown(column: Column[Any]) -> str:
    """A value that was sent, in the column's type. Texts are not cast, which would cut off what is too long."""
    name = f"sent.{_quoted(column)}"
    kind = column.type
    return name if isinstance(kind, String) else f"{name}::{kind.compile(dialect=_POSTGRESQL)}"


_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]
