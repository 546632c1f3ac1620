"""A verified release, open: what every question to it is answered from, wherever its files are."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import pyarrow as pa

from blocklist_sdk.errors import Malformed
from blocklist_sdk.recipient.cache.covering import CoveringRows
from blocklist_sdk.recipient.cache.lookup import NumberLookup
from blocklist_sdk.records import Entry, Scope
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId
from blocklist_sdk.release.rows import Rows, entry_at

DAMAGE: Final = IndexError, KeyError, OverflowError, ValueError, OSError, pa.ArrowException
"""What a flipped bit in a mapped file may lead to."""

RARE: Final = 0.1
"""If a smaller share of the entries has a scope, that is logged: one entry must not hide that the others lack it."""


@dataclass(frozen=True, slots=True)
class About:
    """The release that a generation holds.

    Attributes:
        feed: the feed's name.
        serial: the release's serial.
        digest: the digest of its rows, as the authority signed it.
        rows: the number of its rows.
        published_at: when the authority published it, UTC.
        signers: ids of the keys that signed the feed's role.
        era: the feed's era at that time.
    """

    feed: str
    serial: int
    digest: str
    rows: int
    published_at: datetime
    signers: tuple[str, ...] = ()
    era: int = FIRST_ERA

    @property
    def release(self) -> ReleaseId:
        """Its era and serial."""
        return ReleaseId(self.era, self.serial)


class ReleaseAnswers(ABC):
    """A release, mapped into memory.

    Attributes:
        name: another one for each that is opened in the same place.
        about: the release.
        bytes: its size on disk.
        answers: answers for most numbers without reading their rows.
    """

    name: str
    about: About
    bytes: int
    answers: NumberLookup
    _covering: tuple[CoveringRows, ...]
    _published_ms: int

    @abstractmethod
    def damaged(self) -> Malformed:
        """The error to raise where it turns out to be damaged."""

    # The list

    @property
    @abstractmethod
    def layers(self) -> LayeredRows:
        """Its rows as a base and an overlay."""

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """All rows, for those who need all."""

    @property
    @abstractmethod
    def texts(self) -> Mapping[str, Mapping[str, int]]:
        """For each text column, how many rows have each text.

        Raises:
            Malformed: it is damaged.
        """

    @abstractmethod
    def is_whole(self) -> bool:
        """Whether every byte is as it was written; reads them all."""

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        """Turn what a flipped bit in a mapped file may lead to into `Malformed`."""
        try:
            yield
        except DAMAGE as error:
            raise self.damaged() from error

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Every category of an entry, in the order of `Texts.values`."""
        return tuple(sorted(self.texts["category"], key=str.encode))

    @cached_property
    def scope_entries(self) -> dict[str, int]:
        """How many entries have each scope, in force or not, by name."""
        found: dict[str, int] = {}
        for value, count in self.texts["scope"].items():
            for part in value.split("+"):
                found[part] = found.get(part, 0) + count
        return dict(sorted(found.items()))

    @cached_property
    def scopes(self) -> frozenset[str]:
        """Every scope that an entry has, in force or not."""
        return frozenset(self.scope_entries)

    def lists_scope(self, scope: Scope | None) -> bool | None:
        """Whether an entry has a scope; None without a scope, and on an empty list."""
        return None if scope is None or not self.scopes else scope in self.scopes

    def is_scope_rare(self, scope: Scope | None) -> bool:
        """Whether so few entries have a scope that the feed may be the wrong one for it."""
        if scope is None or scope not in self.scopes:
            return False
        return self.scope_entries[scope] < RARE * self.about.rows

    # One number

    def blocks(self, number: int, now_ms: int) -> bool:
        """Whether the number's rows block it at a moment, in milliseconds since 1970 UTC; for any scope.

        A row that begins no later than its release was published has begun, whatever the clock says.

        Raises:
            Malformed: the rows are damaged.
        """
        begun_ms = max(now_ms, self._published_ms)
        with self._damage():
            return any(part.blocks(number, begun_ms, now_ms) for part in self._covering)

    def covering(self, number: int) -> list[Entry]:
        """Every entry that covers the number, in force or not, by entry id.

        Raises:
            Malformed: the rows are damaged.
        """
        feed = self.about.feed
        with self._damage():
            found = [entry_at(part.rows, row, feed=feed) for part in self._covering for row in part.positions(number)]
            return sorted(found, key=lambda entry: entry.entry)
