"""Figures for Prometheus: what they say, that they outlive processes, and that Prometheus can read the file."""

import json
import re
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import InvalidInput, Refused, Status, StorageFailed, SyncResult, Unreachable
from blocklist_sdk.recipient.metrics import parse, render, write_metrics
from blocklist_sdk.recipient.sync_outcomes import OUTCOMES, SyncOutcome, outcome_of
from support.command_line import assert_fails, run
from support.loopback import answering
from support.world import FEED, FIRST, Forger, World, copy_world, make_world, past

NOW = datetime(2026, 8, 13, 15, 36, 13, tzinfo=UTC)
IN_FORCE = Status(
    feed=FEED,
    serial=42,
    rows=1_234_567_890,
    digest="0" * 64,
    as_of=NOW - timedelta(hours=1),
    expires=NOW + timedelta(days=2),
    stale=False,
    generation_bytes=10**12,
    last_success=NOW,
    last_attempt=NOW,
    last_error=None,
)
NEVER_SYNCED = Status(FEED, None, None, None, None, None, True, None, None, None, None)

_SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<labels>(?:[a-z_]+="[^"\\\n]*"(?:,(?=[a-z]))?)+)\} '
    r"(?P<value>-?\d+(?:\.\d+)?)"
)

Samples = dict[str, float]
"""The values by metric, with the outcome in brackets if there is one."""


def strictly_parsed(text: str) -> Samples:
    """The text exposition format, as strictly as it is written down: help, type and samples of a metric together."""
    assert text.endswith("\n")
    found: Samples = {}
    described: set[str] = set()
    current = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current, _, meaning = line.removeprefix("# HELP ").partition(" ")
            assert meaning
            assert current not in described, "the lines of a metric stand together"
            described.add(current)
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name == current
            assert kind == ("counter" if name.endswith("_total") else "gauge")
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            assert sample["name"] == current
            labels = dict(re.findall(r'([a-z_]+)="([^"]*)"', sample["labels"]))
            assert labels.pop("feed") == FEED
            key = current.removeprefix("blocklist_") + (f"[{labels.pop('outcome')}]" if labels else "")
            assert not labels
            assert key not in found
            found[key] = float(sample["value"])
    return found


def also_by_the_official_parser(text: str) -> None:
    """Runs only if Prometheus's own client is installed."""
    try:
        from prometheus_client.parser import text_string_to_metric_families  # type: ignore[import-not-found]
    except ImportError:
        return
    families = list(text_string_to_metric_families(text))
    assert {sample.labels["feed"] for family in families for sample in family.samples} == {FEED}
    assert len([sample for family in families for sample in family.samples]) == len(strictly_parsed(text))


def metrics_of(path: Path) -> Samples:
    text = path.read_text()
    also_by_the_official_parser(text)
    return strictly_parsed(text)


def outcome(ended: SyncResult | Exception, *, bytes: int = 1000, seconds: float = 1.5) -> SyncOutcome:
    result = ended if isinstance(ended, SyncResult) else None
    error = ended if isinstance(ended, Exception) else None
    return SyncOutcome(FEED, outcome_of(ended), NOW, seconds, bytes, result, error)


def synced(kind: str = "delta") -> SyncOutcome:
    return outcome(SyncResult(41, 42, kind, 1, 2, 3, 1000, 1.5))  # type: ignore[arg-type]


UNREACHABLE = outcome(Unreachable("no server answers", url="http://127.0.0.1"), bytes=17, seconds=0.25)


def test_what_a_list_in_force_says() -> None:
    text = render(IN_FORCE, outcome=synced(), before={}, now=NOW)
    also_by_the_official_parser(text)
    found = strictly_parsed(text)
    assert found.pop("syncs_total[delta]") == 1
    assert {value for key, value in found.items() if key.startswith("syncs_total")} == {0}
    assert {key: value for key, value in found.items() if not key.startswith("syncs_total")} == {
        "up": 1,
        "stale": 0,
        "clock_behind_seconds": 0,
        "audit_contradicted": 0,
        "damaged": 0,
        "serial": 42,
        "rows": 1_234_567_890,
        "generation_bytes": 10**12,
        "age_seconds": 3600,
        "as_of_timestamp_seconds": (NOW - timedelta(hours=1)).timestamp(),
        "expires_timestamp_seconds": (NOW + timedelta(days=2)).timestamp(),
        "last_attempt_timestamp_seconds": NOW.timestamp(),
        "last_success_timestamp_seconds": NOW.timestamp(),
        "last_sync_success": 1,
        "last_sync_bytes": 1000,
        "last_sync_duration_seconds": 1.5,
    }


def test_damage_on_the_disk_is_shown_and_when_it_was_last_looked_for() -> None:
    read = replace(IN_FORCE, damaged=True, whole_at=NOW - timedelta(days=1))
    found = strictly_parsed(render(read, outcome=None, before={}, now=NOW))
    assert found["damaged"] == 1
    assert found["whole_timestamp_seconds"] == (NOW - timedelta(days=1)).timestamp()


def test_before_the_first_sync_there_is_nothing_to_measure_but_that() -> None:
    found = strictly_parsed(render(NEVER_SYNCED, outcome=None, before={}, now=NOW))
    assert found.pop("up") == 0
    assert found.pop("stale") == 1
    assert found.pop("audit_contradicted") == 0
    assert found.pop("damaged") == 0
    assert set(found) == {f"syncs_total[{name}]" for name in OUTCOMES}


