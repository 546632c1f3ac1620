"""A ledger belongs to its sink: another sink under its name is refused, and one that lost everything is filled."""

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, InvalidInput, Malformed, Unreachable
from blocklist_sdk.cli.exit_codes import enforcement_code
from blocklist_sdk.enforcement import (
    Batch,
    EnforcementSettings,
    Ledger,
    Outcome,
    Sink,
    SinkIdentity,
    all_done,
    enforce,
    ledger_id,
    monthly_statement,
    open_sink,
    reconcile,
)
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.sink import PENDING, SinkUnavailable
from support.memory_sink import MemorySink
from support.world import FEED, World, make_world

NUMBERS = [f"+62812000020{i:02d}" for i in range(30)]
"""Generated."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def blocklist(world: World, tmp_path: Path) -> Iterator[Blocklist]:
    world.release(NUMBERS)
    with Blocklist.open(
        world.url,
        feed=FEED,
        root=world.publisher.root,
        region="ID",
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
        guard=None,
    ) as blocklist:
        blocklist.sync()
        yield blocklist


class NamedSink(MemorySink):
    """A sink that says which one it is."""

    def __init__(self, address: str, mark: str | None = None) -> None:
        super().__init__()
        self.address, self.mark = address, mark

    def identity(self) -> SinkIdentity:
        return SinkIdentity(self.address, self.mark)


class CursorSink(NamedSink):
    """A sink that keeps the number of the last batch, as a plug-in may."""

    last: int | None = None

    def apply(self, batch):  # type: ignore[no-untyped-def]
        outcomes = super().apply(batch)
        self.last = batch.number_in_ledger
        return outcomes

    def applied(self) -> int | None:
        return self.last

    def is_empty(self) -> bool:
        return not self.held


def kinds(result: object) -> list[str]:
    return [warning.kind for warning in result.warnings]  # type: ignore[attr-defined]


def test_another_address_is_refused_and_says_what_to_do(blocklist: Blocklist) -> None:
    one = NamedSink("hlr://one")
    enforce(blocklist, one)
    other = NamedSink("hlr://two")
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match="belongs to hlr://one, not to hlr://two") as error:
            enforce(blocklist, other, dry_run=dry_run)
        assert all(word in str(error.value) for word in ("--name", "--adopt", "--reconcile"))
    assert not other.seen
    with pytest.raises(InvalidInput, match="does not say what it is"):
        enforce(blocklist, MemorySink())
    with pytest.raises(InvalidInput, match="but it is empty"):
        enforce(blocklist, other, adopt=True)
    other.held = dict(one.held)
    assert kinds(enforce(blocklist, other, adopt=True)) == ["adopted"]
    assert kinds(enforce(blocklist, other)) == []
    with pytest.raises(InvalidInput, match="belongs to hlr://two"):
        enforce(blocklist, NamedSink("hlr://one"))
    assert not other.seen


def test_another_name_has_a_ledger_of_its_own(blocklist: Blocklist) -> None:
    enforce(blocklist, NamedSink("hlr://one"))
    assert enforce(blocklist, NamedSink("hlr://two"), name="two").outcomes == {"enforced": 30}


def test_a_mark_tells_a_sink_that_moved_from_another_one(blocklist: Blocklist) -> None:
    enforce(blocklist, NamedSink("hlr://one", "a"))
    assert kinds(enforce(blocklist, NamedSink("hlr://moved", "a"))) == ["other address"]
    assert kinds(enforce(blocklist, NamedSink("hlr://moved", "a"))) == []
    with pytest.raises(InvalidInput, match="is not the directory that it was"):
        enforce(blocklist, NamedSink("hlr://moved", "b"))


def test_an_old_ledger_is_adopted_once_with_a_notice(blocklist: Blocklist) -> None:
    sink = NamedSink("hlr://one")
    enforce(blocklist, sink)
    path = ledger_path(blocklist, "default") / "ledger.json"
    document = json.loads(path.read_text())
    for name in ("sink", "mark", "cursor"):
        del document[name]
    path.write_text(json.dumps(document))
    assert kinds(enforce(blocklist, sink)) == ["adopted"]
    assert kinds(enforce(blocklist, sink)) == []


def test_a_cursor_decides_and_another_address_is_noted(blocklist: Blocklist) -> None:
    sink = CursorSink("db://primary")
    enforce(blocklist, sink)
    sink.address = "db://standby"
    assert kinds(enforce(blocklist, sink)) == ["other address"]
    assert kinds(enforce(blocklist, sink)) == []


def test_a_sink_that_lost_everything_is_filled_as_at_first(world: World, blocklist: Blocklist) -> None:
    sink = CursorSink("db://primary")
    enforce(blocklist, sink)
    sink.held.clear()
    sink.last = None
    dry = enforce(blocklist, sink, dry_run=True)
    assert (kinds(dry), dry.planned["block"]) == (["refilled"], 30)
    result = enforce(blocklist, sink)
    assert (kinds(result), result.outcomes, result.waiting) == (["refilled"], {"enforced": 30}, None)
    assert kinds(enforce(blocklist, sink)) == []
    # The number of the last batch is there, but nothing else is.
    sink.held.clear()
    assert enforce(blocklist, sink).outcomes == {"enforced": 30}


def test_a_sink_that_lost_some_batches_is_refused(world: World, blocklist: Blocklist) -> None:
    sink = CursorSink("db://primary")
    enforce(blocklist, sink)
    world.release(NUMBERS[1:])
    blocklist.sync()
    enforce(blocklist, sink)
    sink.last = 1
    with pytest.raises(Malformed, match="had acknowledged batch 2 before"):
        enforce(blocklist, sink)
    reconcile(blocklist, sink, repair=True)
    enforce(blocklist, sink)
    assert len(sink.held) == 29


def test_a_sink_that_something_else_has_filled_is_refused(blocklist: Blocklist) -> None:
    sink = CursorSink("db://primary")
    enforce(blocklist, sink)
    sink.last = None
    with pytest.raises(InvalidInput, match="does not know the ledger of 'default'"):
        enforce(blocklist, sink)
    other = CursorSink("db://other")
    with pytest.raises(InvalidInput, match="belongs to db://primary, not to db://other"):
        enforce(blocklist, other)
    assert kinds(enforce(blocklist, sink, adopt=True)) == ["adopted"]
    assert kinds(enforce(blocklist, sink)) == []


def test_reconciling_makes_the_ledger_that_of_the_sink(blocklist: Blocklist) -> None:
    enforce(blocklist, CursorSink("db://one"))
    other = CursorSink("db://two")
    assert reconcile(blocklist, other).missing == 30
    reconcile(blocklist, other, repair=True)
    result = enforce(blocklist, other)
    assert (result.outcomes, result.waiting, kinds(result)) == ({"enforced": 30}, None, [])


def test_a_drop_directory_that_was_made_anew_is_refused(blocklist: Blocklist, tmp_path: Path) -> None:
    def run(folder: str, *, adopt: bool = False) -> object:
        sink = open_sink((tmp_path / folder).as_uri(), feed=FEED)
        try:
            return enforce(blocklist, sink, adopt=adopt)
        finally:
            sink.close()

    run("drop")
    (tmp_path / "drop").rename(tmp_path / "moved")
    assert kinds(run("moved")) == ["other address"]
    with pytest.raises(InvalidInput, match="belongs to file://"):
        run("another")
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(InvalidInput, match="was made anew"):
        run("moved")
    assert not (tmp_path / "moved").exists()
    with pytest.raises(InvalidInput, match="but it is empty"):
        run("moved", adopt=True)
    assert not (tmp_path / "moved").exists()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://hlr.example/blocks?list=a&token=s3cret", "https://hlr.example/blocks?list=a"),
        ("https://hlr.example/b?operator_code=1&Key=s3cret", "https://hlr.example/b?operator_code=1"),
        ("https://hlr.example/b?monkey=b&keyspace=a&user=c", "https://hlr.example/b?keyspace=a&monkey=b&user=c"),
        ("postgresql://db/hlr?options=-csearch_path%3Dtwo", "postgresql://db/hlr?table=blocklist&search_path=two"),
        ("postgresql://me:pw@db.example:5433/hlr?table=a.b", "postgresql://db.example:5433/hlr?table=a.b"),
        ("redis://me:pw@cache.example:6380/2?prefix=p", "redis://cache.example:6380/2?prefix=p:id-telkomsel"),
    ],
)
def test_an_address_has_no_credentials(url: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKLIST_WEBHOOK_SECRET", "whsec_" + "QUFB" * 8)
    sink = open_sink(url, feed="id-telkomsel")
    assert sink.identity() == SinkIdentity(address)  # type: ignore[attr-defined]
    sink.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2/x@h/d",
        "postgresql://u:hun@ter2@h/d",
        "postgresql://u@h/d?password=hun%zter2",
        "postgresql:/u:hunter2@h/d",
        "postgresql://u:1234/hunter2@h/d",
        "postgresql://u@h/d?hunter2",
        "redis://:hun/ter2@h/0",
        "redis://:hun?ter2@h/0",
        "redis://:hun#ter2@h/0",
        "redis://u:hunter2",
        "redis://h/0?socket_timeout=hunter2",
        "kafka://u:hun/ter2@h:1/topic",
        "redis://[hunter2@h/0",
        "u:hunter2@h",
    ],
)
def test_a_url_that_cannot_be_read_strictly_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as error:
        open_sink(url, feed=FEED)
    assert "hun" not in str(error.value)
    assert "ter2" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://%2Ftmp/db",
        "postgresql:///db?host=/tmp",
        "postgresql://u:p%40w@h1:1,h2:2/d?options=-csearch_path%3Da",
        "postgresql://[::1]:5432/db",
        "redis://:a%2Fb@h/0",
        "rediss://h:1/0?health_check_interval=9",
    ],
)
def test_a_url_that_is_one_can_be_used(url: str) -> None:
    open_sink(url, feed=FEED).close()


def test_a_new_ledger_is_refused_with_a_sink_that_holds_something(
    blocklist: Blocklist, postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A sink that was given another name, or whose ledger was lost: what it holds would never be lifted."""
    for place, url in enumerate((postgres_url, redis_url, (tmp_path / "drop").as_uri())):
        sink = opened_sink(blocklist, url, f"first-{place}")
        assert enforce(blocklist, sink, name=f"first-{place}").warnings == ()
        other = opened_sink(blocklist, url, f"second-{place}")
        for dry_run in (True, False):
            with pytest.raises(InvalidInput, match="would never be lifted") as error:
                enforce(blocklist, other, name=f"second-{place}", dry_run=dry_run)
        assert all(word in str(error.value) for word in ("--name", "--reconcile --repair", "--adopt"))
        if not url.startswith("file:"):
            shutil.rmtree(ledger_path(blocklist, f"second-{place}"))
            with pytest.raises(InvalidInput, match="would never be lifted"):
                enforce(blocklist, other, name=f"second-{place}", dry_run=True)
            assert not ledger_path(blocklist, f"second-{place}").exists()
            assert not reconcile(blocklist, other, name=f"second-{place}", repair=True)
            assert enforce(blocklist, other, name=f"second-{place}").outcomes == {}
        sink.close()
        other.close()


