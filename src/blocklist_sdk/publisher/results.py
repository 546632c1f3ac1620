"""What the publisher answers with."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """What a release did.

    Attributes:
        feed: the feed.
        serial: the new release.
        rows: entries in it.
        column: what the list calls the column that the numbers were read from; None where it has no header.
        added, removed, changed: entries that differ from the release before.
        invalid: rows of the list that could not be published.
        duplicates: rows of the list that repeated another one.
        blank: empty lines of the list.
        rejects_path: the file that lists the invalid rows with their lines and reasons; None where there is none.
        snapshot_bytes: size of the snapshot.
        delta_bytes: size of the delta; None for the first release.
        digest: SHA-256 of the release's canonical rows.
        seconds: how long it took.
    """

    feed: str
    serial: int
    rows: int
    column: str | None
    added: int
    removed: int
    changed: int
    invalid: int
    duplicates: int
    blank: int
    rejects_path: Path | None
    snapshot_bytes: int
    delta_bytes: int | None
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OverdueRole:
    """A role that should be signed again, but whose keys are not at hand.

    Attributes:
        role: its name.
        expires: when its signature ends, UTC: bring the keys before.
        reason: what keeps its keys from signing.
    """

    role: str
    expires: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What a refresh did.

    Attributes:
        renewed: roles that were signed again.
        late: roles that should have been, but whose keys are not at hand.
        expires: when the first of all signatures ends, UTC.
    """

    renewed: tuple[str, ...]
    late: tuple[OverdueRole, ...]
    expires: datetime


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """How one signing role stands.

    Attributes:
        role: its name; feeds are roles of their own.
        version: of its metadata.
        expires: when its signature ends, UTC.
    """

    role: str
    version: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How a feed stands; all but its name None before its first release.

    Attributes:
        feed: its name.
        serial: the current release.
        rows: entries in it.
        published_at: when it was published, UTC.
        digest: SHA-256 of its canonical rows.
        region: where its national numbers were read.
        last_entry: the highest entry id ever given out.
    """

    feed: str
    serial: int | None = None
    rows: int | None = None
    published_at: datetime | None = None
    digest: str | None = None
    region: str | None = None
    last_entry: int | None = None


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """How a publisher stands.

    Attributes:
        feeds: its feeds.
        roles: every signing role with its version and expiry.
        absent_keys: key files that are not in the folder: kept offline, or lost.
        protected: how many numbers no feed may list.
    """

    feeds: tuple[FeedStatus, ...]
    roles: tuple[RoleStatus, ...]
    absent_keys: tuple[str, ...]
    protected: int
