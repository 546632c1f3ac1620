"""One run of a mirror: refresh → list of files → target files → metadata → timestamp → delete old files."""

import contextlib
import copy
import logging
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from blocklist_sdk.errors import BlocklistError, InvalidInput, StorageFailed, Unreachable, Untrusted, unexpected
from blocklist_sdk.fetch.repository_contents import RepositoryContents
from blocklist_sdk.fetch.transport import Transport, TransportSettings, shown
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.fetch.url_and_root import base_url, read_root
from blocklist_sdk.mirror.folder import MirrorFolder
from blocklist_sdk.publisher.arguments import check_directory, check_list
from blocklist_sdk.release.names import feed_name, unknown_feed
from blocklist_sdk.texts import counted

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

    Wherever a run is killed, and whatever fails of the repository as a whole, the copy stays in the complete state that
    it was in. The next run fetches only what is missing.

    A feed that fails does not stop the others. What can be fetched is put in force, so that their recipients stay up
    to date; recipients of that feed find files missing, and keep the list that they have. Then the feed's error is
    raised.

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
        BlocklistError: an exception that is none of this library's stopped a feed.

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
            failures: dict[str, BlocklistError] = {}
            contents, mirrored = _verify(trust, folder, feed_names, address, failures)
            fetched = _fetch(folder, trust, contents, failures)
            _stop_if_none_is_left(trust, mirrored, failures)
            changed = folder.switch(contents)
            folder.write_feeds(mirrored)
            folder.delete_unreferenced(contents, grace=timedelta(seconds=grace_s))
            if failures:
                raise _first_of(failures, mirrored)
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
    trust: Trust,
    folder: MirrorFolder,
    feed_names: tuple[str, ...] | None,
    address: str,
    failures: dict[str, BlocklistError],
) -> tuple[RepositoryContents, tuple[str, ...]]:
    """Verify the repository's metadata: the new contents of the mirror, and the names of its feeds."""
    trust.restore(folder.metadata)
    trust.refresh()
    before, signed = folder.feeds(), trust.feeds
    feeds = signed if feed_names is None else feed_names
    unknown = [feed for feed in feeds if feed not in signed and feed not in before]
    if unknown:
        raise InvalidInput(unknown_feed(shown(address), unknown[0], signed))
    if dropped := sorted(set(before) - set(feeds)):
        log.warning("no longer mirrored, and soon deleted in %s: %s", folder.directory, ", ".join(dropped))
    for feed in feeds:
        with _noting(failures, feed):
            if feed not in signed:
                raise Untrusted(
                    f"{shown(address)} no longer signs the feed {feed!r}, which is mirrored here: the publisher gave "
                    "it up, or it is being withheld. Ask the publisher; if it was given up, mirror without it."
                )
            try:
                trust.check_feed(feed)
            except Unreachable as error:
                if feed_names is not None or error.status not in (403, 404):
                    raise
                message = f"{error}. If this repository is a mirror of some feeds only, name them"
                raise type(error)(message, url=error.url, status=error.status) from error
    _stop_if_none_is_left(trust, feeds, failures)
    return trust.contents([feed for feed in feeds if feed not in failures]), feeds


def _fetch(
    folder: MirrorFolder, trust: Trust, contents: RepositoryContents, failures: dict[str, BlocklistError]
) -> int:
    """Fetch the target files that are missing here, and return how many were fetched."""
    folder.claim()
    folder.prepare()
    missing = [file for file in contents.files if folder.lacks(file)]
    fetched = 0
    for file in missing:
        feed, slash, _ = file.target.path.rpartition("/")
        if _is_silent(failures.get(feed)):
            continue
        # What has no folder is needed by the recipients of every feed.
        with _noting(failures, feed) if slash else contextlib.nullcontext():
            trust.copy(file, folder.arriving)
            folder.add(file)
            fetched += 1
    return fetched


@contextlib.contextmanager
def _noting(failures: dict[str, BlocklistError], feed: str) -> Iterator[None]:
    """Go on with the other feeds after whatever one feed fails by; only this machine's disk stops them all."""
    try:
        yield
    except StorageFailed:
        raise
    except BlocklistError as error:
        failures.setdefault(feed, error)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the other feeds must be mirrored
        failures.setdefault(feed, unexpected(error))


def _is_silent(failure: BlocklistError | None) -> bool:
    """Whether nothing answered."""
    return isinstance(failure, Unreachable) and failure.status is None


def _stop_if_none_is_left(trust: Trust, feeds: Collection[str], failures: dict[str, BlocklistError]) -> None:
    """Leave the mirror as it is if no feed can be updated, or if it is the network that failed, and not a feed.

    Raises:
        BlocklistError: the error of the first feed that failed.
    """
    if failures and (len(failures) == len(feeds) or (any(map(_is_silent, failures.values())) and not trust.answers())):
        raise next(iter(failures.values()))


def _first_of(failures: dict[str, BlocklistError], feeds: Collection[str]) -> BlocklistError:
    """The first feed's error, with a message that names all; each is logged."""
    for feed, error in failures.items():
        log.error("feed %s was not mirrored: %s", feed, error)
    first = next(iter(failures.values()))
    failure = copy.copy(first)
    rest = len(feeds) - len(failures)
    failure.args = (
        f"{', '.join(failures)} could not be mirrored, {counted(rest, 'other feed')} could: {first}",
        *first.args[1:],
    )
    failure.__cause__ = first
    return failure
