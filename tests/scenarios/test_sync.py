"""Publish, sync, check: deltas and snapshots give the same list, for one process and for many."""

import errno
import json
import queue
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blocklist_sdk import (
    Blocklist,
    InvalidInput,
    InvalidNumber,
    NotSynced,
    Publisher,
    StorageFailed,
    Unreachable,
    Untrusted,
)
from blocklist_sdk.recipient.cache.store import Store
from blocklist_sdk.recipient.verdicts import decide
from blocklist_sdk.records import Entry
from support.quick_processes import quick_processes
from support.scale import scaled
from support.world import (
    ADDED,
    FEED,
    FIRST,
    LISTED,
    PATIENT,
    SECOND,
    World,
    copy_world,
    half_a_second_later,
    is_whole,
    make_world,
    whole_releases_only,
)

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.sharedctypes import Synchronized
    from multiprocessing.synchronize import Event as EventType

    Strings = Queue[str]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def test_the_loop(world: World) -> None:
    with world.recipient() as recipient:
        for ask in (recipient.check, recipient.entries, recipient.__contains__):
            with pytest.raises(NotSynced, match="sync"):
                ask(LISTED)
        assert recipient.status().serial is None
        first = recipient.sync()
        assert (first.before, first.after, first.kind, first.added) == (None, 1, "snapshot", len(FIRST))
        assert recipient.sync().kind == "none"
        assert FIRST[7] in recipient
        world.release(SECOND)
        second = recipient.sync()
        assert (second.before, second.after, second.kind) == (1, 2, "delta")
        assert (second.added, second.removed, second.changed) == (1, 99, 0)
        assert second.bytes > 0
        assert FIRST[7] not in recipient
        assert ADDED in recipient


def test_several_deltas_write_one_overlay(world: World) -> None:
    with world.recipient() as recipient:
        recipient.sync()
        world.release(FIRST[10:])
        world.release([FIRST[3], *FIRST[20:], ADDED])
        assert recipient.sync().kind == "delta"
        assert [number in recipient for number in (*FIRST[:22], ADDED)] == [i == 3 or i >= 20 for i in range(22)] + [
            True
        ]
    opened = Store(world.directory / "cache" / FEED).open()
    assert opened is not None
    assert "changed-cells.arrow" in opened[0].files
    assert opened[0].is_whole()


