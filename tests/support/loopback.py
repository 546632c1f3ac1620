"""A repository on a real server on loopback, where a test may step in."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class QuietServer(ThreadingHTTPServer):
    """Prints nothing about clients that hang up, since tests read what a command prints."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing is wrong with the test."""


class Handler(BaseHTTPRequestHandler):
    """Serves a repository; `step_in` may answer instead, and then returns True."""

    protocol_version = "HTTP/1.1"
    repository: Path
    step_in: "StepIn"
    stopped: threading.Event
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        try:
            if not type(self).step_in(self):
                path = self.repository / self.path.lstrip("/")
                self.answer(path.read_bytes() if path.is_file() else None)
        except ConnectionError:
            self.close_connection = True

    def answer(self, data: bytes | None, *, length: int | None = None) -> None:
        body = data or b""
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def hang(self) -> bool:
        """Send the first bytes of what was asked for, and nothing more until the server stops."""
        path = self.repository / self.path.lstrip("/")
        data = path.read_bytes() if path.is_file() else bytes(1_000_000)
        self.answer(data[:10], length=len(data))
        self.stopped.wait(600)
        return True

    def fail(self, status: int, *, retry_after: str | None = None) -> bool:
        """Answer with a failure."""
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def log_message(self, *_: object) -> None:
        pass


StepIn = Callable[[Handler], bool]


@contextmanager
def answering(repository: Path, step_in: StepIn = lambda _: False) -> Iterator[tuple[str, list[str]]]:
    """The address, and the paths that were asked for so far."""
    stopped, asked = threading.Event(), list[str]()
    members = {"repository": repository, "step_in": staticmethod(step_in), "stopped": stopped, "asked": asked}
    server = QuietServer(("127.0.0.1", 0), type("Answering", (Handler,), members))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
