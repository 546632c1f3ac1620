"""Sinks in servers keep the contract of a sink."""

from collections.abc import Iterable

import psycopg
import pytest

from blocklist_sdk.enforcement.registry import open_sink
from blocklist_sdk.enforcement.sink import HeldItem
from blocklist_sdk.enforcement.sinks import open_postgres_sink
from blocklist_sdk.testing import MakeSink, SinkContract
from support.kafka_cluster import compacted

REFUSED = 6281300000000


class TestPostgres(SinkContract):
    refuses = REFUSED

    @pytest.fixture
    def make_sink(self, postgres_url: str) -> MakeSink:
        url, _, table = postgres_url.partition("?table=")
        sink = open_postgres_sink(postgres_url, feed="contract")
        sink.applied()
        sink.close()
        with psycopg.connect(url) as connection:
            connection.execute(f"ALTER TABLE {table} ADD CHECK (number <> {REFUSED})".encode())
        return lambda feed: open_sink(postgres_url, feed=feed)


class TestRedis(SinkContract):
    @pytest.fixture
    def make_sink(self, redis_url: str) -> MakeSink:
        return lambda feed: open_sink(redis_url, feed=feed)


class TestKafka(SinkContract):
    """A topic holds one feed, so each feed gets one of its own."""

    brokers = ""

    @pytest.fixture
    def make_sink(self, kafka_brokers: str) -> MakeSink:
        TestKafka.brokers = kafka_brokers
        return lambda feed: open_sink(f"kafka://{kafka_brokers}/{feed}", feed=feed)

    def held_items(self, feed: str) -> Iterable[HeldItem] | None:
        return [
            HeldItem(number, item["last"], tuple(item["scope"]))
            for number, item in compacted(self.brokers, feed).items()
        ]
