"""A recipient's own decisions and holds, in SQLite: durable, for several processes, and no sync changes them."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blocklist_sdk.disk import storage_failed
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, StorageFailed
from blocklist_sdk.locks import sqlite_locked
from blocklist_sdk.modes import PRIVATE, SHARED, Access
from blocklist_sdk.places import absolute, advice_on

if TYPE_CHECKING:
    import sqlite3

_FORMAT: Final = 3
"""Format 1 had no `last`: each override was on a single number. Format 2 had no `era`: holds named serials alone."""

_WAIT_S: Final = 10.0
"""How long one change waits for another process's change."""

_OVERRIDES: Final = """
    CREATE TABLE overrides (
        number INTEGER NOT NULL,
        last INTEGER NOT NULL CHECK (last >= number),
        decision TEXT NOT NULL CHECK (decision IN ('allow', 'block')),
        reason TEXT NOT NULL,
        author TEXT NOT NULL,
        created TEXT NOT NULL,
        until TEXT,
        PRIMARY KEY (number, last)
    ) STRICT, WITHOUT ROWID
    """
"""`last` is the number itself for a single number."""

_SCHEMA: Final = (
    _OVERRIDES,
    "CREATE TABLE holds (name TEXT PRIMARY KEY, serial INTEGER NOT NULL, era INTEGER) STRICT",
)
"""`era` is null where a hold was made before eras were known."""

_OLD_COLUMNS: Final = "number, number AS last, decision, reason, author, created, until"
"""The columns of overrides, read from a file of format 1."""

_FROM_FORMAT_1: Final = (
    "ALTER TABLE overrides RENAME TO overrides_1",
    _OVERRIDES,
    f"INSERT INTO overrides SELECT {_OLD_COLUMNS} FROM overrides_1",  # noqa: S608 -- a constant
    "DROP TABLE overrides_1",
)

_FROM_FORMAT_2: Final = ("ALTER TABLE holds ADD COLUMN era INTEGER",)

_MIGRATIONS: Final = {0: _SCHEMA, 1: (*_FROM_FORMAT_1, *_FROM_FORMAT_2), 2: _FROM_FORMAT_2}
"""What turns a file of each earlier format into one of this; 0 is a new one."""

_OVERRIDES_VIEW: Final = f"CREATE TEMP VIEW overrides AS SELECT {_OLD_COLUMNS} FROM main.overrides"  # noqa: S608 -- a constant
_HOLDS_VIEW: Final = "CREATE TEMP VIEW holds AS SELECT name, serial, NULL AS era FROM main.holds"
_VIEWS: Final = {1: (_OVERRIDES_VIEW, _HOLDS_VIEW), 2: (_HOLDS_VIEW,)}
"""What shows a file of an earlier format as one of this. A file is only converted when something is written, since a
reader may have no permission to."""

_REMOVALS: Final = """
    CREATE TABLE IF NOT EXISTS removals (
        number INTEGER NOT NULL,
        last INTEGER NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (number, last)
    ) STRICT, WITHOUT ROWID
    """
"""Overrides that somebody removed, and when. Made by the first change; an older version leaves it alone."""

_COUNTER_START, _COUNTER_END = 24, 28
"""Where SQLite counts the changes of a file (https://sqlite.org/fileformat.html, 1.3.7)."""

_HAS_TABLE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"

Stamp = tuple[int, int, bytes]
"""Another one after every change of the file."""


