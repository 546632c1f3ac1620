"""The ledger: what a sink has acknowledged, on the recipient's disk. It alone says what has been done.

A batch is written down before it goes to the sink, and its outcomes after. If a run is killed in between, the outcomes
of that batch are unknown: its changes are *in doubt*, and the next run asks for them again. From time to time the
records are folded into patches, and these into one base, so that a run need not read them all, and writes about as much
as it changes. The records stay, since receipts and monthly statements are made from them.

::

    DIR/
        ledger.json                  the feed, the sink, the file of the base and the last record in it, the last record
        base-N.arrow                 the items after record N
        patch-M-N.arrow              what the records after M changed, up to record N
        checkpoint.arrow             how far the sink holds what it should, from `checkpoint`
        protected-DIGEST.arrow       the protected numbers of that
        repair-N.arrow               what batches after record N only repair, from `repairs`
        records/N.batch.arrow        a batch, before it went to the sink
        records/N.done.arrow         its outcomes
        records/N.receipts.json      that its receipts are acknowledged, and which were refused
        basis.json                   filters and release of the last run, and the name of the file of its rules
        rules-DIGEST.arrow           its overrides and protected numbers
        waiting.json                 the digest of what waited at the last run; there only if something did
        tries.json                   changes that failed, and how often
        lock                         locked by a run
        outbox.lock                  locked by whoever sends receipts, which may go on beside a run
"""

import contextlib
import hashlib
import itertools
import logging
import os
import secrets
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, get_args

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import storage, storage_failed
from blocklist_sdk.enforcement.basis import Basis, KnownRules, LostBasis, missing_message
from blocklist_sdk.enforcement.checkpoint import Checkpoint
from blocklist_sdk.enforcement.items import Batch, Bools, Operation, UInt8s
from blocklist_sdk.enforcement.ledger_documents import (
    Acknowledgement,
    LedgerDocument,
    load_tries,
    load_waiting,
    member,
    save_tries,
    save_waiting,
)
from blocklist_sdk.enforcement.ledger_files import (
    REPAIR_ADVICE,
    items_of,
    items_table,
    moment_in,
    read_table,
    reading,
    write_table,
)
from blocklist_sdk.enforcement.ledger_layers import LedgerLayer, LedgerLayers, are_apart, counted_in, merged_patches
from blocklist_sdk.enforcement.ledger_state import Effects, LedgerRecord, LedgerState, OutcomeCode, is_any_of, patched
from blocklist_sdk.enforcement.list_identity import ListIdentity
from blocklist_sdk.enforcement.plan import PlannedBatch
from blocklist_sdk.enforcement.record_files import RecordFiles, file_name
from blocklist_sdk.enforcement.sink import Outcome, SinkIdentity, UniformOutcomes, all_done
from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed
from blocklist_sdk.locks import acquired
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.release.release_id import BEFORE_ALL, FIRST_ERA, ReleaseId
from blocklist_sdk.release.rows import Int64s

if TYPE_CHECKING:
    from filelock import BaseFileLock

log: logging.Logger = logging.getLogger(__name__)

_LEDGER, _TRIES, _RECORDS, _LOCK = "ledger.json", "tries.json", "records", "lock"
_BASIS: Final = "basis.json"
_WAITING: Final = "waiting.json"
_OUTBOX_LOCK: Final = "outbox.lock"

RECORDS_KEPT: Final = timedelta(days=400)
"""How long records stay: monthly statements are made up to a year back."""

_FOLD_ROWS: Final = 100_000
_FOLD_SHARE: Final = 0.1
"""A new base is made once more items changed than both: so many, and this share of the base."""

_RECORDS_MOST: Final = 32
"""So many records are read one by one, some 0.3 ms each; more of them are folded into a patch."""

_PATCH_FACTOR: Final = 4
"""A patch has at least so many times as many items as the next one."""

_UNKNOWN: Final = Outcome("failed", pending=True)


