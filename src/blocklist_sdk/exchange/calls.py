"""Each call of the exchange's API, once: what is asked, how, and what comes back. Touches no network.

Both clients take their methods from here, so that they cannot come to differ. Arguments are plain Python values, and
are checked before anything is sent.
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
    Report,
    Statistics,
)
from blocklist_sdk.records import SCOPES, Scope
from blocklist_sdk.texts import is_printable_ascii

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Progress = Callable[[int, int], None]
"""Is told how many bytes of how many were sent; from the beginning again where an attempt is repeated."""

JSON: Final = "application/json"
_ANY_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be sent as it is.

    Attributes:
        source: its path, or its bytes.
        length: how many bytes.
        progress: is told how far it is.
    """

    source: Path | bytes = field(repr=False)
    length: int
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, and what answers it.

    Attributes:
        method: of HTTP.
        path: below the exchange's address, encoded.
        answer: what reads the answer; None for a file, which is not read into memory.
        query: what follows the path.
        body: JSON to send.
        upload: or a file to send.
        media_type: what is sent.
        key: the `Idempotency-Key`, the same for every attempt.
        shown: the path for messages, without numbers.
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
        """Whether it does nothing twice: it only reads, or the exchange knows it again by its key."""
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
    """Complain about a number.

    Args:
        number: as it was written down.
        category: ``fraud``, ``phishing``, ``impersonation``, …
        channel: how it came: ``sms``, ``voice`` or ``messaging``.
        text: what happened, or what the message said.
        happened_at: when, with a time zone.
        reporter: your own reference for who complains; no name and no number.
        app: which messaging app; with the channel ``messaging`` only, and needed there.
        idempotency_key: of your own, so that the same report sent again is the same report.

    Raises:
        InvalidInput: one of them cannot be used; nothing was sent.
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
    """A report for `submit_reports`, from plain values such as a row of a table.

    Raises:
        InvalidInput: a field is missing, unknown, or cannot be used.
    """
    return _made(NewReport, **fields)


def new_receipt(fields: Mapping[str, Any]) -> NewReceipt:
    """A receipt for `submit_receipts`, from plain values such as a row of a table.

    Raises:
        InvalidInput: a field is missing, unknown, or cannot be used.
    """
    ids = {name: _id(name, fields[name]) for name in ("serial", "entry") if name in fields}
    return _made(NewReceipt, **{**fields, **ids})


def submit_reports(reports: tuple[NewReport, ...], *, idempotency_key: str | None = None) -> Call[BulkReports]:
    """Up to `BULK_MAX` complaints at once; each is taken or refused by itself."""
    return _post("/v1/reports/bulk", BulkReports, _made(models.NewReports, reports=reports), key=idempotency_key)


def reports(*, number: str | None = None, since: datetime | None = None) -> Call[Page[Report]]:
    """Your own reports, page after page as they are needed.

    Args:
        number: on this number only.
        since: received since then only; with a time zone.
    """
    return _get("/v1/reports", Page[Report], number=number, since=_moment("since", since))


def get_report(report: int) -> Call[Report]:
    """A report as it stands."""
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
    """Add a file to a report of yours.

    Args:
        report: its ID.
        file: a path, or the bytes themselves. It is sent in pieces, and not held in memory.
        name: what to call it; by default the path's last part. Needed with bytes.
        media_type: what it is, such as ``image/png``; by default by its name.
        progress: is told how many bytes of how many were sent.
        idempotency_key: of your own.

    Raises:
        InvalidInput: the file cannot be read, is empty, or is longer than `EVIDENCE_BYTES_MAX`.
    """
    path = f"/v1/reports/{_id('report', report)}/evidence"
    return _upload(path, file, name, media_type, progress, idempotency_key)


# Cases


def cases(
    *, state: CaseState | str | None = None, number: str | None = None, overdue: bool = False
) -> Call[Page[Case]]:
    """Cases, appealed ones first, then those that have been complete for longest; page after page.

    Args:
        state: in this state only.
        number: of this number only.
        overdue: only those that are older than the time that officers have.
    """
    state = None if state is None else _one_of("state", state, [each.value for each in CaseState])
    return _get("/v1/cases", Page[Case], state=state, number=number, overdue="true" if overdue else None)


def get_case(case: int) -> Call[Case]:
    """A case as it stands."""
    return _get(f"/v1/cases/{_id('case', case)}", Case)


def case_reports(case: int) -> Call[Page[Report]]:
    """The reports of a case, page after page."""
    return _get(f"/v1/cases/{_id('case', case)}/reports", Page[Report])


def case_history(case: int) -> Call[Page[Event]]:
    """What happened to a case, from the beginning, page after page."""
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
    idempotency_key: str | None = None,
) -> Call[Decision]:
    """Decide on a case; what a second officer has to confirm is only proposed until then.

    Args:
        case: its ID.
        kind: ``block``, ``advisory``, ``reject`` or ``retract``.
        reason: why.
        category: by default what most reporters say.
        scope: where the number is to be blocked; everywhere by default.
        until: when the listing ends; by default after the exchange's usual time.
        urgent: publish at once, not with the next cycle.
        idempotency_key: of your own.

    Raises:
        InvalidInput: one of them cannot be used; nothing was sent.
    """
    body = _made(
        models.NewDecision,
        kind=kind,
        reason=reason,
        category=category,
        scope=(scope,) if isinstance(scope, str) else tuple(sorted(scope)),
        until=until,
        urgent=urgent,
    )
    return _post(f"/v1/cases/{_id('case', case)}/decisions", Decision, body, key=idempotency_key)


def confirm_decision(decision: int, *, idempotency_key: str | None = None) -> Call[Decision]:
    """Confirm another officer's decision."""
    return _post(f"/v1/decisions/{_id('decision', decision)}/confirmation", Decision, key=idempotency_key)


