"""The deadline of a sync: a server that is just fast enough does not hold it for ever."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Unreachable
from blocklist_sdk.fetch.transport import Transport, TransportSettings


class Dripping(BaseHTTPRequestHandler):
    """Sends a byte every hundredth of a second, for as long as somebody listens."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x")
                time.sleep(0.01)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()
        thread.join()


def test_a_download_that_drips_ends_at_the_deadline(url: str, tmp_path: Path) -> None:
    settings = TransportSettings(deadline_s=0.5, minimum_bytes_per_s=1.0, backoff_initial_s=0.01)
    with Transport(settings=settings) as transport:
        transport.limit_time()
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"took longer than the 0\.5 s"):
            transport.download(url, tmp_path / "file", length=1_000_000)
        assert time.monotonic() - started < 5
        # It was the deadline of the whole sync: nothing else is fetched, and asking again does not begin it anew.
        transport.limit_time(10**9)
        with pytest.raises(Unreachable, match="took longer"):
            transport.get(url, max_bytes=10)


def test_by_default_the_time_follows_from_the_length() -> None:
    with Transport() as transport:
        transport.limit_time(160_000_000)
        assert transport._allowed_s == 3_600 + 10_000
        # Each plan begins its own.
        transport.limit_time()
        assert transport._allowed_s == 3_600
