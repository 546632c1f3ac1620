"""The sink for Redis and Valkey: a feed's items in a hash, its ranges in a sorted set. Readers see whole batches.

::

    PREFIX:FEED:items     hash: first number → JSON with last, scope, category, entries, until, serial
    PREFIX:FEED:ranges    sorted set: first number, scored with the last one; ranges only
    PREFIX:FEED:cursor    hash: ledger → the number of its last batch
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import Batch
from blocklist_sdk.enforcement.sink import HeldItem, Outcome, SinkIdentity, SinkUnavailable, all_done
from blocklist_sdk.enforcement.sinks import columns
from blocklist_sdk.enforcement.sinks.options import check_sent_name, password_of, read_sink_url, seconds, truth, whole
from blocklist_sdk.errors import InvalidInput, foreign_text
from blocklist_sdk.records import SCOPES

_PREFIX: Final = "blocklist"

_CONNECT_S: Final = 10
_ANSWER_S: Final = 60
"""Timeouts that the URL may replace (`socket_connect_timeout`, `socket_timeout`), so that no wait is endless."""

_CONNECTION: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "socket_connect_timeout": seconds,
    "socket_timeout": seconds,
    "socket_keepalive": truth,
    "health_check_interval": whole,
    "client_name": lambda _, text: text,
}
"""Options of redis-py that the URL may have, and how each is read."""

_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""The same for ``rediss:``; files in PEM format. What would switch the checks of certificates off is not among them."""

REDIS_OPTIONS: Final = frozenset({"prefix", "db", "username", "password", *_CONNECTION, *_FILES})
"""The options that the URL may have."""

_PORT: Final = 6379

_SCAN_COUNT: Final = 1_000
"""Items that are read at once. The server is busy for some 1 ms meanwhile."""

_NOT_PERMITTED: Final = (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError)

_TYPES: Final = ("hash", "zset", "hash")
"""The types of the keys of `redis_keys`."""

REDIS_LOOK_UP: Final = """
local item = redis.call('HGET', KEYS[1], ARGV[1])
if item then return item end
local range = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], '+inf', 'LIMIT', 0, 1)[1]
if range and tonumber(range) <= tonumber(ARGV[1]) then return redis.call('HGET', KEYS[1], range) end
return false
"""
"""A script for `EVAL` that returns the item of a number. It takes the keys of items and ranges, and the number.

Items do not overlap, so only the first range that ends at the number or after it can hold it. Scores are exact: numbers
have at most 15 digits, and a double holds every integer of 15 digits.
"""