class Ledger:
    """A sink's ledger. One process at a time has it open."""

    def __init__(self, directory: Path, document: LedgerDocument, lock: "BaseFileLock | None") -> None:
        """Use :meth:`open`."""
        self.directory = directory
        self._document = self._saved = document
        self._lock = lock
        self._files: RecordFiles | None = None
        self._records: dict[int, LedgerRecord] = {}
        self._known: tuple[object, LedgerLayers] | None = None
        self._layers: tuple[tuple[str | None, tuple[str, ...]], list[LedgerLayer], int] | None = None
        self._next = max(document.folded, document.last, *self._numbers()) + 1

    @classmethod
    def exists(cls, directory: Path) -> bool:
        """Whether there is a ledger, or what is left of one."""
        with storage(directory):
            return (directory / _LEDGER).exists() or _has_remains(directory)

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
            PRIVATE.make(directory)
            PRIVATE.give(directory)  # earlier versions let every user read it
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
            document = LedgerDocument.load(directory / _LEDGER)
            if document is None:
                if not begin:
                    raise _nothing_yet(directory)
                document = _begun(directory, feed)
            if document.feed != feed:
                raise InvalidInput(f"{directory} is the ledger of a sink of feed {document.feed!r}, not of {feed!r}")
            with storage(directory):
                # The records are there from the first moment on, so a run that was killed cannot be why they are not.
                # A base may be replaced while others only read.
                for name in (_RECORDS, document.base if begin else None):
                    if name is not None and not (directory / name).exists():
                        raise Malformed(f"{directory / name} is missing: {REPAIR_ADVICE}")
            ledger = cls(directory, document, lock)
            ledger._check_whole()
            if begin:
                # Nobody else writes records now.
                ledger._files = ledger._record_files()
            return ledger
        except BaseException:
            if lock is not None:
                lock.release()
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
        return self._document.id

    @property
    def feed(self) -> str:
        """The feed whose changes are enforced."""
        return self._document.feed

    @property
    def last(self) -> int:
        """The number of the last batch; 0 before the first."""
        return self._next - 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing was enforced into the sink yet."""
        return self._document.base is None and not self._numbers()

    @property
    def is_answered(self) -> bool:
        """Whether the sink has answered for a change, or what it holds was read.

        Raises:
            Malformed, StorageFailed: as for `records`.
        """
        return self._document.base is not None or any(
            not is_any_of(record.outcome, OutcomeCode.IN_DOUBT).all() for record in self.records()
        )

    @property
    def sink(self) -> SinkIdentity | None:
        """The sink to which the ledger belongs; None if it is not known."""
        return None if self._document.sink is None else SinkIdentity(self._document.sink, self._document.mark)

    def cursor(self) -> int:
        """The number of the last batch that a `TransactionalSink` must have applied; 0 if that is not known.

        Raises:
            Malformed, StorageFailed: as for `records`.
        """
        if self._document.cursor is not None:
            return self._document.cursor
        # A ledger of an earlier version: the sink has applied whatever it acknowledged whole.
        for record in self.records_backwards():
            if record.done is not None and _is_all_done(record.outcome):
                return record.batch.number_in_ledger
        return 0

    # Writing

    def bind(self, sink: SinkIdentity | None, *, cursor: int | None = None) -> None:
        """Write down to which sink the ledger belongs.

        Args:
            sink: the sink; None if it does not say which it is.
            cursor: the number of the last batch that it says it has applied; None to leave what is known.

        Raises:
            StorageFailed: the disk refused; nothing is changed.
        """
        document = replace(
            self._document,
            sink=None if sink is None else sink.address,
            mark=None if sink is None else sink.mark,
            cursor=self._document.cursor if cursor is None else cursor,
        )
        if document != self._saved:
            with storage(self.directory):
                self._save(document)

    def note_applied(self, record: LedgerRecord) -> None:
        """Note that a `TransactionalSink` has done all of a batch, so must say so from now on; written down later."""
        if _is_all_done(record.outcome):
            self._document = replace(self._document, cursor=record.batch.number_in_ledger)

    def begin(
        self,
        planned: PlannedBatch,
        *,
        serial: int,
        published: datetime,
        at: datetime,
        era: int = FIRST_ERA,
        own: Bools | None = None,
    ) -> Batch:
        """Write down a batch that is about to go to the sink.

        Args:
            planned: the changes.
            serial: the serial of the release that asks for them.
            published: when the release was published.
            at: now.
            era: the era of that release.
            own: which changes only the recipient's own rules ask for; None if those without an entry.

        Raises:
            StorageFailed: the disk refused; the batch must not be sent.
        """
        batch = Batch(self._next, planned.operation, planned.items, self.feed, serial, era)
        about = {
            "operation": planned.operation,
            "serial": serial,
            "era": era,
            "published": published,
            "begun": at,
            "lifts": planned.lifts,
            "is_capped": planned.is_capped,
        }
        table = items_table(planned.items)
        if own is not None:
            table = table.append_column("own", pa.array(own))
        with storage(self.directory):
            write_table(self._path(batch.number_in_ledger, "batch"), table, about)
            if self._files is not None:
                self._files.add(batch.number_in_ledger, "batch")
            self._next += 1
            # After the record, so that a run that is killed in between leaves no record that seems to be missing.
            self._save(replace(self._document, last=batch.number_in_ledger))
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
        if self._files is not None:
            self._files.add(batch.number_in_ledger, "done")
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
        batch = self.record(number).batch
        self.finish(batch, all_done(batch) if is_applied else UniformOutcomes(_UNKNOWN, len(batch)), at=at)

    def fold(self, *, at: datetime) -> None:
        """Make a new base or patch if there are many records, and delete records that are too old.

        Raises:
            Malformed: a file is damaged.
            StorageFailed: the disk refused; nothing is lost.
        """
        base, *patches = self.layers().layers
        # An earlier version did not count what is in a base.
        if sum(map(len, patches)) > max(_FOLD_ROWS, _FOLD_SHARE * len(base)) or (len(base) and base.counts is None):
            self.replace(self.state())
        else:
            self._fold_records()
        self._delete_records(before=at - RECORDS_KEPT)

    def _fold_records(self) -> None:
        """Make one patch of the records since the last one, if there are many."""
        stored, upto = self._stored_layers()
        records = list(self._recent(after=upto))
        # What is not answered yet may be settled later on, so it is read from its record until then.
        settled = list(itertools.takewhile(lambda record: record.done is not None, records))
        if len(settled) <= _RECORDS_MOST:
            return
        recent = Effects.latest([Effects.of(record) for record in settled])
        counts = LedgerLayers([*stored, LedgerLayer.of(recent)]).counts
        # After a damaged patch, all of them are made anew.
        merged = list(merged_patches(stored[1:], recent, factor=_PATCH_FACTOR))
        kept = self._document.patches[: len(merged) - 1]
        after = self._document.folded if not kept else _upto_in(kept[-1])
        name = f"patch-{after}-{settled[-1].batch.number_in_ledger}-{secrets.token_hex(4)}.arrow"
        with storage(self.directory):
            write_table(self.directory / name, *replace(merged[-1], counts=counts).table())
            self._save(replace(self._document, patches=(*kept, name)))
            self._remove_unused()

    def _delete_records(self, *, before: datetime) -> None:
        """Delete the oldest records that are in the base, are done before a moment, and whose receipts have arrived."""
        files = self._record_files()
        with storage(self.directory):
            for number in files.numbers[: bisect_right(files.numbers, self._document.folded)]:
                if number not in files.acknowledged:
                    continue
                done = self.record(number).done
                if done is None:
                    continue
                if done >= before:
                    break
                for kind in ("batch", "done", "receipts"):
                    self._path(number, kind).unlink(missing_ok=True)
                if self._files is not None:
                    self._files.drop(number)

    def _remove_unused(self) -> None:
        """Remove bases and patches that are not used any more."""
        used = {self._document.base, *self._document.patches}
        for file in (*self.directory.glob("base-*.arrow"), *self.directory.glob("patch-*.arrow")):
            if file.name not in used:
                file.unlink(missing_ok=True)

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
        about = {"counts": counted_in(whole.status), "is_apart": are_apart(whole.items)}
        with storage(self.directory):
            write_table(self.directory / name, table, about)
            self._save(replace(self._document, base=name, folded=upto, last=upto, patches=()))
            self._next = upto + 1
            self._records.clear()
            self._remove_unused()

    # Reading

    def state(self) -> LedgerState:
        """What the sink has acknowledged, up to the last record.

        Raises:
            Malformed: a file is damaged.
            StorageFailed: the disk refused.
        """
        base, *patches = self.layers().layers
        state = LedgerState.of(base.items, base.status)
        return patched(state, [layer.effects() for layer in patches]) if patches else state

    def layers(self) -> LedgerLayers:
        """The same in layers, of which only the newest is in memory.

        Raises:
            Malformed, StorageFailed: as for `state`.
        """
        files = self._files
        if files is None:
            self._check_whole()
            return self._layers_now()
        key = self._document.base, self._document.patches, len(files.numbers), len(files.done), self.last
        if self._known is None or self._known[0] != key:
            self._known = key, self._layers_now()
        return self._known[1]

    def _layers_now(self) -> LedgerLayers:
        stored, upto = self._stored_layers()
        recent = Effects.latest([Effects.of(record) for record in self._recent(after=upto)])
        return LedgerLayers([*stored, LedgerLayer.of(recent)] if len(recent) else stored)

    def _recent(self, *, after: int) -> Iterator[LedgerRecord]:
        """The records with a number above `after`, oldest first; those that are done are read once."""
        for number in self._numbers():
            if number > after:
                record = self._records.get(number) or self.record(number)
                if record.done is not None and self._files is not None:
                    self._records[number] = record
                yield record

    def _stored_layers(self) -> tuple[list[LedgerLayer], int]:
        """The base and the patches; and the number of the last record in them."""
        if self._layers is None or self._layers[0] != (self._document.base, self._document.patches):
            document = self._document
            layers, upto = [self._base()], document.folded
            try:
                for name in document.patches:
                    table, about = read_table(self.directory / name)
                    with reading(self.directory / name):
                        layers.append(LedgerLayer.read(table, about))
                        upto = _upto_in(name)
            except (Malformed, StorageFailed) as error:
                # The records say the same.
                log.warning("%s; its records are read instead", error)
                layers, upto = layers[:1], document.folded
            self._layers = (document.base, document.patches), layers, upto
        return self._layers[1], self._layers[2]

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
        path = self._path(number, "batch")
        table, about = read_table(path)
        with reading(path):
            operation = about["operation"]
            if operation not in get_args(Operation):
                raise ValueError("its operation is unknown")
            # A record without an era was written before eras were known.
            era = member({"era": FIRST_ERA} | about, "era", int)
            batch = Batch(number, operation, items_of(table), self.feed, member(about, "serial", int), era)
            published, begun = moment_in(about, "published"), moment_in(about, "begun")
            lifts = about.get("lifts", about.get("is_urgent", False) and operation != "block")
            is_capped = about.get("is_capped", not about.get("is_urgent", True))
            own = np.asarray(table.column("own").to_numpy(), np.bool_) if "own" in table.column_names else None
        path = self._path(number, "done")
        outcome, details, done = np.full(len(batch), OutcomeCode.IN_DOUBT, np.uint8), {}, None
        if path.exists():
            table, about = read_table(path)
            with reading(path):
                done = moment_in(about, "done")
                outcome = _outcomes_in(table, len(batch))
                if table.column("detail").null_count < len(table):
                    texts = table.column("detail").to_pylist()
                    details = {index: text for index, text in enumerate(texts) if text is not None}
        return LedgerRecord(
            batch=batch,
            published=published,
            begun=begun,
            done=done,
            outcome=outcome,
            details=details,
            lifts=lifts,
            is_capped=is_capped,
            own=own,
        )

    def open_batches(self) -> list[int]:
        """The numbers of the batches whose outcomes are not written down."""
        files = self._record_files()
        return [number for number in files.numbers if number not in files.done]

    def tries(self) -> dict[str, int]:
        """How often each change has failed, by its key.

        Raises:
            Malformed: the file is damaged.
        """
        return load_tries(self.directory / _TRIES)

    def keep_tries(self, tries: Mapping[str, int]) -> None:
        """Write down how often each change has failed.

        Raises:
            StorageFailed: the disk refused.
        """
        if tries or (self.directory / _TRIES).exists():
            with storage(self.directory):
                save_tries(self.directory / _TRIES, tries)

    def basis(self, *, likely: KnownRules) -> Basis | LostBasis | None:
        """What the last run went by; None before the first run.

        Args:
            likely: rules that need not be read if they are the ones, such as those of now.

        Raises:
            InvalidInput: the file was written by a newer version of this library.
            StorageFailed: the disk refused.
        """
        path = self.directory / _BASIS
        try:
            basis = Basis.load(path, likely=likely)
        except Malformed as error:
            return LostBasis(str(error), self._last_release())
        # A ledger without batches is at its first run, also one that `reconcile` has just begun.
        return LostBasis(missing_message(path), self._last_release()) if basis is None and self._numbers() else basis

    def keep_basis(self, basis: Basis | None, *, waiting: str | None) -> None:
        """Write down what a run goes by, and what waits.

        Args:
            basis: what the next run is compared with; None to leave what is there.
            waiting: the digest of what waits; None if nothing does.

        Raises:
            StorageFailed: the disk refused.
        """
        with storage(self.directory):
            save_waiting(self.directory / _WAITING, waiting)
            if basis is not None:
                basis.save(self.directory / _BASIS)

    def waiting(self) -> str | None:
        """The digest of what waited at the last run; None if nothing did."""
        return load_waiting(self.directory / _WAITING)

    def checkpoint(self, *, likely: Int64s) -> Checkpoint | None:
        """What a run went by after which the sink held what it should; None if that is not known.

        Args:
            likely: protected numbers, ascending, that need not be read if they are the ones.

        Raises:
            StorageFailed: the disk refused.
        """
        try:
            checkpoint = Checkpoint.load(self.directory, likely=likely)
        except Malformed as error:
            log.warning("%s; everything is looked at instead", error)
            return None
        return checkpoint if checkpoint is not None and checkpoint.place == self._place(checkpoint.last) else None

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write down what a run went by after which the sink holds what it should; it is a help only.

        Args:
            checkpoint: its `place` and `last` are set here.
        """
        try:
            replace(checkpoint, place=self._place(self.last), last=self.last).save(self.directory)
        except OSError as error:
            log.warning("the next run looks at everything: %s", storage_failed(error, self.directory))

    def _place(self, number: int) -> str:
        """Identifies the ledger up to a record; another base may say anything, such as what a reconciliation found."""
        hashed = hashlib.sha256(f"{self.id} {self._document.base} {number}".encode())
        for kind in ("batch", "done"):
            with contextlib.suppress(OSError):
                hashed.update(self._path(number, kind).read_bytes())
        return hashed.hexdigest()

    def _last_release(self) -> ReleaseId:
        return next((record.batch.release for record in self.records_backwards()), BEFORE_ALL)

    @property
    def list_identity(self) -> ListIdentity | None:
        """The list that is enforced; None if it is not known."""
        document = self._document
        return None if document.roots is None else ListIdentity(document.roots, frozenset(document.root_keys))

    def keep_list_identity(self, identity: ListIdentity) -> None:
        """Write down which list is enforced.

        Raises:
            StorageFailed: the disk refused.
        """
        document = replace(self._document, roots=identity.digest, root_keys=tuple(sorted(identity.keys)))
        if document != self._saved:
            with storage(self.directory):
                self._save(document)

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
            Acknowledgement(at, refused).save(self._path(number, "receipts"))
        if self._files is not None:
            self._files.add(number, "receipts")

    def acknowledged_at(self, number: int) -> datetime:
        """When the exchange acknowledged the receipts of a record; the year 1 if it has not.

        Raises:
            Malformed: what is written down about it is damaged.
        """
        found = Acknowledgement.load(self._path(number, "receipts"))
        return datetime.min.replace(tzinfo=UTC) if found is None else found.at

    def refused_receipts(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The receipts that the exchange refused, each with the number of its record.

        Raises:
            Malformed: what is written down about a record's receipts is damaged.
        """
        for number in self._numbers():
            found = Acknowledgement.load(self._path(number, "receipts"))
            for receipt in found.refused if found else ():
                yield number, receipt

    # Files

    def _path(self, number: int, kind: str) -> Path:
        return self.directory / _RECORDS / file_name(number, kind)

    def _save(self, document: LedgerDocument) -> None:
        document.save(self.directory / _LEDGER)
        self._document = self._saved = document

    def _record_files(self) -> RecordFiles:
        """Which files of records there are; as of when it was opened where nobody else writes batches."""
        if self._files is not None:
            return self._files
        with storage(self.directory):
            return RecordFiles.of(os.listdir(self.directory / _RECORDS))

    def _numbers(self) -> Sequence[int]:
        return self._record_files().numbers

    def _check_whole(self) -> None:
        """Check that no record after the base is missing, since its changes would be forgotten."""
        missing = self._first_missing()
        if missing is None:
            return
        # Whoever only reads may have read ledger.json before a run folded the records and deleted old ones.
        now = LedgerDocument.load(self.directory / _LEDGER)
        if now is None or missing > now.folded:
            raise Malformed(f"{self._path(missing, 'batch')} is missing: {REPAIR_ADVICE}")

    def _first_missing(self) -> int | None:
        """The number of the first record after the base that is missing; None if all are there."""
        folded, files = self._document.folded, self._record_files()
        last = max(self._document.last, *files.done, *files.numbers[-1:], 0)
        there = set(files.numbers[bisect_right(files.numbers, folded) :])
        if len(there) >= last - folded:
            return None
        return next(number for number in itertools.count(folded + 1) if number not in there)

    def _base(self) -> LedgerLayer:
        if self._document.base is None:
            return LedgerLayer.of(Effects.latest([]))
        path = self.directory / self._document.base
        table, about = read_table(path)
        with reading(path):
            return LedgerLayer.read(table, about)


def _upto_in(patch: str) -> int:
    """The last record in a patch, from the name of its file."""
    return int(patch.split("-")[2])


def _is_all_done(outcome: UInt8s) -> bool:
    """Whether a sink has done every change of a batch."""
    return bool(is_any_of(outcome, OutcomeCode.ENFORCED, OutcomeCode.REVERSED).all())


def _begun(directory: Path, feed: str) -> LedgerDocument:
    """Begin a ledger."""
    with storage(directory):
        if _has_remains(directory):
            raise Malformed(f"{directory / _LEDGER} is missing, but not its other files: {REPAIR_ADVICE}")
        PRIVATE.make(directory / _RECORDS)
        document = LedgerDocument(id=secrets.token_hex(8), feed=feed)
        document.save(directory / _LEDGER)
        return document


def _has_remains(directory: Path) -> bool:
    """Whether a ledger's directory has more than a run leaves that is killed while it begins the ledger."""
    records = directory / _RECORDS
    return any(directory.glob("base-*.arrow")) or (records.is_dir() and any(records.iterdir()))


def _outcomes_in(table: pa.Table, count: int) -> UInt8s:
    """The outcome of each of so many changes."""
    if len(table) != count:
        raise ValueError("it has not as many outcomes as the batch has changes")
    if not count:
        return np.empty(0, np.uint8)
    outcome: UInt8s = table.column("outcome").chunk(0).to_numpy(zero_copy_only=True)
    if outcome.dtype != np.uint8 or not is_any_of(outcome, *OutcomeCode).all():
        raise ValueError("it has unknown outcomes")
    return outcome


def _code_of(outcome: Outcome) -> OutcomeCode:
    """The code of an outcome. What is pending is in doubt, so that an unblock is sent if the list drops the number."""
    return OutcomeCode.IN_DOUBT if outcome.pending else OutcomeCode.of(outcome.kind)


def _nothing_yet(directory: Path) -> InvalidInput:
    return InvalidInput(f"nothing has been enforced into {directory.name} yet: run blocklist enforce first")
