"""An exchange on loopback that sends prepared responses and records requests."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from support.loopback import QuietServer

TOKEN_PATH = "/oauth/token"
NUMBER = 6281234567890
MOMENT = "2026-11-24T08:00:00Z"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Told:
    """One answer."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: "Callable[[Asked, Handler], Told | None]"
    asked: list[Asked]
    stopped: threading.Event

    def do_GET(self) -> None:
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = urlsplit(self.path)
            asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers), body)
            self.asked.append(asked)
            told = type(self).answer(asked, self)
            if told is not None:
                self.tell(told)
        except ConnectionError:
            self.close_connection = True

    do_POST = do_GET  # noqa: N815 -- the standard library's names

    def tell(self, told: Told, *, length: int | None = None) -> None:
        self.send_response(told.status)
        for name, value in told.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", told.media_type)
        self.send_header("Content-Length", str(len(told.data) if length is None else length))
        self.end_headers()
        self.wfile.write(told.data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Asked, Handler], Told | None]


def problem(status: int, detail: str, **members: Any) -> Told:
    headers = members.pop("headers", {})
    document = {"type": "urn:blocklist:problem:some", "title": "Some", "status": status, "detail": detail, **members}
    return Told(document, status, headers, "application/problem+json")


def token(value: str = "token-1", life_s: int = 300) -> Told:
    return Told({"access_token": value, "token_type": "Bearer", "expires_in": life_s, "scope": "report"})


def routes(table: Mapping[str, Any]) -> Answer:
    """Answers by method and path; a list is one answer for each time it is asked, a function is called."""
    pending = {place: list(told) if isinstance(told, list) else told for place, told in table.items()}

    def answer(asked: Asked, handler: Handler) -> Told | None:
        if asked.path == TOKEN_PATH and f"POST {TOKEN_PATH}" not in pending:
            return token()
        told = pending.get(f"{asked.method} {asked.path}", problem(404, "there is no such thing"))
        if isinstance(told, list):
            told = told.pop(0)
        if callable(told):
            told = told(asked)
        return told if isinstance(told, Told) else Told(told)

    return answer


@contextmanager
def exchanging(answer: Answer) -> Iterator[tuple[str, list[Asked]]]:
    """The exchange's address, and its requests so far."""
    stopped, asked = threading.Event(), list[Asked]()
    members = {"answer": staticmethod(answer), "asked": asked, "stopped": stopped}
    server = QuietServer(("127.0.0.1", 0), type("Exchanging", (Handler,), members))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


EVIDENCE = {"id": 3, "sha256": "0" * 64, "media_type": "image/png", "bytes": 4, "name": "a.png", "received_at": MOMENT}


def report(number: int = 1, **changed: Any) -> dict[str, Any]:
    return {
        "id": number,
        "case": 7,
        "number": NUMBER,
        "category": "fraud",
        "channel": "sms",
        "app": None,
        "text": "You have won",
        "happened_at": MOMENT,
        "received_at": MOMENT,
        "reporter": "customer-17",
        "repeats": None,
        "evidence": [],
        "case_state": "incomplete",
        "missing": ["evidence"],
        "unknown_to_this_version": True,
        **changed,
    }


def decision(**changed: Any) -> dict[str, Any]:
    return {
        "id": 5,
        "case": 7,
        "kind": "block",
        "reason": "seen",
        "category": "fraud",
        "scope": ["sms", "voice"],
        "until": None,
        "urgent": False,
        "officer": "officer-a",
        "decided_at": MOMENT,
        "state": "proposed",
        "confirmed_by": None,
        "confirmed_at": None,
        **changed,
    }


def case(number: int = 7, **changed: Any) -> dict[str, Any]:
    moments = ("complete_at", "verifying_at", "decided_at", "published_at", "enforced_at", "closed_at")
    listing = {
        "feed": "id-telkomsel",
        "entry": 11,
        "level": "block",
        "since": MOMENT,
        "until": None,
        "listed_serial": 4,
        "listed_at": MOMENT,
        "retracted_at": None,
        "lifted_serial": None,
        "lifted_at": None,
    }
    return {
        "id": number,
        "version": 12,
        "number": NUMBER,
        "operator": "telkomsel",
        "state": "received",
        "opened_at": MOMENT,
        **dict.fromkeys(moments),
        "officer": None,
        "reports": 2,
        "reporters": 2,
        "accounts": 1,
        "category": "fraud",
        "overdue": True,
        "decisions": [decision()],
        "listings": [listing],
        **changed,
    }


def appeal(**changed: Any) -> dict[str, Any]:
    lifted = {"recipient": "telkomsel", "feed": "id-telkomsel", "entry": 11, "lifted_at": None, "receipt": None}
    return {
        "id": 9,
        "case": 7,
        "number": NUMBER,
        "state": "open",
        "grounds": "a new owner",
        "appellant": "customer-18",
        "received_at": MOMENT,
        "evidence": [],
        "reason": None,
        "answered_at": None,
        "proposed": None,
        "lifted": [lifted],
        **changed,
    }


RECEIPT = {
    "id": 1,
    "recipient": "telkomsel",
    "feed": "id-telkomsel",
    "serial": 4,
    "entry": 11,
    "outcome": "enforced",
    "at": MOMENT,
    "detail": "",
    "received_at": MOMENT,
}

RECYCLED = {
    "digest": "0" * 64,
    "feed": "id-telkomsel",
    "recipient": "telkomsel",
    "is_home": True,
    "since": MOMENT,
    "numbers": 60,
    "bound": 50,
    "examples": [{"case": 7, "number": NUMBER, "entry": 11, "received_at": MOMENT}],
}

RECYCLED_ANSWER = {"feed": "id-telkomsel", "recipient": "telkomsel", "numbers": 60, "retracted": 59}

EVENT = {
    "sequence": 1,
    "at": MOMENT,
    "actor": "officer-a",
    "event": "taken-up",
    "detail": {"case": 7},
    "hash": "0" * 64,
}

STATISTICS = {
    "month": "2026-11",
    "reports": 3,
    "cases": 2,
    "decisions": {"block": 1},
    "published": 1,
    "enforced": 0,
    "open": 1,
    "overdue": 0,
    "decision_to_enforcement": {"count": 3, "median_s": 30.0, "p95_s": 60.0},
    "retraction_to_lifting": {"count": 0, "median_s": None, "p95_s": None},
    "recipients": [
        {
            "recipient": "telkomsel",
            "feed": "id-telkomsel",
            "published": 1,
            "retracted": 0,
            "reports": 4,
            "decisions": {"block": 3, "advisory": 0, "reject": 0, "retract": 0},
            "receipts": {"enforced": 1},
            "open": 0,
            "decision_to_enforcement": {"count": 1, "median_s": 60.0, "p95_s": 90.0},
            "retraction_to_lifting": {"count": 0, "median_s": None, "p95_s": None},
        }
    ],
}


def page(*items: Any, following: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "next": following}
