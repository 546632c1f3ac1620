"""Other keys for a publisher: at once with the keys that are here, or by a proposal that holders sign.

Each way plans the next root and targets metadata (`key_changes`), has them signed (`ceremony`), and publishes them
(`Repository.install`). A run that is killed leaves a whole repository; the same command, or the same file, completes
what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tuf.api.metadata import Metadata, Root, Targets

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.ceremony import Present, Proposal, missing_in_words
from blocklist_sdk.publisher.folder import PublisherFolder
from blocklist_sdk.publisher.key_changes import (
    TOP_ROLES,
    NextMetadata,
    RoleKeys,
    find_key,
    is_signed_for,
    keys_of,
    next_delegation,
    next_roots,
    renewed,
)
from blocklist_sdk.publisher.keys import ROOT, TARGETS, Keyring, KeyUri, read_public_key
from blocklist_sdk.publisher.older_copy import remember_release
from blocklist_sdk.publisher.published_before import PublishedBefore
from blocklist_sdk.publisher.repository import Repository
from blocklist_sdk.publisher.restart import restarted_feed
from blocklist_sdk.publisher.results import KeyChange
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.publisher.signed_state import SignedState
from blocklist_sdk.release.index import SERIAL_MAX
from blocklist_sdk.release.published import AHEAD_MAX

if TYPE_CHECKING:
    from securesystemslib.signer import Key

_SERIALS_ENOUGH: Final = 1_000_000
"""How many serials have to be left for a feed to go on with them: one a minute for almost two years."""

_PROPOSE: Final = "To have holders elsewhere sign, use `blocklist publish keys propose` with the same role"


@dataclass(frozen=True, slots=True)
class Rotation:
    """What replaces the keys of a role.

    Attributes:
        role: ``root``, ``targets``, ``online`` or ``feed.NAME``.
        uri: an existing key that takes the place of the old one; None for one that is made.
        remove: of ``root`` and ``targets`` only: key ids of the keys to replace; none for all of them.
        keep_old: let the old key sign as well, until another rotation with `drop_old`.
        drop_old: make no new key, and end what `keep_old` has begun.
        restart_serials: begin a feed's serials anew at 1.
        even_if_serials_are_left: do that even where they could go on.
    """

    role: str
    uri: KeyUri | None = None
    remove: Sequence[str] = ()
    keep_old: bool = False
    drop_old: bool = False
    restart_serials: bool = False
    even_if_serials_are_left: bool = False

    def check(self) -> None:
        """Make sure that the options fit together.

        Raises:
            InvalidInput: they do not.
        """
        is_feed = self.role not in TOP_ROLES
        if self.restart_serials and not is_feed:
            raise InvalidInput("only a feed has serials: restart them with the role feed.NAME")
        if self.even_if_serials_are_left and not self.restart_serials:
            raise InvalidInput("even_if_serials_are_left is said of restart_serials: give both, or neither")
        if (self.keep_old or self.drop_old) and (is_feed or self.role == ROOT):
            raise InvalidInput(
                f"the key of {self.role} needs no overlap, since its metadata changes with it in one step: leave out "
                "keep_old and drop_old"
            )
        if self.drop_old and (self.keep_old or self.uri or self.remove):
            raise InvalidInput("drop_old makes no new key: give it without keep_old, a key or keys to replace")
        if self.remove and self.role not in (ROOT, TARGETS):
            raise InvalidInput(f"{self.role} has one key, and all of it is replaced: leave out which one")


def rotate_keys(folder: PublisherFolder, rotation: Rotation) -> KeyChange:
    """Replace keys with those that are here. Errors are those of `Publisher.rotate_keys`."""
    rotation.check()
    with folder.locked() as repository:
        state, keys, role = repository.state, folder.keys, rotation.role
        before = keys_of(state, role)
        if _complete_last(keys, role, before) and rotation.restart_serials and _has_restarted(folder, repository, role):
            return _result(role, before, repository)
        _check_serials(folder, repository, rotation)
        wanted = _newest(keys, role, before) if rotation.drop_old else _replaced(keys, before, rotation)
        if wanted.keys.keys() == before.keys.keys():
            keys.settle(role, before.keys)
            return _result(role, before, repository)
        following = _planned(repository, role, wanted, keep_old=rotation.keep_old)
        proposal = Proposal.of(role, _present(folder, repository), following, restarts=rotation.restart_serials)
        _publish(folder, repository, _signed_here(proposal, keys))
        return _result(role, before, repository)


def propose_keys(
    folder: PublisherFolder,
    role: str,
    *,
    uri: KeyUri | None = None,
    add: Sequence[Path] = (),
    remove: Sequence[str] = (),
    threshold: int | None = None,
    restart_serials: bool = False,
    even_if_serials_are_left: bool = False,
) -> Proposal:
    """Plan other keys, or the renewal of a role. Arguments and errors are those of `Publisher.propose_keys`."""
    rotation = Rotation(
        role, uri=uri, restart_serials=restart_serials, even_if_serials_are_left=even_if_serials_are_left
    )
    rotation.check()
    with folder.locked() as repository:
        before = keys_of(repository.state, role)
        if role in (ROOT, TARGETS):
            given = [read_public_key(path) for path in add]
            added: list[Key] = [*given, *(folder.keys.next(role, uri=uri) if uri else [])]
            wanted = before.changed(add=added, remove=remove, threshold=threshold)
        elif add or remove or threshold is not None:
            raise InvalidInput(
                f"{role} has one key, which is made here, or given with its URI: leave out which keys to add or remove"
            )
        else:
            _complete_last(folder.keys, role, before)
            _check_serials(folder, repository, rotation)
            wanted = _replaced(folder.keys, before, rotation)
        if role in TOP_ROLES and (wanted.keys.keys(), wanted.threshold) == (before.keys.keys(), before.threshold):
            following = _renewal(repository, role)
        else:
            following = _planned(repository, role, wanted)
        return Proposal.of(role, _present(folder, repository), following, restarts=restart_serials)


def install_proposal(folder: PublisherFolder, proposals: Sequence[Proposal]) -> KeyChange:
    """Publish what holders have signed. Arguments and errors are those of `Publisher.install_keys`."""
    proposal = proposals[0].merged(proposals[1:])
    with folder.locked() as repository:
        before = keys_of(repository.state, proposal.role)
        left = _left(folder, repository, proposal)
        if not (left.roots or left.targets):
            folder.keys.settle(proposal.role, before.keys)
            raise InvalidInput("the proposal was installed before: nothing is left to do")
        proposal.check_expiry(folder.timing.clock())
        _require_complete(proposal)
        _publish(folder, repository, left)
        return _result(proposal.role, before, repository)


def _complete_last(keys: Keyring, role: str, present: RoleKeys) -> bool:
    """Complete a run that was killed after it had published: what it made the next key signs alone now."""
    is_left = present.keys.keys() <= keys.next_ids(role)
    if is_left:
        keys.settle(role, present.keys)
    return is_left


def _has_restarted(folder: PublisherFolder, repository: Repository, role: str) -> bool:
    """Whether a run that was killed has begun the serials anew, and all that was left of it is stored now."""
    feed = role.partition(".")[2]
    signed_feed = SignedFeed.find(repository, feed)
    if signed_feed.index is None or signed_feed.index.serial != 1:
        return False
    remember_release(folder, feed, signed_feed.published)
    return True


def _check_serials(folder: PublisherFolder, repository: Repository, rotation: Rotation) -> None:
    if rotation.role in TOP_ROLES:
        return
    feed = rotation.role.partition(".")[2]
    signed_feed = SignedFeed.find(repository, feed)
    index = signed_feed.index
    if index is not None and index.serial >= SERIAL_MAX and not rotation.restart_serials:
        raise InvalidInput(
            f"feed {feed} has no serial left after {index.serial:,}, so that nothing could be published with its new "
            "key: begin its serials anew with restart_serials, or --restart-serials"
        )
    if rotation.restart_serials and index is None:
        raise InvalidInput(
            f"feed {feed} has no release yet, so its serials begin at 1 anyway: leave restart_serials out"
        )
    if index is None or not rotation.restart_serials or rotation.even_if_serials_are_left:
        return
    # Within an era no release is dated before another, so a clock that was ahead also ends an era's usefulness.
    is_dated_ahead = index.published_at - folder.timing.clock() > AHEAD_MAX
    if index.serial <= SERIAL_MAX - _SERIALS_ENOUGH and not is_dated_ahead:
        raise InvalidInput(
            f"the serials of feed {feed} can go on after {signed_feed.published.release}, and no thief has used them "
            "up: leave restart_serials (--restart-serials) out, and the new era goes on with them. To begin them anew "
            "all the same, add even_if_serials_are_left=True, or --even-if-serials-are-left"
        )


def _replaced(keys: Keyring, before: RoleKeys, rotation: Rotation) -> RoleKeys:
    """The keys after a rotation; new ones are made here, or were by a run that was killed."""
    role = rotation.role
    if role not in (ROOT, TARGETS):
        (new,) = keys.next(role, uri=rotation.uri)
        return RoleKeys({new.keyid: new}, 1)
    waiting = keys.next_ids(role)
    gone = [find_key(before.keys, text) for text in rotation.remove] or [k for k in before.keys if k not in waiting]
    if rotation.uri is not None and len(gone) != 1:
        raise InvalidInput(f"one key cannot take the place of {len(gone)}: name the one that it replaces")
    new_keys = keys.next(role, count=len(gone), uri=rotation.uri)
    return before.changed(add=[key for key in new_keys if key.keyid not in before.keys], remove=gone)


def _newest(keys: Keyring, role: str, before: RoleKeys) -> RoleKeys:
    """The keys that were added last, as many as have to sign."""
    known = [place.keyid for place in keys.places(role) if place.keyid in before.keys]
    if len(known) <= before.threshold:
        raise InvalidInput(f"{role} has no old key beside the one that signs: leave out drop_old")
    return RoleKeys({keyid: before.keys[keyid] for keyid in known[-before.threshold :]}, before.threshold)


def _planned(repository: Repository, role: str, wanted: RoleKeys, *, keep_old: bool = False) -> NextMetadata:
    state, expiry = repository.state, repository.expiry
    if role not in TOP_ROLES:
        feed = role.partition(".")[2]
        return NextMetadata(targets=next_delegation(state.targets.signed, feed, wanted, expires=expiry(TARGETS)))
    roots = next_roots(state.root.signed, role, wanted, expires=expiry(ROOT), keep_old=keep_old)
    targets: Targets | None = None
    if not is_signed_for(roots[-1], TARGETS, state.targets):
        targets = renewed(state.targets.signed, expires=expiry(TARGETS))
    return NextMetadata(tuple(roots), targets)


def _renewal(repository: Repository, role: str) -> NextMetadata:
    state, expiry = repository.state, repository.expiry
    if role == ROOT:
        return NextMetadata(roots=(renewed(state.root.signed, expires=expiry(ROOT)),))
    return NextMetadata(targets=renewed(state.targets.signed, expires=expiry(TARGETS)))


def _present(folder: PublisherFolder, repository: Repository) -> Present:
    state = repository.state
    return Present(_published(folder, f"{state.root.signed.version}.root"), state.targets.to_bytes())


def _published(folder: PublisherFolder, name: str) -> bytes:
    path = folder.repository / "metadata" / f"{name}.json"
    with storage(path):
        return path.read_bytes()


def _signed_here(proposal: Proposal, keys: Keyring) -> Proposal:
    """The proposal, signed with every key that is here and is asked for.

    Raises:
        InvalidInput: that is not enough.
    """
    remedies: list[str] = []
    wanted = {keyid for each in proposal.needed for keyid in each.keys}
    for name in (ROOT, TARGETS):
        opened = keys.open(name, only=wanted)
        remedies += opened.remedies
        for signer in opened.signers:
            try:
                proposal, _ = proposal.sign(signer)
            except InvalidInput as error:
                # A hardware module is used only now. If it fails, the other keys may still be enough.
                remedies.append(str(error))
    _require_complete(proposal, remedies)
    return proposal


def _require_complete(proposal: Proposal, remedies: Sequence[str] = ()) -> None:
    missing = missing_in_words(proposal.needed)
    if missing:
        help_ = f" ({'; '.join(remedies)}). {_PROPOSE}" if remedies else ": have the holders of these keys sign"
        raise InvalidInput(f"nothing was changed: {'; '.join(missing)}{help_}")


def _publish(folder: PublisherFolder, repository: Repository, proposal: Proposal) -> None:
    feeds: dict[str, Targets] = {}
    if proposal.restarts and proposal.targets is not None:
        feed = proposal.role.partition(".")[2]
        signed_feed = SignedFeed.find(repository, feed, memory=folder.published_before)
        feeds[feed] = restarted_feed(signed_feed, now=folder.timing.clock())
        folder.remember_published(feed, PublishedBefore(last_entry=signed_feed.last_entry))
    repository.install(proposal.roots, proposal.targets, feeds=feeds)
    if proposal.role not in TOP_ROLES:
        feed = proposal.role.partition(".")[2]
        remember_release(folder, feed, SignedFeed.find(repository, feed).published)
    folder.keys.settle(proposal.role, keys_of(repository.state, proposal.role).keys)


def _left(folder: PublisherFolder, repository: Repository, proposal: Proposal) -> Proposal:
    """The part of a proposal that is not published yet.

    Raises:
        InvalidInput: it is another folder's, or others were published since it was written.
    """
    if proposal.present is None:
        raise InvalidInput("the proposal is of a publisher's folder that was not complete yet, and this one is")
    state = repository.state
    version = Metadata[Root].from_bytes(proposal.present.root).signed.version
    path = folder.repository / "metadata" / f"{version}.root.json"
    if not path.exists() or _published(folder, f"{version}.root") != proposal.present.root:
        raise InvalidInput(
            f"the proposal is of another publisher: its root, version {version}, has the fingerprint "
            f"{proposal.fingerprint}, which none of this folder's roots has"
        )
    return Proposal(
        proposal.role,
        proposal.present,
        tuple(_left_roots(folder, state, proposal, version)),
        _left_targets(state, proposal),
        proposal.restarts,
    )


def _left_roots(
    folder: PublisherFolder, state: SignedState, proposal: Proposal, version: int
) -> Sequence[Metadata[Root]]:
    done = state.root.signed.version - version
    for root in proposal.roots[:done]:
        published = Metadata[Root].from_bytes(_published(folder, f"{root.signed.version}.root"))
        if published.signed_bytes != root.signed_bytes:
            raise _stale("root")
    if proposal.roots and done > len(proposal.roots):
        raise _stale("root")
    return proposal.roots[done:]


def _left_targets(state: SignedState, proposal: Proposal) -> Metadata[Targets] | None:
    if proposal.targets is None or proposal.present is None:
        return None
    if proposal.targets.signed_bytes == state.targets.signed_bytes:
        return None
    if Metadata[Targets].from_bytes(proposal.present.targets).signed_bytes != state.targets.signed_bytes:
        raise _stale("targets role")
    return proposal.targets


def _stale(what: str) -> InvalidInput:
    return InvalidInput(
        f"the proposal is too old: another version of the {what} was published after it was written. Write a new one "
        "with `blocklist publish keys propose`"
    )


def _result(role: str, before: RoleKeys, repository: Repository) -> KeyChange:
    after = keys_of(repository.state, role)
    feed = None if role in TOP_ROLES else SignedFeed.find(repository, role.partition(".")[2])
    return KeyChange(
        role=role,
        added=tuple(keyid for keyid in after.keys if keyid not in before.keys),
        removed=tuple(keyid for keyid in before.keys if keyid not in after.keys),
        kept=tuple(keyid for keyid in after.keys if keyid in before.keys),
        threshold=after.threshold,
        root_version=repository.state.root.signed.version,
        targets_version=repository.state.targets.signed.version,
        era=None if feed is None else feed.era,
        serial=None if feed is None or feed.index is None else feed.index.serial,
    )
