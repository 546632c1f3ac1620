"""What every door asks a list: the level in force for a number, a verdict, the answers for a column."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from blocklist_sdk.recipient.blocklist import Blocklist, level_path_of, number_of
from blocklist_sdk.recipient.cache.kinds import Found
from blocklist_sdk.records import Scope, Status, Verdict

if TYPE_CHECKING:
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable

_STATUS_S: Final = 1.0
"""How long the state of the list is remembered, seconds: to find it out looks at the disk, and whoever watches a
service needs no credentials."""


class Answers:
    """Answers for one worker, straight from a list: a new generation, overrides and ends count as they do there.

    All methods raise what `Blocklist.check` raises: `InvalidNumber`, `InvalidInput` for an unknown scope, `NotSynced`,
    `Stale`, `StorageFailed`.
    """

    def __init__(self, blocklist: Blocklist) -> None:
        """Asks nothing yet.

        Args:
            blocklist: a list in a cache, or in a bundle.
        """
        self.blocklist: Blocklist = blocklist
        self._status: tuple[float, Status] | None = None

    def level(self, number: str | int, scope: Scope | None = None) -> Found:
        """The level in force for a number, as `Verdict.level`; "" for none."""
        path = level_path_of(self.blocklist, scope)
        if path is not None:
            found = path.level(path.read(number))
            if found is not None:
                return found
        return self.blocklist.check(number, scope=scope).level or ""

    def read(self, text: str) -> int:
        """The number of a text, for `levels`.

        Raises:
            InvalidNumber: it is not a telephone number.
        """
        return number_of(self.blocklist, text)

    def levels(self, numbers: Sequence[str | int], scope: Scope | None = None) -> list[Found]:
        """The level in force for each of some numbers; "" for none. Many times as quick as `verdict`."""
        path = level_path_of(self.blocklist, scope)
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
        level_path_of(self.blocklist, None)

    def status(self) -> Status:
        """The state of the list, a second old at most."""
        now = time.monotonic()
        if self._status is None or now - self._status[0] >= _STATUS_S:
            self._status = now, self.blocklist.status()
        return self._status[1]
