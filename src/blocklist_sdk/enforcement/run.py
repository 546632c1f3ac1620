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
from typing import TYPE_CHECKING, Final, Self

from blocklist_sdk import times
from blocklist_sdk.enforcement.basis import Basis, KnownRules, LostBasis
from blocklist_sdk.enforcement.brake import (
    Judgement,
    Now,
    Removals,
    WaitingChanges,
    basis_of,
    is_explained,
    judge,
)
from blocklist_sdk.enforcement.checkpoint import Checkpoint, ascending
from blocklist_sdk.enforcement.delivery import Delivery, Watch, examined, warnings_of
from blocklist_sdk.enforcement.desired import desired_items, next_moment
from blocklist_sdk.enforcement.items import Items, Operation
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState
from blocklist_sdk.enforcement.list_identity import ListIdentity
from blocklist_sdk.enforcement.origins import Origins
from blocklist_sdk.enforcement.part import Part, part_of
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.plan import EnforcementPlan, make_plan
from blocklist_sdk.enforcement.receipts import send_receipts
from blocklist_sdk.enforcement.reconciliation import forget_what_was_lost
from blocklist_sdk.enforcement.result import UNANSWERED_AFTER, EnforcementResult, is_hopeless, set_aside_on, unanswered
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.enforcement.shadow import check_name
from blocklist_sdk.enforcement.sink import Sink, SinkWarning
from blocklist_sdk.enforcement.turns import next_turn
from blocklist_sdk.errors import Malformed
from blocklist_sdk.numbers.operators import has_resolver
from blocklist_sdk.recipient.blocklist import Blocklist, internals_of
from blocklist_sdk.recipient.cache.generation import DAMAGE, Generation
from blocklist_sdk.recipient.cache.pieces import AT_ONCE_BYTES
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.merge import Difference, difference
from blocklist_sdk.release.published import clock_behind_text
from blocklist_sdk.release.rows import Int64s, Rows
from blocklist_sdk.release.spans import Spans
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.exchange.client import ExchangeClient

log: logging.Logger = logging.getLogger(__name__)

