"""The bodies of requests and responses: one model for each, shared by the client and the server.

The server's OpenAPI document is made from these. Requests refuse unknown fields, so that a misspelt one is noticed;
responses ignore them, so that an older client goes on working. Moments are UTC; telephone numbers are E.164 digits as
an integer unless the field is text.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    StrictBool,
    StringConstraints,
    model_serializer,
    model_validator,
)

from blocklist_sdk.records import ENTRY_MAX, Level, Scope
from blocklist_sdk.texts import counted, first_control, is_invisible

T = TypeVar("T")

BULK_MAX: Final = 1000
"""Most reports in one bulk."""

RECEIPTS_MAX: Final = 5000
"""Most receipts in one batch."""

PAGE_MAX: Final = 500
"""Most items on one page."""

EVIDENCE_BYTES_MAX: Final = 20 * 1000 * 1000
"""Longest evidence file, bytes: a minute of a phone's video, or a long recorded call. An exchange may accept less."""

CLEANED_BYTES_MAX: Final = 4 * EVIDENCE_BYTES_MAX
"""Longest copy of an evidence file, bytes: a PDF written anew may be longer than one that was packed tightly."""

EVIDENCE_COPY: Final = "Evidence-Copy"
"""The header that says what is given out: `cleaned`, a copy without where and by whom it was made, or `original`."""

CONTENT_DIGEST: Final = "Content-Digest"
"""The header with the SHA-256 of what is given out (RFC 9530)."""

KEY_CHARS_MAX: Final = 128
"""Most characters of an `Idempotency-Key`."""

_ID_MAX: Final = ENTRY_MAX
"""For ids of whatever kind: the JSON of an exchange is read in JavaScript as well."""

Channel = Literal["sms", "voice", "messaging"]
DecisionKind = Literal["block", "advisory", "reject", "retract"]
NumberAnswer = Literal["listed", "advisory", "not-known"]
ReceiptOutcome = Literal["enforced", "already-inactive", "not-ours", "recycled", "refused", "failed", "reversed"]
AppealState = Literal["open", "granted", "dismissed"]

Permission = Literal["report", "receipt", "officer", "publish"]
"""What an account may do; `feed:NAME` allows it to read a feed, and to send receipts for it."""


class CaseState(StrEnum):
    """The state of a case."""

    INCOMPLETE = "incomplete"
    RECEIVED = "received"
    VERIFYING = "verifying"
    DECIDED = "decided"
    PUBLISHED = "published"
    ENFORCED = "enforced"
    APPEALED = "appealed"
    RETRACTED = "retracted"
    REJECTED = "rejected"


def _printable(text: str) -> str:
    """Refuse control characters other than line ends and tabs, and surrogates."""
    control = first_control(text)
    if control is not None:
        raise ValueError(f"must not hold the control character U+{ord(control):04X}")
    return text


def _single(text: str) -> str:
    """Refuse what is not one line: line ends, and marks that turn the direction of writing or cannot be seen."""
    for character in text:
        if is_invisible(character):
            raise ValueError(f"must be one line without the invisible character U+{ord(character):04X}")
    return text


def _unbroken(text: str) -> str:
    """Refuse line ends, but not the invisible marks that numbers are pasted with."""
    if len(text.splitlines()) > 1:
        raise ValueError("must be one line")
    return _printable(text)


