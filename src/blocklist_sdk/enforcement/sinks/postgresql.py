"""The sink for PostgreSQL: a table, and the number of the last batch in the same transaction, so each is done once."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, LiteralString

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from blocklist_sdk.enforcement.items import Batch
from blocklist_sdk.enforcement.sink import (
    DETAIL_CHARS_MAX,
    HeldItem,
    Outcome,
    SinkIdentity,
    SinkUnavailable,
    done_except,
)
from blocklist_sdk.enforcement.sinks import columns
from blocklist_sdk.enforcement.sinks.options import password_of, read_sink_url, truth
from blocklist_sdk.errors import InvalidInput, foreign_text
from blocklist_sdk.records import SCOPES

_TABLE: Final = "blocklist"

_NAME_BYTES: Final = 63 - len("_cursor")
"""PostgreSQL silently cuts a name after 63 bytes, and the cursor's name must not become the table's."""

_DEFAULTS: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "60000",
    "application_name": "blocklist-sdk",
}
"""Settings of the connection that the URL may replace, so that no wait is endless: seconds, seconds, milliseconds."""

POSTGRESQL_OPTIONS: Final = frozenset({
    "table", "create",
    "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "options", "application_name",
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslsni", "ssl_min_protocol_version",
    "channel_binding", "require_auth", "gssencmode", "krbsrvname", "target_session_attrs", "load_balance_hosts",
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
})  # fmt: skip
"""The options that the URL may have: the sink's own, and those of libpq that say where and how to connect."""

_STATEMENT_MS: Final = 300_000
_LOCK_MS: Final = 30_000
"""How long a statement may take, and how long it may wait for a row that another transaction has locked."""

_FETCHED: Final = 50_000
"""Rows that are read at once."""

_ROW_ERRORS: Final = ("21", "22", "23", "44", "P0")
"""Classes of SQLSTATE that are about one row: its data, a constraint, a view's check, an error from a trigger.

Source: PostgreSQL documentation, appendix A. All others are about the server, the table or the transaction.
"""

_ROW_SECURITY: Final = "ExecWithCheckOptions"
"""The function in PostgreSQL that refuses a row because of a policy; its SQLSTATE also means missing rights."""

_SEARCH_PATH: Final = re.compile(r"(?:-c\s*|--)search_path=(\S+)")
"""In the connection's options, where a table without a schema is looked for."""

_SETTINGS: Final = """
SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, true)
"""
"""Settings for one transaction, so that they work behind a pooler. What is acknowledged must survive a power cut."""

_CREATE: Final[tuple[LiteralString, ...]] = (
    """
    CREATE TABLE IF NOT EXISTS {table} (
        feed text NOT NULL,
        number bigint NOT NULL,
        last bigint NOT NULL,
        scope text[] NOT NULL,
        category text NOT NULL,
        entries bigint[] NOT NULL,
        until timestamptz,
        serial bigint NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (feed, number)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS {cursor} (
        feed text NOT NULL,
        ledger text NOT NULL,
        batch bigint NOT NULL,
        serial bigint NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (feed, ledger)
    )
    """,
)

_STAGE: Final = """
CREATE TEMPORARY TABLE blocklist_batch (
    position integer, number bigint, last bigint, scope text[], category text, entries bigint[], until timestamptz
) ON COMMIT DROP
"""

_INDEX: Final = "CREATE UNIQUE INDEX ON pg_temp.blocklist_batch (position)"
"""For batches that are written in halves, quarters and so on."""

_COPY: Final = "COPY pg_temp.blocklist_batch FROM STDIN (FORMAT csv)"

_WRITE: Final = """
INSERT INTO {table} AS t (feed, number, last, scope, category, entries, until, serial, updated_at)
SELECT %(feed)s, number, last, scope, category, entries, until, %(serial)s, now()
FROM pg_temp.blocklist_batch WHERE position >= %(start)s AND position < %(end)s
ON CONFLICT (feed, number) DO UPDATE SET last = excluded.last, scope = excluded.scope, category = excluded.category,
    entries = excluded.entries, until = excluded.until, serial = excluded.serial, updated_at = excluded.updated_at
"""

_DELETE: Final = """
DELETE FROM {table} AS t USING pg_temp.blocklist_batch AS b
WHERE t.feed = %(feed)s AND t.number = b.number AND b.position >= %(start)s AND b.position < %(end)s
"""