_LEFT_MOST: Final = 100_000
"""If more is left to do after a run, the next one looks at everything."""


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
        is_partial, is_compared = not adopt, False
        missed: tuple[SinkWarning, ...] = ()
        while True:
            target = _Target.now(blocklist, settings, clock())
            if is_lost:
                forget_what_was_lost(ledger, target.all_items(), last_batch=binding.cursor or 0)
                is_lost = False
            view = _view(ledger, target, brake, is_partial=is_partial)
            judgement = brake.judged(view.state, view.items, target)
            plan = make_plan(view.state, judgement.items)
            planned = planned or plan.counts()
            about = target.generation.about
            watch = Watch(blocklist, about.release, target.rules, view.next_change, clock)
            origins = target.origins(view) if len(plan) else None
            is_over = delivery.deliver(
                plan, release=about.release, published=about.published_at, watch=watch, origins=origins
            )
            if len(plan):
                ledger.fold(at=clock())
            if not is_over:
                continue
            if judgement.waiting is not None:
                break
            left = _keep_checkpoint(ledger, target, view, plan)
            if is_compared and len(plan):
                missed = (_missed(len(plan)),)
            if len(left) or view.checkpoint is None or not view.checkpoint.is_old(target.at):
                break
            # Nobody waits any more, so there is time for all of it.
            is_partial, is_compared = False, True
        delivery.bind_again()
        _log_waiting(judgement.waiting)
        holds = ledger.layers()
        result = EnforcementResult(
            serial=about.serial,
            era=about.era,
            planned=planned,
            outcomes=dict(delivery.outcomes),
            deferred=delivery.deferred,
            set_aside=holds.count(ItemStatus.SET_ASIDE),
            newly_set_aside=set_aside_on(ledger, holds, clock().astimezone(UTC).date()),
            is_hopeless=is_hopeless(ledger, holds, delivery.outcomes),
            unanswered=unanswered(ledger, holds, before=clock() - UNANSWERED_AFTER),
            waiting=judgement.waiting,
            not_accepted=brake.not_accepted,
            next_change=view.next_change,
            seconds=time.monotonic() - started,
            warnings=(
                *_of_clock(blocklist, clock()),
                *binding.warnings,
                *brake.warnings,
                *missed,
                *delivery.warnings(),
            ),
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
    set_aside = 0
    if Ledger.exists(directory):
        with Ledger.open(directory, feed=blocklist.feed, wait_s=wait_s) as ledger:
            holds = ledger.layers()
            binding = examined(ledger, holds.count(ItemStatus.HELD), sink, name=name, adopt=adopt)
            brake = _Brake(ledger, blocklist, accept=accept, is_dry=True)
            if binding.is_lost:
                view = _View.whole(target, LedgerState.empty())
            else:
                view = _view(ledger, target, brake, is_partial=not adopt)
                set_aside = holds.count(ItemStatus.SET_ASIDE)
            judgement = brake.judged(view.state, view.items, target)
    else:
        brake = _Brake(None, blocklist, accept=accept, is_dry=True)
        binding = examined(None, 0, sink, name=name, adopt=adopt)
        view = _View.whole(target, LedgerState.empty())
        judgement = brake.judged(view.state, view.items, target)
    _log_waiting(judgement.waiting)
    return EnforcementResult(
        serial=target.generation.about.serial,
        era=target.generation.about.era,
        planned=make_plan(view.state, judgement.items).counts(),
        set_aside=set_aside,
        waiting=judgement.waiting,
        not_accepted=brake.not_accepted,
        next_change=view.next_change,
        dry_run=True,
        seconds=time.monotonic() - started,
        warnings=(*_of_clock(blocklist, at), *binding.warnings, *brake.warnings, *warnings_of(sink)),
    )


def _missed(count: int) -> SinkWarning:
    """That the daily comparison found changes; what a run looks at should have shown them before."""
    message = (
        f"the daily comparison of everything found {counted(count, 'change')} that earlier runs had missed, and made "
        f"{'it' if count == 1 else 'them'}: report this"
    )
    log.error("%s", message)
    return SinkWarning("missed", message)


def _of_clock(blocklist: Blocklist, now: datetime) -> tuple[SinkWarning, ...]:
    """That this machine's clock is behind, if it is known to be. The run goes on: what the release lifts is lifted."""
    behind_s = internals_of(blocklist).current.clock_behind_s(now)
    return () if behind_s is None else (SinkWarning("clock", clock_behind_text(behind_s)),)


@dataclass(frozen=True, slots=True)
class _Target:
    """What a run goes by at a moment.

    Attributes:
        generation: the release in force.
        rules: protected numbers and overrides.
        settings: the settings of the run.
        at: the moment.
        known_rules: the rules, as the ledger keeps them.
        removals: when overrides were removed, by what they named.
        store: where earlier releases are.
        note_damage: stores that a generation is damaged, for the next sync.
    """

    generation: Generation
    rules: Rules
    settings: EnforcementSettings
    at: datetime
    known_rules: KnownRules
    removals: Removals
    store: Store
    note_damage: Callable[[Generation], None]

    @classmethod
    def now(cls, blocklist: Blocklist, settings: EnforcementSettings, at: datetime) -> Self:
        """What is in force now."""
        generation, rules = internals_of(blocklist).in_force()
        # After the rules: what they lack because it was removed is among the removals.
        internals = internals_of(blocklist)
        removals = internals.overrides.removals()
        known = KnownRules.of(rules)
        return cls(generation, rules, settings, at, known, removals, internals.store, internals.note_damage)

    @property
    def basis(self) -> Basis:
        """What the next run is compared with if nothing waits."""
        about = self.generation.about
        return basis_of(self.settings, self.known_rules, release=about.release, digest=about.digest, at=self.at)

    def brake_now(self, *, is_other_list: bool) -> Now:
        """The same, as the brake looks at it."""
        generation = self.generation
        return Now(
            generation.layers,
            self.rules,
            self.removals,
            self.settings,
            self.basis,
            generation.about.published_at,
            is_other_list=is_other_list,
        )

    def items(self, rows: Rows, rules: Rules) -> Items:
        """What the sink should hold of some rows, under the rules about them."""
        published = self.generation.about.published_at
        return desired_items(rows, rules, self.at, settings=self.settings, published=published)

    def all_items(self) -> Items:
        """What the sink should hold."""
        return self.items(self.generation.rows, self.rules)

    def origins(self, view: "_View") -> Origins | None:
        """Whose business the changes from a state are; None if all of them are the list's."""
        published = self.generation.about.published_at
        return Origins.of(view.state, view.rows, self.rules, self.at, published=published)


@dataclass(frozen=True, slots=True)
class _View:
    """What a run looks at: everything, or the part that differs from the last run.

    Attributes:
        rows: the rows.
        items: what the sink should hold of them.
        state: what it holds of them.
        next_turn: when the next entry of the list begins or ends, as in `Turns.next`.
        next_change: the same, of entries and overrides; None if none does.
        part: the part; None for everything.
        checkpoint: what the part is compared with; None for everything.
    """

    rows: Rows
    items: Items
    state: LedgerState
    next_turn: int
    next_change: datetime | None
    part: Part | None = None
    checkpoint: Checkpoint | None = None

    @classmethod
    def whole(cls, target: _Target, state: LedgerState) -> Self:
        """Everything.

        Raises:
            Malformed: the list is damaged.
        """
        try:
            rows = target.generation.rows
            turn = next_turn(rows, target.at)
            items = target.all_items()
        except DAMAGE as error:
            raise _damaged(target) from error
        return cls(rows, items, state, turn, next_moment(turn, target.rules, target.at))

    @classmethod
    def of(cls, part: Part, checkpoint: Checkpoint, target: _Target) -> Self:
        """A part."""
        coming = next_moment(part.next_turn, target.rules, target.at)
        items = target.items(part.rows, part.rules)
        return cls(part.rows, items, part.state, part.next_turn, coming, part, checkpoint)


def _view(ledger: Ledger, target: _Target, brake: "_Brake", *, is_partial: bool) -> _View:
    """What a run must look at.

    Args:
        ledger: what the sink holds.
        target: what the run goes by.
        brake: says whether something may wait, which only shows in everything.
        is_partial: whether a part may do.
    """
    if is_partial and brake.is_free(target):
        checkpoint = ledger.checkpoint(likely=ascending(target.rules.protected))
        # What is asked for again in each run is not to be asked for twice in this one.
        if checkpoint is not None and not (checkpoint.is_old(target.at) and len(checkpoint.left)):
            part = _part(ledger, checkpoint, target)
            if part is not None:
                return _View.of(part, checkpoint, target)
    return _View.whole(target, ledger.state())


def _part(ledger: Ledger, checkpoint: Checkpoint, target: _Target) -> Part | None:
    """The part that a run must look at; None if that is not known, or too much.

    Raises:
        Malformed: what decides about it is damaged.
    """
    basis, about = target.basis, target.generation.about
    before = ledger.basis(likely=target.known_rules)
    if not isinstance(before, Basis) or before.rules.file[0] != checkpoint.rules:
        return None  # a run that did not come to its end went by other rules
    if (checkpoint.scopes, checkpoint.only_operator) != (basis.scopes, basis.only_operator):
        return None
    if _is_resolved(target):
        return None
    differs = _difference(target, checkpoint)
    if differs is None:
        return None
    part = part_of(
        checkpoint,
        before.rules,
        rows=target.generation.layers,
        difference=differs,
        rules=target.rules,
        at=target.at,
        published=about.published_at,
        asked=[record.batch.items for record in ledger.records(after=checkpoint.last)],
        held=ledger.layers(),
    )
    if part is not None and not target.generation.is_base_whole_beside(_base_numbers(target, part.spans)):
        raise _damaged(target)
    return part


def _base_numbers(target: _Target, spans: Spans) -> Int64s:
    """The numbers of the base of the list in some spans."""
    number = target.generation.layers.base.number
    return number[spans.positions(number)]


def _is_resolved(target: _Target) -> bool:
    """Whether a resolver decides which numbers are enforced, whose answers may be others at the next run."""
    return target.settings.only_operator is not None and has_resolver()


def _difference(target: _Target, checkpoint: Checkpoint) -> Difference | None:
    """How the release in force differs from the checkpoint's; None if that is not known without reading both.

    Where the list was fetched again since, or a file of the checkpoint's is damaged by now, it is not known what the
    sink was given: then everything is looked at.

    Raises:
        Malformed: what the release in force changes of its base is damaged.
    """
    generation = target.generation
    about = generation.about
    if not (generation.is_overlay_whole() and generation.are_ranges_whole()):
        raise _damaged(target)
    if (about.release, about.digest) == (checkpoint.release, checkpoint.digest):
        return Difference.none() if _is_as_checked(generation, checkpoint) else None
    try:
        pair = target.store.open_pair(checkpoint.release, generation)
    except Malformed as error:
        log.warning("%s; everything is looked at instead", error)
        return None
    if pair is None:
        return None
    old, now = pair
    if old.about.digest != checkpoint.digest or not _is_as_checked(old, checkpoint):
        return None
    if now.shares_base(old):
        return now.layers.changed_since(old.layers) if old.is_overlay_whole() and now.is_overlay_whole() else None
    # To read both takes longer than to look at everything, but for a short list.
    return difference(old.rows, now.rows) if old.bytes <= AT_ONCE_BYTES and old.is_whole() else None


def _is_as_checked(generation: Generation, checkpoint: Checkpoint) -> bool:
    """Whether a generation of the checkpoint's release has the bytes that the checkpoint's run went by."""
    return not generation.is_of_earlier_format and checkpoint.base in (
        generation.layers.facts.base_id,
        generation.folded_from,
    )


def _damaged(target: _Target) -> Malformed:
    """The error for a list in force that is damaged, which the next sync is made to fetch again."""
    target.note_damage(target.generation)
    return Malformed(
        f"release {target.generation.about.release} in {target.generation.directory} is damaged, so nothing was "
        "enforced: run a sync, which fetches it again, and then this once more"
    )


def _keep_checkpoint(ledger: Ledger, target: _Target, view: _View, plan: EnforcementPlan) -> Spans:
    """Write down how far the sink holds what it should, after a plan was delivered; returns what is left to do."""
    about, checkpoint = target.generation.about, view.checkpoint
    release = about.release, about.digest
    if (
        checkpoint is not None
        and view.part is not None
        and not view.part.spans
        and (checkpoint.release, checkpoint.digest) == release
    ):
        return checkpoint.left  # it says all of that
    if len(plan):
        after = ledger.state() if view.part is None else ledger.layers().near(view.part.spans)
        plan = make_plan(after, view.items)
    left = plan.spans()
    if len(left) > _LEFT_MOST or _is_resolved(target):
        return left
    basis = target.basis
    ledger.keep_checkpoint(
        Checkpoint(
            release=about.release,
            digest=about.digest,
            base=target.generation.layers.facts.base_id,
            published=about.published_at,
            at=target.at,
            scopes=basis.scopes,
            only_operator=basis.only_operator,
            rules=target.known_rules.file[0],
            protected=ascending(target.rules.protected),
            left=left,
            next_turn=view.next_turn,
            compared=target.at if checkpoint is None else checkpoint.compared,
        )
    )
    return left


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

    def is_free(self, target: "_Target") -> bool:
        """Whether nothing can wait, since all of the run is explained by the last one and what happened since."""
        before = None if self._ledger is None else self._ledger.basis(likely=target.known_rules)
        _, _, is_same = self._identity(target)
        return before is not None and is_explained(target.brake_now(is_other_list=not is_same), before)

    def _identity(self, target: "_Target") -> tuple[ListIdentity | None, ListIdentity | None, bool]:
        """Which list is enforced, which one was before, and whether they are the same as far as that is known."""
        known = None if self._ledger is None else self._ledger.list_identity
        identity = ListIdentity.of(self._blocklist, known, generation=target.generation.name)
        return identity, known, identity is None or identity.is_same(known)

    def judged(self, state: LedgerState, items: Items, target: "_Target") -> Judgement:
        """What a run may do. What it goes by is written down first, so that a killed run is not judged anew.

        So only the first run of a ledger is free, and not one into a sink from which the list has lifted everything.
        """
        ledger = self._ledger
        identity, known, is_same = self._identity(target)
        before = None if ledger is None else ledger.basis(likely=target.known_rules)
        waited = ledger.waiting() if self._accepts and ledger is not None else None
        now = target.brake_now(is_other_list=not is_same)
        judgement = judge(state, items, now, before=before, accepted=waited)
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
