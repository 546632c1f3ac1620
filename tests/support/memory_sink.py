"""A sink in memory, which fails as a test asks."""

from collections.abc import Callable, Iterator, Sequence

from blocklist_sdk.enforcement.items import Batch, SinkChange
from blocklist_sdk.enforcement.sink import DONE, LIFTED, HeldItem, Outcome


class MemorySink:
    """Holds changes in a dictionary.

    Attributes:
        held: the last change of each item, by first number.
        seen: every change that came.
        behave: returns the outcome of a change, or None to do it. May raise.
    """

    def __init__(self, behave: Callable[[SinkChange], Outcome | None] = lambda change: None) -> None:
        self.held: dict[int, SinkChange] = {}
        self.seen: list[SinkChange] = []
        self.behave = behave

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        return [self._one(change) for change in batch]

    def _one(self, change: SinkChange) -> Outcome:
        self.seen.append(change)
        outcome = self.behave(change)
        if outcome is not None:
            return outcome
        if change.operation == "unblock":
            self.held.pop(change.number, None)
            return LIFTED
        self.held[change.number] = change
        return DONE

    def current(self) -> Iterator[HeldItem]:
        for change in self.held.values():
            yield HeldItem(change.number, change.last, change.scope)

    def close(self) -> None:
        pass

    @property
    def numbers(self) -> set[int]:
        return {number for each in self.held.values() for number in range(each.number, each.last + 1)}

    def scopes(self, number: int) -> set[str]:
        return {scope for each in self.held.values() if each.number <= number <= each.last for scope in each.scope}
