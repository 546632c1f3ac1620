"""Every call of the exchange's API: its request, and the type of its response. Nothing here uses the network.

Both clients take their methods from here, so that they cannot differ. Arguments are plain Python values, which are
checked before anything is sent.
"""

import dataclasses
import functools
import mimetypes
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.exchange import models
from blocklist_sdk.exchange.models import (
    BULK_MAX,
    EVIDENCE_BYTES_MAX,
    KEY_CHARS_MAX,
    PAGE_MAX,
    RECEIPTS_MAX,
    Account,
    Appeal,
    AppealState,
    BulkItem,
    BulkReports,
    Case,
    CaseState,
    Channel,
    Decision,
    DecisionKind,
    Event,
    Evidence,
    Feed,
    Health,
    Line,
    NewReceipt,
    NewReport,
    NumberStatus,
    Page,
    Publication,
    Receipt,
    ReceiptItem,
    ReceiptItems,
    RecycledAnswer,
    RecycledBatch,
    Report,
    Statistics,
    WaitingRelease,
)
from blocklist_sdk.records import SCOPES, Scope
from blocklist_sdk.texts import is_printable_ascii

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Progress = Callable[[int, int], None]
"""Called with the number of bytes sent and their total; starts again from the beginning if an attempt is repeated."""

JSON: Final = "application/json"
_ANY_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send.

    Attributes:
        source: its path, or its content.
        length: its length in bytes.
        progress: called while it is sent; None if not needed.
    """

    source: Path | bytes = field(repr=False)
    length: int
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request, and the type of its response.

    Attributes:
        method: the HTTP method.
        path: the path below the exchange's base URL, encoded.
        answer: reads the response; None for a file, which is not read into memory.
        query: the parameters of the query.
        body: JSON to send; None if there is nothing to send, or a file.
        upload: a file to send.
        media_type: the type of the body or file.
        key: the `Idempotency-Key`, the same for every attempt.
        shown: the path for messages, without telephone numbers; empty if it is `path`.
    """

    method: Literal["GET", "POST"]
    path: str
    answer: "TypeAdapter[T] | None"
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    upload: Upload | None = None
    media_type: str | None = None
    key: str | None = None
    shown: str = ""

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again without doing something twice: it only reads, or it has a key."""
        return self.method == "GET" or self.key is not None


# Reports


def submit_report(
    number: str,
    *,
    category: str,
    channel: Channel,
    text: str,
    happened_at: datetime,
    reporter: str,
    app: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Report]:
    """Report a number.

    Args:
        number: the number, as it was written down.
        category: ``fraud``, ``phishing``, ``impersonation``, …
        channel: how the call or message came: ``sms``, ``voice`` or ``messaging``.
        text: what happened, or what the message said.
        happened_at: when it happened, with a time zone.
        reporter: your own reference for the person who complains; not a name, not a number.
        app: the messaging app; required for the channel ``messaging``, and not allowed otherwise.
        idempotency_key: your own key, so that the same report sent again counts once; by default a new one.

    Raises:
        InvalidInput: an argument cannot be used; nothing was sent.
    """
    body = _made(
        models.NewReport,
        number=number,
        category=category,
        channel=channel,
        app=app,
        text=text,
        happened_at=happened_at,
        reporter=reporter,
    )
    return _post("/v1/reports", Report, body, key=idempotency_key)


def new_report(fields: Mapping[str, Any]) -> NewReport:
    """Make a report for `submit_reports` from plain values, such as a row of a table.

    Raises:
        InvalidInput: a field is missing, unknown, or cannot be used.
    """
    return _made(NewReport, **fields)


def new_receipt(fields: Mapping[str, Any]) -> NewReceipt:
    """Make a receipt for `submit_receipts` from plain values, such as a row of a table.

    Raises:
        InvalidInput: a field is missing, unknown, or cannot be used.
    """
    ids = {name: _id(name, fields[name]) for name in ("serial", "entry") if name in fields}
    if fields.get("era") is not None:
        ids["era"] = _id("era", fields["era"])
    return _made(NewReceipt, **{**fields, **ids})


def submit_reports(reports: tuple[NewReport, ...], *, idempotency_key: str | None = None) -> Call[BulkReports]:
    """Submit up to `BULK_MAX` reports at once; each is accepted or refused by itself."""
    return _post("/v1/reports/bulk", BulkReports, _made(models.NewReports, reports=reports), key=idempotency_key)


def reports(*, number: str | None = None, since: datetime | None = None) -> Call[Page[Report]]:
    """Your own reports.

    Args:
        number: only those on this number.
        since: only those received at this moment or later; with a time zone.
    """
    return _get("/v1/reports", Page[Report], number=number, since=_moment("since", since))


def get_report(report: int) -> Call[Report]:
    """A report, with the state of its case."""
    return _get(f"/v1/reports/{_id('report', report)}", Report)


def attach_evidence(
    report: int,
    file: str | Path | bytes,
    *,
    name: str | None = None,
    media_type: str | None = None,
    progress: Progress | None = None,
    idempotency_key: str | None = None,
) -> Call[Evidence]:
    """Add a file to one of your reports.

    Args:
        report: the report's ID.
        file: the file's path, or its content. A file is sent in pieces, not read into memory.
        name: the file's name; by default the last part of its path. Required for content.
        media_type: its type, such as ``image/png``; by default guessed from the name.
        progress: called with the number of bytes sent and their total.
        idempotency_key: your own key; by default a new one.

    Raises:
        InvalidInput: the file cannot be read, is empty, or is longer than `EVIDENCE_BYTES_MAX`.
    """
    path = f"/v1/reports/{_id('report', report)}/evidence"
    return _upload(path, file, name, media_type, progress, idempotency_key)


# Cases


def cases(
    *, state: CaseState | str | None = None, number: str | None = None, overdue: bool = False
) -> Call[Page[Case]]:
    """Cases: appealed ones first, then those that have been complete for longest.

    Args:
        state: only those in this state.
        number: only those of this number.
        overdue: only those that officers should have decided already.
    """
    state = None if state is None else _one_of("state", state, [each.value for each in CaseState])
    return _get("/v1/cases", Page[Case], state=state, number=number, overdue="true" if overdue else None)


def get_case(case: int) -> Call[Case]:
    """A case, with its decisions and listings."""
    return _get(f"/v1/cases/{_id('case', case)}", Case)


def case_reports(case: int) -> Call[Page[Report]]:
    """The reports of a case, oldest first."""
    return _get(f"/v1/cases/{_id('case', case)}/reports", Page[Report])


def case_history(case: int) -> Call[Page[Event]]:
    """Everything that happened to a case, oldest first."""
    return _get(f"/v1/cases/{_id('case', case)}/history", Page[Event])


def start_verification(case: int, *, idempotency_key: str | None = None) -> Call[Case]:
    """Begin to verify a case."""
    return _post(f"/v1/cases/{_id('case', case)}/verification", Case, key=idempotency_key)


def decide(
    case: int,
    kind: DecisionKind,
    *,
    reason: str,
    category: str | None = None,
    scope: Iterable[Scope] = SCOPES,
    until: datetime | None = None,
    urgent: bool = False,
    version: int | None = None,
    idempotency_key: str | None = None,
) -> Call[Decision]:
    """Decide on a case; a decision that a second officer must confirm is only proposed until then.

    Send the version of the case that was looked at: if the case has changed since, the exchange refuses (409). So of
    several officers who decide at one moment, one does.

    Args:
        case: the case's ID.
        kind: ``block``, ``advisory``, ``reject`` or ``retract``.
        reason: why.
        category: the category; by default the one that most accounts name.
        scope: where the number is to be blocked; by default everywhere.
        until: when the listing ends; by default after the exchange's `listing_days`.
        urgent: publish at once, not with the next cycle.
        version: `Case.version`, as it was looked at; required for ``block`` and ``advisory``.
        idempotency_key: your own key; by default a new one.

    Raises:
        InvalidInput: an argument cannot be used; nothing was sent.
    """
    body = _made(
        models.NewDecision,
        kind=kind,
        reason=reason,
        category=category,
        scope=(scope,) if isinstance(scope, str) else tuple(sorted(scope)),
        until=until,
        urgent=urgent,
        version=_version(version),
    )
    return _post(f"/v1/cases/{_id('case', case)}/decisions", Decision, body, key=idempotency_key)


def confirm_decision(
    decision: int, *, version: int | None = None, idempotency_key: str | None = None
) -> Call[Decision]:
    """Confirm another officer's decision.

    Args:
        decision: the decision's ID.
        version: `Case.version` of its case, as it was looked at; required unless the decision retracts.
        idempotency_key: your own key; by default a new one.

    Raises:
        InvalidInput: an argument cannot be used; nothing was sent.
    """
    body = _made(models.NewConfirmation, version=_version(version))
    return _post(f"/v1/decisions/{_id('decision', decision)}/confirmation", Decision, body, key=idempotency_key)


def withdraw_decision(decision: int, *, idempotency_key: str | None = None) -> Call[Decision]:
    """Withdraw a decision that is only proposed."""
    return _post(f"/v1/decisions/{_id('decision', decision)}/withdrawal", Decision, key=idempotency_key)


def download_evidence(evidence: int, *, original: bool = False) -> Call[None]:
    """A file of a report or an appeal.

    Args:
        evidence: its ID.
        original: the file as it was sent; otherwise a copy without positions, names and comments.
    """
    query = {"original": "true"} if original else {}
    return Call(method="GET", path=f"/v1/evidence/{_id('evidence', evidence)}", query=query, answer=None)


# Appeals


def submit_appeal(
    *,
    grounds: str,
    appellant: str,
    number: str | None = None,
    feed: str | None = None,
    entry: int | None = None,
    idempotency_key: str | None = None,
) -> Call[Appeal]:
    """Ask for a retraction, by number, or by feed and entry.

    Args:
        grounds: why.
        appellant: your own reference for the person who appeals; not a name, not a number.
        number: the number, as it was written down; or else `feed` and `entry`.
        feed: the feed that lists the number; your account must be allowed to read it.
        entry: the entry's ID on that feed.
        idempotency_key: your own key; by default a new one.

    Raises:
        InvalidInput: an argument cannot be used; nothing was sent.
    """
    body = _made(models.NewAppeal, number=number, feed=feed, entry=entry, grounds=grounds, appellant=appellant)
    return _post("/v1/appeals", Appeal, body, key=idempotency_key)


def appeals(*, state: AppealState | None = None) -> Call[Page[Appeal]]:
    """Your own appeals, or all for an officer.

    Args:
        state: only those that are ``open``, ``granted`` or ``dismissed``.
    """
    state_ = None if state is None else _one_of("state", state, ["open", "granted", "dismissed"])
    return _get("/v1/appeals", Page[Appeal], state=state_)


def get_appeal(appeal: int) -> Call[Appeal]:
    """An appeal, with the recipients that have lifted the block."""
    return _get(f"/v1/appeals/{_id('appeal', appeal)}", Appeal)


def attach_appeal_evidence(
    appeal: int,
    file: str | Path | bytes,
    *,
    name: str | None = None,
    media_type: str | None = None,
    progress: Progress | None = None,
    idempotency_key: str | None = None,
) -> Call[Evidence]:
    """Add a file to one of your appeals, as `attach_evidence` does for a report."""
    path = f"/v1/appeals/{_id('appeal', appeal)}/evidence"
    return _upload(path, file, name, media_type, progress, idempotency_key)


def answer_appeal(
    appeal: int, *, grant: bool, reason: str, version: int | None = None, idempotency_key: str | None = None
) -> Call[Appeal]:
    """Answer an appeal, as an officer.

    Args:
        appeal: the appeal's ID.
        grant: True to retract the number, False to dismiss the appeal.
        reason: why.
        version: `Case.version` of its case, as it was looked at; required to dismiss.
        idempotency_key: your own key; by default a new one.

    Raises:
        InvalidInput: an argument cannot be used; nothing was sent.
    """
    body = _made(models.NewAnswer, grant=grant, reason=reason, version=_version(version))
    return _post(f"/v1/appeals/{_id('appeal', appeal)}/answer", Appeal, body, key=idempotency_key)


# Receipts, feeds, publishing, the rest


def submit_receipts(receipts: tuple[NewReceipt, ...], *, idempotency_key: str | None = None) -> Call[ReceiptItems]:
    """Submit up to `RECEIPTS_MAX` receipts at once; each is accepted or refused by itself."""
    return _post("/v1/receipts", ReceiptItems, _made(models.NewReceipts, receipts=receipts), key=idempotency_key)


def receipts(*, feed: str | None = None, entry: int | None = None) -> Call[Page[Receipt]]:
    """Your own receipts, or all for an officer.

    Args:
        feed: only those for this feed.
        entry: only those for this entry.
    """
    return _get("/v1/receipts", Page[Receipt], feed=feed, entry=None if entry is None else str(_id("entry", entry)))


def recycled_batches() -> Call[tuple[RecycledBatch, ...]]:
    """What recipients said was recycled, beyond what retracts by itself in a day: it waits for an officer."""
    return _get("/v1/receipts/recycled", tuple[RecycledBatch, ...])


def answer_recycled(
    digest: str, *, confirm: bool, reason: str, idempotency_key: str | None = None
) -> Call[RecycledAnswer]:
    """Answer a batch of recycled numbers, as an officer.

    Args:
        digest: which batch: `RecycledBatch.digest`. If something else waits by now, the exchange refuses.
        confirm: True to retract its numbers at once, False to keep them listed.
        reason: why.
        idempotency_key: your own key; by default a new one.

    Raises:
        InvalidInput: an argument cannot be used; nothing was sent.
    """
    body = _made(models.NewRecycledAnswer, digest=digest, confirm=confirm, reason=reason)
    return _post("/v1/receipts/recycled/answers", RecycledAnswer, body, key=idempotency_key)


def feeds() -> Call[tuple[Feed, ...]]:
    """The feeds that the account may read."""
    return _get("/v1/feeds", tuple[Feed, ...])


def publish(*, everything: bool = False, idempotency_key: str | None = None) -> Call[Publication]:
    """Publish urgent decisions and retractions, and with the monthly cycle everything else.

    Args:
        everything: publish everything now, whether or not the cycle is due.
        idempotency_key: your own key; by default a new one.
    """
    return _post("/v1/publications", Publication, models.NewPublication(everything=everything), key=idempotency_key)


def waiting_releases() -> Call[tuple[WaitingRelease, ...]]:
    """What the exchange's guard refused, and what waits until an officer accepts it, by feed."""
    return _get("/v1/publications/waiting", tuple[WaitingRelease, ...])