_ISO_START: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _no_number(value: object) -> object:
    """Refuse numbers, which pydantic would take for seconds or milliseconds since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO_START.match(value)):
        return value
    raise ValueError("write a date and time with its zone, such as 2026-11-25T09:00:00Z")


_FIRST, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
"""Far from the end of calendars, since a database may show a moment in any time zone."""


def _utc(moment: datetime) -> datetime:
    """In UTC and to the whole second, as every database stores it."""
    if not _FIRST <= moment < _END:
        raise ValueError("must be between 1970 and 2999")
    return moment.astimezone(UTC).replace(microsecond=0)


def _line(most: int, least: int = 1) -> object:
    return StringConstraints(min_length=least, max_length=most, strip_whitespace=True)


Line = Annotated[str, _line(200), AfterValidator(_single)]
LongText = Annotated[str, _line(4_000), AfterValidator(_printable)]
NumberText = Annotated[str, _line(64), AfterValidator(_unbroken)]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
FeedName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MONTH: Final = re.compile(r"^20[0-9]{2}-(0[1-9]|1[0-2])$")
Month = Annotated[str, StringConstraints(pattern=MONTH.pattern)]
Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_utc)]
Id = Annotated[int, Field(ge=1, le=_ID_MAX)]
SentId = Annotated[Id, Strict()]
"""An ID within a body, where texts and booleans are refused."""
Version = Annotated[
    SentId | None,
    Field(
        default=None,
        description="The `version` of the case that you looked at; 409 if the case has changed since. Required for "
        "whatever blocks a number or keeps it blocked; a retraction may leave it out.",
    ),
]
# In a list, the first item that is wrong ends the validation: a short text may be a list of many.
Scopes = Annotated[tuple[Scope, ...], Field(min_length=1, max_length=4), FailFast()]


_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,31}")
_NAMES_SHOWN: Final = 3


class RequestModel(BaseModel):
    """The body of a request."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_fields(cls, document: Any) -> Any:
        """Refuse unknown fields all at once, and name a few; a name that may be anything else is not repeated."""
        if not isinstance(document, dict) or document.keys() <= cls.__pydantic_fields__.keys():
            return document
        unknown = [key for key in document if key not in cls.__pydantic_fields__]
        names = [key for key in unknown if isinstance(key, str) and _FIELD_NAME.fullmatch(key)][:_NAMES_SHOWN]
        shown = f": {', '.join(names)}" if names else ""
        raise ValueError(f"{counted(len(unknown), 'unknown field')}{shown}; remove it, or correct the name")


class ResponseModel(BaseModel):
    """The body of a response."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True)


# Problems (RFC 9457)


class FieldProblem(ResponseModel):
    """What is wrong with one field."""

    field: str = Field(description="The field: `body.reports.3.number`, `query.limit`.")
    reason: str


class Problem(ResponseModel):
    """A problem document (RFC 9457): why a request was not fulfilled."""

    type: str = Field(description="The kind of problem: `urn:blocklist:problem:` and a name.")
    title: str
    status: int
    detail: str
    request_id: str = ""
    errors: tuple[FieldProblem, ...] = ()


# Pages


class Page(ResponseModel, Generic[T]):
    """A page of a list; `next` is the cursor of the next page, null on the last."""

    items: tuple[T, ...]
    next: str | None = None


# Reports and their evidence


class NewReport(RequestModel):
    """A report of a number."""

    number: NumberText = Field(description="The number, as it was written down; read in the exchange's region.")
    category: Category = Field(description="`fraud`, `phishing`, `impersonation`, …; an open set.")
    channel: Channel = Field(description="How the call or message came.")
    app: Line | None = Field(
        default=None, description="The messaging app; required for the channel `messaging`, not allowed otherwise."
    )
    text: LongText = Field(description="What happened, or what the message said.")
    happened_at: Moment = Field(description="When it happened.")
    reporter: Line = Field(
        description="Your own reference for the person who complains, always the same. Not a name, not a number."
    )

    @model_validator(mode="after")
    def _app_with_messaging(self) -> "NewReport":
        if (self.channel == "messaging") != (self.app is not None):
            raise ValueError("give `app` with the channel `messaging`, and only then")
        return self


class NewReports(RequestModel):
    """Many reports at once."""

    reports: Annotated[tuple[NewReport, ...], Field(min_length=1, max_length=BULK_MAX), FailFast()]


class Evidence(ResponseModel):
    """A file of a report or an appeal."""

    id: int
    sha256: str
    media_type: str
    bytes: int
    name: str
    received_at: datetime


class Report(ResponseModel):
    """A report."""

    id: int
    case: int | None = Field(description="Its case; null unless an officer reads it.")
    number: int
    category: str
    channel: Channel
    app: str | None
    text: str
    happened_at: datetime
    received_at: datetime
    reporter: str
    repeats: int | None = Field(description="The earlier report that it repeats; only that one counts.")
    evidence: tuple[Evidence, ...]
    case_state: CaseState = Field(
        description="For officers the state of its case. For others `incomplete` or `received` until, after the report "
        "came, a release lists the case or it is closed; then `published`, `retracted` or `rejected`."
    )
    missing: tuple[str, ...] = Field(description="What keeps it `incomplete`: `evidence`.")


class BulkItem(ResponseModel):
    """The result of one report of a bulk: the report or the problem."""

    index: int
    report: Report | None = None
    problem: Problem | None = None


class BulkReports(ResponseModel):
    """The result of each report, in their order."""

    items: tuple[BulkItem, ...]


# Cases and decisions


class NewDecision(RequestModel):
    """An officer's decision on a case."""

    kind: DecisionKind
    reason: LongText
    category: Category | None = Field(default=None, description="By default the one that most accounts name.")
    scope: Scopes = Field(
        default=("data", "messaging", "sms", "voice"),
        description="Where the number is to be blocked; by default everywhere.",
    )
    until: Moment | None = Field(
        default=None, description="When the listing ends; by default after the exchange's `listing_days`."
    )
    urgent: StrictBool = Field(default=False, description="Publish at once, not with the next cycle.")
    version: Version = None


