"""A recipient's own decisions on numbers and ranges; no sync changes them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, NoReturn, get_args

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput, InvalidNumber, Locked, Refused, not_pickled
from blocklist_sdk.numbers.reach import MAX_COVER, covered, range_text
from blocklist_sdk.recipient.cache.local_database import LocalDatabase, Stamp
from blocklist_sdk.recipient.cache.override_rows import COLUMNS_OF_FILE, override_of, row_of
from blocklist_sdk.records import Override
from blocklist_sdk.texts import from_spreadsheet_cell, spreadsheet_cell

if TYPE_CHECKING:
    from blocklist_sdk.numbers import Form, FormDecision
    from blocklist_sdk.numbers.fast import Normalizer
    from blocklist_sdk.tables.options import TableOptions
    from blocklist_sdk.tables.rejects import Reject

_COLUMNS: Final = ("number", "decision", "reason", "author", "until")
"""The columns of the CSV form; `created` is when a row was imported."""

_READS_MAX: Final = 100
"""How often to read overrides that are different each time, before giving up."""

_REMOVALS_KEPT: Final = timedelta(days=400)
"""How long a removal is remembered: longer than a sink is left without a run."""

_Decision = Literal["allow", "block"]

_Ends = tuple[int, int]
"""The first and last number of a range; twice the same for a single number."""


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
        region: str | None,
        form: "Form",
        is_protected: Callable[[int], bool],
        changed: Callable[[], None],
    ) -> None:
        """For `Blocklist`; not for users."""
        self._database = database
        self._read = read
        self._region = region
        self._form: Form = form
        self._read_column = read_column
        self._is_protected = is_protected
        self._changed = changed

    def __reduce__(self) -> NoReturn:
        raise not_pickled("an Overrides", "take those of a list that each process opens")

    def allow(
        self,
        number: str | int,
        *,
        reason: str,
        until: datetime | None = None,
        author: str | None = None,
        max_cover: int = MAX_COVER,
    ) -> Override:
        """Never block a number or a range, whatever the feed says; replaces an earlier decision on the same numbers.

        On a number that several decisions cover, the one on this number alone decides, then the one on the narrowest
        range, then the latest.

        Args:
            number: a text as people write numbers, or an E.164 integer. Also a range or pattern, as lists have them:
                see `blocklist_sdk.numbers.parse_pattern`.
            reason: why; must not be empty.
            until: when the decision ends, timezone-aware; None if it never does.
            author: who decided; by default the user who runs this process.
            max_cover: how many assigned numbers a range or pattern may cover.

        Returns:
            The decision. A pattern that means several ranges makes one for each; this is the first, and `decide`
            returns all.

        Raises:
            InvalidNumber: `number` is not a telephone number, range or pattern.
            InvalidInput: the number is protected, `until` is past or has no time zone, or `reason` is empty.
            Refused: the range or pattern covers more than `max_cover` numbers.
            Locked: another process is changing overrides.
            StorageFailed: the local disk failed.
        """
        return self.decide("allow", number, reason=reason, until=until, author=author, max_cover=max_cover)[0]

    def block(
        self,
        number: str | int,
        *,
        reason: str,
        until: datetime | None = None,
        author: str | None = None,
        max_cover: int = MAX_COVER,
    ) -> Override:
        """Block a number or a range for every scope, whatever the feed says; otherwise like `allow`."""
        return self.decide("block", number, reason=reason, until=until, author=author, max_cover=max_cover)[0]

    def decide(
        self,
        decision: Literal["allow", "block"],
        number: str | int,
        *,
        reason: str,
        until: datetime | None = None,
        author: str | None = None,
        max_cover: int = MAX_COVER,
    ) -> tuple[Override, ...]:
        """Allow or block, and return a decision for each range that a pattern means; otherwise like `allow`."""
        overrides = self._overrides(
            self._ranges(number, self._read, self._form), decision, reason, until, author, max_cover
        )
        self._put(*overrides)
        return overrides

    def remove(self, number: str | int) -> bool:
        """Remove the decision on exactly a number, range or pattern; False if it has none.

        Raises:
            InvalidNumber, Locked, StorageFailed: as for `allow`.
        """
        ranges = self._ranges(number, self._read, self._form)
        with self._database.writing() as connection:
            removed = [
                ends
                for ends in ranges
                if connection.execute("DELETE FROM overrides WHERE number = ? AND last = ?", ends).rowcount
            ]
            now = times.now()
            # A decision that was removed differs from one that is lost: a run into a sink asks for it.
            connection.executemany(
                "INSERT OR REPLACE INTO removals VALUES (?, ?, ?)", [(*ends, now.isoformat()) for ends in removed]
            )
            connection.execute("DELETE FROM removals WHERE at < ?", ((now - _REMOVALS_KEPT).isoformat(),))
        self._changed()
        return bool(removed)

    def removals(self) -> dict[tuple[int, int], datetime]:
        """The decisions that somebody removed in the last 400 days, by first and last number, and when.

        Raises:
            Malformed, InvalidInput: as for `load`.
        """
        rows = self._database.read("SELECT number, last, at FROM removals", table="removals")
        try:
            return {(number, last): datetime.fromisoformat(at) for number, last, at in rows}
        except (ValueError, TypeError) as error:
            raise self._database.damaged(error) from error

    def get(self, number: str | int) -> Override | None:
        """The decision on exactly a number or range, in force or not; None if it has none.

        `Blocklist.check` has the decision that applies to a number, also one on a range. Of a pattern that means
        several ranges, the decision on the first one that has one is returned.

        Raises:
            InvalidNumber: `number` is not a telephone number, range or pattern.
            Malformed: the file is damaged.
        """
        for ends in self._ranges(number, self._read, self._form):
            for override in self._on(*ends):
                return override
        return None

    def __iter__(self) -> Iterator[Override]:
        """All decisions by number, a range by its first one, those that have ended as well.

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
                numbers = f"+{override.number}" if override.last is None else f"+{override.number}-+{override.last}"
                texts = spreadsheet_cell(override.reason), spreadsheet_cell(override.author)
                writer.writerow((numbers, override.decision, *texts, until))
        return len(overrides)

    def import_file(
        self,
        source: Path | str | BinaryIO,
        *,
        author: str | None = None,
        options: "TableOptions | None" = None,
        notify: Callable[[str], None] | None = None,
        max_cover: int = MAX_COVER,
    ) -> ImportResult:
        """Import decisions from a table, all valid rows in one step; they replace earlier ones on the same numbers.

        Numbers may be ranges and patterns, as for `allow`.

        Args:
            source: a CSV file or another table, or an open binary file such as standard input, with the columns
                ``number``, ``decision`` and ``reason``, and perhaps ``author`` and ``until`` (ISO 8601; UTC without a
                time zone).
            author: who decided, for rows without an author.
            options: how to read a table that does not speak for itself.
            notify: called with what was skipped above the header, which columns are ignored, which words do not fit
                their mapping, and in which form the numbers were read.
            max_cover: how many assigned numbers a range or pattern may cover; a row with more is rejected.

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
        count = 0
        meanings = Meanings(known=_COLUMNS, number=None, needed=_COLUMNS[:3], options="--map (columns=)")
        table_options = options or PLAIN
        source = Path(source) if isinstance(source, str) else source
        with open_table(source, meanings=meanings, options=table_options) as table:
            tell = notify or _say_nothing
            for note in told(table.notes, table.ignored):
                tell(note)
            rows = list(table.records(rejects))
            for words in table.words:
                if remark := words.remark():
                    tell(remark)
            read, decision = self._read_column([row.get("number", "") for _, row in rows])
            if decision.texts:
                tell(str(decision))
            for line, row in rows:
                try:
                    good += self._from_row(
                        row, author, read, decision.form, max_cover, date_format=table_options.date_format
                    )
                    count += 1
                except (InvalidInput, Refused) as error:
                    rejects.append(Reject(line, str(error), row.get("number", "")))
        if good:
            self._put(*good)
        return ImportResult(count, tuple(sorted(rejects, key=lambda reject: reject.line)))

    def load(self) -> list[Override]:
        """All decisions, by number.

        Raises:
            Malformed: the file is damaged.
            InvalidInput: it was written by a newer version of this library.
        """
        return self._load("ORDER BY number, last")

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

    def _on(self, first: int, last: int) -> list[Override]:
        """The decision on exactly a number or range, if there is one."""
        return self._load("WHERE number = ? AND last = ?", first, last)

    def _load(self, clause: str, *arguments: int) -> list[Override]:
        query = f"SELECT {COLUMNS_OF_FILE} FROM overrides {clause}"  # noqa: S608 -- constants of this package
        rows = self._database.read(query, arguments)
        try:
            return [override_of(row) for row in rows]
        except (ValueError, TypeError) as error:
            raise self._database.damaged(error) from error

    def stamp(self) -> Stamp | None:
        """A value that changes whenever the decisions do; None before the first."""
        return self._database.stamp()

    def _from_row(
        self,
        row: Mapping[str, str],
        author: str | None,
        read: "Normalizer",
        form: "Form | None",
        max_cover: int,
        *,
        date_format: str | None,
    ) -> tuple[Override, ...]:
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
        return self._overrides(
            self._ranges(row.get("number", ""), read, form),
            "allow" if decision == "allow" else "block",
            from_spreadsheet_cell(row.get("reason", "")),
            until,
            from_spreadsheet_cell(row.get("author", "").strip()) or author,
            max_cover,
        )

    def _ranges(self, number: str | int, read: Callable[[Any], int], form: "Form | None") -> Sequence[_Ends]:
        """The ends of each range that a number, range or pattern means.

        Raises:
            InvalidNumber: it is neither.
        """
        try:
            e164 = read(number)
        except InvalidNumber:
            if not isinstance(number, str):
                raise
        else:
            return [(e164, e164)]
        from blocklist_sdk.numbers.patterns import parse_pattern

        return [(found.first, found.last) for found in parse_pattern(number, region=self._region, form=form)]

    def _overrides(
        self,
        ranges: Sequence[_Ends],
        decision: _Decision,
        reason: str,
        until: datetime | None,
        author: str | None,
        max_cover: int,
    ) -> tuple[Override, ...]:
        now = times.now()
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1] and self._is_protected(ranges[0][0]):
            raise InvalidInput("this number is protected, so it is never blocked: an override has no effect on it")
        _check_cover(ranges, max_cover)
        author = author or _user()
        if not all(isinstance(text, str) and _is_utf8(text) for text in (reason, author)) or not reason.strip():
            raise InvalidInput("reason must be text that is not empty, and author must be text")
        end = None if until is None else _end(until, now)
        return tuple(
            Override(first, decision, reason.strip(), author, now, end, last=None if last == first else last)
            for first, last in ranges
        )

    def _put(self, *overrides: Override) -> None:
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO overrides VALUES (?, ?, ?, ?, ?, ?, ?)", map(row_of, overrides)
            )
        self._changed()


def _check_cover(ranges: Sequence[_Ends], max_cover: int) -> None:
    """Check that one range or pattern does not cover more assigned numbers than it may.

    Raises:
        Refused: it does.
    """
    wide = [ends for ends in ranges if ends[0] != ends[1]]
    if not wide:
        return
    first, last = np.array(wide, np.int64).T
    count = int(covered(first, last).sum())
    if count > max_cover:
        shown = range_text(int(first[0]), int(last[0])) + (" and more" if len(wide) > 1 else "")
        reason = f"{shown} covers {count:,} numbers"
        raise Refused(
            f"{reason}. One override may cover {max_cover:,} numbers. Nothing was decided. Correct the pattern, "
            f"or, if it is right, allow so many: max_cover={count}, or --max-cover {count}.",
            reasons=(reason,),
        )


def _say_nothing(_: str) -> None:
    """Take a remark that no caller asked for."""


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


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
