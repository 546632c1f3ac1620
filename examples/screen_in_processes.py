"""Screen a large user base in several processes, as with multiprocessing, Dask or Spark: each opens the list itself.

A list that is open cannot be pickled. Its arguments can: they go to the workers, which share the files on the disk. One
process alone syncs. The numbers are generated; they are nobody's.
"""

import multiprocessing
import secrets
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from blocklist_sdk import Blocklist, Publisher

USERS = [f"+62812{number:08d}" for number in range(20_000)]
PARTS = [USERS[start : start + 5_000] for start in range(0, len(USERS), 5_000)]

blocklist: Blocklist
"""The worker's own."""


def open_list(arguments: dict[str, Any]) -> None:
    """Open the list, once in each worker; this uses no network."""
    global blocklist
    blocklist = Blocklist.open(**arguments)


def blocked(numbers: list[str]) -> int:
    """Screen one part, in a worker."""
    return blocklist.screen(pa.array(numbers)).column("blocked").to_pylist().count(True)


def main(folder: Path) -> None:
    """Publish a list, sync it once, and screen in two processes."""
    (folder / "list.csv").write_text("number\n" + "\n".join(USERS[::10]))
    publisher = Publisher.init(folder / "authority", feeds=["id-telkomsel"], passphrase=secrets.token_urlsafe())
    publisher.release("id-telkomsel", folder / "list.csv")

    arguments: dict[str, Any] = {
        "url": publisher.repository.as_uri(),
        "feed": "id-telkomsel",
        "root": publisher.root,
        "cache_dir": folder / "cache",
    }
    with Blocklist.open(**arguments) as parent:
        parent.sync()

    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawning, initializer=open_list, initargs=(arguments,)) as pool:
        counts = list(pool.map(blocked, PARTS))
    print(f"blocked in each part: {counts}")
    assert sum(counts) == len(USERS) // 10


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