class LocalDatabase:
    """One feed's file. May be shared by threads; each use opens the file again, so a fork inherits no connection.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, access: Access = PRIVATE) -> None:
        """Takes a file that need not exist; the first change makes it, and those may read it who have the access."""
        self.path = path
        self._access = access

    def stamp(self) -> Stamp | None:
        """A value that changes whenever the content does; None if there is no file.

        Raises:
            StorageFailed: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                return status.st_ino, status.st_mtime_ns, file.read(_COUNTER_END)[_COUNTER_START:]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise self._not_readable() from error
        except OSError as error:
            raise storage_failed(error, self.path) from error

    def read(self, query: str, arguments: Sequence[Any] = (), *, table: str | None = None) -> list[tuple[Any, ...]]:
        """The rows that a query finds; an empty list if there is no file.

        Args:
            query: SQL.
            arguments: for its question marks.
            table: a table that may be missing in a file of an earlier version, which then has no rows.

        Raises:
            Malformed: the file is damaged.
            InvalidInput: it was written by a newer version of this library.
            Locked, StorageFailed: it cannot be read.
        """
        try:
            if not self.path.exists():
                return []
        except PermissionError as error:
            raise self._not_readable() from error
        # Readers write as well, if they may: they undo what a killed process left half-written.
        with self._connected("rw" if os.access(self.path, os.W_OK) else "ro") as connection:
            if _is_empty(connection):
                return []
            connection.execute("PRAGMA temp_store = MEMORY")  # so that the view needs no disk
            connection.execute("BEGIN")  # so that no other process converts the file in between
            for view in _VIEWS.get(_version(connection), ()):
                connection.execute(view)
            if table is not None and not connection.execute(_HAS_TABLE, (table,)).fetchall():
                return []
            return connection.execute(query, arguments).fetchall()

    def share(self) -> None:
        """Give a file that exists its access, which may have been asked for after it was made.

        Raises:
            StorageFailed: the disk refused.
        """
        try:
            self._access.give_database(self.path)
        except OSError as error:
            raise storage_failed(error, self.path) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator["sqlite3.Connection"]:
        """A transaction, all of it or nothing, durable at the end; raises the errors of `read`."""
        try:
            self._access.make(self.path.parent, is_ours=True)
            if not self._is_shared():
                self._access.prepare_database(self.path)
        except OSError as error:
            raise storage_failed(error, self.path.parent) from error
        with self._connected("rwc") as connection:
            connection.execute("BEGIN IMMEDIATE")
            version = _version(connection)
            if version < _FORMAT:
                for statement in _MIGRATIONS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute(_REMOVALS)
            yield connection
            connection.execute("COMMIT")

    def damaged(self, error: Exception) -> Malformed:
        """The error to raise if the content makes no sense."""
        return Malformed(
            f"the overrides in {self.path} are damaged ({error}): restore a copy, or remove the file and import them "
            "again. Until then no question is answered, since an innocent number might be blocked."
        )

    @contextlib.contextmanager
    def _connected(self, mode: str) -> Iterator["sqlite3.Connection"]:
        import sqlite3  # here, since most look-ups find no file

        uri = f"{absolute(self.path).as_uri()}?mode={mode}"
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)
            with contextlib.closing(connection):
                connection.execute("PRAGMA synchronous = FULL")
                if _version(connection) > _FORMAT:
                    raise InvalidInput(f"{self.path} was written by a newer blocklist-sdk: upgrade this installation")
                yield connection
        except sqlite3.OperationalError as error:
            raise self._refused(error) from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from error

    def _is_shared(self) -> bool:
        """Whether somebody has shared the file with a group, which must go on asking when another program decides."""
        if self._access.is_explicit:
            return False
        try:
            return stat.S_IMODE(os.lstat(self.path).st_mode) == SHARED.file_mode
        except FileNotFoundError:
            return False

    def _not_readable(self) -> StorageFailed:
        return StorageFailed(
            f"this user may not read {self.path}, which has the overrides, and without them no question is answered: "
            "ask as the user who syncs, or let that user sync with --group (BLOCKLIST_GROUP) and a group of both",
            path=self.path,
        )

    def _refused(self, error: "sqlite3.OperationalError") -> BlocklistError:
        locked = sqlite_locked(error, self.path, busy=f"another process is changing {self.path}")
        if locked is not None:
            return locked
        if error.sqlite_errorname == "SQLITE_ERROR":
            return self.damaged(error)
        return StorageFailed(
            f"cannot use {self.path}: {error}. Check that the directory can be written and has room; "
            f"nothing half-written is in force.{advice_on(self.path)}",
            path=self.path,
        )


def _is_empty(connection: "sqlite3.Connection") -> bool:
    """Whether nothing was ever written: the first change was killed, or met a full disk, and was undone."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return not pages


def _version(connection: "sqlite3.Connection") -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
