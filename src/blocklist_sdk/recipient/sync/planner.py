"""The cheapest way, in bytes, from the release a recipient has to the current one. Pure."""

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
    deltas = _deltas(index, after=serial) if serial is not None and fits else None
    if deltas is None:
        return snapshot_plan(index)
    # On a tie the delta wins: it is the cheaper one to apply.
    return min([FetchPlan("delta", deltas=deltas), *_snapshot_plans(index)], key=lambda candidate: candidate.bytes)


def snapshot_plan(index: FeedIndex) -> FetchPlan:
    """The cheapest plan that does not need the release that the recipient has.

    Raises:
        Malformed: the index offers no such way.
    """
    plans = _snapshot_plans(index)
    if not plans:
        raise Malformed(f"feed {index.feed!r} offers no snapshot that leads to release {index.serial}")
    return min(plans, key=lambda candidate: (candidate.bytes, len(candidate.deltas)))


def healing_plan(index: FeedIndex, failed: FetchPlan) -> FetchPlan | None:
    """The plan to try once more after one whose files did not lead to the current release; None if there is no other.

    It begins with a snapshot, and goes through as few of the same deltas as possible: one of them may be the cause.

    Args:
        index: the feed's signed index.
        failed: the plan that was carried out.
    """
    others = [candidate for candidate in _snapshot_plans(index) if candidate != failed]
    if not others:
        return None
    suspects = {file.path for file in failed.deltas}

    def cost(candidate: FetchPlan) -> tuple[int, int]:
        return sum(file.path in suspects for file in candidate.deltas), candidate.bytes

    return min(others, key=cost)


def _snapshot_plans(index: FeedIndex) -> list[FetchPlan]:
    return [
        FetchPlan("snapshot", snapshot=release.snapshot, deltas=deltas)
        for release in index.releases
        if release.snapshot is not None and (deltas := _deltas(index, after=release.serial)) is not None
    ]


def _deltas(index: FeedIndex, *, after: int) -> tuple[FileRef, ...] | None:
    """The deltas of every release after that serial, None if one is missing."""
    chain: list[Release] = [release for release in index.releases if release.serial > after]
    # Serials ascend and end with the current one, so as many as there must be are all of them.
    if len(chain) != index.serial - after:
        return None
    deltas = tuple(release.delta for release in chain if release.delta is not None)
    return deltas if len(deltas) == len(chain) else None
