"""Careless use of a publisher, and what it must not lead to."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Malformed, Publisher, Refused
from blocklist_sdk.publisher.folder import Timing

PASSPHRASE = "generated for a test"
NUMBER = "+6281200000001"  # generated
GENERATED = [f"+62812000000{i:02d}" for i in range(1, 21)]


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
    """An advisory must never become a block because a column is called Level."""
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
    with pytest.raises(InvalidInput, match="regular file"):
        publisher.release("id-all", pipe)
    (tmp_path / "list.txt").write_text(f"{NUMBER}\nGoPay\n")
    with pytest.raises(InvalidInput, match="regular file"):
        publisher.release("id-all", tmp_path / "list.txt", rejects=pipe)
    assert pipe.is_fifo()


def test_a_clock_that_was_ahead_does_not_delay_an_unblock(publisher: Publisher, tmp_path: Path) -> None:
    timing = Timing(clock=lambda: (datetime.now(UTC) + timedelta(hours=20)).replace(microsecond=0))
    ahead = Publisher.open(tmp_path / "authority", passphrase=PASSPHRASE, timing=timing)
    other = "+6281200000002"
    ahead.release("id-all", pa.table({"number": [NUMBER, other]}))
    publisher.release("id-all", pa.table({"number": [other]}))
    assert NUMBER not in synced(publisher, tmp_path)
    with pytest.raises(InvalidInput, match="in the future"):
        publisher.release("id-all", pa.table({"number": [other]}), published_at=datetime(9999, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("ahead", "is_refused"), [(timedelta(hours=20), False), (timedelta(days=3), True)])
def test_what_a_clock_that_was_ahead_leaves_is_said(
    publisher: Publisher, tmp_path: Path, ahead: timedelta, is_refused: bool
) -> None:
    timing = Timing(clock=lambda: (datetime.now(UTC) + ahead).replace(microsecond=0))
    Publisher.open(tmp_path / "authority", passphrase=PASSPHRASE, timing=timing).release("id-all", [NUMBER])
    for publish in (publisher.dry_run, publisher.release):
        said: list[str] = []
        publish("id-all", [NUMBER], notify=said.append)
        found = [line for line in said if "later than now" in line]
        assert len(found) == 1
        assert ("recipients refuse each release" in found[0]) is is_refused


@pytest.mark.parametrize("column", ["category", "issuer"])
@pytest.mark.parametrize("text", ["bank\x1b[2J", "bank\r", "bank\x9b1A", "bank\u2066"])
def test_a_row_with_control_characters_is_a_reject(
    publisher: Publisher, tmp_path: Path, column: str, text: str
) -> None:
    other = "+6281200000002"
    table = pa.table({"number": [NUMBER, other], column: [f"{text}x", "Bank – Jakarta\u00a0Pusat"]})
    result = publisher.release("id-all", table, max_rejects=1)
    assert (result.rows, result.invalid) == (1, 1)
    assert result.rejects_path is not None
    assert f"{column} must be one line without control characters" in result.rejects_path.read_text()


def rows_of(publisher: Publisher) -> int | None:
    return publisher.status().feeds[0].rows


@pytest.fixture
def published(publisher: Publisher) -> Publisher:
    publisher.release("id-all", pa.table({"number": GENERATED}))
    return publisher


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"number": [f"id {i}" for i in range(19)] + GENERATED[:1]}),
        pa.table({"number": GENERATED, "since": ["2025-01-31"] * 17 + ["31.01.2025"] * 3}),
    ],
    ids=["another column", "moments in another format"],
)
def test_a_list_that_is_mostly_rejects_lifts_nothing(published: Publisher, table: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="of 20 rows in the list") as caught:
        published.release("id-all", table)
    assert (rows_of(published), published.status().feeds[0].serial) == (20, 1)
    rejects = published.directory / "rejects" / "id-all.refused.csv"
    assert str(rejects) in str(caught.value)
    assert len(rejects.read_text().splitlines()) in (20, 4)
    assert NUMBER[1:] not in str(caught.value)
    mine = tmp_path / "mine.csv"
    with pytest.raises(Refused):
        published.release("id-all", table, rejects=mine)
    assert mine.read_text() == rejects.read_text()
    assert published.release("id-all", table, max_rejects=0.95).rows == 20 - len(mine.read_text().splitlines()) + 1


@pytest.mark.parametrize(
    ("wrong", "max_rejects", "fine"), [(2, 0.1, True), (3, 0.1, False), (1, 0, False), (0, 0, True)]
)
def test_the_share_of_rejects_is_of_all_rows(
    publisher: Publisher, wrong: int, max_rejects: float, fine: bool, tmp_path: Path
) -> None:
    """A line that cannot be cut is a row as well."""
    lines = [f"{number},x" for number in GENERATED[wrong:]] + ["too,many,cells"] * wrong
    (tmp_path / "list.csv").write_text("number,note\n" + "\n".join(lines) + "\n\n\n")
    if fine:
        assert publisher.release("id-all", tmp_path / "list.csv", max_rejects=max_rejects).invalid == wrong
    else:
        with pytest.raises(Refused):
            publisher.release("id-all", tmp_path / "list.csv", max_rejects=max_rejects)


def test_rejects_over_the_publishers_own_files(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{NUMBER}\n{NUMBER[:-1]}2\n" * 10 + "1\n")
    (tmp_path / "link").symlink_to(publisher.directory)
    for path in ("root.json", "keys/keys.json", "repository/new.csv", "new.csv"):
        before = {each: each.read_bytes() for each in publisher.directory.rglob("*.json")}
        for folder in (publisher.directory, tmp_path / "link", publisher.directory / "rejects" / ".."):
            with pytest.raises(InvalidInput, match="own files"):
                publisher.release("id-all", tmp_path / "list.txt", rejects=folder / path)
        assert before == {each: each.read_bytes() for each in publisher.directory.rglob("*.json")}
    assert publisher.release("id-all", tmp_path / "list.txt", rejects=publisher.directory / "rejects" / "x.csv").invalid


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": ""},
        {"issuer": " "},
        {"issuer": "b\udcfcro"},
        {"issuer": 7},
        {"category": ""},
        {"category": "\ud800"},
        {"category": "fraud\x1b[2J"},
        {"issuer": "bank\u202e"},
        {"issuer": "bank\nauthority"},
        {"category": None},
        {"level": 1},
        {"scope": 1},
        {"scope": [1]},
        {"scope": []},
        {"region": 62},
        {"column": 1},
        {"rejects": 1},
        {"rejects": "a\0b"},
        {"published_at": "2025-01-31"},
        {"published_at": datetime(2025, 1, 31)},  # noqa: DTZ001 -- that is the point
        {"max_rejects": "0.1"},
        {"max_cover": "1000"},
        {"max_cover": -1},
        {"max_cover": True},
        {"max_cover": 0.5},
        {"max_rejects": True},
        {"max_rejects": 1.5},
        {"max_rejects": -0.1},
        {"max_rejects": float("nan")},
    ],
    ids=repr,
)
def test_arguments_of_a_release_that_cannot_be_used(publisher: Publisher, changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        publisher.release("id-all", pa.table({"number": [NUMBER]}), **changed)
    assert publisher.status().feeds[0].serial is None


def test_other_arguments_that_cannot_be_used(publisher: Publisher, tmp_path: Path) -> None:
    wrong: Any
    for wrong in ("id-all", b"id-all", 1, [1], [None]):
        with pytest.raises(InvalidInput):
            Publisher.init(tmp_path / "new", feeds=wrong, passphrase=PASSPHRASE)
    for wrong in (1, None, "a\0b", b"folder"):
        with pytest.raises(InvalidInput):
            Publisher.init(wrong, feeds=["id-all"], passphrase=PASSPHRASE)
        with pytest.raises(InvalidInput):
            Publisher.open(wrong, passphrase=PASSPHRASE)
    for wrong in ("0812-3456-7890", 1, [1]):
        with pytest.raises(InvalidInput, match="text"):
            publisher.protect(wrong)
    for wrong in (["id-all"], 1, None):
        with pytest.raises(InvalidInput):
            publisher.release(wrong, pa.table({"number": [NUMBER]}))
        with pytest.raises(InvalidInput):
            publisher.add_feed(wrong)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "passphrase",
    ["generated \udcff for a test", b"generated for a test", lambda key: None],
    ids=["bytes that are not UTF-8", "bytes", "none"],
)
def test_a_passphrase_that_is_not_a_text(publisher: Publisher, tmp_path: Path, passphrase: Any) -> None:
    with pytest.raises(InvalidInput, match="passphrase"):
        Publisher.init(tmp_path / "new", feeds=["id-all"], passphrase=passphrase)
    with pytest.raises(InvalidInput, match="passphrase"):
        Publisher.open(publisher.directory, passphrase=passphrase).refresh()


def test_the_root_of_the_file_system_is_not_a_new_folder() -> None:
    with pytest.raises(InvalidInput, match="exists already"):
        Publisher.init("/", feeds=["id-all"], passphrase=PASSPHRASE)


DAMAGED = [
    '{"format": 1}',
    '{"format": 1, "keys": 1}',
    '{"format": 1, "keys": [{}]}',
    "[" * 100_000,
    '{"format": 1, ' * 1000,
]


@pytest.mark.parametrize("content", [*DAMAGED, '{"format": 1, "keys": [{"name": 1, "keyid": "x", "public": {}}]}'])
def test_a_damaged_list_of_keys_is_named(publisher: Publisher, content: str) -> None:
    (publisher.directory / "keys" / "keys.json").write_text(content)
    with pytest.raises(Malformed, match=r"keys\.json"):
        Publisher.open(publisher.directory, passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    "content",
    [
        *DAMAGED,
        '{"format": 99}',
        '{"format": 1, "dropped": {"metadata/1.snapshot.json": "2025-01-31"}}',
        '{"format": 1, "dropped": {"metadata/1.snapshot.json": "0001-01-01T00:00:00+14:00"}}',
    ],
)
def test_a_damaged_ledger_of_old_files_stops_nothing(publisher: Publisher, content: str) -> None:
    ledger = publisher.directory / "retired.json"
    ledger.write_text(content)
    publisher.refresh()
    assert '"dropped"' in ledger.read_text()