def accept_release(feed: str, digest: str, *, idempotency_key: str | None = None) -> Call[Publication]:
    """Let through what the guard refused on a feed, and publish it.

    Args:
        feed: the feed's name.
        digest: what is accepted: `WaitingRelease.digest`. If something else waits by now, the exchange refuses.
        idempotency_key: your own key; by default a new one.
    """
    new = _made(models.NewAcceptance, feed=feed, digest=digest)
    return _post("/v1/publications/acceptances", Publication, new, key=idempotency_key)


def get_statistics(month: str) -> Call[Statistics]:
    """Statistics of a month; a recipient gets its own part.

    Args:
        month: such as ``2026-11``.
    """
    return _get(f"/v1/statistics/{_valid('month', models.Month, month)}", Statistics)


def get_number_status(number: str) -> Call[NumberStatus]:
    """The public status of a number; needs no account."""
    text = _valid("number", models.NumberText, number)
    if text in (".", ".."):
        raise InvalidInput("number: not a telephone number")
    return dataclasses.replace(_get(f"/v1/numbers/{quote(text, safe='')}", NumberStatus), shown="/v1/numbers/…")


def get_account() -> Call[Account]:
    """Your account's name and scopes."""
    return _get("/v1/account", Account)


def get_health() -> Call[Health]:
    """Whether the exchange is ready; needs no account."""
    return _get("/readyz", Health)