def open_redis_sink(
    url: str, *, feed: str, ledger: str = "", prefix: str | None = None, password: str | None = None
) -> "RedisSink":
    """Open a sink in Redis or Valkey: a single server or a primary, not a cluster. It connects when it is first used.

    Args:
        url: ``redis://user@host:port/database``, or ``rediss:`` for TLS, with `REDIS_OPTIONS` after a question mark.
        feed: the feed of what it will hold.
        ledger: the id of the ledger, if several ledgers write the same feed under one prefix.
        prefix: the prefix of the keys; None for the URL's ``prefix``, or ``blocklist``.
        password: the password; None for the one in the URL, or in the variable ``BLOCKLIST_SINK_PASSWORD``.

    Raises:
        InvalidInput: the URL cannot be used.
    """
    read, options = read_sink_url(
        url, kind="a Redis sink", known=REDIS_OPTIONS, example="redis://user:password@host:6379/0"
    )
    if read.scheme not in ("redis", "rediss") or "," in read.hosts:
        raise InvalidInput(f"{read} is not the URL of a Redis sink: it must be like redis://host:6379/0")
    files: dict[str, Any] = {name: options[name] for name in _FILES if name in options}
    if files and read.scheme != "rediss":
        raise InvalidInput(f"{min(files)} is for TLS: begin the sink's URL with rediss:")
    connection: dict[str, Any] = {"socket_connect_timeout": _CONNECT_S, "socket_timeout": _ANSWER_S}
    connection |= {name: _CONNECTION[name](name, text) for name, text in options.items() if name in _CONNECTION}
    try:
        client = redis.Redis(
            host=read.host or "localhost",
            port=read.port or _PORT,
            db=whole("the database", options.get("db") or unquote(read.path).strip("/") or "0"),
            username=read.user or options.get("username"),
            password=password_of(read, options.get("password"), password),
            ssl=read.scheme == "rediss",
            # The run tries again, after waits of its own.
            retry=Retry(NoBackoff(), 0),
            **connection,
            **files,
        )
        client.connection_pool.make_connection()
    except (TypeError, ValueError, redis.RedisError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{read} cannot be used: check its database and the values of its options") from None
    used = prefix or options.get("prefix") or _PREFIX
    check_sent_name("prefix", used)
    return RedisSink(client, redis_keys(feed, prefix=used), ledger=ledger)


def redis_keys(feed: str, *, prefix: str = _PREFIX) -> tuple[str, str, str]:
    """The names of the keys of a feed: items, ranges and cursor.

    >>> redis_keys("id-all")
    ('blocklist:id-all:items', 'blocklist:id-all:ranges', 'blocklist:id-all:cursor')
    """
    return f"{prefix}:{feed}:items", f"{prefix}:{feed}:ranges", f"{prefix}:{feed}:cursor"


def redis_is_blocked(
    client: "redis.Redis",
    feed: str,
    number: int,
    scope: str | None = None,
    *,
    prefix: str = _PREFIX,
    at: datetime | None = None,
) -> bool:
    """Whether the sink blocks a number, for readers of the database. Takes one round trip.

    An item whose end has passed does not block, even if it is still there.

    Args:
        client: a client of redis-py.
        feed: the feed.
        number: E.164 digits as an integer.
        scope: the scope; None for any.
        prefix: the prefix of the keys.
        at: the moment; None for now.
    """
    items, ranges, _ = redis_keys(feed, prefix=prefix)
    text: Any = client.eval(REDIS_LOOK_UP, 2, items, ranges, str(number))
    if not text:
        return False
    item = json.loads(text)
    if scope is not None and scope not in item["scope"]:
        return False
    until = item["until"]
    return until is None or datetime.fromisoformat(until) > (at or times.now())


class RedisSink:
    """A hash and a sorted set in Redis or Valkey. Made by `open_redis_sink`."""

    def __init__(self, client: "redis.Redis", keys: tuple[str, str, str], *, ledger: str) -> None:
        self._client = client
        self._items, self._ranges, self._cursor = self._keys = keys
        self._ledger = ledger
        self._is_checked = False

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Write or delete the items of a batch, in one transaction with the cursor.

        Raises:
            SinkUnavailable: the server cannot be reached, or fails, or is a cluster.
        """
        with self._translated():
            self._check()
            pipeline: Any = self._client.pipeline(transaction=True)
            for command, key, parts in self._commands(batch):
                if parts:
                    pipeline.execute_command(command, key, *parts)
            pipeline.hset(self._cursor, self._ledger, str(batch.number_in_ledger))
            pipeline.execute()
        return all_done(batch)

    def _commands(self, batch: Batch) -> Iterator[tuple[str, str, list[Any]]]:
        """The commands for a batch, each with its key and its arguments."""
        numbers = columns.numbers(batch.items.number).to_pylist()
        if batch.operation == "unblock":
            yield "HDEL", self._items, numbers
            yield "ZREM", self._ranges, numbers
            return
        values = columns.documents(batch, with_number=False).to_pylist()
        yield "HSET", self._items, _alternating(numbers, values)
        is_range = batch.items.last > batch.items.number
        ranges = np.flatnonzero(is_range)
        yield (
            "ZADD",
            self._ranges,
            _alternating(batch.items.last[ranges].tolist(), [numbers[index] for index in ranges.tolist()]),
        )
        # A range may have become a single number.
        yield "ZREM", self._ranges, [numbers[index] for index in np.flatnonzero(~is_range).tolist()]

    def applied(self) -> int | None:
        """`number_in_ledger` of the last batch of this feed and ledger; None before the first.

        Raises:
            SinkUnavailable: the server cannot be reached, or fails, or is a cluster.
        """
        with self._translated():
            self._check()
            number: Any = self._client.hget(self._cursor, self._ledger)
        return None if number is None else int(number)

    def is_empty(self) -> bool:
        """Whether the hash has no item of the feed.

        Raises:
            SinkUnavailable: the server cannot be reached, or fails, or is a cluster.
        """
        with self._translated():
            self._check()
            count: Any = self._client.hlen(self._items)
        return int(count) == 0

    def identity(self) -> SinkIdentity:
        """Server, database and prefix."""
        about = self._client.connection_pool.connection_kwargs
        where = about.get("path") or f"{about.get('host', 'localhost')}:{about.get('port', 6379)}"
        prefix = self._items.removesuffix(":items")
        return SinkIdentity(f"redis://{where}/{about.get('db') or 0}?prefix={prefix}")

    def current(self) -> Iterator[HeldItem]:
        """Every item of the feed in the hash. An item that changes meanwhile may be missing, or come twice.

        Raises:
            SinkUnavailable: the server cannot be reached, fails, or is a cluster; or an item was not written by this
                sink.
        """
        with self._translated():
            self._check()
            position = 0
            while True:
                answer: Any = self._client.hscan(self._items, position, count=_SCAN_COUNT)
                position, fields = answer
                for number, text in fields.items():
                    yield _held_item(number, text)
                if position == 0:
                    return

    def close(self) -> None:
        """Release connections."""
        self._client.close()

    def _check(self) -> None:
        """Check the server once: a transaction that fails in the middle is not rolled back, so no command may fail."""
        if self._is_checked:
            return
        about: Any = {}
        # The account may not have this right. A cluster then refuses the first transaction, with its own message.
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            about = self._client.info("server")
        if about.get("redis_mode") == "cluster":
            raise SinkUnavailable("Redis: the server is part of a cluster, which this sink cannot use")
        for key, expected in zip(self._keys, _TYPES, strict=True):
            kind: Any = self._client.type(key)
            name = kind.decode() if isinstance(kind, bytes) else str(kind)
            if name not in ("none", expected):
                raise SinkUnavailable(f"Redis: {key} is a {name}, not a {expected}: use another prefix, or delete it")
        self._is_checked = True

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            self._is_checked = False
            is_permitted = not isinstance(error, _NOT_PERMITTED)
            raise SinkUnavailable(f"Redis: {_text(error)}", is_permitted=is_permitted) from error


def _text(error: redis.RedisError) -> str:
    """The message of an error, without the command, which redis-py quotes and which has telephone numbers."""
    said = str(error).rpartition(" of pipeline caused error: ")[2] or type(error).__name__
    return foreign_text(said.rstrip("."))  # a sentence of ours goes on behind it


def _alternating(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    parts: list[Any] = [None] * (2 * len(first))
    parts[::2] = first
    parts[1::2] = second
    return parts


def _held_item(number: bytes | str, text: bytes | str) -> HeldItem:
    try:
        item = json.loads(text)
        parts = set(item["scope"])
        return HeldItem(int(number), int(item["last"]), tuple(scope for scope in SCOPES if scope in parts))
    except (ValueError, TypeError, KeyError) as error:
        raise SinkUnavailable(
            f"Redis: an item was not written by this sink ({type(error).__name__}): delete the feed's keys"
        ) from error
