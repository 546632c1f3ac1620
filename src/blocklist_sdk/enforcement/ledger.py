"""What a sink has acknowledged, on the recipient's disk: the only truth about what has been done.

A batch is written down before it goes to the sink, and what came of it after. So a run that is killed between the two
leaves a batch of which nobody knows: its changes are *in doubt*, and the next run makes sure of them. What the records
say is now and then folded into one file, so that a run need not read them all; the records stay, since receipts and
monthly statements are made from them.

::

    DIR/
        ledger.json                  which sink, which file is the base, up to which record it goes
        base-N.arrow                 items as they were acknowledged up to record N
        records/N.batch.arrow        a batch, before it went to the sink
        records/N.done.arrow         what came of it
        records/N.receipts.json      that its receipts have been acknowledged, and which were refused
        tries.json                   changes that have failed, and how often
        lock                         held by a run
        outbox.lock                  held by whoever sends receipts, beside a run
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
from blocklist_sdk.enforcement.items import Batch, Items, Masks, Operation
from blocklist_sdk.enforcement.ledger_files import MENDING, items_of, items_table, read_table, write_table
from blocklist_sdk.enforcement.ledger_state import LedgerRecord, LedgerState, OutcomeCode, patched
from blocklist_sdk.enforcement.sink import Outcome, Same, all_done
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.locks import acquired

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FORMAT: Final = 1
_LEDGER, _TRIES, _RECORDS, _LOCK = "ledger.json", "tries.json", "records", "lock"
_OUTBOX_LOCK: Final = "outbox.lock"

KEPT: Final = timedelta(days=400)
"""How long records stay: monthly statements are made up to a year back."""

_FOLD_ROWS: Final = 100_000
_FOLD_SHARE: Final = 0.1
"""The records are folded once they speak of more numbers than both of these: reading so many is quick."""


class Ledger:
    """A sink's ledger. While it is open no other process can open it."""

    def __init__(self, directory: Path, document: dict[str, Any], lock: "BaseFileLock | None") -> None:
        """Use :meth:`open`."""
        self.directory = directory
        self._document = document
        self._lock = lock
        self._next = max([self._document["folded"], *self._numbers()], default=0) + 1

    @classmethod
    def open(cls, directory: Path, *, feed: str, wait_s: float = 10.0) -> Self:
        """Open a ledger, or begin one.

        Args:
            directory: its own.
            feed: what the sink holds is of this feed.
            wait_s: how long to wait for another process, seconds.

        Raises:
            InvalidInput: it is another feed's, or was written by a newer version of this library.
            Locked: another process has it open.
            Malformed: it is damaged.
            StorageFailed: the disk refused.
        """
        with storage(directory):
            (directory / _RECORDS).mkdir(parents=True, exist_ok=True)
        busy = f"another process enforces into {directory.name}"
        lock = acquired(directory / _LOCK, wait_s=wait_s, busy=busy)
        return cls._opened(directory, feed, lock, begin=True)

    @classmethod
    def outbox(cls, directory: Path, *, feed: str, wait_s: float = 10.0) -> Self:
        """Open a ledger to send its receipts, while a run may go on; only `acknowledge` may write.

        Sending the receipts of a first release may take hours, and unblocks must not wait for it.

        Args:
            directory: its own.
            feed: what the sink holds is of this feed.
            wait_s: how long to wait for another process that sends, seconds.

        Raises:
            InvalidInput: there is none, it is another feed's, or was written by a newer version of this library.
            Locked: another process is sending.
            Malformed: it is damaged.
            StorageFailed: the disk refused.
        """
        _must_be(directory)
        busy = f"another process sends the receipts of {directory.name}"
        lock = acquired(directory / _OUTBOX_LOCK, wait_s=wait_s, busy=busy)
        return cls._opened(directory, feed, lock, begin=False)

    @classmethod
    def read(cls, directory: Path, *, feed: str) -> Self:
        """Open a ledger to read its records, whatever other processes do; nothing may be written.

        Args:
            directory: its own.
            feed: what the sink holds is of this feed.

        Raises:
            InvalidInput: there is none, it is another feed's, or was written by a newer version of this library.
            Malformed: it is damaged.
        """
        _must_be(directory)
        return cls._opened(directory, feed, None, begin=False)

    @classmethod
    def _opened(cls, directory: Path, feed: str, lock: "BaseFileLock | None", *, begin: bool) -> Self:
        try:
            document = read_json(directory / _LEDGER, format_version=_FORMAT)
            if document is None:
                if not begin:
                    raise _nothing_yet(directory)
                if any(directory.glob("base-*.arrow")) or any((directory / _RECORDS).iterdir()):
                    raise Malformed(f"{directory / _LEDGER} is missing beside other files of the ledger: {MENDING}")
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
                raise Malformed(f"{directory / _LEDGER} is damaged: it lacks {error}") from error
            raise

    def close(self) -> None:
        """Let other processes have it."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """Tells this ledger from every other, for idempotency keys."""
        return str(self._document["id"])

    @property
    def feed(self) -> str:
        """The feed whose changes are enforced."""
        return str(self._document["feed"])

    @property
    def last(self) -> int:
        """The number of the last batch; 0 where there was none."""
        return self._next - 1

    # Writing

    def begin(
        self,
        operation: Operation,
        items: Items,
        *,
        serial: int,
        published: datetime,
        at: datetime,
        lifts: bool = False,
        is_capped: bool = True,
    ) -> Batch:
        """Write down a batch that is about to go to the sink.

        Args:
            operation: what is to be done.
            items: with what.
            serial: the release that asks for it.
            published: when that was published.
            at: now.
            lifts: whether each change lifts something, as an unblock always does.
            is_capped: whether it counts towards the daily cap; what lifts something never does.

        Raises:
            StorageFailed: the disk refused; nothing is to be sent.
        """
        batch = Batch(self._next, operation, items, self.feed, serial)
        about = {
            "operation": operation,
            "serial": serial,
            "published": published,
            "begun": at,
            "lifts": lifts or operation == "unblock",
            "is_capped": is_capped and not lifts and operation != "unblock",
        }
        with storage(self.directory):
            write_table(self._path(batch.number_in_ledger, "batch"), items_table(items), about)
        self._next += 1
        return batch

    def finish(
        self, batch: Batch, outcomes: Sequence[Outcome], *, given_up: Sequence[int] = (), at: datetime
    ) -> LedgerRecord:
        """Write down what came of a batch.

        Args:
            batch: from `begin`.
            outcomes: of its changes, in their order.
            given_up: places of changes that are set aside, since they have failed too often.
            at: now.

        Raises:
            StorageFailed: the disk refused; the batch is in doubt.
        """
        if isinstance(outcomes, Same):
            code = np.full(len(batch), _code_of(outcomes.outcome), np.uint8)
            details = dict.fromkeys(range(len(batch)), outcomes.outcome.detail) if outcomes.outcome.detail else {}
        else:
            code = np.array([_code_of(outcome) for outcome in outcomes], np.uint8)
            details = {place: outcome.detail for place, outcome in enumerate(outcomes) if outcome.detail}
        code[np.array(given_up, np.intp)] = OutcomeCode.GIVEN_UP
        return self._finish(batch.number_in_ledger, code, details, at)

    def finish_all(self, number: int, *, at: datetime) -> None:
        """Write down that all of a batch was done, as its sink says.

        Raises:
            StorageFailed: the disk refused; the batch stays open.
        """
        batch, _ = self._read_batch(number)
        self.finish(batch, all_done(batch), at=at)

    def doubt(self, number: int, *, at: datetime) -> None:
        """Say of a batch that nobody knows what came of it."""
        batch, _ = self._read_batch(number)
        self._finish(number, np.full(len(batch), OutcomeCode.IN_DOUBT, np.uint8), {}, at)

    def _finish(self, number: int, code: Masks, details: Mapping[int, str], at: datetime) -> LedgerRecord:
        text = pa.array(
            [details.get(place) for place in range(len(code))] if details else [None] * len(code), pa.string()
        )
        table = pa.table({"outcome": pa.array(code), "detail": text.dictionary_encode()})
        with storage(self.directory):
            write_table(self._path(number, "done"), table, {"done": at})
        return self._record(number)

    def fold(self, *, at: datetime) -> None:
        """Make a base of what the records say, if they say much, and forget records that are too old.

        Raises:
            StorageFailed: the disk refused; nothing is lost.
        """
        acknowledged = self.acknowledged()
        if len(acknowledged.later) > max(_FOLD_ROWS, _FOLD_SHARE * len(acknowledged.items)):
            self.replace(acknowledged)
        with storage(self.directory):
            for number in self._numbers():
                if number > self._document["folded"]:
                    break
                record = self._record(number)
                if record.done is not None and record.done < at - KEPT and self.is_acknowledged(number):
                    for kind in ("batch", "done", "receipts"):
                        self._path(number, kind).unlink(missing_ok=True)

    def replace(self, acknowledged: LedgerState, *, after: int = 0) -> None:
        """Make a base of something, in place of base and records; the records stay for receipts and statements.

        Args:
            acknowledged: what the sink holds.
            after: the next batch has a number above this one.

        Raises:
            StorageFailed: the disk refused; nothing is changed.
        """
        upto = max(self.last, after)
        whole = acknowledged.whole()
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

    def acknowledged(self) -> LedgerState:
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
        """Records, oldest first, beginning behind a number.

        Raises:
            Malformed: one is damaged.
            StorageFailed: the disk refused.
        """
        for number in self._numbers():
            if number > after:
                yield self._record(number)

    def record(self, number: int) -> LedgerRecord:
        """One record, by its number.

        Raises:
            Malformed: it is damaged.
            StorageFailed: there is none, or the disk refused.
        """
        return self._record(number)

    def records_backwards(self) -> Iterator[LedgerRecord]:
        """Records, newest first.

        Raises:
            Malformed, StorageFailed: as for `records`.
        """
        for number in reversed(self._numbers()):
            yield self._record(number)

    def open_batches(self) -> list[int]:
        """Numbers of batches of which it is not written down what came of them."""
        return [number for number in self._numbers() if not self._path(number, "done").exists()]

    def tries(self) -> dict[str, int]:
        """How often changes have failed, by their keys."""
        document = read_json(self.directory / _TRIES, format_version=_FORMAT)
        return dict(document["tries"]) if document else {}

    def keep_tries(self, tries: Mapping[str, int]) -> None:
        """Note how often changes have failed.

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
                yield self._record(number)

    def is_acknowledged(self, number: int) -> bool:
        """Whether the exchange has acknowledged every receipt of a record."""
        return self._path(number, "receipts").exists()

    def acknowledge(self, number: int, refused: Sequence[Mapping[str, Any]], *, at: datetime) -> None:
        """Note that the exchange has acknowledged every receipt of a record.

        Args:
            number: of the record.
            refused: those that it refused, each with ``entry`` and ``reason``.
            at: now.

        Raises:
            StorageFailed: the disk refused; the receipts are sent again.
        """
        with storage(self.directory):
            document = {"format": _FORMAT, "at": at.isoformat(), "refused": list(refused)}
            write_json(self._path(number, "receipts"), document)

    def acknowledged_at(self, number: int) -> datetime:
        """When a record's receipts were acknowledged, of one of which they are."""
        document = read_json(self._path(number, "receipts"), format_version=_FORMAT)
        return datetime.min.replace(tzinfo=UTC) if document is None else datetime.fromisoformat(document["at"])

    def refused_receipts(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Receipts that the exchange refused, with the number of their record."""
        for number in self._numbers():
            document = read_json(self._path(number, "receipts"), format_version=_FORMAT)
            for each in document["refused"] if document else ():
                yield number, each

    # Files

    def _path(self, number: int, kind: str) -> Path:
        suffix = "json" if kind == "receipts" else "arrow"
        return self.directory / _RECORDS / f"{number:09d}.{kind}.{suffix}"

    def _numbers(self) -> list[int]:
        with storage(self.directory):
            names = os.listdir(self.directory / _RECORDS)
        return sorted(int(name[:9]) for name in names if name.endswith(".batch.arrow") and name[:9].isdigit())

    def _check_whole(self) -> None:
        """See that no record behind the base is missing: what it said would be forgotten."""
        with storage(self.directory):
            names = os.listdir(self.directory / _RECORDS)
        folded = self._document["folded"]
        behind = {int(name[:9]) for name in names if name.endswith(".arrow") and name[:9].isdigit()}
        behind = {number for number in behind if number > folded}
        expected = set(range(folded + 1, max(behind, default=folded) + 1))
        lost = sorted(expected - set(self._numbers()))
        if lost:
            raise Malformed(f"{self._path(lost[0], 'batch')} is missing: {MENDING}")

    def _base(self) -> LedgerState:
        name = self._document["base"]
        if name is None:
            return LedgerState.of(Items.empty(), np.empty(0, np.uint8))
        table, _ = read_table(self.directory / name)
        if not len(table):
            return LedgerState.of(Items.empty(), np.empty(0, np.uint8))
        return LedgerState.of(items_of(table), table.column("status").chunk(0).to_numpy(zero_copy_only=True))

    def _read_batch(self, number: int) -> tuple[Batch, dict[str, Any]]:
        table, about = read_table(self._path(number, "batch"))
        return Batch(number, about["operation"], items_of(table), self.feed, about["serial"]), about

    def _record(self, number: int) -> LedgerRecord:
        batch, about = self._read_batch(number)
        path = self._path(number, "done")
        outcome, details, done = np.full(len(batch), OutcomeCode.IN_DOUBT, np.uint8), {}, None
        if path.exists():
            table, after = read_table(path)
            if len(table):
                outcome = table.column("outcome").chunk(0).to_numpy(zero_copy_only=True)
            done = datetime.fromisoformat(after["done"])
            if table.column("detail").null_count < len(table):
                said = table.column("detail").to_pylist()
                details = {place: text for place, text in enumerate(said) if text is not None}
        return LedgerRecord(
            batch=batch,
            published=datetime.fromisoformat(about["published"]),
            begun=datetime.fromisoformat(about["begun"]),
            done=done,
            outcome=outcome,
            details=details,
            lifts=about["lifts"],
            is_capped=about["is_capped"],
        )


def _code_of(outcome: Outcome) -> OutcomeCode:
    """How an outcome is written down; what is pending is in doubt, so that an unblock that comes meanwhile is sent."""
    return OutcomeCode.IN_DOUBT if outcome.pending else OutcomeCode.of(outcome.kind)


def _must_be(directory: Path) -> None:
    if not (directory / _LEDGER).exists():
        raise _nothing_yet(directory)


def _nothing_yet(directory: Path) -> InvalidInput:
    return InvalidInput(f"nothing has been enforced into {directory.name} yet: run blocklist enforce first")
