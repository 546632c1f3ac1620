"""A clock that can be set, in place of the machine's in all that a recipient asks it."""

from datetime import UTC, datetime

import pytest

from blocklist_sdk import times


class Clock:
    """Stands still until it is set. Unlike that of `blocklist_sdk.testing`, it has answers hold as in production.

    Attributes:
        at_s: seconds since 1970 UTC.
    """

    def __init__(self, at: datetime) -> None:
        self.at_s = at.timestamp()

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_s, UTC)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(times, "clock", lambda: self.at_s)
