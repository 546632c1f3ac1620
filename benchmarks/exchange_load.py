"""What the exchange bears: reports and receipts at fixed rates, for a while.

::

    python -m benchmarks.exchange_load --seconds 60 --reports 200 --receipts 2000 [--database URL [--processes N]]

The server runs in one process or several of its own, as `blocklist exchange serve` would run it; the load comes from
this one, over connections that are kept open. What the server does not bear it refuses with 503, which is counted by
itself. Latencies are of what it took, and count from the moment at which a request was due, also where it waited for a
connection. Every answer is a durable commit. Numbers are generated, none is anybody's.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.results import quantity

_PASSPHRASE = "generated for a benchmark"
_OFFLINE_PASSPHRASE = "of root and targets, in a benchmark"
_FEED = "id-telkomsel"
_LISTED = 20_000
"""Entries that receipts are for; each serial of the feed gives as many."""
_SERIALS = 1000
_NUMBERS = 6281200000000
_SILENCE_S = 30.0
"""How long the server may say nothing to a request."""
_SHED = "shed"


@dataclass
class Kind:
    """Requests of one kind, and what came of them.

    Attributes:
        name: what they are.
        items: in one request.
        latencies_s: from when each was due.
        failures: answers that were none, by what they were.
        shed: requests that were refused because of the load, with 503.
    """

    name: str
    items: int
    latencies_s: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    shed: int = 0

    def line(self, seconds: float) -> str:
        """One row of the table."""
        ordered = sorted(self.latencies_s)
        failed = ", ".join(f"{count} × {what}" for what, count in sorted(self.failures.items())) or "none"
        times = [
            quantity(ordered[int(share * (len(ordered) - 1))], "s") if ordered else "–" for share in (0.5, 0.95, 0.99)
        ]
        rate = f"{len(ordered) * self.items / seconds:,.0f}"
        return f"| {self.name} | {rate} | {self.shed:,} | {failed} | {' | '.join(times)} |"


def main() -> None:
    """Run the load, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reports", type=float, default=200, help="reports a second, one in each request")
    parser.add_argument("--receipts", type=float, default=2000, help="receipts a second")
    parser.add_argument("--batch", type=int, default=500, help="receipts in one request")
    parser.add_argument(
        "--connections", type=int, default=400, help="what is due while all wait for answers is sent when one has come"
    )
    parser.add_argument("--database", default=None, help="URL of an empty PostgreSQL database; by default SQLite")
    parser.add_argument("--processes", type=int, default=1, help="how many serve")
    parser.add_argument("--serve", type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        _serve(given.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "exchange"
        tokens = _prepare(directory, given.database)
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(_server(directory)) for _ in range(given.processes)]
            started = time.perf_counter()
            kinds = asyncio.run(_load([url for url, _ in servers], tokens, given))
            seconds = max(given.seconds, time.perf_counter() - started)
            used_s = sum(_processor_s(process.pid) for _, process in servers)
    database = "SQLite" if given.database is None else given.database.partition(":")[0]
    print(f"{given.seconds:g} s on {database}, receipts in batches of {given.batch}")
    print(
        f"answered within {seconds:.1f} s; {given.processes} × the server used a processor for {used_s:.1f} s of them"
    )
    print("\n| what | a second | shed | failures | median | p95 | p99 |\n|---|---:|---:|---|---:|---:|---:|")
    for kind in kinds:
        print(kind.line(seconds))
    if any(kind.failures for kind in kinds):
        raise SystemExit(1)


def _processor_s(pid: int) -> float:
    """How long a process has run on a processor, seconds; 0 where the system does not say."""
    file = Path(f"/proc/{pid}/stat")
    if not file.exists():
        return 0.0
    fields = file.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _prepare(directory: Path, database: str | None) -> dict[str, str]:
    """An exchange with listings, and a token for each account."""
    from sqlalchemy import select

    from blocklist_sdk.exchange_server.casework.accounts import add_account
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.settings import ExchangeSettings
    from blocklist_sdk.exchange_server.store.database import add_all
    from blocklist_sdk.exchange_server.store.tables import CaseRow, FeedRow, ListingRow
    from blocklist_sdk.exchange_server.store.trail import Act

    settings = ExchangeSettings(token_s=86_400, account_rate="1000000/minute")
    if database is not None:
        settings = settings.model_copy(update={"database": database})
    with Exchange.init(
        directory, passphrase=_PASSPHRASE, offline_passphrase=_OFFLINE_PASSPHRASE, settings=settings
    ) as exchange:
        at = exchange.clock()
        scopes = {"web": ("report",), "telkomsel": ("receipt", f"feed:{_FEED}")}
        with exchange.database.writing(by=Act("command line", "prepared")) as session:
            for name, some in scopes.items():
                add_account(session, name, " ".join(some), key=None, now=at)
            case = {"state": "published", "opened_at": at, "published_at": at, "events": 0, "head": ""}
            add_all(session, CaseRow, [{"number": _NUMBERS + index} | case for index in range(_LISTED)])
            listing = {"feed": _FEED, "level": "block", "category": "fraud", "scope": "sms", "since": at}
            listing |= {"urgent": True, "waiting": False, "listed_serial": 1, "listed_at": at}
            rows = session.execute(select(CaseRow.id, CaseRow.number).order_by(CaseRow.id)).all()
            entries = [
                {"case_id": row.id, "number": row.number, "entry": entry} | listing for entry, row in enumerate(rows, 1)
            ]
            add_all(session, ListingRow, entries)
            feed = FeedRow(name=_FEED, last_entry=_LISTED, begun=_SERIALS, serial=_SERIALS, rows=_LISTED)
            feed.published_at = at
            session.add(feed)
        return {name: exchange.tokens.issue(name, some, at.timestamp()) for name, some in scopes.items()}


@contextlib.contextmanager
def _server(directory: Path) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    command = [sys.executable, "-m", "benchmarks.exchange_load", "--serve", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()


def _serve(directory: Path) -> None:
    import signal

    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.serving import keep_what_is_loaded, raise_open_files, serving_exchange

    raise_open_files()  # as `serve` does: of the connections that follow from it, one address gets an eighth
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Exchange.open(directory, passphrase=_PASSPHRASE) as exchange, serving_exchange(exchange, publish=False) as url:
        keep_what_is_loaded()
        print(url, flush=True)
        while True:
            signal.pause()


async def _load(urls: list[str], tokens: dict[str, str], given: argparse.Namespace) -> list[Kind]:
    """Both kinds of requests, at their rates."""
    chance = random.Random(1)
    now = datetime.now(UTC).isoformat()

    def report(index: int) -> tuple[str, Any]:
        number = _NUMBERS + 10_000_000 + chance.randrange(5_000_000)
        body = {"number": f"+{number}", "category": "fraud", "channel": "sms", "text": "It said that I had won."}
        return "/v1/reports", body | {"happened_at": now, "reporter": f"r{index}"}

    def receipts(index: int) -> tuple[str, Any]:
        first = index * given.batch
        return "/v1/receipts", {
            "receipts": [
                {
                    "feed": _FEED,
                    "serial": each // _LISTED + 1,
                    "entry": each % _LISTED + 1,
                    "outcome": "enforced",
                    "at": now,
                }
                for each in range(first, first + given.batch)
            ]
        }

    kinds = [Kind("reports", 1), Kind("receipts", given.batch)]
    due = [
        *_schedule(kinds[0], given.reports, given.seconds, tokens["web"], report),
        *_schedule(kinds[1], given.receipts / given.batch, given.seconds, tokens["telkomsel"], receipts),
    ]
    waiting: asyncio.Queue[tuple[float, _Request] | None] = asyncio.Queue()
    senders = [asyncio.create_task(_send_all(urls[i % len(urls)], waiting)) for i in range(given.connections)]
    started = time.perf_counter()
    for request in sorted(due, key=lambda each: each.after_s):
        moment = started + request.after_s
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        waiting.put_nowait((moment, request))
    for _ in senders:
        waiting.put_nowait(None)
    await asyncio.gather(*senders)
    return kinds


@dataclass(frozen=True, slots=True)
class _Request:
    """One that is due so many seconds after the start."""

    after_s: float
    kind: Kind
    token: str
    key: str
    make: Callable[[int], tuple[str, Any]]
    index: int


def _schedule(
    kind: Kind, rate: float, seconds: float, token: str, make: Callable[[int], tuple[str, Any]]
) -> list[_Request]:
    """A request every so often."""
    return [
        _Request(index / rate, kind, token, f"{kind.name}-{index}", make, index) for index in range(int(rate * seconds))
    ]


async def _send_all(url: str, waiting: "asyncio.Queue[tuple[float, _Request] | None]") -> None:
    """Send what waits over one connection, one after the other."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    while (due := await waiting.get()) is not None:
        moment, request = due
        kind = request.kind
        try:
            what = await asyncio.wait_for(_send(reader, writer, request), _SILENCE_S)
        except (OSError, EOFError, TimeoutError) as error:
            what = type(error).__name__
            writer.close()
            reader, writer = await asyncio.open_connection(host, int(port))
        if what == _SHED:
            kind.shed += 1
        elif what:
            kind.failures[what] = kind.failures.get(what, 0) + 1
        else:
            kind.latencies_s.append(time.perf_counter() - moment)
    writer.close()


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: _Request) -> str:
    """What was wrong with the answer, if anything.

    Without a library for HTTP: one takes as much of a processor as the server, which has to share them.
    """
    path, body = request.make(request.index)
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1",
        "Host: exchange.example",
        f"Authorization: Bearer {request.token}",
        f"Idempotency-Key: {request.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    )
    writer.write("\r\n".join([*head, "", ""]).encode() + content)
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    answer = await reader.readexactly(int(headers["content-length"]))
    if status.startswith("HTTP/1.1 503") and "retry-after" in headers:
        return _SHED
    if not status.startswith("HTTP/1.1 2"):
        return status
    return "refused" if b'"refused"' in answer else ""


if __name__ == "__main__":
    main()
