"""What a `Retry-After` header means, case by case as seen in the wild."""

import csv
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.net.retry_after import parse_retry_after

NOW = datetime(2026, 8, 13, 15, 36, 13, tzinfo=UTC)
IN_2099 = (datetime(2099, 10, 21, 7, 28, tzinfo=UTC) - NOW).total_seconds()
CASES: dict[str, float | None] = {
    "120": 120.0,
    "0": 0.0,
    "-5": None,
    "-3": None,
    "+3": None,
    "1.5": None,
    "1.": None,
    "120junk": None,
    " 120": 120.0,
    "nan": None,
    "inf": None,
    "": None,
    "99999999999999999999": 1e20,
    "Wed, 21 Oct 2015 07:28:00 GMT": 0.0,
    "Wed, 21 Oct 2099 07:28:00 GMT": IN_2099,
    "Wednesday, 21-Oct-99 07:28:00 GMT": 0.0,
    "Wed Oct 21 07:28:00 2099": IN_2099,
    "Thu, 13 Aug 2026 15:37:13 -0000": 60.0,
}


@pytest.mark.parametrize(("value", "seconds"), CASES.items())
def test_cases_seen_in_the_wild(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


def test_the_cases_are_those_of_the_shared_file(shared_data: Path) -> None:
    with (shared_data / "retry-after-cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["header_value"] for row in rows] == list(CASES)
    for row in rows:
        assert ("invalid" in row["expected_by_RFC9110"]) == (CASES[row["header_value"]] is None)


@pytest.mark.parametrize(
    ("value", "year"),
    [
        ("Wednesday, 13-Aug-76 15:36:13 GMT", 2076),
        ("Friday, 13-Aug-77 15:36:13 GMT", 1977),
        ("Tuesday, 13-Aug-30 15:36:13 GMT", 2030),
    ],
)
def test_two_digit_years_more_than_fifty_years_ahead_are_past(value: str, year: int) -> None:
    wait = (NOW.replace(year=year) - NOW).total_seconds()
    assert parse_retry_after(value, now=NOW) == max(0.0, wait)


@pytest.mark.parametrize(
    "value",
    [
        "Wed, 31 Feb 2099 07:28:00 GMT",
        "Wed, 21 Foo 2099 07:28:00 GMT",
        "Wed, 21 Oct 2099 25:28:00 GMT",
        "Wed, 21 Oct 2099",
        *(f"Wed, 21 Oct {year} 07:28:00 GMT" for year in ("0000", "0026", "0099", "0100", "0999", "10000", "٢٠٩٩")),
        *(f"Wed Oct 21 07:28:00 {year}" for year in ("0000", "0026", "0099", "0100", "0999", "10000")),
        "Xyz Oct 21 07:28:00 2099",
        "٣",
        "1 2",
    ],
)
def test_what_only_looks_like_one(value: str) -> None:
    assert parse_retry_after(value, now=NOW) is None


@given(st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\Z"))
def test_any_text_means_a_wait_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or (seconds >= 0 and not math.isnan(seconds))


@given(st.integers(0, 10**9))
def test_a_date_means_the_time_until_then(seconds: int) -> None:
    then = NOW + timedelta(seconds=seconds)
    assert parse_retry_after(format_datetime(then, usegmt=True), now=NOW) == seconds


@given(st.integers(0, 10**12))
def test_whole_seconds_are_themselves(seconds: int) -> None:
    assert parse_retry_after(str(seconds), now=NOW) == seconds
