"""The publisher's rows of the table of guards, one by one, for lists of 5, 30, 500 and 100,000 entries.

The table is in the how-to page about publishing a list. Each test goes to the last number that passes, and one beyond.
"""

from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, InvalidInput, Publisher, Refused

FEED = "id-all"
SIZES = (5, 30, 500, 100_000)
FIRST_NUMBER = 6_281_200_000_000
AWAY = 10_000_000
"""So far from the first list are the numbers of another one."""


def numbers(count: int, start: int = 0) -> pa.Table:
    return pa.table({"number": pa.array(range(FIRST_NUMBER + start, FIRST_NUMBER + start + count), pa.int64())})


def joined(*tables: pa.Table) -> pa.Table:
    return pa.concat_tables(tables)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.init(tmp_path / "authority", feeds=[FEED], passphrase="generated for a test", region="ID")


def most_removed(size: int) -> int:
    return min(size, max(20, size // 10))


def most_added(size: int) -> int:
    return max(1_000, size)


# First: free


@pytest.mark.parametrize("size", SIZES)
def test_a_first_release_is_free(publisher: Publisher, size: int) -> None:
    assert publisher.dry_run(FEED, numbers(size)).refusals == ()
    assert publisher.release(FEED, numbers(size)).added == size


@pytest.mark.parametrize("size", SIZES)
def test_a_first_release_that_is_added_is_free(publisher: Publisher, size: int) -> None:
    assert publisher.add(FEED, numbers(size)).added == size


@pytest.mark.parametrize("size", SIZES)
def test_what_follows_an_empty_list_is_free(publisher: Publisher, size: int) -> None:
    publisher.release(FEED, numbers(size))
    with pytest.raises(InvalidInput, match="has no rows"):
        publisher.release(FEED, numbers(0))
    assert publisher.release(FEED, numbers(0), allow_empty=True).removed == size
    assert publisher.release(FEED, numbers(size + most_added(size) + 1, start=AWAY)).rows > size


# Removed: 10 %, at least 20


@pytest.mark.parametrize("size", SIZES)
def test_so_many_may_be_removed_from_a_list(publisher: Publisher, size: int) -> None:
    """From five numbers all may go: the twenty are more than there are. Another one comes, so the list is not empty."""
    most = most_removed(size)
    publisher.release(FEED, numbers(size))
    if most < size:
        beyond = joined(numbers(size - most - 1, start=most + 1), numbers(1, start=AWAY))
        assert len(publisher.dry_run(FEED, beyond).refusals) == 1
        with pytest.raises(Refused, match=f"unblock {most + 1:,} numbers"):
            publisher.release(FEED, beyond)
    result = publisher.release(FEED, joined(numbers(size - most, start=most), numbers(1, start=AWAY)))
    assert (result.removed, result.added) == (most, 1)


@pytest.mark.parametrize("size", SIZES)
def test_so_many_may_be_removed_by_name(publisher: Publisher, size: int) -> None:
    publisher.release(FEED, joined(numbers(size - 1), numbers(1, start=AWAY)))
    most = min(most_removed(size), size - 1)
    if most < size - 1:
        with pytest.raises(Refused, match=f"unblock {most + 1:,} numbers"):
            publisher.remove(FEED, numbers(most + 1))
    assert publisher.remove(FEED, numbers(most)).removed == most


@pytest.mark.parametrize("size", SIZES)
def test_so_many_may_be_weakened(publisher: Publisher, size: int) -> None:
    """An advisory blocks nobody, so a block that becomes one is removed."""
    most = most_removed(size)
    publisher.release(FEED, numbers(size))

    def with_advisories(count: int) -> pa.Table:
        return numbers(size).append_column("level", pa.array(["advisory"] * count + ["block"] * (size - count)))

    if most < size:
        with pytest.raises(Refused, match=f"unblock {most + 1:,} numbers"):
            publisher.release(FEED, with_advisories(most + 1))
    assert publisher.release(FEED, with_advisories(most)).changed == most


# Added: 100 %, at least 1,000


@pytest.mark.parametrize("size", SIZES)
def test_so_many_may_be_added_to_a_list(publisher: Publisher, size: int) -> None:
    most = most_added(size)
    publisher.release(FEED, numbers(size))
    assert len(publisher.dry_run(FEED, numbers(size + most + 1)).refusals) == 1
    with pytest.raises(Refused, match=f"begin to block {most + 1:,} numbers"):
        publisher.release(FEED, numbers(size + most + 1))
    assert publisher.release(FEED, numbers(size + most)).added == most


@pytest.mark.parametrize("size", SIZES)
def test_so_many_may_be_added_by_name(publisher: Publisher, size: int) -> None:
    most = most_added(size)
    publisher.release(FEED, numbers(size))
    with pytest.raises(Refused, match=f"begin to block {most + 1:,} numbers"):
        publisher.add(FEED, numbers(most + 1, start=AWAY))
    assert publisher.add(FEED, numbers(most, start=AWAY)).added == most


# Let through by: accept, taken only after a refusal of the same content


@pytest.mark.parametrize("size", SIZES)
def test_accept_lets_through_what_was_refused_and_nothing_else(publisher: Publisher, size: int) -> None:
    publisher.release(FEED, numbers(size))
    beyond = numbers(size + most_added(size) + 1)
    with pytest.raises(InvalidInput, match="nothing was refused on this feed"):
        publisher.release(FEED, beyond, accept=True)
    with pytest.raises(Refused):
        publisher.release(FEED, beyond)
    with pytest.raises(InvalidInput, match="was another one"):
        publisher.release(FEED, beyond.slice(1), accept=True)
    assert publisher.release(FEED, beyond, accept=True).rows == len(beyond)
    with pytest.raises(InvalidInput, match="a release has been published since"):
        publisher.release(FEED, beyond, accept=True)


# Reach


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("edit", ["release", "add"])
def test_one_pattern_may_cover_a_hundred_thousand_numbers(publisher: Publisher, size: int, edit: str) -> None:
    """More takes a word of its own, whatever else is on the list."""

    def with_range(count: int) -> pa.Table:
        last = pa.array([*range(FIRST_NUMBER, FIRST_NUMBER + size), FIRST_NUMBER + AWAY + count - 1], pa.int64())
        return joined(numbers(size), numbers(1, start=AWAY)).append_column("last", last)

    publish = publisher.release if edit == "release" else publisher.add
    with pytest.raises(Refused, match="covers 100,001 numbers"):
        publish(FEED, with_range(100_001))
    with pytest.raises(Refused, match="covers 100,001 numbers"):
        publish(FEED, with_range(100_001), max_cover=100_000)
    assert publisher.status().feeds[0].serial is None
    assert publish(FEED, with_range(100_001), max_cover=100_001).reach == size + 100_001
    another = Publisher.init(
        publisher.directory.with_name("another"), feeds=[FEED], passphrase="generated for a test", region="ID"
    )
    publish = another.release if edit == "release" else another.add
    assert publish(FEED, with_range(100_000)).reach == size + 100_000


@pytest.fixture
def recipient(publisher: Publisher, tmp_path: Path) -> Blocklist:
    return Blocklist.open(
        publisher.repository.as_uri(), feed=FEED, root=publisher.root, region="ID", cache_dir=tmp_path / "cache"
    )


def ranges(count: int, width: int, *, start: int = 0) -> pa.Table:
    first = [FIRST_NUMBER + start + i * width for i in range(count)]
    return pa.table({"number": first, "last": [number + width - 1 for number in first]})


def test_an_entry_of_a_million_numbers_reaches_recipients_and_one_more_does_not(
    publisher: Publisher, recipient: Blocklist
) -> None:
    publisher.release(FEED, ranges(1, 1_000_001), max_cover=1_000_001)
    with pytest.raises(Refused, match="covers 1,000,001 numbers, more than the 1,000,000 that one entry may"):
        recipient.sync()
    publisher.release(FEED, ranges(1, 1_000_000), max_cover=1_000_000)
    assert recipient.sync().added == 1


def test_the_ranges_of_a_first_release_reach_recipients_up_to_20_million_numbers(
    publisher: Publisher, recipient: Blocklist
) -> None:
    publisher.release(FEED, joined(ranges(20, 1_000_000), ranges(1, 2, start=AWAY * 5)), max_cover=1_000_000)
    with pytest.raises(Refused, match="its ranges cover 20,000,002 numbers, more than the 20,000,000"):
        recipient.sync()
    publisher.release(FEED, ranges(20, 1_000_000), max_cover=1_000_000)
    assert recipient.sync().added == 20


@pytest.mark.parametrize("size", [*SIZES, 1_100_000])
def test_a_list_of_single_numbers_may_have_any_size(publisher: Publisher, recipient: Blocklist, size: int) -> None:
    """No number of them is a wide pattern, and a recipient's first release has no limit for them either."""
    assert publisher.release(FEED, numbers(size), max_cover=0).reach == size
    assert recipient.sync().added == size


def test_single_numbers_do_not_count_as_ranges_of_a_first_release(publisher: Publisher, recipient: Blocklist) -> None:
    table = joined(ranges(20, 1_000_000), ranges(1_000, 1, start=5 * AWAY))
    publisher.release(FEED, table, max_cover=1_000_000)
    assert recipient.sync().added == 1_020
