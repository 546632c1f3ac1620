"""``sync --watch`` in a process of its own: a line for each sync, and an end within a second of a signal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from blocklist_sdk import InvalidInput
from blocklist_sdk.cli.watch import duration
from support.command_line import assert_fails, run
from support.loopback import Handler, answering
from support.waiting import until
from support.world import FEED, FIRST, SECOND, World, copy_world, make_world

PROGRAM = """
import signal
# Test runs in the background are started with Ctrl-C ignored, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from blocklist_sdk.cli import main
main()
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def settings(world: World, url: str | None = None) -> dict[str, str]:
    return {
        "BLOCKLIST_URL": url or world.url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_METRICS_FILE": str(world.directory / "blocklist.prom"),
    }


@contextmanager
def watching(env: dict[str, str], *arguments: str, prelude: str = "") -> Iterator["subprocess.Popen[str]"]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    with subprocess.Popen(
        [sys.executable, "-c", prelude + PROGRAM, "sync", "--watch", *arguments],
        env={**inherited, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline()


def errors_of(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    return process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_line_for_each_sync_until_a_signal(world: World, number: signal.Signals) -> None:
    with watching(settings(world), "--every", "0.2") as process:
        assert f"{FEED}: release 1 by snapshot: {len(FIRST):,} added" in line_of(process)
        world.release(SECOND)
        while "release 1 → 2 by delta" not in (line := line_of(process)):
            assert "up to date at release 1" in line
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert errors_of(process) == ""
    assert 'blocklist_syncs_total{feed="id-telkomsel",outcome="delta"} 1' in metrics(world)


def metrics(world: World) -> list[str]:
    return (world.directory / "blocklist.prom").read_text().splitlines()


def test_json_has_a_line_for_each_sync_too_for_one_that_failed(world: World) -> None:
    with watching(settings(world), "--every", "1h", "--json") as process:
        document = json.loads(line_of(process))
        assert document.pop("at").endswith("Z")
        assert (document["feed"], document["kind"], document["after"]) == (FEED, "snapshot", 1)
        process.terminate()
        assert process.wait(timeout=60) == 0
    fresh = {"BLOCKLIST_CACHE_DIR": str(world.directory / "another")}
    with (
        answering(world.repository, lambda handler: handler.fail(404)) as (url, _),
        watching({**settings(world, url), **fresh}, "--json") as process,
    ):
        document = json.loads(line_of(process))
        assert document["error"]["type"] == "Unreachable"
        assert "404" in document["error"]["message"]
        process.terminate()
        assert process.wait(timeout=60) == 0
        told = errors_of(process)
    assert told.count("\n") == 1
    assert "1 in a row, the next one is at 20" in told
    assert "404" in told


def test_what_is_not_permitted_is_tried_again_later_and_later(world: World) -> None:
    """An account may be permitted more tomorrow, so a service stays."""
    with (
        answering(world.repository, lambda handler: handler.fail(403)) as (url, asked),
        watching(settings(world, url), "--json") as process,
    ):
        assert json.loads(line_of(process))["error"]["type"] == "NotPermitted"
        assert len(asked) < 5
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert "1 in a row, the next one is at 20" in errors_of(process)
    assert 'blocklist_syncs_total{feed="id-telkomsel",outcome="not-permitted"} 1' in metrics(world)


def stalled(handler: Handler) -> bool:
    return handler.path.endswith(".parquet") and handler.hang()


@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_running_download(world: World, number: signal.Signals) -> None:
    with answering(world.repository, stalled) as (url, asked), watching(settings(world, url)) as process:
        until(lambda: process.poll() is not None or any(path.endswith(".parquet") for path in asked))
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=20) == 0  # its minimum rate alone would give it 30 seconds
        assert errors_of(process) == ""
    # The next process starts from the beginning, without help.
    assert run("sync", env=settings(world)).code == 0


SLOW = """
import sys, time
from blocklist_sdk.recipient.sync import build

def slow(*arguments, **options):
    print("reading", flush=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        pass

build.read_base = slow
"""


def test_a_signal_ends_what_cannot_be_cut(world: World) -> None:
    """The process ends, and the next sync works."""
    with watching(settings(world), prelude=SLOW) as process:
        assert line_of(process) == "reading\n"
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert errors_of(process) == ""
    ran = run("sync", env=settings(world))
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.timing
def test_signals_at_random_moments_end_it_with_0_and_leave_a_whole_list(world: World) -> None:
    for turn in range(6):
        world.release(SECOND if turn % 2 else FIRST)
        with watching(settings(world), "--every", "0.05") as process:
            line_of(process)
            time.sleep(0.03 * turn)
            process.terminate()
            assert process.wait(timeout=60) == 0, errors_of(process)
        ran = run("sync", env=settings(world))
        assert (ran.code, ran.err) == (0, "")


def test_a_reader_that_goes_away_ends_it(world: World) -> None:
    with watching(settings(world), "--every", "0.05") as process:
        line_of(process)
        assert process.stdout
        process.stdout.close()
        assert process.wait(timeout=60) == 141


def test_a_setting_that_is_wrong_ends_it_at_once(world: World) -> None:
    assert_fails(run("sync", "--watch", "--every", "soon", env=settings(world)), 2, "15m")
    assert_fails(run("sync", "--watch", "--every", "0", env=settings(world)), 2, "more than 0")
    assert_fails(run("sync", "--every", "1h", env=settings(world)), 2, "--watch")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("1.5h", 5400), ("1d", 86_400)]
)
def test_times_as_people_write_them(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "1w", "-1", "1e3", "1h30m", "٣", "1" * 30, "nan"])
def test_invalid_times(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a time"):
        duration(text)
