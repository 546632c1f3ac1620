"""What every door asks a list: the level in force for a number, a verdict, the answers for a column."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from blocklist_sdk.recipient.blocklist import Blocklist, level_path_of, number_of
from blocklist_sdk.recipient.cache.kinds import Found
from blocklist_sdk.records import Entry, Scope, Status, Verdict

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

    def entries(self, number: str | int) -> list[Entry]:
        """As `Blocklist.entries`."""
        ...

    def screen(self, column: "ArrowArray | ArrowStream", *, scope: Scope | None = None) -> "ArrowTable":
        """As `Blocklist.screen`."""
        ...

    def status(self) -> Status:
        """As `Blocklist.status`."""
        ...


_STATUS_S: Final = 1.0
"""How long the state of the list is remembered, seconds: to find it out looks at the disk, and whoever watches a
service needs no credentials."""

_SOME_NUMBER: Final = 628_000_000_000


class Answers:
    """Answers for one worker, straight from a list: a new generation, overrides and ends count as they do there.

    All methods raise what `Blocklist.check` raises: `InvalidNumber`, `InvalidInput` for an unknown scope, `NotSynced`,
    `Stale`, `StorageFailed`.
    """

    def __init__(self, blocklist: LookUps) -> None:
        """Asks nothing yet."""
        self.blocklist: LookUps = blocklist
        self._quick = blocklist if isinstance(blocklist, Blocklist) else None
        self._status: tuple[float, Status] | None = None

    def level(self, number: str | int, scope: Scope | None = None) -> Found:
        """The level in force for a number, as `Verdict.level`; "" for none."""
        path = None if self._quick is None else level_path_of(self._quick, scope)
        if path is not None:
            found = path.level(path.read(number))
            if found is not None:
                return found
        return self.blocklist.check(number, scope=scope).level or ""

    def read(self, text: str) -> str | int:
        """The number of a text for `levels`, where the list can be asked to read it; else the text as it is.

        Raises:
            InvalidNumber: it is not a telephone number.
        """
        return text if self._quick is None else number_of(self._quick, text)

    def levels(self, numbers: Sequence[str | int], scope: Scope | None = None) -> list[Found]:
        """The level in force for each of some numbers; "" for none. Many times as quick as `verdict`."""
        path = None if self._quick is None else level_path_of(self._quick, scope)
        if path is not None:
            found = list(map(path.level, map(path.read, numbers)))
            if None not in found:
                return found  # type: ignore[return-value]  # no None is left
        return [self.blocklist.check(number, scope=scope).level or "" for number in numbers]

    def verdict(self, number: str | int, scope: Scope | None = None) -> Verdict:
        """The whole answer."""
        return self.blocklist.check(number, scope=scope)

    def screen(self, column: "ArrowArray | ArrowStream", scope: Scope | None = None) -> "ArrowTable":
        """The answers for a column, row for row."""
        return self.blocklist.screen(column, scope=scope)

    def check_ready(self) -> None:
        """Do nothing if the list can answer."""
        self.blocklist.entries(_SOME_NUMBER)

    def status(self) -> Status:
        """The state of the list, a second old at most."""
        now = time.monotonic()
        if self._status is None or now - self._status[0] >= _STATUS_S:
            self._status = now, self.blocklist.status()
        return self._status[1]
