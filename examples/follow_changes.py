"""Follow a list by deltas: a sync takes what has changed, `changes` shows it, and upkeep is done afterwards.

The numbers are generated; they are nobody's list.
"""

import random
import secrets
import tempfile
from collections import Counter
from pathlib import Path

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.publisher import serving

FEED = "id-messaging"


def main(folder: Path) -> None:
    """Publish a list and what changes of it, and follow it."""
    publisher = Publisher.init(
        folder / "authority", feeds={FEED: "messaging"}, passphrase=secrets.token_urlsafe(), region="ID"
    )
    numbers = random.Random(17).sample(range(6281200000000, 6281300000000), 20_030)  # noqa: S311 -- no secret
    publisher.release(FEED, save(folder / "list.csv", numbers[:20_000]))
    with (
        serving(publisher.repository) as url,
        Blocklist.open(url, feed=FEED, root=publisher.root, region="ID", cache_dir=folder / "cache") as blocklist,
    ):
        first = blocklist.sync()
        print(f"release {first.after} by {first.kind}: {first.bytes:,} bytes")

        # Neither of these reads or writes the whole list, at the publisher or here.
        publisher.add(FEED, save(folder / "new.csv", numbers[20_000:]))
        published = publisher.remove(FEED, save(folder / "gone.csv", numbers[:20]))
        assert published.snapshot_bytes is None  # newcomers take the snapshot of release 1 and the deltas since
        second = blocklist.sync()
        print(f"release {second.after} by {second.kind}: {second.bytes:,} bytes")

        changes = blocklist.changes(since=first.after)
        print(dict(Counter(change.kind for change in changes)))
        assert (second.kind, second.added, second.removed, len(changes)) == ("delta", 30, 20, 50)
        assert second.bytes < first.bytes

        # It was begun in a thread by `sync`; this waits for it, and does what is due.
        print(blocklist.upkeep())
        assert blocklist.status().digest == published.digest
        assert not blocklist.status().damaged


def save(path: Path, numbers: list[int]) -> Path:
    """Write numbers as a list to publish."""
    path.write_text("number\n" + "".join(f"+{number}\n" for number in numbers))
    return path


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
