"""What the publisher's methods return."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blocklist_sdk.numbers import FormDecision


@dataclass(frozen=True, slots=True)
class ListedRange:
    """A pattern or range of a list, and how many numbers it covers.

    Attributes:
        line: its line in the list.
        pattern: the pattern as it is written; a range as a pattern, or its two ends, masked.
        reach: how many numbers it covers: those that are assigned in their country's numbering plan.
    """

    line: int
    pattern: str
    reach: int


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """The result of a release.

    Attributes:
        feed: the feed's name.
        serial: the serial of the new release.
        rows: number of entries in it.
        column: the list's name for the column with the numbers; None if the list has no header.
        form: the form in which digits without a plus were read, and what decided it.
        added, removed, changed: number of entries that differ from the release before.
        invalid: number of rejects: rows of the list that could not be published.
        reach: how many numbers the release covers, each counted once; of ranges, the assigned numbers.
        widest: the pattern or range of the list that covers most; None if the list has single numbers only.
        duplicates: number of rows in the list that were equal to another row.
        blank: number of empty lines in the list.
        rejects_path: the file that lists the rejects with their lines and reasons; None if no file was written.
        snapshot_bytes: size of the snapshot.
        delta_bytes: size of the delta; None for the first release.
        digest: SHA-256 of the release's canonical rows.
        seconds: duration.
    """

    feed: str
    serial: int
    rows: int
    column: str | None
    form: "FormDecision"
    added: int
    removed: int
    changed: int
    invalid: int
    reach: int
    widest: ListedRange | None
    duplicates: int
    blank: int
    rejects_path: Path | None
    snapshot_bytes: int
    delta_bytes: int | None
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ProtectionResult:
    """The result of a change of the protected numbers.

    Attributes:
        protected: how many numbers are protected now.
        added: E.164 integers that are protected now and were not before, ascending.
        removed: E.164 integers that were protected before, ascending.
        listed: those of both that the current release of a feed lists, by feed. One that was added is never blocked
            again, but recipients who sync for the first time refuse this release until the feed's next one, which
            leaves the number out. One that was removed is blocked again when recipients sync.
    """

    protected: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    listed: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class OverdueRole:
    """A role that is due to be signed again, but lacks the keys.

    Attributes:
        role: the role's name; a feed's role has the feed's name.
        expires: when its signature expires, UTC: sign before that.
        reason: why its keys cannot sign, and what to do.
    """

    role: str
    expires: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """The result of a refresh.

    Attributes:
        renewed: the roles that were signed again.
        overdue: the roles that were due as well, but lack the keys.
        expires: when the first of all signatures expires, UTC.
    """

    renewed: tuple[str, ...]
    overdue: tuple[OverdueRole, ...]
    expires: datetime


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """A signing role.

    Attributes:
        role: the role's name; a feed's role has the feed's name.
        version: version of its metadata.
        expires: when its signature expires, UTC.
    """

    role: str
    version: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """A feed and its current release. Before the first release, all but the name and a declared scope is None.

    Attributes:
        feed: the feed's name.
        serial: the serial of the current release.
        rows: number of entries in it.
        published_at: when it was published, UTC.
        digest: SHA-256 of its canonical rows.
        region: two-letter code of the country in which its national numbers were read; None if no region was given.
        last_entry: the highest entry id given out on the feed so far.
        scope: the scope of new entries for which a list gives none; None if none was declared, and no release has
            relied on the default yet.
    """

    feed: str
    serial: int | None = None
    rows: int | None = None
    published_at: datetime | None = None
    digest: str | None = None
    region: str | None = None
    last_entry: int | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """A publisher's feeds, signatures and keys.

    Attributes:
        feeds: every feed.
        roles: every signing role.
        absent_keys: names of the key files that are not in the folder: kept offline, or lost.
        protected_numbers: number of protected numbers.
    """

    feeds: tuple[FeedStatus, ...]
    roles: tuple[RoleStatus, ...]
    absent_keys: tuple[str, ...]
    protected_numbers: int