def test_two_feeds_share_a_drop_directory(blocklist: Blocklist, tmp_path: Path) -> None:
    url = (tmp_path / "drop").as_uri()
    enforce(blocklist, opened_sink(blocklist, url))
    assert open_sink(url, feed="another").is_empty()  # type: ignore[attr-defined]
    assert not open_sink(url, feed=FEED).is_empty()  # type: ignore[attr-defined]
    for file in (tmp_path / "drop").glob("*.csv"):
        file.unlink()  # picked up
    assert kinds(enforce(blocklist, opened_sink(blocklist, url))) == []


class MuteSink:
    """A sink that can say nothing about itself, and may be away."""

    is_away = False

    def __init__(self, address: str) -> None:
        self.address = address

    def identity(self) -> SinkIdentity:
        return SinkIdentity(self.address)

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        if self.is_away:
            raise SinkUnavailable("no route")
        return all_done(batch)

    def close(self) -> None:
        pass


def test_a_sink_that_cannot_say_what_it_holds_is_warned_of_once(blocklist: Blocklist) -> None:
    sink = MuteSink("hlr://one")
    first = enforce(blocklist, sink)
    assert kinds(first) == ["not asked"]
    assert "--reconcile" in first.warnings[0].message
    assert kinds(enforce(blocklist, sink)) == []


