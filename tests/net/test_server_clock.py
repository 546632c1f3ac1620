"""This machine's clock beside a server's: any time zone, what a cache kept, and headers that say nothing."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.net.server_clock import clock_offset, offset_text

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


@given(seconds=st.integers(-(10**8), 10**8), age=st.integers(0, 10**7))
def test_the_offset_is_what_the_clocks_differ_by(seconds: int, age: int) -> None:
    offset = timedelta(seconds=seconds)
    sent = NOW - offset - timedelta(seconds=age)
    headers = {"Date": format_datetime(sent, usegmt=True), "Age": str(age)}
    assert clock_offset(headers, now=NOW) == offset
    assert offset_text(offset).endswith(("behind the server's", "ahead of the server's"))
    assert ("behind" in offset_text(offset)) is (seconds < 0)


@pytest.mark.parametrize(
    "headers", [{}, {"Date": ""}, {"Date": "soon"}, {"Date": "Thu, 13 Aug 0026 15:36:13 GMT"}, {"Date": "1" * 9999}]
)
def test_an_answer_may_say_nothing(headers: dict[str, str]) -> None:
    assert clock_offset(headers, now=NOW) is None


@pytest.mark.parametrize("age", ["", "-5", "x", "9" * 400, "٣"])
def test_an_age_that_is_none_does_not_count(age: str) -> None:
    assert clock_offset({"Date": format_datetime(NOW, usegmt=True), "Age": age}, now=NOW) == timedelta(0)


def test_a_clock_at_the_end_of_time_is_off_as_well() -> None:
    headers = {"Date": "Fri, 31 Dec 9999 23:59:59 GMT", "Age": "99999999"}
    assert clock_offset(headers, now=datetime(1970, 1, 1, tzinfo=UTC)) is not None
