"""The outbox: receipts are made from the ledger's records, and sent until the exchange has each of them, once.

There is no queue beside the ledger. A record counts as sent once the exchange has answered for each of its receipts and
that is written down. After a crash the same receipts are sent again with the same idempotency keys, by which the
exchange recognises them.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.disk import storage, write_json
from blocklist_sdk.enforcement.items import OWN_ENTRY, Batch, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_documents import member, read_document, refusals_in
from blocklist_sdk.enforcement.ledger_files import moment_in, reading
from blocklist_sdk.enforcement.ledger_state import LedgerRecord, OutcomeCode
from blocklist_sdk.enforcement.paths import is_shadow
from blocklist_sdk.enforcement.sink import DETAIL_CHARS_MAX
from blocklist_sdk.errors import ExchangeError, InvalidInput, Malformed, StorageFailed, Unreachable
from blocklist_sdk.exchange import calls
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange.models import RECEIPTS_MAX, NewReceipt, ReceiptItem, ReceiptOutcome
from blocklist_sdk.release.release_id import FIRST_ERA
from blocklist_sdk.texts import printable

log: logging.Logger = logging.getLogger(__name__)

_FORMAT: Final = 1
_PROGRESS: Final = "outbox.json"
_ADVICE: Final = "it is ignored, and written again"

_CHANGES_AT_A_TIME: Final = 10_000
"""Changes of a record that are handled together."""

_NOT_DONE: Final = ("refused", "failed")

REFUSED_KEPT_MAX: Final = 10_000
"""How many refused receipts of one record are written down one by one; the others are counted."""

_WAIT_MAX: Final = timedelta(hours=24)
"""The longest wait that the exchange may ask for: the clock may have been wrong when the wait was written down."""

_KEY_DIGITS: Final = 16
"""Hexadecimal digits of the body's digest in an idempotency key."""


def receipts_of(record: LedgerRecord) -> Iterator[NewReceipt]:
    """The receipts of a record: one for each entry behind each of its changes.

    A change has no receipt if only an override of the recipient's own asked for it, if its outcome is unknown, or if it
    failed and is tried again: the outcome that counts follows. Once it is given up, its receipt says ``failed``, so the
    authority knows that the block, or the unblock, will not come. An unblock that was done is ``reversed``.

    If an entry is for a range that is several items in the sink, each item has a receipt. The exchange counts the same
    outcome of the same entry and release once.
    """
    if record.done is None:
        return
    batch, at, kinds = record.batch, record.done, _receipt_kinds(record.batch.operation)
    for start in range(0, len(batch), _CHANGES_AT_A_TIME):
        for index, code in enumerate(record.outcome[start : start + _CHANGES_AT_A_TIME].tolist(), start):
            outcome = kinds.get(code)
            if outcome is None:
                continue
            detail = printable(record.details.get(index, "")).strip()[:DETAIL_CHARS_MAX]
            for entry, kind in _entry_outcomes(batch, index, outcome):
                yield NewReceipt(
                    feed=batch.feed,
                    serial=batch.serial,
                    era=None if batch.era == FIRST_ERA else batch.era,
                    entry=entry,
                    outcome=kind,
                    at=at,
                    detail=detail,
                )


def _entry_outcomes(batch: Batch, index: int, outcome: ReceiptOutcome) -> list[tuple[int, ReceiptOutcome]]:
    """The entries behind a change, each with its outcome."""
    lifted = batch.items.lifted_entries.get(index)
    if batch.operation == "unblock" and lifted is not None:
        return [(entry, outcome) for entry in lifted]
    outcomes = [(entry, outcome) for entry in batch.items.entries(index)]
    if lifted is not None and outcome not in _NOT_DONE:
        outcomes += [(entry, "reversed") for entry in lifted]
    return outcomes


def count_receipts(record: LedgerRecord) -> int:
    """The number of a record's receipts, without making them."""
    if record.done is None:
        return 0
    items, kinds = record.batch.items, _receipt_kinds(record.batch.operation)
    has_receipt = np.isin(record.outcome, list(kinds))
    count = int((has_receipt & (items.entry != OWN_ENTRY)).sum())
    count += sum(len(entries) - 1 for index, entries in items.entry_lists.items() if has_receipt[index])
    for index in items.lifted_entries:
        outcome = kinds.get(int(record.outcome[index]))
        if outcome is not None:
            count += len(_entry_outcomes(record.batch, index, outcome)) - len(items.entries(index))
    return count


@dataclass(frozen=True, slots=True)
class ReceiptsResult:
    """The result of sending receipts.

    Attributes:
        sent: receipts that the exchange accepted.
        repeated: receipts that it had already.
        refused: receipts that it refused; `Ledger.refused_receipts` says which and why.
        records: records of the ledger of which all receipts are answered.
    """

    sent: int = 0
    repeated: int = 0
    refused: int = 0
    records: int = 0


