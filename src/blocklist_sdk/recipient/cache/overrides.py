"""A recipient's own decisions on numbers: kept beside the generations, so that no sync touches them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

from blocklist_sdk import times
from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput, Locked
from blocklist_sdk.recipient.cache.local_database import LocalDatabase, Stamp
from blocklist_sdk.records import Override

_COLUMNS: Final = ("number", "decision", "reason", "author", "until")
"""Of the CSV form; `created` is when it came in."""

_LOOKS: Final = 100
"""How often to read before it counts as changing all the time."""

Decision = Literal["allow", "block"]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What came of importing overrides.

    Attributes:
        rows: taken over.
        rejects: lines that were not, with the reason.
    """

    rows: int
    rejects: tuple[tuple[int, str], ...]


class Overrides:
    """The overrides of one feed; see `Blocklist.overrides`.

    They take effect at once in the `Blocklist` they belong to, and within a second in every other process. May be
    shared by threads and processes.
    """

    def __init__(
        self,
        database: LocalDatabase,
        *,
        read: Callable[[str | int], int],
        is_protected: Callable[[int], bool],
        changed: Callable[[], None],
    ) -> None:
        """For `Blocklist`."""
        self._database = database
        self._read = read
        self._is_protected = is_protected
        self._changed = changed

    def allow(
        self, number: str | int, *, reason: str, until: datetime | None = None, author: str | None = None
    ) -> Override:
        """Never block a number, whatever a feed says; replaces an earlier decision on it.

        Args:
            number: a text as people write numbers, or an E.164 integer.
            reason: why; must not be empty.
            until: when it ends, timezone-aware; None for never.
            author: who decided; by default the user this process runs as.

        Raises:
            InvalidNumber: it is no number.
            InvalidInput: the number is protected, the end is past or has no time zone, or there is no reason.
            Locked: another process is changing overrides.
            StorageFailed: the disk refused.
        """
        return self._put(self._override(number, "allow", reason, until, author))

    def block(
        self, number: str | int, *, reason: str, until: datetime | None = None, author: str | None = None
    ) -> Override:
        """Block a number for every scope, whatever a feed says; otherwise like `allow`."""
        return self._put(self._override(number, "block", reason, until, author))

    def remove(self, number: str | int) -> bool:
        """Take a decision back; False if there was none.

        Raises:
            InvalidNumber: it is no number.
            Locked, StorageFailed: as for `allow`.
        """
        e164 = self._read(number)
        with self._database.writing() as connection:
            gone = connection.execute("DELETE FROM overrides WHERE number = ?", (e164,)).rowcount > 0
        self._changed()
        return gone

    def get(self, number: str | int) -> Override | None:
        """The decision on a number, in force or not.

        Raises:
            InvalidNumber: it is no number.
            Malformed: the file is damaged.
        """
        e164 = self._read(number)
        return next(iter(self._load("SELECT * FROM overrides WHERE number = ?", e164)), None)

    def __iter__(self) -> Iterator[Override]:
        """All of them by number, also those that have ended.

        Raises:
            Malformed: the file is damaged.
            InvalidInput: it was written by a newer version of this library.
        """
        return iter(self.load())

    def __len__(self) -> int:
        return len(self.load())

    def export_csv(self, path: str | Path) -> int:
        """Write all of them as CSV, replacing the file; returns how many.

        Raises:
            StorageFailed: it cannot be written.
        """
        import csv

        found = self.load()
        with replaced(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for each in found:
                until = "" if each.until is None else each.until.isoformat()
                writer.writerow((f"+{each.number}", each.decision, each.reason, each.author, until))
        return len(found)

    def import_csv(self, path: str | Path, *, author: str | None = None) -> ImportResult:
        """Take over decisions from CSV, all that can be in one step; they replace earlier ones on the same numbers.

        Args:
            path: with the columns ``number``, ``decision``, ``reason``, and if need be ``author`` and ``until`` (ISO
                8601 with a time zone).
            author: who decided, where the file does not say.

        Raises:
            InvalidInput: the file cannot be read, or lacks a column.
            Locked, StorageFailed: as for `allow`.
        """
        import csv

        rejects: list[tuple[int, str]] = []
        good: list[Override] = []
        try:
            with Path(path).open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                missing = {"number", "decision", "reason"} - set(reader.fieldnames or ())
                if missing:
                    raise InvalidInput(f"{path} lacks the column {', '.join(sorted(missing))}: it needs a header line")
                for row in reader:
                    try:
                        good.append(self._from_row(row, author))
                    except InvalidInput as error:
                        rejects.append((reader.line_num, str(error)))
        except (OSError, UnicodeError, csv.Error) as error:
            raise InvalidInput(f"cannot read {path}: {error}") from error
        if good:
            self._put(*good)
        return ImportResult(len(good), tuple(rejects))

    def load(self) -> list[Override]:
        """All of them, by number; none where there is no file.

        Raises:
            Malformed: the file is damaged.
            InvalidInput: it was written by a newer version of this library.
        """
        return self._load("SELECT * FROM overrides ORDER BY number")

    def load_stamped(self) -> tuple[list[Override], Stamp | None]:
        """All of them, and the stamp of just this content.

        Raises:
            Malformed, InvalidInput: as for `load`.
            Locked: they were changed all the time.
        """
        before = self.stamp()
        for _ in range(_LOOKS):
            found, after = self.load(), self.stamp()
            # What a killed process left half-written has a stamp too, until a reader takes it back.
            if after == before:
                return found, after
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
        """Changes whenever they do; None for no file."""
        return self._database.stamp()

    def _from_row(self, row: dict[str, str | None], author: str | None) -> Override:
        decision = (row["decision"] or "").strip().lower()
        if decision not in get_args(Decision):
            raise InvalidInput(f"{decision!r} is no decision: allow or block")
        try:
            until = datetime.fromisoformat(text) if (text := (row.get("until") or "").strip()) else None
        except ValueError as error:
            raise InvalidInput(f"{text!r} is no moment: write it as 2027-01-31T00:00:00Z") from error
        return self._override(
            row["number"] or "",
            "allow" if decision == "allow" else "block",
            row["reason"] or "",
            until,
            (row.get("author") or "").strip() or author,
        )

    def _override(
        self, number: str | int, decision: Decision, reason: str, until: datetime | None, author: str | None
    ) -> Override:
        e164 = self._read(number)
        now = times.now()
        if self._is_protected(e164):
            raise InvalidInput("that is a protected number, which is never blocked: an override has no effect on it")
        author = author or _user()
        if not all(isinstance(text, str) and _is_utf8(text) for text in (reason, author)) or not reason.strip():
            raise InvalidInput("an override needs a reason, for whoever finds it later; it and the author are text")
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
        raise InvalidInput("an override ends at a datetime with a time zone")
    try:
        until = until.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"{until.isoformat()} is beyond the last moment there is: leave the end out") from error
    if until <= now:
        raise InvalidInput(f"an override cannot end in the past: {until.isoformat()}")
    return until


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
