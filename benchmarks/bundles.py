"""``python -m benchmarks.bundles --rows 1000000,10000000``: make a bundle of generated numbers, and open it.

Beside it the same bundle without its table of numbers, which whoever opens it then makes for himself.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import fresh
from benchmarks.lists import REGION, make_lists
from benchmarks.results import Result, median, table
from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.recipient.bundle import contents
from blocklist_sdk.recipient.bundle.container import SUMS, ArchiveWriter
from blocklist_sdk.recipient.bundle.reading import BundleFile

FEED = "generated"
_PARTS = {
    "sums": "opening: read every byte and compare the hashes in the file (beside the rest, in another thread)",
    "signatures": "opening: signatures from the root down to the index",
    "rows": "opening: check the rows",
    "digest": "opening: the digest of the rows",
    "classify": "opening: work out the answers",
    "compare": "opening: compare the table of numbers in the file",
    "make": "instead of that: make the table anew in memory",
}


def measure(rows: int, *, repeats: int) -> list[Result]:
    """What a bundle of so many generated rows costs."""
    lists = make_lists(rows)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        publisher = Publisher.init(folder / "publisher", feeds=[FEED], passphrase="correct horse battery")
        publisher.release(FEED, lists.second)
        root = str(publisher.root)
        with Blocklist.open(
            publisher.repository.as_uri(), feed=FEED, root=root, region=REGION, cache_dir=folder / "cache"
        ) as blocklist:
            blocklist.sync()
            started = time.perf_counter()
            made = blocklist.bundle(folder / "list.bundle")
            made_s = time.perf_counter() - started
            on_disk = blocklist.status().generation_bytes or 0
        without_table(folder / "list.bundle", folder / "short.bundle")
        found: dict[str, list[dict[str, float]]] = {}
        number = int(lists.blocked[len(lists.blocked) // 2])
        for _ in range(repeats):
            for side, bundle in (("list", "list.bundle"), ("short", "short.bundle")):
                about = {"path": str(folder / bundle), "root": root, "number": number}
                (folder / "bundle.json").write_text(json.dumps(about))
                found.setdefault(side, []).append(fresh.measure("open", folder, module="bundle_process"))
        (folder / "bundle.json").write_text(json.dumps({**about, "path": str(folder / "list.bundle")}))
        parts = [fresh.measure("parts", folder, module="bundle_process") for _ in range(repeats)]

    def of(side: str, name: str) -> float:
        return median(each[name] for each in found[side])

    without = "the same without the table in the file"
    return [
        Result("make a bundle, verified as it will be when it is opened", rows, "s", made_s),
        Result("size of the file", rows, "B", made.bytes, on_disk, "the generation on disk"),
        Result("open it and ask once", rows, "s", of("list", "open_s"), of("short", "open_s"), without),
        Result("processor time of that", rows, "s", of("list", "open_cpu_s"), of("short", "open_cpu_s"), without),
        Result("private memory afterwards", rows, "B", of("list", "private"), of("short", "private"), without),
        Result(
            "peak resident memory, shared pages included", rows, "B", of("list", "peak"), of("short", "peak"), without
        ),
        *(Result(text, rows, "s", median(each[f"{part}_s"] for each in parts)) for part, text in _PARTS.items()),
    ]


def without_table(bundle: Path, short: Path) -> None:
    """Write the same bundle without its table of numbers."""
    file = BundleFile(bundle)
    short.touch()
    with ArchiveWriter(short) as archive:
        for member in file.members:
            if member.name not in (contents.CELLS, contents.HOMES, SUMS):
                archive.add(member.name, file.content(member.name))
        archive.finish()


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bundles", description=__doc__)
    parser.add_argument("--rows", default="1000000", metavar="N[,N]", help="sizes of the lists")
    parser.add_argument("--repeats", default=3, type=int, metavar="N", help="medians of so many (default: 3)")
    arguments = parser.parse_args()
    results: list[Result] = []
    for rows in map(int, arguments.rows.split(",")):
        print(f"measuring {rows:,} generated rows …", file=sys.stderr)
        results += measure(rows, repeats=arguments.repeats)
    print(table(results))


if __name__ == "__main__":
    main()
