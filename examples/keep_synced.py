"""Keep a list synced in the background, hear of every sync, and write figures for Prometheus.

The numbers are generated; they are nobody's list.
"""

import secrets
import tempfile
import time
from pathlib import Path

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.publisher import serving
from blocklist_sdk.recipient import SyncOutcome, write_metrics


def main(folder: Path) -> None:
    """Publish twice, while a recipient looks after itself."""
    publisher = Publisher.init(
        folder / "authority", feeds={"id-messaging": "messaging"}, passphrase=secrets.token_urlsafe(), region="ID"
    )
    complaints = folder / "complaints.csv"
    complaints.write_text("number,category\n0812-0000-0001,fraud\n")
    publisher.release("id-messaging", complaints)

    metrics = folder / "blocklist.prom"
    with (
        serving(publisher.repository) as url,
        Blocklist.open(
            url, feed="id-messaging", root=publisher.root, region="ID", cache_dir=folder / "cache"
        ) as blocklist,
    ):

        def note(outcome: SyncOutcome) -> None:
            write_metrics(metrics, blocklist.status(), outcome=outcome)

        blocklist.add_listener(note)
        # In earnest once an hour: the first sync comes at once, since there is no list yet.
        with blocklist.keep_synced(every=0.2) as background:
            wait_for(blocklist, serial=1)
            print("0812-0000-0002 is", "blocked" if "0812-0000-0002" in blocklist else "free")
            complaints.write_text("number,category\n0812-0000-0001,fraud\n0812-0000-0002,phishing\n")
            publisher.release("id-messaging", complaints)
            wait_for(blocklist, serial=2)
            print("0812-0000-0002 is", "blocked" if "0812-0000-0002" in blocklist else "free")
            print("last error:", background.last_error)
    for line in metrics.read_text().splitlines():
        if line.startswith("blocklist_serial"):
            print(line)


def wait_for(blocklist: Blocklist, *, serial: int) -> None:
    """Wait until a release is in force; a service would just go on."""
    while blocklist.status().serial != serial:
        time.sleep(0.05)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
