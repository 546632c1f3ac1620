"""Releases that change while clients ask at every door: whether every answer was right when it was given.

Each release lists one number more, so the numbers that are blocked say which release answered. An answer is right if
that release was in force at some moment from a second before the question until the answer, and if it is whole: no
number of a later release without those of the earlier ones.
"""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import redis as redis_client

from benchmarks.serving_world import FEED, FIRST, PASSPHRASE, Served, World, look_up_server
from blocklist_sdk import Publisher
from blocklist_sdk.publisher import PublisherGuard

_PICKED_UP_S: Final = 1.0
"""The promise: a release that any process has fetched is used within a second."""

_SLACK_S: Final = 0.5
"""For a machine with other work: the clients' threads get their turns late."""

_BETWEEN_S: Final = 0.1
_ARROW: Final = "application/vnd.apache.arrow.stream"


@dataclass
class Changed:
    """What came of it.

    Attributes:
        releases: how many came into force.
        clients: how many asked.
        answers: how many questions were answered.
        wrong: how many of them wrongly.
        errors: how many questions had no answer, or no good status.
        examples: what went wrong, of the first few.
    """

    releases: int
    clients: int
    answers: int = 0
    wrong: int = 0
    errors: int = 0
    examples: list[str] = field(default_factory=list)


Ask = Callable[[], tuple[int, int]]
"""Asks once; returns the least and the greatest release that can have given the answer."""


class _Timeline:
    """Which release was in force when.

    A release counts from the moment before its sync began, and the one before it until a second after that has ended.
    """

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.done: list[float] = []

    def allowed(self, asked: float, answered: float) -> tuple[int, int]:
        """The least and the greatest release that may answer a question."""
        least = sum(done <= asked - _PICKED_UP_S - _SLACK_S for done in self.done)
        return max(1, least), sum(begun <= answered for begun in self.begun)


def changing(folder: Path, releases: int) -> Changed:
    """Publish and sync so many releases while two clients for each of four ways ask two workers."""
    world = World(folder, 1, None)
    publisher = Publisher.init(folder / "publisher", feeds=[FEED], passphrase=PASSPHRASE, region="ID")
    timeline, stop = _Timeline(), threading.Event()
    numbers = [f"+{FIRST + place}" for place in range(releases + 1)]

    def release(serial: int) -> None:
        publisher.release(FEED, pa.table({"number": numbers[:serial]}), guard=PublisherGuard.off())
        timeline.begun.append(time.monotonic())
        recipient.sync()
        timeline.done.append(time.monotonic())

    with world.open() as recipient:
        release(1)
        with look_up_server(world, workers=2) as served:
            asks = _asks(served, numbers)
            changed = Changed(releases, len(asks))
            lock = threading.Lock()
            threads = [threading.Thread(target=_ask, args=(ask, timeline, changed, lock, stop)) for ask in asks]
            for thread in threads:
                thread.start()
            for serial in range(2, releases + 2):
                release(serial)
                time.sleep(_BETWEEN_S)
            time.sleep(_PICKED_UP_S)
            stop.set()
            for thread in threads:
                thread.join()
    return changed


def _ask(ask: Ask, timeline: _Timeline, changed: Changed, lock: threading.Lock, stop: threading.Event) -> None:
    while not stop.is_set():
        asked = time.monotonic()
        problem, is_error = "", False
        try:
            least, greatest = ask()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is counted
            problem, is_error = f"{type(error).__name__}: {error}", True
        else:
            allowed = timeline.allowed(asked, time.monotonic())
            if greatest < allowed[0] or least > allowed[1] or greatest < least:
                problem = f"answered by release {least} to {greatest}, where {allowed[0]} to {allowed[1]} may answer"
        with lock:
            changed.answers += not is_error
            changed.errors += is_error
            changed.wrong += bool(problem) and not is_error
            if problem and len(changed.examples) < 10:
                changed.examples.append(problem)


def _asks(served: Served, numbers: list[str]) -> list[Ask]:
    found: list[Ask] = []
    for _ in range(2):
        found.append(_by_get(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30), numbers))
        found.append(_by_get(_UnixConnection(str(served.uds)), numbers))
        found.append(_by_redis(served.redis_port, numbers))
        found.append(_by_batch(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30), numbers))
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def _body(connection: http.client.HTTPConnection, *request: Any) -> bytes:
    connection.request(*request)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {body[:200]!r}")
    return body


def _by_get(connection: http.client.HTTPConnection, numbers: list[str]) -> Ask:
    draw = random.Random(11)

    def ask() -> tuple[int, int]:
        place = draw.randrange(len(numbers))
        verdict = json.loads(_body(connection, "GET", f"/v1/verdicts/{numbers[place]}"))
        serial = int(verdict["serial"])
        if verdict["blocked"] is not (place < serial):
            raise RuntimeError(f"release {serial} says {verdict['blocked']} about number {place + 1}")
        return serial, serial

    return ask


def _whole(blocked: list[bool]) -> tuple[int, int]:
    """The release that blocks these."""
    serial = sum(blocked)
    if not all(blocked[:serial]):
        raise RuntimeError("a mixture of releases")
    return serial, serial


def _by_redis(port: int, numbers: list[str]) -> Ask:
    client, draw = redis_client.Redis(port=port, protocol=3), random.Random(13)

    def ask() -> tuple[int, int]:
        if draw.random() < 0.5:
            return _whole([level == b"block" for level in client.mget(numbers)])
        place = draw.randrange(len(numbers))
        return (place + 1, len(numbers)) if client.get(numbers[place]) == b"block" else (0, place)

    return ask


def _by_batch(connection: http.client.HTTPConnection, numbers: list[str]) -> Ask:
    draw = random.Random(17)
    column = pa.table({"number": numbers})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, column.schema) as stream:
        stream.write_table(column)
    as_arrow, as_json = sink.getvalue().to_pybytes(), json.dumps({"numbers": numbers}).encode()

    def ask() -> tuple[int, int]:
        if draw.random() < 0.5:
            headers = {"Content-Type": _ARROW, "Accept": _ARROW}
            answer = pa.ipc.open_stream(_body(connection, "POST", "/v1/verdicts", as_arrow, headers)).read_all()
            return _whole(answer.column("blocked").to_pylist())
        headers = {"Content-Type": "application/json"}
        verdicts = json.loads(_body(connection, "POST", "/v1/verdicts", as_json, headers))["verdicts"]
        for place, verdict in enumerate(verdicts):
            if verdict["blocked"] is not (place < verdict["serial"]):
                raise RuntimeError(f"release {verdict['serial']} is wrong about number {place + 1}")
        return min(each["serial"] for each in verdicts), max(each["serial"] for each in verdicts)

    return ask
