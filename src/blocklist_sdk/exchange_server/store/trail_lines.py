"""What a line of the audit trail says, how it is hashed, and the rows that the lines add up to. Pure: no database."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Any, Final, Literal, TypeAlias

Operation = Literal["insert", "update", "delete", "erased"]

Change: TypeAlias = list[Any]
"""One row that a line changes: ``[table, key, operation, {column: value}]``, as it is in the trail's JSON."""

RowKey: TypeAlias = tuple[Any, ...]

canonical_json: Final = json.JSONEncoder(check_circular=False, sort_keys=True, separators=(",", ":")).encode
"""JSON in the one form that is hashed: keys sorted, no spaces, nothing but ASCII."""


class Encoded(str):
    """Canonical JSON, to be stored as it is."""

    __slots__ = ()


def stored_json(value: Any) -> str:
    """JSON as the database's columns have it."""
    return value if isinstance(value, Encoded) else canonical_json(value)


@dataclass(frozen=True, slots=True)
class Act:
    """Who does what: a line of the trail begins with it.

    Attributes:
        actor: an account's name, ``exchange`` or ``command line``.
        event: what is done, at most 32 characters.
        detail: more about it, as JSON; nothing personal.
    """

    actor: str
    event: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrailEnd:
    """Where the trail ends.

    Attributes:
        length: number of its lines.
        hash: the hash of the last one; empty if there is none.
    """

    length: int
    hash: str


@dataclass(frozen=True, slots=True)
class TrailLine:
    """A line of the trail.

    Attributes:
        sequence: its number; the first line has 1.
        at: when it was written, UTC.
        actor: who did it.
        event: what was done.
        detail: more about it.
        changes: the rows that were changed, each as ``[table, key, operation, {column: value}]``.
        hash: over the hash of the line before and everything above.
    """

    sequence: int
    at: datetime
    actor: str
    event: str
    detail: dict[str, Any]
    changes: list[Change]
    hash: str

    def expected_hash(self, before: str) -> str:
        """The hash that it must have after the line with the hash `before`."""
        return hash_of(before, self.sequence, self.at, self.actor, self.event, self.detail, self.changes)

    def as_json(self) -> dict[str, Any]:
        """The line as an object of JSON, for an export."""
        names = ("sequence", "actor", "event", "detail", "changes", "hash")
        return {"at": moment_text(self.at)} | {name: getattr(self, name) for name in names}


def hash_of(
    before: str,
    sequence: int,
    at: datetime,
    actor: str,
    event: str,
    detail: Mapping[str, Any],
    changes: Iterable[Change],
) -> str:
    """The hash of a line: SHA-256 over a JSON array of the hash before and of what the line says.

    >>> hash_of("", 1, datetime(2026, 11, 25, tzinfo=UTC), "anna", "decide", {}, [])[:16]
    'd465594678b75600'
    """
    texts = canonical_json(dict(detail)), canonical_json(list(changes))
    return hash_of_texts(before, sequence, at, actor, event, *texts)


def hash_of_texts(before: str, sequence: int, at: datetime, actor: str, event: str, detail: str, changes: str) -> str:
    """As `hash_of`, for details and changes that are canonical JSON already: encoding them takes longest."""
    beginning = canonical_json([before, sequence, moment_text(at), actor, event])
    return hashlib.sha256(f"{beginning[:-1]},{detail},{changes}]".encode()).hexdigest()


def moment_text(at: datetime) -> str:
    """A moment as the trail has it: ISO 8601, UTC.

    >>> moment_text(datetime(2026, 11, 25, 7, tzinfo=UTC))
    '2026-11-25T07:00:00+00:00'
    """
    return at.astimezone(UTC).isoformat()


def canonical(value: Any) -> Any:
    """A column's value as the trail has it: moments as text, anything else as it is."""
    return moment_text(value) if isinstance(value, datetime) else value


def commitment(salt: str, column: str, value: Any) -> str:
    """What the trail has of a personal value: SHA-256 over a JSON array of the row's salt, the column and the value.

    Without the salt, which is only in the row itself, nobody can find the value by trying.

    >>> commitment("00" * 16, "number", 6281234567890)[:16]
    'c92825da8505efb1'
    """
    if type(value) is str:  # most are, and the encoder's own way takes several times as long
        text = f'["{salt}","{column}",{encode_basestring_ascii(value)}]'
    else:
        text = canonical_json([salt, column, canonical(value)])
    return hashlib.sha256(text.encode()).hexdigest()


def plain_hash(value: str) -> str:
    """What the trail has of a value that is a hash already, such as that of a secret."""
    return hashlib.sha256(value.encode()).hexdigest()


class OpenLine:
    """A line that is being written: the changes of a row are put together.

    Attributes:
        act: who does what.
        changes: the changes up to now.
    """

    __slots__ = ("_last", "act", "changes")

    def __init__(self, act: Act) -> None:
        """Nothing has changed yet."""
        self.act: Act = act
        self.changes: list[Change] = []
        self._last: dict[tuple[str, RowKey], Change] = {}

    def note(self, table: str, key: RowKey, operation: Operation, columns: Mapping[str, Any]) -> None:
        """Add a change."""
        earlier = self._last.get((table, key))
        if earlier is not None and operation == "update" and earlier[2] in ("insert", "update"):
            earlier[3].update(columns)
            if earlier[2] == "insert":  # in a new row, a column that is not named is null
                earlier[3] = {name: value for name, value in earlier[3].items() if value is not None}
            return
        change = [table, list(key), operation, dict(columns)]
        self.changes.append(change)
        self._last[table, key] = change


@dataclass(slots=True)
class ExpectedRow:
    """A row as the trail says that it is.

    Attributes:
        columns: plain values, and commitments to personal ones; a column that is missing is null.
        is_erased: whether its personal content and its salt were erased.
    """

    columns: dict[str, Any]
    is_erased: bool = False


ExpectedRows: TypeAlias = dict[str, dict[RowKey, ExpectedRow]]
"""By table and key."""


def fold(lines: Iterable[TrailLine]) -> ExpectedRows:
    """The rows that lines add up to, from the first one on.

    >>> changes = [["cases", [1], "insert", {"events": 1}], ["cases", [1], "update", {"events": 2}]]
    >>> fold([TrailLine(1, datetime(2026, 11, 25, tzinfo=UTC), "anna", "decide", {}, changes, "")])["cases"][1,].columns
    {'events': 2}
    """
    rows: ExpectedRows = {}
    for line in lines:
        fold_line(rows, line)
    return rows


def fold_line(rows: ExpectedRows, line: TrailLine) -> None:
    """Apply one line's changes to the rows of the lines before."""
    for table, key, operation, columns in line.changes:
        found = rows.setdefault(sys.intern(table), {})
        if operation == "delete":
            found.pop(tuple(key), None)
            continue
        row = found.get(tuple(key))
        if row is None or operation == "insert":
            row = found[tuple(key)] = ExpectedRow({})
        for name, value in columns.items():
            row.columns[sys.intern(name)] = value
        row.is_erased = row.is_erased or operation == "erased"
