"""An exchange that runs in a process of its own, is abused, and is measured meanwhile.

A case of abuse is a function that takes the `AbusedServer`, does its worst and returns. `AbusedServer.enduring` runs
it, measures how long it took and how much memory the server took at most, and has an honest account send a report ten
times a second from another address, and wait for each answer.
"""

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from blocklist_sdk.exchange_server.exchange import Exchange
from support.talking import PASSPHRASE, SCOPES, TELKOMSEL

HONEST_ADDRESS: Final = "127.0.0.2"
"""Where the honest account is; abuse comes from 127.0.0.1."""

_COMMAND: Final = "from blocklist_sdk.cli import main; main()"

_PAUSE_S: Final = 0.1
_KEYS: Final = itertools.count(1)
_NUMBERS: Final = itertools.count(TELKOMSEL + 60_000)


@dataclass
class Endured:
    """What a case of abuse has cost.

    Attributes:
        seconds: how long it took.
        memory_bytes: by how much the server's memory rose at most, above what it was before.
        waits_s: how long each report of the honest account took, seconds.
        failures: what was wrong with answers to the honest account.
    """

    seconds: float
    memory_bytes: int
    waits_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        worst = max(self.waits_s, default=float("nan"))
        return (
            f"{self.seconds:.2f} s, {self.memory_bytes / 1e6:.0f} MB, "
            f"{len(self.waits_s)} honest reports, the slowest {worst:.2f} s, {len(self.failures)} failures"
        )


class AbusedServer:
    """A running server, and all who talk to it.

    Attributes:
        url: its base URL.
        host: its address.
        port: its port.
        exchange: the same folder, opened here.
    """

    def __init__(self, url: str, process: "subprocess.Popen[str]", exchange: Exchange) -> None:
        parts = urlsplit(url)
        self.url, self.host, self.port = url, parts.hostname or "", parts.port or 0
        self.exchange = exchange
        self._process = process

    def token(self, who: str) -> str:
        """An account's token."""
        return self.exchange.tokens.issue(who, SCOPES[who], datetime.now(UTC).timestamp())

    def headers(self, who: str | None, **more: str) -> dict[str, str]:
        """The headers of a request that changes something."""
        known = {"Authorization": f"Bearer {self.token(who)}"} if who else {}
        known["Idempotency-Key"] = f"abuse-{next(_KEYS)}"
        return (
            known | {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in more.items()}
        )

    def head(self, who: str | None, path: str, length: int, **more: str) -> bytes:
        """The head of a POST, with the empty line at its end."""
        headers = {"Host": "exchange.example", "Content-Length": str(length)} | self.headers(who, **more)
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        """A connection from an address of this machine."""
        return socket.create_connection((self.host, self.port), timeout=30, source_address=(address, 0))

    def send(self, who: str | None, path: str, body: bytes, **more: str) -> bytes:
        """Send a body as it is; the answer, or what of it came before the server hung up."""
        with self.connect() as line:
            with suppress(OSError):  # the answer may be there all the same
                line.sendall(self.head(who, path, len(body), **more) + body)
            return answer_on(line)

    @contextmanager
    def client(self, address: str = HONEST_ADDRESS) -> Iterator[httpx.Client]:
        transport = httpx.HTTPTransport(verify=False, local_address=address)
        with httpx.Client(base_url=self.url, transport=transport, timeout=30) as client:
            yield client

    def new_report(self) -> dict[str, str]:
        return {
            "number": f"+{next(_NUMBERS)}",
            "category": "fraud",
            "channel": "sms",
            "text": "It said that I had won.",
            "happened_at": "2026-11-01T10:00:00Z",
            "reporter": "r1",
        }

    def memory(self, name: str) -> int:
        """The server's memory in bytes: `VmRSS`, or `VmHWM` for the most since `forget_peak`."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def enduring(self, abuse: Callable[["AbusedServer"], object]) -> Endured:
        """Run a case of abuse, and measure it."""
        stop = threading.Event()
        found = Endured(0, 0)
        with self.client() as client:
            self._report(client, found)  # the connection is there, the account is known
            found.waits_s.clear()
            self.forget_peak()
            before = self.memory("VmRSS")

            def be_honest() -> None:
                while not stop.wait(_PAUSE_S):
                    self._report(client, found)

            honest = threading.Thread(target=be_honest)
            honest.start()
            began = time.monotonic()
            try:
                abuse(self)
            finally:
                found.seconds = time.monotonic() - began
                time.sleep(2 * _PAUSE_S)
                stop.set()
                honest.join()
            found.memory_bytes = self.memory("VmHWM") - before
        return found

    def _report(self, client: httpx.Client, found: Endured) -> None:
        began = time.monotonic()
        try:
            answer = client.post("/v1/reports", json=self.new_report(), headers=self.headers("bank"))
        except httpx.TransportError as error:
            found.failures.append(repr(error))
        else:
            if answer.status_code != 201:
                found.failures.append(answer.text[:200])
        found.waits_s.append(time.monotonic() - began)


def answer_on(line: socket.socket) -> bytes:
    """All that comes on a connection until an answer is whole, or the server hangs up."""
    found = b""
    with suppress(OSError):
        while piece := line.recv(1 << 16):
            found += piece
            head, end, body = found.partition(b"\r\n\r\n")
            lengths = [part for part in head.lower().split(b"\r\n") if part.startswith(b"content-length:")]
            if end and lengths and len(body) >= int(lengths[0].split(b":")[1]):
                break
    return found


def status_in(answer: bytes) -> int:
    """The status of an answer; 0 without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@contextmanager
def abused_server(
    directory: Path, *arguments: str, files: int = 1024, environment: Mapping[str, str] | None = None
) -> Iterator[AbusedServer]:
    """Serve a folder by the command, in a process that may open so many files.

    Args:
        directory: an exchange's folder, with the accounts of `support.talking`.
        arguments: more for the command.
        files: the hard limit of open files.
        environment: more variables.
    """
    passphrase = directory.parent / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    command = [sys.executable, "-c", _COMMAND, "exchange", "serve", str(directory), "--port", "0"]
    command += ["--passphrase-file", str(passphrase), *arguments]
    with (directory.parent / "serve.err").open("w") as errors:
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url, (directory.parent / "serve.err").read_text()
        with Exchange.open(directory, passphrase=None) as exchange:
            yield AbusedServer(url, process, exchange)
    finally:
        process.terminate()
        process.communicate(timeout=30)


Abuse = Callable[[AbusedServer], Any]
