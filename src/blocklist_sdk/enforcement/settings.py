"""Settings for carrying changes into a sink: which changes, how many at a time, how fast."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers.operators import known_operators
from blocklist_sdk.records import SCOPES

_RATE_MIN: Final = 1 / 86_400
"""The lowest rate, changes per second: a wait between two batches must have an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementSettings:
    """Settings of `enforce` and `reconcile`. Give both the same, or they disagree on what the sink should hold.

    Attributes:
        batch: the most changes that go to the sink together.
        scopes: the scopes that the sink enforces; None for all of them.
        only_operator: the operator whose numbers are enforced, or several joined by ``+``; None for all numbers. For a
            range, its first number counts.
        rate: the most changes per second, on average, at least one a day; None for as fast as the sink takes them. A
            batch then has what goes in a second, at least 100 changes (and at most `batch`), and the wait follows it.
        daily_cap: the most blocks and changes per day (UTC); None for no cap. What lifts something never waits.
        max_removed: the share of what the sink holds that a run may lift without an explanation, from 0 to 1.
        min_removed: so many items a run may always lift: where a sink holds few, shares mean little.
        max_added: the share that a run may add without an explanation, of what the sink holds.
        min_added: so many items a run may always add.
        tries: number of failures after which a change is set aside, so that it does not hold up the others.

    Raises:
        InvalidInput: a value cannot be used.

    >>> EnforcementSettings(only_operator="telkomsel", daily_cap=20_000).batch
    10000
    """

    batch: int = 10_000
    scopes: Collection[str] | None = None
    only_operator: str | None = None
    rate: float | None = None
    daily_cap: int | None = None
    tries: int = 5
    max_removed: float = 0.1
    min_removed: int = 20
    max_added: float = 0.1
    min_added: int = 20

    def __post_init__(self) -> None:
        for name in ("batch", "tries"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("max_removed", "max_added"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(f"{name} must be 0 or more, such as 0.1 for a tenth, not {getattr(self, name)}")
        for name in ("min_removed", "min_added"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise InvalidInput(f"rate must be greater than 0 and finite, not {self.rate}")
        if self.rate is not None and self.rate < _RATE_MIN:
            raise InvalidInput(f"rate must be at least one change a day, which is {_RATE_MIN:.6f}, not {self.rate}")
        if self.daily_cap is not None and self.daily_cap < 0:
            raise InvalidInput(f"daily_cap must be 0 or more, not {self.daily_cap}")
        if self.only_operator is not None:
            for operator in sorted(self.operators):
                if operator not in known_operators():
                    known = ", ".join(sorted(known_operators()))
                    raise InvalidInput(f"no operator {operator!r} is known: name one of {known}")
            # One text for one filter, in whatever order it was given: runs compare theirs with the run before.
            object.__setattr__(self, "only_operator", "+".join(sorted(self.operators)))
        if self.scopes is not None and (not self.scopes or not set(self.scopes) <= set(SCOPES)):
            raise InvalidInput(f"the scopes are {', '.join(SCOPES)}: name at least one of them")

    @property
    def operators(self) -> frozenset[str]:
        """The operators that `only_operator` names; none if it is None.

        >>> sorted(EnforcementSettings(only_operator="telkomsel+indosat").operators)
        ['indosat', 'telkomsel']
        """
        return frozenset() if self.only_operator is None else frozenset(self.only_operator.split("+"))


DEFAULTS = EnforcementSettings()
