"""The brake: what a run may do without being asked for. Pure.

A run may do whatever is explained: by the release, by ends that passed, by protected numbers, by overrides that were
added or removed since the last run, and by what the sink lost. To know what is explained, the ledger remembers filters
and rules of the last run (`Basis`). What the list should block under these, with what was added since, is explained.
Where that differs from what the list should block under today's, the difference is unexplained; if it is large, it
waits. If the ledger's memory is lost, what the sink holds counts as explained, but for what surely may go.

What goes out while it waits is the majority of three: what the sink holds, what it should hold, and what is explained.
So a number that a release lifts is lifted, and nothing else is touched. Removals that are few enough go out even where
additions are too many: no unblock waits because of a block.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.basis import Basis, KnownRules, LostBasis, Named, named
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import EVERYWHERE, OWN_ENTRY, Items, Operation, mask_of, scopes_of
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, is_any_of
from blocklist_sdk.enforcement.pieces import Pieces, common, reach, without
from blocklist_sdk.enforcement.plan import EnforcementPlan, make_plan
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.errors import mask
from blocklist_sdk.numbers.operators import known_operators
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Override
from blocklist_sdk.release.digest_kinds import differ
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.release.rows import Rows
from blocklist_sdk.texts import counted

EXAMPLES: Final = 20
"""How many of the numbers that wait are named."""

_LEEWAY: Final = timedelta(minutes=1)
"""An override may be written just before a run that does not see it yet."""

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

Removals = Mapping[Named, datetime]
"""When overrides were removed, by what they named."""


@dataclass(frozen=True, slots=True)
class WaitingChanges:
    """Changes that wait, because too much of a run was unexplained.

    Attributes:
        changes: how many changes wait, by operation.
        removed: how many of them lift something.
        added: how many of them block something.
        held: how many items the sink held before the run.
        reasons: what they come from, each in a few words.
        examples: up to 20 of the numbers, masked.
    """

    changes: dict[Operation, int]
    removed: int
    added: int
    held: int
    reasons: tuple[str, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Now:
    """What a run goes by.

    Attributes:
        rows: the release in force, of which all rows are looked at only if something is unexplained.
        rules: protected numbers and overrides.
        removals: the overrides that somebody removed.
        settings: the settings of this run.
        basis: what the next run is compared with if nothing waits.
        published: when the release was published; see `desired_items`.
        is_other_list: whether the keys of the list's root are not those of the last run.
    """

    rows: LayeredRows
    rules: Rules
    removals: Removals
    settings: EnforcementSettings
    basis: Basis
    published: datetime
    is_other_list: bool = False

    def items(self, rules: Rules, settings: EnforcementSettings = DEFAULTS) -> Items:
        """What the release asks for now, under some rules and filters."""
        return desired_items(self.rows.whole(), rules, self.basis.at, settings=settings, published=self.published)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a run may do.

    Attributes:
        items: the items that the sink should hold after the run.
        basis: what the next run is compared with; None to leave what is there, because it is lost and something waits.
        waiting: what waits; None if nothing does.
        digest: identifies what waits; None if nothing does.
        is_accepted: whether something would have waited, and was accepted.
        is_other_list: whether something waits, and the keys of the list's root are not those of the last run.
    """

    items: Items
    basis: Basis | None
    waiting: WaitingChanges | None = None
    digest: str | None = None
    is_accepted: bool = False
    is_other_list: bool = False


def basis_of(
    settings: EnforcementSettings, rules: KnownRules, *, release: ReleaseId, digest: str, at: datetime
) -> Basis:
    """What a run goes by now."""
    scopes = EVERYWHERE if settings.scopes is None else mask_of(settings.scopes)
    operator = settings.only_operator
    return Basis(at=at, release=release, digest=digest, scopes=scopes, only_operator=operator, rules=rules)


def judge(
    state: LedgerState, target_items: Items, now: Now, *, before: Basis | LostBasis | None, accepted: str | None
) -> Judgement:
    """Decide what a run may do.

    Args:
        state: what the sink holds.
        target_items: what it should hold.
        now: what this run goes by.
        before: what the last run went by; None if there was none, which lets everything through.
        accepted: the digest of what may go although it is unexplained; None if nothing may.
    """
    if before is None or is_explained(now, before):
        return Judgement(target_items, now.basis)
    held = _held_items(state)
    found = _explained(held, now, before) if isinstance(before, Basis) else _explained_without_basis(held, now, before)
    pieces = Pieces.of(held, target_items, found.items)
    items = pieces.majority()
    plan = _changes_left(items, target_items)
    settings, size, width = now.settings, len(held), reach(held)
    removed, added = pieces.reach()
    is_removed_much = _exceeds(
        len(plan.unblock) + len(plan.lift), size, settings.max_removed, settings.min_removed
    ) or _exceeds(removed, width, settings.max_removed, settings.min_removed)
    is_added_much = _exceeds(
        len(plan.again) + len(plan.change) + len(plan.block), size, settings.max_added, settings.min_added
    ) or _exceeds(added, width, settings.max_added, settings.min_added)
    if not is_removed_much and not is_added_much:
        return Judgement(target_items, now.basis)
    if not is_removed_much:
        items = pieces.majority(lifts=True)
        plan = _changes_left(items, target_items)
    digest = _digest(plan)
    if digest == accepted:
        return Judgement(target_items, now.basis, is_accepted=True)
    waiting = _waiting(plan, size, found.reasons)
    return Judgement(items, found.basis, waiting, digest, is_other_list=now.is_other_list)


