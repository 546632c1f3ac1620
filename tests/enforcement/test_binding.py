"""A ledger belongs to its sink: another sink under its name is refused, and one that lost everything is filled."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, InvalidInput, Malformed
from blocklist_sdk.enforcement import Sink, SinkIdentity, enforce, ledger_id, open_sink, reconcile
from blocklist_sdk.enforcement.paths import ledger_path
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
    enforce(blocklist, NamedSink("hlr://one"))
    other = NamedSink("hlr://two")
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match="belongs to hlr://one, not to hlr://two") as error:
            enforce(blocklist, other, dry_run=dry_run)
        assert all(word in str(error.value) for word in ("--name", "--adopt", "--reconcile"))
    assert not other.seen
    with pytest.raises(InvalidInput, match="does not say what it is"):
        enforce(blocklist, MemorySink())
    assert kinds(enforce(blocklist, other, adopt=True)) == ["adopted"]
    assert kinds(enforce(blocklist, other)) == []
    with pytest.raises(InvalidInput, match="belongs to hlr://two"):
        enforce(blocklist, NamedSink("hlr://one"))


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
    run("moved", adopt=True)
    run("moved")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://hlr.example/blocks?list=a&token=s3cret", "https://hlr.example/blocks?list=a"),
        ("postgresql://me:pw@db.example:5433/hlr?table=a.b", "postgresql://db.example:5433/hlr?table=a.b"),
        ("redis://me:pw@cache.example:6380/2?prefix=p", "redis://cache.example:6380/2?prefix=p:id-telkomsel"),
    ],
)
def test_an_address_has_no_credentials(url: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKLIST_WEBHOOK_SECRET", "whsec_" + "QUFB" * 8)
    sink = open_sink(url, feed="id-telkomsel")
    assert sink.identity() == SinkIdentity(address)  # type: ignore[attr-defined]
    sink.close()


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
        assert enforce(blocklist, second, adopt=True).outcomes == {"enforced": 30}
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
