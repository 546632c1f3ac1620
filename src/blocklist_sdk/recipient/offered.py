"""What a repository offers, before anything of it is received: its roots, and its feeds as they are signed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocklist_sdk.errors import ExchangeError, InvalidInput, Unreachable
from blocklist_sdk.fetch.transport import Transport, TransportSettings, shown
from blocklist_sdk.fetch.trust import Trust, check_root
from blocklist_sdk.fetch.url_and_root import base_url, read_root
from blocklist_sdk.places import temporary_directory
from blocklist_sdk.recipient.arguments import directories
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.sync.replaced_root import fingerprint_digits
from blocklist_sdk.release.fingerprint import fingerprint
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.limits import INDEX_BYTES_MAX, ROOT_BYTES_MAX
from blocklist_sdk.release.names import index_path, unknown_feed
from blocklist_sdk.release.roots import root_version, walk_roots

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.net.http import httpx

_STATUSES_ABSENT: Final = frozenset({403, 404})
_STATUSES_NOT_PERMITTED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class OfferedRoot:
    """A root as a repository offers it, which makes it no more trustworthy than the repository.

    Attributes:
        data: the file.
        version: its version.
        fingerprint: SHA-256 of the file, 64 hexadecimal digits.
    """

    data: bytes
    version: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class OfferedFeed:
    """A feed as a repository signs it, and what of it is on this machine.

    Attributes:
        name: the feed's name.
        is_permitted: whether the account that asked may read it; what follows is None if it may not.
        era, serial: of the current release; None if there is none yet.
        rows: how many entries that has.
        published_at: when it was published, timezone-aware UTC.
        scope: what entries apply to unless the list says otherwise, such as ``sms+voice``; None if the feed has none.
        region: in which the publisher read numbers without a country code; None if it read none.
        synced: the serial that is in force on this machine; None if the feed was never synced here.
    """

    name: str
    is_permitted: bool = True
    era: int | None = None
    serial: int | None = None
    rows: int | None = None
    published_at: datetime | None = None
    scope: str | None = None
    region: str | None = None
    synced: int | None = None


class Repository:
    """A repository that is looked at, and of which nothing is kept on this machine."""

    def __init__(
        self,
        url: str,
        *,
        auth: "httpx.Auth | None" = None,
        tls: "ssl.SSLContext | None" = None,
        transport: TransportSettings | None = None,
    ) -> None:
        """Uses no network. Arguments are those of `Blocklist.open`.

        Raises:
            InvalidInput: the URL cannot be used.
        """
        self.url: str = base_url(url)
        self._auth, self._tls, self._settings = auth, tls, transport or TransportSettings()

    def roots(self) -> tuple[OfferedRoot, ...]:
        """The roots that the repository offers, each signed by the one before; the last is the newest.

        None of them is trusted by that: compare its fingerprint with what the publisher says by another way.

        Raises:
            Unreachable: the network failed, or the repository offers no root.
            Malformed, Untrusted: a file is not root metadata, or is not signed as it must be.
            ExchangeError: the credentials were refused.
        """
        absent: list[Unreachable] = []
        with self._transport() as transport:

            def fetch(version: int) -> bytes | None:
                try:
                    return transport.get(f"{self.url}/metadata/{version}.root.json", max_bytes=ROOT_BYTES_MAX)
                except Unreachable as error:
                    if error.status not in _STATUSES_ABSENT:
                        raise
                    absent.append(error)
                    return None

            transport.limit_time()
            files = walk_roots(fetch)
        if not files:
            raise Unreachable(
                f"{shown(self.url)} offers no root, so it is no repository, or a copy without its first roots: check "
                "the address, or get root.json from the publisher and give it with --root",
                url=shown(self.url),
                status=absent[0].status,
            ) from absent[0]
        return tuple(OfferedRoot(data, root_version(data), fingerprint(data)) for data in files)

    def feeds(self, root: bytes, *, only: Iterable[str] | None = None) -> tuple[OfferedFeed, ...]:
        """The feeds that the repository signs, verified from a pinned root down, sorted by name.

        Args:
            root: the pinned root.
            only: look at these feeds only.

        Raises:
            InvalidInput: the root is not root metadata, or there is no such feed.
            Unreachable, Untrusted, Stale, Malformed, ExchangeError: as for `Blocklist.sync`.
            StorageFailed: there is no room for temporary files.
        """
        with self._trusted(root) as (trust, _):
            names = trust.feeds
            wanted = names if only is None else tuple(only)
            if unknown := sorted(set(wanted) - set(names)):
                raise InvalidInput(unknown_feed(shown(self.url), unknown[0], names), argument="feed")
            return tuple(_offered(trust, name) for name in wanted)

    def newest_root(self, root: bytes) -> bytes:
        """The newest root to which the pinned one leads; all metadata that follows from it is verified.

        Raises:
            InvalidInput, Unreachable, Untrusted, Stale, Malformed, ExchangeError, StorageFailed: as for `feeds`.
        """
        with self._trusted(root) as (_, metadata):
            return (metadata / "root.json").read_bytes()

    def _transport(self) -> Transport:
        return Transport(settings=self._settings, auth=self._auth, tls=self._tls)

    @contextmanager
    def _trusted(self, root: bytes) -> Iterator[tuple[Trust, Path]]:
        """The repository, verified from a pinned root down, and the folder that has its metadata until the end."""
        with temporary_directory(prefix="blocklist-") as metadata, self._transport() as transport:
            trust = Trust(base_url=self.url, metadata_dir=metadata, root=root, transport=transport)
            trust.limit_time()
            trust.refresh()
            yield trust, metadata


def synced_serial(url: str, feed: str, cache_dir: str | Path | None, state_dir: str | Path | None) -> int | None:
    """The serial that is in force on this machine; None if the feed was never synced here.

    Raises:
        Malformed, InvalidInput, StorageFailed: the cache is damaged, of a newer version, or cannot be read.
    """
    cache, _ = directories(url, cache_dir, state_dir)
    opened = Store(cache / feed).open()
    return None if opened is None else opened[0].about.serial


def _offered(trust: Trust, name: str) -> OfferedFeed:
    path = index_path(name)
    try:
        if trust.target(path) is None:
            return OfferedFeed(name)
        index = FeedIndex.from_json(trust.fetch(path, max_bytes=INDEX_BYTES_MAX), feed=name)
    except (Unreachable, ExchangeError) as error:
        if error.status not in _STATUSES_NOT_PERMITTED:
            raise
        return OfferedFeed(name, is_permitted=False)
    return OfferedFeed(
        name=name,
        era=trust.era(name),
        serial=index.serial,
        rows=index.rows,
        published_at=index.published_at,
        scope=index.scope,
        region=index.region,
    )


def given_root(file: str | Path) -> OfferedRoot:
    """A root in a file.

    Raises:
        InvalidInput: the file cannot be read, or is not root metadata that its own keys have signed.
    """
    data = read_root(file)
    check_root(data)
    return OfferedRoot(data, root_version(data), fingerprint(data))


def same_fingerprint(root: OfferedRoot, digits: str) -> bool:
    """Whether a root has the fingerprint that a person gives, in groups or not.

    Raises:
        InvalidInput: it is not a fingerprint.
    """
    return root.fingerprint == fingerprint_digits(digits)
