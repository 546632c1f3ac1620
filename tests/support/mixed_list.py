"""A synced list that has everything a look-up may meet: levels, scopes, ranges, ends, and numbers with several entries.

All numbers are generated.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from blocklist_sdk import Blocklist, Publisher
from support.world import FEED, PASSPHRASE, unguarded

BLOCKED, ADVISED, FREE = "+6281200000001", "+6281200000002", "+6281299999999"
VOICE_ONLY, SMS_ONLY = "+6281200000003", "+6281200000004"
ENDS_SOON, ENDED, BOTH, RANGE = "+6281200000005", "+6281200000006", "+6281200000007", "+6281234560000"
ADDED_LATER = "+6281200000008"
QUESTIONS = (BLOCKED, ADVISED, FREE, VOICE_ONLY, SMS_ONLY, ENDS_SOON, ENDED, BOTH, RANGE, "0812-3456-0042", ADDED_LATER)


def rows(now: datetime, *, with_later: bool = False) -> Any:
    """The list as the publisher takes it.

    Args:
        now: this moment: an hour later one of the entries ends.
        with_later: with `ADDED_LATER`, and without `BLOCKED`.
    """
    begun, ends = now - timedelta(days=30), now + timedelta(hours=1)
    listed: list[tuple[str, str, str, datetime | None]] = [
        (ADVISED, "advisory", "sms+voice", None),
        (VOICE_ONLY, "block", "voice", None),
        (SMS_ONLY, "advisory", "sms", None),
        (ENDS_SOON, "block", "sms+voice", ends),
        (ENDED, "block", "sms+voice", now - timedelta(days=1)),
        (BOTH, "advisory", "voice", None),
        (BOTH, "block", "sms", None),
        ("+628123456####", "block", "messaging+voice", None),
        (ADDED_LATER if with_later else BLOCKED, "block", "messaging+sms+voice", None),
    ]
    columns = zip(*listed, strict=True)
    number, level, scope, until = (list(column) for column in columns)
    moment = pa.timestamp("s", "UTC")
    return pa.table(
        {
            "number": number,
            "level": level,
            "scope": scope,
            "since": pa.array([begun] * len(number), moment),
            "until": pa.array(until, moment),
        }
    )


class MixedList:
    """The publisher of such a list, and a recipient.

    Attributes:
        publisher: it has published one release.
        directory: of everything.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        Publisher.init(directory / "publisher", feeds=[FEED], passphrase=PASSPHRASE, region="ID")
        self.publisher = unguarded(directory / "publisher")
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.publisher.release(FEED, rows(self.now))

    def release_later(self) -> None:
        """Publish the next release."""
        self.publisher.release(FEED, rows(self.now, with_later=True))

    def recipient(self, cache: str = "cache", **options: Any) -> Blocklist:
        """A recipient that has not synced."""
        return Blocklist.open(
            (self.directory / "publisher" / "repository").as_uri(),
            feed=FEED,
            root=self.directory / "publisher" / "root.json",
            region="ID",
            guard=None,
            cache_dir=self.directory / cache,
            **options,
        )

    def settings(self, cache: str = "cache") -> dict[str, str]:
        """The environment of a command about the same list."""
        return {
            "BLOCKLIST_URL": (self.directory / "publisher" / "repository").as_uri(),
            "BLOCKLIST_FEED": FEED,
            "BLOCKLIST_ROOT": str(self.directory / "publisher" / "root.json"),
            "BLOCKLIST_REGION": "ID",
            "BLOCKLIST_CACHE_DIR": str(self.directory / cache),
        }
