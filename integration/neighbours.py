"""Programs of others: find them where they are installed, start them in a folder of their own, stop them again."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import pytest

REQUIRED: Final = "BLOCKLIST_INTEGRATION_REQUIRED"
"""The variable that turns a missing neighbour from a skipped test into a failure."""

SYSTEM_FOLDERS: Final = ("/usr/sbin", "/sbin", "/usr/local/sbin")
"""Where Debian puts servers. They are not on the `PATH` of most users."""

PATIENCE_S: Final = 60.0
"""So long a neighbour may take to come up. It only keeps a test from hanging."""

STOP_S: Final = 10.0
"""So long a neighbour may take to end after SIGTERM. Then it is killed."""


def is_required() -> bool:
    """Whether a missing neighbour is a failure."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it if `REQUIRED` is set.

    Args:
        reason: what is missing, and the package that has it.
    """
    if is_required():
        pytest.fail(f"{reason} ({REQUIRED} is set)", pytrace=False)
    pytest.skip(reason)


def program(name: str, *, package: str) -> Path:
    """The path of an installed program. Without it the test is skipped, or fails.

    Args:
        name: what the program is called.
        package: where it comes from, for the reason, such as ``Debian's kamailio``.
    """
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(SYSTEM_FOLDERS))
    if found is None:
        missing(f"{name} is not installed: {package} has it")
    return Path(found)


def installed_file(pattern: str, *, package: str) -> Path:
    """The path of an installed file, such as a module of a server. Without it the test is skipped, or fails.

    Args:
        pattern: a glob pattern below ``/``, such as ``usr/lib/*/kamailio/modules/ndb_redis.so``.
        package: where it comes from.
    """
    found = next(iter(sorted(Path("/").glob(pattern))), None)
    if found is None:
        missing(f"/{pattern} is not installed: {package} has it")
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that nothing uses at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether something on loopback takes connections at a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Neighbour:
    """A process that was started for a test, in a session of its own, with its output in a file.

    Attributes:
        pid: its process id.
        log: the file that has what it wrote to standard output and standard error.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self.pid = process.pid
        self.log = log

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def text(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to the processes that it started."""
        os.killpg(self.pid, number)

    def stop(self) -> int:
        """End it and the processes that it started. It returns the exit code.

        The processes of its session are ended by the id of their group, which is its own.
        """
        if self.is_running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait(STOP_S)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    folder: Path,
    name: str,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Neighbour]:
    """Start a program that stays in the foreground, wait until it is ready, and stop it afterwards.

    Args:
        command: the program and its arguments.
        folder: its working directory, which has its log.
        name: the name of its log, without ``.log``.
        ready: whether it can be used.
        environment: its environment; None for that of the tests.

    Raises:
        AssertionError: it ended, or was not ready within a minute. The message has the end of its log.
    """
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    neighbour = Neighbour(process, log)
    try:
        end = time.monotonic() + PATIENCE_S
        while not ready():
            if not neighbour.is_running or time.monotonic() > end:
                raise AssertionError(f"{name} does not come up:\n{neighbour.text()[-3000:]}")
            time.sleep(0.02)
        yield neighbour
    finally:
        neighbour.stop()