_NOT_WRITTEN: Final = """
SELECT b.position FROM pg_temp.blocklist_batch AS b
LEFT JOIN {table} AS t ON t.feed = %(feed)s AND t.number = b.number
WHERE b.position >= %(start)s AND b.position < %(end)s
    AND (t.last IS DISTINCT FROM b.last OR t.scope IS DISTINCT FROM b.scope OR t.serial <> %(serial)s)
"""

_NOT_DELETED: Final = """
SELECT b.position FROM pg_temp.blocklist_batch AS b JOIN {table} AS t ON t.feed = %(feed)s AND t.number = b.number
WHERE b.position >= %(start)s AND b.position < %(end)s
"""

_MOVE_CURSOR: Final = """
INSERT INTO {cursor} (feed, ledger, batch, serial) VALUES (%(feed)s, %(ledger)s, %(batch)s, %(serial)s)
ON CONFLICT (feed, ledger) DO UPDATE SET batch = excluded.batch, serial = excluded.serial, updated_at = now()
"""

_EXISTS: Final = "SELECT to_regclass(%s) IS NOT NULL"

_IS_EMPTY: Final = "SELECT NOT EXISTS (SELECT FROM {table} WHERE feed = %s)"

_APPLIED: Final = "SELECT batch FROM {cursor} WHERE feed = %s AND ledger = %s"

_CURRENT: Final = "SELECT number, last, array_to_string(scope, '+') FROM {table} WHERE feed = %s"


def open_postgres_sink(
    url: str, *, feed: str, ledger: str = "", create: bool | None = None, password: str | None = None
) -> "PostgresSink":
    """Open a sink in PostgreSQL. It connects when it is first used.

    Args:
        url: a URL of libpq, such as ``postgresql://user@host/database``, with `POSTGRESQL_OPTIONS` after a question
            mark. Among them are ``table=``, which is ``TABLE`` or ``SCHEMA.TABLE``, by default ``blocklist``, and
            ``create=false``.
        feed: the feed of what it will hold.
        ledger: the id of the ledger, if several ledgers write the same feed into one table.
        create: make the tables if they do not exist; None for the URL's ``create``, or yes.
        password: the password; None for the one in the URL, in the variable ``BLOCKLIST_SINK_PASSWORD``, or where libpq
            finds it: PGPASSWORD, PGPASSFILE, a service.

    Raises:
        InvalidInput: the URL cannot be used.
    """
    read, options = read_sink_url(
        url,
        kind="a PostgreSQL sink",
        known=POSTGRESQL_OPTIONS,
        example="postgresql://user:password@host:5432/database",
    )
    if create is None:
        create = truth("create", options.get("create", "true"))
    names = options.get("table", _TABLE).split(".")
    if len(names) > 2 or not all(0 < len(name.encode()) <= _NAME_BYTES for name in names):
        raise InvalidInput(
            f"table must be NAME or SCHEMA.NAME, each of at most {_NAME_BYTES} bytes, not {'.'.join(names)!r}"
        )
    secret = password_of(read, options.get("password"), password)
    own = {name: options[name] for name in options if name not in ("table", "create", "password")}
    try:
        # Without the password, so that libpq cannot repeat it.
        address = psycopg.conninfo.conninfo_to_dict(f"postgresql://{read.hosts}{read.path}")
        settings: dict[str, Any] = {**address, **({"user": read.user} if read.user else {}), **own}
    except psycopg.ProgrammingError as error:
        raise InvalidInput(f"{read} cannot be used: {foreign_text(error)}") from None
    if secret is not None:
        settings["password"] = secret
    settings = {**_DEFAULTS, **settings}
    return PostgresSink(settings, names, feed=feed, ledger=ledger, create=create)


