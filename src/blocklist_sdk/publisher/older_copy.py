"""What a person is told where the repository is an older copy of what this folder has published."""

import logging
from pathlib import Path

from blocklist_sdk.errors import InvalidInput, Malformed, StorageFailed, Untrusted
from blocklist_sdk.publisher.folder import PublisherFolder
from blocklist_sdk.publisher.published_before import PublishedBefore
from blocklist_sdk.publisher.repository import Repository
from blocklist_sdk.publisher.signed_feed import SignedFeed

log: logging.Logger = logging.getLogger(__name__)


def older_copy(feed: SignedFeed, directory: Path) -> str | None:
    """What was found, and what happens from now on; None if the repository is the newest.

    Args:
        feed: the feed, with what the folder remembers of it.
        directory: the publisher's folder.
    """
    if not feed.is_older:
        return None
    found, known = feed.published.release, feed.remembered.release
    has = f"has release {found}" if feed.index is not None else "has no release"
    return (
        f"the repository is an older copy: of feed {feed.name} it {has}, and release {known} was published from here. "
        "If there is a newer copy, as where it is served or at a mirror, bring that back instead. Otherwise the next "
        f"serial is {known.serial + 1} or higher, and new entries get ids above {feed.last_entry}: none is given out "
        f"twice. Replace keys again that were replaced after the copy was made. Recipients that have release {known} "
        "refuse lower ones, and metadata older than theirs until the online key is replaced: "
        f"blocklist publish keys rotate {directory} --role online"
    )


def remember_release(folder: PublisherFolder, feed: str, published: PublishedBefore) -> None:
    """Store what was published a moment ago. A disk that refuses is logged: recipients see the release already."""
    try:
        folder.remember_published(feed, published)
    except StorageFailed as error:
        log.error(
            "release %s of %s is published, and not remembered until the next run: %s", published.release, feed, error
        )


def warn_of_older_copies(folder: PublisherFolder, repository: Repository) -> None:
    """Log each feed of which the repository is an older copy. Settings that are damaged are no reason not to sign."""
    for name in repository.feeds:
        try:
            feed = SignedFeed.find(repository, name, memory=folder.published_before)
        except (Malformed, Untrusted, InvalidInput) as error:
            log.warning("whether the repository is an older copy of feed %s is not known: %s", name, error)
            continue
        notice = older_copy(feed, folder.directory)
        if notice is not None:
            log.warning("%s", notice)
