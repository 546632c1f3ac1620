"""The signed repository: TUF metadata and target files, as static files that any web server can serve.

Published is what `timestamp.json` refers to, and nothing else. A change adds files under names that were never used,
and takes effect when `timestamp.json` is replaced, last, in one rename. A run that is killed leaves files that nothing
refers to; the next run writes over them. ``docs/adr/0003-repository-is-its-own-state.md`` gives the reasons.
"""

import copy
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from blocklist_sdk.disk import adopt, storage, write_file
from blocklist_sdk.errors import InvalidInput, Malformed, Untrusted
from blocklist_sdk.modes import PUBLIC
from blocklist_sdk.publisher.key_changes import is_signed_for
from blocklist_sdk.publisher.keys import ONLINE, ROOT, TARGETS, Keyring, OpenedKeys, feed_key
from blocklist_sdk.publisher.results import OverdueRole, RoleStatus
from blocklist_sdk.publisher.retention import delete_unneeded
from blocklist_sdk.publisher.signed_state import (
    SNAPSHOT,
    TIMESTAMP,
    SignedState,
    T,
    load_published,
    verify,
    why_not_signed,
)
from blocklist_sdk.release.eras import begin_era
from blocklist_sdk.release.names import PROTECTED_PATH

ROOT_KEYS: Final = 3
ROOT_THRESHOLD: Final = 2
"""Two of three: one root key may be lost and another stolen before recipients have to pin a new root."""

TARGETS_METADATA_BYTES_MAX: Final = 5_000_000
"""TUF clients read no more of a targets role (`targets_max_length` of python-tuf)."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long signatures are valid. A refresh signs a role again when less than a third of its time is left.

    Attributes:
        timestamp: also the longest time for which an attacker can hide newer releases from a recipient. Every refresh
            renews it, so two days are enough to repair a publisher that has stopped.
        snapshot: signed with the same online key, by every release.
        feed: signed by every release, too; a quarter of a year for feeds that seldom have one.
        targets: signed with a key that is kept offline, which should be fetched only about once a year.
        root: as `targets`.
    """

    timestamp: timedelta = timedelta(hours=48)
    snapshot: timedelta = timedelta(days=7)
    feed: timedelta = timedelta(days=90)
    targets: timedelta = timedelta(days=365)
    root: timedelta = timedelta(days=365)

    def of(self, role: str) -> timedelta:
        """The lifetime of a role; any other name is a feed."""
        known = {ROOT: self.root, TARGETS: self.targets, SNAPSHOT: self.snapshot, TIMESTAMP: self.timestamp}
        return known.get(role, self.feed)

    def expiry(self, role: str, now: datetime) -> datetime:
        """When the signature of a role expires that is made now, UTC, to the whole second."""
        return (now + self.of(role)).astimezone(UTC).replace(microsecond=0)