# Many at once


@dataclass(frozen=True, slots=True)
class BulkCall(Generic[T]):
    """One of several calls that send many items.

    Attributes:
        start: number of items in the calls before.
        items: number of items in this one.
        call: the call.
    """

    start: int
    items: int
    call: Call[T]


def report_batches(reports: Iterable[NewReport], idempotency_key: str | None = None) -> Iterator[BulkCall[BulkReports]]:
    """Calls for any number of reports, `BULK_MAX` in each, made when they are needed."""
    for index, (start, some) in enumerate(_batches(reports, NewReport, BULK_MAX)):
        yield BulkCall(start, len(some), submit_reports(some, idempotency_key=_key_of_batch(idempotency_key, index)))


def receipt_batches(
    receipts: Iterable[NewReceipt], idempotency_key: str | None = None
) -> Iterator[BulkCall[ReceiptItems]]:
    """Calls for any number of receipts, `RECEIPTS_MAX` in each, made when they are needed."""
    for index, (start, some) in enumerate(_batches(receipts, NewReceipt, RECEIPTS_MAX)):
        yield BulkCall(start, len(some), submit_receipts(some, idempotency_key=_key_of_batch(idempotency_key, index)))


I = TypeVar("I", BulkItem, ReceiptItem)  # noqa: E741


