"""Trust: a repository's metadata, verified from the pinned root down (TUF). Only this module uses tuf's client."""

import contextlib
import shutil
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from tuf.api.exceptions import DownloadHTTPError, ExpiredMetadataError, LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError
from tuf.ngclient import FetcherInterface, Updater

from blocklist_sdk.disk import adopt, storage
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Stale, Unreachable, Untrusted
from blocklist_sdk.fetch.key_kinds import unknown_key, upgrade
from blocklist_sdk.fetch.repository_contents import (
    HISTORY,
    RepositoryContents,
    SignedFile,
    check_feed,
    check_feed_role,
    feeds_of,
    read_contents,
    stored_path,
)
from blocklist_sdk.fetch.transport import Transport, shown
from blocklist_sdk.modes import PRIVATE, Access
from blocklist_sdk.net.server_clock import CLOCKS_DIFFER, offset_text
from blocklist_sdk.release.eras import era_of
from blocklist_sdk.release.names import index_path, unknown_feed
from blocklist_sdk.release.roots import ODD_SHAPES

_NOTHING_CHANGED = "Nothing was changed here"
_GET_ROOT = "get root.json from the authority, by a way you trust"
_METADATA_BYTES_MAX = 5_000_000
"""What tuf itself allows the largest role (`UpdaterConfig.targets_max_length`)."""


