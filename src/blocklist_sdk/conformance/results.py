"""What comes of the kit's cases, as records, text and JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

Outcome = Literal["passed", "failed", "not-offered"]

_WORDS: Final[dict[Outcome, str]] = {"passed": "pass", "failed": "FAIL", "not-offered": "none"}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of one case.

    Attributes:
        name: the case's name.
        group: its group.
        about: what it shows.
        required: whether a reader must pass it.
        may_be_left_out: whether the reader could have said that it does not do that.
        outcome: ``passed``, ``failed``, or ``not-offered``: the reader says that it does not do that.
        problem: what was wrong; None if nothing was.
    """

    name: str
    group: str
    about: str
    required: bool
    may_be_left_out: bool
    outcome: Outcome
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class KitResult:
    """What came of all cases that were run.

    Attributes:
        cases: what came of each.
        strict: whether the reader must pass also what is not required.
    """

    cases: tuple[CaseResult, ...]
    strict: bool = False

    @property
    def passed(self) -> bool:
        """Whether the reader passes: no case failed that counts, and at least one was passed.

        Those count that are required, and those that the reader could have left out and did not. If none of those that
        were run is required, or the kit is strict, all count.
        """
        return any(case.outcome == "passed" for case in self.cases) and not any(map(self._counts_against, self.cases))

    def _counts_against(self, case: CaseResult) -> bool:
        return case.outcome == "failed" and (case.required or case.may_be_left_out or self._all_count)

    @property
    def _all_count(self) -> bool:
        return self.strict or not any(case.required for case in self.cases)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        fields = ("name", "group", "about", "required", "outcome", "problem")
        counts = {outcome: sum(case.outcome == outcome for case in self.cases) for outcome in _WORDS}
        return {
            "passed": self.passed,
            "strict": self.strict,
            "counts": counts,
            "cases": [
                {**{name: getattr(case, name) for name in fields}, "counts_against": self._counts_against(case)}
                for case in self.cases
            ],
        }

    def lines(self) -> Iterator[str]:
        """The result for people, line by line."""
        group = None
        for case in self.cases:
            if case.group != group:
                group = case.group
                yield f"{group}{'' if case.required else ' (not required)'}"
            yield from _lines_of(case)
        yield ""
        yield self.summary()

    def summary(self) -> str:
        """What it comes to, in a line."""
        count = len(self.cases)
        if not count:
            return "No case has such a name."
        failed = [case for case in self.cases if case.outcome == "failed"]
        against = sum(map(self._counts_against, self.cases))
        parts = [f"{sum(case.outcome == 'passed' for case in self.cases)} of {count} cases passed"]
        if failed:
            parts.append(
                f"{len(failed)} failed, {against} of which {'counts' if against == 1 else 'count'} against this reader"
            )
        if unoffered := [case.name for case in self.cases if case.outcome == "not-offered"]:
            parts.append(f"not offered by this reader: {_names(unoffered)}")
        return f"{'; '.join(parts)}. {'The reader conforms.' if self.passed else 'The reader does not conform.'}"


def _lines_of(case: CaseResult) -> Iterator[str]:
    why = ", which may be left out but not answered wrongly" if case.may_be_left_out else ", which is not required"
    yield f"  {_WORDS[case.outcome]}  {case.name}{why if case.outcome == 'failed' and not case.required else ''}"
    if case.problem is not None:
        yield f"        {case.about}"
        yield f"        {case.problem}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