def test_a_mistyped_address_does_not_bind_the_ledger(blocklist: Blocklist) -> None:
    wrong = MuteSink("hlr://onne")
    wrong.is_away = True
    for _ in range(2):
        with pytest.raises(Unreachable):
            enforce(blocklist, wrong, sleep=lambda _: None)
    right = MuteSink("hlr://one")
    result = enforce(blocklist, right)
    assert (kinds(result), result.outcomes) == ([], {"enforced": 30})
    with pytest.raises(InvalidInput, match="belongs to hlr://one, not to hlr://onne"):
        enforce(blocklist, wrong)
    wrong_server = opened_sink(blocklist, "redis://127.0.0.1:1/0", "cache")
    with pytest.raises(Unreachable):
        enforce(blocklist, wrong_server, name="cache", sleep=lambda _: None)
    assert json.loads((ledger_path(blocklist, "cache") / "ledger.json").read_text())["sink"] is None


def test_a_sink_that_returns_no_outcomes_is_named(blocklist: Blocklist) -> None:
    class Empty(MemorySink):
        def apply(self, batch: Batch) -> Sequence[Outcome]:
            return None  # type: ignore[return-value]

    with pytest.raises(Malformed, match="returned NoneType in place of a sequence of outcomes"):
        enforce(blocklist, Empty())


