"""What a look-up server answers, beside what one would use instead.

::

    python -m benchmarks.serving [--rows 1000000] [--seconds 3] [--repeats 3] [--changes 100] [--json OUT]

Everything runs on this machine, over loopback. Redis holds the same list; the service on SQLite has the look-up
server's own HTTP connections. redis-benchmark and wrk ask at full load; `benchmarks.paced`, in C as they are, asks over
the Unix socket, with batches, and at half of the rate that was reached. What a request costs the server is the
processor time of its processes: that means something on a machine with other work as well.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pyarrow as pa

from benchmarks.paced import Questions, compiled, measure
from benchmarks.results import machine, quantity
from benchmarks.serving_changes import Changed, changing
from benchmarks.serving_world import FIRST, Served, World, look_up_server, make_world, redis, sqlite_service

CONNECTIONS: Final = 50
BATCH: Final = 1_000
HALF_P99_MOST_S: Final = 0.005
REDIS_SHARE_LEAST: Final = 0.5
BATCHED_LEAST: Final = 1_000_000

_ARROW: Final = "application/vnd.apache.arrow.stream"
_WRK: Final = """
math.randomseed({seed})
request = function()
  return wrk.format("GET", string.format("/v1/verdicts/+628%012d", math.random(0, {keys} - 1)))
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format("%f %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, failed))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One run of a load generator.

    Attributes:
        per_second: answers a second.
        p50_s, p99_s: of the time that an answer took.
        cpu_s: processor time of the server for each answer.
        failures: answers that were none.
        unanswered: questions that had no answer at the end, or were due and not asked; up to one a connection is usual.
    """

    per_second: float
    p50_s: float
    p99_s: float
    cpu_s: float = 0.0
    failures: int = 0
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table, medians of the repeats.

    Attributes:
        what: who is asked, and how.
        by: what asks.
        full: as fast as it goes.
        half: at half that rate; None where that was not measured.
    """

    what: str
    by: str
    full: Load
    half: Load | None = None


Ask = Callable[[float], Load]
"""Asks at a rate, or as fast as it goes for 0."""


def redis_benchmark(world: World, served: Served, pipeline: int, seconds: float) -> Load:
    """`GET` by redis-benchmark; a short run says how many requests make the seconds."""

    def run(requests: int) -> Load:
        words = ["redis-benchmark", "-p", str(served.redis_port), "-c", str(CONNECTIONS), "-n", str(requests)]
        words += ["-r", str(world.keys), "-P", str(pipeline), "-e", "--csv", "GET", "+628__rand_int__"]
        before = served.cpu_s()
        ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
        cpu_s = (served.cpu_s() - before) / requests
        lines = [line for line in ran.stdout.splitlines() if line.startswith('"')]
        fields = dict(zip(*csv.reader(lines), strict=True))
        of = {name: float(fields[name]) for name in ("rps", "p50_latency_ms", "p99_latency_ms")}
        return Load(of["rps"], of["p50_latency_ms"] / 1e3, of["p99_latency_ms"] / 1e3, cpu_s)

    return run(max(1_000, int(run(max(1_000, 5_000 * pipeline)).per_second * seconds)))


def wrk(world: World, served: Served, seconds: float) -> Load:
    """One number a request by wrk."""
    script = world.folder / "ask.lua"
    script.write_text(_WRK.format(keys=world.keys, seed=7))
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    before = served.cpu_s()
    ran = subprocess.run([*words, f"http://127.0.0.1:{served.port}"], capture_output=True, text=True, check=True)
    used_s = served.cpu_s() - before
    rate, p50_s, p99_s, failures = ran.stdout.splitlines()[-1].split()
    answers = int(re.search(r"([0-9]+) requests in", ran.stdout)[1])  # type: ignore[index]  # it always says so
    return Load(float(rate), float(p50_s), float(p99_s), used_s / answers, int(failures))


def paced(world: World, served: Served, questions: Questions) -> Load:
    """`benchmarks.paced`."""
    before = served.cpu_s()
    found = measure(compiled(world.folder), replace(questions, keys=world.keys))
    cpu_s = (served.cpu_s() - before) / max(1, found["answers"])
    return Load(found["per_second"], found["p50_s"], found["p99_s"], cpu_s, found["failures"], found["unanswered"])


def middle(loads: Sequence[Load]) -> Load:
    """The medians of several runs; their failures together."""
    of = {name: median(getattr(load, name) for load in loads) for name in ("per_second", "p50_s", "p99_s", "cpu_s")}
    return Load(
        **of,
        failures=sum(load.failures for load in loads),
        unanswered=max(load.unanswered for load in loads),
    )


def in_turn(asks: Sequence[tuple[str, str, Ask, Ask | None]], repeats: int) -> Iterator[Row]:
    """Ask everybody in turn, as often as there are repeats, and then at half the rates.

    Args:
        asks: who is asked, what asks, and how it asks at full load and at a rate.
        repeats: how often.
    """
    full: dict[str, list[Load]] = {what: [] for what, *_ in asks}
    half: dict[str, list[Load]] = {what: [] for what, *_ in asks}
    for _ in range(repeats):
        for what, _, ask, _ in asks:
            full[what].append(ask(0.0))
    for _ in range(repeats):
        for what, _, _, ask_at in asks:
            if ask_at is not None:
                half[what].append(ask_at(middle(full[what]).per_second / 2))
    for what, by, _, _ in asks:
        yield Row(what, by, middle(full[what]), middle(half[what]) if half[what] else None)


def one_number(world: World, *, seconds: float, repeats: int) -> list[Row]:
    """One number a question, of one worker, beside the peers."""
    with ExitStack() as stack:
        ours = stack.enter_context(look_up_server(world))
        theirs = stack.enter_context(redis(world))
        sqlite = stack.enter_context(sqlite_service(world))
        rows = list(in_turn(_asks(world, ours, theirs, sqlite, seconds), repeats))
    with look_up_server(world, workers=2) as ours:
        rows += [
            Row(f"{row.what}, two workers", row.by, row.full, row.half)
            for row in in_turn(_asks(world, ours, None, None, seconds), repeats)
        ]
    return [*rows, in_process(world)]


def _asks(
    world: World, ours: Served, theirs: Served | None, sqlite: Served | None, seconds: float
) -> list[tuple[str, str, Ask, Ask | None]]:
    def at(served: Served, **door: Any) -> Ask:
        return lambda rate: paced(world, served, Questions(**door, rate=rate, seconds=seconds))

    asks: list[tuple[str, str, Ask, Ask | None]] = []
    for pipeline in (1, 16):
        note = "" if pipeline == 1 else f", pipelines of {pipeline}"
        for name, server in (("Redis", theirs), ("Redis door", ours)):
            if server is not None:

                def full(rate: float, server: Served = server, pipeline: int = pipeline) -> Load:
                    return redis_benchmark(world, server, pipeline, seconds)

                half = at(server, is_redis=True, port=server.redis_port) if pipeline == 1 else None
                asks.append((f"{name}{note}", "redis-benchmark", full, half))
    for name, server in (("HTTP and SQLite", sqlite), ("HTTP", ours)):
        if server is not None:

            def by_wrk(rate: float, server: Served = server) -> Load:
                return wrk(world, server, seconds)

            asks.append((name, "wrk", by_wrk, at(server, port=server.port)))
    over_socket = at(ours, uds=ours.uds)
    asks.append(("HTTP over a Unix socket", "paced", over_socket, over_socket))
    return asks


def in_process(world: World) -> Row:
    """The library itself, in this process."""
    rng = np.random.default_rng(3)
    texts = [f"+{FIRST + key}" for key in rng.integers(0, world.keys, 200_000).tolist()]
    with world.open() as blocklist:
        hits = sum(text in blocklist for text in texts)  # opens it
        started, used = time.perf_counter(), time.process_time()
        if hits != sum(text in blocklist for text in texts):
            raise RuntimeError("the list answers differently the second time")
        took_s, used_s = time.perf_counter() - started, time.process_time() - used
    each_s = took_s / len(texts)
    return Row("the library, `text in bl`", "a loop", Load(1 / each_s, each_s, each_s, used_s / len(texts)))


def batches(world: World, *, seconds: float, repeats: int) -> list[Row]:
    """A thousand numbers a request, by two workers: rates are of numbers, times of requests."""
    rng = np.random.default_rng(5)
    texts = [f"+{FIRST + key}" for key in rng.integers(0, world.keys, BATCH).tolist()]
    column = pa.table({"number": texts})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, column.schema) as stream:
        stream.write_table(column)
    (world.folder / "batch.arrow").write_bytes(sink.getvalue())
    (world.folder / "batch.json").write_text(json.dumps({"numbers": texts}))
    found = []
    with look_up_server(world, workers=2) as ours:
        for name, file, content_type in (
            ("Arrow", "batch.arrow", _ARROW),
            ("JSON", "batch.json", "application/json"),
        ):
            questions = Questions(
                port=ours.port, body=world.folder / file, content_type=content_type, connections=4, seconds=seconds
            )
            loads = [paced(world, ours, questions) for _ in range(repeats)]
            of = middle(loads)
            full = Load(of.per_second * BATCH, of.p50_s, of.p99_s, of.cpu_s / BATCH, of.failures)
            found.append(Row(f"{name} batches of {BATCH:,}, two workers", "paced, 4 connections", full))
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| asked | by | numbers a second | p50 | p99 | p99 at half load | processor time a number | failures |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        half = "–" if row.half is None else quantity(row.half.p99_s, "s")
        failures = row.full.failures + (row.half.failures if row.half else 0)
        cells = [row.what, row.by, f"{row.full.per_second:,.0f}"]
        cells += [quantity(value, "s") for value in (row.full.p50_s, row.full.p99_s)]
        cells += [half, quantity(row.full.cpu_s, "s"), str(failures)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bars(rows: Sequence[Row], changed: Changed | None) -> list[str]:
    """What was to be reached, and whether it was."""
    of = {row.what: row for row in rows}
    found = []

    def bar(what: str, value: str, is_met: bool) -> None:
        found.append(f"- {what}: {value}, {'met' if is_met else 'NOT MET'}")

    for note in ("", ", pipelines of 16"):
        ours, theirs = of[f"Redis door{note}"].full, of[f"Redis{note}"].full
        share, cpu = ours.per_second / theirs.per_second, theirs.cpu_s / ours.cpu_s
        text = f"{share:.2f} by requests a second, {cpu:.2f} by processor time"
        bar(f"Redis door{note} / Redis ≥ {REDIS_SHARE_LEAST}", text, share >= REDIS_SHARE_LEAST)
    arrow = of[f"Arrow batches of {BATCH:,}, two workers"].full.per_second
    bar(f"Arrow batches ≥ {BATCHED_LEAST:,} numbers a second", f"{arrow:,.0f}", arrow >= BATCHED_LEAST)
    peers = ("Redis", "HTTP and SQLite")
    half = [row.half for row in rows if row.half is not None and row.what not in peers]
    worst = max(load.p99_s for load in half)
    bar("p99 at half load ≤ 5 ms at every door", f"at most {quantity(worst, 's')}", worst <= HALF_P99_MOST_S)
    failed = sum(load.failures for row in rows for load in (row.full, row.half) if load is not None)
    # Some are always under way, and some were due in the last moments.
    late = max(load.unanswered - CONNECTIONS - load.per_second * HALF_P99_MOST_S for load in half)
    text = f"{failed} failed, {max(0, round(late))} overdue at the end of a run at half load"
    bar("every question is answered", text, not failed and late <= 0)
    if changed is not None:
        bar(
            f"{changed.releases} releases while {changed.clients} clients ask: nothing wrong, no error",
            f"{changed.answers:,} answers, {changed.wrong} wrong, {changed.errors} errors",
            not changed.wrong and not changed.errors,
        )
    return found


def main() -> None:
    """Read the arguments, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="of the list")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each run")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="medians of so many")
    parser.add_argument("--changes", type=int, default=100, metavar="N", help="releases while clients ask; 0 for none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    arguments = parser.parse_args()
    for program in ("redis-server", "redis-benchmark", "wrk", "cc"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not installed: Debian has redis-server, redis-tools, wrk and gcc")
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        print(f"measuring {arguments.rows:,} generated rows …", file=sys.stderr)
        world = make_world(Path(name), arguments.rows)
        rows = one_number(world, seconds=arguments.seconds, repeats=arguments.repeats)
        rows += batches(world, seconds=arguments.seconds, repeats=arguments.repeats)
    changed = None
    if arguments.changes:
        with tempfile.TemporaryDirectory(prefix="serving-") as name:
            changed = changing(Path(name), arguments.changes)
    about = machine()
    print(f"{arguments.rows:,} generated rows; {', '.join(f'{key} {value}' for key, value in about.items())}\n")
    print(table(rows))
    print()
    print("\n".join(bars(rows, changed)))
    if arguments.json:
        document: dict[str, Any] = {"machine": about, "rows": arguments.rows, "results": [asdict(row) for row in rows]}
        document["changed"] = None if changed is None else asdict(changed)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
