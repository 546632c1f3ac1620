"""The chain of roots by which an authority replaces its keys (section 5.3 of the TUF specification)."""

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from tuf.api.exceptions import BadVersionNumberError, RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError

from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Untrusted

_FIRST_VERSION_MAX: Final = 32
"""How far the first root is looked for: a repository may lack some, as a mirror does whose own pin is newer."""

_WALK_MAX: Final = 256
"""So many roots tuf itself follows (`UpdaterConfig.max_root_rotations`)."""

ODD_SHAPES: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What tuf raises, beside its own errors, of metadata whose values it does not check, such as a role whose name is a
number."""


def follow_roots(trusted: Metadata[Root], find: Callable[[int], Metadata[Root] | None]) -> Metadata[Root]:
    """The newest root that a trusted one leads to: each is signed by the one before it, and by itself.

    Args:
        trusted: the root to begin with.
        find: returns the root of a version; None ends the walk.

    Raises:
        tuf.api.exceptions.RepositoryError: a root is not signed so, or has another version.
    """
    while (following := find(trusted.signed.version + 1)) is not None:
        if following.signed.version != trusted.signed.version + 1:
            raise BadVersionNumberError(f"root {trusted.signed.version + 1} says that it is {following.signed.version}")
        for signer in (trusted, following):
            signer.signed.verify_delegate(Root.type, following.signed_bytes, following.signatures)
        trusted = following
    return trusted


def walk_roots(fetch: Callable[[int], bytes | None]) -> tuple[bytes, ...]:
    """The roots that a repository offers, from the first that it has to the newest; none of them is trusted by this.

    Each is signed by itself and by the one before it. So whoever trusts one of them may trust those after it, and no
    other.

    Args:
        fetch: returns the file of a version; None if there is none.

    Raises:
        Malformed: a file is not root metadata.
        Untrusted: a root is not signed by itself, or not by the one before it.
    """
    found = (fetch(version) for version in range(1, _FIRST_VERSION_MAX + 1))
    files = [data for data in [next((data for data in found if data is not None), None)] if data is not None]
    if not files:
        return ()

    def following(version: int) -> Metadata[Root] | None:
        data = fetch(version) if len(files) < _WALK_MAX else None
        if data is None:
            return None
        files.append(data)
        return _parsed(data)

    try:
        first = _parsed(files[0])
        first.signed.verify_delegate(Root.type, first.signed_bytes, first.signatures)
        follow_roots(first, following)
    except BlocklistError:
        raise
    except ODD_SHAPES as error:
        raise Malformed("what the repository offers as its root cannot be used: tell the publisher") from error
    except RepositoryError as error:
        raise Untrusted(
            f"the roots that the repository offers do not follow from each other: {error}. Nothing was changed here; "
            "tell the publisher"
        ) from error
    return tuple(files)


def root_expiry(data: bytes) -> datetime:
    """When a root expires, timezone-aware UTC; its signatures are not checked.

    Raises:
        Malformed: it is not root metadata.
    """
    return _parsed(data).signed.expires


def _parsed(data: bytes) -> Metadata[Root]:
    try:
        metadata = Metadata[Root].from_bytes(data)
        if metadata.signed.type == Root.type:
            return metadata
    except (DeserializationError, *ODD_SHAPES) as error:
        raise Malformed(
            "what the repository offers as its root is not metadata: a captive portal or a proxy may have answered in "
            "the server's stead. Check the address"
        ) from error
    raise Malformed(f"what the repository offers as its root is {metadata.signed.type} metadata: tell the publisher")


def root_version(data: bytes) -> int:
    """The version of a root's file; its signatures are not checked.

    Raises:
        InvalidInput: it is not root metadata.
    """
    try:
        signed = Metadata.from_bytes(data).signed
    except DeserializationError as error:
        raise InvalidInput("the file is not root metadata: give the root.json of a publisher") from error
    if not isinstance(signed, Root):
        raise InvalidInput(f"the file is {signed.type} metadata, not root: give the root.json of a publisher")
    return signed.version


def root_keys(pinned: bytes, known: Iterable[bytes]) -> frozenset[str]:
    """The ids of the keys of a pinned root, of those that it leads to, and of those that lead to it.

    Args:
        pinned: root metadata that is trusted.
        known: other roots, in any order; what is damaged, or does not belong to the pinned one, is left out.

    Raises:
        tuf.api.exceptions.RepositoryError: the pinned root is not root metadata.
    """
    root = Metadata[Root].from_bytes(pinned)
    by_version = {root.signed.version: root}
    for data in known:
        with contextlib.suppress(RepositoryError):
            other = Metadata[Root].from_bytes(data)
            if isinstance(other.signed, Root):
                by_version.setdefault(other.signed.version, other)
    chain = [root]
    for step in (1, -1):
        at = root
        while (following := by_version.get(at.signed.version + step)) is not None:
            older, newer = (at, following) if step == 1 else (following, at)
            try:
                for signer in (older, newer):
                    signer.signed.verify_delegate(Root.type, newer.signed_bytes, newer.signatures)
            except RepositoryError:
                break
            chain.append(following)
            at = following
    return frozenset(key for each in chain for key in each.signed.roles[Root.type].keyids)
