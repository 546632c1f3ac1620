"""A run: the difference between what a sink has acknowledged and what is in force goes to the sink, batch by batch."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.desired import desired_items, next_change
from blocklist_sdk.enforcement.items import Batch, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, OutcomeCode
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import EnforcementPlan, PlannedBatch, make_plan
from blocklist_sdk.enforcement.receipts import ReceiptsResult, send_receipts
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.enforcement.shadow import check_name
from blocklist_sdk.enforcement.sink import (
    Outcome,
    Sink,
    SinkUnavailable,
    SinkWarning,
    TransactionalSink,
    UniformOutcomes,
    WarningSink,
    all_done,
)
from blocklist_sdk.errors import BlocklistError, Malformed, Unreachable
from blocklist_sdk.recipient.blocklist import Blocklist, internals_of
from blocklist_sdk.recipient.rules import Rules

if TYPE_CHECKING:
    from blocklist_sdk.exchange.client import ExchangeClient

log: logging.Logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 4
"""How often a batch is sent while the sink is unavailable."""

_BACKOFF_S: Final = 0.5
_BACKOFF_MAX_S: Final = 8.0
"""The first wait between attempts, which doubles, and the longest one."""

_LOOK_S: Final = 10.0
"""How often a long run checks whether something else is in force."""

_PACE_S: Final = 10.0
"""How long a run waits for its rate before it checks again whether something else is in force."""

_PACED_BATCH_MIN: Final = 100
"""With a rate, a batch has at least so many changes: each costs a request or a file, and two writes of the ledger."""

_ASKED_WAIT_MAX_S: Final = 30.0
"""The longest wait that a sink may ask for; a longer one ends the run, and the error says how long it is."""


@dataclass(frozen=True, slots=True)
class EnforcementResult:
    """The result of a run.

    Attributes:
        serial: the serial of the release in force.
        planned: how many changes there were to make when the run began, by operation.
        outcomes: how many changes had each outcome; ``in doubt`` if it is unknown.
        deferred: changes that wait for another day, because the daily cap is reached.
        set_aside: items that the sink refuses, or that failed too often, from this and earlier runs.
        next_change: when the next entry or override begins or ends by itself; None if none does.
        dry_run: whether nothing was done.
        seconds: how long the run took.
        receipts: the result of sending the receipts; None if they were not sent.
        warnings: what a person must look at in the sink, such as a response that cannot be read.
    """

    serial: int
    planned: dict[Operation, int]
    outcomes: dict[str, int] = field(default_factory=dict)
    deferred: int = 0
    set_aside: int = 0
    next_change: datetime | None = None
    dry_run: bool = False
    seconds: float = 0.0
    receipts: ReceiptsResult | None = None
    warnings: tuple[SinkWarning, ...] = ()


def enforce(
    blocklist: Blocklist,
    sink: Sink,
    *,
    name: str = "default",
    settings: EnforcementSettings = DEFAULTS,
    receipts: "ExchangeClient | None" = None,
    dry_run: bool = False,
    clock: Callable[[], datetime] = times.now,
    sleep: Callable[[float], None] = time.sleep,
    wait_s: float = 10.0,
) -> EnforcementResult:
    """Bring a sink to what is in force: entries, overrides, protected numbers and ends.

    A run takes the difference to what the sink has acknowledged. So it is right after gaps, crashes and snapshots, and
    does nothing if nothing differs. Unblocks go first, also those that come up during a long run. The outcomes of each
    batch are written down before the next one goes; if a run is killed, the next one continues. A change may reach the
    sink twice, unless it is a `TransactionalSink`; it does no harm.

    Args:
        blocklist: the list; it is not synced here.
        sink: the sink.
        name: the sink's name. What the sink has acknowledged is kept under it in the list's state directory.
        settings: which scopes and numbers are enforced, how many changes at a time, and how fast.
        receipts: the exchange to which the receipts are sent afterwards, as by `send_receipts`; None to send them
            later.
        dry_run: only return what would be done. Without a ledger, the sink is taken to be empty; none is begun.
        clock: returns the current time, UTC.
        sleep: waits for some seconds.
        wait_s: how long to wait for another process that enforces into the same sink, seconds.

    Raises:
        NotSynced, Stale: as for the list's questions.
        InvalidInput: `name` cannot be used.
        ExchangeError: the exchange did not take the receipts; the outcomes are written down.
        Locked: another process enforces into the sink.
        Unreachable: the sink or the exchange is unavailable. What the sink acknowledged is written down, and the next
            run continues there.
        Malformed: the sink's answer makes no sense, or the ledger is damaged.
        StorageFailed: the disk refused.

    Example:
        >>> from blocklist_sdk.enforcement import enforce, open_sink  # doctest: +SKIP
        >>> enforce(blocklist, open_sink("file:///var/spool/blocks", feed=blocklist.feed))  # doctest: +SKIP
    """
    started = time.monotonic()
    check_name(sink, name)
    if dry_run:
        return _dry_run(blocklist, sink, name, settings, clock(), wait_s)
    with Ledger.open(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
        run = _Run(ledger, sink, settings, clock, sleep)
        run.settle_open_batches()
        planned: dict[Operation, int] | None = None
        is_over = False
        while not is_over:
            generation, rules = internals_of(blocklist).in_force()
            at = clock()
            target_items = desired_items(generation.rows, rules, at, settings=settings)
            state = ledger.state()
            plan = make_plan(state, target_items)
            planned = planned or plan.counts()
            following = next_change(generation.rows, rules, at)
            about = generation.about
            watch = _Watch(blocklist, about.serial, rules, following, clock)
            is_over = run.all(plan, serial=about.serial, published=about.published_at, watch=watch)
            if len(plan):
                ledger.fold(at=clock())
                state = ledger.state()
        result = EnforcementResult(
            serial=generation.about.serial,
            planned=planned or plan.counts(),
            outcomes=dict(run.outcomes),
            deferred=run.deferred,
            set_aside=state.count(ItemStatus.SET_ASIDE),
            next_change=following,
            seconds=time.monotonic() - started,
            warnings=_warnings_of(sink),
        )
    if receipts is not None:
        with Ledger.outbox(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
            result = replace(result, receipts=send_receipts(ledger, receipts))
    return result


def _dry_run(
    blocklist: Blocklist, sink: Sink, name: str, settings: EnforcementSettings, at: datetime, wait_s: float
) -> EnforcementResult:
    """What a run would do. Nothing is written, and no ledger begun."""
    started = time.monotonic()
    directory, state = ledger_path(blocklist, name), LedgerState.empty()
    if Ledger.exists(directory):
        with Ledger.open(directory, feed=blocklist.feed, wait_s=wait_s) as ledger:
            state = ledger.state()
    generation, rules = internals_of(blocklist).in_force()
    return EnforcementResult(
        serial=generation.about.serial,
        planned=make_plan(state, desired_items(generation.rows, rules, at, settings=settings)).counts(),
        set_aside=state.count(ItemStatus.SET_ASIDE),
        next_change=next_change(generation.rows, rules, at),
        dry_run=True,
        seconds=time.monotonic() - started,
        warnings=_warnings_of(sink),
    )


def _warnings_of(sink: Sink) -> tuple[SinkWarning, ...]:
    return tuple(sink.warnings()) if isinstance(sink, WarningSink) else ()


@dataclass(slots=True)
class _Watch:
    """Notices when the plan is out of date, so that no unblock waits for the end of a long run."""

    blocklist: Blocklist
    serial: int
    rules: Rules
    next_change: datetime | None
    clock: Callable[[], datetime]
    checked_s: float = field(default_factory=time.monotonic)

    def is_out_of_date(self) -> bool:
        if time.monotonic() - self.checked_s < _LOOK_S:
            return False
        self.checked_s = time.monotonic()
        if self.next_change is not None and self.next_change <= self.clock():
            return True
        generation, rules = internals_of(self.blocklist).in_force()
        return generation.about.serial != self.serial or rules != self.rules


class _Run:
    """One run into one sink."""

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        settings: EnforcementSettings,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self._ledger, self._sink, self._settings = ledger, sink, settings
        self._clock, self._sleep = clock, sleep
        self._tries = ledger.tries()
        self._failed: set[str] = set()
        # How long the rate asks to wait before any batch, and before one that lifts something.
        self._owed_s = self._owed_by_lifts_s = 0.0
        self.outcomes: Counter[str] = Counter()
        self.deferred = 0

    def settle_open_batches(self) -> None:
        """Settle the batches that a killed run left without outcomes."""
        numbers = self._ledger.open_batches()
        if numbers:
            self._check_age()
        for number in numbers:
            self._ledger.settle(number, is_applied=self._applied() >= number, at=self._clock())

    def all(self, plan: EnforcementPlan, *, serial: int, published: datetime, watch: _Watch) -> bool:
        """Enforce a plan; returns False if it went out of date before its end, so a new one is needed."""
        if len(plan):
            self._check_age()
        self.deferred = 0
        cap = self._cap()
        rate = self._settings.rate
        most = self._settings.batch if rate is None else max(_PACED_BATCH_MIN, int(rate))
        try:
            for part in plan.batches(min(self._settings.batch, most)):
                if not self._pace(self._owed_by_lifts_s if part.lifts else self._owed_s, watch):
                    return False
                if part.is_capped and watch.is_out_of_date():
                    return False
                count = len(part.items)
                room = count if cap is None or not part.is_capped else min(count, cap)
                self.deferred += count - room
                if not room:
                    continue
                if cap is not None and part.is_capped:
                    cap -= room
                if room < count:
                    part = replace(part, items=part.items.take(np.arange(room)))
                self._one(part, serial=serial, published=published)
            # The next run may begin at once, and does not know of this one.
            if not self._pace(self._owed_s, watch):
                return False
            if not self.deferred:
                # Changes that did not fail again are done, or not asked for any more.
                self._tries = {key: count for key, count in self._tries.items() if key in self._failed}
            return True
        finally:
            self._ledger.keep_tries(self._tries)

    def _one(self, part: PlannedBatch, *, serial: int, published: datetime) -> None:
        begun = time.monotonic()
        batch = self._ledger.begin(part, serial=serial, published=published, at=self._clock())
        outcomes = self._apply(batch)
        if len(outcomes) != len(batch):
            raise Malformed(
                f"the sink returned {len(outcomes)} outcomes for a batch of {len(batch)} changes, so the batch is in "
                "doubt: this is a fault of the sink, tell its author"
            )
        given_up = self._count(batch, outcomes)
        record = self._ledger.finish(batch, outcomes, given_up=given_up, at=self._clock())
        counts = np.bincount(record.outcome, minlength=256)
        for code in OutcomeCode:
            if counts[code]:
                self.outcomes[code.kind or "in doubt"] += int(counts[code])
        if self._settings.rate is not None:
            owed_s = max(0.0, len(batch) / self._settings.rate - (time.monotonic() - begun))
            self._owed_s += owed_s
            self._owed_by_lifts_s += owed_s if part.lifts else 0.0

    def _pace(self, seconds: float, watch: _Watch) -> bool:
        """Wait as the rate asks; False if the plan went out of date meanwhile, since an unblock must not wait."""
        while seconds > 0:
            part_s = min(seconds, _PACE_S)
            self._sleep(part_s)
            seconds -= part_s
            self._owed_s = max(0.0, self._owed_s - part_s)
            self._owed_by_lifts_s = max(0.0, self._owed_by_lifts_s - part_s)
            if watch.is_out_of_date():
                return False
        return True

    def _apply(self, batch: Batch) -> Sequence[Outcome]:
        """Apply a batch, in several attempts if the sink is unavailable."""
        try:
            return self._attempts(batch)
        except BlocklistError:
            raise
        except Exception as error:  # of a sink that somebody else wrote, or of a library below it
            kind = type(error).__name__
            log.exception("the sink failed on batch %d, which counts as failed", batch.number_in_ledger)
            return UniformOutcomes(Outcome("failed", f"the sink raised {kind}: the log has the rest"), len(batch))

    def _attempts(self, batch: Batch) -> Sequence[Outcome]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._sink.apply(batch)
            except SinkUnavailable as error:
                asked = error.retry_after or 0.0
                if attempt == _ATTEMPTS or asked > _ASKED_WAIT_MAX_S:
                    raise Unreachable(
                        f"the sink is unavailable: {error}. What it acknowledged is saved; run this again later.",
                        url=self._ledger.directory.name,
                        retry_after=error.retry_after,
                    ) from error
                wait_s = min(_BACKOFF_S * 2 ** (attempt - 1), _BACKOFF_MAX_S)
                self._sleep(max(asked, random.uniform(0, wait_s)))  # noqa: S311 -- spreads processes that wait
                if self._applied() >= batch.number_in_ledger:
                    return all_done(batch)
        raise AssertionError("the last attempt returns or raises")

    def _applied(self) -> int:
        """The number of the last batch that the sink has applied; 0 if it does not say."""
        if not isinstance(self._sink, TransactionalSink):
            return 0
        try:
            return self._sink.applied() or 0
        except SinkUnavailable:
            return 0

    def _check_age(self) -> None:
        """Check that the sink has no batch that the ledger lacks, as happens after a ledger is restored from a copy."""
        applied = self._applied()
        if applied > self._ledger.last:
            raise Malformed(
                f"the sink has applied batch {applied}, but the ledger ends at batch {self._ledger.last}: it was "
                "restored from an older copy and does not know everything that must be lifted. Run blocklist enforce "
                "--reconcile --repair."
            )

    def _count(self, batch: Batch, outcomes: Sequence[Outcome]) -> list[int]:
        """Count failures; returns the indexes of the changes that have failed too often."""
        given_up: list[int] = []
        distinct = [outcomes.outcome] if isinstance(outcomes, UniformOutcomes) else outcomes
        if not any(outcome.kind == "failed" for outcome in distinct):
            return given_up
        for index, outcome in enumerate(outcomes):
            if outcome.kind != "failed" or outcome.pending:
                continue
            key = batch[index].key
            self._tries[key] = self._tries.get(key, 0) + 1
            self._failed.add(key)
            if self._tries[key] >= self._settings.tries:
                given_up.append(index)
        return given_up

    def _cap(self) -> int | None:
        """How many blocks and changes the daily cap still allows today; None if there is no cap."""
        if self._settings.daily_cap is None:
            return None
        today = self._clock().astimezone(UTC).date()
        done = 0
        for record in self._ledger.records_backwards():
            day = record.begun.astimezone(UTC).date()
            if day < today:
                break
            done += len(record.batch) if day == today and record.is_capped else 0
        return max(0, self._settings.daily_cap - done)
