"""What every door asks: one number, and what stands against it."""

from typing import TYPE_CHECKING, Literal, Protocol

from blocklist_sdk.records import Scope, Status, Verdict

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

    def blocks(self, number: str | int, scope: Scope | None = None) -> Literal["block", "advisory"] | None:
        """What stands against a number; None if nothing does."""
        return self.blocklist.check(number, scope=scope).level

    def verdict(self, number: str | int, scope: Scope | None = None) -> Verdict:
        """The whole answer."""
        return self.blocklist.check(number, scope=scope)