def test_counters_go_on_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "blocklist.prom"
    for each in (synced(), synced("none"), UNREACHABLE, synced(), UNREACHABLE, outcome(Refused("a guard"))):
        write_metrics(path, IN_FORCE, outcome=each)
    found = metrics_of(path)
    assert (found["syncs_total[delta]"], found["syncs_total[none]"]) == (2, 1)
    assert (found["syncs_total[unreachable]"], found["syncs_total[refused]"]) == (2, 1)
    assert found["last_sync_success"] == 0


def test_a_look_at_the_status_takes_nothing_back(tmp_path: Path) -> None:
    path = tmp_path / "blocklist.prom"
    write_metrics(path, IN_FORCE, outcome=UNREACHABLE)
    before = metrics_of(path)
    write_metrics(path, replace(IN_FORCE, stale=True))
    after = metrics_of(path)
    moving = ("age_seconds", "stale")
    assert {key: after[key] for key in after if key not in moving} == {
        key: before[key] for key in before if key not in moving
    }
    assert (after["stale"], after["last_sync_bytes"], after["last_sync_duration_seconds"]) == (1, 17, 0.25)


def test_those_may_read_it_who_shall_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "blocklist.prom"
    write_metrics(path, IN_FORCE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    write_metrics(path, IN_FORCE, outcome=synced(), file_mode="0644")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["", "# HELP blocklist_up", '# HELP blocklist_up x\nblocklist_syncs_total{feed="'])
def test_a_damaged_file_is_started_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "blocklist.prom"
    path.write_text(damage)
    write_metrics(path, IN_FORCE, outcome=synced())
    assert metrics_of(path)["syncs_total[delta]"] == 1


@given(st.lists(st.sampled_from(OUTCOMES)), st.data())
def test_what_is_read_back_is_what_was_written(names: list[str], data: st.DataObject) -> None:
    before: dict[tuple[str, str | None], float] = {}
    for name in names:
        text = render(IN_FORCE, outcome=replace(synced(), name=name), before=before, now=NOW)
        before = parse(text, feed=FEED)
    assert {name: before.get(("syncs_total", name), 0) for name in OUTCOMES} == {
        name: names.count(name) for name in OUTCOMES
    }
    # A line that was cut is ignored, and the others are read.
    text = render(IN_FORCE, outcome=None, before=before, now=NOW)
    cut = data.draw(st.integers(0, len(text)))
    left = parse(text[:cut], feed=FEED)
    complete = parse(text, feed=FEED)
    assert all(left[key] == complete[key] for key in list(left)[:-1])


@pytest.mark.parametrize("feed", ["id-all", "other"])
def test_another_feeds_figures_are_not_ours(feed: str) -> None:
    text = render(replace(IN_FORCE, feed=feed), outcome=synced(), before={}, now=NOW)
    assert parse(text, feed=FEED) == {}


def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0\n")
    with pytest.raises(InvalidInput, match="not a metrics file"):
        write_metrics(path, IN_FORCE)
    assert path.read_text() == "root:x:0:0\n"


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="nowhere"):
        write_metrics(tmp_path / "nowhere" / "blocklist.prom", IN_FORCE)


# The commands.


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def env(world: World) -> dict[str, str]:
    return {
        "BLOCKLIST_URL": world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_METRICS_FILE": str(world.directory / "blocklist.prom"),
    }


def test_sync_and_status_write_it(world: World, env: dict[str, str]) -> None:
    path = world.directory / "blocklist.prom"
    assert run("status", env=env).code == 0
    assert metrics_of(path)["up"] == 0
    assert run("sync", env=env).code == 0
    found = metrics_of(path)
    assert (found["up"], found["serial"], found["rows"]) == (1, 1, len(FIRST))
    assert (found["syncs_total[snapshot]"], found["last_sync_success"]) == (1, 1)
    assert found["last_sync_bytes"] > 1000
    named = world.directory / "other.prom"
    assert run("status", "--metrics-file", named, env=env).code == 0
    assert metrics_of(named)["serial"] == 1


def test_a_sync_that_fails_writes_it_too(world: World, env: dict[str, str]) -> None:
    path = world.directory / "blocklist.prom"
    assert run("sync", env=env).code == 0
    Forger(world).forge("timestamp", past)
    assert_fails(run("sync", env=env), 5, "expired")
    with answering(world.repository, lambda handler: handler.fail(503, retry_after="3600")) as (url, _):
        assert_fails(run("sync", "--url", url, env=env), 3, "503")
    found = metrics_of(path)
    assert (found["syncs_total[stale]"], found["syncs_total[unreachable]"]) == (1, 1)
    assert (found["last_sync_success"], found["up"]) == (0, 1)


def test_a_list_that_cannot_be_read_is_not_up(world: World, env: dict[str, str]) -> None:
    path = world.directory / "blocklist.prom"
    assert run("sync", env=env).code == 0
    state = world.directory / "cache" / ".state" / FEED / "state.json"
    state.write_text(json.dumps({"format": 999}))
    assert run("sync", env=env).code == 2
    found = metrics_of(path)
    assert (found["up"], found["syncs_total[invalid-input]"], found["syncs_total[snapshot]"]) == (0, 1, 1)


def test_figures_that_cannot_be_written_are_a_failure_after_the_sync(world: World, env: dict[str, str]) -> None:
    ran = run("sync", "--metrics-file", world.directory / "nowhere" / "x.prom", env=env)
    assert ran.code == 74
    assert "release 1 by snapshot" in ran.out
    assert "nowhere" in ran.err
    assert run("status", "--json", env=env).document["serial"] == 1
