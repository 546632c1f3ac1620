"""A real list as it is, and the published snapshot in other people's tools."""

import csv
import gzip
from pathlib import Path

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocklist_sdk.errors import InvalidNumber
from blocklist_sdk.numbers import normalize
from blocklist_sdk.publisher import Publisher
from blocklist_sdk.publisher.signed_feed import SignedFeed

PASSPHRASE = "correct horse battery"


def snapshot_of(publisher: Publisher, feed: str) -> Path:
    published = SignedFeed.find(publisher._folder.load(), feed)
    assert published.index is not None
    assert published.index.current.snapshot is not None
    path = publisher._folder.load().file(feed, published.index.current.snapshot.path)
    assert path is not None
    return path


def test_a_real_list_is_published_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ftc" / "ftc-2025-11-14.csv.gz"
    publisher = Publisher.init(tmp_path / "p", feeds=["us"], passphrase=PASSPHRASE, region="US")
    result = publisher.release("us", source)

    lines = gzip.decompress(source.read_bytes()).decode().splitlines()[1:]
    assert (len(lines), len(set(lines))) == (239_764, 213_243)
    known: dict[str, int | None] = {}
    for text in set(lines):
        try:
            known[text] = normalize(text, region="US")
        except InvalidNumber:
            known[text] = None
    distinct = sorted({number for number in known.values() if number is not None})
    bad = [(line, text) for line, text in enumerate(lines, 2) if known[text] is None]

    assert result.rows == len(distinct)
    assert result.invalid == len(bad)
    assert result.rows + result.invalid + result.duplicates == len(lines)
    assert pq.read_table(snapshot_of(publisher, "us")).column("number").to_pylist() == distinct
    assert result.rejects_path is not None
    with result.rejects_path.open(newline="", encoding="utf-8") as file:
        rejected = [(int(row["line"]), row["text"]) for row in csv.DictReader(file)]
    assert rejected == bad


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    publisher = Publisher.init(tmp_path / "p", feeds=["id-all"], passphrase=PASSPHRASE, region="ID")
    publisher.release(
        "id-all",
        pa.table(
            {
                "number": ["0812-3456-7890", "+3316200____", "+442079460958", "0812-3456-7890"],
                "level": ["block", "advisory", "block", "advisory"],
                "category": ["fraud", "phishing", "gambling", "spam"],
                "since": ["2025-01-31T12:00:00Z", "2025-02-01", "2025-02-02", "2025-02-03"],
                "until": [None, "2026-01-01", None, "2030-01-01"],
            }
        ),
    )
    return snapshot_of(publisher, "id-all")


def test_duckdb_polars_and_pyarrow_read_a_snapshot_alike(snapshot: Path) -> None:
    by_pyarrow = pq.read_table(snapshot).to_pylist()
    by_polars = polars.read_parquet(snapshot).to_dicts()
    relation = duckdb.read_parquet(str(snapshot))
    by_duckdb = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    assert len(by_pyarrow) == 4
    assert [(row["number"], row["last"]) for row in by_pyarrow] == [
        (33162000000, 33162009999),
        (442079460958, None),
        (6281234567890, None),
        (6281234567890, None),
    ]
    for other in (by_polars, by_duckdb):
        assert [{name: _instant(value) for name, value in row.items()} for row in other] == [
            {name: _instant(value) for name, value in row.items()} for row in by_pyarrow
        ]


def _instant(value: object) -> object:
    """Tools name the same moment in different zones."""
    return value.timestamp() if hasattr(value, "timestamp") else value
