"""Asks a server at a fixed rate, or as fast as it answers, from a process of its own: ``python -m benchmarks.paced``.

wrk and redis-benchmark know no fixed rate, and wrk no Unix socket. Latencies count from the moment at which a question
was due, also where it waited for a connection. The report is one line of JSON.
"""

import argparse
import asyncio
import json
import random
import re
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.serving_world import FIRST

_LENGTH: Final = re.compile(rb"\r\nContent-Length: ([0-9]+)", re.IGNORECASE)
_TICK_S: Final = 0.001


class Load:
    """The questions, and what came of them.

    Attributes:
        latencies_s: of what was answered.
        failures: answers that were none.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.latencies_s: list[float] = []
        self.failures = 0
        self._is_redis = arguments.door == "redis"
        self._keys, self._rate = arguments.keys, arguments.rate
        self._body = b"" if arguments.body is None else arguments.body.read_bytes()
        self._type = arguments.content_type
        self._free: deque[Client] = deque()
        self._due: deque[float] = deque()
        self._draw = random.Random(7).randrange
        self.is_over = False

    def question(self) -> bytes:
        """The next question."""
        if self._body:
            head = f"POST /v1/verdicts HTTP/1.1\r\nHost: a\r\nContent-Type: {self._type}\r\nAccept: {self._type}\r\n"
            return f"{head}Content-Length: {len(self._body)}\r\n\r\n".encode() + self._body
        key = b"+%d" % (FIRST + self._draw(self._keys))
        if self._is_redis:
            return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key)
        return b"GET /v1/verdicts/%b HTTP/1.1\r\nHost: a\r\n\r\n" % key

    def answer(self, data: bytes) -> bool | None:
        """Whether some bytes are a good answer; None if they are not all of one."""
        if self._is_redis:
            is_whole = data.endswith(b"\r\n") and (data[:1] != b"$" or data[1:2] == b"-" or data.count(b"\r\n") == 2)
            return data[:1] == b"$" if is_whole else None
        end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, end) if end >= 0 else None
        if length is None or len(data) < end + 4 + int(length[1]):
            return None
        return data.startswith(b"HTTP/1.1 200 ")

    def rest(self, client: "Client") -> None:
        """Give a client that has its answer the next question, now or when one is due."""
        if self.is_over:
            return
        if not self._rate:
            client.ask(time.perf_counter())
        elif self._due:
            client.ask(self._due.popleft())
        else:
            self._free.append(client)

    async def run(self, seconds: float) -> None:
        """Ask for so long."""
        started, issued = time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < seconds:
            if self._rate:
                for number in range(issued, int(passed * self._rate)):
                    due = started + number / self._rate
                    if self._free:
                        self._free.popleft().ask(due)
                    else:
                        self._due.append(due)
                issued = int(passed * self._rate)
            await asyncio.sleep(_TICK_S)
        self.is_over = True


class Client(asyncio.Protocol):
    """One connection, with one question at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._data = b""
        self._due = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._load.rest(self)

    def ask(self, due: float) -> None:
        """Ask a question that was due at a moment."""
        self._due = due
        self._transport.write(self._load.question())

    def data_received(self, data: bytes) -> None:
        """Take an answer, or a part of one."""
        self._data = self._data + data if self._data else data
        is_good = self._load.answer(self._data)
        if is_good is None:
            return
        self._data = b""
        if is_good:
            self._load.latencies_s.append(time.perf_counter() - self._due)
        else:
            self._load.failures += 1
        self._load.rest(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up has not answered."""
        if not self._load.is_over:
            self._load.failures += 1


async def ask(arguments: argparse.Namespace) -> dict[str, float]:
    """Connect, ask, and sum up."""
    load, loop = Load(arguments), asyncio.get_running_loop()
    for _ in range(arguments.connections):
        if arguments.uds is not None:
            await loop.create_unix_connection(lambda: Client(load), str(arguments.uds))
        else:
            await loop.create_connection(lambda: Client(load), "127.0.0.1", arguments.port)
    started = time.perf_counter()
    await load.run(arguments.seconds)
    took_s = time.perf_counter() - started
    found = sorted(load.latencies_s)
    return {
        "answers": len(found),
        "per_second": len(found) / took_s,
        "p50_s": found[len(found) // 2] if found else 0.0,
        "p99_s": found[len(found) * 99 // 100] if found else 0.0,
        "failures": load.failures,
    }


def main() -> None:
    """Read the arguments, ask, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paced", description=__doc__)
    parser.add_argument("--door", choices=("http", "redis"), required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--uds", type=Path)
    parser.add_argument("--rate", type=float, default=0.0, help="questions a second; 0 for as fast as it goes")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--body", type=Path, help="post the content of this file instead")
    parser.add_argument("--content-type", default="application/json")
    print(json.dumps(uvloop.run(ask(parser.parse_args()))))


if __name__ == "__main__":
    main()
