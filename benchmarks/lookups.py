"""Questions about numbers, beside a Python set, `phonenumbers` and `rphonenumbers`."""

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import fresh
from benchmarks.lists import Lists
from benchmarks.redis_server import redis_server
from benchmarks.results import Result, median


def lookups(lists: Lists, synced: Mapping[str, str], folder: Path, *, repeats: int) -> list[Result]:
    """Measure each side in fresh processes, in turn.

    Args:
        lists: the second release is what was synced.
        synced: arguments of `Blocklist.open` for it.
        folder: an empty folder for what the processes read.
        repeats: how many processes of each side.
    """
    rows = len(lists.second)
    np.save(folder / "blocked.npy", lists.blocked)
    pq.write_table(pa.table({"number": lists.asked, "text": lists.texts}), folder / "asked.parquet")
    number = int(lists.blocked[len(lists.blocked) // 2])
    about = {"open": dict(synced), "integer": number, "text": f"0{str(number)[2:]}"}
    (folder / "about.json").write_text(json.dumps(about))

    has_port = find_spec("rphonenumbers") is not None
    if not has_port:
        print("rphonenumbers is not installed: its row is left out", file=sys.stderr)
    ours, sets, ports = [], [], []
    for _ in range(repeats):
        ours.append(fresh.measure("ours", folder))
        sets.append(fresh.measure("set", folder))
        if has_port:
            ports.append(fresh.measure("rphonenumbers", folder, module="peers"))
    for name, sides in (("integer_hits", sets), ("parsed_hits", sets), ("text_hits", ports)):
        if len({found[name] for found in (*ours, *sides)}) != 1:
            raise RuntimeError(f"the two sides answer differently ({name}): there is nothing to compare")

    def of(runs: list[dict[str, float]], name: str) -> float:
        return median(run[name] for run in runs)

    build = of(sets, "build_s")
    return [
        *_beside_databases(rows, of(ours, "text_s"), ours[0]["parsed_hits"], folder),
        Result(
            "`text in bl`, six formats, half of them listed",
            rows,
            "s",
            of(ours, "text_s"),
            of(sets, "text_s"),
            "`phonenumbers.parse` + set",
            most_ratio=1 / 10,
        ),
        *_beside_port(rows, of(ours, "text_s"), ports),
        Result(
            "`integer in bl`", rows, "s", of(ours, "integer_s"), of(sets, "integer_s"), "`integer in set`", most_ratio=4
        ),
        Result(
            "private memory after these questions about integers",
            rows,
            "B",
            of(ours, "private"),
            of(sets, "private"),
            "set of int",
            most_ratio=1 / 20,
        ),
        Result("pages of mapped files after them, shared by all processes", rows, "B", of(ours, "mapped")),
        Result(
            "open and first `integer in bl`",
            rows,
            "s",
            of(ours, "open_integer_s"),
            build,
            "building the set",
            most=0.02,
        ),
        Result(
            "the same, and first `text in bl`", rows, "s", of(ours, "open_text_s"), build, "building the set", most=0.02
        ),
        Result("private memory after both", rows, "B", of(ours, "open_private"), most=10e6),
    ]


def _beside_port(rows: int, text_s: float, ports: list[dict[str, float]]) -> list[Result]:
    """The same texts by the fastest parser there is; no row where it is not installed."""
    if not ports:
        return []
    anchor = median(run["text_s"] for run in ports)
    what = "`text in bl`, the same texts"
    return [Result(what, rows, "s", text_s, anchor, "`rphonenumbers.parse` + set", most_ratio=1 / 2)]


def _beside_databases(rows: int, text_s: float, hits: float, folder: Path) -> list[Result]:
    """The same texts by `phonenumbers` and a database; Redis or Valkey where a server is installed."""
    what = "`text in bl`, the same texts"
    found = [("`phonenumbers.parse` + SQLite", fresh.measure("sqlite", folder, module="peers"))]
    with redis_server(folder) as is_running:
        if is_running:
            found.append(("`phonenumbers.parse` + Redis", fresh.measure("redis", folder, module="peers")))
    if any(each["parsed_hits"] != hits for _, each in found):
        raise RuntimeError("a database answers differently: there is nothing to compare")
    return [Result(what, rows, "s", text_s, each["text_s"], against) for against, each in found]
