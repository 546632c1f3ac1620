"""The exchange's database tables, for SQLAlchemy; the same in SQLite and PostgreSQL.

Moments are UTC to the whole second. Rows of `history` and `audit_trail` are only added: the database itself refuses to
change one. A column `salt` hides the row's personal values in the audit trail; see `store.audited`.
"""

import secrets
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    event,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from blocklist_sdk.exchange.models import AppealState, Channel, DecisionKind, ReceiptOutcome
from blocklist_sdk.records import Level

SCHEMA: Final = 2
"""Version of these tables."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite stores no time zone, so it is removed there and added back."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime(timezone=True)
    cache_ok: bool | None = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BigKey: BigInteger = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows only in columns of type INTEGER, which have 64 bits there."""


_SALT_BYTES: Final = 16


def new_salt() -> str:
    """Random bytes that hide a row's personal values in the audit trail: 16, in hexadecimal digits."""
    return secrets.token_hex(_SALT_BYTES)


def new_salts(count: int) -> list[str]:
    """As `new_salt`, for many rows: asking the system for each takes longer than writing it."""
    drawn = secrets.token_hex(_SALT_BYTES * count)
    return [drawn[start : start + 2 * _SALT_BYTES] for start in range(0, len(drawn), 2 * _SALT_BYTES)]


class Base(DeclarativeBase):
    """The base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime(), dict[str, Any]: JSON(), int: BigKey}


class SchemaRow(Base):
    """The version of the tables."""

    __tablename__ = "schema_version"
    version: Mapped[int] = mapped_column(primary_key=True)


class InstanceRow(Base):
    """The identity of this database, which stands in access tokens."""

    __tablename__ = "instance"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)


class AccountRow(Base):
    """An account; `renewed_at` is when its secret was last renewed.

    `certificates` are the fingerprints of the client certificates that it is bound to, separated by spaces.
    """

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[str | None] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(Text)
    certificates: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    renewed_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]


class AssertionRow(Base):
    """A signed assertion that was used; each is accepted once."""

    __tablename__ = "assertions"
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    jti: Mapped[str] = mapped_column(String(200), primary_key=True)
    expires_at: Mapped[datetime]


class AnswerRow(Base):
    """The response stored for an idempotency key; `request` is the fingerprint of the request."""

    __tablename__ = "answers"
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(index=True)


class CaseRow(Base):
    """All reports on one number; each number has at most one open case."""

    __tablename__ = "cases"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), index=True)
    officer: Mapped[str | None] = mapped_column(String(64))
    opened_at: Mapped[datetime] = mapped_column(index=True)
    complete_at: Mapped[datetime | None]
    verifying_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None] = mapped_column(index=True)
    enforced_at: Mapped[datetime | None] = mapped_column(index=True)
    closed_at: Mapped[datetime | None]
    events: Mapped[int] = mapped_column(default=0)
    head: Mapped[str] = mapped_column(String(64), default="")
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)
    __table_args__: Any = (
        Index(
            "one_open_case",
            "number",
            unique=True,
            sqlite_where=sql("closed_at IS NULL"),
            postgresql_where=sql("closed_at IS NULL"),
        ),
        Index("cases_by_number", "number"),
    )


class ReportRow(Base):
    """A complaint."""

    __tablename__ = "reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    number: Mapped[int] = mapped_column(index=True)
    category: Mapped[str] = mapped_column(String(64))
    channel: Mapped[Channel] = mapped_column(String(16))
    app: Mapped[str | None] = mapped_column(String(200))
    text: Mapped[str] = mapped_column(Text)
    happened_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(index=True)
    reporter: Mapped[str] = mapped_column(String(200))
    repeats: Mapped[int | None] = mapped_column(ForeignKey("reports.id"))
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)
    __table_args__: Any = (
        Index(
            "one_vote",
            "case_id",
            "account_id",
            "reporter",
            unique=True,
            sqlite_where=sql("repeats IS NULL"),
            postgresql_where=sql("repeats IS NULL"),
        ),
    )


class AppealRow(Base):
    """An appeal against a listing; `by_itself` if a receipt opened it.

    `decision_id` is the decision that was in force when it came.
    `number` is set if the appeal names one. `case_id` is None if that number was neither listed nor about to be: nobody
    has to answer such an appeal, and it closes by itself.
    """

    __tablename__ = "appeals"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int | None] = mapped_column(ForeignKey("cases.id"), index=True)
    number: Mapped[int | None] = mapped_column(index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    decision_id: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))
    state: Mapped[AppealState] = mapped_column(String(16), index=True)
    grounds: Mapped[str] = mapped_column(Text)
    appellant: Mapped[str] = mapped_column(String(200))
    by_itself: Mapped[bool] = mapped_column(default=False)
    received_at: Mapped[datetime]
    reason: Mapped[str | None] = mapped_column(Text)
    answered_by: Mapped[str | None] = mapped_column(String(64))
    answered_at: Mapped[datetime | None]
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)


class EvidenceRow(Base):
    """A file of evidence; its content is outside the database."""

    __tablename__ = "evidence"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    report_id: Mapped[int | None] = mapped_column(ForeignKey("reports.id"), index=True)
    appeal_id: Mapped[int | None] = mapped_column(ForeignKey("appeals.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    media_type: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int]
    name: Mapped[str] = mapped_column(String(200))
    received_at: Mapped[datetime]
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)
    __table_args__: Any = (
        UniqueConstraint("report_id", "sha256"),
        UniqueConstraint("appeal_id", "sha256"),
        Index("evidence_by_account", "account_id", "bytes"),
    )


class DecisionRow(Base):
    """An officer's decision."""

    __tablename__ = "decisions"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    kind: Mapped[DecisionKind] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    category: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime | None]
    urgent: Mapped[bool]
    officer: Mapped[str] = mapped_column(String(64))
    decided_at: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[Literal["proposed", "effective", "withdrawn"]] = mapped_column(String(16))
    confirmed_by: Mapped[str | None] = mapped_column(String(64))
    confirmed_at: Mapped[datetime | None]
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)


