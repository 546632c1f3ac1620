"""A server that is stopped while it works."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from blocklist_sdk.exchange_server import serving
from blocklist_sdk.exchange_server.serving import serving_exchange
from support.talking import Talk, good, refused
from support.waiting import until


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.timing
def test_what_is_not_done_in_time_is_to_be_sent_again_and_what_is_done_is_answered(
    lite: Talk, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    monkeypatch.setattr(serving, "_STOP_S", 1)
    commit = lite.exchange.report_queue.group_commit
    body = lite.new_report()
    headers = lite.token("web") | {"Idempotency-Key": "once"}
    threads = stack.enter_context(ThreadPoolExecutor(1))
    with serving_exchange(lite.exchange, publish=False) as url:
        assert commit.lock.acquire()
        waits = threads.submit(httpx.post, f"{url}/v1/reports", json=body, headers=headers, timeout=60)
        # Longer than the server waits for anybody.
        waits.add_done_callback(lambda _: commit.lock.release())
        until(lambda: commit.waiting == 1)
    problem = refused(waits.result(), 503, "unavailable")
    assert "shutting down" in problem["detail"]
    assert waits.result().headers["Retry-After"]
    # It was done nevertheless, and is answered to whoever sends it again.
    again = lite.request("POST", "/v1/reports", json=body, headers=headers)
    assert good(again)["number"] == int(body["number"])
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.timing
def test_a_server_that_ends_by_itself_is_not_taken_for_one_that_was_stopped(
    lite: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    servers: list[serving.Server] = []
    make = serving.server_of

    def kept(*args: object, **kwargs: object) -> serving.Server:
        servers.append(make(*args, **kwargs))  # type: ignore[arg-type]
        return servers[-1]

    def serve() -> None:
        with serving_exchange(lite.exchange, publish=False, on_ended=ended.set):
            servers[0].should_exit = True
            assert ended.wait(60)

    monkeypatch.setattr(serving, "server_of", kept)
    with pytest.raises(RuntimeError, match="by itself"):
        serve()
