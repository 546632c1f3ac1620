"""The sink in Kafka, against brokers that speak its protocol."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.registry import open_sink
from blocklist_sdk.enforcement.sink import DONE, LIFTED, SinkUnavailable
from blocklist_sdk.enforcement.sinks.kafka import KafkaSink, _OnceLogger
from blocklist_sdk.errors import InvalidInput
from support.kafka_cluster import compacted, messages, mock_cluster
from support.sink_batches import FEED, FIRST, batch_of, items_of, numbered
from support.strict_broker import strict_broker

UNTIL = 1_798_761_600_000

Opens = Callable[..., KafkaSink]


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Opens sinks, and closes them in the end."""
    with ExitStack() as stack:

        def open_one(url: str, **options: Any) -> KafkaSink:
            opened = open_sink(url, feed=FEED, **options)
            assert isinstance(opened, KafkaSink)
            stack.callback(opened.close)
            return opened

        yield open_one


@pytest.fixture
def sink(opens: Opens, kafka_url: str) -> KafkaSink:
    return opens(kafka_url)


def parts_of(url: str) -> list[str]:
    return url.removeprefix("kafka://").split("/")


def sent_to(url: str) -> list[Any]:
    return messages(*parts_of(url))


def held_in(url: str) -> dict[int, Any]:
    return compacted(*parts_of(url))


def test_a_block_is_a_message_with_everything_that_is_known(sink: KafkaSink, kafka_url: str) -> None:
    items = items_of([FIRST, FIRST + 10], lasts=[FIRST, FIRST + 19], until=UNTIL, entries=[(), (4, 9)])
    batch = batch_of(1, "block", items)
    assert list(sink.apply(batch)) == [DONE, DONE]
    common = {
        "feed": FEED,
        "scope": ["sms", "voice"],
        "category": "fraud",
        "until": "2027-01-01T00:00:00Z",
        "serial": 7,
    }
    assert held_in(kafka_url) == {
        FIRST: {"number": FIRST, "last": FIRST, "entries": [], **common},
        FIRST + 10: {"number": FIRST + 10, "last": FIRST + 19, "entries": [4, 9], **common},
    }
    by_key = {int(message.key()): dict(message.headers()) for message in sent_to(kafka_url)}
    for change in batch:
        assert by_key[change.number] == {"feed": FEED.encode(), "serial": b"7", "key": change.key.encode()}


def test_a_change_replaces_and_an_unblock_is_a_tombstone(sink: KafkaSink, kafka_url: str) -> None:
    both = items_of([FIRST, FIRST + 1])
    sink.apply(batch_of(1, "block", both))
    sink.apply(batch_of(2, "change", items_of([FIRST], scope=["messaging"])))
    assert held_in(kafka_url)[FIRST]["scope"] == ["messaging"]
    assert list(sink.apply(batch_of(3, "unblock", both))) == [LIFTED, LIFTED]
    assert held_in(kafka_url) == {}
    assert sum(message.value() is None for message in sent_to(kafka_url)) == 2


def test_a_large_batch_arrives_whole_and_once(sink: KafkaSink, kafka_url: str) -> None:
    items = items_of(range(FIRST, FIRST + 20_000))
    assert sink.apply(batch_of(1, "block", items))[19_999] == DONE
    found = sent_to(kafka_url)
    assert len(found) == 20_000
    assert {int(message.key()) for message in found} == set(range(FIRST, FIRST + 20_000))


def test_the_sink_waits_for_a_full_queue(opens: Opens, kafka_url: str) -> None:
    sink = opens(f"{kafka_url}?queue.buffering.max.messages=100")
    assert len(sink.apply(numbered(1))) == 1000
    assert len(held_in(kafka_url)) == 1000


def test_a_message_that_is_too_large_is_refused_and_the_rest_goes_on(opens: Opens, kafka_url: str) -> None:
    sink = opens(f"{kafka_url}?message.max.bytes=1000")
    items = items_of([FIRST, FIRST + 1, FIRST + 2], entries=[(1,), tuple(range(1, 1000)), (3,)])
    outcomes = sink.apply(batch_of(1, "block", items))
    assert [outcome.kind for outcome in outcomes] == ["enforced", "refused", "enforced"]
    assert "too large" in outcomes[1].detail
    assert set(held_in(kafka_url)) == {FIRST, FIRST + 2}


