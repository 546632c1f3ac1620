"""The protocol's limits at publishing: the line is named, and nothing is published. All numbers are generated."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import InvalidInput, Publisher
from blocklist_sdk.publisher import PublisherGuard
from blocklist_sdk.release.limits import (
    DISTINCT_TEXTS_MAX,
    ENTRIES_PER_NUMBER_MAX,
    RANGE_DEPTH_MAX,
    TEXT_BYTES_MAX,
)

FEED = "id-generated"
NUMBER = "+6281200000001"
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()
LAST_WEEK = (datetime.now(UTC) - timedelta(days=7)).isoformat()


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    Publisher.init(tmp_path, feeds=[FEED], passphrase="generated for a test", region="ID")
    return Publisher.open(tmp_path, passphrase="generated for a test", guard=PublisherGuard.off())


def numbers(count: int) -> list[str]:
    return [f"+62812{i:08d}" for i in range(1, count + 1)]


def rejects_of(publisher: Publisher, table: pa.Table) -> tuple[int, list[str]]:
    result = publisher.release(FEED, table, max_rejects=1.0)
    assert result.rejects_path is not None or not result.invalid
    lines = [] if result.rejects_path is None else result.rejects_path.read_text().splitlines()[1:]
    return result.rows, lines


@pytest.mark.parametrize("name", ["issuer", "category"])
def test_a_text_that_is_too_long_is_a_reject_with_its_line(publisher: Publisher, name: str) -> None:
    texts = ["x" * TEXT_BYTES_MAX, "x" * (TEXT_BYTES_MAX + 1), "ü" * 128, "ü" * 129]
    rows, rejects = rejects_of(publisher, pa.table({"number": numbers(4), name: texts}))
    assert rows == 2
    assert [line.split(",")[0] for line in rejects] == ["2", "4"]
    assert all(f"{name} must have at most 256 bytes of UTF-8" in line for line in rejects)


@pytest.mark.parametrize("name", ["issuer", "category"])
def test_a_text_for_all_entries_that_is_too_long_is_refused(publisher: Publisher, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} must have at most 256 bytes"):
        publisher.release(FEED, pa.table({"number": numbers(1)}), **{name: "x" * 257})  # type: ignore[arg-type]


def test_too_many_distinct_texts_are_refused_with_the_line(publisher: Publisher) -> None:
    count = DISTINCT_TEXTS_MAX + 1
    table = pa.table({"number": numbers(count), "issuer": [f"i{i}" for i in range(count)]})
    assert publisher.release(FEED, table.slice(0, count - 1)).rows == DISTINCT_TEXTS_MAX
    with pytest.raises(InvalidInput, match=r"'issuer' has 65,537 distinct texts.*line 65,537 has the first beyond"):
        publisher.release(FEED, table)
    with pytest.raises(InvalidInput, match="'issuer' would have 65,537 distinct texts"):
        publisher.add(FEED, table.slice(count - 1))


def test_too_many_entries_of_a_number_are_refused_with_the_line(publisher: Publisher) -> None:
    issuers = [f"i{i}" for i in range(ENTRIES_PER_NUMBER_MAX + 1)]
    table = pa.table({"number": [*numbers(3), *[NUMBER] * len(issuers)], "issuer": ["a", "b", "c", *issuers]})
    assert publisher.release(FEED, table.slice(1, ENTRIES_PER_NUMBER_MAX + 2)).rows == ENTRIES_PER_NUMBER_MAX + 2
    with pytest.raises(InvalidInput, match=r"\+628…001 would have 1,002 entries.*: line 1,004 is the last of them"):
        publisher.release(FEED, table)


def test_ranges_that_overlap_too_deep_are_refused_with_the_line(publisher: Publisher) -> None:
    depth = RANGE_DEPTH_MAX + 1
    first = [f"+62812{i:08d}" for i in range(1, depth + 1)]
    last = [f"+62812{1_000 - i:08d}" for i in range(1, depth + 1)]
    table = pa.table({"number": first, "last": last})
    assert publisher.release(FEED, table.slice(0, RANGE_DEPTH_MAX)).rows == RANGE_DEPTH_MAX
    with pytest.raises(InvalidInput, match=r"65 ranges would cover .*: line 65 is the last of them"):
        publisher.release(FEED, table)


def test_an_end_in_the_past_without_a_beginning_is_a_reject(publisher: Publisher) -> None:
    listed = numbers(3)
    table = pa.table({"number": listed, "until": [None, YESTERDAY, YESTERDAY], "since": [None, None, LAST_WEEK]})
    rows, rejects = rejects_of(publisher, table)
    assert rows == 2
    assert [line.split(",")[0] for line in rejects] == ["2"]
    assert "until is in the past, and no since says when the entry began" in rejects[0]


def test_an_end_in_the_past_ends_an_entry_that_is_listed(publisher: Publisher) -> None:
    table = pa.table({"number": numbers(2)})
    publisher.release(FEED, table, published_at=datetime.now(UTC) - timedelta(days=3))
    ended = pa.table({"number": numbers(3), "until": [None, YESTERDAY, YESTERDAY]})
    rows, rejects = rejects_of(publisher, ended)
    assert rows == 2
    assert [line.split(",")[0] for line in rejects] == ["3"]


def test_an_end_before_a_beginning_to_come_is_refused(publisher: Publisher) -> None:
    publisher.release(FEED, pa.table({"number": numbers(1)}))
    later = datetime.now(UTC) + timedelta(days=9)
    table = pa.table({"number": [NUMBER, "+6281299999999"], "since": [None, later.isoformat()]})
    with pytest.raises(InvalidInput, match=r"\+628…999 would end before it begins: line 2"):
        publisher.add(FEED, table, until=later - timedelta(days=1))
