"""Delivery: the changes of a plan go to the sink, batch by batch, as fast as rate and cap allow."""

import contextlib
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from blocklist_sdk.enforcement.binding import Binding, examine, identity_of
from blocklist_sdk.enforcement.items import Batch, Bools
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_state import ItemStatus, OutcomeCode
from blocklist_sdk.enforcement.origins import Origins
from blocklist_sdk.enforcement.plan import EnforcementPlan, PlannedBatch
from blocklist_sdk.enforcement.settings import EnforcementSettings
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
from blocklist_sdk.errors import BlocklistError, Malformed, NotPermitted, Unreachable
from blocklist_sdk.recipient.blocklist import Blocklist, internals_of
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.release_id import ReleaseId

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


@dataclass(slots=True)
class Watch:
    """Notices when the plan is out of date, so that no unblock waits for the end of a long run."""

    blocklist: Blocklist
    release: ReleaseId
    rules: Rules
    next_change: datetime | None
    clock: Callable[[], datetime]
    checked_s: float = field(default_factory=time.monotonic)

    def is_out_of_date(self) -> bool:
        """Whether something else came into force since the plan was made; looks every ten seconds."""
        if time.monotonic() - self.checked_s < _LOOK_S:
            return False
        self.checked_s = time.monotonic()
        if self.next_change is not None and self.next_change <= self.clock():
            return True
        generation, rules = internals_of(self.blocklist).in_force()
        return generation.about.release != self.release or rules != self.rules


class Delivery:
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
        self._warnings: dict[SinkWarning, None] = {}
        self.outcomes: Counter[str] = Counter()
        self.deferred: int = 0

    def bind(self, *, name: str, adopt: bool) -> Binding:
        """Check that the ledger belongs to the sink, and write down that it does."""
        items = self._ledger.layers().count(ItemStatus.HELD)
        binding = examined(self._ledger, items, self._sink, name=name, adopt=adopt, sleep=self._sleep)
        for warning in binding.warnings:
            log.warning("%s", warning.message)
        # A ledger without a sink waits for the sink's first answer: until then, the address may be a mistyped one.
        if self._ledger.sink is not None or binding.cursor is not None or self._ledger.is_answered:
            self._ledger.bind(binding.identity, cursor=binding.cursor)
        return binding

    def bind_again(self) -> None:
        """Write down the mark that the sink may have now, and the number of the last batch that it has applied."""
        if self._ledger.sink is None and not self._ledger.is_answered:
            return
        # What cannot be asked now is written down by the next run.
        with contextlib.suppress(SinkUnavailable):
            self._ledger.bind(identity_of(self._sink))

    def warnings(self) -> Sequence[SinkWarning]:
        """What the sink warned of during the run, each once."""
        return tuple(self._warnings | dict.fromkeys(warnings_of(self._sink)))

    def settle_open_batches(self) -> None:
        """Settle the batches that a killed run left without outcomes."""
        numbers = self._ledger.open_batches()
        if numbers:
            self._check_age()
        for number in numbers:
            self._ledger.settle(number, is_applied=self._applied() >= number, at=self._clock())

    def deliver(
        self,
        plan: EnforcementPlan,
        *,
        release: ReleaseId,
        published: datetime,
        watch: Watch,
        origins: Origins | None = None,
    ) -> bool:
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
                own = None if origins is None else origins.own(part)
                self._one(part, release=release, published=published, own=own)
            # The next run may begin at once, and does not know of this one.
            if not self._pace(self._owed_s, watch):
                return False
            if not self.deferred:
                # Changes that did not fail again are done, or not asked for any more.
                self._tries = {key: count for key, count in self._tries.items() if key in self._failed}
            return True
        finally:
            self._ledger.keep_tries(self._tries)

    def _one(self, part: PlannedBatch, *, release: ReleaseId, published: datetime, own: Bools | None) -> None:
        begun = time.monotonic()
        batch = self._ledger.begin(
            part, serial=release.serial, era=release.era, published=published, at=self._clock(), own=own
        )
        outcomes, is_about_items = self._apply(batch)
        if not isinstance(outcomes, Sequence) or not all(
            isinstance(outcome, Outcome) for outcome in ([] if isinstance(outcomes, UniformOutcomes) else outcomes)
        ):
            raise Malformed(
                f"the sink returned {type(outcomes).__name__} in place of a sequence of outcomes, so the batch is in "
                "doubt: this is a fault of the sink, tell its author"
            )
        self._warnings |= dict.fromkeys(warnings_of(self._sink))
        if len(outcomes) != len(batch):
            raise Malformed(
                f"the sink returned {len(outcomes)} outcomes for a batch of {len(batch)} changes, so the batch is in "
                "doubt: this is a fault of the sink, tell its author"
            )
        given_up = self._count(batch, outcomes, is_about_items=is_about_items)
        record = self._ledger.finish(batch, outcomes, given_up=given_up, at=self._clock())
        if isinstance(self._sink, TransactionalSink):
            self._ledger.note_applied(record)
        if self._ledger.sink is None:
            self.bind_again()
        counts = np.bincount(record.outcome, minlength=256)
        for code in OutcomeCode:
            if counts[code]:
                self.outcomes[code.kind or "in doubt"] += int(counts[code])
        if self._settings.rate is not None:
            owed_s = max(0.0, len(batch) / self._settings.rate - (time.monotonic() - begun))
            self._owed_s += owed_s
            self._owed_by_lifts_s += owed_s if part.lifts else 0.0

    def _pace(self, seconds: float, watch: Watch) -> bool:
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

    def _apply(self, batch: Batch) -> tuple[Sequence[Outcome], bool]:
        """Apply a batch, in several attempts if the sink is unavailable.

        Returns:
            The outcomes, and whether they are about the items: an error of the sink's own is not.
        """
        try:
            return self._attempts(batch), True
        except BlocklistError:
            raise
        except Exception as error:  # of a sink that somebody else wrote, or of a library below it
            kind = type(error).__name__
            log.exception("the sink failed on batch %d, which counts as failed", batch.number_in_ledger)
            failed = Outcome("failed", f"the sink raised {kind}: the log has the rest")
            return UniformOutcomes(failed, len(batch)), False

    def _attempts(self, batch: Batch) -> Sequence[Outcome]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._sink.apply(batch)
            except SinkUnavailable as error:
                if attempt == _ATTEMPTS or not _may_pass(error):
                    raise _unreachable(self._ledger.directory.name, error) from error
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

    def _count(self, batch: Batch, outcomes: Sequence[Outcome], *, is_about_items: bool) -> list[int]:
        """Count failures; returns the indexes of the changes that have failed too often.

        What is pending, or not about the items, does not count, and does not make an earlier failure undone.
        """
        given_up: list[int] = []
        distinct = [outcomes.outcome] if isinstance(outcomes, UniformOutcomes) else outcomes
        if not any(outcome.kind == "failed" for outcome in distinct):
            return given_up
        for index, outcome in enumerate(outcomes):
            if outcome.kind != "failed":
                continue
            key = batch[index].key
            self._failed.add(key)
            if outcome.pending or not is_about_items:
                continue
            self._tries[key] = self._tries.get(key, 0) + 1
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


