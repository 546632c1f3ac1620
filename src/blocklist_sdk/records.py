"""What the library answers with: small, frozen, typed records."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Level = Literal["block", "advisory"]
Scope = Literal["voice", "sms", "data", "messaging"]
Reason = Literal[
    "protected", "override-allow", "override-block", "listed", "advisory", "expired", "not-yet", "not-listed"
]

SCOPES: tuple[Scope, ...] = ("data", "messaging", "sms", "voice")
"""Every scope, in the order in which the wire format joins them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One listing of one number, or of one range of numbers, on one feed.

    Attributes:
        number: E.164 digits as an integer; the first number of a range.
        last: the last number of a range, None for a single number.
        entry: the entry's id, unique in its feed for ever.
        level: ``block`` or ``advisory``; only ``block`` blocks.
        category: ``fraud``, ``phishing``, …; an open set.
        issuer: who decided.
        scope: where it applies, for instance ``frozenset({"sms", "voice"})``.
        since: in force from this moment on, UTC.
        until: in force before this moment, UTC; None for no end.
        feed: the feed it stands on.
    """

    number: int
    last: int | None
    entry: int
    level: str
    category: str
    issuer: str
    scope: frozenset[str]
    since: datetime
    until: datetime | None
    feed: str

    def in_force(self, at: datetime) -> bool:
        """Whether the entry applies at that moment: ``since <= at < until``."""
        return self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Override:
    """A recipient's own decision on one number, which goes before every feed's.

    Attributes:
        number: the number as an E.164 integer.
        decision: ``allow`` or ``block``.
        reason: why, for whoever finds it later.
        author: who decided.
        created: when, UTC.
        until: in force before this moment, UTC; None for no end.
    """

    number: int
    decision: Literal["allow", "block"]
    reason: str
    author: str
    created: datetime
    until: datetime | None

    def in_force(self, at: datetime) -> bool:
        """Whether it applies at that moment."""
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to "what about this number?". True in a condition when it is blocked.

    Attributes:
        number: the number as an E.164 integer.
        blocked: whether to block it.
        level: the strongest level in force, None when nothing is.
        reason: why; see `Reason`.
        entries: every entry that covers the number, in force or not.
        feed: the feed that spoke.
        serial: the release that spoke.
        as_of: when that release was published.
        stale: whether the feed is past its signed expiry.
        override: the local decision that is in force, None for none.
    """

    number: int
    blocked: bool
    level: Level | None
    reason: Reason
    entries: tuple[Entry, ...]
    feed: str
    serial: int
    as_of: datetime
    stale: bool
    override: Override | None = None

    def __bool__(self) -> bool:
        return self.blocked


@dataclass(frozen=True, slots=True)
class Change:
    """What differs for one entry between two releases.

    Attributes:
        kind: ``added``, ``removed`` or ``changed``.
        entry: the entry as it is now; as it was, where it was removed.
        before: the entry as it was, where it was changed.
        override: the local decision on its number that is in force; it goes before what the feed says. None for ranges.
        protected: whether its number is protected, so that it is never blocked.
    """

    kind: Literal["added", "removed", "changed"]
    entry: Entry
    before: Entry | None
    override: Override | None
    protected: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a number is blocked, or not.

    Attributes:
        text: what was asked about.
        number: how it was read.
        region: in which region.
        is_valid: whether it is valid in its country's numbering plan, not only possible.
        operator, brand: who serves it, None where no one is known to.
        verdict: the answer, with every entry.
        signers: ids of the keys that signed the release.
    """

    text: str
    number: int
    region: str | None
    is_valid: bool
    operator: str | None
    brand: str | None
    verdict: Verdict
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of verifying the generation in force.

    Attributes:
        feed: the feed's name.
        serial: the release.
        rows: how many it has.
        digest: of the rows as they lie on the disk.
        problems: what is wrong; none where everything is as it was signed and written.
    """

    feed: str
    serial: int
    rows: int
    digest: str
    problems: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did.

    Attributes:
        before: the serial before, None for none.
        after: the serial in force now.
        kind: ``none`` (up to date already), ``delta`` or ``snapshot``.
        added, removed, changed: entries that differ from the release before; a first snapshot adds them all.
        bytes: what went over the wire, metadata included.
        seconds: how long it took.
    """

    before: int | None
    after: int
    kind: Literal["none", "delta", "snapshot"]
    added: int
    removed: int
    changed: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tally:
    """How many entries come, go and change."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True)
class Impact:
    """What putting a release in force would change.

    Attributes:
        before: the serial in force, None for none.
        after: the release's serial.
        rows_before, rows_after: entries in each.
        total: entries that differ.
        by_category: the same, category by category.
        by_operator: the same for single numbers, by operator; ``""`` where none is known. Empty where it would be more
            than a million.
        overrides: local decisions on numbers that it concerns.
        protected: protected numbers that it would block.
        refusals: why the guard would keep it out of force; none where it would pass.
    """

    before: int | None
    after: int
    rows_before: int
    rows_after: int
    total: Tally
    by_category: dict[str, Tally]
    by_operator: dict[str, Tally]
    overrides: tuple[Override, ...]
    protected: tuple[int, ...]
    refusals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """How a recipient stands.

    Attributes:
        feed: the feed's name.
        serial: the release in force, None before the first sync; so are the fields that describe it.
        rows: entries in it.
        digest: SHA-256 of its canonical rows, hexadecimal.
        as_of: when it was published.
        expires: when its signed metadata expires.
        stale: whether that is past.
        generation_bytes: its size on disk.
        last_success: when a sync last succeeded.
        last_attempt: when a sync last ran.
        last_error: what the last sync failed with, None when it succeeded.
        refused: the serial of a release that the guard keeps out of force, None for none.
        refusals: why.
        overrides: local decisions that are in force.
        generations: serials of the releases on this disk, newest first.
        held: names of those who still need an older release, and the serial they need.
        disk_bytes: what all releases take on disk.
    """

    feed: str
    serial: int | None
    rows: int | None
    digest: str | None
    as_of: datetime | None
    expires: datetime | None
    stale: bool
    generation_bytes: int | None
    last_success: datetime | None
    last_attempt: datetime | None
    last_error: str | None
    refused: int | None = None
    refusals: tuple[str, ...] = ()
    overrides: int = 0
    generations: tuple[int, ...] = ()
    held: dict[str, int] = field(default_factory=dict)
    disk_bytes: int = 0
