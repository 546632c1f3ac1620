"""OpenTelemetry: metrics of a list and of its syncs, through the metrics SDK that the program has set up.

Needs the extra ``otel``.
"""

import logging
import weakref
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from blocklist_sdk import times
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.recipient.sync_outcomes import SyncOutcome
from blocklist_sdk.records import Status
from blocklist_sdk.texts import missing_extra

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

    from blocklist_sdk.recipient.blocklist import Blocklist

log: logging.Logger = logging.getLogger(__name__)

_GAUGES: Final[dict[str, tuple[str, str, Callable[[Status], float | None]]]] = {
    "blocklist.up": ("1", "Whether a verified list is in force", lambda status: int(status.serial is not None)),
    "blocklist.stale": ("1", "Whether the list is past its signed expiry", lambda status: int(status.stale)),
    "blocklist.damaged": (
        "1",
        "Whether a part of the list on this disk was found not to be as it was written",
        lambda status: int(status.damaged),
    ),
    "blocklist.clock.behind": (
        "s",
        "By how much this machine's clock is known to be behind; 0 if by five minutes at most",
        lambda status: status.clock_behind_s or (None if status.serial is None else 0),
    ),
    "blocklist.serial": ("1", "Release in force", lambda status: status.serial),
    "blocklist.rows": ("{entry}", "Entries in the release in force", lambda status: status.rows),
    "blocklist.generation.size": ("By", "Size on disk of the release in force", lambda status: status.generation_bytes),
    "blocklist.age": ("s", "Time since the release in force was published", lambda status: _since(status.as_of)),
    "blocklist.expires_in": (
        "s",
        "Time until the list is stale",
        lambda status: _until(status.expires),
    ),
    "blocklist.last_success.age": ("s", "Time since a sync last succeeded", lambda status: _since(status.last_success)),
}
"""Each gauge's name, unit (UCUM), meaning, and its value; None if that is not known yet."""


def instrument(blocklist: "Blocklist", meter_provider: "MeterProvider | None" = None) -> None:
    """Measure a list and its syncs; call it once for each list.

    Gauges are read from the list whenever they are collected. ``blocklist.syncs`` (by outcome), ``blocklist.sync.size``
    and ``blocklist.sync.duration`` count the syncs of this object, in the background too, from now on.

    Args:
        blocklist: the list; this keeps no reference to it.
        meter_provider: by default the program's global one.

    Raises:
        InvalidInput: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise InvalidInput(missing_extra("OpenTelemetry", "otel")) from error

    from blocklist_sdk import __version__

    meter = metrics.get_meter("blocklist_sdk", __version__, meter_provider=meter_provider)
    for name, (unit, meaning, figure) in _GAUGES.items():
        meter.create_observable_gauge(name, [_observer(weakref.ref(blocklist), figure)], unit=unit, description=meaning)
    blocklist.add_listener(_counter(meter))


def _observer(
    reference: "weakref.ref[Blocklist]", figure: Callable[[Status], float | None]
) -> Callable[["CallbackOptions"], Iterable["Observation"]]:
    from opentelemetry.metrics import Observation

    def observe(_: "CallbackOptions") -> Iterable["Observation"]:
        blocklist = reference()
        if blocklist is None:
            return []
        try:
            value = figure(blocklist.status())
        except BlocklistError as error:
            log.warning("feed %s cannot be measured: %s", blocklist.feed, error)
            return []
        return [] if value is None else [Observation(value, {"feed": blocklist.feed})]

    return observe


def _counter(meter: "Meter") -> Callable[[SyncOutcome], None]:
    syncs = meter.create_counter("blocklist.syncs", unit="{sync}", description="Syncs by outcome")
    size = meter.create_counter("blocklist.sync.size", unit="By", description="Bytes that syncs fetched")
    duration = meter.create_histogram("blocklist.sync.duration", unit="s", description="How long syncs took")

    def count(outcome: SyncOutcome) -> None:
        attributes = {"feed": outcome.feed, "outcome": outcome.name}
        syncs.add(1, attributes)
        size.add(outcome.bytes, attributes)
        duration.record(outcome.seconds, attributes)

    return count


def _since(moment: datetime | None) -> float | None:
    return None if moment is None else max(0.0, (times.now() - moment).total_seconds())


def _until(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - times.now()).total_seconds()
