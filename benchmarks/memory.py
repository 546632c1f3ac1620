"""The most memory that one sync takes, in a process of its own.

``python -m benchmarks.memory sync FOLDER``, where ``FOLDER/open.json`` has the arguments of `Blocklist.open`; the
answer is JSON on standard output.
"""

import json
import sys
import threading
from pathlib import Path

_LOOK_S = 0.005
"""The kernel keeps the peak of resident memory, but not of the part of it that is in no file: that is looked at."""


def sync(folder: Path) -> dict[str, float]:
    """Sync once; bytes that grew after the import, and of the generation on disk."""
    from blocklist_sdk import Blocklist

    done = threading.Event()
    resident_before, private_before = _status_bytes("VmRSS"), _status_bytes("RssAnon")
    peak = private_before

    def look() -> None:
        nonlocal peak
        while not done.wait(_LOOK_S):
            peak = max(peak, _status_bytes("RssAnon"))

    watch = threading.Thread(target=look)
    watch.start()
    with Blocklist.open(**json.loads((folder / "open.json").read_text())) as blocklist:
        kind = blocklist.sync().kind
        done.set()
        watch.join()
        # Not ru_maxrss, into which the process counts that started this one.
        resident = _status_bytes("VmHWM") - resident_before
        generation = blocklist.status().generation_bytes
    if generation is None:
        raise SystemExit("the sync left no generation")
    return {
        "is_delta": kind == "delta",
        "resident": resident,
        "private": peak - private_before,
        "generation": generation,
    }


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    print(json.dumps({"sync": sync}[sys.argv[1]](Path(sys.argv[2]))))