def test_without_brokers_the_sink_is_unavailable_and_nothing_is_sent_later(opens: Opens) -> None:
    absent = opens("kafka://127.0.0.1:9/blocked?message.timeout.ms=500")
    for number in (1, 2):
        with pytest.raises(SinkUnavailable, match="refused"):
            absent.apply(numbered(number))


def test_a_wrong_password_is_a_matter_of_permission(opens: Opens) -> None:
    options = "security.protocol=sasl_plaintext&sasl.mechanism=PLAIN&message.timeout.ms=2000"
    with strict_broker() as address:
        sink = opens(f"kafka://me:s3cret@{address}/blocked?{options}")
        with pytest.raises(SinkUnavailable, match="wrong password") as caught:
            sink.apply(numbered(1))
    assert not caught.value.is_permitted
    assert "s3cret" not in str(caught.value)


@pytest.mark.timing
def test_a_cluster_that_is_down_is_given_up_within_half_a_minute(opens: Opens) -> None:
    """The limit of the test is a minute, for slow machines; the sink waited for 65 seconds before."""
    absent = opens("kafka://127.0.0.1:9/blocked")
    begun = time.monotonic()
    with pytest.raises(SinkUnavailable, match=r"no broker answers within 6 s: .*refused"):
        absent.apply(numbered(1))
    assert time.monotonic() - begun < 60
    # What a run may take in all: four attempts, with waits of at most 0.5, 1 and 2 seconds between them.
    assert absent._wait_s <= 30
    assert 4 * absent._down_s + 3.5 <= 30


@pytest.mark.timing
def test_a_broker_that_accepts_connections_and_never_answers_is_down(opens: Opens) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = opens(f"kafka://127.0.0.1:{silent.getsockname()[1]}/blocked")
        begun = time.monotonic()
        with pytest.raises(SinkUnavailable, match="no broker answers within 6 s"):
            mute.apply(numbered(1))
        assert time.monotonic() - begun < 60


@pytest.mark.timing
def test_a_cluster_that_goes_down_is_noticed(opens: Opens) -> None:
    with mock_cluster() as addresses:
        sink = opens(f"kafka://{addresses}/blocked")
        assert len(sink.apply(numbered(1))) == 1000
    begun = time.monotonic()
    for number in (2, 3):
        with pytest.raises(SinkUnavailable, match="refused"):
            sink.apply(numbered(number))
    assert time.monotonic() - begun < 60


def test_an_empty_batch_sends_nothing(sink: KafkaSink) -> None:
    assert list(sink.apply(batch_of(1, "block", Items.empty()))) == []


def test_a_sink_can_be_closed_twice(opens: Opens, kafka_url: str) -> None:
    sink = opens(kafka_url)
    sink.close()
    sink.close()


@pytest.mark.parametrize(
    "url",
    [
        "kafka://127.0.0.1:9092/",
        "kafka:///blocked",
        "kafka://127.0.0.1:9092/one/two",
        "kafka://127.0.0.1:9092/blocked?no.such.setting=1",
        "kafka://127.0.0.1:9092/blocked?acks=1",
        "kafka://127.0.0.1:9092/blocked?enable.idempotence=false",
        "kafka://127.0.0.1:9092/blocked?message.timeout.ms=soon",
        "kafka://me:hunter2@127.0.0.1:9092/blocked?security.protocol=sasl_nonsense",
    ],
)
def test_a_url_that_makes_no_sense_is_invalid(opens: Opens, url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        opens(url)
    assert "hunter2" not in str(caught.value)


def test_secrets_need_not_be_in_the_url(opens: Opens) -> None:
    secrets = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.password": "secret"}
    opens("kafka://me@127.0.0.1:9/blocked", config=secrets)


def test_what_librdkafka_repeats_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    logger = _OnceLogger()
    for attempt in range(300):
        logger.log(logging.ERROR, "FAIL [rdkafka#producer-%d] broker:9092: failed (after %dms)", attempt % 3, attempt)
    for place in range(100):
        logger.log(logging.ERROR, f"FAIL broker-{'x' * place}: no route")
    assert len(caplog.records) == 20
