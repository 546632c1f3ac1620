"""A feed whose serials begin anew, after the holder of a stolen key used them up."""

from datetime import datetime

from tuf.api.metadata import Targets

from blocklist_sdk.disk import staged, storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import write_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef, Release
from blocklist_sdk.release.names import index_path, snapshot_path


def restarted_feed(feed: SignedFeed, *, now: datetime) -> Targets:
    """The next version of a feed's role, in which the list as it stands is release 1; its files are stored.

    Entry ids go on: `last_entry` stays.

    The caller stores `last_entry` in the folder before it is published.

    Raises:
        InvalidInput: the feed has no release.
        Malformed, Untrusted: the current release was damaged.
        StorageFailed: the disk refused.
    """
    before = feed.index
    if before is None:
        raise InvalidInput(f"feed {feed.name} has no release yet, so its serials begin at 1 anyway")
    folder = feed.repository.folder(feed.name)
    with storage(folder), staged(folder) as snapshot_file:
        rows = feed.rows()
        made = digest(rows)
        write_snapshot(rows, snapshot_file)
        snapshot = FileRef(path=snapshot_path(feed.name, 1), length=snapshot_file.stat().st_size)
        release = Release(serial=1, published_at=now, rows=len(rows), digest=made, snapshot=snapshot)
        index = FeedIndex(
            feed=feed.name,
            region=before.region,
            scope=before.scope,
            serial=1,
            published_at=now,
            rows=len(rows),
            digest=made,
            last_entry=feed.last_entry,
            releases=(release,),
            audit=before.audit,
        )
        return feed.repository.with_files(
            feed.name, {snapshot.path: snapshot_file, index_path(feed.name): index.to_json()}
        )
