"""Syncing in the background: schedule, failures, restarts, several processes, stopping."""

import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocklist_sdk import InvalidInput, Locked, Stale, StorageFailed, Unreachable, Untrusted
from blocklist_sdk.fetch.stopping import StopSignal
from blocklist_sdk.recipient.background import BackgroundSync
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.cache.state import SyncState, load_state, save_state
from blocklist_sdk.recipient.sync_outcomes import SyncOutcome
from blocklist_sdk.records import SyncResult
from support.loopback import Handler, answering
from support.waiting import until
from support.world import (
    ADDED,
    FEED,
    SECOND,
    Forger,
    Recipient,
    World,
    assert_still_answers,
    copy_world,
    make_world,
    past,
    stranger,
)

pytestmark = pytest.mark.timing

SOON = 0.05
NEVER = 300.0 * 86_400
"""Longer than any test runs."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def heard(recipient: Recipient) -> list[SyncOutcome]:
    """A list that gets the outcome of every sync."""
    outcomes: list[SyncOutcome] = []
    recipient.add_listener(outcomes.append)
    return outcomes


def state_file(recipient: Recipient) -> Path:
    return internals_of(recipient).state_file


@contextmanager
def first_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The random offset is zero."""
    with monkeypatch.context() as patched:
        patched.setattr(BackgroundSync.__init__, "__kwdefaults__", {"draw": lambda: 0.0})
        yield


def test_a_feed_that_was_never_synced_comes_at_once_and_is_kept_up_to_date(world: World) -> None:
    with world.recipient() as recipient, recipient.keep_synced(SOON) as background:
        until(lambda: background.last_success is not None)
        assert ADDED not in recipient
        world.release(SECOND)
        until(lambda: recipient.status().serial == 2)
        assert ADDED in recipient
        assert background.last_error is None
    assert not background.is_running


def test_a_second_is_enough_between_syncs_for_other_lists(world: World) -> None:
    """Another list open on the same cache, as in another process, sees what the background fetches."""
    with world.recipient() as recipient, recipient.anew() as other, recipient.keep_synced(SOON):
        until(lambda: other.status().serial == 1)
        world.release(SECOND)
        until(lambda: ADDED in other)


