"""What is asked while serving is measured: a published list, a look-up server, and what one would use instead."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.publisher import PublisherGuard

FEED = "generated"
PASSPHRASE = "generated for a benchmark"
FIRST = 628_000_000_000_000
"""redis-benchmark draws twelve digits, so numbers have fifteen: this one and those after it."""

SEED = 20_261_129
_START_S = 60.0


@dataclass(frozen=True)
class World:
    """A list on this disk: every second number, on average, of twice as many.

    Attributes:
        folder: of everything.
        rows: on the list.
        numbers: those that are listed, ascending; nine in ten are blocked.
    """

    folder: Path
    rows: int
    numbers: Any

    @property
    def keys(self) -> int:
        """How many numbers are asked about: from `FIRST` on."""
        return 2 * self.rows

    def open(self) -> Blocklist:
        """The list."""
        publisher = self.folder / "publisher"
        return Blocklist.open(
            (publisher / "repository").as_uri(),
            feed=FEED,
            root=publisher / "root.json",
            region="ID",
            guard=None,
            cache_dir=self.folder / "cache",
        )

    def options(self) -> list[str]:
        """The options of commands that ask it."""
        publisher = self.folder / "publisher"
        found = {"url": (publisher / "repository").as_uri(), "feed": FEED, "root": publisher / "root.json"}
        found |= {"region": "ID", "cache-dir": self.folder / "cache"}
        return [text for name, value in found.items() for text in (f"--{name}", str(value))]


def make_world(folder: Path, rows: int) -> World:
    """Publish a list and sync it."""
    rng = np.random.default_rng(SEED)
    numbers = FIRST + np.sort(rng.choice(2 * rows, rows, replace=False))
    level = np.where(rng.random(rows) < 0.9, "block", "advisory")
    publisher = Publisher.init(folder / "publisher", feeds=[FEED], passphrase=PASSPHRASE, region="ID")
    texts = [f"+{number}" for number in numbers.tolist()]
    publisher.release(FEED, pa.table({"number": texts, "level": level}), guard=PublisherGuard.off())
    world = World(folder, rows, numbers)
    with world.open() as blocklist:
        blocklist.sync()
    return world


@dataclass(frozen=True)
class Served:
    """A server that runs.

    Attributes:
        process: its process; workers are its children.
        port: where it speaks HTTP; 0 if it does not.
        redis_port: where it speaks the protocol of Redis; 0 if it does not.
        uds: its Unix socket; None without.
    """

    process: int
    port: int = 0
    redis_port: int = 0
    uds: Path | None = None

    def cpu_s(self) -> float:
        """The processor time that it and its children have used, seconds."""
        return sum(_cpu_s(process) for process in (self.process, *_children(self.process)))


def _children(process: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _cpu_s(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of loopback that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def _running(command: Sequence[str], ready: Callable[[], bool]) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not come up")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@contextlib.contextmanager
def look_up_server(world: World, *, workers: int = 1) -> Iterator[Served]:
    """`blocklist serve` with all its doors."""
    port, redis_port, uds = free_port(), free_port(), world.folder / "serve.socket"
    command = [sys.executable, "-c", "from blocklist_sdk.cli import main; main()", "serve", *world.options()]
    command += ["--port", str(port), "--redis-port", str(redis_port), "--uds", str(uds), "--workers", str(workers)]
    with _running(command, lambda: _accepts(port) and _accepts(redis_port)) as process:
        yield Served(process, port, redis_port, uds)


@contextlib.contextmanager
def redis(world: World) -> Iterator[Served]:
    """A Redis or Valkey server with the list: the level under each number, as `GET` of the Redis door has it."""
    binary = shutil.which("valkey-server") or shutil.which("redis-server")
    if binary is None:
        raise RuntimeError("neither redis-server nor valkey-server is installed: Debian's redis-server has one")
    port = free_port()
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with _running([*command, "--dir", str(world.folder)], lambda: _accepts(port)) as process:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            _fill(connection, world)
        yield Served(process, redis_port=port)


def _fill(connection: socket.socket, world: World) -> None:
    with world.open() as blocklist:
        table: Any = blocklist.to_arrow()
        listed = table.select(["number", "level"])
    for batch in listed.to_batches(max_chunksize=10_000):
        pairs = zip(batch.column("number").to_pylist(), batch.column("level").to_pylist(), strict=True)
        words = [f"$16\r\n+{number}\r\n${len(level)}\r\n{level}\r\n" for number, level in pairs]
        connection.sendall(f"*{2 * len(words) + 1}\r\n$4\r\nMSET\r\n{''.join(words)}".encode())
        if connection.recv(100) != b"+OK\r\n":
            raise RuntimeError("Redis does not take the list")


@contextlib.contextmanager
def sqlite_service(world: World) -> Iterator[Served]:
    """The service that one would write oneself: `benchmarks/sqlite_service.py` on the same HTTP server."""
    path, port = world.folder / "list.sqlite", free_port()
    if not path.exists():
        with world.open() as blocklist, contextlib.closing(sqlite3.connect(path)) as database:
            table = blocklist.to_arrow()
            columns = [table.column(name).to_pylist() for name in ("number", "level", "category", "scope")]
            database.execute("create table entry (number integer primary key, level text, category text, scope text)")
            database.executemany("insert into entry values (?, ?, ?, ?)", zip(*columns, strict=True))
            database.commit()
    command = [sys.executable, "-m", "benchmarks.sqlite_service", str(path), str(port)]
    with _running(command, lambda: _accepts(port)) as process:
        yield Served(process, port)
