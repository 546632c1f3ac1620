"""How large a snapshot is, beside what information theory allows."""

import math
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.results import Result, median
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import read_snapshot


def wire(snapshot: Path, universe: int, *, repeats: int) -> list[Result]:
    """Measure a snapshot.

    Args:
        snapshot: a snapshot with single numbers.
        universe: how many numbers it could hold, each as likely as any other.
        repeats: how often to compute the digest.
    """
    about = pq.read_metadata(snapshot)
    rows: int = about.num_rows
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    number_bytes = sum(column.total_compressed_size for column in columns if column.path_in_schema == "number")
    content = read_snapshot(snapshot)
    seconds: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        digest(content)
        seconds.append(time.perf_counter() - started)
    return [
        Result(
            "numbers on the wire, a row",
            rows,
            "B",
            number_bytes / rows,
            _bits_of_choice(universe, rows) / 8 / rows,
            "log2 C(universe, rows)",
            most_ratio=1.12,
        ),
        Result("a whole snapshot row on the wire", rows, "B", snapshot.stat().st_size / rows, most=8),
        Result("digest of a release", rows, "s", median(seconds)),
    ]


def _bits_of_choice(universe: int, chosen: int) -> float:
    """The bits that tell which `chosen` of `universe` numbers are listed: log2 of the binomial coefficient."""
    nats = math.lgamma(universe + 1) - math.lgamma(chosen + 1) - math.lgamma(universe - chosen + 1)
    return nats / math.log(2)