class PostgresSink:
    """A PostgreSQL table. Made by `open_postgres_sink`."""

    def __init__(self, settings: dict[str, Any], table: Sequence[str], *, feed: str, ledger: str, create: bool) -> None:
        self._settings = settings
        self._table = ".".join(table)
        self._names = _identifiers(table)
        # In a statement with parameters psycopg reads every per cent sign, also those within names.
        self._names_beside_parameters = _identifiers([part.replace("%", "%%") for part in table])
        self._feed = feed
        self._ledger = ledger
        self._create = create
        self._connection: psycopg.Connection[Any] | None = None
        self._has_tables = False

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Write or delete the rows of a batch, in one transaction with the cursor.

        If a constraint, a trigger or a policy refuses a row, its outcome is ``refused``, with the reason. The others
        are written in the same transaction, and the cursor does not move.

        Raises:
            InvalidInput: the tables are to be made in a schema that does not exist.
            SinkUnavailable: the server cannot be reached, or fails.
        """
        about = {"feed": self._feed, "ledger": self._ledger, "batch": batch.number_in_ledger, "serial": batch.serial}
        refused: dict[int, str] = {}
        with self._connected() as connection, _transaction(connection):
            # Deferred constraints would fail at the commit, without saying which row it was.
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            connection.execute(_STAGE)
            with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.write(_as_csv(batch, encoding=connection.info.parameter_status("server_encoding")))
            self._write(connection, batch, 0, len(batch), refused)
            if not refused:
                # The cursor cannot say which rows are missing. After a crash such a batch simply comes again.
                connection.execute(self._sql(_MOVE_CURSOR), about)
        return done_except(batch, refused)

    def applied(self) -> int | None:
        """`number_in_ledger` of the last batch of this feed and ledger; None before the first.

        Raises:
            SinkUnavailable: the server cannot be reached, or fails.
        """
        with self._connected() as connection, _transaction(connection):
            found = connection.execute(self._sql(_APPLIED), (self._feed, self._ledger)).fetchone()
            return None if found is None else int(found[0])

    def is_empty(self) -> bool:
        """Whether the table has no item of the feed, or does not exist.

        Raises:
            SinkUnavailable: the server cannot be reached, or fails.
        """
        # Whoever only asks makes no table: it may be the wrong database.
        with self._connected(makes=False) as connection, _transaction(connection):
            exists = connection.execute(_EXISTS, (self._names["table"].as_string(connection),)).fetchone()
            if exists != (True,):
                return True
            found = connection.execute(self._sql(_IS_EMPTY), (self._feed,)).fetchone()
            return found is not None and bool(found[0])

    def identity(self) -> SinkIdentity:
        """Server, database and table."""
        names = ("host", "hostaddr", "port", "service")
        host, hostaddr, port, service = (str(self._settings.get(name) or "") for name in names)
        where = (host or hostaddr or service) + (f":{port}" if port else "")
        path = _SEARCH_PATH.search(str(self._settings.get("options") or "")) if "." not in self._table else None
        table = self._table + (f"&search_path={path[1]}" if path else "")
        return SinkIdentity(f"postgresql://{where}/{self._settings.get('dbname') or ''}?table={table}")

    def current(self) -> Iterator[HeldItem]:
        """Every item of the feed in the table, as of the moment when reading begins.

        Raises:
            SinkUnavailable: the server cannot be reached, or fails.
        """
        known: dict[str, tuple[str, ...]] = {}
        with self._connected():
            pass  # makes the table
        with (
            _translated(),
            contextlib.closing(self._connect()) as connection,
            _transaction(connection),
            connection.cursor(name="blocklist_current") as cursor,
        ):
            cursor.itersize = _FETCHED
            cursor.execute(self._sql(_CURRENT), (self._feed,))
            for number, last, text in cursor:
                scope = known.get(text)
                if scope is None:
                    parts = set(text.split("+"))
                    scope = known[text] = tuple(part for part in SCOPES if part in parts)
                yield HeldItem(number, last, scope)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(
        self, connection: psycopg.Connection[Any], batch: Batch, start: int, end: int, refused: dict[int, str]
    ) -> None:
        """Write the rows of some positions; if they fail together, in halves."""
        try:
            with connection.transaction():
                refused |= self._write_together(connection, batch, start, end)
        except psycopg.Error as error:
            if not _is_about_a_row(error):
                raise
            if end - start == 1:
                refused[start] = _reason(error)
                return
            if end - start == len(batch):
                connection.execute(_INDEX)
            middle = (start + end) // 2
            self._write(connection, batch, start, middle, refused)
            self._write(connection, batch, middle, end, refused)

    def _write_together(
        self, connection: psycopg.Connection[Any], batch: Batch, start: int, end: int
    ) -> dict[int, str]:
        """Write the rows of some positions; returns those that a trigger has left out, with the reason."""
        about = {"feed": self._feed, "serial": batch.serial, "start": start, "end": end}
        lifts = batch.operation == "unblock"
        written = connection.execute(self._sql(_DELETE if lifts else _WRITE), about)
        if written.rowcount == end - start:
            return {}
        missing = connection.execute(self._sql(_NOT_DELETED if lifts else _NOT_WRITTEN), about).fetchall()
        return {position: "a trigger or rule of the table left it out" for (position,) in missing}

    def _sql(self, text: LiteralString) -> sql.Composed:
        """A statement that is executed with parameters."""
        return sql.SQL(text).format(**self._names_beside_parameters)

    def _connect(self) -> psycopg.Connection[Any]:
        # Behind a pooler, prepared statements get lost.
        return psycopg.connect(**self._settings, autocommit=True, prepare_threshold=None)

    @contextlib.contextmanager
    def _connected(self, *, makes: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """The connection, which is closed after any error; `makes` the tables if they do not exist."""
        with _translated():
            try:
                if self._connection is None or not _answers(self._connection):
                    self.close()
                    self._connection = self._connect()
                    self._has_tables = False
                if makes and not self._has_tables:
                    self._make_tables(self._connection)
                    self._has_tables = True
                yield self._connection
            except BaseException:
                self.close()
                raise

    def _make_tables(self, connection: psycopg.Connection[Any]) -> None:
        if not self._create:
            return
        names = [name.as_string(connection) for name in self._names.values()]
        with _transaction(connection):
            # If they exist, the right to make them is not needed.
            exist = connection.execute("SELECT to_regclass(%s) IS NOT NULL AND to_regclass(%s) IS NOT NULL", names)
            if (exist.fetchone() or (False,))[0]:
                return
            # Two processes that make the same table at once would disturb each other.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('blocklist-sdk'))")
            try:
                for statement in _CREATE:
                    connection.execute(sql.SQL(statement).format(**self._names))
            except psycopg.errors.InvalidSchemaName as error:
                schema = self._names["table"].as_string(connection).rpartition(".")[0]
                raise InvalidInput(
                    f"PostgreSQL: {_text(error)}: create the schema, as with CREATE SCHEMA {schema}, or correct the "
                    f"sink's table={self._table}"
                ) from error


def _identifiers(table: Sequence[str]) -> dict[str, sql.Identifier]:
    """The names of the tables for statements."""
    return {"table": sql.Identifier(*table), "cursor": sql.Identifier(*table[:-1], f"{table[-1]}_cursor")}


def _answers(connection: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection still works; firewalls and restarts cut it."""
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


