"""What a proposal changes: checked against what is published, and in words. Pure.

A proposal may change keys, thresholds and expiries. Whoever signs it sees all that it changes, so anything else is
refused.
"""

import copy
from collections.abc import Iterator, Sequence

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Role, Root, Targets

from blocklist_sdk.errors import BlocklistError, Malformed
from blocklist_sdk.publisher.key_changes import KEYS_MAX, RoleKeys, role_keys, short
from blocklist_sdk.publisher.keys import ONLINE, ROOT, TARGETS
from blocklist_sdk.publisher.signed_state import SNAPSHOT, TIMESTAMP
from blocklist_sdk.release.eras import ERA_FIELD, begin_era, era_of
from blocklist_sdk.release.names import PROTECTED_PATH, feed_name
from blocklist_sdk.texts import counted, displayable

_SHOWN = {ROOT: ROOT, TARGETS: TARGETS, SNAPSHOT: ONLINE}
"""The top roles whose keys are shown, and their names; the timestamp's keys are the snapshot's."""


def check_successors(
    root: Root | None, targets: Targets | None, roots: Sequence[Root], following: Targets | None
) -> None:
    """Make sure that documents follow the present ones one by one, and change nothing but keys and expiries.

    Args:
        root: the present root; None if the first documents are proposed.
        targets: the present targets role; None in the same case.
        roots: the next roots.
        following: the next targets role, or None.

    Raises:
        Malformed: they do not.
    """
    if root is None or targets is None:
        _check_first(roots, following)
        return
    for each in roots:
        _check_root(root, each)
        root = each
    if following is not None:
        _check_targets(targets, following)


def changes_in_words(
    root: Root | None, targets: Targets | None, roots: Sequence[Root], following: Targets | None
) -> list[str]:
    """What documents change, a line for each change; arguments are those of `check_successors`."""
    lines: list[str] = []
    for each in roots:
        lines.append(_headline(ROOT, each))
        lines += [f"  {line}" for line in _root_lines(root, each)]
        root = each
    if following is not None:
        lines.append(_headline(TARGETS, following))
        lines += [f"  {line}" for line in _targets_lines(targets, following)]
    return [displayable(line) for line in lines]


def _headline(role: str, signed: Root | Targets) -> str:
    return f"{role}: version {signed.version}, expires {signed.expires:%Y-%m-%d}"


def _root_lines(before: Root | None, after: Root) -> Iterator[str]:
    found = False
    for role, name in _SHOWN.items():
        for line in _key_lines(role_keys(before, role) if before else None, role_keys(after, role)):
            found = True
            yield f"{name}: {line}"
    if not found:
        yield "no other change"


def _targets_lines(before: Targets | None, after: Targets) -> Iterator[str]:
    found = False
    for feed in sorted(_feeds(after)):
        known = role_keys(before, feed) if before else None
        for line in _key_lines(known, role_keys(after, feed)):
            found = True
            yield f"feed {feed}: {line}"
        if before and era_of(before, feed) != era_of(after, feed):
            yield f"feed {feed}: era {era_of(after, feed)} begins, in which the keys taken away sign nothing any more"
    if not found:
        yield "no other change"


def _key_lines(before: RoleKeys | None, after: RoleKeys) -> Iterator[str]:
    old = before.keys if before else {}
    for keyid, key in after.keys.items():
        if keyid not in old:
            yield f"{'gets ' if before else ''}the key {_key(key)}"
    for keyid, key in old.items():
        if keyid not in after.keys:
            yield f"loses the key {_key(key)}"
    if before is None or before.threshold != after.threshold:
        was = f", not {before.threshold}" if before else ""
        yield f"{after.threshold} of {counted(len(after.keys), 'key')} must sign{was}"


def _key(key: Key) -> str:
    return f"{short(key.keyid)} ({key.keytype})"


def _feeds(targets: Targets) -> dict[str, DelegatedRole]:
    return dict((targets.delegations.roles or {}) if targets.delegations else {})


def _refuse(why: str) -> Malformed:
    return Malformed(f"the proposal {why}: do not sign it, and ask who wrote it")


def _check_first(roots: Sequence[Root], targets: Targets | None) -> None:
    if [root.version for root in roots] != [1] or (targets and targets.version != 1):
        raise _refuse("has no present metadata, and is not of the first")
    expected = Root(version=1, expires=roots[0].expires, consistent_snapshot=True)
    _copy_keys(roots[0], expected)
    if expected != roots[0]:
        raise _refuse("has a first root with more than keys")
    if targets is None:
        return
    feeds = _feeds(targets)
    plain = Targets(version=1, expires=targets.expires, delegations=Delegations({}, {}))
    assert plain.delegations is not None
    assert plain.delegations.roles is not None
    for feed in feeds:
        try:
            feed_name(feed)
        except BlocklistError as error:
            raise _refuse(f"delegates to {feed[:64]!r}, which is not the name of a feed") from error
        plain.delegations.roles[feed] = DelegatedRole(feed, [], 1, True, paths=[f"{feed}/*"])
        _copy_role(targets, plain, feed)
    plain.targets = {path: file for path, file in targets.targets.items() if path == PROTECTED_PATH}
    if plain != targets:
        raise _refuse("has a first targets role with more than feeds and protected numbers")


def _check_root(before: Root, after: Root) -> None:
    if after.version != before.version + 1:
        raise _refuse(f"has root {after.version} after root {before.version}")
    expected = copy.deepcopy(before)
    expected.version, expected.expires = after.version, after.expires
    _copy_keys(after, expected)
    if expected != after:
        raise _refuse("changes more of the root than keys, thresholds and the expiry")


def _copy_keys(source: Root, target: Root) -> None:
    for role in target.roles:
        _copy_role(source, target, role)
    if role_keys(source, SNAPSHOT) != role_keys(source, TIMESTAMP):
        raise _refuse("has different online keys for snapshot and timestamp")


def _copy_role(source: Root | Targets, target: Root | Targets, role: str) -> None:
    """Give a role of `target` the keys that it has in `source`, and in their order, and nothing else."""
    try:
        keys = role_keys(source, role)
    except ValueError as error:
        raise _refuse(f"lacks a role or a key: {error}") from error
    if not 1 <= keys.threshold <= len(keys.keys) <= KEYS_MAX:
        raise _refuse(f"has {len(keys.keys)} keys for {role!r}, of which {keys.threshold} must sign")
    found: Role = target.get_delegated_role(role)
    for keyid in list(found.keyids):
        target.revoke_key(keyid, role)
    for key in keys.keys.values():
        target.add_key(key, role)
    found.threshold = keys.threshold


def _check_targets(before: Targets, after: Targets) -> None:
    if after.version != before.version + 1:
        raise _refuse(f"has version {after.version} of the targets role after version {before.version}")
    if _feeds(before).keys() != _feeds(after).keys():
        raise _refuse("adds or removes feeds")
    expected = copy.deepcopy(before)
    expected.version, expected.expires = after.version, after.expires
    for feed in _feeds(before):
        gone = role_keys(before, feed).keys.keys() - _known_keys(after, feed)
        _copy_role(after, expected, feed)
        if gone:
            begin_era(expected, feed)
    if expected != after:
        raise _refuse(
            "changes more of the targets role than the keys of feeds and the expiry, or not the era with the keys "
            f"(field {ERA_FIELD!r})"
        )


def _known_keys(targets: Targets, feed: str) -> set[str]:
    return set(_feeds(targets)[feed].keyids)
