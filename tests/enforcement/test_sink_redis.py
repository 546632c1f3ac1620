"""The sink in Redis, against a real server."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.registry import open_sink
from blocklist_sdk.enforcement.sink import DONE, LIFTED, ReadableSink, SinkUnavailable, TransactionalSink
from blocklist_sdk.enforcement.sinks.redis import RedisSink, redis_is_blocked, redis_keys
from blocklist_sdk.errors import InvalidInput
from support.killed_sinks import kill_in_the_middle
from support.redis_servers import RedisServer, redis_server
from support.sink_batches import FEED, FIRST, batch_of, held_of, items_of, numbered

UNTIL = 1_798_761_600_000

Opens = Callable[..., RedisSink]


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Opens sinks, and closes them in the end."""
    with ExitStack() as stack:

        def open_one(url: str, feed: str = FEED, **options: Any) -> RedisSink:
            opened = open_sink(url, feed=feed, **options)
            assert isinstance(opened, RedisSink)
            stack.callback(opened.close)
            return opened

        yield open_one


@pytest.fixture
def sink(opens: Opens, redis_url: str) -> RedisSink:
    return opens(redis_url)


@pytest.fixture
def prefix(redis_url: str) -> str:
    return redis_url.rpartition("=")[2]


@pytest.fixture(params=[False, True], ids=["bytes", "text"])
def client(request: pytest.FixtureRequest, redis_running: RedisServer) -> "Iterator[redis.Redis]":
    """A reader's, which may or may not decode what it reads."""
    with redis.Redis.from_url(redis_running.url, decode_responses=request.param) as opened:
        yield opened


def test_a_block_is_a_field_with_everything_that_is_known(sink: RedisSink, client: Any, prefix: str) -> None:
    items = items_of([FIRST, FIRST + 10], lasts=[FIRST, FIRST + 19], until=UNTIL, entries=[(), (4, 9)])
    assert list(sink.apply(batch_of(1, "block", items))) == [DONE, DONE]
    names, ranges, _ = redis_keys(FEED, prefix=prefix)
    common = {"scope": ["sms", "voice"], "category": "fraud", "until": "2027-01-01T00:00:00Z", "serial": 7}
    assert json.loads(client.hget(names, FIRST)) == {"last": FIRST, "entries": [], **common}
    assert json.loads(client.hget(names, FIRST + 10)) == {"last": FIRST + 19, "entries": [4, 9], **common}
    assert client.zrange(ranges, 0, -1, withscores=True)[0][1] == FIRST + 19
    assert client.zcard(ranges) == 1


def test_a_change_replaces_the_item_and_an_unblock_takes_it_out(sink: RedisSink) -> None:
    both = items_of([FIRST, FIRST + 5], lasts=[FIRST + 3, FIRST + 5])
    sink.apply(batch_of(1, "block", both))
    changed = items_of([FIRST, FIRST + 5], lasts=[FIRST, FIRST + 9], scope=["messaging"])
    sink.apply(batch_of(2, "change", changed))
    assert set(sink.current()) == held_of(changed)
    assert list(sink.apply(batch_of(3, "unblock", changed))) == [LIFTED, LIFTED]
    assert list(sink.current()) == []


def test_the_same_batch_twice_does_no_harm(sink: RedisSink) -> None:
    items = items_of(range(FIRST, FIRST + 50))
    for _ in range(2):
        sink.apply(batch_of(1, "block", items))
        assert set(sink.current()) == held_of(items)
    for _ in range(2):
        sink.apply(batch_of(2, "unblock", items))
        assert list(sink.current()) == []


def test_a_large_feed_is_read_whole(sink: RedisSink) -> None:
    items = items_of(range(FIRST, FIRST + 25_000))
    sink.apply(batch_of(1, "block", items))
    assert set(sink.current()) == held_of(items)


def test_nothing_is_left_behind_when_everything_is_lifted(sink: RedisSink, client: Any, prefix: str) -> None:
    items = items_of([FIRST, FIRST + 10], lasts=[FIRST, FIRST + 19])
    sink.apply(batch_of(1, "block", items))
    sink.apply(batch_of(2, "unblock", items))
    assert client.exists(*redis_keys(FEED, prefix=prefix)[:2]) == 0