def examined(
    ledger: Ledger | None,
    items: int,
    sink: Sink,
    *,
    name: str,
    adopt: bool,
    sleep: Callable[[float], None] | None = None,
) -> Binding:
    """Check that the ledger belongs to the sink, in several attempts if `sleep` is given."""
    for attempt in itertools.count(1):
        try:
            return examine(ledger, items, sink, name=name, adopt=adopt)
        except SinkUnavailable as error:
            if sleep is None or attempt == _ATTEMPTS or not _may_pass(error):
                raise _unreachable(name, error) from error
            sleep(_wait_s(attempt, error))
    raise AssertionError("the last attempt returns or raises")


def _may_pass(error: SinkUnavailable) -> bool:
    """Whether another attempt, soon, may go well."""
    return error.is_permitted and (error.retry_after or 0.0) <= _ASKED_WAIT_MAX_S


def _unreachable(name: str, error: SinkUnavailable) -> Unreachable:
    if not error.is_permitted:
        return NotPermitted(
            f"the sink does not permit this: {error}. What it acknowledged is saved; correct the account or its "
            "permissions, and run this again.",
            url=name,
        )
    return Unreachable(
        f"the sink is unavailable: {error}. What it acknowledged is saved; run this again later.",
        url=name,
        retry_after=error.retry_after,
    )


def _wait_s(attempt: int, error: SinkUnavailable) -> float:
    """How long to wait after an attempt, seconds; at random, which spreads processes that wait."""
    wait_s = min(_BACKOFF_S * 2 ** (attempt - 1), _BACKOFF_MAX_S)
    return max(error.retry_after or 0.0, random.uniform(0, wait_s))  # noqa: S311


def warnings_of(sink: Sink) -> tuple[SinkWarning, ...]:
    """What the sink warns of now."""
    return tuple(sink.warnings()) if isinstance(sink, WarningSink) else ()
