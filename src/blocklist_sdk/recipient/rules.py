"""Protected numbers and overrides, which take precedence over a feed. Pure."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.records import Override

Rule = Literal["protected", "override-allow", "override-block"]

RULES: Final[tuple[Rule, ...]] = ("protected", "override-allow", "override-block")
"""In the order in which they decide; each takes precedence over the feed."""

NO_RULE: Final = -1
"""Stands in columns for numbers that no rule decides on."""


@dataclass(frozen=True, slots=True)
class RangeOverrides:
    """Overrides of ranges, cut at their ends into segments, so that the overrides of a number are found by bisection.

    Of those that cover a number, the narrowest that is in force decides, then the latest.

    Attributes:
        decisions: the overrides.
        starts: the first number of each segment, ascending. The last segment has no end and no override.
        choices: the overrides that cover a segment, in the order in which they decide; without those that never do,
            because one in front of them has no end.
    """

    decisions: tuple[Override, ...] = ()
    starts: tuple[int, ...] = field(default=(), compare=False, repr=False)
    choices: tuple[tuple[Override, ...], ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def cut(cls, decisions: Iterable[Override]) -> Self:
        """Cut overrides, each of which has a last number, into segments."""
        given = tuple(decisions)
        begin: dict[int, list[int]] = {}
        end: dict[int, list[int]] = {}
        ranks = [_rank(override, place) for place, override in enumerate(given)]
        for place, override in enumerate(given):
            begin.setdefault(override.number, []).append(place)
            end.setdefault(_last(override) + 1, []).append(place)
        starts = sorted({*begin, *end})
        active: list[tuple[float, ...]] = []
        choices: list[tuple[Override, ...]] = []
        for start in starts:
            for place in end.get(start, ()):
                active.remove(ranks[place])
            for place in begin.get(start, ()):
                insort(active, ranks[place])
            choices.append(_until_endless(given[int(rank[-1])] for rank in active))
        return cls(given, tuple(starts), tuple(choices))

    def __bool__(self) -> bool:
        return bool(self.decisions)

    def of(self, number: int, at: datetime) -> Override | None:
        """The override that decides on a number at a moment; None if none does."""
        place = bisect_right(self.starts, number) - 1
        return _first_in_force(self.choices[place], at) if place >= 0 else None

    def covers(self, number: int) -> bool:
        """Whether any of the overrides covers a number, in force or not."""
        place = bisect_right(self.starts, number) - 1
        return place >= 0 and bool(self.choices[place])

    def within(self, first: int, last: int, at: datetime) -> Iterator[tuple[int, int, Override]]:
        """The segments of a range on which an override decides at a moment: first and last number, and the override."""
        for place in range(max(bisect_right(self.starts, first) - 1, 0), bisect_right(self.starts, last)):
            override = _first_in_force(self.choices[place], at)
            # The last segment has no override, so each other one ends where the next begins.
            if override is not None:
                yield max(first, self.starts[place]), min(last, self.starts[place + 1] - 1), override

    def at(self, at: datetime) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """The first number of each segment, and its rule at a moment, as its position in `RULES` or `NO_RULE`."""
        deciding = (_first_in_force(choices, at) for choices in self.choices)
        rules = [NO_RULE if override is None else RULES.index(_rule_of(override)) for override in deciding]
        return np.array(self.starts, np.int64), np.array(rules, np.int8)


def _rank(override: Override, place: int) -> tuple[float, ...]:
    """The narrowest comes first, then the latest, then one that allows; the place makes it unique."""
    width = _last(override) - override.number
    return width, -override.created.timestamp(), override.decision != "allow", place


def _until_endless(overrides: Iterable[Override]) -> tuple[Override, ...]:
    found = []
    for override in overrides:
        found.append(override)
        if override.until is None:
            break
    return tuple(found)


def _first_in_force(overrides: Iterable[Override], at: datetime) -> Override | None:
    return next((override for override in overrides if override.in_force(at)), None)


def _last(override: Override) -> int:
    return override.number if override.last is None else override.last


def _rule_of(override: Override) -> Rule:
    return "override-allow" if override.decision == "allow" else "override-block"


@dataclass(frozen=True, slots=True)
class Rules:
    """Protected numbers and overrides.

    Attributes:
        protected: numbers that are never blocked.
        overrides: the recipient's own decisions on single numbers, by number.
        ranges: the recipient's own decisions on ranges. One on a single number goes before them.
        own_protected: those of the protected numbers that the recipient protects; the authority signs the others.
    """

    protected: frozenset[int]
    overrides: Mapping[int, Override]
    ranges: RangeOverrides = RangeOverrides()
    own_protected: frozenset[int] = frozenset()

    @classmethod
    def made_of(
        cls, protected: frozenset[int], decisions: Iterable[Override], *, own_protected: frozenset[int] = frozenset()
    ) -> Self:
        """The rules that protected numbers and decisions make.

        Args:
            protected: all protected numbers.
            decisions: the overrides.
            own_protected: those of the protected numbers that the recipient protects.
        """
        singles: dict[int, Override] = {}
        ranges: list[Override] = []
        for override in decisions:
            if override.last is None:
                singles[override.number] = override
            else:
                ranges.append(override)
        return cls(protected, singles, RangeOverrides.cut(ranges) if ranges else RangeOverrides(), own_protected)

    def __bool__(self) -> bool:
        return bool(self.protected or self.overrides or self.ranges)

    def decisions(self) -> Iterator[Override]:
        """All overrides, in force or not."""
        yield from self.overrides.values()
        yield from self.ranges.decisions

    def of(self, number: int, at: datetime) -> tuple[Rule, Override | None] | None:
        """The rule that decides on a number at a moment, and the override if it is one; None if the feed decides."""
        if number in self.protected:
            return "protected", None
        override = self.overrides.get(number)
        if override is None or not override.in_force(at):
            override = self.ranges.of(number, at) if self.ranges else None
        return None if override is None else (_rule_of(override), override)

    def at(self, at: datetime) -> "RulesInForce":
        """The rules in force at a moment, for all numbers."""
        found = dict.fromkeys(self.protected, "protected")
        for number, override in self.overrides.items():
            if override.in_force(at):
                found.setdefault(number, f"override-{override.decision}")
        numbers = np.array(sorted(found), np.int64)
        rule = np.array([RULES.index(found[number]) for number in numbers.tolist()], np.int8)
        ends = [o.until for o in self.decisions() if o.until is not None and at < o.until]
        return RulesInForce(numbers, rule, min(ends, default=None), *self.ranges.at(at))


class RulesOnRanges:
    """Which rules decide on numbers of a range at one moment."""

    def __init__(self, rules: Rules, at: datetime) -> None:
        self._rules, self._at = rules, at
        self._protected = sorted(rules.protected)
        single = {number: override for number, override in rules.overrides.items() if override.in_force(at)}
        self._single = sorted(single.keys() - rules.protected)
        self._decided = sorted({*single, *rules.protected})

    def is_protected(self, first: int, last: int) -> bool:
        """Whether any number from the first to the last is protected."""
        return _count(self._protected, first, last) > 0

    def overrides(self, first: int, last: int) -> tuple[Override, ...]:
        """The overrides that decide on at least one number from the first to the last, by their first numbers."""
        found = {
            override: None
            for begin, end, override in self._rules.ranges.within(first, last, self._at)
            if _count(self._decided, begin, end) <= end - begin
        }
        at = bisect_left(self._single, first)
        while at < len(self._single) and self._single[at] <= last:
            found[self._rules.overrides[self._single[at]]] = None
            at += 1
        return tuple(sorted(found, key=lambda override: (override.number, _last(override))))


def _count(numbers: list[int], first: int, last: int) -> int:
    """How many of some numbers, ascending, are from the first to the last."""
    return bisect_right(numbers, last) - bisect_left(numbers, first)


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """Rules at one moment, as columns.

    Attributes:
        numbers: the single numbers with a rule, ascending.
        rule: the rule of each, as its position in `RULES`.
        until: when the first of them ends; None if none does.
        segments: the first numbers of the segments into which ranges cut all numbers, ascending; empty without ranges.
        segment_rule: the rule of each segment, or `NO_RULE`; a rule of a single number in it goes before it.
    """

    numbers: NDArray[np.int64]
    rule: NDArray[np.int8]
    until: datetime | None
    segments: NDArray[np.int64]
    segment_rule: NDArray[np.int8]

    def find(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
        """The positions of the numbers that have a rule, and their rules."""
        found, rule = self._find_single(numbers)
        if not len(self.segments):
            return found, rule
        segment = np.searchsorted(self.segments, numbers, "right") - 1
        rules = np.where(segment < 0, np.int8(NO_RULE), self.segment_rule[segment])
        rules[found] = rule
        found = np.flatnonzero(rules != NO_RULE)
        return found, rules[found]

    def _find_single(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
        if not len(self.numbers):
            return np.empty(0, np.intp), np.empty(0, np.int8)
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        found = np.flatnonzero(self.numbers[at] == numbers)
        return found, self.rule[at[found]]

    def answers(self) -> dict[int, bool]:
        """Whether each single number with a rule is blocked."""
        blocks = self.rule == RULES.index("override-block")
        return dict(zip(self.numbers.tolist(), blocks.tolist(), strict=True))

    def segment_answers(self) -> list[bool | None]:
        """Whether the numbers of each segment are blocked; None where no rule of a range decides."""
        block = RULES.index("override-block")
        return [None if rule == NO_RULE else rule == block for rule in self.segment_rule.tolist()]
