"""What every door asks: one number, and what stands against it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from blocklist_sdk.recipient.blocklist import Blocklist, level_path_of
from blocklist_sdk.recipient.cache.kinds import Found
from blocklist_sdk.records import Level, Scope, Status, Verdict

if TYPE_CHECKING:
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable


class LookUps(Protocol):
    """The part of `Blocklist` that answers questions; a bundle has it as well."""

    @property
    def feed(self) -> str:
        """The feed's name."""
        ...

    def check(self, number: str | int, *, scope: Scope | None = None) -> Verdict:
        """As `Blocklist.check`."""
        ...

    def screen(self, column: "ArrowArray | ArrowStream", *, scope: Scope | None = None) -> "ArrowTable":
        """As `Blocklist.screen`."""
        ...

    def status(self) -> Status:
        """As `Blocklist.status`."""
        ...


class Answers:
    """Answers for one worker, straight from a list: a new generation, overrides and ends count as they do there.

    All methods raise what `Blocklist.check` raises: `InvalidNumber`, `InvalidInput` for an unknown scope, `NotSynced`,
    `Stale`, `StorageFailed`.
    """

    def __init__(self, blocklist: LookUps) -> None:
        """Asks nothing yet."""
        self.blocklist: LookUps = blocklist

    def blocks(self, number: str | int, scope: Scope | None = None) -> Level | None:
        """What stands against a number; None if nothing does."""
        return self.levels((number,), scope)[0] or None

    def levels(self, numbers: Sequence[str | int], scope: Scope | None = None) -> list[Found]:
        """What stands against each of some numbers, "" if nothing does: as `Verdict.level`, and many times as quick."""
        blocklist = self.blocklist
        path = level_path_of(blocklist, scope) if isinstance(blocklist, Blocklist) else None
        if path is not None:
            found = list(map(path.level, map(path.read, numbers)))
            if None not in found:
                return found  # type: ignore[return-value]  # no None is left
        return [blocklist.check(number, scope=scope).level or "" for number in numbers]

    def verdict(self, number: str | int, scope: Scope | None = None) -> Verdict:
        """The whole answer."""
        return self.blocklist.check(number, scope=scope)
