"""What a repository on disk publishes: verified from a pinned root down, as a recipient does."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from blocklist_sdk.errors import Malformed, Untrusted
from blocklist_sdk.publisher.keys import ROOT, TARGETS
from blocklist_sdk.release.roots import follow_roots

SNAPSHOT, TIMESTAMP = "snapshot", "timestamp"

T = TypeVar("T", Root, Snapshot, Targets, Timestamp)


@dataclass(frozen=True, slots=True)
class SignedState:
    """The signed metadata that `timestamp.json` leads to.

    Attributes:
        root, timestamp, snapshot, targets: the top roles.
        feeds: each feed's role.
    """

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    feeds: Mapping[str, Metadata[Targets]]

    def targets_role(self, role: str) -> Metadata[Targets]:
        """The role that signs target files under that name: `targets` itself, or a feed."""
        return self.targets if role == TARGETS else self.feeds[role]


def load_published(metadata: Path, root: bytes) -> SignedState:
    """Read and verify what is published; expiry is no matter here, since what has expired is to be signed again.

    Args:
        metadata: the repository's folder of metadata.
        root: a root to start from.

    Raises:
        Malformed: a file is missing or cannot be read.
        Untrusted: a signature or a hash does not verify.
    """
    pinned = _parse(root, Root, "the pinned root")
    _require_roots(metadata, pinned.signed.version)
    with _verifying(ROOT):
        trusted = follow_roots(
            pinned,
            lambda version: _read(path, Root) if (path := metadata / f"{version}.root.json").exists() else None,
        )
    timestamp = _read(metadata / "timestamp.json", Timestamp)
    verify(trusted.signed, TIMESTAMP, timestamp)
    snapshot = _follow(metadata, SNAPSHOT, timestamp.signed.snapshot_meta, Snapshot)
    verify(trusted.signed, SNAPSHOT, snapshot)
    meta = snapshot.signed.meta
    targets = _follow(metadata, TARGETS, meta[f"{TARGETS}.json"], Targets)
    verify(trusted.signed, TARGETS, targets)
    feeds: dict[str, Metadata[Targets]] = {}
    delegations = targets.signed.delegations
    for feed in (delegations.roles if delegations else None) or ():
        feeds[feed] = _follow(metadata, feed, meta[f"{feed}.json"], Targets)
        verify(targets.signed, feed, feeds[feed])
    return SignedState(trusted, timestamp, snapshot, targets, feeds)


def _require_roots(metadata: Path, pinned: int) -> None:
    """Make sure that a repository is not an older copy, from before the pinned root was published.

    Raises:
        Malformed: it is.
    """
    names = [path.name.partition(".")[0] for path in metadata.glob("*.root.json")]
    newest = max((int(name) for name in names if name.isdecimal()), default=None)
    if newest is None or newest >= pinned:
        return
    raise Malformed(
        f"root.json is version {pinned}, and the newest root in {metadata} is version {newest}: the repository is an "
        f"older copy, from before keys were replaced. Bring a copy back that has {pinned}.root.json, as from where it "
        f"is served, or from a mirror. If there is none, copy {newest}.root.json over root.json, and replace "
        "the online key (blocklist publish keys rotate DIR --role online) until the root's version is higher than "
        f"{pinned}: then recipients go on"
    )


def _parse(data: bytes, kind: type[T], name: str) -> Metadata[T]:
    try:
        metadata = Metadata[T].from_bytes(data)
    except DeserializationError as error:
        raise Malformed(f"{name} is damaged: bring it back from your backup") from error
    if not isinstance(metadata.signed, kind):
        raise Malformed(f"{name} is {metadata.signed.type} metadata, not {kind.type}")
    return metadata


def _read(path: Path, kind: type[T]) -> Metadata[T]:
    try:
        return _parse(path.read_bytes(), kind, str(path))
    except OSError as error:
        raise Malformed(f"{path} cannot be read: bring the repository back from your backup") from error


def _follow(metadata: Path, role: str, meta: MetaFile, kind: type[T]) -> Metadata[T]:
    path = metadata / f"{meta.version}.{role}.json"
    found = _read(path, kind)
    try:
        meta.verify_length_and_hashes(path.read_bytes())
    except LengthOrHashMismatchError as error:
        raise Untrusted(f"{path} is not the file that was signed: bring it back from your backup") from error
    return found


def verify(delegator: Root | Targets, role: str, metadata: Metadata[T]) -> None:
    """Check that a role's metadata carries the signatures that who delegates to it asks for.

    Raises:
        Untrusted: it does not.
    """
    with _verifying(role):
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)


def why_not_signed(error: Exception) -> str:
    """Why a key could not sign: some errors of hardware modules have a name, such as `PinIncorrect`, and no words."""
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__


@contextlib.contextmanager
def _verifying(role: str) -> Iterator[None]:
    try:
        yield
    except (RepositoryError, ValueError) as error:
        raise Untrusted(f"the metadata of {role!r} does not verify: {error}") from error
