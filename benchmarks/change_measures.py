"""What syncs, look-ups, differences, enforcement and publishing cost; one measure in one process.

``python -m benchmarks.change_measures MEASURE ABOUT``, where ABOUT is JSON, see `About`; the answer is JSON on standard
output: figures by name, each a number or a list of samples. Only the public interface is used, so that every commit can
be measured; what a commit does after the last line of a measure, it does before the answer is written.
"""

import atexit
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.fresh import memory
from benchmarks.heads import FEED, PASSPHRASE, WARM, set_head, snapshot_of
from benchmarks.lists import REGION, written
from benchmarks.long_lists import FIRST, FULL, Change, Plan, columns

Figures = dict[str, Any]

_IDLE_SYNCS: Final = 10
_ASKED_FOR_CHANGES: Final = 5
_SCREENINGS: Final = 3
_DIGESTS: Final = 3
_IN_MEMORY_MAX: Final = 20_000_000
"""Longer lists are digested from mapped columns."""


_SET_BYTES: Final = 130
"""Memory to have for each number, while a set of them is made from a list."""


@dataclass(frozen=True, slots=True)
class About:
    """What a measure works on.

    Attributes:
        rows: of the first release.
        chain: as in `Plan`.
        lists: the folder of `long_lists`.
        folder: the folder of `long_repository`, in the form of the commit that is measured.
        url: where its repository is served.
        recipient: the folder of the recipient's cache and state.
        publisher: a copy of the publisher's folder, to publish from.
        head: the release that the recipient has, or is to get.
        anew: whether the recipient begins with nothing.
    """

    rows: int
    chain: int
    lists: str
    folder: str
    url: str
    recipient: str
    publisher: str
    head: str = FIRST
    anew: bool = False

    @property
    def plan(self) -> Plan:
        """Which lists there are."""
        return Plan(self.rows, self.chain)

    def to_json(self) -> str:
        """To be read by another process."""
        return json.dumps(asdict(self))

    def let(self, head: str) -> None:
        """Let a release be the current one of the repository."""
        set_head(Path(self.folder), head)

    def open(self, feed: str = FEED, *, recipient: Path | None = None) -> Any:
        """The recipient's list."""
        from blocklist_sdk import Blocklist

        place = recipient or Path(self.recipient)
        return Blocklist.open(
            self.url,
            feed=feed,
            root=str(Path(self.folder) / "publisher" / "root.json"),
            region=REGION,
            cache_dir=str(place / "cache"),
            state_dir=str(place / "state"),
        )


# Getting lists


def bring(about: About) -> Figures:
    """Not measured: bring the recipient to a release, by the deltas on the way."""
    place = Path(about.recipient)
    if about.anew:
        shutil.rmtree(place, ignore_errors=True)
    heads = [FULL] if about.head == FULL else list(about.plan.heads[1 : about.plan.heads.index(about.head) + 1])
    with about.open() as blocklist:
        at = None if about.anew else blocklist.status().serial
        if at is None:
            heads.insert(0, FIRST)
        elif about.head != FULL:
            heads = [head for head in heads if int(head) > at]
        for head in heads:
            about.let(head)
            blocklist.sync()
    return {}


def cold(about: About) -> Figures:
    """The first sync, into an empty cache."""
    place = Path(about.recipient)
    shutil.rmtree(place, ignore_errors=True)
    about.let(FIRST)
    _warm_up(about)
    base, before, cpu = _status_bytes("RssAnon"), _bytes_written(), _cpu_s()
    with about.open() as blocklist:
        started = time.perf_counter()
        result = blocklist.sync()
        seconds = time.perf_counter() - started
        cpu = _cpu_s() - cpu
        _require(result.kind, "snapshot")
        size = blocklist.status().generation_bytes
    # The peak of this process is watched from outside, so that watching takes no time from it.
    return {
        "cold_s": seconds,
        "cold_cpu_s": cpu,
        "cold_written": _bytes_written() - before,
        "memory_before": base,
        "generation_bytes": size,
    }


def plain(about: About) -> Figures:
    """The same file by a plain download: SHA-256 and a Parquet read."""
    from benchmarks.sync import download

    folder, place = Path(about.folder), Path(about.recipient)
    place.mkdir(parents=True, exist_ok=True)
    path = place / "plain.parquet"
    repository = folder / "publisher-first" / "repository"
    warm = next((repository / "targets" / WARM).glob("*.parquet"))
    snapshot = snapshot_of(folder)
    try:
        download(f"{about.url}/{warm.relative_to(repository)}", path)
        base = _status_bytes("RssAnon")
        seconds = download(f"{about.url}/{snapshot.relative_to(repository)}", path)
    finally:
        path.unlink(missing_ok=True)
    return {"plain_s": seconds, "memory_before": base}


