"""A recipient's own decisions on numbers; no sync changes them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, get_args

from blocklist_sdk import times
from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput, Locked
from blocklist_sdk.recipient.cache.local_database import LocalDatabase, Stamp
from blocklist_sdk.records import Override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blocklist_sdk.numbers import FormDecision
    from blocklist_sdk.numbers.fast import Normalizer
    from blocklist_sdk.tables.options import TableOptions
    from blocklist_sdk.tables.rejects import Reject

_COLUMNS: Final = ("number", "decision", "reason", "author", "until")
"""The columns of the CSV form; `created` is when a row was imported."""

_READS_MAX: Final = 100
"""How often to read overrides that are different each time, before giving up."""

_Decision = Literal["allow", "block"]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of importing overrides.

    Attributes:
        rows: the number of rows that were imported.
        rejects: the rows that were not imported, with their lines and why.
    """

    rows: int
    rejects: tuple["Reject", ...]


class Overrides:
    """The overrides of one feed; use `Blocklist.overrides`. May be shared by threads and processes.

    They take effect at once in their `Blocklist`, and within a second in every other process.
    """

    def __init__(
        self,
        database: LocalDatabase,
        *,
        read: Callable[[str | int], int],
        read_column: "Callable[[Sequence[str]], tuple[Normalizer, FormDecision]]",
        is_protected: Callable[[int], bool],
        changed: Callable[[], None],
    ) -> None:
        """For `Blocklist`; not for users."""
        self._database = database
        self._read = read
        self._read_column = read_column
        self._is_protected = is_protected
        self._changed = changed

    def allow(
        self, number: str | int, *, reason: str, until: datetime | None = None, author: str | None = None
    ) -> Override:
        """Never block a number, whatever the feed says; replaces an earlier decision on it.

        Args:
            number: a text as people write numbers, or an E.164 integer.
            reason: why; must not be empty.
            until: when the decision ends, timezone-aware; None if it never does.
            author: who decided; by default the user who runs this process.

        Raises:
            InvalidNumber: `number` is not a telephone number.
            InvalidInput: the number is protected, `until` is past or has no time zone, or `reason` is empty.
            Locked: another process is changing overrides.
            StorageFailed: the local disk failed.
        """
        return self._put(self._override(number, "allow", reason, until, author))

    def block(
        self, number: str | int, *, reason: str, until: datetime | None = None, author: str | None = None
    ) -> Override:
        """Block a number for every scope, whatever the feed says; otherwise like `allow`."""
        return self._put(self._override(number, "block", reason, until, author))

    def remove(self, number: str | int) -> bool:
        """Remove the decision on a number; False if it has none.

        Raises:
            InvalidNumber, Locked, StorageFailed: as for `allow`.
        """
        e164 = self._read(number)
        with self._database.writing() as connection:
            gone = connection.execute("DELETE FROM overrides WHERE number = ?", (e164,)).rowcount > 0
        self._changed()
        return gone

    def get(self, number: str | int) -> Override | None:
        """The decision on a number, in force or not; None if it has none.

        Raises:
            InvalidNumber: `number` is not a telephone number.
            Malformed: the file is damaged.
        """
        e164 = self._read(number)
        return next(iter(self._load("SELECT * FROM overrides WHERE number = ?", e164)), None)

    def __iter__(self) -> Iterator[Override]:
        """All decisions by number, those that have ended as well.

        Raises:
            Malformed, InvalidInput: as for `load`.
        """
        return iter(self.load())

    def __len__(self) -> int:
        return len(self.load())

    def export_csv(self, path: str | Path) -> int:
        """Write all decisions as CSV, in place of the file if there is one; returns how many.

        Raises:
            StorageFailed: the file cannot be written.
        """
        import csv

        overrides = self.load()
        with replaced(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for override in overrides:
                until = "" if override.until is None else override.until.isoformat()
                writer.writerow((f"+{override.number}", override.decision, override.reason, override.author, until))
        return len(overrides)

    def import_file(
        self,
        source: Path | str | BinaryIO,
        *,
        author: str | None = None,
        options: "TableOptions | None" = None,
        notify: Callable[[str], None] | None = None,
    ) -> ImportResult:
        """Import decisions from a table, all valid rows in one step; they replace earlier ones on the same numbers.

        Args:
            source: a CSV file or another table, or an open binary file such as standard input, with the columns
                ``number``, ``decision`` and ``reason``, and perhaps ``author`` and ``until`` (ISO 8601; UTC without a
                time zone).
            author: who decided, for rows without an author.
            options: how to read a table that does not speak for itself.
            notify: called with what was skipped above the header, which columns are ignored, which words do not fit
                their mapping, and in which form the numbers were read.

        Raises:
            InvalidInput: the file cannot be read, or lacks a column.
            Locked, StorageFailed: as for `allow`.
        """
        from blocklist_sdk.tables.header import Meanings
        from blocklist_sdk.tables.options import PLAIN
        from blocklist_sdk.tables.rejects import Reject
        from blocklist_sdk.tables.table import open_table, told

        rejects: list[Reject] = []
        good: list[Override] = []
        meanings = Meanings(known=_COLUMNS, number=None, needed=_COLUMNS[:3], options="--map (columns=)")
        table_options = options or PLAIN
        source = Path(source) if isinstance(source, str) else source
        with open_table(source, meanings=meanings, options=table_options) as table:
            for note in told(table.notes, table.ignored) if notify else ():
                notify(note)  # type: ignore[misc]
            rows = list(table.records(rejects))
            for words in table.words if notify else ():
                if remark := words.remark():
                    notify(remark)  # type: ignore[misc]
            read, decision = self._read_column([row.get("number", "") for _, row in rows])
            if notify and decision.texts:
                notify(str(decision))
            for line, row in rows:
                try:
                    good.append(self._from_row(row, author, read, table_options.date_format))
                except InvalidInput as error:
                    rejects.append(Reject(line, str(error), row.get("number", "")))
        if good:
            self._put(*good)
        return ImportResult(len(good), tuple(sorted(rejects, key=lambda reject: reject.line)))

    def load(self) -> list[Override]:
        """All decisions, by number.

        Raises:
            Malformed: the file is damaged.
            InvalidInput: it was written by a newer version of this library.
        """
        return self._load("SELECT * FROM overrides ORDER BY number")

    def load_stamped(self) -> tuple[list[Override], Stamp | None]:
        """All decisions, and the stamp of exactly this content.

        Raises:
            Malformed, InvalidInput: as for `load`.
            Locked: they change all the time.
        """
        before = self.stamp()
        for _ in range(_READS_MAX):
            overrides, after = self.load(), self.stamp()
            # What a killed process left half-written has a stamp as well, until a reader undoes it.
            if after == before:
                return overrides, after
            before = after
        raise Locked(f"the overrides in {self._database.path} change all the time: try again", path=self._database.path)

    def _load(self, query: str, *arguments: int) -> list[Override]:
        rows = self._database.read(query, arguments)
        try:
            return [
                Override(number, decision, reason, author, _moment(created), _moment(until) if until else None)
                for number, decision, reason, author, created, until in rows
            ]
        except (ValueError, TypeError) as error:
            raise self._database.damaged(error) from error

    def stamp(self) -> Stamp | None:
        """A value that changes whenever the decisions do; None before the first."""
        return self._database.stamp()

    def _from_row(
        self, row: Mapping[str, str], author: str | None, read: "Normalizer", date_format: str | None
    ) -> Override:
        from blocklist_sdk.tables.cells import why_digits_are_gone
        from blocklist_sdk.tables.dates import why_no_moment

        decision = row.get("decision", "").strip().lower()
        if decision not in get_args(_Decision):
            raise InvalidInput(f"the decision must be allow or block, not {decision!r}")
        if gone := why_digits_are_gone(row.get("number", "")):
            raise InvalidInput(gone)
        try:
            text = row.get("until", "").strip()
            until = datetime.fromisoformat(text) if text else None
        except ValueError as error:
            reason = why_no_moment("until", text, example="2027-01-31", date_format=date_format)
            raise InvalidInput(reason) from error
        if until is not None and until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return self._override(
            read(row.get("number", "")),
            "allow" if decision == "allow" else "block",
            row.get("reason", ""),
            until,
            row.get("author", "").strip() or author,
        )

    def _override(
        self, number: str | int, decision: _Decision, reason: str, until: datetime | None, author: str | None
    ) -> Override:
        e164 = self._read(number)
        now = times.now()
        if self._is_protected(e164):
            raise InvalidInput("this number is protected, so it is never blocked: an override has no effect on it")
        author = author or _user()
        if not all(isinstance(text, str) and _is_utf8(text) for text in (reason, author)) or not reason.strip():
            raise InvalidInput("reason must be text that is not empty, and author must be text")
        return Override(e164, decision, reason.strip(), author, now, None if until is None else _end(until, now))

    def _put(self, *overrides: Override) -> Override:
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO overrides VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (o.number, o.decision, o.reason, o.author, o.created.isoformat(), o.until and o.until.isoformat())
                    for o in overrides
                ],
            )
        self._changed()
        return overrides[-1]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _end(until: datetime, now: datetime) -> datetime:
    if getattr(until, "tzinfo", None) is None:
        raise InvalidInput("the end of an override must be a datetime with a time zone")
    try:
        until = until.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"{until.isoformat()} is after the last date that Python knows: leave it out") from error
    if until <= now:
        raise InvalidInput(f"the end of an override must be in the future, not {until.isoformat()}")
    return until


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
