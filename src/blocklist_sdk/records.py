"""The records that the library returns: small, frozen, typed."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

Level = Literal["block", "advisory"]
Scope = Literal["voice", "sms", "data", "messaging"]
Reason = Literal[
    "protected", "override-allow", "override-block", "listed", "advisory", "expired", "not-yet", "not-listed"
]

SCOPES: tuple[Scope, ...] = ("data", "messaging", "sms", "voice")
"""Every scope, in the order in which the wire format joins them."""

ENTRY_MAX: int = 2**53 - 1
"""The highest entry id: every reader of JSON agrees on integers up to it (RFC 8259, section 6), JavaScript as well.

Ids only rise: a typing error near the end of 64 bits would leave no ids for later entries of the feed.
"""


class _MomentAsText:
    """Has pydantic, and so FastAPI, write a moment as `--json` does: text, UTC, whole seconds."""

    def __repr__(self) -> str:
        return "moment"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _written(handler(source), lambda when: when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {"type": "string", "format": "date-time"}


class _ScopeAsText:
    """Has pydantic, and so FastAPI, write a scope as `--json` does: its parts in order, joined by ``+``."""

    def __repr__(self) -> str:
        return "scope"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _written(handler(source), lambda scope: "+".join(sorted(scope)))


def _written(schema: Any, as_text: Any) -> Any:
    from pydantic_core import core_schema  # only called by pydantic itself

    writer = core_schema.plain_serializer_function_ser_schema(
        as_text, return_schema=core_schema.str_schema(), when_used="json"
    )
    return {**schema, "serialization": writer}


_Moment = Annotated[datetime, _MomentAsText()]
_ScopeText = Annotated[frozenset[str], _ScopeAsText()]


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
        until: in force before this moment, UTC; None if it has no end.
        feed: the feed that lists it.
    """

    number: int
    last: int | None
    entry: int
    level: str
    category: str
    issuer: str
    scope: _ScopeText
    since: _Moment
    until: _Moment | None
    feed: str

    def in_force(self, at: datetime) -> bool:
        """Whether the entry applies at that moment: ``since <= at < until``."""
        return self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Override:
    """A recipient's own decision on a number or on a range of numbers; it takes precedence over every feed.

    Attributes:
        number: the number as an E.164 integer; the first of a range.
        decision: ``allow`` or ``block``.
        reason: why, for whoever reads it later.
        author: who decided.
        created: when it was made, UTC.
        until: in force before this moment, UTC; None if it has no end.
        last: the last number of a range; None for a single number.
    """

    number: int
    decision: Literal["allow", "block"]
    reason: str
    author: str
    created: _Moment
    until: _Moment | None
    last: int | None = None

    def in_force(self, at: datetime) -> bool:
        """Whether it applies at that moment."""
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to "what about this number?". True in a condition when it is blocked.

    Attributes:
        number: the number as an E.164 integer.
        blocked: whether to block it.
        level: the strongest level in force, None if no entry is.
        reason: why; see `Reason`.
        entries: every entry that covers the number, in force or not.
        feed: the feed that the answer comes from.
        serial: the release that the answer comes from.
        as_of: when that release was published.
        stale: whether the feed is past its signed expiry.
        override: the local decision in force, or None.
        scope_listed: whether any entry on the list, of whatever number, has the scope that was asked for. If not, the
            feed may be the wrong one for that scope. None if no scope was asked for, or the list is empty.
        era: the era of the release that the answer comes from.
        clock_behind_s: by how many seconds, at least, this machine's clock is behind, as in `Status`; None if it is
            not, or by at most five minutes. If it is, entries that have ended may still block.
    """

    number: int
    blocked: bool
    level: Level | None
    reason: Reason
    entries: tuple[Entry, ...]
    feed: str
    serial: int
    as_of: _Moment
    stale: bool
    override: Override | None = None
    scope_listed: bool | None = None
    era: int = 1
    clock_behind_s: int | None = None

    def __bool__(self) -> bool:
        return self.blocked


@dataclass(frozen=True, slots=True)
class Change:
    """The difference for one entry between two releases.

    Attributes:
        kind: ``added``, ``removed`` or ``changed``.
        entry: the entry as it is now, or as it was if it was removed.
        before: the entry as it was, if it was changed.
        override: the local decision in force on its number, which takes precedence over the feed. None for ranges, on
            which there may be several.
        protected: whether its number is protected, so that it is never blocked; for a range, whether any number in it
            is.
        overrides: the local decisions in force that decide on its number, or on at least one number of its range, by
            their first numbers.
    """

    kind: Literal["added", "removed", "changed"]
    entry: Entry
    before: Entry | None
    override: Override | None
    protected: bool
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a number is blocked, or not.

    Attributes:
        text: the text that was given.
        number: the number that it was read as.
        region: the region in which it was read.
        other_number: the valid number that it would be in the other form, international instead of national or the
            other way round; None if it has one reading only.
        is_valid: whether it is valid in its country's numbering plan, not only possible.
        operator, brand: who serves it, or None if that is not known.
        verdict: the answer, with every entry.
        signers: ids of the keys that signed the release.
    """

    text: str
    number: int
    region: str | None
    other_number: int | None
    is_valid: bool
    operator: str | None
    brand: str | None
    verdict: Verdict
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying the generation in force.

    Attributes:
        feed: the feed's name.
        serial: the release.
        rows: how many it has.
        digest: the digest of its rows as they are on the disk; empty if they cannot even be read.
        problems: what is wrong; empty if everything is as it was signed and written.
        era: the release's era.
    """

    feed: str
    serial: int
    rows: int
    digest: str
    problems: tuple[str, ...]
    era: int = 1

    def __bool__(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The result of a sync.

    Attributes:
        before: the serial before, None for a first sync.
        after: the serial in force now.
        kind: ``none`` (up to date already), ``delta`` or ``snapshot``.
        added, removed, changed: numbers of entries that differ from the release before; a first snapshot adds them all.
        bytes: bytes received, metadata included.
        seconds: how long it took.
        era: the era of the release in force now. Serials are compared within one era only.
        before_era: the era of the release before, None for a first sync.
        clock_behind_s: by how many seconds, at least, this machine's clock is behind the newest release that was
            verified here, or behind the last sync; None if it is not, or by at most five minutes. Either it is wrong,
            or the publisher's clock is ahead.
        audit_warning: why the release's audit head contradicts an earlier one that was seen here, or could not be kept;
            None if neither is so. The release is in force all the same.
    """

    before: int | None
    after: int
    kind: Literal["none", "delta", "snapshot"]
    added: int
    removed: int
    changed: int
    bytes: int
    seconds: float
    era: int = 1
    before_era: int | None = None
    clock_behind_s: int | None = None
    audit_warning: str | None = None