def is_explained(now: Now, before: Basis | LostBasis) -> bool:
    """Whether all of a run is explained by the last one and by what happened since, so that nothing can wait.

    Args:
        now: what this run goes by.
        before: what the last run went by.
    """
    return isinstance(before, Basis) and not _reasons(before, now, _explained_rules(now, before))


@dataclass(frozen=True, slots=True)
class _Explained:
    """What is explained, what is not, and what the next run is compared with while that waits."""

    items: Items
    reasons: tuple[str, ...]
    basis: Basis | None


def _explained(held: Items, now: Now, before: Basis) -> _Explained:
    """What is explained by the last run, and by what happened since."""
    at = now.basis.at
    rules = _explained_rules(now, before)
    # What is new goes before what is gone, even if that is on fewer numbers.
    effective = _made_of(now.rules, rules, before.rules, at)
    is_other_list = now.is_other_list or _is_other_release(before, now.basis)
    reasons = _reasons(before, now, rules)
    settings = _settings_of(before, now.settings)
    if is_other_list or settings is None:
        own = desired_items(Rows.empty(), effective, at, settings=settings or now.settings)
        listed = None if is_other_list else now.items(effective)
        items = _kept(held, effective, at, listed=listed, own=own)
    else:
        items = now.items(effective, settings)
    if is_other_list:
        # Where other keys say so, the next run asks them again; serials alone cannot tell a return from a growth.
        is_refused = before.is_list_refused or not now.is_other_list
        return _Explained(items, reasons, replace(before, is_list_refused=is_refused))
    basis = replace(now.basis, scopes=before.scopes, only_operator=before.only_operator, rules=rules)
    return _Explained(items, reasons, basis)


def _explained_without_basis(held: Items, now: Now, before: LostBasis) -> _Explained:
    """What the sink holds, but for what ended, is listed no more, or is allowed, removed or protected."""
    at = now.basis.at
    is_other_list = now.is_other_list or now.basis.release < before.release
    listed = None if is_other_list else now.items(now.rules)
    there = now.basis.rules.overrides
    removed = [each for each in now.removals if each not in there]
    items = _kept(held, now.rules, at, listed=listed, own=None, removed=removed)
    return _Explained(items, ("what the last run went by is lost, and with it what may have changed since",), None)


def _kept(
    held: Items,
    rules: Rules,
    at: datetime,
    *,
    listed: Items | None,
    own: Items | None,
    removed: list[Named] | None = None,
) -> Items:
    """What the sink holds and nothing lifts.

    Args:
        held: what it holds.
        rules: what they let through is lifted.
        at: what has ended by then is lifted.
        listed: what the list blocks, by which items with an entry are kept; None to keep all of them.
        own: what overrides block, by which the other items are kept; None to keep all of them.
        removed: what overrides named that somebody removed.
    """
    alive = held.take(np.flatnonzero(held.until > times.to_ms(at)))
    is_own = alive.entry == OWN_ENTRY
    let_through = [
        *((number, number) for number in rules.protected),
        *(named(override) for override in rules.decisions() if override.decision == "allow" and override.in_force(at)),
    ]
    entries, others = alive.take(np.flatnonzero(~is_own)), alive.take(np.flatnonzero(is_own))
    entries = without(entries, let_through) if listed is None else common(entries, listed)
    others = without(others, [*let_through, *(removed or ())]) if own is None else common(others, own)
    return Items.merged(entries, others)


def _held_items(state: LedgerState) -> Items:
    """What the sink holds, or may hold."""
    whole = state.whole()
    is_held = is_any_of(whole.status, ItemStatus.HELD, ItemStatus.IN_DOUBT, ItemStatus.WIDER)
    return whole.items if is_held.all() else whole.items.take(np.flatnonzero(is_held))


def _changes_left(items: Items, target_items: Items) -> EnforcementPlan:
    """What would still have to be done once the sink holds some items."""
    return make_plan(LedgerState.of(items, np.full(len(items), ItemStatus.HELD, np.uint8)), target_items)


def _digest(plan: EnforcementPlan) -> str:
    """Identifies changes: numbers and scopes, by what is to be done with them."""
    hashed = hashlib.sha256()
    for part in (plan.unblock, plan.lift, plan.again, plan.change, plan.block):
        hashed.update(len(part).to_bytes(8))
        for column in (part.number, part.last, part.scope):
            hashed.update(np.ascontiguousarray(column).tobytes())
    return hashed.hexdigest()


