"""Patterns that cover too many numbers are not published by mistake."""

from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Publisher, Refused
from blocklist_sdk.publisher import ListedRange


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.init(tmp_path / "authority", feeds=["id-all"], passphrase="generated for a test", region="ID")


@pytest.mark.parametrize(
    "pattern",
    ["08*", "0812*", "0812[3-5]######", "+33162######", "+49800*", "+6281200000000-+6281299999999", "01802[1-5]%"],
)
def test_a_wide_pattern_is_refused_and_nothing_is_published(publisher: Publisher, pattern: str) -> None:
    region = "DE" if pattern.startswith("018") else "ID"
    table = pa.table({"number": ["+6281234567890", pattern]})
    with pytest.raises(Refused, match=r"line 2, .* covers .* numbers") as caught:
        publisher.release("id-all", table, region=region)
    assert caught.value.serial is None
    assert len(caught.value.reasons) == 1
    assert publisher.status().feeds[0].serial is None


@pytest.mark.parametrize("pattern", ["08123456****", "+33612345*", "+336123*****", "+6281200000000-+6281200099999"])
def test_up_to_a_hundred_thousand_numbers_are_published(publisher: Publisher, pattern: str) -> None:
    result = publisher.release("id-all", pa.table({"number": [pattern]}))
    assert result.widest is not None
    assert result.reach == result.widest.reach <= 100_000


def test_a_range_may_have_its_end_in_a_column(publisher: Publisher) -> None:
    table = pa.table({"number": [6281200000000], "last": [6281200999999]})
    with pytest.raises(Refused, match=r"line 1, \+6281200######, covers 1,000,000 numbers"):
        publisher.release("id-all", table)
    result = publisher.release("id-all", table, max_cover=1_000_000)
    assert result.widest == ListedRange(line=1, pattern="+6281200######", reach=1_000_000)


def test_a_list_of_single_numbers_may_have_any_size(publisher: Publisher) -> None:
    numbers = pa.table({"number": pa.array(range(6281200000000, 6281200150000))})
    result = publisher.release("id-all", numbers, max_cover=0)
    assert (result.reach, result.widest) == (150_000, None)


def test_what_a_list_covers_counts_once(publisher: Publisher) -> None:
    numbers = ["081234567890", "081234567890", "08123456789#", "0812345678##", "081200000001"]
    result = publisher.release("id-all", pa.table({"number": numbers, "issuer": ["a", "b", "c", "d", "e"]}))
    assert (result.rows, result.reach) == (5, 101)


def test_a_message_names_the_widest_three(publisher: Publisher) -> None:
    numbers = ["0812#######*", *(f"0812{digit}#######" for digit in range(5))]
    with pytest.raises(Refused, match="and 3 more are as wide") as caught:
        publisher.release("id-all", pa.table({"number": numbers}))
    assert len(caught.value.reasons) == 3
    assert caught.value.reasons[0].startswith("line 1, 0812#######*, covers 11,110,000,000")
