"""A web server on loopback that serves the repositories of cases, each as it is at the moment."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote

from blocklist_sdk.conformance.vectors import file_of


class CaseServer:
    """Serves each case's repository below the case's name.

    Attributes:
        layers: the layers of each case, by its name.
    """

    def __init__(self, port: int) -> None:
        self.layers: dict[str, list[str]] = {}
        self._port = port

    def url(self, case: str) -> str:
        """The base URL of a case's repository."""
        return f"http://127.0.0.1:{self._port}/{case}"


@contextmanager
def serving() -> Iterator[CaseServer]:
    """Serve on a free port of loopback while the block runs."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.cases = CaseServer(server.server_port)
    # A short interval, since stopping waits for it.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Handler.cases
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    cases: ClassVar[CaseServer]
    protocol_version = "HTTP/1.1"
    timeout = 10
    # Header and body leave together, or each answer would wait for the reader's delayed acknowledgement.
    wbufsize = -1

    def do_GET(self) -> None:
        case, _, path = unquote(self.path.partition("?")[0]).lstrip("/").partition("/")
        data = file_of(self.cases.layers.get(case, []), path)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the reader's answers are what counts."""