def renumbered(batch: BulkCall[Any], items: tuple[I, ...]) -> Iterator[I]:
    """The results of one batch, with `index` counted from the first item of all batches.

    Raises:
        Malformed: there is not one result for each item, in order.

    >>> batch = BulkCall(5000, 1, get_account())
    >>> [item.index for item in renumbered(batch, (ReceiptItem(index=0, status="accepted"),))]
    [5000]
    """
    if [item.index for item in items] != list(range(batch.items)):
        raise Malformed(
            f"the exchange returned {len(items)} results for {batch.items} items, or mixed them up: tell its operator"
        )
    return (item.model_copy(update={"index": batch.start + item.index}) for item in items)


def next_page(call: Call[Page[T]], page: Page[T]) -> Call[Page[T]] | None:
    """The call for the next page; None after the last.

    Raises:
        Malformed: the page names itself as the next one.
    """
    if page.next is None:
        return None
    if page.next == call.query.get("cursor"):
        raise Malformed("the exchange returned an endless list of pages: tell its operator")
    return dataclasses.replace(call, query={**call.query, "cursor": page.next})


def _batches(items: Iterable[M], kind: type[M], limit: int) -> Iterator[tuple[int, tuple[M, ...]]]:
    start, batch = 0, list[M]()
    for item in items:
        if not isinstance(item, kind):
            raise InvalidInput(f"item {start + len(batch)} is a {type(item).__name__}, not a {kind.__name__}")
        batch.append(item)
        if len(batch) == limit:
            yield start, tuple(batch)
            start, batch = start + limit, []
    if batch:
        yield start, tuple(batch)