def _waiting(plan: EnforcementPlan, held: int, reasons: tuple[str, ...]) -> WaitingChanges:
    lifted, blocked = (plan.unblock, plan.lift), (plan.again, plan.change, plan.block)
    numbers = [number for part in (*lifted, *blocked) for number in part.number[:EXAMPLES].tolist()]
    return WaitingChanges(
        changes=plan.counts(),
        removed=sum(map(len, lifted)),
        added=sum(map(len, blocked)),
        held=held,
        reasons=reasons,
        examples=tuple(mask(f"+{number}") for number in numbers[:EXAMPLES]),
    )


def _is_other_release(before: Basis, now: Basis) -> bool:
    """Whether the release is not the one of the last run, or a later one of the same list."""
    if now.release == before.release:
        return differ(now.digest, before.digest)
    # Once refused, another list remains so when its serials grow beyond those of the one before.
    return now.release < before.release or before.is_list_refused


def _exceeds(count: int, held: int, share: float, least: int) -> bool:
    return count > max(least, share * held * (1 + 1e-12))  # 0.29 * 100 is a little less than 29


def _settings_of(before: Basis, settings: EnforcementSettings) -> EnforcementSettings | None:
    """The filters of the last run; None if this version does not know them."""
    operators = () if before.only_operator is None else before.only_operator.split("+")
    if not 0 < before.scopes <= EVERYWHERE or not known_operators() >= {*operators}:
        return None
    return replace(settings, scopes=scopes_of(before.scopes), only_operator=before.only_operator)


def _explained_rules(now: Now, before: Basis) -> KnownRules:
    """The rules of the last run, with what was added since, and without what was removed."""
    there, known = now.basis.rules.overrides, before.rules
    # If the clock was ahead, nobody knows what came since: it counts as new, so that no unblock is held back.
    since = _LONG_AGO if before.at > now.basis.at + _LEEWAY else before.at - _LEEWAY
    explained: dict[Named, Override] = {}
    missing: dict[Named, datetime] = {}
    for key in sorted({*known.overrides, *there}):
        override, old = there.get(key), known.overrides.get(key)
        if override is not None and (override == old or override.created >= since):
            explained[key] = override
        elif old is not None and now.removals.get(key, _LONG_AGO) < max(since, old.created):
            explained[key] = old
            if override is None:
                missing[key] = known.missing.get(key, _LONG_AGO if since == _LONG_AGO else before.at)
    return KnownRules(now.rules.own_protected | known.protected, explained, missing)


def _made_of(today: Rules, rules: KnownRules, known: KnownRules, at: datetime) -> Rules:
    """Rules as they decide; what is missing does not decide where something newer does.

    Args:
        today: today's rules, for the protected numbers.
        rules: the rules that are explained.
        known: the rules of the last run.
        at: now.
    """
    overrides = [override for key, override in rules.overrides.items() if key not in rules.missing]
    in_force = [override for override in overrides if override.in_force(at)] if rules.missing else []
    for moment in set(rules.missing.values()):
        newer = (each for each in in_force if each.created >= moment or named(each) not in known.overrides)
        spans = _merged(named(each) for each in newer)
        for key in (key for key, since in rules.missing.items() if since == moment):
            overrides += _outside(rules.overrides[key], spans)
    return Rules.made_of(today.protected | rules.protected, overrides, own_protected=rules.protected)


def _merged(spans: Iterable[Named]) -> list[Named]:
    """Ranges in ascending order, those that overlap or touch as one."""
    merged: list[Named] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def _outside(override: Override, spans: Sequence[Named]) -> Iterator[Override]:
    """What is left of an override outside some ranges, which are in order and do not touch."""
    first, end = named(override)
    for start, last in spans[max(bisect_right(spans, (first, end)) - 1, 0) :]:
        if start > end:
            break
        if last < first:
            continue
        if start > first:
            yield replace(override, number=first, last=None if start - 1 == first else start - 1)
        first = last + 1
    if first <= end:
        yield replace(override, number=first, last=None if first == end else end)


def _reasons(before: Basis, now: Now, rules: KnownRules) -> tuple[str, ...]:
    """What is unexplained about this run, each in a few words; empty if nothing is."""
    reasons: list[str] = []
    today = now.basis
    if now.is_other_list or _is_other_release(before, today):
        releases = f"release {today.release} after release {before.release}"
        signed = ", signed by other keys than before" if now.is_other_list else ""
        reasons.append(f"the list is another one: {releases}{signed}")
    if before.only_operator != today.only_operator:
        operators = (each or "not set" for each in (today.only_operator, before.only_operator))
        reasons.append("--only-operator is {}, and was {}".format(*operators))
    if before.scopes != today.scopes:
        reasons.append("other scopes (--scope) are enforced than before")
    gone = len(rules.protected - now.rules.protected)
    if gone:
        reasons.append(f"{counted(gone, 'protected number')} gone")
    explained, there = rules.overrides, today.rules.overrides
    for what, numbers in (
        ("gone", [key for key in explained if key not in there and explained[key].in_force(today.at)]),
        ("other than before", [key for key in there if key in explained and there[key] != explained[key]]),
        ("new, but made before the last run", [key for key in there if key not in explained]),
    ):
        if numbers:
            reasons.append(f"{counted(len(numbers), 'override')} {what}")
    return tuple(reasons)
