"""librdkafka's mock cluster: brokers in this process that speak Kafka's protocol over loopback."""

import contextlib
import itertools
import json
import logging
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

_log = logging.getLogger(__name__)
_GROUPS = itertools.count(1)


@contextlib.contextmanager
def mock_cluster(*, brokers: int = 3) -> Iterator[str]:
    """Start brokers.

    Yields:
        The addresses of the brokers, with commas between.
    """
    holder = Producer({"bootstrap.servers": "", "test.mock.num.brokers": brokers, "logger": _log})
    found = holder.list_topics(timeout=30).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    del holder


def messages(addresses: str, topic: str) -> list[Any]:
    """All messages of a topic, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": addresses,
            "group.id": f"reader-{next(_GROUPS)}",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "logger": _log,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, each, 0) for each in partitions])
        found, ended = [], 0
        while ended < len(partitions):
            for message in consumer.consume(1_000, timeout=0.02):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
                else:
                    raise RuntimeError(error.str())
        return found
    finally:
        consumer.close()


def compacted(addresses: str, topic: str) -> dict[int, Any]:
    """The content of a compacted topic: the last value of each key, read from JSON."""
    found: dict[int, Any] = {}
    for message in messages(addresses, topic):
        number = int(message.key())
        found.pop(number, None)
        if message.value() is not None:
            found[number] = json.loads(message.value())
    return found
