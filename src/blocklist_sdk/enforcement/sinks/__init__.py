"""The sinks that come with the package.

Names load when they are first used; those of Kafka, PostgreSQL and Redis need their extra.
"""

from typing import TYPE_CHECKING

from blocklist_sdk.lazy import attach

if TYPE_CHECKING:
    from blocklist_sdk.enforcement.sinks.drop_directory import FileSink as FileSink
    from blocklist_sdk.enforcement.sinks.drop_directory import open_file_sink as open_file_sink
    from blocklist_sdk.enforcement.sinks.drop_files import DropFile as DropFile
    from blocklist_sdk.enforcement.sinks.drop_files import DropResponse as DropResponse
    from blocklist_sdk.enforcement.sinks.drop_files import drop_response_name as drop_response_name
    from blocklist_sdk.enforcement.sinks.drop_files import read_drop_file as read_drop_file
    from blocklist_sdk.enforcement.sinks.drop_files import read_drop_response as read_drop_response
    from blocklist_sdk.enforcement.sinks.drop_files import write_drop_response as write_drop_response
    from blocklist_sdk.enforcement.sinks.kafka import KafkaSink as KafkaSink
    from blocklist_sdk.enforcement.sinks.kafka import open_kafka_sink as open_kafka_sink
    from blocklist_sdk.enforcement.sinks.postgresql import PostgresSink as PostgresSink
    from blocklist_sdk.enforcement.sinks.postgresql import open_postgres_sink as open_postgres_sink
    from blocklist_sdk.enforcement.sinks.redis import REDIS_LOOK_UP as REDIS_LOOK_UP
    from blocklist_sdk.enforcement.sinks.redis import RedisSink as RedisSink
    from blocklist_sdk.enforcement.sinks.redis import open_redis_sink as open_redis_sink
    from blocklist_sdk.enforcement.sinks.redis import redis_is_blocked as redis_is_blocked
    from blocklist_sdk.enforcement.sinks.redis import redis_keys as redis_keys
    from blocklist_sdk.enforcement.sinks.webhook import WebhookSink as WebhookSink
    from blocklist_sdk.enforcement.sinks.webhook import open_webhook_sink as open_webhook_sink

attach(
    __name__,
    {
        "DropFile": "drop_files",
        "DropResponse": "drop_files",
        "FileSink": "drop_directory",
        "KafkaSink": "kafka",
        "PostgresSink": "postgresql",
        "REDIS_LOOK_UP": "redis",
        "RedisSink": "redis",
        "WebhookSink": "webhook",
        "drop_response_name": "drop_files",
        "open_file_sink": "drop_directory",
        "open_kafka_sink": "kafka",
        "open_postgres_sink": "postgresql",
        "open_redis_sink": "redis",
        "open_webhook_sink": "webhook",
        "read_drop_file": "drop_files",
        "read_drop_response": "drop_files",
        "redis_is_blocked": "redis",
        "redis_keys": "redis",
        "write_drop_response": "drop_files",
    },
)
