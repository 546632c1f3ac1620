"""OpenTelemetry: what a collector gets."""

import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import InvalidInput, Unreachable
from blocklist_sdk.recipient.otel import instrument
from support.loopback import answering
from support.world import FEED, FIRST, SECOND, World, copy_world, make_world

sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="needs opentelemetry-sdk")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


class Collected:
    """A meter provider, and what it has collected."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        self.reader = InMemoryMetricReader()
        self.provider = sdk.MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)

    def points(self) -> dict[str, dict[str | None, Any]]:
        """Data points by metric and outcome, now."""
        data = self.reader.get_metrics_data()
        found: dict[str, dict[str | None, Any]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        attributes: dict[str, Any] = dict(point.attributes or {})
                        assert attributes.pop("feed") == FEED
                        found.setdefault(metric.name, {})[attributes.pop("outcome", None)] = point
                        assert not attributes
        return found


def test_gauges_and_counters(world: World) -> None:
    collected = Collected()
    recipient = world.recipient()
    instrument(recipient, collected.provider)
    points = collected.points()
    assert points["blocklist.up"][None].value == 0
    assert "blocklist.serial" not in points
    recipient.sync()
    world.release(SECOND)
    result = recipient.sync()
    with answering(world.repository, lambda handler: handler.fail(404)) as (url, _):
        recipient.url = url
        with pytest.raises(Unreachable):
            recipient.sync()
    points = collected.points()
    assert points["blocklist.up"][None].value == 1
    assert points["blocklist.stale"][None].value == 0
    assert points["blocklist.serial"][None].value == 2
    assert points["blocklist.rows"][None].value == len(SECOND)
    assert points["blocklist.generation.size"][None].value == recipient.status().generation_bytes
    assert points["blocklist.age"][None].value >= 0
    assert points["blocklist.expires_in"][None].value > 0
    assert points["blocklist.last_success.age"][None].value >= 0
    assert {outcome: point.value for outcome, point in points["blocklist.syncs"].items()} == {
        "snapshot": 1,
        "delta": 1,
        "unreachable": 1,
    }
    assert points["blocklist.sync.size"]["delta"].value == result.bytes
    assert points["blocklist.sync.duration"]["snapshot"].count == 1
    collected.provider.shutdown()
    assert len(FIRST) != len(SECOND)


def test_a_list_that_is_gone_is_measured_no_more(world: World) -> None:
    collected = Collected()
    recipient = world.recipient()
    instrument(recipient, collected.provider)
    assert "blocklist.up" in collected.points()
    del recipient
    gc.collect()
    assert collected.points() == {}
    collected.provider.shutdown()


def test_without_opentelemetry_it_says_what_to_install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InvalidInput, match=r"pip install '\.\[otel\]'"):
        instrument(world.recipient())
