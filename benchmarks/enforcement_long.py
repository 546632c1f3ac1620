"""Enforcement on a long list: how soon the first of a thousand changes reaches a sink that takes no time.

::

    python -m benchmarks.enforcement_long --rows 10000000
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.enforcement import Batch, EnforcementSettings, Outcome, all_done, enforce
from blocklist_sdk.publisher import PublisherGuard

_FIRST, _LAST = 6281100000000, 6289999999999
_CHANGES = 1000
_BATCH = 50_000


class NoTime:
    """A sink that takes everything at once.

    Attributes:
        first: when the first batch came.
    """

    def __init__(self) -> None:
        self.first: float | None = None

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """All is done."""
        self.first = self.first or time.perf_counter()
        return all_done(batch)

    def close(self) -> None:
        """Nothing is held."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enforcement_long", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="generated numbers on the list")
    rows = parser.parse_args().rows
    chance = np.random.default_rng(1)
    numbers = np.unique(chance.integers(_FIRST, _LAST, rows))
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        publisher = Publisher.init(folder / "p", feeds=["id-all"], passphrase="generated here", region="ID")
        release(publisher, numbers)
        with Blocklist.open(
            publisher.repository.as_uri(),
            feed="id-all",
            root=publisher.root,
            cache_dir=folder / "cache",
            state_dir=folder / "state",
            guard=None,
        ) as blocklist:
            report(blocklist, "everything")
            half = _CHANGES // 2
            release(publisher, np.unique(np.concatenate((numbers[half:], chance.integers(_FIRST, _LAST, half)))))
            report(blocklist, f"{_CHANGES:,} changes")


def release(publisher: Publisher, numbers: NDArray[np.int64]) -> None:
    """Publish a list."""
    publisher.release("id-all", pa.table({"number": numbers}), max_rejects=1.0, guard=PublisherGuard.off())


def report(blocklist: Blocklist, what: str) -> None:
    """Sync, enforce, and say how long it took."""
    blocklist.sync()
    sink, begun = NoTime(), time.perf_counter()
    done = enforce(blocklist, sink, settings=EnforcementSettings(batch=_BATCH))
    ended = time.perf_counter()
    first = (sink.first or ended) - begun
    print(
        f"{what}: the first after {first:.2f} s, all after {ended - begun:.2f} s, {sum(done.planned.values()):,} in all"
    )


if __name__ == "__main__":
    main()