def send_receipts(
    ledger: Ledger,
    client: ExchangeClient,
    *,
    again: bool = False,
    progress: Callable[[ReceiptsResult], None] | None = None,
) -> ReceiptsResult:
    """Send the receipts that the exchange has not acknowledged yet, the oldest record first.

    If an error ends it early, the next call continues there, in any process. Memory does not grow with the size of a
    record.

    Args:
        ledger: from `Ledger.open`, or from `Ledger.outbox` so that runs need not wait.
        client: the exchange, with the recipient's account.
        again: also send the records of which the exchange refused a receipt, for example after its operator has
            corrected something.
        progress: called with the sums so far after every batch.

    Raises:
        InvalidInput: the ledger is a shadow's, or the account may not send receipts for the feed. Nothing was sent: the
            exchange would refuse each receipt, and that would count as its answer.
        Unreachable: the network failed, or the exchange has asked to wait and the wait is not over.
        ExchangeError: the exchange refused the request as a whole; `problem` says why.
        Malformed: the answer is not that of an exchange.
        StorageFailed: the disk refused.
    """
    if is_shadow(ledger.directory.name):
        raise InvalidInput(f"{ledger.directory.name} is a shadow, so nothing was done: it has no receipts to send")
    outbox = _Outbox(ledger, client, progress)
    outbox.check_wait()
    try:
        for record in ledger.unacknowledged():
            outbox.send(record)
        if again:
            # Last, so that what was refused just now is not sent again at once.
            for record in _refused(ledger, before=outbox.begun):
                outbox.send(record, anew=True)
    except (Unreachable, ExchangeError) as error:
        if error.retry_after is not None:
            with contextlib.suppress(StorageFailed):
                outbox.save_wait(error.retry_after)
        raise
    return outbox.sums


class _Outbox:
    """One call of `send_receipts`."""

    def __init__(
        self, ledger: Ledger, client: ExchangeClient, progress: Callable[[ReceiptsResult], None] | None
    ) -> None:
        self.begun = times.now()
        self.sums = ReceiptsResult()
        self._ledger = ledger
        self._client = client
        self._progress = progress
        self._is_checked = False
        self._file = ledger.directory / _PROGRESS

    def send(self, record: LedgerRecord, *, anew: bool = False) -> None:
        """Send a record's receipts and write down that they are acknowledged.

        Args:
            record: the record, with outcomes.
            anew: ask for new answers, where the exchange may otherwise repeat those that it gave before.
        """
        number = record.batch.number_in_ledger
        answered = _Answered.load(self._file, record) if not anew else _Answered(number, record.done)
        receipts = receipts_of(record)
        # Skip those that are answered already; making them costs microseconds each.
        next(islice(receipts, answered.batches * RECEIPTS_MAX, answered.batches * RECEIPTS_MAX), None)
        while batch := tuple(islice(receipts, RECEIPTS_MAX)):
            self._check_account()
            items = self._client.send(self._call(number, answered.batches, batch, anew=anew)).items
            if [item.index for item in items] != list(range(len(batch))):
                raise Malformed(
                    f"the exchange answered for {len(items)} of {len(batch)} receipts, or in another order: tell its "
                    "operator"
                )
            answered = answered.after(batch, items)
            self._add(items)
            if len(batch) == RECEIPTS_MAX and not anew:
                answered.save(self._file)
        self._ledger.acknowledge(number, answered.refusals(), at=times.now())
        self.sums = replace(self.sums, records=self.sums.records + 1)
        self._notify()

    def check_wait(self) -> None:
        """Raise `Unreachable` if the exchange has asked to wait, and the wait is not over."""
        document = _document(self._file) or {}
        until = self.begun
        if "not_before" in document:
            with _unless_damaged(self._file):
                until = moment_in(document, "not_before").astimezone(UTC)
        if not self.begun < until <= self.begun + _WAIT_MAX:
            return
        raise Unreachable(
            f"the exchange asked to wait until {times.iso(until.replace(microsecond=0))}: receipts are sent after that",
            url=self._client.url,
            retry_after=(until - self.begun).total_seconds(),
        )

    def save_wait(self, seconds: float) -> None:
        """Write down how long the exchange asked to wait, so that calls after a restart do so, too."""
        document = _document(self._file) or {"format": _FORMAT}
        until = times.now() + min(timedelta(seconds=seconds), _WAIT_MAX)
        with storage(self._file):
            write_json(self._file, document | {"not_before": until.isoformat()})

    def _call(self, number: int, part: int, batch: tuple[NewReceipt, ...], *, anew: bool) -> Any:
        call = calls.submit_receipts(batch)
        if anew:
            return call
        # With the body's digest: after a restore from a copy, or with a version that words a detail differently, the
        # same key would otherwise be used for another body, and be refused for ever.
        digest = hashlib.sha256(call.body or b"").hexdigest()[:_KEY_DIGITS]
        return replace(call, key=f"{self._ledger.id}-{number}-{part}-{digest}")

    def _check_account(self) -> None:
        """Check that the account may send receipts for the feed, or the exchange would refuse each of them."""
        if self._is_checked:
            return
        account, feed = self._client.get_account(), self._ledger.feed
        missing = {"receipt", f"feed:{feed}"} - set(account.scopes)
        if missing:
            raise InvalidInput(
                f"the account {account.name!r} may not send receipts for feed {feed!r}: check client_id, or ask the "
                f"exchange's operator for {' and '.join(sorted(missing))}. Nothing was sent."
            )
        self._is_checked = True

    def _add(self, items: tuple[ReceiptItem, ...]) -> None:
        status = [item.status for item in items]
        self.sums = replace(
            self.sums,
            sent=self.sums.sent + status.count("accepted"),
            repeated=self.sums.repeated + status.count("repeated"),
            refused=self.sums.refused + status.count("refused"),
        )
        self._notify()

    def _notify(self) -> None:
        if self._progress is not None:
            self._progress(self.sums)


