"""The ledger: what a sink has acknowledged, on the recipient's disk. It alone says what has been done.

A batch is written down before it goes to the sink, and its outcomes after. If a run is killed in between, the outcomes
of that batch are unknown: its changes are *in doubt*, and the next run asks for them again. From time to time the
records are folded into one base, so that a run need not read them all. The records stay, since receipts and monthly
statements are made from them.

::

    DIR/
        ledger.json                  the feed, the file of the base, and the last record in it
        base-N.arrow                 the items after record N
        records/N.batch.arrow        a batch, before it went to the sink
        records/N.done.arrow         its outcomes
        records/N.receipts.json      that its receipts are acknowledged, and which were refused
        tries.json                   changes that failed, and how often
        lock                         locked by a run
        outbox.lock                  locked by whoever sends receipts, which may go on beside a run
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import read_json, storage, write_json
from blocklist_sdk.enforcement.items import Batch, Items
from blocklist_sdk.enforcement.ledger_files import REPAIR_ADVICE, items_of, items_table, read_table, write_table
from blocklist_sdk.enforcement.ledger_state import LedgerRecord, LedgerState, OutcomeCode, patched
from blocklist_sdk.enforcement.plan import PlannedBatch
from blocklist_sdk.enforcement.sink import Outcome, UniformOutcomes, all_done
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.locks import acquired

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FORMAT: Final = 1
_LEDGER, _TRIES, _RECORDS, _LOCK = "ledger.json", "tries.json", "records", "lock"
_OUTBOX_LOCK: Final = "outbox.lock"

RECORDS_KEPT: Final = timedelta(days=400)
"""How long records stay: monthly statements are made up to a year back."""

_FOLD_ROWS: Final = 100_000
_FOLD_SHARE: Final = 0.1
"""The records are folded once they change more items than both: so many, and this share of the base."""

_UNKNOWN: Final = Outcome("failed", pending=True)


class Ledger:
    """A sink's ledger. One process at a time has it open."""

    def __init__(self, directory: Path, document: dict[str, Any], lock: "BaseFileLock | None") -> None:
        """Use :meth:`open`."""
        self.directory = directory
        self._document = document
        self._lock = lock
        self._next = max([self._document["folded"], *self._numbers()], default=0) + 1

    @classmethod
    def open(cls, directory: Path, *, feed: str, wait_s: float = 10.0) -> Self:
        """Open a ledger to enforce, or begin one.

        Args:
            directory: the ledger's own, from `ledger_path`.
            feed: the feed that is enforced.
            wait_s: how long to wait for another process that enforces, seconds.

        Raises:
            InvalidInput: the ledger is of another feed, or was written by a newer version of this library.
            Locked: another process has it open.
            Malformed: it is damaged.
            StorageFailed: the disk refused.
        """
        with storage(directory):
            (directory / _RECORDS).mkdir(parents=True, exist_ok=True)
        lock = acquired(directory / _LOCK, wait_s=wait_s, busy=f"another process enforces into {directory.name}")
        return cls._opened(directory, feed, lock, begin=True)

    @classmethod
    def outbox(cls, directory: Path, *, feed: str, wait_s: float = 10.0) -> Self:
        """Open a ledger to send its receipts, also while a run goes on; only `acknowledge` may write.

        To send the receipts of a first release may take hours, and unblocks must not wait for it.

        Args:
            directory: the ledger's own, from `ledger_path`.
            feed: the feed that is enforced.
            wait_s: how long to wait for another process that sends receipts, seconds.

        Raises:
            InvalidInput, Malformed, StorageFailed: as for `open`; InvalidInput also if nothing has been enforced yet.
            Locked: another process sends the receipts.
        """
        if not (directory / _LEDGER).exists():
            raise _nothing_yet(directory)
        busy = f"another process sends the receipts of {directory.name}"
        return cls._opened(directory, feed, acquired(directory / _OUTBOX_LOCK, wait_s=wait_s, busy=busy), begin=False)

    @classmethod
    def read(cls, directory: Path, *, feed: str) -> Self:
        """Open a ledger to read its records, whatever other processes do; nothing may be written.

        Args:
            directory: the ledger's own, from `ledger_path`.
            feed: the feed that is enforced.

        Raises:
            InvalidInput, Malformed: as for `outbox`.
        """
        return cls._opened(directory, feed, None, begin=False)

    @classmethod
    def _opened(cls, directory: Path, feed: str, lock: "BaseFileLock | None", *, begin: bool) -> Self:
        try:
            document = read_json(directory / _LEDGER, format_version=_FORMAT)
            if document is None:
                if not begin:
                    raise _nothing_yet(directory)
                if any(directory.glob("base-*.arrow")) or any((directory / _RECORDS).iterdir()):
                    raise Malformed(f"{directory / _LEDGER} is missing, but not its other files: {REPAIR_ADVICE}")
                document = {"format": _FORMAT, "id": secrets.token_hex(8), "feed": feed, "base": None, "folded": 0}
                with storage(directory):
                    write_json(directory / _LEDGER, document)
            if document["feed"] != feed:
                raise InvalidInput(f"{directory} is the ledger of a sink of feed {document['feed']!r}, not of {feed!r}")
            return cls(directory, document, lock)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, KeyError):
                raise Malformed(f"{directory / _LEDGER} is damaged: {error} is missing") from error
            raise

    def close(self) -> None:
        """Release the ledger for other processes."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """The ledger's id, unlike any other's; part of idempotency keys."""
        return str(self._document["id"])

    @property
    def feed(self) -> str:
        """The feed whose changes are enforced."""
        return str(self._document["feed"])

    @property
    def last(self) -> int:
        """The number of the last batch; 0 before the first."""
        return self._next - 1

    # Writing

    def begin(self, planned: PlannedBatch, *, serial: int, published: datetime, at: datetime) -> Batch:
        """Write down a batch that is about to go to the sink.

        Args:
            planned: the changes.
            serial: the serial of the release that asks for them.
            published: when the release was published.
            at: now.

        Raises:
            StorageFailed: the disk refused; the batch must not be sent.
        """
        batch = Batch(self._next, planned.operation, planned.items, self.feed, serial)
        about = {
            "operation": planned.operation,
            "serial": serial,
            "published": published,
            "begun": at,
            "lifts": planned.lifts,
            "is_capped": planned.is_capped,
        }
        with storage(self.directory):
            write_table(self._path(batch.number_in_ledger, "batch"), items_table(planned.items), about)
        self._next += 1
        return batch

    def finish(
        self, batch: Batch, outcomes: Sequence[Outcome], *, given_up: Sequence[int] = (), at: datetime
    ) -> LedgerRecord:
        """Write down the outcomes of a batch.

        Args:
            batch: from `begin`.
            outcomes: the outcome of each change, in their order.
            given_up: indexes of changes that are set aside, since they have failed too often.
            at: now.

        Raises:
            StorageFailed: the disk refused; the batch is in doubt.
        """
        if isinstance(outcomes, UniformOutcomes):
            codes = np.full(len(batch), _code_of(outcomes.outcome), np.uint8)
            details = [outcomes.outcome.detail or None] * len(batch)
        else:
            codes = np.array([_code_of(outcome) for outcome in outcomes], np.uint8)
            details = [outcome.detail or None for outcome in outcomes]
        codes[np.array(given_up, np.intp)] = OutcomeCode.GIVEN_UP
        table = pa.table({"outcome": pa.array(codes), "detail": pa.array(details, pa.string()).dictionary_encode()})
        with storage(self.directory):
            write_table(self._path(batch.number_in_ledger, "done"), table, {"done": at})
        return self.record(batch.number_in_ledger)

    def settle(self, number: int, *, is_applied: bool, at: datetime) -> None:
        """Write down the outcomes of a batch that a killed run has left.

        Args:
            number: the batch's number.
            is_applied: whether the sink says that every change was done; otherwise the batch is in doubt.
            at: now.

        Raises:
            StorageFailed: the disk refused; the batch stays open.
        """
        batch, _ = self._read_batch(number)
        self.finish(batch, all_done(batch) if is_applied else UniformOutcomes(_UNKNOWN, len(batch)), at=at)

    def fold(self, *, at: datetime) -> None:
        """Make a new base if the records change many items, and delete records that are too old.

        Raises:
            StorageFailed: the disk refused; nothing is lost.
        """
        state = self.state()
        if len(state.changed) > max(_FOLD_ROWS, _FOLD_SHARE * len(state.items)):
            self.replace(state)
        with storage(self.directory):
            for number in self._numbers():
                if number > self._document["folded"]:
                    break
                record = self.record(number)
                if record.done is not None and record.done < at - RECORDS_KEPT and self.is_acknowledged(number):
                    for kind in ("batch", "done", "receipts"):
                        self._path(number, kind).unlink(missing_ok=True)

    def replace(self, state: LedgerState, *, after: int = 0) -> None:
        """Make a state the new base, in place of base and records; the records stay for receipts and statements.

        Args:
            state: what the sink holds.
            after: a number that the number of the next batch must exceed.

        Raises:
            StorageFailed: the disk refused; nothing is changed.
        """
        upto = max(self.last, after)
        whole = state.whole()
        name = f"base-{upto}-{secrets.token_hex(4)}.arrow"
        table = items_table(whole.items).append_column("status", pa.array(whole.status))
        with storage(self.directory):
            write_table(self.directory / name, table, {})
            self._document |= {"base": name, "folded": upto}
            write_json(self.directory / _LEDGER, self._document)
            self._next = upto + 1
            for file in self.directory.glob("base-*.arrow"):
                if file.name != name:
                    file.unlink(missing_ok=True)

    # Reading

    def state(self) -> LedgerState:
        """What the sink has acknowledged, up to the last record.

        Raises:
            Malformed: a file is damaged.
            StorageFailed: the disk refused.
        """
        self._check_whole()
        base = self._base()
        records = list(self.records(after=self._document["folded"]))
        return patched(base, records) if records else base

    def records(self, *, after: int = 0) -> Iterator[LedgerRecord]:
        """The records with a number above `after`, oldest first.

        Raises:
            Malformed: a record is damaged.
            StorageFailed: the disk refused.
        """
        for number in self._numbers():
            if number > after:
                yield self.record(number)

    def records_backwards(self) -> Iterator[LedgerRecord]:
        """All records, newest first.

        Raises:
            Malformed, StorageFailed: as for `records`.
        """
        for number in reversed(self._numbers()):
            yield self.record(number)

    def record(self, number: int) -> LedgerRecord:
        """The record of a batch; its outcomes are in doubt until they are written down.

        Raises:
            Malformed: the record is damaged.
            StorageFailed: the record does not exist, or the disk refused.
        """
        batch, about = self._read_batch(number)
        path = self._path(number, "done")
        outcome, details, done = np.full(len(batch), OutcomeCode.IN_DOUBT, np.uint8), {}, None
        if path.exists():
            table, after = read_table(path)
            if len(table):
                outcome = table.column("outcome").chunk(0).to_numpy(zero_copy_only=True)
            done = datetime.fromisoformat(after["done"])
            if table.column("detail").null_count < len(table):
                texts = table.column("detail").to_pylist()
                details = {index: text for index, text in enumerate(texts) if text is not None}
        return LedgerRecord(
            batch=batch,
            published=datetime.fromisoformat(about["published"]),
            begun=datetime.fromisoformat(about["begun"]),
            done=done,
            outcome=outcome,
            details=details,
            lifts=about.get("lifts", about.get("is_urgent", False) and batch.operation != "block"),
            is_capped=about.get("is_capped", not about.get("is_urgent", True)),
        )

    def open_batches(self) -> list[int]:
        """The numbers of the batches whose outcomes are not written down."""
        return [number for number in self._numbers() if not self._path(number, "done").exists()]

    def tries(self) -> dict[str, int]:
        """How often each change has failed, by its key."""
        document = read_json(self.directory / _TRIES, format_version=_FORMAT)
        return dict(document["tries"]) if document else {}

    def keep_tries(self, tries: Mapping[str, int]) -> None:
        """Write down how often each change has failed.

        Raises:
            StorageFailed: the disk refused.
        """
        if tries or (self.directory / _TRIES).exists():
            with storage(self.directory):
                write_json(self.directory / _TRIES, {"format": _FORMAT, "tries": dict(tries)})

    # Receipts

    def unacknowledged(self) -> Iterator[LedgerRecord]:
        """Records whose receipts the exchange has not acknowledged yet, oldest first."""
        for number in self._numbers():
            if not self.is_acknowledged(number) and self._path(number, "done").exists():
                yield self.record(number)

    def is_acknowledged(self, number: int) -> bool:
        """Whether the exchange has acknowledged every receipt of a record."""
        return self._path(number, "receipts").exists()

    def acknowledge(self, number: int, refused: Sequence[Mapping[str, Any]], *, at: datetime) -> None:
        """Write down that the exchange has acknowledged every receipt of a record.

        Args:
            number: the record's number.
            refused: the receipts that it refused, each with ``entry``, ``outcome`` and ``reason``.
            at: now.

        Raises:
            StorageFailed: the disk refused; the receipts are sent again.
        """
        with storage(self.directory):
            document = {"format": _FORMAT, "at": at.isoformat(), "refused": list(refused)}
            write_json(self._path(number, "receipts"), document)

    def acknowledged_at(self, number: int) -> datetime:
        """When the exchange acknowledged the receipts of a record; the year 1 if it has not."""
        document = read_json(self._path(number, "receipts"), format_version=_FORMAT)
        return datetime.min.replace(tzinfo=UTC) if document is None else datetime.fromisoformat(document["at"])

    def refused_receipts(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The receipts that the exchange refused, each with the number of its record."""
        for number in self._numbers():
            document = read_json(self._path(number, "receipts"), format_version=_FORMAT)
            for receipt in document["refused"] if document else ():
                yield number, receipt

    # Files

    def _path(self, number: int, kind: str) -> Path:
        suffix = "json" if kind == "receipts" else "arrow"
        return self.directory / _RECORDS / f"{number:09d}.{kind}.{suffix}"

    def _numbers(self) -> list[int]:
        with storage(self.directory):
            names = os.listdir(self.directory / _RECORDS)
        return sorted(int(name[:9]) for name in names if name.endswith(".batch.arrow") and name[:9].isdigit())

    def _check_whole(self) -> None:
        """Check that no record after the base is missing, since its changes would be forgotten."""
        with storage(self.directory):
            names = os.listdir(self.directory / _RECORDS)
        folded = self._document["folded"]
        last = max((int(name[:9]) for name in names if name.endswith(".arrow") and name[:9].isdigit()), default=0)
        missing = set(range(folded + 1, last + 1)) - set(self._numbers())
        if missing:
            raise Malformed(f"{self._path(min(missing), 'batch')} is missing: {REPAIR_ADVICE}")

    def _base(self) -> LedgerState:
        name = self._document["base"]
        table = None if name is None else read_table(self.directory / name)[0]
        if not table:
            return LedgerState.of(Items.empty(), np.empty(0, np.uint8))
        return LedgerState.of(items_of(table), table.column("status").chunk(0).to_numpy(zero_copy_only=True))

    def _read_batch(self, number: int) -> tuple[Batch, dict[str, Any]]:
        table, about = read_table(self._path(number, "batch"))
        return Batch(number, about["operation"], items_of(table), self.feed, about["serial"]), about


def _code_of(outcome: Outcome) -> OutcomeCode:
    """The code of an outcome. What is pending is in doubt, so that an unblock is sent if the list drops the number."""
    return OutcomeCode.IN_DOUBT if outcome.pending else OutcomeCode.of(outcome.kind)


def _nothing_yet(directory: Path) -> InvalidInput:
    return InvalidInput(f"nothing has been enforced into {directory.name} yet: run blocklist enforce first")
