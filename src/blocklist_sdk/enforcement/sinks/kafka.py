"""The sink for Kafka: a compacted topic with one message per change, keyed by number; a null message lifts."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from blocklist_sdk.enforcement.items import Batch
from blocklist_sdk.enforcement.sink import DETAIL_CHARS_MAX, Outcome, SinkIdentity, SinkUnavailable, done_except
from blocklist_sdk.enforcement.sinks import columns
from blocklist_sdk.enforcement.sinks.options import checked_options, password_of, read_sink_url
from blocklist_sdk.errors import InvalidInput, foreign_text
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId

_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""Apache Kafka, org.apache.kafka.common.internals.Topic."""

_DEFAULTS: Final[Mapping[str, str | int]] = {
    "client.id": "blocklist-sdk",
    "compression.type": "lz4",
    "linger.ms": 20,
    "message.timeout.ms": 20_000,
    # As in Java's clients, so that their tables on the same keys have the same partitions.
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": 500_000,
}
"""Settings that the URL and `config` may replace."""

_FIXED: Final[Mapping[str, str | bool]] = {"acks": "all", "enable.idempotence": True}
"""Settings that the sink relies on: acknowledged messages stay, and no message comes twice or out of order."""

KAFKA_OPTIONS: Final = frozenset({
    "properties", "acks", "enable.idempotence",
    "security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password",
    "sasl.kerberos.service.name", "sasl.kerberos.principal", "sasl.kerberos.keytab",
    "sasl.oauthbearer.method", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.scope", "sasl.oauthbearer.token.endpoint.url",
    "ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password", "ssl.crl.location",
    "client.id", "client.rack", "broker.address.family", "metadata.max.age.ms", "socket.keepalive.enable",
    "socket.timeout.ms", "socket.connection.setup.timeout.ms", "connections.max.idle.ms",
    "reconnect.backoff.ms", "reconnect.backoff.max.ms", "request.timeout.ms",
    "message.timeout.ms", "delivery.timeout.ms", "message.max.bytes", "linger.ms", "batch.size", "batch.num.messages",
    "compression.type", "compression.codec", "compression.level", "partitioner",
    "queue.buffering.max.messages", "queue.buffering.max.kbytes",
})  # fmt: skip
"""The options that the URL and a file of properties may have: settings of librdkafka, without those that load a library
(``plugin.library.paths``), run a command (``sasl.kerberos.kinit.cmd``) or switch the checks of certificates off.
"""

_SECRETS: Final = ("sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret")

_PROPERTIES_BYTES_MAX: Final = 100_000

_MORE_S: Final = 5.0
"""How much longer than one message may take (`message.timeout.ms`) the sink waits for a batch."""

_DOWN_S: Final = 6.0
"""How long the sink waits while no broker can be reached. A run tries a batch four times, with 3.5 s between them at
most, and so gives up a cluster that is down within 30 seconds."""

_FLUSH_S: Final = 0.5
"""How often the sink checks whether any broker can still be reached, while it waits for acknowledgements."""

_POLL_EVERY: Final = 5_000
"""Number of messages after which the acknowledgements that have arrived are read."""

_REFUSALS: Final = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError._INVALID_DIFFERENT_RECORD,
)
"""Errors that are about a message, and not about the cluster.

A broker may return them for every message of a packet, so each of these messages is sent again alone.
"""

_NOT_PERMITTED: Final = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)
"""Errors that say that the cluster does not know the account, or does not permit it this."""

_log = logging.getLogger(__name__)

_LOGGED_MAX: Final = 20
"""How many different lines of librdkafka a producer logs."""


