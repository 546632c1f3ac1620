"""A Redis or Valkey server for tests, from the program that is installed."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from support.quick_disk import disk


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NoRedis(Exception):
    """Redis cannot be started here; the message says why."""


class RedisServer:
    """A server on loopback, in a folder of its own; it can be killed and started again.

    Attributes:
        url: its address.
    """

    def __init__(self, program: str, folder: Path, *, durable: bool, options: Sequence[str]) -> None:
        self._folder = folder
        port = _free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        kept = ("yes", "--appendfsync", "always") if durable else ("no",)
        common = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
        if "--cluster-enabled" in options:
            # The default is a port 10,000 higher, which may not exist.
            common += ["--cluster-port", str(_free_port())]
        self._command = [program, *common, "--appendonly", *kept, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self._folder / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=out)
        with redis.Redis.from_url(self.url) as client:
            for _ in range(300):
                with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
                    client.ping()
                    return
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        raise NoRedis(f"redis does not come up: {log.read_text(errors='replace').strip()[-500:]}")

    def kill(self) -> None:
        """End it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def redis_server(*, durable: bool = False, options: Sequence[str] = ()) -> Iterator[RedisServer]:
    """Start a server.

    Args:
        durable: write every change to disk before it is answered.
        options: more of the server's own.

    Raises:
        NoRedis: it cannot be started here.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise NoRedis("neither redis-server nor valkey-server is installed")
    with tempfile.TemporaryDirectory(prefix="redis-", dir=disk() if durable else None) as name:
        server = RedisServer(program, Path(name), durable=durable, options=options)
        try:
            server.start()
            yield server
        finally:
            server.kill()