class Repository:
    """A repository on disk; whoever changes it holds the publisher's lock."""

    def __init__(
        self, directory: Path, keys: Keyring, state: SignedState, *, lifetimes: Lifetimes, clock: Callable[[], datetime]
    ) -> None:
        """Use :meth:`create` or :meth:`load`."""
        self._directory = directory
        self._keys = keys
        self._state = state
        self._lifetimes = lifetimes
        self._clock = clock

    # Making and loading

    @classmethod
    def create(
        cls,
        directory: Path,
        keys: Keyring,
        *,
        feeds: Collection[str],
        protected: bytes,
        lifetimes: Lifetimes,
        clock: Callable[[], datetime],
        root: Metadata[Root] | None = None,
        targets: Metadata[Targets] | None = None,
    ) -> Self:
        """Make and sign a repository whose feeds have no release yet.

        Args:
            directory: its folder.
            keys: the keys, among them one for each feed.
            feeds: the feeds' names.
            protected: the document of the protected numbers.
            lifetimes: how long signatures are valid.
            clock: returns the current moment.
            root: the first root, if it is signed already.
            targets: the first version of the targets role, if it is signed already.

        Raises:
            InvalidInput: a key is not available, or there are fewer root keys than have to sign.
            StorageFailed: the disk refused.
        """
        first = first_metadata(keys, feeds=feeds, protected=protected, lifetimes=lifetimes, now=clock())
        root = root or Metadata(first.root)
        targets = targets or Metadata(first.targets)
        state = SignedState(
            root=root,
            timestamp=Metadata(_unpublished(Timestamp())),
            snapshot=Metadata(_unpublished(Snapshot(meta={}))),
            targets=targets,
            feeds={feed: Metadata(Targets(version=1, expires=lifetimes.expiry(feed, clock()))) for feed in feeds},
        )
        repository = cls(directory, keys, state, lifetimes=lifetimes, clock=clock)
        with storage(directory):
            for folder in (directory, directory / "metadata", directory / "targets"):
                PUBLIC.make(folder)
            for feed in feeds:
                PUBLIC.make(directory / "targets" / feed)
            repository._publish_root(root if root.signatures else repository._sign(root.signed, ROOT, root.signed))
            repository._store_bytes(PROTECTED_PATH, protected)
        if not targets.signatures:
            targets = repository._sign_targets(targets.signed, TARGETS)
        signed = {
            feed: repository._sign_targets(state.feeds[feed].signed, feed, targets=targets.signed) for feed in feeds
        }
        repository._put({TARGETS: targets, **signed})
        return repository

    @classmethod
    def load(
        cls,
        directory: Path,
        keys: Keyring,
        *,
        root: bytes,
        lifetimes: Lifetimes,
        clock: Callable[[], datetime],
    ) -> Self:
        """Read and verify what is published, starting from a pinned root as a recipient does; expiry is not checked.

        Raises:
            Malformed: a file is missing or cannot be read.
            Untrusted: a signature or a hash does not verify.
        """
        state = load_published(directory / "metadata", root)
        return cls(directory, keys, state, lifetimes=lifetimes, clock=clock)

    # Reading

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds' names, sorted."""
        return tuple(sorted(self._state.feeds))

    @property
    def state(self) -> SignedState:
        """The signed metadata that is published."""
        return self._state

    @property
    def root(self) -> bytes:
        """The current root, for recipients to pin."""
        return self._state.root.to_bytes()

    @property
    def roles(self) -> tuple[RoleStatus, ...]:
        """Every role; root first, feeds last."""
        state = self._state
        signed: dict[str, Signed] = {
            ROOT: state.root.signed,
            TARGETS: state.targets.signed,
            SNAPSHOT: state.snapshot.signed,
            TIMESTAMP: state.timestamp.signed,
            **{feed: state.feeds[feed].signed for feed in self.feeds},
        }
        return tuple(RoleStatus(role, each.version, each.expires) for role, each in signed.items())

    def file(self, role: str, path: str) -> Path | None:
        """A published target file, checked against its signed length and hash; None if the role does not list it.

        Raises:
            Malformed: the file is missing.
            Untrusted: the file is not the one that was signed.
        """
        target = self._state.targets_role(role).signed.targets.get(path)
        if target is None:
            return None
        stored = self._stored(target)
        try:
            with stored.open("rb") as file:
                target.verify_length_and_hashes(file)
        except OSError as error:
            raise Malformed(f"{stored} is missing: restore the repository from your backup") from error
        except LengthOrHashMismatchError as error:
            raise Untrusted(
                f"{stored} is not the file that was signed: restore the repository from your backup"
            ) from error
        return stored

    def folder(self, feed: str) -> Path:
        """The folder of a feed's target files."""
        return self._directory / "targets" / feed

    # Changing

    def set_targets(self, role: str, *, files: Mapping[str, Path | bytes], keep: Collection[str] = ()) -> None:
        """Set the target files of a role, sign and publish.

        Args:
            role: `targets`, or a feed.
            files: the new files by their paths; a file on disk is moved, so it must be staged.
            keep: paths of the role's current files to keep; the others are no longer published.

        Raises:
            InvalidInput: a key is not available, or the role's metadata would be too long for TUF clients.
            StorageFailed: the disk refused; what is published is whole.
        """
        self._commit({role: self.with_files(role, files, keep=keep)})

    def with_files(self, role: str, files: Mapping[str, Path | bytes], *, keep: Collection[str] = ()) -> Targets:
        """Store target files, and return the next version of a role that has them, unsigned; see `set_targets`."""
        current = self._state.targets_role(role).signed
        targets = {path: current.targets[path] for path in keep}
        with storage(self._directory):
            for path, content in files.items():
                store = self._store_bytes if isinstance(content, bytes) else self._store_file
                targets[path] = store(path, content)  # type: ignore[arg-type]
        return _successor(current, targets=targets)

    def delegate(self, feed: str) -> None:
        """Add a feed that has no release yet; the keyring must already contain its key.

        Raises:
            InvalidInput: the feed exists already, or the targets key is not available.
            StorageFailed: the disk refused; what is published is whole.
        """
        if feed in self._state.feeds:
            raise InvalidInput(f"the feed {feed!r} exists already")
        targets = _successor(self._state.targets.signed)
        _delegate(targets, feed, self._keys)
        begin_era(targets, feed)
        with storage(self._directory):
            PUBLIC.make(self.folder(feed))
        empty = Targets(version=1, expires=self.expiry(feed))
        self._commit({TARGETS: targets, feed: empty})

    def install(
        self,
        roots: Sequence[Metadata[Root]],
        targets: Metadata[Targets] | None,
        *,
        feeds: Mapping[str, Targets] | None = None,
    ) -> None:
        """Publish roots and a targets role that are signed already, and sign again what they leave without signatures.

        Recipients may read at any moment, and a run may be killed at any moment: each root comes into force only when
        all that is published verifies by it.

        Args:
            roots: the next roots, by ascending version.
            targets: the next version of the targets role; None if it stays as it is.
            feeds: next versions of feeds' roles, to be signed with their keys; a feed whose keys change is signed
                again in any case.

        Raises:
            Untrusted: a signature is missing, or recipients would refuse what is published in between.
            InvalidInput: a key that has to sign again is not available.
            StorageFailed: the disk refused; what is published is whole.
        """
        final = roots[-1].signed if roots else self._state.root.signed
        pending = self._resigned(targets, feeds or {}, final) if targets or feeds else {}
        for role in (SNAPSHOT, TIMESTAMP):
            self._require_signers(role, final)
        for root in roots:
            if not self._verifies_by(root.signed):
                self._put(pending, root=final)
                pending = {}
            with storage(self._directory):
                self._publish_root(root)
        if pending or not self._verifies_by(final):
            self._put(pending, root=final)

    def _resigned(
        self, targets: Metadata[Targets] | None, feeds: Mapping[str, Targets], root: Root
    ) -> dict[str, Metadata[Targets]]:
        """The targets role, and the feeds' roles as they have to be signed by it."""
        delegator = self._state.targets
        pending: dict[str, Metadata[Targets]] = {}
        if targets is not None:
            verify(root, TARGETS, targets)
            pending[TARGETS] = delegator = targets
        following = dict(feeds)
        for feed, published in self._state.feeds.items():
            if feed not in following and not is_signed_for(delegator.signed, feed, published):
                following[feed] = _successor(published.signed)
        for feed, signed in following.items():
            pending[feed] = self._sign_targets(signed, feed, targets=delegator.signed)
        return pending

    def _verifies_by(self, root: Root) -> bool:
        state = self._state
        return (
            is_signed_for(root, TARGETS, state.targets)
            and is_signed_for(root, SNAPSHOT, state.snapshot)
            and is_signed_for(root, TIMESTAMP, state.timestamp)
        )

    def renew(self) -> tuple[tuple[str, ...], tuple[OverdueRole, ...]]:
        """Sign the timestamp again, and every role of whose time less than a third is left.

        Returns:
            The roles that were signed again, and the roles that were due as well but lack the keys. One of the latter
            does not stop the others.

        Raises:
            InvalidInput: the online key is not available.
            StorageFailed: the disk refused; what is published is whole.
        """
        self._require_signers(TIMESTAMP, self._delegator(TIMESTAMP))
        due = [status for status in self.roles if self._is_due(status)]
        signed: dict[str, Metadata[Targets]] = {}
        overdue: list[OverdueRole] = []
        for status in due:
            role = status.role
            try:
                if role == ROOT:
                    self._renew_root()
                elif role not in (SNAPSHOT, TIMESTAMP):
                    signed[role] = self._sign_targets(_successor(self._state.targets_role(role).signed), role)
            except (InvalidInput, Untrusted) as error:
                overdue.append(OverdueRole(role, status.expires, str(error)))
        renewed = [status.role for status in due if status.role not in {each.role for each in overdue}]
        self._put(signed, renew_snapshot=SNAPSHOT in renewed)
        return (*(role for role in renewed if role != TIMESTAMP), TIMESTAMP), tuple(overdue)

    def _renew_root(self) -> None:
        root = _successor(self._state.root.signed)
        root.expires = self.expiry(ROOT)
        with storage(self._directory):
            self._put_root(root)

    def _commit(self, roles: Mapping[str, Targets]) -> None:
        """Sign roles and publish them."""
        targets = roles.get(TARGETS, self._state.targets.signed)
        self._put({role: self._sign_targets(roles[role], role, targets=targets) for role in roles})

    def _sign_targets(self, signed: Targets, role: str, *, targets: Targets | None = None) -> Metadata[Targets]:
        """Sign the targets role, or a feed's role, as the role that delegates to it demands."""
        signed.expires = self.expiry(role)
        delegator = self._state.root.signed if role == TARGETS else targets or self._state.targets.signed
        metadata = self._sign(signed, role, delegator)
        length = len(metadata.to_bytes())
        if length > TARGETS_METADATA_BYTES_MAX:
            raise InvalidInput(
                f"the metadata of {role!r} would be {length:,} bytes long, but recipients read at most "
                f"{TARGETS_METADATA_BYTES_MAX:,}: spread the feeds over several repositories"
            )
        return metadata

    def _put(
        self, roles: Mapping[str, Metadata[Targets]], *, renew_snapshot: bool = True, root: Root | None = None
    ) -> None:
        """Write signed roles, then the snapshot that refers to them, then the timestamp.

        They are signed as `root` demands, a root that comes into force after them, or else as the present one does;
        and must verify by the present one in any case.
        """
        state = self._state
        delegator = root or state.root.signed
        if TARGETS in roles:
            verify(state.root.signed, TARGETS, roles[TARGETS])
        pending = {f"{signed.signed.version}.{role}.json": signed.to_bytes() for role, signed in roles.items()}
        snapshot = state.snapshot
        if roles or renew_snapshot:
            following = _successor(snapshot.signed)
            following.expires = self.expiry(SNAPSHOT)
            for role in roles:
                version = roles[role].signed.version
                following.meta[f"{role}.json"] = _meta(version, pending[f"{version}.{role}.json"])
            snapshot = self._sign(following, SNAPSHOT, delegator)
            pending[f"{following.version}.{SNAPSHOT}.json"] = snapshot.to_bytes()
        timestamp = _successor(state.timestamp.signed)
        timestamp.expires = self.expiry(TIMESTAMP)
        if snapshot is not state.snapshot:
            timestamp.snapshot_meta = _meta(snapshot.signed.version, snapshot.to_bytes())
        signed_timestamp = self._sign(timestamp, TIMESTAMP, delegator)
        verify(state.root.signed, SNAPSHOT, snapshot)
        verify(state.root.signed, TIMESTAMP, signed_timestamp)
        with storage(self._directory):
            for name, data in pending.items():
                write_file(self._directory / "metadata" / name, data, PUBLIC)
            write_file(self._directory / "metadata" / "timestamp.json", signed_timestamp.to_bytes(), PUBLIC)
        feeds = {**state.feeds, **{role: signed for role, signed in roles.items() if role != TARGETS}}
        self._state = SignedState(state.root, signed_timestamp, snapshot, roles.get(TARGETS, state.targets), feeds)

    def delete_unpublished(self, record: Path, *, grace: timedelta) -> None:
        """Delete files that have not been published for longer than `grace`; see :func:`delete_unneeded`.

        Raises:
            StorageFailed: the disk refused.
        """
        state = self._state
        metadata = self._directory / "metadata"
        needed = {metadata / "timestamp.json", *metadata.glob("*.root.json")}
        needed.add(metadata / f"{state.snapshot.signed.version}.{SNAPSHOT}.json")
        for role in (TARGETS, *state.feeds):
            signed = state.targets_role(role).signed
            needed.add(metadata / f"{signed.version}.{role}.json")
            needed.update(self._stored(target) for target in signed.targets.values())
        delete_unneeded(self._directory, needed, record, now=self._clock(), grace=grace)

    # Signing and storing

    def _sign(self, signed: T, role: str, delegator: Root | Targets) -> Metadata[T]:
        """Sign a role with all its keys that are available, and check that recipients will accept it."""
        threshold = delegator.get_delegated_role(role).threshold
        opened: OpenedKeys = self._require_signers(role, delegator)
        metadata = Metadata(signed)
        failed: list[str] = []
        for signer in opened.signers:
            try:
                metadata.sign(signer, append=True)
            except UnsignedMetadataError as error:
                # A hardware module or service is used only now. If it fails, the other keys may still be enough.
                failed.append(f"a key of {role!r} could not sign ({why_not_signed(error)}): make it available")
        if len(metadata.signatures) < threshold:
            raise _too_few(role, threshold, len(metadata.signatures), (*opened.remedies, *failed))
        verify(delegator, role, metadata)
        return metadata

    def require_keys(self, role: str) -> None:
        """Make sure, before any work is done, that a role and the roles that refer to it can be signed.

        Raises:
            InvalidInput: a key is not available, or the passphrase is wrong.
        """
        for each in (role, SNAPSHOT, TIMESTAMP):
            self._require_signers(each, self._delegator(each))

    def _require_signers(self, role: str, delegator: Root | Targets) -> OpenedKeys:
        """The keys that may sign a role. The folder may have others: a next one, or one that was just replaced."""
        trusted = delegator.get_delegated_role(role)
        opened = self._keys.open(_key_name(role), only=trusted.keyids)
        if len(opened.signers) < trusted.threshold:
            raise _too_few(role, trusted.threshold, len(opened.signers), opened.remedies)
        return opened

    def _delegator(self, role: str) -> Root | Targets:
        return self._state.targets.signed if role in self._state.feeds else self._state.root.signed

    def _is_due(self, status: RoleStatus) -> bool:
        return status.expires - self._clock() < self._lifetimes.of(status.role) / 3

    def expiry(self, role: str) -> datetime:
        """When a signature of a role expires that is made now."""
        return self._lifetimes.expiry(role, self._clock())

    def _put_root(self, root: Root) -> None:
        """Publish a root. Recipients go from root to root, so it is in force as soon as its file exists."""
        self._publish_root(self._sign(root, ROOT, self._state.root.signed))

    def _publish_root(self, root: Metadata[Root]) -> None:
        verify(self._state.root.signed, ROOT, root)
        verify(root.signed, ROOT, root)
        write_file(self._directory / "metadata" / f"{root.signed.version}.root.json", root.to_bytes(), PUBLIC)
        self._state = replace(self._state, root=root)

    def _store_bytes(self, path: str, content: bytes) -> TargetFile:
        target = TargetFile.from_data(path, content, ["sha256"])
        write_file(self._stored(target), content, PUBLIC)
        return target

    def _store_file(self, path: str, staged: Path) -> TargetFile:
        with staged.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        target = TargetFile(length=staged.stat().st_size, hashes={"sha256": sha256}, path=path)
        adopt(staged, self._stored(target), PUBLIC)
        return target

    def _stored(self, target: TargetFile) -> Path:
        """The path of a target file: with consistent snapshots, its hash is put before its name."""
        folder, _, name = target.path.rpartition("/")
        return self._directory / "targets" / folder / f"{target.hashes['sha256']}.{name}"


