"""Measure what a question costs a gateway: ``python -m integration.gateway_load``.

It starts Kamailio with the example configuration once for each way to ask, and prints for each:

- how long a call takes that is let through (from INVITE to the next hop's 200), one call at a time, with a question and
  without one. A caller without a number (``alice``) is not asked about, and goes the same way otherwise, so the
  difference is the question.
- how many calls a second it refuses, and lets through, when 64 calls are always under way.

Caller, gateway, next hop and what is asked share the machine's processors. All numbers are generated.
"""

import argparse
import itertools
import multiprocessing
import os
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from integration import listed
from integration.kamailio import answers, defines, kamailio
from integration.listed import Commands
from integration.neighbours import free_port
from integration.services import WAYS, service
from integration.sip import NextHop
from support.waiting import until

UNDER_WAY = 64
"""Calls at the same time when calls a second are measured."""

LOST_S = 5.0
"""A call without an answer for so long is lost, and ends the run."""

PERCENTILE = 99

_CALL_ID = re.compile(r"\r\ncall-id: *(\S+)", re.IGNORECASE)


def _answer(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", port))
        NextHop(channel).answer_all()


@contextmanager
def _next_hop() -> Iterator[int]:
    """A next hop in a process of its own; yields its port."""
    port = free_port(socket.SOCK_DGRAM)
    process = multiprocessing.get_context("spawn").Process(target=_answer, args=(port,), daemon=True)
    process.start()
    try:
        until(lambda: answers(port))
        yield port
    finally:
        process.terminate()
        process.join()


class _Load:
    """Sends INVITE as quickly as answers come, on one socket."""

    def __init__(self, channel: socket.socket, gateway: int) -> None:
        self._channel = channel
        self._gateway = ("127.0.0.1", gateway)
        self._numbers = itertools.count()
        self._address = "{}:{}".format(*channel.getsockname())
        channel.settimeout(LOST_S)

    def run(self, user: Callable[[int], str], *, calls: int, at_once: int, status: int) -> tuple[list[float], float]:
        """Make calls. It returns the milliseconds that each took, and how many there were a second.

        Raises:
            AssertionError: a call had another status.
            TimeoutError: a call was lost.
        """
        begun: dict[str, float] = {}
        took: list[float] = []
        start = time.perf_counter()
        sent = 0
        expected = f"SIP/2.0 {status} "
        while len(took) < calls:
            while sent < calls and len(begun) < at_once:
                number = next(self._numbers)
                call = f"{number}-{os.getpid()}"
                message = self._message("INVITE", user(sent), call, number, "<sip:+622150000000@gateway.example>")
                begun[call] = time.perf_counter()
                self._channel.sendto(message, self._gateway)
                sent += 1
            text = self._channel.recv(65_536).decode()
            if text.startswith("SIP/2.0 1"):
                continue
            found = _CALL_ID.search(text)
            call = found[1] if found else ""
            at = begun.pop(call, None)
            if at is None:
                continue  # sent again
            took.append((time.perf_counter() - at) * 1000)
            assert text.startswith(expected), text[:400]
            if status >= 300:
                to = text.partition("\r\nTo: ")[2].partition("\r")[0]
                number = int(call.partition("-")[0])
                self._channel.sendto(self._message("ACK", user(0), call, number, to), self._gateway)
        return took, calls / (time.perf_counter() - start)

    def _message(self, method: str, user: str, call: str, number: int, to: str) -> bytes:
        lines = [
            f"{method} sip:+622150000000@gateway.example SIP/2.0",
            f"Via: SIP/2.0/UDP {self._address};branch=z9hG4bK{call};rport",
            f"From: <sip:{user}@trunk.example>;tag={number}",
            f"To: {to}",
            f"Call-ID: {call}",
            f"CSeq: {number} {method}",
            "Max-Forwards: 70",
            *([f"Contact: <sip:{self._address}>"] if method == "INVITE" else []),
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""]).encode()


def _percentiles(took: list[float]) -> tuple[float, float]:
    return statistics.median(took), statistics.quantiles(took, n=100)[PERCENTILE - 1]


def _alice(_: int) -> str:
    return "alice"


def _free(index: int) -> str:
    return f"+62811{index % 10_000_000:08d}"


def _listed(index: int) -> str:
    return f"+{listed.FILLING_FROM + index % 100}"


def measure(way: str, folder: Path, hop: int, *, calls: int, rows: int) -> str:
    """One row of the table."""
    commands = Commands(folder)
    commands.publish_first(filling=rows)
    with service(way, commands) as asked:
        asked.follow()
        with (
            kamailio(folder, way, next_hop=hop, defines=defines(asked), memory_mb=1024) as gateway,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel,
        ):
            channel.bind(("127.0.0.1", 0))
            load = _Load(channel, gateway.port)
            for user, status in ((_alice, 200), (_free, 200), (_listed, 608)):
                load.run(user, calls=calls // 10, at_once=4, status=status)
            # In turns, so that what else the machine does falls on both.
            without: list[float] = []
            with_one: list[float] = []
            for _ in range(10):
                without += load.run(_alice, calls=calls // 10, at_once=1, status=200)[0]
                with_one += load.run(_free, calls=calls // 10, at_once=1, status=200)[0]
            _, refused = load.run(_listed, calls=calls, at_once=UNDER_WAY, status=608)
            _, passed = load.run(_free, calls=calls, at_once=UNDER_WAY, status=200)
            _, unasked = load.run(_alice, calls=calls, at_once=UNDER_WAY, status=200)
            assert gateway.statistic("blocklist_unchecked") == 0
    (median, high), (median_asked, high_asked) = _percentiles(without), _percentiles(with_one)
    return (
        f"{way:<6}{median:>9.2f}{high:>8.2f}{median_asked:>11.2f}{high_asked:>8.2f}"
        f"{median_asked - median:>+10.2f}{high_asked - high:>+8.2f}{refused:>12,.0f}{passed:>10,.0f}{unasked:>10,.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5_000, help="calls for each figure (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="numbers on the list (default: %(default)s)")
    parser.add_argument("--way", choices=WAYS, action="append", help="measure this way only; may be repeated")
    given = parser.parse_args()
    print(f"{'':6}{'not asked, ms':>17}{'asked, ms':>19}{'added, ms':>18}{'calls a second':>32}")
    print(f"{'way':<6}{'median':>9}{'p99':>8}{'median':>11}{'p99':>8}{'median':>10}{'p99':>8}", end="")
    print(f"{'refused':>12}{'passed':>10}{'unasked':>10}")
    with _next_hop() as hop:
        for way in given.way or WAYS:
            with tempfile.TemporaryDirectory(prefix="blocklist-") as name:
                print(measure(way, Path(name), hop, calls=given.calls, rows=given.rows), flush=True)


if __name__ == "__main__":
    main()