class NewConfirmation(RequestModel):
    """A second officer's confirmation."""

    version: Version = None


class Decision(ResponseModel):
    """A decision."""

    id: int
    case: int
    kind: DecisionKind
    reason: str
    category: str
    scope: tuple[Scope, ...]
    until: datetime | None
    urgent: bool
    officer: str
    decided_at: datetime
    state: Literal["proposed", "effective", "withdrawn"]
    confirmed_by: str | None
    confirmed_at: datetime | None


class Listing(ResponseModel):
    """The listing of a case's number on a feed."""

    feed: str
    entry: int | None = Field(description="The entry's ID on the feed; null until it is published.")
    level: Level
    since: datetime
    until: datetime | None
    listed_serial: int | None = Field(description="The release that lists it; null until it is published.")
    listed_at: datetime | None
    retracted_at: datetime | None
    lifted_serial: int | None = Field(description="The first release without it.")
    lifted_at: datetime | None


class Case(ResponseModel):
    """All reports on one number, with decisions and listings."""

    id: int
    version: int = Field(
        default=0, description="Rises with whatever happens to the case; send it with what you decide on it."
    )
    number: int
    operator: str | None
    state: CaseState
    opened_at: datetime
    complete_at: datetime | None
    verifying_at: datetime | None
    decided_at: datetime | None
    published_at: datetime | None
    enforced_at: datetime | None
    closed_at: datetime | None
    officer: str | None
    reports: int
    reporters: int = Field(description="Number of different people who complain, by the references of accounts.")
    accounts: int = Field(description="Number of different accounts that sent their reports.")
    category: str
    overdue: bool = Field(description="Whether officers should have decided it already.")
    decisions: tuple[Decision, ...]
    listings: tuple[Listing, ...]


class Event(ResponseModel):
    """One line of a case's history."""

    sequence: int
    at: datetime
    actor: str
    event: str
    detail: dict[str, str | int | bool | None]
    hash: str = Field(description="SHA-256 over this line and the hash before it.")


# Publishing


class NewPublication(RequestModel):
    """A request to publish."""

    everything: StrictBool = Field(default=False, description="Everything, whether or not the monthly cycle is due.")


class PublishedFeed(ResponseModel):
    """A release that was published."""

    feed: str
    serial: int
    rows: int
    added: int
    removed: int
    changed: int


class WaitingListing(ResponseModel):
    """A listing that waits for an officer."""

    case: int
    number: int
    why: Literal["wide", "level", "unblocked", "foreign", "changed", "other"] = Field(
        description="Why it is shown: `level`: an advisory becomes a block. `foreign`: a number of another country. "
        "`changed`: a listing that blocks more than before. `other`: a new one."
    )
    level: Level
    category: str
    scope: tuple[Scope, ...]
    since: datetime
    until: datetime | None