@dataclass(frozen=True, slots=True)
class FirstMetadata:
    """The first root and the first version of the targets role, unsigned."""

    root: Root
    targets: Targets


def first_metadata(
    keys: Keyring,
    *,
    feeds: Collection[str],
    protected: bytes,
    lifetimes: Lifetimes,
    now: datetime,
    root_threshold: int = ROOT_THRESHOLD,
) -> FirstMetadata:
    """The metadata with which a repository begins.

    Raises:
        InvalidInput: there are fewer root keys than have to sign.
    """
    count = len({key.keyid for key in keys.public(ROOT)})
    if count < root_threshold:
        raise InvalidInput(
            f"the root needs signatures by {root_threshold} different keys, and {count or 'none'} was given: give at "
            f"least {root_threshold} root keys, better {root_threshold + 1}, so that one may be lost"
        )
    root = Root(version=1, expires=lifetimes.expiry(ROOT, now), consistent_snapshot=True)
    for role, name in ((ROOT, ROOT), (TARGETS, TARGETS), (SNAPSHOT, ONLINE), (TIMESTAMP, ONLINE)):
        for key in keys.public(name):
            root.add_key(key, role)
    root.roles[ROOT].threshold = root_threshold
    targets = Targets(version=1, expires=lifetimes.expiry(TARGETS, now), delegations=Delegations({}, {}))
    for feed in feeds:
        _delegate(targets, feed, keys)
    targets.targets[PROTECTED_PATH] = TargetFile.from_data(PROTECTED_PATH, protected, ["sha256"])
    return FirstMetadata(root, targets)


