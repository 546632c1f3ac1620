"""Processes for `multiprocessing` that are forked from one that has imported the package, so that each starts at once.

That one is an interpreter of its own, started for the first of them: nothing of the tests' process gets into theirs, as
with "spawn", which imports everything anew in each.
"""

import functools
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO, Self


@functools.cache
def quick_processes() -> ForkServerContext:
    """The context that has them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "blocklist_sdk.publisher.publisher",
            "blocklist_sdk.recipient.blocklist",
            "blocklist_sdk.recipient.sync.run",
            "blocklist_sdk.enforcement.run",
            "blocklist_sdk.exchange_server.serving",
            "blocklist_sdk.cli.app",
            "blocklist_sdk.cli.enforce",
            "blocklist_sdk.cli.exchange",
            "blocklist_sdk.cli.recipient",
            "blocklist_sdk.cli.sandbox",
        ]
    )
    return context


class QuickCommand:
    """A `blocklist` that runs in such a process, with what tests use of `subprocess.Popen`.

    Attributes:
        stdout: what it writes to standard output.
        stderr: what it writes to standard error.
    """

    def __init__(self, *arguments: str | Path, env: Mapping[str, str]) -> None:
        """Start it.

        Args:
            arguments: as a shell gives them.
            env: variables that it has beside this process's; of this process's settings it has none.
        """
        context = quick_processes()
        (out, out_end), (err, err_end) = context.Pipe(duplex=False), context.Pipe(duplex=False)
        given = [str(argument) for argument in arguments]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
        self._process = context.Process(target=_run, args=(given, {**inherited, **env}, os.getcwd(), out_end, err_end))
        self._process.start()
        self.stdout, self.stderr = _text_of(out), _text_of(err)
        for each in (out, err, out_end, err_end):
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let it come to its end, and close its streams."""
        self.wait(60)
        self.kill()
        self.stdout.close()
        self.stderr.close()

    def send_signal(self, number: int) -> None:
        """Send a signal; the process must not have ended."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self, timeout: float) -> int | None:
        """The exit code; None if it has not ended within so many seconds."""
        self._process.join(timeout)
        return self._process.exitcode

    def kill(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._process.join()


def _text_of(connection: Connection) -> IO[str]:
    return os.fdopen(os.dup(connection.fileno()), encoding="utf-8")


def _run(arguments: list[str], env: dict[str, str], directory: str, out: Connection, err: Connection) -> None:
    from blocklist_sdk.cli import main

    for connection, number in ((out, 1), (err, 2)):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdout, sys.stderr = (
        open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 -- as long as the process
        for number in (1, 2)
    )
    os.chdir(directory)
    os.environ.clear()
    os.environ |= env
    tempfile.tempdir = None  # found anew, by the variables
    # A process started in the background by a shell would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["blocklist", *arguments]
    main()