def deltas(about: About) -> Figures:
    """Deltas one by one, in one process, as it runs for days."""
    base = _status_bytes("RssAnon")
    figures = _synced_by_deltas(about, about.plan.delta_heads)
    return {
        "memory_before": base,
        "delta_s": figures["seconds"],
        "delta_cpu_s": figures["cpu"],
        "delta_written": figures["written"],
        "delta_received": figures["received"],
    }


def chain(about: About) -> Figures:
    """Many deltas, and all that follows from them: the answer is written after the process has done all of it."""
    cpu = _cpu_s()
    heads = about.plan.chain_heads
    begun, before = time.perf_counter(), _bytes_written()
    found = _synced_by_deltas(about, heads)
    synced = time.perf_counter() - begun
    figures: Figures = {
        "chain_sync_s": found["seconds"],
        "chain_slowest_s": max(found["seconds"]),
        "chain_synced_s": synced / len(heads),
    }

    def end() -> None:
        # After whatever threads the commit left behind have ended.
        figures["chain_mean_s"] = (time.perf_counter() - begun) / len(heads)
        figures["chain_written"] = (_bytes_written() - before) / len(heads)
        figures["chain_cpu_s"] = (_cpu_s() - cpu) / len(heads)
        figures["chain_upkeep_s"] = figures["chain_mean_s"] - sum(found["seconds"]) / len(heads)
        print(json.dumps(figures))

    atexit.register(end)
    return {}


def idle(about: About) -> Figures:
    """Syncs with nothing new."""
    seconds: list[float] = []
    before = _bytes_written()
    with about.open() as blocklist:
        for _ in range(1 + _IDLE_SYNCS):
            started = time.perf_counter()
            result = blocklist.sync()
            seconds.append(time.perf_counter() - started)
            _require(result.kind, "none")
    return {
        "idle_first_s": seconds[0],
        "idle_s": seconds[1:],
        "idle_written": (_bytes_written() - before) / len(seconds),
    }


# Asking


