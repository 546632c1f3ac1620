"""`blocklist serve` in a process of its own, as an operator runs it, and clients that say what no library would."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

PATIENCE_S = 60.0
_PROGRAM = (
    # A shell starts what runs in its background with Ctrl-C ignored, and tests with it.
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from blocklist_sdk.cli import main; main()"
)
COMMAND = [sys.executable, "-c", _PROGRAM, "serve"]


@dataclass
class Service:
    """A service that runs.

    Attributes:
        process: the parent.
        addresses: where it listens, in the order of its output.
        log: the file with its standard error.
    """

    process: "subprocess.Popen[str]"
    addresses: list[str]
    log: Path

    @property
    def url(self) -> str:
        """The address of the HTTP door."""
        return next(address for address in self.addresses if address.startswith("http"))

    @property
    def workers(self) -> list[int]:
        """The processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in children.split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def connect(self) -> socket.socket:
        """A connection to the HTTP door."""
        address = urlsplit(self.url)
        return socket.create_connection((address.hostname, address.port or 0), timeout=PATIENCE_S)

    def say(self, data: bytes) -> bytes:
        """What comes back for some bytes, until the server hangs up."""
        return self.say_all([data])[0]

    def say_all(self, each: Sequence[bytes]) -> list[bytes]:
        """The same on a connection for each, all at once: a refusal takes two seconds to hang up."""
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(self.connect()) for _ in each]
            for connection, data in zip(connections, each, strict=True):
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
            return list(map(read_all, connections))


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end hangs up."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            found += piece
    return found


@contextlib.contextmanager
def serving(env: Mapping[str, str], log: Path, *arguments: str, port: str | None = "0") -> Iterator[Service]:
    """Run a service; at the end it is stopped, if it still runs.

    Args:
        env: settings.
        log: a file for its standard error.
        arguments: further ones.
        port: of the HTTP door; None for none.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    ports = () if port is None else ("--port", port)
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [*COMMAND, *ports, *arguments],
            env={**inherited, **env},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            wait_until_serving(process, log)
            os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
            addresses = process.stdout.read().splitlines()  # type: ignore[union-attr]
            yield Service(process, addresses, log)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE_S)


def wait_until_serving(process: "subprocess.Popen[str]", log: Path) -> None:
    """Wait until the service says that it serves.

    Raises:
        RuntimeError: it has ended, or takes too long.
    """
    until = time.monotonic() + PATIENCE_S
    while "serving until" not in log.read_text():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the service does not serve: {log.read_text()}")
        time.sleep(0.02)


def over_unix(path: Path) -> httpx.Client:
    """A client that asks over a Unix socket."""
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost")