def withdraw_decision(decision: int, *, idempotency_key: str | None = None) -> Call[Decision]:
    """Withdraw a decision that is only proposed."""
    return _post(f"/v1/decisions/{_id('decision', decision)}/withdrawal", Decision, key=idempotency_key)


def download_evidence(evidence: int) -> Call[None]:
    """A file that belongs to a report or an appeal."""
    return Call(method="GET", path=f"/v1/evidence/{_id('evidence', evidence)}", answer=None)


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
        appellant: your own reference for who appeals; no name and no number.
        number: as it was written down.
        feed: or the feed that lists it, which your account may read,
        entry: and its entry there.
        idempotency_key: of your own.

    Raises:
        InvalidInput: one of them cannot be used; nothing was sent.
    """
    body = _made(models.NewAppeal, number=number, feed=feed, entry=entry, grounds=grounds, appellant=appellant)
    return _post("/v1/appeals", Appeal, body, key=idempotency_key)


def appeals(*, state: AppealState | None = None) -> Call[Page[Appeal]]:
    """Appeals, your own or for an officer all, page after page.

    Args:
        state: ``open``, ``granted`` or ``dismissed`` only.
    """
    state_ = None if state is None else _one_of("state", state, ["open", "granted", "dismissed"])
    return _get("/v1/appeals", Page[Appeal], state=state_)


def get_appeal(appeal: int) -> Call[Appeal]:
    """An appeal as it stands, with who has lifted the block."""
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
    """Add a file to an appeal of yours; as `attach_evidence` does to a report."""
    path = f"/v1/appeals/{_id('appeal', appeal)}/evidence"
    return _upload(path, file, name, media_type, progress, idempotency_key)


def answer_appeal(appeal: int, *, grant: bool, reason: str, idempotency_key: str | None = None) -> Call[Appeal]:
    """Answer an appeal.

    Args:
        appeal: its ID.
        grant: whether the number is to be retracted.
        reason: why, or why not.
        idempotency_key: of your own.
    """
    body = _made(models.NewAnswer, grant=grant, reason=reason)
    return _post(f"/v1/appeals/{_id('appeal', appeal)}/answer", Appeal, body, key=idempotency_key)


# Receipts, feeds, publishing, the rest


def submit_receipts(receipts: tuple[NewReceipt, ...], *, idempotency_key: str | None = None) -> Call[ReceiptItems]:
    """Up to `RECEIPTS_MAX` receipts at once."""
    return _post("/v1/receipts", ReceiptItems, _made(models.NewReceipts, receipts=receipts), key=idempotency_key)


def receipts(*, feed: str | None = None, entry: int | None = None) -> Call[Page[Receipt]]:
    """Receipts, your own or for an officer all, page after page.

    Args:
        feed: of this feed only.
        entry: of this entry only.
    """
    return _get("/v1/receipts", Page[Receipt], feed=feed, entry=None if entry is None else str(_id("entry", entry)))


def feeds() -> Call[tuple[Feed, ...]]:
    """The feeds that the account may read."""
    return _get("/v1/feeds", tuple[Feed, ...])


def publish(*, everything: bool = False, idempotency_key: str | None = None) -> Call[Publication]:
    """Publish what is decided.

    Args:
        everything: routine decisions as well, whether or not their cycle is due.
        idempotency_key: of your own.
    """
    return _post("/v1/publications", Publication, models.NewPublication(everything=everything), key=idempotency_key)


def get_statistics(month: str) -> Call[Statistics]:
    """A month's figures; a recipient sees its own part.

    Args:
        month: such as ``2026-11``.
    """
    return _get(f"/v1/statistics/{_valid('month', models.Month, month)}", Statistics)


def get_number_status(number: str) -> Call[NumberStatus]:
    """What is publicly said about a number; needs no account."""
    text = _valid("number", models.NumberText, number)
    if text in (".", ".."):
        raise InvalidInput("number: it is none")
    return dataclasses.replace(_get(f"/v1/numbers/{quote(text, safe='')}", NumberStatus), shown="/v1/numbers/…")


def get_account() -> Call[Account]:
    """Who you are to the exchange, and what you may do."""
    return _get("/v1/account", Account)


def get_health() -> Call[Health]:
    """Whether the exchange works; needs no account."""
    return _get("/readyz", Health)


# Many at once


@dataclass(frozen=True, slots=True)
class BulkCall(Generic[T]):
    """One call of several that carry many things together.

    Attributes:
        start: how many were in those before.
        items: how many are in this one.
        call: the call.
    """

    start: int
    items: int
    call: Call[T]


def report_batches(reports: Iterable[NewReport], idempotency_key: str | None = None) -> Iterator[BulkCall[BulkReports]]:
    """Calls for any number of reports, `BULK_MAX` in each, made as they are asked for."""
    for place, (start, some) in enumerate(_batches(reports, NewReport, BULK_MAX)):
        yield BulkCall(start, len(some), submit_reports(some, idempotency_key=_numbered(idempotency_key, place)))


def receipt_batches(
    receipts: Iterable[NewReceipt], idempotency_key: str | None = None
) -> Iterator[BulkCall[ReceiptItems]]:
    """Calls for any number of receipts, `RECEIPTS_MAX` in each, made as they are asked for."""
    for place, (start, some) in enumerate(_batches(receipts, NewReceipt, RECEIPTS_MAX)):
        yield BulkCall(start, len(some), submit_receipts(some, idempotency_key=_numbered(idempotency_key, place)))


I = TypeVar("I", BulkItem, ReceiptItem)  # noqa: E741


def renumbered(batch: BulkCall[Any], items: tuple[I, ...]) -> Iterator[I]:
    """What came of one batch, counted from the beginning of all.

    Raises:
        Malformed: it is not one answer for each, in their order.

    >>> batch = BulkCall(5000, 1, get_account())
    >>> [item.index for item in renumbered(batch, (ReceiptItem(index=0, status="accepted"),))]
    [5000]
    """
    if [item.index for item in items] != list(range(batch.items)):
        raise Malformed(
            f"the exchange answered for {len(items)} of {batch.items}, or not in their order: tell its operator"
        )
    return (item.model_copy(update={"index": batch.start + item.index}) for item in items)


def next_page(call: Call[Page[T]], page: Page[T]) -> Call[Page[T]] | None:
    """The call for the next page, None after the last.

    Raises:
        Malformed: the pages go round in a circle.
    """
    if page.next is None:
        return None
    if page.next == call.query.get("cursor"):
        raise Malformed("the exchange's pages do not end: tell its operator")
    return dataclasses.replace(call, query={**call.query, "cursor": page.next})


def _batches(items: Iterable[M], kind: type[M], most: int) -> Iterator[tuple[int, tuple[M, ...]]]:
    start, some = 0, list[M]()
    for item in items:
        if not isinstance(item, kind):
            raise InvalidInput(f"item {start + len(some)} is a {type(item).__name__}, not a {kind.__name__}")
        some.append(item)
        if len(some) == most:
            yield start, tuple(some)
            start, some = start + most, []
    if some:
        yield start, tuple(some)


def _numbered(key: str | None, place: int) -> str | None:
    """A batch's own key: the same batches of the same whole have the same keys again."""
    return None if key is None else f"{key}-{place}"


