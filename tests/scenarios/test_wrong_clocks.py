"""Recipients whose clock is wrong: each size has its outcome, and whoever asks is told how far off the clock is.

All numbers are generated.
"""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import AsyncBlocklist, Blocklist, Blocklists, Refused, Stale
from blocklist_sdk.enforcement import enforce
from blocklist_sdk.publisher import Timing, serving
from blocklist_sdk.recipient.metrics import parse, write_metrics
from support.clock import Clock
from support.command_line import assert_fails, run
from support.memory_sink import MemorySink
from support.waiting import until
from support.world import FEED, FIRST, LISTED, Recipient, World, copy_world, half_a_second_later, make_world, unguarded

DAY = timedelta(days=1)
PROGRAM = "import sys; from blocklist_sdk.cli import main; main()"
REMEDY = "Set it right (NTP)"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(datetime.now(UTC))
    clock.install(monkeypatch)
    return clock


@pytest.fixture
def off(clock: Clock) -> Callable[[timedelta], int]:
    """Sets the clock off by a time, and returns about how many seconds it is behind."""
    right = clock.now

    def set_off(by: timedelta) -> int:
        clock.at_s = (right + by).timestamp()
        return round(-by.total_seconds())

    return set_off


@pytest.fixture
def env(world: World, tmp_path: Path) -> Iterator[dict[str, str]]:
    with serving(world.repository) as url:
        yield {
            "BLOCKLIST_URL": url,
            "BLOCKLIST_FEED": FEED,
            "BLOCKLIST_ROOT": str(world.publisher.root),
            "BLOCKLIST_REGION": "ID",
            "BLOCKLIST_CACHE_DIR": str(tmp_path / "cache"),
        }


def synced_long_ago(world: World, off: Callable[[timedelta], int]) -> Recipient:
    """A recipient that synced with the right clock; its clock is set an hour back afterwards."""
    recipient = world.recipient()
    recipient.sync()
    off(timedelta(hours=-1))
    half_a_second_later(recipient)
    return recipient


SIZES = [
    (timedelta(days=-400), 6, "days"),
    (timedelta(days=-10), 6, "days"),
    (timedelta(hours=-23), 0, r"2(2:5\d:\d\d|3:00:00) behind"),
    (timedelta(seconds=-70), 0, None),
    (timedelta(minutes=2), 0, None),
    (timedelta(days=366), 5, "ahead of the server's"),
]
"""A clock, the exit code of a first sync by it, and words that say how far off it is."""


@pytest.mark.parametrize(("by", "code", "words"), SIZES)
def test_each_clock_has_its_outcome(
    env: dict[str, str], off: Callable[[timedelta], int], by: timedelta, code: int, words: str | None
) -> None:
    off(by)
    ran = run("sync", env=env)
    assert ran.code == code, ran.err
    if words is None:
        assert ran.err == ""
    else:
        assert re.search(words, ran.err)
    if code == 6:
        for cause in ("publisher's clock is ahead", "this machine's is behind"):
            assert cause in ran.err
    if code == 5:
        assert "366 days" in ran.err or "365 days" in ran.err
        assert "set it right" in ran.err
    if code == 0 and by < timedelta(minutes=-5):
        assert REMEDY in ran.err
    told = run("status", "--json", env=env).document["clock_behind_s"]
    assert (told is None) is (by > timedelta(minutes=-5))
    assert told is None or abs(told + by.total_seconds()) < 600
    assert run("status", "--require-fresh", env=env).code == (5 if code or by < timedelta(minutes=-5) else 0)


