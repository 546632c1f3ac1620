"""Changes of who may sign: the next versions of the root and of the targets role. Pure.

Whoever has read a new root checks everything else by it, at once. So the keys of the top roles are replaced in two
roots: in the first the old keys and the new ones may sign, then the roles are signed by the new keys, and the second
root has the new keys alone. Whatever is read in between verifies, and a run that is killed leaves a whole repository.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Role, Root, Targets

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.keys import ONLINE, ROOT, TARGETS
from blocklist_sdk.publisher.signed_state import SNAPSHOT, TIMESTAMP, SignedState, T
from blocklist_sdk.release.eras import begin_era
from blocklist_sdk.texts import counted

TOP_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    ROOT: (ROOT,),
    TARGETS: (TARGETS,),
    ONLINE: (SNAPSHOT, TIMESTAMP),
}
"""The roles of TUF that the keys of each name sign; any other name is a feed's key."""

KEYS_MAX: Final = 16
"""How many keys a role may have. Sixteen RSA keys leave a root far below the 512,000 bytes that recipients read."""


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """The keys of a role.

    Attributes:
        keys: the public halves, by key id, in the order in which they were added.
        threshold: how many of them have to sign.
    """

    keys: Mapping[str, Key]
    threshold: int

    def changed(
        self, *, add: Iterable[Key] = (), remove: Iterable[str] = (), threshold: int | None = None
    ) -> "RoleKeys":
        """These keys with some more, or fewer.

        Args:
            add: public keys to add.
            remove: key ids of keys to take away, or how they begin.
            threshold: how many have to sign from then on; None for as many as now.

        Raises:
            InvalidInput: a key id is unknown or fits several keys; a key is added that is there; or there are fewer
                keys than have to sign.
        """
        gone = {found for text in remove for found in (find_key(self.keys, text),)}
        keys = {keyid: key for keyid, key in self.keys.items() if keyid not in gone}
        for key in add:
            if key.keyid in self.keys:
                raise InvalidInput(f"the key {short(key.keyid)} is one of the role's keys already: give a new one")
            keys[key.keyid] = key
        needed = self.threshold if threshold is None else threshold
        if not 1 <= needed <= len(keys):
            raise InvalidInput(
                f"{counted(needed, 'signature')} would be needed of {counted(len(keys), 'key')}: give a threshold from "
                "1 to the number of keys"
            )
        if len(keys) > KEYS_MAX:
            raise InvalidInput(f"a role may have {KEYS_MAX} keys at most, not {len(keys)}")
        return RoleKeys(keys, needed)


@dataclass(frozen=True, slots=True)
class NextMetadata:
    """The next versions of root and targets, in the order in which they come into force.

    Attributes:
        roots: the next roots, by ascending version; none if the root stays as it is.
        targets: the next version of the targets role, signed before the last of the roots is in force; None if it
            stays as it is.
    """

    roots: tuple[Root, ...] = ()
    targets: Targets | None = None

    def __bool__(self) -> bool:
        return bool(self.roots or self.targets)


def short(keyid: str) -> str:
    """The part of a key id that is shown to people: 64 bits, which nobody mistakes for another key by chance."""
    return keyid[:16]


def find_key(keys: Iterable[str], text: str) -> str:
    """The key id that is meant by its first digits.

    Raises:
        InvalidInput: none fits, or several do.

    >>> find_key(["12ab99", "12cd99"], "12ab")
    '12ab99'
    """
    known = list(keys)
    found = [keyid for keyid in known if text and keyid.startswith(text.lower())]
    if len(found) != 1:
        names = ", ".join(map(short, known))
        raise InvalidInput(f"{text!r} {'fits several keys' if found else 'is no key'} of the role, which has: {names}")
    return found[0]


def keys_of(state: SignedState, name: str) -> RoleKeys:
    """The keys of `root`, `targets`, `online` or `feed.NAME` as they are signed.

    Raises:
        InvalidInput: no role has that name.
    """
    delegator: Root | Targets
    if name in TOP_ROLES:
        delegator, role = state.root.signed, TOP_ROLES[name][-1]
    else:
        delegator, role = state.targets.signed, name.partition(".")[2]
        if not name.startswith("feed.") or role not in state.feeds:
            feeds = ", ".join(f"feed.{feed}" for feed in sorted(state.feeds))
            raise InvalidInput(f"no role is called {name!r}: give root, targets, online, or one of {feeds}")
    return role_keys(delegator, role)


def role_keys(delegator: Root | Targets, role: str) -> RoleKeys:
    """The keys of a role as the role that delegates to it has them."""
    found = delegator.get_delegated_role(role)
    return RoleKeys({keyid: delegator.get_key(keyid) for keyid in found.keyids}, found.threshold)


def next_roots(root: Root, name: str, wanted: RoleKeys, *, expires: datetime, keep_old: bool = False) -> list[Root]:
    """The roots that lead to other keys of a top role.

    Args:
        root: the present root.
        name: `root`, `targets` or `online`.
        wanted: the keys at the end.
        expires: when the signatures of the new roots expire.
        keep_old: stop where the old keys and the new ones may sign.
    """
    roles = TOP_ROLES[name]
    present = role_keys(root, roles[-1])
    # Any one of the old signatures and any one of the new has to be enough in between.
    both = RoleKeys({**present.keys, **wanted.keys}, min(present.threshold, wanted.threshold))
    steps = [wanted]
    if name != ROOT and not _same(present, both):
        steps = [both] if keep_old or _same(both, wanted) else [both, wanted]
    roots: list[Root] = []
    for step in steps:
        following = copy.deepcopy(roots[-1] if roots else root)
        following.version += 1
        following.expires = expires
        for role in roles:
            set_keys(following, role, step)
        roots.append(following)
    return roots


def next_delegation(targets: Targets, feed: str, wanted: RoleKeys, *, expires: datetime) -> Targets:
    """The next version of the targets role, in which a feed has other keys; without an old one a new era begins."""
    following = copy.deepcopy(targets)
    following.version += 1
    following.expires = expires
    gone = role_keys(targets, feed).keys.keys() - wanted.keys.keys()
    set_keys(following, feed, wanted)
    if gone:
        begin_era(following, feed)
    return following


def renewed(signed: T, *, expires: datetime) -> T:
    """The next version of a role, which differs in nothing but its expiry."""
    following = copy.deepcopy(signed)
    following.version += 1
    following.expires = expires
    return following


def set_keys(signed: Root | Targets, role: str, wanted: RoleKeys) -> None:
    """Give a role, in metadata that is not signed yet, these keys and no others."""
    found: Role = signed.get_delegated_role(role)
    for keyid in [keyid for keyid in found.keyids if keyid not in wanted.keys]:
        signed.revoke_key(keyid, role)
    for key in wanted.keys.values():
        signed.add_key(key, role)
    found.threshold = wanted.threshold


def is_signed_for(delegator: Root | Targets, role: str, metadata: Metadata[T]) -> bool:
    """Whether a role's metadata carries the signatures that who delegates to it asks for."""
    return bool(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures))


def _same(one: RoleKeys, other: RoleKeys) -> bool:
    return one.keys.keys() == other.keys.keys() and one.threshold == other.threshold
