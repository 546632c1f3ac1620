"""A run: the difference between what a sink has acknowledged and what is in force goes to the sink, batch by batch.

From top to bottom: the ledger must belong to the sink; what a killed run left is settled; what the sink should hold is
compared with what it holds; the brake takes out what nothing explains; the rest is delivered. If something else comes
into force meanwhile, the comparison begins anew.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from blocklist_sdk import times
from blocklist_sdk.enforcement.basis import Basis, KnownRules, LostBasis
from blocklist_sdk.enforcement.brake import Judgement, Now, Removals, WaitingChanges, basis_of, judge
from blocklist_sdk.enforcement.delivery import Delivery, Watch, examined, warnings_of
from blocklist_sdk.enforcement.desired import desired_items, next_change
from blocklist_sdk.enforcement.items import Items, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState
from blocklist_sdk.enforcement.list_identity import ListIdentity
from blocklist_sdk.enforcement.origins import Origins
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import make_plan
from blocklist_sdk.enforcement.receipts import send_receipts
from blocklist_sdk.enforcement.reconciliation import forget_what_was_lost
from blocklist_sdk.enforcement.result import UNANSWERED_AFTER, EnforcementResult, is_hopeless, set_aside_on, unanswered
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.enforcement.shadow import check_name
from blocklist_sdk.enforcement.sink import Sink, SinkWarning
from blocklist_sdk.recipient.blocklist import Blocklist, internals_of
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.published import clock_behind_text
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.exchange.client import ExchangeClient

log: logging.Logger = logging.getLogger(__name__)


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
        accept: let the unexplained changes through that waited at the last run. If nothing did, or others wait now,
            nothing is accepted, and `EnforcementResult.not_accepted` says why; all else is done.
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
        delivery = Delivery(ledger, sink, settings, clock, sleep)
        binding = delivery.bind(name=name, adopt=adopt)
        delivery.settle_open_batches()
        is_lost = binding.is_lost
        brake = _Brake(ledger, blocklist, accept=accept)
        planned: dict[Operation, int] | None = None
        is_over = False
        while not is_over:
            target = _Target.now(blocklist, settings, clock())
            if is_lost:
                forget_what_was_lost(ledger, target.items, last_batch=binding.cursor or 0)
                is_lost = False
            state = ledger.state()
            judgement = brake.judged(state, target)
            plan = make_plan(state, judgement.items)
            planned = planned or plan.counts()
            about = target.generation.about
            watch = Watch(blocklist, about.release, target.rules, target.next_change, clock)
            origins = target.origins(state) if len(plan) else None
            is_over = delivery.deliver(
                plan, release=about.release, published=about.published_at, watch=watch, origins=origins
            )
            if len(plan):
                ledger.fold(at=clock())
                state = ledger.state()
        delivery.bind_again()
        _log_waiting(judgement.waiting)
        result = EnforcementResult(
            serial=about.serial,
            era=about.era,
            planned=planned or plan.counts(),
            outcomes=dict(delivery.outcomes),
            deferred=delivery.deferred,
            set_aside=state.count(ItemStatus.SET_ASIDE),
            newly_set_aside=set_aside_on(ledger, state, clock().astimezone(UTC).date()),
            is_hopeless=is_hopeless(ledger, state, delivery.outcomes),
            unanswered=unanswered(ledger, state, before=clock() - UNANSWERED_AFTER),
            waiting=judgement.waiting,
            not_accepted=brake.not_accepted,
            next_change=target.next_change,
            seconds=time.monotonic() - started,
            warnings=(*_of_clock(blocklist, clock()), *binding.warnings, *brake.warnings, *delivery.warnings()),
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
    directory = ledger_path(blocklist, name)
    target = _Target.now(blocklist, settings, at)
    if Ledger.exists(directory):
        with Ledger.open(directory, feed=blocklist.feed, wait_s=wait_s) as ledger:
            state = ledger.state()
            binding = examined(ledger, state, sink, name=name, adopt=adopt)
            state = LedgerState.empty() if binding.is_lost else state
            brake = _Brake(ledger, blocklist, accept=accept, is_dry=True)
            judgement = brake.judged(state, target)
    else:
        state, brake = LedgerState.empty(), _Brake(None, blocklist, accept=accept, is_dry=True)
        binding = examined(None, state, sink, name=name, adopt=adopt)
        judgement = brake.judged(state, target)
    _log_waiting(judgement.waiting)
    return EnforcementResult(
        serial=target.generation.about.serial,
        era=target.generation.about.era,
        planned=make_plan(state, judgement.items).counts(),
        set_aside=state.count(ItemStatus.SET_ASIDE),
        waiting=judgement.waiting,
        not_accepted=brake.not_accepted,
        next_change=target.next_change,
        dry_run=True,
        seconds=time.monotonic() - started,
        warnings=(*_of_clock(blocklist, at), *binding.warnings, *brake.warnings, *warnings_of(sink)),
    )


def _of_clock(blocklist: Blocklist, now: datetime) -> tuple[SinkWarning, ...]:
    """That this machine's clock is behind, if it is known to be. The run goes on: what the release lifts is lifted."""
    behind_s = internals_of(blocklist).current.clock_behind_s(now)
    return () if behind_s is None else (SinkWarning("clock", clock_behind_text(behind_s)),)


