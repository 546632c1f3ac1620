"""A network that fails in many ways, with a real server on loopback."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from blocklist_sdk import Malformed, Unreachable, Untrusted
from support.world import (
    FIRST,
    IMPATIENT,
    PATIENT,
    SECOND,
    World,
    assert_still_answers,
    copy_world,
    make_world,
    refused,
)

Fault = Callable[["Handler", bytes], bool]
"""Answers a request in its own way and returns True, or returns False to have it answered properly."""


class Handler(BaseHTTPRequestHandler):
    """Serves a repository, with or without a fault."""

    protocol_version = "HTTP/1.1"
    repository: Path
    fault: Fault
    stopped: threading.Event
    exists: bool

    def do_GET(self) -> None:
        path = self.repository / self.path.lstrip("/")
        self.exists = path.is_file()
        data = path.read_bytes() if self.exists else b""
        try:
            if not type(self).fault(self, data):
                self.answer(data, status=200 if self.exists else 404)
        except ConnectionError:
            self.close_connection = True

    def answer(self, data: bytes, *, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty(world: World, fault: Fault) -> Iterator[str]:
    stopped = threading.Event()
    handler = type(
        "Faulty", (Handler,), {"repository": world.repository, "fault": staticmethod(fault), "stopped": stopped}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A recipient that holds the first release, and a second one to be fetched."""
    world = copy_world(template, tmp_path)
    world.recipient().sync()
    world.release(SECOND)
    return world


def is_release(handler: Handler) -> bool:
    return handler.path.endswith(".parquet")


def is_metadata(handler: Handler) -> bool:
    return handler.exists and handler.path.startswith("/metadata/")


def endless(handler: Handler, data: bytes) -> bool:
    if not is_release(handler):
        return False
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    while not handler.stopped.is_set():
        handler.wfile.write(b"\0" * 65536)
    return True


def truncated(handler: Handler, data: bytes) -> bool:
    if not is_release(handler):
        return False
    handler.answer(data[: len(data) // 2], length=len(data))
    handler.close_connection = True
    return True


def stalled(handler: Handler, data: bytes) -> bool:
    return is_release(handler) and stall(handler, data)


def stalled_metadata(handler: Handler, data: bytes) -> bool:
    return is_metadata(handler) and stall(handler, data)


def stall(handler: Handler, data: bytes) -> bool:
    handler.answer(data[:10], length=len(data))
    handler.wfile.flush()
    handler.stopped.wait(600)
    return True


def dripping(handler: Handler, data: bytes) -> bool:
    return is_release(handler) and drip(handler, data)


def dripping_metadata(handler: Handler, data: bytes) -> bool:
    return is_metadata(handler) and drip(handler, data)


def drip(handler: Handler, data: bytes) -> bool:
    handler.answer(b"", length=len(data))
    for byte in data:
        if handler.stopped.is_set():
            break
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.02)
    return True


def tampered(handler: Handler, data: bytes) -> bool:
    if not is_release(handler):
        return False
    handler.answer(data[:-9] + b"\0" * 9)
    return True


def too_long(handler: Handler, data: bytes) -> bool:
    if not is_release(handler):
        return False
    handler.answer(data + b"\0")
    return True


def endless_metadata(handler: Handler, data: bytes) -> bool:
    handler.path += ".parquet"
    return endless(handler, data)


def captive_portal(handler: Handler, data: bytes) -> bool:
    """For every file but the next root, which does not exist yet."""
    return handler.exists and captive_portal_for_everything(handler, data)


def captive_portal_for_everything(handler: Handler, data: bytes) -> bool:
    handler.answer(b"<html><body>Log in to the hotel's network</body></html>")
    return True


def captive_portal_that_redirects(handler: Handler, data: bytes) -> bool:
    if handler.path.startswith("/login"):
        return captive_portal_for_everything(handler, data)
    handler.send_response(302)
    handler.send_header("Location", f"/login?from={handler.path}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    return True


def captive_portal_that_redirects_to_nowhere(handler: Handler, data: bytes) -> bool:
    handler.send_response(302)
    handler.send_header("Location", f"http://{'a' * 70}.example/login")
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    return True


def unavailable(handler: Handler, data: bytes) -> bool:
    handler.answer(b"", status=503)
    return True


def missing(handler: Handler, data: bytes) -> bool:
    handler.answer(b"", status=404)
    return True


STANDING_STILL = (stalled, dripping, stalled_metadata, dripping_metadata)
"""Faults that only a timeout ends."""


@pytest.mark.timing
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (endless, Untrusted),
        (endless_metadata, Untrusted),
        (too_long, Untrusted),
        (tampered, Untrusted),
        (truncated, Unreachable),
        (stalled, Unreachable),
        (dripping, Unreachable),
        (stalled_metadata, Unreachable),
        (dripping_metadata, Unreachable),
        (captive_portal, Malformed),
        (captive_portal_for_everything, Malformed),
        (captive_portal_that_redirects, Malformed),
        (captive_portal_that_redirects_to_nowhere, Unreachable),
        (unavailable, Unreachable),
        (missing, Unreachable),
    ],
    ids=lambda value: value.__name__,
)
def test_a_fault(world: World, fault: Fault, error: type[Unreachable] | type[Untrusted] | type[Malformed]) -> None:
    with faulty(world, fault) as url:
        patience = IMPATIENT if fault in STANDING_STILL else PATIENT
        refused(world.recipient(url=url, transport=patience), error)
    # After the fault, the next sync works.
    assert world.recipient().sync().after == 2


def test_a_connection_refused(world: World) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        refused(world.recipient(url=url), Unreachable)


def test_503_twice_then_fine(world: World) -> None:
    failures: dict[str, int] = {}

    def twice(handler: Handler, data: bytes) -> bool:
        failures[handler.path] = failures.get(handler.path, 0) + 1
        return failures[handler.path] <= 2 and unavailable(handler, data)

    with faulty(world, twice) as url:
        recipient = world.recipient(url=url)
        assert recipient.sync().after == 2
    assert_still_answers(recipient, 2)


def test_the_first_sync_over_http_takes_the_snapshot(world: World) -> None:
    with faulty(world, lambda *_: False) as url:
        recipient = world.recipient(url=url, cache="fresh")
        result = recipient.sync()
        assert (result.before, result.after, result.kind) == (None, 2, "snapshot")
        assert (result.added, result.removed, result.changed) == (len(SECOND), 0, 0)
        assert recipient.sync().kind == "none"
    assert FIRST[5] not in recipient
