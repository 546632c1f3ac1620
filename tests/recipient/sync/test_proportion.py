"""By deltas a release is built and judged without going through the list."""

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from blocklist_sdk import Guard, Malformed
from blocklist_sdk.recipient.cache.generation import About, Generation, NextList, write_generation
from blocklist_sdk.recipient.sync.build import Fetch
from blocklist_sdk.recipient.sync.planner import FetchPlan
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import write_delta, write_snapshot
from blocklist_sdk.release.index import FeedIndex, FileRef, Release
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import difference
from blocklist_sdk.release.rows import FOREVER_MS, Rows, Texts
from support.scale import scaled
from support.strategies import DAY_MS, Row, plain_rows, to_rows

FEED = "id-all"
PUBLISHED = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 400_000
LOW = 6_281_200_000_000


def some_rows(count: int, *, step: int = 7) -> Rows:
    number = LOW + np.arange(count) * step
    same = [Texts.repeat(text, count) for text in ("block", "fraud", "komdigi", "sms")]
    columns: Any = (number, number, np.arange(1, count + 1), *same)
    moments: Any = (np.zeros(count, np.int64), np.full(count, FOREVER_MS, np.int64))
    return Rows(*columns, *moments)


class Files:
    """A repository whose files are here already."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def download(self, path: str, to: Path) -> None:
        to.write_bytes((self._folder / path.rpartition("/")[2]).read_bytes())


def generation_of(directory: Path, rows: Rows, *, kind: Any = "tree") -> Generation:
    directory.mkdir()
    write_generation(directory, NextList.of(rows), About(FEED, 1, digest(rows, kind), len(rows), PUBLISHED))
    return Generation.open(directory)


def offered(folder: Path, old: Rows, new: Rows, *, kind: Any = "tree") -> tuple[Fetch, FetchPlan]:
    """A way by delta from one list to another."""
    changes = difference(old, new)
    files = {"delta": folder / "2.delta.parquet", "snapshot": folder / "2.snapshot.parquet"}
    write_delta(changes.delta(), files["delta"])
    write_snapshot(new, files["snapshot"])
    delta, snapshot = (FileRef(path=f"{FEED}/{path.name}", length=path.stat().st_size) for path in files.values())
    release = Release(serial=2, published_at=PUBLISHED, rows=len(new), digest=digest(new, kind), delta=delta)
    index = FeedIndex(
        feed=FEED,
        serial=2,
        published_at=PUBLISHED,
        rows=len(new),
        digest=release.digest,
        last_entry=int(max(new.entry.max(initial=0), old.entry.max(initial=0))),
        releases=(release.model_copy(update={"snapshot": snapshot}),),
    )
    work = folder / "work"
    work.mkdir()
    trust: Any = Files(folder)
    return Fetch(trust, index, work, continues=True), FetchPlan("delta", None, (delta,))


def with_more(rows: Rows, more: int) -> Rows:
    """Without some rows here and there, and with as many others behind."""
    stay = np.delete(np.arange(len(rows)), np.arange(more) * (len(rows) // more))
    kept, fresh = rows.take(stay), some_rows(more, step=3)
    number = int(rows.number[-1]) + fresh.number - LOW + 1
    columns: dict[str, Any] = {"number": number, "last": number, "entry": fresh.entry + len(rows)}
    names = "level", "category", "issuer", "scope", "since", "until"
    return kept.with_rows(Rows(**columns, **{name: getattr(fresh, name) for name in names}))


def test_a_delta_takes_memory_by_what_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = some_rows(ROWS)
    before = generation_of(tmp_path / "before", old)
    new = with_more(old, 100)
    fetched, way = offered(tmp_path, old, new)
    assert fetched.build(way, before).is_delta  # what is imported and kept once is not counted
    fetched.directory.joinpath("2.delta.parquet").unlink()

    def whole(layers: LayeredRows) -> Rows:
        raise AssertionError("all rows were asked for")

    monkeypatch.setattr(LayeredRows, "whole", whole)
    tracemalloc.start()
    built = fetched.build(way, before)
    protected = np.array([LOW - 1, LOW + 1, LOW + ROWS * 70], np.int64)
    refused = Guard(min_removed=0, min_added=0).refuses(
        before.layers, built.layers, protected, now_ms=DAY_MS, changes=built.changes
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused == ()
    assert (len(built.changes.added), len(built.changes.removed)) == (100, 100)
    assert built.layers.base is before.layers.base
    # A single column of the list has 3.2 MB; what blocks is counted in the first 100,000 rows, of 6.8 MB.
    assert peak < 30 * ROWS


@pytest.mark.parametrize("kind", ["tree", "columns"])
@settings(max_examples=scaled(15, long=300), deadline=None)
@given(old=plain_rows(), new=plain_rows(first_entry=100))
def test_it_leads_where_a_scan_leads(
    tmp_path_factory: pytest.TempPathFactory, kind: str, old: list[Row], new: list[Row]
) -> None:
    folder = tmp_path_factory.mktemp("built")
    was, will = to_rows(old), to_rows(new)
    fetched, way = offered(folder, was, will, kind=kind)
    built = fetched.build(way, generation_of(folder / "before", was, kind=kind))
    assert built.tree.digest == digest(will)
    assert digest(built.layers.whole()) == digest(will)


@pytest.mark.parametrize("kind", ["tree", "columns"])
def test_what_leads_elsewhere_is_noticed_by_either_kind(tmp_path: Path, kind: str) -> None:
    old = some_rows(500)
    fetched, way = offered(tmp_path, old, with_more(old, 5), kind=kind)
    other = with_more(old, 5).take(np.arange(400))
    with pytest.raises(Malformed):
        fetched.build(way, generation_of(tmp_path / "other", other, kind=kind))
    changed = old.take(np.arange(500))
    changed.until[250] = DAY_MS
    if kind == "columns":
        with pytest.raises(Malformed, match="does not have the digest"):
            fetched.build(way, generation_of(tmp_path / "changed", changed, kind=kind))
