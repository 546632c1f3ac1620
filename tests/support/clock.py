"""A clock that can be set, in place of the machine's in all that a recipient asks it."""

from datetime import UTC, datetime, timezone, tzinfo
from types import SimpleNamespace
from typing import Any

import pytest
from tuf.ngclient._internal import trusted_metadata_set

from blocklist_sdk import times


class Clock:
    """Stands still until it is set.

    Attributes:
        at_s: seconds since 1970 UTC.
    """

    def __init__(self, at: datetime) -> None:
        self.at_s = at.timestamp()

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_s, UTC)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        clock = self

        class Set(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return datetime.fromtimestamp(clock.at_s, tz)

        patch.setattr(times, "clock", lambda: clock.at_s)
        # Where tuf decides whether metadata has expired.
        patch.setattr(trusted_metadata_set, "datetime", SimpleNamespace(datetime=Set, timezone=timezone))
