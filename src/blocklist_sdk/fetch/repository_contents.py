"""The files that a full copy of a repository needs, byte for byte, as a refresh verified them."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.release.names import feed_name, is_target_path

HISTORY = "root_history"
"""Where tuf keeps the roots that led from the pinned one to the current one."""


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A target file as its role signed it.

    Attributes:
        target: its target path, signed length and hashes.
    """

    target: TargetFile

    @property
    def stored(self) -> str:
        """Its path below `targets/`."""
        return stored_path(self.target)

    def is_at(self, path: Path) -> bool:
        """Whether the file at `path` is this one, to the last byte."""
        if not path.is_file():
            return False
        try:
            with path.open("rb") as file:
                self.target.verify_length_and_hashes(file)
        except LengthOrHashMismatchError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class RepositoryContents:
    """Everything in a copy of a repository, or in a copy of some of its feeds.

    Attributes:
        roots: the roots from the pinned one to the current one, in order; like `roles`, by file name.
        roles: the snapshot, the targets role and the feeds' roles, each under its version.
        timestamp: the file that the others are verified from.
        files: the target files that those roles sign.
        expires: the earliest expiry of a signature. The root's does not count: it makes no list stale.
    """

    roots: Mapping[str, bytes]
    roles: Mapping[str, bytes]
    timestamp: bytes
    files: tuple[SignedFile, ...]
    expires: datetime


def stored_path(target: TargetFile) -> str:
    """The path of a target below `targets/`. It contains the hash, so a newer target of the same name is another file.

    Raises:
        Malformed: it is signed without a SHA-256 hash.
    """
    digest = target.hashes.get("sha256")
    if digest is None or not re.fullmatch("[0-9a-f]{64}", digest):
        raise Malformed(f"{target.path} is signed without a SHA-256 hash: tell the publisher")
    directory, slash, name = target.path.rpartition("/")
    return f"{directory}{slash}{digest}.{name}"


def feeds_of(targets: Targets) -> tuple[str, ...]:
    """The feeds that the targets role delegates, sorted. Other roles may come with later versions of the protocol."""
    roles = targets.delegations.roles if targets.delegations else None
    return tuple(sorted(name for name in roles or () if _is_feed(name)))


def check_feed_role(feed: str, role: Targets) -> None:
    """Check that a feed's role delegates nothing: who has the feed's key must not name others who sign for it.

    Raises:
        Malformed: it delegates.
    """
    if role.delegations is not None and (role.delegations.roles or role.delegations.succinct_roles):
        raise Malformed(
            f"the role of feed {feed!r} delegates to others, which a feed must not: nothing was changed here. Tell the "
            "publisher."
        )


def check_feed(metadata: Path, feed: str) -> None:
    """Check what a feed's role signs, as a refresh has stored it.

    Raises:
        Malformed: it delegates, or a target is signed without a SHA-256 hash or under a path that is not allowed.
        LengthOrHashMismatchError: the publisher signed metadata that does not fit together.
        OSError: the local disk failed.
    """
    signed = {role: Metadata[Targets].from_bytes(_kept(metadata, role)).signed for role in (Targets.type, feed)}
    check_feed_role(feed, signed[feed])
    for file in _files(signed[Targets.type], feed, signed[feed]):
        stored_path(file.target)
    _referred(metadata, feed, _meta(Metadata[Snapshot].from_bytes(_kept(metadata, Snapshot.type)).signed, feed))


def read_contents(metadata: Path, *, first_root: int, feeds: Collection[str]) -> RepositoryContents:
    """Read the metadata that a refresh has stored.

    Args:
        metadata: the folder where tuf keeps verified metadata, the feeds' roles included.
        first_root: the version of the pinned root.
        feeds: feeds that the targets role delegates.

    Raises:
        Malformed: a role is delegated that the snapshot does not name, or a target is signed without a SHA-256 hash or
            under a path that is not allowed.
        LengthOrHashMismatchError: the publisher signed metadata that does not fit together.
        OSError: the local disk failed.
    """
    current = Metadata[Root].from_bytes(_kept(metadata, Root.type)).signed.version
    names = [f"{version}.root.json" for version in range(first_root, current + 1)]
    timestamp = _kept(metadata, Timestamp.type)
    stamped = Metadata[Timestamp].from_bytes(timestamp).signed
    snapshot = Metadata[Snapshot].from_bytes(_kept(metadata, Snapshot.type)).signed
    refers = {Snapshot.type: stamped.snapshot_meta}
    refers |= {role: _meta(snapshot, role) for role in (Targets.type, *feeds)}
    signed = {role: Metadata[Targets].from_bytes(_kept(metadata, role)).signed for role in (Targets.type, *feeds)}
    files = {file.stored: file for role in signed for file in _files(signed[Targets.type], role, signed[role])}
    return RepositoryContents(
        roots={name: (metadata / HISTORY / name).read_bytes() for name in names},
        roles={f"{meta.version}.{role}.json": _referred(metadata, role, meta) for role, meta in refers.items()},
        timestamp=timestamp,
        files=tuple(files.values()),
        expires=min(each.expires for each in (stamped, snapshot, *signed.values())),
    )


def _is_feed(name: str) -> bool:
    try:
        feed_name(name)
    except InvalidInput:
        return False
    return True


def _kept(metadata: Path, role: str) -> bytes:
    return (metadata / f"{role}.json").read_bytes()


def _meta(snapshot: Snapshot, role: str) -> MetaFile:
    meta = snapshot.meta.get(f"{role}.json")
    if meta is None:
        raise Malformed(f"the snapshot does not name the role {role!r}: nothing was changed here. Tell the publisher.")
    return meta


def _referred(metadata: Path, role: str, meta: MetaFile) -> bytes:
    """A role's metadata, checked to be the exact bytes referred to: tuf also accepts other spellings of the same."""
    data = _kept(metadata, role)
    meta.verify_length_and_hashes(data)
    return data


def _files(targets: Targets, role: str, signed: Targets) -> Iterator[SignedFile]:
    """The files that a role signs and is allowed to sign."""
    roles = targets.delegations.roles if targets.delegations else None
    delegated = None if role == Targets.type else (roles or {})[role]
    for path, target in signed.targets.items():
        if delegated is None or delegated.is_delegated_path(path):
            _check_path(path)
            yield SignedFile(target)


def _check_path(path: str) -> None:
    """Refuse a path that leads out of `targets/`, or that a file system refuses, whoever signed it."""
    if not is_target_path(path):
        raise Malformed(
            f"{path[:100]!r} is signed, but is not a target path: nothing was changed here. Tell the publisher."
        )