def open_kafka_sink(
    url: str, *, feed: str, config: Mapping[str, Any] | None = None, password: str | None = None
) -> "KafkaSink":
    """Open a sink in a Kafka topic, which must exist. It connects to the brokers in the background.

    Args:
        url: ``kafka://host:port[,host:port]/topic``; after ``?`` come `KAFKA_OPTIONS`, as in
            ``?security.protocol=ssl&ssl.ca.location=/etc/ssl/ca.pem``. ``properties=FILE`` names a file with more of
            them, one ``name=value`` a line, which yield to those of the URL.
        feed: the feed of what it will hold. Keys are numbers, so a topic is for one feed.
        config: settings of librdkafka, any; they win over those of the URL. They come from your program, so they may
            also load libraries.
        password: the password of the account in the URL; None for the one in the URL or the file, or in the variable
            ``BLOCKLIST_SINK_PASSWORD``.

    Raises:
        InvalidInput: the URL or a setting cannot be used.
    """
    read, options = read_sink_url(
        url, kind="a Kafka sink", known=KAFKA_OPTIONS, example="kafka://user:password@host:9092/topic"
    )
    topic = unquote(read.path.strip("/"))
    if not read.hosts or not topic or "/" in topic:
        raise InvalidInput("the sink's URL must name brokers and one topic: kafka://host:port/topic")
    if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise InvalidInput(
            f"the topic {topic!r} is not one of Kafka: it may have letters, digits, '.', '_' and '-', at most 249"
        )
    file = options.pop("properties", None)
    settings: dict[str, Any] = {**_DEFAULTS, "bootstrap.servers": read.hosts}
    if file is not None:
        settings |= _properties(Path(file))
    if read.user is not None:
        settings["sasl.username"] = read.user
    own = options.pop("sasl.password", None)
    settings |= options
    secret = password_of(read, own, password)
    if secret is not None and (own or read.password or password or "sasl.password" not in settings):
        settings["sasl.password"] = secret
    settings |= config or {}
    for setting, value in _FIXED.items():
        if str(settings.setdefault(setting, value)).lower() not in (str(value).lower(), "-1"):
            raise InvalidInput(f"the sink relies on {setting}={str(value).lower()}: leave this setting out")
    try:
        return KafkaSink(settings, topic, feed=feed)
    except (KafkaException, TypeError, ValueError) as error:
        said = error.args[0].str() if isinstance(error, KafkaException) else "a setting is not what librdkafka expects"
        secrets = [str(settings[name]) for name in _SECRETS if name in settings]
        raise InvalidInput(f"{read} cannot be used: {foreign_text(said, *secrets)}") from None


def _properties(file: Path) -> dict[str, str]:
    """The settings in a file: ``name=value`` lines, blank ones, and comments that begin with ``#``.

    Raises:
        InvalidInput: it cannot be read, or a line is not a setting that the sink takes. No value is repeated.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_PROPERTIES_BYTES_MAX).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"the properties file {file} is not UTF-8") from None
    except OSError as error:
        raise InvalidInput(f"cannot read the properties file {file}: {error.strerror}") from error
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise InvalidInput(f"{file}, line {number}, must be like name=value")
        pairs.append((name.strip(), value.strip()))
    return checked_options(pairs, kind=f"the properties file {file}", known=KAFKA_OPTIONS - {"properties"})


class _OnceLogger:
    """Logs what librdkafka says, each text once: while no broker answers, it says the same several times a second."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def log(self, level: int, message: str, *values: object) -> None:
        """Log a line, unless it differs from an earlier one only in its figures."""
        text = re.sub(r"[0-9]+", "0", message % values if values else message)
        if text not in self._texts and len(self._texts) < _LOGGED_MAX:
            self._texts.add(text)
            _log.log(level, "%s", foreign_text(message % values if values else message))