class ListingRow(Base):
    """A case's number on a feed, from the decision to the release that lifts it.

    `entry` is assigned when it is first published. `waiting` means that the feed's current release differs from this
    row.
    """

    __tablename__ = "listings"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    feed: Mapped[str] = mapped_column(String(64))
    entry: Mapped[int | None]
    number: Mapped[int] = mapped_column(index=True)
    level: Mapped[Level] = mapped_column(String(16))
    category: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(64))
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    urgent: Mapped[bool]
    waiting: Mapped[bool] = mapped_column(default=True)
    listed_serial: Mapped[int | None]
    listed_at: Mapped[datetime | None] = mapped_column(index=True)
    retracted_at: Mapped[datetime | None] = mapped_column(index=True)
    ended: Mapped[bool] = mapped_column(default=False)
    lifted_serial: Mapped[int | None]
    lifted_at: Mapped[datetime | None]
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)
    __table_args__: Any = (
        UniqueConstraint("feed", "entry"),
        Index(
            "one_listing",
            "case_id",
            "feed",
            unique=True,
            sqlite_where=sql("retracted_at IS NULL"),
            postgresql_where=sql("retracted_at IS NULL"),
        ),
        Index(
            "to_end",
            "until",
            sqlite_where=sql("retracted_at IS NULL"),
            postgresql_where=sql("retracted_at IS NULL"),
        ),
        Index(
            "in_force",
            "feed",
            sqlite_where=sql("lifted_at IS NULL"),
            postgresql_where=sql("lifted_at IS NULL"),
        ),
    )


class FeedRow(Base):
    """A feed: the highest entry ID ever assigned, the highest serial ever begun, and the current release."""

    __tablename__ = "feeds"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_entry: Mapped[int] = mapped_column(default=0)
    begun: Mapped[int] = mapped_column(default=0)
    serial: Mapped[int | None]
    rows: Mapped[int] = mapped_column(default=0)
    published_at: Mapped[datetime | None]


class WaitingRow(Base):
    """What the guard refused of a feed's next release; it waits for an officer.

    `routine` and `last_listing` say what the cycle would have published: listings up to that ID. `limits` are those of
    the guard, and `state` changes with every decision on what waits to be published: neither has to be judged again
    while it is the same. `is_known` is set once the alarm was given.
    """

    __tablename__ = "waiting_releases"
    feed: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    refused_at: Mapped[datetime]
    judged_at: Mapped[datetime]
    listings: Mapped[int]
    added: Mapped[int]
    blocked: Mapped[int]
    reasons: Mapped[list[str]] = mapped_column(JSON)
    examples: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    routine: Mapped[bool]
    last_listing: Mapped[int]
    limits: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(64))
    is_known: Mapped[bool] = mapped_column(default=False)
    accepted_by: Mapped[str | None] = mapped_column(String(64))
    accepted_at: Mapped[datetime | None]
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)


class CycleRow(Base):
    """A month whose routine decisions were published."""

    __tablename__ = "cycles"
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    at: Mapped[datetime]


class BudgetRow(Base):
    """How much of a quota was used in a window of time; `ends` is the window's end, Unix time.

    `whom` is an account's ID or an address. Processes take parts of a quota from here, so that all of them together
    keep to it. These are counters, not records: they are deleted when their window is over.
    """

    __tablename__ = "budgets"
    what: Mapped[str] = mapped_column(String(32), primary_key=True)
    whom: Mapped[str] = mapped_column(String(64), primary_key=True)
    ends: Mapped[int] = mapped_column(index=True)
    used: Mapped[int]


class PublishingRow(Base):
    """How publishing in the background fares: one row while a process does it.

    It is deleted when that process stops in good order, so that one that was killed is missed.
    """

    __tablename__ = "publishing"
    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    expected_since: Mapped[datetime]
    succeeded_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(String(64), default="")


