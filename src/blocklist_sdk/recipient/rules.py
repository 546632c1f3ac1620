"""Protected numbers and overrides, which take precedence over a feed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.records import Override

Rule = Literal["protected", "override-allow", "override-block"]

RULES: Final[tuple[Rule, ...]] = ("protected", "override-allow", "override-block")
"""In the order in which they decide; each takes precedence over the feed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Protected numbers and overrides.

    Attributes:
        protected: numbers that are never blocked.
        overrides: the recipient's own decisions, by number.
    """

    protected: frozenset[int]
    overrides: Mapping[int, Override]

    def __bool__(self) -> bool:
        return bool(self.protected or self.overrides)

    def of(self, number: int, at: datetime) -> tuple[Rule, Override | None] | None:
        """The rule that decides on a number at a moment, and the override if it is one; None if the feed decides."""
        if number in self.protected:
            return "protected", None
        override = self.overrides.get(number)
        if override is None or not override.in_force(at):
            return None
        return ("override-allow" if override.decision == "allow" else "override-block"), override

    def at(self, at: datetime) -> "RulesInForce":
        """The rules in force at a moment, for all numbers."""
        found = dict.fromkeys(self.protected, "protected")
        for number, override in self.overrides.items():
            if override.in_force(at):
                found.setdefault(number, f"override-{override.decision}")
        numbers = np.array(sorted(found), np.int64)
        rule = np.array([RULES.index(found[number]) for number in numbers.tolist()], np.int8)
        ends = [o.until for o in self.overrides.values() if o.until is not None and at < o.until]
        return RulesInForce(numbers, rule, min(ends, default=None))


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """Rules at one moment, as columns.

    Attributes:
        numbers: the numbers with a rule, ascending.
        rule: the rule of each, as its position in `RULES`.
        until: when the first of them ends; None if none does.
    """

    numbers: NDArray[np.int64]
    rule: NDArray[np.int8]
    until: datetime | None

    def __len__(self) -> int:
        return len(self.numbers)

    def find(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
        """The positions of the numbers that have a rule, and their rules."""
        if not len(self.numbers):
            return np.empty(0, np.intp), np.empty(0, np.int8)
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        found = np.flatnonzero(self.numbers[at] == numbers)
        return found, self.rule[at[found]]

    def answers(self) -> dict[int, bool]:
        """Whether each number with a rule is blocked."""
        blocks = self.rule == RULES.index("override-block")
        return dict(zip(self.numbers.tolist(), blocks.tolist(), strict=True))