@dataclass(frozen=True, slots=True)
class _Answered:
    """How many of a record's receipts are answered.

    Attributes:
        record: the record's number.
        done: when its outcomes were known; with it, a record of the same number in a copy of the ledger is not mistaken
            for this one.
        batches: batches of receipts that are answered.
        refused: the receipts that the exchange refused, up to `REFUSED_KEPT_MAX`.
        more: how many refused receipts are left out.
    """

    record: int
    done: datetime | None
    batches: int = 0
    refused: tuple[dict[str, Any], ...] = ()
    more: int = 0

    @classmethod
    def load(cls, file: Path, record: LedgerRecord) -> "_Answered":
        fresh = cls(record.batch.number_in_ledger, record.done)
        document = _document(file)
        if document is None or document.get("about") != fresh._about():
            return fresh
        with _unless_damaged(file):
            parts, more = member(document, "parts", int), member(document, "more", int)
            return replace(fresh, batches=parts, refused=tuple(refusals_in(document)), more=more)
        return fresh

    def save(self, file: Path) -> None:
        content = {"about": self._about(), "parts": self.batches, "refused": list(self.refused), "more": self.more}
        with storage(file):
            write_json(file, {"format": _FORMAT, **content})

    def _about(self) -> list[Any]:
        return [str(self.done), RECEIPTS_MAX, self.record]

    def after(self, batch: tuple[NewReceipt, ...], items: tuple[ReceiptItem, ...]) -> "_Answered":
        refused = [
            {"entry": new.entry, "outcome": new.outcome, "reason": item.reason or "the exchange does not say why"}
            for new, item in zip(batch, items, strict=True)
            if item.status == "refused"
        ]
        room = REFUSED_KEPT_MAX - len(self.refused)
        return replace(
            self,
            batches=self.batches + 1,
            refused=(*self.refused, *refused[:room]),
            more=self.more + len(refused[room:]),
        )

    def refusals(self) -> list[dict[str, Any]]:
        """The refused receipts, as the ledger keeps them."""
        rest = {"entry": None, "outcome": None, "reason": f"{self.more:,} more receipts were refused"}
        return [*self.refused, *([rest] if self.more else ())]


def _receipt_kinds(operation: Operation) -> dict[int, ReceiptOutcome]:
    """The outcome in a receipt for each `OutcomeCode`; codes that have no receipt are left out."""
    kinds: dict[int, ReceiptOutcome] = {
        code: code.kind for code in OutcomeCode if code.kind is not None and code is not OutcomeCode.FAILED
    }
    if operation == "unblock":
        kinds[OutcomeCode.ENFORCED] = "reversed"
    return kinds


def _refused(ledger: Ledger, *, before: datetime) -> Iterator[LedgerRecord]:
    numbers = {number for number, _ in ledger.refused_receipts() if ledger.acknowledged_at(number) < before}
    for number in sorted(numbers):
        yield ledger.record(number)


def _document(file: Path) -> dict[str, Any] | None:
    """What an earlier call wrote down; None if nothing, or if it is damaged."""
    with _unless_damaged(file):
        return read_document(file, advice=_ADVICE)
    return None


@contextlib.contextmanager
def _unless_damaged(file: Path) -> Iterator[None]:
    """Read what an earlier call wrote down. It only saves time, so a damaged file is ignored, with a warning."""
    try:
        with reading(file, advice=_ADVICE):
            yield
    except Malformed as error:
        log.warning("%s", error)