@dataclass(frozen=True, slots=True)
class UpkeepResult:
    """What an upkeep did.

    Attributes:
        feed: the feed's name.
        is_folded: whether the changes since the list was last written whole were made one with it.
        is_damaged: whether a part of the list is not as it was written; the next sync fetches the list again.
    """

    feed: str
    is_folded: bool = False
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class RootReplacement:
    """What was given up of a feed when another root was pinned.

    Attributes:
        feed: the feed's name.
        fingerprint: SHA-256 of the new root's file, 64 hexadecimal digits.
        serial, era: of the release in force, which goes on answering; None if there is none.
        highest_serial, highest_era: of the highest release ever in force, which counts no longer; None if there is
            none.
        refused: the serial of the refused release that counts no longer, or None.
        dry_run: whether nothing was changed.
        root_version: the version of the new root.
        remaining: other feeds in the same directories for which another root is pinned still, sorted: call the same for
            those that are this publisher's.
    """

    feed: str
    fingerprint: str
    serial: int | None
    era: int | None
    highest_serial: int | None
    highest_era: int | None
    refused: int | None
    dry_run: bool
    root_version: int = 1
    remaining: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many entries are added, removed and changed."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True)
class Impact:
    """The changes that a release would bring if it came into force.

    Attributes:
        before: the serial in force, None before the first release.
        after: the release's serial.
        digest: the release's, such as ``tree-…``, to compare with what the publisher says.
        rows_before, rows_after: the number of entries in each.
        total: how many entries differ.
        by_category: the same for each category.
        by_operator: the same for each operator; ``""`` if it is not known, or a range has several. Empty if there are
            more than a million.
        overrides: local decisions on the numbers concerned.
        protected: protected numbers that it would block.
        refusals: why the guard would refuse it; empty if it would not.
        era: the release's era.
        before_era: the era of the release in force, None before the first release.
    """

    before: int | None
    after: int
    digest: str
    rows_before: int
    rows_after: int
    total: Tally
    by_category: dict[str, Tally]
    by_operator: dict[str, Tally]
    overrides: tuple[Override, ...]
    protected: tuple[int, ...]
    refusals: tuple[str, ...]
    era: int = 1
    before_era: int | None = None


