"""Servers behind sinks.

Their clients are imported when they are needed: this module is loaded in every test run.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.redis_servers import RedisServer

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def redis_running() -> Iterator["RedisServer"]:
    """A server of this session's own."""
    from support.redis_servers import NoRedis, redis_server

    with ExitStack() as stack:
        try:
            server = stack.enter_context(redis_server())
        except NoRedis as error:
            if os.environ.get("CI_REQUIRES_SERVERS") == "1":
                raise
            pytest.skip(str(error))
        yield server


@pytest.fixture
def redis_url(redis_running: "RedisServer") -> str:
    """A sink's URL, with a prefix of its own."""
    return f"{redis_running.url}?prefix=test-{next(_NUMBERS)}"


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """A sink's URL, with a table of its own."""
    return f"{postgres}?table=blocklist_{next(_NUMBERS)}"


@pytest.fixture(scope="session")
def kafka_brokers() -> Iterator[str]:
    """Addresses of a cluster of this session's own."""
    from support.kafka_cluster import mock_cluster

    with mock_cluster() as addresses:
        yield addresses


@pytest.fixture
def kafka_url(kafka_brokers: str) -> str:
    """A sink's URL, with a topic of its own."""
    return f"kafka://{kafka_brokers}/blocked-{next(_NUMBERS)}"