class WaitingRelease(ResponseModel):
    """What the guard refused of a feed's next release; it waits until an officer accepts it."""

    feed: str
    digest: str = Field(description="What waits, as a hash: to accept it, name it.")
    refused_at: datetime
    listings: int = Field(description="Number of listings that wait.")
    added: int = Field(description="How many numbers they would begin to block.")
    blocked: int = Field(description="How many numbers the feed blocked when this was judged.")
    reasons: tuple[str, ...]
    examples: tuple[WaitingListing, ...] = Field(description="The twenty most surprising.")
    accepted_by: str | None = Field(description="Who has accepted it; the next run publishes it.")


class Publication(ResponseModel):
    """What was published; without feeds if nothing had to be."""

    at: datetime
    routine: bool = Field(description="Whether routine decisions were published as well.")
    feeds: tuple[PublishedFeed, ...]
    waiting: tuple[WaitingRelease, ...] = Field(default=(), description="What waits for an officer, on any feed.")
    ends_held: int = Field(
        default=0, description="Listings that have ended by this clock, and stay until a person says that it is right."
    )
    ends_held_why: str | None = Field(default=None, description="Why they are held; null if none are.")
    listings_held_why: str | None = Field(
        default=None, description="Why new listings are held back until a person has looked; null if none are."
    )


class NewAcceptance(RequestModel):
    """Lets through what the guard refused, and nothing else."""

    feed: FeedName
    digest: Digest = Field(description="The digest of what waits.")


class Feed(ResponseModel):
    """A feed that the account may read."""

    feed: str
    serial: int | None
    rows: int
    published_at: datetime | None


# Receipts


