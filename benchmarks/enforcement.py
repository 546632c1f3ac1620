"""``python -m benchmarks.enforcement --rows 1000000``: sinks, beside each system's own tools in the same run.

Per system: the sink, the bulk tool as its own manual shows it, and a loop that sends row by row. The tools are given
rows that are made already, as tuples; the sink is given batches as `enforce` makes them. The loops write some of the
rows only, since they take long. Generated rows; servers are started here, and keep what they are told as in production.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.results import Result, median, table
from blocklist_sdk.enforcement import ReadableSink, Sink, open_sink
from blocklist_sdk.enforcement.items import Batch, Items, scopes_of
from blocklist_sdk.release.rows import FOREVER_MS

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the servers are

FEED = "id-messaging"
SERIAL = 42

Row = tuple[int, int, list[str], str, list[int], datetime | None]
Writes = Callable[[Sequence[Row]], None]

_LOOP_ROWS = 10_000
"""The loops write so many rows at most."""

_QUEUED = 90_000
"""Messages that a producer holds at most; its own limit is 100,000."""

_DAY_MS = 86_400_000
_FIRST = 6281100000000
_EPOCH_MS = 1_798_761_600_000


def make_items(rows: int) -> Items:
    """Items as they are on real lists: single numbers, here and there a range; two in three have an end."""
    random = np.random.default_rng(1)
    number = _FIRST + np.cumsum(random.integers(3, 200, rows))
    is_range = random.random(rows) < 0.01
    until = _EPOCH_MS + random.integers(0, 365, rows) * _DAY_MS
    return Items(
        number=number,
        last=number + is_range,
        scope=random.choice(np.array([15, 12, 8], np.uint8), rows),
        entry=random.permutation(rows) + 1,
        until=np.where(random.random(rows) < 1 / 3, FOREVER_MS, until),
        category=random.integers(0, 4, rows).astype(np.int32),
        categories=("fraud", "impersonation", "phishing", "spam"),
        entry_lists={at: (at, rows + at) for at in range(7, rows, 500)},
    )


def batches_of(items: Items, size: int) -> Iterator[Batch]:
    """Batches as the ledger makes them."""
    for number, start in enumerate(range(0, len(items), size), 1):
        yield Batch(number, "block", items.take(np.arange(start, min(start + size, len(items)))), FEED, SERIAL)


def rows_of(items: Items) -> list[Row]:
    """The same for the other tools."""
    columns = (items.number, items.last, items.scope, items.until, items.category)
    made: list[Row] = []
    lists = [column.tolist() for column in columns]
    for at, (number, last, scope, until, category) in enumerate(zip(*lists, strict=True)):
        end = None if until == FOREVER_MS else datetime.fromtimestamp(until / 1000, UTC)
        made.append((number, last, list(scopes_of(scope)), items.categories[category], list(items.entries(at)), end))
    return made


@dataclass(frozen=True, slots=True)
class System:
    """A system that sinks write to.

    Attributes:
        name: the scheme of its URLs.
        empty: makes it empty, with whatever has to be there to write to.
        sink: opens the sink.
        tools: bulk tools, by what they are.
        loop: the loop that writes row by row, likewise.
    """

    name: str
    empty: Callable[[], None]
    sink: Callable[[], Sink]
    tools: Sequence[tuple[str, Writes]]
    loop: tuple[str, Writes]


def compared(system: System, items: Items, rows: Sequence[Row], *, size: int, repeats: int) -> list[Result]:
    """The sink beside each tool, in turn, each into an empty system; seconds a change.

    Args:
        system: which.
        items: what is blocked.
        rows: the same, for the tools.
        size: of a batch.
        repeats: medians of so many.
    """
    ours: list[float] = []
    theirs: list[list[float]] = [[] for _ in system.tools]
    loops: list[float] = []
    for _ in range(repeats):
        ours.append(_sink(system, items, size))
        for times, (_, write) in zip(theirs, system.tools, strict=True):
            times.append(_tool(system, write, rows))
        loops.append(_tool(system, system.loop[1], rows[:: -(-len(rows) // _LOOP_ROWS)]))
    what = f"`{system.name}`, a change, batches of {size:,}"
    mine = median(ours)
    beside_tools = [
        Result(what, len(items), "s", mine, median(times), name, most_ratio=2)
        for times, (name, _) in zip(theirs, system.tools, strict=True)
    ]
    return [*beside_tools, Result(what, len(items), "s", mine, median(loops), system.loop[0], most_ratio=1)]


def _sink(system: System, items: Items, size: int) -> float:
    system.empty()
    sink = system.sink()
    started = time.perf_counter()
    for batch in batches_of(items, size):
        outcomes = sink.apply(batch)
        if len(outcomes) != len(batch) or outcomes[0].kind != "enforced":
            raise RuntimeError(f"the sink says {outcomes[0]}")
    seconds = time.perf_counter() - started
    sink.close()
    return seconds / len(items)


def _tool(system: System, write: Writes, rows: Sequence[Row]) -> float:
    system.empty()
    started = time.perf_counter()
    write(rows)
    return (time.perf_counter() - started) / len(rows)


def parts_of(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Rows in parts of a batch's size."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@contextmanager
def postgresql(size: int) -> Iterator[System]:
    """COPY row by row as psycopg's manual has it, executemany, execute; a server that keeps what it commits."""
    import psycopg

    from support.postgres import postgres_server

    columns = "(feed, number, last, scope, category, entries, until, serial)"
    upsert = (
        f"INSERT INTO blocklist {columns} VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (feed, number) DO UPDATE "
        "SET last = excluded.last, scope = excluded.scope, category = excluded.category, entries = excluded.entries, "
        "until = excluded.until, serial = excluded.serial, updated_at = now()"
    ).encode()
    with postgres_server(durable=True) as url, psycopg.connect(url) as connection:

        def empty() -> None:
            connection.execute("DROP TABLE IF EXISTS blocklist, blocklist_cursor")
            connection.commit()
            sink = open_sink(url, feed=FEED)
            list(sink.current() if isinstance(sink, ReadableSink) else ())  # makes the tables
            sink.close()

        def copy(rows: Sequence[Row]) -> None:
            command = f"COPY blocklist {columns} FROM STDIN".encode()
            with connection.cursor() as cursor, cursor.copy(command) as copied:
                for row in rows:
                    copied.write_row((FEED, *row, SERIAL))
            connection.commit()

        def executemany(rows: Sequence[Row]) -> None:
            for part in parts_of(rows, size):
                connection.cursor().executemany(upsert, [(FEED, *row, SERIAL) for row in part])
                connection.commit()

        def loop(rows: Sequence[Row]) -> None:
            for part in parts_of(rows, size):
                for row in part:
                    connection.execute(upsert, (FEED, *row, SERIAL))
                connection.commit()

        yield System(
            "postgresql:",
            empty,
            lambda: open_sink(url, feed=FEED),
            [("COPY by `write_row`, one transaction", copy), ("`executemany` of an upsert", executemany)],
            ("`execute` of an upsert, a commit a batch", loop),
        )


