"""Which tables the audit trail covers, and how each column enters it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import Table

from blocklist_sdk.exchange_server.store.tables import (
    AccountRow,
    AnswerRow,
    AppealRow,
    AssertionRow,
    AuditHeadRow,
    AuditRow,
    Base,
    BudgetRow,
    CaseRow,
    ClockRow,
    CycleRow,
    DecisionRow,
    EvidenceRow,
    FeedRow,
    HistoryRow,
    InstanceRow,
    ListingRow,
    PublishingRow,
    ReceiptRow,
    RecycledRow,
    ReportRow,
    SchemaRow,
    WaitingRow,
    new_salts,
)
from blocklist_sdk.exchange_server.store.trail_lines import RowKey, canonical, commitment, plain_hash

SALT: Final = "salt"

_EMPTY: Final[tuple[Any, ...]] = (None, "", 0, [], {}, datetime(1970, 1, 1, tzinfo=UTC))
"""What an erased column may hold: null, or what stands for nothing where null is not allowed."""


@dataclass(frozen=True, slots=True)
class Audited:
    """How a table enters the trail. Every column that is not named here enters as it is.

    Attributes:
        row: the table's class.
        noun: what one row is called, in messages.
        key: the columns that name a row; for receipts not its ID, which is known only after it is written.
        personal: columns that enter as commitments, with the salt that is in the row.
        hashed: columns that enter as their plain hash, since they are hashes of secrets.
        left_out: columns that do not enter.
    """

    row: type[Base]
    noun: str
    key: tuple[str, ...] = ("id",)
    personal: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def table(self) -> Table:
        """The table."""
        return cast(Table, self.row.__table__)

    @property
    def plain(self) -> tuple[str, ...]:
        """The columns that enter as they are."""
        others = {*self.key, *self.personal, *self.hashed, *self.left_out, SALT}
        return tuple(column.key for column in self.table.columns if column.key not in others)

    @property
    def is_personal(self) -> bool:
        """Whether it has personal columns, and with them a salt."""
        return bool(self.personal)


AUDITED: Final = (
    Audited(AccountRow, "account", hashed=("secret_hash",)),
    Audited(CaseRow, "case", personal=("number",)),
    Audited(ReportRow, "report", personal=("number", "app", "text", "happened_at", "reporter")),
    Audited(AppealRow, "appeal", personal=("number", "grounds", "appellant", "reason")),
    Audited(EvidenceRow, "evidence", personal=("name",)),
    Audited(DecisionRow, "decision", personal=("reason",)),
    Audited(ListingRow, "listing", personal=("number",)),
    Audited(FeedRow, "feed", key=("name",)),
    Audited(WaitingRow, "waiting release", key=("feed",), personal=("examples",)),
    Audited(CycleRow, "cycle", key=("month",)),
    Audited(
        ReceiptRow,
        "receipt",
        key=("account_id", "listing_id", "serial", "outcome"),
        personal=("detail",),
        left_out=("id",),
    ),
    Audited(RecycledRow, "recycled receipt", personal=("reason",), left_out=("reminded_at",)),
)
"""The tables that the trail covers."""

NOT_AUDITED: Final[Mapping[type[Base], str]] = {
    InstanceRow: "the identity of the database, which never changes",
    SchemaRow: "the version of the tables",
    AssertionRow: "what was used once, for minutes",
    ClockRow: "what the clock has shown; that a person accepted it is a line",
    BudgetRow: "counters of quotas",
    PublishingRow: "whether publishing works, for readiness",
    AnswerRow: "copies of responses, for a week",
    HistoryRow: "has a chain of its own for each case, which ends in `cases.head`",
    AuditRow: "the trail itself",
    AuditHeadRow: "where the trail ends",
}
"""The tables that it does not cover, and why."""


class Images:
    """Makes the images of one table's rows: what the trail says of them.

    Attributes:
        audited: how the table enters the trail.
        table: its name.
        columns: the columns that enter.
    """

    def __init__(self, audited: Audited) -> None:
        """For a table."""
        self.audited: Audited = audited
        self.table: str = audited.table.name
        self.columns: frozenset[str] = frozenset({*audited.key, *audited.plain, *audited.personal, *audited.hashed})
        self._plain = audited.plain
        self._hidden: dict[str, Callable[[str, str, Any], Any]] = {
            **dict.fromkeys(audited.personal, _committed),
            **dict.fromkeys(audited.hashed, _hashed),
        }
        self._how = {**dict.fromkeys(audited.plain, _plain), **self._hidden}

    def key_of(self, value_of: Callable[[str], Any]) -> RowKey:
        """A row's key."""
        return tuple(canonical(value_of(name)) for name in self.audited.key)

    def of(self, value_of: Callable[[str], Any], names: Iterable[str] | None = None) -> dict[str, Any]:
        """The image of a row: of all its columns that are not null, or of those that are named.

        Args:
            value_of: returns a column's value.
            names: columns that changed; others than the audited ones are skipped.
        """
        salt = value_of(SALT) if self.audited.is_personal else ""
        if names is None:
            return dict(self._not_null(value_of, salt))
        how = self._how
        return {name: _image(how[name], salt, name, value_of(name)) for name in names if name in how}

    def of_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The image of a row that is not of the ORM: of all its columns that are not null.

        Args:
            values: all its audited columns, and the salt if it has one.
        """
        salt = values[SALT] if self.audited.is_personal else ""
        image = {name: canonical(values[name]) for name in self._plain if values[name] is not None}
        for name, how in self._hidden.items():
            if values[name] is not None:
                image[name] = how(salt, name, values[name])
        return image

    def _not_null(self, value_of: Callable[[str], Any], salt: str) -> Iterator[tuple[str, Any]]:
        for name, how in self._how.items():
            value = value_of(name)
            if value is not None:
                yield name, how(salt, name, value)

    def without_personal(self, image: Mapping[str, Any]) -> dict[str, Any]:
        """An image without its personal columns."""
        return {name: value for name, value in image.items() if name not in self.audited.personal}

    def name_of(self, key: Sequence[Any]) -> str:
        """What a row is called in a message, such as ``decision 4``."""
        if len(key) == 1:
            return f"{self.audited.noun} {key[0]}"
        shown = ", ".join(f"{name} {value}" for name, value in zip(self.audited.key, key, strict=False))
        return f"{self.audited.noun} ({shown})"


def _image(how: Callable[[str, str, Any], Any], salt: str, name: str, value: Any) -> Any:
    return None if value is None else how(salt, name, value)


def _plain(salt: str, name: str, value: Any) -> Any:
    return canonical(value)


def _committed(salt: str, name: str, value: Any) -> str:
    return commitment(salt, name, value)


def _hashed(salt: str, name: str, value: Any) -> str:
    return plain_hash(value)


def is_empty(value: Any) -> bool:
    """Whether a personal column holds nothing, as after its content was erased."""
    return any(value == empty and isinstance(value, type(empty)) for empty in _EMPTY)


def with_salts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The values of rows, each with a new salt unless it has one."""
    salts = iter(new_salts(len(rows)))
    return [{**values} if SALT in values else {**values, SALT: next(salts)} for values in rows]


IMAGES: Final[Mapping[type[Base], Images]] = {each.row: Images(each) for each in AUDITED}
"""By class."""
