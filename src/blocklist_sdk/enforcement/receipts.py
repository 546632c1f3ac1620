"""The outbox: receipts made from a ledger's records, and sent until the exchange has every one of them, once.

Nothing is queued beside the ledger. A record is the receipt's only source, and it counts as sent once the exchange has
answered for each of its receipts and that is written down. Whatever dies in between, the same receipts are sent again
under the same idempotency keys, and the exchange knows them again.
"""

import contextlib
import dataclasses
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
from blocklist_sdk.disk import read_json, storage, write_json
from blocklist_sdk.enforcement.items import OWN, Batch, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import LedgerRecord, OutcomeCode
from blocklist_sdk.enforcement.paths import is_shadow
from blocklist_sdk.enforcement.sink import DETAIL_CHARS_MAX
from blocklist_sdk.errors import ExchangeError, InvalidInput, Malformed, StorageFailed, Unreachable
from blocklist_sdk.exchange import calls
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange.models import RECEIPTS_MAX, NewReceipt, Outcome, ReceiptItem
from blocklist_sdk.texts import printable

log = logging.getLogger(__name__)

_FORMAT: Final = 1
_PROGRESS: Final = "outbox.json"

_AT_A_TIME: Final = 10_000
"""Changes whose outcomes are looked at together."""

_NOT_DONE: Final = ("refused", "failed")

REFUSED_KEPT_MAX: Final = 10_000
"""Receipts of one record that were refused and are noted one by one; the rest is counted."""

_WAIT_MAX: Final = timedelta(hours=24)
"""A wait that an exchange asks for is not honoured for longer: the clock may have been wrong when it was noted."""

_KEY_DIGITS: Final = 16
"""Hexadecimal digits of a body's digest in its key."""


def receipts_of(record: LedgerRecord) -> Iterator[NewReceipt]:
    """What the authority is told of a record: a receipt for each entry behind each of its changes.

    There is none where an override of the recipient's own is the only reason, where nobody knows what came of the
    change, and where it failed but is tried again: that is no answer yet, and the one that counts follows. Once it
    has failed so often that it was given up, the receipt says ``failed``, so that the authority knows of a block, or
    of an unblock, that is not coming. An unblock that was done is ``reversed``.

    An entry for a range whose numbers are several items in the sink has a receipt for each; the exchange counts the
    same outcome of the same entry and release once.
    """
    if record.done is None:
        return
    batch, at, told = record.batch, record.done, _told(record.batch.operation)
    for start in range(0, len(batch), _AT_A_TIME):
        for place, code in enumerate(record.outcome[start : start + _AT_A_TIME].tolist(), start):
            outcome = told.get(code)
            if outcome is None:
                continue
            detail = printable(record.details.get(place, "")).strip()[:DETAIL_CHARS_MAX]
            for entry, said in _entries_told(batch, place, outcome):
                yield NewReceipt(feed=batch.feed, serial=batch.serial, entry=entry, outcome=said, at=at, detail=detail)


def _entries_told(batch: Batch, place: int, outcome: Outcome) -> list[tuple[int, Outcome]]:
    """Of which entries a change tells, and what."""
    lifted = batch.items.lifted.get(place)
    if batch.operation == "unblock" and lifted is not None:
        return [(entry, outcome) for entry in lifted]
    told = [(entry, outcome) for entry in batch.items.entries(place)]
    if lifted is not None and outcome not in _NOT_DONE:
        told += [(entry, "reversed") for entry in lifted]
    return told


def count_receipts(record: LedgerRecord) -> int:
    """How many receipts a record makes, without making them."""
    if record.done is None:
        return 0
    items = record.batch.items
    is_told = np.isin(record.outcome, list(_told(record.batch.operation)))
    more = sum(len(entries) - 1 for place, entries in items.more.items() if is_told[place])
    count = int((is_told & (items.entry != OWN)).sum()) + more
    told = _told(record.batch.operation)
    for place in items.lifted:
        outcome = told.get(int(record.outcome[place]))
        if outcome is not None:
            count += len(_entries_told(record.batch, place, outcome)) - len(items.entries(place))
    return count


