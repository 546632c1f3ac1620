"""One run of a mirror: refresh → list of files → target files → metadata → timestamp → delete old files."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from blocklist_sdk.errors import InvalidInput, Unreachable, Untrusted
from blocklist_sdk.fetch.repository_contents import RepositoryContents
from blocklist_sdk.fetch.transport import Transport, TransportSettings, shown
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.fetch.url_and_root import base_url, read_root
from blocklist_sdk.mirror.folder import MirrorFolder
from blocklist_sdk.publisher.arguments import check_directory, check_list
from blocklist_sdk.release.names import feed_name

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.net.http import httpx

GRACE_S = 3600.0
"""The grace period of a publisher (`Timing.grace_s`): recipients of a mirror are no faster."""

log: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorResult:
    """The result of a run.

    Attributes:
        feeds: the feeds in the mirror, sorted.
        changed: whether the state of the mirror has changed.
        fetched: number of target files that were fetched: new ones, and those that were damaged or missing here.
        kept: number of target files that were here already.
        expires: when the first of the signatures expires that recipients of the mirror need, UTC.
        bytes: bytes received, metadata included.
        seconds: duration.
    """

    feeds: tuple[str, ...]
    changed: bool
    fetched: int
    kept: int
    expires: datetime
    bytes: int
    seconds: float


def mirror(
    url: str,
    directory: str | Path,
    *,
    root: str | Path | bytes,
    feeds: Iterable[str] | None = None,
    auth: "httpx.Auth | None" = None,
    tls: "ssl.SSLContext | None" = None,
    transport: TransportSettings | None = None,
    wait_s: float = 60.0,
    grace_s: float = GRACE_S,
) -> MirrorResult:
    """Make a verified copy of a repository, byte for byte, or update one.

    Whatever fails, and wherever a run is killed, the copy stays in the complete state that it was in. The next run
    fetches only what is missing.

    Args:
        url: the repository's base URL: ``https:``, ``http:`` or ``file:``; it may be another mirror.
        directory: the mirror's folder; it need not exist. Serve ``metadata/`` and ``targets/`` in it.
        root: the authority's root metadata: a path, or its bytes. If recipients have pinned several roots, give the
            oldest, since the mirror has the roots from this one on.
        feeds: the feeds to mirror from now on; None for all that the repository signs.
        auth: credentials for the repository, as for `Blocklist.open`; None if it needs none.
        tls: TLS settings, as for `Blocklist.open`; None for the defaults.
        transport: timeouts and retries; None for the defaults.
        wait_s: how long to wait, in seconds, while another run changes the folder.
        grace_s: how long files that are no longer referred to stay, in seconds: a recipient may still be reading them.

    Raises:
        InvalidInput: the folder is not empty and not a mirror, or a mirror of a repository with another root; the
            repository has no such feed; the URL, the root or a feed's name is invalid.
        Locked: another run took longer than `wait_s` seconds.
        Unreachable: the network failed, or the repository lacks a file.
        Untrusted: a signature or a hash is wrong, the repository went back to an older state, or it no longer signs a
            feed that is mirrored here.
        Stale: signed metadata has expired.
        Malformed: the repository does not follow the protocol.
        StorageFailed: the local disk refused.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from blocklist_sdk import Publisher
        >>> folder = Path(tempfile.mkdtemp())
        >>> publisher = Publisher.init(folder / "p", feeds=["id-all"], passphrase="correct horse battery")
        >>> result = mirror(publisher.repository.as_uri(), folder / "mirror", root=publisher.root)
        >>> result.feeds, result.changed, result.fetched, result.kept
        (('id-all',), True, 1, 0)
    """
    started = time.monotonic()
    address = base_url(url)
    feed_names = None if feeds is None else _checked(feeds)
    pinned = read_root(root)
    folder = MirrorFolder(check_directory(directory))
    with Transport(settings=transport or TransportSettings(), auth=auth, tls=tls) as fetching:
        trust = Trust(base_url=address, metadata_dir=folder.trust, root=pinned, transport=fetching)
        with folder.locked(pinned, wait_s=wait_s):
            contents, mirrored = _verify(trust, folder, feed_names, address)
            fetched = _fetch(folder, trust, contents)
            changed = folder.switch(contents)
            folder.write_feeds(mirrored)
            folder.delete_unreferenced(contents, grace=timedelta(seconds=grace_s))
    seconds = time.monotonic() - started
    log.info("mirrored %s into %s: %d files fetched, %.2f s", ", ".join(mirrored), folder.directory, fetched, seconds)
    return MirrorResult(
        feeds=mirrored,
        changed=changed,
        fetched=fetched,
        kept=len(contents.files) - fetched,
        expires=contents.expires,
        bytes=fetching.bytes_received,
        seconds=seconds,
    )


def _checked(feeds: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted({feed_name(feed) for feed in check_list("feeds", feeds)}))
    if not names:
        raise InvalidInput("the list of feeds is empty: give at least one, or leave it out to mirror all")
    return names


def _verify(
    trust: Trust, folder: MirrorFolder, feed_names: tuple[str, ...] | None, address: str
) -> tuple[RepositoryContents, tuple[str, ...]]:
    """Verify the repository's metadata: the new contents of the mirror, and the names of its feeds."""
    trust.restore(folder.metadata)
    trust.refresh()
    before, signed = folder.feeds(), trust.feeds
    feeds = signed if feed_names is None else feed_names
    for feed in feeds:
        if feed not in signed:
            raise _not_signed(feed, shown(address), is_mirrored=feed in before)
    if dropped := sorted(set(before) - set(feeds)):
        log.warning("no longer mirrored, and soon deleted in %s: %s", folder.directory, ", ".join(dropped))
    try:
        return trust.contents(feeds), feeds
    except Unreachable as error:
        if feed_names is not None or error.status not in (403, 404):
            raise
        raise Unreachable(
            f"{error}. If this repository is a mirror of some feeds only, name them", url=error.url, status=error.status
        ) from error


def _not_signed(feed: str, address: str, *, is_mirrored: bool) -> InvalidInput | Untrusted:
    if is_mirrored:
        return Untrusted(
            f"{address} no longer signs the feed {feed!r}, which is mirrored here: the publisher gave it up, or it is "
            "being withheld. Ask the publisher; if it was given up, mirror without it."
        )
    return InvalidInput(f"{address} has no feed {feed!r}: check the name with the publisher")


def _fetch(folder: MirrorFolder, trust: Trust, contents: RepositoryContents) -> int:
    """Fetch the target files that are missing here, and return their number."""
    folder.claim()
    folder.prepare()
    missing = [file for file in contents.files if folder.lacks(file)]
    for file in missing:
        trust.copy(file, folder.arriving)
        folder.add(file)
    return len(missing)