def test_one_number_in_many_spellings(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    for text in ("0812-0000-0001", "+62 812 0000 0001", "6281200000001", "(0812) 00000001", "００62 81200000001"):
        assert text in recipient
    assert 6_281_200_000_001 in recipient
    for text in ("GoPay", "112", "0812-0000-000O", "", "+6281200000*"):
        with pytest.raises(InvalidNumber):
            recipient.check(text)
    with pytest.raises(InvalidNumber):
        recipient.check(10**15)


def test_a_verdict_says_everything(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    verdict = recipient.check(LISTED)
    assert verdict
    assert (verdict.blocked, verdict.level, verdict.reason) == (True, "block", "listed")
    assert (verdict.number, verdict.feed, verdict.serial, verdict.stale) == (6_281_200_000_001, FEED, 1, False)
    entry = verdict.entries[0]
    assert (entry.scope, entry.until, entry.last) == (frozenset({"sms", "voice"}), None, None)
    assert recipient.check(LISTED, scope="sms").reason == "listed"
    assert recipient.check(LISTED, scope="messaging").reason == "not-listed"
    assert not recipient.check(ADDED)
    with pytest.raises(InvalidInput, match="not a scope"):
        recipient.check(LISTED, scope="telepathy")  # type: ignore[arg-type]


def test_the_status(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    status = recipient.status()
    assert (status.serial, status.rows, status.stale, status.last_error) == (1, len(FIRST), False, None)
    assert status.expires is not None
    assert timedelta(hours=40) < status.expires - datetime.now(UTC) < timedelta(hours=49)


NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(level: str = "block", since: datetime = NOW - DAY, until: datetime | None = None) -> Entry:
    return Entry(1, None, 1, level, "fraud", "komdigi", frozenset({"sms"}), since, until, "id-all")


@pytest.mark.parametrize(
    ("entries", "decision"),
    [
        ([], (None, "not-listed")),
        ([entry()], ("block", "listed")),
        ([entry("advisory")], ("advisory", "advisory")),
        ([entry("advisory"), entry()], ("block", "listed")),
        ([entry("later-invention")], ("advisory", "advisory")),
        ([entry(until=NOW)], (None, "expired")),
        ([entry(until=NOW + DAY)], ("block", "listed")),
        ([entry(since=NOW)], ("block", "listed")),
        ([entry(since=NOW + DAY)], (None, "not-yet")),
        ([entry(since=NOW + DAY), entry(until=NOW)], (None, "expired")),
        ([entry(until=NOW), entry("advisory")], ("advisory", "advisory")),
    ],
)
def test_precedence(entries: list[Entry], decision: tuple[str | None, str]) -> None:
    assert decide(entries, NOW, published=NOW) == decision


def test_an_open_list_picks_up_what_another_fetched(world: World) -> None:
    reader, writer = world.recipient(), world.recipient()
    writer.sync()
    assert LISTED in reader
    world.release(SECOND)
    writer.sync()
    half_a_second_later(reader)
    assert ADDED in reader


def test_the_whole_list_as_arrow(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    table = recipient.to_arrow()
    assert table.num_rows == len(FIRST)
    assert table.column("number").to_pylist() == sorted(int(text) for text in FIRST)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"url": "ftp://exchange.example"}, "https:"),
        ({"url": "exchange.example"}, "https:"),
        ({"feed": "No Such Name"}, "not a feed name"),
        ({"feed": "../escape"}, "not a feed name"),
        ({"feed": "root"}, "not a feed name"),
        ({"root": "/nowhere/root.json"}, "cannot read the root"),
        ({"region": "XX"}, "XX"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, arguments: dict[str, Any], match: str) -> None:
    good: dict[str, Any] = {"url": "https://exchange.example", "feed": FEED, "root": b"{}", "cache_dir": tmp_path}
    values = {**good, **arguments}
    with pytest.raises(InvalidInput, match=match):
        Blocklist.open(values.pop("url"), **values)
    assert not list(tmp_path.iterdir())


def test_a_cache_directory_that_cannot_be_written(world: World) -> None:
    (world.directory / "cache").write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot use"):
        world.recipient().sync()


@pytest.mark.timing
def test_what_another_process_fetched_is_noticed_within_a_second(world: World) -> None:
    context = quick_processes()
    failures: Strings = context.Queue()

    def fetch_elsewhere() -> None:
        process = context.Process(target=sync_often, args=(world.directory, world.url, 1, failures))
        process.start()
        while process.is_alive():
            assert LISTED in reader
            process.join(0.05)
        assert process.exitcode == 0

    reader = open_shared(world.directory, world.url)
    reader.sync()
    world.release(SECOND)
    fetch_elsewhere()
    assert LISTED in reader
    time.sleep(1)
    assert ADDED in reader
    assert FIRST[1] not in reader
    assert failures.empty()


def sync_often(directory: Path, url: str, times: int, failures: "Strings") -> None:
    """What one of several processes does: sync again and again, and check the list."""
    recipient = open_shared(directory, url)
    for _ in range(times):
        try:
            recipient.sync(wait_s=120)
            wrong = whole_releases_only(recipient)
            if wrong:
                failures.put(wrong)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must see it
            failures.put(repr(error))
    recipient.close()


SYNCS = scaled(5, long=50)
"""Runs in each of six processes."""


def open_shared(directory: Path, url: str) -> Blocklist:
    return Blocklist.open(
        url,
        feed=FEED,
        root=directory / "publisher" / "root.json",
        region="ID",
        cache_dir=directory / "shared",
        transport=PATIENT,
    )


def read_only(directory: Path, url: str, stop: "EventType", failures: "Strings", seen: "Synchronized[int]") -> None:
    """What a process does that never syncs: check every generation that appears, and count them."""
    recipient = open_shared(directory, url)
    serials: set[int] = set()
    wrong = None
    while wrong is None and not stop.wait(0.005):
        try:
            wrong = whole_releases_only(recipient)
            if not is_whole(recipient):
                wrong = f"the rows of a generation around release {recipient.status().serial} lack its digest"
            serials.add(recipient.check(LISTED).serial)
            seen.value = len(serials)
        except NotSynced:
            continue
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must see it
            wrong = repr(error)
    if wrong:
        failures.put(wrong)


@pytest.mark.timing
def test_six_processes_on_one_cache(world: World) -> None:
    """Syncs by the hundred while the publisher goes back and forth: none fails, and all see whole releases only.

    Nor do two more processes that only read.
    """
    context = quick_processes()
    failures = context.Queue()
    stop = context.Event()
    seen = [context.Value("i", 0) for _ in range(2)]
    readers = [
        context.Process(target=read_only, args=(world.directory, world.url, stop, failures, count), daemon=True)
        for count in seen
    ]
    for reader in readers:
        reader.start()
    processes = [
        context.Process(target=sync_often, args=(world.directory, world.url, SYNCS, failures)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    serial = 1

    def release_next() -> None:
        nonlocal serial
        serial += 1
        world.release(SECOND if serial % 2 == 0 else FIRST)
        processes[0].join(0.2)

    while any(process.is_alive() for process in processes):
        release_next()
    final = open_shared(world.directory, world.url)
    # However slow they are, or however fast the others were.
    while any(reader.is_alive() and count.value < 3 for reader, count in zip(readers, seen, strict=True)):
        release_next()
        final.sync()
    stop.set()
    for reader in readers:
        reader.join()
    found = []
    try:
        while True:
            found.append(failures.get(timeout=0.2))
    except queue.Empty:
        pass
    assert found == []
    assert [process.exitcode for process in (*processes, *readers)] == [0] * 8
    final.sync()
    assert final.status().serial == serial


@pytest.fixture
def real_lists(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "ftc").glob("ftc-*.csv.gz"))


def test_real_lists_forwards_and_backwards(real_lists: list[Path], tmp_path: Path) -> None:
    """Recipients that take deltas and those that take the snapshot have the same digest and give the same answers."""
    assert len(real_lists) == 3
    lists = real_lists[scaled(1, long=0) :]
    publisher = Publisher.init(tmp_path / "publisher", feeds=["us-all"], passphrase="generated for a test", region="US")
    url = (tmp_path / "publisher" / "repository").as_uri()

    def recipient(cache: str) -> Blocklist:
        return Blocklist.open(
            url, feed="us-all", root=tmp_path / "publisher" / "root.json", region="US", cache_dir=tmp_path / cache
        )

    follower = recipient("follower")
    order = [*lists, *lists[-2::-1]]
    kinds = []
    for serial, path in enumerate(order, start=1):
        report = publisher.release("us-all", path)
        assert report.invalid > 0
        assert report.rejects_path is not None
        kinds.append(follower.sync().kind)
        newcomer = recipient(f"newcomer-{serial}")
        assert newcomer.sync().kind == "snapshot"
        assert follower.status().digest == newcomer.status().digest == report.digest
        left, right = follower.to_arrow(), newcomer.to_arrow()
        assert left.equals(right)
        numbers = left.column("number").to_pylist()
        for number in numbers[:: max(1, len(numbers) // 500)]:
            assert (number in follower) is (number in newcomer) is True
            assert follower.entries(number + 1) == newcomer.entries(number + 1)
    assert kinds == ["snapshot", *["delta"] * (len(order) - 1)]


def test_threads_share_one_list(world: World) -> None:
    """Eight threads ask while the generation is switched under them."""
    recipient = world.recipient()
    recipient.sync()
    stop = threading.Event()
    wrong: list[str] = []

    def ask() -> None:
        while not stop.wait(0.001):
            half_a_second_later(recipient)
            verdict = whole_releases_only(recipient)
            if verdict:
                wrong.append(verdict)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for serial in range(2, 7):
        world.release(SECOND if serial % 2 == 0 else FIRST)
        recipient.sync()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert recipient.check(LISTED).serial == 6


def test_an_open_list_goes_on_whatever_becomes_of_the_cache(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    pointer = world.directory / "cache" / FEED / "current.json"
    for content in ('{"format": 99}', "garbage", None):
        pointer.write_text(content) if content else pointer.unlink()
        half_a_second_later(recipient)
        assert LISTED in recipient


def test_a_state_that_cannot_be_written_stops_before_the_switch(world: World) -> None:
    """The highest serial must be on disk before that release is in force."""
    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)
    state = world.directory / "cache-state" / FEED / "state.json"
    state.unlink()
    state.mkdir()
    with pytest.raises(StorageFailed):
        recipient.sync()
    assert recipient.check(LISTED).serial == 1
    state.rmdir()
    assert recipient.sync().after == 2


def test_an_unexpected_failure_is_noted_before_it_is_raised(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours must be in the status and in the log, not only in the traceback."""
    recipient = world.recipient()
    recipient.sync()
    before = recipient.status()
    world.release(SECOND)

    def faulty(*_: object, **__: object) -> None:
        raise ZeroDivisionError("+6281234567890 in the text of another library's error")

    monkeypatch.setattr("blocklist_sdk.recipient.sync.run.plan", faulty)
    with pytest.raises(ZeroDivisionError):
        recipient.sync()
    status = recipient.status()
    assert status.last_error is not None
    assert status.last_error.startswith("ZeroDivisionError")
    assert "6281234567890" not in status.last_error
    assert status.last_attempt is not None
    assert before.last_attempt is not None
    assert status.last_attempt > before.last_attempt
    assert status.last_success == before.last_success
    assert (status.serial, LISTED in recipient) == (1, True)
    monkeypatch.undo()
    assert recipient.sync().after == 2


def test_the_mark_is_made_before_the_switch_and_after_the_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    recipient = world.recipient()
    recipient.sync()
    state = world.directory / "cache-state" / FEED / "state.json"
    world.release(SECOND)
    marks = []

    def failing(*_: object, **__: object) -> None:
        marks.append(json.loads(state.read_bytes())["highest_serial"])
        raise StorageFailed("the disk fell off", path=state)

    monkeypatch.setattr("blocklist_sdk.recipient.sync.run.plan", failing)
    with pytest.raises(StorageFailed):
        recipient.sync()
    monkeypatch.undo()
    monkeypatch.setattr(Store, "switch", failing)
    with pytest.raises(StorageFailed):
        recipient.sync()
    assert marks == [1, 2]


def test_a_switch_that_may_not_last_says_nothing_untrue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename is done, and only the flush that makes it survive a power cut fails: the new release answers."""
    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)

    def failing(path: Path) -> None:
        if path == world.directory / "cache" / FEED:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("blocklist_sdk.disk.sync_directory", failing)
    with pytest.raises(StorageFailed, match="Nothing half-written is in force") as caught:
        recipient.sync()
    assert "still is" not in str(caught.value)
    monkeypatch.undo()
    for each in (recipient, world.recipient()):
        assert each.status().serial == 2
        assert ADDED in each
    assert recipient.sync().kind == "none"


def test_credentials_in_the_url_never_show(world: World) -> None:
    recipient = world.recipient(url="http://user:s3cret@127.0.0.1:9")
    with pytest.raises(Unreachable) as caught:
        recipient.sync()
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(recipient.status())


def test_a_failure_after_the_switch_does_not_take_the_mark_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the release before would be accepted again after the cache was wiped."""
    recipient = world.recipient()
    recipient.sync()
    old = world.directory / "old"
    shutil.copytree(world.repository, old)
    world.release(SECOND)

    def failing(self: Store, *_: object, **__: object) -> None:
        raise StorageFailed("the disk fell off", path=self.directory)

    monkeypatch.setattr(Store, "_prune", failing)
    with pytest.raises(StorageFailed):
        recipient.sync()
    monkeypatch.undo()
    shutil.rmtree(world.directory / "cache")
    with pytest.raises(Untrusted, match="release 1"):
        world.recipient(url=old.as_uri()).sync()