@dataclass(frozen=True, slots=True)
class ReceiptsResult:
    """What came of sending.

    Attributes:
        sent: receipts that the exchange has taken.
        repeated: those that it had already.
        refused: those that it will not take; `Ledger.refused_receipts` says which and why.
        records: records of the ledger that are done with.
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
    """Send what the exchange has not acknowledged yet, the oldest record first.

    What an error cuts short goes on where it stopped at the next call, in any process. Memory does not grow with the
    size of a record.

    Args:
        ledger: from `Ledger.open`, or from `Ledger.outbox` so that runs need not wait.
        client: the exchange, with the recipient's account.
        again: also all records of which the exchange refused a receipt, as after its operator has put something right.
        progress: told the sums so far after every batch.

    Raises:
        InvalidInput: the ledger is a shadow's, or the account may not answer for the feed. Nothing was sent, since the
            exchange would refuse each and that would count as its answer.
        Unreachable: the network, or an exchange that asked to be left alone for a while that is not over.
        ExchangeError: the exchange refused as a whole; `problem` says why.
        Malformed: what came is no answer of an exchange.
        StorageFailed: the disk refused.
    """
    if is_shadow(ledger.directory.name):
        raise InvalidInput(f"{ledger.directory.name} has only recorded what would be done: there is nothing to tell")
    outbox = _Outbox(ledger, client, progress)
    outbox.check_wait()
    try:
        for record in ledger.unacknowledged():
            outbox.send(record)
        if again:
            # Only now: those refused just before are not asked for again at once.
            for record in _refused(ledger, before=outbox.begun):
                outbox.send(record, anew=True)
    except (Unreachable, ExchangeError) as error:
        if error.retry_after is not None:
            with contextlib.suppress(StorageFailed):
                outbox.note_wait(error.retry_after)
        raise
    return outbox.sums


class _Outbox:
    """One go at sending."""

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
        """Send a record's receipts and note that they are acknowledged.

        Args:
            record: with outcomes.
            anew: ask for a new answer to each, where otherwise the exchange may repeat the one that it gave.
        """
        number = record.batch.number_in_ledger
        standing = _Standing.load(self._file, record) if not anew else _Standing(number, record.done)
        receipts = receipts_of(record)
        # Those that were answered for before whatever cut this short; making them costs microseconds each.
        next(islice(receipts, standing.parts * RECEIPTS_MAX, standing.parts * RECEIPTS_MAX), None)
        while some := tuple(islice(receipts, RECEIPTS_MAX)):
            self._check_account()
            items = self._client.send(self._call(number, standing.parts, some, anew=anew)).items
            if [item.index for item in items] != list(range(len(some))):
                raise Malformed(
                    f"the exchange answered for {len(items)} of {len(some)} receipts, or not in their order: tell its "
                    "operator"
                )
            standing = standing.after(some, items)
            self._add(items)
            if len(some) == RECEIPTS_MAX and not anew:
                standing.save(self._file)
        self._ledger.acknowledge(number, standing.noted(), at=times.now())
        self.sums = replace(self.sums, records=self.sums.records + 1)
        self._tell()

    def check_wait(self) -> None:
        """Raise `Unreachable` while a wait is on that the exchange asked for."""
        until = _moment((_document(self._file) or {}).get("not_before"))
        if until is None or not self.begun < until <= self.begun + _WAIT_MAX:
            return
        raise Unreachable(
            f"the exchange asked to be left alone until {until:%Y-%m-%dT%H:%M:%SZ}: receipts wait until then",
            url=self._client.url,
            retry_after=(until - self.begun).total_seconds(),
        )

    def note_wait(self, seconds: float) -> None:
        """Have the next call, after a restart too, wait as long as the exchange asked for."""
        document = _document(self._file) or {"format": _FORMAT}
        until = times.now() + min(timedelta(seconds=seconds), _WAIT_MAX)
        with storage(self._file):
            write_json(self._file, document | {"not_before": until.isoformat()})

    def _call(self, number: int, part: int, some: tuple[NewReceipt, ...], *, anew: bool) -> Any:
        call = calls.receipts_batch(some)
        if anew:
            return call
        # With the body's digest: a ledger that was brought back from a copy, or a version that says a detail in other
        # words, would otherwise be refused for ever for using a key twice.
        digest = hashlib.sha256(call.body or b"").hexdigest()[:_KEY_DIGITS]
        return dataclasses.replace(call, key=f"{self._ledger.id}-{number}-{part}-{digest}")

    def _check_account(self) -> None:
        """See that the exchange does not refuse each receipt for whose they are."""
        if self._is_checked:
            return
        account, feed = self._client.account(), self._ledger.feed
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
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.sums)


@dataclass(frozen=True, slots=True)
class _Standing:
    """How far a record's receipts have come.

    Attributes:
        record: its number.
        done: when its outcomes were known; tells it from another of the same number in a ledger's copy.
        parts: batches that were answered for.
        refused: those that the exchange will not take, up to `REFUSED_KEPT_MAX`.
        more: how many of these are left out.
    """

    record: int
    done: datetime | None
    parts: int = 0
    refused: tuple[dict[str, Any], ...] = ()
    more: int = 0

    @classmethod
    def load(cls, file: Path, record: LedgerRecord) -> "_Standing":
        number = record.batch.number_in_ledger
        document = _document(file)
        about = [str(record.done), RECEIPTS_MAX, number]
        if document is None or document.get("about") != about:
            return cls(number, record.done)
        # Who wrote that it is about this record wrote the rest as well, in one piece.
        return cls(number, record.done, document["parts"], tuple(document["refused"]), document["more"])

    def save(self, file: Path) -> None:
        about = [str(self.done), RECEIPTS_MAX, self.record]
        said = {"about": about, "parts": self.parts, "refused": list(self.refused), "more": self.more}
        with storage(file):
            write_json(file, {"format": _FORMAT, **said})

    def after(self, some: tuple[NewReceipt, ...], items: tuple[ReceiptItem, ...]) -> "_Standing":
        refused = [
            {"entry": new.entry, "outcome": new.outcome, "reason": item.reason or "the exchange does not say why"}
            for new, item in zip(some, items, strict=True)
            if item.status == "refused"
        ]
        room = REFUSED_KEPT_MAX - len(self.refused)
        return replace(
            self,
            parts=self.parts + 1,
            refused=(*self.refused, *refused[:room]),
            more=self.more + len(refused[room:]),
        )

    def noted(self) -> list[dict[str, Any]]:
        """What the ledger keeps of those refused."""
        rest = {"entry": None, "outcome": None, "reason": f"{self.more:,} more receipts were refused"}
        return [*self.refused, *([rest] if self.more else ())]


def _told(operation: Operation) -> dict[int, Outcome]:
    """What receipts say of each code of a record's outcomes; nothing where there is nothing to say yet."""
    kinds: dict[int, Outcome] = {
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
    """What an earlier call left; it only saves time, so one that is damaged is as good as none."""
    try:
        return read_json(file, format_version=_FORMAT)
    except Malformed as error:
        log.warning("%s", error)
        return None


def _moment(text: object) -> datetime | None:
    return None if text is None else datetime.fromisoformat(str(text)).astimezone(UTC)
