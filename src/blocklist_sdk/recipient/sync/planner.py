"""The cheapest way, in bytes, from the release a recipient has to the current one. Pure.

An index may offer thousands of releases, so all ways are compared by their bytes in one pass, and the files are named
of the one that is taken.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.index import FeedIndex, FileRef, Release


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """The files to fetch, and how to apply them.

    Attributes:
        kind: ``none``: nothing to do; ``delta``: apply `deltas` to the generation in force; ``snapshot``: read
            `snapshot`, then apply `deltas`.
        snapshot: the snapshot's file.
        deltas: the deltas' files, in order.
    """

    kind: Literal["none", "delta", "snapshot"]
    snapshot: FileRef | None = None
    deltas: tuple[FileRef, ...] = ()

    @property
    def bytes(self) -> int:
        """The bytes to fetch."""
        return sum(file.length for file in (self.snapshot, *self.deltas) if file is not None)


def plan(index: FeedIndex, *, serial: int | None, digest: str | None = None) -> FetchPlan:
    """Plan the way from the release a recipient has to the current one.

    Args:
        index: the feed's signed index.
        serial: the release that the recipient has, or None.
        digest: its digest. If the index has another one for that serial, deltas do not fit and are not planned.

    Raises:
        Malformed: the index offers no way to its own current release.
    """
    offered = None if serial is None else index.find(serial)
    fits = serial is not None and (offered is None or digest is None or offered.digest == digest)
    if fits and serial == index.serial:
        return FetchPlan("none")
    chain = _Chain.of(index)
    by_deltas = chain.after(serial) if serial is not None and fits else None
    if by_deltas is None:
        return snapshot_plan(index)
    # On a tie the delta wins: it is the cheaper one to apply.
    return chain.plan(min([by_deltas, *chain.snapshots()], key=lambda way: way.bytes))


def snapshot_plan(index: FeedIndex) -> FetchPlan:
    """The cheapest plan that does not need the release that the recipient has.

    Raises:
        Malformed: the index offers no such way.
    """
    chain = _Chain.of(index)
    ways = chain.snapshots()
    if not ways:
        raise Malformed(f"feed {index.feed!r} offers no snapshot that leads to release {index.serial}")
    # On a tie the later snapshot wins, after which there are fewer deltas to apply.
    return chain.plan(min(ways, key=lambda way: (way.bytes, -way.following)))


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to the current release.

    Attributes:
        bytes: the bytes to fetch.
        snapshot: the file to start from; None for the release that the recipient has.
        following: the position of the first release whose delta is applied.
    """

    bytes: int
    snapshot: FileRef | None
    following: int


@dataclass(frozen=True, slots=True)
class _Chain:
    """The releases of an index, and what it costs to follow their deltas to the last one.

    Attributes:
        releases: all of them, ascending.
        bytes: the bytes of all deltas from each position on, shorter than `releases` by those from where one of the
            deltas is missing. The last one is 0, behind all releases.
    """

    releases: tuple[Release, ...]
    bytes: tuple[int, ...]

    @classmethod
    def of(cls, index: FeedIndex) -> "_Chain":
        lengths = [0]
        following: int | None = None
        for release in reversed(index.releases):
            if release.delta is None or (following is not None and release.serial != following - 1):
                break
            lengths.append(lengths[-1] + release.delta.length)
            following = release.serial
        return cls(index.releases, tuple(reversed(lengths)))

    def after(self, serial: int) -> _Way | None:
        """The way by deltas alone, from the release of that serial; None if there is no such way."""
        following = bisect_right(self.releases, serial, key=lambda release: release.serial)
        is_next = following < len(self.releases) and self.releases[following].serial == serial + 1
        length = self._length(following) if is_next else None
        return None if length is None else _Way(length, None, following)

    def snapshots(self) -> list[_Way]:
        """The ways from each snapshot that leads to the current release, the oldest first."""
        found = []
        for following, release in enumerate(self.releases, start=1):
            is_last = following == len(self.releases)
            if release.snapshot is not None and (is_last or self.releases[following].serial == release.serial + 1):
                length = self._length(following)
                if length is not None:
                    found.append(_Way(release.snapshot.length + length, release.snapshot, following))
        return found

    def _length(self, following: int) -> int | None:
        """The bytes of all deltas from a position on; None if one is missing."""
        at = following - (len(self.releases) + 1 - len(self.bytes))
        return self.bytes[at] if at >= 0 else None

    def plan(self, way: _Way) -> FetchPlan:
        deltas = tuple(release.delta for release in self.releases[way.following :] if release.delta is not None)
        return FetchPlan("delta" if way.snapshot is None else "snapshot", way.snapshot, deltas)