# How they are made


@functools.cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    """What reads values of a kind; making one takes longer than a request on loopback."""
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
        key=_key(key),
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
            raise InvalidInput("name: bytes have none of their own, so give one")
        source: Path | bytes = file
        length = len(file)
    else:
        source = Path(file)
        length = _length_of(source)
        name = source.name if name is None else name
    if not length:
        raise InvalidInput(f"the evidence {name} is empty: give a file that says something")
    if length > EVIDENCE_BYTES_MAX:
        raise InvalidInput(
            f"the evidence {name} has {length:,} bytes, and may have {EVIDENCE_BYTES_MAX:,}: cut or compress it"
        )
    media_type = media_type or mimetypes.guess_type(name)[0] or _ANY_TYPE
    return Call(
        method="POST",
        path=path,
        answer=_reader(Evidence),
        query={"name": _valid("name", Line, name)},
        upload=Upload(source, length, progress),
        media_type=_ascii("media_type", media_type),
        key=_key(key),
    )


def _length_of(path: Path) -> int:
    try:
        if path.exists() and not path.is_file():
            raise InvalidInput(f"{path} is no regular file")
        with path.open("rb"):
            return path.stat().st_size
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"cannot read the evidence {path}: {reason}") from error


def _key(given: str | None) -> str:
    if given is None:
        return secrets.token_urlsafe(24)
    key = _ascii("idempotency_key", given)
    if len(key) > KEY_CHARS_MAX:
        raise InvalidInput(f"idempotency_key: it has {len(key)} characters, and may have {KEY_CHARS_MAX}")
    return key


def _ascii(name: str, text: str) -> str:
    if not is_printable_ascii(text) or text != text.strip():
        raise InvalidInput(f"{name}: it must be printable ASCII, without blanks around it, and not empty")
    return text


def _id(name: str, value: int) -> int:
    if isinstance(value, bool):
        raise InvalidInput(f"{name}: an ID is a whole number, not {value}")
    found: int = _valid(name, models.Id, value)
    return found


def _moment(name: str, value: datetime | None) -> str | None:
    if value is None:
        return None
    found: datetime = _valid(name, models.Moment, value)
    return found.isoformat().replace("+00:00", "Z")


def _one_of(name: str, value: str, known: list[str]) -> str:
    if value not in known:
        raise InvalidInput(f"{name}: {value!r} is none of {', '.join(known)}")
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
    """What is wrong, field by field, without the values themselves, which may be numbers."""
    parts = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(filter(None, [name, *map(str, each["loc"])]))
        reason = each["msg"].removeprefix("Value error, ")
        parts.append(f"{place}: {reason}" if place else reason)
    return InvalidInput("; ".join(parts))