def _key_of_batch(key: str | None, index: int) -> str | None:
    """The key of one batch: the same items sent again in the same batches have the same keys."""
    return None if key is None else f"{key}-{index}"


# Helpers


def _version(version: int | None) -> int | None:
    return None if version is None else _id("version", version)


@functools.cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    """A cached type adapter: making one takes longer than a request on loopback."""
    return TypeAdapter(kind)


def _get(path: str, answer: Any, **query: str | None) -> Call[Any]:
    given = {name: _valid(name, Line, value) for name, value in query.items() if value is not None}
    if getattr(answer, "__pydantic_generic_metadata__", {}).get("origin") is Page:
        given["limit"] = str(PAGE_MAX)
    return Call(method="GET", path=path, answer=_reader(answer), query=given)


def _post(path: str, answer: Any, body: BaseModel | None = None, *, key: str | None) -> Call[Any]:
    return Call(
        method="POST",
        path=path,
        answer=_reader(answer),
        body=None if body is None else body.model_dump_json().encode(),
        media_type=None if body is None else JSON,
        key=_checked_key(key),
    )


def _upload(
    path: str,
    file: str | Path | bytes,
    name: str | None,
    media_type: str | None,
    progress: Progress | None,
    key: str | None,
) -> Call[Evidence]:
    if isinstance(file, bytes):
        if name is None:
            raise InvalidInput("name: give a name for content given as bytes")
        source: Path | bytes = file
        length = len(file)
    else:
        source = Path(file)
        length = _length_of(source)
        name = source.name if name is None else name
    if not length:
        raise InvalidInput(f"the evidence {name} is empty: give another file")
    if length > EVIDENCE_BYTES_MAX:
        raise InvalidInput(
            f"the evidence {name} has {length:,} bytes, more than {EVIDENCE_BYTES_MAX:,}: shorten or compress it"
        )
    media_type = media_type or mimetypes.guess_type(name)[0] or _ANY_TYPE
    return Call(
        method="POST",
        path=path,
        answer=_reader(Evidence),
        query={"name": _valid("name", Line, name)},
        upload=Upload(source, length, progress),
        media_type=_ascii("media_type", media_type),
        key=_checked_key(key),
    )


