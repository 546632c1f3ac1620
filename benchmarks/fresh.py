"""One measurement in a process of its own, so that neither memory nor imports of another one count.

``python -m benchmarks.fresh ours FOLDER`` or ``... set FOLDER``; the answer is JSON on standard output.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

PARSED = 50_000
"""How many texts phonenumbers reads: at 15 µs each it needs no more to be timed well."""


class Members(Protocol):
    """What can be asked with ``in``: a `Blocklist` or a set."""

    def __contains__(self, item: Any, /) -> bool: ...


def measure(side: str, folder: Path, *arguments: int, module: str = "fresh") -> dict[str, float]:
    """Run a module of this package in a process of its own, and return what it measured.

    Args:
        side: what to measure.
        folder: what was prepared for it.
        arguments: what else the side takes.
        module: the module's name.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", side, str(folder), *map(str, arguments)]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=1800)
    if run.returncode:
        raise RuntimeError(f"{side} failed: {run.stderr}")
    found: dict[str, float] = json.loads(run.stdout)
    return found


def memory() -> tuple[int, int]:
    """Bytes of this process that no other can share, and bytes of files that are mapped, shared by who maps them.

    A page of a mapped file counts as ``Private_Clean`` as long as only one process has touched it.
    """
    kilobytes: dict[str, int] = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        kilobytes[name.rstrip(":")] = int(value)
    mapped = sum(kilobytes[name] for name in ("Private_Clean", "Shared_Clean", "Shared_Dirty"))
    return 1024 * kilobytes["Private_Dirty"], 1024 * mapped


def ours(folder: Path) -> dict[str, float]:
    """Open, ask once, then ask many times."""
    from blocklist_sdk import Blocklist

    about = json.loads((folder / "about.json").read_text())
    private, mapped = memory()
    started = time.perf_counter()
    blocklist = Blocklist.open(**about["open"])
    found = about["integer"] in blocklist
    integer_s = time.perf_counter() - started
    found &= about["text"] in blocklist
    text_s = time.perf_counter() - started
    opened, mapped_opened = memory()
    if not found:
        raise SystemExit("a blocked number was not found")
    integers, texts = _questions(folder)
    loaded, mapped_loaded = memory()
    seconds, hits = _ask(blocklist, integers)
    asked, mapped_after = memory()
    text_seconds, text_hits = _ask(blocklist, texts)
    return {
        "open_integer_s": integer_s,
        "open_text_s": text_s,
        "open_private": opened - private,
        "private": opened - private + asked - loaded,
        "mapped": mapped_opened - mapped + mapped_after - mapped_loaded,
        "integer_s": seconds,
        "integer_hits": hits,
        "text_s": text_seconds,
        "parsed_hits": sum(text in blocklist for text in texts[:PARSED]),
        "text_hits": text_hits,
    }


def python_set(folder: Path) -> dict[str, float]:
    """Build a set of what is blocked, and ask it; texts by way of phonenumbers."""
    import numpy as np
    import phonenumbers

    region: str = json.loads((folder / "about.json").read_text())["open"]["region"]
    private, _ = memory()
    started = time.perf_counter()
    blocked = set(np.load(folder / "blocked.npy").tolist())
    build_s = time.perf_counter() - started
    built, _ = memory()
    integers, texts = _questions(folder)
    seconds, hits = _ask(blocked, integers)

    parse: Callable[[str, str], Any] = phonenumbers.parse
    parse(texts[0], region)
    some = texts[:PARSED]
    parsed_hits = 0
    started = time.perf_counter()
    for text in some:
        number = parse(text, region)
        if int(f"{number.country_code}{number.national_number}") in blocked:
            parsed_hits += 1
    text_seconds = (time.perf_counter() - started) / len(some)
    return {
        "build_s": build_s,
        "private": built - private,
        "integer_s": seconds,
        "integer_hits": hits,
        "text_s": text_seconds,
        "parsed_hits": parsed_hits,
    }


def _questions(folder: Path) -> tuple[list[int], list[str]]:
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "asked.parquet")
    return table.column("number").to_pylist(), table.column("text").to_pylist()


def _ask(members: Members, questions: list[Any]) -> tuple[float, int]:
    """Seconds for one question, and how many were answered with yes.

    The first half is asked to warm up, as in a process that has run for a while; the second is timed.
    """
    middle = len(questions) // 2
    hits = sum(question in members for question in questions[:middle])
    timed = questions[middle:]
    started = time.perf_counter()
    for question in timed:
        if question in members:
            hits += 1
    return (time.perf_counter() - started) / len(timed), hits


if __name__ == "__main__":
    print(json.dumps({"ours": ours, "set": python_set}[sys.argv[1]](Path(sys.argv[2]))))
