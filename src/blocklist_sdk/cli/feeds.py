"""``blocklist feeds``: what a repository offers."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from blocklist_sdk.cli.output import AsJson, moment, write_json
from blocklist_sdk.cli.settings import REPOSITORY, SERVER, Settings, with_settings
from blocklist_sdk.cli.text_tables import write_table
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId

if TYPE_CHECKING:
    from blocklist_sdk.recipient.offered import OfferedFeed

_HEADER = ("feed", "release", "entries", "published", "scope", "synced here")


@with_settings(*REPOSITORY, "cache_dir", "state_dir", *SERVER)
def feeds(settings: Settings, as_json: AsJson = False) -> None:
    """Show the feeds that a repository signs, verified from the pinned root down; changes nothing.

    With an account it shows which of them the account may read.
    """
    settings = settings.complete(REPOSITORY)
    assert settings.url is not None
    assert settings.root is not None
    from blocklist_sdk.recipient.offered import Repository, given_root, synced_serial

    url, cache_dir, state_dir = settings.url, settings.cache_dir, settings.state_dir
    repository = Repository(url, auth=settings.repository_auth(), tls=settings.tls())
    found = [
        replace(feed, synced=synced_serial(url, feed.name, cache_dir, state_dir))
        for feed in repository.feeds(given_root(settings.root).data)
    ]
    if as_json:
        write_json({"feeds": [asdict(feed) for feed in found]})
    else:
        write_table(_HEADER, map(_row, found), whole=2)


def _row(feed: "OfferedFeed") -> tuple[str, ...]:
    here = "-" if feed.synced is None else f"release {feed.synced}"
    if not feed.is_permitted:
        return feed.name, "not permitted", "-", "-", "-", here
    if feed.serial is None:
        return feed.name, "none yet", "-", "-", "-", here
    release = ReleaseId(feed.era or FIRST_ERA, feed.serial)
    return feed.name, str(release), f"{feed.rows:,}", moment(feed.published_at) or "-", feed.scope or "-", here
