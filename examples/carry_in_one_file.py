"""Put a list into one file, and ask it where there is no cache, no network and nothing to write: in other processes.

The numbers are generated; they are nobody's.
"""

import multiprocessing
import secrets
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa

from blocklist_sdk import Blocklist, Publisher, Untrusted

USERS = [f"+62812{number:08d}" for number in range(20_000)]
PARTS = [USERS[start : start + 5_000] for start in range(0, len(USERS), 5_000)]

bundle: Blocklist
"""The worker's own."""


def open_bundle(path: Path, root: Path) -> None:
    """Open the bundle, once in each worker: everything in it is verified first."""
    global bundle
    bundle = Blocklist.open_bundle(path, root=root, feed="id-telkomsel", when_stale="raise")


def blocked(numbers: list[str]) -> int:
    """Screen one part, in a worker."""
    return bundle.screen(pa.array(numbers)).column("blocked").to_pylist().count(True)


def main(folder: Path) -> None:
    """Publish a list, sync it, put it into a bundle, and screen in two processes that have nothing else."""
    (folder / "list.csv").write_text("number\n" + "\n".join(USERS[::10]))
    publisher = Publisher.init(folder / "authority", feeds=["id-telkomsel"], passphrase=secrets.token_urlsafe())
    publisher.release("id-telkomsel", folder / "list.csv")

    carried = folder / "carried"
    carried.mkdir()
    with Blocklist.open(
        publisher.repository.as_uri(), feed="id-telkomsel", root=publisher.root, cache_dir=folder / "cache"
    ) as blocklist:
        blocklist.sync()
        made = blocklist.bundle(carried / "list.bundle")
    print(f"release {made.serial} with {made.rows:,} entries, in {made.bytes:,} bytes")
    carried.chmod(0o500)

    spawning = multiprocessing.get_context("spawn")
    arguments = (carried / "list.bundle", publisher.root)
    with ProcessPoolExecutor(2, spawning, initializer=open_bundle, initargs=arguments) as pool:
        counts = list(pool.map(blocked, PARTS))
    print(f"blocked in each part: {counts}")
    assert sum(counts) == len(USERS) // 10

    # Whoever alters a byte of it on the way is found out.
    data = bytearray((carried / "list.bundle").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "altered.bundle").write_bytes(data)
    try:
        Blocklist.open_bundle(folder / "altered.bundle", root=publisher.root)
    except Untrusted as error:
        print(f"refused: {str(error).partition(': ')[2]}")
    carried.chmod(0o700)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
