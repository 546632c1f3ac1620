"""The feed index: what releases a feed offers. A signed target of the repository, `FEED/index.json`."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from blocklist_sdk.errors import Malformed
from blocklist_sdk.records import ENTRY_MAX
from blocklist_sdk.release.audit import AuditHead
from blocklist_sdk.release.digest_kinds import PATTERN as DIGEST_PATTERN
from blocklist_sdk.release.limits import RELEASES_MAX
from blocklist_sdk.release.names import PROTOCOL as PROTOCOL
from blocklist_sdk.release.names import is_target_path

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
"""RFC 3339, section 5.6."""


class _Document(BaseModel):
    # A later version of the protocol may add fields: they are kept and ignored.
    # Types are strict: a number is not a text of digits, nor `true`, or two readers would understand different things.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", frozen=True, strict=True)


def _written_moment(value: Any) -> Any:
    if not isinstance(value, (str, datetime)) or (isinstance(value, str) and not _MOMENT.fullmatch(value)):
        raise ValueError("it must be a moment of RFC 3339 with an offset, such as 2026-01-02T06:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("it is not between the years 1 and 9999 in UTC") from error


def _audit_head(value: Any) -> Any:
    return value if value is None or isinstance(value, AuditHead) else AuditHead.of_document(value)


SERIAL_MAX = 2**31 - 1
"""A release a second for 68 years."""

COUNT_MAX = 2**53
"""The largest integer up to which every reader of JSON agrees (RFC 8259, section 6)."""

Count = Annotated[int, Field(ge=0, le=COUNT_MAX)]
EntryId = Annotated[int, Field(ge=0, le=ENTRY_MAX)]
Serial = Annotated[int, Field(ge=1, le=SERIAL_MAX)]
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]
Audit = Annotated[AuditHead, PlainSerializer(AuditHead.document)]
UtcDatetime = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_moment), AfterValidator(_in_utc)]


class FileRef(_Document):
    """A release file: its target path and its length in bytes."""

    path: str
    length: Count


class Release(_Document):
    """One release still offered, as a snapshot, a delta from the serial before, or both."""

    serial: Serial
    published_at: UtcDatetime
    rows: Count
    digest: Digest
    snapshot: FileRef | None = None
    delta: FileRef | None = None


class FeedIndex(_Document):
    """A feed's index.

    Attributes:
        protocol: version of the protocol, 1.
        feed: the feed's name.
        region: CLDR region in which national numbers of this feed were read, or None.
        scope: the feed's scope, such as ``sms+voice``, which new entries get unless the list gives another; None if the
            feed has none. Entries have scopes of their own, which decide.
        serial, published_at, rows, digest: of the current release.
        last_entry: the highest entry id ever given out, so that none is given out twice.
        releases: what is still offered, oldest first; the current one is the last. `RELEASES_MAX` at most.
        audit: how far the audit trail of the exchange that publishes reached when the current release was made; None if
            no exchange publishes.
    """

    protocol: int = PROTOCOL
    feed: str
    region: str | None = None
    scope: str | None = None
    serial: Serial
    published_at: UtcDatetime
    rows: Count
    digest: Digest
    last_entry: EntryId
    releases: tuple[Release, ...]
    audit: Annotated[Audit | None, BeforeValidator(_audit_head)] = None

    @model_validator(mode="after")
    def _current_is_last(self) -> Self:
        if len(self.releases) > RELEASES_MAX:
            raise ValueError(f"it has {len(self.releases):,} releases; an index may have at most {RELEASES_MAX:,}")
        serials = [release.serial for release in self.releases]
        if serials != sorted(set(serials)) or not serials or serials[-1] != self.serial:
            raise ValueError("releases must ascend and end with the current serial")
        if self.current.digest != self.digest or self.current.rows != self.rows:
            raise ValueError("the current release differs from the index's own digest or rows")
        for release in self.releases:
            for file in (release.snapshot, release.delta):
                if file is not None and not is_target_path(file.path, feed=self.feed):
                    # Shown as Python would write it, since it may be anything.
                    raise ValueError(f"{file.path[:100]!r} is not the path of a file of this feed")
        return self

    @property
    def current(self) -> Release:
        """The release in force."""
        return self.releases[-1]

    def find(self, serial: int) -> Release | None:
        """The release of that serial, if it is still offered."""
        return next((release for release in self.releases if release.serial == serial), None)

    def to_json(self) -> bytes:
        """The document as it is signed."""
        absent = {"audit"} if self.audit is None else None
        return self.model_dump_json(indent=1, exclude_none=False, exclude=absent).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, *, feed: str) -> Self:
        """Read a feed's index.

        Raises:
            Malformed: it is not an index of protocol 1, or one of another feed.
        """
        try:
            index = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "document"
            raise Malformed(f"the index of feed {feed!r} is malformed at {where}: {first['msg']}") from error
        if "protocol" not in index.model_fields_set:
            raise Malformed(f"the index of feed {feed!r} does not say which protocol it speaks; tell the publisher")
        if index.protocol != PROTOCOL:
            raise Malformed(
                f"feed {feed!r} speaks protocol {index.protocol}, this library {PROTOCOL}: upgrade blocklist-sdk"
            )
        if index.feed != feed:
            raise Malformed(f"the index of feed {feed!r} calls itself {index.feed!r}")
        return index