class Trust:
    """A repository as of one refresh; for one thread, under the lock that guards `metadata_dir`.

    If the local metadata was lost, an old state that has not expired is accepted: the caller must remember the highest
    serial seen. Every method may raise the errors of `refresh`; only other ones are named.

    Use it like this::

        trust = Trust(base_url=url, metadata_dir=directory, root=pinned, transport=transport)
        trust.refresh()
        index = trust.fetch("id-messaging/index.json", max_bytes=1 << 20)
    """

    def __init__(
        self, *, base_url: str, metadata_dir: Path, root: bytes, transport: Transport, access: Access = PRIVATE
    ) -> None:
        """Uses neither network nor disk.

        Args:
            base_url: where `metadata/` and `targets/` are.
            metadata_dir: a folder for this repository alone, with the metadata verified so far: a rollback behind it is
                refused.
            root: the pinned root metadata, obtained in a way that the recipient trusts.
            transport: fetches the files.
            access: who may read the metadata on this disk.

        Raises:
            InvalidInput: `root` is not root metadata, or not signed by its own keys.
        """
        check_root(root)
        self._base_url = base_url.rstrip("/")
        self._shown_url = shown(self._base_url)
        self._metadata_dir = metadata_dir
        self._root = root
        self._access = access
        self._transport = transport
        self._fetcher = _Fetcher(transport)
        self._updater: Updater | None = None

    def refresh(self) -> None:
        """Bring root, timestamp, snapshot and targets up to date; a failure undoes nothing that was verified before.

        Raises:
            Unreachable: the network failed, or the repository lacks a file.
            Untrusted: a signature, hash, length or version is wrong: an attack, or the root of another repository.
            Stale: the repository's metadata has expired.
            Malformed: an answer is not metadata.
            StorageFailed: the local disk failed.
        """
        self._updater = None
        self._fetcher = _Fetcher(self._transport)
        with self._translated():
            _heal(self._metadata_dir, self._access)
            updater = Updater(
                metadata_dir=str(self._metadata_dir),
                metadata_base_url=f"{self._base_url}/metadata/",
                fetcher=self._fetcher,
                bootstrap=self._root,
            )
            with self._readable():
                updater.refresh()
        self._updater = updater

    def target(self, path: str) -> TargetFile | None:
        """The signed length and hashes of a target; None if no role that is trusted to sign it lists it."""
        with self._translated(), self._readable():
            return self._refreshed.get_targetinfo(path)

    def limit_time(self, length: int = 0) -> None:
        """Let what is fetched from now on take so long together, as `Transport.limit_time` does."""
        self._transport.limit_time(length)

    def fetch(self, path: str, *, max_bytes: int) -> bytes:
        """Fetch and verify a small target.

        Raises:
            Untrusted: it is not what was signed, or no role that is trusted to sign it lists it.
            Malformed: its signed length is more than `max_bytes`.
        """
        target = self._listed(path)
        if target.length > max_bytes:
            raise Malformed(f"{path} is signed with {target.length} bytes, more than the {max_bytes} it may have")
        data = self._transport.get(self._url(target), max_bytes=target.length)
        with self._translated(path):
            target.verify_length_and_hashes(data)
        return data

    def download(self, path: str, destination: Path) -> int:
        """Fetch a large target; `destination` is replaced once it is verified and on disk, or stays as it is.

        Returns:
            Its length in bytes.

        Raises:
            Untrusted: it is not what was signed, or no role that is trusted to sign it lists it.
        """
        return self.copy(SignedFile(self._listed(path)), destination)

    def copy(self, file: SignedFile, destination: Path) -> int:
        """Fetch one of the files of `contents`, as `download` does."""
        target = file.target
        part = destination.with_name(destination.name + ".part")
        try:
            self._transport.download(self._url(target), part, length=target.length)
            with self._translated(target.path), storage(part):
                with part.open("rb") as fetched:
                    target.verify_length_and_hashes(fetched)
                adopt(part, destination)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return target.length

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds that the repository signs, sorted; also those that have no release yet."""
        with self._translated():
            return feeds_of(Metadata[Targets].from_bytes(self._local(Targets.type)).signed)

    def check_feed(self, feed: str) -> None:
        """Fetch and verify the role of a feed that the repository signs, whether or not it has a release.

        Raises:
            Malformed: the role delegates to others, or signs what a feed must not.
        """
        self.target(index_path(feed))
        with self._translated(f"the role of feed {feed!r}"):
            check_feed(self._metadata_dir, feed)

    def answers(self) -> bool:
        """Whether the repository can be reached right now."""
        try:
            self._transport.get(f"{self._base_url}/metadata/timestamp.json", max_bytes=_METADATA_BYTES_MAX)
        except Unreachable:
            return False
        return True

    def contents(self, feeds: Collection[str]) -> RepositoryContents:
        """Everything in a copy of the repository that has only these of its `feeds`, each checked by `check_feed`."""
        with self._translated("the repository's metadata"):
            pinned = Metadata[Root].from_bytes(self._root).signed
            return read_contents(self._metadata_dir, first_root=pinned.version, feeds=feeds)

    def restore(self, published: Path) -> None:
        """Replace lost or damaged metadata by that of a copy of the repository.

        The copy is not trusted: the next refresh verifies what it finds here.

        Args:
            published: the copy's folder of metadata.
        """
        with storage(self._metadata_dir):
            _heal(self._metadata_dir, self._access)
            for name, path in _newest(published).items():
                kept = self._metadata_dir / name
                if not _is_metadata(kept):
                    shutil.copyfile(path, kept)

    def expires(self, feed: str) -> datetime:
        """When the feed becomes stale: the earliest expiry of the metadata that it was verified by, timezone-aware UTC.

        The root does not count: the next refresh notices an expired one, and the list is the same until then.

        Raises:
            InvalidInput: the repository has no such feed.
        """
        signed = self._feed(feed).signed
        with self._translated():
            return min(
                signed.expires,
                Metadata[Timestamp].from_bytes(self._local(Timestamp.type)).signed.expires,
                Metadata[Snapshot].from_bytes(self._local(Snapshot.type)).signed.expires,
                Metadata[Targets].from_bytes(self._local(Targets.type)).signed.expires,
            )

    def signers(self, feed: str) -> tuple[str, ...]:
        """Ids of the keys whose signatures on the feed's role are valid, sorted.

        Raises:
            InvalidInput: the repository has no such feed.
        """
        role = self._feed(feed)
        with self._translated():
            targets = Metadata[Targets].from_bytes(self._local(Targets.type)).signed
            result = targets.get_verification_result(feed, role.signed_bytes, role.signatures)
        return tuple(sorted(result.signed))

    def era(self, feed: str) -> int:
        """The era of a feed: since when its present keys sign it; see `blocklist_sdk.release.eras`.

        Raises:
            Malformed: it is not one.
        """
        with self._translated():
            return era_of(Metadata[Targets].from_bytes(self._local(Targets.type)).signed, feed)

    def is_target(self, target: TargetFile, data: bytes) -> bool:
        """Whether `data` has the signed length and hashes of the target."""
        try:
            target.verify_length_and_hashes(data)
        except LengthOrHashMismatchError:
            return False
        return True

    def evidence(self, feed: str) -> dict[str, bytes]:
        """The signed metadata by which a feed's index was verified, by file name; the feed's own is ``feed.json``."""
        roles = (Root.type, Timestamp.type, Snapshot.type, Targets.type)
        with self._translated():
            return {f"{role}.json": self._local(role) for role in roles} | {"feed.json": self._local(feed)}

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Let those read the metadata who have the access: tuf keeps what it writes for its own user alone."""
        try:
            yield
        finally:
            self._access.give_all(self._metadata_dir)

    @property
    def _refreshed(self) -> Updater:
        if self._updater is None:
            raise RuntimeError("call refresh() first")
        return self._updater

    def _feed(self, feed: str) -> Metadata[Targets]:
        """The verified role of a feed."""
        if self.target(index_path(feed)) is None:
            raise InvalidInput(unknown_feed(self._shown_url, feed, [each for each in self.feeds if each != feed]))
        with self._translated():
            role = Metadata[Targets].from_bytes(self._local(feed))
        check_feed_role(feed, role.signed)
        return role

    def _local(self, role: str) -> bytes:
        """Metadata as it was last verified: tuf keeps it on disk, where only the holder of our lock writes."""
        return (self._metadata_dir / f"{role}.json").read_bytes()

    def _listed(self, path: str) -> TargetFile:
        target = self.target(path)
        if target is None:
            raise Untrusted(
                f"{path} is not listed by any role trusted to sign it. {_NOTHING_CHANGED}; tell the publisher."
            )
        return target

    def _url(self, target: TargetFile) -> str:
        return f"{self._base_url}/targets/{quote(stored_path(target))}"

    @contextlib.contextmanager
    def _translated(self, subject: str | None = None) -> Iterator[None]:
        """Turn tuf's errors into ours, by type; errors of our transport pass unchanged."""
        try:
            with storage(self._metadata_dir):
                yield
        except DownloadHTTPError as error:
            if not isinstance(error.__cause__, Unreachable):
                raise
            raise error.__cause__ from error.__cause__.__cause__
        except ExpiredMetadataError as error:
            raise self._stale() from error
        except (DeserializationError, SerializationError) as error:
            if kind := unknown_key(self._fetcher.fetched.get(self._fetcher.last_role, b"")):
                raise Malformed(
                    f"{self._fetcher.last_name} from {self._shown_url} cannot be verified: {upgrade(kind)}. "
                    f"{_NOTHING_CHANGED}."
                ) from error
            raise Malformed(
                f"{self._fetcher.last_name} from {self._shown_url} is not metadata ({error}). A captive portal or a "
                "proxy may have answered in the server's stead, or the server does not say 404 for what it lacks."
            ) from error
        except RepositoryError as error:
            raise self._untrusted(error, subject) from error
        except BlocklistError:
            raise
        except ODD_SHAPES as error:
            raise Malformed(
                f"{subject or self._fetcher.last_name} from {self._shown_url} is not metadata that can be used "
                f"({type(error).__name__}). {_NOTHING_CHANGED}; tell the publisher."
            ) from error

    def _untrusted(self, error: Exception, subject: str | None) -> Untrusted:
        what = subject or self._fetcher.last_name
        return Untrusted(
            f"{what} from {self._shown_url} does not verify: {error}. {_NOTHING_CHANGED}. Check that the pinned "
            "root is this repository's, and tell its publisher. If they say that they have begun anew with other root "
            "keys, pin the new root: blocklist trust replace."
        )

    def _stale(self) -> Stale:
        """The error for expired metadata. It names the expired role, the first one in the order of tuf's checks."""
        for role in (Root.type, Timestamp.type, Snapshot.type, Targets.type, self._fetcher.last_role):
            with contextlib.suppress(OSError, DeserializationError):
                data = self._fetcher.fetched.get(role) or self._local(role)
                signed = Metadata.from_bytes(data).signed
                if signed.is_expired():
                    return Stale(
                        f"the {role} metadata of {self._shown_url} expired on {signed.expires:%Y-%m-%d %H:%M} UTC: its "
                        "publisher no longer renews it, or newer metadata is being withheld. "
                        f"{_NOTHING_CHANGED}. {self._about_clock()}",
                        role=role,
                        expired=signed.expires,
                    )
        return Stale(f"the metadata of {self._shown_url} has expired. {_NOTHING_CHANGED}. {self._about_clock()}")

    @property
    def clock_offset(self) -> timedelta | None:
        """How far this machine's clock is ahead of the server's; see `Transport`."""
        return self._transport.clock_offset

    def _about_clock(self) -> str:
        """What to do about expired metadata, by the clock of the server that it came from."""
        offset = self.clock_offset
        if offset is not None and offset > CLOCKS_DIFFER:
            return f"But {offset_text(offset)}: set it right (NTP), and sync again."
        return "Check this machine's clock, then ask the publisher."


