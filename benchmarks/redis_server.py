"""A Redis or Valkey server of our own, on a socket, for as long as it is needed."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def redis_server(folder: Path) -> Iterator[bool]:
    """Start a server and write where its socket is into `folder`; False where it or its client is not installed."""
    binary = shutil.which("valkey-server") or shutil.which("redis-server")
    if binary is None or find_spec("redis") is None:
        yield False
        return
    # A socket's path may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        socket = Path(name) / "socket"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", name]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not socket.exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{binary} does not start")
                time.sleep(0.05)
            (folder / "redis-socket").write_text(str(socket))
            yield True
        finally:
            server.terminate()
            server.wait(timeout=30)
