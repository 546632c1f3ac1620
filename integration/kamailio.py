"""Kamailio with the example configuration, as it is: only ports, paths and addresses are set, from the command line."""

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from integration.neighbours import Neighbour, free_port, installed_file, program, running

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "gateways" / "kamailio"

MODULES: Final[Mapping[str, tuple[str, str]]] = {
    "SINK": ("ndb_redis.so", "kamailio-redis-modules"),
    "REDIS": ("ndb_redis.so", "kamailio-redis-modules"),
    "HTTP": ("http_client.so", "kamailio-utils-modules"),
    "NOTHING": ("pv.so", "kamailio"),
}
"""For each way to ask, the module that it needs, and Debian's package of it."""


class Kamailio:
    """A running Kamailio. Made by `kamailio`.

    Attributes:
        port: where it takes SIP over UDP, on loopback.
        process: the process.
    """

    def __init__(self, port: int, process: Neighbour, control: str) -> None:
        self.port = port
        self.process = process
        self._control = control

    def statistic(self, name: str) -> int:
        """The value of one of the example's counters."""
        ran = subprocess.run(
            [program("kamcmd", package="Debian's kamailio"), "-s", self._control, "stats.fetch", f"script.{name}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        found = re.search(rf"{name}: (\d+)", ran.stdout)
        assert found, ran.stdout
        return int(found[1])


@contextlib.contextmanager
def kamailio(
    folder: Path, way: str, *, next_hop: int, defines: Mapping[str, str], children: int | None = None
) -> Iterator[Kamailio]:
    """Start it.

    Args:
        folder: a folder of its own.
        way: how it asks: a key of `MODULES`.
        next_hop: the port on loopback to which it relays.
        defines: names of the example's ``#!trydef`` and their values.
        children: the number of its processes; None for the example's.
    """
    server = program("kamailio", package="Debian's kamailio")
    module, package = MODULES[way]
    installed_file(f"usr/lib/*/kamailio/modules/{module}", package=f"Debian's {package}")
    port = free_port(socket.SOCK_DGRAM)
    control = f"unix:{folder}/ctl"
    values = {
        "LISTEN": f"udp:127.0.0.1:{port}",
        "NEXT_HOP": f'"sip:127.0.0.1:{next_hop}"',
        "CONTROL": f'"{control}"',
        **defines,
    }
    command: list[str | Path] = [server, "-f", EXAMPLE / "kamailio.cfg", "-DD", "-E", "-Y", folder]
    command += ["-A", f"BLOCKLIST_WITH_{way}"]
    command += [word for name, value in values.items() for word in ("-A", f"{name}={value}")]
    if children is not None:
        command += ["-n", str(children)]
    with running(command, folder=folder, name="kamailio", ready=lambda: _answers(port)) as process:
        yield Kamailio(port, process, control)


def _answers(port: int) -> bool:
    """Whether it answers OPTIONS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*channel.getsockname())
        lines = [
            "OPTIONS sip:gateway.example SIP/2.0",
            f"Via: SIP/2.0/UDP {address};branch=z9hG4bKready;rport",
            "From: <sip:ready@example>;tag=1",
            "To: <sip:gateway.example>",
            "Call-ID: ready@example",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        channel.settimeout(0.2)
        try:
            channel.sendto("\r\n".join([*lines, "", ""]).encode(), ("127.0.0.1", port))
            return channel.recv(4096).startswith(b"SIP/2.0 200 ")
        except OSError:  # nothing listens there yet, or it does not answer yet
            return False


def is_installed() -> bool:
    """Whether there is a Kamailio, for programs that are not tests."""
    return shutil.which("kamailio") is not None or Path("/usr/sbin/kamailio").exists()