def _length_of(path: Path) -> int:
    try:
        if path.exists() and not path.is_file():
            raise InvalidInput(f"{path} is not a regular file")
        with path.open("rb"):
            return path.stat().st_size
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"cannot read the evidence {path}: {reason}") from error


def _checked_key(key: str | None) -> str:
    if key is None:
        return secrets.token_urlsafe(24)
    key = _ascii("idempotency_key", key)
    if len(key) > KEY_CHARS_MAX:
        raise InvalidInput(f"idempotency_key: must have at most {KEY_CHARS_MAX} characters, not {len(key)}")
    return key


def _ascii(name: str, text: str) -> str:
    if not is_printable_ascii(text) or text != text.strip():
        raise InvalidInput(f"{name}: must be printable ASCII, without blanks around it, and not empty")
    return text


def _id(name: str, value: int) -> int:
    if isinstance(value, bool):
        raise InvalidInput(f"{name}: must be a whole number, not {value}")
    found: int = _valid(name, models.Id, value)
    return found


def _moment(name: str, value: datetime | None) -> str | None:
    if value is None:
        return None
    found: datetime = _valid(name, models.Moment, value)
    return found.isoformat().replace("+00:00", "Z")


def _one_of(name: str, value: str, known: list[str]) -> str:
    if value not in known:
        raise InvalidInput(f"{name}: must be one of {', '.join(known)}, not {value!r}")
    return str(value)


def _valid(name: str, kind: Any, value: object) -> Any:
    try:
        return _reader(kind).validate_python(value)
    except ValidationError as error:
        raise _invalid(error, name) from error


def _made(model: type[M], **fields: object) -> M:
    try:
        return model(**fields)
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError, name: str = "") -> InvalidInput:
    """What is wrong, field by field, without the values, which may be telephone numbers."""
    parts = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        field_name = ".".join(filter(None, [name, *map(str, each["loc"])]))
        reason = each["msg"].removeprefix("Value error, ")
        parts.append(f"{field_name}: {reason}" if field_name else reason)
    return InvalidInput("; ".join(parts))
