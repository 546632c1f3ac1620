"""What a bundle's list is proved by: the signed metadata from a pinned root down, as the exchange's server had it.

Verified as in section 5 of the TUF specification, but for expiry, which says how fresh the list is and not whose it is:
a bundle is as old as its signatures.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from blocklist_sdk.errors import InvalidInput, Malformed, Untrusted
from blocklist_sdk.recipient.cache.release_answers import About
from blocklist_sdk.release.eras import era_of
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.limits import INDEX_BYTES_MAX, ROOT_BYTES_MAX
from blocklist_sdk.release.names import PROTECTED_PATH, index_path
from blocklist_sdk.release.protected import PROTECTED_BYTES_MAX, read_protected, write_protected
from blocklist_sdk.release.roots import ODD_SHAPES, follow_roots
from blocklist_sdk.release.rows import Int64s

_ROLE_BYTES_MAX: Final = 5_000_000
"""What tuf itself allows the largest role (`UpdaterConfig.targets_max_length`)."""

ROOTS_MAX: Final = 256
"""So many roots tuf follows (`UpdaterConfig.max_root_rotations`)."""

_Signed = TypeVar("_Signed", Root, Snapshot, Targets, Timestamp)


@dataclass(frozen=True, slots=True)
class Documents:
    """The files that prove a release, as they were signed.

    Attributes:
        roots: the roots, ascending, each signed by the one before it.
        timestamp, snapshot, targets, role: the other roles; `role` is the feed's.
        protected: the authority's protected numbers.
        index: the feed's index.
    """

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    role: bytes
    protected: bytes
    index: bytes

    def named(self, feed: str) -> dict[str, bytes]:
        """Each by its name in the archive, which is that in a repository but for hashes and versions, in order."""
        roots = {f"metadata/{_version_of(root)}.root.json": root for root in self.roots}
        return roots | dict(zip(names(feed), self._others(), strict=True))

    def _others(self) -> tuple[bytes, ...]:
        return self.timestamp, self.snapshot, self.targets, self.role, self.protected, self.index


def names(feed: str) -> tuple[str, ...]:
    """The names of all documents but the roots, in the order in which they stand."""
    roles = (f"metadata/{role}.json" for role in (Timestamp.type, Snapshot.type, Targets.type, feed))
    return *roles, f"targets/{PROTECTED_PATH}", f"targets/{index_path(feed)}"


def bytes_max(name: str) -> int:
    """How long a document may be."""
    if name.endswith(".root.json"):
        return ROOT_BYTES_MAX
    if name.startswith("metadata/"):
        return _ROLE_BYTES_MAX
    return PROTECTED_BYTES_MAX if name == f"targets/{PROTECTED_PATH}" else INDEX_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Evidence:
    """What signed documents say.

    Attributes:
        about: the release.
        expires: when the signatures expire, timezone-aware.
        protected: the authority's protected numbers, ascending.
    """

    about: About
    expires: datetime
    protected: Int64s


def read_evidence(documents: Documents, *, pinned: bytes, feed: str) -> Evidence:
    """Verify signatures and hashes from a pinned root down to a feed's index.

    Args:
        documents: what may be anybody's.
        pinned: the root that is trusted. If it is newer than those of the documents, its own keys must have signed.
        feed: the feed whose index it is.

    Raises:
        InvalidInput: the pinned root is not root metadata.
        Untrusted: the documents do not prove it.
    """
    trusted = _pinned(pinned)
    try:
        return _proved(documents, trusted, feed)
    except (Malformed, RepositoryError, *ODD_SHAPES) as error:
        raise Untrusted(f"it cannot be proved that the authority signed it: {error}") from error


def _pinned(data: bytes) -> Metadata[Root]:
    try:
        return _read(Root, data)
    except (Malformed, RepositoryError, *ODD_SHAPES) as error:
        raise InvalidInput(
            "the pinned root is not root metadata: get root.json from the authority, by a way you trust",
            argument="root",
        ) from error


def _proved(documents: Documents, pinned: Metadata[Root], feed: str) -> Evidence:
    root = _newest_root(documents.roots, pinned).signed
    timestamp, snapshot = _read(Timestamp, documents.timestamp), _read(Snapshot, documents.snapshot)
    targets, role = _read(Targets, documents.targets), _read(Targets, documents.role)
    root.verify_delegate(Timestamp.type, timestamp.signed_bytes, timestamp.signatures)
    root.verify_delegate(Snapshot.type, snapshot.signed_bytes, snapshot.signatures)
    root.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
    targets.signed.verify_delegate(feed, role.signed_bytes, role.signatures)

    referred: list[tuple[MetaFile, Metadata[Any], bytes]] = [
        (timestamp.signed.snapshot_meta, snapshot, documents.snapshot),
        (snapshot.signed.meta[f"{Targets.type}.json"], targets, documents.targets),
        (snapshot.signed.meta[f"{feed}.json"], role, documents.role),
    ]
    for meta, metadata, data in referred:
        meta.verify_length_and_hashes(data)
        if meta.version != metadata.signed.version:
            raise Malformed(f"a role has version {metadata.signed.version}, and {meta.version} was signed")

    delegated = ((targets.signed.delegations and targets.signed.delegations.roles) or {})[feed]
    if not delegated.is_delegated_path(index_path(feed)):
        raise Malformed(f"the role of feed {feed!r} may not sign its index")
    role.signed.targets[index_path(feed)].verify_length_and_hashes(documents.index)
    _check_protected(targets.signed, documents.protected)

    index = FeedIndex.from_json(documents.index, feed=feed)
    signers = targets.signed.get_verification_result(feed, role.signed_bytes, role.signatures).signed
    about = About(
        feed=feed,
        serial=index.serial,
        digest=index.digest,
        rows=index.rows,
        published_at=index.published_at,
        signers=tuple(sorted(signers)),
        era=era_of(targets.signed, feed),
    )
    expires = min(timestamp.signed.expires, snapshot.signed.expires, targets.signed.expires, role.signed.expires)
    return Evidence(about, expires, read_protected(documents.protected))


def _check_protected(targets: Targets, document: bytes) -> None:
    listed = targets.targets.get(PROTECTED_PATH)
    if listed is not None:
        listed.verify_length_and_hashes(document)
    elif document != write_protected(()):
        raise Malformed("the targets role signs no protected numbers, and there are some in it")


def _newest_root(roots: tuple[bytes, ...], pinned: Metadata[Root]) -> Metadata[Root]:
    """The newest root that the pinned one leads to."""
    known: dict[int, Metadata[Root]] = {}
    for data in roots:
        root = _read(Root, data)
        known[root.signed.version] = root
    if not known or chain_of_roots(roots) != roots:
        raise Malformed("its roots do not lead to each other")
    same = known.get(pinned.signed.version)
    if same is not None and same.signed_bytes != pinned.signed_bytes:
        raise Malformed(f"its root {pinned.signed.version} is not the pinned one")
    newest = follow_roots(pinned, known.get)
    if newest.signed.version < max(known):
        raise Malformed(f"root {newest.signed.version + 1} is not in it")
    return newest


def _read(kind: type[_Signed], data: bytes) -> Metadata[_Signed]:
    metadata: Metadata[_Signed] = Metadata.from_bytes(data)
    # Keys may be shared by roles, so that a signature alone does not say which one it is.
    if metadata.signed.type != kind.type:
        raise Malformed(f"{kind.type} metadata is expected, and this is {metadata.signed.type} metadata")
    return metadata


def _version_of(root: bytes) -> int:
    return _read(Root, root).signed.version


def chain_of_roots(roots: Iterable[bytes]) -> tuple[bytes, ...]:
    """The newest of some roots, and those that lead to it, ascending; what does not belong to them is left out."""
    known: dict[int, tuple[Metadata[Root], bytes]] = {}
    for data in roots:
        with contextlib.suppress(Malformed, RepositoryError, *ODD_SHAPES):
            root = _read(Root, data)
            known.setdefault(root.signed.version, (root, data))
    version = max(known, default=0)
    chain = [known[version][1]] if known else []
    while version - 1 in known and len(chain) < ROOTS_MAX:
        older, newer = known[version - 1][0], known[version][0]
        try:
            older.signed.verify_delegate(Root.type, newer.signed_bytes, newer.signatures)
        except RepositoryError:
            break
        version -= 1
        chain.insert(0, known[version][1])
    return tuple(chain)


def documents_of(found: Mapping[str, bytes], feed: str) -> Documents:
    """The documents in an archive, by their names there; roots are those that are named so, in order.

    Raises:
        KeyError: one is missing.
    """
    roots = tuple(data for name, data in found.items() if name.endswith(".root.json"))
    return Documents(roots, *(found[name] for name in names(feed)))
