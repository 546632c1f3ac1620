"""Publish a list, serve it, sync it, ask about numbers: both sides in one program.

The numbers are generated; they are nobody's list.
"""

import secrets
import tempfile
from pathlib import Path

from blocklist_sdk import Blocklist, InvalidNumber, Publisher
from blocklist_sdk.publisher import serving


def main(folder: Path) -> None:
    """Play the authority first, then a recipient."""
    # The authority makes its keys once, and publishes the whole list each time.
    publisher = Publisher.init(
        folder / "authority", feeds={"id-messaging": "messaging"}, passphrase=secrets.token_urlsafe(), region="ID"
    )
    complaints = folder / "complaints.csv"
    complaints.write_text("number,category\n0812-0000-0001,fraud\n0812-0000-0002,phishing\n")
    publisher.release("id-messaging", complaints)

    # The recipient gets root.json by a way it trusts, never from the repository.
    with (
        serving(publisher.repository) as url,
        Blocklist.open(
            url, feed="id-messaging", root=publisher.root, region="ID", cache_dir=folder / "cache"
        ) as blocklist,
    ):
        print(blocklist.sync())
        for text in ("0812-0000-0001", "+62 812 0000 0002", "0812-0000-0003", "GoPay"):
            try:
                verdict = blocklist.check(text)
            except InvalidNumber as error:
                print(f"{text:<18} is no number: {error.reason}")
            else:
                print(f"{text:<18} {'blocked' if verdict else 'free':<8} {verdict.reason}")

        # The first number was listed by mistake: the next release simply lacks it.
        complaints.write_text("number,category\n0812-0000-0002,phishing\n")
        publisher.release("id-messaging", complaints)
        print(blocklist.sync())
        assert "0812-0000-0001" not in blocklist
        assert "0812-0000-0002" in blocklist


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
