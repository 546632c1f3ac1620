"""What careless hands do to a publisher, and what must not come of it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher
from blocklist_sdk.publisher.publisher import Timing

PASSPHRASE = "generated for a test"
NUMBER = "+6281200000001"  # generated


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.init(tmp_path / "authority", feeds=["id-all"], passphrase=PASSPHRASE, region="ID")


def synced(publisher: Publisher, tmp_path: Path) -> Blocklist:
    recipient = Blocklist.open(
        publisher.repository.as_uri(), feed="id-all", root=publisher.root, region="ID", cache_dir=tmp_path / "cache"
    )
    recipient.sync()
    return recipient


@pytest.mark.parametrize("kind", ["list.csv", "list.jsonl", "list.parquet", "table"])
def test_capitals_in_column_names_make_no_difference(publisher: Publisher, tmp_path: Path, kind: str) -> None:
    """An advisory must never become a block because somebody wrote Level."""
    path = tmp_path / kind
    table = pa.table({"Number": [NUMBER], " Level": ["advisory"]})
    if kind == "list.csv":
        path.write_text(f"Number, Level\n{NUMBER},advisory\n")
    elif kind == "list.jsonl":
        path.write_text(f'{{"Number": "{NUMBER}", "Level": "advisory"}}\n')
    else:
        pq.write_table(table, path)
    publisher.release("id-all", table if kind == "table" else path, column="Number")
    assert synced(publisher, tmp_path).check(NUMBER).reason == "advisory"


def test_a_column_that_stands_there_twice(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"number,level,Level\n{NUMBER},advisory,block\n")
    with pytest.raises(InvalidInput, match="twice"):
        publisher.release("id-all", tmp_path / "list.csv")


@pytest.mark.parametrize("microseconds", [-2_000_000, 2**62])
def test_a_moment_that_no_calendar_knows(publisher: Publisher, microseconds: int) -> None:
    table = pa.table({"number": [NUMBER], "since": pa.array([microseconds], pa.timestamp("us", "UTC"))})
    with pytest.raises(InvalidInput, match="1970"):
        publisher.release("id-all", table)


def test_rejects_over_the_list_itself(publisher: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{NUMBER}\nGoPay\n")
    with pytest.raises(InvalidInput, match="over the list"):
        publisher.release("id-all", path, rejects=path)
    assert path.read_text() == f"{NUMBER}\nGoPay\n"


def test_pipes_are_neither_read_nor_replaced(publisher: Publisher, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InvalidInput, match="no regular file"):
        publisher.release("id-all", pipe)
    (tmp_path / "list.txt").write_text(f"{NUMBER}\nGoPay\n")
    with pytest.raises(InvalidInput, match="no regular file"):
        publisher.release("id-all", tmp_path / "list.txt", rejects=pipe)
    assert pipe.is_fifo()


def test_a_clock_that_was_ahead_holds_no_unblock_back(publisher: Publisher, tmp_path: Path) -> None:
    timing = Timing(clock=lambda: (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0))
    ahead = Publisher.open(tmp_path / "authority", passphrase=PASSPHRASE, timing=timing)
    other = "+6281200000002"
    ahead.release("id-all", pa.table({"number": [NUMBER, other]}))
    publisher.release("id-all", pa.table({"number": [other]}))
    assert NUMBER not in synced(publisher, tmp_path)
    with pytest.raises(InvalidInput, match="yet to come"):
        publisher.release("id-all", pa.table({"number": [other]}), published_at=datetime(9999, 1, 1, tzinfo=UTC))