def test_every_command_says_it(
    env: dict[str, str],
    clock: Clock,
    off: Callable[[timedelta], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert enforce.__kwdefaults__ is not None
    monkeypatch.setitem(enforce.__kwdefaults__, "clock", lambda: clock.now)
    off(timedelta(hours=-2))
    behind = "this machine's clock is 1:5"
    sink, metrics, numbers = tmp_path / "drop", tmp_path / "blocklist.prom", tmp_path / "numbers.csv"
    sink.mkdir()
    numbers.write_text(f"number\n{LISTED}\n")
    first, again = run("sync", env=env), run("sync", "--metrics-file", str(metrics), env=env)
    assert "up to date" in again.out
    ran = [first, again, run("status", env=env), run("check", LISTED, env=env), run("explain", LISTED, env=env)]
    ran += [run("screen", numbers, "-o", tmp_path / "out.csv", env=env)]
    ran += [run("enforce", "--sink", sink.as_uri(), env=env)]
    for each in ran:
        assert behind in each.out + each.err
        assert REMEDY in each.out + each.err
    assert [each.code for each in ran] == [0, 0, 0, 1, 1, 0, 0]
    figures = parse(metrics.read_text(), feed=FEED)
    assert 6_600 < figures["clock_behind_seconds", None] <= 7_200
    assert figures["age_seconds", None] == 0
    for words in (["sync"], ["check", LISTED], ["explain", LISTED], ["screen", numbers, "-o", tmp_path / "2.csv"]):
        assert 6_600 < run(*words, "--json", env=env).document["clock_behind_s"] <= 7_200
    enforced = run("enforce", "--sink", sink.as_uri(), "--json", env=env).document
    assert [each["kind"] for each in enforced["warnings"]] == ["clock"]
    assert_fails(run("check", LISTED, "--require-fresh", env=env), 5, "clock is 1:5", REMEDY)
    assert run("status", "--require-fresh", env=env).code == 5


def test_a_clock_that_is_set_back_after_a_sync_is_noticed(
    world: World, clock: Clock, off: Callable[[timedelta], int], caplog: pytest.LogCaptureFixture
) -> None:
    """The release is older than the clock shows, so only the last sync proves it."""
    clock.at_s += DAY.total_seconds()
    right = clock.now
    recipient = world.recipient()
    recipient.sync()
    assert recipient.check(LISTED).clock_behind_s is None
    clock.at_s = (right - timedelta(hours=3)).timestamp()
    half_a_second_later(recipient)
    for each in (recipient, recipient.anew()):
        assert each.check(LISTED).clock_behind_s == 3 * 3600
        assert each.status().clock_behind_s == 3 * 3600
        assert each.explain(LISTED).verdict.clock_behind_s == 3 * 3600
    caplog.clear()
    assert recipient.sync().clock_behind_s == 3 * 3600
    assert REMEDY in caplog.text
    # Whatever the clock was then, a sync that goes well starts from the clock as it is.
    assert recipient.sync().clock_behind_s is None


def test_a_refused_release_proves_it_too(world: World, off: Callable[[timedelta], int]) -> None:
    off(-10 * DAY)
    recipient = world.recipient()
    with pytest.raises(Refused, match="from now"):
        recipient.sync()
    behind_s = recipient.status().clock_behind_s
    assert behind_s is not None
    assert abs(behind_s - 864_000) < 600
    off(timedelta(0))
    recipient.sync()
    assert recipient.status().clock_behind_s is None


def test_a_dry_run_changes_nothing_of_it(world: World, off: Callable[[timedelta], int]) -> None:
    off(-10 * DAY)
    recipient = world.recipient()
    assert recipient.dry_run().refusals
    assert recipient.status().clock_behind_s is None


def test_a_list_that_raises_when_stale_raises(world: World, off: Callable[[timedelta], int]) -> None:
    serves = synced_long_ago(world, off)
    raises = Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "cache-state",
        when_stale="raise",
    )
    assert LISTED in serves
    questions: list[Callable[[], object]] = [
        lambda: LISTED in raises,
        lambda: raises.check(LISTED),
        lambda: raises.entries(LISTED),
        lambda: raises.explain(LISTED),
        lambda: raises.screen(pa.array([LISTED])),
        raises.to_arrow,
    ]
    for ask in questions:
        with pytest.raises(Stale, match=r"clock is .* behind"):
            ask()
    off(timedelta(0))
    assert LISTED in raises
    # What answered a moment ago does not go on to when the clock is set back.
    off(timedelta(minutes=-30))
    with pytest.raises(Stale, match="behind"):
        assert LISTED in raises
    off(timedelta(minutes=-4))
    assert LISTED in raises


def test_the_log_says_it_once_an_hour(
    world: World, off: Callable[[timedelta], int], caplog: pytest.LogCaptureFixture
) -> None:
    recipient = synced_long_ago(world, off)
    caplog.clear()
    for _ in range(3):
        assert LISTED in recipient
        recipient.check(LISTED)
    assert [record.levelno for record in caplog.records if REMEDY in record.message] == [logging.WARNING]


def test_several_feeds_and_tasks_say_it(world: World, off: Callable[[timedelta], int]) -> None:
    world.release(FIRST[:50], "id-messaging")
    other = world.recipient(feed="id-messaging")
    other.sync()
    recipient = synced_long_ago(world, off)
    half_a_second_later(other)
    both = Blocklists([other, recipient])
    verdict = both.check(LISTED)
    assert verdict.clock_behind_s is not None
    assert abs(verdict.clock_behind_s - 3600) < 60
    results = both.sync()
    assert all(not isinstance(each, Exception) and each.clock_behind_s for each in results.values())
    off(timedelta(hours=-2))
    half_a_second_later(recipient)

    assert AsyncBlocklist(recipient).check(LISTED).clock_behind_s

    async def sync() -> int | None:
        return (await AsyncBlocklist(recipient).sync()).clock_behind_s

    assert asyncio.run(sync())


def test_syncs_in_the_background_say_it(
    world: World, off: Callable[[timedelta], int], caplog: pytest.LogCaptureFixture
) -> None:
    off(timedelta(hours=-2))
    recipient = world.recipient()
    with recipient.keep_synced(3600) as background:
        until(lambda: background.last_success is not None)
        assert background.last_success is not None
        assert background.next_attempt - background.last_success == timedelta(hours=1)
    assert "clock is 1:5" in caplog.text


@pytest.mark.parametrize("command", ["sync", "enforce"])
def test_services_say_it_while_they_run(world: World, env: dict[str, str], command: str, tmp_path: Path) -> None:
    """With the machine's own clock, which a publisher that is two hours ahead shows to be behind."""
    timing = Timing(clock=lambda: (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0))
    ahead = unguarded(world.directory / "publisher", timing=timing)
    World(world.directory, ahead, world.url).release(FIRST)
    (tmp_path / "drop").mkdir()
    sink = [] if command == "sync" else ["--sink", (tmp_path / "drop").as_uri()]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, command, "--watch", *sink],
        env=os.environ | env,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "clock is" in line:
                    break
            else:
                pytest.fail("it ended without a word on the clock")
        finally:
            process.terminate()
    assert REMEDY in line