def test_a_refill_is_a_repair_and_no_cap_holds_it_back(blocklist: Blocklist) -> None:
    sink = CursorSink("db://primary")
    enforce(blocklist, sink)
    sink.held.clear()
    sink.last = None
    result = enforce(blocklist, sink, settings=EnforcementSettings(daily_cap=0))
    assert (kinds(result), result.outcomes, result.deferred) == (["refilled"], {"enforced": 30}, 0)
    assert len(sink.held) == 30
    del sink.held[int(NUMBERS[0])]
    reconcile(blocklist, sink, repair=True)
    result = enforce(blocklist, sink, settings=EnforcementSettings(daily_cap=0))
    assert (result.outcomes, result.deferred, len(sink.held)) == ({"enforced": 1}, 0, 30)
    now = datetime.now(UTC)
    with Ledger.read(ledger_path(blocklist, "default"), feed=FEED) as ledger:
        made = monthly_statement(ledger, f"{now:%Y-%m}", now=now + timedelta(seconds=1))
    assert (made.operations["block"].received, made.operations["block"].enforced) == (30, 30)
    assert (made.repairs.received, made.repairs.blocked) == (31, 31)


def test_what_a_sink_lost_and_the_list_dropped_is_not_asked_for(world: World, blocklist: Blocklist) -> None:
    sink = CursorSink("db://primary")
    enforce(blocklist, sink)
    sink.held.clear()
    sink.last = None
    world.release(NUMBERS[10:])
    blocklist.sync()
    enforce(blocklist, sink)
    assert sink.numbers == {int(number) for number in NUMBERS[10:]}
    assert enforce(blocklist, sink).outcomes == {}


def test_changes_without_an_answer_for_a_day_have_an_exit_code(blocklist: Blocklist) -> None:
    sink = MemorySink(lambda change: PENDING)
    codes = []
    for hours in (0, 20, 30, 55):
        clock = partial(lambda moment: moment, datetime.now(UTC) + timedelta(hours=hours))
        result = enforce(blocklist, sink, clock=clock)
        codes.append((enforcement_code(result), result.unanswered))
    assert codes == [(0, 0), (0, 0), (8, 30), (8, 30)]
    sink.behave = lambda change: None
    result = enforce(blocklist, sink, clock=lambda: datetime.now(UTC) + timedelta(hours=60))
    assert (enforcement_code(result), result.unanswered) == (0, 0)


def opened_sink(blocklist: Blocklist, url: str, name: str = "default") -> Sink:
    return open_sink(url, feed=FEED, ledger=ledger_id(blocklist, name))


def test_a_second_table_is_refused_and_not_made(blocklist: Blocklist, postgres_url: str) -> None:
    import psycopg

    sink = opened_sink(blocklist, postgres_url)
    assert enforce(blocklist, sink).outcomes == {"enforced": 30}
    second = opened_sink(blocklist, f"{postgres_url}_second")
    with pytest.raises(InvalidInput, match="belongs to postgresql://"):
        enforce(blocklist, second)
    server, _, table = postgres_url.partition("?table=")
    with psycopg.connect(server, autocommit=True) as connection:
        there = connection.execute("SELECT to_regclass(%s)", (f"{table}_second",)).fetchone()
        assert there == (None,)
        with pytest.raises(InvalidInput, match="but it is empty"):
            enforce(blocklist, second, adopt=True)
        assert reconcile(blocklist, second, repair=True).missing == 30
        assert enforce(blocklist, second).outcomes == {"enforced": 30}
        connection.execute(f"TRUNCATE {table}_second, {table}_second_cursor".encode())
    result = enforce(blocklist, second)
    assert (kinds(result), result.outcomes) == (["refilled"], {"enforced": 30})
    sink.close()
    second.close()


def test_a_redis_that_lost_its_data_is_filled_by_the_next_run(blocklist: Blocklist, redis_url: str) -> None:
    import redis

    sink = opened_sink(blocklist, redis_url)
    assert enforce(blocklist, sink).outcomes == {"enforced": 30}
    client = redis.Redis.from_url(redis_url.partition("?")[0])
    prefix = redis_url.partition("prefix=")[2]
    client.delete(*client.keys(f"{prefix}:*"))
    result = enforce(blocklist, sink)
    assert (kinds(result), result.outcomes) == (["refilled"], {"enforced": 30})
    with pytest.raises(InvalidInput, match="belongs to redis://"):
        enforce(blocklist, opened_sink(blocklist, f"{redis_url}-second"))
    sink.close()
    client.close()