@contextmanager
def redis(size: int) -> Iterator[System]:
    """A pipeline of HSET, and HSET alone."""
    from redis import Redis

    from support.redis_servers import redis_server

    with redis_server() as server, Redis.from_url(server.url) as client:

        def pipeline(rows: Sequence[Row]) -> None:
            for part in parts_of(rows, size):
                with client.pipeline(transaction=False) as commands:
                    for row in part:
                        commands.hset("blocked", str(row[0]), _json(row))
                    commands.execute()

        def mapping(rows: Sequence[Row]) -> None:
            for part in parts_of(rows, size):
                client.hset("blocked", mapping={str(row[0]): _json(row) for row in part})

        def loop(rows: Sequence[Row]) -> None:
            for row in rows:
                client.hset("blocked", str(row[0]), _json(row))

        yield System(
            "redis:",
            client.flushall,
            lambda: open_sink(server.url, feed=FEED),
            [("redis-py's pipeline of `hset`", pipeline), ("one `hset` of a mapping a batch", mapping)],
            ("`hset` one by one", loop),
        )


@contextmanager
def kafka(size: int) -> Iterator[System]:
    """A loop of `produce` with `poll(0)` as in confluent-kafka's manual, and with a flush after each."""
    from confluent_kafka import Producer

    from support.kafka_cluster import mock_cluster

    topics = count(1)
    with mock_cluster() as addresses:

        def produced(rows: Sequence[Row], *, flushed: bool) -> None:
            failed: list[str] = []
            producer = Producer({"bootstrap.servers": addresses, "acks": "all", "enable.idempotence": True})
            topic = f"plain-{next(topics)}"
            for row in rows:
                producer.produce(
                    topic,
                    key=str(row[0]),
                    value=_json(row),
                    headers={"feed": FEED, "serial": str(SERIAL)},
                    on_delivery=lambda error, _: failed.append(error.str()) if error else None,
                )
                producer.poll(0)
                if flushed:
                    producer.flush(60)
                if len(producer) > _QUEUED:
                    producer.flush(60)
            producer.flush(60)
            if failed or len(producer):
                raise RuntimeError(f"messages are lost: {failed[:1]}")

        yield System(
            "kafka:",
            lambda: None,
            lambda: open_sink(f"kafka://{addresses}/ours-{next(topics)}", feed=FEED),
            [("a loop of `produce`", lambda rows: produced(rows, flushed=False))],
            ("`produce` and `flush`, one by one", lambda rows: produced(rows, flushed=True)),
        )


