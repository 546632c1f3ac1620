"""A webhook's receiver on loopback, into which a test may step."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from blocklist_sdk.enforcement.sink import HeldItem
from blocklist_sdk.enforcement.webhook_signatures import verify_webhook
from support.loopback import QuietServer

SECRET: Final = "whsec_" + "c2VjcmV0IHRoYXQgaXMgZ2VuZXJhdGVkIGZvciB0ZXN0cw=="

StepIn = Callable[["Handler", dict[str, Any]], bool]
"""May answer in place of the receiver, and then returns True."""


@dataclass
class Receiver:
    """The requests of a receiver, and the items that it holds, by feed and first number."""

    url: str = ""
    step_in: StepIn = lambda _, __: False
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    held: dict[str, dict[int, HeldItem]] = field(default_factory=dict)
    refuses: int | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def do(self, message: dict[str, Any]) -> list[dict[str, str]]:
        """Carry out a message; returns the outcomes."""
        answers = []
        with self.lock:
            mine = self.held.setdefault(message["feed"], {})
            for item in message["items"]:
                number, last = int(item["number"]), int(item["last"])
                if number == self.refuses:
                    answers.append({"key": item["key"], "outcome": "refused", "detail": "it is ours"})
                    continue
                mine.pop(number, None)
                if message["type"] != "blocklist.unblock":
                    mine[number] = HeldItem(number, last, tuple(item["scope"]))
                answers.append({"key": item["key"], "outcome": "enforced"})
        return answers


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = dict(self.headers.items())
        message = verify_webhook(SECRET, headers, body)
        self.receiver.requests.append((headers, message))
        self.receiver.bodies.append(body)
        try:
            if not self.receiver.step_in(self, message):
                self.answer(200, json.dumps({"items": self.receiver.do(message)}).encode())
        except ConnectionError:
            self.close_connection = True

    def answer(self, status: int, body: bytes = b"", *, media_type: str = "application/json", **headers: str) -> bool:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that carries out messages, unless a test steps in."""
    receiver = Receiver()
    server = QuietServer(("127.0.0.1", 0), type("Receiving", (Handler,), {"receiver": receiver}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/blocks?for=test"
    try:
        yield receiver
    finally:
        receiver.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
