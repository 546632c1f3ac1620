"""One opening of a bundle in a process of its own: ``python -m benchmarks.bundle_process open FOLDER``."""

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.fresh import memory


def opened(folder: Path) -> dict[str, float]:
    """Open the bundle and ask once, then look at the memory."""
    from blocklist_sdk import Blocklist

    about = json.loads((folder / "bundle.json").read_text())
    private, mapped = memory()
    started, worked = time.perf_counter(), time.process_time()
    blocklist = Blocklist.open_bundle(about["path"], root=about["root"], region="ID")
    found = about["number"] in blocklist
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    if not found:
        raise SystemExit("a blocked number was not found")
    private_after, mapped_after = memory()
    return {
        "open_s": seconds,
        "open_cpu_s": cpu,
        "private": private_after - private,
        "mapped": mapped_after - mapped,
        "peak": _peak_bytes(),
    }


def parts(folder: Path) -> dict[str, float]:
    """What opening consists of, each by itself, one after the other."""
    import numpy as np

    from blocklist_sdk import times
    from blocklist_sdk.fetch.url_and_root import read_root
    from blocklist_sdk.recipient.bundle import contents, evidence
    from blocklist_sdk.recipient.bundle.reading import BundleFile
    from blocklist_sdk.recipient.cache.cells import fill_cells, holds_exactly
    from blocklist_sdk.recipient.cache.classify import classify
    from blocklist_sdk.release.digest import digest

    about = json.loads((folder / "bundle.json").read_text())
    file = BundleFile(Path(about["path"]))
    found: dict[str, float] = {}

    def timed(name: str, since: float) -> float:
        now = time.perf_counter()
        found[f"{name}_s"] = now - since
        return time.perf_counter()

    at = time.perf_counter()
    file.check_sums()
    at = timed("sums", at)
    proved = evidence.read_evidence(file.documents(), pinned=read_root(about["root"]), feed=file.feed)
    at = timed("signatures", at)
    rows, _ = file.rows(proved.about.rows)
    at = timed("rows", at)
    digest(rows)
    at = timed("digest", at)
    published_ms = times.to_ms(proved.about.published_at)
    classified = classify(rows, published_ms, published_ms)
    at = timed("classify", at)
    member = next(each for each in file.members if each.name == contents.CELLS)
    cells = contents.column(file.data, member, np.int64, member.length // 8)
    homes = contents.read_homes(file.content(contents.HOMES))
    if not holds_exactly(cells, homes, classified.numbers, classified.kinds):
        raise SystemExit("the table is not the list's")
    at = timed("compare", at)
    if fill_cells(classified.numbers, classified.kinds) is None:
        raise SystemExit("no table was made")
    timed("make", at)
    return found


def _peak_bytes() -> int:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    print(json.dumps({"open": opened, "parts": parts}[sys.argv[1]](Path(sys.argv[2]))))
