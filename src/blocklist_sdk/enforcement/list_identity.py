"""Which list is enforced: the keys that may sign its roots, whatever its URL and the name of its feed."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist


@dataclass(frozen=True, slots=True)
class ListIdentity:
    """Which list is enforced.

    Attributes:
        digest: the SHA-256 of the pinned root and of those that are known beside it. Equal digests mean equal keys.
        keys: ids of the keys of the roots that the pinned one leads to, and that lead to it.
    """

    digest: str
    keys: frozenset[str]

    @classmethod
    def of(cls, blocklist: "Blocklist", known: "ListIdentity | None", *, generation: str) -> "ListIdentity | None":
        """The identity of a list; None if it is not known.

        Args:
            blocklist: the list.
            known: the one of the last run.
            generation: the name of the generation that is enforced.

        Raises:
            StorageFailed: the roots cannot be read.
            InvalidInput: the state of the list was written by a newer version of this library.
        """
        from blocklist_sdk.recipient.blocklist import internals_of

        internals = internals_of(blocklist)
        roots = list(internals.store.known_roots())
        parts = sorted(hashlib.sha256(root).digest() for root in (internals.root, *roots))
        digest = hashlib.sha256(hashlib.sha256(internals.root).digest() + b"".join(parts)).hexdigest()
        if known is not None and known.digest == digest:
            return known
        from blocklist_sdk.recipient.cache.state import load_state

        if load_state(internals.state_file).former_generation == generation:
            return known  # another root was pinned, and no list came under it yet
        from blocklist_sdk.release.roots import root_keys  # here, since most runs know the keys

        return cls(digest, root_keys(internals.root, roots))

    def is_same(self, known: "ListIdentity | None") -> bool:
        """Whether it is the list of the last run, as far as that is known: roots that follow each other share keys."""
        return known is None or not self.keys.isdisjoint(known.keys)

    def joined(self, known: "ListIdentity | None") -> "ListIdentity":
        """The same, with the keys of the last run, so that a list is known by its older roots, too."""
        return self if known is None or known.keys <= self.keys else ListIdentity(self.digest, self.keys | known.keys)