class ReceiptRow(Base):
    """The outcome of a listing in a recipient's system."""

    __tablename__ = "receipts"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    listing_id: Mapped[int] = mapped_column(ForeignKey("listings.id"), index=True)
    serial: Mapped[int]
    outcome: Mapped[ReceiptOutcome] = mapped_column(String(16))
    at: Mapped[datetime]
    detail: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime] = mapped_column(index=True)
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)
    __table_args__: Any = (UniqueConstraint("account_id", "listing_id", "serial", "outcome"),)


class RecycledRow(Base):
    """A `recycled` receipt for a listed number: it retracted or appealed by itself, or waits for an officer.

    `reminded_at` is when the alarm about what waits was last given again.
    """

    __tablename__ = "recycled"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    feed: Mapped[str] = mapped_column(String(64))
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    entry: Mapped[int]
    received_at: Mapped[datetime]
    state: Mapped[Literal["effective", "waiting", "confirmed", "refused"]] = mapped_column(String(16))
    salt: Mapped[str] = mapped_column(String(32), default=new_salt)
    reason: Mapped[str | None] = mapped_column(Text)
    answered_by: Mapped[str | None] = mapped_column(String(64))
    answered_at: Mapped[datetime | None]
    reminded_at: Mapped[datetime | None]
    __table_args__: Any = (
        Index("recycled_in_a_day", "account_id", "feed", "received_at"),
        Index(
            "recycled_waiting",
            "state",
            sqlite_where=sql("state = 'waiting'"),
            postgresql_where=sql("state = 'waiting'"),
        ),
    )


class ClockRow(Base):
    """What the exchange's clock has shown; the only row has the ID 1.

    `seen_at` is the last moment known, `accepted_at` the moment up to which a person said that it is right, and
    `acceptances` counts how often one did. `alarmed_at` is when the alarm about ends that are held was last given.
    """

    __tablename__ = "clock"
    id: Mapped[int] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    acceptances: Mapped[int] = mapped_column(default=0)
    alarmed_at: Mapped[datetime | None]


class HistoryRow(Base):
    """One line of a case's history; its hash covers the line before."""

    __tablename__ = "history"
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(64))
    event: Mapped[str] = mapped_column(String(32))
    detail: Mapped[dict[str, Any]]
    hash: Mapped[str] = mapped_column(String(64))


CONFIGURATION: Final = "configuration"
"""The event of a line with the settings, rules and keys that an exchange is run with."""

RELEASE_ACCEPTED: Final = "release accepted"
CLOCK_ACCEPTED: Final = "clock accepted"
TRAIL_ACCEPTED: Final = "trail accepted"
"""The event of a line about what somebody let through that the guard refused."""

ALARMING: Final = (
    *("account added", "account renewed", "account closed", "account reopened", "scopes changed"),
    "certificates changed",
    *(CONFIGURATION, RELEASE_ACCEPTED, CLOCK_ACCEPTED, TRAIL_ACCEPTED),
)
"""Events of the audit trail that raise an alarm wherever they happen."""

ALARMING_ONLY: Final = sql(f"event IN ({', '.join(repr(name) for name in ALARMING)})")
"""The condition of the index that finds them among millions of lines; queries have to name it word for word."""


class AuditRow(Base):
    """A line of the audit trail, over all tables; its hash covers what it says and the line before."""

    __tablename__ = "audit_trail"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(64))
    event: Mapped[str] = mapped_column(String(32))
    detail: Mapped[dict[str, Any]]
    changes: Mapped[list[list[Any]]] = mapped_column(JSON)
    hash: Mapped[str] = mapped_column(String(64))
    __table_args__: Any = (
        Index("alarming_lines", "sequence", sqlite_where=ALARMING_ONLY, postgresql_where=ALARMING_ONLY),
    )


class AuditHeadRow(Base):
    """Where the audit trail ends: one row. `alarmed` is the last line whose alarm was raised."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    length: Mapped[int] = mapped_column(default=0)
    hash: Mapped[str] = mapped_column(String(64), default="")
    alarmed: Mapped[int] = mapped_column(default=0)


def _only_added(row: type[Base]) -> None:
    """Let the database refuse to change or remove a row of a table."""
    table = row.__table__
    name = row.__tablename__

    def after_create(statement: str, dialect: str) -> None:
        ddl = DDL(statement)  # type: ignore[no-untyped-call]
        event.listen(table, "after_create", ddl.execute_if(dialect=dialect))

    for verb in ("UPDATE", "DELETE"):
        after_create(
            f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{name} can only be added to'); END",
            "sqlite",
        )
    after_create(
        f"CREATE OR REPLACE FUNCTION {name}_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN RAISE EXCEPTION '{name} can only be added to'; END $$",
        "postgresql",
    )
    after_create(
        f"CREATE TRIGGER {name}_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_is_kept()",
        "postgresql",
    )


for _row in (HistoryRow, AuditRow):
    _only_added(_row)
