"""Screen a user base that lies in a Polars data frame, as a trust-and-safety team would.

The numbers are generated; they are nobody's.
"""

import secrets
import tempfile
from pathlib import Path

import polars as pl

from blocklist_sdk import Blocklist, Publisher

USERS = pl.DataFrame(
    {
        "user": ["ayu", "budi", "citra", "dewi"],
        "phone": ["0812-0000-0001", "+62 812 0000 0002", "0812 0000 0003", "not given"],
    }
)


def main(folder: Path) -> None:
    """Publish a list, sync it, and act on the users that it names."""
    complaints = folder / "complaints.csv"
    complaints.write_text("number,category,level\n0812-0000-0001,fraud,block\n0812-0000-0002,spam,advisory\n")
    publisher = Publisher.init(
        folder / "authority", feeds={"id-messaging": "messaging"}, passphrase=secrets.token_urlsafe(), region="ID"
    )
    publisher.release("id-messaging", complaints)

    with Blocklist.open(
        publisher.repository.as_uri(),
        feed="id-messaging",
        root=publisher.root,
        region="ID",
        cache_dir=folder / "cache",
    ) as blocklist:
        blocklist.sync()
        answers = blocklist.screen(USERS["phone"])

    screened = USERS.hstack(pl.DataFrame(pl.from_arrow(answers)))
    print(screened)
    suspend = screened.filter(pl.col("blocked"))["user"].to_list()
    review = screened.filter(pl.col("level") == "advisory")["user"].to_list()
    print(f"suspend {suspend}, review {review}, ask again for a number: {answers['number'].null_count}")
    assert (suspend, review) == (["ayu"], ["budi"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
