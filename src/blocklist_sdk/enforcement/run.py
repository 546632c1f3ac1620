"""A run: the difference between what a sink has acknowledged and what is in force goes to the sink, batch by batch."""

import contextlib
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.binding import Binding, examine, identity_of
from blocklist_sdk.enforcement.brake import Basis, Judgement, WaitingChanges, judge
from blocklist_sdk.enforcement.desired import desired_items, next_change
from blocklist_sdk.enforcement.items import Batch, Items, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, OutcomeCode, is_any_of
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import EnforcementPlan, PlannedBatch, make_plan
from blocklist_sdk.enforcement.receipts import ReceiptsResult, send_receipts
from blocklist_sdk.enforcement.reconciliation import forget_what_was_lost
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
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.texts import counted

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
        newly_set_aside: how many of them were set aside today (UTC).
        is_hopeless: whether nothing could be enforced: all that was tried in this run failed or was refused, or the
            sink holds nothing, since everything failed too often.
        waiting: what waits because too much of the run was unexplained; None if nothing does. The rest was done.
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
    newly_set_aside: int = 0
    is_hopeless: bool = False
    waiting: WaitingChanges | None = None
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
    adopt: bool = False,
    accept: bool = False,
    clock: Callable[[], datetime] = times.now,
    sleep: Callable[[float], None] = time.sleep,
    wait_s: float = 10.0,
) -> EnforcementResult:
    """Bring a sink to what is in force: entries, overrides, protected numbers and ends.

    A run takes the difference to what the sink has acknowledged. So it is right after gaps, crashes and snapshots, and
    does nothing if nothing differs. Unblocks go first, also those that come up during a long run. The outcomes of each
    batch are written down before the next one goes; if a run is killed, the next one continues. A change may reach the
    sink twice, unless it is a `TransactionalSink`; it does no harm.

    What is not explained by the release, ends, protected numbers or new overrides, such as another filter or a lost
    file of overrides, waits if it removes or adds more than `EnforcementSettings.max_removed` or `max_added` allow.
    Everything else is done, and `EnforcementResult.waiting` says what waits.

    Args:
        blocklist: the list; it is not synced here.
        sink: the sink.
        name: the sink's name. What the sink has acknowledged is kept under it in the list's state directory.
        settings: which scopes and numbers are enforced, how many changes at a time, and how fast.
        receipts: the exchange to which the receipts are sent afterwards, as by `send_receipts`; None to send them
            later.
        dry_run: only return what would be done. Without a ledger, the sink is taken to be empty; none is begun.
        adopt: the ledger belongs to this sink from now on. Without it, a ledger that belongs to another sink is
            refused.
        accept: let this run's unexplained changes through.
        clock: returns the current time, UTC.
        sleep: waits for some seconds.
        wait_s: how long to wait for another process that enforces into the same sink, seconds.

    Raises:
        NotSynced, Stale: as for the list's questions.
        InvalidInput: `name` cannot be used, or the ledger of that name belongs to another sink.
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
        return _dry_run(blocklist, sink, name, settings, clock(), wait_s, adopt=adopt, accept=accept)
    with Ledger.open(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
        run = _Run(ledger, sink, settings, clock, sleep)
        binding = run.bind(name=name, adopt=adopt)
        run.settle_open_batches()
        is_lost = binding.is_lost
        planned: dict[Operation, int] | None = None
        is_over = False
        while not is_over:
            at = clock()
            generation, rules = internals_of(blocklist).in_force()
            target_items = desired_items(generation.rows, rules, at, settings=settings)
            was_lost = is_lost
            if is_lost:
                forget_what_was_lost(ledger, target_items, last_batch=binding.cursor or 0)
                is_lost = False
            state = ledger.state()
            judgement = _judged(
                ledger, state, target_items, generation, rules, settings, at, accept=accept, was_lost=was_lost
            )
            # Once: what comes up later in a long run was not looked at by whoever accepted.
            accept = False
            plan = make_plan(state, judgement.items)
            planned = planned or plan.counts()
            following = next_change(generation.rows, rules, at)
            about = generation.about
            watch = _Watch(blocklist, about.serial, rules, following, clock)
            is_over = run.all(plan, serial=about.serial, published=about.published_at, watch=watch)
            if len(plan):
                ledger.fold(at=clock())
                state = ledger.state()
        run.bind_again()
        newly_set_aside = _set_aside_on(ledger, state, clock().astimezone(UTC).date())
        _log_waiting(judgement)
        result = EnforcementResult(
            serial=generation.about.serial,
            planned=planned or plan.counts(),
            outcomes=dict(run.outcomes),
            deferred=run.deferred,
            set_aside=state.count(ItemStatus.SET_ASIDE),
            newly_set_aside=newly_set_aside,
            is_hopeless=_is_hopeless(ledger, state, run.outcomes),
            waiting=judgement.waiting,
            next_change=following,
            seconds=time.monotonic() - started,
            warnings=(*binding.warnings, *_warnings_of(sink)),
        )
    if receipts is not None:
        with Ledger.outbox(ledger_path(blocklist, name), feed=blocklist.feed, wait_s=wait_s) as ledger:
            result = replace(result, receipts=send_receipts(ledger, receipts))
    return result


def _dry_run(
    blocklist: Blocklist,
    sink: Sink,
    name: str,
    settings: EnforcementSettings,
    at: datetime,
    wait_s: float,
    *,
    adopt: bool,
    accept: bool,
) -> EnforcementResult:
    """What a run would do. Nothing is written, and no ledger begun."""
    started = time.monotonic()
    directory, state, binding = ledger_path(blocklist, name), LedgerState.empty(), None
    was_lost, known = False, None
    if Ledger.exists(directory):
        with Ledger.open(directory, feed=blocklist.feed, wait_s=wait_s) as ledger:
            state = ledger.state()
            binding = _examined(ledger, state, sink, name=name, adopt=adopt)
            state = LedgerState.empty() if binding.is_lost else state
            was_lost, known = binding.is_lost, ledger.basis()
    generation, rules = internals_of(blocklist).in_force()
    target_items = desired_items(generation.rows, rules, at, settings=settings)
    judgement = _judgement(
        known, state, target_items, generation, rules, settings, at, accept=accept, was_lost=was_lost
    )
    _log_waiting(judgement)
    return EnforcementResult(
        serial=generation.about.serial,
        planned=make_plan(state, judgement.items).counts(),
        set_aside=state.count(ItemStatus.SET_ASIDE),
        waiting=judgement.waiting,
        next_change=next_change(generation.rows, rules, at),
        dry_run=True,
        seconds=time.monotonic() - started,
        warnings=(*(binding.warnings if binding else ()), *_warnings_of(sink)),
    )


def _examined(
    ledger: Ledger,
    state: LedgerState,
    sink: Sink,
    *,
    name: str,
    adopt: bool,
    sleep: Callable[[float], None] | None = None,
) -> Binding:
    """Check that the ledger belongs to the sink, in several attempts if `sleep` is given."""
    for attempt in itertools.count(1):
        try:
            return examine(ledger, state, sink, name=name, adopt=adopt)
        except SinkUnavailable as error:
            if sleep is None or attempt == _ATTEMPTS or (error.retry_after or 0.0) > _ASKED_WAIT_MAX_S:
                raise _unreachable(ledger, error) from error
            sleep(_wait_s(attempt, error))
    raise AssertionError("the last attempt returns or raises")


def _judgement(
    known: Basis | None,
    state: LedgerState,
    target_items: Items,
    generation: Generation,
    rules: Rules,
    settings: EnforcementSettings,
    at: datetime,
    *,
    accept: bool,
    was_lost: bool,
) -> Judgement:
    """What a run may do, by what the last one went by."""
    about = generation.about
    # The first run is free, and so is one into a sink that never held anything.
    is_first = not was_lost and not len(state.items) and not len(state.patch)
    return judge(
        state,
        target_items,
        generation.rows,
        rules,
        settings=settings,
        before=None if is_first else known,
        now=Basis.of(settings, rules, serial=about.serial, digest=about.digest, at=at),
        accept=accept,
    )


def _judged(
    ledger: Ledger,
    state: LedgerState,
    target_items: Items,
    generation: Generation,
    rules: Rules,
    settings: EnforcementSettings,
    at: datetime,
    *,
    accept: bool,
    was_lost: bool,
) -> Judgement:
    """What a run may do. What it goes by is written down first, so that a killed run is not judged anew."""
    known = ledger.basis()
    judgement = _judgement(
        known, state, target_items, generation, rules, settings, at, accept=accept, was_lost=was_lost
    )
    if known is None or replace(judgement.basis, at=known.at) != known:
        ledger.keep_basis(judgement.basis)
    return judgement


def _log_waiting(judgement: Judgement) -> None:
    """Log what waits, why, and what to do."""
    waiting = judgement.waiting
    if waiting is None:
        return
    more = sum(waiting.changes.values()) - len(waiting.examples)
    numbers = ", ".join(waiting.examples) + (f" and {more:,} more" if more > 0 else "")
    changes = ", ".join(f"{count:,} to {operation}" for operation, count in waiting.changes.items() if count)
    log.warning(
        "%s wait, of %s that the sink held: %s. Nothing else waits. If this is meant, accept it once (--accept); "
        "if not, correct it and run again. Numbers: %s",
        changes,
        counted(waiting.held, "item"),
        "; ".join(waiting.reasons),
        numbers,
    )


def _set_aside_on(ledger: Ledger, state: LedgerState, day: date) -> int:
    """How many of the items that are set aside were so on a day, UTC; the newest day of the ledger."""
    if not state.count(ItemStatus.SET_ASIDE):
        return 0
    parts = [np.empty(0, np.int64)]
    for record in ledger.records_backwards():
        if record.begun.astimezone(UTC).date() < day:
            break
        if record.batch.operation != "unblock":
            is_aside = is_any_of(record.outcome, OutcomeCode.REFUSED, OutcomeCode.GIVEN_UP)
            parts.append(record.batch.items.number[is_aside])
    return int(np.isin(_set_aside_in(state), np.concatenate(parts)).sum())


def _set_aside_in(state: LedgerState) -> Int64s:
    whole = state.whole()
    return whole.items.number[is_any_of(whole.status, ItemStatus.SET_ASIDE)]


def _is_hopeless(ledger: Ledger, state: LedgerState, outcomes: Mapping[str, int]) -> bool:
    """Whether nothing could be enforced, in this run or ever."""
    if outcomes:
        return set(outcomes) <= {"failed", "refused"}
    aside = _set_aside_in(state)
    if not len(aside) or state.count(ItemStatus.HELD) or state.count(ItemStatus.NOTHING_TO_BLOCK):
        return False
    # What a sink refuses is settled. What failed again and again is not.
    given_up = [
        record.batch.items.number[is_any_of(record.outcome, OutcomeCode.GIVEN_UP)] for record in ledger.records()
    ]
    return bool(np.isin(aside, np.concatenate([np.empty(0, np.int64), *given_up])).any())


def _unreachable(ledger: Ledger, error: SinkUnavailable) -> Unreachable:
    return Unreachable(
        f"the sink is unavailable: {error}. What it acknowledged is saved; run this again later.",
        url=ledger.directory.name,
        retry_after=error.retry_after,
    )


def _wait_s(attempt: int, error: SinkUnavailable) -> float:
    """How long to wait after an attempt, seconds; at random, which spreads processes that wait."""
    wait_s = min(_BACKOFF_S * 2 ** (attempt - 1), _BACKOFF_MAX_S)
    return max(error.retry_after or 0.0, random.uniform(0, wait_s))  # noqa: S311


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

    def bind(self, *, name: str, adopt: bool) -> Binding:
        """Check that the ledger belongs to the sink, and write down that it does."""
        binding = _examined(self._ledger, self._ledger.state(), self._sink, name=name, adopt=adopt, sleep=self._sleep)
        for warning in binding.warnings:
            log.warning("%s", warning.message)
        self._ledger.bind(binding.identity, cursor=binding.cursor)
        return binding

    def bind_again(self) -> None:
        """Write down the mark that the sink may have now, and the number of the last batch that it has applied."""
        # What cannot be asked now is written down by the next run.
        with contextlib.suppress(SinkUnavailable):
            self._ledger.bind(identity_of(self._sink))

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
        if isinstance(self._sink, TransactionalSink):
            self._ledger.note_applied(record)
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
                if attempt == _ATTEMPTS or (error.retry_after or 0.0) > _ASKED_WAIT_MAX_S:
                    raise _unreachable(self._ledger, error) from error
                self._sleep(_wait_s(attempt, error))
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