def test_feeds_and_ledgers_under_one_prefix_do_not_touch_each_other(
    opens: Opens, sink: RedisSink, redis_url: str
) -> None:
    items = items_of([FIRST])
    sink.apply(batch_of(5, "block", items))
    other, second = opens(redis_url, "id-all"), opens(redis_url, ledger="second")
    other.apply(batch_of(9, "unblock", items, feed="id-all"))
    assert set(sink.current()) == held_of(items)
    assert (sink.applied(), other.applied(), second.applied()) == (5, 9, None)


def test_it_can_be_read_and_has_the_number_of_the_last_batch(sink: RedisSink) -> None:
    assert isinstance(sink, ReadableSink)
    assert isinstance(sink, TransactionalSink)
    assert sink.applied() is None
    assert list(sink.current()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(gaps=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=12))
def test_a_reader_finds_exactly_the_numbers_that_are_in_an_item(
    sink: RedisSink, client: Any, prefix: str, gaps: list[tuple[int, int]]
) -> None:
    at, items = FIRST, []
    for gap, length in gaps:
        items.append((at + gap, at + gap + length))
        at = items[-1][1]
    batch = items_of([first for first, _ in items], lasts=[last for _, last in items])
    client.delete(*redis_keys(FEED, prefix=prefix))
    sink.apply(batch_of(1, "block", batch))
    covered = {number for first, last in items for number in range(first, last + 1)}
    asked = range(FIRST - 1, at + 3)
    assert {number for number in asked if redis_is_blocked(client, FEED, number, prefix=prefix)} == covered


def test_a_reader_minds_scope_and_end(sink: RedisSink, client: Any, prefix: str) -> None:
    sink.apply(batch_of(1, "block", items_of([FIRST], until=UNTIL)))
    before = datetime.fromtimestamp(UNTIL / 1000 - 1, UTC)
    assert redis_is_blocked(client, FEED, FIRST, "sms", prefix=prefix, at=before)
    assert not redis_is_blocked(client, FEED, FIRST, "data", prefix=prefix, at=before)
    assert not redis_is_blocked(client, FEED, FIRST, "sms", prefix=prefix, at=datetime.fromtimestamp(UNTIL / 1000, UTC))
    assert not redis_is_blocked(client, "id-all", FIRST, prefix=prefix)


def test_the_largest_numbers_are_distinguished(sink: RedisSink, client: Any, prefix: str) -> None:
    last = 999_999_999_999_999
    sink.apply(batch_of(1, "block", items_of([last - 8], lasts=[last - 1])))
    assert redis_is_blocked(client, FEED, last - 1, prefix=prefix)
    assert not redis_is_blocked(client, FEED, last, prefix=prefix)
    assert not redis_is_blocked(client, FEED, last - 9, prefix=prefix)


def test_readers_see_whole_batches_only(
    opens: Opens, sink: RedisSink, redis_url: str, redis_running: RedisServer
) -> None:
    items, _, cursor = redis_keys(FEED, prefix=redis_url.rpartition("=")[2])
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def read() -> None:
        with redis.Redis.from_url(redis_running.url) as reader:
            while not done.is_set():
                count, number = reader.pipeline(transaction=True).hlen(items).hget(cursor, "").execute()
                seen.append((count, int(number or 0)))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(1, 21):
        sink.apply(numbered(number))
    done.set()
    thread.join(60)
    assert len(set(seen)) > 1
    assert all(count == 1000 * number for count, number in seen)


def test_without_a_server_the_sink_is_unavailable(opens: Opens) -> None:
    absent = opens("redis://:secret@127.0.0.1:9/0")
    for use in (lambda: absent.apply(numbered(1)), absent.applied, lambda: list(absent.current())):
        with pytest.raises(SinkUnavailable) as caught:
            use()
        assert caught.value.is_permitted
        assert "secret" not in str(caught.value)


def test_a_wrong_password_and_a_missing_right_are_matters_of_permission(opens: Opens, redis_running: Any) -> None:
    with redis.Redis.from_url(redis_running.url) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">right", "~*", "+@read", "+@connection", "+info")
    for account, words in (("reader:wrong", "invalid username-password"), ("reader:right", "no permissions")):
        sink = opens(redis_running.url.replace("//", f"//{account}@"))
        with pytest.raises(SinkUnavailable, match=f"(?i){words}") as caught:
            sink.apply(numbered(1))
        assert not caught.value.is_permitted


