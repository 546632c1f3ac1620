"""When the next scheduled sync is due, by properties."""

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import InvalidInput
from blocklist_sdk.recipient.cache.state import SyncState, load_state, save_state
from blocklist_sdk.recipient.sync.schedule import BACKOFF_MAX_S, backoff_s, first_attempt, interval, postponed_until

NOW = datetime(2026, 8, 13, 15, 36, 13, tzinfo=UTC)
DAY = timedelta(days=1)

draws = st.floats(0, 1, exclude_max=True)
EVERY = timedelta(hours=1)
failures = st.integers(1, 10_000)
everies = st.timedeltas(timedelta(milliseconds=1), timedelta(days=366))
moments = st.timedeltas(timedelta(days=-2000), timedelta(days=2000)).map(lambda distance: NOW + distance)


@given(failures, draws)
def test_the_wait_after_failures_is_safe_browsings(count: int, draw: float) -> None:
    # Without floats, which overflow after a thousand failures.
    slow = min(2 ** (count - 1) * 15 * 60 * (1 + Fraction(draw)), Fraction(24 * 3600))
    assert backoff_s(count, every=EVERY, draw=draw) == pytest.approx(float(slow))


@given(failures, draws)
def test_more_failures_never_wait_less(count: int, draw: float) -> None:
    waits = [backoff_s(count, every=EVERY, draw=0), backoff_s(count, every=EVERY, draw=draw)]
    waits += [backoff_s(count + 1, every=EVERY, draw=draw), BACKOFF_MAX_S]
    assert waits == sorted(waits)


@given(failures, everies, draws, st.floats(0, 1e12))
def test_what_the_server_asks_for_counts_up_to_two_intervals(
    count: int, every: timedelta, draw: float, asked_s: float
) -> None:
    unasked_s = backoff_s(count, every=every, draw=draw)
    wait_s = backoff_s(count, every=every, draw=draw, retry_after_s=asked_s)
    assert unasked_s <= wait_s <= max(unasked_s, 2 * every.total_seconds())
    # Spread over the last interval, a quarter of an hour at most.
    latest_s = 2 * every.total_seconds() - draw * min(every.total_seconds(), 900)
    assert wait_s >= min(asked_s, latest_s, BACKOFF_MAX_S)


@pytest.mark.parametrize("asked_s", [6000, 7200, 99_999_999])
def test_those_whom_a_server_asked_the_same_do_not_come_back_at_once(asked_s: float) -> None:
    assert len({backoff_s(1, every=EVERY, draw=draw / 10, retry_after_s=asked_s) for draw in range(5)}) == 5


@given(everies, draws)
def test_a_feed_that_was_never_synced_is_synced_at_once(every: timedelta, draw: float) -> None:
    assert first_attempt(SyncState(), every=every, now=NOW, draw=draw) == NOW


@given(everies, draws, moments)
def test_the_first_sync_is_at_a_random_offset(every: timedelta, draw: float, last: datetime) -> None:
    first = first_attempt(SyncState(last_success=last), every=every, now=NOW, draw=draw)
    assert NOW <= first <= NOW + every
    assert abs(first - NOW - draw * every) <= timedelta(microseconds=1)


@given(everies, draws, moments, failures, st.none() | moments)
def test_a_restart_shortens_no_wait(
    every: timedelta, draw: float, until: datetime, count: int, last: datetime | None
) -> None:
    state = SyncState(last_success=last, failures=count, next_attempt=until)
    first = first_attempt(state, every=every, now=NOW, draw=draw)
    if until > NOW:
        # Unless a clock that was ahead has stored it.
        assert first == min(until, NOW + DAY)
    else:
        assert first == first_attempt(SyncState(last_success=last), every=every, now=NOW, draw=draw)


@given(everies, draws, moments, st.none() | moments)
def test_what_another_process_fetched_is_not_fetched_again(
    every: timedelta, draw: float, last: datetime, known: datetime | None
) -> None:
    until = postponed_until(SyncState(last_success=last), known_success=known, every=every, now=NOW, draw=draw)
    is_news = (known is None or last > known) and last <= NOW < last + every
    assert (until is not None) == is_news
    assert until is None or NOW < until <= last + 1.1 * every + timedelta(microseconds=1)


@given(everies, draws, moments, failures)
def test_a_wait_that_a_server_asked_one_process_for_holds_for_all(
    every: timedelta, draw: float, until: datetime, count: int
) -> None:
    state = SyncState(failures=count, next_attempt=until)
    postponed = postponed_until(state, known_success=None, every=every, now=NOW, draw=draw)
    assert postponed == (min(until, NOW + DAY) if until > NOW else None)


@given(st.floats(1e-3, 366 * 86_400))
def test_a_number_is_seconds(seconds: float) -> None:
    assert interval(seconds) == interval(timedelta(seconds=seconds)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf"), 367 * 86_400, timedelta(0), timedelta(days=-1)])
def test_an_interval_that_cannot_be_is_refused(every: float | timedelta) -> None:
    with pytest.raises(InvalidInput, match="more than 0 s and at most a year"):
        interval(every)


def test_the_wait_survives_in_the_state_file(tmp_path: Path) -> None:
    state = SyncState(highest_serial=7, failures=3, next_attempt=NOW)
    save_state(tmp_path / "state.json", state)
    assert load_state(tmp_path / "state.json") == state


def test_a_state_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    save_state(path, SyncState(highest_serial=7, last_success=NOW))
    document = json.loads(path.read_text())
    del document["failures"], document["next_attempt"]
    path.write_text(json.dumps(document))
    assert load_state(path) == SyncState(highest_serial=7, last_success=NOW)


def test_a_state_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"format": 999}')
    with pytest.raises(InvalidInput, match="newer"):
        load_state(path)
    assert path.read_text() == '{"format": 999}'
