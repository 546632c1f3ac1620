"""What a publisher's folder remembers of each feed beside the repository, in case an older copy of it is brought back.

An id that is given out twice, or a serial that means two lists, harms recipients: their systems know an entry by its
id. The repository has both numbers, but a copy from before a theft or a loss has lower ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.release_id import BEFORE_ALL, ReleaseId


@dataclass(frozen=True, slots=True)
class PublishedBefore:
    """The highest that was ever published of a feed.

    Attributes:
        release: the highest release, by era and serial.
        last_entry: the highest entry id that was given out, or may have been by a run that was killed.
    """

    release: ReleaseId = BEFORE_ALL
    last_entry: int = 0

    @classmethod
    def of(cls, index: FeedIndex | None, era: int) -> Self:
        """That of what a repository has.

        Args:
            index: the feed's index; None before the first release.
            era: the feed's era.
        """
        return cls() if index is None else cls(ReleaseId(era, index.serial), index.last_entry)

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Read what `to_document` has written.

        Raises:
            Malformed: it is something else.
        """
        fields = document if isinstance(document, Mapping) else {}
        numbers = [fields.get(name) for name in ("era", "serial", "last_entry")]
        era, serial, last_entry = (each if type(each) is int and each >= 0 else None for each in numbers)
        if era is None or serial is None or last_entry is None:
            raise Malformed("era, serial and last_entry must be integers")
        return cls(ReleaseId(era, serial), last_entry)

    def to_document(self) -> dict[str, int]:
        """The same for a file."""
        return {"era": self.release.era, "serial": self.release.serial, "last_entry": self.last_entry}

    def with_other(self, other: "PublishedBefore") -> "PublishedBefore":
        """The higher of both.

        >>> here, there = PublishedBefore(ReleaseId(1, 9), 40), PublishedBefore(ReleaseId(3, 2), 7)
        >>> here.with_other(there)
        PublishedBefore(release=ReleaseId(era=3, serial=2), last_entry=40)
        """
        return PublishedBefore(max(self.release, other.release), max(self.last_entry, other.last_entry))


NOTHING: Final = PublishedBefore()
"""Nothing was published yet."""
