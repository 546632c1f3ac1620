"""Figures for Prometheus: those of the list, as ``--metrics-file`` writes them, and those of all workers' look-ups.

The format is Prometheus's text exposition format, version 0.0.4.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from typing import Final

from blocklist_sdk.lookup_server.counters import BUCKETS_S, Counters
from blocklist_sdk.recipient.metrics import render
from blocklist_sdk.records import Status

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

HELP: Final = {
    "lookup_numbers_total": ("counter", "Numbers that were asked about, by door and answer."),
    "lookup_requests_total": ("counter", "HTTP requests that were answered, by door and status."),
    "lookup_connections": ("gauge", "Open connections, by door."),
    "lookup_refused_connections_total": (
        "counter",
        "Connections that were refused since as many were open as may be, and none could give way, by door.",
    ),
    "lookup_seconds": ("histogram", "Time from a request's last byte to its answer, by door."),
    "lookup_workers": ("gauge", "Processes that answer."),
}
"""Each metric of look-ups without its prefix: its type and meaning."""


def figures(status: Status, counters: Counters, *, now: datetime) -> str:
    """All figures.

    Args:
        status: the state of the list.
        counters: of all workers.
        now: this moment.
    """
    of_list = render(status, outcome=None, before=counters.syncs(), now=now)
    return of_list + "".join(_lines(status.feed, counters))


def _lines(feed: str, counters: Counters) -> Iterator[str]:
    yield from _head("lookup_numbers_total")
    for door, answer, count in counters.answered():
        yield f'blocklist_lookup_numbers_total{{feed="{feed}",door="{door}",answer="{answer}"}} {count}\n'
    yield from _head("lookup_requests_total")
    for door, status, count in counters.requests():
        if door != "redis":
            yield f'blocklist_lookup_requests_total{{feed="{feed}",door="{door}",status="{status}"}} {count}\n'
    yield from _head("lookup_connections")
    for door, count in counters.open_connections():
        yield f'blocklist_lookup_connections{{feed="{feed}",door="{door}"}} {count}\n'
    yield from _head("lookup_refused_connections_total")
    for door, count in counters.refused_connections():
        yield f'blocklist_lookup_refused_connections_total{{feed="{feed}",door="{door}"}} {count}\n'
    yield from _head("lookup_seconds")
    for door, seconds, buckets in counters.times():
        labels = f'feed="{feed}",door="{door}"'
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), accumulate(buckets), strict=True):
            yield f'blocklist_lookup_seconds_bucket{{{labels},le="{bound}"}} {count}\n'
        yield f"blocklist_lookup_seconds_sum{{{labels}}} {seconds:.6f}\n"
        yield f"blocklist_lookup_seconds_count{{{labels}}} {sum(buckets)}\n"
    yield from _head("lookup_workers")
    yield f'blocklist_lookup_workers{{feed="{feed}"}} {counters.workers}\n'


def _head(name: str) -> Iterator[str]:
    kind, meaning = HELP[name]
    yield f"# HELP blocklist_{name} {meaning}\n"
    yield f"# TYPE blocklist_{name} {kind}\n"