@dataclass(frozen=True, slots=True)
class _Target:
    """What a sink should hold at a moment, and what that follows from.

    Attributes:
        generation: the release in force.
        rules: protected numbers and overrides.
        settings: the settings of the run.
        at: the moment.
        items: what the sink should hold.
        next_change: when that changes by itself; None if it never does.
        known_rules: the rules, as the ledger keeps them.
        removals: when overrides were removed, by what they named.
    """

    generation: Generation
    rules: Rules
    settings: EnforcementSettings
    at: datetime
    items: Items
    next_change: datetime | None
    known_rules: KnownRules
    removals: Removals

    @classmethod
    def now(cls, blocklist: Blocklist, settings: EnforcementSettings, at: datetime) -> Self:
        """What follows from what is in force now."""
        generation, rules = internals_of(blocklist).in_force()
        rows = generation.rows
        published = generation.about.published_at
        items = desired_items(rows, rules, at, settings=settings, published=published)
        # After the rules: what they lack because it was removed is among the removals.
        removals = internals_of(blocklist).overrides.removals()
        return cls(generation, rules, settings, at, items, next_change(rows, rules, at), KnownRules.of(rules), removals)

    def origins(self, state: LedgerState) -> Origins | None:
        """Whose business the changes from a state are; None if all of them are the list's."""
        published = self.generation.about.published_at
        return Origins.of(state, self.generation.rows, self.rules, self.at, published=published)

    def judged(
        self, state: LedgerState, before: Basis | LostBasis | None, *, is_other_list: bool, accepted: str | None
    ) -> Judgement:
        """What a run may do towards it.

        Args:
            state: what the sink holds.
            before: what the last run went by; None before the first run.
            is_other_list: whether the keys of the list's root are not those of the last run.
            accepted: the digest of what may go although it is unexplained; None if nothing may.
        """
        about = self.generation.about
        basis = basis_of(self.settings, self.known_rules, release=about.release, digest=about.digest, at=self.at)
        now = Now(
            self.generation.rows,
            self.rules,
            self.removals,
            self.settings,
            basis,
            about.published_at,
            is_other_list=is_other_list,
        )
        return judge(state, self.items, now, before=before, accepted=accepted)


class _Brake:
    """What a run may do, and what the ledger keeps about it.

    Attributes:
        not_accepted: why nothing was accepted, though the run was asked to; None if it was, or was not asked.
        warnings: what a person must know about what the ledger keeps.
    """

    def __init__(self, ledger: Ledger | None, blocklist: Blocklist, *, accept: bool, is_dry: bool = False) -> None:
        self.not_accepted: str | None = None
        self.warnings: tuple[SinkWarning, ...] = ()
        self._ledger, self._blocklist = ledger, blocklist
        self._accepts, self._is_dry = accept, is_dry

    def judged(self, state: LedgerState, target: "_Target") -> Judgement:
        """What a run may do. What it goes by is written down first, so that a killed run is not judged anew.

        So only the first run of a ledger is free, and not one into a sink from which the list has lifted everything.
        """
        ledger = self._ledger
        known = None if ledger is None else ledger.list_identity
        identity = ListIdentity.of(self._blocklist, known, generation=target.generation.name)
        is_same = identity is None or identity.is_same(known)
        before = None if ledger is None else ledger.basis(likely=target.known_rules)
        waited = ledger.waiting() if self._accepts and ledger is not None else None
        judgement = target.judged(state, before, is_other_list=not is_same, accepted=waited)
        if self._accepts and not judgement.is_accepted:
            self.not_accepted = _why_not_accepted(waited, judgement)
            log.warning("--accept was not taken: %s", self.not_accepted)
        # Once: what comes up later in a long run was not looked at by whoever accepted.
        self._accepts = False
        if isinstance(before, LostBasis) and not self.warnings:
            log.warning("%s", before.message)
            self.warnings = (SinkWarning("lost basis", before.message),)
        if ledger is not None and not self._is_dry:
            if identity is not None and not judgement.is_other_list:
                ledger.keep_list_identity(identity.joined(known) if is_same else identity)
            ledger.keep_basis(judgement.basis, waiting=judgement.digest)
        return judgement


def _why_not_accepted(waited: str | None, judgement: Judgement) -> str:
    """Why nothing was accepted, and what to do."""
    if waited is None:
        why = "nothing waited at the last run, so nobody has looked at what it would let through"
    elif judgement.waiting is None:
        why = "what waited at the last run does not wait any more"
    else:
        why = "what waits is not what waited at the last run"
    if judgement.waiting is None:
        return f"{why}. Nothing waits: leave it out"
    return f"{why}. Look at what waits now, and if it is meant, run the same command once more"


def _log_waiting(waiting: WaitingChanges | None) -> None:
    """Log what waits, why, and what to do."""
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
