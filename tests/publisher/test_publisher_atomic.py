"""Whatever happens while a release is published, a reader sees one whole release, and the next run goes on from it."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import times
from blocklist_sdk.disk import STAGED_PREFIX
from blocklist_sdk.publisher import Publisher, PublisherGuard, Timing
from blocklist_sdk.publisher.keys import Keyring
from blocklist_sdk.publisher.repository import Lifetimes, Repository
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import read_delta, read_snapshot
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.layers import apply
from blocklist_sdk.release.names import index_path

PASSPHRASE = "correct horse battery"
KILLS = 15
UNGUARDED = PublisherGuard.off()
"""Each release of these tests lists other numbers than the one before."""


def numbers(seed: int, count: int = 300) -> pa.Table:
    tails = random.Random(seed).sample(range(10**6), count)
    return pa.table({"number": [f"+6281234{tail:06}" for tail in tails]})


class Reader:
    """Reads a repository from the pinned root down, file by file, as a recipient does."""

    def __init__(self, publisher: Publisher) -> None:
        self._directory = publisher.repository
        self._root = publisher.root.read_bytes()
        self._keys = Keyring(publisher.directory / "keys", None)

    def read(self) -> FeedIndex | None:
        """The index of the current release, after everything that it offers was read and checked."""
        repository = Repository.load(
            self._directory, self._keys, root=self._root, lifetimes=Lifetimes(), clock=times.this_second
        )
        path = repository.file("a", index_path("a"))
        if path is None:
            return None
        index = FeedIndex.from_json(path.read_bytes(), feed="a")
        snapshot = index.current.snapshot
        assert snapshot is not None
        found = repository.file("a", snapshot.path)
        assert found is not None
        assert found.stat().st_size == snapshot.length
        assert digest(read_snapshot(found)) == index.digest
        for release in index.releases:
            delta = repository.file("a", release.delta.path) if release.delta else None
            assert delta is not None or release.serial == 1
            if delta is not None:
                read_delta(delta)
        return index


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.init(tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE)


def test_a_reader_never_sees_anything_but_a_whole_release(publisher: Publisher) -> None:
    publisher.release("a", numbers(0), guard=UNGUARDED)
    reader = Reader(publisher)
    seen: list[int] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def look() -> None:
        while True:
            try:
                index = reader.read()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test must show it
                failures.append(error)
                return
            assert index is not None
            seen.append(index.serial)
            if stop.is_set():
                return

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for seed in range(1, 16):
            publisher.release("a", numbers(seed), guard=UNGUARDED)
            publisher.refresh()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert set(seen) <= set(range(1, 17))
    final = reader.read()
    assert final is not None
    assert final.serial == 16


_PUBLISHERS = """
import os
import random
import sys

import pyarrow as pa

from blocklist_sdk.publisher import Publisher, PublisherGuard

publisher = Publisher.open(sys.argv[1], passphrase=sys.argv[2], guard=PublisherGuard.off())
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        seed = int(line)
        while True:
            tails = random.Random(seed).sample(range(10**6), 300)
            publisher.release("a", pa.table({"number": [f"+6281234{tail:06}" for tail in tails]}))
            publisher.refresh()
            seed += 1
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
"""Each line of input starts a process that publishes for ever; forked, since starting Python takes long."""


@pytest.mark.timing
def test_killed_at_any_moment_the_next_run_goes_on(publisher: Publisher) -> None:
    publisher.release("a", numbers(0), guard=UNGUARDED)
    reader = Reader(publisher)
    chance = random.Random(7)
    serial = 1
    command = [sys.executable, "-c", _PUBLISHERS, str(publisher.directory), PASSPHRASE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for kill in range(KILLS):
            parent.stdin.write(f"{1000 * kill}\n")
            child = int(parent.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "ended\n"
            between = reader.read()
            assert between is not None
            assert between.serial >= serial
            result = publisher.release("a", numbers(kill), guard=UNGUARDED)
            assert result.serial == between.serial + 1
            after = reader.read()
            assert after is not None
            assert (after.serial, after.digest) == (result.serial, result.digest)
            serial = result.serial
        parent.stdin.close()
    assert parent.returncode == 0
    assert serial > KILLS
    assert not list(publisher.directory.rglob(f"{STAGED_PREFIX}*"))


class Killed(BaseException):
    """A power cut in the middle of a write."""


def test_a_power_cut_at_each_single_step_is_repaired(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename is the step; after each number of them in turn the run ends."""
    publisher.release("a", numbers(0), guard=UNGUARDED)
    reader = Reader(publisher)
    rename = os.replace
    steps = 0
    for allowed in range(100):
        left = allowed

        def cut(source: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            rename(source, target)

        before = reader.read()
        assert before is not None
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut)
            try:
                publisher.release("a", numbers(allowed + 1), guard=UNGUARDED)
            except Killed:
                steps += 1
            else:
                break
        between = reader.read()
        assert between is not None
        assert between.serial in (before.serial, before.serial + 1)
        result = publisher.release("a", numbers(allowed + 1), guard=UNGUARDED)
        assert result.serial == between.serial + 1
    # What ids are given out; snapshot, delta, index, feed role, snapshot role, timestamp; then what was published, and
    # the ledger of what was dropped.
    assert steps == 9


def test_what_interrupted_runs_left_goes_away(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, timing=Timing(grace_s=0))
    publisher.release("a", numbers(0), guard=UNGUARDED)
    leftovers = [
        publisher.repository / "targets" / "a" / f"{'0' * 64}.2.snapshot.parquet",
        publisher.repository / "targets" / "a" / f"{STAGED_PREFIX}x",
        publisher.repository / "metadata" / "9.snapshot.json",
        publisher.repository / "metadata" / "9.a.json",
    ]
    for path in leftovers:
        path.write_bytes(b"left by a run that was killed")
    publisher.refresh()
    assert not any(path.exists() for path in leftovers)
    assert Reader(publisher).read() is not None


def test_a_delta_leads_from_one_release_to_the_next(publisher: Publisher) -> None:
    publisher.release("a", numbers(0), guard=UNGUARDED)
    for seed in range(1, 4):
        repository = publisher._folder.load()
        before = FeedIndex.from_json(_bytes(repository, index_path("a")), feed="a")
        assert before.current.snapshot is not None
        old = read_snapshot(_path(repository, before.current.snapshot.path))
        publisher.release(
            "a", numbers(seed), published_at=before.published_at + timedelta(seconds=seed), guard=UNGUARDED
        )
        repository = publisher._folder.load()
        after = FeedIndex.from_json(_bytes(repository, index_path("a")), feed="a")
        assert after.current.delta is not None
        new, _ = apply(old, read_delta(_path(repository, after.current.delta.path)))
        assert digest(new) == after.digest


def _path(repository: Repository, path: str) -> Path:
    found = repository.file("a", path)
    assert found is not None
    return found


def _bytes(repository: Repository, path: str) -> bytes:
    return _path(repository, path).read_bytes()
