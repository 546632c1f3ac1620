"""What gateways ask: a Redis that enforcement fills, and the look-up server by its Redis door and by HTTP."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from integration.listed import FEED, Commands
from integration.neighbours import Neighbour, accepts, free_port, program, running

WAYS: Final = ("SINK", "REDIS", "HTTP")
"""The ways to ask, as the example's definitions name them."""

PREFIX: Final = f"blocklist:{FEED}"
"""Of the keys of the Redis sink."""


@dataclass
class Service:
    """What a gateway asks.

    Attributes:
        way: one of `WAYS`.
        commands: the recipient's.
        port: where it listens on loopback.
        process: its process; None after `stop`.
    """

    way: str
    commands: Commands
    port: int
    process: Neighbour | None = None
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def sink(self) -> str:
        """The URL of the sink."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, at the same port each time."""
        folder = self.commands.folder
        if self.way == "SINK":
            server = program("redis-server", package="Debian's redis-server")
            command: list[str | Path] = [server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder]
            command += ["--save", "", "--appendonly", "yes"]
        else:
            command = [*self.commands.words("serve")]
            if self.way == "REDIS":
                command += ["--redis-port", str(self.port), "--port", str(free_port())]
            else:
                command += ["--port", str(self.port)]
        self.process = self._running.enter_context(
            running(
                command,
                folder=folder,
                name=self.way.lower(),
                ready=lambda: accepts(self.port),
                environment=self.commands.environment,
            )
        )

    def stop(self) -> None:
        """End it."""
        self._running.close()
        self.process = None

    def freeze(self) -> None:
        """Have it take connections, and answer nothing."""
        assert self.process is not None
        self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        assert self.process is not None
        self.process.send(signal.SIGCONT)

    def follow(self) -> None:
        """Bring it to what the recipient has: new releases and overrides."""
        self.commands.run("sync")
        if self.way == "SINK":
            self.commands.run("enforce", "--sink", self.sink, "--name", "gateway")


@contextlib.contextmanager
def service(way: str, commands: Commands) -> Iterator[Service]:
    """Start what a gateway asks."""
    made = Service(way, commands, free_port())
    made.start()
    try:
        yield made
    finally:
        made.stop()
