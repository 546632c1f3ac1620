"""Who signs what, and where the keys are, as the repository and the folder of keys have it."""

from blocklist_sdk.publisher.folder import PublisherFolder
from blocklist_sdk.publisher.key_changes import RoleKeys, role_keys
from blocklist_sdk.publisher.keys import ONLINE, ROOT, TARGETS, Keyring, feed_key
from blocklist_sdk.publisher.results import KeyRole, KeyStatus
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.publisher.signed_state import SNAPSHOT, TIMESTAMP
from blocklist_sdk.release.eras import era_of

WITH_HOLDER = "with its holder"
"""Where a key is of which the folder knows the public half alone."""


def key_roles(folder: PublisherFolder) -> tuple[KeyRole, ...]:
    """Every role; root first, feeds last. Errors are those of `Publisher.key_roles`."""
    repository = folder.load()
    state = repository.state
    names = {ROOT: ROOT, TARGETS: TARGETS, SNAPSHOT: ONLINE, TIMESTAMP: ONLINE}
    found: list[KeyRole] = []
    for status in repository.roles:
        role = status.role
        is_feed = role not in names
        delegated = role_keys(state.targets.signed if is_feed else state.root.signed, role)
        index = SignedFeed.find(repository, role).index if is_feed else None
        found.append(
            KeyRole(
                role=role,
                version=status.version,
                expires=status.expires,
                threshold=delegated.threshold,
                keys=_keys(folder.keys, names.get(role) or feed_key(role), delegated),
                scope=folder.scope(role, index) if is_feed else None,
                era=era_of(state.targets.signed, role) if is_feed else None,
            )
        )
    return tuple(found)


def _keys(keys: Keyring, name: str, delegated: RoleKeys) -> tuple[KeyStatus, ...]:
    places = {place.keyid: place for place in keys.places(name)}
    found: list[KeyStatus] = []
    for keyid in delegated.keys:
        place = places.get(keyid)
        if place is None or not (place.file or place.uri):
            found.append(KeyStatus(keyid, WITH_HOLDER, False))
        else:
            where = str(keys.directory / place.file) if place.file else str(place.uri)
            found.append(KeyStatus(keyid, where, place.is_available))
    return tuple(found)
