"""How requests are counted: two counters for each client, and nothing that grows or runs beside them."""

import threading
import time

import pytest

from blocklist_sdk.exchange_server.http import rates
from blocklist_sdk.exchange_server.http.problems import HttpRefusal
from blocklist_sdk.exchange_server.http.rates import RateLimits


class Moment:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0  # the start of a minute

    def time(self) -> float:
        return self.now


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Moment:
    made = Moment()
    monkeypatch.setattr(time, "time", made.time)
    return made


def taken(limits: RateLimits, times: int, *client: str) -> int:
    return sum(limits.take("10/minute", *client) for _ in range(times))


def test_each_client_has_the_rate_for_itself(moment: Moment) -> None:
    limits = RateLimits()
    assert taken(limits, 15, "a") == 10
    assert taken(limits, 15, "a", "b") == 10
    assert limits.take("10/minute", "a", factor=2)
    assert limits.is_spent("10/minute", "a")
    assert not limits.is_spent("10/minute", "c")


def test_the_span_before_counts_in_part(moment: Moment) -> None:
    limits = RateLimits()
    assert taken(limits, 10, "a") == 10
    moment.now += 60
    assert taken(limits, 10, "a") == 0
    moment.now += 30
    assert taken(limits, 10, "a") == 5
    moment.now += 150
    assert taken(limits, 15, "a") == 10


def test_who_is_refused_hears_when_one_more_is_allowed(moment: Moment) -> None:
    limits = RateLimits()
    taken(limits, 10, "a")
    moment.now += 20
    with pytest.raises(HttpRefusal) as caught:
        limits.check("10/minute", "a")
    assert caught.value.headers["Retry-After"] in ("40", "41")
    moment.now += 40
    with pytest.raises(HttpRefusal) as caught:
        limits.check("10/minute", "a")
    moment.now += int(caught.value.headers["Retry-After"])
    limits.check("10/minute", "a")


def test_who_has_not_asked_for_long_is_forgotten(moment: Moment) -> None:
    limits = RateLimits()
    for index in range(3 * rates._SWEPT_FROM):
        moment.now += 1
        assert limits.take("10/minute", str(index))
    assert len(limits._windows) <= rates._SWEPT_FROM


def test_counting_starts_no_thread() -> None:
    limits = RateLimits()
    before = threading.active_count()
    taken(limits, 100, "a")
    assert threading.active_count() == before
