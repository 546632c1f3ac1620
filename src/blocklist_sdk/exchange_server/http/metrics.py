"""An exchange's metrics for Prometheus, in its text exposition format, version 0.0.4."""

from collections.abc import Mapping
from typing import Final

from blocklist_sdk.exchange.models import WaitingRelease

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_HELP: Final = {
    "waiting_listings": "Listings that wait until an officer accepts them.",
    "waiting_numbers": "Numbers that they would begin to block.",
    "waiting_since_timestamp_seconds": "When the guard refused them.",
}
"""Each metric without its prefix, and its meaning."""


def metrics_text(waiting: Mapping[str, WaitingRelease | None]) -> str:
    """The metrics.

    Args:
        waiting: every feed, with what waits on it; None if nothing does.

    >>> print(metrics_text({"id-all": None}), end="")
    # HELP blocklist_exchange_waiting_listings Listings that wait until an officer accepts them.
    # TYPE blocklist_exchange_waiting_listings gauge
    blocklist_exchange_waiting_listings{feed="id-all"} 0
    # HELP blocklist_exchange_waiting_numbers Numbers that they would begin to block.
    # TYPE blocklist_exchange_waiting_numbers gauge
    blocklist_exchange_waiting_numbers{feed="id-all"} 0
    """
    lines = []
    for name, meaning in _HELP.items():
        values = {feed: value for feed, each in waiting.items() if (value := _value(name, each)) is not None}
        if values:
            lines += [f"# HELP blocklist_exchange_{name} {meaning}", f"# TYPE blocklist_exchange_{name} gauge"]
            lines += [f'blocklist_exchange_{name}{{feed="{feed}"}} {value}' for feed, value in values.items()]
    return "".join(f"{line}\n" for line in lines)


def _value(name: str, release: WaitingRelease | None) -> int | None:
    match name:
        case "waiting_listings":
            return release.listings if release else 0
        case "waiting_numbers":
            return release.added if release else 0
        case _:
            return int(release.refused_at.timestamp()) if release else None
