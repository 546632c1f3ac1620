"""The audit trail's head in signed indexes: what an exchange signs of it, and what recipients remember. Pure.

An exchange chains every change of its state in an audit trail. Each release carries how many lines the trail had, and
the hash of the last of them, which covers all before it. Whoever keeps these heads can show later that lines were
changed, whatever the exchange's database says then.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.release.names import feed_name
from blocklist_sdk.release.release_id import ReleaseId

LENGTH_MAX: Final = 2**53 - 1
"""The largest integer up to which every reader of JSON agrees (RFC 8259, section 6)."""

_HASH_DIGITS: Final = 64
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_SERIAL_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AuditHead:
    """How far an exchange's audit trail reaches, and the hash of its last line.

    Attributes:
        length: how many lines the trail has; less than 2⁵³.
        head: the hash of the last one, SHA-256, 64 lower-case hexadecimal digits.

    Raises:
        InvalidInput: one of them is none.

    Example:
        >>> AuditHead(length=3, head="ab" * 32).length
        3
    """

    length: int
    head: str

    def __post_init__(self) -> None:
        if type(self.length) is not int or not 0 <= self.length <= LENGTH_MAX:
            raise InvalidInput(f"an audit trail's length is an integer from 0 to 2^53 - 1, not {self.length!r}")
        if not isinstance(self.head, str) or len(self.head) != _HASH_DIGITS or set(self.head) - _HEXADECIMAL:
            raise InvalidInput("an audit trail's head is 64 lower-case hexadecimal digits")

    @classmethod
    def of_document(cls, document: Any) -> Self:
        """Read it from an index; fields that it does not know are ignored.

        Raises:
            InvalidInput: it is not one.
        """
        if not isinstance(document, dict):
            raise InvalidInput("audit must be an object with length and head")
        length: Any = document.get("length")
        head: Any = document.get("head")
        return cls(length, head)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a person writes.

        Raises:
            InvalidInput: it is not LENGTH:HEAD.

        >>> AuditHead.parse("3:" + "ab" * 32).length
        3
        """
        length, _, head = text.partition(":")
        if not (length.isascii() and length.isdecimal() and len(length) <= len(str(LENGTH_MAX))):
            raise InvalidInput(f"{text!r} is not the end of an audit trail: write it as LENGTH:HEAD")
        return cls(int(length), head)

    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"length": self.length, "head": self.head}

    def contradicts(self, later: Self) -> bool:
        """Whether no trail that is only added to can have this head, and the other one in a later release."""
        return later.length < self.length or (later.length == self.length and later.head != self.head)


@dataclass(frozen=True, slots=True)
class SeenAuditHead:
    """An audit head that a recipient has seen in a verified index.

    Attributes:
        feed: the feed's name.
        era, serial: the release in whose index it stood.
        length, head: as in `AuditHead`.
        published_at: when the release says that it was published.
        seen_at: when it was first seen here.
        url: the base URL of the repository; heads of one exchange have the same. Not exported, so None there.
        root: the fingerprint of the root that was pinned in another one's place (`blocklist trust replace`) when it was
            seen; None if none was. Serials are compared under one root only.
    """

    feed: str
    era: int
    serial: int
    length: int
    head: str
    published_at: datetime
    seen_at: datetime
    url: str | None = None
    root: str | None = None

    @property
    def release(self) -> ReleaseId:
        """The release in whose index it stood."""
        return ReleaseId(self.era, self.serial)

    @property
    def audit(self) -> AuditHead:
        """The head itself."""
        return AuditHead(self.length, self.head)

    def document(self) -> dict[str, Any]:
        """The same for JSON, with moments as text; without the URL, which is the recipient's own affair."""
        return {
            "feed": self.feed,
            "era": self.era,
            "serial": self.serial,
            "length": self.length,
            "head": self.head,
            "published_at": times.iso(self.published_at),
            "seen_at": times.iso(self.seen_at),
            "root": self.root,
        }

    @classmethod
    def of_document(cls, document: Any) -> Self:
        """Read what :meth:`document` wrote; fields that it does not know are ignored.

        Raises:
            Malformed: it is not such a document.
        """
        if not isinstance(document, dict):
            raise Malformed("it is not an object")
        try:
            audit = AuditHead.of_document(document)
            feed, era, serial = (document.get(name) for name in ("feed", "era", "serial"))
            if not isinstance(feed, str):
                raise Malformed("feed must be the name of a feed")
            name = feed_name(feed)
            if type(era) is not int or type(serial) is not int or era < 1 or not 1 <= serial <= _SERIAL_MAX:
                raise Malformed("era and serial must be integers from 1")
            moments = [datetime.fromisoformat(str(document.get(name))) for name in ("published_at", "seen_at")]
        except ValueError as error:
            raise Malformed(str(error)) from error
        if any(moment.tzinfo is None for moment in moments):
            raise Malformed("published_at and seen_at must have a time zone")
        url, root = document.get("url"), document.get("root")
        if not isinstance(url, str | None) or not isinstance(root, str | None):
            raise Malformed("url and root must be texts, or null")
        return cls(name, era, serial, audit.length, audit.head, moments[0], moments[1], url, root)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Every audit head that a recipient has seen, and what is wrong with them.

    Attributes:
        heads: the heads, in the order in which they were seen.
        problems: releases that contradict each other, and lines that cannot be read; empty if nothing is wrong.
    """

    heads: tuple[SeenAuditHead, ...]
    problems: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.problems


def contradictions(heads: Iterable[SeenAuditHead]) -> Iterator[str]:
    """Say of each two releases that contradict each other why, and which they are.

    A trail is only added to. So within an era of a feed its length never goes down with higher serials, and of all
    feeds of one exchange, equal lengths have equal heads.
    """
    ordered = sorted(heads, key=lambda seen: (seen.url or "", seen.root or "", seen.feed, seen.release))
    highest: dict[tuple[str | None, str | None, str, int], SeenAuditHead] = {}
    of_length: dict[tuple[str | None, str | None, int], SeenAuditHead] = {}
    for seen in ordered:
        within = (seen.url, seen.root, seen.feed, seen.era)
        before = highest.setdefault(within, seen)
        # Equal serials stand in no order: two heads of one release differ only if their lengths are equal.
        if seen.length < before.length and seen.serial > before.serial:
            yield (
                f"the audit trail became shorter: release {before.release} of {before.feed} says {before.length:,} "
                f"lines, release {seen.release} says {seen.length:,}"
            )
        elif seen.serial == before.serial and seen.audit != before.audit:
            yield (
                f"release {seen.release} of {seen.feed} was seen with two audit heads: {before.length:,} lines to "
                f"{before.head}, and {seen.length:,} lines to {seen.head}"
            )
        if seen.length >= before.length:
            highest[within] = seen
        other = of_length.setdefault((seen.url, seen.root, seen.length), seen)
        if other.head != seen.head and (other.feed, other.release) != (seen.feed, seen.release):
            yield (
                f"two audit trails of {seen.length:,} lines: release {other.release} of {other.feed} says "
                f"{other.head}, release {seen.release} of {seen.feed} says {seen.head}"
            )
