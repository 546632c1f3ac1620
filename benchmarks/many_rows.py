"""A table of many users, screened in one process, in several, in Spark, and by joins of the list's integers.

``python -m benchmarks.many_rows --rows 5000000`` measures each way in a process of its own and prints a table. Spark
takes part where it is installed (`make integration-spark` makes an environment that has it).

All ways read the same Parquet files and write the table again, with at least a column that says who is blocked. The
joins are given what they cannot make: each number as an integer.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import fresh
from benchmarks.lists import REGION, SEED, SUBSCRIBERS, make_lists, mobile_prefixes, written_column
from benchmarks.results import machine
from blocklist_sdk import Blocklist, Publisher

FEED: Final = "id-all"
LISTED_SHARE: Final = 0.1
"""Of the users that many are on the list; not all of them with an entry that blocks today."""

PARTS: Final = 10
PROCESSES: Final = 2

WAYS: Final = {
    "screen": "`screen`, in memory",
    "one": "one process, Parquet to Parquet",
    "several": f"{PROCESSES} processes",
    "spark": f"Spark, `local[{PROCESSES}]`, the column decides its form",
    "spark_declared": "the same, a declared form",
    "spark_large": "the same, Arrow batches of 100,000 rows",
    "spark_join": "Spark, join of integers",
    "duckdb": "DuckDB, join of integers",
    "polars": "Polars, join of integers",
}

WHERE_BLOCKED: Final = "level = 'block' AND last IS NULL AND since <= {now} AND (until IS NULL OR until > {now})"
"""What a join has to know of the columns, and still it leaves out ranges."""


def prepare(folder: Path, *, rows: int, listed: int) -> None:
    """Publish a list, write its bundle and its Parquet file, and the table of users.

    Args:
        folder: an empty folder.
        rows: of the table.
        listed: entries on the list; single numbers only, since a join finds no others.
    """
    entries = make_lists(listed).second
    pq.write_table(entries, folder / "entries.parquet")
    publisher = Publisher.init(folder / "authority", feeds=[FEED], passphrase=secrets.token_urlsafe(), region=REGION)
    publisher.release(FEED, folder / "entries.parquet")
    with Blocklist.open(
        publisher.repository.as_uri(), feed=FEED, root=publisher.root, cache_dir=folder / "cache"
    ) as blocklist:
        blocklist.sync()
        blocklist.bundle(folder / "list.bundle")
        pq.write_table(pa.table(blocklist.to_arrow()), folder / "list.parquet")
    rng = np.random.default_rng(SEED + 2)
    numbers = entries.column("number").to_numpy()
    is_listed = rng.random(rows) < LISTED_SHARE
    prefixes = mobile_prefixes()
    other = prefixes[rng.integers(len(prefixes), size=rows)] * SUBSCRIBERS + rng.integers(SUBSCRIBERS, size=rows)
    number = np.where(is_listed, rng.choice(numbers, rows), other)
    # In the order in which the texts come, and then in no order.
    order = rng.permutation(rows)
    texts = written_column(number).take(order)
    number = np.concatenate([number[form::6] for form in range(6)])[order]
    users = pa.table({"id": np.arange(rows), "msisdn": texts, "number": number})
    (folder / "users").mkdir()
    size = -(-rows // PARTS)
    for i, start in enumerate(range(0, rows, size)):
        pq.write_table(users[start : start + size], folder / "users" / f"{i:02}.parquet")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_rows", description=__doc__)
    parser.add_argument("--rows", default=5_000_000, type=int, metavar="N", help="of the table (default: 5,000,000)")
    parser.add_argument("--listed", default=1_000_000, type=int, metavar="N", help="entries (default: 1,000,000)")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="by default all")
    arguments = parser.parse_args()
    ways = [way for way in arguments.ways if not way.startswith("spark") or importlib.util.find_spec("pyspark")]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        print(f"making {arguments.rows:,} users and a list of {arguments.listed:,} …", file=sys.stderr)
        prepare(folder, rows=arguments.rows, listed=arguments.listed)
        found = {}
        for way in ways:
            found[way] = fresh.measure(way, folder, module="many_rows")
            print(f"{WAYS[way]}: {found[way]['seconds']:.1f} s", file=sys.stderr)
    print(f"Generated rows; {', '.join(f'{name} {value}' for name, value in machine().items())}\n")
    print("| way | rows a second | seconds | processor seconds | start of the session |\n|---|---:|---:|---:|---:|")
    for way, each in found.items():
        before = f"{each['before_s']:.1f}" if "before_s" in each else "–"
        rate = arguments.rows / each["seconds"]
        print(f"| {WAYS[way]} | {rate:,.0f} | {each['seconds']:.1f} | {each['processor_s']:.1f} | {before} |")
    if len({each["blocked"] for each in found.values()}) != 1:
        raise SystemExit("the ways answer differently: there is nothing to compare")


class Stopwatch:
    """Seconds, and seconds of processors: of this process and all that came from it, Java's among them.

    While other work shares the machine, the latter say more.
    """

    def __init__(self) -> None:
        self._started, self._processor_s = time.perf_counter(), processor_s()

    def read(self) -> dict[str, float]:
        """Both since it was made."""
        return {"seconds": time.perf_counter() - self._started, "processor_s": processor_s() - self._processor_s}


def processor_s() -> float:
    """What the processes of this one's tree have used so far, in user and in system mode."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(stat.parent.name)
        # proc_pid_stat(5): 4 is the parent; 14 to 17 are the times, with those of children that were waited for.
        parents[pid], used[pid] = int(fields[1]), sum(map(int, fields[11:15]))

    def is_own(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return sum(ticks for pid, ticks in used.items() if is_own(pid)) / os.sysconf("SC_CLK_TCK")


def open_bundle(folder: Path) -> Blocklist:
    """The list of the folder, verified."""
    return Blocklist.open_bundle(folder / "list.bundle", root=folder / "authority" / "root.json", region=REGION)


def screen_files(folder: Path, files: list[Path]) -> int:
    """Screen files, write each anew, and return how many rows are blocked; a worker of `several` does some of them."""
    blocked = 0
    with open_bundle(folder) as blocklist:
        for file in files:
            users = pq.read_table(file)
            answers = pa.table(blocklist.screen(users.column("msisdn")))
            for name in answers.column_names:
                users = users.append_column(f"blocklist_{name}", answers.column(name))
            pq.write_table(users, folder / "out" / file.name)
            blocked += pc.sum(answers.column("blocked")).as_py()
    return blocked


def users_of(folder: Path) -> list[Path]:
    """The files of the table."""
    return sorted((folder / "users").glob("*.parquet"))


def screen(folder: Path) -> dict[str, float]:
    """Screen the column, which is in memory."""
    column = pq.read_table(folder / "users").column("msisdn")
    with open_bundle(folder) as blocklist:
        watch = Stopwatch()
        blocked = pc.sum(pa.table(blocklist.screen(column)).column("blocked")).as_py()
        return {**watch.read(), "blocked": blocked}


def one(folder: Path) -> dict[str, float]:
    """Screen file after file."""
    watch = Stopwatch()
    blocked = screen_files(folder, users_of(folder))
    return {**watch.read(), "blocked": blocked}


def several(folder: Path) -> dict[str, float]:
    """Screen in several processes, of which each opens the bundle for itself."""
    files = users_of(folder)
    watch = Stopwatch()
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        shares = [pool.submit(screen_files, folder, files[i::PROCESSES]) for i in range(PROCESSES)]
        blocked = sum(share.result() for share in shares)
    return {**watch.read(), "blocked": blocked}


def in_spark(work: Callable[[Any], Any], folder: Path, **settings: str) -> dict[str, float]:
    """Have a session write what `work` makes of the table; how long the session takes to start is apart."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    started = time.perf_counter()
    building = SparkSession.builder.master(f"local[{PROCESSES}]").config("spark.ui.enabled", "false")
    for name, value in settings.items():
        building = building.config(f"spark.sql.{name.replace('_', '.')}", value)
    spark = building.getOrCreate()
    spark.range(1).collect()
    before_s = time.perf_counter() - started
    try:
        watch = Stopwatch()
        work(spark.read.parquet(str(folder / "users"))).write.parquet(str(folder / "out" / "table"))
        measured = watch.read()
        blocked = spark.read.parquet(str(folder / "out" / "table")).where("blocklist_blocked").count()
    finally:
        spark.stop()
    return {**measured, "before_s": before_s, "blocked": blocked}


def spark_ways(folder: Path, form: Any, **settings: str) -> dict[str, float]:
    """Screen by `with_verdicts`."""
    from blocklist_sdk.spark import with_verdicts

    bundle, root = folder / "list.bundle", folder / "authority" / "root.json"
    return in_spark(
        lambda users: with_verdicts(users, "msisdn", bundle, root=root, region=REGION, form=form), folder, **settings
    )


def spark(folder: Path) -> dict[str, float]:
    """Screen in Spark; a job before decides the form."""
    return spark_ways(folder, "auto")


def spark_declared(folder: Path) -> dict[str, float]:
    """The same without that job."""
    return spark_ways(folder, "national")


def spark_large(folder: Path) -> dict[str, float]:
    """The same with larger batches than Spark's 10,000 rows."""
    return spark_ways(folder, "national", execution_arrow_maxRecordsPerBatch="100000")


def spark_join(folder: Path) -> dict[str, float]:
    """Join the integers in Spark."""

    def work(users: Any) -> Any:
        listed = users.sparkSession.read.parquet(str(folder / "list.parquet"))
        blocked = listed.where(WHERE_BLOCKED.format(now="current_timestamp()")).select("number").distinct()
        return users.join(blocked.selectExpr("number", "true AS found"), "number", "left").selectExpr(
            "id", "msisdn", "number", "found IS NOT NULL AS blocklist_blocked"
        )

    return in_spark(work, folder)


def duckdb(folder: Path) -> dict[str, float]:
    """Join the integers in DuckDB."""
    import duckdb

    out = folder / "out" / "table.parquet"
    watch = Stopwatch()
    duckdb.sql(
        f"COPY (SELECT users.*, listed.number IS NOT NULL AS blocked FROM '{folder}/users/*.parquet' users LEFT JOIN "
        f"(SELECT DISTINCT number FROM '{folder}/list.parquet' WHERE {WHERE_BLOCKED.format(now='now()')}) listed "
        f"USING (number)) TO '{out}' (FORMAT parquet)"
    )
    return {**watch.read(), "blocked": pc.sum(pq.read_table(out).column("blocked")).as_py()}


def polars(folder: Path) -> dict[str, float]:
    """Join the integers in Polars."""
    import polars as pl

    out, now = folder / "out" / "table.parquet", datetime.now(UTC)
    watch = Stopwatch()
    listed = pl.scan_parquet(folder / "list.parquet").filter(
        (pl.col("level") == "block")
        & pl.col("last").is_null()
        & (pl.col("since") <= now)
        & (pl.col("until").is_null() | (pl.col("until") > now))
    )
    blocked = listed.select("number", blocked=pl.lit(True)).unique()
    users = pl.scan_parquet(folder / "users" / "*.parquet").join(blocked, on="number", how="left")
    users.with_columns(pl.col("blocked").fill_null(value=False)).sink_parquet(out)
    return {**watch.read(), "blocked": pc.sum(pq.read_table(out).column("blocked")).as_py()}


SIDES: Final[dict[str, Callable[[Path], dict[str, float]]]] = {
    each.__name__: each
    for each in (screen, one, several, spark, spark_declared, spark_large, spark_join, duckdb, polars)
}

if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in SIDES:
        with tempfile.TemporaryDirectory(prefix="out", dir=sys.argv[2]) as made:
            (Path(sys.argv[2]) / "out").unlink(missing_ok=True)
            (Path(sys.argv[2]) / "out").symlink_to(made)
            print(json.dumps(SIDES[sys.argv[1]](Path(sys.argv[2]))))
    else:
        main()