class KafkaSink:
    """A Kafka topic. Made by `open_kafka_sink`."""

    def __init__(self, settings: Mapping[str, Any], topic: str, *, feed: str) -> None:
        self._settings = settings
        self._topic = topic
        self._feed = feed
        message_s = float(settings["message.timeout.ms"]) / 1000
        self._wait_s = message_s + _MORE_S
        self._down_s = min(_DOWN_S, message_s or _DOWN_S)  # 0 is librdkafka's word for no limit
        self._is_reached = False
        self._down_since: float | None = None
        self._last_error, self._is_permitted = "", True
        self._delivered = 0
        self._failed: dict[bytes, KafkaError] = {}
        self._producer: Any = self._new_producer()

    def apply(self, batch: Batch) -> Sequence[Outcome]:
        """Send a message for each change, and wait until all replicas in sync have acknowledged each of them.

        Raises:
            SinkUnavailable: the cluster cannot be reached, or does not take messages. It may have taken some of them.
        """
        numbers = columns.numbers(batch.items.number).cast("binary").to_pylist()
        values: Sequence[bytes | None] = [None] * len(batch)
        if batch.operation != "unblock":
            values = columns.documents(batch, with_number=True).cast("binary").to_pylist()
        keys = columns.keys(batch).to_pylist()
        messages = list(zip(numbers, values, keys, strict=True))
        errors = self._send(messages, batch.release)
        refused: dict[int, str] = {}
        for index in [index for index, number in enumerate(numbers) if number in errors] if errors else ():
            alone = self._send(messages[index : index + 1], batch.release)
            if alone:
                refused[index] = f"Kafka: {foreign_text(alone[numbers[index]].str())}"[:DETAIL_CHARS_MAX]
        return done_except(batch, refused)

    def identity(self) -> SinkIdentity:
        """Brokers and topic."""
        hosts = ",".join(sorted(str(self._settings["bootstrap.servers"]).split(",")))
        return SinkIdentity(f"kafka://{hosts}/{self._topic}")

    def close(self) -> None:
        """Release connections."""
        if self._producer is not None:
            self._drop()

    def _send(
        self, messages: Sequence[tuple[bytes, bytes | None, str]], release: ReleaseId
    ) -> Mapping[bytes, KafkaError]:
        """Send messages and wait for acknowledgements; returns the errors of refused messages, by number."""
        if self._producer is None:
            self._producer = self._new_producer()
        self._delivered, self._failed = 0, {}
        try:
            self._reach()
            self._produce(messages, release)
            self._flush()
        except KafkaException as error:
            self._drop()
            cause: KafkaError = error.args[0]
            raise SinkUnavailable(
                f"Kafka: {foreign_text(cause.str())}", is_permitted=cause.code() not in _NOT_PERMITTED
            ) from error
        except BaseException:
            self._drop()
            raise
        others = [error for error in self._failed.values() if error.code() not in _REFUSALS]
        if others or self._delivered + len(self._failed) != len(messages):
            # Messages that still wait must not be sent after a later change of the same number.
            reason = foreign_text(others[0].str()) if others else "not all messages were acknowledged in time"
            last_error = self._last_error or "none"
            is_permitted = self._is_permitted and all(error.code() not in _NOT_PERMITTED for error in others)
            self._drop()
            raise SinkUnavailable(
                f"Kafka: {reason} (topic {self._topic!r}; last error: {last_error})", is_permitted=is_permitted
            )
        return self._failed

    def _reach(self) -> None:
        """Wait until a new producer has reached a broker: librdkafka queues messages for one that it never reaches.

        Raises:
            SinkUnavailable: it reaches none.
        """
        if self._is_reached:
            return
        try:
            self._producer.list_topics(self._topic, timeout=self._down_s)
        except KafkaException as error:
            self._producer.poll(0)  # calls `_on_error`
            reason = self._last_error or foreign_text(error.args[0].str())
            message = f"Kafka: no broker answers within {self._down_s:g} s: {reason}"
            raise SinkUnavailable(message, is_permitted=self._is_permitted) from error
        self._is_reached = True

    def _flush(self) -> None:
        """Wait for acknowledgements, but not long while no broker can be reached."""
        deadline = time.monotonic() + self._wait_s
        while self._producer.flush(_FLUSH_S):
            now = time.monotonic()
            if now > deadline or (self._down_since is not None and now > self._down_since + self._down_s):
                return

    def _produce(self, messages: Sequence[tuple[bytes, bytes | None, str]], release: ReleaseId) -> None:
        produce, poll, topic = self._producer.produce, self._producer.poll, self._topic
        common = [("feed", self._feed.encode()), ("serial", str(release.serial).encode())]
        if release.era != FIRST_ERA:
            common.append(("era", str(release.era).encode()))
        deadline = time.monotonic() + self._wait_s
        for index, (number, value, key) in enumerate(messages):
            if index % _POLL_EVERY == 0:
                poll(0)
            while True:
                try:
                    produce(topic, value, number, headers=[*common, ("key", key)])
                except BufferError:
                    if time.monotonic() > deadline:
                        last_error = self._last_error or "none"
                        raise SinkUnavailable(f"Kafka: the queue stays full (last error: {last_error})") from None
                    poll(0.1)
                except KafkaException as error:
                    if error.args[0].code() not in _REFUSALS:
                        raise
                    self._failed[number] = error.args[0]
                    break
                else:
                    break

    def _new_producer(self) -> Any:
        self._is_reached, self._down_since, self._last_error, self._is_permitted = False, None, "", True
        callbacks = {"on_delivery": self._on_delivery, "error_cb": self._on_error, "logger": _OnceLogger()}
        return confluent_kafka.Producer({**self._settings, **callbacks})

    def _on_delivery(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._delivered += 1
            self._down_since = None
        else:
            self._failed[message.key()] = error

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._last_error = foreign_text(error.str())
            self._is_permitted = error.code() not in _NOT_PERMITTED
        elif self._down_since is None:
            self._down_since = time.monotonic()

    def _drop(self) -> None:
        """Drop the producer, and the messages that it has not sent yet."""
        producer, self._producer = self._producer, None
        producer.purge()
        producer.flush(_MORE_S)