def opened(about: About) -> Figures:
    """Open and ask for the first time."""
    from blocklist_sdk import Blocklist  # noqa: F401  (imports are not measured here)

    number = int(np.load(Path(about.lists) / "blocked.npy", mmap_mode="r")[about.rows // 3])
    text = f"0{str(number)[2:]}"
    private, _ = memory()
    started = time.perf_counter()
    blocklist = about.open()
    found = number in blocklist
    integer_s = time.perf_counter() - started
    found &= text in blocklist
    text_s = time.perf_counter() - started
    if not found:
        raise SystemExit("a blocked number was not found")
    return {"open_integer_s": integer_s, "open_text_s": text_s, "open_memory": memory()[0] - private}


def lookups(about: About) -> Figures:
    """Many questions about integers and texts: the first half warms up, the second is timed."""
    asked = np.load(Path(about.lists) / "asked.npy").tolist()
    texts = [written(number, i % 6) for i, number in enumerate(asked)]
    private, _ = memory()
    with about.open() as blocklist:
        integer_s, hits = _ask(blocklist, asked)
        text_s, text_hits = _ask(blocklist, texts)
        grown = memory()[0] - private
    if hits != text_hits:
        raise SystemExit(f"of the same numbers {hits:,} are blocked as integers, {text_hits:,} as texts")
    return {"integer_s": integer_s, "text_s": text_s, "lookup_memory": grown, "hits": hits}


def lookups_full(about: About) -> Figures:
    """The same after a delta that fills what a commit keeps beside its base."""
    return {f"full_{name}": value for name, value in lookups(about).items()}


def screening(about: About) -> Figures:
    """Screen a column of texts."""
    column = pq.read_table(Path(about.lists) / "column.parquet").column("msisdn")
    seconds: list[float] = []
    with about.open() as blocklist:
        for _ in range(1 + _SCREENINGS):
            started = time.perf_counter()
            hits = pc.sum(blocklist.screen(column).column("blocked")).as_py()
            seconds.append(time.perf_counter() - started)
    return {"screening_s": seconds[1:], "screening_hits": hits}


def differences(about: About) -> Figures:
    """What differs between the release in force and the one before."""
    ways: dict[str, Callable[[Any], object]] = {
        "changes_s": len,
        "changes_arrow_s": lambda changes: changes.to_arrow(),
        "changes_listed_s": list,
    }
    figures: Figures = {}
    with about.open() as blocklist:
        since = blocklist.status().serial - 1
        for name, way in ways.items():
            figures[name] = []
            for _ in range(_ASKED_FOR_CHANGES):
                started = time.perf_counter()
                changes = blocklist.changes(since=since)
                way(changes)
                figures[name].append(time.perf_counter() - started)
        _require(len(changes), about.plan.changed)
    return figures


def enforcement_first(about: About) -> Figures:
    """Everything into a sink that takes no time."""
    from blocklist_sdk.enforcement import EnforcementSettings, enforce

    sink = _no_time()
    with about.open() as blocklist:
        started = time.perf_counter()
        enforce(blocklist, sink, settings=EnforcementSettings(batch=50_000))
        ended = time.perf_counter()
    return {"enforce_all_s": ended - started, "enforce_all_first_s": sink.first - started}


def enforcement(about: About) -> Figures:
    """Few changes: from the call to the first batch at the sink, after each of several releases."""
    from blocklist_sdk.enforcement import enforce

    _warm_up(about, also=lambda blocklist: enforce(blocklist, _no_time()))
    first: list[float] = []
    whole: list[float] = []
    for head in about.plan.few_heads:
        about.let(head)
        sink = _no_time()
        with about.open() as blocklist:
            _require(blocklist.sync().kind, "delta")
            started = time.perf_counter()
            enforce(blocklist, sink)
            whole.append(time.perf_counter() - started)
        if sink.first is None:
            raise SystemExit("nothing came to the sink")
        first.append(sink.first - started)
    return {"enforce_first_s": first, "enforce_s": whole}


# Publishing


def publish(about: About) -> Figures:
    """Add numbers to the list: open the publisher's folder, and publish the next release."""
    from blocklist_sdk import Publisher

    more = np.load(Path(about.lists) / "more.npy").reshape(-1, about.plan.few)
    seconds: list[float] = []
    before = 0
    for number in more:
        texts = [f"+{each}" for each in number.tolist()]
        started = time.perf_counter()
        publisher = Publisher.open(about.publisher, passphrase=PASSPHRASE)
        result = publisher.add(FEED, texts)
        seconds.append(time.perf_counter() - started)
        _require(result.added, len(texts))
        # The first one may have to make what the others go on with.
        before = before or _bytes_written()
    return {
        "add_first_s": seconds[0],
        "add_s": seconds[1:],
        "add_written": (_bytes_written() - before) / (len(seconds) - 1),
    }


def digested(about: About) -> Figures:
    """The digest of the whole list."""
    from benchmarks.long_repository import rows_of
    from blocklist_sdk.release.digest import digest

    rows = rows_of(columns(Path(about.lists), in_memory=about.rows <= _IN_MEMORY_MAX))
    seconds: list[float] = []
    for _ in range(_DIGESTS):
        started = time.perf_counter()
        digest(rows)
        seconds.append(time.perf_counter() - started)
    return {"digest_s": seconds}


# What others would do


def python_set(about: About) -> Figures:
    """A Python set of what is blocked."""
    if _free_bytes() < _SET_BYTES * about.rows:
        raise SystemExit(f"a set of {about.rows:,} numbers needs more memory than is free")
    private, _ = memory()
    started = time.perf_counter()
    blocked = set(np.load(Path(about.lists) / "blocked.npy").tolist())
    build_s = time.perf_counter() - started
    built, _ = memory()
    integer_s, _ = _ask(blocked, np.load(Path(about.lists) / "asked.npy").tolist())
    return {"set_build_s": build_s, "set_memory": built - private, "set_integer_s": integer_s}


def sqlite(about: About) -> Figures:
    """SQLite: a table of all columns, a delta in one transaction, look-ups by its primary key; unsigned, unverified."""
    import sqlite3

    place = Path(about.recipient)
    place.mkdir(parents=True, exist_ok=True)
    path = place / "peer.sqlite"
    path.unlink(missing_ok=True)
    names = ("number", "entry", "level", "category", "scope", "since", "until")
    found = columns(Path(about.lists), in_memory=False)
    insert = f"INSERT OR REPLACE INTO listed VALUES ({', '.join('?' * len(names))})"
    try:
        connection = sqlite3.connect(path)
        started = time.perf_counter()
        with connection:
            connection.execute(f"CREATE TABLE listed ({', '.join(names)}, PRIMARY KEY (number)) WITHOUT ROWID")
            for start in range(0, about.rows, 1 << 17):
                part = [found[name][start : start + (1 << 17)].tolist() for name in names]
                connection.executemany(insert, zip(*part, strict=True))
        build_s = time.perf_counter() - started
        seconds: list[float] = []
        written_bytes: list[float] = []
        for head in about.plan.delta_heads:
            change = Change.load(Path(about.lists), head)
            puts = list(zip(*(change.puts[name].tolist() for name in names), strict=True))
            gone = [(number,) for number in change.gone_number.tolist()]
            before, started = _bytes_written(), time.perf_counter()
            with connection:
                connection.executemany("DELETE FROM listed WHERE number = ?", gone)
                connection.executemany(insert, puts)
            seconds.append(time.perf_counter() - started)
            written_bytes.append(_bytes_written() - before)
        query = "SELECT 1 FROM listed WHERE number = ?"
        asked = np.load(Path(about.lists) / "asked.npy")[: 1 << 16].tolist()
        started = time.perf_counter()
        for number in asked:
            connection.execute(query, (number,)).fetchone()
        integer_s = (time.perf_counter() - started) / len(asked)
        connection.close()
        size = path.stat().st_size
    finally:
        path.unlink(missing_ok=True)
    return {
        "sqlite_build_s": build_s,
        "sqlite_delta_s": seconds,
        "sqlite_delta_written": written_bytes,
        "sqlite_integer_s": integer_s,
        "sqlite_bytes": size,
    }


MEASURES: Final[dict[str, Callable[[About], Figures]]] = {
    "bring": bring,
    "cold": cold,
    "plain": plain,
    "deltas": deltas,
    "chain": chain,
    "idle": idle,
    "opened": opened,
    "lookups": lookups,
    "lookups-full": lookups_full,
    "screening": screening,
    "differences": differences,
    "enforcement-first": enforcement_first,
    "enforcement": enforcement,
    "publish": publish,
    "digest": digested,
    "set": python_set,
    "sqlite": sqlite,
}


class _NoTime:
    """A sink that takes everything at once; see `benchmarks.enforcement_long`."""

    def __init__(self) -> None:
        self.first: float | None = None

    def apply(self, batch: Any) -> Any:
        from blocklist_sdk.enforcement import all_done

        self.first = self.first or time.perf_counter()
        return all_done(batch)

    def close(self) -> None:
        pass


def _no_time() -> Any:
    return _NoTime()


def _synced_by_deltas(about: About, heads: Sequence[str]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {"seconds": [], "cpu": [], "written": [], "received": []}
    with about.open() as blocklist:
        for head in heads:
            about.let(head)
            before, cpu, started = _bytes_written(), _cpu_s(), time.perf_counter()
            result = blocklist.sync()
            figures["seconds"].append(time.perf_counter() - started)
            figures["cpu"].append(_cpu_s() - cpu)
            figures["written"].append(_bytes_written() - before)
            figures["received"].append(result.bytes)
            _require(result.kind, "delta")
    return figures


def _warm_up(about: About, also: Callable[[Any], object] = lambda _: None) -> None:
    """Sync a feed of few numbers, so that nothing is imported while something is measured."""
    place = Path(about.recipient).with_name(f"{Path(about.recipient).name}-warm")
    shutil.rmtree(place, ignore_errors=True)
    with about.open(WARM, recipient=place) as blocklist:
        blocklist.sync()
        also(blocklist)
    shutil.rmtree(place)


def _ask(members: Any, questions: list[Any]) -> tuple[float, int]:
    """Seconds for one question, and how many were answered with yes."""
    middle = len(questions) // 2
    hits = sum(question in members for question in questions[:middle])
    timed = questions[middle:]
    started = time.perf_counter()
    for question in timed:
        if question in members:
            hits += 1
    return (time.perf_counter() - started) / len(timed), hits


def _require(found: object, expected: object) -> None:
    if found != expected:
        raise SystemExit(f"expected {expected}, found {found}: what was measured is not what should be")


def _bytes_written() -> int:
    """What this process has caused to be written to disk, also where it was only marked to be."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def _cpu_s() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


if __name__ == "__main__":
    answer = MEASURES[sys.argv[1]](About(**json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))
    if answer:
        print(json.dumps(answer))
