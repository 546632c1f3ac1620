"""Syncing over loopback, beside a plain download of the same file."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from benchmarks import fresh
from benchmarks.lists import REGION, Lists
from benchmarks.results import Result, median
from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.publisher import PublisherGuard, serving

FEED = "generated"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Synced:
    """A repository with two releases, and recipients that hold the second.

    Attributes:
        results: what syncing cost.
        open: arguments of `Blocklist.open` for one of the recipients.
        snapshot: the first release's file.
        cold_s: what a cold sync took, in seconds.
    """

    results: list[Result]
    open: dict[str, Any]
    snapshot: Path
    cold_s: float


@contextmanager
def synced(lists: Lists, folder: Path, *, repeats: int) -> Iterator[Synced]:
    """Publish the first release, sync it cold, publish the second, sync its delta; serve it while in use.

    Args:
        lists: what to publish.
        folder: an empty folder.
        repeats: how many recipients there are, each with a cache of its own.
    """
    publisher = Publisher.init(folder / "publisher", feeds=[FEED], passphrase="correct horse battery")
    first = publisher.release(FEED, lists.first)
    if first.rows != len(lists.first):
        raise RuntimeError(f"{len(lists.first) - first.rows} generated rows could not be published")
    snapshot = max(publisher.repository.glob("targets/**/*"), key=lambda path: path.stat().st_size)
    with serving(publisher.repository) as url:
        root = str(publisher.root)
        arguments: list[dict[str, Any]] = [
            {"url": url, "feed": FEED, "root": root, "region": REGION, "cache_dir": str(folder / f"cache-{i}")}
            for i in range(repeats)
        ]
        recipients = [Blocklist.open(**each) for each in arguments]
        cold: list[float] = []
        plain: list[float] = []
        for recipient in recipients:
            started = time.perf_counter()
            recipient.sync()
            cold.append(time.perf_counter() - started)
            plain.append(download(f"{url}/{snapshot.relative_to(publisher.repository)}", folder / "plain.parquet"))
        watched = folder / "memory"
        watched.mkdir()
        (watched / "open.json").write_text(json.dumps({**arguments[0], "cache_dir": str(watched / "cache")}))
        cold_memory = fresh.measure("sync", watched, module="memory")
        publisher.release(FEED, lists.second, guard=PublisherGuard.off())
        delta: list[float] = []
        sizes: list[float] = []
        for recipient in recipients:
            started = time.perf_counter()
            result = recipient.sync()
            delta.append(time.perf_counter() - started)
            sizes.append(result.bytes)
            if result.kind != "delta":
                raise RuntimeError(f"a recipient took a {result.kind}, not the delta")
            recipient.close()
        delta_memory = fresh.measure("sync", watched, module="memory")
        shutil.rmtree(watched)
        if not delta_memory["is_delta"]:
            raise RuntimeError("the recipient whose memory was watched took a snapshot, not the delta")
        rows = len(lists.first)
        results = [
            Result(
                "cold sync over loopback",
                rows,
                "s",
                median(cold),
                median(plain),
                "httpx download + SHA-256 + Parquet read",
                most_ratio=3,
            ),
            Result(
                f"sync of a delta of {lists.changed:,}",
                rows,
                "s",
                median(delta),
                median(cold),
                "the cold sync",
                most_ratio=1 / 4,
            ),
            Result(f"bytes of that sync for each of the {lists.changed:,}", rows, "B", median(sizes) / lists.changed),
            *_memory("a cold sync", rows, cold_memory),
            *_memory("a delta's sync", rows, delta_memory),
        ]
        yield Synced(results, arguments[0], snapshot, median(cold))


def _memory(what: str, rows: int, found: Mapping[str, float]) -> list[Result]:
    against = "the generation on disk"
    return [
        Result(f"peak memory of {what}", rows, "B", found["resident"], found["generation"], against, most_ratio=4),
        Result("of which in no file", rows, "B", found["private"], found["generation"], against),
    ]


def download(url: str, path: Path) -> float:
    """Seconds to fetch a file, check its hash and read it, as one would write it by hand."""
    started = time.perf_counter()
    hashed = hashlib.sha256()
    with httpx.stream("GET", url) as response, path.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            hashed.update(chunk)
            file.write(chunk)
    hashed.hexdigest()
    pq.read_table(path)
    return time.perf_counter() - started
