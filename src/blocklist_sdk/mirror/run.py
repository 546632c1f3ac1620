"""One run of a mirror: refresh → what is there to hold → target files → metadata → timestamp → forget what is old."""

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
from blocklist_sdk.mirror.folder import Folder
from blocklist_sdk.publisher.arguments import check_directory, check_list
from blocklist_sdk.release.names import feed_name

if TYPE_CHECKING:
    import ssl

    from blocklist_sdk.net.http import httpx

GRACE_S = 3600.0
"""As long as a publisher keeps what it drops (`Timing.grace_s`): a mirror's recipients are no faster."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorResult:
    """What a run did.

    Attributes:
        feeds: the feeds that the mirror holds now, sorted.
        changed: whether its state is another one than before.
        fetched: target files that were fetched: new ones, and those that were damaged or lost here.
        kept: target files that were here already.
        expires: when the first of the signatures ends that its recipients' lists rest on, UTC.
        bytes: what went over the wire, metadata included.
        seconds: how long it took.
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
    """Make a verified copy of a repository, byte for byte, or bring one up to date.

    Whatever fails, and wherever a run is killed, the copy goes on serving the whole state that it had. The next run
    fetches only what is missing.

    Args:
        url: the repository's base URL: ``https:``, ``http:`` or ``file:``; another mirror will do.
        directory: the mirror's folder; it need not exist. ``metadata/`` and ``targets/`` in it are what to serve.
        root: the authority's root metadata: a path, or its bytes. Of several that recipients have pinned the oldest,
            since the mirror holds the roots from this one on.
        feeds: the feeds to hold from now on; None for all that the repository signs.
        auth: credentials for the repository, as for `Blocklist.open`.
        tls: as for `Blocklist.open`.
        transport: timeouts and retries.
        wait_s: how long to wait, in seconds, while another run changes the folder.
        grace_s: how long files stay that are no longer referred to, in seconds: a recipient may still be reading them.

    Raises:
        InvalidInput: the folder holds something else, or a mirror that rests on another root; there is no such feed;
            the URL, the root or a feed's name cannot be used.
        Locked: another run took longer than `wait_s` seconds.
        Unreachable: the network, or a file that the repository lacks.
        Untrusted: a signature, a hash, a rollback, or a feed mirrored here that is signed no more.
        Stale: signed metadata has expired.
        Malformed: what came is not what the protocol says.
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
    chosen = None if feeds is None else _chosen(feeds)
    pinned = read_root(root)
    folder = Folder(check_directory(directory))
    with Transport(settings=transport or TransportSettings(), auth=auth, tls=tls) as fetching:
        trust = Trust(base_url=address, metadata_dir=folder.trust, root=pinned, transport=fetching)
        with folder.held(pinned, wait_s=wait_s):
            contents, held = _verified(trust, folder, chosen, address)
            fetched = _fill(folder, trust, contents)
            changed = folder.switch(contents)
            folder.note(feeds=held)
            folder.retire(contents, grace=timedelta(seconds=grace_s))
    seconds = time.monotonic() - started
    log.info("mirrored %s into %s: %d files fetched, %.2f s", ", ".join(held), folder.directory, fetched, seconds)
    return MirrorResult(
        feeds=held,
        changed=changed,
        fetched=fetched,
        kept=len(contents.files) - fetched,
        expires=contents.expires,
        bytes=fetching.bytes_received,
        seconds=seconds,
    )


def _chosen(feeds: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted({feed_name(feed) for feed in check_list("feeds", feeds)}))
    if not names:
        raise InvalidInput("no feed is chosen: name at least one, or leave the choice out to mirror all")
    return names


def _verified(
    trust: Trust, folder: Folder, chosen: tuple[str, ...] | None, address: str
) -> tuple[RepositoryContents, tuple[str, ...]]:
    """All that the mirror is to hold, verified but for the target files, and the names of its feeds."""
    trust.restore(folder.metadata)
    trust.refresh()
    before, signed = folder.feeds(), trust.feeds
    held = signed if chosen is None else chosen
    for feed in held:
        if feed not in signed:
            raise _not_signed(feed, shown(address), was_here=feed in before)
    if gone := sorted(set(before) - set(held)):
        log.warning("no longer mirrored, and soon deleted in %s: %s", folder.directory, ", ".join(gone))
    try:
        return trust.contents(held), held
    except Unreachable as error:
        if chosen is not None or error.status not in (403, 404):
            raise
        raise Unreachable(
            f"{error}. If this is a mirror of some feeds only, name them", url=error.url, status=error.status
        ) from error


def _not_signed(feed: str, address: str, *, was_here: bool) -> InvalidInput | Untrusted:
    if was_here:
        return Untrusted(
            f"{address} signs no feed {feed!r} any more, but it is mirrored here: the publisher gave it up, or "
            "somebody withholds it. Ask the publisher; then mirror without it."
        )
    return InvalidInput(f"{address} has no feed {feed!r}: check the name with the publisher")


def _fill(folder: Folder, trust: Trust, contents: RepositoryContents) -> int:
    """Fetch the target files that are not here; how many those were."""
    folder.claim()
    folder.prepare()
    missing = [file for file in contents.files if folder.lacks(file)]
    for file in missing:
        trust.copy(file, folder.arriving)
        folder.take_in(file)
    return len(missing)
