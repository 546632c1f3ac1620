"""What an export wrote. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from blocklist_sdk.records import Scope
from blocklist_sdk.release.release_id import FIRST_ERA

ExportFormat = Literal["txt", "prefixes", "ios", "fritzbox", "misp"]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export wrote: the numbers that block at a moment, and what the format cannot say about them.

    Attributes:
        feed: the feed's name.
        serial: the release's serial.
        as_of: when the release was published.
        expires: when its signatures expire; None if that is not known.
        stale: whether that was past at the moment at which the numbers block. After it, no signature says that they
            still do.
        output_format: the format.
        scope: only entries with this scope count; None if all do.
        at: the moment at which the numbers block, UTC.
        numbers: how many numbers the file says are blocked.
        lines: how many numbers, or prefixes, are written.
        ranges: entries of ranges that block.
        range_numbers: the numbers that only ranges block.
        ending: entries that block and have an end.
        changes_at: when the first entry or override begins or ends by itself, UTC; None if none does. From then on the
            file is not what blocks.
        some_scopes: entries that block in some scopes only.
        other_scopes: entries that are left out since they lack the scope that was asked for.
        advisories: entries that are left out since they are advisories.
        not_begun, ended: entries that are left out since they have not begun, or have ended.
        allowed: numbers that are left out since they are protected, or an override allows them.
        own_blocks: numbers that only an override blocks.
        remarks: the same as sentences, where there is something to say.
        seconds: how long it took.
        era: the release's era.
        clock_behind_s: by how many seconds, at least, this machine's clock is behind, as in `Status`.
    """

    feed: str
    serial: int
    as_of: datetime
    expires: datetime | None
    stale: bool
    output_format: ExportFormat
    scope: Scope | None
    at: datetime
    numbers: int
    lines: int
    ranges: int
    range_numbers: int
    ending: int
    changes_at: datetime | None
    some_scopes: int
    other_scopes: int
    advisories: int
    not_begun: int
    ended: int
    allowed: int
    own_blocks: int
    remarks: tuple[str, ...]
    seconds: float
    era: int = FIRST_ERA
    clock_behind_s: int | None = None