def test_enforcement_says_it_and_goes_on(world: World, clock: Clock, off: Callable[[timedelta], int]) -> None:
    recipient = synced_long_ago(world, off)
    sink = MemorySink()
    for is_dry in (True, False):
        result = enforce(recipient, sink, dry_run=is_dry, clock=lambda: clock.now)
        assert [each.kind for each in result.warnings if each.kind == "clock"] == ["clock"]
    assert len(sink.held) == len(FIRST)
    off(timedelta(0))
    half_a_second_later(recipient)
    assert all(each.kind != "clock" for each in enforce(recipient, sink, clock=lambda: clock.now).warnings)


def test_no_age_is_negative(world: World, off: Callable[[timedelta], int], tmp_path: Path) -> None:
    recipient = synced_long_ago(world, off)
    write_metrics(tmp_path / "b.prom", recipient.status())
    figures = parse((tmp_path / "b.prom").read_text(), feed=FEED)
    assert min(value for (name, _), value in figures.items() if "age" in name) >= 0


def test_a_state_from_before_is_read(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    (file,) = (world.directory / "cache-state").rglob("state.json")
    document = json.loads(file.read_text())
    assert document.pop("offered_at")
    file.write_text(json.dumps(document))
    assert recipient.sync().kind == "none"
    assert json.loads(file.read_text())["offered_at"]