def test_the_first_sync_of_a_synced_feed_waits_for_its_offset(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    outcomes = heard(recipient)
    before = datetime.now(UTC)
    with recipient.keep_synced(timedelta(seconds=NEVER)) as background:
        assert before <= background.next_attempt <= datetime.now(UTC) + timedelta(seconds=NEVER)
        assert background.last_success == recipient.status().last_success
    assert outcomes == []


@pytest.mark.parametrize("every", [0, -1.0, timedelta(0), float("nan"), 1e12])
def test_an_interval_that_cannot_be_is_refused(world: World, every: float) -> None:
    before = threading.active_count()
    with pytest.raises(InvalidInput):
        world.recipient().keep_synced(every)
    assert threading.active_count() == before


def test_a_failure_is_reported_and_the_list_goes_on_answering(world: World) -> None:
    world.recipient().sync()
    with answering(world.repository, lambda handler: handler.fail(404)) as (url, _):
        broken = world.recipient(url=url)
        outcomes = heard(broken)
        with broken.keep_synced(SOON) as background:
            until(lambda: background.last_error is not None)
            assert isinstance(background.last_error, Unreachable)
            # Not the interval any more, but the first wait after a failure.
            assert background.next_attempt > datetime.now(UTC) + timedelta(minutes=14)
            assert_still_answers(broken)
    assert [outcome.name for outcome in outcomes] == ["unreachable"]


@pytest.mark.parametrize(("attack", "error"), [("expired", Stale), ("forged", Untrusted)])
def test_signatures_that_do_not_hold_are_failures_too(world: World, attack: str, error: type) -> None:
    recipient = world.recipient()
    world.release(SECOND)
    recipient.sync()
    if attack == "expired":
        Forger(world).forge("timestamp", past)
    else:
        Forger(world).forge("timestamp", signers=[stranger()])
    with recipient.keep_synced(SOON) as background:
        until(lambda: background.last_error is not None)
    assert type(background.last_error) is error
    assert load_state(state_file(recipient)).failures == 1
    assert_still_answers(recipient, serial=2)


def test_a_restart_keeps_the_failures_and_the_wait(world: World) -> None:
    with answering(world.repository, lambda handler: handler.fail(503)) as (url, asked):
        recipient = world.recipient(url=url)
        with recipient.keep_synced(SOON) as background:
            until(lambda: background.last_error is not None)
        due, count = background.next_attempt, len(asked)
        # As after a restart: another object, the same directories.
        with recipient.anew().keep_synced(SOON) as again:
            assert again.next_attempt == due
            time.sleep(5 * SOON)
            assert len(asked) == count
        # Two more failures later the wait is four times the first.
        for failures in (2, 3):
            state = load_state(state_file(recipient))
            save_state(state_file(recipient), dataclasses.replace(state, next_attempt=datetime.now(UTC)))
            with recipient.anew().keep_synced(SOON) as later:
                until(lambda: later.last_error is not None)
            assert load_state(state_file(recipient)).failures == failures
        left = later.next_attempt - datetime.now(UTC)
        assert timedelta(minutes=59) < left < timedelta(minutes=121)


def test_one_success_ends_the_waiting(world: World) -> None:
    recipient = world.recipient()
    save_state(state_file(recipient), SyncState(failures=9, next_attempt=datetime.now(UTC)))
    with recipient.keep_synced(NEVER) as background:
        until(lambda: background.last_success is not None)
    state = load_state(state_file(recipient))
    assert (state.failures, state.next_attempt) == (0, None)


def test_a_sync_by_hand_ends_the_waiting_too(world: World) -> None:
    recipient = world.recipient()
    save_state(state_file(recipient), SyncState(failures=9, next_attempt=datetime.now(UTC) + timedelta(hours=20)))
    recipient.sync()
    assert load_state(state_file(recipient)).failures == 0


def test_the_servers_wish_is_kept_across_restarts(world: World) -> None:
    def wait_two_days(handler: Handler) -> bool:
        return handler.fail(503, retry_after="172800")

    with answering(world.repository, wait_two_days) as (url, asked):
        recipient = world.recipient(url=url)
        hour = timedelta(hours=1)
        with recipient.keep_synced(hour) as background:
            until(lambda: background.last_error is not None)
        # One answer that nobody signed buys two intervals, not two days.
        left = background.next_attempt - datetime.now(UTC)
        assert 1.7 * hour < left <= 2 * hour
        assert len(asked) == 1
        with recipient.anew().keep_synced(hour) as again:
            assert again.next_attempt == background.next_attempt


def test_processes_on_one_cache_share_the_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process does not sync if another one has done so meanwhile."""
    recipient = world.recipient()
    recipient.sync()
    outcomes = heard(recipient)
    with first_at_once(monkeypatch):
        wakes = threading.Event()
        original = BackgroundSync._turn

        def turn(self: BackgroundSync) -> None:
            recipient.anew().sync()  # the other process
            original(self)
            wakes.set()

        monkeypatch.setattr(BackgroundSync, "_turn", turn)
        with recipient.keep_synced(3600) as background:
            assert wakes.wait(60)
            until(lambda: background.next_attempt > datetime.now(UTC))
    assert outcomes == []
    assert background.next_attempt >= datetime.now(UTC) + timedelta(minutes=59)


def test_a_lock_that_another_process_holds_is_not_a_failure_of_the_feed(world: World) -> None:
    recipient = world.recipient()
    with internals_of(recipient).store.lock(1), recipient.keep_synced(3600) as background:
        until(lambda: background.last_error is not None)
        assert isinstance(background.last_error, Locked)
        assert background.next_attempt > datetime.now(UTC) + timedelta(minutes=14)
    assert load_state(state_file(recipient)) == SyncState()


def stalled(handler: Handler) -> bool:
    return handler.path.endswith(".parquet") and handler.hang()


def test_stopping_cuts_a_running_download(world: World) -> None:
    world.recipient().sync()
    world.release(SECOND)
    with answering(world.repository, stalled) as (url, asked):
        # With long timeouts, so that only the stop ends the download.
        recipient = Recipient.open(
            url,
            feed=FEED,
            root=world.publisher.root,
            region="ID",
            cache_dir=world.directory / "cache",
            state_dir=world.directory / "cache-state",
        )
        outcomes = heard(recipient)
        before = load_state(state_file(recipient))
        save_state(state_file(recipient), dataclasses.replace(before, last_success=None))
        background = recipient.keep_synced(NEVER)
        until(lambda: any(path.endswith(".parquet") for path in asked))
        background.stop()
        assert not background.is_running
        # Not a failure: nothing is recorded, and the next sync works as usual.
        assert outcomes == []
        assert load_state(state_file(recipient)).failures == 0
        assert load_state(state_file(recipient)).last_error is None
    recipient.url = world.url
    assert recipient.status().serial == 1
    assert recipient.sync().after == 2


def test_stopping_ends_a_wait_at_once_and_may_be_repeated(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    with recipient.keep_synced(NEVER) as background:
        assert background.is_running
        background.stop()
        assert not background.is_running
        background.stop()


def test_stopping_does_not_wait_for_what_cannot_be_cut(world: World) -> None:
    going_on, may_end = threading.Event(), threading.Event()

    def reading(stop: StopSignal) -> SyncResult:
        going_on.set()
        may_end.wait(60)
        return SyncResult(None, 1, "none", 0, 0, 0, 0, 0)

    recipient = world.recipient()
    background = background_of(recipient, reading)
    assert going_on.wait(60)
    background.stop()
    assert background.is_running
    may_end.set()
    until(lambda: not background.is_running)


def background_of(recipient: Recipient, sync: Callable[[StopSignal], SyncResult]) -> BackgroundSync:
    return BackgroundSync(
        sync,
        feed=FEED,
        every=timedelta(seconds=SOON),
        store=internals_of(recipient).store,
        state_file=state_file(recipient),
        upkeep=internals_of(recipient).upkeep.upkeep,
        draw=lambda: 0.0,
    )


def test_nothing_ends_it_silently(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a sync raises is logged without its text, counted, and tried again."""
    recipient = world.recipient()
    calls: list[StopSignal] = []

    def broken(stop: StopSignal) -> SyncResult:
        calls.append(stop)
        raise ZeroDivisionError("about +6281234567890, a generated number")

    monkeypatch.setattr("blocklist_sdk.recipient.background.backoff_s", lambda failures, **_: SOON)
    with background_of(recipient, broken) as background:
        until(lambda: len(calls) > 3)
        assert background.last_error is not None
        assert isinstance(background.last_error.__cause__, ZeroDivisionError)
    assert load_state(state_file(recipient)).failures >= 3
    assert "unexpected ZeroDivisionError" in caplog.text
    assert "1234567890" not in caplog.text


def test_a_broken_log_does_not_end_it(world: World) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left for logs")

    def unreachable(stop: StopSignal) -> SyncResult:
        raise Unreachable("no server answers", url="http://127.0.0.1")

    logger = logging.getLogger("blocklist_sdk.recipient.background")
    handler = Broken(logging.WARNING)
    logger.addHandler(handler)
    try:
        with background_of(world.recipient(), unreachable) as background:
            until(lambda: background.last_error is not None)
            time.sleep(2 * SOON)
            assert background.is_running
            assert background.next_attempt > datetime.now(UTC) + timedelta(minutes=10)
    finally:
        logger.removeHandler(handler)


def test_a_listener_that_fails_disturbs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    recipient = world.recipient()

    def broken(outcome: SyncOutcome) -> None:
        raise RuntimeError("a bug of the caller's, about +6281234567890")

    recipient.add_listener(broken)
    outcomes = heard(recipient)
    assert recipient.sync().after == 1
    assert [outcome.name for outcome in outcomes] == ["snapshot"]
    assert "unexpected RuntimeError" in caplog.text
    assert "1234567890" not in caplog.text


def test_a_wait_that_cannot_be_written_down_is_kept_nevertheless(world: World) -> None:
    recipient = world.recipient()
    state_file(recipient).parent.parent.mkdir(parents=True, exist_ok=True)
    state_file(recipient).parent.write_text("in the way")

    def failing(stop: StopSignal) -> SyncResult:
        raise StorageFailed("the disk refused", path=Path("nowhere"))

    with background_of(recipient, failing) as background:
        until(lambda: not background._is_remembered)
        for failures in (2, 3, 4):
            background._turn()
            left = background.next_attempt - datetime.now(UTC)
            assert left > timedelta(minutes=15 * 2 ** (failures - 1) - 1)


def test_a_damaged_state_is_mended_by_the_next_sync(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    document = json.loads(state_file(recipient).read_text())
    state_file(recipient).write_text(json.dumps({**document, "next_attempt": "2026-01-01T00:00:00", "failures": 1}))
    with recipient.keep_synced(SOON) as background:
        until(lambda: background.last_success is not None)
    assert background.last_error is None
    assert json.loads(state_file(recipient).read_text())["next_attempt"] is None


def test_a_forked_process_has_no_part_in_it(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    with recipient.keep_synced(NEVER) as background:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            background.stop()
            os.write(writing, b"running" if background.is_running else b"left alone")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"left alone"
        assert background.is_running
        os.close(reading)
        os.close(writing)