@contextmanager
def files(size: int) -> Iterator[System]:
    """Files of a batch's size by `csv.writer`, each brought to disk and renamed; and one row at a time."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name) / "drop"

        def empty() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

        def write(rows: Sequence[Row]) -> None:
            for number, part in enumerate(parts_of(rows, size)):
                with (folder / ".part").open("w", newline="") as out:
                    writer = csv.writer(out)
                    for first, last, scope, category, entries, until in part:
                        end = until.isoformat() if until else ""
                        writer.writerow(
                            ("block", first, last, "+".join(scope), category, " ".join(map(str, entries)), end, FEED)
                        )
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(folder / ".part", folder / f"{number}.csv")

        def singly(rows: Sequence[Row]) -> None:
            for row in rows:
                write([row])

        yield System(
            "file:",
            empty,
            lambda: open_sink(folder.as_uri(), feed=FEED),
            [("`csv.writer`, `fsync`, rename", write)],
            ("a file for each row, likewise", singly),
        )


def _json(row: Row) -> str:
    first, last, scope, category, entries, until = row
    end = until.isoformat() if until else None
    return json.dumps(
        {"number": first, "last": last, "scope": scope, "category": category, "entries": entries, "until": end}
    )


SYSTEMS = {"postgresql": postgresql, "redis": redis, "kafka": kafka, "file": files}


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enforcement", description=__doc__)
    parser.add_argument("--rows", default=1_000_000, type=int, metavar="N", help="changes (default: 1000000)")
    parser.add_argument("--batch", default="10000,50000", metavar="N[,N]", help="sizes of batches")
    parser.add_argument("--repeats", default=1, type=int, metavar="N", help="medians of so many (default: 1)")
    parser.add_argument("--only", default=",".join(SYSTEMS), metavar="NAME[,NAME]", help="some of the systems")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - SYSTEMS.keys():
        parser.error(f"there is no system {min(unknown)!r}: there are {', '.join(SYSTEMS)}")
    try:
        sizes = [int(size) for size in arguments.batch.split(",")]
    except ValueError:
        parser.error(f"--batch is {arguments.batch!r}, not whole numbers with commas between")
    if arguments.rows < 100 or min(sizes) < 1 or arguments.repeats < 1:
        parser.error("give at least 100 rows, one row a batch, and one repeat")

    items = make_items(arguments.rows)
    rows = rows_of(items)
    results: list[Result] = []
    for name in names:
        for size in sizes:
            print(f"measuring {name}, batches of {size:,} …", file=sys.stderr)
            with SYSTEMS[name](size) as system:
                results += compared(system, items, rows, size=size, repeats=arguments.repeats)
    print(
        f"Generated rows; medians of {arguments.repeats}; row by row {_LOOP_ROWS:,} of them at most; "
        f"{os.cpu_count()} cores\n"
    )
    print(table(results))


if __name__ == "__main__":
    main()