class _Fetcher(FetcherInterface):
    """Fetches metadata for tuf.

    Attributes:
        fetched: the last answer for each role, not verified.
        last_name: the file that was asked for last.
    """

    def __init__(self, transport: Transport) -> None:
        self.fetched: dict[str, bytes] = {}
        self.last_name = "the repository's metadata"
        self._transport = transport

    @property
    def last_role(self) -> str:
        """The role of the file asked for last: `3.id-messaging.json` is of `id-messaging`."""
        return self.last_name.removesuffix(".json").rpartition(".")[2]

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch one metadata file. Overrides tuf's own, which goes through a temporary file and wraps our errors."""
        self.last_name = url.rpartition("/")[2]
        try:
            data = self._transport.get(url, max_bytes=max_length)
        except Unreachable as error:
            if error.status in (403, 404):
                # By these tuf notices that no newer root exists.
                raise DownloadHTTPError(str(error), error.status) from error
            raise
        self.fetched[self.last_role] = data
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter((self.download_bytes(url, _METADATA_BYTES_MAX),))


def check_root(root: bytes) -> None:
    """Make sure that a root to be pinned is root metadata, signed by enough of its own keys.

    Raises:
        InvalidInput: it is not.
    """
    try:
        metadata = Metadata[Root].from_bytes(root)
        if metadata.signed.type != Root.type:
            raise InvalidInput(f"the pinned root is {metadata.signed.type} metadata: {_GET_ROOT}", argument="root")
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except InvalidInput:
        raise
    except (RepositoryError, *ODD_SHAPES) as error:
        if kind := unknown_key(root):
            raise InvalidInput(f"the pinned root cannot be used: {upgrade(kind)}", argument="root") from error
        raise InvalidInput(
            f"the pinned root is not root metadata signed by its own keys ({error}): {_GET_ROOT}", argument="root"
        ) from error