_AUTHORIZATION: Final = "28"
_INSUFFICIENT_PRIVILEGE: Final = "42501"
"""PostgreSQL's class of errors about accounts, and its error about rights."""

_REFUSED_AT_CONNECT: Final = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
    "is not permitted to log in",
    'role "',  # … does not exist
)
"""While a connection is made, libpq hands on the server's message alone. In another language than English it is not
known, and the server counts as one that cannot be reached."""


@contextlib.contextmanager
def _transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    with connection.transaction():
        connection.execute(_SETTINGS, (str(_STATEMENT_MS), str(_LOCK_MS)))
        yield


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        message = (
            f"PostgreSQL: {_text(error)}; make the sink's tables as docs/how-to/enforce-into-postgresql.md says, "
            "or leave create=false out"
        )
        raise SinkUnavailable(message) from error
    except psycopg.Error as error:
        raise SinkUnavailable(f"PostgreSQL: {_text(error)}", is_permitted=not _is_about_rights(error)) from error


def _is_about_a_row(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(_ROW_ERRORS) or error.diag.source_function == _ROW_SECURITY


def _is_about_rights(error: psycopg.Error) -> bool:
    """Whether the server does not know the account, or does not permit it this."""
    state = error.sqlstate or ""
    if not state and isinstance(error, psycopg.OperationalError):
        return any(words in str(error) for words in _REFUSED_AT_CONNECT)
    return state.startswith(_AUTHORIZATION) or state == _INSUFFICIENT_PRIVILEGE


def _text(error: psycopg.Error) -> str:
    return foreign_text(error.diag.message_primary or error)


def _reason(error: psycopg.Error) -> str:
    """Why a row was refused.

    Telephone numbers are masked, since the reason goes into a receipt. PostgreSQL's detail, which quotes the row, is
    left out.
    """
    return _text(error)[:DETAIL_CHARS_MAX]


def _as_csv(batch: Batch, *, encoding: str | None) -> bytes:
    items = batch.items
    table = pa.table(
        {
            "position": pa.array(range(len(items)), pa.int32()),
            "number": items.number,
            "last": items.last,
            "scope": columns.scopes(items, opening="{", quote="", closing="}"),
            "category": columns.categories(items, written=lambda name: _storable(name, encoding)),
            "entries": columns.entries(items, opening="{", closing="}"),
            "until": columns.untils(items),
        }
    )
    out = io.BytesIO()
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(include_header=False, batch_size=1 << 16))
    return out.getvalue()


def _storable(text: str, encoding: str | None) -> str:
    """The text, with what the database cannot store replaced: NUL in any, and all but ASCII in one without UTF-8."""
    text = text.replace("\x00", "\ufffd")
    return text if encoding in ("UTF8", "SQL_ASCII") else text.encode("ascii", "backslashreplace").decode()
