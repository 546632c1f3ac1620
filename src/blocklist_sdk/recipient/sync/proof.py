"""The proof that a generation on disk is what the authority signed, without the network."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from blocklist_sdk.errors import Malformed
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.names import index_path
from blocklist_sdk.release.roots import ODD_SHAPES, follow_roots

_NO_CHAIN: Final = "the root that signed it does not follow from the pinned one"
_REPLACE: Final = (
    "If the publisher has begun anew with other root keys, run blocklist trust replace with the new root and its "
    "fingerprint; then the next sync proves the list by the new root"
)

Read = Callable[[str], bytes | None]


def problems_of(generation: Generation, *, pinned: bytes, roots: Iterable[bytes]) -> list[str]:
    """Verify the signatures from the pinned root down to the generation's digest, and return what is wrong.

    Expiry does not matter: what was signed in time stays signed.

    `pinned` is the root that the recipient trusts; `roots` are newer ones that are known, in any order.
    """
    about = generation.about
    try:
        data = _kept(generation, "index.json")
        index = FeedIndex.from_json(data, feed=about.feed)
        root = _root(_kept(generation, "root.json"), pinned, roots)
        targets = Metadata[Targets].from_bytes(_kept(generation, "targets.json"))
        role = Metadata[Targets].from_bytes(_kept(generation, "feed.json"))
        root.signed.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
        targets.signed.verify_delegate(about.feed, role.signed_bytes, role.signatures)
        listed = role.signed.targets.get(index_path(about.feed))
        if listed is None:
            return ["the feed's role signs no index"]
        listed.verify_length_and_hashes(data)
    except (Malformed, RepositoryError, *ODD_SHAPES) as error:
        return [f"it cannot be proved that the authority signed it: {error}"]
    if (index.serial, index.digest, index.rows) != (about.serial, about.digest, about.rows):
        return ["the signed index is of another release"]
    return []


def _kept(generation: Generation, name: str) -> bytes:
    data = generation.signed(name)
    if data is None:
        raise Malformed(f"{name} was not kept with the release")
    return data


def _root(root_bytes: bytes, pinned: bytes, roots: Iterable[bytes]) -> Metadata[Root]:
    """The root that signed, if the pinned one leads to it: each root is signed by the one before, and by itself."""
    trusted, found = Metadata[Root].from_bytes(pinned), Metadata[Root].from_bytes(root_bytes)
    known = {trusted.signed.version: trusted}
    # Between two that follow each other is no other, so that none has to be read.
    between = roots if abs(trusted.signed.version - found.signed.version) > 1 else ()
    for data in (*between, root_bytes):
        with contextlib.suppress(RepositoryError, *ODD_SHAPES):
            candidate = Metadata[Root].from_bytes(data)
            known.setdefault(candidate.signed.version, candidate)
    # Whichever is older leads to the other; a recipient may have pinned a newer one since.
    older, newer = sorted((trusted, found), key=lambda each: each.signed.version)
    try:
        root = follow_roots(older, lambda version: known.get(version) if version <= newer.signed.version else None)
    except RepositoryError as error:
        raise Malformed(f"{_NO_CHAIN} ({error}). {_REPLACE}") from error
    if root.signed.version < newer.signed.version:
        raise Malformed(f"root {root.signed.version + 1} is missing on this disk")
    if root.signed_bytes != newer.signed_bytes:
        raise Malformed(f"{_NO_CHAIN}. {_REPLACE}")
    return found
