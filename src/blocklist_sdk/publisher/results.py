"""What the publisher's methods return."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from blocklist_sdk.numbers.forms import FormDecision
from blocklist_sdk.records import Entry, Tally
from blocklist_sdk.release.audit import AuditHead
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId


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
        snapshot_bytes: size of the snapshot; None if the release has none of its own.
        delta_bytes: size of the delta; None if the release has none, such as the first one.
        digest: that of the release's canonical rows: its kind, a hyphen, and 64 hexadecimal digits, as in ``tree-…``.
        seconds: duration.
        already_listed: number of rows to be added that the issuer had listed before, for as long and in all scopes.
        extended: number of rows to be added for which an entry of the issuer ends later now.
        not_listed: number of rows to be removed that are not on the list.
        era: the feed's era, in which the serial counts.
    """

    feed: str
    serial: int
    rows: int
    column: str | None
    form: FormDecision
    added: int
    removed: int
    changed: int
    invalid: int
    reach: int
    widest: ListedRange | None
    duplicates: int
    blank: int
    rejects_path: Path | None
    snapshot_bytes: int | None
    delta_bytes: int | None
    digest: str
    seconds: float
    already_listed: int = 0
    extended: int = 0
    not_listed: int = 0
    era: int = FIRST_ERA

    @property
    def release(self) -> ReleaseId:
        """The new release, by era and serial."""
        return ReleaseId(self.era, self.serial)


@dataclass(frozen=True, slots=True)
class SurprisingChange:
    """A change that a person should look at before it is published.

    Attributes:
        why: ``wide``: a range begins or ceases to block. ``level``: a block becomes an advisory, or the other way
            round. ``unblocked``: a number ceases to be blocked. ``foreign``: a number of another country than the
            list's region begins to be blocked. ``changed``: anything else about an entry. ``other``: an entry comes or
            goes.
        kind: ``added``, ``removed`` or ``changed``.
        entry: the entry as it would be, or as it was if it would be removed.
        before: the entry as it was, if it would be changed.
    """

    why: Literal["wide", "level", "unblocked", "foreign", "changed", "other"]
    kind: Literal["added", "removed", "changed"]
    entry: Entry
    before: Entry | None


@dataclass(frozen=True, slots=True)
class ReleaseImpact:
    """The changes that a release would bring if it were published.

    Attributes:
        feed: the feed's name.
        before: the serial of the current release; None before the first.
        after: the serial that the release would get.
        rows_before, rows_after: the number of entries in each.
        total: how many entries differ.
        by_category: the same for each category.
        blocked_before, blocked_after: how many numbers are blocked in any scope, now, a day ahead or a month ahead; of
            ranges, the assigned ones.
        unblocked: how many numbers would cease to be blocked in a scope at one of these moments; those that end within
            the day by themselves do not count.
        newly_blocked: how many would begin to be blocked.
        reach_before, reach_after: how many numbers all entries cover, advisories and ended ones as well, each counted
            once; of ranges, the assigned ones.
        invalid: number of rejects: rows that could not be published.
        surprising: the twenty most surprising changes. Each reason (`SurprisingChange.why`) has its own order: the
            widest ranges, the blocks that stand for longest, the lowest numbers first. The reasons take turns, so that
            none of them hides another.
        refusals: why the guard would refuse it; empty if it would not.
        ended: how many blocks of the current release have ended since it was published, by this machine's clock.
        era: the feed's era, in which both serials count.
    """

    feed: str
    before: int | None
    after: int
    rows_before: int
    rows_after: int
    total: Tally
    by_category: dict[str, Tally]
    blocked_before: int
    blocked_after: int
    unblocked: int
    newly_blocked: int
    reach_before: int
    reach_after: int
    invalid: int
    surprising: tuple[SurprisingChange, ...]
    refusals: tuple[str, ...]
    ended: int = 0
    era: int = FIRST_ERA


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
        refusals: why a person should look at the change first, for one that is not signed yet; empty if nobody has to.
    """

    protected: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    listed: dict[str, tuple[int, ...]]
    refusals: tuple[str, ...] = ()


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
class SnapshotResult:
    """The result of writing a snapshot anew.

    Attributes:
        feed: the feed's name.
        serial: the serial of its current release.
        rows: the rows in it.
        snapshot_bytes: the length of the snapshot.
        digest: the digest of the release.
        era: the feed's era, in which the serial counts.
    """

    feed: str
    serial: int
    rows: int
    snapshot_bytes: int
    digest: str
    era: int = FIRST_ERA


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
class KeyChange:
    """The keys of a role after they were changed.

    Attributes:
        role: ``root``, ``targets``, ``online`` or ``feed.NAME``.
        added: key ids of the keys that sign from now on.
        removed: key ids of those that sign no longer.
        kept: key ids of those that signed before, and go on.
        threshold: how many of them have to sign.
        root_version: version of the root in force.
        targets_version: version of the targets role that is published.
        era: the era of a feed; None of other roles.
        serial: the serial of a feed's current release; None before the first, and of other roles.
    """

    role: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    threshold: int
    root_version: int
    targets_version: int
    era: int | None = None
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A key of a role.

    Attributes:
        keyid: its key id: SHA-256, 64 hexadecimal digits, of which 16 are shown.
        where: the path of its file, or its private key URI; ``with its holder`` where only its public half is known.
        available: whether its file is there, or a URI is known. Hardware modules are not asked.
    """

    keyid: str
    where: str
    available: bool


@dataclass(frozen=True, slots=True)
class KeyRole:
    """A role and its keys.

    Attributes:
        role: the role's name; a feed's role has the feed's name.
        version: version of its metadata.
        expires: when its signature expires, UTC.
        threshold: how many of its keys have to sign.
        keys: its keys.
        scope: the scope of a feed; None of other roles, and of a feed that has none.
        era: the era of a feed, which the protocol page explains; None of other roles.
    """

    role: str
    version: int
    expires: datetime
    threshold: int
    keys: tuple[KeyStatus, ...]
    scope: str | None = None
    era: int | None = None


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
    """A feed and its current release. Before the first release, all but the name, the era and a declared scope is None.

    Attributes:
        feed: the feed's name.
        serial: the serial of the current release.
        rows: number of entries in it.
        published_at: when it was published, UTC.
        digest: that of its canonical rows, such as ``tree-…``.
        region: two-letter code of the country in which its national numbers were read; None if no region was given.
        last_entry: the highest entry id given out on the feed so far; of an older copy of the repository, what
            the folder remembers.
        scope: the scope of new entries for which a list gives none; None if none was declared, and no release has
            relied on the default yet.
        era: the feed's era, in which the serial counts; None if it is not known.
        next_serial: the serial of the next release.
        audit: how far the exchange's audit trail reached when the current release was made; None if no exchange
            publishes.
    """

    feed: str
    serial: int | None = None
    rows: int | None = None
    published_at: datetime | None = None
    digest: str | None = None
    region: str | None = None
    last_entry: int | None = None
    scope: str | None = None
    era: int | None = None
    next_serial: int = 1
    audit: AuditHead | None = None


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