def _key_name(role: str) -> str:
    return {ROOT: ROOT, TARGETS: TARGETS, SNAPSHOT: ONLINE, TIMESTAMP: ONLINE}.get(role) or feed_key(role)


def _too_few(role: str, threshold: int, count: int, remedies: Collection[str]) -> InvalidInput:
    signatures = "1 signature" if threshold == 1 else f"{threshold} signatures"
    return InvalidInput(
        f"{role!r} needs {signatures}, but {count or 'none'} of its keys can sign: "
        f"{'; '.join(remedies) or 'it has no other keys'}"
    )


def _delegate(targets: Targets, feed: str, keys: Keyring) -> None:
    delegations = targets.delegations
    assert delegations is not None
    assert delegations.roles is not None
    delegations.roles[feed] = DelegatedRole(feed, [], 1, True, paths=[f"{feed}/*"])
    for key in keys.public(feed_key(feed)):
        targets.add_key(key, feed)


def _successor(signed: T, *, targets: dict[str, TargetFile] | None = None) -> T:
    """An unsigned copy with the next version; after a killed run, that is the version of its leftover again."""
    following = copy.deepcopy(signed)
    following.version += 1
    if targets is not None and isinstance(following, Targets):
        following.targets = targets
    return following


def _unpublished(signed: T) -> T:
    """Metadata before its first version, which the first commit makes."""
    signed.version = 0
    return signed


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])