@pytest.mark.usefixtures("redis_running")
def test_a_server_that_is_killed_and_comes_back_goes_on_where_it_was(opens: Opens) -> None:
    with redis_server(durable=True) as server:
        sink = opens(server.url)
        sink.apply(numbered(1))
        server.kill()
        with pytest.raises(SinkUnavailable):
            sink.apply(numbered(2))
        server.start()
        assert sink.applied() == 1
        assert set(sink.current()) == held_of(numbered(1).items)
        sink.apply(numbered(2))
        assert sink.applied() == 2


@pytest.mark.usefixtures("redis_running")
def test_a_server_without_memory_or_right_to_write_stores_nothing_of_a_batch(opens: Opens) -> None:
    with redis_server() as server, redis.Redis.from_url(server.url) as client:
        sink = opens(server.url)
        sink.apply(numbered(1))
        client.config_set("maxmemory", "1")
        with pytest.raises(SinkUnavailable, match="memory") as caught:
            sink.apply(numbered(2))
        assert str(FIRST)[:6] not in str(caught.value)
        client.config_set("maxmemory", "0")
        client.execute_command("REPLICAOF", "127.0.0.1", "9")
        with pytest.raises(SinkUnavailable, match=r"(?i)read.?only"):
            sink.apply(numbered(2))
        assert sink.applied() == 1
        assert set(sink.current()) == held_of(numbered(1).items)


def test_a_connection_that_was_cut_while_idle_is_made_anew(sink: RedisSink, redis_running: RedisServer) -> None:
    sink.apply(numbered(1))
    with redis.Redis.from_url(redis_running.url) as client:
        client.execute_command("CLIENT", "KILL", "SKIPME", "yes")
    sink.apply(numbered(2))
    assert sink.applied() == 2


@pytest.mark.usefixtures("redis_running")
def test_an_account_needs_no_more_than_the_rights_that_are_documented(opens: Opens) -> None:
    rights = ["~blocklist:*", "+type", "+hget", "+hset", "+hdel", "+hscan", "+zadd", "+zrem", "+multi", "+exec"]
    with redis_server() as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "enforcer", "on", ">secret", *rights)
        sink = opens(server.url.replace("//", "//enforcer:secret@"))
        sink.apply(numbered(1))
        assert sink.applied() == 1
        assert set(sink.current()) == held_of(numbered(1).items)
        sink.apply(batch_of(2, "unblock", numbered(1).items))
        assert list(sink.current()) == []


@pytest.mark.usefixtures("redis_running")
def test_a_cluster_is_not_used(opens: Opens) -> None:
    with redis_server(options=("--cluster-enabled", "yes")) as server, pytest.raises(SinkUnavailable, match="cluster"):
        opens(server.url).apply(numbered(1))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_key_of_another_kind_is_not_written_over(sink: RedisSink, client: Any, prefix: str, place: int) -> None:
    keys = redis_keys(FEED, prefix=prefix)
    client.set(keys[place], "somebody else's")
    with pytest.raises(SinkUnavailable, match="prefix"):
        sink.apply(numbered(1))
    assert client.exists(*keys) == 1


def test_an_item_that_the_sink_did_not_write_is_an_error(sink: RedisSink, client: Any, prefix: str) -> None:
    client.hset(redis_keys(FEED, prefix=prefix)[0], "1", "{}")
    with pytest.raises(SinkUnavailable, match="was not written by this sink"):
        list(sink.current())


@pytest.mark.parametrize("url", ["redis://127.0.0.1/0?prefix=a&prefix=b", "redis://127.0.0.1/0?no_such_parameter=1"])
def test_a_url_that_makes_no_sense_is_invalid(opens: Opens, url: str) -> None:
    with pytest.raises(InvalidInput):
        opens(url)


def test_an_empty_batch_moves_the_cursor_alone(sink: RedisSink) -> None:
    for number, operation in enumerate(("block", "change", "unblock"), 1):
        assert list(sink.apply(batch_of(number, operation, Items.empty()))) == []  # type: ignore[arg-type]
        assert sink.applied() == number


def test_a_process_that_is_killed_leaves_whole_batches_and_their_number(sink: RedisSink, redis_url: str) -> None:
    for _ in range(5):
        before = sink.applied() or 0
        kill_in_the_middle(redis_url, before)
        after = sink.applied() or 0
        assert after > before
        expected = {FIRST + number for number in range(1000, (after + 1) * 1000)}
        assert {held.number for held in sink.current()} == expected