class NewReceipt(RequestModel):
    """The outcome of an entry in a recipient's system."""

    feed: FeedName
    serial: SentId
    entry: SentId
    outcome: ReceiptOutcome
    at: Moment
    era: SentId | None = Field(default=None, description="The era of the release; left out if it is 1.")
    detail: Annotated[str, _line(1000, 0), AfterValidator(_printable)] = ""

    @model_serializer(mode="wrap")
    def _without_first_era(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an era that is not there: exchanges that do not know eras refuse fields that they do not know."""
        document: dict[str, Any] = serialize(self)
        return document if self.era is not None else {k: v for k, v in document.items() if k != "era"}


class NewReceipts(RequestModel):
    """A batch of receipts."""

    receipts: Annotated[tuple[NewReceipt, ...], Field(min_length=1, max_length=RECEIPTS_MAX), FailFast()]


class ReceiptItem(ResponseModel):
    """The result of one receipt of a batch."""

    index: int
    status: Literal["accepted", "repeated", "refused"] = Field(
        description="`accepted` or `repeated`: the exchange has it. `refused`: do not send it again."
    )
    reason: str | None = None


class ReceiptItems(ResponseModel):
    """The result of each receipt, in their order."""

    items: tuple[ReceiptItem, ...]


class Receipt(ResponseModel):
    """A receipt."""

    id: int
    recipient: str
    feed: str
    serial: int
    entry: int
    outcome: ReceiptOutcome
    at: datetime
    detail: str
    received_at: datetime


class RecycledNumber(ResponseModel):
    """A number that a recipient says has a new owner."""

    case: int
    number: int
    entry: int
    received_at: datetime


class RecycledBatch(ResponseModel):
    """Receipts of one recipient for one feed that say `recycled`, more in a day than retract by themselves."""

    digest: str = Field(description="What waits, as a hash: to answer it, name it.")
    feed: str
    recipient: str
    is_home: bool = Field(description="Whether the feed speaks for the home operator of every number.")
    since: datetime = Field(description="When the first of them came.")
    numbers: int = Field(description="Number of numbers that wait.")
    bound: int = Field(description="So many in a day retract by themselves.")
    examples: tuple[RecycledNumber, ...] = Field(description="The first twenty.")


class NewRecycledAnswer(RequestModel):
    """An officer's answer to a batch of `recycled` receipts."""

    digest: Digest = Field(description="The digest of the batch.")
    confirm: StrictBool = Field(description="True to retract the numbers, false to keep them listed.")
    reason: LongText


class RecycledAnswer(ResponseModel):
    """What an answer to a batch has done."""

    feed: str
    recipient: str
    numbers: int = Field(description="Number of numbers answered.")
    retracted: int = Field(description="How many of them were retracted; the others were not listed any more.")


# Appeals


class NewAppeal(RequestModel):
    """A request for a retraction, by number, or by feed and entry."""

    number: NumberText | None = None
    feed: FeedName | None = None
    entry: SentId | None = None
    grounds: LongText
    appellant: Line = Field(description="Your own reference for the person who appeals.")

    @model_validator(mode="after")
    def _names_one(self) -> "NewAppeal":
        by_entry = self.feed is not None and self.entry is not None
        if (self.number is not None) == by_entry or (self.feed is None) != (self.entry is None):
            raise ValueError("give `number`, or else `feed` and `entry`")
        return self


class NewAnswer(RequestModel):
    """An officer's answer to an appeal."""

    grant: StrictBool
    reason: LongText
    version: Version = None


class Lifted(ResponseModel):
    """A recipient, and whether it has lifted the block."""

    recipient: str
    feed: str
    entry: int
    lifted_at: datetime | None = Field(description="According to its receipt; null until it has sent one.")
    receipt: int | None


class Appeal(ResponseModel):
    """An appeal."""

    id: int
    case: int | None = Field(description="Its case; null in an appeal by number, unless an officer reads it.")
    number: int
    state: AppealState
    grounds: str
    appellant: str
    received_at: datetime
    evidence: tuple[Evidence, ...]
    reason: str | None = Field(description="The answer.")
    answered_at: datetime | None
    proposed: int | None = Field(
        default=None, description="The decision that grants it, if that waits until a second officer confirms it."
    )
    lifted: tuple[Lifted, ...] = Field(description="Every recipient concerned, if the appeal was granted.")


# Look-up, statistics, accounts, health


class NumberStatus(ResponseModel):
    """The public status of a number."""

    number: int
    status: NumberAnswer


class Spread(ResponseModel):
    """How long something took, in seconds."""

    count: int
    median_s: float | None
    p95_s: float | None


class RecipientStatistics(ResponseModel):
    """A recipient's statistics of a month."""

    recipient: str
    feed: str
    reports: int = Field(description="Reports of the month in cases that were listed on its feed.")
    decisions: dict[DecisionKind, int] = Field(
        description="Decisions of the month on cases that were listed on its feed."
    )
    published: int = Field(description="Entries listed on its feed in the month.")
    retracted: int = Field(description="Entries of its feed retracted in the month.")
    receipts: dict[ReceiptOutcome, int]
    open: int = Field(description="Entries listed in the month without a final receipt.")
    decision_to_enforcement: Spread
    retraction_to_lifting: Spread


class Statistics(ResponseModel):
    """Statistics of a month; for a recipient, only its own part, with null for the rest."""

    month: str
    reports: int | None
    cases: int | None
    decisions: dict[DecisionKind, int] | None
    published: int | None = Field(description="Cases first listed in the month.")
    enforced: int | None = Field(description="Cases for which the last recipient sent its receipt in the month.")
    open: int | None = Field(description="Complete cases that are not decided now.")
    overdue: int | None
    decision_to_enforcement: Spread | None = Field(description="Over all recipients.")
    retraction_to_lifting: Spread | None = Field(description="Over all recipients.")
    recipients: tuple[RecipientStatistics, ...]


class Account(ResponseModel):
    """The account of the token."""

    name: str
    scopes: tuple[str, ...]


class Token(ResponseModel):
    """An access token (RFC 6749, 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    scope: str


class Health(ResponseModel):
    """The exchange is ready."""

    status: Literal["ok"]
    version: str