@dataclass(frozen=True, slots=True)
class BundleResult:
    """The result of making a bundle: what is in it.

    Attributes:
        path: the file.
        feed: the feed's name.
        serial: the release.
        era: the era of the release.
        rows: the number of its entries.
        digest: the digest of its canonical rows, as the authority signed it.
        as_of: when it was published.
        expires: when its signed metadata expires; from then on the bundle is stale.
        stale: whether that is past.
        protected: how many numbers the authority protects.
        overrides: how many overrides are in it, in force or not; None if it was made without.
        own_protected: how many numbers are in it that you protect and the authority does not; None if it was made
            without overrides, with which they come.
        overrides_left_out: how many overrides of yours are not in it, in force or not.
        own_protected_left_out: how many numbers that only you protect are not in it.
        bytes: the size of the file.
    """

    path: str
    feed: str
    serial: int
    era: int
    rows: int
    digest: str
    as_of: _Moment
    expires: _Moment
    stale: bool
    protected: int
    overrides: int | None
    own_protected: int | None
    overrides_left_out: int
    own_protected_left_out: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a recipient.

    Attributes:
        feed: the feed's name.
        serial: the release in force; None before the first sync, as are the fields that describe it.
        rows: the number of its entries.
        digest: that of its canonical rows: its kind, a hyphen, and 64 hexadecimal digits, as in ``tree-…``.
        as_of: when it was published.
        expires: when its signed metadata expires.
        stale: whether that is past.
        generation_bytes: its size on disk.
        last_success: when a sync last succeeded.
        last_attempt: when a sync last ran.
        last_error: the error of the last sync, None if it succeeded.
        refused: the serial of a release that the guard refuses, or None.
        refusals: why it refuses it.
        refused_digest: the digest of that release, to compare with what the publisher says.
        overrides: the number of local decisions in force.
        generations: serials of the releases on this disk, newest first.
        held: the names of those who still need an older release, and its serial.
        disk_bytes: the size of all releases on disk.
        scopes: every scope that an entry of the release in force has, in alphabetical order.
        scope_entries: how many entries have each of these scopes.
        era: the era of the release in force. Serials are compared within one era only.
        refused_era: the era of the refused release.
        generation_eras: the eras of `generations`, in the same order.
        held_eras: the eras of the releases in `held`.
        clock_behind_s: by how many seconds, at least, this machine's clock is behind the newest release that was
            verified here, or behind the last sync; None if it is not, or by at most five minutes. Either it is wrong,
            or the publisher's clock is ahead.
        audit_warning: the last audit head that contradicted an earlier one seen here, in words; None if none ever did.
        damaged: whether a part of the list in force was found not to be as it was written; the next sync fetches the
            list again.
        whole_at: when every byte of the list on this disk had last been found as it was written; None before that.
        bundle: the bundle's path, if the list was opened from one.
    """

    feed: str
    serial: int | None
    rows: int | None
    digest: str | None
    as_of: _Moment | None
    expires: _Moment | None
    stale: bool
    generation_bytes: int | None
    last_success: _Moment | None
    last_attempt: _Moment | None
    last_error: str | None
    refused: int | None = None
    refusals: tuple[str, ...] = ()
    overrides: int = 0
    generations: tuple[int, ...] = ()
    held: dict[str, int] = field(default_factory=dict)
    disk_bytes: int = 0
    scopes: tuple[str, ...] = ()
    refused_digest: str | None = None
    scope_entries: dict[str, int] = field(default_factory=dict)
    era: int | None = None
    refused_era: int | None = None
    generation_eras: tuple[int, ...] = ()
    held_eras: dict[str, int] = field(default_factory=dict)
    clock_behind_s: int | None = None
    audit_warning: str | None = None
    damaged: bool = False
    whole_at: _Moment | None = None
    bundle: str | None = None