def _newest(published: Path) -> dict[str, Path]:
    """The files of a copy's metadata by the names under which tuf keeps them; of a role the newest, of roots all."""
    files = [path for path in published.glob("*.*.json") if path.is_file()]
    numbered = [path for path in files if path.name.partition(".")[0].isdecimal()]
    names: dict[str, Path] = {}
    for path in sorted(numbered, key=lambda path: int(path.name.partition(".")[0])):
        role = path.name.partition(".")[2]
        names[f"{HISTORY}/{path.name}" if role == f"{Root.type}.json" else role] = path
    timestamp = published / f"{Timestamp.type}.json"
    return {**names, timestamp.name: timestamp} if timestamp.is_file() else names


def _is_metadata(path: Path) -> bool:
    try:
        Metadata.from_bytes(path.read_bytes())
    except (FileNotFoundError, DeserializationError):
        return False
    return True


def _heal(directory: Path, access: Access) -> None:
    """Clear away what tuf would stumble over: it overlooks damaged files, not things in the place of files."""
    access.make(directory, is_ours=True)
    history = directory / HISTORY
    if not history.is_dir():
        history.unlink(missing_ok=True)
        access.make(history)
    for path in (*directory.iterdir(), *history.iterdir()):
        if path.suffix == ".json" and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.suffix == ".json" and not path.is_file():
            path.unlink()
        elif path.name.startswith("tmp") and path.is_file():
            # What a run that was killed was writing.
            path.unlink()
