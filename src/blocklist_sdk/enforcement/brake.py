"""The brake: what a run may do without being asked for. Pure.

A run may do whatever is explained: by the release, by ends that passed, by protected numbers, by overrides that were
added since the last run, and by what the sink lost. To know what is explained, the ledger remembers filters and rules
of the last run (`Basis`). What the list should block under these, with what was added since, is explained. Where that
differs from what the list should block under today's, the difference is unexplained; if it is large, it waits.

What goes out while it waits is the majority of three: what the sink holds, what it should hold, and what is explained.
So a number that a release lifts is lifted, and nothing else is touched. Removals that are few enough go out even where
additions are too many: no unblock waits because of a block.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.disk import write_json
from blocklist_sdk.enforcement.desired import desired_items
from blocklist_sdk.enforcement.items import EVERYWHERE, Items, Operation, Positions, UInt8s, mask_of, scopes_of
from blocklist_sdk.enforcement.ledger_documents import member, read_document
from blocklist_sdk.enforcement.ledger_files import moment_in, reading
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState
from blocklist_sdk.enforcement.plan import EnforcementPlan, make_plan
from blocklist_sdk.enforcement.settings import EnforcementSettings
from blocklist_sdk.errors import mask
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Override
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId
from blocklist_sdk.release.rows import Int64s, Rows, distinct
from blocklist_sdk.texts import counted

EXAMPLES: Final = 20
"""How many of the numbers that wait are named."""

_LEEWAY: Final = timedelta(minutes=1)
"""An override may be written just before a run that does not see it yet."""

_ADVICE: Final = "remove this file; whatever the next run finds then counts as explained"
_FORMAT: Final = 1


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


_Named = tuple[int, int]
"""What an override names: the first and the last number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the last run went by.

    Attributes:
        at: when that run began.
        serial: the release that was in force.
        era: its era; 1 in a file that was written before eras were known.
        digest: its digest.
        scopes: the scopes that were enforced, as bits of `mask_of`.
        only_operator: the operator whose numbers were enforced; None for all numbers.
        protected: the numbers that the recipient itself protects. Those of the authority are explained.
        overrides: the overrides, by the first and the last number that they name.
        is_list_refused: whether another list came in the place of that release, and waits.
    """

    at: datetime
    serial: int
    digest: str
    scopes: int
    only_operator: str | None
    protected: frozenset[int]
    overrides: Mapping[_Named, Override]
    is_list_refused: bool = False
    era: int = FIRST_ERA

    @property
    def release(self) -> ReleaseId:
        """The era and serial of the release that was in force."""
        return ReleaseId(self.era, self.serial)

    @classmethod
    def of(
        cls, settings: EnforcementSettings, rules: Rules, *, era: int, serial: int, digest: str, at: datetime
    ) -> Self:
        """What a run goes by now."""
        return cls(
            at=at,
            era=era,
            serial=serial,
            digest=digest,
            scopes=_scopes_in(settings),
            only_operator=settings.only_operator,
            protected=rules.own_protected,
            overrides=_decisions(rules),
        )

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read it; None if there was no run yet.

        Raises:
            Malformed, InvalidInput, StorageFailed: as for `LedgerDocument.load`.
        """
        document = read_document(path, advice=_ADVICE)
        if document is None:
            return None
        with reading(path, advice=_ADVICE):
            operator = document["only_operator"]
            overrides = [_override_in(each) for each in member(document, "overrides", list)]
            return cls(
                at=moment_in(document, "at"),
                serial=member(document, "serial", int),
                era=FIRST_ERA if "era" not in document else member(document, "era", int),
                digest=member(document, "digest", str),
                scopes=member(document, "scopes", int),
                only_operator=None if operator is None else member(document, "only_operator", str),
                protected=frozenset(int(number) for number in member(document, "protected", list)),
                overrides={_named(override): override for override in overrides},
                is_list_refused=document["is_list_refused"] is True,
            )

    def save(self, path: Path) -> None:
        """Write it; errors of the disk are the caller's to translate."""
        document = {
            "format": _FORMAT,
            "at": self.at.isoformat(),
            "serial": self.serial,
            "era": self.era,
            "digest": self.digest,
            "scopes": self.scopes,
            "only_operator": self.only_operator,
            "is_list_refused": self.is_list_refused,
            "protected": sorted(self.protected),
            "overrides": [_document_of(override) for _, override in sorted(self.overrides.items())],
        }
        write_json(path, document)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a run may do.

    Attributes:
        items: the items that the sink should hold after the run.
        basis: what the next run is compared with.
        waiting: what waits; None if nothing does.
    """

    items: Items
    basis: Basis
    waiting: WaitingChanges | None = None


def judge(
    state: LedgerState,
    target_items: Items,
    rows: Rows,
    rules: Rules,
    *,
    settings: EnforcementSettings,
    before: Basis | None,
    now: Basis,
    accept: bool,
    published: datetime | None = None,
) -> Judgement:
    """Decide what a run may do.

    Args:
        state: what the sink holds.
        target_items: what it should hold.
        rows: the release in force.
        rules: protected numbers and overrides.
        settings: the settings of this run.
        before: what the last run went by; None if there was none, which lets everything through.
        now: what this run goes by.
        accept: let through what is unexplained, too.
        published: when the release in force was published; see `desired_items`.
    """
    if before is None or accept:
        return Judgement(target_items, now)
    explained_rules = _explained_rules(rules, before)
    is_other_list = _is_other_list(before, now)
    reasons = _reasons(before, now, rules, explained_rules, is_other_list=is_other_list)
    if not reasons:
        return Judgement(target_items, now)
    whole = state.whole()
    if is_other_list:
        explained = _without_rules(whole.items, explained_rules, now.at)
    else:
        known = replace(settings, scopes=scopes_of(before.scopes), only_operator=before.only_operator)
        explained = desired_items(rows, explained_rules, now.at, settings=known, published=published)
    pieces = _Pieces.of(whole.items, target_items, explained)
    items = pieces.majority()
    plan = _changes_left(items, target_items)
    held, held_reach = len(whole.items), _reach(whole.items)
    removed, added = pieces.reach()
    is_removed_much = _exceeds(
        len(plan.unblock) + len(plan.lift), held, settings.max_removed, settings.min_removed
    ) or _exceeds(removed, held_reach, settings.max_removed, settings.min_removed)
    is_added_much = _exceeds(
        len(plan.again) + len(plan.change) + len(plan.block), held, settings.max_added, settings.min_added
    ) or (_exceeds(added, held_reach, settings.max_added, settings.min_added))
    if not is_removed_much and not is_added_much:
        return Judgement(target_items, now)
    if not is_removed_much:
        items = pieces.majority(lifts=True)
        plan = _changes_left(items, target_items)
    waiting = _waiting(plan, held, reasons)
    if is_other_list:
        return Judgement(items, replace(before, is_list_refused=True), waiting)
    basis = replace(
        now,
        scopes=before.scopes,
        only_operator=before.only_operator,
        protected=explained_rules.own_protected,
        overrides=_decisions(explained_rules),
    )
    return Judgement(items, basis, waiting)


def _changes_left(items: Items, target_items: Items) -> EnforcementPlan:
    """What would still have to be done once the sink holds some items."""
    return make_plan(LedgerState.of(items, np.full(len(items), ItemStatus.HELD, np.uint8)), target_items)


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


def _is_other_list(before: Basis, now: Basis) -> bool:
    """Whether the list is not the one of the last run, or a later release of it."""
    if now.release == before.release:
        return now.digest != before.digest
    # Once refused, another list remains so when its serials grow beyond those of the one before.
    return now.release < before.release or before.is_list_refused


def _exceeds(count: int, held: int, share: float, least: int) -> bool:
    return count > max(least, share * held * (1 + 1e-12))  # 0.29 * 100 is a little less than 29


def _reach(items: Items) -> int:
    return int((items.last - items.number + 1).sum())


def _scopes_in(settings: EnforcementSettings) -> int:
    return EVERYWHERE if settings.scopes is None else mask_of(settings.scopes)


def _explained_rules(rules: Rules, before: Basis) -> Rules:
    """The rules of the last run, with what was added since."""
    there = _decisions(rules)
    explained: list[Override] = []
    for named in sorted({*before.overrides, *there}):
        override, known = there.get(named), before.overrides.get(named)
        if override is not None and (override == known or override.created >= before.at - _LEEWAY):
            explained.append(override)
        elif known is not None:
            explained.append(known)
    own = rules.own_protected | before.protected
    return Rules.made_of(rules.protected | own, explained, own_protected=own)


def _decisions(rules: Rules) -> dict[_Named, Override]:
    return {_named(override): override for override in rules.decisions()}


def _named(override: Override) -> _Named:
    return override.number, override.number if override.last is None else override.last


def _reasons(
    before: Basis, now: Basis, rules: Rules, explained_rules: Rules, *, is_other_list: bool
) -> tuple[str, ...]:
    """What is unexplained about this run, each in a few words; empty if nothing is."""
    reasons: list[str] = []
    if is_other_list:
        reasons.append(f"the list is another one: release {now.release} after release {before.release}")
    if before.only_operator != now.only_operator:
        operators = (each or "not set" for each in (now.only_operator, before.only_operator))
        reasons.append("--only-operator is {}, and was {}".format(*operators))
    if before.scopes != now.scopes:
        reasons.append("other scopes (--scope) are enforced than before")
    gone = len(explained_rules.protected - rules.protected)
    if gone:
        reasons.append(f"{counted(gone, 'protected number')} gone")
    explained, there = _decisions(explained_rules), _decisions(rules)
    for what, numbers in (
        ("gone", [number for number in explained if number not in there and explained[number].in_force(now.at)]),
        ("other than before", [n for n in there if n in explained and there[n] != explained[n]]),
        ("new, but made before the last run", [number for number in there if number not in explained]),
    ):
        if numbers:
            reasons.append(f"{counted(len(numbers), 'override')} {what}")
    return tuple(reasons)


def _without_rules(items: Items, rules: Rules, at: datetime) -> Items:
    """The items that have not ended, without the numbers that a rule lets through."""
    kept = items.until > times.to_ms(at)
    if rules:
        allowed = [_named(o) for o in rules.decisions() if o.decision == "allow" and o.in_force(at)]
        for first, last in [*((number, number) for number in sorted(rules.protected)), *allowed]:
            begin, end = np.searchsorted(items.number, [first, last + 1])
            kept[begin:end] &= items.last[begin:end] > last
    return items.take(np.flatnonzero(kept))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Runs of numbers that three sets of items hold alike: what the sink holds, what it should hold, and the explained.

    Attributes:
        first: the first number of each run.
        last: the last number of each run.
        in_sink: the scopes in which the sink holds it, as bits.
        in_target: those in which it should.
        in_explained: those that are explained.
        source: the position of the item that holds it in `candidates`.
        candidates: the items that the sink should hold, and then the explained ones.
    """

    first: Int64s
    last: Int64s
    in_sink: UInt8s
    in_target: UInt8s
    in_explained: UInt8s
    source: Positions
    candidates: Items

    @classmethod
    def of(cls, held: Items, target: Items, explained: Items) -> Self:
        """Cut three sets of items at each other's ends."""
        points = distinct(np.concatenate([part for each in (held, target, explained) for part in _ends(each)]))
        first, last = points[:-1], points[1:] - 1
        _, in_sink = _found(held, first)
        at_target, in_target = _found(target, first)
        at_explained, in_explained = _found(explained, first)
        source = np.where(in_target != 0, at_target, at_explained + len(target))
        return cls(first, last, in_sink, in_target, in_explained, source, Items.concatenated([target, explained]))

    def _scope(self) -> UInt8s:
        """The scopes that at least two of three have."""
        sink, target, explained = self.in_sink, self.in_target, self.in_explained
        scope: UInt8s = (sink & target) | (sink & explained) | (target & explained)
        return scope

    def reach(self) -> tuple[int, int]:
        """How many numbers the unexplained removes, and how many it adds, in any scope."""
        width, scope = self.last - self.first + 1, self._scope()
        removed, added = scope & ~self.in_target, self.in_target & ~scope
        return int(width[removed != 0].sum()), int(width[added != 0].sum())

    def majority(self, *, lifts: bool = False) -> Items:
        """What at least two of three block: number by number and scope by scope.

        Args:
            lifts: leave out also what the sink should not hold, although it is explained.
        """
        scope = self._scope()
        if lifts:
            scope &= self.in_target
        kept = np.flatnonzero(scope)
        first, last, scope, source = self.first[kept], self.last[kept], scope[kept], self.source[kept]
        begins = np.ones(len(kept), np.bool_)
        begins[1:] = (first[1:] != last[:-1] + 1) | (scope[1:] != scope[:-1]) | (source[1:] != source[:-1])
        starts = np.flatnonzero(begins)
        stops = np.append(starts[1:], len(kept))[: len(starts)] - 1
        return replace(
            self.candidates.take(source[starts]), number=first[starts], last=last[stops], scope=scope[starts]
        )


def _ends(items: Items) -> tuple[Int64s, Int64s]:
    return items.number, items.last + 1


def _found(items: Items, points: Int64s) -> tuple[Positions, UInt8s]:
    """The position of the item that holds each point, and its scopes; 0 if none does."""
    if not len(items):
        return np.zeros(len(points), np.intp), np.zeros(len(points), np.uint8)
    at = np.maximum(np.searchsorted(items.number, points, "right") - 1, 0)
    holds = (items.number[at] <= points) & (points <= items.last[at])
    return at, np.where(holds, items.scope[at], np.uint8(0)).astype(np.uint8)


def _document_of(override: Override) -> dict[str, Any]:
    values = {each.name: getattr(override, each.name) for each in fields(override)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _override_in(document: Mapping[str, Any]) -> Override:
    until = None if document["until"] is None else moment_in(document, "until")
    return Override(**{**document, "created": moment_in(document, "created"), "until": until})
